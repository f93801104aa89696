/*
 * analyze.c
 *		A view's query -> stages, or the reason why it is not maintained.
 *
 * Each of the normalized queries becomes a stage.  A grouped one is taken apart
 * into group keys, aggregates and a linear input.  Each aggregate becomes
 * columns of the state table, and the target list and HAVING become expressions
 * over these columns and the keys.  SELECT DISTINCT is groups of all columns
 * without aggregates.  A keyed one (windows, DISTINCT ON, LIMIT) stays whole;
 * its state table has the keys and the columns of its result.
 *
 * Analysis is pure but for the locks that the rewriter takes on the relations
 * of the query.  Whatever is not understood ends in a reason and the strategy
 * MVR_RECOMPUTE, which is right for every query.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_inherits.h"
#include "common/hashfn.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
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

	type = getBaseTypeAndTypmod(type, &typmod);
	/* a declared scale is every value's scale, and a declared length its length */
	if (type == NUMERICOID)
		return typmod >= (int32) VARHDRSZ;
	if (type == BPCHAROID && typmod < (int32) VARHDRSZ)
		return false;
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
	key->is_image_equal = is_image_equal(key->type, key->typmod, key->collation) ||
		(key->type == NUMERICOID && bms_num_members(mvr_scale_infer(expr)) == 1);
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

/*
 * count(arg): a column of its own, unless no value is NULL.  Then it is the
 * number of rows.
 */
static int
ensure_count(MvrStage *stage, Expr *arg, Expr *filter)
{
	if (filter == NULL && mvr_not_null_is_proven(stage->input, (Node *) arg))
		return MVR_COUNT_OF_ROWS;
	return ensure_column(stage, MVR_MERGE_COUNT,
						 mvr_tree_make_aggregate(F_COUNT_ANY, INT8OID, arg, filter), 0,
						 InvalidOid);
}

/* A Var of the state table, which output expressions scan */
static Expr *
make_state_var(const MvrStage *stage, int index)
{
	MvrStateColumn *column;

	if (index == MVR_COUNT_OF_ROWS)
		return (Expr *) makeVar(1, MVR_STATE_COUNT, INT8OID, -1, InvalidOid, 0);
	column = list_nth(stage->columns, index);
	return (Expr *) makeVar(1, column_attno(stage, index),
							column->aggregate->aggtype, -1,
							column->aggregate->aggcollid, 0);
}

/*
 * Scale of the values of a numeric sum, if it does not follow from the
 * expression: what the sum shows depends on it.
 */
static void
ensure_scale_columns(MvrStage *stage, Expr *arg, Expr *filter, int count)
{
	Expr	   *scale = mvr_tree_make_call(F_SCALE, INT4OID, list_make1(arg));

	ensure_column(stage, MVR_MERGE_SCALE,
				  mvr_tree_make_aggregate(F_MIN_INT4, INT4OID, scale, filter), count,
				  InvalidOid);
	ensure_column(stage, MVR_MERGE_SCALE,
				  mvr_tree_make_aggregate(F_MAX_INT4, INT4OID, copyObject(scale), filter),
				  count, InvalidOid);
}

static Expr *
make_is_positive(MvrStage *stage, int column)
{
	return mvr_tree_make_call(F_INT8GT, BOOLOID,
							  list_make2(make_state_var(stage, column),
										 mvr_tree_make_int8(0)));
}

/* count(arg) FILTER (WHERE scale(arg) = scale) */
static int
ensure_scale_count(MvrStage *stage, Expr *arg, Expr *filter, int scale)
{
	Expr	   *has_scale = mvr_tree_make_call(F_INT4EQ, BOOLOID,
											   list_make2(mvr_tree_make_call(F_SCALE, INT4OID,
																			 list_make1(arg)),
														  mvr_tree_make_int4(scale)));

	if (filter)
		has_scale = make_andclause(list_make2(filter, has_scale));
	return ensure_column(stage, MVR_MERGE_COUNT,
						 mvr_tree_make_aggregate(F_COUNT_ANY, INT8OID, arg, has_scale), 0,
						 InvalidOid);
}

static Expr *
make_rounded(MvrStage *stage, int sum, int scale)
{
	return mvr_tree_make_call(F_ROUND_NUMERIC_INT4, NUMERICOID,
							  list_make2(make_state_var(stage, sum),
										 mvr_tree_make_int4(scale)));
}

/*
 * The value of a numeric sum, with as many digits as it must show.  The state
 * may have more: it keeps those of values that are gone.
 */
