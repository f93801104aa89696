/*
 * keyed.c
 *		A stage by keys: window functions, DISTINCT ON, LIMIT.
 *
 * The rows of such a query that belong to one key depend on nothing but the
 * input rows of that key.  So for the keys that occur in the delta of the
 * input, the rows are computed anew and compared with those that the state
 * table holds for them; what differs is written, and handed out.  Without a key
 * (LIMIT, windows without PARTITION BY) that means all rows.
 *
 * The state table's rows are hash, (unused), 1, <keys>, <columns>.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "matview_refresh.h"

typedef struct KeyedContext
{
	const MvrStage *stage;
	MvrStageKey *key;
	MvrHeap    *state;
	MvrZset    *zset;			/* of <keys>, <columns> */
	int			ncolumns;		/* keys among them */
	TupleTableSlot *row;		/* virtual: <keys>, <columns> */
	TupleTableSlot *next;		/* virtual: a row of the state */
} KeyedContext;

static TupleDesc
build_row_desc(TupleDesc state)
{
	TupleDesc	desc = CreateTemplateTupleDesc(state->natts - MVR_STATE_FIXED);

	for (int i = 1; i <= desc->natts; i++)
		TupleDescCopyEntry(desc, i, state, MVR_STATE_FIXED + i);
	TupleDescFinalize(desc);
	return desc;
}

static KeyedContext *
begin_keyed(const MvrStage *stage, MvrHeap *state)
{
	KeyedContext *context = palloc0(sizeof(KeyedContext));
	TupleDesc	desc = mvr_analyze_build_state_desc(stage);
	TupleDesc	rowdesc = build_row_desc(desc);

	context->stage = stage;
	context->key = mvr_stage_key_begin(stage);
	context->state = state;
	context->ncolumns = rowdesc->natts;
	context->row = MakeSingleTupleTableSlot(rowdesc, &TTSOpsVirtual);
	context->next = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	return context;
}

static void
end_keyed(KeyedContext *context)
{
	mvr_stage_key_end(context->key);
	ExecDropSingleTupleTableSlot(context->row);
	ExecDropSingleTupleTableSlot(context->next);
}

/* Set context->next from a slot with <keys>, <columns> in front */
static void
set_next(KeyedContext *context, TupleTableSlot *row)
{
	TupleTableSlot *next = context->next;

	ExecClearTuple(next);
	slot_getsomeattrs(row, context->ncolumns);
	next->tts_values[MVR_STATE_HASH - 1] =
		Int64GetDatum(mvr_stage_key_hash(context->key, row, 1));
	next->tts_isnull[MVR_STATE_HASH - 1] = false;
	next->tts_isnull[MVR_STATE_TID - 1] = true;
	next->tts_values[MVR_STATE_COUNT - 1] = Int64GetDatum(1);
	next->tts_isnull[MVR_STATE_COUNT - 1] = false;
	memcpy(next->tts_values + MVR_STATE_FIXED, row->tts_values,
		   sizeof(Datum) * context->ncolumns);
	memcpy(next->tts_isnull + MVR_STATE_FIXED, row->tts_isnull,
		   sizeof(bool) * context->ncolumns);
	ExecStoreVirtualTuple(next);
}

static void
fill_row(TupleTableSlot *row, void *arg)
{
	KeyedContext *context = arg;

	set_next(context, row);
	mvr_heap_insert(context->state, context->next);
}

/* Fill the empty state table of a stage; it has no index yet */
void
mvr_keyed_fill(const MvrStage *stage, MvrHeap *state)
{
	KeyedContext *context = begin_keyed(stage, state);
	Query	   *query = mvr_delta_query_build_contents(stage, NULL, NULL, 0, false);

	mvr_run_query(mvr_run_query_plan(query, true), NULL, fill_row, context);
	end_keyed(context);
}

/* ----------
 * Applying
 * ----------
 */

/* A row of the state goes, if its key is not found to be computed again */
static void
put_state_row(KeyedContext *context, TupleTableSlot *found)
{
	TupleTableSlot *row = context->row;

	ExecClearTuple(row);
	slot_getallattrs(found);
	memcpy(row->tts_values, found->tts_values + MVR_STATE_FIXED,
		   sizeof(Datum) * context->ncolumns);
	memcpy(row->tts_isnull, found->tts_isnull + MVR_STATE_FIXED,
		   sizeof(bool) * context->ncolumns);
	ExecStoreVirtualTuple(row);
	mvr_zset_put(context->zset, row, -1, &found->tts_tid, NULL);
}

