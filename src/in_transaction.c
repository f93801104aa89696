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
 *	   each other; they lock the groups or rows that they write (key_lock.c).
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
 * their commits: views by how many others they stand on, then by OID; of a view
 * RowExclusiveLock on the relation, then object locks, which nobody else takes:
 * on the view (RowExclusiveLock by those of (1), ExclusiveLock by those of (2)),
 * on each base table as the view reads it (RowExclusiveLock if it was written,
 * else ShareLock), then the keys.  VACUUM is in nobody's way.  All are held until
 * the end of the transaction: on_statement, that is as long as the user's own
 * row locks, and can deadlock as they can.  State tables are locked behind the
 * view, since who recomputes it drops them.
 *
 * A session keeps the stages of the views it has maintained, with the plans, as
 * long as nothing that they depend on is invalidated.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

/* Object locks: sub-object 2 is the view, 3 one of its base tables */
#define LOCK_VIEW		2
#define LOCK_BASE		3

/* More changes than this lock the view, and no keys */
#define MANY_CHANGES	100

/* What a session keeps of a live view */
typedef struct Kept
{
	Oid			view;
	bool		is_valid;
	MemoryContext context;		/* of all that follows */
	MvrStage   *stage;
	MvrTracked *tracked;		/* NULL if the view is not tracked */
	char	   *fault;			/* why it must be recomputed, or NULL */
	bool		is_linear;		/* no state but its own, no dependent parts */
	int			depth;			/* tracked views that it stands on */
	List	   *relations;		/* what all this depends on, beside the plans */
} Kept;

static HTAB *kept_views = NULL;
static uint64 invalidations = 0;
static bool is_running = false;

/* ----------
 * What a session keeps
 * ----------
 */

static bool
depends_on(const Kept *kept, Oid relid)
{
	if (list_member_oid(kept->relations, relid))
		return true;
	if (kept->stage == NULL || kept->stage->plans == NULL)
		return false;
	return mvr_plan_depends_on(kept->stage, relid);
}

/* Relcache callback */
static void
invalidate_by_relation(pg_attribute_unused() Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Kept	   *kept;

	invalidations++;
	hash_seq_init(&status, kept_views);
	while ((kept = hash_seq_search(&status)) != NULL)
		if (kept->is_valid && (!OidIsValid(relid) || depends_on(kept, relid)))
			kept->is_valid = false;
}

/* Syscache callback: a function, a type, an operator, a subscription */
static void
invalidate_all(pg_attribute_unused() Datum arg, pg_attribute_unused() int cacheid,
			   pg_attribute_unused() uint32 hash)
{
	invalidate_by_relation((Datum) 0, InvalidOid);
}

static void
create_kept(void)
{
	static const int caches[] = {
		PROCOID, TYPEOID, OPEROID, AMOPOPID, NAMESPACEOID, SUBSCRIPTIONRELMAP
	};
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Kept);
	ctl.hcxt = CacheMemoryContext;
	kept_views = hash_create("matview_refresh live views", 32, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_by_relation, (Datum) 0);
	for (int i = 0; i < (int) lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], invalidate_all, (Datum) 0);
}

static Kept *
get_entry(Oid view)
{
	Kept	   *kept;
	bool		found;

	if (kept_views == NULL)
		create_kept();
	kept = hash_search(kept_views, &view, HASH_ENTER, &found);
	if (!found)
	{
		memset(kept, 0, sizeof(*kept));
		kept->view = view;
	}
	return kept;
}

/* Everything whose invalidation makes what is kept of a view invalid */
static List *
list_relations(Oid view, MvrTracked *tracked, int *depth)
{
	List	   *relations = mvr_chain_list_read(view, depth);

	if (tracked == NULL)
		return relations;
	relations = list_concat(relations, tracked->states);
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Relation	base = try_table_open(source->base, AccessShareLock);

		relations = lappend_oid(relations, source->log);
		/* a plain view that read it can have been replaced, and it have gone */
		if (base == NULL)
			continue;
		relations = list_concat(relations, mvr_capture_list_members(base));
		table_close(base, NoLock);
	}
	return relations;
}

static char *
find_live_fault(MvrTracked *tracked)
{
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Relation	base = table_open(source->base, NoLock);
		bool		is_live = mvr_capture_is_live(base, source->log);

		table_close(base, NoLock);
		if (!is_live)
			return psprintf("triggers of \"%s\" have changed", get_rel_name(source->base));
	}
	return NULL;
}

