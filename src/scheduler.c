/*
 * scheduler.c
 *		The process of a database that says which view is due, and hands it out.
 *
 * It knows the views with policies, what each reads, and when it is due:
 *
 *	on_change		when what it reads has changed, and not within
 *					matview.min_interval of the last refresh
 *	an interval		that long after the last refresh has begun
 *	cron			when the line says, since the last refresh has begun or the
 *					policy was set
 *	failing			when the delay after the last failure is over
 *	live			once, when we begin, to see that its writers know of it:
 *					pg_upgrade does not keep our triggers
 *
 * Then it sleeps until the next of these times, or until a commit tells of a
 * change (wake.c).  It reads the registry when it is told that policies have
 * changed, and of a view when that has been rewritten; never to find out
 * whether anything has changed.  Definitions are followed by invalidations:
 * a relation that they name counts as changed.
 *
 * (1) A view is dirty if what it reads may have changed since the beginning of
 *	   its last successful refresh.  All are dirty at first, and all become so
 *	   when more has changed than could be told.
 * (2) What is tracked and not dirty has nothing to refresh.  So its interval
 *	   or cron line costs nothing, not even a wakeup, but for one refresh every
 *	   CLEAN_INTERVAL.
 * (3) Due views are handed out in the order in which they became due, so each
 *	   gets its turn.
 * (4) A view that reads materialized views waits for those that are due or
 *	   running, until each has been refreshed once since it became due itself.
 *	   More would let it starve.
 * (5) A view whose policy has ended is kept until its worker has finished, which
 *	   would otherwise wait forever for somebody to see that.
 * (6) A bit for what an untracked on_change view reads is set before the view
 *	   is made dirty, see wake.c (1).
 *
 * An error here ends the process, and the launcher starts another one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

#define CLEAN_INTERVAL		(10 * USECS_PER_MINUTE)
#define LOST_RETRY			USECS_PER_SEC
#define MAX_TOUCHED			256
#define MAX_LOOKS			4

/* A view with a policy */
typedef struct View
{
	Oid			view;			/* key */
	MvrPolicy	policy;			/* text is not kept */
	bool		is_listed;		/* seen in the last look at the policies */
	bool		is_tracked;
	bool		is_dirty;
	bool		must_load;		/* what it reads may be different now */
	bool		must_check;		/* live, and perhaps its writers do not know */
	MvrRun		run;			/* the last one that has ended */
	TimestampTz due;			/* DT_NOEND: not before something happens */
	int			nreads;
	Oid		   *reads;			/* all relations below the query, sorted */
	bool		calls_functions;	/* users' own */
	Oid			owner;			/* as whom it is refreshed; InvalidOid: not known yet */
	MvrWorker  *worker;			/* that refreshes it now, or NULL */
	int			generation;		/* of that worker's slot */
} View;

static MvrDatabase *me = NULL;
static HTAB *views = NULL;
static bool must_list = true;	/* the policies have changed */
static bool must_watch = true;	/* the bits have to be set anew */

/* What invalidations have named since the last look */
static Oid	touched[MAX_TOUCHED];
static int	ntouched = 0;
static bool all_touched = false;
static bool functions_touched = false;
static bool others_touched = false;

/* Caches of what seldom changes, and many views can depend on */
static const int others[] = {ENUMOID, TSCONFIGMAP, TSCONFIGOID, TSDICTOID};

