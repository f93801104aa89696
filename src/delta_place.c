/*
 * delta_place.c
 *		The places of a query at which something that has changed is read.
 *
 * Places are marked by an alias, which copies of the query keep.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"

#include "matview_refresh.h"

/* ----------
 * Marking
 * ----------
 */

static void
mark_place(RangeTblEntry *rte, int rti, bool is_linear, MvrPlaces *places)
{
	MvrPlace   *place = palloc(sizeof(MvrPlace));

	place->rte = rte;
	place->rti = rti;
	place->mark = psprintf("place %d", list_length(places->dependent) +
						   list_length(places->linear) + 1);
	place->is_linear = is_linear;
	rte->alias = makeAlias(place->mark, NIL);
	if (is_linear)
		places->linear = lappend(places->linear, place);
	else
		places->dependent = lappend(places->dependent, place);
}

/* Is this range table entry the place with this mark? */
bool
mvr_place_is_marked(RangeTblEntry *rte, const char *mark)
{
	return rte->alias && strcmp(rte->alias->aliasname, mark) == 0;
}

static bool
mark_sublinks(Node *node, MvrPlaces *places)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		mvr_place_mark(castNode(Query, ((SubLink *) node)->subselect), false, places);
		return mark_sublinks(((SubLink *) node)->testexpr, places);
	}
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, mark_sublinks, places);
}

static void
mark_item(Query *query, int rti, bool is_linear, MvrPlaces *places)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);

	if (mvr_item_lookup_delta(places->context, rte))
		mark_place(rte, rti, is_linear, places);
	else if (rte->rtekind == RTE_SUBQUERY && is_linear && !rte->lateral)
	{
		if (mvr_item_has_changed((Node *) rte->subquery, places->context))
			mark_place(rte, rti, true, places);
	}
	else if (rte->rtekind == RTE_SUBQUERY)
		mvr_place_mark(rte->subquery, false, places);
	else
	{
		mark_sublinks((Node *) rte->functions, places);
		mark_sublinks((Node *) rte->values_lists, places);
		mark_sublinks((Node *) rte->tablefunc, places);
	}
}

/* Mark the places of a query level and of those below */
void
mvr_place_mark(Query *query, bool is_linear, MvrPlaces *places)
{
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);
	Bitmapset  *linear = is_linear ? mvr_tree_list_linear(query) : NULL;
	int			rti = -1;

	mark_sublinks((Node *) query->windowClause, places);
	mark_sublinks(query->limitCount, places);
	mark_sublinks(query->limitOffset, places);
	if (query->setOperations)
	{
		foreach_ptr(RangeTblEntry, arm, query->rtable)
			if (arm->rtekind == RTE_SUBQUERY)
				mvr_place_mark(arm->subquery, false, places);
		return;
	}
	while ((rti = bms_next_member(used, rti)) >= 0)
		mark_item(query, rti, bms_is_member(rti, linear), places);
	mark_sublinks((Node *) query->targetList, places);
	mark_sublinks((Node *) query->jointree, places);
	mark_sublinks(query->havingQual, places);
}

typedef struct FindContext
{
	const char *mark;
	Query	   *level;			/* being walked */
	int			depth;			/* of that level */
	Query	   *owner;			/* has the entry in its range table */
	int			rti;
} FindContext;

static bool
find_walker(Node *node, FindContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *save = context->level;
		bool		found = false;

		context->level = (Query *) node;
		context->depth++;
		for (int rti = 1; rti <= list_length(context->level->rtable); rti++)
		{
			if (mvr_place_is_marked(rt_fetch(rti, context->level->rtable), context->mark))
			{
				context->owner = context->level;
				context->rti = rti;
				return true;
			}
		}
		found = query_tree_walker((Query *) node, find_walker, context, 0);
		if (!found)
		{
			context->level = save;
			context->depth--;
		}
		return found;
	}
	return expression_tree_walker(node, find_walker, context);
}

/* Is the place with this mark somewhere in a tree? */
bool
mvr_place_is_below(Node *node, const char *mark)
{
	FindContext context = {.mark = mark};

	return find_walker(node, &context);
}

/* ----------
 * Replacing a place
 * ----------
 */

