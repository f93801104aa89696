/*
 * shared.c
 *		The shared memory of automatic refreshes.
 *
 *			launcher ──starts──▶ schedulers ──start──▶ workers
 *			(one)                (one per database)    (at most max_workers)
 *			   ▲                    ▲        │            ▲
 *			   │ a database or      │ what   └──a view────┘
 *			   │ an extension       │ was
 *			   │ has come           │ changed
 *			   └────── commits ─────┘
 *
 * A database has a slot from the moment that the launcher starts a scheduler
 * there.  Commits leave in it what they have changed and set the latch of the
 * scheduler.  A worker has a slot from the moment that a scheduler reserves
 * one; the view to refresh goes in there, and how it went comes back.
 *
 * (1) mvr_shared->lock protects which slot is whose, and all of a worker's.
 * (2) The mutex of a database's slot protects what commits leave there, so
 *	   that writers of different databases do not meet.  A slot may be given to
 *	   another database between finding and writing it: then a scheduler is
 *	   told of changes that it knows nothing about, which does no harm, and
 *	   the one that should know is gone, and begins by looking at everything.
 * (3) A latch in a slot is the one of a PGPROC.  It outlives the process, and
 *	   setting it once too often does no harm.
 * (4) A database whose views are due and that gets no worker draws a ticket.
 *	   The lowest ticket has the next worker.  Workers of others go when they
 *	   have done one refresh, so that none starts for nothing.
 * (5) Who leaves clears its slot on the way out (before_shmem_exit).  After a
 *	   crash all of this is made anew.  How often that has been in a row is
 *	   kept by the postmaster: a refresh may be what the server crashes of.
 *
 * Nothing of it is there unless the library is preloaded.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

MvrShared  *mvr_shared = NULL;
MvrDatabase *mvr_databases = NULL;
MvrWorker  *mvr_workers = NULL;
int			mvr_nslots = 0;
MvrProgress *mvr_progress_slots = NULL;
int			mvr_nprogress = 0;

/* crashes with less than this between them are in a row */
#define CALM				(15 * USECS_PER_MINUTE)

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/* ----------
 * Making it
 * ----------
 */

/* No more processes of ours than the server has background workers */
static int
count_slots(void)
{
	return Max(max_worker_processes, 1);
}

static Size
get_size(void)
{
	Size		size = MAXALIGN(sizeof(MvrShared));

	size = add_size(size, MAXALIGN(mul_size(count_slots(), sizeof(MvrDatabase))));
	size = add_size(size, MAXALIGN(mul_size(count_slots(), sizeof(MvrWorker))));
	return add_size(size, MAXALIGN(mul_size(MaxBackends, sizeof(MvrProgress))));
}

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(get_size());
	RequestNamedLWLockTranche("matview_refresh", 1);
}

/* In the postmaster, which outlives the crashes of others */
static int
count_crashes(TimestampTz now)
{
	static TimestampTz last = 0;
	static int	crashes = 0;

	if (last != 0)
		crashes = now - last < CALM ? crashes + 1 : 1;
	last = now;
	return crashes;
}

static void
initialize_memory(void)
{
	memset(mvr_shared, 0, get_size());
	mvr_shared->crashes = count_crashes(GetCurrentTimestamp());
	mvr_shared->lock = &GetNamedLWLockTranche("matview_refresh")->lock;
	SpinLockInit(&mvr_shared->mutex);
	for (int i = 0; i < mvr_nslots; i++)
	{
		SpinLockInit(&mvr_databases[i].mutex);
		for (int j = 0; j < MVR_WATCH_WORDS; j++)
			pg_atomic_init_u64(&mvr_databases[i].watch[j], 0);
	}
}

static void
attach_memory(void)
{
	char	   *memory;
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = ShmemInitStruct("matview_refresh", get_size(), &found);
	mvr_nslots = count_slots();
	mvr_shared = (MvrShared *) memory;
	memory += MAXALIGN(sizeof(MvrShared));
	mvr_databases = (MvrDatabase *) memory;
	memory += MAXALIGN(mvr_nslots * sizeof(MvrDatabase));
	mvr_workers = (MvrWorker *) memory;
	memory += MAXALIGN(mvr_nslots * sizeof(MvrWorker));
	mvr_progress_slots = (MvrProgress *) memory;
	mvr_nprogress = MaxBackends;
	if (!found)
		initialize_memory();
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for the memory; called while the library is being preloaded */
void
mvr_shared_request(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
}

/* ----------
 * Databases and workers
 * ----------
 */

/*
 * The slot of a database, NULL if it has none.  Takes no lock: who finds none
 * for this database has finished before a scheduler begins.
 */
MvrDatabase *
mvr_shared_lookup_database(Oid database)
{
	if (mvr_shared == NULL || !OidIsValid(database))
		return NULL;
	pg_memory_barrier();
	for (int i = 0; i < mvr_nslots; i++)
		if (mvr_databases[i].database == database)
			return &mvr_databases[i];
	return NULL;
}

/* Set the latch of a database's scheduler, if there is one */
void
mvr_shared_wake(MvrDatabase *db)
{
	Latch	   *latch;

	SpinLockAcquire(&db->mutex);
	latch = db->scheduler ? db->latch : NULL;
	SpinLockRelease(&db->mutex);
	if (latch)
		SetLatch(latch);
}

/* Have the launcher look at what there is to do, if there is one */
void
mvr_shared_wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&mvr_shared->mutex);
	latch = mvr_shared->launcher;
	SpinLockRelease(&mvr_shared->mutex);
	if (latch)
		SetLatch(latch);
}

