/*
 * in_transaction.c
 *		Live views: maintained by those who write their base tables.
 *
 * Policy on_statement: when a statement ends that has written a base table.
 * Policy on_commit: once, before the transaction commits or is prepared, when
 * all deferred triggers have run.  The changes wait in pending.c until then.
 *
 * A live view holds, at any moment, what its query gives over all committed
 * transactions, since each applies its own changes before it commits.  So it
 * needs no frontier and no change log.  What it takes is that no two
 * transactions that write at a time miss each other's effect:
 *
 * (1) A view commutes with a change of one base table if its delta query reads
 *	   that table at one place, and no state: then the delta of one transaction
 *	   does not depend on what others write to that table.  Transactions that
 *	   have written the same base table, and no other of the view, go on beside
 *	   each other; they lock the groups or rows that they write (key_lock.c).  If
 *	   the view joins nothing, as one table or UNION ALL of several, it does not
 *	   matter which table they have written.
 * (2) All others lock the view, and then take a snapshot.  It sees all that has
 *	   been committed, with its effect on the view.
 * (3) In a READ COMMITTED transaction that snapshot is the newest.  At commit
 *	   it is so at any isolation level: nobody reads in this transaction
 *	   afterwards.  But on_statement in a REPEATABLE READ or SERIALIZABLE
 *	   transaction it is the transaction's, so the view looks as the query does
 *	   there; whoever would write what it does not see fails with 40001.
 * (4) Becoming live, or ceasing to be, keeps out all who write a base table
 *	   (ShareRowExclusiveLock); so everybody who has written one has applied it,
 *	   or will.
 * (5) What rows do not tell (TRUNCATE, ALTER TABLE, REFRESH MATERIALIZED VIEW)
 *	   makes the transaction that does it recompute the view.
 *
 * Locks, in this order for each transaction, so that two cannot deadlock at
 * their commits: at COMMIT, AccessShareLock on what the views read, since somebody
 * may have one of these tables for himself; views by how many others they stand
 * on, then by OID; of a view RowExclusiveLock on the relation, AccessShareLock on
 * what it reads, then object locks, which nobody else takes: on the view
 * (RowExclusiveLock by those of (1), ExclusiveLock by those of (2)), on each base
 * table as a view with joins reads it (RowExclusiveLock if it was written, else ShareLock),
 * then the keys.  The states come behind the object locks: who recomputes the
 * view, with ExclusiveLock on the object, makes new ones.  VACUUM is in nobody's
 * way.  All are held until the end of the transaction: on_statement, that is as
 * long as the user's own row locks, and can deadlock as they can.
 *
 * A session keeps the stages of the views it has maintained (kept.c).
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

#include "matview_refresh.h"

/* Object locks: sub-object 2 is the view, 3 one of its base tables */
#define LOCK_VIEW		2
#define LOCK_BASE		3

/*
 * More changes than this lock the view, and no keys, by groups and by rows: it
 * would be in vain to compute which they are.  By rows it is those that go.
 */
#define MANY_CHANGES	1000
#define MANY_GONE		100

static bool is_running = false;

/* ----------
 * Locks
 * ----------
 */

static int
compare_bases(const ListCell *a, const ListCell *b)
{
	Oid			left = ((MvrSource *) lfirst(a))->base;
	Oid			right = ((MvrSource *) lfirst(b))->base;

	return left < right ? -1 : left > right ? 1 : 0;
}

static void
lock_object(Oid class, Oid object, int16 sub, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, sub);
	(void) LockAcquire(&tag, mode, false, false);
}

/* Keep out all who maintain the view */
static void
lock_alone(Oid view)
{
	lock_object(RelationRelationId, view, LOCK_VIEW, ExclusiveLock);
}

/*
 * Keep out all but those who have written the same base table, and no other.
 * Returns the base tables that are locked for that.
 */
static List *
lock_beside(const MvrKept *kept, Oid changed)
{
	List	   *sources = list_copy(kept->tracked->sources);
	List	   *bases = NIL;

	lock_object(RelationRelationId, kept->view, LOCK_VIEW, RowExclusiveLock);
	if (kept->is_separable)
		return NIL;
	list_sort(sources, compare_bases);
	foreach_ptr(MvrSource, source, sources)
	{
		lock_object(source->base, kept->view, LOCK_BASE,
					source->base == changed ? RowExclusiveLock : ShareLock);
		bases = lappend_oid(bases, source->base);
	}
	return bases;
}

