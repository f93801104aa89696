/*
 * log_writer.c
 *		Append to a change log, and put aside what live views need.
 *
 * Appending is done inside the writing transaction and waits for nobody.  The
 * rows of a statement are packed (pack.c), but for a single one, and large ones,
 * whose values the log keeps apart as any table does.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/xid8.h"

#include "matview_refresh.h"

/*
 * Prepare to append rows; "source" says for each column of the log where in
 * the rows its value stands, or 0.  The log is open with RowExclusiveLock.  What
 * live views need of the rows is put aside for them, or left where it is:
 * "statement" says that all rows are those of this statement, or is NULL.
 *
 * nrows is about how many rows will come; one goes straight into the heap.
 */
void
mvr_log_writer_begin(MvrLogWriter *writer, const MvrBase *base, Relation log,
					 const AttrNumber *source, int64 nrows,
					 const MvrStatement *statement)
{
	int			natts = RelationGetDescr(log)->natts;

	writer->log = log;
	writer->is_logged = base->row.is_logged;
	writer->pending = mvr_pending_begin_put(base, statement);
	writer->source = source;
	writer->cid = GetCurrentCommandId(true);
	writer->values = palloc0(sizeof(Datum) * natts);
	writer->nulls = palloc(sizeof(bool) * natts);
	writer->last = 0;
	for (int i = 0; i < natts; i++)
	{
		writer->nulls[i] = (i + 1 >= MVR_LOG_PACK);
		writer->last = Max(writer->last, source[i]);
	}
	writer->values[MVR_LOG_XID - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	writer->values[MVR_LOG_CID - 1] = CommandIdGetDatum(writer->cid);
	writer->has_appended = list_length(writer->pending) < list_length(base->views);
	writer->pack = writer->is_logged && nrows > 1 ?
		mvr_pack_begin(RelationGetDescr(log)) : NULL;
}

/* Are there any who want the rows to be appended? */
bool
mvr_log_writer_wants_rows(const MvrLogWriter *writer)
{
	return writer->is_logged || writer->pending != NIL;
}

static void
insert_row(MvrLogWriter *writer, Datum *values, bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(writer->log), values, nulls);

	heap_insert(writer->log, tuple, writer->cid, HEAP_INSERT_NO_LOGICAL, NULL);
	heap_freetuple(tuple);
}

/* Write the pack, if there is anything in it */
static void
flush_pack(MvrLogWriter *writer)
{
	int			natts = RelationGetDescr(writer->log)->natts;
	bytea	   *pack = mvr_pack_get(writer->pack);
	Datum	   *values;
	bool	   *nulls;

	if (pack == NULL)
		return;
	values = palloc0(sizeof(Datum) * natts);
	nulls = palloc(sizeof(bool) * natts);
	memset(nulls, true, natts);
	values[MVR_LOG_XID - 1] = writer->values[MVR_LOG_XID - 1];
	values[MVR_LOG_CID - 1] = writer->values[MVR_LOG_CID - 1];
	values[MVR_LOG_PACK - 1] = PointerGetDatum(pack);
	nulls[MVR_LOG_XID - 1] = nulls[MVR_LOG_CID - 1] = nulls[MVR_LOG_PACK - 1] = false;
	insert_row(writer, values, nulls);
	mvr_pack_clear(writer->pack);
	pfree(pack);
	pfree(values);
	pfree(nulls);
}

/* Put the row in writer->values into the pack; false if it must stand alone */
static bool
pack_row(MvrLogWriter *writer, int weight)
{
	const Datum *values = writer->values + MVR_LOG_FIXED;
	const bool *nulls = writer->nulls + MVR_LOG_FIXED;
	MvrPackPut	put = mvr_pack_put(writer->pack, values, nulls, weight);

	if (put == MVR_PACK_FULL)
	{
		flush_pack(writer);
		put = mvr_pack_put(writer->pack, values, nulls, weight);
	}
	return put == MVR_PACK_DONE;
}

/* Append one row of the base table, +1 if it appeared and -1 if it went */
void
mvr_log_writer_append(MvrLogWriter *writer, TupleTableSlot *row, int weight)
{
	int			natts = RelationGetDescr(writer->log)->natts;

	writer->has_appended = true;
	if (writer->last > 0)
		slot_getsomeattrs(row, writer->last);
	for (int i = MVR_LOG_FIXED; i < natts; i++)
	{
		int			from = writer->source[i] - 1;

		if (from < 0)
			continue;
		writer->values[i] = row->tts_values[from];
		writer->nulls[i] = row->tts_isnull[from];
	}
	foreach_ptr(MvrPending, pending, writer->pending)
		mvr_pending_put(pending, writer->cid, writer->values, writer->nulls, weight);
	if (!writer->is_logged || (writer->pack && pack_row(writer, weight)))
		return;
	writer->values[MVR_LOG_WEIGHT - 1] = Int32GetDatum(weight);
	insert_row(writer, writer->values, writer->nulls);
}

/* Write what is still packed, and free the writer; the log stays open */
void
mvr_log_writer_end(MvrLogWriter *writer)
{
	if (writer->pack)
	{
		flush_pack(writer);
		pfree(writer->pack);
	}
	pfree(writer->values);
	pfree(writer->nulls);
}

/*
 * What has happened to a base table rows cannot tell.  Append a rebuild mark, if
 * there still is such a log that is written to.
 */
void
mvr_log_writer_append_mark(const MvrBase *base)
{
	MvrBase		marked = *base;
	Relation	log;
	AttrNumber *nothing;
	MvrLogWriter writer;

	mvr_pending_mark_all(base);
	log = base->row.is_logged ? try_table_open(base->row.log, RowExclusiveLock) : NULL;
	if (log == NULL)
		return;
	marked.views = NIL;
	nothing = palloc0(sizeof(AttrNumber) * RelationGetDescr(log)->natts);
	mvr_log_writer_begin(&writer, &marked, log, nothing, 1, NULL);
	mvr_log_writer_append(&writer, NULL, 0);
	mvr_log_writer_end(&writer);
	pfree(nothing);
	table_close(log, NoLock);
}