/* The LEFT JOIN, innermost, on whose right side an entry is; or NULL */
static JoinExpr *
find_nulling_join(Node *node, int rti)
{
	JoinExpr   *found = NULL;

	if (node == NULL || IsA(node, RangeTblRef))
		return NULL;
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (found == NULL)
				found = find_nulling_join(item, rti);
		return found;
	}
	found = find_nulling_join(((JoinExpr *) node)->larg, rti);
	if (found == NULL)
		found = find_nulling_join(((JoinExpr *) node)->rarg, rti);
	if (found == NULL &&
		bms_is_member(rti, mvr_tree_list_rtis(((JoinExpr *) node)->rarg)))
		found = (JoinExpr *) node;
	return found;
}

/* Filter the rows of one FROM item */
static void
add_item_qual(Query *owner, int rti, Node *qual)
{
	JoinExpr   *join = find_nulling_join((Node *) owner->jointree, rti);
	Node	  **quals = join ? &join->quals : &owner->jointree->quals;

	*quals = mvr_tree_and(list_make2(*quals, qual));
	owner->hasSubLinks = true;
}

/* Let an item of a query read a subquery instead; what keeps conditions out goes on doing so */
void
mvr_place_replace(Query *owner, int rti, Query *by)
{
	RangeTblEntry *rte = mvr_tree_make_subquery_rte(by, "item");

	rte->security_barrier = rt_fetch(rti, owner->rtable)->security_barrier;
	if (mvr_tree_is_fence(rt_fetch(rti, owner->rtable)))
		mvr_tree_set_fence(rte);
	lfirst(list_nth_cell(owner->rtable, rti - 1)) = rte;
}

/* Returns how many levels below the query the owner is */
static int
get_place(Query *query, MvrPlace *place, Query **owner, int *rti)
{
	FindContext context = {.mark = place->mark,.depth = -1};

	if (!find_walker((Node *) query, &context))
		elog(ERROR, "%s not found", place->mark);
	*owner = context.owner;
	*rti = context.rti;
	return context.depth;
}

/* old(Q) for a linear item that is a subquery, of its delta: its columns, weight */
static Query *
build_old_subquery(Query *subquery, Query *changes)
{
	Query	   *current = mvr_tree_make_outer(copyObject(subquery), "current");
	Query	   *delta = mvr_tree_make_outer(changes, "delta");
	TargetEntry *last = llast(delta->targetList);

	mvr_tree_append_target(current, mvr_tree_make_int4(1), "weight");
	last->expr = mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(last->expr));
	return mvr_tree_make_union_all(list_make2(current, delta));
}

/*
 * Let an item of a query read a CTE of it, which is computed once.  The planner
 * does not know how many rows a join with a delta has; where it takes one for
 * what are many, it would compute a subquery again for each.
 */
static void
replace_by_cte(Query *owner, int rti, Query *by)
{
	CommonTableExpr *cte =
		mvr_tree_make_cte(psprintf("old_%d", list_length(owner->cteList) + 1), by);

	owner->cteList = lappend(owner->cteList, cte);
	lfirst(list_nth_cell(owner->rtable, rti - 1)) = mvr_tree_make_cte_rte(cte, 0);
}

/* old(R) for a linear item */
static void
set_old_linear(Query *owner, int rti, MvrDelta *delta, MvrKeys *keys)
{
	RangeTblEntry *rte = rt_fetch(rti, owner->rtable);
	Query	   *old = mvr_item_build_old_weighted(rte, delta, owner, keys);

	if (keys)
	{
		replace_by_cte(owner, rti, old);
		return;
	}
	mvr_place_replace(owner, rti, old);
	if (delta->stage && delta->stage->having)
		add_item_qual(owner, rti, mvr_item_make_sign(MVR_INT4_NE,
												  mvr_item_make_weight(rti, delta->natts + 1)));
}

/* The rows of old(R) that a term's rows ask for, as a CTE beside theirs */
static void
replace_by_rows_cte(Query *owner, int rti, int depth, MvrDelta *delta, MvrKeys *keys)
{
	MvrRows    *rows = keys->rows;
	RangeTblEntry *rte = rt_fetch(rti, owner->rtable);
	CommonTableExpr *cte =
		mvr_tree_make_cte(psprintf("old_%d", list_length(rows->ctes)),
						  mvr_item_build_old_keyed(rte, delta, owner, keys));

	rows->ctes = lappend(rows->ctes, cte);
	lfirst(list_nth_cell(owner->rtable, rti - 1)) =
		mvr_tree_make_cte_rte(cte, rows->level + depth);
}

