/*
 * kept.c
 *		What a session keeps of the live views that it maintains.
 *
 * To analyze a view's query and to plan for its changes takes longer than to
 * apply a few.  So the stages of a view are kept, with their plans, and whether
 * the view must be recomputed whatever has changed; as long as nothing that they
 * depend on is invalidated: what the view reads, at any depth, with its
 * partitions, triggers and change logs; the view's row in the registry; the
 * relations in the plans; and any function, type, operator or subscription.
 */
#include "postgres.h"

#include "access/table.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

static HTAB *kept_views = NULL;
static uint64 invalidations = 0;

static bool
depends_on(const MvrKept *kept, Oid relid)
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
	MvrKept	   *kept;

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
	ctl.entrysize = sizeof(MvrKept);
	ctl.hcxt = CacheMemoryContext;
	kept_views = hash_create("matview_refresh live views", 32, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_by_relation, (Datum) 0);
	for (int i = 0; i < (int) lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], invalidate_all, (Datum) 0);
}

/* Forget views that have been dropped, of which there may be more and more */
static void
forget_dropped(void)
{
	HASH_SEQ_STATUS status;
	MvrKept	   *kept;

	hash_seq_init(&status, kept_views);
	while ((kept = hash_seq_search(&status)) != NULL)
	{
		if (kept->is_valid || kept->context == NULL ||
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(kept->view)))
			continue;
		MemoryContextDelete(kept->context);
		hash_search(kept_views, &kept->view, HASH_REMOVE, NULL);
	}
}

/* The entry of a view; it may not be valid, and have nothing but the OID */
MvrKept *
mvr_kept_lookup(Oid view)
{
	MvrKept	   *kept;
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

		/* a plain view that read it can have been replaced, and it have gone */
		if (base == NULL)
			continue;
		relations = lappend_oid(relations, source->log);
		relations = list_concat(relations, mvr_members_list(base, AccessShareLock));
		table_close(base, NoLock);
	}
	return relations;
}

/* Do the triggers of a source tell live views all its changes? */
bool
mvr_kept_is_armed(MvrSource *source)
{
	Relation	base = table_open(source->base, NoLock);
	bool		result = mvr_capture_is_live(base, source->log);

	table_close(base, NoLock);
	return result;
}

static char *
find_live_fault(MvrTracked *tracked)
{
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		if (!mvr_kept_is_armed(source))
			return psprintf("triggers of \"%s\" have changed", get_rel_name(source->base));
	}
	return NULL;
}

/* Why the view must be recomputed, whatever has changed, or NULL */
static char *
find_fault(Relation view, MvrStage *stage, MvrTracked *tracked)
{
	const char *fault;

	if (stage->strategy == MVR_RECOMPUTE)
		return stage->reason;
	if (!RelationIsPopulated(view))
		return "the view was not populated";
	if (!tracked->frontier.valid)
		return "the contents are not known to be right";
	if (tracked->file != mvr_view_get_file(tracked->view))
		return "the contents were written by another command";
	fault = mvr_track_find_fault(stage, tracked);
	if (fault == NULL)
		fault = mvr_apply_find_fault(view, stage, tracked);
	return fault ? pstrdup(fault) : find_live_fault(tracked);
}

/* Give a stage room to keep plans */
static void
keep_plans(MvrStage *stage, MemoryContext context)
{
	stage->plans = palloc0(sizeof(MvrPlans));
	stage->plans->context = context;
}

static void
fill_kept(MvrKept *kept, Relation view)
{
	uint64		before = invalidations;
	MemoryContext old = MemoryContextSwitchTo(kept->context);

	kept->stage = mvr_analyze_view(view);
	kept->tracked = mvr_catalog_lookup_view(kept->view);
	kept->relations = list_relations(kept->view, kept->tracked, &kept->depth);
	kept->is_linear = mvr_delta_query_is_linear(kept->stage);
	kept->is_separable = mvr_delta_query_is_separable(kept->stage);
	if (kept->tracked)
	{
		kept->fault = find_fault(view, kept->stage, kept->tracked);
		keep_plans(kept->stage, kept->context);
		foreach_ptr(MvrStage, inner, kept->stage->inner)
			keep_plans(inner, kept->context);
	}
	MemoryContextSwitchTo(old);
	kept->is_valid = (before == invalidations);
}

/* Lock all that maintaining a view reads, but for its states */
static void
lock_relations(const MvrKept *kept)
{
	if (kept->tracked == NULL)
		return;
	foreach_ptr(MvrSource, source, kept->tracked->sources)
		LockRelationOid(source->base, AccessShareLock);
	mvr_plan_lock(kept->stage, kept->tracked->states, false);
}

/*
 * What is kept of a view, built if it is not there; all that it names is locked,
 * but for its states.  The caller is the view's owner, and has a lock on it.
 */
MvrKept *
mvr_kept_get(Relation view)
{
	MvrKept	   *kept = mvr_kept_lookup(RelationGetRelid(view));

	if (kept->is_valid)
		lock_relations(kept);
	for (int tries = 0; !kept->is_valid && tries < 10; tries++)
	{
		if (kept->context == NULL)
		{
			forget_dropped();
			kept->context = AllocSetContextCreate(CacheMemoryContext,
												  "matview_refresh live view",
												  ALLOCSET_DEFAULT_SIZES);
		}
		MemoryContextReset(kept->context);
		kept->stage = NULL;
		kept->tracked = NULL;
		kept->relations = NIL;
		kept->fault = NULL;
		fill_kept(kept, view);
	}
	return kept;
}

/* A command may have changed what no invalidation tells of: build all anew */
void
mvr_kept_forget_all(void)
{
	if (kept_views)
		invalidate_by_relation((Datum) 0, InvalidOid);
}