static Expr *
build_scaled_sum(MvrStage *stage, Expr *arg, Expr *filter, int count, int sum)
{
	Bitmapset  *scales = mvr_scale_infer(arg);
	int			scale = bms_next_member(scales, -1);
	Expr	   *value;

	if (scales == NULL || bms_num_members(scales) > 4)
	{
		ensure_scale_columns(stage, arg, filter, count);
		return make_state_var(stage, sum);
	}
	if (bms_num_members(scales) == 1)
		return make_state_var(stage, sum);
	value = make_rounded(stage, sum, scale);
	while ((scale = bms_next_member(scales, scale)) >= 0)
	{
		Expr	   *shown = mvr_tree_make_case(make_is_positive(stage,
																ensure_scale_count(stage, arg,
																				   filter,
																				   scale)),
											   make_rounded(stage, sum, scale));

		((CaseExpr *) shown)->defresult = value;
		value = shown;
	}
	return value;
}

/*
 * The output of sum(arg) or avg(arg) from state columns
 *	count(arg), sum(arg) [, what tells the scale of the values]
 * as the final functions in core's numeric.c compute it.
 */
static Expr *
build_sum(MvrStage *stage, Aggref *agg, Oid sumfunc, Oid sumtype, bool is_avg)
{
	Expr	   *arg = ((TargetEntry *) linitial(agg->args))->expr;
	int			count = ensure_count(stage, arg, agg->aggfilter);
	Aggref	   *sumagg = mvr_tree_make_aggregate(sumfunc, sumtype, arg, agg->aggfilter);
	int			sum = ensure_column(stage, MVR_MERGE_SUM, sumagg, count, InvalidOid);
	Expr	   *value = linitial_oid(agg->aggargtypes) == NUMERICOID ?
		build_scaled_sum(stage, arg, agg->aggfilter, count, sum) :
		make_state_var(stage, sum);

	if (is_avg)
	{
		if (sumtype == INT8OID)
			value = mvr_tree_make_call(F_NUMERIC_INT8, NUMERICOID, list_make1(value));
		value = mvr_tree_make_call(F_NUMERIC_DIV, NUMERICOID,
								   list_make2(value,
											  mvr_tree_make_call(F_NUMERIC_INT8, NUMERICOID,
																 list_make1(make_state_var(stage, count)))));
	}
	/* a group has rows, and a sum of nothing is NULL by itself */
	if ((count == MVR_COUNT_OF_ROWS && !stage->is_scalar) ||
		(IsA(value, Var) && !is_avg))
		return value;
	return mvr_tree_make_case(make_is_positive(stage, count), value);
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
	int			count = ensure_count(stage, arg, agg->aggfilter);
	int			trues = ensure_column(stage, MVR_MERGE_COUNT,
									  mvr_tree_make_aggregate(F_COUNT_ANY, INT8OID, arg, is_true),
									  0, InvalidOid);
	Expr	   *value;

	if (is_and)
		value = mvr_tree_make_call(F_INT8EQ, BOOLOID, list_make2(make_state_var(stage, trues),
														make_state_var(stage, count)));
	else
		value = mvr_tree_make_call(F_INT8GT, BOOLOID, list_make2(make_state_var(stage, trues),
														mvr_tree_make_int8(0)));
	return mvr_tree_make_case(mvr_tree_make_call(F_INT8GT, BOOLOID,
							   list_make2(make_state_var(stage, count),
										  mvr_tree_make_int8(0))),
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
					return make_state_var(stage, MVR_COUNT_OF_ROWS);
				return make_state_var(stage, ensure_column(stage, MVR_MERGE_COUNT,
														   agg, 0, InvalidOid));
			case F_COUNT_ANY:
				return make_state_var(stage,
									  ensure_count(stage,
												   ((TargetEntry *) linitial(agg->args))->expr,
												   agg->aggfilter));
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

/*
 * Does the view itself hold the whole state of each group, so that it needs no
 * state table?  Then each key, the count of rows and each aggregate is a column
 * of the view just as it is, and every group is shown.  Sets for each column of
 * the state, behind the first two, which that is.
 */
static AttrNumber *
find_held_columns(const MvrStage *stage)
{
	int			natts = MVR_STATE_FIXED + list_length(stage->keys) +
		list_length(stage->columns);
	AttrNumber *held = palloc0(sizeof(AttrNumber) * natts);

	if (stage->is_scalar || stage->having || !stage->is_merged)
		return NULL;
	foreach_ptr(TargetEntry, tle, stage->outputs)
	{
		AttrNumber	attno = IsA(tle->expr, Var) ? ((Var *) tle->expr)->varattno : 0;

		if (attno > 0 && held[attno - 1] == 0)
			held[attno - 1] = tle->resno;
	}
	for (int i = MVR_STATE_COUNT - 1; i < natts; i++)
		if (held[i] == 0)
			return NULL;
	return held;
}

/* SELECT DISTINCT without groups: a group for each distinct row */
static void
turn_distinct_into_groups(Query *query)
{
	query->groupClause = query->distinctClause;
	query->distinctClause = NIL;
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

/*
 * ORDER BY ... USING gives GROUP BY, DISTINCT and PARTITION BY its idea of what is
 * equal.  State rows are looked for by that of the type.
 */
static bool
has_own_equality(const MvrGroupKey *key)
{
	return key->clause->eqop == lookup_type_cache(key->type, TYPECACHE_EQ_OPR)->eq_opr;
}

static char *
refuse_state_types(const MvrStage *stage)
{
	char	   *reason = NULL;

	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		if (reason == NULL)
			reason = refuse_state_type(key->type, key->collation);
		if (reason == NULL && !has_own_equality(key))
			reason = "rows are grouped by another \"=\" than that of the type";
	}
	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		if (reason == NULL)
			reason = refuse_state_type(column->aggregate->aggtype,
									   column->aggregate->aggcollid);
	}
	return reason;
}

/*
 * Does a state row, or what a delta query computes for it, exceed what a tuple
 * can have?  A long value needs no more than the pointer to where it is.
 */
static bool
is_too_wide(const MvrStage *stage)
{
	int			nkeys = list_length(stage->keys);
	int			narguments = 0;
	Size		width = 0;
	TupleDesc	desc;

	if (MVR_STATE_FIXED + nkeys + list_length(stage->columns) > MaxHeapAttributeNumber ||
		nkeys + 1 + 2 * list_length(stage->columns) > MaxTupleAttributeNumber)
		return true;
	foreach_ptr(MvrStateColumn, column, stage->columns)
		narguments += list_length(column->aggregate->args) + 1;
	desc = mvr_analyze_build_state_desc(stage);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		width = att_align_nominal(width, att->attalign);
		width += att->attlen > 0 ? (Size) att->attlen : TOAST_POINTER_SIZE;
	}
	return nkeys + 1 + narguments > MaxTupleAttributeNumber ||
		MAXALIGN(SizeofHeapTupleHeader + BITMAPLEN(desc->natts)) + width > MaxHeapTupleSize;
}

