/*
 * rebuild.c
 *		Fill a new heap beside the view's, then swap the files.
 *
 * A rebuild works on a transient table that only its own transaction sees:
 * rows go there, and every index of the view gets a twin on it, while readers
 * go on with the old contents.  Then the files change hands.  The catalog
 * rows stay where they are, and with them the OIDs of the view and its
 * indexes, statistics, grants, comments, index options and CLUSTER marks.
 * The transient table is dropped with the old files.
 *
 * (1) What lasts is done before the view is locked against readers: filling,
 *	   index builds, writing WAL (or, with wal_level = minimal, the files) to
 *	   disk.  Under the lock a few dozen catalog rows are written, whatever
 *	   the size of the view.
 * (2) Every lock of the swap is got at once or given back at once; see
 *	   lock_for_swap().  No reader waits for another reader's transaction.
 * (3) All of it is transactional.  New files go away with an abort, old ones
 *	   with the commit.
 * (4) The toast table changes hands as a whole, as in core's REFRESH, though
 *	   CLUSTER keeps it and swaps its files too.  For that, toast pointers
 *	   would have to name the view's toast table from the start, and the
 *	   twins, which are built before the swap, would look for their values
 *	   among the old ones.
 * (5) Rows are stored frozen, in pages marked all-visible.  Nobody else sees
 *	   the files before the commit, and no scan of this session can be open
 *	   over them (checked at both ends).  So, as after core's REFRESH or
 *	   TRUNCATE, transactions with an older snapshot see the new contents.
 *
 * The twins have no broken HOT chains, since no row was ever updated, so the
 * view's indexes need no indcheckxmin afterwards.  They are complete, so an
 * index left invalid by a failed build is valid afterwards, as core's REINDEX
 * and REFRESH make it.
 *
 * The steps follow make_new_heap, swap_relation_files and finish_heap_swap in
 * PostgreSQL's src/backend/commands/cluster.c, less what a materialized view
 * cannot be: mapped, shared or a system catalog.
 *
 * Locks: the caller holds ExclusiveLock on the view, so there is no second
 * refresh, no DDL on the view or its indexes, and no vacuum.  Of what DDL can
 * do with a lock on an index alone, RowExclusiveLock on each keeps out
 * whatever moves its file.  ShareUpdateExclusiveLock on the toast table,
 * waited for at the beginning, where it harms nobody, keeps vacuum from it.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/hio.h"
#include "access/multixact.h"
#include "access/toast_internals.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/tablecmds.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/predicate.h"
#include "storage/procarray.h"
#include "storage/smgr.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "matview_refresh.h"

/* Longest time that new readers may queue behind our request */
#define QUEUE_MS		"5"

/* Pause between two attempts at the lock: doubles from the first to the last */
#define FIRST_NAP_MS	1
#define LAST_NAP_MS		20

#define SWAP(type, a, b) \
	do { \
		type		swap_ = (a); \
		(a) = (b); \
		(b) = swap_; \
	} while (0)

struct MvrRebuild
{
	Relation	view;			/* the caller's */
	Relation	heap;			/* the transient table */
	CommandId	cid;
	int			options;
	BulkInsertState bistate;	/* NULL: filling is over */
	BlockNumber block;			/* being filled */
	Buffer		map;			/* page of the visibility map used last */
	int64		rows;
	List	   *indexes;		/* of the view */
	List	   *twins;			/* in the same order, on the transient table */
};

/* ----------
 * Filling
 * ----------
 */

static void
check_not_in_use(Relation view)
{
	CheckTableNotInUse(view, "REFRESH MATERIALIZED VIEW");
}

/*
 * mvr_rebuild_begin -- make the transient table
 *
 * Caller holds ExclusiveLock or more on the view, has it open once, and has
 * become its owner in a security-restricted operation.
 */
