/*
 * capture.c
 *		See to it that every change of a base table gets into its change log.
 *
 * DML fires the statement triggers of the table it names and of no other, so each
 * member of a base table (members.c) has them, and nothing is counted twice:
 *
 *	BEFORE any of them				a statement is in flight (see pending.c)
 *	AFTER INSERT, UPDATE, DELETE	transition tables -> change log; it has ended
 *	AFTER TRUNCATE					rebuild mark -> change log
 *
 * Sometimes a row is changed without a statement that names a member: through
 * a parent that is no member, or by a subscription's apply worker, which fires
 * row triggers only; and a partitioned table's transition tables do not tell
 * all.  Then the members that have storage get one AFTER ROW trigger instead:
 * capture by row, slower but blind to nothing.  Where live views read the base
 * table, two more tell when a statement is in flight, and when it has ended.
 *
 * (1) Our triggers are internal (pg_dump and \d pass them over) and ENABLE
 *	   ALWAYS (session_replication_role = replica does not skip them).
 * (2) They depend on the change log and go with it, silently.
 * (3) What can change the base table's contents behind our back changes its
 *	   shape, see mvr_capture_shape.
 * (4) For a view that knows the shape, only the members in it have written to
 *	   the log since: whoever arms a table that has come arms it before it has
 *	   a row and tells the view, or changes the shape for good.
 *
 * Locks: arming and disarming take ShareRowExclusiveLock on the members, as
 * CREATE TRIGGER does: it waits for running writers, so every later change is
 * captured and none half, but not for readers.  Whoever has a view locked for
 * which those writers may wait disarms without waiting, or not now.
 */
#include "postgres.h"

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
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

/* ----------
 * Triggers wanted and found
 * ----------
 */

#define MAX_WANTED		6

#define WRITES			(TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

/* One of our triggers as the catalog has it */
typedef struct Found
{
	Oid			oid;
	Oid			rel;
	int16		type;
	bool		is_always;
	TransactionId xmin;			/* of the catalog row, frozen or not */
	ItemPointerData tid;		/* of the catalog row */
} Found;

/* tgtype of each trigger that a member should have; returns how many */
static int
get_wanted_types(char relkind, bool by_row, int16 *types)
{
	int			n = 0;

	types[n++] = TRIGGER_TYPE_TRUNCATE;
	if (!by_row)
	{
		types[n++] = TRIGGER_TYPE_BEFORE | WRITES | TRIGGER_TYPE_TRUNCATE;
		types[n++] = TRIGGER_TYPE_INSERT;
		types[n++] = TRIGGER_TYPE_UPDATE;
		types[n++] = TRIGGER_TYPE_DELETE;
	}
	else if (RELKIND_HAS_STORAGE(relkind))
		types[n++] = TRIGGER_TYPE_ROW | WRITES;
	return n;
}

/* Those that live views need beside them */
static int
get_live_types(bool by_row, int16 *types)
{
	int			n = 0;

	if (by_row)
	{
		types[n++] = TRIGGER_TYPE_BEFORE | WRITES;
		types[n++] = WRITES;
	}
	return n;
}

static bool
is_live_type(int16 type)
{
	return type == (TRIGGER_TYPE_BEFORE | WRITES) || type == WRITES;
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
				errdetail("The extension is not there as a whole."),
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
	found->tid = tuple->t_self;
	return found;
}

/*
 * Our triggers for this log on one member: those that capture, or those that
 * live views need beside them.
 */
static List *
list_found(Oid member, Oid function, Oid log, bool live)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = mvr_scan_by_oid(catalog, TriggerRelidNameIndexId,
								  Anum_pg_trigger_tgrelid, member);
	HeapTuple	tuple;
	List	   *list = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (is_for_log(catalog, tuple, function, log) &&
			is_live_type(((Form_pg_trigger) GETSTRUCT(tuple))->tgtype) == live)
			list = lappend(list, build_found(tuple));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return list;
}

