/*
 * analyze.c
 *		A view's query -> a stage, or the reason why it is not maintained.
 *
 * The normalized query is taken apart into group keys, aggregates and a linear
 * input.  Each aggregate becomes columns of the state table, and the target
 * list and HAVING become expressions over these columns and the keys.
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
				pg_fallthrough;
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
		reason = mvr_normalize_query(&query);
	if (reason)
		return reason;
	if (query->setOperations)
	{
		if (!mvr_normalize_is_union(query->setOperations, false))
			return "the query has INTERSECT or EXCEPT";
		if (!((SetOperationStmt *) query->setOperations)->all)
			query = wrap_union(query);
		else if (!mvr_normalize_is_union(query->setOperations, true))
			return "the query has UNION below UNION ALL";
	}
	if (mvr_normalize_is_grouped(query))
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

	stage->query = mvr_normalize_expand(view);
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
	TupleDescFinalize(desc);
	return desc;
}
