/*
 * normalize.c
 *		A view's query, expanded and brought to the form that delta_query.c knows.
 *
 * The query comes from the view's rule and is expanded by the rewriter, as
 * REFRESH does it: plain views have become subqueries, row-level security has
 * become quals.  Then it is brought to the form
 *
 *	  [groups and aggregates over]  input
 *
 * where the input is linear: a UNION ALL of inputs, or a flat list of FROM
 * items (base tables, linear subqueries, constant functions and VALUES) with
 * one WHERE clause.  The steps are those of the planner's own preparation:
 * CTEs become subqueries, join aliases what they stand for, inner joins a flat
 * FROM list, simple subqueries part of the query around them.
 *
 * A query that cannot be brought there is no error: the reason is returned.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_coerce.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

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

/* Turn an entry of the range table into one that stands for nothing */
static void
blank_rte(RangeTblEntry *rte)
{
	Alias	   *eref = rte->eref;

	memset(rte, 0, sizeof(RangeTblEntry));
	rte->type = T_RangeTblEntry;
	rte->rtekind = RTE_RESULT;
	rte->eref = makeAlias(eref ? eref->aliasname : "*RESULT*", NIL);
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
			rte->self_reference = false;
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
		InlineContext context = {cte->ctename, -1, castNode(Query, cte->ctequery)};

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
}

/* A virtual generated column becomes its expression: no log can hold it */
static Query *
expand_virtual_columns(Query *query)
{
	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);
		Relation	rel;
		List	   *tlist = NIL;
		bool		has_virtual = false;

		if (rte->rtekind != RTE_RELATION)
			continue;
		rel = table_open(rte->relid, NoLock);
		for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
			Expr	   *expr;

			if (mvr_compat_is_virtual(att))
			{
				expr = (Expr *) mvr_compat_generation_expr(rel, i + 1);
				ChangeVarNodes((Node *) expr, 1, rti, 0);
				has_virtual = true;
			}
			else
				expr = (Expr *) makeVar(rti, i + 1, att->atttypid, att->atttypmod,
										att->attcollation, 0);
			tlist = lappend(tlist, makeTargetEntry(expr, i + 1, NULL, false));
		}
		if (has_virtual)
			query = (Query *)
				mvr_compat_replace_vars((Node *) query, rti, rte, tlist,
										&query->hasSubLinks);
		table_close(rel, NoLock);
	}
	return query;
}

/* ----------
 * Joins become a flat FROM list
 * ----------
 */

/* Returns a reason if there is a join other than inner */
static char *
flatten_join(Node *node, List **from, List **quals)
{
	char	   *reason = NULL;

	if (IsA(node, RangeTblRef))
		*from = lappend(*from, node);
	else if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
		{
			if (reason == NULL)
				reason = flatten_join(item, from, quals);
		}
		*quals = lappend(*quals, ((FromExpr *) node)->quals);
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);

		if (join->jointype != JOIN_INNER)
			return "the query has an outer join";
		reason = flatten_join(join->larg, from, quals);
		if (reason == NULL)
			reason = flatten_join(join->rarg, from, quals);
		*quals = lappend(*quals, join->quals);
	}
	return reason;
}

static Node *
and_quals(List *quals)
{
	List	   *flat = NIL;

	foreach_ptr(Node, qual, quals)
	{
		if (qual)
			flat = list_concat(flat, make_ands_implicit((Expr *) qual));
	}
	return flat == NIL ? NULL : (Node *) make_ands_explicit(flat);
}

/* May this subquery become part of the query around it? */
static bool
is_simple_subquery(RangeTblEntry *rte)
{
	Query	   *sub = rte->subquery;

	return !rte->security_barrier &&
		sub->setOperations == NULL && sub->jointree->fromlist != NIL &&
		!sub->hasTargetSRFs && !sub->hasSubLinks && !sub->hasAggs &&
		sub->groupClause == NIL && sub->groupingSets == NIL &&
		sub->havingQual == NULL && sub->distinctClause == NIL &&
		!sub->hasWindowFuncs && !sub->limitCount && !sub->limitOffset &&
		sub->rowMarks == NIL;
}

