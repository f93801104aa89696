/*
 * track.c
 *		Start to capture what a view reads, see that it holds, end it.
 *
 * A tracked view has a registry row with its sources: the base tables, the
 * columns it needs of them, and the shape that each had when that was written.
 * What does not match any more (the query, the sources, a shape) is a fault.
 * Then capture is armed anew, and the view is left without a frontier, which
 * makes its refresh recompute.
 *
 * Locks: the view is held in ExclusiveLock.  Arming takes ShareRowExclusiveLock
 * on base tables that are not captured yet, in the order of their OIDs.  A view
 * without a frontier takes ShareUpdateExclusiveLock on its change logs, so that
 * nobody trims what it does not know to be wanted.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_track);
PG_FUNCTION_INFO_V1(mvr_untrack);

/* ----------
 * Starting and ending
 * ----------
 */

/* Fingerprint of all that the contents of the view and its states depend on */
static int64
hash_query(const MvrStage *stage)
{
	return (int64) hash_combine64(mvr_mutable_hash(stage->query, stage->reads_settings),
								  mvr_analyze_hash(stage));
}

static int
compare_uses(const ListCell *a, const ListCell *b)
{
	Oid			left = ((MvrUse *) lfirst(a))->base;
	Oid			right = ((MvrUse *) lfirst(b))->base;

	return left < right ? -1 : left > right ? 1 : 0;
}

static void
check_trigger_right(Relation base, Oid userid)
{
	if (pg_class_aclcheck(RelationGetRelid(base), userid, ACL_TRIGGER) != ACLCHECK_OK)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied to track changes of table \"%s\"",
					   RelationGetRelationName(base)),
				errdetail("Tracking installs triggers on the table."),
				errhint("Grant the TRIGGER privilege on the table, or use matview.refresh_concurrent()."));
}

/* Has a view read a base table before, and the same columns? */
static bool
has_source(const MvrTracked *tracked, const MvrUse *use)
{
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		if (source->base == use->base)
			return bms_equal(source->columns, use->columns);
	}
	return false;
}

/* A base table as a source of a view, or NULL */
static MvrSource *
lookup_source(const MvrTracked *tracked, Oid base)
{
	foreach_ptr(MvrSource, source, tracked ? tracked->sources : NIL)
	{
		if (source->base == base)
			return source;
	}
	return NULL;
}

/* Arm what live views need of a base table, if it is not */
static void
arm_live(Relation base, Oid log)
{
	MvrLogRow	row;

	if (mvr_catalog_lookup_log_row(RelationGetRelid(base), &row) && row.is_live &&
		mvr_capture_is_live(base, log))
		return;
	mvr_capture_lock(base);
	row.is_live = true;
	mvr_catalog_store_log(RelationGetRelid(base), &row);
	CommandCounterIncrement();
	mvr_capture_arm_live(base, log);
}

/*
 * Arm capture for one base table, and return it as a source.  Base tables are
 * armed in the order of their OIDs, so that two who do it cannot deadlock.
 *
 * A live view that has not read the table so far, or other columns of it, does
 * not get what running writers have written: they are waited for.
 */
static MvrSource *
arm_source(MvrUse *use, char live, const MvrTracked *old, Oid userid)
{
	MvrSource  *source = palloc0(sizeof(MvrSource));
	Relation	base = table_open(use->base, AccessShareLock);

	/* if the view has read it before, somebody had the right */
	if (lookup_source(old, use->base) == NULL)
		check_trigger_right(base, userid);
	if (live != MVR_LIVE_NOT && !has_source(old, use))
		mvr_capture_lock(base);
	source->base = use->base;
	source->columns = bms_copy(use->columns);
	source->log = mvr_change_log_ensure(base, use->columns, live == MVR_LIVE_NOT);
	/*
	 * Who writes a view that was read like this before knows of its readers.  He
	 * may wait for a view that we have just rebuilt, so he is not waited for.
	 */
	if (base->rd_rel->relkind != RELKIND_MATVIEW || live == MVR_LIVE_NOT || !has_source(old, use))
		mvr_capture_arm(base, source->log);
	if (live != MVR_LIVE_NOT)
		arm_live(base, source->log);
	CommandCounterIncrement();
	source->shape = mvr_capture_shape(base, source->log, source->columns);
	table_close(base, NoLock);
	return source;
}

