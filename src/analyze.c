/*
 * analyze.c
 *		A view's query -> a stage, or the reason why it is not maintained.
 *
 * The query comes from the view's rule and is expanded by the rewriter, as
 * REFRESH does it: plain views have become subqueries, row-level security has
 * become quals.  Then it is brought to the one form that delta_query.c knows:
 *
 *	  [keys and aggregates over]  input
 *
 * where the input is linear: a UNION ALL of inputs, or a flat list of FROM
 * items (base tables, linear subqueries, constant functions and VALUES) with
 * one WHERE clause.  The steps are those of the planner's own preparation:
 * CTEs become subqueries, join aliases what they stand for, inner joins a flat
 * FROM list, simple subqueries part of the query around them.
 *
 * SELECT DISTINCT and UNION are groups of all columns without aggregates.
 *
 * Analysis is pure but for the locks that the rewriter takes on the relations
 * of the query.  Whatever is not understood ends in a reason and the strategy
 * MVR_RECOMPUTE, which is right for every query.
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

static char *normalize_query(Query **query);

/* ----------
 * Expansion
 * ----------
 */

/*
 * The view's query, expanded, with the locks on its relations that running it
 * needs.  Runs the rewriter as the current user, who must be the view's owner
 * for row-level security to be seen as he sees it.
 */
static Query *
expand_query(Relation view)
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

static bool
is_grouped(const Query *query)
{
	return query->hasAggs || query->groupClause || query->havingQual ||
		query->distinctClause;
}

/* Is every operation in a tree of set operations UNION (ALL, if so asked)? */
static bool
is_union(Node *node, bool all)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	if (IsA(node, RangeTblRef))
		return true;
	return op->op == SETOP_UNION && (op->all || !all) &&
		is_union(op->larg, all) && is_union(op->rarg, all);
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
			if (is_grouped(rte->subquery))
				return "a subquery has groups, aggregates or DISTINCT";
			if (rte->subquery->setOperations &&
				!is_union(rte->subquery->setOperations, true))
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
	if (!is_grouped(query))
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
			reason = normalize_query(&rte->subquery);
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
	if (is_union(query->setOperations, false))
		coerce_arms(query, query->setOperations,
					(SetOperationStmt *) query->setOperations);
	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		char	   *reason;

		if (rte->rtekind != RTE_SUBQUERY)
			continue;
		reason = normalize_query(&rte->subquery);
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
static char *
normalize_query(Query **query)
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

/* ----------
 * Groups
 * ----------
 */

/* Can two values be "=" and yet look different? */
static bool
is_image_equal(Oid type, int32 typmod, Oid collation)
{
	TypeCacheEntry *entry;
	Oid			proc;

	/* a declared scale is every value's scale */
	if (type == NUMERICOID)
		return typmod >= (int32) VARHDRSZ;
	entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);
	if (!OidIsValid(entry->btree_opf))
		return false;
	proc = get_opfamily_proc(entry->btree_opf, entry->btree_opintype,
							 entry->btree_opintype, BTEQUALIMAGE_PROC);
	return OidIsValid(proc) &&
		DatumGetBool(OidFunctionCall1Coll(proc, collation,
										  ObjectIdGetDatum(entry->btree_opintype)));
}

static void
add_key(MvrStage *stage, Expr *expr, SortGroupClause *clause)
{
	MvrGroupKey *key = palloc0(sizeof(MvrGroupKey));

	key->expr = expr;
	key->clause = clause;
	key->type = exprType((Node *) expr);
	key->typmod = exprTypmod((Node *) expr);
	key->collation = exprCollation((Node *) expr);
	key->is_image_equal = is_image_equal(key->type, key->typmod, key->collation);
	if (!key->is_image_equal)
		stage->is_merged = false;
	stage->keys = lappend(stage->keys, key);
}

static AttrNumber
column_attno(const MvrStage *stage, int index)
{
	return MVR_STATE_FIXED + list_length(stage->keys) + index + 1;
}

