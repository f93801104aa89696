/*
 * change_log.c
 *		Remember what changed in a base table until every view has used it.
 *
 * A base table has one change log, matview.log_<oid>, for all views over it:
 * an ordinary heap without indexes, whose rows say which row appeared (weight
 * +1) or went (-1), and which command of which transaction wrote it.  Only the
 * columns that some view needs are there.  Capture appends inside the writing
 * transaction (log_writer.c), so a change and its log row commit or vanish together.
 *
 * (1) For each view, a log row is applied once: by the first refresh whose
 *	   snapshot sees it.  Ids are assigned before commit, so a lower id can
 *	   become visible later; never compare ids to find what is new.
 * (2) That snapshot, the frontier, is recorded in the transaction that merges
 *	   the rows.
 * (3) A row is trimmed only when every view's recorded frontier covers it.
 * (4) A row of weight 0 is a rebuild mark: from there on the rows no longer
 *	   tell what the base table holds.  A view that has not consumed the mark
 *	   must be recomputed.
 * (5) The order of the rows means nothing.
 *
 * A log column holds the binary image of the base column and nothing else is
 * ever done with it.  So it has the base type of a domain (whose constraints,
 * added later, could find log rows that break them), no type modifier and the
 * type's own collation: fewer things that ALTER TABLE can put out of step.
 * What is left is the type.  Once it differs from the base column's, the
 * column is logged and read as unknown, until mvr_change_log_ensure replaces
 * it.  No tracked view can miss it: the type of a column that a view reads
 * cannot change.
 *
 * Logical decoding passes over log rows.  The log is in the database's own
 * tablespace: it would not follow the base table to another one, and be in the
 * way of a DROP TABLESPACE.
 *
 * Locks: append and read never block each other, nor does trimming.  Creating
 * a log or adding a column waits for the writers of the base table.  Trimming
 * takes ShareUpdateExclusiveLock on the log; so does a view that gets its
 * first frontier, before it takes its snapshot and until it has committed, for
 * nobody else can know of that frontier and keep rows for it.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_log_rows);

/* Trimming pays from so many rows, or from half of the log */
#define TRIM_MIN_ROWS	1000

/* ----------
 * Columns
 * ----------
 */

static bool
is_data_column(Form_pg_attribute att)
{
	return !att->attisdropped && att->attnum > MVR_LOG_FIXED;
}

/* The base column that a column of the log stands for, or 0 */
AttrNumber
mvr_change_log_get_attnum(TupleDesc log, AttrNumber attno)
{
	Form_pg_attribute att = TupleDescAttr(log, attno - 1);

	return is_data_column(att) ? pg_strtoint16(NameStr(att->attname) + 1) : 0;
}

/* Can a column of the log hold the values of a base table's (now)? */
bool
mvr_change_log_can_hold(Form_pg_attribute log, Form_pg_attribute base)
{
	return !base->attisdropped && getBaseType(base->atttypid) == log->atttypid;
}

/* Column of the log for each column of the base table, 0 if it has none */
static AttrNumber *
build_column_map(TupleDesc log, TupleDesc base)
{
	AttrNumber *map = palloc0(sizeof(AttrNumber) * (base->natts + 1));

	for (int i = MVR_LOG_FIXED; i < log->natts; i++)
	{
		AttrNumber	attnum = mvr_change_log_get_attnum(log, i + 1);

		if (attnum > 0 && attnum <= base->natts &&
			mvr_change_log_can_hold(TupleDescAttr(log, i),
									TupleDescAttr(base, attnum - 1)))
			map[attnum - 1] = i + 1;
	}
	return map;
}

/* ----------
 * Creating
 * ----------
 */

static void
init_data_column(TupleDesc desc, AttrNumber attno, Form_pg_attribute base)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "c%d", base->attnum);
	TupleDescInitEntry(desc, attno, name, getBaseType(base->atttypid), -1, 0);
}

