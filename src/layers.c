/*
 * layers.c
 *		One operator for each query level.
 *
 * A SELECT computes, in this order: FROM and WHERE, groups, window functions,
 * set-returning functions of the target list, DISTINCT, ORDER BY with LIMIT.
 * A level that does more than one of them becomes two: the last one stays, over
 * a subquery that does the others, and so on down.
 *
 * Set-returning functions that are keys of groups or windows are computed before
 * those: a level below does that.
 *
 *	SELECT DISTINCT rank() OVER (ORDER BY sum(x)) FROM t GROUP BY k LIMIT 3
 * becomes
 *	SELECT c FROM (
 *		SELECT DISTINCT c FROM (
 *			SELECT rank() OVER (ORDER BY s) AS c FROM (
 *				SELECT k, sum(x) AS s FROM t GROUP BY k))) LIMIT 3
 *
 * A subquery in HAVING or in the target list of groups is one more level: it is
 * computed for each group, as if the groups were a table.
 *
 * Pure, on trees whose aliases have been flattened.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"

#include "matview_refresh.h"

/* ----------
 * Targets
 * ----------
 */

static bool
is_referenced(List *clauses, Index ref)
{
	foreach_ptr(SortGroupClause, clause, clauses)
		if (clause->tleSortGroupRef == ref)
			return true;
	return false;
}

static bool
is_window_key(const Query *query, Index ref)
{
	foreach_ptr(WindowClause, window, query->windowClause)
		if (is_referenced(window->partitionClause, ref) ||
			is_referenced(window->orderClause, ref))
			return true;
	return false;
}

/* Is a target that nobody sees still needed, to sort or for a window? */
static bool
is_needed(Query *query, TargetEntry *tle)
{
	Index		ref = tle->ressortgroupref;

	if (!tle->resjunk)
		return true;
	return ref > 0 && (is_window_key(query, ref) ||
					   is_referenced(query->sortClause, ref) ||
					   is_referenced(query->distinctClause, ref));
}

/* Keep the targets that are seen or needed, and number them */
static void
keep_needed_targets(Query *query)
{
	List	   *kept = NIL;

	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		if (!is_needed(query, tle))
			continue;
		kept = lappend(kept, tle);
		tle->resno = list_length(kept);
	}
	query->targetList = kept;
}

/* ----------
 * Between target lists: DISTINCT or LIMIT over all the rest
 * ----------
 */

/*
 * Return a query that has the target list of another one as plain columns, with
 * the same references for sorting.
 */
static Query *
make_level_above(Query *query)
{
	Query	   *outer = mvr_tree_make_select();

	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		TargetEntry *copy = makeTargetEntry((Expr *) makeVarFromTargetEntry(1, tle),
											tle->resno, tle->resname, tle->resjunk);

		copy->ressortgroupref = tle->ressortgroupref;
		outer->targetList = lappend(outer->targetList, copy);
	}
	return outer;
}

/*
 * Let the query be its subquery, with the columns that it needs and no more: to
 * DISTINCT, a hidden key would be one of its columns.
 */
static Query *
put_below(Query *outer, Query *query)
{
	List	   *seen = NIL;
	List	   *hidden = NIL;
	int			n = 0;

	keep_needed_targets(outer);
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		Var		   *var = NULL;

		foreach_ptr(TargetEntry, above, outer->targetList)
			if (castNode(Var, above->expr)->varattno == tle->resno)
				var = (Var *) above->expr;
		tle->resjunk = (var == NULL);
		if (var == NULL)
		{
			hidden = lappend(hidden, tle);
			continue;
		}
		seen = lappend(seen, tle);
		var->varattno = var->varattnosyn = list_length(seen);
	}
	query->targetList = list_concat(seen, hidden);
	foreach_ptr(TargetEntry, tle, query->targetList)
		tle->resno = ++n;
	mvr_tree_append_from(outer, mvr_tree_make_subquery_rte(mvr_tree_lower(query), "layer"));
	return outer;
}

/* Let a query above the rest do ORDER BY, and LIMIT if there is one */
Query *
mvr_layers_raise_order(Query *query)
{
	Query	   *outer = make_level_above(query);

	outer->limitCount = query->limitCount;
	outer->limitOffset = query->limitOffset;
	outer->limitOption = query->limitOption;
	outer->hasSubLinks = checkExprHasSubLink((Node *) list_make2(query->limitCount,
																 query->limitOffset));
	outer->sortClause = copyObject(query->sortClause);
	query->limitCount = query->limitOffset = NULL;
	query->limitOption = LIMIT_OPTION_COUNT;
	if (!query->hasDistinctOn)
		query->sortClause = NIL;
	return put_below(outer, query);
}

static Query *
raise_distinct(Query *query)
{
	Query	   *outer = make_level_above(query);

	outer->distinctClause = query->distinctClause;
	outer->hasDistinctOn = query->hasDistinctOn;
	outer->sortClause = query->sortClause;
	query->distinctClause = NIL;
	query->hasDistinctOn = false;
	query->sortClause = NIL;
	return put_below(outer, query);
}

