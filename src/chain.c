/*
 * chain.c
 *		Materialized views that stand on others.
 *
 * A tracked view can be a source like a base table: what a refresh writes to it
 * goes to its change log, in the same transaction (matview_heap.c).  It has no
 * triggers, since nothing else writes it but commands that give it new files,
 * and REFRESH MATERIALIZED VIEW CONCURRENTLY, after which an event trigger marks
 * the log (ddl.c); so its shape is the file it is in.
 *
 * A refresh of a view first refreshes what it stands on, all with one snapshot
 * (refresh.c).
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/prs2lock.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* Why a materialized view cannot be a source, or NULL */
const char *
mvr_chain_refusal(Relation view)
{
	if (mvr_catalog_lookup_view(RelationGetRelid(view)))
		return NULL;
	return psprintf("materialized view \"%s\" is not tracked",
					RelationGetRelationName(view));
}

/* Fingerprint of what must stay for a source's log to tell all its changes */
int64
mvr_chain_shape(Relation view)
{
	uint64		hash = hash_combine64(RelationGetRelid(view),
									  mvr_view_get_file(RelationGetRelid(view)));

	if (mvr_catalog_lookup_view(RelationGetRelid(view)) == NULL)
		return 0;
	return hash == 0 ? 1 : (int64) hash;
}

typedef struct ChainContext
{
	List	   *seen;			/* relations looked at */
	List	   *views;
} ChainContext;

static void collect_views(Oid relid, ChainContext *context);

static bool
collect_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION &&
			(rte->relkind == RELKIND_MATVIEW || rte->relkind == RELKIND_VIEW))
			collect_views(rte->relid, context);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, collect_walker, context);
}

/* The tracked views below a relation, then itself; a rule may name its own view */
static void
collect_views(Oid relid, ChainContext *context)
{
	Relation	rel;

	check_stack_depth();
	if (list_member_oid(context->seen, relid))
		return;
	context->seen = lappend_oid(context->seen, relid);
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return;
	for (int i = 0; rel->rd_rules && i < rel->rd_rules->numLocks; i++)
		collect_walker((Node *) rel->rd_rules->rules[i]->actions, context);
	if (rel->rd_rel->relkind == RELKIND_MATVIEW && mvr_catalog_lookup_view(relid))
		context->views = lappend_oid(context->views, relid);

	/* who waits for a refresh must hold nothing that its swap waits for */
	relation_close(rel, AccessShareLock);
}

/*
 * The tracked views that a view stands on and that the current user may
 * refresh, each before those that stand on it; without the view itself.
 */
List *
mvr_chain_list(Oid view)
{
	ChainContext context = {NIL, NIL};
	List	   *result = NIL;
	ListCell   *lc;

	collect_views(view, &context);
	foreach(lc, context.views)
		if (lfirst_oid(lc) != view && mvr_compat_may_refresh(lfirst_oid(lc)))
			result = lappend_oid(result, lfirst_oid(lc));
	return result;
}

/*
 * The views, plain and materialized, whose definitions say what a view reads,
 * itself among them.  Sets *depth to the number of tracked views that it stands
 * on: more than of any of those.
 */
List *
mvr_chain_list_read(Oid view, int *depth)
{
	ChainContext context = {NIL, NIL};

	collect_views(view, &context);
	*depth = list_length(list_delete_oid(context.views, view));
	return context.seen;
}
