/*
 * pending.c
 *		What this transaction has changed, for live views.
 *
 * A live view is maintained by those who write its base tables, before they
 * commit.  Until then the rows that they have written wait here, in memory or
 * in temporary files: per view, base table and level of subtransaction.
 *
 * (1) An abort of a subtransaction takes with it the rows that came in it.
 * (2) Rows are taken when they are applied to the view.  If that is undone,
 *	   since it was done in a subtransaction that aborts, they are pending again.
 * (3) A mark instead of rows says that rows do not tell what has happened: the
 *	   view must be recomputed.
 *
 * Many rows stay in the transition tables of their statement if a view is to be
 * brought up to date as soon as that has ended.
 *
 * A statement that writes a base table is in flight from its BEFORE to its
 * AFTER trigger.  In between some of its rows are in the table and none of
 * them here, so no view of that table can be maintained.  A statement can
 * write several tables (WITH, foreign keys with actions), and run others
 * within it (functions, triggers).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "matview_refresh.h"

struct MvrPending
{
	Oid			view;
	char		live;
	List	   *bases;			/* all that the view reads */
	Oid			base;			/* InvalidOid: a mark */
	int			level;			/* of subtransaction */
	int			taken;			/* level in which it was taken, or 0 */
	MemoryContext context;		/* where all this lives */

	/* rows */
	MvrRowSource *source;		/* where they stand, else NULL */
	Tuplestorestate *rows;
	TupleDesc	desc;
	AttrNumber *map;			/* per column but the last, column of the log */
	int64		nrows;
	int64		ngone;			/* of them, those that went */
	CommandId	cid;			/* of the first row */
	bool		needs_net;		/* rows may undo each other */
	bool		has_several;	/* of several commands */
	Datum	   *values;			/* room for one */
	bool	   *nulls;
};

typedef struct InFlight
{
	Oid			base;
	int			level;
} InFlight;

/* Called when a statement has ended that wrote a base table of live views */
void		(*mvr_pending_statement_hook) (void) = NULL;

static List *pendings = NIL;	/* of MvrPending, in TopTransactionContext */
static List *in_flight = NIL;	/* of InFlight, likewise */
static bool is_registered = false;

static void keep_rows(MvrPending *pending);

/* ----------
 * Ends of transactions
 * ----------
 */

/*
 * What cannot fail where transactions end, or their levels: an error there would
 * be one while the last one is dealt with.  It is swallowed.  Returns whether
 * there was one.
 */
static bool
has_failed(void (*function) (void *), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	uint32		cancel_holdoff = QueryCancelHoldoffCount;
	volatile bool failed = false;

	PG_TRY();
	{
		function(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		InterruptHoldoffCount = holdoff;
		QueryCancelHoldoffCount = cancel_holdoff;
		failed = true;
	}
	PG_END_TRY();
	return failed;
}

/* To close a file writes what its buffer has, for which there may be no room */
static void
end_rows(void *rows)
{
	tuplestore_end(rows);
}

/* What cannot be closed now ends with the transaction */
static void
free_pending(MvrPending *pending)
{
	if (pending->rows)
		(void) has_failed(end_rows, pending->rows);
	MemoryContextDelete(pending->context);
}

/* The transaction has ended, and its memory and files go with it */
static void
forget_all(XactEvent event, pg_attribute_unused() void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			foreach_ptr(MvrPending, pending, pendings)
				free_pending(pending);
			pendings = NIL;
			in_flight = NIL;
			break;
		default:
			break;
	}
}

static void
undo_level(int level)
{
	ListCell   *lc;

	foreach(lc, pendings)
	{
		MvrPending *pending = lfirst(lc);

		if (pending->level >= level)
		{
			free_pending(pending);
			pendings = foreach_delete_current(pendings, lc);
		}
		else if (pending->taken >= level)
			pending->taken = 0;
	}
	foreach(lc, in_flight)
		if (((InFlight *) lfirst(lc))->level >= level)
			in_flight = foreach_delete_current(in_flight, lc);
}

/* Another one of the level that these rows can be added to, or NULL */
static MvrPending *
find_alike(const MvrPending *one)
{
	foreach_ptr(MvrPending, other, pendings)
	{
		if (other == one)
			break;
		if (other->view != one->view || other->base != one->base ||
			other->level != one->level || other->taken != 0 || other->source)
			continue;
		if (other->rows == NULL ||
			(other->desc->natts == one->desc->natts &&
			 memcmp(other->map, one->map, sizeof(AttrNumber) * one->desc->natts) == 0))
			return other;
	}
	return NULL;
}

