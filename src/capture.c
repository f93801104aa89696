/*
 * capture.c
 *		Triggers that fill the change log.
 *
 * A base table and all its children and partitions are its members.  DML
 * fires the statement triggers of the table it names and of no other, so each
 * member has them, and nothing is counted twice:
 *
 *	AFTER INSERT, UPDATE, DELETE	transition tables -> change log
 *	AFTER TRUNCATE					rebuild mark -> change log
 *
 * Sometimes a row is changed without a statement that names a member: through
 * a parent that is no member, or by a subscription's apply worker, which fires
 * row triggers only; and a partitioned table's transition tables do not tell
 * all.  Then the members that have storage get one AFTER ROW
 * trigger instead: capture by row, slower but blind to nothing.
 *
 * (1) Our triggers are internal (pg_dump and \d pass them over) and ENABLE
 *	   ALWAYS (session_replication_role = replica does not skip them).
 * (2) They depend on the change log and go with it, silently.
 * (3) A statement without rows does nothing; an UPDATE that leaves the logged
 *	   columns as they are, bit for bit, is not logged.  Old and new rows are
 *	   paired only for that, and any pairing will do: weights, not pairs, are
 *	   what counts.
 * (4) A writer never fails on our account.  A column that is not as it was
 *	   when the log was made is logged as NULL; a change that no log exists for
 *	   is nobody's.
 * (5) What can change the base table's contents behind our back changes its
 *	   shape, see mvr_capture_shape.
 *
 * A trigger has two arguments, the oids of the change log and of the base
 * table.
 *
 * Locks: the trigger function locks the log like any INSERT, no one waits.
 * Arming and disarming take ShareRowExclusiveLock on the members, as CREATE
 * TRIGGER does: it waits for running writers, so every later change is
 * captured and none half, but not for readers.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

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

/* Caller holds locks on both relations */
static const CaptureMap *
get_map(Relation rel, Relation log, Oid base)
{
	CaptureKey	key = {RelationGetRelid(rel), RelationGetRelid(log)};
	uint64		invalidations;
	CaptureMap *map;
	bool		found;

	if (capture_maps == NULL)
		create_maps();
	map = hash_search(capture_maps, &key, HASH_ENTER, &found);
	if (found && map->valid)
		return map;
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
	return map;
}

/* ----------
 * The trigger
 * ----------
 */

/* The same value, bit for bit?  Large values that stayed are not fetched. */
static bool
is_same_value(Datum a, Datum b, Form_pg_attribute att)
{
	if (att->attlen == -1 &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(a)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b),
			   VARSIZE_EXTERNAL(DatumGetPointer(a))) == 0)
		return true;
	return datum_image_eq(a, b, att->attbyval, att->attlen);
}

/* Do two versions of a row agree in all logged columns? */
static bool
is_same_row(MvrLogWriter *writer, TupleTableSlot *a, TupleTableSlot *b)
{
	TupleDesc	desc = a->tts_tupleDescriptor;
	int			natts = RelationGetDescr(writer->log)->natts;

	if (writer->last == 0)
		return true;
	slot_getsomeattrs(a, writer->last);
	slot_getsomeattrs(b, writer->last);
	for (int i = MVR_LOG_FIXED; i < natts; i++)
	{
		int			from = writer->source[i] - 1;

		if (from < 0)
			continue;
		if (a->tts_isnull[from] != b->tts_isnull[from])
			return false;
		if (!a->tts_isnull[from] &&
			!is_same_value(a->tts_values[from], b->tts_values[from],
						   TupleDescAttr(desc, from)))
			return false;
	}
	return true;
}

static void
append_row(MvrLogWriter *writer, TupleTableSlot *old, TupleTableSlot *new)
{
	if (old && new && is_same_row(writer, old, new))
		return;
	if (old)
		mvr_change_log_append(writer, old, -1);
	if (new)
		mvr_change_log_append(writer, new, 1);
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
	if (trigger->tg_oldtable && trigger->tg_newtable && count == 2)
		return 1;				/* one row updated: no batch for the two */
	return count;
}

