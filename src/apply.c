/*
 * apply.c
 *		Apply deltas of base tables to all stages of a view.
 *
 * A delta query can see rows together that never were there together, or that
 * came and went, and an expression may fail for them that never fails in the
 * view's query.  Where that can be, the deltas are applied in a subtransaction, and
 * an error of the data only means that the view must be recomputed.
 *
 * Locks: the caller has locked the view, its base tables and its states.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "matview_refresh.h"

/*
 * The index by which the rows of a view are found, of one by rows or of one by
 * groups that holds its own state; InvalidOid if there is none.
 */
Oid
mvr_apply_lookup_row_index(Relation view, const MvrStage *stage)
{
	Oid			index;
	Bitmapset  *keys = NULL;

	if (stage->strategy == MVR_ROWS)
	{
		index = mvr_heap_lookup_key_index(view, NULL);
		return OidIsValid(index) ? index : mvr_heap_lookup_row_index(view);
	}
	if (stage->held == NULL)
		return InvalidOid;
	for (int i = 0; i < list_length(stage->keys); i++)
		keys = bms_add_member(keys, stage->held[MVR_STATE_FIXED + i]);
	return mvr_heap_lookup_key_index(view, keys);
}

/* Why changes cannot be applied, with the states and indexes there are, or NULL */
const char *
mvr_apply_find_fault(Relation view, const MvrStage *stage, const MvrTracked *tracked)
{
	if (!mvr_inner_has_states(stage, tracked))
		return "the state table is gone";
	if (!mvr_inner_has_own_state(stage, tracked) &&
		!OidIsValid(mvr_apply_lookup_row_index(view, stage)))
		return "the index that finds rows is gone";
	return NULL;
}

static bool
apply_rows(MvrApply *apply, MvrHeap *view, List *deltas)
{
	mvr_heap_set_index(view, mvr_apply_lookup_row_index(apply->view, apply->stage));
	view->must_serialize = apply->must_serialize;
	return mvr_stage_apply_rows(apply->stage, mvr_plan_delta(apply->stage, deltas), view,
								deltas, apply->lock);
}

static bool
apply_groups(MvrApply *apply, MvrHeap *view, List *deltas)
{
	bool		is_held = !OidIsValid(apply->stage->state);
	MvrHeap    *state = is_held ? view :
		mvr_heap_open(apply->stage->state, RowExclusiveLock);
	bool		fits;

	mvr_heap_set_index(state, is_held ?
					   mvr_apply_lookup_row_index(apply->view, apply->stage) :
					   mvr_heap_lookup_state_index(state->rel));
	state->must_serialize = apply->must_serialize;
	fits = mvr_stage_apply_groups(apply->stage, mvr_plan_delta(apply->stage, deltas), view,
								  state, deltas, NULL, apply->lock);
	if (!is_held)
		mvr_heap_close(state);
	return fits;
}

/* Apply the deltas to the view's own stage; false if they did not fit */
static bool
apply_to_view(MvrApply *apply, List *deltas)
{
	MvrHeap    *view = mvr_heap_open(RelationGetRelid(apply->view), RowExclusiveLock);
	bool		fits = apply->stage->strategy == MVR_ROWS ?
		apply_rows(apply, view, deltas) : apply_groups(apply, view, deltas);

	apply->inserted += view->inserted;
	apply->updated += view->updated;
	apply->deleted += view->deleted;
	mvr_heap_close(view);
	return fits;
}

/* Apply the deltas of base tables to all stages; false if one did not fit */
static bool
apply_all(MvrApply *apply, List *known)
{
	List	   *deltas = list_copy(known);
	int			nbases = list_length(deltas);
	bool		fits = mvr_inner_apply(apply->stage, &deltas);

	if (fits && mvr_delta_query_has_changed(apply->stage, deltas))
		fits = apply_to_view(apply, deltas);
	mvr_delta_end(list_copy_tail(deltas, nbases));
	return fits;
}

/*
 * Is this an error of the data, and not of the server or the session?  A
 * function may raise anything.
 */
static bool
is_data_error(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('2', '5', '0', '0', '0'):	/* transaction state */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* resources */
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'):	/* object state, locks */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* cancel, shutdown */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):	/* internal */
			return false;
		default:
			return true;
	}
}

/*
 * At an explicit COMMIT, core asserts, nobody rolls back to the top level: it
 * does not expect the state of a transaction that is about to be committed.  That
 * is no harm, and deferred triggers do it too.  Where assertions are checked, we
 * roll back to a level in between.
 */
static bool
begin_level(void)
{
#ifdef USE_ASSERT_CHECKING
	if (GetCurrentTransactionNestLevel() == 1)
	{
		BeginInternalSubTransaction(NULL);
		return true;
	}
#endif
	return false;
}

static void
end_level(bool has_level, MemoryContext context, ResourceOwner owner)
{
	if (has_level)
		ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/*
 * Do something in a subtransaction.  Returns NULL, or the message of an error of
 * the data; then nothing was done.
 */
char *
mvr_apply_try(void (*body) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile message = NULL;
	bool		has_level = begin_level();

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(arg);
		ReleaseCurrentSubTransaction();
		end_level(has_level, context, owner);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		end_level(has_level, context, owner);
		if (!is_data_error(error->sqlerrcode))
			ReThrowError(error);
		message = error->message;
	}
	PG_END_TRY();
	return message;
}

typedef struct Attempt
{
	MvrApply   *apply;
	List	   *deltas;
	bool		fits;
} Attempt;

static void
attempt_all(void *arg)
{
	Attempt    *attempt = arg;

	attempt->fits = apply_all(attempt->apply, attempt->deltas);
}

/*
 * Apply the deltas of base tables.  Returns NULL, or the reason why the view
 * must be recomputed; then what has been written does not matter.  With a lock
 * that is full nothing has been written, and the reason means nothing.
 */
char *
mvr_apply_deltas(MvrApply *apply, List *deltas)
{
	Attempt		attempt = {apply, deltas, false};
	char	   *error = NULL;

	if (mvr_estimate_can_fail(apply->stage, deltas))
		error = mvr_apply_try(attempt_all, &attempt);
	else
		attempt_all(&attempt);
	if (error)
		return psprintf("the changes could not be computed: %s", error);
	return attempt.fits ? NULL : "the contents did not fit the changes";
}