static void
copy_added(void *pair)
{
	MvrPending *to = ((MvrPending **) pair)[0];
	MvrPending *from = ((MvrPending **) pair)[1];
	TupleTableSlot *slot = MakeSingleTupleTableSlot(from->desc, &TTSOpsMinimalTuple);

	tuplestore_rescan(from->rows);
	while (tuplestore_gettupleslot(from->rows, true, false, slot))
		tuplestore_puttupleslot(to->rows, slot);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Add the rows of one to those of another; the fewer are copied.  If there is no
 * room for that, a mark takes their place: the subtransaction has been committed.
 */
static void
add_rows(MvrPending *to, MvrPending *from)
{
	MvrPending *pair[] = {to, from};

	if (to->nrows < from->nrows)
	{
		Tuplestorestate *rows = to->rows;

		to->rows = from->rows;
		from->rows = rows;
	}
	if (has_failed(copy_added, pair))
	{
		(void) has_failed(end_rows, to->rows);
		to->rows = NULL;
		to->base = InvalidOid;
	}
	to->nrows += from->nrows;
	to->ngone += from->ngone;
	to->needs_net = to->has_several = true;
}

/*
 * What was of a level is now of the one above it, and goes into what there is
 * of that: a loop that catches errors has a subtransaction for each turn.
 */
static void
merge_level(int level)
{
	ListCell   *lc;

	foreach(lc, pendings)
	{
		MvrPending *pending = lfirst(lc);
		MvrPending *alike;
		bool		is_moved = pending->level == level;

		pending->level = Min(pending->level, level - 1);
		pending->taken = Min(pending->taken, level - 1);
		alike = is_moved && pending->taken == 0 && pending->source == NULL ?
			find_alike(pending) : NULL;
		if (alike && pending->rows)
			add_rows(alike, pending);
		if (alike || pending->taken == pending->level)
		{
			free_pending(pending);
			pendings = foreach_delete_current(pendings, lc);
		}
	}
	foreach_ptr(InFlight, flight, in_flight)
		flight->level = Min(flight->level, level - 1);
}

static void
end_level(SubXactEvent event, pg_attribute_unused() SubTransactionId mine,
		  pg_attribute_unused() SubTransactionId parent, pg_attribute_unused() void *arg)
{
	if (pendings == NIL && in_flight == NIL)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		undo_level(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		merge_level(GetCurrentTransactionNestLevel());
}

static void
ensure_registered(void)
{
	if (is_registered)
		return;
	RegisterXactCallback(forget_all, NULL);
	RegisterSubXactCallback(end_level, NULL);
	is_registered = true;
}

/* ----------
 * Statements
 * ----------
 */

void
mvr_pending_begin_statement(Oid base)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	InFlight   *flight = palloc(sizeof(InFlight));

	ensure_registered();
	flight->base = base;
	flight->level = GetCurrentTransactionNestLevel();
	in_flight = lappend(in_flight, flight);
	MemoryContextSwitchTo(old);
}

/*
 * A statement has ended, and its trigger is about to: rows that have not been
 * taken out of its transition tables must be now.
 */
void
mvr_pending_end_statement(Oid base)
{
	for (int i = list_length(in_flight) - 1; i >= 0; i--)
	{
		InFlight   *flight = list_nth(in_flight, i);

		if (flight->base != base)
			continue;
		in_flight = list_delete_nth_cell(in_flight, i);
		pfree(flight);
		break;
	}
	mvr_pending_apply();
	foreach_ptr(MvrPending, pending, pendings)
		if (pending->source && pending->taken == 0)
			keep_rows(pending);
}

/*
 * The transaction is about to end, and what is still in flight has not ended.
 * Caller has a snapshot active.
 */
void
mvr_pending_end_unfinished(void)
{
	while (in_flight != NIL)
	{
		InFlight   *flight = llast(in_flight);

		in_flight = list_delete_last(in_flight);
		mvr_log_writer_append_mark(mvr_live_get_base(flight->base));
		mvr_wake_note_captured(flight->base);
		pfree(flight);
	}
}

/* Is a statement in flight whose AFTER STATEMENT trigger has not fired? */
bool
mvr_pending_has_unfinished(void)
{
	return in_flight != NIL;
}

/* Have all views brought up to date that are to be when a statement ends */
void
mvr_pending_apply(void)
{
	if (pendings != NIL && mvr_pending_statement_hook)
		mvr_pending_statement_hook();
}

/* Is a statement in flight that writes one of these base tables? */
bool
mvr_pending_is_in_flight(List *bases)
{
	foreach_ptr(InFlight, flight, in_flight)
	{
		if (list_member_oid(bases, flight->base))
			return true;
	}
	return false;
}

/* ----------
 * Putting
 * ----------
 */

static MvrPending *
make_pending(Oid view, char live, List *bases, Oid base)
{
	MemoryContext context = AllocSetContextCreate(TopTransactionContext,
												  "pending changes",
												  ALLOCSET_START_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MvrPending *pending = palloc0(sizeof(MvrPending));

	ensure_registered();
	pending->view = view;
	pending->live = live;
	pending->bases = list_copy(bases);
	pending->base = base;
	pending->level = GetCurrentTransactionNestLevel();
	pending->context = context;
	MemoryContextSwitchTo(TopTransactionContext);
	pendings = lappend(pendings, pending);
	MemoryContextSwitchTo(old);
	return pending;
}

static MvrPending *
lookup_pending(Oid view, Oid base)
{
	int			level = GetCurrentTransactionNestLevel();

	foreach_ptr(MvrPending, pending, pendings)
	{
		if (pending->view == view && pending->base == base &&
			pending->level == level && pending->taken == 0)
			return pending;
	}
	return NULL;
}

/*
 * They, and temporary files, outlive the statement, and can be handed on.  The files
 * end with the transaction: it may not come to close them.
 */
static Tuplestorestate *
make_rows(void)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Tuplestorestate *rows;

	CurrentResourceOwner = TopTransactionResourceOwner;
	rows = tuplestore_begin_heap(false, false, work_mem);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	return rows;
}

/* Room for the rows of a base table for a live view, or for where they stand */
static MvrPending *
make_room(const MvrLiveView *live, Oid base)
{
	MvrPending *pending = make_pending(live->view, live->live, live->bases, base);
	MemoryContext old = MemoryContextSwitchTo(pending->context);
	int			natts = live->desc->natts;

	pending->desc = CreateTupleDescCopy(live->desc);
	pending->map = palloc(sizeof(AttrNumber) * natts);
	memcpy(pending->map, live->map, sizeof(AttrNumber) * natts);
	pending->needs_net = live->is_narrower;
	pending->cid = InvalidCommandId;
	pending->values = palloc(sizeof(Datum) * natts);
	pending->nulls = palloc(sizeof(bool) * natts);
	MemoryContextSwitchTo(old);
	return pending;
}

/* Is it the only one in flight that writes this base table? */
static bool
is_alone_in_flight(Oid base)
{
	int			count = 0;

	foreach_ptr(InFlight, flight, in_flight)
		if (flight->base == base)
			count++;
	return count == 1;
}

/*
 * Can the rows of the statement that ends now stay where they are?  The view is
 * maintained at once, and of nothing else.
 */
static bool
can_stay(const MvrLiveView *live, Oid base)
{
	return live->live == MVR_LIVE_STATEMENT && list_length(live->bases) == 1 &&
		is_alone_in_flight(base) && !mvr_pending_is_any_of(live->view);
}

static void
leave_rows(const MvrLiveView *live, Oid base, const MvrStatement *statement)
{
	MvrPending *pending = make_room(live, base);

	pending->source = mvr_statement_make_source(statement, pending->desc, pending->map);
	for (int i = 0; i < 2; i++)
		if (statement->rows[i])
			pending->nrows += tuplestore_tuple_count(statement->rows[i]);
	if (statement->rows[0])
		pending->ngone = tuplestore_tuple_count(statement->rows[0]);
}

/*
 * Where to put the rows of a base table for its live views, a list of MvrPending.
 * Those of a "statement", if it is not NULL, are left where they are for all
 * others.
 */
List *
mvr_pending_begin_put(const MvrBase *base, const MvrStatement *statement)
{
	List	   *result = NIL;

	foreach_ptr(MvrLiveView, live, base->views)
	{
		MvrPending *pending = lookup_pending(live->view, base->base);

		if (live->is_lost)
		{
			mvr_pending_mark(live->view, live->live, live->bases);
			continue;
		}
		if (statement && can_stay(live, base->base))
		{
			leave_rows(live, base->base, statement);
			continue;
		}
		if (pending == NULL)
		{
			pending = make_room(live, base->base);
			pending->rows = make_rows();
		}
		else if (pending->source)
			keep_rows(pending);
		result = lappend(result, pending);
	}
	return result;
}

/*
 * A value that is stored elsewhere may be gone from there when the transaction
 * commits: a table can be clustered in it.
 */
static Datum
fetch_external(Datum value, Form_pg_attribute att)
{
	if (att->attlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		return PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(value)));
	return value;
}

