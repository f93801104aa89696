/*
 * desugar.c
 *		Operators that are others in disguise, written as those.
 *
 *	a UNION b				SELECT c ... FROM (a UNION ALL b) GROUP BY c ...
 *	a INTERSECT b			SELECT c ... FROM (a with tag 1 UNION ALL b with tag 2)
 *							GROUP BY c ...
 *							HAVING count(tag = 1) > 0 AND count(tag = 2) > 0
 *	a EXCEPT b				the same, with count(tag = 2) = 0
 *	INTERSECT ALL			those groups, each repeated least(n1, n2) times
 *	EXCEPT ALL				n1 - n2 times
 *	GROUPING SETS, CUBE		UNION ALL of one grouped query for each set, where
 *							the keys that are not in it are NULL, and GROUPING()
 *							is a constant
 *	a FULL JOIN b ON c		(a LEFT JOIN b ON c) UNION ALL
 *							(b, with NULLs for a, WHERE NOT EXISTS (a WHERE c))
 *	a RIGHT JOIN b			b LEFT JOIN a
 *
 * So the delta rules need to know none of them.  Pure, on trees whose aliases
 * have been flattened.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_agg.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"

#include "matview_refresh.h"

/* ----------
 * Set operations
 * ----------
 */

/* An expression with type and collation of a column of a set operation */
static Expr *
coerce_column(Expr *expr, Oid type, Oid collation)
{
	Node	   *node = (Node *) expr;

	if (exprType(node) != type)
		node = coerce_to_common_type(NULL, node, type, "UNION");
	if (exprCollation(node) != collation)
		node = applyRelabelType(node, type, exprTypmod(node), collation,
								COERCE_IMPLICIT_CAST, -1, false);
	return (Expr *) node;
}

static bool
fits_columns(Query *arm, SetOperationStmt *op)
{
	int			n = 0;

	foreach_ptr(TargetEntry, tle, arm->targetList)
	{
		if (tle->resjunk)
			continue;
		if (exprType((Node *) tle->expr) != list_nth_oid(op->colTypes, n) ||
			exprCollation((Node *) tle->expr) != list_nth_oid(op->colCollations, n))
			return false;
		n++;
	}
	return true;
}

static bool
fits_arm(Query *query, Node *arm, SetOperationStmt *op)
{
	SetOperationStmt *lower = (SetOperationStmt *) arm;

	if (IsA(arm, RangeTblRef))
		return fits_columns(rt_fetch(((RangeTblRef *) arm)->rtindex, query->rtable)->subquery, op);
	return equal(lower->colTypes, op->colTypes) && equal(lower->colCollations, op->colCollations) &&
		fits_arm(query, lower->larg, lower) && fits_arm(query, lower->rarg, lower);
}

/* Have all arms of a set operation the types of its columns already? */
bool
mvr_desugar_fits_arms(Query *query)
{
	SetOperationStmt *op = castNode(SetOperationStmt, query->setOperations);

	return fits_arm(query, op->larg, op) && fits_arm(query, op->rarg, op);
}

/* SELECT <all columns> FROM (query), at the level where the query was */
static Query *
put_around(Query *query, const char *name)
{
	return mvr_tree_make_outer(mvr_tree_lower(query), name);
}

/*
 * Give the arms of a set operation the types and collations of its columns.  The
 * parser leaves that to the planner.
 */
static Query *
coerce_arm(Query *arm, SetOperationStmt *op)
{
	Query	   *outer;
	int			n = 0;

	if (fits_columns(arm, op))
		return arm;
	outer = put_around(arm, "arm");
	foreach_ptr(TargetEntry, tle, outer->targetList)
	{
		tle->expr = coerce_column(tle->expr, list_nth_oid(op->colTypes, n),
								  list_nth_oid(op->colCollations, n));
		n++;
	}
	return outer;
}

/* GROUP BY all columns of the one FROM item, which are the target list */
static void
group_all_columns(Query *query, List *clauses)
{
	ListCell   *lc = list_head(clauses);

	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		SortGroupClause *clause;

		if (lc == NULL)
			break;
		clause = copyObject(lfirst_node(SortGroupClause, lc));
		clause->tleSortGroupRef = tle->ressortgroupref = tle->resno;
		query->groupClause = lappend(query->groupClause, clause);
		lc = lnext(clauses, lc);
	}
}

