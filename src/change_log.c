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

/* How many rows, marks among them, would mvr_log_delta_read look at? */
int64
mvr_change_log_count(Oid log, const MvrFrontier *frontier)
{
	Relation	rel = table_open(log, AccessShareLock);
	MvrLogScan	scan;
	int64		count = 0;

	mvr_log_reader_begin(&scan, rel, MVR_LOG_FIXED,
						 list_make1(unconstify(MvrFrontier *, frontier)), GetActiveSnapshot());
	while (mvr_log_reader_fetch_new(&scan))
	{
		bytea	   *pack = mvr_log_reader_get_pack(&scan);

		count += pack ? mvr_pack_count(pack) : 1;
	}
	mvr_log_reader_end(&scan);
	table_close(rel, AccessShareLock);
	return count;
}

/* How many bytes are the rows that a view with this frontier holds back? */
int64
mvr_change_log_measure(Oid log, const MvrFrontier *frontier)
{
	Relation	rel = table_open(log, AccessShareLock);
	MvrLogScan	scan;
	int64		bytes = 0;
	bool		should_free;

	mvr_log_reader_begin(&scan, rel, MVR_LOG_FIXED,
						 list_make1(unconstify(MvrFrontier *, frontier)), GetActiveSnapshot());
	while (mvr_log_reader_fetch_new(&scan))
		bytes += ExecFetchSlotHeapTuple(scan.slot, false, &should_free)->t_len;
	mvr_log_reader_end(&scan);
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
	MvrLogScan	scan;
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
	mvr_log_reader_begin(&scan, log, RelationGetDescr(log)->natts, list_make1(&nothing),
				   GetActiveSnapshot());
	while ((row = mvr_log_reader_fetch_unpacked(&scan)) != NULL)
		tuplestore_puttupleslot(result->setResult, row);
	mvr_log_reader_end(&scan);
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
	MvrLogScan	scan;

	memset(consumed, 0, sizeof(*consumed));
	mvr_log_reader_begin(&scan, log, MVR_LOG_FIXED, frontiers, snapshot);
	while (mvr_log_reader_fetch(&scan))
	{
		consumed->nrows++;
		if (scan.is_covered)
			note_consumed(consumed, &scan.slot->tts_tid);
	}
	mvr_log_reader_end(&scan);
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
