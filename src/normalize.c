/*
 * normalize.c
 *		A view's query, expanded and brought to the form that delta_query.c knows.
 *
 * The query comes from the view's rule and is expanded by the rewriter, as
 * REFRESH does it: plain views have become subqueries, row-level security has
 * become quals.  Then it becomes a short list of queries, each of which does
 * one thing over a linear input:
 *
 *	linear		FROM items, WHERE, a target list
 *	grouped		the same with groups and aggregates, or DISTINCT
 *	keyed		the same with window functions, DISTINCT ON, or LIMIT
 *
 * Each reads base tables and the queries before it in the list, as if those
 * were tables (an ephemeral named relation "stage 1" ...).  The last one is the
 * view's own, and is linear or grouped.
 *
 * The FROM list of a linear input is flat but for LEFT JOINs.  What stands in
 * it, or on the left side of a LEFT JOIN, is linear: rows of the result change
 * as its rows do.  The right sides of LEFT JOINs, LATERAL subqueries and
 * subqueries in expressions are "dependent": each is a function of the rows of
 * the linear items.  A subquery that depends on nothing outside of it, and does
 * more than a linear query, becomes a query of its own in the list.
 *
 * The steps are those of the planner's own preparation: CTEs become
 * subqueries, join aliases what they stand for, inner joins a flat FROM list,
 * simple subqueries part of the query around them.
 *
 * A query that cannot be brought there is no error: the reason is returned.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_inherits.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* ----------
 * Expansion
 * ----------
 */

/*
 * The view's query, expanded, with the locks on its relations that running it
 * needs.  Runs the rewriter as the current user, who must be the view's owner
 * for row-level security to be seen as he sees it.
 */
Query *
mvr_normalize_expand(Relation view)
{
	Query	   *query;
	List	   *rewritten;

	if (view->rd_rules == NULL || view->rd_rules->numLocks != 1 ||
		list_length(view->rd_rules->rules[0]->actions) != 1)
		elog(ERROR, "materialized view \"%s\" has no single rule",
			 RelationGetRelationName(view));
	query = copyObject(linitial_node(Query, view->rd_rules->rules[0]->actions));
	AcquireRewriteLocks(query, true, false);
	rewritten = QueryRewrite(query);
	if (list_length(rewritten) != 1)
		elog(ERROR, "unexpected rewrite result for materialized view \"%s\"",
			 RelationGetRelationName(view));
	return linitial_node(Query, rewritten);
}

/* ----------
 * CTEs become subqueries
 * ----------
 */

typedef struct InlineContext
{
	const char *name;
	int			levelsup;
	Query	   *subquery;
	bool		is_fence;		/* core would compute it by itself */
} InlineContext;

static bool
inline_cte_walker(Node *node, InlineContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		bool		stop;

		context->levelsup++;
		stop = query_tree_walker((Query *) node, inline_cte_walker, context,
								 QTW_EXAMINE_RTES_AFTER);
		context->levelsup--;
		return stop;
	}
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_CTE && strcmp(rte->ctename, context->name) == 0 &&
			(int) rte->ctelevelsup == context->levelsup)
		{
			Query	   *subquery = copyObject(context->subquery);

			if (context->levelsup > 0)
				IncrementVarSublevelsUp((Node *) subquery, context->levelsup, 1);
			rte->rtekind = RTE_SUBQUERY;
			rte->subquery = subquery;
			rte->security_barrier = false;
			rte->ctename = NULL;
			rte->ctelevelsup = 0;
			/* normalize_from_items looks if it has to be one */
			if (context->is_fence)
				mvr_tree_set_fence(rte);
			rte->coltypes = rte->coltypmods = rte->colcollations = NIL;
		}
		return false;
	}
	return expression_tree_walker(node, inline_cte_walker, context);
}

/*
 * Replace references to CTEs by copies of them.  The model is inline_cte() of
 * core's subselect.c; here every CTE goes, since a view's query has no side
 * effects and volatile functions are refused.  Later CTEs may refer to earlier
 * ones, so go in order, and let each replacement reach into those that follow.
 */
