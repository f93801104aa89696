/*
 * launcher.c
 *		Start one scheduler in every database that has the extension.
 *
 * Only a process in a database can see whether the extension is there.  So a
 * scheduler is started once in each database, one after the other, and ends
 * when it finds none.  After that a commit of CREATE EXTENSION tells of the
 * database, and one of CREATE DATABASE and the like that there may be a new
 * one.  Databases that are templates or cannot be connected to are left alone,
 * and left when they become such.
 *
 * Schedulers without any worker do nothing.  Where processes are so few that
 * they have taken them all, one of them is ended, and its database not served.
 *
 * A backend that must have a database to itself (DROP DATABASE) holds its
 * slot, which ends our processes there and keeps us from starting others.
 *
 * A refresh may crash the server, as when its process takes all memory, and is
 * due again as soon as the server is back.  So after a second crash in a row,
 * and longer after each more, nothing is started for some time, in which
 * somebody can pause the view.
 *
 * The launcher is there when the server is not in recovery: on a standby it
 * starts with the promotion.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

#define LIST_INTERVAL		(5 * USECS_PER_MINUTE)
#define FIRST_DELAY			USECS_PER_SEC
#define MAX_DELAY			USECS_PER_MINUTE
#define SLOT_RETRY			(10 * USECS_PER_SEC)
#define MAX_CRASH_DELAY		(5 * USECS_PER_MINUTE)
#define LOG_INTERVAL		(10 * USECS_PER_MINUTE)

typedef struct Database
{
	Oid			oid;
	bool		is_listed;		/* seen in the last look at pg_database */
	bool		is_absent;		/* the extension is not there */
	BackgroundWorkerHandle *handle; /* of the scheduler, or NULL */
	int			failures;		/* of the scheduler, in a row */
	bool		is_sacrificed;	/* it is ended for the sake of a worker */
	TimestampTz retry_at;
} Database;

static List *databases = NIL;	/* of Database */
static TimestampTz list_at = 0;
static bool is_out_of_slots = false;

/* ----------
 * Databases
 * ----------
 */

static Database *
lookup(Oid oid)
{
	foreach_ptr(Database, db, databases)
	{
		if (db->oid == oid)
			return db;
	}
	return NULL;
}

static void
enter(Oid oid)
{
	Database   *db = lookup(oid);
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (db == NULL)
	{
		db = palloc0(sizeof(Database));
		db->oid = oid;
		databases = lappend(databases, db);
	}
	db->is_listed = true;
	MemoryContextSwitchTo(old);
}

static bool
is_eligible(Form_pg_database form)
{
	return form->datallowconn && !form->datistemplate && form->datconnlimit >= -1;
}

static void
list_databases(TimestampTz now)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	foreach_ptr(Database, db, databases)
		db->is_listed = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (is_eligible(form))
			enter(form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	list_at = now + LIST_INTERVAL;
}

/* ----------
 * Slots
 * ----------
 */

/* NULL if all are taken */
static MvrDatabase *
ensure_slot(Oid database)
{
	MvrDatabase *slot = mvr_shared_lookup_database(database);

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; slot == NULL && i < mvr_nslots; i++)
	{
		if (OidIsValid(mvr_databases[i].database))
			continue;
		slot = &mvr_databases[i];
		slot->scheduler = slot->holder = 0;
		slot->is_settled = slot->has_prepared = slot->has_failed_worker = false;
		slot->starving = 0;
		memset(&slot->counters, 0, sizeof(slot->counters));
		slot->database = database;
	}
	LWLockRelease(mvr_shared->lock);
	return slot;
}

/* Unless a scheduler is there, which a launcher before us may have started */
static void
free_slot(MvrDatabase *slot)
{
	if (slot == NULL || slot->scheduler != 0 || mvr_shared_is_held(slot))
		return;
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	slot->database = InvalidOid;
	LWLockRelease(mvr_shared->lock);
}

/* ----------
 * Schedulers
 * ----------
 */

