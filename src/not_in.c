/*
 * not_in.c
 *		NOT IN and its kin as EXISTS and NOT EXISTS.
 *
 * The planner computes x NOT IN (q) from all rows of q, because of NULLs: if
 * there is one among them, or x is one, the result is NULL.  A condition takes
 * that for false, so there
 *
 *	x NOT IN (q)		NOT EXISTS (q WHERE x = y) AND NOT EXISTS (q WHERE y IS NULL)
 *						AND (x IS NOT NULL OR NOT EXISTS (q))
 *	x op ALL (q)		the same with the negator of op
 *	x op ANY (q)		EXISTS (q WHERE x op y)
 *
 * where y is the column of q, and what tests for NULL is left out if there can be
 * none.  Each of them is a join to the planner, and a change touches those rows
 * that an index finds.  What is no simple comparison, or one of several columns
 * that can be NULL, is asked whether it IS NOT FALSE.
 *
 * So q stands there up to three times, and what is in it as often again.  If that
 * would be too much for the planner, it is left as it is.
 *
 * x IN (q) is a join already, but not within OR.  As a value, where NULL and false
 * are two, x op ANY (q) is
 *
 *	CASE WHEN EXISTS (q WHERE x op y) THEN true
 *		 WHEN <none of q, as above> THEN false END
 *
 * and x op ALL (q) is NOT (x negator ANY (q)).
 *
 * On normalized levels (normalize.c), which remain that.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* A subquery that reads more tables than this is not repeated */
#define MAX_TABLES	8

static bool
count_tables(Node *node, void *count)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RTEKind		kind = ((RangeTblEntry *) node)->rtekind;

		if (kind == RTE_RELATION || kind == RTE_CTE)
			++*(int *) count;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, count_tables, count,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, count_tables, count);
}

static bool
can_be_repeated(Query *rows)
{
	int			count = 0;

	(void) count_tables((Node *) rows, &count);
	return count <= MAX_TABLES;
}

/* NOT (test), with the negator of an operator */
static Node *
negate(Node *test)
{
	OpExpr	   *op = (OpExpr *) test;
	Oid			negator = IsA(test, OpExpr) ? get_negator(op->opno) : InvalidOid;
	List	   *args = NIL;

	if (OidIsValid(negator))
	{
		op = copyObject(op);
		op->opno = negator;
		op->opfuncid = InvalidOid;
		set_opfuncid(op);
		return (Node *) op;
	}
	if (!is_orclause(test))
		return (Node *) make_notclause((Expr *) test);
	foreach_ptr(Node, arg, ((BoolExpr *) test)->args)
		args = lappend(args, negate(arg));
	return (Node *) make_andclause(args);
}

/* The rows of a subquery as one level to which conditions can be added; or NULL */
static Query *
make_rows(Query *sub)
{
	if (sub->setOperations)
		return mvr_tree_is_correlated(sub) ? NULL : mvr_tree_make_outer(copyObject(sub), "arms");
	if (mvr_layers_is_grouped(sub) || mvr_layers_is_keyed(sub) || sub->hasTargetSRFs ||
		sub->jointree->fromlist == NIL)
		return NULL;
	/* its values would be computed beside the conditions, and so of rows that they leave out */
	foreach_ptr(TargetEntry, tle, sub->targetList)
		if (!tle->resjunk && mvr_tree_may_fail((Node *) tle->expr) &&
			(sub->jointree->quals || list_length(sub->rtable) > 1))
			return NULL;
	sub = copyObject(sub);
	sub->distinctClause = sub->sortClause = NIL;
	return sub;
}

/* EXISTS (rows WHERE condition) */
static Node *
make_exists(Query *rows, Node *condition)
{
	Query	   *query = copyObject(rows);

	query->jointree->quals = mvr_tree_and(list_make2(query->jointree->quals, condition));
	query->targetList = NIL;
	mvr_tree_append_target(query, mvr_tree_make_int4(1), "one");
	return mvr_tree_make_exists(query);
}

static Node *
make_not_exists(Query *rows, Node *condition)
{
	return (Node *) make_notclause((Expr *) make_exists(rows, condition));
}

static Node *
make_null_test(Node *expr, NullTestType type)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = (Expr *) copyObject(expr);
	test->nulltesttype = type;
	test->location = -1;
	return (Node *) test;
}