MvrRebuild *
mvr_rebuild_begin(Relation view)
{
	MvrRebuild *rebuild = palloc0(sizeof(MvrRebuild));
	Oid			toast = view->rd_rel->reltoastrelid;
	Oid			heap;

	check_not_in_use(view);
	if (OidIsValid(toast))
		LockRelationOid(toast, ShareUpdateExclusiveLock);

	heap = make_new_heap(RelationGetRelid(view), view->rd_rel->reltablespace,
						 view->rd_rel->relam, view->rd_rel->relpersistence,
						 ExclusiveLock);

	rebuild->view = view;
	rebuild->heap = table_open(heap, NoLock);
	rebuild->cid = GetCurrentCommandId(true);
	rebuild->options = TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN;
	rebuild->bistate = GetBulkInsertState();
	rebuild->block = InvalidBlockNumber;
	rebuild->map = InvalidBuffer;
	return rebuild;
}

/*
 * Single inserts mark no page, even when frozen, and then every index-only
 * scan would visit the heap until the next vacuum.  So we mark each page when
 * the insertions leave it and it is still at hand.
 */
static void
mark_page_all_visible(MvrRebuild *rebuild, BlockNumber block)
{
	Relation	heap = rebuild->heap;
	Buffer		buffer;

	visibilitymap_pin(heap, block, &rebuild->map);
	buffer = ReadBufferExtended(heap, MAIN_FORKNUM, block, RBM_NORMAL,
								rebuild->bistate->strategy);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	mvr_compat_mark_page_frozen(heap, buffer, rebuild->map);
	UnlockReleaseBuffer(buffer);
}

/* The insertions go on in another page, or end */
static void
leave_page(MvrRebuild *rebuild, BlockNumber next)
{
	if (BlockNumberIsValid(rebuild->block) &&
		rebuild->heap->rd_rel->relam == HEAP_TABLE_AM_OID)
		mark_page_all_visible(rebuild, rebuild->block);
	rebuild->block = next;
}

/*
 * mvr_rebuild_put -- store one row
 *
 * The slot may be of any kind; its tts_tid is then the row's place in the
 * view, once swapped.
 */
void
mvr_rebuild_put(MvrRebuild *rebuild, TupleTableSlot *slot)
{
	BlockNumber block;

	table_tuple_insert(rebuild->heap, slot, rebuild->cid, rebuild->options,
					   rebuild->bistate);
	rebuild->rows++;

	block = ItemPointerGetBlockNumber(&slot->tts_tid);
	if (block != rebuild->block)
		leave_page(rebuild, block);
}

static void
finish_filling(MvrRebuild *rebuild)
{
	if (rebuild->bistate == NULL)
		return;
	leave_page(rebuild, InvalidBlockNumber);
	if (BufferIsValid(rebuild->map))
		ReleaseBuffer(rebuild->map);
	FreeBulkInsertState(rebuild->bistate);
	rebuild->bistate = NULL;
	table_finish_bulk_insert(rebuild->heap, rebuild->options);
}

/* ----------
 * Indexes
 * ----------
 */

/* "text" with the name of the twin replaced by that of the view's index */
static char *
rename_in_text(char *text, const char *twin, const char *index)
{
	StringInfoData buf;
	char	   *found;

	if (text == NULL || (found = strstr(text, twin)) == NULL)
		return text;
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, text, found - text);
	appendStringInfoString(&buf, index);
	appendStringInfoString(&buf, found + strlen(twin));
	return buf.data;
}

/*
 * Rethrow an error met while building a twin, such as a duplicate key, in
 * the names that the user knows.
 */
static void
rethrow_for_index(MvrRebuild *rebuild, MemoryContext context,
				  const char *twin, Oid index)
{
	ErrorData  *error;
	const char *name;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();

	name = get_rel_name(index);
	if (name != NULL)
	{
		error->message = rename_in_text(error->message, twin, name);
		if (error->constraint_name && strcmp(error->constraint_name, twin) == 0)
			error->constraint_name = pstrdup(name);
		if (error->table_name &&
			strcmp(error->table_name, RelationGetRelationName(rebuild->heap)) == 0)
			error->table_name = pstrdup(RelationGetRelationName(rebuild->view));
	}
	ReThrowError(error);
}

