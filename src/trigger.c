/*
 * trigger.c
 *		The trigger function: append to the change log what was changed.
 *
 * A statement trigger gets it from its transition tables, a row trigger row by
 * row; see capture.c for who has which.  A TRUNCATE leaves a rebuild mark.  The
 * trigger's two arguments are the oids of the change log and of the base table.
 *
 * (1) A statement without rows does nothing; an UPDATE that leaves the logged
 *	   columns as they are, bit for bit, is not logged.  Old and new rows are
 *	   paired only for that, and any pairing will do: weights, not pairs, are
 *	   what counts.
 * (2) A BEFORE trigger tells that a statement is in flight, and the last AFTER
 *	   trigger that it has ended.  By row, that is for live views only, and the
 *	   latter is a statement trigger of its own.
 * (3) A writer never fails on our account.  A column that is not as it was
 *	   when the log was made is logged as NULL; a change that no log exists for
 *	   is nobody's.
 *
 * Locks: the log is locked like by any INSERT, no one waits.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_capture);

/* ----------
 * Where the columns of a log come from
 * ----------
 */

typedef struct CaptureKey
{
	Oid			rel;			/* the table whose rows come */
	Oid			log;
} CaptureKey;

/*
 * Kept for the backend's life.  Used only under the locks of a statement that
 * writes, and rebuilt only when looked up, so an invalidation that comes while
 * an entry is in use need do no more than say so.
 */
typedef struct CaptureMap
{
	CaptureKey	key;
	bool		valid;
	int			natts;			/* room in "source" */
	AttrNumber *source;			/* per column of the log; 0 if not known */
} CaptureMap;

static HTAB *capture_maps = NULL;
static uint64 map_invalidations = 0;

/* Relcache callback: forget what was derived from a relation, or from any */
static void
invalidate_maps(pg_attribute_unused() Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	CaptureMap *map;

	map_invalidations++;
	hash_seq_init(&status, capture_maps);
	while ((map = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || map->key.rel == relid || map->key.log == relid)
			map->valid = false;
}

static void
create_maps(void)
{
	HASHCTL		ctl;

	ctl.keysize = sizeof(CaptureKey);
	ctl.entrysize = sizeof(CaptureMap);
	ctl.hcxt = CacheMemoryContext;
	capture_maps = hash_create("matview_refresh capture maps", 32, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_maps, (Datum) 0);
}

/* The column of a member that is the base table's column attnum, or 0 */
static AttrNumber
get_member_column(Relation rel, Oid base, AttrNumber attnum)
{
	char	   *name;

	if (RelationGetRelid(rel) == base)
		return attnum;
	name = get_attname(base, attnum, true);
	return name ? get_attnum(RelationGetRelid(rel), name) : 0;
}

static void
fill_map(AttrNumber *source, Relation rel, TupleDesc log, Oid base)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < log->natts; i++)
	{
		AttrNumber	attnum = mvr_change_log_get_attnum(log, i + 1);

		source[i] = attnum > 0 ? get_member_column(rel, base, attnum) : 0;
		if (source[i] <= 0 || source[i] > desc->natts ||
			!mvr_change_log_can_hold(TupleDescAttr(log, i),
									 TupleDescAttr(desc, source[i] - 1)))
			source[i] = 0;
	}
}

static void
resize_map(CaptureMap *map, int natts)
{
	if (map->natts >= natts)
		return;
	if (map->source)
		pfree(map->source);
	map->source = NULL;
	map->natts = 0;
	map->source = MemoryContextAlloc(CacheMemoryContext, sizeof(AttrNumber) * natts);
	map->natts = natts;
}

/*
 * Per column of the log, the column of a member that its values come from; 0 if
 * there is none.  Caller holds locks on both relations.
 */
const AttrNumber *
mvr_trigger_get_map(Relation rel, Relation log, Oid base)
{
	CaptureKey	key = {RelationGetRelid(rel), RelationGetRelid(log)};
	uint64		invalidations;
	CaptureMap *map;
	bool		found;

	if (capture_maps == NULL)
		create_maps();
	map = hash_search(capture_maps, &key, HASH_ENTER, &found);
	if (found && map->valid)
		return map->source;
	if (!found)
	{
		map->source = NULL;
		map->natts = 0;
	}
	map->valid = false;
	invalidations = map_invalidations;
	resize_map(map, RelationGetDescr(log)->natts);
	fill_map(map->source, rel, RelationGetDescr(log), base);
	map->valid = (invalidations == map_invalidations);
	return map->source;
}

/* ----------
 * The trigger
 * ----------
 */

/* Do two versions of a row agree in all logged columns? */
static bool
is_same_row(MvrLogWriter *writer, TupleTableSlot *a, TupleTableSlot *b)
{
	if (writer->last == 0)
		return true;
	slot_getsomeattrs(a, writer->last);
	slot_getsomeattrs(b, writer->last);
	return mvr_statement_is_same(a, b, writer->source + MVR_LOG_FIXED,
								 RelationGetDescr(writer->log)->natts - MVR_LOG_FIXED);
}