/* ----------
 * Between expressions: what is computed over groups, or over window functions
 * ----------
 */

typedef enum SplitPlace
{
	ABOVE_WINDOWS,				/* and above the groups, if there are any */
	ABOVE_GROUPS,
	BELOW						/* them */
} SplitPlace;

typedef struct SplitContext
{
	Query	   *inner;			/* computes what is on the other side */
	SplitPlace	place;
	List	   *keys;			/* expressions that the inner query computes */
	int			sublevels_up;
} SplitContext;

/* The column of the inner query that has this expression of its level */
static Node *
make_inner_column(SplitContext *context, Node *node)
{
	Node	   *expr = copyObject(node);
	TargetEntry *found = NULL;
	Var		   *var;

	if (context->sublevels_up > 0)
		IncrementVarSublevelsUp(expr, -context->sublevels_up, context->sublevels_up);
	foreach_ptr(TargetEntry, tle, context->inner->targetList)
	{
		if (found == NULL && equal(tle->expr, expr))
			found = tle;
	}
	if (found == NULL)
	{
		mvr_tree_append_target(context->inner, (Expr *) expr, "value");
		found = llast(context->inner->targetList);
	}
	var = makeVarFromTargetEntry(1, found);
	var->varlevelsup = context->sublevels_up;
	return (Node *) var;
}

static bool
is_key(SplitContext *context, Node *node)
{
	foreach_ptr(Node, key, context->keys)
	{
		if (context->sublevels_up > 0)
		{
			key = copyObject(key);
			IncrementVarSublevelsUp(key, context->sublevels_up, 0);
		}
		if (equal(node, key))
			return true;
	}
	return false;
}

static Node *
split_mutator(Node *node, SplitContext *context)
{
	bool		is_inner = false;

	if (node == NULL)
		return NULL;
	if (is_key(context, node))
		is_inner = true;
	else if (IsA(node, Var))
		is_inner = (int) ((Var *) node)->varlevelsup == context->sublevels_up;
	else if (IsA(node, Aggref) && context->place != BELOW)
		is_inner = (int) ((Aggref *) node)->agglevelsup == context->sublevels_up;
	else if (IsA(node, GroupingFunc) && context->place != BELOW)
		is_inner = (int) ((GroupingFunc *) node)->agglevelsup == context->sublevels_up;
	else if (IsA(node, WindowFunc))
		is_inner = context->place == ABOVE_WINDOWS && context->sublevels_up == 0;
	if (is_inner)
		return make_inner_column(context, node);
	if (IsA(node, Query))
	{
		Node	   *result;

		context->sublevels_up++;
		result = (Node *) query_tree_mutator((Query *) node, split_mutator, context, 0);
		context->sublevels_up--;
		return result;
	}
	return expression_tree_mutator(node, split_mutator, context);
}

/* Is there a subquery that is neither in an aggregate nor in a group key? */
static bool
sublink_walker(Node *node, Query *query)
{
	if (node == NULL || IsA(node, Aggref) || IsA(node, GroupingFunc))
		return false;
	if (IsA(node, SubLink))
		return true;
	if (IsA(node, TargetEntry) &&
		is_referenced(query->groupClause, ((TargetEntry *) node)->ressortgroupref) &&
		((TargetEntry *) node)->ressortgroupref > 0)
		return false;
	return expression_tree_walker(node, sublink_walker, query);
}

/* Is a target a key of the groups, or of the windows at this level? */
static bool
is_key_target(const Query *query, const TargetEntry *tle)
{
	Index		ref = tle->ressortgroupref;

	return ref > 0 && (is_window_key(query, ref) || is_referenced(query->groupClause, ref));
}

static List *
list_keys(const Query *query)
{
	List	   *keys = NIL;

	foreach_ptr(TargetEntry, tle, query->targetList)
		if (is_key_target(query, tle))
			keys = lappend(keys, tle->expr);
	return keys;
}

/* Is there a set-returning function outside these expressions? */
static bool
set_walker(Node *node, List *keys)
{
	if (node == NULL || list_member(keys, node))
		return false;
	if ((IsA(node, FuncExpr) && ((FuncExpr *) node)->funcretset) ||
		(IsA(node, OpExpr) && ((OpExpr *) node)->opretset))
		return true;
	return expression_tree_walker(node, set_walker, keys);
}

/*
 * Let the query compute its groups (or window functions), and what is made of
 * them a query above.
 */
