/*
 * diff.c
 *		Recompute a view's query, write the differences.
 *
 * The way out whenever changes cannot be applied: right for every query and
 * from whatever the view holds now.  The rows of the query count +1, those of
 * the view -1 and know where they stand; what is left is written in place.
 * Readers go on, and rows that are the same are not touched.
 *
 * For a view by groups, the state of each group travels with its row, so that
 * at the end it is known where that row stands; the state table is written in
 * the same pass.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "matview_refresh.h"

typedef struct DiffContext
{
	MvrZset    *zset;
	MvrHeap    *state;			/* NULL unless by groups */
} DiffContext;

static void
collect_row(TupleTableSlot *row, void *arg)
{
	mvr_zset_put(((DiffContext *) arg)->zset, row, 1, NULL, NULL);
}

static void
collect_group(TupleTableSlot *state, TupleTableSlot *row, void *arg)
{
	DiffContext *context = arg;

	if (row)
		mvr_zset_put(context->zset, row, 1, NULL, state);
	else
		mvr_heap_insert(context->state, state);
}

static void
collect_query(const MvrStage *stage, DiffContext *context)
{
	if (context->state)
		mvr_stage_run_groups(stage, collect_group, context);
	else
		mvr_run_query(mvr_run_query_plan(mvr_delta_query_build_all(stage), true), NULL,
					  collect_row, context);
}

