/*
 * delta_query.c
 *		Stage and changes -> Query trees.
 *
 * Every operator's delta rule is written here, but that of the right side of a
 * LEFT JOIN (delta_outer.c); what a place reads is built by delta_item.c and put
 * there by delta_place.c, and what a change touches is found by delta_touch.c.
 * For a relation R, new(R) is what it holds now, D(R) its delta, and
 *	old(R) = new(R) + -D(R)
 * a UNION ALL of rows with weights.  A linear query is
 *
 *	SELECT t(f) FROM f1 x ... x fn WHERE w(f)
 *
 * over rows f of its linear items, where t and w may call on dependent parts
 * (see normalize.c): the right side of a LEFT JOIN, a LATERAL subquery, a
 * subquery in an expression.  These are functions of f, computed from tables of
 * their own.  Number all places at which a changed relation is read: the linear
 * items first, then those in dependent parts.  The delta is a sum of one term
 * for each place i, in which every place before i reads new(R) and every place
 * behind it old(R), and place i reads
 *
 *	a linear item	D(R); the row's weight counts
 *	a dependent part	new(R) once, with weight +1, and old(R) once, with
 *					weight -1, for those f that D(R) touches
 *
 * (In this order the rows f that are looked up for a change of a dependent part
 * are those of tables as they are, which the planner knows best.)
 *
 * So the number of terms is that of changed places; nothing grows with the
 * number of joins.  Weights multiply, and remain +1 and -1.
 *
 * D(R) touches f if a changed row takes part in computing the dependent part
 * for f: what is in its FROM and WHERE, with D(R) in the place of R, has a row.
 * Any f more is right too (both computations give the same for it), so
 * whatever is hard to tell is left out of the condition.  For
 *
 *	FROM a LEFT JOIN b ON a.k = b.k			EXISTS (SELECT FROM D(b) WHERE a.k = b.k)
 *	WHERE a.k IN (SELECT k FROM b WHERE q)	EXISTS (SELECT FROM D(b) WHERE q AND a.k = b.k)
 *	(SELECT sum(x) FROM b WHERE b.k = a.k)	EXISTS (SELECT FROM D(b) WHERE b.k = a.k)
 *
 * If dependent parts have changed, a term is split (delta_rows.c): its rows f are
 * computed once, as a CTE, then the dependent parts for them; both terms of a
 * place read the same rows.  Not if all f are touched, or nobody can tell.
 *
 * In a dependent part old(R) must be a table, not one with weights:
 *	old(R) = rows of new(R) that did not appear, and the rows that went
 * The rows that appeared are known by a primary key, or by where they stand (see
 * identify.c; of a stage, in its state table).
 *
 * A replaced range table entry has the columns of what it replaces, under the
 * same numbers, so that nothing else changes; then come columns of ours.
 *
 * Aggregates over a delta come in pairs, over what came and over what went,
 * and the merge (stage.c) decides what they mean for the state.
 *
 * Everything here is pure: no locks, no I/O, the arguments are not modified.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"

#include "matview_refresh.h"

static Query *build_delta(Query *query, MvrItems *context);

/* ----------
 * Known values
 *
 * In the term of place i, what must be equal to a column of its delta has only
 * values that occur there.  So of an item that reads old(R), only the rows with
 * such values are needed.
 * ----------
 */

typedef struct Known
{
	Node	   *expr;			/* of the term's level */
	AttrNumber	column;			/* of the delta's ephemeral relation */
} Known;

static Known *
lookup_known(List *knowns, Node *expr)
{
	expr = mvr_tree_strip_relabel(expr);
	foreach_ptr(Known, known, knowns)
		if (equal(known->expr, expr))
			return known;
	return NULL;
}

static List *
add_known(List *knowns, Node *expr, AttrNumber column)
{
	Known	   *known = palloc(sizeof(Known));

	expr = mvr_tree_strip_relabel(expr);
	known->expr = expr;
	known->column = column;
	return lappend(knowns, known);
}