/*
 * Build the twin of one index of the view on the transient table.  Core's
 * REINDEX CONCURRENTLY copies every property of an index for us; the copy
 * starts invalid and empty, and we fill it.  Its pg_index row is thrown away
 * with it, so it may stay invalid.
 */
static Oid
build_twin(MvrRebuild *rebuild, Oid index)
{
	MemoryContext context = CurrentMemoryContext;
	char		name[NAMEDATALEN];
	Relation	rel;
	Oid			twin;

	LockRelationOid(index, RowExclusiveLock);
	snprintf(name, sizeof(name), "pg_temp_%u", index);
	twin = index_concurrently_create_copy(rebuild->heap, index,
										  get_rel_tablespace(index), name);
	CommandCounterIncrement();

	rel = index_open(twin, AccessExclusiveLock);
	PG_TRY();
	{
		index_build(rebuild->heap, rel, BuildIndexInfo(rel), false, true);
	}
	PG_CATCH();
	{
		rethrow_for_index(rebuild, context, name, index);
	}
	PG_END_TRY();
	index_close(rel, NoLock);
	return twin;
}

static void
build_twins(MvrRebuild *rebuild)
{
	ListCell   *lc;

	rebuild->indexes = RelationGetIndexList(rebuild->view);
	foreach(lc, rebuild->indexes)
		rebuild->twins = lappend_oid(rebuild->twins,
									 build_twin(rebuild, lfirst_oid(lc)));
}

/* ----------
 * Before the lock
 * ----------
 */

/*
 * Note what we know better than anyone about the new heap in the transient
 * table's pg_class row, from where the swap takes it.  Without an index
 * nobody else has done so.
 */
static void
record_size(MvrRebuild *rebuild)
{
	Relation	heap = rebuild->heap;
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID,
											ObjectIdGetDatum(RelationGetRelid(heap)));
	Form_pg_class form;
	BlockNumber visible = 0;
	BlockNumber frozen = 0;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u",
			 RelationGetRelid(heap));
	form = (Form_pg_class) GETSTRUCT(tuple);

	if (form->relam == HEAP_TABLE_AM_OID)
		visibilitymap_count(heap, &visible, &frozen);
	form->relpages = RelationGetNumberOfBlocks(heap);
	form->reltuples = rebuild->rows;
	form->relallvisible = visible;
	mvr_set_relallfrozen(form, frozen);

	/* No row holds a transaction id; an access method may use none at all */
	if (TransactionIdIsValid(form->relfrozenxid))
		form->relfrozenxid = RecentXmin;
	if (MultiXactIdIsValid(form->relminmxid))
		form->relminmxid = ReadNextMultiXactId();

	CatalogTupleUpdate(pg_class, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(pg_class, RowExclusiveLock);
	CommandCounterIncrement();
}

/*
 * With wal_level = minimal, files made in this transaction are not logged but
 * synced at its end, while the lock is held.  Syncing them before leaves
 * little to do then.
 */
static void
sync_files(Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);

	if (!RelationNeedsWAL(rel))
	{
		FlushRelationBuffers(rel);
		for (ForkNumber fork = 0; fork <= MAX_FORKNUM; fork++)
			if (smgrexists(RelationGetSmgr(rel), fork))
				smgrimmedsync(RelationGetSmgr(rel), fork);
	}
	relation_close(rel, NoLock);
}

/* Bring to disk now what the commit would have to, holding the lock */
static void
make_durable(MvrRebuild *rebuild)
{
	Oid			toast = rebuild->heap->rd_rel->reltoastrelid;
	ListCell   *lc;

	sync_files(RelationGetRelid(rebuild->heap));
	foreach(lc, rebuild->twins)
		sync_files(lfirst_oid(lc));
	if (OidIsValid(toast))
	{
		sync_files(toast);
		sync_files(toast_get_valid_index(toast, AccessShareLock));
	}
	XLogFlush(XactLastRecEnd);
}

/* ----------
 * The lock
 * ----------
 */

/*
 * What the swap has to lock: the view first, on which readers are, then what
 * lives by it and is hardly ever used without it: amcheck and pgstattuple
 * open an index alone, and a vacuum of the toast table has been kept out.
 * Core takes the same.
 */