/* count(*) FILTER (WHERE tag = n), over the last column of the FROM item */
static Expr *
make_tag_count(AttrNumber attno, int n)
{
	Expr	   *is_tag = mvr_tree_make_call(F_INT4EQ, BOOLOID,
											list_make2(makeVar(1, attno, INT4OID, -1,
															   InvalidOid, 0),
													   mvr_tree_make_int4(n)));

	return (Expr *) mvr_tree_make_aggregate(F_COUNT_, INT8OID, NULL, is_tag);
}

static Query *
make_tagged(Query *arm, int n)
{
	Query	   *query = put_around(arm, "arm");

	mvr_tree_append_target(query, mvr_tree_make_int4(n), "tag");
	return query;
}

/* The groups of both arms, with how often each has the row as n1 and n2 */
static Query *
make_tagged_groups(Query *left, Query *right, SetOperationStmt *op)
{
	Query	   *query = put_around(mvr_tree_make_union_all(list_make2(make_tagged(left, 1),
																	make_tagged(right, 2))),
								   "tagged");
	AttrNumber	tag = list_length(query->targetList);

	query->targetList = list_truncate(query->targetList, tag - 1);
	group_all_columns(query, op->groupClauses);
	query->hasAggs = true;
	return query;
}

static Query *
build_distinct_setop(Query *left, Query *right, SetOperationStmt *op)
{
	Query	   *query = make_tagged_groups(left, right, op);
	AttrNumber	tag = list_length(query->targetList) + 1;
	Expr	   *first = mvr_tree_make_call(F_INT8GT, BOOLOID,
										   list_make2(make_tag_count(tag, 1),
													  mvr_tree_make_int8(0)));
	Expr	   *second = mvr_tree_make_call(op->op == SETOP_INTERSECT ? F_INT8GT : F_INT8EQ,
											BOOLOID,
											list_make2(make_tag_count(tag, 2),
													   mvr_tree_make_int8(0)));

	query->havingQual = (Node *) make_andclause(list_make2(first, second));
	return query;
}

/*
 * SELECT c ... FROM (<groups with n1, n2>) g, generate_series(1, <times>)
 */
static Query *
build_repeated_setop(Query *left, Query *right, SetOperationStmt *op)
{
	Query	   *groups = make_tagged_groups(left, right, op);
	AttrNumber	tag = list_length(groups->targetList) + 1;
	Query	   *query;
	Expr	   *n1;
	Expr	   *n2;
	Expr	   *times;
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblFunction *function = makeNode(RangeTblFunction);

	mvr_tree_append_target(groups, make_tag_count(tag, 1), "n1");
	mvr_tree_append_target(groups, make_tag_count(tag, 2), "n2");
	query = put_around(groups, "groups");
	query->targetList = list_truncate(query->targetList, tag - 1);
	n1 = (Expr *) makeVar(1, tag, INT8OID, -1, InvalidOid, 0);
	n2 = (Expr *) makeVar(1, tag + 1, INT8OID, -1, InvalidOid, 0);
	if (op->op == SETOP_INTERSECT)
	{
		MinMaxExpr *least = makeNode(MinMaxExpr);

		least->minmaxtype = INT8OID;
		least->op = IS_LEAST;
		least->args = list_make2(n1, n2);
		least->location = -1;
		times = (Expr *) least;
	}
	else
		times = mvr_tree_make_call(F_INT8MI, INT8OID, list_make2(n1, n2));
	function->funcexpr = (Node *) mvr_tree_make_call(F_GENERATE_SERIES_INT8_INT8, INT8OID,
													 list_make2(mvr_tree_make_int8(1), times));
	((FuncExpr *) function->funcexpr)->funcretset = true;
	function->funccolcount = 1;
	rte->rtekind = RTE_FUNCTION;
	rte->functions = list_make1(function);
	rte->lateral = true;
	rte->inFromCl = true;
	rte->eref = makeAlias("times", list_make1(makeString(pstrdup("n"))));
	mvr_tree_append_from(query, rte);
	return query;
}

static void collect_union_arms(Query *query, Node *node, List **arms, SetOperationStmt *top);

static Query *build_setop(Query *query, SetOperationStmt *op);

/* A query one level below that of the set operations */
static Query *
build_arm(Query *query, Node *node)
{
	if (IsA(node, RangeTblRef))
		return rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable)->subquery;
	return mvr_tree_lower(build_setop(query, castNode(SetOperationStmt, node)));
}