static void
inline_ctes(Query *query)
{
	List	   *ctes = query->cteList;

	query->cteList = NIL;
	foreach_ptr(CommonTableExpr, cte, ctes)
	{
		InlineContext context = {cte->ctename, -1, castNode(Query, cte->ctequery),
			cte->ctematerialized == CTEMaterializeAlways ||
			(cte->ctematerialized == CTEMaterializeDefault && cte->cterefcount > 1)};

		inline_cte_walker((Node *) query, &context);
		context.levelsup = 0;
		foreach_ptr(CommonTableExpr, later, ctes)
		{
			if (later == cte)
				continue;
			/* the later one's own query is one level further in */
			context.levelsup = 0;
			inline_cte_walker(later->ctequery, &context);
		}
	}
}

/* ----------
 * Aliases become what they stand for
 * ----------
 */

static void
flatten_aliases(Query *query)
{
	if (mvr_compat_has_group_rte(query))
	{
		query->targetList = (List *)
			mvr_compat_flatten_groups(query, (Node *) query->targetList);
		query->havingQual = mvr_compat_flatten_groups(query, query->havingQual);
		mvr_compat_clear_group_rte(query);
	}
	query->targetList = (List *)
		mvr_compat_flatten_aliases(query, (Node *) query->targetList);
	query->havingQual = mvr_compat_flatten_aliases(query, query->havingQual);
	query->jointree = (FromExpr *)
		mvr_compat_flatten_aliases(query, (Node *) query->jointree);
	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		rte->functions = (List *)
			mvr_compat_flatten_aliases(query, (Node *) rte->functions);
		rte->values_lists = (List *)
			mvr_compat_flatten_aliases(query, (Node *) rte->values_lists);
		rte->tablefunc = (TableFunc *)
			mvr_compat_flatten_aliases(query, (Node *) rte->tablefunc);
		if (rte->rtekind == RTE_SUBQUERY && rte->lateral)
			rte->subquery = (Query *)
				mvr_compat_flatten_aliases(query, (Node *) rte->subquery);
	}
	foreach_ptr(RangeTblEntry, rte, query->rtable)
		if (rte->rtekind == RTE_JOIN)
			rte->joinaliasvars = NIL;
}

/* ----------
 * Joins become a flat FROM list, but for LEFT JOINs
 * ----------
 */

static Node *flatten_join(Node *node);

/* The items of a list, with the items of inner joins among them, and quals */
static void
flatten_inner(Node *node, List **from, List **quals)
{
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			flatten_inner(item, from, quals);
		*quals = lappend(*quals, ((FromExpr *) node)->quals);
	}
	else if (IsA(node, JoinExpr) && ((JoinExpr *) node)->jointype == JOIN_INNER)
	{
		flatten_inner(((JoinExpr *) node)->larg, from, quals);
		flatten_inner(((JoinExpr *) node)->rarg, from, quals);
		*quals = lappend(*quals, ((JoinExpr *) node)->quals);
	}
	else
		*from = lappend(*from, flatten_join(node));
}

static Node *
flatten_join(Node *node)
{
	List	   *from = NIL;
	List	   *quals = NIL;

	if (IsA(node, RangeTblRef))
		return node;
	if (IsA(node, JoinExpr) && ((JoinExpr *) node)->jointype != JOIN_INNER)
	{
		((JoinExpr *) node)->larg = flatten_join(((JoinExpr *) node)->larg);
		((JoinExpr *) node)->rarg = flatten_join(((JoinExpr *) node)->rarg);
		return node;
	}
	flatten_inner(node, &from, &quals);
	return (Node *) makeFromExpr(from, mvr_tree_and(quals));
}

typedef struct FenceContext
{
	int			rti;
	List	   *targets;		/* of the subquery there */
	bool		is_needed;
} FenceContext;

/*
 * Does a condition use a column of the subquery that may fail, or may it fail itself?
 * Of subqueries in it that is not known.
 */
static bool
is_risky_qual(Node *qual, FenceContext *context)
{
	List	   *vars = pull_vars_of_level(qual, 0);
	bool		is_used = false;

	foreach_ptr(Var, var, vars)
	{
		TargetEntry *tle = NULL;

		if (var->varno != context->rti)
			continue;
		is_used = true;
		if (var->varattno > 0)
			tle = get_tle_by_resno(context->targets, var->varattno);
		if (tle == NULL || mvr_tree_may_fail((Node *) tle->expr))
			return true;
	}
	return is_used && (mvr_tree_may_fail(qual) || checkExprHasSubLink(qual));
}