static void
unlock_object(Oid class, Oid object, int16 sub, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, sub);
	(void) LockRelease(&tag, mode, false);
}

/*
 * Nothing has been written yet: let go, to lock the view alone instead.  Of the
 * base tables too, or who comes beside would wait there, with the view locked.
 */
static void
unlock_beside(Oid view, List *bases, Oid changed)
{
	ListCell   *lc;

	foreach(lc, bases)
		unlock_object(lfirst_oid(lc), view, LOCK_BASE,
					  lfirst_oid(lc) == changed ? RowExclusiveLock : ShareLock);
	unlock_object(RelationRelationId, view, LOCK_VIEW, RowExclusiveLock);
}

/* Can a view use deltas: have they the columns it needs, and where it can read them? */
static bool
can_use(const MvrStage *stage, const MvrTracked *tracked, List *deltas)
{
	foreach_ptr(MvrDelta, delta, deltas)
	{
		bool		is_found = false;

		if (delta->source && !mvr_delta_query_reads_once(stage))
			return false;
		foreach_ptr(MvrSource, source, tracked->sources)
		{
			Bitmapset  *columns = NULL;

			if (source->base != delta->base)
				continue;
			for (int i = 0; i < delta->natts; i++)
				if (delta->attmap[i] != 0)
					columns = bms_add_member(columns, i + 1);
			is_found = bms_equal(columns, source->columns);
		}
		if (!is_found)
			return false;
	}
	return true;
}

/*
 * Behind the object locks: somebody for whom we have waited may have recomputed
 * the view, with other states.  Returns why the deltas cannot be applied, or NULL.
 */
static char *
settle_kept(MvrKept *kept, Relation view, List *deltas)
{
	AcceptInvalidationMessages();
	for (int tries = 0; tries < 10; tries++)
	{
		if (!kept->is_valid)
			kept = mvr_kept_get(view);
		if (kept->tracked == NULL || kept->tracked->live == MVR_LIVE_NOT)
			return "the view is not live any more";
		if (kept->fault)
			return pstrdup(kept->fault);
		mvr_inner_set_states(kept->stage, kept->tracked, RowExclusiveLock);
		mvr_plan_lock(kept->stage, kept->tracked->states, true);
		if (kept->is_valid)
			break;
	}
	return can_use(kept->stage, kept->tracked, deltas) ? NULL : "its base tables have changed";
}

/*
 * Does the view commute with these deltas?  On_statement a transaction can come
 * with one base table now and another one later, and meet one who has done so
 * too: there only views do that join nothing.
 */
static bool
is_commuting(const MvrKept *kept, List *deltas)
{
	Oid			base = ((MvrDelta *) linitial(deltas))->base;

	if (!kept->is_linear || list_length(deltas) != 1 ||
		(kept->tracked->live == MVR_LIVE_STATEMENT && !kept->is_separable))
		return false;
	return mvr_delta_query_count_reads(kept->stage, base) == 1;
}

/* ----------
 * Applying
 * ----------
 */

static List *
take_deltas(const MvrKept *kept)
{
	List	   *deltas = NIL;
	bool		in_place = mvr_delta_query_reads_once(kept->stage);

	foreach_ptr(MvrSource, source, kept->tracked->sources)
	{
		Relation	base = table_open(source->base, NoLock);
		MvrDelta   *delta = mvr_pending_take(base, source, kept->view, in_place);

		table_close(base, NoLock);
		if (delta->nrows > 0)
			deltas = lappend(deltas, delta);
		else
			mvr_delta_end(list_make1(delta));
	}
	return deltas;
}

static bool
has_xact_snapshot(const MvrKept *kept)
{
	return IsolationUsesXactSnapshot() && kept->tracked->live == MVR_LIVE_STATEMENT;
}

static bool
has_many_keys(const MvrKept *kept, const MvrDelta *delta)
{
	if (kept->stage->strategy == MVR_ROWS)
		return delta->ngone > MANY_GONE;
	return delta->nrows > MANY_CHANGES;
}