/* A test of the query's level, for the rows of a subquery */
static Node *
lower_test(Query *rows, Node *test)
{
	Node	   *lower = copyObject(test);

	IncrementVarSublevelsUp(lower, 1, 0);
	return mvr_tree_fill_params(lower, rows->targetList);
}

/* NOT EXISTS (rows WHERE NOT (test IS FALSE)), for one comparison that stands alone */
static Node *
build_none_of_one(Query *query, Query *rows, OpExpr *test)
{
	OpExpr	   *lower = (OpExpr *) lower_test(rows, (Node *) test);
	List	   *result = list_make1(make_not_exists(rows, (Node *) lower));
	Node	   *outside = linitial(test->args);
	Node	   *inside = lsecond(lower->args);

	if (!mvr_not_null_is_proven(rows, inside))
		result = lappend(result, make_not_exists(rows, make_null_test(inside, IS_NULL)));
	/* asked for such rows only; the subquery asks again, for delta_touch.c to see */
	if (!mvr_not_null_is_proven(query, outside))
		result = lappend(result,
						 make_orclause(list_make2(make_null_test(outside, IS_NOT_NULL),
												  make_not_exists(rows,
																  make_null_test(linitial(lower->args),
																				 IS_NULL)))));
	return mvr_tree_and(result);
}

/* Can a test of the query's level be neither true nor false? */
static bool
can_be_null(Query *query, Query *rows, Node *test)
{
	List	   *args = mvr_not_null_is_comparison(test) ? ((OpExpr *) test)->args : NIL;

	return args == NIL || !mvr_not_null_is_proven(query, linitial(args)) ||
		!mvr_not_null_is_proven(rows, lsecond(((OpExpr *) lower_test(rows, test))->args));
}

/*
 * NOT EXISTS (a row of the subquery for which the test is not false); NULL if that
 * repeats too much
 */
static Node *
build_none(Query *query, Query *rows, Node *test)
{
	List	   *conditions = NIL;

	if (mvr_not_null_is_comparison(test))
		return can_be_null(query, rows, test) && !can_be_repeated(rows) ? NULL :
			build_none_of_one(query, rows, (OpExpr *) test);
	foreach_ptr(Node, one, make_ands_implicit((Expr *) test))
	{
		Node	   *condition = lower_test(rows, one);

		if (can_be_null(query, rows, one))
		{
			BooleanTest *not_false = makeNode(BooleanTest);

			not_false->arg = (Expr *) condition;
			not_false->booltesttype = IS_NOT_FALSE;
			not_false->location = -1;
			condition = (Node *) not_false;
		}
		conditions = lappend(conditions, condition);
	}
	return make_not_exists(rows, mvr_tree_and(conditions));
}

/*
 * Can what is compared be asked within the subquery?  What only the level itself
 * can compute cannot.
 */
static bool
can_be_lowered(Node *testexpr)
{
	return !checkExprHasSubLink(testexpr) && !contain_aggs_of_level(testexpr, 0) &&
		!contain_windowfuncs(testexpr) && !expression_returns_set(testexpr);
}

/* ----------
 * Values
 * ----------
 */

static CaseWhen *
make_when(Node *condition, bool result)
{
	CaseWhen   *when = makeNode(CaseWhen);

	when->expr = (Expr *) condition;
	when->result = (Expr *) makeBoolConst(result, false);
	when->location = -1;
	return when;
}

/* Can every comparison of a test be NULL? */
static bool
can_all_be_null(Query *query, Query *rows, Node *test)
{
	foreach_ptr(Node, one, make_ands_implicit((Expr *) test))
	{
		if (!can_be_null(query, rows, one))
			return false;
	}
	return true;
}

/* Can one? */
static bool
can_some_be_null(Query *query, Query *rows, Node *test)
{
	foreach_ptr(Node, one, make_ands_implicit((Expr *) test))
	{
		if (can_be_null(query, rows, one))
			return true;
	}
	return false;
}

/*
 * The value of "test" for any of the rows.  NULL if that repeats too much, or if
 * each row had to be looked at to find out whether it is false: that is better
 * done once, for all.
 */
