/*
 * worker.c
 *		A process that runs the refreshes that a scheduler hands out.
 *
 * A worker belongs to one database.  It waits for a view to be put into its
 * slot, refreshes it, puts in how that went, and waits for the next; after
 * some idle minutes it goes, and earlier if another database is in need.
 *
 *	FREE ──scheduler reserves──▶ STARTING ──worker is there──▶ IDLE
 *	IDLE ──scheduler assigns──▶ BUSY ──worker has finished──▶ DONE
 *	DONE ──scheduler has seen it──▶ IDLE;  any ──worker ends──▶ FREE
 *
 * A refresh runs as the view's owner, with the owner's rights to its base
 * tables, in the mode "auto".  A view that is not tracked is tracked first, in
 * a transaction of its own, so that writers need not wait until it is filled.
 *
 * An error is recorded with the view, in a transaction of its own, together
 * with the time of the next attempt: a delay that doubles.  The class of its
 * SQLSTATE decides how long the first one is.  A line is logged when a view
 * begins to fail, when it fails in another way, and when it works again;
 * errors that pass by themselves are logged when they have not.
 *
 * No lock is waited for longer than LOCK_TIMEOUT: a worker must not be kept
 * by a view that somebody has locked while others are due.
 *
 * A view is not refreshed any more when matview.pause() has returned, or its
 * policy has ended.  What is committed after that, the snapshot of a refresh
 * that sees no pause does not see either.  So it is enough to look at the end,
 * and to undo a refresh that finds its view paused.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

#define LOCK_TIMEOUT		"1s"
#define TRACK_LOCK_TIMEOUT	"1s"	/* writers queue behind us that long */
#define IDLE_LIFE			(5 * USECS_PER_MINUTE)
#define PATIENCE			USECS_PER_SEC
#define FIRST_DELAY			USECS_PER_SEC	/* after an error */
#define FIRST_SHORT_DELAY	(USECS_PER_SEC / 10)	/* after one that passes */
#define PASSING_FAILURES	8	/* when it has not */
#define STORE_INTERVAL		USECS_PER_MINUTE	/* of runs without any change */

static MvrWorker *me = NULL;
static bool is_ready = false;	/* has once been idle */

/* Slot and generation in one argument */
int64
mvr_worker_argument(int slot, int generation)
{
	return (int64) generation << 32 | slot;
}

/* ----------
 * The slot
 * ----------
 */

static void
leave_slot(int code, pg_attribute_unused() Datum arg)
{
	MvrDatabase *db;

	db = mvr_shared_lookup_database(me->database);
	/* said before the scheduler sees that we have gone */
	if (db && code != 0 && !is_ready)
	{
		SpinLockAcquire(&db->mutex);
		db->has_failed_worker = true;
		SpinLockRelease(&db->mutex);
	}
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	me->state = MVR_WORKER_FREE;
	me->database = InvalidOid;
	me->pid = 0;
	me->generation++;
	LWLockRelease(mvr_shared->lock);
	mvr_shared_wake_starving();
	if (db)
		mvr_shared_wake(db);
}

/* Take the slot that was reserved, or end if it is not ours any more */
static Oid
enter_slot(int64 argument)
{
	Oid			database;

	me = &mvr_workers[argument & 0xffffffff];
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	if (me->state != MVR_WORKER_STARTING || me->generation != (int) (argument >> 32))
	{
		LWLockRelease(mvr_shared->lock);
		proc_exit(0);
	}
	me->pid = MyProcPid;
	me->latch = MyLatch;
	me->has_worked = me->is_dismissed = false;
	database = me->database;
	LWLockRelease(mvr_shared->lock);
	before_shmem_exit(leave_slot, (Datum) 0);
	return database;
}

static void
set_state(MvrWorkerState state)
{
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	me->state = state;
	LWLockRelease(mvr_shared->lock);
}

/* ----------
 * One refresh
 * ----------
 */

/* What a view is refreshed as */
static Oid
lookup_owner(Oid view)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
	Oid			owner = InvalidOid;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (((Form_pg_class) GETSTRUCT(tuple))->relkind == RELKIND_MATVIEW)
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* as a statement has; the refresh takes a later one of its own */
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Track a view that is not, if that is possible and its owner may */
static void
track(Oid view)
{
	Oid			userid;
	int			context;

	(void) set_config_option("lock_timeout", TRACK_LOCK_TIMEOUT, PGC_SUSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	GetUserIdAndSecContext(&userid, &context);
	SetUserIdAndSecContext(lookup_owner(view), context | SECURITY_LOCAL_USERID_CHANGE);
	DirectFunctionCall1(mvr_track, ObjectIdGetDatum(view));
	SetUserIdAndSecContext(userid, context);
}

static void
try_track(Oid view)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		begin_transaction();
		if (OidIsValid(lookup_owner(view)) && mvr_catalog_lookup_view(view) == NULL)
			track(view);
		commit_transaction();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_INSUFFICIENT_PRIVILEGE)
			PG_RE_THROW();
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

static bool
is_live(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	return tracked && tracked->live != MVR_LIVE_NOT;
}