/*
 * Beside others.  False if there was too much to lock, or the view is not as it
 * was: then nothing has been written.  Sets the reason to recompute, if there is
 * one.
 */
static bool
apply_beside(MvrKept *kept, MvrApply *apply, List *deltas, char **reason)
{
	MvrKeyLock	lock;
	Oid			base = ((MvrDelta *) linitial(deltas))->base;
	List	   *locked;
	bool		is_latest = kept->tracked->live == MVR_LIVE_COMMIT;

	if (has_many_keys(kept, linitial(deltas)))
		return false;
	locked = lock_beside(kept, base);
	mvr_key_lock_begin(&lock, kept->view, is_latest);
	if (lock.is_full || settle_kept(kept, apply->view, deltas) ||
		!is_commuting(kept, deltas))
		lock.is_full = true;
	else
	{
		apply->stage = kept->stage;
		apply->lock = &lock;
		mvr_key_lock_push_snapshot(is_latest);
		*reason = mvr_apply_deltas(apply, deltas);
		PopActiveSnapshot();
	}
	if (lock.is_full)
		unlock_beside(kept->view, locked, base);
	return !lock.is_full;
}

/* Raise 40001 if the view was written by somebody whom the snapshot does not see */
static void
check_written(const MvrKept *kept)
{
	MvrTracked *now = mvr_catalog_lookup_view(kept->view);

	if (now && now->frontier.valid && !mvr_frontier_is_visible(&now->frontier))
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("could not serialize access due to concurrent update"),
				errdetail("Another transaction has maintained the materialized view after this one took its snapshot."),
				errhint("The transaction might succeed if retried."));
}

static void
identify_rows(const MvrKept *kept, List *deltas)
{
	foreach_ptr(MvrDelta, delta, deltas)
	{
		Relation	base = table_open(delta->base, NoLock);

		mvr_identify_prepare(base, kept->stage, delta);
		table_close(base, NoLock);
	}
}

/* Alone.  Returns the reason to recompute, or NULL. */
static char *
apply_alone(MvrKept *kept, MvrApply *apply, List *deltas, bool is_commuting)
{
	char	   *reason;

	lock_alone(kept->view);
	reason = settle_kept(kept, apply->view, deltas);
	if (reason)
		return reason;
	apply->stage = kept->stage;
	apply->lock = NULL;
	mvr_key_lock_push_snapshot(kept->tracked->live == MVR_LIVE_COMMIT);
	if (!is_commuting)
	{
		if (has_xact_snapshot(kept))
			check_written(kept);
		identify_rows(kept, deltas);
		reason = mvr_estimate_find_flood(kept->stage, deltas);
	}
	if (reason == NULL)
		reason = mvr_apply_deltas(apply, deltas);
	if (reason == NULL && !is_commuting && kept->tracked->live == MVR_LIVE_STATEMENT)
		mvr_catalog_touch_view(kept->tracked);
	PopActiveSnapshot();
	return reason;
}

/* Apply what is pending; returns the reason to recompute, or NULL */
static char *
apply_pending(MvrKept *kept, Relation view)
{
	List	   *deltas = take_deltas(kept);
	MvrApply	apply = {.view = view};
	char	   *reason = NULL;
	bool		commutes;
	bool		is_beside;

	if (deltas == NIL)
		return NULL;
	mvr_run_query_check_rights(kept->stage->query);
	commutes = is_commuting(kept, deltas);
	/* an error of rows that came and went is caught in a subtransaction */
	is_beside = commutes && !mvr_estimate_can_fail(kept->stage, deltas);
	apply.must_serialize = commutes && has_xact_snapshot(kept);
	if (!is_beside || !apply_beside(kept, &apply, deltas, &reason))
		reason = apply_alone(kept, &apply, deltas, commutes);
	mvr_delta_end(deltas);
	if (reason == NULL && apply.inserted + apply.updated + apply.deleted > 0)
		mvr_wake_note_captured(kept->view);
	return reason;
}

/* ----------
 * One view
 * ----------
 */

static void
name_view(void *arg)
{
	errcontext("maintenance of materialized view \"%s\"", (const char *) arg);
}