static List *
list_targets(MvrRebuild *rebuild)
{
	List	   *targets = list_make1_oid(RelationGetRelid(rebuild->view));
	Oid			toast = rebuild->view->rd_rel->reltoastrelid;

	targets = list_concat(targets, rebuild->indexes);
	if (OidIsValid(toast))
	{
		Relation	rel = table_open(toast, NoLock);

		targets = lappend_oid(targets, toast);
		targets = list_concat(targets, RelationGetIndexList(rel));
		table_close(rel, NoLock);
	}
	return targets;
}

/*
 * Lock the view's pg_class row.  GRANT changes it without a lock on the view,
 * so some transaction may have done that and not ended.  Writing the row
 * would wait for it, while readers wait for us.
 *
 * Returns false if "policy" is not to wait and that is so.
 */
static bool
lock_row(Oid view, LockWaitPolicy policy)
{
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	TM_Result	result;

	do
	{
		HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(view));
		TM_FailureData failure;
		Buffer		buffer;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for relation %u", view);
		result = heap_lock_tuple(pg_class, tuple, GetCurrentCommandId(true),
								 LockTupleNoKeyExclusive, policy, false,
								 &buffer, &failure);
		ReleaseBuffer(buffer);
		heap_freetuple(tuple);

		/* If it has been changed since, see the new version */
		AcceptInvalidationMessages();
	} while (result == TM_Updated);

	if (result != TM_Ok && result != TM_WouldBlock)
		elog(ERROR, "could not lock the pg_class row of relation %u", view);
	table_close(pg_class, RowExclusiveLock);
	return result == TM_Ok;
}

/* Lock all targets and the view's row, or none and return false */
static bool
try_targets(List *targets)
{
	int			n = 0;

	while (n < list_length(targets) &&
		   ConditionalLockRelationOid(list_nth_oid(targets, n),
									  AccessExclusiveLock))
		n++;
	if (n == list_length(targets) &&
		lock_row(linitial_oid(targets), LockWaitSkip))
		return true;
	while (n-- > 0)
		UnlockRelationOid(list_nth_oid(targets, n), AccessExclusiveLock);
	return false;
}

/*
 * Lock all targets, queueing for the view's lock for at most QUEUE_MS.
 *
 * Only an error ends the wait for a lock, hence the subtransaction; it also
 * gives back the view's lock when another target is not free.
 */
static bool
queue_for_targets(List *targets)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	volatile bool locked = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		int			nestlevel = NewGUCNestLevel();

		(void) set_config_option("lock_timeout", QUEUE_MS,
								 PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		LockRelationOid(linitial_oid(targets), AccessExclusiveLock);
		AtEOXact_GUC(true, nestlevel);

		MemoryContextSwitchTo(context);
		locked = try_targets(targets);
		if (locked)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (error != NULL)
	{
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ReThrowError(error);
		FreeErrorData(error);
	}
	return locked;
}

/* Does a transaction of "before" still hold a lock on the view? */
static bool
has_lasting_holder(const VirtualTransactionId *before,
				   const VirtualTransactionId *now)
{
	for (; VirtualTransactionIdIsValid(*now); now++)
		for (const VirtualTransactionId *old = before;
			 VirtualTransactionIdIsValid(*old); old++)
			if (VirtualTransactionIdEquals(*old, *now))
				return true;
	return false;
}

