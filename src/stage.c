/*
 * stage.c
 *		Merge a delta into a stage, and write what comes of it.
 *
 * By rows: the delta query hands out rows of the view with weights.  What is
 * left of them after netting is deleted, updated and inserted.
 *
 * By groups: the state table has one row per group, with the number of input
 * rows in it, the aggregates' state, and where the group's row stands in the
 * view.  The delta query hands out one row per touched group:
 *
 *	group not in state			a new group
 *	count comes to 0			the group goes, with its row in the view
 *	all columns can be merged	new state, from it the new row
 *	else						"wanted": recomputed from the base tables,
 *								all wanted groups in one query at the end
 *
 * Invariants of a state table:
 * (1) There is one row for each group of the input; without GROUP BY there is
 *	   exactly one row, whatever its count.
 * (2) view_row is where the group's row stands in the view, or NULL if HAVING
 *	   is not true for it.  Only our writes move rows of the view, else the
 *	   view's relfilenode changes and the state is made anew.
 * (3) A row of the view is the stage's output expressions over its state row.
 *
 * A delta that does not fit (a row to delete that is not there, a negative
 * count) means that somebody else wrote the view or the log.  Then the
 * functions return false and the caller recomputes, which puts right whatever
 * was written so far.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* ----------
 * By rows
 * ----------
 */

typedef struct RowsContext
{
	MvrZset    *zset;
	int			natts;
} RowsContext;

static void
collect_row(TupleTableSlot *row, void *arg)
{
	RowsContext *context = arg;
	bool		isnull;
	int			weight = DatumGetInt32(slot_getattr(row, context->natts + 1, &isnull));

	mvr_zset_put(context->zset, row, weight, NULL, NULL);
}

static bool
is_keyed(MvrHeap *view)
{
	return view->keys[0] != InvalidAttrNumber;
}

/* Find a row of the view that looks like this one */
static bool
find_row(MvrHeap *view, TupleTableSlot *row)
{
	int			natts = RelationGetDescr(view->rel)->natts;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	for (int i = 0; i < view->nkeys; i++)
	{
		if (view->keys[i] != InvalidAttrNumber)
			values[i] = slot_getattr(row, view->keys[i], &nulls[i]);
		else
		{
			values[i] = Int64GetDatum(mvr_zset_hash(row, natts, NULL));
			nulls[i] = false;
		}
	}
	mvr_heap_seek(view, values, nulls);
	while (mvr_heap_next(view))
		if (mvr_zset_is_same(view->found, row, natts))
			return true;
	return false;
}

/* Write what is left of the delta; false if a row to go was not found */
static bool
write_rows(MvrZset *zset, MvrHeap *view, Tuplestorestate *later)
{
	MvrZsetRow	change;
	bool		fits = true;

	while (mvr_zset_next(zset, &change))
	{
		CHECK_FOR_INTERRUPTS();
		if (change.change == MVR_ROW_SAME)
			continue;
		if (change.old && !find_row(view, change.old))
		{
			fits = false;
			continue;
		}
		if (change.change == MVR_ROW_UPDATED && !later)
			mvr_heap_update(view, &view->found->tts_tid, change.row);
		else
		{
			if (change.old)
				mvr_heap_delete(view, &view->found->tts_tid);
			if (change.row && later)
				tuplestore_puttupleslot(later, change.row);
			else if (change.row)
				mvr_heap_insert(view, change.row);
		}
	}
	return fits;
}

static void
insert_rows(MvrHeap *view, Tuplestorestate *rows)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(view->rel),
													&TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(rows, true, false, slot))
		mvr_heap_insert(view, slot);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Apply a delta by rows.  "plan" is of mvr_delta_query_build_rows(); the view
 * has an index set by which its rows are found.  Returns false if the view did
 * not hold what went.
 */