/* Put the row in pending->values */
static void
put_row(MvrPending *pending, int weight)
{
	int			nrow = pending->desc->natts - 1;

	for (int i = 0; i < nrow; i++)
		if (!pending->nulls[i])
			pending->values[i] = fetch_external(pending->values[i],
												TupleDescAttr(pending->desc, i));
	pending->nulls[nrow] = false;
	pending->values[nrow] = Int32GetDatum(weight);
	tuplestore_putvalues(pending->rows, pending->desc, pending->values, pending->nulls);
	pending->nrows++;
	if (weight < 0)
		pending->ngone++;
}

/* Put a row, given as one of the log */
void
mvr_pending_put(MvrPending *pending, CommandId cid, const Datum *values,
				const bool *nulls, int weight)
{
	for (int i = 0; i < pending->desc->natts - 1; i++)
	{
		pending->nulls[i] = nulls[pending->map[i] - 1];
		pending->values[i] = values[pending->map[i] - 1];
	}
	put_row(pending, weight);
	if (pending->cid == InvalidCommandId)
		pending->cid = cid;
	else if (pending->cid != cid)
		pending->needs_net = pending->has_several = true;
}

/* Take the rows from where they stand, since they will soon be gone */
static void
keep_rows(MvrPending *pending)
{
	TupleTableSlot *row;
	MvrRowSource *source = pending->source;
	void	   *scan = source->begin(source);
	int			natts = pending->desc->natts;

	pending->source = NULL;
	pending->rows = make_rows();
	pending->nrows = pending->ngone = 0;
	/* what may come next is of another command */
	pending->needs_net = pending->has_several = true;
	while ((row = source->next(scan)) != NULL)
	{
		memcpy(pending->values, row->tts_values, sizeof(Datum) * natts);
		memcpy(pending->nulls, row->tts_isnull, sizeof(bool) * natts);
		put_row(pending, mvr_delta_get_weight(row));
	}
	source->end(scan);
}