/* A recomputation computes the state and the row of each group, side by side */
static bool
has_too_many_columns(const MvrStage *stage)
{
	return MVR_STATE_FIXED + list_length(stage->keys) + list_length(stage->columns) +
		list_length(stage->outputs) > MaxTupleAttributeNumber;
}

static char *
analyze_groups(MvrStage *stage, Query *query)
{
	char	   *reason;

	stage->strategy = MVR_GROUPS;
	if (query->distinctClause)
		turn_distinct_into_groups(query);
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
	if (reason == NULL && is_too_wide(stage))
		reason = "the query has too many aggregates";
	if (reason == NULL && has_too_many_columns(stage))
		reason = "the query has too many columns";
	query->groupClause = NIL;
	query->havingQual = NULL;
	query->hasAggs = false;
	return reason;
}

/* ----------
 * Keys
 * ----------
 */

static bool
has_partition_key(WindowClause *window, SortGroupClause *clause, List *targets)
{
	Node	   *expr = get_sortgroupclause_expr(clause, targets);

	foreach_ptr(SortGroupClause, other, window->partitionClause)
		if (other->eqop == clause->eqop &&
			equal(get_sortgroupclause_expr(other, targets), expr))
			return true;
	return false;
}

/*
 * What the rows of a keyed query depend on: input rows with the same values of
 * these.  PARTITION BY as far as all windows agree; of LIMIT, on all rows.
 */
static List *
list_key_clauses(Query *query)
{
	List	   *clauses = NIL;

	if (query->hasDistinctOn)
		return query->distinctClause;
	if (query->windowClause == NIL)
		return NIL;
	foreach_ptr(SortGroupClause, clause,
				linitial_node(WindowClause, query->windowClause)->partitionClause)
	{
		bool		is_common = true;

		foreach_ptr(WindowClause, window, query->windowClause)
			if (!has_partition_key(window, clause, query->targetList))
				is_common = false;
		if (is_common)
			clauses = lappend(clauses, clause);
	}
	return clauses;
}