bool
mvr_stage_apply_rows(const MvrStage *stage, PlannedStmt *plan, MvrHeap *view,
					 List *deltas)
{
	RowsContext context;
	Tuplestorestate *later = NULL;
	bool		fits;

	context.natts = stage->desc->natts;
	context.zset = mvr_zset_begin(stage->desc, NULL, is_keyed(view) ? view->nkeys : 0,
								  view->keys);
	mvr_run_query(plan, mvr_run_query_environment(deltas), collect_row, &context);
	if (mvr_heap_has_other_unique(view->rel, is_keyed(view) ?
								  RelationGetRelid(view->index) : InvalidOid, NULL))
		later = tuplestore_begin_heap(false, false, work_mem);
	fits = write_rows(context.zset, view, later);
	if (later)
	{
		insert_rows(view, later);
		tuplestore_end(later);
	}
	mvr_zset_end(context.zset);
	return fits;
}

/* ----------
 * Group keys
 * ----------
 */

typedef struct KeySupport
{
	MvrGroupKey *key;
	FmgrInfo	equals;
	FmgrInfo   *hash;			/* extended hash function of the type, or NULL */
	int16		typlen;
	bool		typbyval;
} KeySupport;

typedef struct GroupWriter
{
	const MvrStage *stage;
	MemoryContext context;		/* where this lives */
	int			nkeys;
	KeySupport *keys;
	ExprContext *econtext;		/* output expressions scan a state row */
	ExprState  *having;
	ProjectionInfo *project;
	TupleTableSlot *next;		/* virtual: the group's new state */
	TupleTableSlot *row;		/* virtual: its row in the view */

	/* while a delta is applied */
	MvrHeap    *view;
	MvrHeap    *state;
	bool		fits;
	Tuplestorestate *later;		/* states whose rows are inserted at the end */
	TupleDesc	keydesc;
	Tuplestorestate *wanted[2]; /* keys to recompute; [1] have NULLs */
	int64		nwanted[2];
	int64		nfound;			/* of the wanted ones */
} GroupWriter;

static void
prepare_keys(GroupWriter *writer)
{
	int			n = 0;

	writer->nkeys = list_length(writer->stage->keys);
	writer->keys = palloc0(sizeof(KeySupport) * (writer->nkeys + 1));
	writer->keydesc = CreateTemplateTupleDesc(Max(writer->nkeys, 1));
	TupleDescInitEntry(writer->keydesc, 1, "none", INT4OID, -1, 0);
	foreach_ptr(MvrGroupKey, key, writer->stage->keys)
	{
		KeySupport *support = &writer->keys[n++];
		TypeCacheEntry *type = lookup_type_cache(key->type,
												 TYPECACHE_HASH_EXTENDED_PROC_FINFO);

		support->key = key;
		fmgr_info(get_opcode(key->clause->eqop), &support->equals);
		if (OidIsValid(type->hash_extended_proc))
			support->hash = &type->hash_extended_proc_finfo;
		support->typlen = type->typlen;
		support->typbyval = type->typbyval;
		TupleDescInitEntry(writer->keydesc, n, "key", key->type, key->typmod, 0);
		TupleDescInitEntryCollation(writer->keydesc, n, key->collation);
	}
	TupleDescFinalize(writer->keydesc);
}

/*
 * Hash of a group's key, by the types' own hash functions, which agree with
 * their "=".  A type with none adds nothing, unless "=" compares images.
 */
static int64
hash_keys(GroupWriter *writer, TupleTableSlot *slot, int first)
{
	uint64		hash = 0;

	for (int i = 0; i < writer->nkeys; i++)
	{
		KeySupport *support = &writer->keys[i];
		bool		isnull;
		Datum		value = slot_getattr(slot, first + i, &isnull);
		uint64		one = 0;

		if (isnull)
			one = 1;
		else if (support->hash)
			one = DatumGetUInt64(FunctionCall2Coll(support->hash, support->key->collation,
												   value, Int64GetDatum(0)));
		else if (support->key->is_image_equal)
		{
			AttrNumber	attno = first + i;

			one = mvr_zset_hash(slot, 1, &attno);
		}
		hash = hash_combine64(hash, one);
	}
	return (int64) hash;
}

