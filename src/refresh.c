/*
 * refresh.c
 *		The one entry: lock, look, choose, run, record.
 *
 * A refresh is
 *	1. lock the view (no second refresh; readers go on), and the tracked views
 *	   that it stands on, which are refreshed before it
 *	2. as its owner, analyze its query, which locks the base tables
 *	3. if it is to be tracked and is not (rightly), arm capture
 *	4. take the snapshot that everything is read with
 *	5. find out what can be done: nothing, apply the changes, recompute
 *	6. do it
 *	7. store the frontier, trim the change logs, write the history
 *
 * The order of 1 to 4 is what makes it right: the snapshot is newer than the
 * last refresh, which has ended before we got the view's lock, and newer than
 * the arming of capture, which has waited for all writers.  A REPEATABLE READ
 * or SERIALIZABLE transaction has its snapshot already: if that does not see
 * the last refresh the caller gets a serialization failure, and it never
 * stores the first frontier of a view (see can_store_frontier).
 *
 * A live view is right without all this, but for what the caller's transaction
 * has not given it yet (pending.c): that is what a refresh applies.
 *
 * Locks: ExclusiveLock on the view (AccessExclusiveLock for refresh_full),
 * AccessShareLock on its base tables (before that, if the view is live), and
 * ShareUpdateExclusiveLock on the change logs if the view has no frontier, so that
 * nobody trims what it does not know to be wanted.  All are kept until the end of
 * the transaction.  Arming takes ShareRowExclusiveLock on base tables that are not
 * captured yet.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

/* auto: up to so many rows that a diff has written, diffs go on */
#define DIFF_FRACTION	0.1		/* of the view */
#define DIFF_ROWS		1000

typedef enum RefreshMode
{
	REFRESH_AUTO,
	REFRESH_FULL,
	REFRESH_CONCURRENT,
	REFRESH_INCREMENTAL,
	REFRESH_DIFF
} RefreshMode;

typedef struct Refresh
{
	RefreshMode requested;
	Oid			view_oid;
	int			depth;			/* among several: see mvr_chain_list_read */
	Relation	view;
	MvrStage   *stage;
	MvrTracked *tracked;		/* NULL if not tracked */
	bool		may_store;		/* a frontier may be stored at the end */
	bool		is_maintenance; /* a live view, by whoever has written a base table */
	bool		is_latest;		/* of that: with what is committed now */
	bool		in_place;		/* auto: no files may be exchanged */
	bool		has_trimmed;	/* the change logs, for this frontier */
	List	   *deltas;
	int64		nread;			/* log rows consumed, before netting */

	/* for the result row and the history */
	const char *mode;
	char	   *reason;
	int64		inserted;
	int64		updated;
	int64		deleted;
	int64		changes;
	TimestampTz started;
} Refresh;

PG_FUNCTION_INFO_V1(mvr_refresh);
PG_FUNCTION_INFO_V1(mvr_refresh_full);
PG_FUNCTION_INFO_V1(mvr_refresh_concurrent);
PG_FUNCTION_INFO_V1(mvr_refresh_incremental);

/* ----------
 * What can be done
 * ----------
 */

static bool
is_live(const Refresh *refresh)
{
	return refresh->tracked && refresh->tracked->live != MVR_LIVE_NOT;
}

static List *
list_bases(const Refresh *refresh)
{
	List	   *bases = NIL;

	foreach_ptr(MvrSource, source, refresh->tracked->sources)
		bases = lappend_oid(bases, source->base);
	return bases;
}

/* Is a statement in flight whose end will bring a live view up to date? */
static bool
is_in_flight(const Refresh *refresh)
{
	return is_live(refresh) && mvr_pending_is_in_flight(list_bases(refresh));
}

/* Is this called from a trigger, and can foreign keys have written a relation? */
static bool
may_have_actions(Relation rel)
{
	ListCell   *lc;

	if (DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) == 0)
		return false;
	foreach(lc, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *key = lfirst(lc);
		HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(key->conoid));
		Form_pg_constraint form;
		bool		has_action;

		if (!HeapTupleIsValid(tuple))
			continue;
		form = (Form_pg_constraint) GETSTRUCT(tuple);
		has_action = strchr("cnd", form->confupdtype) || strchr("cnd", form->confdeltype);
		ReleaseSysCache(tuple);
		if (has_action)
			return true;
	}
	return false;
}

/*
 * Is a statement of this session in the midst of writing a relation?  It is
 * open then.  What an action of a foreign key writes is not open any more when
 * triggers fire, and those of that relation fire last.
 */