/* What the place itself says: columns of its delta, or what they must equal */
static List *
list_known_at(Query *query, MvrPlace *place, MvrDelta *delta, MvrItems *context)
{
	MvrFocus		focus = {.context = context,.term = query,.place = place};
	List	   *knowns = NIL;

	if (!place->is_linear)
	{
		if (mvr_touch_build(query, &focus))
			foreach_ptr(MvrLink, link, focus.links)
				knowns = add_known(knowns, link->outside, delta->attmap[link->attno - 1]);
		return knowns;
	}
	foreach_ptr(Var, var, pull_vars_of_level((Node *) query->jointree, 0))
		if (var->varno == place->rti && delta->attmap[var->varattno - 1] > 0)
			knowns = add_known(knowns, (Node *) var, delta->attmap[var->varattno - 1]);
	return knowns;
}

/* ... and what follows from the conditions of the query */
static List *
list_known(Query *query, MvrPlace *place, MvrDelta *delta, MvrItems *context)
{
	List	   *knowns = list_known_at(query, place, delta, context);
	int			before;

	do
	{
		before = list_length(knowns);
		foreach_ptr(Node, qual, make_ands_implicit((Expr *) query->jointree->quals))
		{
			List	   *args = mvr_tree_is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

			for (int side = 0; args && side < 2; side++)
			{
				Known	   *known = lookup_known(knowns, list_nth(args, side));

				if (known && lookup_known(knowns, list_nth(args, 1 - side)) == NULL)
					knowns = add_known(knowns, list_nth(args, 1 - side), known->column);
			}
		}
	} while (list_length(knowns) > before);
	return knowns;
}

static void
add_key(MvrKeys **keys, MvrDelta *own, AttrNumber attno, MvrDelta *delta, AttrNumber column)
{
	if (TupleDescAttr(own->desc, own->attmap[attno - 1] - 1)->atttypid !=
		TupleDescAttr(delta->desc, column - 1)->atttypid)
		return;
	if (*keys == NULL)
	{
		*keys = palloc0(sizeof(MvrKeys));
		(*keys)->delta = delta;
	}
	if (list_member_int((*keys)->attnos, attno))
		return;
	(*keys)->attnos = lappend_int((*keys)->attnos, attno);
	(*keys)->columns = lappend_int((*keys)->columns, column);
}

/* Which rows of an item can matter, given what is known?  NULL: any */
static MvrKeys *
find_keys(Query *query, MvrPlace *item, List *knowns, MvrDelta *delta, MvrItems *context)
{
	MvrFocus		focus = {.context = context,.term = query,.place = item};
	MvrDelta   *own = mvr_item_lookup_delta(context, item->rte);
	MvrKeys	   *keys = NULL;

	if (own == NULL || knowns == NIL)
		return NULL;
	if (!item->is_linear)
	{
		/* what is computed row by row looks for the same values anyway */
		if (mvr_touch_build(query, &focus) && focus.is_joined)
			foreach_ptr(MvrLink, link, focus.links)
			{
				Known	   *known = lookup_known(knowns, link->outside);

				if (known)
					add_key(&keys, own, link->attno, delta, known->column);
			}
		if (keys)
			keys->is_joined = true;
		return keys;
	}
	foreach_ptr(Known, known, knowns)
	{
		AttrNumber	attno = mvr_tree_get_column(known->expr, item->rti);

		if (mvr_item_is_plain(own, attno))
			add_key(&keys, own, attno, delta, known->column);
	}
	return keys;
}

/*
 * Which rows of an item in a dependent part can matter for a term's rows?  If
 * nothing is known of them, there are no columns in the result.
 */
static MvrKeys *
find_row_keys(Query *query, MvrPlace *item, MvrRows *rows, MvrItems *context)
{
	MvrFocus		focus = {.context = context,.term = query,.place = item};
	MvrDelta   *own = mvr_item_lookup_delta(context, item->rte);
	MvrKeys    *keys = palloc0(sizeof(MvrKeys));

	keys->rows = rows;
	foreach_ptr(MvrLink, link, mvr_touch_build(query, &focus) ? focus.links : NIL)
	{
		Node	   *outside = mvr_tree_strip_relabel(link->outside);
		AttrNumber	column = mvr_rows_lookup_column(rows, outside);

		if (column == 0 || list_member_int(keys->attnos, link->attno) ||
			exprType(outside) !=
			TupleDescAttr(own->desc, own->attmap[link->attno - 1] - 1)->atttypid)
			continue;
		keys->attnos = lappend_int(keys->attnos, link->attno);
		keys->columns = lappend_int(keys->columns, column);
	}
	keys->is_joined = keys->attnos && focus.is_joined;
	return keys;
}