static bool
is_same_group(GroupWriter *writer, TupleTableSlot *a, int a_first,
			  TupleTableSlot *b, int b_first)
{
	for (int i = 0; i < writer->nkeys; i++)
	{
		KeySupport *support = &writer->keys[i];
		bool		a_null;
		bool		b_null;
		Datum		a_value = slot_getattr(a, a_first + i, &a_null);
		Datum		b_value = slot_getattr(b, b_first + i, &b_null);

		if (a_null != b_null)
			return false;
		if (!a_null &&
			!DatumGetBool(FunctionCall2Coll(&support->equals, support->key->collation,
											a_value, b_value)))
			return false;
	}
	return true;
}

/* ----------
 * States and rows
 * ----------
 */

static GroupWriter *
begin_groups(const MvrStage *stage)
{
	GroupWriter *writer = palloc0(sizeof(GroupWriter));
	TupleDesc	desc = mvr_analyze_build_state_desc(stage);
	List	   *outputs = NIL;

	writer->stage = stage;
	writer->context = CurrentMemoryContext;
	writer->fits = true;
	prepare_keys(writer);
	writer->econtext = CreateStandaloneExprContext();
	writer->next = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	writer->row = MakeSingleTupleTableSlot(stage->desc, &TTSOpsVirtual);
	foreach_ptr(TargetEntry, tle, stage->outputs)
		outputs = lappend(outputs,
						  makeTargetEntry(expression_planner(copyObject(tle->expr)),
										  tle->resno, tle->resname, false));
	writer->project = ExecBuildProjectionInfo(outputs, writer->econtext, writer->row,
											  NULL, desc);
	if (stage->having)
		writer->having = ExecInitQual(make_ands_implicit(expression_planner(copyObject(stage->having))),
									  NULL);
	return writer;
}

static void
end_groups(GroupWriter *writer)
{
	FreeExprContext(writer->econtext, true);
	ExecDropSingleTupleTableSlot(writer->next);
	ExecDropSingleTupleTableSlot(writer->row);
}

/* The view's row for the state in writer->next, or NULL if it has none */
static TupleTableSlot *
build_row(GroupWriter *writer)
{
	ExprContext *econtext = writer->econtext;

	econtext->ecxt_scantuple = writer->next;
	if (writer->having && !ExecQual(writer->having, econtext))
		return NULL;
	return ExecProject(writer->project);
}

/*
 * Set writer->next from a row of the contents query
 *	<keys>, count, <aggregates>
 * which has the state's columns but for the first two, in the order
 * count, <keys>, <aggregates>.
 */
static void
set_next_from_contents(GroupWriter *writer, TupleTableSlot *contents)
{
	TupleTableSlot *next = writer->next;
	int			nkeys = writer->nkeys;
	int			naggs = list_length(writer->stage->columns);

	ExecClearTuple(next);
	slot_getallattrs(contents);
	next->tts_values[MVR_STATE_HASH - 1] = Int64GetDatum(hash_keys(writer, contents, 1));
	next->tts_isnull[MVR_STATE_HASH - 1] = false;
	next->tts_isnull[MVR_STATE_TID - 1] = true;
	next->tts_values[MVR_STATE_COUNT - 1] = contents->tts_values[nkeys];
	next->tts_isnull[MVR_STATE_COUNT - 1] = false;
	memcpy(next->tts_values + MVR_STATE_FIXED, contents->tts_values,
		   sizeof(Datum) * nkeys);
	memcpy(next->tts_isnull + MVR_STATE_FIXED, contents->tts_isnull,
		   sizeof(bool) * nkeys);
	memcpy(next->tts_values + MVR_STATE_FIXED + nkeys, contents->tts_values + nkeys + 1,
		   sizeof(Datum) * naggs);
	memcpy(next->tts_isnull + MVR_STATE_FIXED + nkeys, contents->tts_isnull + nkeys + 1,
		   sizeof(bool) * naggs);
	ExecStoreVirtualTuple(next);
}