static TupleDesc
build_log_desc(Relation base, Bitmapset *columns)
{
	TupleDesc	desc = CreateTemplateTupleDesc(MVR_LOG_FIXED + bms_num_members(columns));
	AttrNumber	attno = MVR_LOG_FIXED;
	int			attnum = -1;

	TupleDescInitEntry(desc, MVR_LOG_XID, "xid", XID8OID, -1, 0);
	TupleDescInitEntry(desc, MVR_LOG_CID, "cid", CIDOID, -1, 0);
	TupleDescInitEntry(desc, MVR_LOG_WEIGHT, "weight", INT4OID, -1, 0);
	TupleDescInitEntry(desc, MVR_LOG_PACK, "pack", BYTEAOID, -1, 0);
	TupleDescAttr(desc, MVR_LOG_PACK - 1)->attstorage = TYPSTORAGE_PLAIN;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		init_data_column(desc, ++attno,
						 TupleDescAttr(RelationGetDescr(base), attnum - 1));
	TupleDescFinalize(desc);
	return desc;
}

/*
 * Trimmed rows are dead rows that every reader passes over, so the number of
 * them counts, not their share.  Nobody plans queries over a log, nor reads it
 * by an index: no statistics, no vacuum after mere inserts.
 */
static Datum
build_log_options(void)
{
	static const char *const settings[][2] = {
		{"autovacuum_vacuum_scale_factor", "0"},
		{"autovacuum_vacuum_threshold", "1000"},
		{"autovacuum_vacuum_insert_threshold", "-1"},
		{"autovacuum_analyze_threshold", "2147483647"}
	};
	List	   *options = NIL;

	for (int i = 0; i < (int) lengthof(settings); i++)
		options = lappend(options,
						  makeDefElem(pstrdup(settings[i][0]),
									  (Node *) makeString(pstrdup(settings[i][1])),
									  -1));
	return transformRelOptions((Datum) 0, options, NULL, NULL, false, false);
}

static void
delete_table(Oid relid)
{
	ObjectAddress address;

	ObjectAddressSet(address, RelationRelationId, relid);
	performDeletion(&address, DROP_CASCADE,
					PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY |
					PERFORM_DELETION_SKIP_EXTENSIONS);
}

/* A log of ours whose base table went while nobody could tell us */
static void
delete_orphan(const char *name)
{
	Oid			relid = get_relname_relid(name, mvr_catalog_get_namespace());

	if (OidIsValid(relid) &&
		getExtensionOfObject(RelationRelationId, relid) ==
		get_extension_oid("matview_refresh", false))
	{
		delete_table(relid);
		CommandCounterIncrement();
	}
}

static Oid
create_log(Relation base, Bitmapset *columns, bool is_logged)
{
	char	   *name = psprintf("log_%u", RelationGetRelid(base));
	MvrLogRow	row = {.is_logged = is_logged};
	Oid			log;

	delete_orphan(name);
	log = mvr_catalog_create_table(name, InvalidOid, build_log_desc(base, columns),
								   build_log_options(), RelationGetRelid(base));
	row.log = log;
	mvr_catalog_store_log(RelationGetRelid(base), &row);
	CommandCounterIncrement();
	return log;
}

/* ----------
 * Adding columns
 * ----------
 */

static AlterTableCmd *
build_drop_command(Form_pg_attribute att)
{
	AlterTableCmd *command = makeNode(AlterTableCmd);

	command->subtype = AT_DropColumn;
	command->name = pstrdup(NameStr(att->attname));
	command->behavior = DROP_CASCADE;
	return command;
}

static AlterTableCmd *
build_add_command(Form_pg_attribute base)
{
	AlterTableCmd *command = makeNode(AlterTableCmd);
	Oid			type = getBaseType(base->atttypid);

	command->subtype = AT_AddColumn;
	command->def = (Node *) makeColumnDef(psprintf("c%d", base->attnum), type,
										  -1, get_typcollation(type));
	return command;
}

