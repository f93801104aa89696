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
 * A view that has each group's whole state among its columns, and a unique index
 * over the group's keys, is its own state table (stage->held): one search, and
 * one row to write.
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

#include "executor/executor.h"
#include "nodes/makefuncs.h"

#include "matview_refresh.h"

/* ----------
 * What an inner stage hands out
 * ----------
 */

/* An empty delta of an inner stage */
MvrDelta *
mvr_stage_make_delta(MvrStage *stage)
{
	MvrDelta   *delta = palloc0(sizeof(MvrDelta));
	int			natts = stage->desc->natts;

	delta->stage = stage;
	delta->base = stage->state;
	delta->name = psprintf("delta of %u", stage->state);
	delta->natts = natts;
	delta->weight = natts + 1;
	delta->place = natts + 2;
	delta->desc = CreateTemplateTupleDesc(natts + 2);
	delta->attmap = palloc(sizeof(AttrNumber) * Max(natts, 1));
	for (int i = 1; i <= natts; i++)
	{
		TupleDescCopyEntry(delta->desc, i, stage->desc, i);
		delta->attmap[i - 1] = i;
	}
	TupleDescInitEntry(delta->desc, delta->weight, "weight", INT4OID, -1, 0);
	TupleDescInitEntry(delta->desc, delta->place, "place", TIDOID, -1, 0);
	TupleDescFinalize(delta->desc);
	delta->rows = tuplestore_begin_heap(true, false, work_mem);
	return delta;
}

/* "place" is where the state row of a row that appeared stands, else NULL */
void
mvr_stage_put_delta(MvrDelta *delta, TupleTableSlot *row, int weight, ItemPointer place)
{
	Datum	   *values = palloc(sizeof(Datum) * delta->desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * delta->desc->natts);

	slot_getsomeattrs(row, delta->natts);
	memcpy(values, row->tts_values, sizeof(Datum) * delta->natts);
	memcpy(nulls, row->tts_isnull, sizeof(bool) * delta->natts);
	values[delta->weight - 1] = Int32GetDatum(weight);
	nulls[delta->weight - 1] = false;
	values[delta->place - 1] = PointerGetDatum(place);
	nulls[delta->place - 1] = (place == NULL);
	tuplestore_putvalues(delta->rows, delta->desc, values, nulls);
	delta->nrows++;
	pfree(values);
	pfree(nulls);
}

/* ----------
 * By rows
 * ----------
 */

typedef struct RowsContext
{
	MvrZset    *zset;
	int			natts;
	MvrKeyLock *lock;
} RowsContext;

static void
collect_row(TupleTableSlot *row, void *arg)
{
	RowsContext *context = arg;
	bool		isnull;
	int			weight = DatumGetInt32(slot_getattr(row, context->natts + 1, &isnull));

	/* which of several rows that look alike goes, one must not ask at a time */
	if (context->lock && weight < 0)
		mvr_key_lock_add(context->lock, mvr_zset_hash(row, context->natts, NULL));
	mvr_zset_put(context->zset, row, weight, NULL, NULL);
}

static bool
is_keyed(MvrHeap *view)
{
	return view->keys[0] != InvalidAttrNumber;
}