static bool
is_being_written(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	bool		result = (rel->rd_refcnt > 1 || may_have_actions(rel)) &&
		CheckRelationLockedByMe(rel, RowExclusiveLock, true);

	table_close(rel, NoLock);
	return result;
}

/* The transaction that has written a relation's pg_class row */
static TransactionId
get_relation_xmin(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	TransactionId xmin;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	ReleaseSysCache(tuple);
	return xmin;
}

/*
 * Was a relation's pg_class row written by a transaction that the active
 * snapshot does not see?  A rebuild or TRUNCATE does so, and leaves rows, or
 * none, for every snapshot.  So do some other commands; then there is a
 * serialization failure, or a recomputation, without need.
 */
static bool
is_relation_newer(Oid relid)
{
	TransactionId xmin = get_relation_xmin(relid);

	return TransactionIdIsNormal(xmin) && !TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetActiveSnapshot());
}

/*
 * A refresh called by a statement that is writing a base table sees rows whose
 * triggers have not fired yet.  So it recomputes, and leaves no frontier.  A
 * base table that was truncated after the snapshot was taken looks empty in it,
 * and that is in no change log that the snapshot sees.
 */
static char *
find_base_fault(Refresh *refresh)
{
	foreach_ptr(MvrSource, source, refresh->tracked->sources)
	{
		List	   *members = list_make1_oid(source->base);
		ListCell   *lc;

		if (has_subclass(source->base))
			members = find_all_inheritors(source->base, AccessShareLock, NULL);
		foreach(lc, members)
		{
			Oid			member = lfirst_oid(lc);

			/* what a view below holds is written before this one is refreshed */
			if (get_rel_relkind(member) == RELKIND_MATVIEW)
				continue;
			refresh->may_store = false;
			if (is_being_written(member))
				return psprintf("a statement that writes \"%s\" is still running",
								get_rel_name(member));
			if (IsolationUsesXactSnapshot() && is_relation_newer(member))
				return psprintf("\"%s\" was rewritten after the transaction took its snapshot",
								get_rel_name(member));
			refresh->may_store = true;
		}
	}
	return NULL;
}

/* The same, of a refresh that may have been denied a frontier before */
static char *
check_bases(Refresh *refresh)
{
	bool		may_store = refresh->may_store;
	char	   *reason = is_live(refresh) ? NULL : find_base_fault(refresh);

	refresh->may_store &= may_store;
	return reason;
}

/*
 * Has this transaction itself written new files for a base table, or may have?
 * What TRUNCATE took away it need not have seen.
 */
static bool
has_rewritten_base(MvrTracked *tracked)
{
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		List	   *members = list_make1_oid(source->base);
		ListCell   *lc;

		if (has_subclass(source->base))
			members = find_all_inheritors(source->base, AccessShareLock, NULL);
		foreach(lc, members)
			if (TransactionIdIsCurrentTransactionId(get_relation_xmin(lfirst_oid(lc))))
				return true;
	}
	return false;
}

/*
 * A transaction with an old snapshot must not store a view's first frontier:
 * capture may have been armed after that snapshot, and what was written in
 * between would be in neither the contents nor the log.  Nor after a TRUNCATE
 * of its own: rows that it has not seen are gone and still in the log.  A live
 * view that has to be recomputed may come back to changes, which then start
 * from one that is known to be right.
 */
static bool
can_store_frontier(Refresh *refresh)
{
	if (refresh->tracked == NULL || refresh->stage->strategy == MVR_RECOMPUTE)
		return false;
	return !IsolationUsesXactSnapshot() || is_live(refresh) ||
		(refresh->tracked->frontier.valid && !has_rewritten_base(refresh->tracked));
}

static void
raise_serialization_failure(Refresh *refresh)
{
	ereport(ERROR,
			errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			errmsg("could not serialize access to materialized view \"%s\"",
				   RelationGetRelationName(refresh->view)),
			errdetail("It was refreshed after this transaction took its snapshot."),
			errhint("The transaction might succeed if retried."));
}

/*
 * A snapshot taken before the last refresh knows less than the view.  Without
 * a frontier to ask, ask the view's files and rows.
 */
static void
check_snapshot(Refresh *refresh)
{
	MvrTracked *tracked = refresh->tracked;

	if (!IsolationUsesXactSnapshot() || refresh->is_latest)
		return;
	if (is_live(refresh) && !mvr_frontier_is_now())
		raise_serialization_failure(refresh);
	if (tracked && tracked->frontier.valid &&
		!mvr_frontier_is_visible(&tracked->frontier))
		raise_serialization_failure(refresh);
	if (RelationIsPopulated(refresh->view) &&
		(tracked == NULL || !tracked->frontier.valid ||
		 tracked->file != mvr_view_get_file(tracked->view)) &&
		(is_relation_newer(RelationGetRelid(refresh->view)) ||
		 !mvr_diff_is_current(refresh->view)))
		raise_serialization_failure(refresh);
}