/* A query at the level of the set operations */
static Query *
build_setop(Query *query, SetOperationStmt *op)
{
	Query	   *left;
	Query	   *right;

	if (op->op == SETOP_UNION)
	{
		List	   *arms = NIL;
		Query	   *result;

		collect_union_arms(query, (Node *) op, &arms, op);
		for (int i = 0; i < list_length(arms); i++)
			lfirst(list_nth_cell(arms, i)) = coerce_arm(list_nth(arms, i), op);
		result = mvr_tree_make_union_all(arms);
		if (op->all)
			return result;
		result = put_around(result, "union");
		group_all_columns(result, op->groupClauses);
		return result;
	}
	left = coerce_arm(build_arm(query, op->larg), op);
	right = coerce_arm(build_arm(query, op->rarg), op);
	return op->all ? build_repeated_setop(left, right, op) :
		build_distinct_setop(left, right, op);
}

/*
 * Are the arms of a UNION as well those of one around it?  Duplicates below a
 * UNION that removes them do not matter.  A cast in two steps is not the same as
 * in one: bigint to real to double precision.
 */
static bool
is_same_union(Node *node, const SetOperationStmt *top)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	return IsA(node, SetOperationStmt) && op->op == SETOP_UNION && (op->all || !top->all) &&
		equal(op->colTypes, top->colTypes) && equal(op->colCollations, top->colCollations);
}

/* The arms of a tree of UNIONs of one kind */
static void
collect_union_arms(Query *query, Node *node, List **arms, SetOperationStmt *top)
{
	if (is_same_union(node, top))
	{
		collect_union_arms(query, ((SetOperationStmt *) node)->larg, arms, top);
		collect_union_arms(query, ((SetOperationStmt *) node)->rarg, arms, top);
	}
	else
		*arms = lappend(*arms, build_arm(query, node));
}

static bool
has_only_union_all(Node *node, const SetOperationStmt *top)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	return IsA(node, RangeTblRef) ||
		(op->all && is_same_union(node, top) && has_only_union_all(op->larg, top) &&
		 has_only_union_all(op->rarg, top));
}

/*
 * A query with set operations as one with UNION ALL of its arms at the most.
 * The names of the columns are kept.
 */
Query *
mvr_desugar_set_operations(Query *query)
{
	SetOperationStmt *op = castNode(SetOperationStmt, query->setOperations);
	Query	   *result;
	List	   *names = NIL;
	int			n = 0;

	if (has_only_union_all(query->setOperations, op))
	{
		foreach_ptr(RangeTblEntry, rte, query->rtable)
			if (rte->rtekind == RTE_SUBQUERY)
				rte->subquery = coerce_arm(rte->subquery, op);
		return query;
	}
	foreach_ptr(TargetEntry, tle, query->targetList)
		names = lappend(names, tle->resname);
	result = build_setop(query, op);
	foreach_ptr(TargetEntry, tle, result->targetList)
		if (!tle->resjunk && n < list_length(names))
			tle->resname = list_nth(names, n++);
	return result;
}

/* ----------
 * Grouping sets
 * ----------
 */

typedef struct SetContext
{
	List	   *nulled;			/* expressions that are NULL in this set */
	List	   *kept;			/* its own keys */
	List	   *members;		/* sort group references in this set */
	int			sublevels_up;
} SetContext;

/* GROUPING(a, b): bits, the first argument's highest; 1 if it is not in the set */
static Node *
make_grouping_value(GroupingFunc *func, List *members)
{
	int32		value = 0;
	ListCell   *lc;

	foreach(lc, func->refs)
		value = (value << 1) | (list_member_int(members, lfirst_int(lc)) ? 0 : 1);
	return (Node *) mvr_tree_make_int4(value);
}

/* Is a node, so many levels below, one of these expressions? */
static bool
is_listed(Node *node, List *exprs, int sublevels_up)
{
	foreach_ptr(Node, listed, exprs)
	{
		Node	   *expr = listed;

		if (sublevels_up > 0)
		{
			expr = copyObject(listed);
			IncrementVarSublevelsUp(expr, sublevels_up, 0);
		}
		if (equal(node, expr))
			return true;
	}
	return false;
}

