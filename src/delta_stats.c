/*
 * delta_stats.c
 *		What the planner may know about the rows of deltas.
 *
 * A delta is an ephemeral named relation.  Of one the planner knows how many
 * rows it has, and nothing of its columns: it takes 200 for the number of
 * different keys and one row for what a join with two conditions has, and so
 * computes again for each row what it should compute once.  We have the rows,
 * so while a query over deltas is planned a hook hands out statistics:
 *
 *	a delta			those of its column, from a sample of the rows; if they stay
 *					where they stand, those of the column of R
 *	old(R)			those of the column of R; of a column by which the rows of R
 *					are restricted to keys of a delta, those of the delta
 *
 * They have the form of a row of pg_statistic, as ANALYZE would make it.  The
 * sample is made when the planner asks for a column of the delta for the first
 * time, and kept with the delta.  Small deltas need none: what the planner
 * takes without statistics does well for them.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_statistic.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "parser/parsetree.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/selfuncs.h"
#include "utils/sortsupport.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/*
 * Rows from which statistics are worth their time; rows in a sample: one in so
 * many, but not less than the least nor more than the most
 */
#define SAMPLE_FROM		50
#define SAMPLE_SHARE	20
#define SAMPLE_LEAST	500
#define SAMPLE_MOST		2000
#define SAMPLE_BYTES	(4 * 1024 * 1024)

/* A column with longer values has no statistics: none are joined by such */
#define MAX_WIDTH		1024

/* Columns with at most so many values have all in their statistics */
#define MAX_VALUES		25
#define MAX_BOUNDS		100

/* What is known about a delta */
typedef struct MvrDeltaStats
{
	MemoryContext context;		/* the delta's own */
	int			nrows;			/* in the sample */
	MinimalTuple *rows;
	HeapTuple  *columns;		/* those asked for so far, or NULL */
} MvrDeltaStats;

/* While a query over deltas is planned: these; else NIL */
static List *planned_deltas = NIL;
static get_relation_stats_hook_type previous_hook = NULL;

/* ----------
 * The sample
 * ----------
 */

static int
compare_places(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right ? 1 : 0;
}

/*
 * Which rows to take, in order.  Any two may come together, whatever lies between
 * them: the two rows of an UPDATE stand side by side, and a sample that never had
 * both would say that no key occurs twice.
 */
static int
choose_places(int64 total, int64 *places)
{
	int			wanted = Min(Max(total / SAMPLE_SHARE, SAMPLE_LEAST), SAMPLE_MOST);
	pg_prng_state random;
	int			n = 0;

	if (total <= wanted)
	{
		while (n < total)
		{
			places[n] = n;
			n++;
		}
		return n;
	}
	pg_prng_seed(&random, 1);
	for (int i = 0; i < wanted; i++)
		places[i] = pg_prng_uint64_range(&random, 0, total - 1);
	qsort(places, wanted, sizeof(int64), compare_places);
	for (int i = 0; i < wanted; i++)
		if (n == 0 || places[i] != places[n - 1])
			places[n++] = places[i];
	return n;
}

static void
take_sample(MvrDelta *delta, MvrDeltaStats *stats)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);
	int64	   *places = palloc(sizeof(int64) * SAMPLE_MOST);
	int			n = choose_places(tuplestore_tuple_count(delta->rows), places);
	int64		taken = 0;
	Size		bytes = 0;

	stats->rows = palloc(sizeof(MinimalTuple) * n);
	tuplestore_select_read_pointer(delta->rows,
								   tuplestore_alloc_read_pointer(delta->rows,
																 EXEC_FLAG_REWIND));
	tuplestore_rescan(delta->rows);
	while (stats->nrows < n && bytes < SAMPLE_BYTES)
	{
		int64		next = places[stats->nrows];

		if (next > taken && !tuplestore_skiptuples(delta->rows, next - taken, true))
			break;
		if (!tuplestore_gettupleslot(delta->rows, true, false, slot))
			break;
		taken = next + 1;
		stats->rows[stats->nrows] = ExecCopySlotMinimalTuple(slot);
		bytes += stats->rows[stats->nrows++]->t_len;
	}
	tuplestore_select_read_pointer(delta->rows, 0);
	pfree(places);
	ExecDropSingleTupleTableSlot(slot);
}