/* Drop the index of ours on a view, if both are there */
static void
drop_row_index(Oid view)
{
	Relation	rel = try_relation_open(view, NoLock);
	Oid			index;

	if (rel == NULL)
		return;
	index = mvr_heap_lookup_row_index(rel);
	relation_close(rel, NoLock);
	mvr_heap_drop(index);
}

/* Is a base table read by live views, or by others, who need its log? */
static void
find_readers(Oid base, bool *has_live, bool *has_other)
{
	ListCell   *lc;

	*has_live = *has_other = false;
	foreach(lc, mvr_catalog_list_views(base))
	{
		MvrTracked *tracked = mvr_catalog_lookup_view(lfirst_oid(lc));

		if (tracked)
			*(tracked->live == MVR_LIVE_NOT ? has_other : has_live) = true;
	}
}

/*
 * Stop to write the log of a base table if none but live views read it: nobody
 * would trim it.  Nobody who is about to need it can be there, for he would have
 * the lock on the log.
 */
static void
stop_log(Oid base)
{
	MvrLogRow	row;
	bool		has_live;
	bool		has_other;

	/* dropped, and the other views that read it are about to go as well */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(base)))
		return;
	if (!mvr_catalog_lookup_log_row(base, &row) || !row.is_logged ||
		!ConditionalLockRelationOid(row.log, ShareUpdateExclusiveLock))
		return;
	find_readers(base, &has_live, &has_other);
	if (has_other)
		return;
	row.is_logged = false;
	mvr_catalog_store_log(base, &row);
	CommandCounterIncrement();
	if (has_live)
		mvr_change_log_trim(base);
}

/*
 * Of two transactions that give up, or take up, uses of a base table the second
 * must see what the first has done.  The lock is nobody's but ours.
 */
static void
lock_uses(Oid base)
{
	LockDatabaseObject(RelationRelationId, base, 0, AccessExclusiveLock);
}