static List *
list_bases(const MvrTracked *tracked)
{
	List	   *bases = NIL;

	foreach_ptr(MvrSource, source, tracked->sources)
		bases = lappend_oid(bases, source->base);
	return bases;
}

/* Returns the reason why the view must be recomputed, or NULL */
static char *
try_maintain(Relation view)
{
	Oid			userid;
	int			context;
	int			level = mvr_live_become_owner(view, &userid, &context);
	MvrKept	   *kept = mvr_kept_get(view);
	char	   *reason = NULL;

	CommandCounterIncrement();
	if (kept->tracked && kept->tracked->live != MVR_LIVE_NOT)
	{
		if (kept->fault)
			reason = pstrdup(kept->fault);
		else if (mvr_pending_is_marked(kept->view))
			reason = "another command than INSERT, UPDATE or DELETE has changed what it reads";
		else
			reason = apply_pending(kept, view);
	}
	mvr_view_become_again(level, userid, context);
	return reason;
}

/* Is capture of a base table to be armed anew, whether changes are applied or not? */
static bool
is_unarmed(const MvrKept *kept, MvrSource *source)
{
	if (kept->stage->strategy != MVR_RECOMPUTE)
		return !mvr_track_is_armed(kept->stage, source) || !mvr_kept_is_armed(source);
	return get_rel_relkind(source->base) != RELKIND_MATVIEW && !mvr_track_is_heard(source);
}

/*
 * Is capture of a base table to be armed anew, by a statement that has not ended?
 * Triggers are not created for a table while some of it have to be run yet.
 */
static bool
cannot_arm_yet(const MvrKept *kept)
{
	foreach_ptr(MvrSource, source, kept->tracked ? kept->tracked->sources : NIL)
	{
		ListCell   *lc;

		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->base)) ||
			!is_unarmed(kept, source))
			continue;
		foreach(lc, find_all_inheritors(source->base, NoLock, NULL))
			if (AfterTriggerPendingOnRel(lfirst_oid(lc)))
				return true;
	}
	return false;
}

/* Have a view recomputed, by this statement or else when the transaction commits */
static void
recompute_view(Oid view, bool at_commit, char *reason)
{
	const MvrKept *kept = mvr_kept_lookup(view);

	if (!at_commit && kept->fault && cannot_arm_yet(kept))
	{
		mvr_pending_forget(view);
		mvr_pending_mark(view, MVR_LIVE_COMMIT, list_bases(kept->tracked));
		return;
	}
	lock_alone(view);
	mvr_refresh_live(view, at_commit, reason);
	mvr_pending_forget(view);
}

/* Bring a view up to date with what is pending; it may have gone meanwhile */
static void
maintain_view(Oid oid, bool at_commit)
{
	Relation	view = try_relation_open(oid, RowExclusiveLock);
	MemoryContext context;
	MemoryContext old;
	ErrorContextCallback callback;
	char	   *reason;

	if (view == NULL || view->rd_rel->relkind != RELKIND_MATVIEW)
	{
		if (view)
			relation_close(view, RowExclusiveLock);
		mvr_pending_forget(oid);
		return;
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "matview maintenance",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	callback.previous = error_context_stack;
	callback.callback = name_view;
	callback.arg = pstrdup(RelationGetRelationName(view));
	error_context_stack = &callback;
	reason = try_maintain(view);
	if (reason)
		recompute_view(oid, at_commit, reason);
	else
		mvr_pending_forget(oid);
	CommandCounterIncrement();
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	relation_close(view, NoLock);
}

/* ----------
 * All of them
 * ----------
 */

static int
get_depth(Oid view)
{
	MvrKept	   *kept = mvr_kept_lookup(view);

	if (!kept->is_valid)
		(void) mvr_chain_list_read(view, &kept->depth);
	return kept->depth;
}

/* What a view stands on comes before it; else by OID */
static bool
is_before(Oid a, Oid b)
{
	int			left = get_depth(a);
	int			right = get_depth(b);

	return left < right || (left == right && a < b);
}

/* A view among them is locked when it is its turn: who rebuilds it must not wait for us before */
static void
lock_tables(List *tables)
{
	ListCell   *lc;

	list_sort(tables, list_oid_cmp);
	foreach(lc, tables)
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_MATVIEW)
			LockRelationOid(lfirst_oid(lc), AccessShareLock);
}