/* Is this really a call by one of our triggers? */
static bool
is_our_call(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	return CALLED_AS_TRIGGER(fcinfo) &&
		TRIGGER_FIRED_AFTER(trigger->tg_event) &&
		trigger->tg_trigger->tgnargs == 2 &&
		trigger->tg_trigger->tgisinternal;
}

Datum
mvr_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	int64		nrows;
	Oid			log_oid;
	Oid			base;
	Relation	log;
	MvrLogWriter writer;

	if (!is_our_call(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("matview.capture() was not called by a trigger of matview_refresh"));
	log_oid = atooid(trigger->tg_trigger->tgargs[0]);
	base = atooid(trigger->tg_trigger->tgargs[1]);

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		mvr_change_log_append_mark(log_oid);
		mvr_wake_note_captured(base);
		return PointerGetDatum(NULL);
	}

	nrows = count_rows(trigger);
	if (nrows == 0)
		return PointerGetDatum(NULL);
	log = try_table_open(log_oid, RowExclusiveLock);
	if (log == NULL)
		return PointerGetDatum(NULL);
	mvr_change_log_begin_append(&writer, log,
								get_map(trigger->tg_relation, log, base)->source,
								nrows);
	append_event(&writer, trigger);
	mvr_change_log_end_append(&writer);
	if (writer.has_appended)
		mvr_wake_note_captured(base);
	table_close(log, NoLock);
	return PointerGetDatum(NULL);
}

/* ----------
 * Members
 * ----------
 */

/* The base table and all below it, locked; caller holds a lock on the base */
static List *
list_members(Relation base, LOCKMODE lockmode)
{
	if (!base->rd_rel->relhassubclass)
		return list_make1_oid(RelationGetRelid(base));
	return find_all_inheritors(RelationGetRelid(base), lockmode, NULL);
}