static void
find_risky_quals(Node *node, FenceContext *context)
{
	Node	   *quals;

	if (IsA(node, RangeTblRef))
		return;
	if (IsA(node, JoinExpr))
	{
		find_risky_quals(((JoinExpr *) node)->larg, context);
		find_risky_quals(((JoinExpr *) node)->rarg, context);
		quals = ((JoinExpr *) node)->quals;
	}
	else
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			find_risky_quals(item, context);
		quals = ((FromExpr *) node)->quals;
	}
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) quals))
		context->is_needed |= is_risky_qual(qual, context);
}

/*
 * A CTE that core computes first may leave out rows for which conditions around it
 * fail.  As part of the query around it, it would not: conditions are asked in the
 * order of their cost.  Here a subquery has one in it; if so, it becomes a fence.
 */
static bool
is_fence_needed(Query *query, int rti)
{
	Query	   *sub = rt_fetch(rti, query->rtable)->subquery;
	FenceContext context = {rti, sub->targetList, false};

	if (sub->jointree->quals == NULL && list_length(sub->jointree->fromlist) <= 1)
		return false;
	/* computed for each row, before other items have left out some */
	foreach_ptr(RangeTblEntry, rte, query->rtable)
		if (bms_is_member(rti, mvr_tree_list_lateral(rte)))
			return true;
	find_risky_quals((Node *) query->jointree, &context);
	return context.is_needed;
}

/* May this subquery become part of the query around it? */
static bool
is_simple_subquery(RangeTblEntry *rte)
{
	Query	   *sub = rte->subquery;

	return !rte->security_barrier && rte->securityQuals == NIL && !mvr_tree_is_fence(rte) &&
		sub->setOperations == NULL && sub->jointree->fromlist != NIL &&
		sub->sortClause == NIL && !sub->hasTargetSRFs &&
		!mvr_layers_is_keyed(sub) && !mvr_normalize_is_grouped(sub);
}

/*
 * Does a condition in this join tree refer to items of the query around it that
 * are not in "within"?  With within = NULL, one of an outer join to any.
 */
static bool
has_outer_condition(Node *node, Bitmapset *within, bool is_restricted)
{
	Node	   *quals;

	if (IsA(node, RangeTblRef))
		return false;
	if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		if (has_outer_condition(join->larg, NULL, true) ||
			has_outer_condition(join->rarg, NULL, true))
			return true;
		quals = join->quals;
		within = NULL;
		is_restricted = true;
	}
	else
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (has_outer_condition(item, within, is_restricted))
				return true;
		quals = ((FromExpr *) node)->quals;
	}
	return is_restricted &&
		!bms_is_subset(pull_varnos_of_level(NULL, quals, 1), within);
}

/* The items of the lowest outer join that has the item, or NULL */
static Bitmapset *
list_join_around(Node *node, int rti)
{
	Bitmapset  *found = NULL;

	if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		found = list_join_around(join->larg, rti);
		if (found == NULL)
			found = list_join_around(join->rarg, rti);
		if (found == NULL && bms_is_member(rti, mvr_tree_list_rtis(node)))
			found = mvr_tree_list_rtis(node);
	}
	else if (IsA(node, FromExpr))
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (found == NULL)
				found = list_join_around(item, rti);
	return found;
}

/*
 * Would conditions of a LATERAL subquery, pulled up, stand in an outer join that
 * does not have the items they refer to?  The planner cannot do with that; the
 * rules are those of its own is_simple_subquery().
 */
static bool
breaks_join(Query *query, int rti)
{
	Query	   *sub = rt_fetch(rti, query->rtable)->subquery;
	Bitmapset  *within = list_join_around((Node *) query->jointree, rti);

	return has_outer_condition((Node *) sub->jointree, within, within != NULL) ||
		(within && !bms_is_subset(pull_varnos_of_level(NULL, (Node *) sub->targetList, 1),
								  within));
}