/* ----------
 * All groups
 * ----------
 */

typedef struct AllGroupsContext
{
	GroupWriter *writer;
	MvrGroupFunction function;
	void	   *arg;
} AllGroupsContext;

static void
hand_out_group(TupleTableSlot *contents, void *arg)
{
	AllGroupsContext *context = arg;
	GroupWriter *writer = context->writer;

	ResetExprContext(writer->econtext);
	set_next_from_contents(writer, contents);
	context->function(writer->next, build_row(writer), context->arg);
}

/*
 * Compute all groups of a stage and hand each to a function, which may set
 * the state's view_row.  The query may run in parallel; see mvr_run_query_plan().
 */
void
mvr_stage_run_groups(const MvrStage *stage, MvrGroupFunction function, void *arg)
{
	AllGroupsContext context = {begin_groups(stage), function, arg};
	Query	   *query = mvr_delta_query_build_contents(stage, NULL, NULL, 0, false);

	mvr_run_query(mvr_run_query_plan(query, true), NULL, hand_out_group, &context);
	end_groups(context.writer);
}

/* ----------
 * Writing a group
 * ----------
 */

/* Where the found group's row stands in the view; false if it has none */
static bool
get_view_row(MvrHeap *state, ItemPointer tid)
{
	bool		isnull;
	Datum		value = slot_getattr(state->found, MVR_STATE_TID, &isnull);

	if (isnull)
		ItemPointerSetInvalid(tid);
	else
		*tid = *(ItemPointer) DatumGetPointer(value);
	return !isnull;
}

/*
 * Bring the view's row of a group to "row" (NULL: none), from where it stands
 * (invalid: nowhere).  Sets where it stands now.
 */
static void
write_view_row(GroupWriter *writer, ItemPointer tid, TupleTableSlot *row)
{
	MvrHeap    *view = writer->view;
	bool		exists = ItemPointerIsValid(tid);

	if (exists && !mvr_heap_fetch(view, tid))
	{
		writer->fits = false;
		exists = false;
	}
	if (row == NULL)
	{
		if (exists)
			mvr_heap_delete(view, tid);
		ItemPointerSetInvalid(tid);
	}
	else if (!exists)
	{
		mvr_heap_insert(view, row);
		*tid = row->tts_tid;
	}
	else if (!mvr_zset_is_same(view->found, row, writer->stage->desc->natts))
	{
		mvr_heap_update(view, tid, row);
		*tid = row->tts_tid;
	}
}

/* Write writer->next over the state row found, or as a new one */
static void
write_state(GroupWriter *writer, bool is_found, ItemPointer tid)
{
	TupleTableSlot *next = writer->next;
	MvrHeap    *state = writer->state;

	next->tts_isnull[MVR_STATE_TID - 1] = !ItemPointerIsValid(tid);
	next->tts_values[MVR_STATE_TID - 1] = PointerGetDatum(tid);
	if (!is_found)
		mvr_heap_insert(state, next);
	else if (!mvr_zset_is_same(state->found, next, next->tts_tupleDescriptor->natts))
		mvr_heap_update(state, &state->found->tts_tid, next);
}

/*
 * Write the group in writer->next, whose old state has been found or not.
 *
 * If rows may have to wait (writer->later), the old row of the view goes now
 * and the state is put aside; finish_later() writes both.
 */
