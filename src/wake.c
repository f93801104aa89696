/*
 * wake.c
 *		Tell the scheduler, at commit, what a transaction has done.
 *
 * What happened is noted in this backend and delivered when the transaction
 * has committed: its changes are visible, its locks released, and its
 * invalidations sent.  An abort forgets it.  Nothing is written anywhere, and
 * nobody waits: the scheduler's slot is marked, and its latch set if it was
 * not marked so already.
 *
 * Two sources tell of written tables:
 * - capture, for what tracked views read, and refreshes, for views over views.
 *	 That is always delivered.
 * - the executor and COPY, for what views read that are recomputed and to be
 *	 refreshed on change.  The scheduler has set a bit for each such
 *	 relation in its slot, and only what has a bit set is delivered.
 *
 * Nothing is lost:
 * (1) The bits are looked at after the changes have become visible.  The
 *	   scheduler sets one first and has the view refreshed afterwards.  So who
 *	   does not see the bit has been seen by that refresh.
 * (2) Likewise for the slot as a whole, see mvr_shared_lookup_database.
 * (3) A prepared transaction is committed by somebody who does not know what
 *	   it has written: everything counts as written then.  A subscription does
 *	   that without a command we could see; so if a transaction with changes
 *	   has been prepared in this database, everything that an apply worker
 *	   commits counts for everything.
 * (4) More names than fit are "everything".
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "replication/logicalworker.h"
#include "utils/resowner.h"

#include "matview_refresh.h"

typedef struct Notes
{
	bool		any;			/* anything of what follows */
	bool		policies;
	bool		catalog;
	bool		everything;
	bool		extension;		/* created or moved, for the launcher */
	bool		databases;		/* likewise */
	int			ncaptured;
	int			nwritten;
	Oid			captured[MVR_MAX_DIRTY];
	Oid			written[MVR_MAX_DIRTY];
	bool		too_many_written;
} Notes;

static Notes notes;
static bool has_committed = false;
static ExecutorFinish_hook_type previous_finish_hook = NULL;

/* ----------
 * Noting
 * ----------
 */

static bool
add_oid(Oid *list, int *n, Oid oid)
{
	for (int i = *n - 1; i >= 0; i--)
		if (list[i] == oid)
			return true;
	if (*n == MVR_MAX_DIRTY)
		return false;
	list[(*n)++] = oid;
	return true;
}

/* A base table has changed as far as a tracked view reads it, or a view has */
void
mvr_wake_note_captured(Oid base)
{
	if (mvr_shared == NULL)
		return;
	notes.any = true;
	if (!add_oid(notes.captured, &notes.ncaptured, base))
		notes.everything = true;
}

/* A relation was written, or may have been */
void
mvr_wake_note_written(Oid relid)
{
	if (mvr_shared == NULL)
		return;
	notes.any = true;
	if (!add_oid(notes.written, &notes.nwritten, relid))
		notes.too_many_written = true;
}

/* Policies may have changed, or what they wait for */
void
mvr_wake_note_policies(void)
{
	notes.any = notes.policies = true;
}

/* Definitions have changed: the scheduler processes its invalidations */
void
mvr_wake_note_catalog(void)
{
	notes.any = notes.catalog = true;
}

/* Any base table may have changed */
void
mvr_wake_note_all(void)
{
	notes.any = notes.everything = true;
}

/* This database has got the extension */
void
mvr_wake_note_extension(void)
{
	notes.any = notes.extension = true;
}

/* There may be databases that were not there before, or can be entered now */
void
mvr_wake_note_databases(void)
{
	notes.any = notes.databases = true;
}

/* ----------
 * Delivering
 * ----------
 */

/* The bit of a relation: word in the upper half, bit in the lower */
uint64
mvr_wake_hash(Oid relid)
{
	uint32		hash = murmurhash32(relid) % (MVR_WATCH_WORDS * 64);

	return ((uint64) (hash / 64) << 32) | (hash % 64);
}

static bool
is_watched(MvrDatabase *db, Oid relid)
{
	uint64		hash = mvr_wake_hash(relid);

	return (pg_atomic_read_u64(&db->watch[hash >> 32]) & (UINT64CONST(1) << (hash & 63))) != 0;
}

static bool
is_anything_watched(MvrDatabase *db)
{
	for (int i = 0; i < MVR_WATCH_WORDS; i++)
		if (pg_atomic_read_u64(&db->watch[i]) != 0)
			return true;
	return false;
}

