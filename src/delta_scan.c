/*
 * delta_scan.c
 *		A plan node that reads the rows of a delta where they stand.
 *
 * To a query a delta is an ephemeral named relation, which core reads from a
 * tuplestore.  To fill that costs as much as to read the rows, and a query that
 * reads them once, from beginning to end, does not need it.  For a delta whose
 * rows are elsewhere we replace core's path by a custom scan.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "utils/queryenvironment.h"

#include "matview_refresh.h"

typedef struct DeltaScan
{
	CustomScanState css;
	MvrDelta   *delta;
	void	   *scan;			/* of the delta's source; NULL before the first row */
	int64		nrows;			/* handed out so far */
	int64		ngone;
	bool		at_end;
} DeltaScan;

static set_rel_pathlist_hook_type previous_hook = NULL;

/* ----------
 * Running
 * ----------
 */

static void
begin_scan(CustomScanState *node, EState *estate,
		   pg_attribute_unused() int eflags)
{
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	const char *name = strVal(linitial(plan->custom_private));

	((DeltaScan *) node)->delta = get_ENR(estate->es_queryEnv, name)->reldata;
}

static void
end_source(DeltaScan *scan)
{
	if (scan->scan)
		scan->delta->source->end(scan->scan);
	scan->scan = NULL;
}

/* The next row, of one to which all have been counted at the end */
static TupleTableSlot *
next_row(ScanState *node)
{
	DeltaScan  *scan = (DeltaScan *) node;
	MvrRowSource *source = scan->delta->source;
	TupleTableSlot *row;

	if (scan->scan == NULL)
	{
		scan->scan = source->begin(source);
		scan->nrows = scan->ngone = 0;
		scan->at_end = false;
	}
	if (scan->at_end)
		return NULL;
	row = source->next(scan->scan);
	if (row == NULL)
	{
		scan->at_end = true;
		scan->delta->nrows = scan->nrows;
		scan->delta->ngone = scan->ngone;
		return NULL;
	}
	scan->nrows++;
	if (mvr_delta_get_weight(row) < 0)
		scan->ngone++;
	return row;
}

static bool
recheck_row(pg_attribute_unused() ScanState *node,
			pg_attribute_unused() TupleTableSlot *slot)
{
	return true;
}

static TupleTableSlot *
run_scan(CustomScanState *node)
{
	return ExecScan(&node->ss, next_row, recheck_row);
}

static void
end_scan(CustomScanState *node)
{
	end_source((DeltaScan *) node);
}

static void
restart_scan(CustomScanState *node)
{
	end_source((DeltaScan *) node);
	ExecScanReScan(&node->ss);
}

static const CustomExecMethods exec_methods = {
	.CustomName = "Changes",
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = run_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = restart_scan
};

static Node *
create_scan(pg_attribute_unused() CustomScan *plan)
{
	DeltaScan  *scan = palloc0(sizeof(DeltaScan));

	NodeSetTag(scan, T_CustomScanState);
	scan->css.methods = &exec_methods;
	return (Node *) scan;
}

/* ----------
 * Planning
 * ----------
 */

static const CustomScanMethods scan_methods = {
	.CustomName = "matview_refresh changes",
	.CreateCustomScanState = create_scan
};

/* The columns of the delta, as Vars of its range table entry */
static List *
list_columns(const MvrDelta *delta, Index rti)
{
	List	   *columns = NIL;

	for (int i = 1; i <= delta->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(delta->desc, i - 1);
		Var		   *var = makeVar(rti, i, att->atttypid, att->atttypmod, att->attcollation, 0);

		columns = lappend(columns, makeTargetEntry((Expr *) var, i, NULL, false));
	}
	return columns;
}

/*
 * What to hand up, of what is wanted: all columns as they are, which spares a
 * projection, where an aggregate takes of them what it needs.
 */
static List *
choose_tlist(PlannerInfo *root, List *wanted, List *columns)
{
	List	   *all = NIL;
	int			nfound = 0;

	if (!root->parse->hasAggs || bms_membership(root->all_baserels) != BMS_SINGLETON)
		return wanted;
	foreach_ptr(TargetEntry, column, columns)
	{
		TargetEntry *found = tlist_member(column->expr, wanted);
		TargetEntry *entry = flatCopyTargetEntry(found ? found : column);

		entry->resno = column->resno;
		all = lappend(all, entry);
		nfound += (found != NULL);
	}
	return nfound == list_length(wanted) ? all : wanted;
}

static Plan *
plan_scan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path,
		  List *tlist, List *clauses, pg_attribute_unused() List *plans)
{
	MvrDelta   *delta = linitial(path->custom_private);
	CustomScan *scan = makeNode(CustomScan);

	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->flags = path->flags;
	scan->custom_scan_tlist = list_columns(delta, rel->relid);
	scan->scan.plan.targetlist = choose_tlist(root, tlist, scan->custom_scan_tlist);
	scan->custom_private = list_make1(makeString(pstrdup(delta->name)));
	scan->methods = &scan_methods;
	return &scan->scan.plan;
}

static const CustomPathMethods path_methods = {
	.CustomName = "matview_refresh changes",
	.PlanCustomPath = plan_scan
};

/* Read a delta whose rows are elsewhere with our node, and no other */
static void
set_path(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	MvrDelta   *delta = mvr_delta_stats_lookup(rte);
	CustomPath *path;

	if (previous_hook)
		previous_hook(root, rel, rti, rte);
	if (delta == NULL || delta->source == NULL || IS_DUMMY_REL(rel))
		return;
	path = makeNode(CustomPath);
	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.param_info = get_baserel_parampathinfo(root, rel, rel->lateral_relids);
	path->path.rows = rel->rows;
	path->path.startup_cost = rel->baserestrictcost.startup;
	path->path.total_cost = path->path.startup_cost +
		(cpu_tuple_cost + rel->baserestrictcost.per_tuple) * rel->tuples;
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = list_make1(delta);
	path->methods = &path_methods;
	rel->pathlist = list_make1(path);
	rel->partial_pathlist = NIL;
}

/* Call it once, when the library is loaded */
void
mvr_delta_scan_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_path;
}