/* Why the view must be recomputed, whatever has changed, or NULL */
static char *
find_fault(Relation view, MvrStage *stage, MvrTracked *tracked)
{
	char	   *fault;

	if (stage->strategy == MVR_RECOMPUTE)
		return stage->reason;
	if (!RelationIsPopulated(view))
		return "the view was not populated";
	if (!tracked->frontier.valid)
		return "the contents are not known to be right";
	if (tracked->file != mvr_view_get_file(tracked->view))
		return "the contents were written by another command";
	if (!mvr_inner_has_states(stage, tracked))
		return "the state table is gone";
	if (stage->strategy == MVR_ROWS && !OidIsValid(mvr_apply_lookup_row_index(view)))
		return "the index that finds rows is gone";
	fault = mvr_track_find_fault(stage, tracked);
	return fault ? fault : find_live_fault(tracked);
}

static bool
is_linear(const MvrStage *stage)
{
	foreach_ptr(MvrUse, use, stage->uses)
		if (use->is_dependent)
			return false;
	return stage->inner == NIL &&
		(stage->strategy == MVR_ROWS || stage->strategy == MVR_GROUPS);
}

/* Give a stage room to keep plans */
static void
keep_plans(MvrStage *stage, MemoryContext context)
{
	stage->plans = palloc0(sizeof(MvrPlans));
	stage->plans->context = context;
}

static void
fill_kept(Kept *kept, Relation view)
{
	uint64		before = invalidations;
	MemoryContext old = MemoryContextSwitchTo(kept->context);

	kept->stage = mvr_analyze_view(view);
	kept->tracked = mvr_catalog_lookup_view(kept->view);
	kept->relations = list_relations(kept->view, kept->tracked, &kept->depth);
	kept->is_linear = is_linear(kept->stage);
	if (kept->tracked)
	{
		kept->fault = find_fault(view, kept->stage, kept->tracked);
		if (kept->fault == NULL)
			mvr_inner_set_states(kept->stage, kept->tracked, RowExclusiveLock);
		keep_plans(kept->stage, kept->context);
		foreach_ptr(MvrStage, inner, kept->stage->inner)
			keep_plans(inner, kept->context);
	}
	MemoryContextSwitchTo(old);
	kept->is_valid = (before == invalidations);
}

/* Lock all that maintaining a view reads and writes, beside the view */
static void
lock_relations(const Kept *kept)
{
	ListCell   *lc;

	if (kept->tracked == NULL)
		return;
	foreach_ptr(MvrSource, source, kept->tracked->sources)
		LockRelationOid(source->base, AccessShareLock);
	foreach(lc, kept->fault ? NIL : kept->tracked->states)
		LockRelationOid(lfirst_oid(lc), RowExclusiveLock);
	mvr_plan_lock(kept->stage);
}

/*
 * What is kept of a view, built if it is not there; all that it names is locked.
 * The caller is the view's owner, and has a lock on it.
 */
static Kept *
get_kept(Relation view)
{
	Kept	   *kept = get_entry(RelationGetRelid(view));

	if (kept->is_valid)
		lock_relations(kept);
	for (int tries = 0; !kept->is_valid && tries < 10; tries++)
	{
		if (kept->context == NULL)
			kept->context = AllocSetContextCreate(CacheMemoryContext,
												  "matview_refresh live view",
												  ALLOCSET_DEFAULT_SIZES);
		MemoryContextReset(kept->context);
		kept->stage = NULL;
		kept->tracked = NULL;
		kept->relations = NIL;
		kept->fault = NULL;
		fill_kept(kept, view);
	}
	return kept;
}

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

static void
unlock_object(Oid class, Oid object, int16 sub, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, sub);
	(void) LockRelease(&tag, mode, false);
}

/* Keep out all who maintain the view */
static void
lock_alone(Oid view)
{
	lock_object(RelationRelationId, view, LOCK_VIEW, ExclusiveLock);
}

/* The base tables that the view reads, in the order in which they are locked */
static List *
sort_bases(const Kept *kept)
{
	List	   *sources = list_copy(kept->tracked->sources);

	list_sort(sources, compare_bases);
	return list_length(sources) > 1 ? sources : NIL;
}

/* Keep out all but those who have written the same base table, and no other */
static void
lock_beside(const Kept *kept, Oid changed)
{
	List	   *sources = sort_bases(kept);

	lock_object(RelationRelationId, kept->view, LOCK_VIEW, RowExclusiveLock);
	foreach_ptr(MvrSource, source, sources)
		lock_object(source->base, kept->view, LOCK_BASE,
					source->base == changed ? RowExclusiveLock : ShareLock);
}