/* Why the changes cannot be applied to what the view holds, or NULL */
static char *
find_contents_fault(Refresh *refresh)
{
	MvrTracked *tracked = refresh->tracked;
	char	   *reason = check_bases(refresh);

	if (reason)
		return reason;
	if (mvr_pending_is_marked(tracked->view))
		return "a base table was truncated";
	if (!tracked->frontier.valid)
		return refresh->reason ? refresh->reason :
			"what the view has consumed is not known";

	/*
	 * Looked at before the snapshot and again behind it: what was switched off
	 * in between, and written then, could be in the snapshot but in no log.
	 */
	reason = mvr_track_find_fault(refresh->stage, tracked);
	if (reason)
		return reason;
	if (tracked->file != mvr_view_get_file(tracked->view))
		return "the contents were written by another command";
	return unconstify(char *, mvr_apply_find_fault(refresh->view, refresh->stage, tracked));
}

/* Read what is new to the view; returns a reason if that does not tell all */
static char *
read_deltas(Refresh *refresh)
{
	char	   *reason = NULL;
	bool		in_place = mvr_delta_query_reads_once(refresh->stage);

	foreach_ptr(MvrSource, source, refresh->tracked->sources)
	{
		Relation	base = table_open(source->base, NoLock);
		bool		marked = false;
		MvrDelta   *delta = is_live(refresh) ?
			mvr_pending_take(base, source, refresh->view_oid, in_place) :
			mvr_log_delta_read(base, source, &refresh->tracked->frontier, in_place, &marked);

		if (delta->nrows > 0 && !marked)
			mvr_identify_prepare(base, refresh->stage, delta);
		table_close(base, NoLock);
		refresh->changes += delta->nrows;
		refresh->nread += delta->nread;
		if (delta->nrows > 0)
			refresh->deltas = lappend(refresh->deltas, delta);
		else
			mvr_delta_end(list_make1(delta));
		if (marked && reason == NULL)
			reason = psprintf("\"%s\" was truncated, or could be written unseen",
							  get_rel_name(source->base));
	}
	return reason;
}

/* ----------
 * What the change logs need not hold any more
 * ----------
 */

/* Let a view that holds back too much of a log lose its frontier */
static void
expel_view(Oid view, Oid log)
{
	MvrTracked *tracked;

	/* its own refresh is running: let it */
	if (!ConditionalLockRelationOid(view, ExclusiveLock))
		return;
	tracked = mvr_catalog_lookup_view(view);
	/* what a live view has consumed is not told by its frontier */
	if (tracked == NULL || tracked->live != MVR_LIVE_NOT || !tracked->frontier.valid ||
		mvr_change_log_measure(log, &tracked->frontier) <= (int64) mvr_max_log_size * 1024)
		return;
	tracked->frontier.valid = false;
	mvr_catalog_store_view(tracked, false);
}

static bool
is_log_too_large(Oid log)
{
	Relation	rel = table_open(log, AccessShareLock);
	uint64		kilobytes = (uint64) RelationGetNumberOfBlocks(rel) * (BLCKSZ / 1024);

	table_close(rel, NoLock);
	return mvr_max_log_size >= 0 && kilobytes > (uint64) mvr_max_log_size;
}

static void
store_frontier(Refresh *refresh)
{
	MvrTracked *tracked = refresh->tracked;

	tracked->frontier = mvr_frontier_here();
	tracked->frontier.valid = refresh->may_store;
	tracked->file = mvr_view_get_file(tracked->view);
	mvr_catalog_store_view(tracked, false);
	CommandCounterIncrement();
}

/*
 * Trim the logs of what all views that read them have consumed, this one
 * included: its frontier is stored first.
 */
static void
trim_logs(Refresh *refresh)
{
	if (refresh->tracked == NULL || refresh->has_trimmed)
		return;
	refresh->has_trimmed = true;
	store_frontier(refresh);
	if (is_live(refresh))
		return;
	foreach_ptr(MvrSource, source, refresh->tracked->sources)
	{
		ListCell   *lc;

		if (is_log_too_large(source->log))
		{
			foreach(lc, mvr_catalog_list_views(source->base))
				if (lfirst_oid(lc) != refresh->tracked->view)
					expel_view(lfirst_oid(lc), source->log);
			CommandCounterIncrement();
		}
		mvr_change_log_trim(source->base);
	}
}

/* ----------
 * Doing it
 * ----------
 */

