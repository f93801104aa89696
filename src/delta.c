/*
 * delta.c
 *		The rows that are new to a view, each with its weight.
 *
 * They are in a tuplestore; or, if they are many and the query that wants them
 * reads them once, they stay where they stand, in the change log or among the
 * transition tables of a statement, and it reads them there (delta_scan.c).
 *
 * Rows that undo each other cancel out in any delta query; to leave them out
 * before saves their joins, but costs time itself.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "matview_refresh.h"

/* A name for the weight column that no column of the base table has */
static const char *
choose_weight_name(TupleDesc base)
{
	char	   *name = "weight";

	for (int i = 0, n = 0; i < base->natts; i++)
	{
		if (namestrcmp(&TupleDescAttr(base, i)->attname, name) == 0)
		{
			name = psprintf("weight_%d", ++n);
			i = -1;
		}
	}
	return name;
}

/* Columns of a base table as a delta has them, and the weight */
TupleDesc
mvr_delta_build_desc(Relation base, Bitmapset *columns)
{
	TupleDesc	basedesc = RelationGetDescr(base);
	TupleDesc	desc = CreateTemplateTupleDesc(bms_num_members(columns) + 1);
	AttrNumber	position = 0;
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		TupleDescCopyEntry(desc, ++position, basedesc, attnum);
	TupleDescInitEntry(desc, ++position, choose_weight_name(basedesc), INT4OID, -1, 0);
	TupleDescFinalize(desc);
	return desc;
}

/* A delta, still without rows */
MvrDelta *
mvr_delta_make(Relation base, const MvrSource *source)
{
	MvrDelta   *delta = palloc0(sizeof(MvrDelta));
	AttrNumber	position = 0;
	int			attnum = -1;

	delta->base = RelationGetRelid(base);
	delta->name = psprintf("delta_%u", delta->base);
	delta->natts = RelationGetDescr(base)->natts;
	delta->attmap = palloc0(sizeof(AttrNumber) * (delta->natts + 1));
	while ((attnum = bms_next_member(source->columns, attnum)) >= 0)
		delta->attmap[attnum - 1] = ++position;
	delta->weight = position + 1;
	delta->desc = mvr_delta_build_desc(base, source->columns);
	delta->rows = tuplestore_begin_heap(false, false, work_mem);
	return delta;
}

/* Exchange two slots, rows and all */
void
mvr_swap_slots(TupleTableSlot **a, TupleTableSlot **b)
{
	TupleTableSlot *slot = *a;

	*a = *b;
	*b = slot;
}

/* Append a row to a delta */
static void
put_row(MvrDelta *delta, TupleTableSlot *out)
{
	tuplestore_puttupleslot(delta->rows, out);
	delta->nrows++;
	if (mvr_delta_get_weight(out) < 0)
		delta->ngone++;
}

/*
 * How many are the rows that stand elsewhere?  Of an UPDATE's, which may leave the
 * columns of the delta as they are, that is known when they have been read.
 */
void
mvr_delta_count(MvrDelta *delta)
{
	TupleTableSlot *row;
	void	   *scan;

	if (delta->ngone == 0 || delta->ngone == delta->nrows)
		return;
	scan = delta->source->begin(delta->source);
	delta->nrows = delta->ngone = 0;
	while ((row = delta->source->next(scan)) != NULL)
	{
		delta->nrows++;
		if (mvr_delta_get_weight(row) < 0)
			delta->ngone++;
	}
	delta->source->end(scan);
}

/* Put all rows of a source into a delta that has none, and note which are NULL */
void
mvr_delta_collect(MvrDelta *delta, MvrRowSource *source)
{
	TupleTableSlot *row;
	void	   *scan = source->begin(source);

	delta->nrows = delta->ngone = 0;
	delta->nulls = palloc0(sizeof(bool) * delta->desc->natts);
	while ((row = source->next(scan)) != NULL)
	{
		for (int i = 0; i < delta->desc->natts; i++)
			delta->nulls[i] |= row->tts_isnull[i];
		put_row(delta, row);
	}
	source->end(scan);
}

/* Put the rows of a delta into a Z-set, and empty the delta */
static MvrZset *
move_to_zset(MvrDelta *delta)
{
	int			nrow = delta->desc->natts - 1;
	TupleDesc	rowdesc = CreateTemplateTupleDesc(nrow);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);
	MvrZset    *zset;
	bool		isnull;

	for (int i = 1; i <= nrow; i++)
		TupleDescCopyEntry(rowdesc, i, delta->desc, i);
	TupleDescFinalize(rowdesc);
	zset = mvr_zset_begin(rowdesc, NULL, 0, NULL);
	while (tuplestore_gettupleslot(delta->rows, true, false, slot))
		mvr_zset_put(zset, slot,
					 DatumGetInt32(slot_getattr(slot, nrow + 1, &isnull)),
					 NULL, NULL);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_clear(delta->rows);
	delta->nrows = delta->ngone = 0;
	return zset;
}