/*
 * Lock what the views read before the first of them is locked.  Somebody may have
 * locked one of these tables as a whole, by TRUNCATE say, and want one of the
 * views next: for him we wait without a view that he could wait for.
 */
static void
lock_what_is_read(void)
{
	List	   *bases = mvr_pending_list_bases(InvalidOid);

	lock_tables(list_concat_unique_oid(bases,
									   mvr_live_list_bases_above(mvr_pending_list_views())));
}

static int
compare_views(const ListCell *a, const ListCell *b)
{
	return is_before(lfirst_oid(a), lfirst_oid(b)) ? -1 : 1;
}

/*
 * An action of a foreign key, or a trigger, can have written what a view reads
 * that must wait until the statement around it has ended.  If its turn in the
 * order of locks is before that of a view that is maintained now, lock it first,
 * as whoever recomputes it: what it will need is not known yet.
 */
static void
lock_deferred_before(Oid view)
{
	List	   *deferred = mvr_pending_list_deferred();
	ListCell   *lc;

	list_sort(deferred, compare_views);
	foreach(lc, deferred)
	{
		Oid			other = lfirst_oid(lc);

		if (!is_before(other, view))
			break;
		LockRelationOid(other, RowExclusiveLock);
		lock_tables(mvr_pending_list_bases(other));
		lock_alone(other);
	}
}

static void
maintain_views(bool at_commit)
{
	Oid			view;

	if (is_running)
		return;
	if (!mvr_catalog_is_installed())
	{
		mvr_pending_forget_all();
		return;
	}
	is_running = true;
	PG_TRY();
	{
		if (at_commit)
			lock_what_is_read();
		while (OidIsValid(view = mvr_pending_next_view(at_commit, is_before)))
		{
			if (!at_commit)
				lock_deferred_before(view);
			maintain_view(view, at_commit);
		}
	}
	PG_FINALLY();
	{
		is_running = false;
	}
	PG_END_TRY();
}

/* A statement that has written a base table has ended */
static void
end_statement(void)
{
	maintain_views(false);
}

/*
 * A client's COMMIT is a statement, and statement_timeout holds for what we do in
 * it.  Core has just switched the timer off, as there is no user's code to be
 * run any more; where it is still on, the statement is a CALL, or the like.
 */
static bool
start_timeout(void)
{
	if (MyBackendType != B_BACKEND || StatementTimeout <= 0 ||
		get_timeout_active(STATEMENT_TIMEOUT))
		return false;
	enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	return true;
}

/* An error switches it off anyway, where it is caught by core */
static void
end_timeout(void)
{
	CHECK_FOR_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
}

static void
maintain_at_commit(void)
{
	maintain_views(true);
}

/* Nothing runs here that would have left a snapshot, and to write takes one */
static void
before_commit(XactEvent event, pg_attribute_unused() void *arg)
{
	bool		has_timeout;

	if ((event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE) ||
		(!mvr_pending_is_any() && !mvr_pending_has_unfinished()))
		return;
	has_timeout = start_timeout();
	/* catalogs are written with some snapshot active */
	PushActiveSnapshot(GetTransactionSnapshot());
	mvr_pending_end_unfinished();
	if (mvr_pending_is_any())
		mvr_committing_run(maintain_at_commit);
	PopActiveSnapshot();
	if (has_timeout)
		end_timeout();
}

/* Call it once, when the library is loaded */
void
mvr_in_transaction_init(void)
{
	mvr_pending_statement_hook = end_statement;
	RegisterXactCallback(before_commit, NULL);
}

/* ----------
 * Other commands
 * ----------
 */

static void
mark_live(const MvrTracked *tracked)
{
	mvr_pending_mark(tracked->view, tracked->live, list_bases(tracked));
}

/* REFRESH ... WITH NO DATA of a live view */
static void
check_populated(Oid view)
{
	Relation	rel = relation_open(view, NoLock);
	bool		is_populated = RelationIsPopulated(rel);

	relation_close(rel, NoLock);
	if (!is_populated)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("materialized view \"%s\" is maintained by those who write its base tables",
					   get_rel_name(view)),
				errdetail("They cannot leave it without data."),
				errhint("Call matview.set_auto_refresh(view, 'off') first."));
}