static void
nap(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* By a clock that nobody puts forward or back */
static double
get_ms_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/*
 * lock_for_swap -- get AccessExclusiveLock on the view and what lives by it
 *
 * A waiting request would make every new reader queue behind it for as long
 * as the slowest present reader takes.  So unless told to wait, we try and
 * sleep, until mvr_swap_timeout ms have gone.
 *
 * Trying alone never succeeds under readers that come and go without a gap.
 * So when none of those who hold the lock has held it at our last attempt,
 * we do queue, but for a few milliseconds.  That is also the way past those
 * who merely wait, like a second refresh: before version 17 an attempt
 * without waiting fails because of them, while a queueing request is put in
 * front of them, for the lock that we hold already, and is granted.
 *
 * Returns false, with nothing changed, when the time is over.
 */
static bool
lock_for_swap(MvrRebuild *rebuild, bool wait)
{
	List	   *targets = list_targets(rebuild);
	instr_time	start;
	VirtualTransactionId *before = NULL;
	long		pause = FIRST_NAP_MS;
	LOCKTAG		tag;
	ListCell   *lc;

	if (wait)
	{
		foreach(lc, targets)
			LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
		return lock_row(linitial_oid(targets), LockWaitBlock);
	}

	INSTR_TIME_SET_CURRENT(start);
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, RelationGetRelid(rebuild->view));
	while (!try_targets(targets))
	{
		VirtualTransactionId *now = GetLockConflicts(&tag, AccessExclusiveLock,
													 NULL);

		if ((!VirtualTransactionIdIsValid(*now) ||
			 (before && !has_lasting_holder(before, now))) &&
			queue_for_targets(targets))
			return true;
		if (get_ms_since(start) >= mvr_swap_timeout)
			return false;
		if (before)
			pfree(before);
		before = now;
		nap(pause);
		pause = Min(pause * 2, LAST_NAP_MS);
	}
	return true;
}

/* ----------
 * The swap
 * ----------
 */

/*
 * Exchange the files of two relations and all that describes them.
 *
 * "relid" then has storage that is new in this subtransaction, which matters
 * for wal_level = minimal; "twin" has what it had.
 */
static void
swap_files(Relation pg_class, Oid relid, Oid twin)
{
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));
	HeapTuple	twin_tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(twin));
	Form_pg_class a;
	Form_pg_class b;
	Relation	rel;
	Relation	twin_rel;

	if (!HeapTupleIsValid(tuple) || !HeapTupleIsValid(twin_tuple))
		elog(ERROR, "cache lookup failed for relation %u or %u", relid, twin);
	a = (Form_pg_class) GETSTRUCT(tuple);
	b = (Form_pg_class) GETSTRUCT(twin_tuple);
	Assert(OidIsValid(a->relfilenode) && OidIsValid(b->relfilenode));
	Assert(a->relam == b->relam && a->relpersistence == b->relpersistence);

	SWAP(Oid, a->relfilenode, b->relfilenode);
	SWAP(Oid, a->reltablespace, b->reltablespace);
	SWAP(Oid, a->reltoastrelid, b->reltoastrelid);
	SWAP(int32, a->relpages, b->relpages);
	SWAP(float4, a->reltuples, b->reltuples);
	SWAP(int32, a->relallvisible, b->relallvisible);
	mvr_swap_relallfrozen(a, b);
	SWAP(TransactionId, a->relfrozenxid, b->relfrozenxid);
	SWAP(TransactionId, a->relminmxid, b->relminmxid);
	if (a->relkind == RELKIND_MATVIEW)
		a->relispopulated = true;

	rel = relation_open(relid, NoLock);
	twin_rel = relation_open(twin, NoLock);
	if (a->relkind == RELKIND_INDEX)
		TransferPredicateLocksToHeapRelation(rel);
	twin_rel->rd_createSubid = rel->rd_createSubid;
	twin_rel->rd_newRelfilelocatorSubid = rel->rd_newRelfilelocatorSubid;
	twin_rel->rd_firstRelfilelocatorSubid = rel->rd_firstRelfilelocatorSubid;
	RelationAssumeNewRelfilelocator(rel);
	relation_close(twin_rel, NoLock);
	relation_close(rel, NoLock);

	CatalogTupleUpdate(pg_class, &tuple->t_self, tuple);
	CatalogTupleUpdate(pg_class, &twin_tuple->t_self, twin_tuple);
	InvokeObjectPostAlterHookArg(RelationRelationId, relid, 0, InvalidOid, true);
	InvokeObjectPostAlterHookArg(RelationRelationId, twin, 0, InvalidOid, true);
	heap_freetuple(tuple);
	heap_freetuple(twin_tuple);
}