static bool
is_found_same(MvrHeap *view, void *arg)
{
	return mvr_zset_is_same(view->found, arg, RelationGetDescr(view->rel)->natts);
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
	return mvr_heap_find(view, values, nulls, is_found_same, row);
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
 * has an index set by which its rows are found.  If others may write the view
 * at the same time, "lock" is not NULL.  Returns false if the view did not hold
 * what went, or if there are too many rows to lock.
 */
bool
mvr_stage_apply_rows(const MvrStage *stage, PlannedStmt *plan, MvrHeap *view,
					 List *deltas, MvrKeyLock *lock)
{
	RowsContext context;
	Tuplestorestate *later = NULL;
	bool		fits;

	context.natts = stage->desc->natts;
	context.lock = lock;
	context.zset = mvr_zset_begin(stage->desc, NULL, is_keyed(view) ? view->nkeys : 0,
								  view->keys);
	mvr_run_query(plan, mvr_run_query_environment(deltas), collect_row, &context);
	if (lock && !mvr_key_lock_acquire(lock))
	{
		mvr_zset_end(context.zset);
		return false;
	}
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
 * By groups
 * ----------
 */

typedef struct GroupWriter
{
	const MvrStage *stage;
	MemoryContext context;		/* where this lives */
	int			nkeys;
	MvrStageKey *key;
	ExprContext *econtext;		/* output expressions scan a state row */
	ExprState  *having;
	ProjectionInfo *project;
	TupleTableSlot *next;		/* virtual: the group's new state */
	TupleTableSlot *row;		/* virtual: its row in the view */

	/* while a delta is applied */
	MvrHeap    *view;			/* NULL of an inner stage */
	MvrDelta   *changes;		/* else: what an inner stage hands out */
	ProjectionInfo *project_old;	/* its row so far ... */
	TupleTableSlot *oldrow;		/* ... goes here */
	MvrHeap    *state;			/* the view, if it holds its own state */
	bool		is_held;
	TupleTableSlot *found;		/* the group's state so far, once it is found */
	bool		fits;
	Tuplestorestate *later;		/* states whose rows are inserted at the end */
	int64		nfound;			/* of the wanted ones */
} GroupWriter;

/* ----------
 * States and rows
 * ----------
 */

static GroupWriter *
begin_groups(const MvrStage *stage, MvrDelta *changes)
{
	GroupWriter *writer = palloc0(sizeof(GroupWriter));
	TupleDesc	desc = mvr_analyze_build_state_desc(stage);
	List	   *outputs = NIL;

	writer->stage = stage;
	writer->context = CurrentMemoryContext;
	writer->fits = true;
	writer->key = mvr_stage_key_begin(stage);
	writer->nkeys = writer->key->nkeys;
	writer->econtext = CreateStandaloneExprContext();
	writer->next = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	writer->row = MakeSingleTupleTableSlot(stage->desc, &TTSOpsVirtual);
	foreach_ptr(TargetEntry, tle, stage->outputs)
		outputs = lappend(outputs,
						  makeTargetEntry(expression_planner(copyObject(tle->expr)),
										  tle->resno, tle->resname, false));
	writer->project = ExecBuildProjectionInfo(outputs, writer->econtext, writer->row,
											  NULL, desc);
	if (changes)
	{
		writer->changes = changes;
		writer->oldrow = MakeSingleTupleTableSlot(stage->desc, &TTSOpsVirtual);
		writer->project_old = ExecBuildProjectionInfo(outputs, writer->econtext,
													  writer->oldrow, NULL, desc);
	}
	if (stage->having)
		writer->having = ExecInitQual(make_ands_implicit(expression_planner(copyObject(stage->having))),
									  NULL);
	return writer;
}

static void
end_groups(GroupWriter *writer)
{
	mvr_stage_key_end(writer->key);
	FreeExprContext(writer->econtext, true);
	ExecDropSingleTupleTableSlot(writer->next);
	ExecDropSingleTupleTableSlot(writer->row);
	if (writer->is_held)
		ExecDropSingleTupleTableSlot(writer->found);
	if (writer->oldrow)
		ExecDropSingleTupleTableSlot(writer->oldrow);
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
	next->tts_values[MVR_STATE_HASH - 1] = Int64GetDatum(mvr_stage_key_hash(writer->key, contents, 1));
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
	AllGroupsContext context = {begin_groups(stage, NULL), function, arg};
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
get_view_row(GroupWriter *writer, ItemPointer tid)
{
	bool		isnull;
	Datum		value = slot_getattr(writer->found, MVR_STATE_TID, &isnull);

	if (isnull)
		ItemPointerSetInvalid(tid);
	else
		*tid = *(ItemPointer) DatumGetPointer(value);
	return !isnull;
}

/*
 * Have the row of a found group in view->found; false if it is gone.  A view that
 * holds its state has it there already, and the new state points into it.
 */
static bool
fetch_view_row(GroupWriter *writer, ItemPointer tid)
{
	return writer->is_held ? ItemPointerIsValid(tid) : mvr_heap_fetch(writer->view, tid);
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

	if (exists && !fetch_view_row(writer, tid))
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

	if (writer->is_held)
		return;
	next->tts_isnull[MVR_STATE_TID - 1] = !ItemPointerIsValid(tid);
	next->tts_values[MVR_STATE_TID - 1] = PointerGetDatum(tid);
	if (!is_found)
		mvr_heap_insert(state, next);
	else if (!mvr_zset_is_same(writer->found, next, next->tts_tupleDescriptor->natts))
		mvr_heap_update(state, &writer->found->tts_tid, next);
}

/* The row that an inner stage has for a state, or NULL */
static TupleTableSlot *
build_old_row(GroupWriter *writer, TupleTableSlot *state)
{
	ExprContext *econtext = writer->econtext;

	slot_getallattrs(state);
	econtext->ecxt_scantuple = state;
	if (writer->having && !ExecQual(writer->having, econtext))
		return NULL;
	return ExecProject(writer->project_old);
}

/* Hand out the change of a group's row, whose new state has been written */
static void
put_group_change(GroupWriter *writer, TupleTableSlot *old, TupleTableSlot *row,
				 ItemPointer place)
{
	if (old && row && mvr_zset_is_same(old, row, writer->stage->desc->natts))
		return;
	if (old)
		mvr_stage_put_delta(writer->changes, old, -1, NULL);
	if (row)
		mvr_stage_put_delta(writer->changes, row, 1, place);
}

static void
write_inner_group(GroupWriter *writer, bool is_found)
{
	TupleTableSlot *old = is_found ? build_old_row(writer, writer->found) : NULL;
	TupleTableSlot *row = build_row(writer);
	ItemPointerData none;

	/* what was projected may point into the state that is now overwritten */
	if (old)
		ExecMaterializeSlot(old);
	if (row)
		ExecMaterializeSlot(row);
	ItemPointerSetInvalid(&none);
	ItemPointerSetInvalid(&writer->next->tts_tid);
	write_state(writer, is_found, &none);
	put_group_change(writer, old, row, ItemPointerIsValid(&writer->next->tts_tid) ?
					 &writer->next->tts_tid : &writer->found->tts_tid);
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
	TupleTableSlot *row;
	ItemPointerData tid;

	if (writer->view == NULL)
	{
		write_inner_group(writer, is_found);
		return;
	}
	row = build_row(writer);
	ItemPointerSetInvalid(&tid);
	if (is_found)
		get_view_row(writer, &tid);
	if (writer->later && row &&
		!(fetch_view_row(writer, &tid) &&
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

/* The group that was found has no rows any more */
static void
remove_group(GroupWriter *writer)
{
	ItemPointerData tid;

	if (writer->view == NULL)
		put_group_change(writer, build_old_row(writer, writer->found), NULL, NULL);
	else if (get_view_row(writer, &tid))
		write_view_row(writer, &tid, NULL);
	if (!writer->is_held)
		mvr_heap_delete(writer->state, &writer->found->tts_tid);
}

typedef struct GroupSought
{
	MvrStageKey *key;
	TupleTableSlot *slot;
	int			first;
} GroupSought;

static bool
is_found_group(MvrHeap *state, void *arg)
{
	GroupSought *sought = arg;

	return mvr_stage_key_is_same(sought->key, state->found, MVR_STATE_FIXED + 1,
								 sought->slot, sought->first);
}

/* The index is unique, and values that it calls equal look alike */
static bool
is_found_row(MvrHeap *view, void *arg)
{
	(void) view;
	(void) arg;
	return true;
}

/* The number of the key, from 0, that a column of the view shows */
static int
get_shown_key(const MvrStage *stage, AttrNumber column)
{
	for (int i = 0; i < list_length(stage->keys); i++)
		if (stage->held[MVR_STATE_FIXED + i] == column)
			return i;
	elog(ERROR, "column %d of a view is no key of its groups", column);
}

/* Set writer->found to the state that a row of the view is */
static void
set_found_from_row(GroupWriter *writer, TupleTableSlot *row)
{
	TupleTableSlot *found = writer->found;
	const AttrNumber *held = writer->stage->held;

	ExecClearTuple(found);
	slot_getallattrs(row);
	found->tts_isnull[MVR_STATE_HASH - 1] = true;
	found->tts_values[MVR_STATE_TID - 1] = PointerGetDatum(&row->tts_tid);
	found->tts_isnull[MVR_STATE_TID - 1] = false;
	for (int i = MVR_STATE_COUNT - 1; i < found->tts_tupleDescriptor->natts; i++)
	{
		found->tts_values[i] = row->tts_values[held[i] - 1];
		found->tts_isnull[i] = row->tts_isnull[held[i] - 1];
	}
	ExecStoreVirtualTuple(found);
}

/* Find a group's row in a view that holds its own state */
static bool
find_held_group(GroupWriter *writer, TupleTableSlot *slot, int first)
{
	MvrHeap    *view = writer->state;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	for (int i = 0; i < view->nkeys; i++)
		values[i] = slot_getattr(slot, first + get_shown_key(writer->stage, view->keys[i]),
								 &nulls[i]);
	if (!mvr_heap_find(view, values, nulls, is_found_row, NULL))
		return false;
	set_found_from_row(writer, view->found);
	return true;
}

/* Find a group's state by a slot that has the keys from column "first" on */
static bool
find_group(GroupWriter *writer, TupleTableSlot *slot, int first, int64 hash)
{
	GroupSought sought = {writer->key, slot, first};
	Datum		value = Int64GetDatum(hash);
	bool		isnull = false;

	if (writer->is_held)
		return find_held_group(writer, slot, first);
	return mvr_heap_find(writer->state, &value, &isnull, is_found_group, &sought);
}

/* ----------
 * Groups to recompute
 * ----------
 */

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
		if (writer->key->nwanted[kind] == 0)
			continue;
		writer->nfound = 0;
		mvr_stage_key_run_wanted(writer->key, kind, write_recomputed, writer);
		if (writer->nfound != writer->key->nwanted[kind])
			writer->fits = false;
	}
}

/* ----------
 * A delta of groups
 * ----------
 */

static int64
get_int8_or_zero(TupleTableSlot *slot, AttrNumber attno)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, attno, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Set the state of a touched group but for its aggregates; returns the count */
static int64
set_next_from_delta(GroupWriter *writer, TupleTableSlot *delta, int64 hash,
					bool is_found)
{
	TupleTableSlot *next = writer->next;
	TupleTableSlot *keys = is_found ? writer->found : delta;
	int			first = is_found ? MVR_STATE_FIXED : 0;
	int64		total = get_int8_or_zero(delta, writer->nkeys + 1);

	ExecClearTuple(next);
	slot_getsomeattrs(keys, first + writer->nkeys);
	memcpy(next->tts_values + MVR_STATE_FIXED, keys->tts_values + first,
		   sizeof(Datum) * writer->nkeys);
	memcpy(next->tts_isnull + MVR_STATE_FIXED, keys->tts_isnull + first,
		   sizeof(bool) * writer->nkeys);
	if (is_found)
		total += get_int8_or_zero(writer->found, MVR_STATE_COUNT);
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
	int64		hash = mvr_stage_key_hash(writer->key, delta, 1);
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
	merged = writer->stage->is_merged &&
		mvr_merge_columns(writer->stage, is_found ? writer->found : NULL, delta,
						  writer->next);
	MemoryContextSwitchTo(old);
	if (merged)
		write_group(writer, is_found);
	else
		mvr_stage_key_want(writer->key, delta);
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

typedef struct LockedGroups
{
	GroupWriter *writer;
	MvrKeyLock *lock;
	TupleDesc	desc;
	Tuplestorestate *rows;
} LockedGroups;

static void
collect_group(TupleTableSlot *delta, void *arg)
{
	LockedGroups *groups = arg;
	MemoryContext old = MemoryContextSwitchTo(groups->writer->context);

	mvr_key_lock_add(groups->lock, mvr_stage_key_hash(groups->writer->key, delta, 1));
	if (groups->desc == NULL)
	{
		groups->desc = CreateTupleDescCopy(delta->tts_tupleDescriptor);
		groups->rows = tuplestore_begin_heap(false, false, work_mem);
	}
	tuplestore_puttupleslot(groups->rows, delta);
	MemoryContextSwitchTo(old);
}

/*
 * Others may write the view at the same time, but not the groups that we have
 * locked.  False if they are too many for that.
 */
static bool
apply_locked_groups(GroupWriter *writer, PlannedStmt *plan, List *deltas, MvrKeyLock *lock)
{
	LockedGroups groups = {.writer = writer, .lock = lock};
	MemoryContext context;
	MemoryContext old;
	TupleTableSlot *slot;

	mvr_run_query(plan, mvr_run_query_environment(deltas), collect_group, &groups);
	if (!mvr_key_lock_acquire(lock))
		return false;
	if (groups.desc == NULL)
		return true;
	context = AllocSetContextCreate(CurrentMemoryContext, "matview group",
									ALLOCSET_DEFAULT_SIZES);
	slot = MakeSingleTupleTableSlot(groups.desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(groups.rows, true, false, slot))
	{
		old = MemoryContextSwitchTo(context);
		apply_group_delta(slot, writer);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(context);
	tuplestore_end(groups.rows);
	return true;
}

/*
 * Apply a delta by groups.  "plan" is of mvr_delta_query_build_groups(); the
 * state has its hash index set.  It may be the view itself, if that holds its
 * state; then with the index over the keys.  Either a view is written, or
 * "changes" are handed out.  If others may write the view at the same time,
 * "lock" is not NULL.  Returns false if the delta did not fit, or if there are too
 * many groups to lock.
 */
bool
mvr_stage_apply_groups(const MvrStage *stage, PlannedStmt *plan, MvrHeap *view,
					   MvrHeap *state, List *deltas, MvrDelta *changes,
					   MvrKeyLock *lock)
{
	GroupWriter *writer = begin_groups(stage, changes);
	bool		fits;

	writer->view = view;
	writer->state = state;
	writer->is_held = (view == state);
	writer->found = writer->is_held ?
		MakeSingleTupleTableSlot(writer->next->tts_tupleDescriptor, &TTSOpsVirtual) :
		state->found;
	if (view && !stage->is_scalar &&
		mvr_heap_has_other_unique(view->rel, InvalidOid, find_key_outputs(stage)))
		writer->later = tuplestore_begin_heap(false, false, work_mem);
	if (lock)
		writer->fits = apply_locked_groups(writer, plan, deltas, lock) && writer->fits;
	else
		mvr_run_query(plan, mvr_run_query_environment(deltas), apply_group_delta, writer);
	if (lock == NULL || !lock->is_full)
		recompute_wanted(writer);
	if (writer->later)
		finish_later(writer);
	fits = writer->fits;
	end_groups(writer);
	return fits;
}