/* ----------
 * Delta of a linear query: its columns, then the weight
 * ----------
 */

/* The product of the weights of the places from "first" on, and a sign */
static Expr *
build_weight(Query *query, List *places, int first, int sign, MvrItems *context)
{
	Expr	   *weight = NULL;

	for (int i = first; i < list_length(places); i++)
	{
		MvrPlace	   *place = list_nth(places, i);
		AttrNumber	attno;
		Expr	   *factor;
		int			rti;

		if (!place->is_linear)
			continue;
		attno = mvr_place_get_weight(query, place, context, &rti);
		factor = (Expr *) mvr_item_make_weight(rti, attno);
		weight = weight == NULL ? factor :
			mvr_tree_make_call(F_INT4MUL, INT4OID, list_make2(weight, factor));
	}
	if (weight == NULL)
		return mvr_tree_make_int4(sign);
	return sign > 0 ? weight :
		mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(weight));
}

/* The delta of an item that is a subquery; NULL for a relation, which has one */
static Query *
build_changes_at(MvrPlace *place, MvrItems *context)
{
	return place->rte->rtekind == RTE_SUBQUERY ?
		build_delta(place->rte->subquery, context) : NULL;
}

/* Let the places behind one read what was there */
static void
set_old_behind(Query *term, Query *query, List *places, int which, List *knowns,
			   MvrItems *context)
{
	MvrPlace   *place = list_nth(places, which);
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);

	for (int i = which + 1; i < list_length(places); i++)
	{
		MvrPlace   *other = list_nth(places, i);

		mvr_place_set_old(term, other, find_keys(query, other, knowns, delta, context),
						  build_changes_at(other, context), context);
	}
}

/* The terms for one place: one, or two of opposite sign */
static List *
build_whole_terms(Query *query, List *places, int which, SubLink *touched, List *knowns,
				  MvrItems *context)
{
	MvrPlace   *place = list_nth(places, which);
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);
	Query	   *term = copyObject(query);
	Query	   *before;

	set_old_behind(term, query, places, which, knowns, context);
	if (place->is_linear)
	{
		mvr_place_set_delta(term, place, build_changes_at(place, context), context);
		mvr_tree_append_target(term, build_weight(query, places, which, 1, context),
							   "weight");
		return list_make1(mvr_place_resolve(term, context));
	}
	mvr_touch_add(term, touched);
	before = copyObject(term);
	mvr_place_set_old(before, place, find_keys(query, place, knowns, delta, context), NULL,
					  context);
	mvr_tree_append_target(term, build_weight(query, places, which, 1, context), "weight");
	mvr_tree_append_target(before, build_weight(query, places, which, -1, context), "weight");
	return list_make2(mvr_place_resolve(term, context), mvr_place_resolve(before, context));
}

/* Complete the rows of a term that is split; the last column is the weight */
static void
build_rows(MvrRows *rows, Query *query, List *places, int which, SubLink *touched,
		   List *knowns, MvrItems *context)
{
	MvrPlace   *place = list_nth(places, which);
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);

	for (int i = which + 1; i < list_length(places); i++)
	{
		MvrPlace   *other = list_nth(places, i);

		if (other->is_linear)
			mvr_place_set_old(rows->linear, other,
							  find_keys(query, other, knowns, delta, context),
							  build_changes_at(other, context), context);
	}
	if (place->is_linear)
		mvr_place_set_delta(rows->linear, place, build_changes_at(place, context), context);
	else
		mvr_touch_add(rows->linear, touched);
	mvr_tree_append_target(rows->linear, build_weight(query, places, which, 1, context),
						   "weight");
	/* two queries read those of a place in a dependent part, a UNION ALL */
	mvr_rows_finish(rows, place->is_linear ? 0 : 1);
}

/* Let a place in a dependent part of a term read what was there, for its rows */
static void
set_old_for_rows(Query *term, MvrPlace *place, MvrRows *rows, Query *query,
				 MvrPlaces *marked, MvrItems *context)
{
	if (!mvr_outer_set_old(term, place, marked, context))
		mvr_place_set_old(term, place, find_row_keys(query, place, rows, context), NULL,
						  context);
}