static bool
try_lock_uses(Oid base)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, base, 0);
	if (LockAcquire(&tag, AccessExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

/*
 * Stop capturing base tables that no tracked view reads any more.
 *
 * That waits for those who are writing them.  They may wait for the view that
 * the caller has locked, so unless told to "wait" we leave capture as it is if
 * there are any: triggers that have nothing to do, until mvr_track_sweep.
 */
static void
release_sources(List *sources, bool wait)
{
	foreach_ptr(MvrSource, source, sources)
	{
		lock_uses(source->base);
		if (mvr_catalog_list_views(source->base) != NIL ||
			!mvr_capture_disarm(source->base, wait))
		{
			stop_log(source->base);
			continue;
		}
		mvr_change_log_drop(source->base);
		CommandCounterIncrement();
	}
}

/*
 * End the capture of base tables that release_sources has left behind, if they
 * are free now, and their logs, which somebody may just want to read again.
 *
 * The tables stay locked against writers until the transaction ends, and have
 * nothing to do with it: so not if it may go on for long.
 */
void
mvr_track_sweep(void)
{
	ListCell   *lc;

	if (IsTransactionBlock())
		return;
	foreach(lc, mvr_catalog_list_unread())
	{
		Oid			base = lfirst_oid(lc);
		Oid			log;

		if (!try_lock_uses(base) || mvr_catalog_list_views(base) != NIL)
			continue;
		log = mvr_catalog_lookup_log(base);
		if (!OidIsValid(log) || !ConditionalLockRelationOid(log, AccessExclusiveLock))
			continue;
		if (mvr_capture_disarm(base, false))
			mvr_change_log_drop(base);
		else
			UnlockRelationOid(log, AccessExclusiveLock);
		CommandCounterIncrement();
	}
}

/* Is some source of this list missing in the other? */
static List *
list_sources_gone(List *sources, List *kept)
{
	List	   *gone = NIL;

	foreach_ptr(MvrSource, source, sources)
	{
		bool		is_kept = false;

		foreach_ptr(MvrSource, other, kept)
		{
			if (other->base == source->base)
				is_kept = true;
		}
		if (!is_kept)
			gone = lappend(gone, source);
	}
	return gone;
}

/*
 * Arm capture for all that a view reads, and register the view, without a
 * frontier: what it holds is not known to be of any snapshot.
 */
static MvrTracked *
track_view(Relation view, MvrStage *stage, MvrTracked *old, Oid userid)
{
	MvrTracked *tracked = palloc0(sizeof(MvrTracked));

	tracked->view = RelationGetRelid(view);
	tracked->query_hash = hash_query(stage);
	if (old)
	{
		tracked->states = old->states;
		tracked->live = old->live;
		tracked->settings = old->settings;
	}
	if (tracked->live != MVR_LIVE_NOT)
		tracked->settings = mvr_mutable_add_settings(tracked->settings, stage->reads_settings);
	list_sort(stage->uses, compare_uses);
	foreach_ptr(MvrUse, use, stage->uses)
		tracked->sources = lappend(tracked->sources, arm_source(use, tracked->live, old, userid));
	mvr_catalog_store_view(tracked, true);
	CommandCounterIncrement();
	if (old)
		release_sources(list_sources_gone(old->sources, tracked->sources), false);
	return tracked;
}

/* Bring a base table's capture to what those who read it need now */
static void
settle_source(MvrSource *source)
{
	Relation	base = try_table_open(source->base, NoLock);
	MvrLogRow	row;
	bool		has_live;
	bool		has_other;

	/* a plain view that read it was replaced, and it has gone */
	if (base == NULL)
		return;
	lock_uses(source->base);
	find_readers(source->base, &has_live, &has_other);
	if (!mvr_catalog_lookup_log_row(source->base, &row))
		elog(ERROR, "relation %u has no change log", source->base);
	row.is_live = has_live;
	row.is_logged |= has_other;
	mvr_catalog_store_log(source->base, &row);
	CommandCounterIncrement();
	mvr_capture_arm_live(base, source->log);
	stop_log(source->base);
	table_close(base, NoLock);
}

/*
 * Make a tracked view live, or end that; the settings that count for it are those
 * of the session from here on.  What it holds is right as of the active snapshot,
 * if it has a frontier; caller has kept out all who write its base tables before
 * taking that (mvr_capture_lock).
 */
void
mvr_track_set_live(MvrTracked *tracked, char live, bool reads_settings)
{
	bool		is_valid = tracked->frontier.valid;

	tracked->live = live;
	if (live == MVR_LIVE_NOT)
		tracked->settings = NIL;
	else
		tracked->settings = mvr_mutable_add_settings(tracked->settings, reads_settings);
	tracked->frontier = mvr_frontier_here();
	tracked->frontier.valid = is_valid;
	mvr_catalog_store_view(tracked, true);
	CommandCounterIncrement();
	foreach_ptr(MvrSource, source, tracked->sources)
		settle_source(source);
}

/*
 * Stop tracking: registry, state, index of ours, and capture that nobody else
 * needs.  Caller has locked the view, if it is still there; for "wait" see
 * release_sources.  Returns whether it was tracked.
 */
bool
mvr_track_end(Oid view, bool wait)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);
	ListCell   *lc;

	if (tracked == NULL)
		return false;
	mvr_catalog_delete_view(view);
	CommandCounterIncrement();
	foreach(lc, tracked->states)
		mvr_heap_drop(lfirst_oid(lc));
	drop_row_index(view);
	release_sources(tracked->sources, wait);
	return true;
}

/* ----------
 * A partition comes
 * ----------
 */

/* The tracked views of a base table that are not being refreshed, locked */
static List *
lock_views(Oid base)
{
	List	   *views = NIL;
	ListCell   *lc;

	foreach(lc, mvr_catalog_list_views(base))
	{
		MvrTracked *tracked;

		if (!ConditionalLockRelationOid(lfirst_oid(lc), ExclusiveLock))
			continue;
		tracked = mvr_catalog_lookup_view(lfirst_oid(lc));
		if (tracked)
			views = lappend(views, tracked);
	}
	return views;
}

/* Add a number to the shape that each view knows of a base table */
static void
shift_shapes(List *views, Oid base, List *members, Oid log, int sign)
{
	foreach_ptr(MvrTracked, tracked, views)
	{
		foreach_ptr(MvrSource, source, tracked->sources)
		{
			if (source->base == base)
				source->shape += sign *
					mvr_capture_shape_part(members, log, base, source->columns);
		}
	}
}