/* Why one member cannot be captured, or NULL */
static const char *
get_member_refusal(Relation rel)
{
	const char *reason = NULL;

	if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		reason = "\"%s\" is a foreign table";
	else if (rel->rd_rel->relkind == RELKIND_MATVIEW)
		reason = "\"%s\" is a materialized view";
	else if (rel->rd_rel->relkind == RELKIND_SEQUENCE)
		reason = "\"%s\" is a sequence";
	else if (IsSystemRelation(rel))
		reason = "\"%s\" is a system catalog";
	else if (rel->rd_rel->relkind != RELKIND_RELATION &&
			 rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		reason = "\"%s\" is not a table";
	else if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		reason = "\"%s\" is a temporary table";
	else if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		reason = "\"%s\" is unlogged, so a crash empties it";
	return reason ? psprintf(reason, RelationGetRelationName(rel)) : NULL;
}

/* Why changes of a relation cannot be captured, or NULL if they can */
const char *
mvr_capture_refusal(Relation base)
{
	const char *reason;
	ListCell   *lc;

	if (base->rd_rel->relkind == RELKIND_MATVIEW)
		return mvr_chain_refusal(base);
	reason = get_member_refusal(base);
	if (reason)
		return reason;
	foreach(lc, list_members(base, AccessShareLock))
	{
		Relation	rel = relation_open(lfirst_oid(lc), NoLock);

		reason = get_member_refusal(rel);
		relation_close(rel, NoLock);
		if (reason)
			return reason;
	}
	return NULL;
}

/* Does a catalog have a row whose oid column, first of the index, is this? */
static SysScanDesc
begin_scan(Relation catalog, Oid index, AttrNumber attno, Oid value)
{
	ScanKeyData key;

	ScanKeyInit(&key, attno, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	return systable_beginscan(catalog, index, true, NULL, 1, &key);
}

static bool
has_parent_outside(Oid member, List *members)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan = begin_scan(catalog, InheritsRelidSeqnoIndexId,
								  Anum_pg_inherits_inhrelid, member);
	HeapTuple	tuple;
	bool		outside = false;

	while (!outside && HeapTupleIsValid(tuple = systable_getnext(scan)))
		outside = !list_member_oid(members,
								   ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return outside;
}

static bool
is_subscribed(Oid member)
{
	Relation	catalog = table_open(SubscriptionRelRelationId, AccessShareLock);
	SysScanDesc scan = begin_scan(catalog, SubscriptionRelSrrelidSrsubidIndexId,
								  Anum_pg_subscription_rel_srrelid, member);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * Transition tables do not tell all that happens in partitions, so there is
 * none to trust for a partitioned table.  In core's nodeModifyTable.c
 * - a row inserted through the root is handed over as it was before its
 *	 partition computed stored generated columns: they are NULL
 *	 (tcs_original_insert_tuple);
 * - a MERGE that moves a row to another partition by UPDATE puts it into the
 *	 tables of DELETE and INSERT, whose triggers fire only if the MERGE has such
 *	 actions too.
 */
static bool
is_partitioned(Oid member)
{
	return get_rel_relkind(member) == RELKIND_PARTITIONED_TABLE;
}

/* Can rows change without a transition table that tells how? */
static bool
needs_row_capture(List *members)
{
	ListCell   *lc;

	foreach(lc, members)
		if (has_parent_outside(lfirst_oid(lc), members) ||
			is_subscribed(lfirst_oid(lc)) ||
			is_partitioned(lfirst_oid(lc)))
			return true;
	return false;
}

/* ----------
 * Triggers wanted and found
 * ----------
 */

#define MAX_WANTED		4

/* One of our triggers as the catalog has it */
typedef struct Found
{
	Oid			oid;
	Oid			rel;
	int16		type;
	bool		is_always;
	TransactionId xmin;			/* of the catalog row, frozen or not */
} Found;

/* tgtype of each trigger that a member should have; returns how many */
static int
get_wanted_types(char relkind, bool by_row, int16 *types)
{
	int			n = 0;

	types[n++] = TRIGGER_TYPE_TRUNCATE;
	if (!by_row)
	{
		types[n++] = TRIGGER_TYPE_INSERT;
		types[n++] = TRIGGER_TYPE_UPDATE;
		types[n++] = TRIGGER_TYPE_DELETE;
	}
	else if (RELKIND_HAS_STORAGE(relkind))
		types[n++] = TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSERT |
			TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
	return n;
}

static Oid
get_function(void)
{
	Oid			oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
									  CStringGetDatum("capture"),
									  PointerGetDatum(buildoidvector(NULL, 0)),
									  ObjectIdGetDatum(mvr_catalog_get_namespace()));

	if (!OidIsValid(oid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("function matview.capture() does not exist"),
				errhint("Drop and create the extension matview_refresh."));
	return oid;
}

/* Is a row of pg_trigger one of our triggers for this log? */
static bool
is_for_log(Relation catalog, HeapTuple tuple, Oid function, Oid log)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
	bool		isnull;
	bytea	   *args;

	if (form->tgfoid != function || form->tgnargs != 2 || !form->tgisinternal)
		return false;
	args = DatumGetByteaPP(heap_getattr(tuple, Anum_pg_trigger_tgargs,
										RelationGetDescr(catalog), &isnull));
	return atooid(VARDATA_ANY(args)) == log;
}

static Found *
build_found(HeapTuple tuple)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
	Found	   *found = palloc(sizeof(Found));

	found->oid = form->oid;
	found->rel = form->tgrelid;
	found->type = form->tgtype;
	found->is_always = (form->tgenabled == TRIGGER_FIRES_ALWAYS);
	found->xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	return found;
}

/* Our triggers for this log on one member */
static List *
list_found(Oid member, Oid function, Oid log)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = begin_scan(catalog, TriggerRelidNameIndexId,
								  Anum_pg_trigger_tgrelid, member);
	HeapTuple	tuple;
	List	   *list = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (is_for_log(catalog, tuple, function, log))
			list = lappend(list, build_found(tuple));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return list;
}

