/*
 * delta_query.c
 *		Stage and changed base tables -> Query trees.
 *
 * Every operator's delta rule is written here and nowhere else.  For a
 * relation R, new(R) is what it holds now, D(R) its delta and
 *	old(R) = new(R) + -D(R)
 * a UNION ALL of rows with weights.  Linear operators (filters, projections,
 * UNION ALL, functions of a row's own columns) apply to the delta's rows and
 * carry the weight.  A join of f1 ... fn, of which some have changed, is
 *
 *	D(f1 x ... x fn) = sum over changed i of
 *		new(f1) x ... x new(fi-1) x D(fi) x old(fi+1) x ... x old(fn)
 *
 * which has as many terms as there are changed items; an item that has not
 * changed stays as it is.  Weights multiply, so they remain +1 and -1.
 *
 * A term is the query itself with the range table entries of changed items
 * replaced.  A replaced entry has the needed columns in order of their
 * attribute numbers, then the weight.
 *
 * Aggregates over a delta come in pairs, over what came and over what went,
 * and the merge (stage.c) decides what they mean for the state.
 *
 * Everything here is pure: no locks, no I/O, the arguments are not modified.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

static Query *build_delta(Query *query, List *deltas);

/* ----------
 * Small trees
 * ----------
 */

static Expr *
make_int4_const(int32 value)
{
	return (Expr *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
							  Int32GetDatum(value), false, true);
}

static Var *
make_weight_var(int rti, AttrNumber attno)
{
	return makeVar(rti, attno, INT4OID, -1, InvalidOid, 0);
}

static Expr *
make_call(Oid func, Oid type, List *args)
{
	return (Expr *) makeFuncExpr(func, type, args, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

static void
append_target(Query *query, Expr *expr, const char *name)
{
	query->targetList = lappend(query->targetList,
								makeTargetEntry(expr, list_length(query->targetList) + 1,
												pstrdup(name), false));
}

static Query *
make_select(void)
{
	Query	   *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	return query;
}

static List *
list_column_names(Query *query)
{
	List	   *names = NIL;

	foreach_ptr(TargetEntry, tle, query->targetList)
		names = lappend(names, makeString(pstrdup(tle->resname ? tle->resname : "")));
	return names;
}

static RangeTblEntry *
make_subquery_rte(Query *subquery, const char *name)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = subquery;
	rte->eref = makeAlias(name, list_column_names(subquery));
	rte->inFromCl = true;
	return rte;
}

/* A range table entry that reads an ephemeral named relation */
static RangeTblEntry *
make_enr_rte(const char *name, TupleDesc desc, double nrows)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = pstrdup(name);
	rte->enrtuples = nrows;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		rte->coltypes = lappend_oid(rte->coltypes, att->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, att->atttypmod);
		rte->colcollations = lappend_oid(rte->colcollations, att->attcollation);
		names = lappend(names, makeString(pstrdup(NameStr(att->attname))));
	}
	rte->eref = makeAlias(name, names);
	rte->inFromCl = true;
	return rte;
}

static RangeTblRef *
append_from(Query *query, RangeTblEntry *rte)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	query->rtable = lappend(query->rtable, rte);
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
	return ref;
}

/*
 * SELECT * FROM arm UNION ALL SELECT * FROM arm ...
 * All arms have columns of the same types.
 */