/* The index has the file of its twin, which was built from all rows */
static void
mark_index_valid(Oid index)
{
	Relation	pg_index = table_open(IndexRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tuple);
	if (!form->indisvalid || !form->indisready || form->indcheckxmin)
	{
		form->indisvalid = true;
		form->indisready = true;
		form->indcheckxmin = false;
		CatalogTupleUpdate(pg_index, &tuple->t_self, tuple);
	}
	heap_freetuple(tuple);
	table_close(pg_index, RowExclusiveLock);
}

/* The toast table of "old_owner" is now that of "new_owner" */
static void
move_toast(Oid toast, Oid old_owner, Oid new_owner)
{
	if (OidIsValid(toast) &&
		changeDependencyFor(RelationRelationId, toast,
							RelationRelationId, old_owner, new_owner) != 1)
		elog(ERROR, "toast table %u does not depend on relation %u",
			 toast, old_owner);
}

static void
drop_transient(Oid heap)
{
	ObjectAddress object;

	ObjectAddressSet(object, RelationRelationId, heap);
	performDeletion(&object, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
}

/*
 * Give the view's new toast table its name, which was taken until the old
 * one was dropped.  Nobody looks for it by name, but under its old one it
 * would be in the way of the table that gets the transient table's OID when
 * OIDs wrap around.
 */
static void
rename_toast(Oid toast, Oid view)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "pg_toast_%u", view);
	RenameRelationInternal(toast, name, true, false);
	snprintf(name, sizeof(name), "pg_toast_%u_index", view);
	RenameRelationInternal(toast_get_valid_index(toast, NoLock), name, true, true);
	CommandCounterIncrement();
	ResetRelRewrite(toast);
}

/* Put the new contents in the view's place; everything is locked */
static void
swap_contents(MvrRebuild *rebuild)
{
	Oid			view = RelationGetRelid(rebuild->view);
	Oid			heap = RelationGetRelid(rebuild->heap);
	Oid			old_toast = rebuild->view->rd_rel->reltoastrelid;
	Oid			new_toast = rebuild->heap->rd_rel->reltoastrelid;
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	ListCell   *lc;
	ListCell   *lc_twin;

	table_close(rebuild->heap, NoLock);
	rebuild->heap = NULL;

	swap_files(pg_class, view, heap);
	forboth(lc, rebuild->indexes, lc_twin, rebuild->twins)
	{
		swap_files(pg_class, lfirst_oid(lc), lfirst_oid(lc_twin));
		mark_index_valid(lfirst_oid(lc));
	}
	move_toast(old_toast, view, heap);
	move_toast(new_toast, heap, view);
	table_close(pg_class, RowExclusiveLock);
	CommandCounterIncrement();

	drop_transient(heap);
	if (OidIsValid(new_toast))
		rename_toast(new_toast, view);
}

/*
 * mvr_rebuild_swap -- put the rows stored so far in the view's place
 *
 * Caller has closed all it had open over the view but the view itself, whose
 * lock is raised to AccessExclusiveLock, kept until the transaction ends: at
 * once if "wait", else by trying for mvr_swap_timeout ms.
 *
 * Returns false, with the view unchanged, if the lock was not to be had; the
 * caller must then call mvr_rebuild_abandon.
 */
bool
mvr_rebuild_swap(MvrRebuild *rebuild, bool wait)
{
	finish_filling(rebuild);
	build_twins(rebuild);
	record_size(rebuild);
	check_not_in_use(rebuild->view);
	make_durable(rebuild);

	if (!lock_for_swap(rebuild, wait))
		return false;
	swap_contents(rebuild);

	/* Tell the statistics what this was, so that autovacuum analyzes */
	pgstat_count_truncate(rebuild->view);
	pgstat_count_heap_insert(rebuild->view, rebuild->rows);
	return true;
}

/*
 * mvr_rebuild_abandon -- drop the transient table with the rows stored so far
 */
void
mvr_rebuild_abandon(MvrRebuild *rebuild)
{
	Oid			heap = RelationGetRelid(rebuild->heap);

	finish_filling(rebuild);
	table_close(rebuild->heap, NoLock);
	rebuild->heap = NULL;
	CommandCounterIncrement();
	drop_transient(heap);
}