static Node *
null_keys_mutator(Node *node, SetContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Node	   *result;

		context->sublevels_up++;
		result = (Node *) query_tree_mutator((Query *) node, null_keys_mutator, context, 0);
		context->sublevels_up--;
		return result;
	}
	if (IsA(node, GroupingFunc) &&
		(int) ((GroupingFunc *) node)->agglevelsup == context->sublevels_up)
		return make_grouping_value((GroupingFunc *) node, context->members);
	/* an aggregate's arguments are of the input's rows; only the direct ones are of the group */
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup == context->sublevels_up)
	{
		Aggref	   *agg = copyObject((Aggref *) node);

		agg->aggdirectargs = (List *)
			null_keys_mutator((Node *) agg->aggdirectargs, context);
		return (Node *) agg;
	}
	if (is_listed(node, context->kept, context->sublevels_up))
		return copyObject(node);
	if (is_listed(node, context->nulled, context->sublevels_up))
		return (Node *) makeNullConst(exprType(node), exprTypmod(node),
									  exprCollation(node));
	return expression_tree_mutator(node, null_keys_mutator, context);
}

/* The query with one grouping set */
static Query *
build_grouping_set(Query *query, List *set)
{
	Query	   *arm = copyObject(query);
	SetContext	context = {NIL, NIL, set, 0};
	List	   *clauses = NIL;

	arm->groupingSets = NIL;
	arm->groupDistinct = false;
	foreach_ptr(SortGroupClause, clause, query->groupClause)
	{
		if (list_member_int(set, clause->tleSortGroupRef))
			clauses = lappend(clauses, copyObject(clause));
		else
			context.nulled = lappend(context.nulled,
									 get_sortgroupclause_expr(clause, query->targetList));
	}
	/* the same expression may be there under another reference */
	foreach_ptr(SortGroupClause, clause, clauses)
		context.kept = lappend(context.kept,
							   get_sortgroupclause_expr(clause, query->targetList));
	arm->groupClause = clauses;
	foreach_ptr(TargetEntry, tle, arm->targetList)
		tle->expr = (Expr *) null_keys_mutator((Node *) tle->expr, &context);
	arm->havingQual = null_keys_mutator(arm->havingQual, &context);
	/* without keys and aggregates, this makes it one group */
	if (clauses == NIL && arm->havingQual == NULL)
		arm->havingQual = makeBoolConst(true, false);
	return arm;
}

/* GROUP BY without sets is one set, and all keys are in it */
void
mvr_desugar_grouping(Query *query)
{
	SetContext	context = {NIL, NIL, NIL, 0};

	foreach_ptr(SortGroupClause, clause, query->groupClause)
		context.members = lappend_int(context.members, clause->tleSortGroupRef);
	query->targetList = (List *) null_keys_mutator((Node *) query->targetList, &context);
	query->havingQual = null_keys_mutator(query->havingQual, &context);
}

typedef struct FindContext
{
	Node	   *key;
	Index		ref;			/* the key's own target */
	int			sublevels_up;
} FindContext;

static bool
find_key_walker(Node *node, FindContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		bool		found;

		context->sublevels_up++;
		found = query_tree_walker((Query *) node, find_key_walker, context, 0);
		context->sublevels_up--;
		return found;
	}
	if (IsA(node, TargetEntry) && context->sublevels_up == 0 &&
		((TargetEntry *) node)->ressortgroupref == context->ref)
		return false;
	if (IsA(node, GroupingFunc))
		return false;
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup == context->sublevels_up)
		return find_key_walker((Node *) ((Aggref *) node)->aggdirectargs, context);
	if (is_listed(node, list_make1(context->key), context->sublevels_up))
		return true;
	return expression_tree_walker(node, find_key_walker, context);
}

/*
 * Does a constant that is a key of grouping sets stand elsewhere too?  In a set
 * without that key it is NULL there from version 18 on, and itself before; and
 * the planner may fold what stands around it.  To be asked of a query before it
 * is split into layers: a column is no constant.
 */
bool
mvr_desugar_has_constant_key(Query *query)
{
	foreach_ptr(SortGroupClause, clause, query->groupClause)
	{
		FindContext context = {get_sortgroupclause_expr(clause, query->targetList),
			clause->tleSortGroupRef, 0};

		if (!contain_vars_of_level(context.key, 0) &&
			(find_key_walker((Node *) query->targetList, &context) ||
			 find_key_walker(query->havingQual, &context)))
			return true;
	}
	return false;
}

