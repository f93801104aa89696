/*
 * catalog.c
 *		The registry tables as structs, and what a frontier means.
 *
 * The registry is four ordinary tables of the extension, read and written
 * directly rather than by SQL: a refresh with nothing to do must cost less
 * than planning one query, and no search_path or rule can come between.
 * Access control is the caller's: every SQL-callable function has checked the
 * right to the view before it comes here.
 *
 * (1) Reads use a snapshot taken now (what systable_beginscan gives for a
 *	   table that is no system catalog), even in a REPEATABLE READ
 *	   transaction: a refresh must know the frontier that the last one left.
 * (2) A view's rows are written only under ExclusiveLock on the view, so the
 *	   row that was read is still the one there is.
 * (3) A frontier is stored in the transaction that writes the contents.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "matview_refresh.h"

/* Columns, in the order of the installation script */
enum
{
	LOGS_BASE = 1, LOGS_LOG, LOGS_IS_LOGGED, LOGS_IS_LIVE, LOGS_NATTS = LOGS_IS_LIVE
};

enum
{
	VIEWS_VIEW = 1, VIEWS_STATES, VIEWS_FILE, VIEWS_QUERY_HASH,
	VIEWS_FRONTIER, VIEWS_OWN_XID, VIEWS_OWN_CID, VIEWS_LIVE,
	VIEWS_SETTINGS, VIEWS_NATTS = VIEWS_SETTINGS
};

enum
{
	SOURCES_VIEW = 1, SOURCES_BASE, SOURCES_COLUMNS, SOURCES_SHAPE,
	SOURCES_NATTS = SOURCES_SHAPE
};

enum
{
	HISTORY_VIEW = 1, HISTORY_STARTED, HISTORY_FINISHED, HISTORY_MODE,
	HISTORY_REASON, HISTORY_INSERTED, HISTORY_UPDATED, HISTORY_DELETED,
	HISTORY_CHANGES, HISTORY_NATTS = HISTORY_CHANGES
};

/* Schema "matview"; an error if there is none */
Oid
mvr_catalog_get_namespace(void)
{
	return get_namespace_oid("matview", false);
}

/* Is the extension (still) there? */
bool
mvr_catalog_is_installed(void)
{
	Oid			schema = get_namespace_oid("matview", true);

	return OidIsValid(schema) && OidIsValid(get_relname_relid("tracked_views", schema));
}

/* Are all tables that we find by name where they belong? */
bool
mvr_catalog_is_complete(void)
{
	static const char *const names[] = {
		"change_logs", "tracked_views", "tracked_sources", "refresh_history",
		"policies", "policy_runs"
	};
	Oid			schema = get_namespace_oid("matview", true);

	for (int i = 0; i < (int) lengthof(names); i++)
		if (!OidIsValid(schema) || !OidIsValid(get_relname_relid(names[i], schema)))
			return false;
	return true;
}