/* The terms of a place in a dependent part: two, or for a LEFT JOIN three */
static List *
build_dependent_terms(MvrRows *rows, Query *query, MvrPlace *place, MvrPlaces *marked,
					  MvrItems *context)
{
	List	   *terms = mvr_outer_build_terms(rows->rest, place, context);
	Query	   *before;

	if (terms)
		return terms;
	before = copyObject(rows->rest);
	set_old_for_rows(before, place, rows, query, marked, context);
	mvr_tree_append_target(rows->rest, mvr_tree_make_int4(1), "weight");
	mvr_tree_append_target(before, mvr_tree_make_int4(-1), "weight");
	return list_make2(rows->rest, before);
}

/* The same, split into rows and what is computed for them; one query */
static Query *
build_split_terms(MvrRows *rows, Query *query, MvrPlaces *marked, List *places, int which,
				  SubLink *touched, List *knowns, MvrItems *context)
{
	MvrPlace   *place = list_nth(places, which);
	Query	   *term = rows->rest;
	AttrNumber	weight = list_length(rows->columns) + 1;

	build_rows(rows, query, places, which, touched, knowns, context);
	for (int i = which + 1; i < list_length(places); i++)
	{
		MvrPlace   *other = list_nth(places, i);

		if (!other->is_linear)
			set_old_for_rows(rows->rest, other, rows, query, marked, context);
	}
	if (place->is_linear)
		mvr_tree_append_target(term, (Expr *) mvr_item_make_weight(rows->rti, weight), "weight");
	else
		term = mvr_tree_make_union_all(build_dependent_terms(rows, query, place, marked,
															  context));
	term->cteList = rows->ctes;
	return mvr_place_resolve(term, context);
}

static List *
build_terms(Query *query, MvrPlaces *marked, List *places, int which, MvrItems *context)
{
	MvrPlace   *place = list_nth(places, which);
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);
	List	   *knowns = delta ? list_known(query, place, delta, context) : NIL;
	MvrRows    *rows = mvr_rows_split(query, marked);
	SubLink    *touched = NULL;

	if (!place->is_linear)
	{
		MvrFocus	focus = {.context = context,.place = place};

		focus.term = copyObject(query);
		set_old_behind(focus.term, query, places, which, knowns, context);
		touched = mvr_touch_build(focus.term, &focus);
		if (focus.is_nothing)
			return NIL;
		if (touched == NULL || (rows && !mvr_rows_can_tell(rows, (Node *) touched)))
			rows = NULL;
	}
	if (rows == NULL)
		return build_whole_terms(query, places, which, touched, knowns, context);
	return list_make1(build_split_terms(rows, query, marked, places, which, touched, knowns,
										context));
}

/* One empty arm, for a query in which nothing has changed */
static Query *
build_nothing(Query *query, MvrItems *context)
{
	Query	   *nothing = copyObject(query);

	if (query->setOperations)
		return build_nothing(((RangeTblEntry *) linitial(query->rtable))->subquery, context);
	nothing->jointree->quals = makeBoolConst(false, false);
	mvr_tree_append_target(nothing, mvr_tree_make_int4(1), "weight");
	return mvr_place_resolve(nothing, context);
}

static Query *
build_delta(Query *query, MvrItems *context)
{
	List	   *arms = NIL;

	if (query->setOperations)
	{
		foreach_ptr(RangeTblEntry, rte, query->rtable)
			if (rte->rtekind == RTE_SUBQUERY && mvr_item_has_changed((Node *) rte->subquery, context))
				arms = lappend(arms, build_delta(rte->subquery, context));
	}
	else
	{
		Query	   *marked = copyObject(query);
		MvrPlaces		places = {context, NIL, NIL};
		List	   *all;

		mvr_place_mark(marked, true, &places);
		all = list_concat(places.linear, places.dependent);
		for (int i = 0; i < list_length(all); i++)
			arms = list_concat(arms, build_terms(marked, &places, all, i, context));
	}
	return arms == NIL ? build_nothing(query, context) : mvr_tree_make_union_all(arms);
}