/* NULL if there is nothing worth knowing */
static MvrDeltaStats *
get_stats(MvrDelta *delta)
{
	MvrDeltaStats *stats = delta->stats;
	MemoryContext old;

	if (stats == NULL && tuplestore_tuple_count(delta->rows) >= SAMPLE_FROM)
	{
		old = MemoryContextSwitchTo(GetMemoryChunkContext(delta));
		stats = palloc0(sizeof(MvrDeltaStats));
		stats->context = CurrentMemoryContext;
		stats->columns = palloc0(sizeof(HeapTuple) * delta->desc->natts);
		take_sample(delta, stats);
		delta->stats = stats;
		MemoryContextSwitchTo(old);
	}
	return stats;
}

/* ----------
 * Statistics of a column
 * ----------
 */

typedef struct Column
{
	Form_pg_attribute att;
	TypeCacheEntry *type;
	Datum	   *values;			/* of the sample, sorted, without NULLs */
	int			nvalues;
	int			nnulls;
	int		   *counts;			/* how often each of the first "ndistinct" occurs */
	Datum	   *different;		/* values */
	int			ndistinct;
	int			nonce;			/* values that occur once */
} Column;

static int
compare_values(const void *a, const void *b, void *arg)
{
	return ApplySortComparator(*(const Datum *) a, false, *(const Datum *) b, false, arg);
}

/* The column's values in the sample, unsorted; false if one is long */
static bool
read_values(MvrDelta *delta, MvrDeltaStats *stats, AttrNumber attno, Column *column)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);
	bool		fits = true;

	column->values = palloc(sizeof(Datum) * stats->nrows);
	for (int i = 0; i < stats->nrows && fits; i++)
	{
		bool		isnull;
		Datum		value;

		ExecStoreMinimalTuple(stats->rows[i], slot, false);
		value = slot_getattr(slot, attno, &isnull);
		if (isnull)
			column->nnulls++;
		else
			column->values[column->nvalues++] = value;
		fits = isnull || column->att->attlen != -1 ||
			toast_raw_datum_size(value) <= MAX_WIDTH;
	}
	ExecDropSingleTupleTableSlot(slot);
	return fits;
}

/* Sort the values, and count those that are different */
static void
sort_values(Column *column)
{
	SortSupportData sort = {0};

	sort.ssup_cxt = CurrentMemoryContext;
	sort.ssup_collation = column->att->attcollation;
	PrepareSortSupportFromOrderingOp(column->type->lt_opr, &sort);
	qsort_arg(column->values, column->nvalues, sizeof(Datum), compare_values, &sort);
	column->different = palloc(sizeof(Datum) * (column->nvalues + 1));
	column->counts = palloc(sizeof(int) * (column->nvalues + 1));
	for (int i = 0; i < column->nvalues; i++)
	{
		if (i == 0 || compare_values(&column->values[i - 1], &column->values[i], &sort) != 0)
		{
			column->different[column->ndistinct] = column->values[i];
			column->counts[column->ndistinct++] = 0;
			column->nonce++;
		}
		if (++column->counts[column->ndistinct - 1] == 2)
			column->nonce--;
	}
}

/* How many values are there in all the rows?  The estimator of ANALYZE. */
static float4
estimate_distinct(const Column *column, double nrows)
{
	double		n = column->nvalues;
	double		total = nrows * n / (n + column->nnulls);
	double		d = column->ndistinct;
	double		estimate;

	if (n == 0)
		return 0;
	estimate = n * d / (n - column->nonce + column->nonce * n / total);
	return (float4) Min(Max(estimate, d), Max(total, 1));
}