static bool
replace_ref(Node **node, int rti, FromExpr *by)
{
	if (IsA(*node, RangeTblRef))
	{
		if (((RangeTblRef *) *node)->rtindex != rti)
			return false;
		*node = (Node *) by;
		return true;
	}
	if (IsA(*node, JoinExpr))
		return replace_ref(&((JoinExpr *) *node)->larg, rti, by) ||
			replace_ref(&((JoinExpr *) *node)->rarg, rti, by);
	for (int i = 0; i < list_length(((FromExpr *) *node)->fromlist); i++)
		if (replace_ref((Node **) &lfirst(list_nth_cell(((FromExpr *) *node)->fromlist, i)),
						rti, by))
			return true;
	return false;
}

/*
 * Make the subquery at rti part of the query.  Both are normalized, and nothing
 * around makes its rows NULL, so columns can stand for what they are without
 * placeholders.  Returns the query, which is modified.
 */
static Query *
pull_up_subquery(Query *query, int rti)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	RangeTblEntry *seen = copyObject(rte);
	Query	   *sub = rte->subquery;
	Node	   *tree;

	OffsetVarNodes((Node *) sub, list_length(query->rtable), 0);
	IncrementVarSublevelsUp((Node *) sub, -1, 1);
	mvr_tree_blank_rte(rte);
	query = (Query *) mvr_compat_replace_vars((Node *) query, rti, seen,
											  sub->targetList, &query->hasSubLinks);
	query->hasSubLinks |= sub->hasSubLinks;
	/* what referred to the query around it refers to its neighbours now */
	foreach_ptr(RangeTblEntry, item, sub->rtable)
		if (item->rtekind == RTE_FUNCTION || item->rtekind == RTE_VALUES ||
			item->rtekind == RTE_TABLEFUNC)
			item->lateral |= seen->lateral;
	mvr_compat_combine_range_tables(query, sub);
	tree = (Node *) query->jointree;
	if (!replace_ref(&tree, rti, sub->jointree))
		elog(ERROR, "FROM item %d not found", rti);
	query->jointree = castNode(FromExpr, flatten_join(tree));
	return query;
}

/* ----------
 * What is not maintained
 * ----------
 */

/* Is a query level maintained by groups?  So is DISTINCT, by all columns. */
bool
mvr_normalize_is_grouped(const Query *query)
{
	return mvr_layers_is_grouped(query) ||
		(query->distinctClause && !query->hasDistinctOn);
}

/* Of rows without columns, versions of PostgreSQL differ in what is a duplicate */
static bool
compares_nothing(Node *node)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	if (node == NULL || !IsA(node, SetOperationStmt) || op->colTypes != NIL)
		return false;
	return op->op != SETOP_UNION || !op->all ||
		compares_nothing(op->larg) || compares_nothing(op->rarg);
}

/* A construct of this query level that is not maintained, or NULL */
static char *
refuse_clause(const Query *query)
{
	if (query->commandType != CMD_SELECT || query->utilityStmt)
		return "the query is not a SELECT";
	foreach_ptr(CommonTableExpr, cte, query->cteList)
		if (cte->cterecursive)
			return "the query is recursive";
	if (query->hasRowSecurity)
		return "a base table has row-level security";
	if (query->rowMarks)
		return "the query locks rows";
	if (compares_nothing(query->setOperations))
		return "a set operation has no columns";
	return NULL;
}

static char *
refuse_relation(RangeTblEntry *rte)
{
	if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE &&
		rte->relkind != RELKIND_MATVIEW)
		return psprintf("\"%s\" is not a table", get_rel_name(rte->relid));
	if (!rte->inh && has_subclass(rte->relid))
		return psprintf("the query reads ONLY \"%s\"", get_rel_name(rte->relid));
	if (rte->tablesample)
		return "the query has TABLESAMPLE";
	if (rte->securityQuals)
		return psprintf("\"%s\" has row-level security", get_rel_name(rte->relid));
	return NULL;
}

/*
 * Nobody sees to the length or scale in a column definition list but PostgreSQL's own
 * functions that make records of documents; and how a value shows depends on it.
 */
static bool
has_loose_columns(RangeTblFunction *function)
{
	ListCell   *lc;

	if (!IsA(function->funcexpr, FuncExpr) ||
		((FuncExpr *) function->funcexpr)->funcid < FirstUnpinnedObjectId)
		return false;
	foreach(lc, function->funccoltypmods)
		if (lfirst_int(lc) >= 0)
			return true;
	return false;
}