/* The index of a state column, which is added if there is none like it */
static int
ensure_column(MvrStage *stage, MvrMerge merge, Aggref *aggregate, int count,
			  Oid better)
{
	MvrStateColumn *column;
	int			index = 0;

	foreach_ptr(MvrStateColumn, other, stage->columns)
	{
		if (other->merge == merge && equal(other->aggregate, aggregate))
			return index;
		index++;
	}
	column = palloc0(sizeof(MvrStateColumn));
	column->merge = merge;
	column->aggregate = aggregate;
	column->count = count;
	column->better = better;
	if (merge == MVR_MERGE_NONE)
		stage->is_merged = false;
	stage->columns = lappend(stage->columns, column);
	return list_length(stage->columns) - 1;
}

static Aggref *
make_aggregate(Oid func, Oid type, Expr *arg, Expr *filter)
{
	Aggref	   *agg = makeNode(Aggref);

	agg->aggfnoid = func;
	agg->aggtype = type;
	agg->aggkind = AGGKIND_NORMAL;
	agg->aggsplit = AGGSPLIT_SIMPLE;
	agg->aggno = agg->aggtransno = -1;
	agg->location = -1;
	agg->aggstar = (arg == NULL);
	agg->aggfilter = filter;
	if (arg)
	{
		agg->aggargtypes = list_make1_oid(exprType((Node *) arg));
		agg->args = list_make1(makeTargetEntry(arg, 1, NULL, false));
		agg->inputcollid = exprCollation((Node *) arg);
	}
	return agg;
}

/* A Var of the state table, which output expressions scan */
static Expr *
make_state_var(const MvrStage *stage, int index)
{
	MvrStateColumn *column = list_nth(stage->columns, index);

	return (Expr *) makeVar(1, column_attno(stage, index),
							column->aggregate->aggtype, -1,
							column->aggregate->aggcollid, 0);
}

static Expr *
make_call(Oid func, Oid type, List *args)
{
	return (Expr *) makeFuncExpr(func, type, args, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* CASE WHEN condition THEN value END */
static Expr *
make_case(Expr *condition, Expr *value)
{
	CaseExpr   *result = makeNode(CaseExpr);
	CaseWhen   *when = makeNode(CaseWhen);

	when->expr = condition;
	when->result = value;
	when->location = -1;
	result->casetype = exprType((Node *) value);
	result->casecollid = exprCollation((Node *) value);
	result->args = list_make1(when);
	result->defresult = (Expr *) makeNullConst(result->casetype, -1,
											   result->casecollid);
	result->location = -1;
	return (Expr *) result;
}

static Expr *
make_int8_const(int64 value)
{
	return (Expr *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64),
							  Int64GetDatum(value), false, FLOAT8PASSBYVAL);
}

/* Scale of the values of a numeric sum: what the sum shows depends on it */
static void
ensure_scale_columns(MvrStage *stage, Expr *arg, Expr *filter, int count)
{
	Expr	   *scale = make_call(F_SCALE, INT4OID, list_make1(arg));

	ensure_column(stage, MVR_MERGE_SCALE,
				  make_aggregate(F_MIN_INT4, INT4OID, scale, filter), count,
				  InvalidOid);
	ensure_column(stage, MVR_MERGE_SCALE,
				  make_aggregate(F_MAX_INT4, INT4OID, copyObject(scale), filter),
				  count, InvalidOid);
}

/*
 * The output of sum(arg) or avg(arg) from state columns
 *	count(arg), sum(arg) [, min(scale(arg)), max(scale(arg))]
 * as the final functions in core's numeric.c compute it.
 */
static Expr *
build_sum(MvrStage *stage, Aggref *agg, Oid sumfunc, Oid sumtype, bool is_avg)
{
	Expr	   *arg = ((TargetEntry *) linitial(agg->args))->expr;
	int			count = ensure_column(stage, MVR_MERGE_COUNT,
									  make_aggregate(F_COUNT_ANY, INT8OID, arg,
													 agg->aggfilter), 0, InvalidOid);
	Aggref	   *sumagg = make_aggregate(sumfunc, sumtype, arg, agg->aggfilter);
	int			sum = ensure_column(stage, MVR_MERGE_SUM, sumagg, count, InvalidOid);
	Expr	   *value = make_state_var(stage, sum);
	Expr	   *any;

	if (linitial_oid(agg->aggargtypes) == NUMERICOID &&
		exprTypmod((Node *) arg) < (int32) VARHDRSZ)
		ensure_scale_columns(stage, arg, agg->aggfilter, count);
	if (is_avg)
	{
		if (sumtype == INT8OID)
			value = make_call(F_NUMERIC_INT8, NUMERICOID, list_make1(value));
		value = make_call(F_NUMERIC_DIV, NUMERICOID,
						  list_make2(value,
									 make_call(F_NUMERIC_INT8, NUMERICOID,
											   list_make1(make_state_var(stage, count)))));
	}
	any = make_call(F_INT8GT, BOOLOID,
					list_make2(make_state_var(stage, count), make_int8_const(0)));
	return make_case(any, value);
}

/*
 * bool_and and bool_or from the number of values and of true ones
 */
static Expr *
build_bool(MvrStage *stage, Aggref *agg, bool is_and)
{
	Expr	   *arg = ((TargetEntry *) linitial(agg->args))->expr;
	Expr	   *is_true = agg->aggfilter == NULL ? arg :
		make_andclause(list_make2(agg->aggfilter, arg));
	int			count = ensure_column(stage, MVR_MERGE_COUNT,
									  make_aggregate(F_COUNT_ANY, INT8OID, arg,
													 agg->aggfilter), 0, InvalidOid);
	int			trues = ensure_column(stage, MVR_MERGE_COUNT,
									  make_aggregate(F_COUNT_ANY, INT8OID, arg, is_true),
									  0, InvalidOid);
	Expr	   *value;

	if (is_and)
		value = make_call(F_INT8EQ, BOOLOID, list_make2(make_state_var(stage, trues),
														make_state_var(stage, count)));
	else
		value = make_call(F_INT8GT, BOOLOID, list_make2(make_state_var(stage, trues),
														make_int8_const(0)));
	return make_case(make_call(F_INT8GT, BOOLOID,
							   list_make2(make_state_var(stage, count),
										  make_int8_const(0))),
					 value);
}

/* The operator of min- and max-like aggregates, or InvalidOid */
static Oid
lookup_better_operator(Oid aggfnoid)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggfnoid));
	Oid			result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggfnoid);
	result = ((Form_pg_aggregate) GETSTRUCT(tuple))->aggsortop;
	ReleaseSysCache(tuple);
	return result;
}