/* NULL, and the reason, if that cannot be */
Query *
mvr_desugar_grouping_sets(Query *query, char **reason)
{
	List	   *sets = expand_grouping_sets(query->groupingSets, query->groupDistinct, 4096);
	List	   *arms = NIL;
	List	   *kept = NIL;

	if (sets == NIL)
		*reason = "the query has too many grouping sets";
	if (*reason)
		return NULL;
	foreach_ptr(List, set, sets)
		arms = lappend(arms, build_grouping_set(query, set));

	/* one set remains a grouped query */
	if (list_length(arms) == 1)
		return linitial(arms);
	foreach_ptr(Query, arm, arms)
	{
		Query	   *outer = put_around(arm, "set");

		kept = lappend(kept, mvr_tree_lower(outer));
	}
	return mvr_tree_make_union_all(kept);
}

/* ----------
 * Outer joins
 * ----------
 */

/* a RIGHT JOIN b is b LEFT JOIN a */
void
mvr_desugar_right_joins(Query *query, Node *node)
{
	if (node == NULL || IsA(node, RangeTblRef))
		return;
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			mvr_desugar_right_joins(query, item);
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);

		mvr_desugar_right_joins(query, join->larg);
		mvr_desugar_right_joins(query, join->rarg);
		if (join->jointype == JOIN_RIGHT)
		{
			Node	   *left = join->larg;

			join->larg = join->rarg;
			join->rarg = left;
			join->jointype = JOIN_LEFT;
			rt_fetch(join->rtindex, query->rtable)->jointype = JOIN_LEFT;
		}
	}
}

typedef struct FullContext
{
	Bitmapset  *inside;			/* entries that the join is made of */
	int			rti;			/* the one that will stand for it */
	List	   *vars;			/* of Var: what is used of them */
	int			sublevels_up;
} FullContext;

/* Vars of entries that have become part of the join's subquery */
static Node *
redirect_mutator(Node *node, FullContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		Var		   *plain;
		Var		   *result;
		int			n = 0;

		if ((int) var->varlevelsup != context->sublevels_up ||
			!bms_is_member(var->varno, context->inside))
			return (Node *) copyObject(var);
		plain = makeVar(var->varno, var->varattno, var->vartype, var->vartypmod,
						var->varcollid, 0);
		foreach_ptr(Var, other, context->vars)
		{
			n++;
			if (other->varno == plain->varno && other->varattno == plain->varattno)
				break;
		}
		if (n == 0 || ((Var *) list_nth(context->vars, n - 1))->varno != plain->varno ||
			((Var *) list_nth(context->vars, n - 1))->varattno != plain->varattno)
		{
			context->vars = lappend(context->vars, plain);
			n = list_length(context->vars);
		}
		result = makeVar(context->rti, n, var->vartype, var->vartypmod, var->varcollid,
						 var->varlevelsup);
		mvr_compat_copy_nulling(result, var, context->inside);
		return (Node *) result;
	}
	if (IsA(node, Query))
	{
		Node	   *result;

		context->sublevels_up++;
		result = (Node *) query_tree_mutator((Query *) node, redirect_mutator, context, 0);
		context->sublevels_up--;
		return result;
	}
	return expression_tree_mutator(node, redirect_mutator, context);
}

/* A query level with this join tree and the same range table */
static Query *
make_level(Query *query, Node *item, Node *quals)
{
	Query	   *level = mvr_tree_make_select();

	level->rtable = copyObject(query->rtable);
	mvr_compat_copy_rights(level, query);
	level->jointree = makeFromExpr(list_make1(copyObject(item)), copyObject(quals));
	level->hasSubLinks = query->hasSubLinks;
	return level;
}

/*
 * NOT EXISTS (SELECT FROM a WHERE c), for rows of b: what is not of a refers to
 * the query outside
 */
static Node *
build_no_partner(Query *query, JoinExpr *join)
{
	Query	   *partner = make_level(query, join->larg, join->quals);

	mvr_tree_append_target(partner, mvr_tree_make_int4(1), "one");
	mvr_tree_blank_unused(partner);
	partner = mvr_tree_sink(partner);
	mvr_compat_remove_nulling((Node **) &partner->jointree,
							  bms_make_singleton(join->rtindex));
	return (Node *) make_notclause((Expr *) mvr_tree_make_exists(partner));
}

/*
 * The two halves of a FULL JOIN, with the columns in "vars".  In the first the
 * columns of b can be NULL for the join, in the second those of a are.
 */