static Node *
build_any(Query *query, Query *rows, Node *test)
{
	Node	   *exists = make_exists(rows, lower_test(rows, test));
	CaseExpr   *result;

	if (!can_some_be_null(query, rows, test))
		return exists;
	if (!can_be_repeated(rows) ||
		(!mvr_not_null_is_comparison(test) && can_all_be_null(query, rows, test)))
		return NULL;
	result = makeNode(CaseExpr);
	result->casetype = BOOLOID;
	result->args = list_make2(make_when(exists, true),
							  make_when(build_none(query, rows, test), false));
	result->defresult = (Expr *) makeBoolConst(false, true);
	result->location = -1;
	return (Node *) result;
}

static Node *
rewrite_value(Query *query, SubLink *link)
{
	bool		is_all = link->subLinkType == ALL_SUBLINK;
	Query	   *rows = NULL;
	Node	   *any;

	if ((is_all || link->subLinkType == ANY_SUBLINK) && can_be_lowered(link->testexpr))
		rows = make_rows(castNode(Query, link->subselect));
	if (rows == NULL)
		return (Node *) link;
	any = build_any(query, rows, is_all ? negate(link->testexpr) : link->testexpr);
	if (any == NULL)
		return (Node *) link;
	return is_all ? (Node *) make_notclause((Expr *) any) : any;
}

/* Rewrite comparisons anywhere in an expression of the level */
static Node *
rewrite_values(Node *node, void *query)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, SubLink))
		return rewrite_value(query, (SubLink *) node);
	return expression_tree_mutator(node, rewrite_values, query);
}

/* ----------
 * Conditions
 * ----------
 */

/* A condition that is, or is the negation of, a comparison with a subquery */
static Node *
rewrite_link(Query *query, Node *qual, SubLink *link, bool is_negated, bool is_joined)
{
	bool		is_all = link->subLinkType == ALL_SUBLINK;
	Query	   *rows;
	Node	   *none;

	if ((!is_all && link->subLinkType != ANY_SUBLINK) || !can_be_lowered(link->testexpr) ||
		(!is_all && !is_negated && is_joined))
		return qual;
	rows = make_rows(castNode(Query, link->subselect));
	if (rows == NULL)
		return qual;
	if (is_all == is_negated)
		return make_exists(rows, lower_test(rows, is_all ? negate(link->testexpr) :
											link->testexpr));
	none = build_none(query, rows, is_all ? negate(link->testexpr) : link->testexpr);
	return none ? none : qual;
}

/* "is_joined": the condition stands for itself, not within OR */
static Node *
rewrite_condition(Query *query, Node *qual, bool is_joined)
{
	List	   *args = NIL;

	if (IsA(qual, SubLink))
		return rewrite_link(query, qual, (SubLink *) qual, false, is_joined);
	if (is_notclause(qual))
	{
		Node	   *arg = (Node *) get_notclausearg((Expr *) qual);

		return IsA(arg, SubLink) ?
			rewrite_link(query, qual, (SubLink *) arg, true, is_joined) :
			rewrite_values(qual, query);
	}
	if (!is_andclause(qual) && !is_orclause(qual))
		return rewrite_values(qual, query);
	foreach_ptr(Node, arg, ((BoolExpr *) qual)->args)
		args = lappend(args, rewrite_condition(query, arg, is_joined && is_andclause(qual)));
	return is_orclause(qual) ? (Node *) make_orclause(args) : mvr_tree_and(args);
}

/* The conditions of a join tree; ON does not let a row pass either if it is NULL */
static void
rewrite_conditions(Query *query, Node *node)
{
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;

		foreach_ptr(Node, item, from->fromlist)
			rewrite_conditions(query, item);
		if (from->quals)
			from->quals = rewrite_condition(query, from->quals, true);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		rewrite_conditions(query, join->larg);
		rewrite_conditions(query, join->rarg);
		if (join->quals)
			join->quals = rewrite_condition(query, join->quals, false);
	}
}

/* Rewrite the expressions of a level, whose subqueries are normalized */
void
mvr_not_in_rewrite(Query *query)
{
	if (!query->hasSubLinks)
		return;
	rewrite_conditions(query, (Node *) query->jointree);
	query->targetList = (List *) rewrite_values((Node *) query->targetList, query);
}