/* Have a live view recomputed */
void
mvr_pending_mark(Oid view, char live, List *bases)
{
	if (lookup_pending(view, InvalidOid) == NULL)
		make_pending(view, live, bases, InvalidOid);
}

/* Rows do not tell what has happened to a base table */
void
mvr_pending_mark_all(const MvrBase *base)
{
	foreach_ptr(MvrLiveView, live, base->views)
		mvr_pending_mark(live->view, live->live, live->bases);
}

/* ----------
 * Taking
 * ----------
 */

/* Is anything pending? */
bool
mvr_pending_is_any(void)
{
	foreach_ptr(MvrPending, pending, pendings)
	{
		if (pending->taken == 0)
			return true;
	}
	return false;
}

/* How many rows are pending for a view, in this transaction */
int64
mvr_pending_count(Oid view)
{
	int64		count = 0;

	foreach_ptr(MvrPending, pending, pendings)
		if (pending->view == view && pending->taken == 0)
			count += pending->nrows;
	return count;
}

/* Of this view? */
bool
mvr_pending_is_any_of(Oid view)
{
	foreach_ptr(MvrPending, pending, pendings)
	{
		if (pending->view == view && pending->taken == 0)
			return true;
	}
	return false;
}

/*
 * The first view, by the order given, that has something pending: of all, or of
 * those that are to be right when a statement ends and can be.  InvalidOid if
 * there is none.
 */
Oid
mvr_pending_next_view(bool at_commit, bool (*is_before) (Oid a, Oid b))
{
	Oid			first = InvalidOid;

	foreach_ptr(MvrPending, pending, pendings)
	{
		if (pending->taken != 0 || pending->view == first)
			continue;
		if (!at_commit && (pending->live != MVR_LIVE_STATEMENT ||
						   mvr_pending_is_in_flight(pending->bases)))
			continue;
		if (!OidIsValid(first) || is_before(pending->view, first))
			first = pending->view;
	}
	return first;
}