static void
add_counts(Refresh *refresh, MvrHeap *view)
{
	refresh->inserted += view->inserted;
	refresh->updated += view->updated;
	refresh->deleted += view->deleted;
}

static void
renew_all(void *arg)
{
	Refresh    *refresh = arg;

	mvr_inner_renew(refresh->view, refresh->stage, refresh->tracked,
					refresh->stage->strategy == MVR_GROUPS &&
					!OidIsValid(mvr_apply_lookup_row_index(refresh->view, refresh->stage)));
}

/*
 * The view's query may not compute what a stage does, because a CASE around it
 * says so, and that may fail.  Then the view is recomputed by its query, this time
 * and as long as that is so.
 */
static void
give_up_states(Refresh *refresh, const char *error)
{
	foreach_ptr(MvrStage, inner, refresh->stage->inner)
		inner->state = InvalidOid;
	refresh->stage->state = InvalidOid;
	refresh->tracked = mvr_catalog_lookup_view(refresh->view_oid);
	refresh->may_store = false;
	refresh->reason = psprintf("the state of a stage could not be computed: %s", error);
}

/*
 * New states for the stages of a tracked view.  Returns that of the view's own,
 * still empty; or NULL if it needs none.
 */
static MvrHeap *
renew_states(Refresh *refresh)
{
	char	   *error = NULL;

	if (refresh->tracked == NULL)
		return NULL;
	if (refresh->stage->inner == NIL)
		renew_all(refresh);
	else
		error = mvr_apply_try(renew_all, refresh);
	if (error)
		give_up_states(refresh, error);
	if (!OidIsValid(refresh->stage->state))
		return NULL;
	return mvr_heap_open(refresh->stage->state, RowExclusiveLock);
}

/* Close the state after it was filled, and index it */
static void
finish_state(Refresh *refresh, MvrHeap *state)
{
	if (state == NULL)
		return;
	mvr_heap_close(state);
	CommandCounterIncrement();
	mvr_heap_create_state_indexes(refresh->stage->state, 0, NIL);
}

/*
 * See that rows of a tracked view by rows can be found next time.  Returns the
 * index made for that, if there was none.
 */
static Oid
ensure_row_index(Refresh *refresh, bool skip_build)
{
	if (refresh->tracked == NULL || refresh->stage->strategy != MVR_ROWS ||
		OidIsValid(mvr_apply_lookup_row_index(refresh->view, refresh->stage)))
		return InvalidOid;
	/*
	 * Others who write what the view reads may have opened it, and wait for us with
	 * RowExclusiveLock on it.  Then one who comes later makes the index.
	 */
	if (refresh->is_maintenance && !ConditionalLockRelation(refresh->view, ShareLock))
		return InvalidOid;
	return mvr_heap_create_row_index(refresh->view, skip_build);
}

static void
run_diff(Refresh *refresh)
{
	MvrHeap    *state;
	MvrHeap    *view;

	refresh->mode = "diff";
	mvr_progress_set_phase(MVR_PHASE_COMPARE);
	CommandCounterIncrement();
	state = renew_states(refresh);
	view = mvr_heap_open(RelationGetRelid(refresh->view), RowExclusiveLock);
	mvr_diff_write(refresh->stage, view, state);
	add_counts(refresh, view);
	mvr_heap_close(view);
	finish_state(refresh, state);
	CommandCounterIncrement();
	ensure_row_index(refresh, false);
}

typedef struct RebuildContext
{
	MvrRebuild *rebuild;
	MvrHeap    *state;
	int64		nrows;
} RebuildContext;

static void
rebuild_row(TupleTableSlot *row, void *arg)
{
	RebuildContext *context = arg;

	mvr_rebuild_put(context->rebuild, row);
	context->nrows++;
}

static void
rebuild_group(TupleTableSlot *state, TupleTableSlot *row, void *arg)
{
	RebuildContext *context = arg;

	if (row)
	{
		rebuild_row(row, arg);
		state->tts_values[MVR_STATE_TID - 1] = PointerGetDatum(&row->tts_tid);
		state->tts_isnull[MVR_STATE_TID - 1] = false;
	}
	mvr_heap_insert(context->state, state);
}

/*
 * Fill a new heap and swap it in.  False if the swap's lock was never free.
 *
 * Readers wait from the swap to the end of the transaction, so all that takes
 * time comes before: the swap builds an index that is new along with the
 * others, and the change logs are trimmed already.
 */