/* Does a stage read anything that has changed? */
bool
mvr_delta_query_has_changed(const MvrStage *stage, List *deltas)
{
	MvrItems		context = {stage->inner, deltas};

	if (mvr_item_has_changed((Node *) stage->input, &context))
		return true;
	/* HAVING is no part of the input any more */
	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		if (mvr_item_has_changed((Node *) column->aggregate, &context))
			return true;
	}
	return false;
}

/*
 * Delta of a view by rows:
 *	<columns of the view>, weight
 */
Query *
mvr_delta_query_build_rows(const MvrStage *stage, List *deltas)
{
	MvrItems		context = {stage->inner, deltas};

	return build_delta(stage->input, &context);
}

/*
 * All rows of a view by rows, from base tables and the states of its stages if
 * there are such
 */
Query *
mvr_delta_query_build_all(const MvrStage *stage)
{
	MvrItems		context = {stage->inner, NIL};

	if (stage->inner == NIL || !OidIsValid(((MvrStage *) linitial(stage->inner))->state))
		return copyObject(stage->query);
	return mvr_place_resolve(copyObject(stage->input), &context);
}

/* ----------
 * Groups, and keys
 * ----------
 */

/* The input with another target list: the keys, then what else is asked for */
static Query *
build_key_input(const MvrStage *stage)
{
	Query	   *input = copyObject(stage->input);

	input->targetList = NIL;
	input->windowClause = input->distinctClause = input->sortClause = NIL;
	input->limitCount = input->limitOffset = NULL;
	input->hasWindowFuncs = input->hasDistinctOn = false;
	foreach_ptr(MvrGroupKey, key, stage->keys)
		mvr_tree_append_target(input, copyObject(key->expr), "key");
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

/* An aggregate over rows of one sign: came (MVR_INT4_GT 0) or went (MVR_INT4_LT 0) */
static Expr *
make_signed(Aggref *pattern, Var *weight, Oid compare)
{
	Aggref	   *agg = copyObject(pattern);
	Expr	   *sign = (Expr *) mvr_item_make_sign(compare, weight);

	agg->aggfilter = agg->aggfilter == NULL ? sign :
		make_andclause(list_make2(agg->aggfilter, sign));
	return (Expr *) agg;
}

/* A count is known by what it changes by: the weights of the rows counted, added up */
static Expr *
make_net_count(Aggref *count, Var *weight)
{
	List	   *filter = count->aggfilter ? list_make1(copyObject(count->aggfilter)) : NIL;

	foreach_ptr(TargetEntry, arg, count->args)
	{
		NullTest   *test = makeNode(NullTest);

		/* of a row too it is asked whether it is there, not what is in it */
		test->arg = copyObject(arg->expr);
		test->nulltesttype = IS_NOT_NULL;
		test->location = -1;
		filter = lappend(filter, test);
	}
	return (Expr *) mvr_tree_make_aggregate(F_SUM_INT4, INT8OID, (Expr *) copyObject(weight),
											(Expr *) mvr_tree_and(filter));
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
		mvr_tree_append_target(inner, arg->expr, "argument");
		arg->expr = (Expr *) makeVarFromTargetEntry(1, llast(inner->targetList));
	}
	if (agg->aggfilter)
	{
		mvr_tree_append_target(inner, agg->aggfilter, "filter");
		agg->aggfilter = (Expr *) makeVarFromTargetEntry(1, llast(inner->targetList));
	}
	return agg;
}

/*
 * Subqueries of the input's level, which see changes that no row shows.  What is
 * compared with the result of a window function may concern each row.
 */
static bool
push_sublinks(Node *node, Query *inner)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, SubLink))
	{
		SubLink    *link = copyObject((SubLink *) node);
		Node	   *pushed = (Node *) link;

		if (contain_windowfuncs(link->testexpr))
		{
			push_sublinks(link->testexpr, inner);
			pushed = mvr_tree_make_exists(castNode(Query, link->subselect));
		}
		mvr_tree_append_target(inner, (Expr *) pushed, "subquery");
		return false;
	}
	return expression_tree_walker(node, push_sublinks, inner);
}