/*
 * Replace the rows by what is left when rows that went meet the same rows that
 * appeared: several writers may have moved a row to and fro, or the pages that
 * the log had room in have parted the two rows of an UPDATE.
 */
static void
net_rows(MvrDelta *delta)
{
	int			nrow = delta->desc->natts - 1;
	MvrZset    *zset = move_to_zset(delta);
	TupleTableSlot *out = MakeSingleTupleTableSlot(delta->desc, &TTSOpsVirtual);
	MvrZsetRow	row;

	while (mvr_zset_next(zset, &row))
	{
		bool		appeared = (row.change == MVR_ROW_INSERTED);
		TupleTableSlot *left = appeared ? row.row : row.old;

		if (row.change == MVR_ROW_SAME)
			continue;
		ExecClearTuple(out);
		slot_getallattrs(left);
		memcpy(out->tts_values, left->tts_values, sizeof(Datum) * nrow);
		memcpy(out->tts_isnull, left->tts_isnull, sizeof(bool) * nrow);
		out->tts_values[nrow] = Int32GetDatum(appeared ? 1 : -1);
		out->tts_isnull[nrow] = false;
		ExecStoreVirtualTuple(out);
		put_row(delta, out);
	}
	mvr_zset_end(zset);
	ExecDropSingleTupleTableSlot(out);
}

typedef struct RowHashes
{
	int64	   *hashes;
	int64		n;
} RowHashes;

static int
compare_hashes(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right ? 1 : 0;
}

/* Hashes of the rows that went, in order, and of those that appeared */
static void
collect_hashes(MvrDelta *delta, RowHashes *gone, RowHashes *come)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);

	gone->n = come->n = 0;
	gone->hashes = palloc_extended(sizeof(int64) * delta->nrows, MCXT_ALLOC_HUGE);
	come->hashes = palloc_extended(sizeof(int64) * delta->nrows, MCXT_ALLOC_HUGE);
	tuplestore_rescan(delta->rows);
	while (tuplestore_gettupleslot(delta->rows, true, false, slot))
	{
		RowHashes  *hashes = mvr_delta_get_weight(slot) < 0 ? gone : come;

		hashes->hashes[hashes->n++] = mvr_zset_hash(slot, delta->desc->natts - 1, NULL);
	}
	tuplestore_rescan(delta->rows);
	ExecDropSingleTupleTableSlot(slot);
	qsort(gone->hashes, gone->n, sizeof(int64), compare_hashes);
}

/* How many rows that appeared have gone too?  By their hashes: not less. */
static int64
count_undone(MvrDelta *delta)
{
	RowHashes	gone;
	RowHashes	come;
	int64		count = 0;

	if (delta->ngone == 0 || delta->ngone == delta->nrows)
		return 0;
	collect_hashes(delta, &gone, &come);
	for (int64 i = 0; i < come.n; i++)
		if (bsearch(&come.hashes[i], gone.hashes, gone.n, sizeof(int64), compare_hashes))
			count++;
	pfree(gone.hashes);
	pfree(come.hashes);
	return count;
}

/*
 * Leave no row in a delta that appeared and went again.  One statement can do
 * that to a row: an action of a foreign key that refers to its own table updates
 * it once more.
 */
void
mvr_delta_net(MvrDelta *delta)
{
	if (!delta->is_net && count_undone(delta) > 0)
		net_rows(delta);
	delta->is_net = true;
	delta->has_passing = false;
}

/*
 * To net costs a sort, so it is done if an eighth of the rows would be left out.
 * To find that out costs a hash of each row.  (Who needs a delta without such pairs
 * sees to that: mvr_delta_net.)
 */
void
mvr_delta_net_if_worth_it(MvrDelta *delta)
{
	int64		nundone;

	nundone = count_undone(delta);
	if (2 * nundone > delta->nrows / 8)
	{
		net_rows(delta);
		nundone = 0;
	}
	delta->is_net = (nundone == 0);
	delta->has_passing &= !delta->is_net;
}

/* Let go of deltas, a list of MvrDelta: large ones have a temporary file */
void
mvr_delta_end(List *deltas)
{
	foreach_ptr(MvrDelta, delta, deltas)
	{
		if (delta->rows)
			tuplestore_end(delta->rows);
		if (delta->places)
			tuplestore_end(delta->places);
	}
}