/* Owner of the extension's schema, who owns the tables made later too */
Oid
mvr_catalog_get_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID,
										ObjectIdGetDatum(mvr_catalog_get_namespace()));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema matview");
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static Oid
get_registry_oid(const char *name)
{
	Oid			relid = get_relname_relid(name, mvr_catalog_get_namespace());

	if (!OidIsValid(relid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table matview.%s does not exist", name),
				errdetail("The extension is not there as a whole."),
				errhint("Drop and create the extension matview_refresh."));
	return relid;
}

static void
mark_relation(Relation catalog, Oid relid, Oid about)
{
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	if (!OidIsValid(((Form_pg_class) GETSTRUCT(tuple))->relrewrite))
	{
		((Form_pg_class) GETSTRUCT(tuple))->relrewrite = about;
		CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
	}
	heap_freetuple(tuple);
}

/*
 * See that logical decoding passes over a table of ours that is about to be
 * written, see mvr_catalog_create_table: pg_upgrade has not kept the mark.
 */
void
mvr_catalog_ensure_mark(Relation rel)
{
	Relation	catalog;

	if (OidIsValid(rel->rd_rel->relrewrite))
		return;
	LockRelationOid(RelationGetRelid(rel), ShareUpdateExclusiveLock);
	catalog = table_open(RelationRelationId, RowExclusiveLock);
	mark_relation(catalog, RelationGetRelid(rel), RelationGetRelid(rel));
	if (OidIsValid(rel->rd_rel->reltoastrelid))
		mark_relation(catalog, rel->rd_rel->reltoastrelid, RelationGetRelid(rel));
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

static Relation
open_registry(const char *name, LOCKMODE lockmode)
{
	Relation	rel = table_open(get_registry_oid(name), lockmode);

	if (lockmode > AccessShareLock)
		mvr_catalog_ensure_mark(rel);
	return rel;
}

/* Scan a registry table by its leading index column, an oid */
static SysScanDesc
begin_scan(Relation rel, const char *index, AttrNumber attno, Oid value,
		   ScanKey key)
{
	ScanKeyInit(key, attno, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(value));
	return systable_beginscan(rel, get_registry_oid(index), true, NULL, 1, key);
}

/* Delete all rows found by an index on an oid column */
static void
delete_rows(const char *table, const char *index, AttrNumber attno, Oid value)
{
	Relation	rel = open_registry(table, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, index, attno, value, &key);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

/* ----------
 * Frontier
 * ----------
 */

/* The frontier of one who reads with the active snapshot, and writes next */
MvrFrontier
mvr_frontier_here(void)
{
	MvrFrontier frontier;

	frontier.valid = true;
	frontier.snapshot = DirectFunctionCall1(pg_current_snapshot, (Datum) 0);
	frontier.xmin = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin,
																  frontier.snapshot));
	frontier.xmax = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmax,
																  frontier.snapshot));
	frontier.own_xid = GetTopFullTransactionId();
	frontier.own_cid = GetActiveSnapshot()->curcid;
	return frontier;
}

/* Has the view consumed a log row written by this transaction and command? */
bool
mvr_frontier_covers(const MvrFrontier *frontier, FullTransactionId xid,
					CommandId cid)
{
	if (FullTransactionIdEquals(xid, frontier->own_xid))
		return cid < frontier->own_cid;
	if (FullTransactionIdPrecedes(xid, frontier->xmin))
		return true;
	if (FullTransactionIdFollowsOrEquals(xid, frontier->xmax))
		return false;
	return DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot,
											FullTransactionIdGetDatum(xid),
											frontier->snapshot));
}

/*
 * Does the active snapshot see all that the frontier has consumed?  It does
 * if it sees the transaction that stored the frontier, whose own snapshot was
 * taken earlier.  Only a REPEATABLE READ or SERIALIZABLE caller can fail.
 */
bool
mvr_frontier_is_visible(const MvrFrontier *frontier)
{
	Datum		here;

	if (FullTransactionIdEquals(frontier->own_xid, GetTopFullTransactionIdIfAny()))
		return true;
	here = DirectFunctionCall1(pg_current_snapshot, (Datum) 0);
	return DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot,
											FullTransactionIdGetDatum(frontier->own_xid),
											here));
}

/*
 * Does the active snapshot see all that is committed now?  False, in case of
 * doubt, if any transaction has ended since it was taken.
 */
bool
mvr_frontier_is_now(void)
{
	Snapshot	here = GetActiveSnapshot();
	Snapshot	now = GetLatestSnapshot();

	return here->xmax == now->xmax && here->xcnt == now->xcnt &&
		memcmp(here->xip, now->xip, sizeof(TransactionId) * now->xcnt) == 0;
}

/* ----------
 * Tracked views
 * ----------
 */

static Bitmapset *
columns_from_array(Datum datum)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	int16	   *attnos = (int16 *) ARR_DATA_PTR(array);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	Bitmapset  *columns = NULL;

	for (int i = 0; i < n; i++)
		columns = bms_add_member(columns, attnos[i]);
	return columns;
}

static Datum
columns_to_array(Bitmapset *columns)
{
	Datum	   *elems = palloc(sizeof(Datum) * (bms_num_members(columns) + 1));
	int			n = 0;
	int			attno = -1;

	while ((attno = bms_next_member(columns, attno)) >= 0)
		elems[n++] = Int16GetDatum(attno);
	return PointerGetDatum(construct_array(elems, n, INT2OID, sizeof(int16),
										   true, TYPALIGN_SHORT));
}