/* Keep out all who write a base table; it may be gone */
static void
lock_base(Oid base)
{
	Relation	rel = try_table_open(base, AccessShareLock);

	if (rel == NULL)
		return;
	mvr_capture_lock(rel);
	table_close(rel, NoLock);
}

/* Keep out all who write what a view reads */
static void
lock_bases(const MvrTracked *tracked)
{
	foreach_ptr(MvrSource, source, tracked->sources)
		lock_base(source->base);
}

/*
 * Has a live view a fault?  If somebody has it locked, what he has put there may
 * be from before our command: he is waited for.
 */
static bool
has_fault(Oid view)
{
	Relation	rel = try_relation_open(view, AccessShareLock);
	Oid			userid;
	int			context;
	int			level;
	bool		result;

	if (rel == NULL)
		return false;
	level = mvr_live_become_owner(rel, &userid, &context);
	result = mvr_kept_get(rel)->fault != NULL;
	mvr_view_become_again(level, userid, context);
	relation_close(rel, NoLock);
	return result;
}

/* Is one of the two tables above the other, or the same? */
static bool
is_related(Oid a, Oid b)
{
	return list_member_oid(find_all_inheritors(a, NoLock, NULL), b) ||
		list_member_oid(find_all_inheritors(b, NoLock, NULL), a);
}

/* Can a command about a relation, or one that is gone, have changed a view? */
static bool
is_concerned(const MvrTracked *tracked, Oid relid, bool is_gone)
{
	/* also one that has read no table so far */
	if ((!OidIsValid(relid) && !is_gone) || relid == tracked->view)
		return true;
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->base)))
			return true;
		if (is_gone ? has_subclass(source->base) : is_related(source->base, relid))
			return true;
	}
	return false;
}

/* Keep out all who write a base table for which capture has to be armed anew */
static void
lock_unarmed(const MvrKept *kept)
{
	List	   *bases = NIL;
	ListCell   *lc;

	foreach_ptr(MvrSource, source, kept->tracked->sources)
	{
		if (is_unarmed(kept, source))
			bases = lappend_oid(bases, source->base);
	}
	foreach(lc, bases)
		lock_base(lfirst_oid(lc));
}

/* If a live view has a fault, see that it is recomputed */
static void
check_view(const MvrTracked *tracked)
{
	if (!has_fault(tracked->view))
		return;
	lock_unarmed(mvr_kept_lookup(tracked->view));
	mark_live(tracked);
}

/*
 * A command has changed what queries give by other means than rows: about one
 * relation, one that is gone, or (InvalidOid) anything.  Live views that do not
 * fit any more are recomputed by this transaction.  To find out locks what they
 * read; so other views are left alone.
 *
 * That may arm capture anew, which keeps out all who write a base table.  So
 * they are waited for before the view is locked, for which they may wait then.
 */
void
mvr_in_transaction_check(Oid relid, bool is_gone)
{
	if (!OidIsValid(relid) && !is_gone)
		mvr_kept_forget_all();
	foreach_ptr(MvrTracked, tracked, mvr_catalog_list_live())
	{
		if (is_concerned(tracked, relid, is_gone))
			check_view(tracked);
	}
	if (mvr_pending_is_any())
		maintain_views(false);
}

/*
 * REFRESH MATERIALIZED VIEW has written a view, from a snapshot of its own.  What
 * it did, the views that stand on this one have not been told: with CONCURRENTLY
 * the view is in the same file, and nothing else shows that it was written.
 */
void
mvr_in_transaction_note_refresh(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	if (tracked && tracked->live != MVR_LIVE_NOT)
	{
		check_populated(view);
		mark_live(tracked);
	}
	mvr_log_writer_append_mark(mvr_live_get_base(view));
	maintain_views(false);
}

/* ----------
 * Policies
 * ----------
 */

static void
raise_refusal(Relation view, char live, const char *reason)
{
	ereport(ERROR,
			errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("materialized view \"%s\" cannot be maintained %s",
				   RelationGetRelationName(view),
				   live == MVR_LIVE_STATEMENT ? "on_statement" : "on_commit"),
			errdetail("Reason: %s.", reason),
			errhint("Use on_change, which refreshes as soon as a change is committed, or an interval for what changes in foreign tables, system catalogs and sequences."));
}