static void
add_partition_to(Oid base, Oid parent, Oid partition)
{
	Oid			log = mvr_catalog_lookup_log(base);
	List	   *members;
	List	   *views;

	if (!OidIsValid(log) || !ConditionalLockRelationOid(log, AccessShareLock))
		return;
	members = mvr_capture_list_unwritten(partition, parent, log);
	if (members == NIL)
		return;
	views = lock_views(base);
	shift_shapes(views, base, list_make1_oid(parent), log, -1);
	mvr_capture_add_partition(members, parent, log, base);
	shift_shapes(views, base, lappend_oid(members, parent), log, 1);
	foreach_ptr(MvrTracked, tracked, views)
		mvr_catalog_store_view(tracked, true);
	CommandCounterIncrement();
}

/*
 * A table has become a partition, by the command that is about to end.  If
 * nothing is in it, it is captured from here on, and the views that read it
 * need not be recomputed.  Otherwise, or if a view is just being refreshed,
 * nothing is done here: the next refresh finds another shape.
 *
 * Waits for no lock, since whoever has it may wait for the command's.
 */
void
mvr_track_add_partition(Oid partition)
{
	List	   *ancestors;
	ListCell   *lc;

	if (!get_rel_relispartition(partition))
		return;
	ancestors = get_partition_ancestors(partition);
	foreach(lc, ancestors)
		add_partition_to(lfirst_oid(lc), linitial_oid(ancestors), partition);
}

static void
mark_unseen(Oid oid, Oid member)
{
	Relation	base = try_table_open(oid, AccessShareLock);

	if (base == NULL)
		return;
	if ((!OidIsValid(member) ||
		 list_member_oid(mvr_members_list(base, AccessShareLock), member)) &&
		!mvr_members_see_statements(base) &&
		mvr_capture_shape(base, mvr_catalog_lookup_log(oid), NULL) == 0)
		mvr_log_writer_append_mark(mvr_live_get_base(oid));
	table_close(base, NoLock);
}

/*
 * A table (or, InvalidOid, any) can be written from now on in a way that its
 * triggers do not tell: through a new parent, or by a subscription.  That may be
 * over before a refresh looks, and have left no trace in catalogs.  So the logs of
 * the base tables that it belongs to get a mark.  No row can have been missed yet:
 * the command that is about to end keeps out who would write it so.
 */
void
mvr_track_mark_unseen(Oid member)
{
	ListCell   *lc;

	foreach(lc, mvr_catalog_list_bases())
		mark_unseen(lfirst_oid(lc), member);
}

/* ----------
 * Seeing that it holds
 * ----------
 */

static MvrUse *
lookup_use(const MvrStage *stage, Oid base)
{
	foreach_ptr(MvrUse, use, stage->uses)
	{
		if (use->base == base)
			return use;
	}
	return NULL;
}

/* Does capture still see every change of a source? */
bool
mvr_track_is_armed(MvrStage *stage, MvrSource *source)
{
	MvrUse	   *use = lookup_use(stage, source->base);
	Relation	base;
	int64		shape;

	if (use == NULL || !OidIsValid(source->log) ||
		!bms_equal(use->columns, source->columns))
		return false;
	base = table_open(source->base, NoLock);
	shape = mvr_capture_shape(base, source->log, source->columns);
	table_close(base, NoLock);
	return shape != 0 && shape == source->shape;
}

/* Do all who can write a source of a live view know of it? */
bool
mvr_track_is_heard(const MvrSource *source)
{
	Relation	base = try_table_open(source->base, AccessShareLock);
	bool		result = base && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->log)) &&
		mvr_capture_is_heard(base, source->log);

	if (base)
		table_close(base, NoLock);
	return result;
}

/* Do the writers of all that a live view reads tell it all that it needs? */
bool
mvr_track_is_complete(const MvrTracked *tracked)
{
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Relation	base = try_table_open(source->base, AccessShareLock);
		bool		is_armed = base && OidIsValid(source->log) &&
			mvr_capture_shape(base, source->log, source->columns) == source->shape &&
			mvr_capture_is_live(base, source->log);

		if (base)
			table_close(base, NoLock);
		if (!is_armed)
			return false;
	}
	return true;
}