static Query *
make_union_all(List *arms)
{
	Query	   *query;
	Node	   *tree = NULL;
	SetOperationStmt *types = makeNode(SetOperationStmt);

	if (list_length(arms) == 1)
		return linitial(arms);
	query = make_select();
	foreach_ptr(TargetEntry, tle, ((Query *) linitial(arms))->targetList)
	{
		Oid			type = exprType((Node *) tle->expr);
		Oid			collation = exprCollation((Node *) tle->expr);

		types->colTypes = lappend_oid(types->colTypes, type);
		types->colTypmods = lappend_int(types->colTypmods, -1);
		types->colCollations = lappend_oid(types->colCollations, collation);
		append_target(query, (Expr *) makeVar(1, tle->resno, type, -1, collation, 0),
					  tle->resname ? tle->resname : "");
	}
	foreach_ptr(Query, arm, arms)
	{
		RangeTblRef *ref = makeNode(RangeTblRef);

		query->rtable = lappend(query->rtable, make_subquery_rte(arm, "arm"));
		ref->rtindex = list_length(query->rtable);
		if (tree == NULL)
			tree = (Node *) ref;
		else
		{
			SetOperationStmt *op = copyObject(types);

			op->op = SETOP_UNION;
			op->all = true;
			op->larg = tree;
			op->rarg = (Node *) ref;
			tree = (Node *) op;
		}
	}
	query->setOperations = tree;
	return query;
}

/* ----------
 * What has changed
 * ----------
 */

static MvrDelta *
lookup_delta(List *deltas, Oid base)
{
	foreach_ptr(MvrDelta, delta, deltas)
	{
		if (delta->base == base)
			return delta;
	}
	return NULL;
}

static bool has_changed_query(Query *query, List *deltas);

static bool
has_changed(RangeTblEntry *rte, List *deltas)
{
	if (rte->rtekind == RTE_RELATION)
		return lookup_delta(deltas, rte->relid) != NULL;
	if (rte->rtekind == RTE_SUBQUERY)
		return has_changed_query(rte->subquery, deltas);
	return false;
}

static bool
has_changed_query(Query *query, List *deltas)
{
	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		if (has_changed(rte, deltas))
			return true;
	}
	return false;
}

/* ----------
 * FROM items: delta and old
 * ----------
 */

static int
count_columns(MvrDelta *delta)
{
	return delta->desc->natts - 1;
}

/*
 * SELECT <needed columns>, 1 FROM R
 */
static Query *
build_current(RangeTblEntry *rte, MvrDelta *delta, Query *home)
{
	Query	   *query = make_select();

	append_from(query, mvr_compat_move_rte(query, rte, home));
	for (int i = 0; i < delta->natts; i++)
	{
		AttrNumber	attno = delta->attmap[i];

		if (attno > 0)
		{
			Form_pg_attribute att = TupleDescAttr(delta->desc, attno - 1);

			append_target(query, (Expr *) makeVar(1, i + 1, att->atttypid, att->atttypmod,
												  att->attcollation, 0),
						  NameStr(att->attname));
		}
	}
	append_target(query, make_int4_const(1), "weight");
	return query;
}

/*
 * SELECT <columns>, -weight FROM <a query or relation that ends in a weight>
 */
static Query *
build_negated(RangeTblEntry *rte, List *types, List *typmods, List *collations)
{
	Query	   *query = make_select();
	int			ncolumns = list_length(types) - 1;

	append_from(query, rte);
	for (int i = 0; i < ncolumns; i++)
		append_target(query, (Expr *) makeVar(1, i + 1, list_nth_oid(types, i),
											  list_nth_int(typmods, i),
											  list_nth_oid(collations, i), 0),
					  strVal(list_nth(rte->eref->colnames, i)));
	append_target(query, make_call(F_INT4UM, INT4OID,
								   list_make1(make_weight_var(1, ncolumns + 1))),
				  "weight");
	return query;
}

/* old(R) for a base table: current rows, and its delta undone */
static Query *
build_old_relation(RangeTblEntry *rte, MvrDelta *delta, Query *home)
{
	RangeTblEntry *enr = make_enr_rte(delta->name, delta->desc,
									  delta->nrows);

	return make_union_all(list_make2(build_current(rte, delta, home),
									 build_negated(enr, enr->coltypes, enr->coltypmods,
												   enr->colcollations)));
}