/* Does a node refer to the queries around its own, up to so many levels? */
static bool
is_correlated(Node *node, int levels)
{
	for (int level = 1; level <= levels; level++)
		if (contain_vars_of_level(node, level))
			return true;
	return false;
}

/* The conditions of a level on one of its FROM items alone */
static List *
list_own_quals(Query *owner, int rti, int depth)
{
	Bitmapset  *own = bms_make_singleton(rti);
	List	   *quals = NIL;
	bool		is_here = false;

	foreach_ptr(Node, item, owner->jointree->fromlist)
		is_here |= IsA(item, RangeTblRef) && ((RangeTblRef *) item)->rtindex == rti;
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) owner->jointree->quals))
		if (is_here && bms_equal(mvr_tree_pull_rtis(qual), own) &&
			!checkExprHasSubLink(qual) && !is_correlated(qual, depth))
			quals = lappend(quals, qual);
	return quals;
}

/* old(R) in a dependent part of a query, "depth" levels below it */
static void
set_old_dependent(Query *owner, int rti, int depth, MvrDelta *delta, MvrKeys *keys)
{
	RangeTblEntry *rte = rt_fetch(rti, owner->rtable);

	if (keys && keys->is_joined && keys->rows)
	{
		replace_by_rows_cte(owner, rti, depth, delta, keys);
		return;
	}
	if (keys && keys->rows)
		keys->level = keys->rows->level + depth;
	if (keys && keys->is_joined)
		mvr_place_replace(owner, rti, mvr_item_build_old_keyed(rte, delta, owner, keys));
	else
	{
		mvr_place_replace(owner, rti,
						  mvr_item_build_old_table(rte, delta, owner, keys, rti,
												   list_own_quals(owner, rti, depth)));
		add_item_qual(owner, rti, mvr_item_build_old_qual(rti, delta));
	}
}

/*
 * Let a place read what was there; only what has the keys, if there are some.
 * "changes" is the delta of a linear item that is a subquery.
 */
void
mvr_place_set_old(Query *query, MvrPlace *place, MvrKeys *keys, Query *changes, MvrItems *context)
{
	Query	   *owner;
	int			rti;
	int			depth = get_place(query, place, &owner, &rti);
	RangeTblEntry *rte = rt_fetch(rti, owner->rtable);
	MvrDelta   *delta = mvr_item_lookup_delta(context, rte);

	rte->alias = NULL;
	if (delta == NULL)
		mvr_place_replace(owner, rti, build_old_subquery(rte->subquery, changes));
	else if (place->is_linear)
		set_old_linear(owner, rti, delta, keys);
	else
		set_old_dependent(owner, rti, depth, delta, keys);
}

/* Let a linear place read the delta; "changes" as above */
void
mvr_place_set_delta(Query *query, MvrPlace *place, Query *changes, MvrItems *context)
{
	Query	   *owner;
	int			rti;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, &rti);
	rte = rt_fetch(rti, owner->rtable);
	rte->alias = NULL;
	delta = mvr_item_lookup_delta(context, rte);
	mvr_place_replace(owner, rti, delta ? mvr_item_build_delta(delta) : changes);
}

/* The column behind an item's own */
AttrNumber
mvr_place_get_weight(Query *query, MvrPlace *place, MvrItems *context, int *rti)
{
	Query	   *owner;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, rti);
	rte = rt_fetch(*rti, owner->rtable);
	delta = mvr_item_lookup_delta(context, rte);
	return delta ? delta->natts + 1 : list_length(rte->subquery->targetList) + 1;
}

static bool
resolve_walker(Node *node, MvrItems *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		MvrStage   *stage = mvr_item_lookup_stage(context, rte);

		rte->alias = NULL;
		if (stage)
			memcpy(rte, mvr_item_build_stage(stage), sizeof(RangeTblEntry));
		mvr_tree_build_fence(rte);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, resolve_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, resolve_walker, context);
}

/* Let every place that is left read what is there now; modifies the query */
Query *
mvr_place_resolve(Query *query, MvrItems *context)
{
	resolve_walker((Node *) query, context);
	return query;
}