/* Why the registered tracking does not fit the view any more, or NULL */
char *
mvr_track_find_fault(MvrStage *stage, MvrTracked *tracked)
{
	if (tracked == NULL)
		return "tracking starts";
	if (tracked->query_hash != hash_query(stage))
		return stage->reads_settings ?
			"a view, function, constraint or setting that the query uses has changed" :
			"a view, function or constraint that the query uses has changed";
	if (list_length(tracked->sources) != list_length(stage->uses))
		return "the base tables have changed";
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		if (!mvr_track_is_armed(stage, source))
			return psprintf(get_rel_relkind(source->base) == RELKIND_MATVIEW ?
							"\"%s\" was rebuilt, or is not tracked any more" :
							"triggers, partitions or generated columns of \"%s\" have changed",
							get_rel_name(source->base));
	}
	return NULL;
}

/*
 * A view without a frontier keeps its logs as they are until it has one.  They
 * are looked at again behind the lock: that they are written to need not be so
 * any more.  A live view reads none, and those who maintain it lock it in an
 * order that no log has a place in.
 */
static void
hold_logs(const MvrTracked *tracked)
{
	if (tracked->live != MVR_LIVE_NOT)
		return;
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Relation	base;

		LockRelationOid(source->log, ShareUpdateExclusiveLock);
		base = table_open(source->base, NoLock);
		mvr_change_log_ensure(base, source->columns, true);
		table_close(base, NoLock);
	}
}

/* ----------
 * Live views that cannot be maintained
 * ----------
 */

/*
 * Can triggers tell of a table's changes, or refreshes of a view's?  Not of those of
 * foreign and temporary members; what a crash does to a table, nobody tells.
 */
static bool
can_watch(Relation base)
{
	if (RelationGetNumberOfAttributes(base) > MaxHeapAttributeNumber - MVR_LOG_FIXED)
		return false;
	return base->rd_rel->relkind == RELKIND_MATVIEW || mvr_members_refusal_of(base) == NULL ||
		base->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;
}

/* All columns of a table, as something that is read */
static MvrUse *
make_use(Relation base)
{
	MvrUse	   *use = palloc0(sizeof(MvrUse));

	use->base = RelationGetRelid(base);
	for (int i = 1; i <= RelationGetDescr(base)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(base), i - 1);

		if (!att->attisdropped && !mvr_compat_is_virtual(att))
			use->columns = bms_add_member(use->columns, i);
	}
	return use;
}

static bool
collect_reads(Node *node, List **uses)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_reads, uses, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry) && ((RangeTblEntry *) node)->rtekind == RTE_RELATION)
	{
		Oid			relid = ((RangeTblEntry *) node)->relid;
		char		relkind = get_rel_relkind(relid);
		Relation	base;

		foreach_ptr(MvrUse, use, *uses)
			if (use->base == relid)
				return false;
		if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE &&
			relkind != RELKIND_MATVIEW)
			return false;
		base = table_open(relid, AccessShareLock);
		if (can_watch(base))
			*uses = lappend(*uses, make_use(base));
		table_close(base, NoLock);
	}
	if (IsA(node, RangeTblEntry))
		return false;
	return expression_tree_walker(node, collect_reads, uses);
}

/*
 * A live view whose query cannot be maintained any more, after a plain view was
 * replaced say, is recomputed by all who write what it reads: see that they are
 * told of it, also those who write what it did not read before, or what has got
 * a partition or lost a trigger.
 */
static void
watch_reads(Relation view, MvrStage *stage, MvrTracked **tracked, Oid userid)
{
	List	   *reads = NIL;
	List	   *uses = NIL;
	bool		is_new = false;

	collect_reads((Node *) stage->query, &reads);
	foreach_ptr(MvrUse, use, reads)
	{
		MvrSource  *source = lookup_source(*tracked, use->base);

		/* before 16 a view's query has the view in its range table, to no end */
		if (use->base == RelationGetRelid(view))
			continue;
		/* what is well is left as it is: to arm it would wait for its writers */
		if (source && mvr_track_is_heard(source))
			use->columns = bms_copy(source->columns);
		else
			is_new = true;
		uses = lappend(uses, use);
	}
	if (!is_new)
		return;
	stage->uses = uses;
	*tracked = track_view(view, stage, *tracked, userid);
}