/* For each key in the delta: what the state holds for it */
static void
collect_key(TupleTableSlot *delta, void *arg)
{
	KeyedContext *context = arg;
	Datum		hash;
	bool		isnull = false;

	CHECK_FOR_INTERRUPTS();
	mvr_stage_key_want(context->key, delta);
	if (context->stage->is_scalar)
		return;
	hash = Int64GetDatum(mvr_stage_key_hash(context->key, delta, 1));
	mvr_heap_seek(context->state, &hash, &isnull);
	while (mvr_heap_next(context->state))
		if (mvr_stage_key_is_same(context->key, context->state->found,
								  MVR_STATE_FIXED + 1, delta, 1))
			put_state_row(context, context->state->found);
}

static void
collect_all(KeyedContext *context)
{
	Relation	rel = context->state->rel;
	TableScanDesc scan = mvr_compat_table_beginscan(rel, SnapshotSelf);
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		put_state_row(context, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

static void
collect_contents(TupleTableSlot *row, void *arg)
{
	KeyedContext *context = arg;

	slot_getsomeattrs(row, context->ncolumns);
	ExecClearTuple(context->row);
	memcpy(context->row->tts_values, row->tts_values, sizeof(Datum) * context->ncolumns);
	memcpy(context->row->tts_isnull, row->tts_isnull, sizeof(bool) * context->ncolumns);
	ExecStoreVirtualTuple(context->row);
	mvr_zset_put(context->zset, context->row, 1, NULL, NULL);
}

/* Hand out a row of the state */
static void
put_change(KeyedContext *context, MvrDelta *changes, TupleTableSlot *row, int weight,
		   ItemPointer place)
{
	TupleTableSlot *out = MakeSingleTupleTableSlot(context->stage->desc, &TTSOpsVirtual);
	int			nkeys = context->key->nkeys;
	int			noutputs = context->ncolumns - nkeys;

	slot_getsomeattrs(row, context->ncolumns);
	ExecClearTuple(out);
	memcpy(out->tts_values, row->tts_values + nkeys, sizeof(Datum) * noutputs);
	memcpy(out->tts_isnull, row->tts_isnull + nkeys, sizeof(bool) * noutputs);
	ExecStoreVirtualTuple(out);
	mvr_stage_put_delta(changes, out, weight, place);
	ExecDropSingleTupleTableSlot(out);
}

static void
write_differences(KeyedContext *context, MvrDelta *changes)
{
	MvrZsetRow	change;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "keyed row",
													  ALLOCSET_DEFAULT_SIZES);

	while (mvr_zset_next(context->zset, &change))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (change.change == MVR_ROW_SAME)
			continue;
		old = MemoryContextSwitchTo(row_context);
		if (change.old)
		{
			mvr_heap_delete(context->state, &change.tid);
			put_change(context, changes, change.old, -1, NULL);
		}
		if (change.row)
		{
			set_next(context, change.row);
			mvr_heap_insert(context->state, context->next);
			put_change(context, changes, change.row, 1, &context->next->tts_tid);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	MemoryContextDelete(row_context);
}

/*
 * Apply a delta by keys.  "plan" is of mvr_delta_query_build_groups(); the
 * state has its hash index set.  What differs is appended to "changes".  Returns
 * true: the rows of a key are compared, so its delta fits whatever they were.
 */
bool
mvr_keyed_apply(const MvrStage *stage, PlannedStmt *plan, MvrHeap *state,
				List *deltas, MvrDelta *changes)
{
	KeyedContext *context = begin_keyed(stage, state);

	context->zset = mvr_zset_begin(context->row->tts_tupleDescriptor, NULL, 0, NULL);
	mvr_run_query(plan, mvr_run_query_environment(deltas), collect_key, context);
	if (stage->is_scalar)
		collect_all(context);
	for (int kind = 0; kind < 2; kind++)
		if (context->key->nwanted[kind] > 0)
			mvr_stage_key_run_wanted(context->key, kind, collect_contents, context);
	write_differences(context, changes);
	mvr_zset_end(context->zset);
	end_keyed(context);
	return true;
}