/* Nothing has been written yet: let go, to lock the view alone instead */
static void
unlock_beside(const Kept *kept, Oid changed)
{
	foreach_ptr(MvrSource, source, sort_bases(kept))
		unlock_object(source->base, kept->view, LOCK_BASE,
					  source->base == changed ? RowExclusiveLock : ShareLock);
	unlock_object(RelationRelationId, kept->view, LOCK_VIEW, RowExclusiveLock);
}

typedef struct CountContext
{
	Oid			base;
	int			n;
} CountContext;

static bool
count_reads(Node *node, void *arg)
{
	CountContext *context = arg;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && rte->relid == context->base)
			context->n++;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, count_reads, arg,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, count_reads, arg);
}

/*
 * Does the view commute with changes of this base table?  On_statement a transaction can come
 * with one base table now and another one later, and meet one who has done so
 * too: there only views of one base table do.
 */
static bool
is_commuting(const Kept *kept, Oid base)
{
	CountContext context = {.base = base};

	if (!kept->is_linear ||
		(kept->tracked->live == MVR_LIVE_STATEMENT &&
		 list_length(kept->tracked->sources) > 1))
		return false;
	(void) count_reads((Node *) kept->stage->input, &context);
	return context.n == 1;
}

/*
 * The base table whose pending changes can be applied beside others, or
 * InvalidOid: then the view must be locked alone.
 */
static Oid
lookup_beside(const Kept *kept)
{
	Oid			base;
	int64		nrows;

	if (!kept->is_valid || kept->tracked == NULL ||
		kept->tracked->live == MVR_LIVE_NOT || kept->fault ||
		mvr_pending_count(kept->view, &base, &nrows) != 1 || !OidIsValid(base) ||
		nrows > MANY_CHANGES || !is_commuting(kept, base))
		return InvalidOid;
	return base;
}

/* Let go of the states of inner stages that were locked when these were kept */
static void
unlock_states(const Kept *kept)
{
	if (kept->tracked == NULL || kept->fault)
		return;
	foreach_ptr(MvrStage, stage, kept->stage->inner)
		UnlockRelationOid(stage->state, RowExclusiveLock);
}

/*
 * Lock the view, beside others or alone, before anything that it is maintained
 * with is locked: who recomputes it drops its states, and must not wait for one
 * who waits for him.  Returns what is kept of it, and the base table beside
 * whose writers we are, or InvalidOid if alone.
 */
static Kept *
lock_view(Relation view, Oid *base)
{
	Kept	   *kept = get_entry(RelationGetRelid(view));

	if (!kept->is_valid)
	{
		kept = get_kept(view);
		unlock_states(kept);
	}
	*base = lookup_beside(kept);
	if (OidIsValid(*base))
		lock_beside(kept, *base);
	else
		lock_alone(kept->view);
	AcceptInvalidationMessages();
	if (OidIsValid(*base) && lookup_beside(kept) != *base)
	{
		/* while we waited */
		unlock_beside(kept, *base);
		lock_alone(kept->view);
		*base = InvalidOid;
	}
	return get_kept(view);
}

/* ----------
 * Applying
 * ----------
 */

static List *
take_deltas(const Kept *kept)
{
	List	   *deltas = NIL;

	foreach_ptr(MvrSource, source, kept->tracked->sources)
	{
		Relation	base = table_open(source->base, NoLock);
		MvrDelta   *delta = mvr_change_log_take_pending(base, source, kept->view);

		table_close(base, NoLock);
		if (delta->nrows > 0)
			deltas = lappend(deltas, delta);
		else
			mvr_change_log_end_read(list_make1(delta));
	}
	return deltas;
}

static bool
has_xact_snapshot(const Kept *kept)
{
	return IsolationUsesXactSnapshot() && kept->tracked->live == MVR_LIVE_STATEMENT;
}

/*
 * Beside others, as is locked already.  False if there was too much to lock:
 * then nothing has been written.  Sets the reason to recompute, if there is one.
 */
static bool
apply_beside(Kept *kept, MvrApply *apply, List *deltas, char **reason)
{
	MvrKeyLock	lock;
	bool		is_latest = kept->tracked->live == MVR_LIVE_COMMIT;

	mvr_key_lock_begin(&lock, kept->view, is_latest);
	apply->lock = &lock;
	mvr_key_lock_push_snapshot(is_latest);
	*reason = mvr_apply_deltas(apply, deltas);
	PopActiveSnapshot();
	if (lock.is_full)
		unlock_beside(kept, ((MvrDelta *) linitial(deltas))->base);
	return !lock.is_full;
}