static void
set_slot(Datum *values, bool *nulls, int kind, Oid op, Column *column, Datum *items,
		 int nitems)
{
	values[Anum_pg_statistic_stakind1 - 1] = Int16GetDatum(kind);
	values[Anum_pg_statistic_staop1 - 1] = ObjectIdGetDatum(op);
	values[Anum_pg_statistic_stacoll1 - 1] = ObjectIdGetDatum(column->att->attcollation);
	values[Anum_pg_statistic_stavalues1 - 1] =
		PointerGetDatum(construct_array(items, nitems, column->att->atttypid,
										column->att->attlen, column->att->attbyval,
										column->att->attalign));
	nulls[Anum_pg_statistic_stavalues1 - 1] = false;
}

/* All values with their frequencies if they are few, else a histogram */
static void
set_distribution(Datum *values, bool *nulls, Column *column)
{
	if (column->ndistinct > 0 && column->ndistinct <= MAX_VALUES &&
		column->ndistinct * 2 < column->nvalues)
	{
		Datum		frequencies[MAX_VALUES];

		for (int i = 0; i < column->ndistinct; i++)
			frequencies[i] = Float4GetDatum((float4) column->counts[i] /
											(column->nvalues + column->nnulls));
		set_slot(values, nulls, STATISTIC_KIND_MCV, column->type->eq_opr, column,
				 column->different, column->ndistinct);
		values[Anum_pg_statistic_stanumbers1 - 1] =
			PointerGetDatum(construct_array(frequencies, column->ndistinct, FLOAT4OID,
											sizeof(float4), true, TYPALIGN_INT));
		nulls[Anum_pg_statistic_stanumbers1 - 1] = false;
	}
	else if (column->ndistinct >= 2)
	{
		Datum		bounds[MAX_BOUNDS];
		int			nbounds = Min(MAX_BOUNDS, column->ndistinct);

		for (int i = 0; i < nbounds; i++)
			bounds[i] = column->values[(int64) i * (column->nvalues - 1) / (nbounds - 1)];
		set_slot(values, nulls, STATISTIC_KIND_HISTOGRAM, column->type->lt_opr, column,
				 bounds, nbounds);
	}
}

/* The column as a row of pg_statistic */
static HeapTuple
build_tuple(Column *column, double nrows)
{
	Relation	rel = table_open(StatisticRelationId, AccessShareLock);
	Datum		values[Natts_pg_statistic] = {0};
	bool		nulls[Natts_pg_statistic] = {0};
	int			nsampled = column->nvalues + column->nnulls;
	HeapTuple	tuple;

	for (int k = 0; k < STATISTIC_NUM_SLOTS; k++)
		nulls[Anum_pg_statistic_stanumbers1 - 1 + k] =
			nulls[Anum_pg_statistic_stavalues1 - 1 + k] = true;
	values[Anum_pg_statistic_staattnum - 1] = Int16GetDatum(column->att->attnum);
	values[Anum_pg_statistic_stanullfrac - 1] =
		Float4GetDatum((float4) column->nnulls / nsampled);
	values[Anum_pg_statistic_stawidth - 1] =
		Int32GetDatum(get_typavgwidth(column->att->atttypid, column->att->atttypmod));
	values[Anum_pg_statistic_stadistinct - 1] =
		Float4GetDatum(estimate_distinct(column, nrows));
	set_distribution(values, nulls, column);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	table_close(rel, AccessShareLock);
	return tuple;
}

/* Of a column of a table; to be freed.  It may have no children to inherit. */
static HeapTuple
read_column_of_table(Oid relid, AttrNumber attnum, bool with_children)
{
	HeapTuple	found = SearchSysCacheCopy3(STATRELATTINH, ObjectIdGetDatum(relid),
											Int16GetDatum(attnum),
											BoolGetDatum(with_children));

	return found ? found :
		SearchSysCacheCopy3(STATRELATTINH, ObjectIdGetDatum(relid), Int16GetDatum(attnum),
							BoolGetDatum(false));
}

