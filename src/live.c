/*
 * live.c
 *		Which live views read a base table, and does its log need its changes?
 *
 * Each session keeps that for the tables it writes: a statement that changes
 * one row must not read the registry.  Whoever changes the registry invalidates
 * the relcache entry of the base table, under a lock that keeps writers out
 * (mvr_catalog_store_log, mvr_catalog_store_view), so a writer who has locked
 * the table knows.  Without that lock things only end: a view is dropped, a log
 * not written to any more.  Who does not know yet does what is of no use.  Who
 * writes a partition or a child has not locked the table, but its log: that a log
 * is written to again is stored under the lock that keeps out those
 * (mvr_change_log_ensure).
 *
 * A live view is computed with the settings, such as TimeZone, that were in force
 * when it became one, whoever writes its base tables.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

static HTAB *bases = NULL;
static uint64 invalidations = 0;

/* Relcache callback: forget what is known of a relation, its log, or of all */
static void
invalidate_bases(pg_attribute_unused() Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	MvrBase    *base;

	invalidations++;
	hash_seq_init(&status, bases);
	while ((base = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || relid == base->base || relid == base->row.log)
			base->is_valid = false;
}

static void
create_bases(void)
{
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(MvrBase);
	ctl.hcxt = CacheMemoryContext;
	bases = hash_create("matview_refresh base tables", 32, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_bases, (Datum) 0);
}

/*
 * One of the views; NULL if it does not read the base table (any more).  One that
 * cannot be maintained any more may want columns that are not there any more.
 */
static MvrLiveView *
build_view(const MvrTracked *tracked, Relation base, Relation log)
{
	MvrLiveView *live = palloc0(sizeof(MvrLiveView));
	bool		is_found = false;

	live->view = tracked->view;
	live->live = tracked->live;
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		live->bases = lappend_oid(live->bases, source->base);
		if (source->base != RelationGetRelid(base))
			continue;
		live->desc = mvr_delta_build_desc(base, source->columns);
		live->map = mvr_change_log_build_map(log, base, source->columns);
		live->is_lost = (live->map == NULL);
		live->is_narrower = RelationGetDescr(log)->natts - MVR_LOG_FIXED >
			bms_num_members(source->columns);
		is_found = true;
	}
	return is_found ? live : NULL;
}

static void
fill_base(MvrBase *entry)
{
	Relation	base;
	Relation	log;
	ListCell   *lc;

	if (get_rel_relkind(entry->base) == RELKIND_MATVIEW)
	{
		MvrTracked *tracked = mvr_catalog_lookup_view(entry->base);

		entry->settings = tracked ? tracked->settings : NIL;
	}
	if (!mvr_catalog_lookup_log_row(entry->base, &entry->row) || !entry->row.is_live)
		return;
	base = relation_open(entry->base, AccessShareLock);
	log = try_table_open(entry->row.log, AccessShareLock);
	foreach(lc, log ? mvr_catalog_list_views(entry->base) : NIL)
	{
		MvrTracked *tracked = mvr_catalog_lookup_view(lfirst_oid(lc));
		MvrLiveView *live = tracked && tracked->live != MVR_LIVE_NOT ?
			build_view(tracked, base, log) : NULL;

		if (live)
			entry->views = lappend(entry->views, live);
	}
	if (log)
		table_close(log, AccessShareLock);
	relation_close(base, AccessShareLock);
}

/* Forget base tables that have been dropped, of which there may be more and more */
static void
forget_dropped(void)
{
	HASH_SEQ_STATUS status;
	MvrBase    *entry;

	hash_seq_init(&status, bases);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->is_valid || entry->context == NULL ||
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(entry->base)))
			continue;
		MemoryContextDelete(entry->context);
		hash_search(bases, &entry->base, HASH_REMOVE, NULL);
	}
}

/*
 * What is known of a base table, on which the caller has a lock.  It stays as it
 * is until the next call.
 */
const MvrBase *
mvr_live_get_base(Oid base)
{
	MvrBase    *entry;
	bool		found;
	uint64		before;
	MemoryContext old;

	if (bases == NULL)
		create_bases();
	entry = hash_search(bases, &base, HASH_ENTER, &found);
	if (found && entry->is_valid)
		return entry;
	if (!found)
		entry->context = NULL;
	entry->is_valid = false;
	if (entry->context == NULL)
	{
		forget_dropped();
		entry->context = AllocSetContextCreate(CacheMemoryContext,
											   "matview_refresh base table",
											   ALLOCSET_SMALL_SIZES);
	}
	MemoryContextReset(entry->context);
	entry->views = NIL;
	entry->settings = NIL;
	before = invalidations;
	old = MemoryContextSwitchTo(entry->context);
	fill_base(entry);
	MemoryContextSwitchTo(old);
	entry->is_valid = (before == invalidations);
	return entry;
}

/*
 * What live views read that stand on some of these, which have changed or may, and so
 * have to be maintained then.
 */
List *
mvr_live_list_bases_above(List *views)
{
	List	   *bases = NIL;

	for (int i = 0; i < list_length(views); i++)
		foreach_ptr(MvrLiveView, above, mvr_live_get_base(list_nth_oid(views, i))->views)
		{
			views = list_append_unique_oid(views, above->view);
			bases = list_concat_unique_oid(bases, above->bases);
		}
	return bases;
}

/*
 * Become the view's owner, as mvr_view_become_owner, with the settings of a live
 * view.  The caller has a lock on it.
 */
int
mvr_live_become_owner(Relation view, Oid *save_userid, int *save_context)
{
	const MvrBase *entry = mvr_live_get_base(RelationGetRelid(view));
	int			level = mvr_view_become_owner(view, save_userid, save_context);

	foreach_ptr(char, setting, entry->settings)
	{
		char	   *name = pstrdup(setting);
		char	   *value = strchr(name, '=');
		const char *now;

		*value++ = '\0';
		now = mvr_mutable_get_setting(name);
		if (now != NULL && strcmp(now, value) != 0 && mvr_mutable_is_parsed(name))
			mvr_view_forget_plans();
		if (now == NULL || strcmp(now, value) != 0)
			(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
		pfree(name);
	}
	return level;
}