/* An aggregate as an expression over the state's columns, which it adds */
static Expr *
build_output_aggregate(MvrStage *stage, Aggref *agg)
{
	bool		is_plain = agg->aggkind == AGGKIND_NORMAL && !agg->aggdistinct &&
		!agg->aggorder && !agg->aggvariadic;
	Oid			better;

	if (is_plain)
	{
		switch (agg->aggfnoid)
		{
			case F_COUNT_:
				if (agg->aggfilter == NULL)
					return (Expr *) makeVar(1, MVR_STATE_COUNT, INT8OID, -1, InvalidOid, 0);
				/* FALLTHROUGH */
			case F_COUNT_ANY:
				return make_state_var(stage, ensure_column(stage, MVR_MERGE_COUNT,
														   agg, 0, InvalidOid));
			case F_SUM_INT2:
			case F_SUM_INT4:
				return build_sum(stage, agg, agg->aggfnoid, INT8OID, false);
			case F_SUM_INT8:
			case F_SUM_NUMERIC:
				return build_sum(stage, agg, agg->aggfnoid, NUMERICOID, false);
			case F_AVG_INT2:
				return build_sum(stage, agg, F_SUM_INT2, INT8OID, true);
			case F_AVG_INT4:
				return build_sum(stage, agg, F_SUM_INT4, INT8OID, true);
			case F_AVG_INT8:
				return build_sum(stage, agg, F_SUM_INT8, NUMERICOID, true);
			case F_AVG_NUMERIC:
				return build_sum(stage, agg, F_SUM_NUMERIC, NUMERICOID, true);
			case F_BOOL_AND:
			case F_EVERY:
				return build_bool(stage, agg, true);
			case F_BOOL_OR:
				return build_bool(stage, agg, false);
		}
		better = lookup_better_operator(agg->aggfnoid);
		if (OidIsValid(better) && list_length(agg->args) == 1)
			return make_state_var(stage, ensure_column(stage, MVR_MERGE_EXTREMUM,
													   agg, 0, better));
	}
	return make_state_var(stage, ensure_column(stage, MVR_MERGE_NONE, agg, 0,
											   InvalidOid));
}