/* Of a column of a delta's base table; to be freed */
static HeapTuple
read_column_of_base(MvrDelta *delta, AttrNumber attno)
{
	for (AttrNumber attnum = 1; attno > 0 && attnum <= delta->natts; attnum++)
		if (delta->attmap[attnum - 1] == attno)
			return read_column_of_table(delta->base, attnum, true);
	return NULL;
}

/* Of a column of a delta that has its rows; not to be freed.  NULL if not known. */
static HeapTuple
get_column(MvrDelta *delta, AttrNumber attno)
{
	MvrDeltaStats *stats = get_stats(delta);
	Column		column = {0};
	MemoryContext work;
	MemoryContext old;
	HeapTuple	tuple = NULL;

	if (stats == NULL || attno <= 0 || attno > delta->desc->natts)
		return NULL;
	if (stats->columns[attno - 1])
		return stats->columns[attno - 1];
	column.att = TupleDescAttr(delta->desc, attno - 1);
	column.type = lookup_type_cache(column.att->atttypid,
									TYPECACHE_LT_OPR | TYPECACHE_EQ_OPR);
	if (!OidIsValid(column.type->lt_opr) || !OidIsValid(column.type->eq_opr))
		return NULL;
	work = AllocSetContextCreate(CurrentMemoryContext, "matview statistics",
								 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	if (read_values(delta, stats, attno, &column))
	{
		sort_values(&column);
		tuple = build_tuple(&column, delta->nrows);
		MemoryContextSwitchTo(stats->context);
		tuple = stats->columns[attno - 1] = heap_copytuple(tuple);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return tuple;
}

/* ----------
 * old(R)
 * ----------
 */

/* The delta that a query reads which is being planned, or NULL */
MvrDelta *
mvr_delta_stats_lookup(RangeTblEntry *rte)
{
	if (rte->rtekind != RTE_NAMEDTUPLESTORE)
		return NULL;
	foreach_ptr(MvrDelta, delta, planned_deltas)
		if (strcmp(delta->name, rte->enrname) == 0)
			return delta;
	return NULL;
}

/* The column of a delta whose values a column of old(R) is restricted to */
static HeapTuple
get_key_column(Query *arm, Var *var)
{
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) arm->jointree->quals))
	{
		SubLink    *link = (SubLink *) qual;
		Query	   *keys;

		if (!IsA(link, SubLink) || link->subLinkType != ANY_SUBLINK)
			continue;
		keys = castNode(Query, link->subselect);
		foreach_ptr(OpExpr, test, make_ands_implicit((Expr *) link->testexpr))
		{
			TargetEntry *tle;
			MvrDelta   *delta;

			if (!IsA(test, OpExpr) || !equal(linitial(test->args), var) ||
				!IsA(lsecond(test->args), Param))
				continue;
			tle = list_nth(keys->targetList, ((Param *) lsecond(test->args))->paramid - 1);
			delta = mvr_delta_stats_lookup(linitial(keys->rtable));
			if (delta && IsA(tle->expr, Var))
				return get_column(delta, ((Var *) tle->expr)->varattno);
		}
	}
	return NULL;
}

static HeapTuple build_column(Query *query, Node *expr);

/*
 * Of a column of a query that is not planned yet; to be freed.  That of a UNION
 * ALL which is old(R) is that of its first arm, which has the rows of R.
 */
static HeapTuple
build_output(Query *query, AttrNumber attno)
{
	TargetEntry *tle;

	if (query->setOperations)
	{
		RangeTblEntry *arm = linitial(query->rtable);
		HeapTuple	found;

		if (arm->rtekind != RTE_SUBQUERY)
			return NULL;
		query = arm->subquery;
		if (attno <= 0 || attno > list_length(query->targetList))
			return NULL;
		tle = list_nth(query->targetList, attno - 1);
		found = get_key_column(query, (Var *) tle->expr);
		if (found)
			return heap_copytuple(found);
	}
	if (attno <= 0 || attno > list_length(query->targetList) || query->hasAggs)
		return NULL;
	tle = list_nth(query->targetList, attno - 1);
	return build_column(query, (Node *) tle->expr);
}