static char *
refuse_function(RangeTblEntry *rte)
{
	foreach_ptr(RangeTblFunction, function, rte->functions)
		if (has_loose_columns(function))
			return "a function's columns are declared with a length or scale";
	return NULL;
}

static char *
refuse_from_item(RangeTblEntry *rte)
{
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return refuse_relation(rte);
		case RTE_FUNCTION:
			return refuse_function(rte);
		case RTE_SUBQUERY:
			return rte->securityQuals ? "a view has security quals" : NULL;
		case RTE_TABLEFUNC:
		case RTE_VALUES:
		case RTE_RESULT:
		case RTE_JOIN:
		case RTE_NAMEDTUPLESTORE:
			return NULL;
		default:
			return "the query reads a relation of unknown kind";
	}
}

/* Vars that an image of the logged columns cannot answer */
typedef struct VarContext
{
	Query	   *query;
	int			sublevels_up;
	bool		has_rows;		/* whole rows are to be expanded yet */
	char	   *reason;
} VarContext;

static bool
refuse_var_walker(Node *node, VarContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *rte;

		if ((int) var->varlevelsup != context->sublevels_up || var->varattno > 0)
			return false;
		rte = rt_fetch(var->varno, context->query->rtable);
		if (var->varattno < 0)
			context->reason = "the query reads a system column";
		else if (rte->rtekind == RTE_RELATION && mvr_columns_is_odd_row(rte->relid))
			context->reason = "the query reads whole rows of a table with virtual and dropped columns";
		else if (rte->rtekind == RTE_JOIN && mvr_compat_is_nulled(var))
			context->reason = "the query reads whole rows of a join that an outer join makes NULL";
		else if (context->has_rows)
			return false;
		else if (rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY ||
				 rte->rtekind == RTE_NAMEDTUPLESTORE || rte->rtekind == RTE_JOIN)
			context->reason = "the query reads a whole row";
		return context->reason != NULL;
	}
	if (IsA(node, Query))
	{
		bool		stop;

		context->sublevels_up++;
		stop = query_tree_walker((Query *) node, refuse_var_walker, context, 0);
		context->sublevels_up--;
		return stop;
	}
	return expression_tree_walker(node, refuse_var_walker, context);
}

static char *
refuse_vars(Query *query, bool has_rows)
{
	VarContext	context = {.query = query, .has_rows = has_rows};

	query_tree_walker(query, refuse_var_walker, &context, 0);
	return context.reason;
}

/* ----------
 * Levels
 * ----------
 */

/* What a query level is for the one around it */
typedef enum Role
{
	ROLE_VIEW,					/* it is the view's own */
	ROLE_ITEM,					/* a FROM item that depends on nothing outside */
	ROLE_DEPENDENT				/* computed for each row of something outside */
} Role;

typedef struct Context
{
	List	   *stages;			/* of Query: those that became queries of their own */
	bool		has_lost_order; /* of some subquery with ORDER BY */
	bool		has_fence;		/* a CTE that core computes first is in the level */
	char	   *reason;
} Context;

static Query *normalize_level(Query *query, Role role, Context *context);

static void
refuse(Context *context, char *reason)
{
	if (context->reason == NULL)
		context->reason = reason;
}

/* Remove what does not bear on the contents: ORDER BY, and columns for it */
static void
drop_order(Query *query)
{
	List	   *kept = NIL;

	if (mvr_layers_is_keyed(query))
		return;
	query->sortClause = NIL;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		if (!mvr_normalize_is_grouped(query))
		{
			if (tle->resjunk)
				continue;
			tle->ressortgroupref = 0;
		}
		else if (tle->resjunk && tle->ressortgroupref == 0)
			continue;
		kept = lappend(kept, tle);
	}
	query->targetList = kept;
}

static bool
is_constant(Node *node, bool is_null)
{
	Const	   *value = (Const *) eval_const_expressions(NULL, node);

	if (!IsA(value, Const) || value->constisnull || is_null)
		return IsA(value, Const) && value->constisnull;
	return DatumGetInt64(value->constvalue) == 0;
}

/*
 * Remove a LIMIT ALL or OFFSET 0.  All it does is to keep apart what is in the query
 * from what is around it; returns whether there was one.
 */
