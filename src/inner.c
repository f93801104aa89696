/*
 * inner.c
 *		The stages below a view's own: fill them, bring them up to date.
 *
 * A stage reads base tables and the states of stages before it, so they are
 * taken in order.  What one has written is seen by the next: the command
 * counter moves on, and the active snapshot with it.  The snapshot itself stays,
 * so all of them, and the view, see the base tables as of one moment.
 *
 * Locks: as stage.c; the view is held in ExclusiveLock.
 */
#include "postgres.h"

#include "storage/lmgr.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

/* Rows from which statistics on a state are worth their time */
#define ANALYZE_FROM	1000

/* Let the queries that follow see what has been written */
static void
show_writes(void)
{
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

/* Tell the stages where their states are, and lock those of inner ones */
void
mvr_inner_set_states(MvrStage *view, const MvrTracked *tracked, LOCKMODE lockmode)
{
	int			n = 0;

	foreach_ptr(MvrStage, stage, view->inner)
	{
		stage->state = list_nth_oid(tracked->states, n++);
		LockRelationOid(stage->state, lockmode);
	}
	view->state = mvr_inner_has_own_state(view, tracked) ?
		list_nth_oid(tracked->states, n) : InvalidOid;
}

/* Is there a state table of the view's own stage? */
bool
mvr_inner_has_own_state(const MvrStage *view, const MvrTracked *tracked)
{
	return list_length(tracked->states) > list_length(view->inner);
}

/* Does each stage that needs one have its state table? */
bool
mvr_inner_has_states(const MvrStage *view, const MvrTracked *tracked)
{
	int			needed = list_length(view->inner) + (view->strategy == MVR_GROUPS ? 1 : 0);
	int			n = list_length(tracked->states);
	ListCell   *lc;

	if (n != needed && !(view->held && n == needed - 1))
		return false;
	foreach(lc, tracked->states)
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(lc))))
			return false;
	return true;
}

static void
insert_state(TupleTableSlot *state, TupleTableSlot *row, void *arg)
{
	(void) row;
	mvr_heap_insert(arg, state);
}

/* Returns the number of rows */
static int64
fill_stage(MvrStage *stage)
{
	MvrHeap    *state = mvr_heap_open(stage->state, RowExclusiveLock);
	int64		nrows;

	if (stage->strategy == MVR_KEYS)
		mvr_keyed_fill(stage, state);
	else
		mvr_stage_run_groups(stage, insert_state, state);
	nrows = state->inserted;
	mvr_heap_close(state);
	return nrows;
}

/*
 * Drop the states of a view, and make new ones: those of its inner stages
 * filled and indexed, that of its own stage, if it is to have one, empty and
 * without an index.  Caller has set the active snapshot.
 */
void
mvr_inner_renew(Relation rel, MvrStage *view, MvrTracked *tracked, bool with_own)
{
	ListCell   *lc;

	foreach(lc, tracked->states)
		mvr_heap_drop(lfirst_oid(lc));
	tracked->states = NIL;
	foreach_ptr(MvrStage, stage, view->inner)
	{
		int64		nrows;

		stage->state = mvr_heap_create_state(rel, list_length(tracked->states) + 1,
											 mvr_analyze_build_state_desc(stage));
		tracked->states = lappend_oid(tracked->states, stage->state);
		nrows = fill_stage(stage);
		show_writes();
		mvr_heap_create_state_indexes(stage->state, stage->strategy == MVR_GROUPS ?
									  list_length(stage->keys) : 0,
									  mvr_advise_list_state_lookups(view, stage));
		if (nrows >= ANALYZE_FROM)
			mvr_heap_analyze_state(stage->state);
		show_writes();
	}
	view->state = InvalidOid;
	if (!with_own)
		return;
	view->state = mvr_heap_create_state(rel, 0, mvr_analyze_build_state_desc(view));
	tracked->states = lappend_oid(tracked->states, view->state);
}

/* Apply the deltas to one stage; its own is appended to them */
static bool
apply_stage(MvrStage *stage, List **deltas)
{
	PlannedStmt *plan = mvr_plan_delta(stage, *deltas);
	MvrHeap    *state = mvr_heap_open(stage->state, RowExclusiveLock);
	MvrDelta   *changes = mvr_stage_make_delta(stage);
	bool		fits;

	mvr_heap_set_index(state, mvr_heap_lookup_state_index(state->rel));
	fits = stage->strategy == MVR_KEYS ?
		mvr_keyed_apply(stage, plan, state, *deltas, changes) :
		mvr_stage_apply_groups(stage, plan, NULL, state, *deltas, changes, NULL);
	mvr_heap_close(state);
	show_writes();
	if (changes->nrows > 0)
		*deltas = lappend(*deltas, changes);
	else
		mvr_delta_end(list_make1(changes));
	return fits;
}

/*
 * Apply the deltas of base tables to the inner stages, whose own deltas are
 * appended.  False if one did not fit.
 */
bool
mvr_inner_apply(MvrStage *view, List **deltas)
{
	foreach_ptr(MvrStage, stage, view->inner)
		if (mvr_delta_query_has_changed(stage, *deltas) && !apply_stage(stage, deltas))
			return false;
	return true;
}
