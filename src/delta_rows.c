/*
 * delta_rows.c
 *		The linear part of a term, computed once.
 *
 * A term of a query with dependent parts is split in two.  What can be computed
 * of its linear items alone becomes a CTE, which the planner leaves as it is:
 *
 *	WITH rows AS MATERIALIZED (SELECT <columns> FROM <linear items> WHERE ...)
 *	SELECT t(rows) FROM rows [LEFT JOIN ...] WHERE ...
 *
 * The dependent parts stay outside, and are computed for those rows only.  So
 * both queries of a term that needs two read the same rows, and of old(R) in a
 * dependent part nothing matters but what these rows ask for.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"

#include "matview_refresh.h"

/* Does a node refer to items of its level that are not among these? */
static bool
needs_others(Node *node, Bitmapset *items)
{
	return !bms_is_subset(mvr_tree_pull_rtis(node), items);
}

/* Is there a place that has changed in a dependent part of this node? */
static bool
has_dependent_place(Node *node, MvrPlaces *places)
{
	foreach_ptr(MvrPlace, place, places->dependent)
		if (mvr_place_is_below(node, place->mark))
			return true;
	return false;
}

/* The linear items that depend on nothing but others of them */
static Bitmapset *
list_movable(Query *query, MvrPlaces *places)
{
	Bitmapset  *movable = bms_copy(mvr_tree_list_linear(query));
	bool		is_done = false;

	while (!is_done)
	{
		int			rti = -1;

		is_done = true;
		while ((rti = bms_next_member(movable, rti)) >= 0)
		{
			RangeTblEntry *rte = rt_fetch(rti, query->rtable);

			if (rte->rtekind == RTE_RELATION || rte->rtekind == RTE_NAMEDTUPLESTORE ||
				(rte->rtekind == RTE_SUBQUERY && !rte->lateral))
				continue;
			if (has_dependent_place((Node *) rte->subquery, places) ||
				has_dependent_place((Node *) rte->functions, places) ||
				has_dependent_place((Node *) rte->values_lists, places) ||
				has_dependent_place((Node *) rte->tablefunc, places) ||
				!bms_is_subset(mvr_tree_list_lateral(rte), movable))
			{
				movable = bms_del_member(movable, rti);
				is_done = false;
			}
		}
	}
	return movable;
}

/* Take the conditions of a FROM list that need nothing but the movable items */
static void
take_quals(FromExpr *from, Bitmapset *movable, MvrPlaces *places, List **taken)
{
	List	   *kept = NIL;

	foreach_ptr(Node, qual, make_ands_implicit((Expr *) from->quals))
	{
		if (needs_others(qual, movable) || has_dependent_place(qual, places))
			kept = lappend(kept, qual);
		else
			*taken = lappend(*taken, qual);
	}
	from->quals = mvr_tree_and(kept);
}

/*
 * The join tree with "base" in place of the movable items, which it reads all
 * at once, before anything else.  Conditions on them alone are taken.
 */
static Node *
rebase(Node *node, Node *base, Bitmapset *movable, MvrPlaces *places, List **taken)
{
	if (IsA(node, RangeTblRef))
	{
		if (bms_is_member(((RangeTblRef *) node)->rtindex, movable))
			return base;
		return (Node *) makeFromExpr(list_make2(base, node), NULL);
	}
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;

		take_quals(from, movable, places, taken);
		foreach_ptr(Node, item, from->fromlist)
			base = rebase(item, base, movable, places, taken);
		return from->quals ? (Node *) makeFromExpr(list_make1(base), from->quals) : base;
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);

		join->larg = rebase(join->larg, base, movable, places, taken);
		return (Node *) join;
	}
}

/* The columns of the movable items that a query uses, each once */
static List *
list_columns(Query *query, Bitmapset *movable)
{
	List	   *columns = NIL;

	foreach_ptr(Var, var, pull_vars_of_level((Node *) query, 0))
	{
		Var		   *column = copyObject(var);

		column->varlevelsup = 0;
		if (bms_is_member(var->varno, movable) && !list_member(columns, column))
			columns = lappend(columns, column);
	}
	return columns;
}