static char *
analyze_keys(MvrStage *stage, Query *query)
{
	AttrNumber	attno;
	char	   *reason = NULL;

	stage->strategy = MVR_KEYS;
	foreach_ptr(SortGroupClause, clause, list_key_clauses(query))
		add_key(stage, copyObject((Expr *) get_sortgroupclause_expr(clause,
																   query->targetList)),
				clause);
	stage->is_scalar = (stage->keys == NIL);
	attno = MVR_STATE_FIXED + list_length(stage->keys);
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		Node	   *expr = (Node *) tle->expr;

		if (tle->resjunk)
			continue;
		if (reason == NULL)
			reason = refuse_state_type(exprType(expr), exprCollation(expr));
		stage->outputs = lappend(stage->outputs,
								 makeTargetEntry((Expr *) makeVar(1, ++attno, exprType(expr),
																  exprTypmod(expr),
																  exprCollation(expr), 0),
												 list_length(stage->outputs) + 1,
												 tle->resname, false));
	}
	if (reason == NULL)
		reason = refuse_state_types(stage);
	if (reason == NULL && (attno > MaxHeapAttributeNumber ||
						   attno + list_length(stage->outputs) > MaxTupleAttributeNumber))
		reason = "the query has too many columns";
	return reason;
}

/* ----------
 * Doors
 * ----------
 */

static TupleDesc
build_output_desc(Query *query)
{
	TupleDesc	desc;
	int			n = 0;

	foreach_ptr(TargetEntry, tle, query->targetList)
		if (!tle->resjunk)
			n++;
	desc = CreateTemplateTupleDesc(n);
	n = 0;
	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		if (tle->resjunk)
			continue;
		n++;
		TupleDescInitEntry(desc, n, psprintf("c%d", n), exprType((Node *) tle->expr),
						   exprTypmod((Node *) tle->expr), 0);
		TupleDescInitEntryCollation(desc, n, exprCollation((Node *) tle->expr));
	}
	TupleDescFinalize(desc);
	return desc;
}

/* Take one normalized query apart */
static char *
analyze_stage(MvrStage *stage, Query *query)
{
	stage->input = query;
	if (stage->desc == NULL)
		stage->desc = build_output_desc(query);
	if (mvr_layers_is_keyed(query))
		return analyze_keys(stage, query);
	if (mvr_normalize_is_grouped(query))
		return analyze_groups(stage, query);
	stage->strategy = MVR_ROWS;
	return NULL;
}

static char *
analyze_query(MvrStage *view, Query *query)
{
	char	   *reason = mvr_mutable_refuse(query, &view->reads_settings);
	List	   *queries = NIL;

	if (reason == NULL)
		queries = mvr_normalize_query(query, &reason);
	foreach_ptr(Query, one, queries)
	{
		bool		is_last = one == llast(queries);
		MvrStage   *stage = is_last ? view : palloc0(sizeof(MvrStage));

		if (reason)
			break;
		reason = analyze_stage(stage, one);
		if (!is_last)
			view->inner = lappend(view->inner, stage);
		view->has_ambiguous |= !bms_is_empty(stage->ambiguous);
		mvr_uses_collect(view, stage);
	}
	foreach_ptr(MvrStage, stage, view->inner)
		stage->inner = view->inner;
	if (reason == NULL && view->strategy == MVR_GROUPS && view->inner == NIL)
		view->held = find_held_columns(view);
	mvr_uses_find_identities(view);
	return reason;
}

/* A base table that cannot be captured makes the view one to recompute */
static char *
refuse_bases(MvrStage *stage)
{
	foreach_ptr(MvrUse, use, stage->uses)
	{
		Relation	base = table_open(use->base, NoLock);
		const char *reason = mvr_members_refusal(base);

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
		stage->inner = NIL;
	}
	return stage;
}

/*
 * Fingerprint of what the stages' states have: it depends on more than the
 * query.  Where a column can have no NULL, its values are not counted.
 */
int64
mvr_analyze_hash(const MvrStage *view)
{
	List	   *stages = lappend(list_copy(view->inner), unconstify(MvrStage *, view));
	uint64		hash = 0;

	foreach_ptr(MvrStage, stage, stages)
	{
		hash = hash_combine64(hash, list_length(stage->columns));
		foreach_ptr(MvrStateColumn, column, stage->columns)
			hash = hash_combine64(hash, ((uint64) column->merge << 32) |
								  (uint32) column->count);
	}
	return (int64) hash;
}

/* The columns of a stage's state table; one by rows has none */
TupleDesc
mvr_analyze_build_state_desc(const MvrStage *stage)
{
	bool		is_keyed = stage->strategy == MVR_KEYS;
	int			natts = MVR_STATE_FIXED + list_length(stage->keys) +
		list_length(is_keyed ? stage->outputs : stage->columns);
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
	foreach_ptr(TargetEntry, tle, is_keyed ? stage->outputs : NIL)
	{
		Var		   *var = castNode(Var, tle->expr);

		TupleDescInitEntry(desc, var->varattno, psprintf("column%d", tle->resno),
						   var->vartype, var->vartypmod, 0);
		TupleDescInitEntryCollation(desc, var->varattno, var->varcollid);
	}
	TupleDescFinalize(desc);
	return desc;
}