static Query *
build_full_join(Query *query, JoinExpr *join, List *vars)
{
	JoinExpr   *leftjoin = copyObject(join);
	Bitmapset  *left = mvr_tree_list_rtis(join->larg);
	Query	   *first;
	Query	   *second;

	leftjoin->jointype = JOIN_LEFT;
	first = make_level(query, (Node *) leftjoin, NULL);
	rt_fetch(join->rtindex, first->rtable)->jointype = JOIN_LEFT;
	second = make_level(query, join->rarg, build_no_partner(query, join));
	second->hasSubLinks = true;
	foreach_ptr(Var, var, vars)
	{
		bool		is_left = bms_is_member(var->varno, left);

		mvr_tree_append_target(first, (Expr *) mvr_tree_make_visible(first, var), "column");
		mvr_tree_append_target(second, is_left ?
							   (Expr *) makeNullConst(var->vartype, var->vartypmod,
													  var->varcollid) :
							   (Expr *) mvr_tree_make_visible(second, var),
							   "column");
	}
	mvr_tree_append_target(first, mvr_tree_make_int4(1), "one");
	mvr_tree_append_target(second, mvr_tree_make_int4(1), "one");
	mvr_tree_blank_unused(first);
	mvr_tree_blank_unused(second);
	/*
	 * Both are two levels below where they were.  What they have not is outside:
	 * items of this level, if something LATERAL refers to them.
	 */
	first = mvr_tree_sink(first);
	second = mvr_tree_sink(second);
	IncrementVarSublevelsUp((Node *) first, 1, 1);
	IncrementVarSublevelsUp((Node *) second, 1, 1);
	return mvr_tree_make_union_all(list_make2(first, second));
}

static JoinExpr *
find_full_join(Node *node, Node ***place)
{
	JoinExpr   *found = NULL;

	if (node == NULL || IsA(node, RangeTblRef))
		return NULL;
	if (IsA(node, FromExpr))
	{
		ListCell   *lc;

		foreach(lc, ((FromExpr *) node)->fromlist)
		{
			Node	   *item = lfirst(lc);

			found = find_full_join(item, place);
			if (found && (Node *) found == item)
				*place = (Node **) &lfirst(lc);
			if (found)
				return found;
		}
		return NULL;
	}
	/* the innermost first */
	found = find_full_join(((JoinExpr *) node)->larg, place);
	if (found && (Node *) found == ((JoinExpr *) node)->larg)
		*place = &((JoinExpr *) node)->larg;
	if (found)
		return found;
	found = find_full_join(((JoinExpr *) node)->rarg, place);
	if (found && (Node *) found == ((JoinExpr *) node)->rarg)
		*place = &((JoinExpr *) node)->rarg;
	if (found)
		return found;
	return ((JoinExpr *) node)->jointype == JOIN_FULL ? (JoinExpr *) node : NULL;
}

/*
 * Replace the FULL JOINs of a query level by subqueries; the query is modified.
 * Join aliases have been flattened.
 */
Query *
mvr_desugar_full_joins(Query *query)
{
	Node	  **place = NULL;
	JoinExpr   *join;

	while ((join = find_full_join((Node *) query->jointree, &place)) != NULL)
	{
		FullContext context = {mvr_tree_list_rtis((Node *) join), 0, NIL, 0};
		RangeTblRef *ref = makeNode(RangeTblRef);
		RangeTblEntry *rte;
		Query	   *original = copyObject(query);
		JoinExpr   *copy = copyObject(join);
		Query	   *subquery;

		/* a place in the range table first, and Vars that point there */
		ref->rtindex = context.rti = list_length(query->rtable) + 1;
		*place = (Node *) ref;
		query->targetList = (List *)
			redirect_mutator((Node *) query->targetList, &context);
		query->havingQual = redirect_mutator(query->havingQual, &context);
		query->jointree = (FromExpr *)
			redirect_mutator((Node *) query->jointree, &context);
		foreach_ptr(RangeTblEntry, other, query->rtable)
		{
			other->functions = (List *)
				redirect_mutator((Node *) other->functions, &context);
			other->values_lists = (List *)
				redirect_mutator((Node *) other->values_lists, &context);
			other->tablefunc = (TableFunc *)
				redirect_mutator((Node *) other->tablefunc, &context);
			if (other->rtekind == RTE_SUBQUERY && other->lateral)
				other->subquery = (Query *)
					redirect_mutator((Node *) other->subquery, &context);
		}
		subquery = build_full_join(original, copy, context.vars);
		rte = mvr_tree_make_subquery_rte(subquery, "full_join");
		for (int rti = bms_next_member(context.inside, -1); rti >= 0;
			 rti = bms_next_member(context.inside, rti))
			mvr_tree_blank_rte(rt_fetch(rti, query->rtable));
		query->rtable = lappend(query->rtable, rte);
	}
	return query;
}