/* Let the rest read the rows' columns instead of those of the items */
static Query *
read_rows(Query *rest, MvrRows *rows, Bitmapset *movable)
{
	int			rti = -1;

	while ((rti = bms_next_member(movable, rti)) >= 0)
	{
		List	   *tlist = NIL;
		int			n = 0;

		foreach_ptr(Var, column, rows->columns)
		{
			n++;
			if (column->varno == rti)
				tlist = lappend(tlist, makeTargetEntry((Expr *) makeVar(rows->rti, n,
																		column->vartype,
																		column->vartypmod,
																		column->varcollid, 0),
													   column->varattno, NULL, false));
		}
		rest = (Query *) mvr_compat_replace_vars((Node *) rest, rti,
												 rt_fetch(rti, rest->rtable), tlist,
												 &rest->hasSubLinks);
	}
	return rest;
}

/*
 * Refer to the movable items, in the order of the join tree: the planner pulls up
 * what a LATERAL item refers to before it, and does not cope with it behind.
 */
static void
list_items(Node *node, Bitmapset *movable, List **items)
{
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			list_items(item, movable, items);
	}
	else if (IsA(node, JoinExpr))
		list_items(((JoinExpr *) node)->larg, movable, items);
	else if (bms_is_member(((RangeTblRef *) node)->rtindex, movable))
		*items = lappend(*items, copyObject(node));
}

/*
 * Split a marked query.  NULL if there are no dependent parts that have
 * changed, or nothing to split off.  The rows' query has the items under the
 * numbers that they had, and no target list yet.
 */
MvrRows *
mvr_rows_split(Query *query, MvrPlaces *places)
{
	MvrRows    *rows;
	Bitmapset  *movable;
	RangeTblRef *ref = makeNode(RangeTblRef);
	List	   *items = NIL;
	List	   *quals = NIL;
	Node	   *tree;

	if (places->dependent == NIL)
		return NULL;
	movable = list_movable(query, places);
	if (bms_is_empty(movable))
		return NULL;
	rows = palloc0(sizeof(MvrRows));
	rows->items = movable;
	rows->linear = copyObject(query);
	rows->rest = copyObject(query);
	rows->rti = ref->rtindex = list_length(query->rtable) + 1;
	list_items((Node *) query->jointree, movable, &items);
	tree = rebase((Node *) rows->rest->jointree, (Node *) ref, movable, places, &quals);
	rows->rest->jointree = IsA(tree, FromExpr) ? (FromExpr *) tree :
		makeFromExpr(list_make1(tree), NULL);
	rows->columns = list_columns(rows->rest, movable);
	rows->rest = read_rows(rows->rest, rows, movable);
	rows->linear->jointree = makeFromExpr(items, mvr_tree_and(copyObject(quals)));
	rows->linear->targetList = NIL;
	foreach_ptr(Var, column, rows->columns)
		mvr_tree_append_target(rows->linear, (Expr *) column, "column");
	mvr_tree_blank_unused(rows->linear);
	mvr_tree_blank_unused(rows->rest);
	return rows;
}

/* May a condition be asked of the rows? */
bool
mvr_rows_can_tell(MvrRows *rows, Node *qual)
{
	return !needs_others(qual, rows->items);
}

/* The column that is a Var of the query that was split; or 0 */
AttrNumber
mvr_rows_lookup_column(MvrRows *rows, Node *expr)
{
	AttrNumber	n = 0;

	foreach_ptr(Var, column, rows->columns)
	{
		n++;
		if (equal(column, expr))
			return n;
	}
	return 0;
}

/*
 * Let the rest read the rows, now that their query is complete; it is level
 * queries further out that the CTE will be put.
 */
void
mvr_rows_finish(MvrRows *rows, int level)
{
	CommonTableExpr *cte = mvr_tree_make_cte("rows", rows->linear);

	rows->ctes = list_make1(cte);
	rows->level = level;
	rows->rest->rtable = lappend(rows->rest->rtable, mvr_tree_make_cte_rte(cte, level));
}