/* What to alter so that the log has the columns; NIL if nothing */
static List *
build_alter_commands(Relation log, Relation base, Bitmapset *columns)
{
	TupleDesc	desc = RelationGetDescr(log);
	AttrNumber *map = build_column_map(desc, RelationGetDescr(base));
	List	   *commands = NIL;
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		if (map[attnum - 1] != 0)
			continue;
		for (int i = MVR_LOG_FIXED; i < desc->natts; i++)
			if (mvr_change_log_get_attnum(desc, i + 1) == attnum)
				commands = lappend(commands, build_drop_command(TupleDescAttr(desc, i)));
		commands = lappend(commands,
						   build_add_command(TupleDescAttr(RelationGetDescr(base),
														   attnum - 1)));
	}
	return commands;
}

/*
 * ALTER TABLE as the owner of the log, who need not be the caller.  It is
 * nothing that event triggers should hear of; and if we are called by one,
 * core has no command at hand to note it with.
 */
static void
alter_log(Oid log, List *commands)
{
	Oid			user;
	int			sec_context;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(mvr_catalog_get_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	EventTriggerInhibitCommandCollection();
	PG_TRY();
	{
		AlterTableInternal(log, commands, false);
	}
	PG_FINALLY();
	{
		EventTriggerUndoInhibitCommandCollection();
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, sec_context);
	CommandCounterIncrement();
}

static bool
has_columns(Oid log, Relation base, Bitmapset *columns)
{
	Relation	rel = table_open(log, AccessShareLock);
	List	   *commands = build_alter_commands(rel, base, columns);

	table_close(rel, AccessShareLock);
	return commands == NIL;
}

/*
 * The base table's change log, created, or given the columns it lacks, or (if
 * "is_logged") written to again after only live views have read the base table.
 *
 * If there is anything to do, ShareRowExclusiveLock on the base table keeps
 * out whoever wants to do the same, and writers until we commit.  Adding a
 * column also waits for all who have written to the log, with whatever table
 * they named: the rows they appended lack it, and a snapshot taken from here
 * on sees them as consumed.
 */
Oid
mvr_change_log_ensure(Relation base, Bitmapset *columns, bool is_logged)
{
	MvrLogRow	row;
	Relation	rel;
	List	   *commands;

	mvr_catalog_lookup_log_row(RelationGetRelid(base), &row);
	if (OidIsValid(row.log) && (row.is_logged || !is_logged) &&
		has_columns(row.log, base, columns))
		return row.log;

	LockRelationOid(RelationGetRelid(base), ShareRowExclusiveLock);
	if (!mvr_catalog_lookup_log_row(RelationGetRelid(base), &row))
		return create_log(base, columns, is_logged);

	rel = table_open(row.log, AccessExclusiveLock);
	commands = build_alter_commands(rel, base, columns);
	table_close(rel, NoLock);
	if (commands != NIL)
		alter_log(row.log, commands);
	row.is_logged |= is_logged;
	mvr_catalog_store_log(RelationGetRelid(base), &row);
	CommandCounterIncrement();
	return row.log;
}

/*
 * Drop the change log of a base table, which may be gone already.  Triggers
 * that are still there would go with it, and core takes AccessExclusiveLock on
 * their tables for that: call mvr_capture_disarm first.
 */
void
mvr_change_log_drop(Oid base)
{
	Oid			log = mvr_catalog_lookup_log(base);

	if (!OidIsValid(log))
		return;
	mvr_catalog_delete_log(base);
	CommandCounterIncrement();
	delete_table(log);
	CommandCounterIncrement();
}

/* ----------
 * Reading
 * ----------
 */

/*
 * A scan over a log that tells which rows are covered by all frontiers.  A row
 * that it hands out stays as it is until the next but one: where there is one of
 * something, there is a second for the row before.
 */
typedef struct LogScan
{
	TableScanDesc scan;
	TupleTableSlot *slot;		/* the row */
	TupleTableSlot *other_slot;
	MvrPackReader *reader;		/* of the pack in it */
	TupleTableSlot *unpacked;	/* a row of that */
	TupleTableSlot *other_unpacked;
	List	   *frontiers;		/* of MvrFrontier */
	FullTransactionId xid;		/* who wrote the row */
	CommandId	cid;
	bool		is_covered;		/* true with no frontiers */
	int			nwriters;		/* of rows not covered: 0, 1, or 2 for several */
	FullTransactionId new_xid;	/* the first of them */
	CommandId	new_cid;
} LogScan;

/* Of what is packed only the first "ncolumns" of the log will be read */
static void
begin_log_scan(LogScan *scan, Relation log, AttrNumber ncolumns, List *frontiers,
			   Snapshot snapshot)
{
	TupleDesc	desc = RelationGetDescr(log);

	memset(scan, 0, sizeof(*scan));
	scan->scan = table_beginscan(log, snapshot, 0, NULL);
	scan->slot = table_slot_create(log, NULL);
	scan->other_slot = table_slot_create(log, NULL);
	scan->reader = mvr_pack_begin_read(desc, ncolumns);
	scan->unpacked = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	scan->other_unpacked = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	scan->frontiers = frontiers;
	scan->xid = InvalidFullTransactionId;
}

static void
swap_slots(TupleTableSlot **a, TupleTableSlot **b)
{
	TupleTableSlot *slot = *a;

	*a = *b;
	*b = slot;
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
count_writer(LogScan *scan)
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
note_writer(LogScan *scan)
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
static bool
fetch_row(LogScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	if (!table_scan_getnextslot(scan->scan, ForwardScanDirection, scan->slot))
		return false;
	note_writer(scan);
	return true;
}

/* Go to the next row that is not covered */
static bool
fetch_new_row(LogScan *scan)
{
	swap_slots(&scan->slot, &scan->other_slot);
	while (fetch_row(scan))
		if (!scan->is_covered)
			return true;
	return false;
}

/* The pack in the row, or NULL */
static bytea *
get_pack(LogScan *scan)
{
	bool		isnull;
	Datum		pack = slot_getattr(scan->slot, MVR_LOG_PACK, &isnull);

	return isnull ? NULL : DatumGetByteaPP(pack);
}

/* Go to the next row of the pack, if one is open */
static bool
unpack_row(LogScan *scan)
{
	TupleTableSlot *row = scan->other_unpacked;
	int			weight;

	ExecClearTuple(row);
	if (!mvr_pack_next(scan->reader, row->tts_values + MVR_LOG_FIXED,
					   row->tts_isnull + MVR_LOG_FIXED, &weight))
		return false;
	swap_slots(&scan->unpacked, &scan->other_unpacked);
	memset(row->tts_isnull, false, MVR_LOG_FIXED);
	row->tts_values[MVR_LOG_XID - 1] = FullTransactionIdGetDatum(scan->xid);
	row->tts_values[MVR_LOG_CID - 1] = CommandIdGetDatum(scan->cid);
	row->tts_values[MVR_LOG_WEIGHT - 1] = Int32GetDatum(weight);
	row->tts_isnull[MVR_LOG_PACK - 1] = true;
	ExecStoreVirtualTuple(row);
	return true;
}

/* Go to the next row that is not covered, packed or not; NULL at the end */
static TupleTableSlot *
fetch_new_unpacked(LogScan *scan)
{
	bytea	   *pack;

	while (!unpack_row(scan))
	{
		if (!fetch_new_row(scan))
			return NULL;
		pack = get_pack(scan);
		if (pack == NULL)
			return scan->slot;
		mvr_pack_open(scan->reader, pack);
	}
	return scan->unpacked;
}

static void
end_log_scan(LogScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->unpacked);
	ExecDropSingleTupleTableSlot(scan->other_unpacked);
	ExecDropSingleTupleTableSlot(scan->slot);
	ExecDropSingleTupleTableSlot(scan->other_slot);
	table_endscan(scan->scan);
}

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
mvr_change_log_build_desc(Relation base, Bitmapset *columns)
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
mvr_change_log_make_delta(Relation base, const MvrSource *source)
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
	delta->desc = mvr_change_log_build_desc(base, source->columns);
	delta->rows = tuplestore_begin_heap(false, false, work_mem);
	return delta;
}