static Found *
lookup_trigger(Oid trigger)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = mvr_scan_by_oid(catalog, TriggerOidIndexId,
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

		if (is_live_type(type) || (type & TRIGGER_TYPE_BEFORE))
			continue;
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
	stmt->timing = type & TRIGGER_TYPE_TIMING_MASK;
	stmt->events = type & TRIGGER_TYPE_EVENT_MASK;
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
	SysScanDesc scan = mvr_scan_by_oid(catalog, TriggerOidIndexId,
								  Anum_pg_trigger_oid, trigger);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
	{
		if (AfterTriggerPendingOnRel(rel))
			ereport(ERROR,
					errcode(ERRCODE_OBJECT_IN_USE),
					errmsg("table \"%s\" has pending trigger events",
						   get_rel_name(rel)),
					errdetail("Capture of its changes cannot be ended while a statement that writes it is running."),
					errhint("Call this in a statement of its own."));
		CatalogTupleDelete(catalog, &tuple->t_self);
		deleteDependencyRecordsFor(TriggerRelationId, trigger, false);
		CacheInvalidateRelcacheByRelid(rel);
	}
	systable_endscan(scan);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

/*
 * Write the catalog rows of our triggers on a member anew, as they are, so that
 * the shape is another one from here on.  Caller holds a lock on the member
 * that keeps out whoever else changes its triggers.
 */
static void
renew_triggers(Oid member, Oid function, Oid log)
{
	Relation	catalog = table_open(TriggerRelationId, RowExclusiveLock);

	foreach_ptr(Found, found, list_found(member, function, log, false))
	{
		SysScanDesc scan = mvr_scan_by_oid(catalog, TriggerOidIndexId,
									  Anum_pg_trigger_oid, found->oid);
		HeapTuple	tuple = systable_getnext(scan);

		if (HeapTupleIsValid(tuple))
			CatalogTupleUpdate(catalog, &tuple->t_self, heap_copytuple(tuple));
		systable_endscan(scan);
	}
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Bring one member to exactly the n triggers wanted, of one kind or the other */
static void
bring_member(Oid member, bool live, int16 *types, int n, Oid function, Oid log,
			 Oid base)
{
	foreach_ptr(Found, found, list_found(member, function, log, live))
		if (!take_wanted(types, &n, found))
			drop_trigger(found->oid, member);
	for (int i = 0; i < n; i++)
		create_trigger(member, types[i], function, log, base);
}

/*
 * Can a member have our triggers?  Where one cannot, views are not maintained; but
 * live ones are recomputed by those who write the others.
 */
static bool
can_have_triggers(Oid member)
{
	return get_rel_relkind(member) != RELKIND_FOREIGN_TABLE &&
		get_rel_persistence(member) != RELPERSISTENCE_TEMP;
}

/* The triggers that live views need, or none if there are no such views */
static void
arm_member_live(Oid member, bool by_row, Oid function, Oid log, Oid base)
{
	int16		types[MAX_WANTED];
	MvrLogRow	row;
	int			n = 0;

	if (mvr_catalog_lookup_log_row(base, &row) && row.is_live)
		n = get_live_types(by_row, types);
	bring_member(member, true, types, n, function, log, base);
}

static void
arm_member(Oid member, bool by_row, Oid function, Oid log, Oid base)
{
	int16		types[MAX_WANTED];
	int			n = get_wanted_types(get_rel_relkind(member), by_row, types);

	bring_member(member, false, types, n, function, log, base);
	arm_member_live(member, by_row, function, log, base);
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

static void
ensure_mark(Oid log)
{
	Relation	rel = table_open(log, AccessShareLock);

	mvr_catalog_ensure_mark(rel);
	table_close(rel, AccessShareLock);
}

/*
 * Bring the members to exactly the triggers wanted, and every other table to
 * none.  If they are so already, no lock is taken.
 *
 * The log is shared.  A view that has not seen a member come may not see it go
 * either, and would find the shape that it knows, with rows of that member in
 * the log.  So whoever arms renews the triggers of the base table: no view but
 * the caller's goes on with the shape it knows.
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

	ensure_mark(log);
	/* a refresh of it that is running does not know the log yet */
	if (base->rd_rel->relkind == RELKIND_MATVIEW)
	{
		LockRelationOid(RelationGetRelid(base), ShareRowExclusiveLock);
		return true;
	}
	if (mvr_capture_shape(base, log, NULL) != 0 &&
		!has_strays(log, mvr_members_list(base, AccessShareLock)))
		return false;

	LockRelationOid(RelationGetRelid(base), ShareRowExclusiveLock);
	members = mvr_members_list(base, ShareRowExclusiveLock);
	by_row = mvr_members_need_row_capture(members);
	renew_triggers(RelationGetRelid(base), function, log);
	foreach_ptr(Found, found, list_found_anywhere(log))
	{
		if (!is_stray(found, members))
			continue;
		LockRelationOid(found->rel, ShareRowExclusiveLock);
		drop_trigger(found->oid, found->rel);
	}
	foreach(lc, members)
		if (can_have_triggers(lfirst_oid(lc)))
			arm_member(lfirst_oid(lc), by_row, function, log, RelationGetRelid(base));
	return true;
}

/* ----------
 * Live views
 * ----------
 */

/*
 * Keep out all who write a base table.  When this returns there is no
 * transaction that has, but ours.
 */
void
mvr_capture_lock(Relation base)
{
	LockRelationOid(RelationGetRelid(base), ShareRowExclusiveLock);
	(void) mvr_members_list(base, ShareRowExclusiveLock);
}

/*
 * Bring the members of a base table that is captured to the triggers that live
 * views need, or to none of them, as its registry row says.  Caller has called
 * mvr_capture_lock.
 */
void
mvr_capture_arm_live(Relation base, Oid log)
{
	List	   *members = mvr_members_list(base, NoLock);
	bool		by_row = mvr_members_need_row_capture(members);
	ListCell   *lc;

	if (base->rd_rel->relkind == RELKIND_MATVIEW)
		return;
	foreach(lc, members)
		if (can_have_triggers(lfirst_oid(lc)))
			arm_member_live(lfirst_oid(lc), by_row, get_function(), log,
							RelationGetRelid(base));
}

/* Has a member exactly these triggers of ours, of those for live views or of the others? */
static bool
has_triggers(Oid member, Oid log, bool live, int16 *types, int n)
{
	foreach_ptr(Found, found, list_found(member, get_function(), log, live))
		if (!take_wanted(types, &n, found))
			return false;
	return n == 0;
}

/* Are they as they should be for live views? */
bool
mvr_capture_is_live(Relation base, Oid log)
{
	List	   *members = mvr_members_list(base, AccessShareLock);
	bool		by_row = mvr_members_need_row_capture(members);
	ListCell   *lc;

	if (base->rd_rel->relkind == RELKIND_MATVIEW)
		return true;
	foreach(lc, members)
	{
		int16		types[MAX_WANTED];
		int			n = get_live_types(by_row, types);

		if (can_have_triggers(lfirst_oid(lc)) &&
			!has_triggers(lfirst_oid(lc), log, true, types, n))
			return false;
	}
	return true;
}

/* Do these, and the others, tell of all writes that triggers can tell of? */
bool
mvr_capture_is_heard(Relation base, Oid log)
{
	List	   *members = mvr_members_list(base, AccessShareLock);
	bool		by_row = mvr_members_need_row_capture(members);
	ListCell   *lc;

	if (!mvr_capture_is_live(base, log))
		return false;
	foreach(lc, base->rd_rel->relkind == RELKIND_MATVIEW ? NIL : members)
	{
		int16		types[MAX_WANTED];
		int			n = get_wanted_types(get_rel_relkind(lfirst_oid(lc)), by_row, types);

		if (can_have_triggers(lfirst_oid(lc)) &&
			!has_triggers(lfirst_oid(lc), log, false, types, n))
			return false;
	}
	return true;
}

/*
 * Lock the tables that triggers stand on, to remove those.  False, and nothing
 * locked, if "wait" is false and somebody is in the way.
 */
static bool
lock_found(List *list, bool wait)
{
	int			n = 0;

	foreach_ptr(Found, found, list)
	{
		if (wait)
			LockRelationOid(found->rel, ShareRowExclusiveLock);
		else if (AfterTriggerPendingOnRel(found->rel) ||
				 !ConditionalLockRelationOid(found->rel, ShareRowExclusiveLock))
			break;
		n++;
	}
	if (n == list_length(list))
		return true;
	while (n-- > 0)
		UnlockRelationOid(((Found *) list_nth(list, n))->rel, ShareRowExclusiveLock);
	return false;
}

/*
 * Remove all triggers that write to a base table's log; it may be gone.  False,
 * and nothing done, if "wait" is false and somebody writes a member.
 */
bool
mvr_capture_disarm(Oid base, bool wait)
{
	Oid			log = mvr_catalog_lookup_log(base);
	List	   *list = OidIsValid(log) ? list_found_anywhere(log) : NIL;

	if (!lock_found(list, wait))
		return false;
	foreach_ptr(Found, found, list)
		drop_trigger(found->oid, found->rel);
	return true;
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

/* Since when a catalog row is as it is: its writer, and where it put the row */
static void
hash_since_into(uint64 *hash, TransactionId xmin, ItemPointer tid)
{
	hash_oid_into(hash, xmin);
	hash_bytes_into(hash, tid, sizeof(ItemPointerData));
}

/* False if the triggers are not exactly those wanted */
static bool
hash_triggers(uint64 *hash, Relation member, bool by_row, Oid function, Oid log)
{
	int16		types[MAX_WANTED];
	int			n = get_wanted_types(member->rd_rel->relkind, by_row, types);
	bool		is_exact = true;

	foreach_ptr(Found, found, list_found(RelationGetRelid(member), function, log, false))
	{
		is_exact = is_exact && take_wanted(types, &n, found);
		hash_oid_into(hash, found->oid);
		hash_since_into(hash, found->xmin, &found->tid);
	}
	return is_exact && n == 0;
}

static void
hash_parents(uint64 *hash, Oid member)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan = mvr_scan_by_oid(catalog, InheritsRelidSeqnoIndexId,
								  Anum_pg_inherits_inhrelid, member);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		hash_oid_into(hash, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
		hash_since_into(hash, HeapTupleHeaderGetRawXmin(tuple->t_data),
						&tuple->t_self);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/*
 * The catalog rows of the columns that are needed are written when a table
 * gets or loses a parent, which may have come and gone since the last look,
 * with changes in between.  Other columns are left out, so that ADD COLUMN does
 * not count, nor another view that has more columns logged.  (A parent without
 * any of these columns leaves no trace here: see mvr_track_mark_unseen.)
 */
static void
hash_columns(uint64 *hash, Relation member, Relation log, Oid base,
			 Bitmapset *columns)
{
	const AttrNumber *source = mvr_trigger_get_map(member, log, base);

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
		hash_since_into(hash, HeapTupleHeaderGetRawXmin(tuple->t_data),
						&tuple->t_self);
		/* from 18 on NOT NULL can become valid without a trace there */
		hash_oid_into(hash, mvr_compat_is_not_null(RelationGetDescr(member), source[i]));
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

/* What one member adds to the shape; 0 if it is not as it should be */
static uint64
hash_member(Oid member, bool by_row, Oid function, Relation log, Oid base,
			Bitmapset *columns)
{
	Relation	rel = relation_open(member, NoLock);
	uint64		hash = 0;
	bool		is_armed;

	hash_oid_into(&hash, member);
	hash_parents(&hash, member);
	hash_columns(&hash, rel, log, base, columns);
	hash_generated(&hash, RelationGetDescr(rel));
	is_armed = mvr_members_refusal_of(rel) == NULL &&
		hash_triggers(&hash, rel, by_row, function, RelationGetRelid(log));
	relation_close(rel, NoLock);
	return is_armed ? hash : 0;
}

/* The sum over some members, or 0 if one of them is not as it should be */
static int64
sum_shape(List *members, bool by_row, Oid log, Oid base, Bitmapset *columns)
{
	Relation	rel = try_table_open(log, AccessShareLock);
	Oid			function = get_function();
	uint64		sum = 0;
	ListCell   *lc;

	if (rel == NULL)
		return 0;
	foreach(lc, members)
	{
		uint64		hash = hash_member(lfirst_oid(lc), by_row, function, rel, base,
									   columns);

		sum += hash;
		if (hash == 0)
		{
			sum = 0;
			break;
		}
	}
	table_close(rel, AccessShareLock);
	return (int64) sum;
}

/*
 * Fingerprint of everything that must stay as it is for the log to tell all
 * changes in some columns: which tables are members, since when, what triggers
 * they have, since when, and how generated columns are computed.  0 if
 * something is not as mvr_capture_arm would have it.
 *
 * "Since when" is who wrote a catalog row, and where: what has been switched
 * off and on again is not the same, not even in one transaction.  Storage of
 * the members does not count: VACUUM FULL changes no row (that of a catalog
 * costs a recompute).
 *
 * Each member adds its part, so a new member changes the shape in a known way;
 * see mvr_capture_add_partition.
 *
 * Reads what is committed now, whatever the caller's snapshot; to know that a
 * shape holds for a snapshot, compare it before and after taking that.
 */
int64
mvr_capture_shape(Relation base, Oid log, Bitmapset *columns)
{
	List	   *members;

	if (base->rd_rel->relkind == RELKIND_MATVIEW)
		return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(log)) ?
			mvr_chain_shape(base) : 0;
	members = mvr_members_list(base, AccessShareLock);
	return sum_shape(members, mvr_members_need_row_capture(members), log,
					 RelationGetRelid(base), columns);
}

/* The part of some members of a partitioned table, held in any lock */
int64
mvr_capture_shape_part(List *members, Oid log, Oid base, Bitmapset *columns)
{
	return sum_shape(members, true, log, base, columns);
}

/* ----------
 * Partitions that come empty
 * ----------
 */

/* Open a table that the caller has locked in this mode already, else NULL */
static Relation
try_open_locked(Oid relid, LOCKMODE lockmode)
{
	Relation	rel;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL || CheckRelationLockedByMe(rel, lockmode, true))
		return rel;
	relation_close(rel, NoLock);
	return NULL;
}

/* Can a table be captured from its very first row on? */
static bool
is_unwritten(Oid member, Oid function, Oid log)
{
	Relation	rel = try_open_locked(member, AccessExclusiveLock);
	bool		result;

	if (rel == NULL)
		return false;
	result = mvr_members_refusal_of(rel) == NULL &&
		(!RELKIND_HAS_STORAGE(rel->rd_rel->relkind) ||
		 RelationGetNumberOfBlocks(rel) == 0) &&
		list_found(member, function, log, false) == NIL;
	relation_close(rel, NoLock);
	return result;
}

/*
 * A table that has become a partition, with all below it, if nothing has ever
 * been written to them but what is gone for good; else NIL.
 *
 * The command that made it one has locked it against everyone, and its parent
 * against all who would arm it: that is checked, not done, here.
 */
List *
mvr_capture_list_unwritten(Oid partition, Oid parent, Oid log)
{
	Relation	rel = try_open_locked(parent, ShareUpdateExclusiveLock);
	Oid			function = get_function();
	List	   *members;
	ListCell   *lc;

	if (rel == NULL)
		return NIL;
	relation_close(rel, NoLock);
	if (list_found(parent, function, log, false) == NIL)
		return NIL;
	members = find_all_inheritors(partition, NoLock, NULL);
	foreach(lc, members)
		if (!is_unwritten(lfirst_oid(lc), function, log))
			return NIL;
	return members;
}

/*
 * Capture what mvr_capture_list_unwritten has found.  It waits for nobody, for
 * nobody can be writing.
 *
 * The triggers of the parent are renewed, so a view goes on with the shape it
 * knows only if that is brought up to date, in this transaction: take off the
 * part of the parent before, and add that of the parent and the members after.
 * What it did not fit before it will not fit then.
 */
void
mvr_capture_add_partition(List *members, Oid parent, Oid log, Oid base)
{
	Oid			function = get_function();
	ListCell   *lc;

	renew_triggers(parent, function, log);
	foreach(lc, members)
		arm_member(lfirst_oid(lc), true, function, log, base);
}