static bool
drop_idle_limit(Query *query)
{
	if ((query->limitCount == NULL && query->limitOffset == NULL) ||
		(query->limitCount && !is_constant(query->limitCount, true)) ||
		(query->limitOffset && !is_constant(query->limitOffset, false)))
		return false;
	query->limitCount = query->limitOffset = NULL;
	return true;
}

/* A range table entry that reads stage "number", whose query this is */
static RangeTblEntry *
make_stage_rte(Query *query, int number)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = psprintf("stage %d", number);
	rte->enrtuples = 1000;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		Node	   *expr = (Node *) tle->expr;

		if (tle->resjunk)
			continue;
		rte->coltypes = lappend_oid(rte->coltypes, exprType(expr));
		rte->coltypmods = lappend_int(rte->coltypmods, exprTypmod(expr));
		rte->colcollations = lappend_oid(rte->colcollations, exprCollation(expr));
		names = lappend(names, makeString(pstrdup(tle->resname ? tle->resname : "")));
	}
	rte->eref = makeAlias(rte->enrname, names);
	rte->inFromCl = true;
	return rte;
}

/* Targets that are seen come first, numbered, as a table's columns would */
static void
sort_targets(Query *query)
{
	List	   *seen = NIL;
	List	   *junk = NIL;

	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		if (tle->resjunk)
			junk = lappend(junk, tle);
		else
			seen = lappend(seen, tle);
	}
	query->targetList = list_concat(seen, junk);
	for (int i = 0; i < list_length(query->targetList); i++)
		((TargetEntry *) list_nth(query->targetList, i))->resno = i + 1;
}

/*
 * Make a normalized query one of its own in the list, unless there is one like
 * it, and return a query that reads it.
 */
static Query *
make_stage(Query *query, Context *context)
{
	Query	   *outer = mvr_tree_make_select();
	int			number = 0;
	int			n = 0;

	sort_targets(query);
	foreach_ptr(Query, other, context->stages)
	{
		n++;
		if (number == 0 && equal(other, query))
			number = n;
	}
	if (number == 0)
	{
		context->stages = lappend(context->stages, query);
		number = list_length(context->stages);
	}
	mvr_tree_append_from(outer, make_stage_rte(query, number));
	foreach_ptr(TargetEntry, tle, query->targetList)
		if (!tle->resjunk)
			mvr_tree_append_target(outer, (Expr *) makeVarFromTargetEntry(1, tle),
								   tle->resname);
	return outer;
}

/* ----------
 * FROM items
 * ----------
 */

/* Normalize the subqueries in FROM, and pull up the simple ones */
static Query *
normalize_from_items(Query *query, Context *context)
{
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);
	int			rti = -1;

	while ((rti = bms_next_member(used, rti)) >= 0 && context->reason == NULL)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (rte->rtekind == RTE_SUBQUERY)
		{
			bool		is_correlated = mvr_tree_is_correlated(rte->subquery);
			bool		has_fence = context->has_fence;
			bool		is_fence = drop_idle_limit(rte->subquery) || mvr_tree_is_fence(rte);

			rte->self_reference = false;
			rte->lateral = is_correlated;
			context->has_fence = false;
			rte->subquery = normalize_level(rte->subquery, is_correlated ?
											ROLE_DEPENDENT : ROLE_ITEM, context);
			if (context->reason)
				return query;
			is_fence |= context->has_fence;
			context->has_fence = has_fence || is_fence;
			if (is_fence && is_fence_needed(query, rti))
				mvr_tree_set_fence(rte);
			rte->eref = mvr_tree_make_subquery_rte(rte->subquery,
												   rte->eref->aliasname)->eref;
			if (is_simple_subquery(rte) &&
				bms_is_member(rti, mvr_tree_list_linear(query)) && !breaks_join(query, rti))
			{
				query = pull_up_subquery(query, rti);
				continue;
			}
		}
		if (refuse_from_item(rte))
			refuse(context, refuse_from_item(rte));
	}
	return query;
}