static bool
run_rebuild(Refresh *refresh, bool wait)
{
	RebuildContext context = {0};
	Oid			new_index;

	mvr_progress_set_phase(MVR_PHASE_REBUILD);
	context.state = renew_states(refresh);
	context.rebuild = mvr_rebuild_begin(refresh->view);
	if (context.state)
		mvr_stage_run_groups(refresh->stage, rebuild_group, &context);
	else
		mvr_run_query(mvr_run_query_plan(mvr_delta_query_build_all(refresh->stage), true),
					  NULL, rebuild_row, &context);
	finish_state(refresh, context.state);
	new_index = ensure_row_index(refresh, true);
	trim_logs(refresh);
	mvr_progress_set_phase(MVR_PHASE_SWAP);
	if (!mvr_rebuild_swap(context.rebuild, wait))
	{
		mvr_rebuild_abandon(context.rebuild);
		if (OidIsValid(new_index))
			mvr_heap_build_row_index(new_index);
		return false;
	}
	refresh->mode = wait ? "full" : "concurrent";
	refresh->inserted = context.nrows;
	mvr_pending_mark_all(mvr_live_get_base(refresh->view_oid));
	CommandCounterIncrement();
	/* no rows tell the live views that stand on this one */
	mvr_pending_mark_all(mvr_live_get_base(RelationGetRelid(refresh->view)));
	return true;
}

static void
run_concurrent(Refresh *refresh)
{
	if (run_rebuild(refresh, false))
		return;
	refresh->reason = "readers held the view for longer than matview.swap_timeout";
	run_diff(refresh);
}

/* Recompute: beside old contents by differences, else from nothing */
static void
run_recompute(Refresh *refresh)
{
	if (RelationIsPopulated(refresh->view))
		run_diff(refresh);
	else
		run_rebuild(refresh, true);
}

/* Apply the deltas; the reason why the view must be recomputed, or NULL */
static char *
apply_deltas(Refresh *refresh)
{
	MvrApply	apply = {.view = refresh->view, .stage = refresh->stage};
	char	   *reason = mvr_apply_deltas(&apply, refresh->deltas);

	refresh->inserted += apply.inserted;
	refresh->updated += apply.updated;
	refresh->deleted += apply.deleted;
	/* of rows that have been read where they stand we know only now how many */
	refresh->changes = 0;
	foreach_ptr(MvrDelta, delta, refresh->deltas)
		refresh->changes += delta->nrows;
	return reason;
}

/* Apply the changes, unless something speaks against it: then that is the reason */
static void
run_incremental(Refresh *refresh)
{
	char	   *reason;

	if (is_in_flight(refresh))
	{
		refresh->mode = "none";
		return;
	}
	reason = find_contents_fault(refresh);
	mvr_progress_set_phase(MVR_PHASE_READ);
	if (reason == NULL)
		reason = read_deltas(refresh);
	if (reason)
	{
		refresh->reason = reason;
		run_recompute(refresh);
		return;
	}
	if (refresh->changes == 0)
	{
		refresh->mode = "none";
		return;
	}
	refresh->reason = mvr_estimate_find_flood(refresh->stage, refresh->deltas);
	if (refresh->reason)
	{
		run_diff(refresh);
		return;
	}
	mvr_inner_set_states(refresh->stage, refresh->tracked, RowExclusiveLock);
	if (refresh->requested == REFRESH_AUTO && mvr_estimate_is_rebuild_cheaper(refresh->stage, refresh->deltas))
	{
		refresh->reason = "applying the changes would cost more than a rebuild";
		if (refresh->in_place)
			run_diff(refresh);
		else
			run_concurrent(refresh);
		return;
	}
	refresh->mode = "incremental";
	mvr_progress_set_phase(MVR_PHASE_APPLY);
	refresh->reason = apply_deltas(refresh);
	if (refresh->reason)
		run_diff(refresh);
	else if (refresh->changes == 0)
		refresh->mode = "none";
}

/*
 * A view that is not tracked, or cannot be: compare, or rebuild?
 *
 * The query runs in any case, and both take about the same time.  A comparison
 * writes the rows that differ, and leaves alone the files, and the plans of
 * those who read them; many rows are faster written anew.  It is compared
 * first, and then as long as that finds few: once it does not the view is
 * rebuilt until the history has forgotten it.
 */
static void
run_unmaintained(Refresh *refresh)
{
	int64		written = mvr_catalog_lookup_last_diff(RelationGetRelid(refresh->view));
	BlockNumber npages;
	double		nrows;
	double		visible;

	estimate_rel_size(refresh->view, NULL, &npages, &nrows, &visible);
	if (refresh->in_place ||
		(mvr_history_limit > 0 && written <= Max(nrows * DIFF_FRACTION, DIFF_ROWS)))
		run_diff(refresh);
	else
		run_concurrent(refresh);
}