static void
write_group(GroupWriter *writer, bool is_found)
{
	TupleTableSlot *row = build_row(writer);
	ItemPointerData tid;

	ItemPointerSetInvalid(&tid);
	if (is_found)
		get_view_row(writer->state, &tid);
	if (writer->later && row &&
		!(mvr_heap_fetch(writer->view, &tid) &&
		  mvr_zset_is_same(writer->view->found, row, writer->stage->desc->natts)))
	{
		if (ItemPointerIsValid(&tid))
			write_view_row(writer, &tid, NULL);
		writer->next->tts_isnull[MVR_STATE_TID - 1] = true;
		tuplestore_puttupleslot(writer->later, writer->next);
	}
	else
		write_view_row(writer, &tid, row);
	write_state(writer, is_found, &tid);
}

/* The group in state->found has no rows any more */
static void
remove_group(GroupWriter *writer)
{
	ItemPointerData tid;

	if (get_view_row(writer->state, &tid))
		write_view_row(writer, &tid, NULL);
	mvr_heap_delete(writer->state, &writer->state->found->tts_tid);
}

/* Find a group's state by a slot that has the keys from column "first" on */
static bool
find_group(GroupWriter *writer, TupleTableSlot *slot, int first, int64 hash)
{
	Datum		value = Int64GetDatum(hash);
	bool		isnull = false;

	mvr_heap_seek(writer->state, &value, &isnull);
	while (mvr_heap_next(writer->state))
		if (is_same_group(writer, writer->state->found, MVR_STATE_FIXED + 1, slot, first))
			return true;
	return false;
}

/* ----------
 * Merging
 *
 * Each function takes the old value of a state column and what came and went,
 * any of which may be NULL, and sets the new value; or returns false if the
 * group must be recomputed.
 * ----------
 */

typedef struct MaybeDatum
{
	Datum		value;
	bool		isnull;
} MaybeDatum;

static int64
int8_or_zero(MaybeDatum datum)
{
	return datum.isnull ? 0 : DatumGetInt64(datum.value);
}

static bool
merge_int8(MaybeDatum old, MaybeDatum came, MaybeDatum went, MaybeDatum *result)
{
	int64		sum;

	if (pg_add_s64_overflow(int8_or_zero(old), int8_or_zero(came), &sum) ||
		pg_sub_s64_overflow(sum, int8_or_zero(went), &sum))
		return false;
	result->value = Int64GetDatum(sum);
	result->isnull = false;
	return true;
}

static bool
is_special_numeric(MaybeDatum datum)
{
	return !datum.isnull && (numeric_is_nan(DatumGetNumeric(datum.value)) ||
							 numeric_is_inf(DatumGetNumeric(datum.value)));
}

/* NaN and the infinities cannot be taken out of a sum again */
static bool
merge_numeric(MaybeDatum old, MaybeDatum came, MaybeDatum went, MaybeDatum *result)
{
	if (is_special_numeric(old) || is_special_numeric(came) || is_special_numeric(went))
		return false;
	*result = old;
	if (!came.isnull)
		result->value = old.isnull ? came.value :
			DirectFunctionCall2(numeric_add, old.value, came.value);
	if (old.isnull && came.isnull)
		return false;
	result->isnull = false;
	if (!went.isnull)
		result->value = DirectFunctionCall2(numeric_sub, result->value, went.value);
	return true;
}

static bool
merge_sum(MvrStateColumn *column, MaybeDatum count, MaybeDatum old,
		  MaybeDatum came, MaybeDatum went, MaybeDatum *result)
{
	result->value = (Datum) 0;
	result->isnull = true;
	if (int8_or_zero(count) == 0)
		return true;
	if (column->aggregate->aggtype == INT8OID)
		return merge_int8(old, came, went, result);
	return merge_numeric(old, came, went, result);
}

/*
 * A sum shows as many decimal digits as the one of its values that has most.
 * If values went, that is certain only while all have the same scale.
 * "low" and "high" are the least and the greatest scale.
 */
