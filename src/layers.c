/*
 * layers.c
 *		One operator for each query level.
 *
 * A SELECT computes, in this order: FROM and WHERE, groups, window functions,
 * set-returning functions of the target list, DISTINCT, ORDER BY with LIMIT.
 * A level that does more than one of them becomes two: the last one stays, over
 * a subquery that does the others, and so on down.
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

/* Is a target that nobody sees still needed, to sort or for a window? */
static bool
is_needed(Query *query, TargetEntry *tle)
{
	Index		ref = tle->ressortgroupref;

	if (!tle->resjunk)
		return true;
	if (ref == 0)
		return false;
	foreach_ptr(WindowClause, window, query->windowClause)
		if (is_referenced(window->partitionClause, ref) ||
			is_referenced(window->orderClause, ref))
			return true;
	return is_referenced(query->sortClause, ref) ||
		is_referenced(query->distinctClause, ref);
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
 * Let the query be a subquery, and return one over it that has its target list
 * as plain columns, with the same references for sorting.
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
	foreach_ptr(TargetEntry, tle, query->targetList)
		tle->resjunk = false;
	mvr_tree_append_from(outer, mvr_tree_make_subquery_rte(query, "layer"));
	return outer;
}

static Query *
raise_limit(Query *query)
{
	Query	   *outer = make_level_above(query);

	outer->limitCount = query->limitCount;
	outer->limitOffset = query->limitOffset;
	outer->limitOption = query->limitOption;
	outer->sortClause = copyObject(query->sortClause);
	query->limitCount = query->limitOffset = NULL;
	query->limitOption = LIMIT_OPTION_COUNT;
	if (!query->hasDistinctOn)
		query->sortClause = NIL;
	keep_needed_targets(outer);
	return outer;
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
	keep_needed_targets(outer);
	return outer;
}

/* ----------
 * Between expressions: what is computed over groups, or over window functions
 * ----------
 */

typedef struct SplitContext
{
	Query	   *inner;
	bool		is_grouped;		/* inner has groups; else window functions */
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
is_group_key(SplitContext *context, Node *node)
{
	foreach_ptr(SortGroupClause, clause, context->inner->groupClause)
	{
		Node	   *key = get_sortgroupclause_expr(clause, context->inner->targetList);

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
	if (context->is_grouped && is_group_key(context, node))
		is_inner = true;
	else if (IsA(node, Var))
		is_inner = (int) ((Var *) node)->varlevelsup == context->sublevels_up;
	else if (IsA(node, Aggref))
		is_inner = (int) ((Aggref *) node)->agglevelsup == context->sublevels_up;
	else if (IsA(node, GroupingFunc))
		is_inner = (int) ((GroupingFunc *) node)->agglevelsup == context->sublevels_up;
	else if (IsA(node, WindowFunc))
		is_inner = !context->is_grouped && context->sublevels_up == 0;
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

/*
 * Let the query compute its groups (or window functions), and what is made of
 * them a query above.
 */
static Query *
raise_expressions(Query *query, bool is_grouped)
{
	Query	   *inner = copyObject(query);
	Query	   *outer = mvr_tree_make_select();
	SplitContext context = {inner, is_grouped, 0};

	/* the inner query keeps what its own clauses refer to */
	inner->targetList = NIL;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		bool		is_kept = is_grouped && is_referenced(query->groupClause,
														  tle->ressortgroupref);

		foreach_ptr(WindowClause, window, is_grouped ? NIL : query->windowClause)
			if (is_referenced(window->partitionClause, tle->ressortgroupref) ||
				is_referenced(window->orderClause, tle->ressortgroupref))
				is_kept = true;
		if (is_kept && tle->ressortgroupref > 0)
		{
			TargetEntry *copy = copyObject(tle);

			copy->resno = list_length(inner->targetList) + 1;
			copy->resjunk = false;
			inner->targetList = lappend(inner->targetList, copy);
		}
	}
	if (is_grouped)
	{
		outer->windowClause = copyObject(query->windowClause);
		outer->hasWindowFuncs = query->hasWindowFuncs;
		inner->windowClause = NIL;
		inner->hasWindowFuncs = false;
		if (query->havingQual && sublink_walker(query->havingQual, query))
		{
			inner->havingQual = NULL;
			outer->jointree->quals = split_mutator(query->havingQual, &context);
		}
	}
	outer->sortClause = copyObject(query->sortClause);
	outer->distinctClause = copyObject(query->distinctClause);
	outer->hasDistinctOn = query->hasDistinctOn;
	outer->hasTargetSRFs = query->hasTargetSRFs;
	outer->hasSubLinks = query->hasSubLinks;
	inner->sortClause = inner->distinctClause = NIL;
	inner->hasDistinctOn = false;
	inner->hasTargetSRFs = false;
	outer->targetList = copyObject(query->targetList);
	keep_needed_targets(outer);
	outer->targetList = (List *) split_mutator((Node *) outer->targetList, &context);
	outer->windowClause = (List *)
		split_mutator((Node *) outer->windowClause, &context);
	/* groups are known by their clause: without it, by this */
	if (inner->targetList == NIL)
		mvr_tree_append_target(inner, mvr_tree_make_int4(1), "one");
	if (is_grouped && inner->groupClause == NIL && inner->havingQual == NULL)
		inner->havingQual = makeBoolConst(true, false);
	mvr_tree_append_from(outer, mvr_tree_make_subquery_rte(inner, "layer"));
	return outer;
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
		return raise_limit(query);
	if (query->setOperations)
		return query;
	if (is_distinct && has_rest)
		return raise_distinct(query);
	if (query->hasTargetSRFs && query->hasWindowFuncs)
		return raise_expressions(query, false);
	if (is_grouped && (query->hasTargetSRFs || query->hasWindowFuncs ||
					   has_sublinks_over_groups(query)))
		return raise_expressions(query, true);
	return query;
}