/*
 * See that capture is armed for a view that is tracked, or is to be ("start").
 * Call it before the snapshot is taken.  Sets *tracked, NULL if the view is not
 * tracked; a fault found leaves the view without a frontier.  Returns the
 * reason why the view's changes are not known, or NULL.
 *
 * userid is the caller, whose right to create triggers counts.
 */
char *
mvr_track_ensure(Relation view, MvrStage *stage, MvrTracked **tracked, bool start,
				 Oid userid)
{
	char	   *fault;

	*tracked = mvr_catalog_lookup_view(RelationGetRelid(view));
	if (stage->strategy == MVR_RECOMPUTE)
	{
		/* recomputed each time, as long as its policy says so */
		if (*tracked && (*tracked)->live != MVR_LIVE_NOT)
		{
			watch_reads(view, stage, tracked, userid);
			return stage->reason;
		}
		if (*tracked)
			(void) mvr_track_end(RelationGetRelid(view), false);
		*tracked = NULL;
		return stage->reason;
	}
	if (*tracked == NULL && !start)
		return "the view is not tracked";
	fault = mvr_track_find_fault(stage, *tracked);
	if (fault)
		*tracked = track_view(view, stage, *tracked, userid);
	if (!(*tracked)->frontier.valid)
		hold_logs(*tracked);
	return fault;
}

/* ----------
 * SQL
 * ----------
 */

/* Tell about indexes, but not each time that a view is tracked again */
static void
give_hint(Relation view, const MvrStage *stage)
{
	List	   *commands = mvr_advise_list_indexes(stage);
	StringInfoData hint;

	if (commands == NIL || mvr_catalog_lookup_view(RelationGetRelid(view)))
		return;
	initStringInfo(&hint);
	foreach_ptr(char, command, commands)
		appendStringInfo(&hint, "%s%s;", hint.len > 0 ? " " : "", command);
	ereport(NOTICE,
			errmsg("changes of what materialized view \"%s\" reads are looked up without an index",
				   RelationGetRelationName(view)),
			errdetail("Whole tables are read for a few rows."),
			errhint("%s", hint.data));
}

/*
 * SQL: matview.track(view).  Takes ShareRowExclusiveLock on base tables only
 * until the end of the transaction, and reads none of them: a large view is
 * best tracked by this, in a transaction of its own, and then filled.
 */
Datum
mvr_track(PG_FUNCTION_ARGS)
{
	Oid			view = mvr_view_get_argument(fcinfo);
	Relation	rel;
	MvrStage   *stage;
	MvrTracked *tracked;
	Oid			userid;
	int			context;
	int			level;

	mvr_view_check_may_write("matview.track()");
	rel = mvr_view_open(view, ExclusiveLock);
	level = mvr_live_become_owner(rel, &userid, &context);
	stage = mvr_analyze_view(rel);
	if (stage->strategy == MVR_RECOMPUTE)
		ereport(NOTICE,
				errmsg("materialized view \"%s\" cannot be maintained incrementally",
					   RelationGetRelationName(rel)),
				errdetail("Reason: %s.", stage->reason),
				errhint("It will be recomputed, and only the rows that differ written."));
	give_hint(rel, stage);
	mvr_track_ensure(rel, stage, &tracked, true, userid);
	mvr_view_become_again(level, userid, context);
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}

static void
check_not_live(Relation view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(RelationGetRelid(view));

	if (tracked && tracked->live != MVR_LIVE_NOT)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("materialized view \"%s\" is maintained by those who write its base tables",
					   RelationGetRelationName(view)),
				errdetail("Its refresh policy needs the tracking."),
				errhint("Call matview.set_auto_refresh(view, 'off') first."));
}

/* SQL: matview.untrack(view) */
Datum
mvr_untrack(PG_FUNCTION_ARGS)
{
	Oid			view = mvr_view_get_argument(fcinfo);
	Relation	rel;

	mvr_view_check_may_write("matview.untrack()");
	rel = mvr_view_open(view, ExclusiveLock);
	check_not_live(rel);
	(void) mvr_track_end(view, true);
	mvr_track_sweep();
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}