/* One line in the log when it begins, and one when it is over; not too often */
static void
note_slots(bool out_of_slots)
{
	static TimestampTz logged_at = 0;
	static bool is_logged = false;
	TimestampTz now = GetCurrentTimestamp();

	is_out_of_slots = out_of_slots;
	if (out_of_slots == is_logged ||
		(out_of_slots && logged_at != 0 && now - logged_at < LOG_INTERVAL && now >= logged_at))
		return;
	is_logged = out_of_slots;
	if (out_of_slots)
		logged_at = now;
	ereport(LOG,
			out_of_slots ?
			errmsg("no background worker slot is free for a refresh scheduler") :
			errmsg("refresh schedulers can be started again"),
			out_of_slots ? errhint("Consider increasing max_worker_processes.") : 0);
}

/* A scheduler has ended: what does that mean? */
static void
note_end(Database *db, TimestampTz now)
{
	MvrDatabase *slot = mvr_shared_lookup_database(db->oid);
	bool		is_settled = slot && slot->is_settled;

	pfree(db->handle);
	db->handle = NULL;
	db->is_absent = is_settled && !slot->has_extension;
	if (is_settled && !db->is_absent)
		db->failures = 0;		/* it did get somewhere */
	db->retry_at = now + Min(FIRST_DELAY << Min(db->failures, 10), MAX_DELAY);
	db->failures++;
	if (db->is_absent || !db->is_listed || db->is_sacrificed)
	{
		db->failures = 0;
		free_slot(slot);
	}
	if (db->is_sacrificed)
	{
		db->retry_at = now + MAX_DELAY;
		note_slots(true);
	}
	db->is_sacrificed = false;
}

static bool
is_starting(Database *db)
{
	MvrDatabase *slot = mvr_shared_lookup_database(db->oid);

	return db->handle && slot && !slot->is_settled;
}

/* Is there a scheduler, perhaps one that a launcher before us has started? */
static bool
is_running(Database *db)
{
	MvrDatabase *slot = mvr_shared_lookup_database(db->oid);

	return slot && slot->scheduler != 0;
}

static void
start(Database *db, TimestampTz now)
{
	MvrDatabase *slot = ensure_slot(db->oid);

	if (slot && mvr_shared_is_held(slot))
	{
		db->retry_at = now + FIRST_DELAY;
		return;
	}
	if (slot)
		slot->is_settled = false;
	if (slot == NULL ||
		!mvr_process_register("mvr_scheduler_main",
							  psprintf("matview refresh scheduler of database %u", db->oid),
							  "matview refresh scheduler", db->oid, &db->handle))
	{
		db->handle = NULL;
		db->retry_at = now + (mvr_shared_dismiss_worker() ? FIRST_DELAY : SLOT_RETRY);
		note_slots(true);
		return;
	}
	note_slots(false);
}

/*
 * Start what is not running and should be, one after the other.  Returns when
 * to look again.
 */
static TimestampTz
start_schedulers(TimestampTz now)
{
	TimestampTz next = list_at;
	bool		is_busy = false;
	bool		is_lacking = false;

	foreach_ptr(Database, db, databases)
		is_busy = is_busy || is_starting(db);
	foreach_ptr(Database, db, databases)
	{
		if (db->handle || db->is_absent || !db->is_listed || is_running(db))
			continue;
		if (!is_busy && db->retry_at <= now)
		{
			start(db, now);
			is_busy = (db->handle != NULL);
		}
		if (db->handle == NULL && db->retry_at > now)
			next = Min(next, db->retry_at);
		is_lacking = is_lacking || db->handle == NULL;
	}
	mvr_shared_set_lacks_scheduler(is_lacking && is_out_of_slots);
	return next;
}

static void
note_ends(TimestampTz now)
{
	foreach_ptr(Database, db, databases)
	{
		pid_t		pid;

		if (db->handle && GetBackgroundWorkerPid(db->handle, &pid) == BGWH_STOPPED)
			note_end(db, now);
	}
}

/* End a scheduler if a database wants a worker and there is none anywhere */
static void
sacrifice_scheduler(void)
{
	Oid			asking = mvr_shared_take_lacking_worker();
	Database   *victim = NULL;

	if (!OidIsValid(asking) || mvr_shared_count_workers() > 0)
		return;
	foreach_ptr(Database, db, databases)
	{
		if (db->is_sacrificed)
			return;
		if (db->handle && db->oid != asking)
			victim = db;
	}
	if (victim == NULL)
		return;
	victim->is_sacrificed = true;
	TerminateBackgroundWorker(victim->handle);
}