/* Expressions over the grouped query -> expressions over the state */
typedef struct OutputContext
{
	MvrStage   *stage;
	bool		only_keys;		/* first pass: find the keys, leave aggregates */
	char	   *reason;
} OutputContext;

/*
 * A column that is not grouped but depends on the grouped primary key: it is
 * one more key, which divides no group.
 */
static void
add_dependent_key(OutputContext *context, Var *var)
{
	SortGroupClause *clause = makeNode(SortGroupClause);

	get_sort_group_operators(var->vartype, false, false, false,
							 &clause->sortop, &clause->eqop, NULL,
							 &clause->hashable);
	if (!OidIsValid(clause->eqop))
		context->reason = psprintf("type %s of an ungrouped column has no equality operator",
								   format_type_be(var->vartype));
	else
		add_key(context->stage, (Expr *) copyObject(var), clause);
}

static Node *
build_output_mutator(Node *node, OutputContext *context)
{
	int			index = 0;

	if (node == NULL)
		return NULL;
	foreach_ptr(MvrGroupKey, key, context->stage->keys)
	{
		index++;
		if (equal(node, key->expr))
			return (Node *) makeVar(1, MVR_STATE_FIXED + index, key->type,
									key->typmod, key->collation, 0);
	}
	if (IsA(node, Aggref))
		return context->only_keys ? node :
			(Node *) build_output_aggregate(context->stage, (Aggref *) node);
	if (IsA(node, Var))
	{
		if (!context->only_keys)
			elog(ERROR, "ungrouped column in a grouped query");
		add_dependent_key(context, (Var *) node);
		return node;
	}
	if (IsA(node, GroupingFunc))
	{
		context->reason = "the query has GROUPING()";
		return node;
	}
	return expression_tree_mutator(node, build_output_mutator, context);
}

/*
 * Keys first, then outputs: a state column's place comes behind the last key.
 */
static char *
build_outputs(MvrStage *stage, Query *query)
{
	OutputContext context = {stage, true, NULL};
	Node	   *having = query->havingQual;

	build_output_mutator((Node *) query->targetList, &context);
	build_output_mutator(having, &context);
	if (context.reason)
		return context.reason;
	context.only_keys = false;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		Expr	   *expr;

		if (tle->resjunk)
			continue;
		expr = (Expr *) build_output_mutator((Node *) tle->expr, &context);
		stage->outputs = lappend(stage->outputs,
								 makeTargetEntry(expr, list_length(stage->outputs) + 1,
												 tle->resname, false));
	}
	stage->having = (Expr *) build_output_mutator(having, &context);
	return context.reason;
}

/*
 * Which output columns show one of several values that are equal but look
 * different, and SQL does not say which?  Keys, and what picks a value.
 */
static void
find_ambiguous_outputs(MvrStage *stage)
{
	Bitmapset  *vars = NULL;
	AttrNumber	attno = MVR_STATE_FIXED;

	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		attno++;
		if (!key->is_image_equal)
			vars = bms_add_member(vars, attno);
	}
	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		attno++;
		if (column->merge == MVR_MERGE_EXTREMUM || column->merge == MVR_MERGE_NONE)
			vars = bms_add_member(vars, attno);
	}
	foreach_ptr(TargetEntry, tle, stage->outputs)
	{
		Bitmapset  *used = NULL;
		int			member = -1;

		pull_varattnos((Node *) tle->expr, 1, &used);
		while ((member = bms_next_member(used, member)) >= 0)
			if (bms_is_member(member + FirstLowInvalidHeapAttributeNumber, vars))
				stage->ambiguous = bms_add_member(stage->ambiguous, tle->resno);
	}
}

/* SELECT DISTINCT without groups: a group for each distinct row */
static void
turn_distinct_into_groups(Query *query)
{
	query->groupClause = query->distinctClause;
	query->distinctClause = NIL;
}

