/*
 * pool.c
 *		A scheduler's side of the worker slots.
 *
 * Workers are started when views wait and none is idle, up to
 * matview.max_workers in all databases together; worker.c has the states of a
 * slot, shared.c says who has the next one when several databases wait.
 *
 * There may be no background worker left to be had.  Then it is tried again
 * after SLOT_RETRY; a database that has no worker at all tries it more often
 * and draws a ticket meanwhile, so that idle workers of others make way.  Where
 * as many run as may, one that is idle in another database is sent away.  The
 * log has one line when it has gone on for some time, and one when it is over.
 * After one that could not connect to the database, for which the server has
 * logged why, the next comes after a delay that doubles.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

#define SLOT_RETRY			(5 * USECS_PER_SEC)
#define STARVING_RETRY		(USECS_PER_SEC / 2)
#define DISMISSED_RETRY		(USECS_PER_SEC / 20)
#define DISMISS_AFTER		USECS_PER_SEC
#define LOG_INTERVAL		(10 * USECS_PER_MINUTE)
#define FIRST_DELAY			USECS_PER_SEC
#define MAX_DELAY			USECS_PER_MINUTE

static MvrDatabase *me = NULL;
static BackgroundWorkerHandle **handles = NULL; /* by slot; of workers we started */
static TimestampTz retry_at = 0;
static TimestampTz waiting_since = 0;	/* for a worker, or 0 */
static TimestampTz none_since = 0;	/* when no database had a worker, or 0 */
static int	failed_starts = 0;	/* since one has been ready */
static TimestampTz out_of_slots_since = 0;	/* or 0 */
static bool is_out_of_slots = false;	/* as the log says */
static TimestampTz logged_at = 0;

/* Slots that a scheduler before us has reserved, for workers that never came */
static void
free_old_slots(void)
{
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < mvr_nslots; i++)
	{
		MvrWorker  *worker = &mvr_workers[i];

		if (worker->database != MyDatabaseId)
			continue;
		if (worker->state == MVR_WORKER_DONE)
			worker->state = MVR_WORKER_IDLE;
		else if (worker->state == MVR_WORKER_STARTING && worker->pid == 0)
		{
			worker->state = MVR_WORKER_FREE;
			worker->database = InvalidOid;
			worker->generation++;
		}
	}
	LWLockRelease(mvr_shared->lock);
}

/* Begin as the scheduler of a database */
void
mvr_pool_begin(MvrDatabase *db)
{
	me = db;
	handles = MemoryContextAllocZero(TopMemoryContext,
									 sizeof(BackgroundWorkerHandle *) * mvr_nslots);
	free_old_slots();
}

/*
 * Hand a view to an idle worker of this database; NULL if there is none, or
 * just one that has to go now, or if as many as may are busy.
 */
MvrWorker *
mvr_pool_assign(Oid view, int *generation)
{
	MvrWorker  *worker = NULL;
	bool		is_other_starving;
	int			nbusy = 0;

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	is_other_starving = mvr_shared_is_other_starving(MyDatabaseId, 0);
	/* there may be more workers than there were to be when they were started */
	for (int i = 0; i < mvr_nslots; i++)
		nbusy += mvr_workers[i].state == MVR_WORKER_BUSY;
	for (int i = 0; i < mvr_nslots && worker == NULL && nbusy < mvr_max_workers; i++)
		if (mvr_workers[i].state == MVR_WORKER_IDLE && mvr_workers[i].database == MyDatabaseId &&
			!(mvr_workers[i].has_worked && is_other_starving))
			worker = &mvr_workers[i];
	if (worker)
	{
		worker->view = view;
		worker->scheduler = MyProcPid;
		*generation = worker->generation;
		worker->state = MVR_WORKER_BUSY;
	}
	LWLockRelease(mvr_shared->lock);
	if (worker)
	{
		failed_starts = 0;
		SetLatch(worker->latch);
	}
	return worker;
}