static void
collect_view(MvrZset *zset, Relation view)
{
	TableScanDesc scan = table_beginscan(view, SnapshotSelf, 0, NULL);
	TupleTableSlot *slot = table_slot_create(view, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		mvr_zset_put(zset, slot, -1, &slot->tts_tid, NULL);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

/*
 * Does the active snapshot see the view's rows as they are now?  If not then
 * somebody has written the view since, and a REPEATABLE READ or SERIALIZABLE
 * transaction must not go on from what it sees.
 *
 * It does if it sees every row that is there, and no more.
 */
bool
mvr_diff_is_current(Relation view)
{
	TupleTableSlot *slot = table_slot_create(view, NULL);
	TableScanDesc scan = table_beginscan(view, SnapshotSelf, 0, NULL);
	bool		is_current = true;
	int64		nrows = 0;

	while (is_current && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		is_current = table_tuple_satisfies_snapshot(view, slot, GetActiveSnapshot());
		nrows++;
	}
	table_endscan(scan);
	scan = table_beginscan(view, GetActiveSnapshot(), 0, NULL);
	while (is_current && table_scan_getnextslot(scan, ForwardScanDirection, slot))
		is_current = --nrows >= 0;
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return is_current;
}

/* Show some columns of a slot in another, from column "first" on */
static TupleTableSlot *
show_columns(TupleTableSlot *shown, TupleTableSlot *slot, int first)
{
	int			natts = shown->tts_tupleDescriptor->natts;

	ExecClearTuple(shown);
	slot_getsomeattrs(slot, first + natts);
	memcpy(shown->tts_values, slot->tts_values + first, sizeof(Datum) * natts);
	memcpy(shown->tts_isnull, slot->tts_isnull + first, sizeof(bool) * natts);
	return ExecStoreVirtualTuple(shown);
}

typedef struct DiffWriter
{
	MvrHeap    *view;
	MvrHeap    *state;
	TupleTableSlot *row;		/* virtual, of the view */
	TupleTableSlot *group;		/* virtual, of the state */
} DiffWriter;

/* Write the state of the group in "row", whose row stands at tid now */
static void
write_state(DiffWriter *writer, TupleTableSlot *row, ItemPointer tid)
{
	TupleTableSlot *group = writer->group;

	if (writer->state == NULL)
		return;
	show_columns(group, row, writer->row->tts_tupleDescriptor->natts);
	group->tts_values[MVR_STATE_TID - 1] = PointerGetDatum(tid);
	group->tts_isnull[MVR_STATE_TID - 1] = false;
	mvr_heap_insert(writer->state, group);
}

static void
insert_row(DiffWriter *writer, TupleTableSlot *row)
{
	show_columns(writer->row, row, 0);
	mvr_heap_insert(writer->view, writer->row);
	write_state(writer, row, &writer->row->tts_tid);
}

static void
write_change(DiffWriter *writer, MvrZsetRow *change, Tuplestorestate *later)
{
	switch (change->change)
	{
		case MVR_ROW_SAME:
			write_state(writer, change->row, &change->tid);
			return;
		case MVR_ROW_UPDATED:
			if (!later)
			{
				show_columns(writer->row, change->row, 0);
				mvr_heap_update(writer->view, &change->tid, writer->row);
				write_state(writer, change->row, &writer->row->tts_tid);
				return;
			}
			mvr_heap_delete(writer->view, &change->tid);
			break;
		case MVR_ROW_DELETED:
			mvr_heap_delete(writer->view, &change->tid);
			return;
		case MVR_ROW_INSERTED:
			break;
	}
	if (later)
		tuplestore_puttupleslot(later, change->row);
	else
		insert_row(writer, change->row);
}

static void
insert_later(DiffWriter *writer, Tuplestorestate *later, TupleDesc desc)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(later, true, false, slot))
		insert_row(writer, slot);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Bring a view to its query's result.  Caller holds ExclusiveLock on the view
 * and has set the active snapshot, with which the query runs.  "state" is the
 * empty state table of a view by groups, without an index yet, or NULL.
 */
void
mvr_diff_write(const MvrStage *stage, MvrHeap *view, MvrHeap *state)
{
	DiffWriter	writer = {.view = view,.state = state};
	DiffContext context = {.state = state};
	TupleDesc	statedesc = state ? RelationGetDescr(state->rel) : NULL;
	Oid			key = mvr_heap_lookup_key_index(view->rel, NULL);
	Tuplestorestate *later = NULL;
	MvrZsetRow	change;
	TupleDesc	desc = NULL;

	if (OidIsValid(key) && view->index == NULL)
		mvr_heap_set_index(view, key);
	context.zset = mvr_zset_begin(stage->desc, statedesc,
								  OidIsValid(key) ? view->nkeys : 0, view->keys);
	collect_query(stage, &context);
	collect_view(context.zset, view->rel);
	if (mvr_heap_has_other_unique(view->rel, key, NULL))
		later = tuplestore_begin_heap(false, false, work_mem);
	writer.row = MakeSingleTupleTableSlot(stage->desc, &TTSOpsVirtual);
	if (state)
		writer.group = MakeSingleTupleTableSlot(statedesc, &TTSOpsVirtual);
	while (mvr_zset_next(context.zset, &change))
	{
		CHECK_FOR_INTERRUPTS();
		if (change.row)
			desc = change.row->tts_tupleDescriptor;
		write_change(&writer, &change, later);
	}
	if (later && desc)
		insert_later(&writer, later, desc);
	ExecDropSingleTupleTableSlot(writer.row);
	if (state)
		ExecDropSingleTupleTableSlot(writer.group);
	mvr_zset_end(context.zset);
}

/* ----------
 * Counting
 * ----------
 */

/* One look for numbers that are equal, whatever digits and sign of zero */
static Datum
normalize_datum(Datum value, Oid type)
{
	switch (type)
	{
		case NUMERICOID:
			return DirectFunctionCall1(numeric_trim_scale, value);
		case FLOAT8OID:
			return Float8GetDatum(DatumGetFloat8(value) + 0.0);
		case FLOAT4OID:
			return Float4GetDatum(DatumGetFloat4(value) + 0.0f);
		default:
			return value;
	}
}

typedef struct CountContext
{
	MvrZset    *zset;
	const MvrStage *stage;
	TupleTableSlot *normal;		/* virtual: a row, ambiguous columns normalized */
} CountContext;

static void
count_row(CountContext *context, TupleTableSlot *row, int weight)
{
	TupleTableSlot *normal = context->normal;
	const MvrStage *stage = context->stage;

	/* what is ambiguous in a stage below may be in any column */
	show_columns(normal, row, 0);
	for (int i = 0; i < normal->tts_tupleDescriptor->natts; i++)
		if (!normal->tts_isnull[i] &&
			(bms_is_member(i + 1, stage->ambiguous) ||
			 (stage->inner && stage->has_ambiguous)))
			normal->tts_values[i] =
				normalize_datum(normal->tts_values[i],
								TupleDescAttr(stage->desc, i)->atttypid);
	mvr_zset_put(context->zset, normal, weight, NULL, NULL);
}

static void
count_query_row(TupleTableSlot *row, void *arg)
{
	count_row(arg, row, 1);
}

static void
count_view_rows(CountContext *context, Relation view)
{
	TableScanDesc scan = table_beginscan(view, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(view, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		count_row(context, slot, -1);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

/*
 * Count the rows of the query that the view lacks, and those of the view that
 * the query lacks, both read with the active snapshot.  Numbers that SQL
 * leaves the choice of (any of 1.0 and 1.00 in a group) are compared by value.
 */
void
mvr_diff_count(const MvrStage *stage, Relation view, int64 *missing, int64 *extra)
{
	CountContext context = {.stage = stage};
	MvrZsetRow	change;

	*missing = *extra = 0;
	context.normal = MakeSingleTupleTableSlot(stage->desc, &TTSOpsVirtual);
	context.zset = mvr_zset_begin(stage->desc, NULL, 0, NULL);
	mvr_run_query(mvr_run_query_plan(copyObject(stage->query), true), NULL,
				  count_query_row, &context);
	count_view_rows(&context, view);
	while (mvr_zset_next(context.zset, &change))
	{
		if (change.change == MVR_ROW_INSERTED)
			(*missing)++;
		else if (change.change == MVR_ROW_DELETED)
			(*extra)++;
	}
	mvr_zset_end(context.zset);
	ExecDropSingleTupleTableSlot(context.normal);
}