/* Normalize the arms of UNION ALL, which are its range table */
static Query *
normalize_arms(Query *query, Context *context)
{
	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		bool		is_correlated;

		if (rte->rtekind != RTE_SUBQUERY || context->reason)
			continue;
		is_correlated = mvr_tree_is_correlated(rte->subquery);
		rte->subquery = normalize_level(rte->subquery, is_correlated ?
										ROLE_DEPENDENT : ROLE_ITEM, context);
	}
	return query;
}

/* ----------
 * Subqueries in expressions
 * ----------
 */

static bool
normalize_sublinks(Node *node, Context *context)
{
	if (node == NULL || context->reason)
		return false;
	if (IsA(node, SubLink))
	{
		SubLink    *link = (SubLink *) node;
		Query	   *query = castNode(Query, link->subselect);
		bool		is_ordered = link->subLinkType == ARRAY_SUBLINK && query->sortClause;

		/* an array has the order of its query, which no table would keep */
		link->subselect = (Node *)
			normalize_level(query, mvr_tree_is_correlated(query) || is_ordered ?
							ROLE_DEPENDENT : ROLE_ITEM, context);
		return normalize_sublinks(link->testexpr, context);
	}
	/* other levels see to their own */
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, normalize_sublinks, context);
}

static void
normalize_expressions(Query *query, Context *context)
{
	if (!query->hasSubLinks)
		return;
	normalize_sublinks((Node *) query->targetList, context);
	normalize_sublinks((Node *) query->jointree, context);
	normalize_sublinks(query->havingQual, context);
	normalize_sublinks(query->limitCount, context);
	normalize_sublinks(query->limitOffset, context);
	normalize_sublinks((Node *) query->windowClause, context);
	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		normalize_sublinks((Node *) rte->functions, context);
		normalize_sublinks((Node *) rte->values_lists, context);
		normalize_sublinks((Node *) rte->tablefunc, context);
	}
}

/* ----------
 * One level
 * ----------
 */

/* FROM, WHERE and expressions of a level that has no set operation */
static Query *
normalize_input(Query *query, Context *context)
{
	mvr_desugar_right_joins(query, (Node *) query->jointree);
	query = mvr_desugar_full_joins(query);
	query->jointree = castNode(FromExpr, flatten_join((Node *) query->jointree));
	mvr_tree_blank_unused(query);
	query = mvr_columns_expand(query);
	normalize_expressions(query, context);
	if (context->reason)
		return query;
	query = normalize_from_items(query, context);
	if (context->reason)
		return query;
	mvr_tree_blank_unused(query);
	mvr_not_in_rewrite(query);
	if (refuse_vars(query, false))
		refuse(context, refuse_vars(query, false));
	return query;
}

/*
 * A level that depends on what is outside of it is computed as it is.  But the
 * planner casts the arms of set operations itself, and a delta is put into one of them;
 * and from 18 on it must know which columns are keys of grouping sets, which is not
 * kept.
 */
static bool
needs_desugaring(Query *query)
{
	return query->groupingSets ||
		(query->setOperations && !mvr_desugar_fits_arms(query));
}

/* The last operation of a level, over those before it, as one that has a delta rule */
static Query *
desugar_level(Query *query, Role role, Context *context)
{
	char	   *reason = NULL;

	/* an array is made of the rows in their order, and a set sorted by is one of the columns */
	if (query->sortClause && !query->limitCount && !query->limitOffset && !query->hasDistinctOn &&
		(role == ROLE_DEPENDENT || mvr_layers_is_sorted_by_set(query)))
		return mvr_layers_raise_order(query);
	query = mvr_layers_split(query);
	if (query->setOperations)
		return mvr_desugar_set_operations(query);
	if (query->groupingSets == NIL)
		return query;
	query = mvr_desugar_grouping_sets(query, &reason);
	if (query == NULL)
		refuse(context, reason);
	return query;
}

/*
 * Bring a query level, and those below, to the form described at the top of
 * the file.  On failure the context has a reason, and the query is in no state
 * to be used.
 */