/*
 * UNION: the groups of all columns of the UNION ALL of its arms
 *	SELECT c1, c2 ... FROM (<arm> UNION ALL <arm> ...) u GROUP BY c1, c2 ...
 */
static void
make_union_all(Node *node)
{
	if (IsA(node, SetOperationStmt))
	{
		((SetOperationStmt *) node)->all = true;
		((SetOperationStmt *) node)->groupClauses = NIL;
		make_union_all(((SetOperationStmt *) node)->larg);
		make_union_all(((SetOperationStmt *) node)->rarg);
	}
}

static Query *
wrap_union(Query *setop)
{
	Query	   *query = makeNode(Query);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblRef *ref = makeNode(RangeTblRef);
	List	   *groups = ((SetOperationStmt *) setop->setOperations)->groupClauses;
	List	   *names = NIL;
	int			col = 0;

	foreach_ptr(TargetEntry, tle, setop->targetList)
	{
		SortGroupClause *clause = copyObject(list_nth(groups, col));
		TargetEntry *out = makeTargetEntry((Expr *) makeVarFromTargetEntry(1, tle),
										   ++col, tle->resname, false);

		clause->tleSortGroupRef = out->ressortgroupref = col;
		query->groupClause = lappend(query->groupClause, clause);
		query->targetList = lappend(query->targetList, out);
		names = lappend(names, makeString(pstrdup(tle->resname ? tle->resname : "")));
	}
	make_union_all(setop->setOperations);
	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = setop;
	rte->eref = makeAlias("union", names);
	rte->inFromCl = true;
	ref->rtindex = 1;
	query->commandType = CMD_SELECT;
	query->rtable = list_make1(rte);
	query->jointree = makeFromExpr(list_make1(ref), NULL);
	return query;
}

/* A column of the state table must be of a type that tables can have */
static char *
refuse_state_type(Oid type, Oid collation)
{
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		return psprintf("values of type %s cannot be stored", format_type_be(type));
	if (type_is_collatable(type) && !OidIsValid(collation))
		return "an expression over groups has no collation";
	return NULL;
}

static char *
refuse_state_types(const MvrStage *stage)
{
	char	   *reason = NULL;

	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		if (reason == NULL)
			reason = refuse_state_type(key->type, key->collation);
	}
	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		if (reason == NULL)
			reason = refuse_state_type(column->aggregate->aggtype,
									   column->aggregate->aggcollid);
	}
	return reason;
}

static char *
analyze_groups(MvrStage *stage, Query *query)
{
	char	   *reason;

	if (query->distinctClause)
	{
		if (query->groupClause || query->hasAggs || query->havingQual)
			return "the query has both groups and DISTINCT";
		turn_distinct_into_groups(query);
	}
	if (query->hasTargetSRFs)
		return "the query has a set-returning function with groups or DISTINCT";
	stage->is_scalar = (query->groupClause == NIL);
	stage->is_merged = true;
	foreach_ptr(SortGroupClause, clause, query->groupClause)
	{
		TargetEntry *tle = get_sortgroupclause_tle(clause, query->targetList);

		add_key(stage, tle->expr, clause);
	}
	reason = build_outputs(stage, query);
	if (reason == NULL)
		reason = refuse_state_types(stage);
	find_ambiguous_outputs(stage);
	if (reason == NULL && MVR_STATE_FIXED + list_length(stage->keys) +
		list_length(stage->columns) > MaxHeapAttributeNumber)
		reason = "the query has too many aggregates";
	query->groupClause = NIL;
	query->havingQual = NULL;
	query->hasAggs = false;
	return reason;
}

/* ----------
 * Base tables and columns
 * ----------
 */

static MvrUse *
ensure_use(MvrStage *stage, Oid base)
{
	MvrUse	   *use;

	foreach_ptr(MvrUse, other, stage->uses)
	{
		if (other->base == base)
			return other;
	}
	use = palloc0(sizeof(MvrUse));
	use->base = base;
	stage->uses = lappend(stage->uses, use);
	return use;
}