static bool
merge_scales(MaybeDatum count, const MaybeDatum low[3], const MaybeDatum high[3],
			 MaybeDatum *newlow, MaybeDatum *newhigh)
{
	newlow->isnull = newhigh->isnull = true;
	newlow->value = newhigh->value = (Datum) 0;
	if (int8_or_zero(count) == 0)
		return true;
	for (int i = 0; i < 2; i++)
	{
		if (low[i].isnull)
			continue;
		if (newlow->isnull || DatumGetInt32(low[i].value) < DatumGetInt32(newlow->value))
			*newlow = low[i];
		if (newhigh->isnull || DatumGetInt32(high[i].value) > DatumGetInt32(newhigh->value))
			*newhigh = high[i];
	}
	if (low[2].isnull)
		return true;
	return !newlow->isnull &&
		DatumGetInt32(newlow->value) == DatumGetInt32(newhigh->value) &&
		DatumGetInt32(newlow->value) == DatumGetInt32(low[2].value) &&
		DatumGetInt32(newlow->value) == DatumGetInt32(high[2].value);
}

/* The extremum stays, or what came is better, unless what went could be it */
static bool
merge_extremum(MvrStateColumn *column, MaybeDatum old, MaybeDatum came,
			   MaybeDatum went, MaybeDatum *result)
{
	RegProcedure better = get_opcode(column->better);
	Oid			collation = column->aggregate->inputcollid;

	*result = old;
	if (old.isnull ||
		(!came.isnull &&
		 DatumGetBool(OidFunctionCall2Coll(better, collation, came.value, old.value))))
		*result = came;
	if (went.isnull)
		return true;
	return !result->isnull &&
		DatumGetBool(OidFunctionCall2Coll(better, collation, result->value, went.value));
}

static MaybeDatum
get_column(TupleTableSlot *slot, AttrNumber attno)
{
	MaybeDatum	result;

	result.value = slot_getattr(slot, attno, &result.isnull);
	return result;
}

static const MaybeDatum null_datum = {(Datum) 0, true};

/* The value of a state column before, what came, and what went */
static void
get_three(GroupWriter *writer, TupleTableSlot *delta, bool is_found, int index,
		  MaybeDatum three[3])
{
	AttrNumber	attno = MVR_STATE_FIXED + writer->nkeys + index + 1;

	three[0] = is_found ? get_column(writer->state->found, attno) : null_datum;
	three[1] = get_column(delta, writer->nkeys + 2 + 2 * index);
	three[2] = get_column(delta, writer->nkeys + 3 + 2 * index);
}

/* Merge the aggregates of a group into writer->next; false: recompute it */
static bool
merge_columns(GroupWriter *writer, TupleTableSlot *delta, bool is_found)
{
	Datum	   *values = writer->next->tts_values + MVR_STATE_FIXED + writer->nkeys;
	bool	   *nulls = writer->next->tts_isnull + MVR_STATE_FIXED + writer->nkeys;
	int			ncolumns = list_length(writer->stage->columns);

	for (int i = 0; i < ncolumns; i++)
	{
		MvrStateColumn *column = list_nth(writer->stage->columns, i);
		MaybeDatum	three[3];
		MaybeDatum	result = null_datum;
		MaybeDatum	count = null_datum;
		bool		merged = false;

		get_three(writer, delta, is_found, i, three);
		if (column->merge == MVR_MERGE_SUM || column->merge == MVR_MERGE_SCALE)
		{
			count.value = values[column->count];
			count.isnull = nulls[column->count];
		}
		switch (column->merge)
		{
			case MVR_MERGE_COUNT:
				merged = merge_int8(three[0], three[1], three[2], &result);
				break;
			case MVR_MERGE_SUM:
				merged = merge_sum(column, count, three[0], three[1], three[2], &result);
				break;
			case MVR_MERGE_EXTREMUM:
				merged = merge_extremum(column, three[0], three[1], three[2], &result);
				break;
			case MVR_MERGE_SCALE:
				{
					/* least and greatest stand side by side */
					MaybeDatum	high[3];
					MaybeDatum	greatest;

					get_three(writer, delta, is_found, i + 1, high);
					merged = merge_scales(count, three, high, &result, &greatest);
					values[i + 1] = greatest.value;
					nulls[i + 1] = greatest.isnull;
					break;
				}
			case MVR_MERGE_NONE:
				break;
		}
		if (!merged)
			return false;
		values[i] = result.value;
		nulls[i] = result.isnull;
		if (column->merge == MVR_MERGE_SCALE)
			i++;
	}
	return true;
}

