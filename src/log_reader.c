/*
 * log_reader.c
 *		Scan a change log: whose rows are new, and what is packed in them.
 *
 * A row that a scan hands out stays as it is until the next but one: where there
 * is one of something, there is a second for the row before.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/xid8.h"

#include "matview_refresh.h"

/* A slot for what is unpacked; it always has a row */
static TupleTableSlot *
make_unpacked_slot(TupleDesc desc)
{
	return ExecStoreAllNullTuple(MakeSingleTupleTableSlot(desc, &TTSOpsVirtual));
}

/*
 * Begin to scan a log, which is open, with a lock.  Of what is packed only the
 * first "ncolumns" of the log will be read.  A row is covered if all of the
 * frontiers, a list of MvrFrontier, cover it.
 */
void
mvr_log_reader_begin(MvrLogScan *scan, Relation log, AttrNumber ncolumns,
					 List *frontiers, Snapshot snapshot)
{
	TupleDesc	desc = RelationGetDescr(log);

	memset(scan, 0, sizeof(*scan));
	scan->scan = table_beginscan(log, snapshot, 0, NULL);
	scan->slot = table_slot_create(log, NULL);
	scan->other_slot = table_slot_create(log, NULL);
	scan->reader = mvr_pack_begin_read(desc, ncolumns);
	scan->unpacked = make_unpacked_slot(desc);
	scan->other_unpacked = make_unpacked_slot(desc);
	scan->frontiers = frontiers;
	scan->xid = InvalidFullTransactionId;
}

static bool
is_covered_by_all(List *frontiers, FullTransactionId xid, CommandId cid)
{
	foreach_ptr(MvrFrontier, frontier, frontiers)
		if (!mvr_frontier_covers(frontier, xid, cid))
			return false;
	return true;
}

/* Count the writers of rows that are not covered; those of others lie between them */
static void
count_writer(MvrLogScan *scan)
{
	if (scan->nwriters == 0)
	{
		scan->nwriters = 1;
		scan->new_xid = scan->xid;
		scan->new_cid = scan->cid;
	}
	else if (scan->cid != scan->new_cid ||
			 !FullTransactionIdEquals(scan->xid, scan->new_xid))
		scan->nwriters = 2;
}

/* Find out about the writer of the row; rows of one stand mostly together */
static void
note_writer(MvrLogScan *scan)
{
	bool		isnull;
	FullTransactionId xid = DatumGetFullTransactionId(slot_getattr(scan->slot, MVR_LOG_XID, &isnull));
	CommandId	cid = DatumGetCommandId(slot_getattr(scan->slot, MVR_LOG_CID, &isnull));

	if (cid == scan->cid && FullTransactionIdEquals(xid, scan->xid))
		return;
	scan->xid = xid;
	scan->cid = cid;
	scan->is_covered = is_covered_by_all(scan->frontiers, xid, cid);
	if (!scan->is_covered)
		count_writer(scan);
}

/* Go to the next row; false at the end */
bool
mvr_log_reader_fetch(MvrLogScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	if (!table_scan_getnextslot(scan->scan, ForwardScanDirection, scan->slot))
		return false;
	note_writer(scan);
	return true;
}

/* Go to the next row that is not covered */
bool
mvr_log_reader_fetch_new(MvrLogScan *scan)
{
	mvr_swap_slots(&scan->slot, &scan->other_slot);
	while (mvr_log_reader_fetch(scan))
		if (!scan->is_covered)
			return true;
	return false;
}

/* The pack in the row, or NULL */
bytea *
mvr_log_reader_get_pack(MvrLogScan *scan)
{
	bool		isnull;
	Datum		pack = slot_getattr(scan->slot, MVR_LOG_PACK, &isnull);

	return isnull ? NULL : DatumGetByteaPP(pack);
}

/* Go to the next row of the pack, if one is open */
static bool
unpack_row(MvrLogScan *scan)
{
	TupleTableSlot *row = scan->other_unpacked;
	int			weight;

	if (!mvr_pack_next(scan->reader, row->tts_values + MVR_LOG_FIXED,
					   row->tts_isnull + MVR_LOG_FIXED, &weight))
		return false;
	row->tts_values[MVR_LOG_XID - 1] = FullTransactionIdGetDatum(scan->xid);
	row->tts_values[MVR_LOG_CID - 1] = CommandIdGetDatum(scan->cid);
	row->tts_values[MVR_LOG_WEIGHT - 1] = Int32GetDatum(weight);
	row->tts_isnull[MVR_LOG_XID - 1] = row->tts_isnull[MVR_LOG_CID - 1] =
		row->tts_isnull[MVR_LOG_WEIGHT - 1] = false;
	mvr_swap_slots(&scan->unpacked, &scan->other_unpacked);
	return true;
}

/* Go to the next row that is not covered, packed or not; NULL at the end */
TupleTableSlot *
mvr_log_reader_fetch_unpacked(MvrLogScan *scan)
{
	bytea	   *pack;

	while (!unpack_row(scan))
	{
		if (!mvr_log_reader_fetch_new(scan))
			return NULL;
		pack = mvr_log_reader_get_pack(scan);
		if (pack == NULL)
			return scan->slot;
		mvr_pack_open(scan->reader, pack);
	}
	return scan->unpacked;
}

/* End a scan of a log, which stays locked */
void
mvr_log_reader_end(MvrLogScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->unpacked);
	ExecDropSingleTupleTableSlot(scan->other_unpacked);
	ExecDropSingleTupleTableSlot(scan->slot);
	ExecDropSingleTupleTableSlot(scan->other_slot);
	mvr_pack_end_read(scan->reader);
	table_endscan(scan->scan);
}

