/*
 * key_lock.c
 *		Who writes a view beside others locks the keys that it writes.
 *
 * Two transactions may maintain a live view at the same time if what they do
 * does not depend on each other, but for the rows that both write.  These are
 * told by a hash of their keys: groups by their group keys, other rows by all
 * they hold.  Each hash is a lock of its own, held until the end of the
 * transaction.  Behind the locks nothing moves: a row is there, or not, for
 * good.
 *
 * Locks: the hashes are locked in their order, after the view (in_transaction.c),
 * so two who lock many cannot deadlock.  They are object locks whose class is the
 * view's own OID, which no catalog has, so nobody else takes them.  More than
 * MAX_KEYS, or so many in all that a transaction holds, would fill the lock table:
 * then the whole view is locked instead.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/snapmgr.h"

#include "matview_refresh.h"

#define MAX_KEYS	128

/* Of the lock table, what one transaction may use: several times its fair share */
#define MAX_HELD	(4 * max_locks_per_xact)

static TransactionId held_by = InvalidTransactionId;
static int	nheld;				/* keys locked by that transaction */

void
mvr_key_lock_begin(MvrKeyLock *lock, Oid view, bool is_latest)
{
	lock->view = view;
	lock->is_latest = is_latest;
	if (held_by != GetTopTransactionIdIfAny())
		nheld = 0;
	held_by = GetTopTransactionIdIfAny();
	lock->is_full = nheld >= MAX_HELD;
	lock->nhashes = 0;
	lock->hashes = palloc(sizeof(uint64) * MAX_KEYS);
}

static int
compare_hashes(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right ? 1 : 0;
}

static void
remove_duplicates(MvrKeyLock *lock)
{
	int			n = 0;

	qsort(lock->hashes, lock->nhashes, sizeof(uint64), compare_hashes);
	for (int i = 0; i < lock->nhashes; i++)
		if (n == 0 || lock->hashes[i] != lock->hashes[n - 1])
			lock->hashes[n++] = lock->hashes[i];
	lock->nhashes = n;
}

/* A key that is going to be written */
void
mvr_key_lock_add(MvrKeyLock *lock, uint64 hash)
{
	if (lock->is_full)
		return;
	if (lock->nhashes == MAX_KEYS)
		remove_duplicates(lock);
	if (lock->nhashes == MAX_KEYS)
		lock->is_full = true;
	else
		/* what the tag has room for */
		lock->hashes[lock->nhashes++] = hash & UINT64CONST(0xFFFFFFFFFFFF);
}

/* Make the snapshot with which a live view is maintained the active one */
void
mvr_key_lock_push_snapshot(bool is_latest)
{
	PushActiveSnapshot(is_latest && IsolationUsesXactSnapshot() ?
					   GetLatestSnapshot() : GetTransactionSnapshot());
}

/*
 * Lock them, and take the active snapshot anew: it sees what those have done
 * for whom we have waited.  False, and nothing locked, if they are too many.
 */
bool
mvr_key_lock_acquire(MvrKeyLock *lock)
{
	if (lock->is_full)
		return false;
	remove_duplicates(lock);
	for (int i = 0; i < lock->nhashes; i++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_OBJECT(tag, MyDatabaseId, lock->view,
						   (uint32) lock->hashes[i], (uint16) (lock->hashes[i] >> 32));
		if (LockAcquire(&tag, ExclusiveLock, false, false) == LOCKACQUIRE_OK)
			nheld++;
	}
	PopActiveSnapshot();
	mvr_key_lock_push_snapshot(lock->is_latest);
	return true;
}