/* The base tables of all views that have something pending, or of one view */
List *
mvr_pending_list_bases(Oid view)
{
	List	   *bases = NIL;

	foreach_ptr(MvrPending, pending, pendings)
		if (!OidIsValid(view) || pending->view == view)
			bases = list_concat_unique_oid(bases, pending->bases);
	return bases;
}

/* All views that have something pending */
List *
mvr_pending_list_views(void)
{
	List	   *views = NIL;

	foreach_ptr(MvrPending, pending, pendings)
		views = list_append_unique_oid(views, pending->view);
	return views;
}

/* Views that are to be right when a statement ends, and cannot be yet */
List *
mvr_pending_list_deferred(void)
{
	List	   *views = NIL;

	foreach_ptr(MvrPending, pending, pendings)
		if (pending->taken == 0 && pending->live == MVR_LIVE_STATEMENT &&
			mvr_pending_is_in_flight(pending->bases))
			views = list_append_unique_oid(views, pending->view);
	return views;
}

/* Is a view to be recomputed, whatever rows are pending for it? */
bool
mvr_pending_is_marked(Oid view)
{
	foreach_ptr(MvrPending, pending, pendings)
	{
		if (pending->view == view && !OidIsValid(pending->base) && pending->taken == 0)
			return true;
	}
	return false;
}

/* Hand on the rows themselves, which nobody will want again */
static void
move_rows(MvrPending *pending, MvrDelta *delta)
{
	tuplestore_end(delta->rows);
	delta->rows = pending->rows;
	tuplestore_rescan(delta->rows);
	delta->nrows = delta->nread = pending->nrows;
	pending->rows = NULL;
}

/* Read them where they stand: there are no others, see can_stay */
static void
refer_to_rows(MvrPending *pending, MvrDelta *delta)
{
	delta->source = pending->source;
	delta->nrows = delta->nread = pending->nrows;
}

static void
copy_rows(MvrPending *pending, MvrDelta *delta)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);

	tuplestore_rescan(pending->rows);
	while (tuplestore_gettupleslot(pending->rows, true, false, slot))
		tuplestore_puttupleslot(delta->rows, slot);
	ExecDropSingleTupleTableSlot(slot);
	delta->nrows += pending->nrows;
	delta->nread += pending->nrows;
}

/* Take what is pending of a view: of one base table, or all (InvalidOid) */
static bool
take(Oid view, Oid base, MvrDelta *delta)
{
	int			level = GetCurrentTransactionNestLevel();
	bool		needs_net = false;
	ListCell   *lc;

	foreach(lc, pendings)
	{
		MvrPending *pending = lfirst(lc);

		if (pending->view != view || pending->taken != 0 ||
			(OidIsValid(base) && pending->base != base))
			continue;
		if (delta)
		{
			if (pending->desc->natts != delta->desc->natts)
				elog(ERROR, "pending changes of relation %u have other columns", base);
			needs_net |= pending->needs_net || delta->nrows > 0;
			delta->has_passing |= pending->has_several || delta->nrows > 0;
			delta->ngone += pending->ngone;
			if (pending->source)
				refer_to_rows(pending, delta);
			else if (delta->nrows == 0 && pending->level == level)
				move_rows(pending, delta);
			else
				copy_rows(pending, delta);
		}
		pending->taken = level;
		if (pending->level == level)
		{
			free_pending(pending);
			pendings = foreach_delete_current(pendings, lc);
		}
	}
	return needs_net;
}

/*
 * The changes of a base table that a view has not consumed.  If they are not
 * wanted "in_place", they are not left there.
 */
MvrDelta *
mvr_pending_take(Relation base, const MvrSource *source, Oid view, bool in_place)
{
	MvrDelta   *delta = mvr_delta_make(base, source);
	bool		needs_net = take(view, delta->base, delta);

	if (delta->source && in_place)
		mvr_delta_count(delta);
	else if (delta->source)
	{
		mvr_delta_collect(delta, delta->source);
		delta->source = NULL;
	}
	else if (needs_net)
		mvr_delta_net_if_worth_it(delta);
	return delta;
}

/* A view has been recomputed, and has consumed all there is */
void
mvr_pending_forget(Oid view)
{
	take(view, InvalidOid, NULL);
}

/* The extension is gone, and its views with it */
void
mvr_pending_forget_all(void)
{
	int			level = GetCurrentTransactionNestLevel();

	foreach_ptr(MvrPending, pending, pendings)
	{
		if (pending->taken == 0)
			pending->taken = level;
	}
}