/*
 * Make the subquery at rti part of the query.  Both are normalized, and only
 * inner joins are around, so columns can stand for what they are without
 * placeholders.  Returns the query, which is modified.
 */
static Query *
pull_up_subquery(Query *query, int rti)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	RangeTblEntry *seen = copyObject(rte);
	Query	   *sub = rte->subquery;
	List	   *from = NIL;

	OffsetVarNodes((Node *) sub, list_length(query->rtable), 0);
	IncrementVarSublevelsUp((Node *) sub, -1, 1);
	blank_rte(rte);
	query = (Query *) mvr_compat_replace_vars((Node *) query, rti, seen,
											  sub->targetList, &query->hasSubLinks);
	mvr_compat_combine_range_tables(query, sub);
	foreach_ptr(RangeTblRef, ref, query->jointree->fromlist)
	{
		if (ref->rtindex == rti)
			from = list_concat(from, sub->jointree->fromlist);
		else
			from = lappend(from, ref);
	}
	query->jointree->fromlist = from;
	query->jointree->quals = and_quals(list_make2(query->jointree->quals,
												  sub->jointree->quals));
	return query;
}

/* ----------
 * What is linear
 * ----------
 */

/* A construct of this query level that is not maintained, or NULL */
static char *
refuse_clause(const Query *query)
{
	if (query->commandType != CMD_SELECT || query->utilityStmt)
		return "the query is not a SELECT";
	if (query->hasRecursive)
		return "the query is recursive";
	if (query->hasRowSecurity)
		return "a base table has row-level security";
	if (query->hasWindowFuncs)
		return "the query has a window function";
	if (query->limitCount || query->limitOffset)
		return "the query has LIMIT or OFFSET";
	if (query->hasDistinctOn)
		return "the query has DISTINCT ON";
	if (query->groupingSets)
		return "the query has grouping sets";
	if (query->hasSubLinks)
		return "the query has a subquery in an expression";
	if (query->rowMarks)
		return "the query locks rows";
	return NULL;
}

bool
mvr_normalize_is_grouped(const Query *query)
{
	return query->hasAggs || query->groupClause || query->havingQual ||
		query->distinctClause;
}

/* Is every operation in a tree of set operations UNION (ALL, if so asked)? */
bool
mvr_normalize_is_union(Node *node, bool all)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	if (IsA(node, RangeTblRef))
		return true;
	return op->op == SETOP_UNION && (op->all || !all) &&
		mvr_normalize_is_union(op->larg, all) && mvr_normalize_is_union(op->rarg, all);
}

static char *
refuse_relation(RangeTblEntry *rte)
{
	if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE)
		return psprintf("\"%s\" is not a table", get_rel_name(rte->relid));
	if (!rte->inh && has_subclass(rte->relid))
		return psprintf("the query reads ONLY \"%s\"", get_rel_name(rte->relid));
	if (rte->tablesample)
		return "the query has TABLESAMPLE";
	if (rte->securityQuals)
		return psprintf("\"%s\" has row-level security", get_rel_name(rte->relid));
	return NULL;
}

static char *
refuse_from_item(RangeTblEntry *rte)
{
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return refuse_relation(rte);
		case RTE_SUBQUERY:
			if (rte->securityQuals)
				return "a view has security quals";
			if (mvr_normalize_is_grouped(rte->subquery))
				return "a subquery has groups, aggregates or DISTINCT";
			if (rte->subquery->setOperations &&
				!mvr_normalize_is_union(rte->subquery->setOperations, true))
				return "a subquery has a set operation other than UNION ALL";
			if (rte->lateral)
				return "the query has a LATERAL subquery";
			return NULL;
		case RTE_FUNCTION:
		case RTE_TABLEFUNC:
		case RTE_VALUES:
		case RTE_RESULT:
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
		else if (rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY)
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
refuse_vars(Query *query)
{
	VarContext	context = {query, 0, NULL};

	query_tree_walker(query, refuse_var_walker, &context, 0);
	return context.reason;
}

/* Remove what does not bear on the contents: ORDER BY, and columns for it */
static void
drop_order(Query *query)
{
	List	   *kept = NIL;

	query->sortClause = NIL;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		if (!tle->resjunk || tle->ressortgroupref != 0)
			kept = lappend(kept, tle);
	}
	if (!mvr_normalize_is_grouped(query))
	{
		kept = NIL;
		foreach_ptr(TargetEntry, tle, query->targetList)
		{
			if (tle->resjunk)
				continue;
			tle->ressortgroupref = 0;
			kept = lappend(kept, tle);
		}
	}
	query->targetList = kept;
}