/* Does a live view have to be recomputed, as a function that it uses was replaced, say? */
static bool
has_fault(Oid view)
{
	Relation	rel = relation_open(view, AccessShareLock);
	Oid			userid;
	int			context;
	int			level = mvr_live_become_owner(rel, &userid, &context);
	bool		result;

	mvr_kept_forget_all();
	result = mvr_kept_get(rel)->fault != NULL;
	mvr_view_become_again(level, userid, context);
	relation_close(rel, AccessShareLock);
	return result;
}

/* Refresh as the owner; false if there is no such view any more */
static bool
refresh(Oid view, const char **mode)
{
	Oid			owner = lookup_owner(view);
	Oid			userid;
	int			context;

	if (!OidIsValid(owner))
		return false;
	/* others keep it fresh */
	if (is_live(view) && mvr_track_is_complete(mvr_catalog_lookup_view(view)) && !has_fault(view))
	{
		*mode = "none";
		return true;
	}
	GetUserIdAndSecContext(&userid, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	*mode = mvr_refresh_auto(view, false);
	SetUserIdAndSecContext(userid, context);
	return true;
}

static char *
get_name(Oid view)
{
	char	   *name = get_rel_name(view);

	if (name == NULL)
		return psprintf("%u", view);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(view)), name);
}

/* An error that comes of what others are doing just now */
static bool
is_passing(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return true;
		default:
			return false;
	}
}

/* Was this failure, of so many in a row, worth a line in the log? */
static bool
is_logged(int sqlstate, int failures)
{
	return failures > 0 && (!is_passing(sqlstate) || failures >= PASSING_FAILURES);
}

static TimestampTz
get_retry_time(int sqlstate, int failures)
{
	int64		delay = is_passing(sqlstate) ? FIRST_SHORT_DELAY : FIRST_DELAY;

	delay <<= Min(failures - 1, 30);
	return GetCurrentTimestamp() + Min(delay, (int64) mvr_max_retry_delay * 1000);
}

static void
log_success(Oid view, const MvrRun *before)
{
	if (is_logged(before->sqlstate, before->failures))
		ereport(LOG,
				errmsg("automatic refresh of materialized view %s works again after %d failures",
					   get_name(view), before->failures));
}

static void
log_failure(Oid view, const MvrRun *before, const MvrRun *run, const char *error)
{
	if (!is_logged(run->sqlstate, run->failures))
		return;
	if (before->sqlstate == run->sqlstate && is_logged(before->sqlstate, before->failures))
		return;
	ereport(LOG,
			errmsg("automatic refresh of materialized view %s fails: %s (SQLSTATE %s)",
				   get_name(view), error, unpack_sql_state(run->sqlstate)));
}

/*
 * Refresh, and store that it was done.  A run that found nothing to do is
 * stored once a minute at most, so that it needs no write at all.
 */
static void
run_once(Oid view, MvrWorker *result)
{
	MvrRun		before;
	const char *mode = NULL;
	bool		is_none;

	begin_transaction();
	mvr_policy_lookup_run(view, &before);
	result->run.failures = 0;
	result->is_gone = !refresh(view, &mode);
	if (!result->is_gone)
	{
		is_none = strcmp(mode, "none") == 0;
		result->is_changed = !is_none;
		result->is_rewritten = !is_none && strcmp(mode, "incremental") != 0;
		result->run.finished = GetCurrentTimestamp();
		if (!is_none && !mvr_policy_is_in_force(view))
		{
			result->is_changed = false;
			result->is_undone = true;
			result->run.failures = before.failures;
			result->run.sqlstate = before.sqlstate;
			result->run.retry_at = before.retry_at;
			AbortCurrentTransaction();
			return;
		}
		if (!is_none || before.failures > 0 ||
			(!is_live(view) &&
			 (result->run.started - before.started >= STORE_INTERVAL ||
			  result->run.started < before.started)))
			mvr_policy_store_run(&result->run, NULL);
		log_success(view, &before);
	}
	commit_transaction();
}

/*
 * Make a view live that its policy wants to be.  A restore of data alone brings
 * policies to views that have contents already, so no REFRESH comes after it.
 */
static void
start_live(Oid view)
{
	Oid			owner;
	Oid			userid;
	int			context;

	begin_transaction();
	owner = lookup_owner(view);
	if (OidIsValid(owner))
	{
		GetUserIdAndSecContext(&userid, &context);
		SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
		mvr_policy_start_missing(view);
		SetUserIdAndSecContext(userid, context);
	}
	commit_transaction();
}

/*
 * Store a failure; the transaction that failed has been aborted.  As long as we hold a
 * lock nobody drops the view and leaves our row behind.  Where it cannot be had, as
 * somebody rebuilds the view, say, which is why we have failed, nothing is stored.
 */