/*
 * Columns of the log in the order of the delta, whose last is the weight.
 * NULL if the log lacks one.
 */
AttrNumber *
mvr_change_log_build_map(Relation log, Relation base, Bitmapset *needed)
{
	AttrNumber *columns = build_column_map(RelationGetDescr(log), RelationGetDescr(base));
	AttrNumber *map = palloc(sizeof(AttrNumber) * (bms_num_members(needed) + 1));
	int			n = 0;
	int			attnum = -1;

	while ((attnum = bms_next_member(needed, attnum)) >= 0)
	{
		map[n] = columns[attnum - 1];
		if (map[n++] == 0)
			return NULL;
	}
	map[n] = MVR_LOG_WEIGHT;
	return map;
}

static int
get_row_weight(TupleTableSlot *row)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(row, row->tts_tupleDescriptor->natts, &isnull));
}

/* Append a row to a delta */
static void
put_row(MvrDelta *delta, TupleTableSlot *out)
{
	tuplestore_puttupleslot(delta->rows, out);
	delta->nrows++;
	if (get_row_weight(out) < 0)
		delta->ngone++;
}

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

	return get_row_weight(a) == -get_row_weight(b) && mvr_zset_is_same(a, b, nrow);
}

/*
 * Read all new rows; returns whether there was a rebuild mark among them.
 *
 * A row is put when the next one is known, and neither is if they undo each
 * other: an UPDATE of columns that only other views need logs the old row and
 * then the new one, alike in ours.
 */