/* Normalize the subqueries of a query, and pull up the simple ones */
static char *
normalize_from_items(Query **query)
{
	List	   *items = (*query)->jointree->fromlist;
	char	   *reason = NULL;

	foreach_ptr(RangeTblRef, ref, items)
	{
		RangeTblEntry *rte = rt_fetch(ref->rtindex, (*query)->rtable);

		if (rte->rtekind == RTE_SUBQUERY)
		{
			reason = mvr_normalize_query(&rte->subquery);
			if (reason)
				return reason;
			if (is_simple_subquery(rte) && rte->securityQuals == NIL)
			{
				*query = pull_up_subquery(*query, ref->rtindex);
				continue;
			}
		}
		reason = refuse_from_item(rte);
		if (reason)
			return reason;
	}
	return NULL;
}

/* Entries that no FROM item names stand for nothing, but for their rights */
static void
blank_unused_rtes(Query *query)
{
	Bitmapset  *used = NULL;

	foreach_ptr(RangeTblRef, ref, query->jointree->fromlist)
		used = bms_add_member(used, ref->rtindex);
	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (!bms_is_member(rti, used) && !mvr_compat_has_perms(rte))
			blank_rte(rte);
	}
}

/*
 * Give the arms of a set operation the types of its columns.  The parser
 * leaves that to the planner.
 */
static void
coerce_arms(Query *query, Node *node, SetOperationStmt *top)
{
	ListCell   *lc;

	if (IsA(node, SetOperationStmt))
	{
		coerce_arms(query, ((SetOperationStmt *) node)->larg, top);
		coerce_arms(query, ((SetOperationStmt *) node)->rarg, top);
		return;
	}
	lc = list_head(top->colTypes);
	foreach_ptr(TargetEntry, tle,
				rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable)->subquery->targetList)
	{
		if (tle->resjunk || lc == NULL)
			continue;
		if (exprType((Node *) tle->expr) != lfirst_oid(lc))
			tle->expr = (Expr *) coerce_to_common_type(NULL, (Node *) tle->expr,
													   lfirst_oid(lc), "UNION");
		lc = lnext(top->colTypes, lc);
	}
}

/* Normalize the arms of a UNION [ALL], which are its range table */
static char *
normalize_arms(Query *query)
{
	if (mvr_normalize_is_union(query->setOperations, false))
		coerce_arms(query, query->setOperations,
					(SetOperationStmt *) query->setOperations);
	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		char	   *reason;

		if (rte->rtekind != RTE_SUBQUERY)
			continue;
		reason = mvr_normalize_query(&rte->subquery);
		if (reason == NULL)
			reason = refuse_from_item(rte);
		if (reason)
			return reason;
	}
	return NULL;
}

/*
 * Bring a query level, and those below, to the form described at the top of
 * the file.  Returns the reason if that cannot be done; the query is then in
 * no state to be used.
 */
char *
mvr_normalize_query(Query **query)
{
	Query	   *q = *query;
	List	   *from = NIL;
	List	   *quals = NIL;
	char	   *reason = refuse_clause(q);

	if (reason)
		return reason;
	inline_ctes(q);
	drop_order(q);
	if (q->setOperations)
		return normalize_arms(q);

	flatten_aliases(q);
	reason = flatten_join((Node *) q->jointree, &from, &quals);
	if (reason)
		return reason;
	q->jointree = makeFromExpr(from, and_quals(quals));
	q = expand_virtual_columns(q);
	reason = normalize_from_items(&q);
	if (reason == NULL)
	{
		blank_unused_rtes(q);
		reason = refuse_vars(q);
	}
	*query = q;
	return reason;
}