static void
run_strategy(Refresh *refresh)
{
	bool		is_populated = RelationIsPopulated(refresh->view);

	if (!is_populated && refresh->reason == NULL)
		refresh->reason = "the view was not populated";
	/* the policy that a restore has brought waits for this */
	if (!is_populated)
		mvr_wake_note_policies();
	/* what only looks for changes does this itself */
	if (refresh->tracked && (!is_populated || refresh->requested == REFRESH_FULL ||
							 refresh->requested == REFRESH_CONCURRENT ||
							 refresh->requested == REFRESH_DIFF))
		(void) check_bases(refresh);
	switch (refresh->requested)
	{
		case REFRESH_FULL:
			run_rebuild(refresh, true);
			break;
		case REFRESH_CONCURRENT:
			run_concurrent(refresh);
			break;
		case REFRESH_DIFF:
			run_recompute(refresh);
			break;
		case REFRESH_AUTO:
			if (!is_populated)
				run_concurrent(refresh);
			else if (refresh->tracked == NULL)
				run_unmaintained(refresh);
			else
				run_incremental(refresh);
			break;
		case REFRESH_INCREMENTAL:
			if (refresh->tracked == NULL || !is_populated)
				run_recompute(refresh);
			else
				run_incremental(refresh);
			break;
	}
}

/* ----------
 * Recording it
 * ----------
 */

/*
 * A live view has consumed what was pending.  Rows of a statement in flight it
 * may have consumed too, and will be given them: it is recomputed once more then.
 */
static void
consume_pending(Refresh *refresh)
{
	if (!is_live(refresh))
		return;
	mvr_pending_forget(refresh->view_oid);
	if (is_in_flight(refresh))
		mvr_pending_mark(refresh->view_oid, refresh->tracked->live, list_bases(refresh));
}

static void
record_refresh(Refresh *refresh)
{
	bool		is_none = strcmp(refresh->mode, "none") == 0;

	/* changes that came to nothing are consumed all the same */
	if (is_none && refresh->nread == 0)
		return;
	mvr_progress_set_phase(MVR_PHASE_RECORD);
	consume_pending(refresh);
	if (refresh->has_trimmed)
		store_frontier(refresh);
	trim_logs(refresh);
	if (!is_none)
		mvr_wake_note_captured(RelationGetRelid(refresh->view));
	if (!is_none)
		mvr_catalog_append_history(RelationGetRelid(refresh->view), refresh->mode,
								   refresh->reason, refresh->inserted,
								   refresh->updated, refresh->deleted,
								   refresh->changes, refresh->started);
}

/* ----------
 * The entry
 * ----------
 */

/* Steps 2 and 3, as the view's owner */
static void
prepare_refresh(Refresh *refresh)
{
	char	   *fault;
	Oid			userid;
	int			context;
	int			level = mvr_live_become_owner(refresh->view, &userid, &context);

	refresh->stage = mvr_analyze_view(refresh->view);
	mvr_run_query_check_rights(refresh->stage->query);
	fault = mvr_track_ensure(refresh->view, refresh->stage, &refresh->tracked,
							 refresh->requested == REFRESH_INCREMENTAL,
							 refresh->is_maintenance ? GetUserId() : userid);
	if (fault)
		refresh->reason = fault;
	refresh->may_store = can_store_frontier(refresh);
	mvr_view_become_again(level, userid, context);
}

/* Steps 5 to 7, as the view's owner; the active snapshot is set */
static void
execute_refresh(Refresh *refresh)
{
	Oid			userid;
	int			context;
	int			level = mvr_live_become_owner(refresh->view, &userid, &context);

	check_snapshot(refresh);
	run_strategy(refresh);
	mvr_delta_end(refresh->deltas);
	record_refresh(refresh);
	mvr_view_become_again(level, userid, context);
}

static int
compare_turns(const ListCell *a, const ListCell *b)
{
	Oid			left = ((Refresh *) lfirst(a))->view_oid;
	Oid			right = ((Refresh *) lfirst(b))->view_oid;
	int			diff = ((Refresh *) lfirst(a))->depth - ((Refresh *) lfirst(b))->depth;

	return diff != 0 ? diff : left < right ? -1 : left > right ? 1 : 0;
}

/*
 * Somebody may have locked a base table of these views as a whole, by TRUNCATE say,
 * and want a live one among them next, to maintain it.  So what they read is locked
 * before it is, in the order in which those who maintain views lock it; and what live
 * views read that stand on them, and that this transaction will maintain.
 */