static void
append_row(MvrLogWriter *writer, TupleTableSlot *old, TupleTableSlot *new)
{
	if (old && new && is_same_row(writer, old, new))
		return;
	if (old)
		mvr_log_writer_append(writer, old, -1);
	if (new)
		mvr_log_writer_append(writer, new, 1);
}

/* Next row of a transition table, NULL at the end or if there is none */
static TupleTableSlot *
fetch_row(Tuplestorestate *rows, TupleTableSlot *slot)
{
	if (rows && tuplestore_gettupleslot(rows, true, false, slot))
		return slot;
	return NULL;
}

/*
 * Other triggers may have read the transition tables; all who do rewind them
 * first.  An UPDATE's two tables need not be in step: where a row moves to
 * another partition, a BEFORE trigger can swallow its new version.
 */
static void
append_statement(MvrLogWriter *writer, TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	TupleTableSlot *old_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *new_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	Tuplestorestate *tables[] = {trigger->tg_oldtable, trigger->tg_newtable};

	for (int i = 0; i < 2; i++)
	{
		if (tables[i] == NULL)
			continue;
		tuplestore_select_read_pointer(tables[i], 0);
		tuplestore_rescan(tables[i]);
	}
	for (;;)
	{
		TupleTableSlot *old = fetch_row(tables[0], old_slot);
		TupleTableSlot *new = fetch_row(tables[1], new_slot);

		if (old == NULL && new == NULL)
			break;
		append_row(writer, old, new);
	}
	ExecDropSingleTupleTableSlot(old_slot);
	ExecDropSingleTupleTableSlot(new_slot);
}

static void
append_event(MvrLogWriter *writer, TriggerData *trigger)
{
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		append_statement(writer, trigger);
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		append_row(writer, NULL, trigger->tg_trigslot);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		append_row(writer, trigger->tg_trigslot, NULL);
	else
		append_row(writer, trigger->tg_trigslot, trigger->tg_newslot);
}

/* About how many log rows the event makes; 0 means none */
static int64
count_rows(TriggerData *trigger)
{
	int64		count = 0;

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return 1;
	if (trigger->tg_oldtable)
		count += tuplestore_tuple_count(trigger->tg_oldtable);
	if (trigger->tg_newtable)
		count += tuplestore_tuple_count(trigger->tg_newtable);
	return count;
}

/* Is this really a call by one of our triggers? */
static bool
is_our_call(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	return CALLED_AS_TRIGGER(fcinfo) &&
		trigger->tg_trigger->tgnargs == 2 &&
		trigger->tg_trigger->tgisinternal;
}

/*
 * Append what a statement has done, or one row event.
 *
 * The log is locked before it is looked whether it is written to: who writes a
 * partition or a child has no lock on the base table, and a view that needs the
 * log from now on keeps such writers out by the lock on the log.
 */
static void
capture_rows(TriggerData *trigger, Oid base_oid, Oid log_oid)
{
	int64		nrows = count_rows(trigger);
	Relation	log;
	const MvrBase *base;
	MvrLogWriter writer;
	MvrStatement statement = {
		.desc = RelationGetDescr(trigger->tg_relation),
		.rows = {trigger->tg_oldtable, trigger->tg_newtable}
	};
	bool		in_place = TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) &&
		nrows >= mvr_in_place_from;

	if (nrows == 0)
		return;
	log = try_table_open(log_oid, RowExclusiveLock);
	if (log == NULL)
		return;
	base = mvr_live_get_base(base_oid);
	statement.columns = mvr_trigger_get_map(trigger->tg_relation, log, base->base);
	mvr_log_writer_begin(&writer, base, log, statement.columns, nrows,
						 in_place ? &statement : NULL);
	if (mvr_log_writer_wants_rows(&writer))
		append_event(&writer, trigger);
	mvr_log_writer_end(&writer);
	if (writer.has_appended)
		mvr_wake_note_captured(base->base);
	table_close(log, NoLock);
}

static void
capture_truncate(Oid base, Oid log)
{
	/* for what capture_rows says */
	LockRelationOid(log, RowExclusiveLock);
	mvr_log_writer_append_mark(mvr_live_get_base(base));
}

/*
 * SQL: matview.capture(), the trigger function.  Its argument is the OID of the
 * change log; the statement has locked the table.  Waits for nobody.
 */
Datum
mvr_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid			log;
	Oid			base;

	if (!is_our_call(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("matview.capture() was not called by a trigger of matview_refresh"));
	log = atooid(trigger->tg_trigger->tgargs[0]);
	base = atooid(trigger->tg_trigger->tgargs[1]);

	if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
		mvr_pending_begin_statement(base);
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		capture_truncate(base, log);
		mvr_wake_note_captured(base);
		mvr_pending_end_statement(base);
	}
	else
	{
		capture_rows(trigger, base, log);
		if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
			mvr_pending_end_statement(base);
	}
	return PointerGetDatum(NULL);
}
