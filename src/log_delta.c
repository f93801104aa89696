/*
 * log_delta.c
 *		What a change log tells one view: a delta.
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/executor.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "matview_refresh.h"

/* ----------
 * The rows of a log as rows of a delta
 * ----------
 */

/* The rows of a log that are new to a view, as rows of a delta */
typedef struct LogRows
{
	MvrRowSource source;
	Oid			log;
	TupleDesc	desc;			/* of the delta */
	const AttrNumber *map;		/* see mvr_change_log_build_map */
	List	   *frontiers;		/* that of the view */

	/* known when they have been read */
	int64		nread;
	int			nwriters;		/* as in MvrLogScan */
	bool		is_marked;		/* reading has stopped at a rebuild mark */
} LogRows;

typedef struct LogRowsScan
{
	LogRows    *of;
	Relation	log;
	MvrLogScan	scan;
	TupleTableSlot *row;
	TupleTableSlot *last;		/* the one before, or empty */
	TupleTableSlot *out;		/* the one before that, handed out */
	bool		at_end;			/* to ask once more would begin again */
} LogRowsScan;

/* The last column of the log that is needed */
static AttrNumber
get_last_column(const AttrNumber *map, int natts)
{
	AttrNumber	last = MVR_LOG_FIXED;

	for (int i = 0; i < natts; i++)
		last = Max(last, map[i]);
	return last;
}

/* Does a row undo another? */
static bool
is_undoing(TupleTableSlot *a, TupleTableSlot *b)
{
	int			nrow = a->tts_tupleDescriptor->natts - 1;

	return mvr_delta_get_weight(a) == -mvr_delta_get_weight(b) && mvr_zset_is_same(a, b, nrow);
}

static void *
begin_rows(MvrRowSource *source)
{
	LogRows    *of = (LogRows *) source;
	LogRowsScan *rows = palloc0(sizeof(LogRowsScan));

	of->nread = 0;
	of->is_marked = false;
	rows->of = of;
	rows->log = table_open(of->log, NoLock);
	rows->row = MakeSingleTupleTableSlot(of->desc, &TTSOpsVirtual);
	rows->last = MakeSingleTupleTableSlot(of->desc, &TTSOpsVirtual);
	rows->out = MakeSingleTupleTableSlot(of->desc, &TTSOpsVirtual);
	mvr_log_reader_begin(&rows->scan, rows->log, get_last_column(of->map, of->desc->natts),
						 of->frontiers, GetActiveSnapshot());
	return rows;
}

static bool
is_mark(TupleTableSlot *row)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(row, MVR_LOG_WEIGHT, &isnull)) == 0;
}

/* Have the next row of the log in rows->row; false at the end, or at a mark */
static bool
fetch_row(LogRowsScan *rows)
{
	TupleTableSlot *row = rows->row;
	TupleTableSlot *from;

	if (rows->at_end)
		return false;
	from = mvr_log_reader_fetch_unpacked(&rows->scan);
	rows->of->is_marked = from && is_mark(from);
	rows->at_end = from == NULL || rows->of->is_marked;
	if (rows->at_end)
		return false;
	ExecClearTuple(row);
	for (int i = 0; i < rows->of->desc->natts; i++)
		row->tts_values[i] = slot_getattr(from, rows->of->map[i], &row->tts_isnull[i]);
	ExecStoreVirtualTuple(row);
	rows->of->nread++;
	return true;
}

/* What was last is handed out, the present row is last */
static TupleTableSlot *
hand_out_last(LogRowsScan *rows)
{
	mvr_swap_slots(&rows->out, &rows->last);
	mvr_swap_slots(&rows->last, &rows->row);
	return rows->out;
}

/*
 * A row is handed out when the next one is known, and neither is if they undo
 * each other: an UPDATE of columns that only other views need logs the old row
 * and then the new one, alike in ours.
 */
static TupleTableSlot *
next_row(void *scan)
{
	LogRowsScan *rows = scan;

	while (fetch_row(rows))
	{
		if (TTS_EMPTY(rows->last))
			mvr_swap_slots(&rows->last, &rows->row);
		else if (is_undoing(rows->last, rows->row))
			ExecClearTuple(rows->last);
		else
			return hand_out_last(rows);
	}
	if (TTS_EMPTY(rows->last))
		return NULL;
	ExecClearTuple(rows->row);
	return hand_out_last(rows);
}