static List *
oids_from_array(Datum datum)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	Oid		   *oids = (Oid *) ARR_DATA_PTR(array);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	List	   *result = NIL;

	for (int i = 0; i < n; i++)
		result = lappend_oid(result, oids[i]);
	return result;
}

static Datum
oids_to_array(List *oids)
{
	Datum	   *elems = palloc(sizeof(Datum) * (list_length(oids) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, oids)
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(elems, n, OIDOID, sizeof(Oid), true,
										   TYPALIGN_INT));
}

static List *
texts_from_array(Datum datum)
{
	Datum	   *elems;
	int			n;
	List	   *result = NIL;

	deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		result = lappend(result, TextDatumGetCString(elems[i]));
	return result;
}

static Datum
texts_to_array(List *texts)
{
	Datum	   *elems = palloc(sizeof(Datum) * (list_length(texts) + 1));
	int			n = 0;

	foreach_ptr(char, text, texts)
		elems[n++] = CStringGetTextDatum(text);
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
deform_frontier(MvrFrontier *frontier, Datum *values, bool *nulls)
{
	memset(frontier, 0, sizeof(*frontier));
	if (nulls[VIEWS_FRONTIER - 1])
		return;
	frontier->valid = true;
	frontier->snapshot = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[VIEWS_FRONTIER - 1]));
	frontier->xmin = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin,
																   frontier->snapshot));
	frontier->xmax = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmax,
																   frontier->snapshot));
	frontier->own_xid = DatumGetFullTransactionId(values[VIEWS_OWN_XID - 1]);
	frontier->own_cid = DatumGetCommandId(values[VIEWS_OWN_CID - 1]);
}

static List *
read_sources(Oid view)
{
	Relation	rel = open_registry("tracked_sources", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, "tracked_sources_pkey", SOURCES_VIEW,
								  view, &key);
	HeapTuple	tuple;
	List	   *sources = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MvrSource  *source = palloc0(sizeof(MvrSource));
		Datum		values[SOURCES_NATTS];
		bool		nulls[SOURCES_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		source->base = DatumGetObjectId(values[SOURCES_BASE - 1]);
		source->columns = columns_from_array(values[SOURCES_COLUMNS - 1]);
		source->shape = DatumGetInt64(values[SOURCES_SHAPE - 1]);
		sources = lappend(sources, source);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	foreach_ptr(MvrSource, source, sources)
		source->log = mvr_catalog_lookup_log(source->base);
	return sources;
}

/* NULL if the view is not tracked */
MvrTracked *
mvr_catalog_lookup_view(Oid view)
{
	Relation	rel = open_registry("tracked_views", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, "tracked_views_pkey", VIEWS_VIEW, view,
								  &key);
	HeapTuple	tuple = systable_getnext(scan);
	MvrTracked *tracked = NULL;

	if (HeapTupleIsValid(tuple))
	{
		Datum		values[VIEWS_NATTS];
		bool		nulls[VIEWS_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		tracked = palloc0(sizeof(MvrTracked));
		tracked->view = view;
		tracked->states = oids_from_array(values[VIEWS_STATES - 1]);
		tracked->file = DatumGetObjectId(values[VIEWS_FILE - 1]);
		tracked->query_hash = DatumGetInt64(values[VIEWS_QUERY_HASH - 1]);
		deform_frontier(&tracked->frontier, values, nulls);
		if (!nulls[VIEWS_LIVE - 1])
			tracked->live = DatumGetChar(values[VIEWS_LIVE - 1]);
		if (!nulls[VIEWS_SETTINGS - 1])
			tracked->settings = texts_from_array(values[VIEWS_SETTINGS - 1]);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (tracked)
		tracked->sources = read_sources(view);
	return tracked;
}

/* Insert a row, or update the one that the index finds */
static void
upsert_row(const char *table, const char *index, AttrNumber attno, Oid value,
		   Datum *values, bool *nulls)
{
	Relation	rel = open_registry(table, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, index, attno, value, &key);
	HeapTuple	old = systable_getnext(scan);
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

static void
store_sources(const MvrTracked *tracked)
{
	Relation	rel;

	delete_rows("tracked_sources", "tracked_sources_pkey", SOURCES_VIEW,
				tracked->view);
	rel = open_registry("tracked_sources", RowExclusiveLock);
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Datum		values[SOURCES_NATTS];
		bool		nulls[SOURCES_NATTS] = {0};

		values[SOURCES_VIEW - 1] = ObjectIdGetDatum(tracked->view);
		values[SOURCES_BASE - 1] = ObjectIdGetDatum(source->base);
		values[SOURCES_COLUMNS - 1] = columns_to_array(source->columns);
		values[SOURCES_SHAPE - 1] = Int64GetDatum(source->shape);
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	}
	table_close(rel, RowExclusiveLock);
}

static void
store_view_row(const MvrTracked *tracked)
{
	const MvrFrontier *frontier = &tracked->frontier;
	Datum		values[VIEWS_NATTS] = {0};
	bool		nulls[VIEWS_NATTS] = {0};

	values[VIEWS_VIEW - 1] = ObjectIdGetDatum(tracked->view);
	values[VIEWS_STATES - 1] = oids_to_array(tracked->states);
	values[VIEWS_FILE - 1] = ObjectIdGetDatum(tracked->file);
	values[VIEWS_QUERY_HASH - 1] = Int64GetDatum(tracked->query_hash);
	values[VIEWS_FRONTIER - 1] = frontier->snapshot;
	values[VIEWS_OWN_XID - 1] = FullTransactionIdGetDatum(frontier->own_xid);
	values[VIEWS_OWN_CID - 1] = CommandIdGetDatum(frontier->own_cid);
	values[VIEWS_LIVE - 1] = CharGetDatum(tracked->live);
	nulls[VIEWS_LIVE - 1] = (tracked->live == MVR_LIVE_NOT);
	nulls[VIEWS_SETTINGS - 1] = (tracked->settings == NIL);
	if (tracked->settings)
		values[VIEWS_SETTINGS - 1] = texts_to_array(tracked->settings);
	if (!frontier->valid)
		nulls[VIEWS_FRONTIER - 1] = nulls[VIEWS_OWN_XID - 1] =
			nulls[VIEWS_OWN_CID - 1] = true;
	upsert_row("tracked_views", "tracked_views_pkey", VIEWS_VIEW, tracked->view,
			   values, nulls);
}

/* Sessions keep what they know of a live view and its sources: tell them */
static void
invalidate_live(const MvrTracked *tracked)
{
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(tracked->view)))
		CacheInvalidateRelcacheByRelid(tracked->view);
	foreach_ptr(MvrSource, source, tracked->sources)
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->base)))
			CacheInvalidateRelcacheByRelid(source->base);
}