#define foreach_view(var) \
	for (HASH_SEQ_STATUS var##_scan = start_scan(), *var##_once = &var##_scan; var##_once; var##_once = NULL) \
		for (View *var; (var = hash_seq_search(&var##_scan)) != NULL;)

static HASH_SEQ_STATUS
start_scan(void)
{
	HASH_SEQ_STATUS scan;

	hash_seq_init(&scan, views);
	return scan;
}

/* ----------
 * When a view is due
 * ----------
 */

static bool
is_due(const View *view, TimestampTz now)
{
	return view->worker == NULL && view->due <= now;
}

/* The regular time, without regard to failures */
static TimestampTz
get_regular_due(const View *view, TimestampTz now)
{
	TimestampTz never;

	TIMESTAMP_NOEND(never);
	switch (view->policy.kind)
	{
		case MVR_POLICY_ON_CHANGE:
			if (!view->is_dirty)
				return never;
			return Max(now, view->run.started + (int64) mvr_min_interval * 1000);
		case MVR_POLICY_EVERY:
			if (view->run.started == 0)
				return now;
			return mvr_policy_add_interval(view->run.started, &view->policy.every);
		case MVR_POLICY_CRON:
			return mvr_cron_next(&view->policy.cron,
								 Max(view->run.started, view->policy.since));
		default:
			return view->must_check ? now : never;
	}
}

/*
 * Set the time at which a view that is not running is due.  If it waits for its
 * turn already, it keeps its place.
 */
static void
set_due(View *view, TimestampTz now)
{
	TimestampTz before = view->due;

	/* the clock has been put back */
	view->run.started = Min(view->run.started, now);
	view->run.finished = Min(view->run.finished, now);
	view->policy.since = Min(view->policy.since, now);
	if (view->run.failures > 0 && view->run.retry_at > now + (int64) mvr_max_retry_delay * 1000)
		view->run.retry_at = now + (int64) mvr_max_retry_delay * 1000;

	if (view->policy.paused)
		TIMESTAMP_NOEND(view->due);
	else if (view->run.failures > 0)
		view->due = Max(view->run.retry_at, now);
	else
		view->due = get_regular_due(view, now);
	if (view->due == now && before < now && before > view->run.started)
		view->due = before;
}

/* Is a view as it should be, so that its turn would come to nothing? */
static bool
is_clean(const View *view, TimestampTz now)
{
	return view->is_tracked && !view->is_dirty && view->run.failures == 0 &&
		now - view->run.finished <= CLEAN_INTERVAL;
}

/* A clean view that is due has had its turn */
static bool
skip_clean(View *view, TimestampTz now)
{
	if (!is_clean(view, now))
		return false;
	if (view->policy.kind == MVR_POLICY_EVERY)
		view->due = mvr_policy_next_turn(view->run.started, &view->policy.every, now);
	else
	{
		view->run.started = now;
		set_due(view, now);
	}
	return true;
}

static void
set_dirty(View *view, TimestampTz now)
{
	if (view->is_dirty)
		return;
	/* turns that have come to nothing since, for which nobody was woken */
	if (is_due(view, now))
		skip_clean(view, now);
	view->is_dirty = true;
	if (view->policy.kind == MVR_POLICY_ON_CHANGE && view->worker == NULL)
		set_due(view, now);
}

/* ----------
 * What a view reads
 * ----------
 */

static int
compare_oids(const void *a, const void *b)
{
	Oid			left = *(const Oid *) a;
	Oid			right = *(const Oid *) b;

	return left < right ? -1 : left > right;
}

static bool
reads(const View *view, Oid relid)
{
	return view->nreads > 0 &&
		bsearch(&relid, view->reads, view->nreads, sizeof(Oid), compare_oids) != NULL;
}

/*
 * All relations that a query reads: through plain views, with children, and for
 * partitions with those above, through which they are written.  Not through
 * materialized views, which have contents of their own.  And (true) the functions,
 * operators and types in it that are not PostgreSQL's own.
 */
static const char *const reads_query =
	"WITH RECURSIVE reads(relid, relkind, is_top) AS ("
	" SELECT c.oid, c.relkind, true FROM pg_catalog.pg_class c WHERE c.oid = $1"
	" UNION"
	" SELECT c.oid, c.relkind, false FROM reads r,"
	" LATERAL (SELECT d.refobjid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d"
	"   ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid"
	"   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	"   WHERE w.ev_class = r.relid AND (r.relkind = 'v' OR r.is_top)"
	"  UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.relid"
	"  UNION ALL SELECT e.typrelid FROM pg_catalog.pg_attribute a"
	"   JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND a.attnum > 0"
	"   JOIN pg_catalog.pg_type e ON e.oid IN (t.oid, t.typelem, t.typbasetype) AND e.typtype = 'c'"
	"   WHERE a.attrelid = r.relid"
	"  UNION ALL SELECT e.typrelid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d"
	"   ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid"
	"   AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass"
	"   JOIN pg_catalog.pg_type t ON t.oid = d.refobjid"
	"   JOIN pg_catalog.pg_type e ON e.oid IN (t.oid, t.typelem, t.typbasetype) AND e.typtype = 'c'"
	"   WHERE w.ev_class = r.relid AND (r.relkind = 'v' OR r.is_top)"
	" ) s JOIN pg_catalog.pg_class c ON c.oid = s.refobjid WHERE c.oid <> $1)"
	" SELECT relid, false FROM reads WHERE NOT is_top"
	" UNION SELECT a.relid::pg_catalog.oid, false FROM reads r,"
	" LATERAL pg_catalog.pg_partition_ancestors(r.relid) a WHERE NOT r.is_top"
	" UNION SELECT d.refobjid, true FROM reads r"
	"   JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.relid AND (r.relkind = 'v' OR r.is_top)"
	"   JOIN pg_catalog.pg_depend d"
	"   ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid"
	"   AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass,"
	"   'pg_catalog.pg_operator'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)";

static void
load_reads(View *view)
{
	static SPIPlanPtr plan = NULL;
	Datum		argument = ObjectIdGetDatum(view->view);

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare(reads_query, 1, (Oid[]) {OIDOID});
		if (plan == NULL)
			elog(ERROR, "could not prepare query: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, &argument, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list what a view reads");
	if (view->reads)
		pfree(view->reads);
	view->nreads = 0;
	view->calls_functions = false;
	view->reads = MemoryContextAlloc(TopMemoryContext, sizeof(Oid) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		bool		isnull;

		if (DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull)))
			view->calls_functions = true;
		else
			view->reads[view->nreads++] =
				DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	qsort(view->reads, view->nreads, sizeof(Oid), compare_oids);
}

/* A view that is not tracked and whose changes must be told otherwise */
static bool
needs_watch(const View *view)
{
	return view->policy.kind == MVR_POLICY_ON_CHANGE && !view->is_tracked;
}

static bool
is_watched(Oid relid)
{
	uint64		hash = mvr_wake_hash(relid);

	return (pg_atomic_read_u64(&me->watch[hash >> 32]) & (UINT64CONST(1) << (hash & 63))) != 0;
}

/*
 * Set the bits of all that has to be watched, and clear the others.  A view
 * that reads what has not been watched until now becomes dirty: see (6).
 */
static void
set_watch(TimestampTz now)
{
	uint64		words[MVR_WATCH_WORDS] = {0};
	View	   *unseen[64];
	int			nunseen = 0;
	bool		too_many = false;

	foreach_view(view)
	{
		bool		is_new = false;

		for (int i = 0; needs_watch(view) && i < view->nreads; i++)
		{
			uint64		hash = mvr_wake_hash(view->reads[i]);

			is_new = is_new || !is_watched(view->reads[i]);
			words[hash >> 32] |= UINT64CONST(1) << (hash & 63);
		}
		if (is_new && nunseen < (int) lengthof(unseen))
			unseen[nunseen++] = view;
		else if (is_new)
			too_many = true;
	}
	for (int i = 0; i < MVR_WATCH_WORDS; i++)
		pg_atomic_write_u64(&me->watch[i], words[i]);
	pg_memory_barrier();
	for (int i = 0; i < nunseen; i++)
		set_dirty(unseen[i], now);
	if (too_many)
	{
		foreach_view(view)
			if (needs_watch(view))
				set_dirty(view, now);
	}
	must_watch = false;
}

/* ----------
 * Looking at the registry
 * ----------
 */

/* InvalidOid if the view is gone */
static Oid
get_owner(Oid view)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
load_view(View *view, TimestampTz now)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view->view);
	Oid			owner = get_owner(view->view);

	/* to another owner, row-level security may show other rows */
	if (OidIsValid(view->owner) && owner != view->owner)
		set_dirty(view, now);
	view->owner = owner;

	view->is_tracked = (tracked != NULL && tracked->frontier.valid);
	load_reads(view);
	view->must_load = false;
	must_watch = true;
	/* what was not known to be read may have changed */
	if (!view->is_tracked && needs_watch(view) && view->worker == NULL && view->is_dirty)
		set_due(view, now);
}

static bool
is_different(const MvrPolicy *a, const MvrPolicy *b)
{
	return a->kind != b->kind || a->paused != b->paused ||
		memcmp(&a->every, &b->every, sizeof(a->every)) != 0 ||
		memcmp(&a->cron, &b->cron, sizeof(a->cron)) != 0;
}

static View *
enter_view(const MvrPolicy *policy)
{
	bool		found;
	View	   *view = hash_search(views, &policy->view, HASH_ENTER, &found);

	if (!found)
	{
		memset(view, 0, sizeof(*view));
		view->view = policy->view;
		view->is_dirty = view->must_load = true;
		view->must_check = policy->kind == MVR_POLICY_ON_STATEMENT || policy->kind == MVR_POLICY_ON_COMMIT;
		mvr_policy_lookup_run(view->view, &view->run);
	}
	/* who sets a policy, or resumes, wants to see something happen */
	if (found && is_different(&view->policy, policy) && view->run.failures > 0)
		view->run.retry_at = 0;
	view->policy = *policy;
	view->policy.text = NULL;
	view->is_listed = true;
	return view;
}

static void
forget_view(View *view)
{
	if (view->reads)
		pfree(view->reads);
	hash_search(views, &view->view, HASH_REMOVE, NULL);
	must_watch = true;
}

static void
list_policies(TimestampTz now)
{
	(void) mvr_policy_adopt(false);
	CommandCounterIncrement();
	foreach_view(view)
		view->is_listed = false;
	foreach_ptr(MvrPolicy, policy, mvr_policy_list())
	{
		View	   *view = enter_view(policy);

		if (view->worker == NULL)
			set_due(view, now);
	}
	foreach_view(view)
		if (!view->is_listed && view->worker == NULL)
			forget_view(view);
	must_list = false;
}

static bool
has_view_to_load(void)
{
	bool		found = false;

	foreach_view(view)
		found = found || view->must_load;
	return found;
}

/* Keep out who drops the extension, with the tables that are looked at; false if it has gone */
static bool
lock_extension(void)
{
	Oid			extension = get_extension_oid("matview_refresh", true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return get_extension_oid("matview_refresh", true) == extension;
}

/* False if the extension has gone */
static bool
look_at_registry(TimestampTz now)
{
	bool		is_there;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	is_there = lock_extension();
	if (is_there && must_list)
		list_policies(now);
	if (is_there)
	{
		foreach_view(view)
			if (view->must_load)
				load_view(view, now);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	if (is_there && must_watch)
		set_watch(now);
	return is_there;
}

/* ----------
 * What commits and invalidations tell
 * ----------
 */

static void
note_invalidation(pg_attribute_unused() Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || ntouched == MAX_TOUCHED)
		all_touched = true;
	else
		touched[ntouched++] = relid;
}

/* Syscache callback */
static void
note_function(pg_attribute_unused() Datum arg, pg_attribute_unused() int cacheid,
			  pg_attribute_unused() uint32 hash)
{
	functions_touched = true;
}

/* Syscache callback: the labels of enums, text search */
static void
note_other(pg_attribute_unused() Datum arg, pg_attribute_unused() int cacheid,
		   pg_attribute_unused() uint32 hash)
{
	others_touched = true;
}

/*
 * Who replaces a function recomputes the live views that it concerns, but for those
 * that somebody else is just making live.
 */
static void
check_live(View *view, TimestampTz now)
{
	view->must_check = view->must_check || view->policy.kind == MVR_POLICY_ON_STATEMENT ||
		view->policy.kind == MVR_POLICY_ON_COMMIT;
	if (view->must_check && view->worker == NULL)
		set_due(view, now);
}

/*
 * Relations whose definitions may have changed; or functions, which a view may
 * use, or what is seldom changed, like the server's settings.  A view that is
 * tracked finds out soon whether it does.
 */
static void
apply_invalidations(TimestampTz now)
{
	if (ntouched == 0 && !all_touched && !functions_touched && !others_touched)
		return;
	foreach_view(view)
	{
		if (others_touched)
			set_dirty(view, now);
		if (functions_touched && (view->is_tracked || view->calls_functions))
			set_dirty(view, now);
		if (functions_touched && view->calls_functions)
			check_live(view, now);
		for (int i = 0; i < ntouched; i++)
		{
			if (touched[i] == view->view)
				view->must_load = true;
			if (!reads(view, touched[i]))
				continue;
			view->must_load = true;
			set_dirty(view, now);
		}
		if (all_touched)
		{
			view->must_load = true;
			set_dirty(view, now);
		}
	}
	ntouched = 0;
	all_touched = functions_touched = others_touched = false;
}

static void
apply_dirty(const Oid *dirty, int ndirty, bool all, TimestampTz now)
{
	foreach_view(view)
	{
		bool		found = all;

		for (int i = 0; !found && i < ndirty; i++)
			found = reads(view, dirty[i]);
		if (found)
			set_dirty(view, now);
	}
}

/* Take from the slot what has happened; true if there is a reason to look */
static bool
take_notes(TimestampTz now)
{
	Oid			dirty[MVR_MAX_DIRTY];
	int			ndirty;
	bool		all;
	bool		policies;
	bool		catalog;

	SpinLockAcquire(&me->mutex);
	ndirty = me->ndirty;
	memcpy(dirty, me->dirty, sizeof(Oid) * ndirty);
	all = me->all_dirty;
	policies = me->policies_changed;
	catalog = me->catalog_changed;
	me->ndirty = 0;
	me->all_dirty = me->policies_changed = me->catalog_changed = false;
	me->counters.wakeups++;
	SpinLockRelease(&me->mutex);
	if (ndirty > 0 || all)
		apply_dirty(dirty, ndirty, all, now);
	must_list = must_list || policies;
	return policies || catalog;
}

/* ----------
 * Results
 * ----------
 */

static void
finish_view(View *view, const MvrWorker *result, TimestampTz now)
{
	view->worker = NULL;
	view->run = result->run;
	if (result->is_gone || !view->is_listed)
		must_list = true;
	if (result->run.failures > 0 || result->is_undone)
	{
		view->is_dirty = true;
		check_live(view, now);
	}
	if (result->is_rewritten)
		view->must_load = true;
	set_due(view, now);
}

/* The worker could not store this; whoever drops the view now takes no notice of us */
static void
store_loss(const View *view)
{
	MvrRun		run = view->run;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (ConditionalLockRelationOid(view->view, AccessShareLock) &&
		get_rel_relkind(view->view) == RELKIND_MATVIEW)
	{
		run.view = view->view;
		run.started = run.finished = GetCurrentTimestamp();
		mvr_policy_store_run(&run, "the process that refreshed it has ended");
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	SpinLockAcquire(&me->mutex);
	me->counters.failures++;
	SpinLockRelease(&me->mutex);
}

/* The worker ended before the refresh did */
static void
lose_view(View *view, TimestampTz now)
{
	view->worker = NULL;
	if (!view->is_listed)
		must_list = true;
	view->is_dirty = view->must_load = true;
	check_live(view, now);
	view->run.failures++;
	view->run.sqlstate = ERRCODE_ADMIN_SHUTDOWN;
	view->run.retry_at = now + (LOST_RETRY << Min(view->run.failures - 1, 8));
	set_due(view, now);
}

/* Collect what workers have finished */
static void
collect_results(TimestampTz now)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *lost = NIL;

	foreach_view(view)
	{
		MvrWorker	copy;

		if (view->worker == NULL)
			continue;
		LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
		copy = *view->worker;
		if (copy.generation == view->generation && copy.state == MVR_WORKER_DONE)
			view->worker->state = MVR_WORKER_IDLE;
		LWLockRelease(mvr_shared->lock);
		if (copy.generation != view->generation || copy.state == MVR_WORKER_FREE)
		{
			lose_view(view, now);
			lost = lappend(lost, view);
		}
		else if (copy.state == MVR_WORKER_DONE)
			finish_view(view, &copy, now);
	}
	foreach_ptr(View, view, lost)
		store_loss(view);
	MemoryContextSwitchTo(context);
}

/* ----------
 * Handing out
 * ----------
 */

/* Hand a view to an idle worker; false if there is none */
static bool
hand_out(View *view)
{
	view->worker = mvr_pool_assign(view->view, &view->generation);
	if (view->worker == NULL)
		return false;
	view->is_dirty = view->must_check = false;
	TIMESTAMP_NOEND(view->due);
	return true;
}

static int
compare_due(const void *a, const void *b)
{
	const View *left = *(View *const *) a;
	const View *right = *(View *const *) b;

	if (left->due != right->due)
		return left->due < right->due ? -1 : 1;
	return left->view < right->view ? -1 : 1;
}

/* Must a view wait for one that it reads?  See (4). */
static bool
must_wait(const View *view, TimestampTz now)
{
	for (int i = 0; i < view->nreads; i++)
	{
		View	   *source = hash_search(views, &view->reads[i], HASH_FIND, NULL);

		if (source && source != view &&
			(source->worker != NULL || is_due(source, now)) &&
			source->run.started < view->due)
			return true;
	}
	return false;
}

/* The due views, in the order in which they became due */
static View **
list_due(TimestampTz now, int *n)
{
	View	  **due = palloc(sizeof(View *) * (hash_get_num_entries(views) + 1));

	*n = 0;
	foreach_view(view)
	{
		if (is_due(view, now) && !skip_clean(view, now))
			due[(*n)++] = view;
	}
	qsort(due, *n, sizeof(View *), compare_due);
	return due;
}

static void
hand_out_due(TimestampTz now)
{
	int			n;
	View	  **due = list_due(now, &n);
	int			waiting = 0;
	bool		has_idle = true;

	for (int i = 0; i < n; i++)
	{
		if (must_wait(due[i], now))
			continue;
		has_idle = has_idle && hand_out(due[i]);
		if (!has_idle)
			waiting++;
	}
	mvr_pool_start(waiting, now);
	pfree(due);
}

/* The next time at which something is due that is not yet */
static TimestampTz
get_next_time(TimestampTz now)
{
	TimestampTz next;

	TIMESTAMP_NOEND(next);
	foreach_view(view)
	{
		TimestampTz due = view->due;

		if (view->worker)
			continue;
		if (is_clean(view, now) && !TIMESTAMP_NOT_FINITE(due))
			due = Max(due, view->run.finished + CLEAN_INTERVAL + 1);
		if (due > now)
			next = Min(next, due);
	}
	return Min(next, mvr_pool_get_retry_time(now));
}

/* Times were set by a clock that has been put back, or under other settings */
static void
notice_clock(TimestampTz now)
{
	static TimestampTz last = 0;
	static TimestampTz reloaded = 0;

	if (now < last - USECS_PER_SEC || PgReloadTime != reloaded)
	{
		foreach_view(view)
			if (view->worker == NULL)
				set_due(view, now);
	}
	last = now;
	reloaded = PgReloadTime;
}

/* ----------
 * The process
 * ----------
 */

static void
leave_slot(pg_attribute_unused() int code, pg_attribute_unused() Datum arg)
{
	/* the launcher may have freed the slot before we are through */
	Oid			database = me->database;

	mvr_pool_set_starving(me, false);
	for (int i = 0; i < MVR_WATCH_WORDS; i++)
		pg_atomic_write_u64(&me->watch[i], 0);
	SpinLockAcquire(&me->mutex);
	me->scheduler = 0;
	me->latch = NULL;
	SpinLockRelease(&me->mutex);
	/* the workers see that nobody is there */
	LWLockAcquire(mvr_shared->lock, LW_SHARED);
	for (int i = 0; i < mvr_nslots; i++)
		if (mvr_workers[i].pid != 0 && mvr_workers[i].database == database)
			SetLatch(mvr_workers[i].latch);
	LWLockRelease(mvr_shared->lock);
	mvr_shared_wake_launcher();
}

/* Take the database's slot, or end if it is not wanted any more */
static void
enter_slot(Oid database)
{
	bool		is_taken;

	me = mvr_shared_lookup_database(database);
	if (me == NULL)
		proc_exit(0);
	SpinLockAcquire(&me->mutex);
	is_taken = (me->scheduler != 0);
	if (!is_taken)
	{
		me->scheduler = MyProcPid;
		me->latch = MyLatch;
		me->is_settled = false;
		me->has_extension = true;
		me->ndirty = 0;
		me->all_dirty = me->policies_changed = me->catalog_changed = false;
	}
	SpinLockRelease(&me->mutex);
	if (is_taken)
		proc_exit(0);
	before_shmem_exit(leave_slot, (Datum) 0);
	if (mvr_shared_is_held(me))
		proc_exit(0);
}

static void
create_tables(void)
{
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(View);
	ctl.hcxt = TopMemoryContext;
	views = hash_create("matview_refresh views", 64, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, note_function, (Datum) 0);
	for (int i = 0; i < (int) lengthof(others); i++)
		CacheRegisterSyscacheCallback(others[i], note_other, (Datum) 0);
}

/* Transactions prepared before the server was started, see wake.c (3) */
static void
look_for_prepared(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute("SELECT FROM pg_catalog.pg_prepared_xacts x WHERE x.database = pg_catalog.current_database()",
					true, 1) == SPI_OK_SELECT && SPI_processed > 0)
	{
		SpinLockAcquire(&me->mutex);
		me->has_prepared = true;
		SpinLockRelease(&me->mutex);
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Tell the launcher whether the extension is here; if not, end */
static void
report_presence(bool is_there)
{
	bool		is_new;

	SpinLockAcquire(&me->mutex);
	is_new = !me->is_settled;
	me->is_settled = true;
	me->has_extension = is_there;
	SpinLockRelease(&me->mutex);
	if (!is_there)
		proc_exit(0);
	if (is_new)
		mvr_shared_wake_launcher();
}

/* One turn; returns when there is nothing to do before the next time */
static TimestampTz
run_turn(bool *is_there)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		must_look;

	notice_clock(now);
	must_look = take_notes(now);
	mvr_pool_free_dead();
	collect_results(now);
	/* what a look finds out may want another one */
	for (int i = 0; i < MAX_LOOKS && *is_there &&
		 (must_look || must_list || has_view_to_load()); i++)
	{
		*is_there = look_at_registry(now);
		apply_invalidations(now);
		must_look = false;
	}
	if (*is_there && !mvr_shared_is_held(me))
		hand_out_due(now);
	else
		mvr_pool_set_starving(me, false);
	return get_next_time(now);
}

void
mvr_scheduler_main(Datum arg)
{
	MemoryContext context;
	bool		is_there = true;
	uint64		settings;

	mvr_process_set_signals();
	enter_slot((Oid) DatumGetInt64(arg));
	mvr_process_connect(me->database, "0");
	mvr_pool_begin(me);
	create_tables();
	look_for_prepared();
	settings = mvr_mutable_hash_settings();
	context = AllocSetContextCreate(TopMemoryContext, "matview scheduler",
									ALLOCSET_DEFAULT_SIZES);
	pgstat_report_activity(STATE_IDLE, NULL);
	for (;;)
	{
		TimestampTz next;

		MemoryContextSwitchTo(context);
		next = run_turn(&is_there);
		MemoryContextReset(context);
		report_presence(is_there);
		mvr_process_wait(next);
		if (mvr_process_take_reload() && settings != mvr_mutable_hash_settings())
		{
			/* those that refreshes run with are others now */
			settings = mvr_mutable_hash_settings();
			must_list = others_touched = true;
		}
	}
}