static bool
collect_rows(MvrDelta *delta, LogScan *scan, const AttrNumber *map)
{
	TupleTableSlot *out = MakeSingleTupleTableSlot(delta->desc, &TTSOpsVirtual);
	TupleTableSlot *last = MakeSingleTupleTableSlot(delta->desc, &TTSOpsVirtual);
	bool		marked = false;
	bool		isnull;
	TupleTableSlot *row;

	delta->nulls = palloc0(sizeof(bool) * delta->desc->natts);
	while ((row = fetch_new_unpacked(scan)) != NULL)
	{
		marked = DatumGetInt32(slot_getattr(row, MVR_LOG_WEIGHT, &isnull)) == 0;
		if (marked)
			break;
		for (int i = 0; i < delta->desc->natts; i++)
		{
			out->tts_values[i] = slot_getattr(row, map[i], &out->tts_isnull[i]);
			delta->nulls[i] |= out->tts_isnull[i];
		}
		ExecStoreVirtualTuple(out);
		delta->nread++;
		if (TTS_EMPTY(last))
			swap_slots(&last, &out);
		else if (is_undoing(last, out))
		{
			ExecClearTuple(last);
			ExecClearTuple(out);
		}
		else
		{
			put_row(delta, last);
			swap_slots(&last, &out);
			ExecClearTuple(out);
		}
	}
	if (!TTS_EMPTY(last))
		put_row(delta, last);
	ExecDropSingleTupleTableSlot(out);
	ExecDropSingleTupleTableSlot(last);
	return marked;
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
		RowHashes  *hashes = get_row_weight(slot) < 0 ? gone : come;

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
mvr_change_log_net(MvrDelta *delta)
{
	if (!delta->is_net && count_undone(delta) > 0)
		net_rows(delta);
	delta->is_net = true;
}

/*
 * To net costs a sort, so it is done if an eighth of the rows would be left out.
 * To find that out costs a hash of each row.  What several writers have written
 * may undo each other; what one has written, if many rows have undone the one
 * before them, since then pairs may be left that have been parted.  That two rows
 * look alike by chance is no reason.  (Who needs a delta without such pairs sees
 * to that: mvr_change_log_net.)
 */
static void
net_if_worth_it(MvrDelta *delta, int nwriters)
{
	int64		nundone;

	if (nwriters < 2 && delta->nread - delta->nrows <= delta->nread / 8)
		return;
	nundone = count_undone(delta);
	if (2 * nundone > delta->nrows / 8)
	{
		net_rows(delta);
		nundone = 0;
	}
	delta->is_net = (nundone == 0);
}

/*
 * The changes of a base table that the active snapshot sees and the frontier
 * does not cover.
 *
 * Sets *marked to whether the rows cannot tell what the base table holds: then
 * the view must be recomputed, and the delta is incomplete.  Keeps
 * AccessShareLock on the log, since large values stay where they are.
 */
MvrDelta *
mvr_change_log_read(Relation base, const MvrSource *source,
					const MvrFrontier *frontier, bool *marked)
{
	Relation	log = table_open(source->log, AccessShareLock);
	AttrNumber *map = mvr_change_log_build_map(log, base, source->columns);
	MvrDelta   *delta = mvr_change_log_make_delta(base, source);
	LogScan		scan;

	*marked = (map == NULL);
	if (map)
	{
		begin_log_scan(&scan, log, get_last_column(map, delta->desc->natts),
					   list_make1(unconstify(MvrFrontier *, frontier)),
					   GetActiveSnapshot());
		*marked = collect_rows(delta, &scan, map);
		if (!*marked)
			net_if_worth_it(delta, scan.nwriters);
		end_log_scan(&scan);
	}
	table_close(log, NoLock);
	return delta;
}

/* The changes of a base table that this transaction has put aside for a live view */
MvrDelta *
mvr_change_log_take_pending(Relation base, const MvrSource *source, Oid view)
{
	MvrDelta   *delta = mvr_change_log_make_delta(base, source);

	if (mvr_pending_take(delta, view))
		net_if_worth_it(delta, 2);
	return delta;
}

/* Let go of deltas, a list of MvrDelta: large ones have a temporary file */
void
mvr_change_log_end_read(List *deltas)
{
	foreach_ptr(MvrDelta, delta, deltas)
	{
		tuplestore_end(delta->rows);
		if (delta->places)
			tuplestore_end(delta->places);
	}
}

/* How many rows, marks among them, would mvr_change_log_read look at? */
int64
mvr_change_log_count(Oid log, const MvrFrontier *frontier)
{
	Relation	rel = table_open(log, AccessShareLock);
	LogScan		scan;
	int64		count = 0;

	begin_log_scan(&scan, rel, MVR_LOG_FIXED,
				   list_make1(unconstify(MvrFrontier *, frontier)), GetActiveSnapshot());
	while (fetch_new_row(&scan))
	{
		bytea	   *pack = get_pack(&scan);

		count += pack ? mvr_pack_count(pack) : 1;
	}
	end_log_scan(&scan);
	table_close(rel, AccessShareLock);
	return count;
}

/* How many bytes are the rows that a view with this frontier holds back? */
int64
mvr_change_log_measure(Oid log, const MvrFrontier *frontier)
{
	Relation	rel = table_open(log, AccessShareLock);
	LogScan		scan;
	int64		bytes = 0;
	bool		should_free;

	begin_log_scan(&scan, rel, MVR_LOG_FIXED,
				   list_make1(unconstify(MvrFrontier *, frontier)), GetActiveSnapshot());
	while (fetch_new_row(&scan))
		bytes += ExecFetchSlotHeapTuple(scan.slot, false, &should_free)->t_len;
	end_log_scan(&scan);
	table_close(rel, AccessShareLock);
	return bytes;
}

/*
 * SQL: matview.log_rows(NULL::matview.log_<oid>), what a change log holds, for
 * those who want to look into one
 */
Datum
mvr_log_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid = get_typ_typrelid(get_fn_expr_argtype(fcinfo->flinfo, 0));
	MvrFrontier nothing = {0};
	Relation	log;
	LogScan		scan;
	TupleTableSlot *row;

	if (!OidIsValid(relid) || get_attnum(relid, "pack") != MVR_LOG_PACK ||
		get_rel_namespace(relid) != mvr_catalog_get_namespace())
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("argument is not of the row type of a change log"),
				errdetail("A change log is a table of schema matview."),
				errhint("The table matview.change_logs has the change logs."));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	log = table_open(relid, AccessShareLock);
	begin_log_scan(&scan, log, RelationGetDescr(log)->natts, list_make1(&nothing),
				   GetActiveSnapshot());
	while ((row = fetch_new_unpacked(&scan)) != NULL)
		tuplestore_puttupleslot(result->setResult, row);
	end_log_scan(&scan);
	table_close(log, AccessShareLock);
	return (Datum) 0;
}