/* old(Q) for a linear subquery, likewise */
static Query *
build_old_subquery(Query *subquery, List *deltas)
{
	Query	   *current = make_select();
	Query	   *delta = build_delta(subquery, deltas);
	List	   *types = NIL;
	List	   *typmods = NIL;
	List	   *collations = NIL;

	append_from(current, make_subquery_rte(copyObject(subquery), "current"));
	foreach_ptr(TargetEntry, tle, subquery->targetList)
		append_target(current, (Expr *) makeVarFromTargetEntry(1, tle),
					  tle->resname ? tle->resname : "");
	append_target(current, make_int4_const(1), "weight");
	foreach_ptr(TargetEntry, tle, delta->targetList)
	{
		types = lappend_oid(types, exprType((Node *) tle->expr));
		typmods = lappend_int(typmods, exprTypmod((Node *) tle->expr));
		collations = lappend_oid(collations, exprCollation((Node *) tle->expr));
	}
	return make_union_all(list_make2(current,
									 build_negated(make_subquery_rte(delta, "delta"),
												   types, typmods, collations)));
}

/* Renumber the columns of a base table to those of its replaced entry */
static Query *
renumber_columns(Query *term, int rti, MvrDelta *delta)
{
	AttrMap		map = {.attnums = delta->attmap, .maplen = delta->natts};
	bool		found_whole_row;

	return (Query *) map_variable_attnos((Node *) term, rti, 0, &map, InvalidOid,
										 &found_whole_row);
}

/*
 * Replace one changed FROM item by its delta, or by what it was.  Returns the
 * term, and in *weight the column that its rows' weight stands in.
 */
static Query *
replace_item(Query *term, int rti, List *deltas, bool by_delta, AttrNumber *weight)
{
	RangeTblEntry *rte = rt_fetch(rti, term->rtable);
	RangeTblEntry *replacement;

	if (rte->rtekind == RTE_RELATION)
	{
		MvrDelta   *delta = lookup_delta(deltas, rte->relid);

		if (by_delta)
			replacement = make_enr_rte(delta->name, delta->desc,
									   delta->nrows);
		else
			replacement = make_subquery_rte(build_old_relation(rte, delta, term), "old");
		*weight = count_columns(delta) + 1;
		lfirst(list_nth_cell(term->rtable, rti - 1)) = replacement;
		return renumber_columns(term, rti, delta);
	}
	*weight = list_length(rte->subquery->targetList) + 1;
	rte->subquery = by_delta ? build_delta(rte->subquery, deltas) :
		build_old_subquery(rte->subquery, deltas);
	rte->eref = makeAlias(rte->eref->aliasname, list_column_names(rte->subquery));
	return term;
}

/* ----------
 * Delta of a linear query: its columns, then the weight
 * ----------
 */

/* The term for the changed item at position "which" of the FROM list */
static Query *
build_term(Query *query, List *deltas, int which)
{
	Query	   *term = copyObject(query);
	Expr	   *weight = NULL;
	int			nitems = list_length(query->jointree->fromlist);

	for (int i = which; i < nitems; i++)
	{
		int			rti = castNode(RangeTblRef,
								   list_nth(query->jointree->fromlist, i))->rtindex;
		AttrNumber	attno;
		Expr	   *factor;

		if (!has_changed(rt_fetch(rti, query->rtable), deltas))
			continue;
		term = replace_item(term, rti, deltas, i == which, &attno);
		factor = (Expr *) make_weight_var(rti, attno);
		weight = weight == NULL ? factor :
			make_call(F_INT4MUL, INT4OID, list_make2(weight, factor));
	}
	append_target(term, weight, "weight");
	return term;
}

/* One empty arm, for a query in which nothing has changed */
static Query *
build_nothing(Query *query)
{
	Query	   *nothing = copyObject(query);

	if (query->setOperations)
		return build_nothing(((RangeTblEntry *) linitial(query->rtable))->subquery);
	nothing->jointree->quals = makeBoolConst(false, false);
	append_target(nothing, make_int4_const(1), "weight");
	return nothing;
}

