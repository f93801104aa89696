/*
 * delta_outer.c
 *		Rows without a partner: the right side of a LEFT JOIN, and NOT EXISTS.
 *
 * Computed with all that was and with all that is there, a row of the left side
 * of a LEFT JOIN would give all its partners twice, and what has not changed
 * nets to nothing.  But the partners of a row are a linear function of R, but for
 * the row of NULLs that stands for none.  So the term for R is
 *
 *	rows JOIN D(R) ON q							with the weight of D(R)
 *	rows, NULLs WHERE NOT EXISTS (new(R) WHERE q)		with weight +1
 *	rows, NULLs WHERE NOT EXISTS (old(R) WHERE q)		with weight -1
 *
 * Here as in a NOT EXISTS of the query, old(R) is asked for by halves: the rows
 * that went, and those of new(R) that did not appear.  An index answers with the
 * first row that it finds, where it would have to read all of them for a UNION.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "matview_refresh.h"

/* The LEFT JOIN that has the place, and nothing else, on its right side; or NULL */
static JoinExpr *
find_join(Query *query, Node *node, const char *mark)
{
	JoinExpr   *join = (JoinExpr *) node;
	JoinExpr   *found = NULL;

	if (IsA(node, RangeTblRef))
		return NULL;
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (found == NULL)
				found = find_join(query, item, mark);
		return found;
	}
	if (join->jointype == JOIN_LEFT && IsA(join->rarg, RangeTblRef) &&
		mvr_place_is_marked(rt_fetch(((RangeTblRef *) join->rarg)->rtindex, query->rtable), mark))
		return join;
	return find_join(query, join->larg, mark);
}

/* NOT EXISTS (SELECT FROM what the right side reads WHERE <join condition>) */
static Node *
make_not_exists(Query *query, JoinExpr *join, Query *right)
{
	Query	   *sub = mvr_tree_make_select();
	int			rti = ((RangeTblRef *) join->rarg)->rtindex;

	sub->rtable = copyObject(query->rtable);
	mvr_compat_copy_rights(sub, query);
	if (right)
		mvr_place_replace(sub, rti, right);
	sub->jointree = makeFromExpr(list_make1(copyObject(join->rarg)), copyObject(join->quals));
	mvr_tree_append_target(sub, mvr_tree_make_int4(1), "one");
	mvr_tree_blank_unused(sub);
	sub->hasSubLinks = true;
	return (Node *) make_notclause((Expr *) mvr_tree_make_exists(mvr_tree_sink(sub)));
}

/* rows JOIN D(R) */
static Query *
build_partners(Query *rest, MvrPlace *place, MvrItems *context)
{
	Query	   *query = copyObject(rest);
	JoinExpr   *join = find_join(query, (Node *) query->jointree, place->mark);
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);
	int			rti = ((RangeTblRef *) join->rarg)->rtindex;

	join->jointype = JOIN_INNER;
	rt_fetch(join->rtindex, query->rtable)->jointype = JOIN_INNER;
	mvr_place_set_delta(query, place, NULL, context);
	mvr_tree_append_target(query, (Expr *) mvr_item_make_weight(rti, delta->natts + 1),
						   "weight");
	mvr_compat_remove_nulling((Node **) &query, bms_make_singleton(join->rtindex));
	return query;
}

/* The rows without partner among those that each of the queries reads */
static Query *
build_lonely(Query *rest, MvrPlace *place, List *rights, int weight, MvrItems *context)
{
	Query	   *query = copyObject(rest);
	JoinExpr   *join = find_join(query, (Node *) query->jointree, place->mark);
	Query	   *nothing = mvr_item_build_delta(mvr_item_lookup_delta(context, place->rte));
	List	   *quals = NIL;

	foreach_ptr(Query, right, rights)
		quals = lappend(quals, make_not_exists(query, join, right));
	if (rights == NIL)
		quals = list_make1(make_not_exists(query, join, NULL));
	join->larg = (Node *) makeFromExpr(list_make1(join->larg), mvr_tree_and(quals));
	nothing->jointree->quals = makeBoolConst(false, false);
	mvr_place_replace(query, ((RangeTblRef *) join->rarg)->rtindex, nothing);
	mvr_tree_append_target(query, mvr_tree_make_int4(weight), "weight");
	query->hasSubLinks = true;
	return query;
}

/* Does a level have any other place that may have to be set yet? */
static bool
has_other_place(Query *query, MvrPlace *place, MvrPlaces *places)
{
	foreach_ptr(MvrPlace, other, places->dependent)
		if (other != place && mvr_place_is_below((Node *) query, other->mark))
			return true;
	return false;
}

/* The number of a place that a row of this subquery takes a row of; or 0 */
static int
find_linear(Query *sub, MvrPlace *place, MvrPlaces *places)
{
	Bitmapset  *linear;
	int			rti = -1;

	if (sub->setOperations || mvr_normalize_is_grouped(sub) || mvr_layers_is_keyed(sub) ||
		sub->hasTargetSRFs)
		return 0;
	linear = mvr_tree_list_linear(sub);
	while ((rti = bms_next_member(linear, rti)) >= 0)
		if (mvr_place_is_marked(rt_fetch(rti, sub->rtable), place->mark))
			return has_other_place(sub, place, places) ? 0 : rti;
	return 0;
}

/*
 * Let a place in a NOT EXISTS of a query read what was there, by halves.  False,
 * with nothing changed, if it is not in one of these.
 */
bool
mvr_outer_set_old(Query *rest, MvrPlace *place, MvrPlaces *places, MvrItems *context)
{
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);
	List	   *quals = NIL;
	bool		found = false;

	foreach_ptr(Node, qual, make_ands_implicit((Expr *) rest->jointree->quals))
	{
		SubLink    *link = is_notclause(qual) ? (SubLink *) get_notclausearg((Expr *) qual) : NULL;
		int			rti = link && IsA(link, SubLink) && link->subLinkType == EXISTS_SUBLINK ?
			find_linear((Query *) link->subselect, place, places) : 0;
		Query	   *kept;
		SubLink    *went;

		quals = lappend(quals, qual);
		if (rti == 0)
			continue;
		found = true;
		kept = castNode(Query, link->subselect);
		rt_fetch(rti, kept->rtable)->alias = NULL;
		went = copyObject(link);
		quals = lappend(quals, make_notclause((Expr *) went));
		mvr_place_replace((Query *) went->subselect, rti, mvr_item_build_went(delta));
		mvr_place_replace(kept, rti,
						  mvr_item_build_kept(rt_fetch(rti, kept->rtable), delta, kept));
	}
	rest->jointree->quals = mvr_tree_and(quals);
	return found;
}

/*
 * The terms for a place, of which "rest" is the query with the rows; NIL if it is
 * not alone on the right side of a LEFT JOIN.
 */
List *
mvr_outer_build_terms(Query *rest, MvrPlace *place, MvrItems *context)
{
	JoinExpr   *join = find_join(rest, (Node *) rest->jointree, place->mark);
	MvrDelta   *delta = mvr_item_lookup_delta(context, place->rte);
	RangeTblEntry *rte;

	if (join == NULL || checkExprHasSubLink(join->quals))
		return NIL;
	rte = rt_fetch(((RangeTblRef *) join->rarg)->rtindex, rest->rtable);
	return list_make3(build_partners(rest, place, context),
					  build_lonely(rest, place, NIL, 1, context),
					  build_lonely(rest, place,
								   list_make2(mvr_item_build_went(delta),
											  mvr_item_build_kept(rte, delta, rest)),
								   -1, context));
}