static void
check_isolation(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				errmsg("refresh policies on_statement and on_commit must be set in a READ COMMITTED transaction"),
				errdetail("The snapshot of this transaction may be older than what others have written."),
				errhint("Call it in a transaction of its own."));
}

/*
 * Raise 0A000 if a view cannot be maintained in this way.  Returns whether its
 * result depends on settings.
 */
static bool
check_can_live(Relation view, char live)
{
	Oid			userid;
	int			context;
	int			level = mvr_live_become_owner(view, &userid, &context);
	MvrStage   *stage = mvr_analyze_view(view);

	mvr_view_become_again(level, userid, context);
	if (stage->strategy == MVR_RECOMPUTE)
		raise_refusal(view, live, stage->reason);
	foreach_ptr(MvrUse, use, stage->uses)
	{
		Relation	base = table_open(use->base, NoLock);

		if (live == MVR_LIVE_STATEMENT && !mvr_members_see_statements(base))
			raise_refusal(view, live, psprintf("\"%s\" is also written through a parent, or by a subscription, and no statement trigger of it tells",
											   get_rel_name(use->base)));
		table_close(base, NoLock);
	}
	return stage->reads_settings;
}

static void
set_live(MvrTracked *tracked, char live, bool reads_settings)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	mvr_track_set_live(tracked, live, reads_settings);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* Keep out all who write what a view reads, then bring it up to date */
static MvrTracked *
refresh_alone(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	if (tracked)
		lock_bases(tracked);
	mvr_refresh_incremental_view(view);
	tracked = mvr_catalog_lookup_view(view);
	if (tracked == NULL || !tracked->frontier.valid || mvr_pending_is_any_of(view))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_IN_USE),
				errmsg("could not bring materialized view \"%s\" up to date",
					   get_rel_name(view)),
				errdetail("A statement that writes one of its base tables is still running."),
				errhint("Call it in a transaction of its own."));
	return tracked;
}

/*
 * Make a view live, if it is not; if it is, see that its writers know.  The first
 * refresh, which may take long, is before writers are kept out; the second brings
 * what has come meanwhile.  Of a view that is live in the other way they are kept
 * out first, since they wait for the view with the base table locked; and of one
 * that live views stand on, which the first refresh locks.
 */
void
mvr_in_transaction_start(Oid view, char live)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);
	Relation	rel;
	bool		reads_settings;

	if (tracked && tracked->live == live)
		check_view(tracked);
	else if (tracked && (tracked->live != MVR_LIVE_NOT || mvr_live_get_base(view)->views != NIL))
		lock_bases(tracked);
	rel = mvr_view_open(view, ExclusiveLock);
	tracked = mvr_catalog_lookup_view(view);
	if (tracked && tracked->live == live)
	{
		relation_close(rel, NoLock);
		maintain_views(false);
		return;
	}
	check_isolation();
	reads_settings = check_can_live(rel, live);
	relation_close(rel, NoLock);
	/* of a view that was live until the extension was dropped, and is filled now */
	if (tracked == NULL || tracked->live == MVR_LIVE_NOT)
		mvr_pending_forget(view);
	mvr_refresh_incremental_view(view);
	set_live(refresh_alone(view), live, reads_settings);
}

/*
 * End that: from here on changes go to the change logs again.  A view that cannot
 * be computed, and in whose way its policy then is, must be let go; so it is only
 * refreshed if this transaction has something for it.
 */
void
mvr_in_transaction_stop(Oid view)
{
	MvrTracked *tracked;

	/* not kept: a refresh that we wait for may want to exchange files */
	relation_close(mvr_view_open(view, AccessShareLock), AccessShareLock);
	tracked = mvr_catalog_lookup_view(view);
	if (tracked == NULL || tracked->live == MVR_LIVE_NOT)
		return;
	check_isolation();
	lock_bases(tracked);
	LockRelationOid(view, ExclusiveLock);
	tracked = mvr_catalog_lookup_view(view);
	if (mvr_pending_is_any_of(view) || mvr_pending_is_in_flight(list_bases(tracked)))
		tracked = refresh_alone(view);
	set_live(tracked, MVR_LIVE_NOT, false);
}