/* ----------
 * Trimming
 * ----------
 */

/* Rows that nobody needs any more */
typedef struct Consumed
{
	ItemPointerData *tids;
	int64		ntids;
	int64		maxtids;
	int64		nrows;			/* of all rows seen */
} Consumed;

static List *
list_frontiers(Oid base)
{
	List	   *views = mvr_catalog_list_views(base);
	List	   *frontiers = NIL;
	ListCell   *lc;

	foreach(lc, views)
	{
		MvrTracked *tracked = mvr_catalog_lookup_view(lfirst_oid(lc));

		if (tracked && tracked->frontier.valid && tracked->live == MVR_LIVE_NOT)
			frontiers = lappend(frontiers, &tracked->frontier);
	}
	return frontiers;
}

static void
note_consumed(Consumed *consumed, ItemPointer tid)
{
	if (consumed->ntids == consumed->maxtids)
	{
		consumed->maxtids = Max(1024, consumed->maxtids * 2);
		consumed->tids = consumed->tids == NULL ?
			palloc(sizeof(ItemPointerData) * consumed->maxtids) :
			repalloc_huge(consumed->tids,
						  sizeof(ItemPointerData) * consumed->maxtids);
	}
	consumed->tids[consumed->ntids++] = *tid;
}

static void
collect_consumed(Consumed *consumed, Relation log, List *frontiers)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	LogScan		scan;

	memset(consumed, 0, sizeof(*consumed));
	begin_log_scan(&scan, log, MVR_LOG_FIXED, frontiers, snapshot);
	while (fetch_row(&scan))
	{
		consumed->nrows++;
		if (scan.is_covered)
			note_consumed(consumed, &scan.slot->tts_tid);
	}
	end_log_scan(&scan);
	UnregisterSnapshot(snapshot);
}

/*
 * Delete what every view has consumed, if that is much of the log.
 *
 * Call it last, when the new frontier is stored.  Does nothing if the lock is
 * not free: another session trims, or a view is about to get its first
 * frontier.  The lock comes first, the frontiers are read under it: else that
 * view could commit in between, and lose what it has not consumed.  The
 * snapshot is the latest whatever the isolation level, so no row is found that
 * the last trimmer has deleted.
 */
void
mvr_change_log_trim(Oid base)
{
	Oid			log = mvr_catalog_lookup_log(base);
	Relation	rel;
	Consumed	consumed;

	if (!OidIsValid(log) ||
		!ConditionalLockRelationOid(log, ShareUpdateExclusiveLock))
		return;
	rel = table_open(log, NoLock);
	collect_consumed(&consumed, rel, list_frontiers(base));
	if (consumed.ntids >= TRIM_MIN_ROWS || consumed.ntids * 2 >= consumed.nrows)
		for (int64 i = 0; i < consumed.ntids; i++)
			simple_heap_delete(rel, &consumed.tids[i]);
	table_close(rel, NoLock);
}