static Query *
build_delta(Query *query, List *deltas)
{
	List	   *arms = NIL;

	if (query->setOperations)
	{
		foreach_ptr(RangeTblEntry, rte, query->rtable)
		{
			if (has_changed(rte, deltas))
				arms = lappend(arms, build_delta(rte->subquery, deltas));
		}
	}
	else
	{
		for (int i = 0; i < list_length(query->jointree->fromlist); i++)
		{
			int			rti = castNode(RangeTblRef,
									   list_nth(query->jointree->fromlist, i))->rtindex;

			if (has_changed(rt_fetch(rti, query->rtable), deltas))
				arms = lappend(arms, build_term(query, deltas, i));
		}
	}
	return arms == NIL ? build_nothing(query) : make_union_all(arms);
}

/*
 * Delta of a view by rows:
 *	<columns of the view>, weight
 */
Query *
mvr_delta_query_build_rows(const MvrStage *stage, List *deltas)
{
	return build_delta(stage->input, deltas);
}

/* ----------
 * Groups
 * ----------
 */

/* The input with another target list: the keys, then what aggregates read */
static Query *
build_group_input(const MvrStage *stage)
{
	Query	   *input = copyObject(stage->input);

	input->targetList = NIL;
	foreach_ptr(MvrGroupKey, key, stage->keys)
		append_target(input, copyObject(key->expr), "key");
	return input;
}

static void
append_key_groups(Query *query, const MvrStage *stage)
{
	int			n = 0;

	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		TargetEntry *tle = list_nth(query->targetList, n++);
		SortGroupClause *clause = copyObject(key->clause);

		clause->tleSortGroupRef = tle->ressortgroupref = n;
		query->groupClause = lappend(query->groupClause, clause);
	}
	query->hasAggs = true;
}

static Aggref *
make_aggregate(Oid func, Oid type, Oid argtype, Expr *arg)
{
	Aggref	   *agg = makeNode(Aggref);

	agg->aggfnoid = func;
	agg->aggtype = type;
	agg->aggkind = AGGKIND_NORMAL;
	agg->aggsplit = AGGSPLIT_SIMPLE;
	agg->aggno = agg->aggtransno = -1;
	agg->location = -1;
	if (arg)
	{
		agg->aggargtypes = list_make1_oid(argtype);
		agg->args = list_make1(makeTargetEntry(arg, 1, NULL, false));
	}
	else
		agg->aggstar = true;
	return agg;
}

/* An aggregate over rows of one sign: came (F_INT4GT 0) or went (F_INT4LT 0) */
static Expr *
make_signed(Aggref *pattern, Var *weight, Oid compare)
{
	Aggref	   *agg = copyObject(pattern);
	Expr	   *sign = make_call(compare, BOOLOID,
								 list_make2(copyObject(weight), make_int4_const(0)));

	agg->aggfilter = agg->aggfilter == NULL ? sign :
		make_andclause(list_make2(agg->aggfilter, sign));
	return (Expr *) agg;
}

/*
 * Move an aggregate's argument and filter into the inner query's target list,
 * and return the aggregate over the columns they have become.
 */
static Aggref *
push_arguments(Aggref *aggregate, Query *inner)
{
	Aggref	   *agg = copyObject(aggregate);

	foreach_ptr(TargetEntry, arg, agg->args)
	{
		append_target(inner, arg->expr, "argument");
		arg->expr = (Expr *) makeVarFromTargetEntry(1, llast(inner->targetList));
	}
	if (agg->aggfilter)
	{
		append_target(inner, agg->aggfilter, "filter");
		agg->aggfilter = (Expr *) makeVarFromTargetEntry(1, llast(inner->targetList));
	}
	return agg;
}

/* ----------
 * Delta of groups.  The query built is
 *	SELECT <keys>, sum(weight), <agg> FILTER (WHERE weight > 0),
 *		   <agg> FILTER (WHERE weight < 0) [, ...]
 *	  FROM (<delta of: SELECT <keys>, <arguments> FROM input>) d
 *	 GROUP BY <keys>
 * without the aggregates if the state is not merged.  A net count of zero
 * does not mean "no change": an UPDATE can move sum(x) alone.
 * ----------
 */