/* ----------
 * Groups to recompute
 * ----------
 */

/* Remember the keys of a group, those with NULLs apart from the others */
static void
want_group(GroupWriter *writer, TupleTableSlot *delta)
{
	int			kind = 0;

	slot_getsomeattrs(delta, writer->nkeys);
	for (int i = 0; i < writer->nkeys; i++)
		if (delta->tts_isnull[i])
			kind = 1;
	writer->nwanted[kind]++;
	if (writer->nkeys == 0)
		return;
	if (writer->wanted[kind] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(writer->context);

		writer->wanted[kind] = tuplestore_begin_heap(true, false, work_mem);
		MemoryContextSwitchTo(old);
	}
	tuplestore_putvalues(writer->wanted[kind], writer->keydesc, delta->tts_values,
						 delta->tts_isnull);
}

static void
write_recomputed(TupleTableSlot *contents, void *arg)
{
	GroupWriter *writer = arg;
	bool		is_found;

	ResetExprContext(writer->econtext);
	set_next_from_contents(writer, contents);
	is_found = find_group(writer, contents, 1,
						  DatumGetInt64(writer->next->tts_values[MVR_STATE_HASH - 1]));
	write_group(writer, is_found);
	writer->nfound++;
}

/*
 * Recompute the wanted groups from the base tables.  Each of them has rows, by
 * its count, so each must turn up.
 */
static void
recompute_wanted(GroupWriter *writer)
{
	for (int kind = 0; kind < 2; kind++)
	{
		QueryEnvironment *env = create_queryEnv();
		Query	   *query;

		if (writer->nwanted[kind] == 0)
			continue;
		if (writer->wanted[kind])
			mvr_run_query_add_rows(env, "wanted", writer->keydesc, writer->wanted[kind],
								   writer->nwanted[kind]);
		query = mvr_delta_query_build_contents(writer->stage, writer->keydesc, "wanted",
											   writer->nwanted[kind], kind == 1);
		writer->nfound = 0;
		mvr_run_query(mvr_run_query_plan(query, false), env, write_recomputed, writer);
		if (writer->nfound != writer->nwanted[kind])
			writer->fits = false;
	}
}

/* ----------
 * By groups
 * ----------
 */

/* Set the state of a touched group but for its aggregates; returns the count */
static int64
set_next_from_delta(GroupWriter *writer, TupleTableSlot *delta, int64 hash,
					bool is_found)
{
	TupleTableSlot *next = writer->next;
	TupleTableSlot *keys = is_found ? writer->state->found : delta;
	int			first = is_found ? MVR_STATE_FIXED : 0;
	MaybeDatum	count = get_column(delta, writer->nkeys + 1);
	int64		total = int8_or_zero(count);

	ExecClearTuple(next);
	slot_getsomeattrs(keys, first + writer->nkeys);
	memcpy(next->tts_values + MVR_STATE_FIXED, keys->tts_values + first,
		   sizeof(Datum) * writer->nkeys);
	memcpy(next->tts_isnull + MVR_STATE_FIXED, keys->tts_isnull + first,
		   sizeof(bool) * writer->nkeys);
	if (is_found)
		total += int8_or_zero(get_column(writer->state->found, MVR_STATE_COUNT));
	next->tts_values[MVR_STATE_HASH - 1] = Int64GetDatum(hash);
	next->tts_isnull[MVR_STATE_HASH - 1] = false;
	next->tts_values[MVR_STATE_COUNT - 1] = Int64GetDatum(total);
	next->tts_isnull[MVR_STATE_COUNT - 1] = false;
	next->tts_isnull[MVR_STATE_TID - 1] = true;
	ExecStoreVirtualTuple(next);
	return total;
}