static void
end_rows(void *scan)
{
	LogRowsScan *rows = scan;

	rows->of->nwriters = rows->scan.nwriters;
	mvr_log_reader_end(&rows->scan);
	ExecDropSingleTupleTableSlot(rows->row);
	ExecDropSingleTupleTableSlot(rows->last);
	ExecDropSingleTupleTableSlot(rows->out);
	table_close(rows->log, NoLock);
	pfree(rows);
}

/*
 * Look at the log without unpacking it: how many rows are new, and is there a
 * mark among them?
 */
static void
survey_rows(LogRows *rows, Relation log)
{
	MvrLogScan	scan;

	mvr_log_reader_begin(&scan, log, MVR_LOG_FIXED, rows->frontiers, GetActiveSnapshot());
	while (mvr_log_reader_fetch_new(&scan))
	{
		bytea	   *pack = mvr_log_reader_get_pack(&scan);

		rows->is_marked = pack == NULL && is_mark(scan.slot);
		if (rows->is_marked)
			break;
		rows->nread += pack ? mvr_pack_count(pack) : 1;
	}
	rows->nwriters = scan.nwriters;
	mvr_log_reader_end(&scan);
}

/* ----------
 * Reading
 * ----------
 */

static LogRows *
make_rows(Relation log, const AttrNumber *map, TupleDesc desc, const MvrFrontier *frontier)
{
	LogRows    *rows = palloc0(sizeof(LogRows));

	rows->source.begin = begin_rows;
	rows->source.next = next_row;
	rows->source.end = end_rows;
	rows->log = RelationGetRelid(log);
	rows->desc = desc;
	rows->map = map;
	rows->frontiers = list_make1(unconstify(MvrFrontier *, frontier));
	return rows;
}

/* Leave the rows where they are */
static void
refer_to_rows(MvrDelta *delta, LogRows *rows)
{
	delta->source = &rows->source;
	delta->nrows = delta->ngone = delta->nread = rows->nread;
	delta->has_passing = (rows->nwriters > 1);
}

/*
 * What several writers have written may undo each other; what one has written, if
 * many rows have undone the one before them, since then pairs may be left that have
 * been parted.  That two rows look alike by chance is no reason.
 */
static void
collect_rows(MvrDelta *delta, LogRows *rows)
{
	mvr_delta_collect(delta, &rows->source);
	delta->nread = rows->nread;
	delta->has_passing = (rows->nwriters > 1);
	if (!rows->is_marked &&
		(delta->has_passing || delta->nread - delta->nrows > delta->nread / 8))
		mvr_delta_net_if_worth_it(delta);
}

/*
 * The changes of a base table that the active snapshot sees and the frontier
 * does not cover.  If there are many, and the caller wants them "in_place", they
 * stay in the log; then the delta says only at most how many there are.  Frontier
 * and snapshot must stay the same until they are read.
 *
 * Sets *marked to whether the rows cannot tell what the base table holds: then
 * the view must be recomputed, and the delta is incomplete.  Keeps
 * AccessShareLock on the log, since large values stay where they are.
 */
MvrDelta *
mvr_log_delta_read(Relation base, const MvrSource *source,
				   const MvrFrontier *frontier, bool in_place, bool *marked)
{
	Relation	log = table_open(source->log, AccessShareLock);
	AttrNumber *map = mvr_change_log_build_map(log, base, source->columns);
	MvrDelta   *delta = mvr_delta_make(base, source);

	*marked = (map == NULL);
	if (map)
	{
		LogRows    *rows = make_rows(log, map, delta->desc, frontier);

		if (in_place)
			survey_rows(rows, log);
		if (rows->nread >= mvr_in_place_from)
			refer_to_rows(delta, rows);
		else
			collect_rows(delta, rows);
		*marked = rows->is_marked;
	}
	table_close(log, NoLock);
	return delta;
}