/* Leave a slot that is not wanted any more; it is freed when that has been done */
static void
leave_slot(MvrDatabase *slot)
{
	int			scheduler = slot->scheduler;

	if (scheduler != 0)
		kill(scheduler, SIGTERM);
	else
		free_slot(slot);
}

/* Forget those that have gone, or should be left alone now */
static void
forget_databases(void)
{
	List	   *kept = NIL;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	foreach_ptr(Database, db, databases)
	{
		if (db->is_listed || db->handle)
			kept = lappend(kept, db);
		else
			pfree(db);
	}
	list_free(databases);
	databases = kept;
	MemoryContextSwitchTo(old);
	for (int i = 0; i < mvr_nslots; i++)
	{
		Oid			oid = mvr_databases[i].database;
		Database   *db = lookup(oid);

		if (OidIsValid(oid) && (db == NULL || !db->is_listed))
			leave_slot(&mvr_databases[i]);
	}
}

/* ----------
 * The process
 * ----------
 */

/* What commits have told: databases, or the extension in one */
static void
take_notes(void)
{
	Oid			probe;
	bool		probe_all;

	SpinLockAcquire(&mvr_shared->mutex);
	if (mvr_shared->databases_changed)
		list_at = 0;
	probe = mvr_shared->probe;
	probe_all = mvr_shared->probe_all;
	mvr_shared->probe = InvalidOid;
	mvr_shared->probe_all = mvr_shared->databases_changed = false;
	SpinLockRelease(&mvr_shared->mutex);
	foreach_ptr(Database, db, databases)
	{
		if (!probe_all && db->oid != probe)
			continue;
		db->is_absent = false;
		db->retry_at = 0;
	}
}

/* Times were set by a clock that has been put back */
static void
notice_clock(TimestampTz now)
{
	static TimestampTz last = 0;

	if (now < last)
	{
		list_at = 0;
		foreach_ptr(Database, db, databases)
			db->retry_at = 0;
	}
	last = now;
}

/*
 * The time counts from when the server was ready for others, however long its
 * recovery took, and not anew for a launcher that has been ended.
 */
static TimestampTz
get_ready_time(TimestampTz now)
{
	TimestampTz ready;

	SpinLockAcquire(&mvr_shared->mutex);
	if (mvr_shared->ready_at == 0)
		mvr_shared->ready_at = now;
	ready = mvr_shared->ready_at;
	SpinLockRelease(&mvr_shared->mutex);
	return ready;
}

static void
wait_after_crashes(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz ready = get_ready_time(now);
	int64		delay = Min(FIRST_DELAY << Min(mvr_shared->crashes, 20), MAX_CRASH_DELAY);

	if (mvr_shared->crashes < 2 || now < ready || now >= ready + delay)
		return;
	ereport(LOG,
			errmsg("automatic refreshes begin in %d seconds, for the server has crashed %d times",
				   (int) (delay / USECS_PER_SEC), mvr_shared->crashes),
			errhint("If a refresh is the reason, call matview.pause() for the view."));
	for (; now >= ready && now < ready + delay; now = GetCurrentTimestamp())
		mvr_process_wait(ready + delay);
}

static void
leave(pg_attribute_unused() int code, pg_attribute_unused() Datum arg)
{
	SpinLockAcquire(&mvr_shared->mutex);
	mvr_shared->launcher = NULL;
	SpinLockRelease(&mvr_shared->mutex);
}

void
mvr_launcher_main(pg_attribute_unused() Datum arg)
{
	MemoryContext context;

	mvr_process_set_signals();
	SpinLockAcquire(&mvr_shared->mutex);
	mvr_shared->launcher = MyLatch;
	SpinLockRelease(&mvr_shared->mutex);
	before_shmem_exit(leave, (Datum) 0);
	mvr_process_connect(InvalidOid, "0");
	context = AllocSetContextCreate(TopMemoryContext, "matview launcher",
									ALLOCSET_DEFAULT_SIZES);
	wait_after_crashes();
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz next;

		MemoryContextSwitchTo(context);
		notice_clock(now);
		take_notes();
		if (list_at <= now)
			list_databases(now);
		note_ends(now);
		forget_databases();
		sacrifice_scheduler();
		next = start_schedulers(now);
		MemoryContextReset(context);
		mvr_process_wait(next);
	}
}

/* Have the launcher started; called while the library is being preloaded */
void
mvr_launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "matview_refresh", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "mvr_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "matview refresh launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "matview refresh launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