static Found *
lookup_trigger(Oid trigger)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = begin_scan(catalog, TriggerOidIndexId,
								  Anum_pg_trigger_oid, trigger);
	HeapTuple	tuple = systable_getnext(scan);
	Found	   *found = HeapTupleIsValid(tuple) ? build_found(tuple) : NULL;

	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

static int
compare_found_by_rel(const ListCell *a, const ListCell *b)
{
	Oid			left = ((Found *) lfirst(a))->rel;
	Oid			right = ((Found *) lfirst(b))->rel;

	return left < right ? -1 : left > right;
}

/* Our triggers for this log wherever they stand, tables in order of oid */
static List *
list_found_anywhere(Oid log)
{
	Relation	catalog = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *list = NIL;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(log));
	scan = systable_beginscan(catalog, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		Found	   *found = form->classid == TriggerRelationId ?
			lookup_trigger(form->objid) : NULL;

		if (found)
			list = lappend(list, found);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	list_sort(list, compare_found_by_rel);
	return list;
}

/* Take out of the wanted types one that a trigger stands for, if it does */
static bool
take_wanted(int16 *types, int *n, const Found *found)
{
	for (int i = 0; i < *n; i++)
	{
		if (found->is_always && types[i] == found->type)
		{
			types[i] = types[--*n];
			return true;
		}
	}
	return false;
}

/* ----------
 * Arming
 * ----------
 */

static List *
build_transitions(int16 type)
{
	List	   *list = NIL;

	for (int is_new = 0; is_new < 2; is_new++)
	{
		TriggerTransition *transition = makeNode(TriggerTransition);

		if (!(type & (is_new ? TRIGGER_TYPE_INSERT : TRIGGER_TYPE_DELETE)) &&
			!(type & TRIGGER_TYPE_UPDATE))
			continue;
		transition->name = is_new ? "new_rows" : "old_rows";
		transition->isNew = is_new;
		transition->isTable = true;
		list = lappend(list, transition);
	}
	return list;
}

static void
create_trigger(Oid member, int16 type, Oid function, Oid log, Oid base)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	ObjectAddress trigger,
				owner;

	stmt->trigname = "matview_capture";
	stmt->args = list_make2(makeString(psprintf("%u", log)),
							makeString(psprintf("%u", base)));
	stmt->row = (type & TRIGGER_TYPE_ROW) != 0;
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = type & ~TRIGGER_TYPE_ROW;
	if (!stmt->row)
		stmt->transitionRels = build_transitions(type);
	trigger = CreateTriggerFiringOn(stmt, NULL, member, InvalidOid, InvalidOid,
									InvalidOid, function, InvalidOid, NULL,
									true, false, TRIGGER_FIRES_ALWAYS);
	ObjectAddressSet(owner, RelationRelationId, log);
	recordDependencyOn(&trigger, &owner, DEPENDENCY_AUTO);
	CommandCounterIncrement();
}

/*
 * Remove a trigger of ours, which may be gone by now.
 *
 * As in core, but under ShareRowExclusiveLock, which caller holds on its table:
 * triggers fire for writers only, and there are none.  AccessExclusiveLock
 * would make DROP MATERIALIZED VIEW wait for every reader of a base table, and
 * later readers wait behind it.
 */