static void
store_failure(Oid view, MvrWorker *result, ErrorData *error)
{
	bool		is_locked;
	MvrRun		before;

	begin_transaction();
	is_locked = ConditionalLockRelationOid(view, AccessShareLock);
	result->is_gone = get_rel_relkind(view) != RELKIND_MATVIEW;
	if (!result->is_gone)
	{
		mvr_policy_lookup_run(view, &before);
		result->run.failures = before.failures + 1;
		result->run.sqlstate = error->sqlerrcode;
		result->run.finished = GetCurrentTimestamp();
		result->run.retry_at = get_retry_time(error->sqlerrcode, result->run.failures);
	}
	if (!result->is_gone && is_locked)
	{
		mvr_policy_store_run(&result->run, error->message);
		log_failure(view, &before, &result->run, error->message);
	}
	commit_transaction();
}

static void
run_view(Oid view, MvrWorker *result)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	result->run.view = view;
	result->run.started = GetCurrentTimestamp();
	result->is_rewritten = true;
	PG_TRY();
	{
		try_track(view);
		run_once(view, result);
		start_live(view);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		QueryCancelPending = false;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (error)
		store_failure(view, result, error);
	LockReleaseAll(USER_LOCKMETHOD, true);
}

static void
count_run(const MvrWorker *result)
{
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);

	if (db == NULL)
		return;
	SpinLockAcquire(&db->mutex);
	if (result->run.failures > 0 && !result->is_undone)
		db->counters.failures++;
	else
		db->counters.refreshes++;
	if (result->is_changed)
		db->counters.changed++;
	db->counters.microseconds += Max(result->run.finished - result->run.started, 0);
	SpinLockRelease(&db->mutex);
}

/* Take the view from the slot, refresh it, and put in how that went */
static void
do_work(void)
{
	MvrWorker	result = {0};
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "matview worker",
												  ALLOCSET_DEFAULT_SIZES);
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);

	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_RUNNING, psprintf("matview.refresh(%u)", me->view));
	run_view(me->view, &result);
	count_run(&result);
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	me->run = result.run;
	me->is_gone = result.is_gone;
	me->is_undone = result.is_undone;
	me->is_rewritten = result.is_rewritten;
	me->has_worked = true;
	/* one that has come since does not know of it, and refreshes it anyway */
	me->state = db && db->scheduler == me->scheduler ? MVR_WORKER_DONE : MVR_WORKER_IDLE;
	LWLockRelease(mvr_shared->lock);
	if (db)
		mvr_shared_wake(db);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	set_ps_display("idle");
}

/* ----------
 * The process
 * ----------
 */

/*
 * Is there nobody who would give us work, or somebody who needs our place?  Who
 * has not worked gives his scheduler some time before he goes for others.
 */
static bool
should_go(TimestampTz since)
{
	TimestampTz now = GetCurrentTimestamp();
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);

	if (db == NULL || db->scheduler == 0 || mvr_shared_is_held(db))
		return true;
	/* a scheduler that lacks a process would take the last worker's */
	if (now - since > IDLE_LIFE)
		return !mvr_shared->lacks_scheduler || mvr_shared_count_workers() > 1;
	return (me->is_dismissed || mvr_shared_is_other_starving(MyDatabaseId, 0)) &&
		(me->has_worked || now - since > PATIENCE);
}

/* Has the scheduler ended that should have seen what we have done? */
static bool
is_abandoned(void)
{
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);

	return db == NULL || db->scheduler != me->scheduler;
}

/* Give the slot up, unless work has come in between */
static void
go_if_idle(void)
{
	bool		is_idle;

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	is_idle = (me->state == MVR_WORKER_IDLE || me->state == MVR_WORKER_DONE);
	if (is_idle)
		me->state = MVR_WORKER_STARTING;	/* nobody assigns anything */
	LWLockRelease(mvr_shared->lock);
	if (is_idle)
		proc_exit(0);
}

/*
 * The scheduler must have seen the end of a refresh before we go, or it would
 * take it for lost.
 */
static void
wait_for_work(void)
{
	TimestampTz since = GetCurrentTimestamp();

	for (;;)
	{
		MvrWorkerState state = ((volatile MvrWorker *) me)->state;

		pg_read_barrier();
		/* the clock may have been put back */
		since = Min(since, GetCurrentTimestamp());
		if (state == MVR_WORKER_BUSY)
			return;
		if (state == MVR_WORKER_IDLE && should_go(since))
			go_if_idle();
		if (state == MVR_WORKER_DONE && is_abandoned())
			go_if_idle();
		mvr_process_wait(me->is_dismissed || mvr_shared_is_other_starving(MyDatabaseId, 0) ?
						 GetCurrentTimestamp() + PATIENCE : since + IDLE_LIFE + USECS_PER_SEC);
	}
}

void
mvr_worker_main(Datum arg)
{
	Oid			database;
	MvrDatabase *db;

	mvr_process_set_signals();
	database = enter_slot(DatumGetInt64(arg));
	db = mvr_shared_lookup_database(database);
	if (db == NULL || mvr_shared_is_held(db))
		proc_exit(0);
	mvr_process_connect(database, LOCK_TIMEOUT);
	set_state(MVR_WORKER_IDLE);
	is_ready = true;
	mvr_shared_wake(db);
	pgstat_report_activity(STATE_IDLE, NULL);
	for (;;)
	{
		wait_for_work();
		do_work();
	}
}