/* Raise 40001 if the view was written by somebody whom the snapshot does not see */
static void
check_written(const Kept *kept)
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
identify_rows(const Kept *kept, List *deltas)
{
	foreach_ptr(MvrDelta, delta, deltas)
	{
		Relation	base = table_open(delta->base, NoLock);

		mvr_identify_prepare(base, kept->stage, delta);
		table_close(base, NoLock);
	}
}

/* Alone, as is locked.  Returns the reason to recompute, or NULL. */
static char *
apply_alone(Kept *kept, MvrApply *apply, List *deltas, bool is_commuting)
{
	char	   *reason = NULL;

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

/*
 * Apply what is pending, beside those who have written this base table, or alone.
 * Returns the reason to recompute, or NULL.
 */
static char *
apply_pending(Kept *kept, Relation view, Oid beside)
{
	List	   *deltas = take_deltas(kept);
	MvrApply	apply = {.view = view, .stage = kept->stage};
	char	   *reason = NULL;
	bool		commutes;

	if (deltas == NIL)
		return NULL;
	mvr_run_query_check_rights(kept->stage->query);
	commutes = list_length(deltas) == 1 &&
		is_commuting(kept, ((MvrDelta *) linitial(deltas))->base);
	apply.must_serialize = commutes && has_xact_snapshot(kept);
	if (!OidIsValid(beside) || !apply_beside(kept, &apply, deltas, &reason))
	{
		lock_alone(kept->view);
		reason = apply_alone(kept, &apply, deltas, commutes);
	}
	mvr_change_log_end_read(deltas);
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

/* Why the view must be recomputed, or NULL */
static char *
find_live_reason(Kept *kept, Relation view, Oid beside)
{
	if (kept->tracked == NULL || kept->tracked->live == MVR_LIVE_NOT)
		return NULL;
	if (kept->fault)
		return pstrdup(kept->fault);
	if (mvr_pending_is_marked(kept->view))
		return "rows do not tell what has happened to a base table";
	return apply_pending(kept, view, beside);
}

/* Returns the reason if the view must be recomputed */
static char *
try_maintain(Relation view)
{
	Oid			userid;
	int			context;
	int			level = mvr_view_become_owner(view, &userid, &context);
	Oid			beside;
	Kept	   *kept = lock_view(view, &beside);
	char	   *reason;

	CommandCounterIncrement();
	reason = find_live_reason(kept, view, beside);
	if (reason)
		lock_alone(kept->view);
	mvr_view_become_again(level, userid, context);
	return reason;
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
	/* at commit there is none, and functions and catalogs want one */
	PushActiveSnapshot(GetTransactionSnapshot());
	reason = try_maintain(view);
	if (reason)
		mvr_refresh_live(oid, at_commit, reason);
	PopActiveSnapshot();
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
	Kept	   *kept = get_entry(view);

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

static void
maintain_views(bool at_commit)
{
	Oid			view;

	if (is_running)
		return;
	is_running = true;
	PG_TRY();
	{
		while (OidIsValid(view = mvr_pending_next_view(at_commit, is_before)))
			maintain_view(view, at_commit);
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

static void
before_commit(XactEvent event, pg_attribute_unused() void *arg)
{
	if ((event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) &&
		mvr_pending_is_any())
		maintain_views(true);
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
	List	   *bases = NIL;

	foreach_ptr(MvrSource, source, tracked->sources)
		bases = lappend_oid(bases, source->base);
	mvr_pending_mark(tracked->view, tracked->live, bases);
}

/* Has this transaction done more to a base table than to write rows? */
static bool
has_altered_base(const MvrTracked *tracked)
{
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Relation	base;
		bool		result;

		/* if somebody else has altered it, then not we */
		if (!ConditionalLockRelationOid(source->base, AccessShareLock))
			continue;
		base = try_table_open(source->base, NoLock);
		result = base && CheckRelationLockedByMe(base, ShareUpdateExclusiveLock, true);
		if (base)
			table_close(base, NoLock);
		UnlockRelationOid(source->base, AccessShareLock);
		if (result)
			return true;
	}
	return false;
}

/*
 * Has a live view a fault?  If somebody else has it locked we wait, since what
 * he has put there is from before our command; but not after a command on tables
 * that are none of its base tables.
 */
static bool
has_fault(const MvrTracked *tracked, bool is_of_tables)
{
	Oid			view = tracked->view;
	Relation	rel;
	Oid			userid;
	int			context;
	int			level;
	bool		result;

	if (!ConditionalLockRelationOid(view, AccessShareLock))
	{
		if (is_of_tables && !has_altered_base(tracked))
			return false;
		LockRelationOid(view, AccessShareLock);
	}
	rel = try_relation_open(view, NoLock);
	if (rel == NULL)
		return false;
	level = mvr_view_become_owner(rel, &userid, &context);
	result = get_kept(rel)->fault != NULL;
	mvr_view_become_again(level, userid, context);
	relation_close(rel, NoLock);
	return result;
}

/*
 * A command has changed tables by other means than rows.  Live views that do
 * not fit any more are recomputed by this transaction.
 */
void
mvr_in_transaction_check(bool is_of_tables)
{
	foreach_ptr(MvrTracked, tracked, mvr_catalog_list_live())
	{
		if (has_fault(tracked, is_of_tables))
			mark_live(tracked);
	}
	if (mvr_pending_is_any())
		maintain_views(false);
}

/* REFRESH MATERIALIZED VIEW has written a view, from a snapshot of its own */
void
mvr_in_transaction_note_refresh(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	if (tracked == NULL || tracked->live == MVR_LIVE_NOT)
		return;
	mark_live(tracked);
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
			errhint("Use on_change, which refreshes as soon as a change is committed."));
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

/* Raise 0A000 if a view cannot be maintained in this way */
static void
check_can_live(Relation view, char live)
{
	Oid			userid;
	int			context;
	int			level = mvr_view_become_owner(view, &userid, &context);
	MvrStage   *stage = mvr_analyze_view(view);

	mvr_view_become_again(level, userid, context);
	if (stage->strategy == MVR_RECOMPUTE)
		raise_refusal(view, live, stage->reason);
	if (stage->reads_settings)
		raise_refusal(view, live, "its result depends on settings of the session, such as TimeZone");
	foreach_ptr(MvrUse, use, stage->uses)
	{
		Relation	base = table_open(use->base, NoLock);

		if (live == MVR_LIVE_STATEMENT && !mvr_capture_sees_statements(base))
			raise_refusal(view, live, psprintf("\"%s\" is also written through a parent, or by a subscription, and no statement trigger of it tells",
											   get_rel_name(use->base)));
		table_close(base, NoLock);
	}
}

/* Keep out all who write what a view reads, then bring it up to date */
static MvrTracked *
refresh_alone(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	foreach_ptr(MvrSource, source, tracked ? tracked->sources : NIL)
	{
		Relation	base = table_open(source->base, AccessShareLock);

		mvr_capture_lock(base);
		table_close(base, NoLock);
	}
	mvr_refresh_incremental_view(view);
	return mvr_catalog_lookup_view(view);
}

static void
set_live(Oid view, char live)
{
	MvrTracked *tracked = refresh_alone(view);

	if (tracked == NULL || !tracked->frontier.valid)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_IN_USE),
				errmsg("could not bring materialized view \"%s\" up to date",
					   get_rel_name(view)),
				errdetail("A statement that writes one of its base tables is still running."),
				errhint("Call it in a transaction of its own."));
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	mvr_track_set_live(tracked, live);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/*
 * Make a view live, if it is not.  The first refresh, which may take long, is
 * before writers are kept out; the second brings what has come meanwhile.
 */
void
mvr_in_transaction_start(Oid view, char live)
{
	Relation	rel = mvr_view_open(view, ExclusiveLock);
	MvrTracked *tracked = mvr_catalog_lookup_view(view);

	if (tracked && tracked->live == live)
	{
		relation_close(rel, NoLock);
		return;
	}
	check_isolation();
	check_can_live(rel, live);
	relation_close(rel, NoLock);
	mvr_refresh_incremental_view(view);
	set_live(view, live);
}

/* End that: from here on changes go to the change logs again */
void
mvr_in_transaction_stop(Oid view)
{
	MvrTracked *tracked;

	relation_close(mvr_view_open(view, AccessShareLock), NoLock);
	tracked = mvr_catalog_lookup_view(view);
	if (tracked == NULL || tracked->live == MVR_LIVE_NOT)
		return;
	check_isolation();
	/* what it reads can have become something else, which is tracked by this */
	mvr_refresh_incremental_view(view);
	set_live(view, MVR_LIVE_NOT);
}