static Query *
normalize_level(Query *query, Role role, Context *context)
{
	check_stack_depth();
	if (refuse_clause(query))
		refuse(context, refuse_clause(query));
	if (context->reason)
		return query;
	inline_ctes(query);
	drop_idle_limit(query);
	if (refuse_vars(query, true))
	{
		refuse(context, refuse_vars(query, true));
		return query;
	}
	if (query->setOperations == NULL)
		flatten_aliases(query);
	if (query->groupClause && query->groupingSets == NIL)
		mvr_desugar_grouping(query);
	if (query->groupingSets && mvr_desugar_has_constant_key(query))
		refuse(context, "a constant is a key of the grouping sets, and used elsewhere");
	context->has_lost_order |= role == ROLE_ITEM && query->sortClause;
	if (role != ROLE_DEPENDENT || needs_desugaring(query))
		query = desugar_level(query, role, context);
	if (context->reason)
		return query;
	if (role != ROLE_DEPENDENT)
		drop_order(query);
	if (query->setOperations)
		return normalize_arms(query, context);
	query = normalize_input(query, context);
	if (context->reason || role == ROLE_DEPENDENT)
		return query;
	if (mvr_layers_is_keyed(query) ||
		(mvr_normalize_is_grouped(query) && role == ROLE_ITEM))
		query = make_stage(query, context);
	return query;
}

/* Does the result of an aggregate without ORDER BY depend on the order of rows? */
static bool
is_ordered_aggregate(Oid aggfnoid)
{
	const char *name = get_func_name(aggfnoid);

	return aggfnoid >= FirstUnpinnedObjectId || name == NULL ||
		strncmp(name, "array_agg", 9) == 0 || strncmp(name, "string_agg", 10) == 0 ||
		strncmp(name, "json", 4) == 0 || strncmp(name, "xmlagg", 6) == 0 ||
		strcmp(name, "any_value") == 0;
}

/* Without ORDER BY all rows are peers: then ranks and frames by RANGE have no order */
static bool
is_ordered_window(WindowFunc *func, Query *query)
{
	const char *name = get_func_name(func->winfnoid);
	int			frame = 0;

	foreach_ptr(WindowClause, window, query->windowClause)
	{
		if (window->winref == func->winref && window->orderClause)
			return false;
		if (window->winref == func->winref)
			frame = window->frameOptions;
	}
	if (func->winagg)
		return (frame & FRAMEOPTION_ROWS) || is_ordered_aggregate(func->winfnoid);
	return func->winfnoid >= FirstUnpinnedObjectId || name == NULL ||
		(strcmp(name, "rank") != 0 && strcmp(name, "dense_rank") != 0 &&
		 strcmp(name, "percent_rank") != 0 && strcmp(name, "cume_dist") != 0);
}

/*
 * Does something depend on the order in which rows come?  SQL does not say that
 * a subquery's ORDER BY counts outside of it, but it does as long as nothing
 * comes between; here something does.  "context" is the query that is walked.
 */
static bool
order_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
	{
		Aggref	   *agg = (Aggref *) node;

		if (agg->aggorder == NIL && agg->aggdistinct == NIL &&
			is_ordered_aggregate(agg->aggfnoid))
			return true;
	}
	if (IsA(node, WindowFunc) && is_ordered_window((WindowFunc *) node, context))
		return true;
	if (IsA(node, SubLink) && ((SubLink *) node)->subLinkType == ARRAY_SUBLINK &&
		castNode(Query, ((SubLink *) node)->subselect)->sortClause == NIL)
		return true;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if ((query->limitCount || query->limitOffset || query->hasDistinctOn) &&
			query->sortClause == NIL)
			return true;
		return query_tree_walker(query, order_walker, query, 0);
	}
	return expression_tree_walker(node, order_walker, context);
}

/*
 * The delta rule marks places by aliases, which nobody reads after the parser:
 * clear those of the user.
 */
static bool
clear_aliases(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		((RangeTblEntry *) node)->alias = NULL;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, clear_aliases, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, clear_aliases, context);
}

/*
 * A view's query, which is modified, as a list of normalized ones, of which
 * the last is the view's own; or NIL, and the reason in *reason.
 */
List *
mvr_normalize_query(Query *query, char **reason)
{
	Context		context = {0};

	clear_aliases((Node *) query, NULL);
	query = normalize_level(query, ROLE_VIEW, &context);
	context.stages = lappend(context.stages, query);
	if (context.has_lost_order && order_walker((Node *) context.stages, NULL))
		refuse(&context, "the result depends on the order of a subquery");
	*reason = context.reason;
	return context.reason ? NIL : context.stages;
}