static void
lock_live_sources(List *refreshes)
{
	List	   *tables = NIL;
	List	   *views = NIL;
	bool		has_live = false;
	ListCell   *lc;

	foreach_ptr(Refresh, refresh, refreshes)
	{
		MvrTracked *tracked = mvr_catalog_lookup_view(refresh->view_oid);

		if (tracked == NULL)
			continue;
		mvr_view_check(refresh->view_oid);
		has_live |= tracked->live != MVR_LIVE_NOT;
		views = lappend_oid(views, refresh->view_oid);
		foreach_ptr(MvrSource, source, tracked->sources)
			if (get_rel_relkind(source->base) != RELKIND_MATVIEW)
				tables = list_append_unique_oid(tables, source->base);
	}
	views = mvr_live_list_bases_above(views);
	if (!has_live && views == NIL)
		return;
	foreach(lc, views)
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_MATVIEW)
			tables = list_append_unique_oid(tables, lfirst_oid(lc));
	list_sort(tables, list_oid_cmp);
	foreach(lc, tables)
		LockRelationOid(lfirst_oid(lc), AccessShareLock);
}

/* A source that is up to date already may be in use, by a cursor say */
static bool
is_fresh_in_use(const Refresh *refresh)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(refresh->view_oid);

	return refresh->view->rd_refcnt > 1 && tracked && tracked->live != MVR_LIVE_NOT &&
		!mvr_pending_is_any_of(refresh->view_oid);
}

/*
 * Lock the views to refresh, the last of which is the one that was asked for.  In
 * the order in which those who maintain live views lock them, so that neither these
 * nor two chains that share views can deadlock.
 * Returns them without those that need not be refreshed.
 */
static List *
open_views(List *refreshes)
{
	List	   *sorted = list_copy(refreshes);

	list_sort(sorted, compare_turns);
	foreach_ptr(Refresh, refresh, sorted)
	{
		refresh->view = mvr_view_open(refresh->view_oid, refresh->requested == REFRESH_FULL ?
									  AccessExclusiveLock : ExclusiveLock);
		if (refresh != llast(refreshes) && is_fresh_in_use(refresh))
		{
			relation_close(refresh->view, NoLock);
			refreshes = list_delete_ptr(refreshes, refresh);
		}
		else
			mvr_view_check_unused(refresh->view);
	}
	return refreshes;
}

/* The views that a view stands on, to be refreshed first, and the view itself */
static List *
list_refreshes(Refresh *refresh, bool with_sources)
{
	List	   *refreshes = NIL;
	ListCell   *lc;

	foreach(lc, with_sources ? mvr_chain_list(refresh->view_oid) : NIL)
	{
		Refresh    *source = palloc0(sizeof(Refresh));

		source->requested = REFRESH_INCREMENTAL;
		source->view_oid = lfirst_oid(lc);
		(void) mvr_chain_list_read(source->view_oid, &source->depth);
		source->started = refresh->started;
		refreshes = lappend(refreshes, source);
	}
	if (refreshes)
		(void) mvr_chain_list_read(refresh->view_oid, &refresh->depth);
	return lappend(refreshes, refresh);
}

/* Of several views, an error should tell which one it is about */
static void
name_view(void *arg)
{
	const Refresh *refresh = *(Refresh **) arg;

	if (!refresh->is_maintenance)
		errcontext("refresh of materialized view \"%s\"",
				   RelationGetRelationName(refresh->view));
}

/* Refresh views in this order, all with one snapshot, as they are locked now */
static void
run_refreshes(List *refreshes, bool is_latest)
{
	Refresh    *current;
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = name_view,
		.arg = &current
	};

	current = linitial(refreshes);
	error_context_stack = &callback;
	foreach_ptr(Refresh, one, refreshes)
	{
		current = one;
		prepare_refresh(one);
	}
	CommandCounterIncrement();
	mvr_key_lock_push_snapshot(is_latest);
	foreach_ptr(Refresh, one, refreshes)
	{
		current = one;
		mvr_progress_begin(one->view_oid);
		execute_refresh(one);
		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
		mvr_progress_end();
	}
	error_context_stack = callback.previous;
	PopActiveSnapshot();
	foreach_ptr(Refresh, one, refreshes)
		relation_close(one->view, NoLock);
	if (mvr_pending_statement_hook)
		mvr_pending_statement_hook();
}

/*
 * Refresh a view, and before it what it stands on, all with one snapshot.  Each
 * sees what those before it have written.
 */
static void
run_refresh(Refresh *refresh, bool with_sources, const char *command)
{
	List	   *refreshes;

	mvr_view_check_may_write(command);
	refresh->started = GetCurrentTimestamp();
	refreshes = list_refreshes(refresh, with_sources);
	mvr_progress_begin(refresh->view_oid);
	lock_live_sources(refreshes);
	run_refreshes(open_views(refreshes), false);
}