/* ----------
 * Delta of groups.  The query built is
 *	SELECT <keys>, sum(weight), <agg> FILTER (WHERE weight > 0),
 *		   <agg> FILTER (WHERE weight < 0) [, ...]
 *	  FROM (<delta of: SELECT <keys>, <arguments> FROM input>) d
 *	 GROUP BY <keys>
 * without the aggregates if the state is not merged; for a count sum(weight) and
 * NULL.  A net count of zero
 * does not mean "no change": an UPDATE can move sum(x) alone.
 * ----------
 */
Query *
mvr_delta_query_build_groups(const MvrStage *stage, List *deltas)
{
	MvrItems		context = {stage->inner, deltas};
	Query	   *query = mvr_tree_make_select();
	Query	   *inner = build_key_input(stage);
	List	   *aggregates = NIL;
	Var		   *weight;
	int			nkeys = list_length(stage->keys);
	ListCell   *lc;
	ListCell   *lc2;

	foreach_ptr(MvrStateColumn, column, stage->columns)
	{
		if (stage->is_merged)
			aggregates = lappend(aggregates, push_arguments(column->aggregate, inner));
		else
			push_sublinks((Node *) column->aggregate, inner);
	}
	if (stage->strategy == MVR_KEYS)
	{
		push_sublinks((Node *) stage->input->targetList, inner);
		push_sublinks((Node *) stage->input->windowClause, inner);
		push_sublinks(stage->input->limitCount, inner);
		push_sublinks(stage->input->limitOffset, inner);
	}
	inner = build_delta(inner, &context);
	weight = mvr_item_make_weight(1, list_length(inner->targetList));
	mvr_tree_append_from(query, mvr_tree_make_subquery_rte(inner, "delta"));
	for (int i = 0; i < nkeys; i++)
		mvr_tree_append_target(query, (Expr *)
							   makeVarFromTargetEntry(1, list_nth(inner->targetList, i)),
							   "key");
	mvr_tree_append_target(query, (Expr *)
						   mvr_tree_make_aggregate(F_SUM_INT4, INT8OID,
												   (Expr *) copyObject(weight), NULL),
						   "count");
	forboth(lc, aggregates, lc2, stage->columns)
	{
		Aggref	   *agg = lfirst(lc);
		bool		is_count = ((MvrStateColumn *) lfirst(lc2))->merge == MVR_MERGE_COUNT;

		mvr_tree_append_target(query, is_count ? make_net_count(agg, weight) :
							   make_signed(agg, weight, MVR_INT4_GT), "came");
		mvr_tree_append_target(query, is_count ? (Expr *) makeNullConst(INT8OID, -1, InvalidOid) :
							   make_signed(agg, weight, MVR_INT4_LT), "went");
	}
	append_key_groups(query, stage);
	return query;
}