static void
apply_group_delta(TupleTableSlot *delta, void *arg)
{
	GroupWriter *writer = arg;
	int64		hash = hash_keys(writer, delta, 1);
	bool		is_found = find_group(writer, delta, 1, hash);
	MemoryContext old;
	bool		merged;
	int64		count;

	CHECK_FOR_INTERRUPTS();
	ResetExprContext(writer->econtext);
	count = set_next_from_delta(writer, delta, hash, is_found);
	if (count < 0 || (writer->stage->is_scalar && !is_found))
	{
		writer->fits = false;
		return;
	}
	if (count == 0 && !writer->stage->is_scalar)
	{
		if (is_found)
			remove_group(writer);
		return;
	}
	old = MemoryContextSwitchTo(writer->econtext->ecxt_per_tuple_memory);
	merged = writer->stage->is_merged && merge_columns(writer, delta, is_found);
	MemoryContextSwitchTo(old);
	if (merged)
		write_group(writer, is_found);
	else
		want_group(writer, delta);
}

/* Write the rows that had to wait until all others were gone */
static void
finish_later(GroupWriter *writer)
{
	Tuplestorestate *later = writer->later;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(writer->next->tts_tupleDescriptor,
													&TTSOpsMinimalTuple);

	/* states written once by this command are written again */
	CommandCounterIncrement();
	writer->later = NULL;
	while (tuplestore_gettupleslot(later, true, false, slot))
	{
		bool		isnull;
		int64		hash = DatumGetInt64(slot_getattr(slot, MVR_STATE_HASH, &isnull));

		ResetExprContext(writer->econtext);
		ExecCopySlot(writer->next, slot);
		write_group(writer, find_group(writer, slot, MVR_STATE_FIXED + 1, hash));
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(later);
}

/*
 * The columns of the view that show the keys, or NULL if some key is not
 * shown.  A unique index over all of them never mistakes one group for
 * another.
 */
static Bitmapset *
find_key_outputs(const MvrStage *stage)
{
	Bitmapset  *columns = NULL;

	for (int i = 1; i <= list_length(stage->keys); i++)
	{
		bool		is_shown = false;

		foreach_ptr(TargetEntry, tle, stage->outputs)
		{
			if (!is_shown && IsA(tle->expr, Var) &&
				((Var *) tle->expr)->varattno == MVR_STATE_FIXED + i)
			{
				columns = bms_add_member(columns, tle->resno);
				is_shown = true;
			}
		}
		if (!is_shown)
			return NULL;
	}
	return columns;
}

/*
 * Apply a delta by groups.  "plan" is of mvr_delta_query_build_groups(); the
 * state has its hash index set.  Returns false if the delta did not fit.
 */
bool
mvr_stage_apply_groups(const MvrStage *stage, PlannedStmt *plan, MvrHeap *view,
					   MvrHeap *state, List *deltas)
{
	GroupWriter *writer = begin_groups(stage);
	bool		fits;

	writer->view = view;
	writer->state = state;
	if (!stage->is_scalar &&
		mvr_heap_has_other_unique(view->rel, InvalidOid, find_key_outputs(stage)))
		writer->later = tuplestore_begin_heap(false, false, work_mem);
	mvr_run_query(plan, mvr_run_query_environment(deltas), apply_group_delta, writer);
	recompute_wanted(writer);
	if (writer->later)
		finish_later(writer);
	for (int kind = 0; kind < 2; kind++)
		if (writer->wanted[kind])
			tuplestore_end(writer->wanted[kind]);
	fits = writer->fits;
	end_groups(writer);
	return fits;
}