/* Of an expression of a query that is not planned yet; to be freed */
static HeapTuple
build_column(Query *query, Node *expr)
{
	Var		   *var = (Var *) expr;
	RangeTblEntry *rte;
	MvrDelta   *delta;
	HeapTuple	found;

	if (!IsA(var, Var) || var->varlevelsup > 0 || var->varattno <= 0)
		return NULL;
	rte = rt_fetch(var->varno, query->rtable);
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return read_column_of_table(rte->relid, var->varattno, rte->inh);
		case RTE_NAMEDTUPLESTORE:
			delta = mvr_delta_stats_lookup(rte);
			if (delta && delta->source)
				return read_column_of_base(delta, var->varattno);
			found = delta ? get_column(delta, var->varattno) : NULL;
			return found ? heap_copytuple(found) : NULL;
		case RTE_SUBQUERY:
			return build_output(rte->subquery, var->varattno);
		case RTE_CTE:
			foreach_ptr(CommonTableExpr, cte, rte->ctelevelsup == 0 ? query->cteList : NIL)
				if (strcmp(cte->ctename, rte->ctename) == 0)
					return build_output(castNode(Query, cte->ctequery), var->varattno);
			return NULL;
		default:
			return NULL;
	}
}

/* There can be no more values than rows */
static HeapTuple
clamp_distinct(HeapTuple tuple, RelOptInfo *rel)
{
	if (HeapTupleIsValid(tuple) && rel && rel->tuples > 0)
	{
		Form_pg_statistic form = (Form_pg_statistic) GETSTRUCT(tuple);

		if (form->stadistinct > rel->tuples)
			form->stadistinct = rel->tuples;
	}
	return tuple;
}

/* The query of a CTE as it was before it was planned, or NULL */
static Query *
lookup_cte(PlannerInfo *root, RangeTblEntry *rte)
{
	for (Index level = 0; root && level < rte->ctelevelsup; level++)
		root = root->parent_root;
	foreach_ptr(CommonTableExpr, cte, root ? root->parse->cteList : NIL)
		if (strcmp(cte->ctename, rte->ctename) == 0)
			return castNode(Query, cte->ctequery);
	return NULL;
}

/* ----------
 * The hook
 * ----------
 */

static void
free_nothing(HeapTuple tuple pg_attribute_unused())
{
}

static bool
hand_out_stats(PlannerInfo *root, RangeTblEntry *rte, AttrNumber attno,
			   VariableStatData *vardata)
{
	HeapTuple	found = NULL;
	Query	   *query = NULL;

	if (previous_hook && previous_hook(root, rte, attno, vardata))
		return true;
	if (planned_deltas == NIL)
		return false;
	if (rte->rtekind == RTE_NAMEDTUPLESTORE)
	{
		MvrDelta   *delta = mvr_delta_stats_lookup(rte);
		bool		in_place = delta && delta->source;

		vardata->freefunc = in_place ? heap_freetuple : free_nothing;
		if (delta)
			found = in_place ? read_column_of_base(delta, attno) : get_column(delta, attno);
	}
	else if (rte->rtekind == RTE_CTE)
		query = lookup_cte(root, rte);
	else if (rte->rtekind == RTE_SUBQUERY && rte->inh &&
			 strcmp(rte->eref->aliasname, "item") == 0)
		query = rte->subquery;
	if (query)
	{
		vardata->freefunc = heap_freetuple;
		found = clamp_distinct(build_output(query, attno), vardata->rel);
	}
	if (found == NULL)
		return false;
	vardata->statsTuple = found;
	/* who plans this reads the rows */
	vardata->acl_ok = true;
	return true;
}

/*
 * Let the planner know about these deltas, instead of those returned.  Caller
 * sets them again when it has planned, or failed to.
 */
List *
mvr_delta_stats_set(List *deltas)
{
	List	   *before = planned_deltas;

	planned_deltas = deltas;
	return before;
}

/* Call it once, when the library is loaded */
void
mvr_delta_stats_init(void)
{
	previous_hook = get_relation_stats_hook;
	get_relation_stats_hook = hand_out_stats;
}