/*
 * Insert or update a registry row; with_sources says whether those have
 * changed too.  Caller holds ExclusiveLock on the view, or what keeps out all
 * others who write its contents.
 */
void
mvr_catalog_store_view(const MvrTracked *tracked, bool with_sources)
{
	store_view_row(tracked);
	if (with_sources)
		store_sources(tracked);
	if (with_sources || tracked->live != MVR_LIVE_NOT)
		invalidate_live(tracked);
}

/*
 * Say in the registry row of a live view that this transaction has written its
 * contents.  Nothing else changes, so nobody is told.  Caller as above.
 */
void
mvr_catalog_touch_view(const MvrTracked *tracked)
{
	MvrTracked	copy = *tracked;

	copy.frontier = mvr_frontier_here();
	store_view_row(&copy);
}

/* Forget a view; no error if it is not known */
void
mvr_catalog_delete_view(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	if (tracked && tracked->live != MVR_LIVE_NOT)
		invalidate_live(tracked);
	delete_rows("tracked_views", "tracked_views_pkey", VIEWS_VIEW, view);
	delete_rows("tracked_sources", "tracked_sources_pkey", SOURCES_VIEW, view);
}

/* The oids of the views that read a base table's log, in order */
List *
mvr_catalog_list_views(Oid base)
{
	Relation	rel = open_registry("tracked_sources", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, "tracked_sources_base", SOURCES_BASE,
								  base, &key);
	HeapTuple	tuple;
	List	   *views = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		views = lappend_oid(views,
							DatumGetObjectId(heap_getattr(tuple, SOURCES_VIEW,
														  RelationGetDescr(rel),
														  &isnull)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(views, list_oid_cmp);
	return views;
}

/* The live views, as MvrTracked, by OID */
List *
mvr_catalog_list_live(void)
{
	Relation	rel = open_registry("tracked_views", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *oids = NIL;
	List	   *views = NIL;
	ListCell   *lc;
	bool		isnull;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		(void) heap_getattr(tuple, VIEWS_LIVE, RelationGetDescr(rel), &isnull);
		if (!isnull)
			oids = lappend_oid(oids,
							   DatumGetObjectId(heap_getattr(tuple, VIEWS_VIEW,
															 RelationGetDescr(rel), &isnull)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(oids, list_oid_cmp);
	foreach(lc, oids)
		views = lappend(views, mvr_catalog_lookup_view(lfirst_oid(lc)));
	return views;
}

/* ----------
 * Change logs
 * ----------
 */

/* What is known of a base table's log; false if it has none */
bool
mvr_catalog_lookup_log_row(Oid base, MvrLogRow *row)
{
	Relation	rel = open_registry("change_logs", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, "change_logs_pkey", LOGS_BASE, base, &key);
	HeapTuple	tuple = systable_getnext(scan);

	memset(row, 0, sizeof(*row));
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[LOGS_NATTS];
		bool		nulls[LOGS_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		row->log = DatumGetObjectId(values[LOGS_LOG - 1]);
		row->is_logged = DatumGetBool(values[LOGS_IS_LOGGED - 1]);
		row->is_live = DatumGetBool(values[LOGS_IS_LIVE - 1]);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return OidIsValid(row->log);
}

/* The base tables that have a log, by OID */
List *
mvr_catalog_list_bases(void)
{
	Relation	rel = open_registry("change_logs", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *bases = NIL;
	bool		isnull;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		bases = lappend_oid(bases,
							DatumGetObjectId(heap_getattr(tuple, LOGS_BASE,
														  RelationGetDescr(rel), &isnull)));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(bases, list_oid_cmp);
	return bases;
}

/* Those of them that are read by no tracked view */
List *
mvr_catalog_list_unread(void)
{
	List	   *bases = mvr_catalog_list_bases();
	List	   *unread = NIL;
	ListCell   *lc;

	foreach(lc, bases)
		if (mvr_catalog_list_views(lfirst_oid(lc)) == NIL)
			unread = lappend_oid(unread, lfirst_oid(lc));
	return unread;
}

/* InvalidOid if the base table has none */
Oid
mvr_catalog_lookup_log(Oid base)
{
	MvrLogRow	row;

	mvr_catalog_lookup_log_row(base, &row);
	return row.log;
}

/* Store it, and tell the sessions that keep it */
void
mvr_catalog_store_log(Oid base, const MvrLogRow *row)
{
	Datum		values[LOGS_NATTS];
	bool		nulls[LOGS_NATTS] = {0};

	values[LOGS_BASE - 1] = ObjectIdGetDatum(base);
	values[LOGS_LOG - 1] = ObjectIdGetDatum(row->log);
	values[LOGS_IS_LOGGED - 1] = BoolGetDatum(row->is_logged);
	values[LOGS_IS_LIVE - 1] = BoolGetDatum(row->is_live);
	upsert_row("change_logs", "change_logs_pkey", LOGS_BASE, base, values, nulls);
	CacheInvalidateRelcacheByRelid(base);
}

/* Forget the change log of a base table, which the caller has locked or which is gone */
void
mvr_catalog_delete_log(Oid base)
{
	delete_rows("change_logs", "change_logs_pkey", LOGS_BASE, base);
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(base)))
		CacheInvalidateRelcacheByRelid(base);
}

/* ----------
 * History
 * ----------
 */

/* Delete the oldest rows of a view's history beyond the limit */
static void
trim_history(Relation rel, Oid view)
{
	ScanKeyData key;
	SysScanDesc scan;
	Relation	index = index_open(get_registry_oid("refresh_history_view"),
								   AccessShareLock);
	HeapTuple	tuple;
	int			kept = 0;

	ScanKeyInit(&key, HISTORY_VIEW, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(view));
	scan = systable_beginscan_ordered(rel, index, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 BackwardScanDirection)))
	{
		if (++kept > mvr_history_limit)
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
}

/* Record a refresh that ends now; "started" is when it began */
void
mvr_catalog_append_history(Oid view, const char *mode, const char *reason,
						   int64 inserted, int64 updated, int64 deleted,
						   int64 changes, TimestampTz started)
{
	Relation	rel = open_registry("refresh_history", RowExclusiveLock);
	Datum		values[HISTORY_NATTS] = {0};
	bool		nulls[HISTORY_NATTS] = {0};

	values[HISTORY_VIEW - 1] = ObjectIdGetDatum(view);
	values[HISTORY_STARTED - 1] = TimestampTzGetDatum(started);
	values[HISTORY_FINISHED - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[HISTORY_MODE - 1] = CStringGetTextDatum(mode);
	if (reason)
		values[HISTORY_REASON - 1] = CStringGetTextDatum(reason);
	else
		nulls[HISTORY_REASON - 1] = true;
	values[HISTORY_INSERTED - 1] = Int64GetDatum(inserted);
	values[HISTORY_UPDATED - 1] = Int64GetDatum(updated);
	values[HISTORY_DELETED - 1] = Int64GetDatum(deleted);
	values[HISTORY_CHANGES - 1] = Int64GetDatum(changes);
	if (mvr_history_limit > 0)
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CommandCounterIncrement();
	trim_history(rel, view);
	table_close(rel, RowExclusiveLock);
}

/* How many rows the last recorded diff of a view has written; -1 if not known */
int64
mvr_catalog_lookup_last_diff(Oid view)
{
	Relation	rel = open_registry("refresh_history", AccessShareLock);
	Relation	index = index_open(get_registry_oid("refresh_history_view"),
								   AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		written = -1;

	ScanKeyInit(&key, HISTORY_VIEW, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(view));
	scan = systable_beginscan_ordered(rel, index, NULL, 1, &key);
	while (written < 0 &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 BackwardScanDirection)))
	{
		Datum		values[HISTORY_NATTS];
		bool		nulls[HISTORY_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (strcmp(TextDatumGetCString(values[HISTORY_MODE - 1]), "diff") == 0)
			written = DatumGetInt64(values[HISTORY_INSERTED - 1]) +
				DatumGetInt64(values[HISTORY_UPDATED - 1]) +
				DatumGetInt64(values[HISTORY_DELETED - 1]);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return written;
}

/* Delete the history of a view that is no more */
void
mvr_catalog_delete_history(Oid view)
{
	delete_rows("refresh_history", "refresh_history_view", HISTORY_VIEW, view);
}

/* ----------
 * Tables that are made later
 * ----------
 */

/*
 * Make an object a member of the extension: DROP EXTENSION removes it, and
 * pg_dump leaves it out.
 */
void
mvr_catalog_own_by_extension(Oid classid, Oid objid)
{
	ObjectAddress object,
				extension;

	ObjectAddressSet(object, classid, objid);
	ObjectAddressSet(extension, ExtensionRelationId,
					 get_extension_oid("matview_refresh", false));
	recordDependencyOn(&object, &extension, DEPENDENCY_EXTENSION);
}

/*
 * Create a table of ours about another relation: the extension owner's, since
 * it is none of the user's business, and a member of the extension.  A member
 * cannot depend on that relation (dropping it would want to drop the whole
 * extension): ddl.c drops the table when the relation is gone.
 *
 * relrewrite marks the new heap of a table that is being rewritten, and does
 * one thing: logical decoding passes over what is written there.  So it does
 * here.  A subscriber to all tables has no such table, and would stop at the
 * first change.
 */
Oid
mvr_catalog_create_table(const char *name, Oid tablespace, TupleDesc desc,
						 Datum options, Oid about)
{
	Oid			relid;

	relid = heap_create_with_catalog(name, mvr_catalog_get_namespace(), tablespace,
									 InvalidOid, InvalidOid, InvalidOid,
									 mvr_catalog_get_owner(), HEAP_TABLE_AM_OID,
									 desc, NIL, RELKIND_RELATION,
									 RELPERSISTENCE_PERMANENT, false, false,
									 ONCOMMIT_NOOP, options, false, false, true,
									 about, NULL);
	CommandCounterIncrement();
	NewHeapCreateToastTable(relid, (Datum) 0, AccessExclusiveLock, about);
	mvr_catalog_own_by_extension(RelationRelationId, relid);
	CommandCounterIncrement();
	return relid;
}