/* <key> = <column of wanted>, or both NULL if that can be */
static Node *
make_key_qual(MvrGroupKey *key, int rti, AttrNumber attno, bool with_nulls)
{
	Var		   *var = makeVar(rti, attno, key->type, key->typmod, key->collation, 0);
	Expr	   *equals = mvr_tree_make_equals(key->clause->eqop, copyObject(key->expr),
											  (Expr *) var, key->collation);
	NullTest   *mine;
	NullTest   *theirs;

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

/* Restrict a query to the keys in the ephemeral relation "name" */
static void
add_key_quals(Query *query, const MvrStage *stage, TupleDesc keys, const char *name,
			  int64 nrows, bool with_nulls)
{
	int			rti = mvr_tree_append_from(query, mvr_tree_make_enr_rte(name, keys,
																	  nrows))->rtindex;
	List	   *quals = list_make1(query->jointree->quals);
	AttrNumber	attno = 0;

	foreach_ptr(MvrGroupKey, key, stage->keys)
		quals = lappend(quals, make_key_qual(key, rti, ++attno, with_nulls));
	query->jointree->quals = mvr_tree_and(quals);
	query->hasSubLinks |= checkExprHasSubLink(query->jointree->quals);
}

/* SELECT <keys>, <columns> FROM <input> with windows, DISTINCT ON, LIMIT as it is */
static Query *
build_keyed(const MvrStage *stage)
{
	Query	   *query = copyObject(stage->input);
	List	   *targets = query->targetList;

	query->targetList = NIL;
	foreach_ptr(MvrGroupKey, key, stage->keys)
		mvr_tree_append_target(query, copyObject(key->expr), "key");
	foreach_ptr(TargetEntry, tle, targets)
	{
		tle->resno = list_length(query->targetList) + 1;
		query->targetList = lappend(query->targetList, tle);
	}
	return query;
}

/* ----------
 * Contents of groups.  The query built is
 *	SELECT <keys>, count(*), <aggregates>
 *	  FROM <input> [, <wanted>]
 *	 WHERE <quals> [AND <key> = <wanted key> ...]
 *	 GROUP BY <keys>
 * or of a keyed stage
 *	SELECT <keys>, <columns> FROM <input> [, <wanted>] WHERE ...
 * for the keys in the ephemeral relation "wanted" (each there once), or for
 * all if "name" is NULL.  with_nulls: the wanted keys may have NULLs, which
 * costs the planner its equality joins; so those come in a query of their own.
 * ----------
 */
Query *
mvr_delta_query_build_contents(const MvrStage *stage, TupleDesc keys,
							   const char *name, int64 nrows, bool with_nulls)
{
	MvrItems		context = {stage->inner, NIL};
	Query	   *query;

	if (stage->strategy == MVR_KEYS)
		query = build_keyed(stage);
	else
	{
		query = build_key_input(stage);
		mvr_tree_append_target(query, (Expr *)
							   mvr_tree_make_aggregate(F_COUNT_, INT8OID, NULL, NULL),
							   "count");
		foreach_ptr(MvrStateColumn, column, stage->columns)
			mvr_tree_append_target(query, (Expr *) copyObject(column->aggregate),
								   "aggregate");
		append_key_groups(query, stage);
	}
	if (name && stage->keys)
		add_key_quals(query, stage, keys, name, nrows, with_nulls);
	return mvr_place_resolve(query, &context);
}

/* ----------
 * How deltas are read
 * ----------
 */

typedef struct CountContext
{
	Oid			base;			/* or InvalidOid for any */
	int			n;
} CountContext;

static bool
count_reads(Node *node, void *arg)
{
	CountContext *context = arg;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && (!OidIsValid(context->base) || rte->relid == context->base))
			context->n++;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, count_reads, arg,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, count_reads, arg);
}

/* At how many places does a stage read this base table, or any (InvalidOid)? */
int
mvr_delta_query_count_reads(const MvrStage *stage, Oid base)
{
	CountContext context = {.base = base};

	(void) count_reads((Node *) stage->input, &context);
	return context.n;
}

/* Has a view no state but its own, and no dependent parts? */
bool
mvr_delta_query_is_linear(const MvrStage *view)
{
	foreach_ptr(MvrUse, use, view->uses)
		if (use->is_dependent)
			return false;
	return view->inner == NIL &&
		(view->strategy == MVR_ROWS || view->strategy == MVR_GROUPS);
}

static bool
joins_walker(Node *node, void *arg)
{
	int			nitems = 0;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, joins_walker, arg);
	foreach_ptr(RangeTblEntry, rte, ((Query *) node)->rtable)
		nitems += rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY;
	if (((Query *) node)->setOperations == NULL && nitems > 1)
		return true;
	return query_tree_walker((Query *) node, joins_walker, arg, 0);
}

/* Is no row of a view made of rows of more than one table, or of others of one? */
bool
mvr_delta_query_is_separable(const MvrStage *view)
{
	return mvr_delta_query_is_linear(view) && !joins_walker((Node *) view->input, NULL);
}

/*
 * Does the delta query of a view of one table just read the delta, with nothing to
 * look up for each row, nor to recompute because a row was there that is not left?
 * Then it is as well to read the rows where they stand, whatever undoes what.
 */
bool
mvr_delta_query_reads_once(const MvrStage *view)
{
	if (!mvr_delta_query_is_linear(view) || mvr_delta_query_count_reads(view, InvalidOid) != 1)
		return false;
	if (view->strategy == MVR_GROUPS && !view->is_merged)
		return false;
	foreach_ptr(MvrStateColumn, column, view->strategy == MVR_GROUPS ? view->columns : NIL)
		if (column->merge == MVR_MERGE_EXTREMUM || column->merge == MVR_MERGE_NONE)
			return false;
	return true;
}