/* Slots of workers that never came */
void
mvr_pool_free_dead(void)
{
	for (int i = 0; i < mvr_nslots; i++)
	{
		pid_t		pid;

		if (handles[i] == NULL || GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(handles[i]);
		handles[i] = NULL;
		LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
		if (mvr_workers[i].state == MVR_WORKER_STARTING && mvr_workers[i].pid == 0 &&
			mvr_workers[i].database == MyDatabaseId)
		{
			mvr_workers[i].state = MVR_WORKER_FREE;
			mvr_workers[i].database = InvalidOid;
			mvr_workers[i].generation++;
		}
		LWLockRelease(mvr_shared->lock);
	}
}

/* How many workers there are; caller holds the lock */
static void
count_workers(int *all, int *ours, int *starting, int *unused)
{
	*all = *ours = *starting = 0;
	*unused = -1;
	for (int i = 0; i < mvr_nslots; i++)
	{
		if (mvr_workers[i].state == MVR_WORKER_FREE)
		{
			*unused = i;
			continue;
		}
		(*all)++;
		if (mvr_workers[i].database != MyDatabaseId)
			continue;
		(*ours)++;
		if (mvr_workers[i].state == MVR_WORKER_STARTING)
			(*starting)++;
	}
}

/*
 * All workers that may be are there, and some have nothing to do in other databases.
 * If we have waited for some time, or one has been idle for as long, it goes.  (Databases
 * with something to do again and again would send each other's workers away.)  Caller
 * holds the lock.  Returns whether there is such a one, so that we come again.
 */
static bool
dismiss_other(TimestampTz now)
{
	bool		found = false;

	for (int i = 0; i < mvr_nslots; i++)
	{
		MvrWorker  *worker = &mvr_workers[i];

		if (worker->state != MVR_WORKER_IDLE || worker->database == MyDatabaseId)
			continue;
		found = true;
		if (now - waiting_since < DISMISS_AFTER && worker->has_worked &&
			now - worker->run.finished < DISMISS_AFTER)
			continue;
		worker->is_dismissed = true;
		SetLatch(worker->latch);
		break;
	}
	return found;
}

/*
 * Reserve a slot if one more worker is wanted and allowed; else -1.  Without
 * it, or without a process for it, the database may have no worker at all; or
 * one of another database makes way.
 */
static int
reserve_slot(int needed, TimestampTz now, int *generation, bool *has_none, bool *is_coming)
{
	int			all;
	int			ours;
	int			starting;
	int			slot;

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	count_workers(&all, &ours, &starting, &slot);
	*has_none = (ours == 0);
	*is_coming = all >= mvr_max_workers && ours < mvr_max_workers && starting < needed &&
		dismiss_other(now);
	if (starting >= needed || all >= mvr_max_workers || slot < 0 ||
		(all > 0 && mvr_shared->lacks_scheduler) ||
		mvr_shared_is_other_starving(MyDatabaseId, me->starving))
		slot = -1;
	if (slot >= 0)
	{
		MvrWorker  *worker = &mvr_workers[slot];

		worker->state = MVR_WORKER_STARTING;
		worker->database = MyDatabaseId;
		worker->pid = 0;
		*generation = ++worker->generation;
	}
	LWLockRelease(mvr_shared->lock);
	return slot;
}

static void
unreserve_slot(int slot)
{
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	mvr_workers[slot].state = MVR_WORKER_FREE;
	mvr_workers[slot].database = InvalidOid;
	LWLockRelease(mvr_shared->lock);
}

/*
 * One line in the log when it has gone on for some time, and one when it is
 * over; not too often, as databases that take turns are without a process again
 * and again.
 */
static void
log_slots(bool out_of_slots, TimestampTz now)
{
	if (out_of_slots == is_out_of_slots ||
		(out_of_slots && logged_at != 0 && now - logged_at < LOG_INTERVAL && now >= logged_at))
		return;
	ereport(LOG,
			out_of_slots ?
			errmsg("no background worker slot is free for a refresh worker of database %u",
				   MyDatabaseId) :
			errmsg("refresh workers of database %u can be started again", MyDatabaseId),
			out_of_slots ? errhint("Consider increasing max_worker_processes.") : 0);
	is_out_of_slots = out_of_slots;
	if (out_of_slots)
		logged_at = now;
}

static void
note_process(TimestampTz now)
{
	log_slots(false, now);
	out_of_slots_since = none_since = retry_at = 0;
}

static void
note_no_process(bool starves, TimestampTz now)
{
	if (out_of_slots_since == 0 || now < out_of_slots_since)
		out_of_slots_since = now;
	if (now - out_of_slots_since >= SLOT_RETRY)
		log_slots(true, now);
	retry_at = now + (starves ? STARVING_RETRY : SLOT_RETRY);
}

/* Has a worker that was started ended before it could be given anything? */
static void
note_failed_start(TimestampTz now)
{
	bool		has_failed;

	SpinLockAcquire(&me->mutex);
	has_failed = me->has_failed_worker;
	me->has_failed_worker = false;
	SpinLockRelease(&me->mutex);
	if (!has_failed)
		return;
	retry_at = now + Min(FIRST_DELAY << Min(failed_starts, 10), MAX_DELAY);
	failed_starts++;
}

/*
 * Draw a ticket, or give it back.  Then idle workers of others look whether
 * they should go, or other databases whether it is their turn.
 */
void
mvr_pool_set_starving(MvrDatabase *db, bool is_starving)
{
	if (is_starving == (db->starving != 0))
		return;
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	db->starving = is_starving ? ++mvr_shared->tickets : 0;
	for (int i = 0; is_starving && i < mvr_nslots; i++)
		if (mvr_workers[i].state == MVR_WORKER_IDLE)
			SetLatch(mvr_workers[i].latch);
	LWLockRelease(mvr_shared->lock);
	if (!is_starving)
		mvr_shared_wake_starving();
}

/*
 * There is no process for a worker.  If no database has had one for two tries, a scheduler
 * has to make way: at the first, one may have left its slot and be about to end.
 */
static void
ask_for_worker(TimestampTz now)
{
	if (mvr_shared_count_workers() > 0)
		none_since = 0;
	else if (none_since == 0 || none_since > now)
		none_since = now;
	else if (now - none_since >= STARVING_RETRY / 2)
		mvr_shared_ask_for_worker(MyDatabaseId);
}

/* Start as many workers as there are views that could be refreshed now */
void
mvr_pool_start(int needed, TimestampTz now)
{
	bool		has_none = false;
	bool		is_coming = false;
	int			generation;
	int			slot;

	note_failed_start(now);
	/* not in the far future, should the clock have been put back */
	if (needed > 0 && retry_at > now && retry_at <= now + MAX_DELAY)
		return;
	if (needed == 0 || waiting_since == 0 || waiting_since > now)
		waiting_since = needed == 0 ? 0 : now;
	/* not more than that, though they may have ended before we look again */
	for (int started = 0; started < needed; started++)
	{
		BackgroundWorkerHandle *handle;

		slot = reserve_slot(needed, now, &generation, &has_none, &is_coming);
		if (slot < 0)
			break;
		if (!mvr_process_register("mvr_worker_main",
								  psprintf("matview refresh worker of database %u", MyDatabaseId),
								  "matview refresh worker",
								  mvr_worker_argument(slot, generation), &handle))
		{
			unreserve_slot(slot);
			note_no_process(has_none, now);
			ask_for_worker(now);
			break;
		}
		note_process(now);
		waiting_since = now;
		has_none = false;
		/* of one that has left the slot, but not yet ended */
		if (handles[slot])
			pfree(handles[slot]);
		handles[slot] = handle;
	}
	if (needed > 0 && is_coming)
		retry_at = now + DISMISSED_RETRY;
	mvr_pool_set_starving(me, needed > 0 && has_none);
}

/* When to try again after a worker could not be had; DT_NOEND if one could */
TimestampTz
mvr_pool_get_retry_time(TimestampTz now)
{
	TimestampTz never;

	TIMESTAMP_NOEND(never);
	return retry_at > now ? Min(retry_at, now + MAX_DELAY) : never;
}