/*
 * For the background worker, and for REFRESH MATERIALIZED VIEW: the view alone.
 * "in_place" is for what REFRESH CONCURRENTLY promises: a transaction whose
 * snapshot is older still sees the old contents, as it does not once the files
 * have been exchanged.  Returns the mode that it came to.
 */
const char *
mvr_refresh_auto(Oid view, bool in_place)
{
	Refresh		refresh = {.requested = REFRESH_AUTO, .view_oid = view, .in_place = in_place};

	run_refresh(&refresh, false, "REFRESH MATERIALIZED VIEW");
	mvr_pending_apply();
	return refresh.mode;
}

/* As matview.refresh_incremental(): the view is tracked from here on */
void
mvr_refresh_incremental_view(Oid view)
{
	Refresh		refresh = {.requested = REFRESH_INCREMENTAL, .view_oid = view};

	run_refresh(&refresh, true, "matview.refresh()");
}

/*
 * Recompute a live view, whose changes cannot be applied, on behalf of one who
 * has written a base table and need have no right to the view.  Queries of this
 * session may be reading it: rows are written, no files exchanged.
 *
 * Caller has RowExclusiveLock on the view, which keeps out other refreshes, and
 * keeps out others who maintain it.
 */
void
mvr_refresh_live(Oid view, bool is_latest, char *reason)
{
	Refresh		refresh = {.requested = REFRESH_DIFF, .view_oid = view};

	refresh.is_maintenance = true;
	refresh.is_latest = is_latest;
	refresh.reason = reason;
	refresh.started = GetCurrentTimestamp();
	refresh.view = table_open(view, RowExclusiveLock);
	run_refreshes(list_make1(&refresh), is_latest);
}

static Datum
build_result(FunctionCallInfo fcinfo, Oid view, Refresh *refresh)
{
	Datum		values[7];
	bool		nulls[7] = {0};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = ObjectIdGetDatum(view);
	values[1] = CStringGetTextDatum(refresh->mode);
	values[2] = Int64GetDatum(refresh->inserted);
	values[3] = Int64GetDatum(refresh->updated);
	values[4] = Int64GetDatum(refresh->deleted);
	values[5] = Int64GetDatum(refresh->changes);
	values[6] = Float8GetDatum((GetCurrentTimestamp() - refresh->started) / 1000.0);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static Datum
refresh_by_mode(FunctionCallInfo fcinfo, RefreshMode mode, bool with_sources)
{
	Refresh		refresh = {.requested = mode};

	refresh.view_oid = mvr_view_get_argument(fcinfo);
	run_refresh(&refresh, with_sources, mvr_view_get_command(fcinfo));
	mvr_pending_apply();
	return build_result(fcinfo, refresh.view_oid, &refresh);
}

static RefreshMode
parse_mode(const char *text)
{
	static const struct
	{
		const char *name;
		RefreshMode mode;
	}			modes[] = {
		{"auto", REFRESH_AUTO},
		{"full", REFRESH_FULL},
		{"concurrent", REFRESH_CONCURRENT},
		{"incremental", REFRESH_INCREMENTAL},
		{"diff", REFRESH_DIFF}
	};

	for (int i = 0; i < (int) lengthof(modes); i++)
		if (pg_strcasecmp(text, modes[i].name) == 0)
			return modes[i].mode;
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("unrecognized refresh mode \"%s\"", text),
			errdetail("Modes are auto, full, concurrent, incremental and diff."),
			errhint("Leave the mode out for auto."));
	pg_unreachable();
}

/* SQL: matview.refresh(view, mode, with_sources) */
Datum
mvr_refresh(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("refresh mode must not be null"),
				errdetail("Modes are auto, full, concurrent, incremental and diff."),
				errhint("Leave the mode out for auto."));
	return refresh_by_mode(fcinfo, parse_mode(text_to_cstring(PG_GETARG_TEXT_PP(1))),
						   PG_ARGISNULL(2) || PG_GETARG_BOOL(2));
}

/* SQL: matview.refresh_full(view) */
Datum
mvr_refresh_full(PG_FUNCTION_ARGS)
{
	return refresh_by_mode(fcinfo, REFRESH_FULL, true);
}

/* SQL: matview.refresh_concurrent(view) */
Datum
mvr_refresh_concurrent(PG_FUNCTION_ARGS)
{
	return refresh_by_mode(fcinfo, REFRESH_CONCURRENT, true);
}

/* SQL: matview.refresh_incremental(view) */
Datum
mvr_refresh_incremental(PG_FUNCTION_ARGS)
{
	return refresh_by_mode(fcinfo, REFRESH_INCREMENTAL, true);
}