/* Leave only what somebody wants to know; true if there is something left */
static bool
filter_written(MvrDatabase *db)
{
	int			n = 0;

	pg_memory_barrier();
	if (notes.too_many_written && is_anything_watched(db))
		notes.everything = true;
	for (int i = 0; i < notes.nwritten; i++)
		if (is_watched(db, notes.written[i]))
			notes.written[n++] = notes.written[i];
	notes.nwritten = n;
	return n > 0 || notes.ncaptured > 0 || notes.everything || notes.policies ||
		notes.catalog;
}

static void
add_dirty(MvrDatabase *db, const Oid *list, int n, bool *is_new)
{
	for (int i = 0; i < n; i++)
	{
		int			before = db->ndirty;

		if (db->all_dirty)
			return;
		if (!add_oid(db->dirty, &db->ndirty, list[i]))
			db->all_dirty = true;
		*is_new = *is_new || db->all_dirty || db->ndirty > before;
	}
}

static void
set_flag(bool *flag, bool note, bool *is_new)
{
	if (note && !*flag)
		*flag = *is_new = true;
}

/* Mark the slot of this database; true if that told it anything new */
static bool
mark_database(MvrDatabase *db)
{
	bool		is_new = false;

	SpinLockAcquire(&db->mutex);
	set_flag(&db->policies_changed, notes.policies, &is_new);
	set_flag(&db->catalog_changed, notes.catalog, &is_new);
	set_flag(&db->all_dirty, notes.everything, &is_new);
	add_dirty(db, notes.captured, notes.ncaptured, &is_new);
	add_dirty(db, notes.written, notes.nwritten, &is_new);
	SpinLockRelease(&db->mutex);
	return is_new;
}

static void
tell_launcher(void)
{
	SpinLockAcquire(&mvr_shared->mutex);
	if (notes.databases)
		mvr_shared->databases_changed = true;
	if (notes.extension)
	{
		if (OidIsValid(mvr_shared->probe) && mvr_shared->probe != MyDatabaseId)
			mvr_shared->probe_all = true;
		mvr_shared->probe = MyDatabaseId;
	}
	SpinLockRelease(&mvr_shared->mutex);
	mvr_shared_wake_launcher();
}

static void
forget(void)
{
	memset(&notes, 0, offsetof(Notes, captured));
	notes.too_many_written = false;
	has_committed = false;
}

/*
 * Deliver what was noted.  Called when it is visible to others; must not fail.
 */
void
mvr_wake_now(void)
{
	MvrDatabase *db;

	if (mvr_shared && notes.any)
	{
		if (notes.extension || notes.databases)
			tell_launcher();
		db = mvr_shared_lookup_database(MyDatabaseId);
		if (db && filter_written(db) && mark_database(db))
			mvr_shared_wake(db);
	}
	forget();
}

/* ----------
 * When
 * ----------
 */

/* A transaction with changes is prepared: see (3) */
static void
note_prepared(void)
{
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);

	if (db && notes.any)
	{
		SpinLockAcquire(&db->mutex);
		db->has_prepared = true;
		SpinLockRelease(&db->mutex);
	}
	forget();
}

static void
note_applied(void)
{
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);

	if (db && db->has_prepared)
		mvr_wake_note_all();
}

static void
at_xact_end(XactEvent event, pg_attribute_unused() void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (IsLogicalWorker())
				note_applied();
			has_committed = notes.any;
			break;
		case XACT_EVENT_PREPARE:
			note_prepared();
			break;
		case XACT_EVENT_ABORT:
			forget();
			break;
		default:
			break;
	}
}

/* Behind the invalidations and the release of locks, both of which come later */
static void
at_resource_release(ResourceReleasePhase phase, pg_attribute_unused() bool is_commit,
					bool is_top, pg_attribute_unused() void *arg)
{
	if (has_committed && is_top && phase == RESOURCE_RELEASE_AFTER_LOCKS)
		mvr_wake_now();
}

/* ----------
 * What the executor writes
 * ----------
 */

static void
note_results(PlannedStmt *plan)
{
	ListCell   *lc;

	foreach(lc, mvr_compat_list_results(plan))
		mvr_wake_note_written(rt_fetch(lfirst_int(lc), plan->rtable)->relid);
}

static void
finish_executor(QueryDesc *desc)
{
	if (!IsParallelWorker())
		note_results(desc->plannedstmt);
	if (previous_finish_hook)
		previous_finish_hook(desc);
	else
		standard_ExecutorFinish(desc);
}

/* Called while the library is being preloaded */
void
mvr_wake_init(void)
{
	RegisterXactCallback(at_xact_end, NULL);
	RegisterResourceReleaseCallback(at_resource_release, NULL);
	previous_finish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = finish_executor;
}