Query *
mvr_delta_query_build_groups(const MvrStage *stage, List *deltas)
{
	Query	   *query = make_select();
	Query	   *inner = build_group_input(stage);
	List	   *aggregates = NIL;
	RangeTblEntry *rte;
	Var		   *weight;
	int			nkeys = list_length(stage->keys);

	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		if (stage->is_merged)
			aggregates = lappend(aggregates, push_arguments(column->aggregate, inner));
	}
	inner = build_delta(inner, deltas);
	weight = make_weight_var(1, list_length(inner->targetList));
	rte = make_subquery_rte(inner, "delta");
	append_from(query, rte);
	for (int i = 0; i < nkeys; i++)
		append_target(query, (Expr *) makeVarFromTargetEntry(1, list_nth(inner->targetList, i)),
					  "key");
	append_target(query, (Expr *) make_aggregate(F_SUM_INT4, INT8OID, INT4OID,
												 (Expr *) copyObject(weight)),
				  "count");
	foreach_ptr(Aggref, agg, aggregates)
	{
		append_target(query, make_signed(agg, weight, F_INT4GT), "came");
		append_target(query, make_signed(agg, weight, F_INT4LT), "went");
	}
	append_key_groups(query, stage);
	return query;
}

/* <key> = <column of wanted>, or both NULL if that can be */
static Node *
make_key_qual(MvrGroupKey *key, int rti, AttrNumber attno, bool with_nulls)
{
	Var		   *var = makeVar(rti, attno, key->type, key->typmod, key->collation, 0);
	Expr	   *equals = make_opclause(key->clause->eqop, BOOLOID, false,
									   copyObject(key->expr), (Expr *) var,
									   InvalidOid, key->collation);
	NullTest   *mine;
	NullTest   *theirs;

	set_opfuncid((OpExpr *) equals);
	if (!with_nulls)
		return (Node *) equals;
	mine = makeNode(NullTest);
	mine->arg = copyObject(key->expr);
	mine->nulltesttype = IS_NULL;
	mine->location = -1;
	theirs = copyObject(mine);
	theirs->arg = (Expr *) copyObject(var);
	return (Node *) make_orclause(list_make2(equals,
											 make_andclause(list_make2(mine, theirs))));
}

/* ----------
 * Contents of groups.  The query built is
 *	SELECT <keys>, count(*), <aggregates>
 *	  FROM <input> [, <wanted>]
 *	 WHERE <quals> [AND <key> = <wanted key> ...]
 *	 GROUP BY <keys>
 * for the keys in the ephemeral relation "wanted" (each there once), or for
 * all groups if "name" is NULL.  with_nulls: the wanted keys may have NULLs,
 * which costs the planner its equality joins; so those come in a query of
 * their own.
 * ----------
 */
Query *
mvr_delta_query_build_contents(const MvrStage *stage, TupleDesc keys,
							   const char *name, int64 nrows, bool with_nulls)
{
	Query	   *query = build_group_input(stage);
	AttrNumber	attno = 0;

	append_target(query, (Expr *) make_aggregate(F_COUNT_, INT8OID, InvalidOid, NULL),
				  "count");
	foreach_ptr(MvrStateColumn, column, stage->columns)
		append_target(query, (Expr *) copyObject(column->aggregate), "aggregate");
	append_key_groups(query, stage);
	if (name && stage->keys)
	{
		int			rti = append_from(query, make_enr_rte(name, keys,
														  nrows))->rtindex;
		List	   *quals = query->jointree->quals ?
			list_make1(query->jointree->quals) : NIL;

		foreach_ptr(MvrGroupKey, key, stage->keys)
			quals = lappend(quals, make_key_qual(key, rti, ++attno, with_nulls));
		query->jointree->quals = (Node *) make_ands_explicit(quals);
	}
	return query;
}