static void
drop_trigger(Oid trigger, Oid rel)
{
	Relation	catalog = table_open(TriggerRelationId, RowExclusiveLock);
	SysScanDesc scan = begin_scan(catalog, TriggerOidIndexId,
								  Anum_pg_trigger_oid, trigger);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
	{
		if (AfterTriggerPendingOnRel(rel))
			ereport(ERROR,
					errcode(ERRCODE_OBJECT_IN_USE),
					errmsg("table \"%s\" has pending trigger events",
						   get_rel_name(rel)));
		CatalogTupleDelete(catalog, &tuple->t_self);
		deleteDependencyRecordsFor(TriggerRelationId, trigger, false);
		CacheInvalidateRelcacheByRelid(rel);
	}
	systable_endscan(scan);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Bring one member to exactly the triggers wanted */
static void
arm_member(Oid member, bool by_row, Oid function, Oid log, Oid base)
{
	int16		types[MAX_WANTED];
	int			n = get_wanted_types(get_rel_relkind(member), by_row, types);

	foreach_ptr(Found, found, list_found(member, function, log))
		if (!take_wanted(types, &n, found))
			drop_trigger(found->oid, member);
	for (int i = 0; i < n; i++)
		create_trigger(member, types[i], function, log, base);
}

static bool
is_stray(const Found *found, List *members)
{
	return !list_member_oid(members, found->rel);
}

/* Do tables that are no members any more still write to the log? */
static bool
has_strays(Oid log, List *members)
{
	foreach_ptr(Found, found, list_found_anywhere(log))
		if (is_stray(found, members))
			return true;
	return false;
}

/*
 * Bring the members to exactly the triggers wanted, and every other table to
 * none.  If they are so already, no lock is taken.
 *
 * Returns whether there was anything to do.  Then no transaction is running,
 * when this returns, that wrote to the base table before the triggers were
 * there; what they wrote is seen by a snapshot taken from here on only, which
 * a REPEATABLE READ caller cannot get.
 */
bool
mvr_capture_arm(Relation base, Oid log)
{
	Oid			function = get_function();
	List	   *members;
	bool		by_row;
	ListCell   *lc;

	/* a refresh of it that is running does not know the log yet */
	if (base->rd_rel->relkind == RELKIND_MATVIEW)
	{
		LockRelationOid(RelationGetRelid(base), ShareRowExclusiveLock);
		return true;
	}
	if (mvr_capture_shape(base, log, NULL) != 0 &&
		!has_strays(log, list_members(base, AccessShareLock)))
		return false;

	LockRelationOid(RelationGetRelid(base), ShareRowExclusiveLock);
	members = list_members(base, ShareRowExclusiveLock);
	by_row = needs_row_capture(members);
	foreach_ptr(Found, found, list_found_anywhere(log))
	{
		if (!is_stray(found, members))
			continue;
		LockRelationOid(found->rel, ShareRowExclusiveLock);
		drop_trigger(found->oid, found->rel);
	}
	foreach(lc, members)
		arm_member(lfirst_oid(lc), by_row, function, log, RelationGetRelid(base));
	return true;
}

/* Remove all triggers that write to a base table's log; it may be gone */
void
mvr_capture_disarm(Oid base)
{
	Oid			log = mvr_catalog_lookup_log(base);

	if (!OidIsValid(log))
		return;
	foreach_ptr(Found, found, list_found_anywhere(log))
	{
		LockRelationOid(found->rel, ShareRowExclusiveLock);
		drop_trigger(found->oid, found->rel);
	}
}

/* ----------
 * Shape
 * ----------
 */

static void
hash_bytes_into(uint64 *hash, const void *bytes, int length)
{
	*hash = hash_bytes_extended(bytes, length, *hash + 1);
}

static void
hash_oid_into(uint64 *hash, uint32 value)
{
	hash_bytes_into(hash, &value, sizeof(value));
}

/* False if the triggers are not exactly those wanted */
static bool
hash_triggers(uint64 *hash, Relation member, bool by_row, Oid function, Oid log)
{
	int16		types[MAX_WANTED];
	int			n = get_wanted_types(member->rd_rel->relkind, by_row, types);
	bool		is_exact = true;

	foreach_ptr(Found, found, list_found(RelationGetRelid(member), function, log))
	{
		is_exact = is_exact && take_wanted(types, &n, found);
		hash_oid_into(hash, found->oid);
		hash_oid_into(hash, found->xmin);
	}
	return is_exact && n == 0;
}

static void
hash_parents(uint64 *hash, Oid member)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan = begin_scan(catalog, InheritsRelidSeqnoIndexId,
								  Anum_pg_inherits_inhrelid, member);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		hash_oid_into(hash, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
		hash_oid_into(hash, HeapTupleHeaderGetRawXmin(tuple->t_data));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/*
 * The catalog rows of the columns that are needed are written when a table
 * gets or loses a parent, which may have come and gone since the last look,
 * with changes in between.  Other columns are left out, so that ADD COLUMN does
 * not count, nor another view that has more columns logged.
 *
 * XXX An inheritance parent without any of these columns leaves no trace here;
 * rows can be deleted through it.
 */
static void
hash_columns(uint64 *hash, Relation member, Relation log, Oid base,
			 Bitmapset *columns)
{
	const AttrNumber *source = get_map(member, log, base)->source;

	for (int i = MVR_LOG_FIXED; i < RelationGetDescr(log)->natts; i++)
	{
		HeapTuple	tuple;

		if (!bms_is_member(mvr_change_log_get_attnum(RelationGetDescr(log), i + 1),
						   columns))
			continue;
		tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(RelationGetRelid(member)),
								Int16GetDatum(source[i]));

		if (!HeapTupleIsValid(tuple))
			continue;
		hash_oid_into(hash, HeapTupleHeaderGetRawXmin(tuple->t_data));
		ReleaseSysCache(tuple);
	}
}

static void
hash_generated(uint64 *hash, TupleDesc desc)
{
	int			n = desc->constr ? desc->constr->num_defval : 0;

	for (int i = 0; i < n; i++)
	{
		AttrDefault *def = &desc->constr->defval[i];

		if (TupleDescAttr(desc, def->adnum - 1)->attgenerated)
			hash_bytes_into(hash, def->adbin, strlen(def->adbin));
	}
}

static bool
hash_member(uint64 *hash, Oid member, bool by_row, Oid function, Relation log,
			Oid base, Bitmapset *columns)
{
	Relation	rel = relation_open(member, NoLock);
	bool		is_armed;

	hash_oid_into(hash, member);
	hash_parents(hash, member);
	hash_columns(hash, rel, log, base, columns);
	hash_generated(hash, RelationGetDescr(rel));
	is_armed = get_member_refusal(rel) == NULL &&
		hash_triggers(hash, rel, by_row, function, RelationGetRelid(log));
	relation_close(rel, NoLock);
	return is_armed;
}

/*
 * Fingerprint of everything that must stay as it is for the log to tell all
 * changes in some columns: which tables are members, since when, what triggers they have,
 * since when, and how generated columns are computed.  0 if something is not
 * as mvr_capture_arm would have it.
 *
 * "Since when" is the xmin of a catalog row: what has been switched off and on
 * again is not the same.  Storage does not count: VACUUM FULL changes no row.
 *
 * Reads what is committed now, whatever the caller's snapshot; to know that a
 * shape holds for a snapshot, compare it before and after taking that.
 */
int64
mvr_capture_shape(Relation base, Oid log, Bitmapset *columns)
{
	Relation	rel = try_table_open(log, AccessShareLock);
	List	   *members;
	Oid			function;
	bool		by_row;
	bool		is_armed = true;
	uint64		hash = 0;
	ListCell   *lc;

	if (rel == NULL)
		return 0;
	if (base->rd_rel->relkind == RELKIND_MATVIEW)
	{
		table_close(rel, AccessShareLock);
		return mvr_chain_shape(base);
	}
	members = list_members(base, AccessShareLock);
	function = get_function();
	by_row = needs_row_capture(members);
	list_sort(members, list_oid_cmp);
	foreach(lc, members)
		is_armed = is_armed &&
			hash_member(&hash, lfirst_oid(lc), by_row, function, rel,
						RelationGetRelid(base), columns);
	table_close(rel, AccessShareLock);
	if (!is_armed)
		return 0;
	return hash == 0 ? 1 : (int64) hash;
}