static Query *
raise_expressions(Query *query, SplitPlace place)
{
	Query	   *inner = copyObject(query);
	Query	   *outer = mvr_tree_make_select();
	SplitContext context = {inner, place, NIL, 0};

	if (place == ABOVE_GROUPS)
	{
		outer->windowClause = copyObject(query->windowClause);
		outer->hasWindowFuncs = query->hasWindowFuncs;
		inner->windowClause = NIL;
		inner->hasWindowFuncs = false;
		if (query->havingQual && sublink_walker(query->havingQual, query))
			inner->havingQual = NULL;
	}
	/* the inner query keeps what its own clauses refer to */
	context.keys = list_keys(inner);
	inner->targetList = NIL;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		TargetEntry *copy;

		if (!is_key_target(inner, tle))
			continue;
		copy = copyObject(tle);
		copy->resno = list_length(inner->targetList) + 1;
		copy->resjunk = false;
		inner->targetList = lappend(inner->targetList, copy);
	}
	if (query->havingQual && inner->havingQual == NULL)
		outer->jointree->quals = split_mutator(query->havingQual, &context);
	outer->sortClause = copyObject(query->sortClause);
	outer->distinctClause = copyObject(query->distinctClause);
	outer->hasDistinctOn = query->hasDistinctOn;
	outer->hasSubLinks = query->hasSubLinks;
	inner->sortClause = inner->distinctClause = NIL;
	inner->hasDistinctOn = false;
	outer->targetList = copyObject(query->targetList);
	keep_needed_targets(outer);
	outer->targetList = (List *) split_mutator((Node *) outer->targetList, &context);
	outer->hasTargetSRFs = expression_returns_set((Node *) outer->targetList);
	inner->hasTargetSRFs = expression_returns_set((Node *) inner->targetList);
	/* groups are known by their clause: without it, by this */
	if (inner->targetList == NIL)
		mvr_tree_append_target(inner, mvr_tree_make_int4(1), "one");
	if (place == ABOVE_GROUPS && inner->groupClause == NIL && inner->havingQual == NULL)
		inner->havingQual = makeBoolConst(true, false);
	mvr_tree_append_from(outer, mvr_tree_make_subquery_rte(mvr_tree_lower(inner), "layer"));
	return outer;
}

/*
 * Let a query below compute the keys, of which some return sets, from FROM and
 * WHERE.
 */
static Query *
lower_keys(Query *query)
{
	Query	   *inner = mvr_tree_make_select();
	SplitContext context = {inner, BELOW, NIL, 0};

	foreach_ptr(Node, key, list_keys(query))
		if (expression_returns_set(key))
			context.keys = lappend(context.keys, copyObject(key));
	mvr_compat_move_tables(inner, query);
	inner->jointree = query->jointree;
	inner->hasSubLinks = query->hasSubLinks;
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = (List *) split_mutator((Node *) query->targetList, &context);
	query->havingQual = split_mutator(query->havingQual, &context);
	query->hasTargetSRFs = false;
	inner->hasTargetSRFs = true;
	mvr_tree_append_from(query, mvr_tree_make_subquery_rte(mvr_tree_lower(inner), "layer"));
	return query;
}

/* ----------
 * Doors
 * ----------
 */

/* Does a query level have groups or aggregates?  DISTINCT is none of them. */
bool
mvr_layers_is_grouped(const Query *query)
{
	return query->hasAggs || query->groupClause || query->groupingSets ||
		query->havingQual;
}

/* Is a query level maintained by keys?  LIMIT has none: all rows are one key's. */
bool
mvr_layers_is_keyed(const Query *query)
{
	return query->hasWindowFuncs || query->hasDistinctOn || query->limitCount ||
		query->limitOffset;
}

/* Does ORDER BY have a set-returning function that is in no column? */
bool
mvr_layers_is_sorted_by_set(const Query *query)
{
	foreach_ptr(TargetEntry, tle, query->targetList)
		if (tle->resjunk && query->hasTargetSRFs && expression_returns_set((Node *) tle->expr) &&
			is_referenced(query->sortClause, tle->ressortgroupref))
			return true;
	return false;
}

static bool
has_sublinks_over_groups(Query *query)
{
	return query->hasSubLinks && mvr_layers_is_grouped(query) &&
		(sublink_walker((Node *) query->targetList, query) ||
		 sublink_walker(query->havingQual, query));
}

/*
 * Take the last operation of a query level from it if it has others, and return
 * the level that does it; what is left is its subquery, which may be split
 * again.
 */
Query *
mvr_layers_split(Query *query)
{
	bool		is_grouped = mvr_layers_is_grouped(query);
	bool		is_distinct = query->distinctClause != NIL;
	bool		has_rest = is_grouped || query->hasWindowFuncs || query->hasTargetSRFs;

	if ((query->limitCount || query->limitOffset) &&
		(has_rest || is_distinct || query->setOperations))
		return mvr_layers_raise_order(query);
	if (query->setOperations)
		return query;
	if (is_distinct && has_rest)
		return raise_distinct(query);
	if (query->hasWindowFuncs && set_walker((Node *) query->targetList, list_keys(query)))
		return raise_expressions(query, ABOVE_WINDOWS);
	if (is_grouped && (query->hasWindowFuncs || has_sublinks_over_groups(query) ||
					   set_walker((Node *) query->targetList, list_keys(query))))
	{
		query = raise_expressions(query, ABOVE_GROUPS);
		is_grouped = false;
	}
	if ((is_grouped || query->hasWindowFuncs) && query->hasTargetSRFs)
		return lower_keys(query);
	return query;
}