/* Note the columns of base tables that a normalized query needs */
static void
collect_uses(MvrStage *stage, Query *query, Node *more)
{
	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (rte->rtekind == RTE_SUBQUERY)
			collect_uses(stage, rte->subquery, NULL);
		else if (rte->rtekind == RTE_RELATION &&
				 (rte->relkind == RELKIND_RELATION ||
				  rte->relkind == RELKIND_PARTITIONED_TABLE))
		{
			MvrUse	   *use = ensure_use(stage, rte->relid);
			List	   *vars = list_concat(pull_vars_of_level((Node *) query, 0),
										   pull_vars_of_level(more, 0));

			foreach_ptr(Var, var, vars)
			{
				if (var->varno == rti)
					use->columns = bms_add_member(use->columns, var->varattno);
			}
		}
	}
}

/* ----------
 * Doors
 * ----------
 */

static char *
analyze_query(MvrStage *stage, Query *query)
{
	char	   *reason = mvr_mutable_refuse(query, &stage->reads_settings);
	List	   *more = NIL;

	if (reason == NULL)
		reason = normalize_query(&query);
	if (reason)
		return reason;
	if (query->setOperations)
	{
		if (!is_union(query->setOperations, false))
			return "the query has INTERSECT or EXCEPT";
		if (!((SetOperationStmt *) query->setOperations)->all)
			query = wrap_union(query);
		else if (!is_union(query->setOperations, true))
			return "the query has UNION below UNION ALL";
	}
	if (is_grouped(query))
	{
		reason = analyze_groups(stage, query);
		if (reason)
			return reason;
		stage->strategy = MVR_GROUPS;
	}
	else
		stage->strategy = MVR_ROWS;
	stage->input = query;
	foreach_ptr(MvrGroupKey, key, stage->keys)
		more = lappend(more, key->expr);
	foreach_ptr(MvrStateColumn, column, stage->columns)
		more = lappend(more, column->aggregate);
	collect_uses(stage, query, (Node *) more);
	return NULL;
}

/* A base table that cannot be captured makes the view one to recompute */
static char *
refuse_bases(MvrStage *stage)
{
	foreach_ptr(MvrUse, use, stage->uses)
	{
		Relation	base = table_open(use->base, NoLock);
		const char *reason = mvr_capture_refusal(base);

		table_close(base, NoLock);
		if (reason)
			return pstrdup(reason);
	}
	return NULL;
}

/*
 * How a view is maintained.  The caller has switched to the view's owner and
 * holds a lock on the view; the base tables are locked in AccessShareLock
 * mode on return.
 */
MvrStage *
mvr_analyze_view(Relation view)
{
	MvrStage   *stage = palloc0(sizeof(MvrStage));

	stage->query = expand_query(view);
	stage->desc = RelationGetDescr(view);
	stage->reason = analyze_query(stage, copyObject(stage->query));
	if (stage->reason == NULL)
		stage->reason = refuse_bases(stage);
	if (stage->reason)
	{
		stage->strategy = MVR_RECOMPUTE;
		stage->uses = NIL;
	}
	return stage;
}

/* The columns of a view's state table */
TupleDesc
mvr_analyze_build_state_desc(const MvrStage *stage)
{
	int			natts = MVR_STATE_FIXED + list_length(stage->keys) +
		list_length(stage->columns);
	TupleDesc	desc = CreateTemplateTupleDesc(natts);
	AttrNumber	attno = MVR_STATE_FIXED;
	int			n = 0;

	TupleDescInitEntry(desc, MVR_STATE_HASH, "hash", INT8OID, -1, 0);
	TupleDescInitEntry(desc, MVR_STATE_TID, "view_row", TIDOID, -1, 0);
	TupleDescInitEntry(desc, MVR_STATE_COUNT, "count", INT8OID, -1, 0);
	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		attno++;
		TupleDescInitEntry(desc, attno, psprintf("key%d", attno - MVR_STATE_FIXED),
						   key->type, key->typmod, 0);
		TupleDescInitEntryCollation(desc, attno, key->collation);
	}
	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		attno++;
		TupleDescInitEntry(desc, attno, psprintf("aggregate%d", ++n),
						   column->aggregate->aggtype, -1, 0);
		TupleDescInitEntryCollation(desc, attno, column->aggregate->aggcollid);
	}
	return desc;
}