/*
 * Does a backend want our processes out of the database?  One that has died
 * over it does not.
 */
bool
mvr_shared_is_held(MvrDatabase *db)
{
	int			holder;

	SpinLockAcquire(&db->mutex);
	holder = db->holder;
	SpinLockRelease(&db->mutex);
	return holder != 0 && BackendPidGetProc(holder) != NULL;
}

/* Tell the workers of a database to go, whatever they are doing */
void
mvr_shared_terminate_workers(Oid database)
{
	LWLockAcquire(mvr_shared->lock, LW_SHARED);
	for (int i = 0; i < mvr_nslots; i++)
	{
		MvrWorker  *worker = &mvr_workers[i];

		if (worker->state != MVR_WORKER_FREE && worker->database == database &&
			worker->pid != 0)
			kill(worker->pid, SIGTERM);
	}
	LWLockRelease(mvr_shared->lock);
}

/*
 * Does another database wait for a worker, and has none?  With a ticket, only
 * those count that have drawn theirs before; 0 is no ticket.
 */
bool
mvr_shared_is_other_starving(Oid database, uint64 ticket)
{
	for (int i = 0; i < mvr_nslots; i++)
	{
		MvrDatabase *db = &mvr_databases[i];

		if (OidIsValid(db->database) && db->database != database && db->starving != 0 &&
			(ticket == 0 || db->starving < ticket))
			return true;
	}
	return false;
}

/* Somebody may have his turn now: let all who wait look */
void
mvr_shared_wake_starving(void)
{
	for (int i = 0; i < mvr_nslots; i++)
		if (mvr_databases[i].starving != 0)
			mvr_shared_wake(&mvr_databases[i]);
}

/*
 * Ask an idle worker to go, in whatever database, as its place is needed for a
 * scheduler.  The last one stays: schedulers without any worker do nothing.
 * False if there is none to go.
 */
bool
mvr_shared_dismiss_worker(void)
{
	MvrWorker  *idle = NULL;
	int			nworkers = 0;

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < mvr_nslots; i++)
	{
		nworkers += (mvr_workers[i].state != MVR_WORKER_FREE);
		if (mvr_workers[i].state == MVR_WORKER_IDLE)
			idle = &mvr_workers[i];
	}
	if (nworkers < 2)
		idle = NULL;
	if (idle)
	{
		idle->is_dismissed = true;
		SetLatch(idle->latch);
	}
	LWLockRelease(mvr_shared->lock);
	return idle != NULL;
}

/* Of all databases */
int
mvr_shared_count_workers(void)
{
	int			n = 0;

	LWLockAcquire(mvr_shared->lock, LW_SHARED);
	for (int i = 0; i < mvr_nslots; i++)
		n += (mvr_workers[i].state != MVR_WORKER_FREE);
	LWLockRelease(mvr_shared->lock);
	return n;
}

/*
 * There is no process for the worker of a database, and no worker that could
 * make way: have the launcher end a scheduler for it.
 */
void
mvr_shared_ask_for_worker(Oid database)
{
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	mvr_shared->lacks_worker = database;
	LWLockRelease(mvr_shared->lock);
	mvr_shared_wake_launcher();
}

/* Who has asked for that; InvalidOid if nobody has */
Oid
mvr_shared_take_lacking_worker(void)
{
	Oid			database;

	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	database = mvr_shared->lacks_worker;
	mvr_shared->lacks_worker = InvalidOid;
	LWLockRelease(mvr_shared->lock);
	return database;
}

/* As long as a database has no scheduler nobody starts a second worker */
void
mvr_shared_set_lacks_scheduler(bool lacks)
{
	LWLockAcquire(mvr_shared->lock, LW_EXCLUSIVE);
	mvr_shared->lacks_scheduler = lacks;
	LWLockRelease(mvr_shared->lock);
}
