/*
 * delta_touch.c
 *		Which rows of a query does a change in a dependent part touch?
 *
 * The answer may have rows that are not touched, and must have all that are: see
 * delta_query.c.  So a condition that cannot be asked of a changed row, or is
 * not understood, is left out; in the end all rows are touched.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* ----------
 * What a change touches
 *
 * A copy of a dependent part is focused on a place: the place reads the delta,
 * and what does not hold for each change of the part is removed.  Columns are
 * "usable" in conditions if they are those of every changed row.  They are not
 * on the right side of a LEFT JOIN that has the place: where a row appears,
 * a row of NULLs goes.
 * ----------
 */

static bool focus_query(Query *query, MvrFocus *focus);

static bool
is_under(Query *query, Node *node, const char *mark)
{
	Bitmapset  *rtis = mvr_tree_list_rtis(node);
	int			rti = -1;

	while ((rti = bms_next_member(rtis, rti)) >= 0)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (mvr_place_is_marked(rte, mark) ||
			(rte->rtekind == RTE_SUBQUERY && mvr_place_is_below((Node *) rte->subquery, mark)))
			return true;
	}
	return false;
}

/* Does an expression use columns that are not usable, of an item that is? */
static bool
uses_lost_columns(Node *node, MvrFocus *focus)
{
	if (focus->lost == NULL)
		return false;
	foreach_ptr(Var, var, pull_vars_of_level(node, 0))
		if (var->varno == focus->center && bms_is_member(var->varattno, focus->lost))
			return true;
	return false;
}

/* The conditions that can be asked of changed rows */
static Node *
keep_quals(Node *quals, Bitmapset *own, Bitmapset *usable, MvrFocus *focus)
{
	List	   *kept = NIL;
	Bitmapset  *unusable = bms_difference(own, usable);

	foreach_ptr(Node, qual, make_ands_implicit((Expr *) quals))
		if (!bms_overlap(mvr_tree_pull_rtis(qual), unusable) &&
			!uses_lost_columns(qual, focus) &&
			!mvr_place_is_below(qual, focus->place->mark))
			kept = lappend(kept, qual);
	return mvr_tree_and(kept);
}

static Node *
focus_item(Query *query, RangeTblRef *ref, MvrFocus *focus, Bitmapset **usable)
{
	RangeTblEntry *rte = rt_fetch(ref->rtindex, query->rtable);

	if (mvr_place_is_marked(rte, focus->place->mark))
	{
		focus->level = query;
		focus->rti = ref->rtindex;
		mvr_place_replace(query, ref->rtindex,
					mvr_item_build_delta(mvr_item_lookup_delta(focus->context, rte)));
		*usable = bms_make_singleton(ref->rtindex);
		focus->lost = NULL;
	}
	else
	{
		Bitmapset  *removed = focus->removed;

		focus->removed = NULL;
		*usable = focus_query(rte->subquery, focus) ?
			bms_make_singleton(ref->rtindex) : NULL;
		focus->removed = removed;
	}
	focus->center = ref->rtindex;
	return (Node *) ref;
}

/* Is an item computed from one of these? */
static bool
depends_on(Query *query, Node *item, Bitmapset *others)
{
	Bitmapset  *rtis = mvr_tree_list_rtis(item);
	int			rti = -1;

	while ((rti = bms_next_member(rtis, rti)) >= 0)
		if (bms_overlap(mvr_tree_list_lateral(rt_fetch(rti, query->rtable)), others))
			return true;
	return false;
}

/*
 * The part of a join tree that gives the rows which a change at the place
 * touches: joins without what else they are joined with, where that cannot be
 * had.  *usable are the items whose columns conditions may use, or NULL;
 * focus->failed if there is no such part.
 */
static Node *
focus_join(Query *query, Node *node, MvrFocus *focus, Bitmapset **usable)
{
	const char *mark = focus->place->mark;

	if (IsA(node, RangeTblRef))
		return focus_item(query, (RangeTblRef *) node, focus, usable);
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;
		Node	   *center = NULL;
		Node	   *focused;
		Bitmapset  *gone = NULL;
		List	   *items = NIL;
		bool		is_whole;
		Bitmapset  *own = mvr_tree_list_rtis(node);

		foreach_ptr(Node, item, from->fromlist)
			if (is_under(query, item, mark))
				center = item;
		if (center == NULL)
		{
			focus->failed = true;
			return node;
		}
		is_whole = IsA(center, RangeTblRef);
		focused = focus_join(query, center, focus, usable);
		is_whole = is_whole && *usable != NULL && focus->lost == NULL;
		/* in their order, which the planner wants of LATERAL ones */
		foreach_ptr(Node, item, from->fromlist)
		{
			Bitmapset  *rtis = mvr_tree_list_rtis(item);

			/* what is computed from columns that are not usable is not either */
			if (item == center && !is_whole)
				gone = rtis;
			if (item != center && depends_on(query, item, gone))
			{
				gone = bms_add_members(gone, rtis);
				continue;
			}
			items = lappend(items, item == center ? focused : item);
			if (item != center)
				*usable = bms_add_members(*usable, rtis);
		}
		return (Node *) makeFromExpr(items, keep_quals(from->quals, own, *usable, focus));
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);
		Bitmapset  *own = mvr_tree_list_rtis(node);
		Bitmapset  *left = mvr_tree_list_rtis(join->larg);
		Node	   *right;

		focus->removed = bms_add_member(focus->removed, join->rtindex);
		if (is_under(query, join->larg, mark))
			return focus_join(query, join->larg, focus, usable);
		if (!is_under(query, join->rarg, mark))
		{
			focus->failed = true;
			return node;
		}
		right = focus_join(query, join->rarg, focus, usable);
		*usable = bms_add_members(*usable, left);
		node = (Node *) makeFromExpr(list_make2(join->larg, right),
									 keep_quals(join->quals, own, *usable, focus));
		*usable = left;
		return node;
	}
}

/* The subquery of an expression that has the place, or NULL */
typedef struct LinkContext
{
	const char *mark;
	SubLink    *found;
} LinkContext;

static bool
link_walker(Node *node, LinkContext *context)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, SubLink) &&
		mvr_place_is_below(((SubLink *) node)->subselect, context->mark))
	{
		context->found = (SubLink *) node;
		return true;
	}
	return expression_tree_walker(node, link_walker, context);
}

static SubLink *
find_link(Node *node, const char *mark)
{
	LinkContext context = {mark, NULL};

	link_walker(node, &context);
	return context.found;
}

/* Can the comparison of an IN be neither true nor false? */
static bool
can_be_null(Query *query, Query *sub, Node *testexpr)
{
	foreach_ptr(Node, test, make_ands_implicit((Expr *) testexpr))
	{
		List	   *args = mvr_not_null_is_comparison(test) ? ((OpExpr *) test)->args : NIL;

		if (args == NIL || !mvr_not_null_is_proven(query, linitial(args)) ||
			!mvr_not_null_is_proven(sub, mvr_tree_fill_params(lsecond(args), sub->targetList)))
			return true;
	}
	return false;
}

/* The columns of the place that must be equal to something of the row outside */
static void
find_links(Node *node, MvrFocus *focus)
{
	MvrDelta   *delta = mvr_item_lookup_delta(focus->context, focus->place->rte);

	if (!IsA(node, FromExpr))
		return;
	foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
		find_links(item, focus);
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) ((FromExpr *) node)->quals))
	{
		List	   *args = mvr_tree_is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

		for (int side = 0; args && side < 2; side++)
		{
			AttrNumber	attno = mvr_tree_get_column(list_nth(args, side), focus->rti);
			Node	   *other = list_nth(args, 1 - side);
			MvrLink	   *link;

			if (!mvr_item_is_plain(delta, attno) || mvr_tree_pull_rtis(other) != NULL ||
				!contain_vars_of_level(other, 1))
				continue;
			link = palloc(sizeof(MvrLink));
			link->outside = copyObject(other);
			IncrementVarSublevelsUp(link->outside, -1, 1);
			link->attno = attno;
			focus->links = lappend(focus->links, link);
		}
	}
}

/*
 * EXISTS (what the place takes part in).  "query" is the level that the
 * subquery's expression belongs to.  If a NULL comparison is as good as a false
 * one there (is_filter), only rows that compare true matter; else NULLs too.
 */
static Node *
build_touched_link(Query *query, SubLink *link, bool is_filter, MvrFocus *focus)
{
	Query	   *original = castNode(Query, link->subselect);
	Query	   *sub = copyObject(original);
	Bitmapset  *removed = focus->removed;
	bool		usable;

	focus->removed = NULL;
	usable = focus_query(sub, focus);
	focus->removed = removed;
	/* a window function, or a set, cannot be asked for in WHERE */
	if (link->subLinkType == ANY_SUBLINK && usable && focus->lost == NULL &&
		!sub->setOperations && !contain_windowfuncs(link->testexpr) &&
		!expression_returns_set(link->testexpr))
	{
		Node	   *test = copyObject(link->testexpr);
		bool		has_nulls = !is_filter && can_be_null(query, original, test);

		IncrementVarSublevelsUp(test, 1, 0);
		test = mvr_tree_fill_params(test, sub->targetList);
		if (has_nulls)
		{
			BooleanTest *not_false = makeNode(BooleanTest);

			not_false->arg = (Expr *) test;
			not_false->booltesttype = IS_NOT_FALSE;
			not_false->location = -1;
			test = (Node *) not_false;
		}
		sub->jointree->quals = mvr_tree_and(list_make2(sub->jointree->quals, test));
	}
	/* what is asked of it by another row than the term's says nothing of all */
	if (focus->level == sub && query == focus->term)
		find_links((Node *) sub->jointree, focus);
	sub->targetList = NIL;
	mvr_tree_append_target(sub, mvr_tree_make_int4(1), "one");
	return mvr_tree_make_exists(sub);
}

/*
 * Focus the WHERE clause of a level: the condition with the place becomes one
 * on what it touches.  False if the place is not there.
 */
static bool
focus_where(Query *query, FromExpr *from, MvrFocus *focus)
{
	List	   *kept = NIL;
	bool		found = false;

	foreach_ptr(Node, qual, make_ands_implicit((Expr *) from->quals))
	{
		SubLink    *link = find_link(qual, focus->place->mark);

		if (link)
		{
			qual = build_touched_link(query, link, (Node *) link == qual, focus);
			found = true;
		}
		kept = lappend(kept, qual);
	}
	from->quals = mvr_tree_and(kept);
	return found;
}

/* Focus a level of set operations: the arm with the place is all there is */
static bool
focus_arm(Query *query, MvrFocus *focus)
{
	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);
		RangeTblRef *ref;

		if (rte->rtekind != RTE_SUBQUERY || !mvr_place_is_below((Node *) rte->subquery, focus->place->mark))
			continue;
		ref = makeNode(RangeTblRef);
		ref->rtindex = rti;
		query->setOperations = NULL;
		query->jointree = makeFromExpr(list_make1(ref), NULL);
		foreach_ptr(TargetEntry, tle, query->targetList)
			if (IsA(tle->expr, Var))
				((Var *) tle->expr)->varno = rti;
		return focus_query(rte->subquery, focus);
	}
	focus->failed = true;
	return false;
}

/* The columns that are made of what is not usable; nobody will read them */
static Bitmapset *
lose_columns(Query *query, Bitmapset *unusable, MvrFocus *focus)
{
	Bitmapset  *lost = NULL;

	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		Node	   *expr = (Node *) tle->expr;

		if (!bms_overlap(mvr_tree_pull_rtis(expr), unusable) &&
			!uses_lost_columns(expr, focus))
			continue;
		lost = bms_add_member(lost, tle->resno);
		tle->expr = (Expr *) makeNullConst(exprType(expr), exprTypmod(expr),
										   exprCollation(expr));
	}
	return lost;
}

/*
 * Focus a copy of a dependent part.  Returns whether its columns are usable, but
 * for those in focus->lost.
 */
static bool
focus_query(Query *query, MvrFocus *focus)
{
	bool		is_grouped = mvr_layers_is_grouped(query);
	bool		usable = !is_grouped && !mvr_layers_is_keyed(query) && !query->hasTargetSRFs;
	Bitmapset  *own = mvr_tree_list_rtis((Node *) query->jointree);
	Bitmapset  *columns = NULL;
	Bitmapset  *lost = NULL;

	query->groupClause = query->groupingSets = query->distinctClause =
		query->sortClause = query->windowClause = NIL;
	query->havingQual = query->limitCount = query->limitOffset = NULL;
	query->hasAggs = query->hasWindowFuncs = query->hasDistinctOn =
		query->hasTargetSRFs = false;
	if (query->setOperations)
	{
		usable = focus_arm(query, focus) && usable;
		lost = focus->lost;
	}
	else if (is_under(query, (Node *) query->jointree, focus->place->mark))
	{
		query->jointree = castNode(FromExpr,
								   focus_join(query, (Node *) query->jointree, focus,
											  &columns));
		lost = lose_columns(query, bms_difference(own, columns), focus);
		usable = usable && bms_num_members(lost) < list_length(query->targetList);
		mvr_compat_remove_nulling((Node **) &query->jointree, focus->removed);
		mvr_compat_remove_nulling((Node **) &query->targetList, focus->removed);
	}
	else if (!focus_where(query, query->jointree, focus))
	{
		SubLink    *link = find_link((Node *) query->targetList, focus->place->mark);

		usable = false;
		/* over groups it may have none of its rows, or refer to an aggregate */
		if (link && !is_grouped)
			query->jointree->quals =
				mvr_tree_and(list_make2(query->jointree->quals,
										build_touched_link(query, link, false, focus)));
		else
			focus->failed = true;
	}
	if (!usable)
	{
		query->targetList = NIL;
		mvr_tree_append_target(query, mvr_tree_make_int4(1), "one");
	}
	focus->lost = usable ? lost : NULL;
	mvr_tree_blank_unused(query);
	query->hasSubLinks = true;
	return usable;
}

/* What a place in the right side of a LEFT JOIN touches of the left side's rows */
static Node *
build_touched_join(Query *term, JoinExpr *join, MvrFocus *focus)
{
	Query	   *sub = mvr_tree_make_select();
	Bitmapset  *own = mvr_tree_list_rtis(join->rarg);
	Bitmapset  *usable = NULL;
	Node	   *right;
	bool		is_here;

	sub->rtable = copyObject(term->rtable);
	mvr_compat_copy_rights(sub, term);
	sub->hasSubLinks = true;
	right = focus_join(sub, copyObject(join->rarg), focus, &usable);
	sub->jointree = makeFromExpr(list_make1(right),
								 keep_quals(copyObject(join->quals), own, usable, focus));
	if (focus->failed)
		return NULL;
	mvr_compat_remove_nulling((Node **) &sub->jointree, focus->removed);
	mvr_tree_append_target(sub, mvr_tree_make_int4(1), "one");
	mvr_tree_blank_unused(sub);
	is_here = focus->level == sub;
	sub = mvr_tree_sink(sub);
	if (is_here)
		find_links((Node *) sub->jointree, focus);
	return mvr_tree_make_exists(sub);
}

/* The join that has the place in its condition, but for what is nullable; or NULL */
static JoinExpr *
find_join(Node *node, const char *mark)
{
	JoinExpr   *join = NULL;

	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (join == NULL)
				join = find_join(item, mark);
	}
	else if (IsA(node, JoinExpr))
	{
		join = (JoinExpr *) node;
		if (!mvr_place_is_below(join->quals, mark))
			join = find_join(join->larg, mark);
	}
	return join;
}

/* What a place in the condition of a LEFT JOIN touches of the left side's rows */
static Node *
build_touched_on(Query *term, JoinExpr *join, MvrFocus *focus)
{
	Query	   *sub;
	Bitmapset  *right = mvr_tree_list_rtis(join->rarg);
	List	   *quals = NIL;

	foreach_ptr(Node, qual, make_ands_implicit((Expr *) join->quals))
	{
		SubLink    *link = find_link(qual, focus->place->mark);

		if (link)
		{
			qual = build_touched_link(term, link, (Node *) link == qual, focus);
			if (!bms_overlap(mvr_tree_pull_rtis((Node *) link), right))
				return qual;
		}
		quals = lappend(quals, copyObject(qual));
	}
	sub = mvr_tree_make_select();
	sub->rtable = copyObject(term->rtable);
	mvr_compat_copy_rights(sub, term);
	sub->hasSubLinks = true;
	sub->jointree = makeFromExpr(list_make1(copyObject(join->rarg)), mvr_tree_and(quals));
	mvr_tree_append_target(sub, mvr_tree_make_int4(1), "one");
	mvr_tree_blank_unused(sub);
	/* the links are of a row of the right side too */
	focus->links = NIL;
	return mvr_tree_make_exists(mvr_tree_sink(sub));
}

static Node *
build_touched_item(Query *term, Node *node, MvrFocus *focus)
{
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (is_under(term, item, focus->place->mark))
				return build_touched_item(term, item, focus);
		return NULL;
	}
	if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		if (is_under(term, join->larg, focus->place->mark))
			return build_touched_item(term, join->larg, focus);
		/* what a LATERAL subquery asks of the left side tells more than ON */
		if (IsA(join->rarg, RangeTblRef) &&
			rt_fetch(((RangeTblRef *) join->rarg)->rtindex, term->rtable)->lateral)
			return build_touched_item(term, join->rarg, focus);
		return build_touched_join(term, join, focus);
	}
	else
	{
		/* a LATERAL subquery */
		RangeTblEntry *rte = rt_fetch(((RangeTblRef *) node)->rtindex, term->rtable);
		Query	   *sub = copyObject(rte->subquery);

		focus_query(sub, focus);
		if (focus->level == sub)
			find_links((Node *) sub->jointree, focus);
		sub->targetList = NIL;
		mvr_tree_append_target(sub, mvr_tree_make_int4(1), "one");
		return mvr_tree_make_exists(sub);
	}
}

/* Is the place in a LATERAL subquery, which is computed for each row? */
static bool
is_in_lateral(Query *term, const char *mark)
{
	foreach_ptr(RangeTblEntry, rte, term->rtable)
		if (rte->rtekind == RTE_SUBQUERY && rte->lateral &&
			mvr_place_is_below((Node *) rte->subquery, mark))
			return true;
	return false;
}

/* Does the planner make a join of this condition? */
static bool
is_joined_link(Node *qual, SubLink *link)
{
	if ((Node *) link == qual)
		return link->subLinkType == EXISTS_SUBLINK || link->subLinkType == ANY_SUBLINK;
	return is_notclause(qual) && (Node *) get_notclausearg((Expr *) qual) == (Node *) link &&
		link->subLinkType == EXISTS_SUBLINK;
}

/* Is there a condition that no row of the place's delta meets? */
static bool
is_impossible(Node *node, MvrFocus *focus, MvrDelta *delta)
{
	if (!IsA(node, FromExpr))
		return false;
	foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
	{
		if (is_impossible(item, focus, delta))
			return true;
	}
	foreach_ptr(NullTest, test, make_ands_implicit((Expr *) ((FromExpr *) node)->quals))
	{
		AttrNumber	attno;

		if (!IsA(test, NullTest) || test->nulltesttype != IS_NULL || test->argisrow)
			continue;
		attno = mvr_tree_get_column((Node *) test->arg, focus->rti);
		if (mvr_item_is_plain(delta, attno) && !delta->nulls[delta->attmap[attno - 1] - 1])
			return true;
	}
	return false;
}

/*
 * What a subquery asks for NULLs is asked for nothing if none has changed.  The
 * planner, who does not know, would take all rows to be touched.
 */
static bool
touches_nothing(MvrFocus *focus)
{
	MvrDelta   *delta = mvr_item_lookup_delta(focus->context, focus->place->rte);

	return delta && delta->nulls &&
		is_impossible((Node *) focus->level->jointree, focus, delta);
}

/*
 * EXISTS (what a place in a dependent part takes part in) for the rows of a
 * term; NULL if all may be touched.  Sets whether none is.
 */
SubLink *
mvr_touch_build(Query *term, MvrFocus *focus)
{
	const char *mark = focus->place->mark;
	Node	   *touched = NULL;
	JoinExpr   *join = find_join((Node *) term->jointree, mark);
	SubLink    *link;

	if (is_under(term, (Node *) term->jointree, mark))
	{
		touched = build_touched_item(term, (Node *) term->jointree, focus);
		focus->is_joined = !is_in_lateral(term, mark);
	}
	else if (join)
		touched = build_touched_on(term, join, focus);
	else
	{
		foreach_ptr(Node, qual, make_ands_implicit((Expr *) term->jointree->quals))
		{
			link = find_link(qual, mark);
			if (link == NULL)
				continue;
			touched = build_touched_link(term, link, (Node *) link == qual, focus);
			focus->is_joined = is_joined_link(qual, link);
		}
		link = find_link((Node *) term->targetList, mark);
		if (touched == NULL && link)
			touched = build_touched_link(term, link, false, focus);
	}
	if (focus->failed || touched == NULL)
		return NULL;
	focus->is_nothing = touches_nothing(focus);
	return (SubLink *) touched;
}

/* ----------
 * Touched keys
 *
 * "EXISTS (SELECT FROM d WHERE d.k = a.k)" becomes
 *	FROM a, (SELECT DISTINCT k FROM d) keys WHERE keys.k = a.k
 * since the planner knows how many rows a join with distinct keys has, and has
 * no idea of a semijoin with rows without statistics.  Other conditions that
 * refer to the row outside are left out.
 * ----------
 */

/* An operand of a comparison: of the row outside only, or of the subquery only */
static bool
is_of_outside(Node *node)
{
	return contain_vars_of_level(node, 1) && mvr_tree_pull_rtis(node) == NULL &&
		!checkExprHasSubLink(node);
}

static bool
is_of_subquery(Node *node)
{
	return !contain_vars_of_level(node, 1) && mvr_tree_pull_rtis(node) != NULL &&
		!checkExprHasSubLink(node);
}

/* Take the conditions that refer outside from a join tree; keep pairs of "=" */
static void
take_outer_quals(Node *node, List **outside, List **inside)
{
	List	   *kept = NIL;

	if (!IsA(node, FromExpr))
		return;
	foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
		take_outer_quals(item, outside, inside);
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) ((FromExpr *) node)->quals))
	{
		List	   *args = mvr_tree_is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

		if (!contain_vars_of_level(qual, 1))
			kept = lappend(kept, qual);
		for (int side = 0; args && side < 2; side++)
		{
			Node	   *mine = list_nth(args, side);
			Node	   *theirs = list_nth(args, 1 - side);

			if (is_of_subquery(mine) && is_of_outside(theirs))
			{
				*inside = lappend(*inside, mine);
				*outside = lappend(*outside, theirs);
			}
		}
	}
	((FromExpr *) node)->quals = mvr_tree_and(kept);
}

/* SELECT DISTINCT <exprs> FROM what is left of the query */
static void
make_distinct(Query *query, List *exprs)
{
	query->targetList = NIL;
	foreach_ptr(Expr, expr, exprs)
	{
		SortGroupClause *clause = makeNode(SortGroupClause);

		mvr_tree_append_target(query, expr, "key");
		clause->tleSortGroupRef = list_length(query->targetList);
		llast_node(TargetEntry, query->targetList)->ressortgroupref =
			clause->tleSortGroupRef;
		get_sort_group_operators(exprType((Node *) expr), false, true, false,
								 &clause->sortop, &clause->eqop, NULL, &clause->hashable);
		query->distinctClause = lappend(query->distinctClause, clause);
	}
}

/* False, with nothing changed, if the subquery cannot become keys */
static bool
join_touched_keys(Query *term, SubLink *touched)
{
	Query	   *sub = copyObject(castNode(Query, touched->subselect));
	List	   *outside = NIL;
	List	   *inside = NIL;
	List	   *quals = list_make1(term->jointree->quals);
	int			rti;
	int			n = 0;

	take_outer_quals((Node *) sub->jointree, &outside, &inside);
	make_distinct(sub, inside);
	if (inside == NIL || mvr_tree_is_correlated(sub))
		return false;
	rti = mvr_tree_append_from(term, mvr_tree_make_subquery_rte(sub, "keys"))->rtindex;
	foreach_ptr(Node, expr, outside)
	{
		Var		   *key = makeVarFromTargetEntry(rti, list_nth(sub->targetList, n));

		IncrementVarSublevelsUp(expr, -1, 1);
		quals = lappend(quals,
						mvr_tree_make_equals(list_nth_node(SortGroupClause,
														   sub->distinctClause, n)->eqop,
											 (Expr *) expr, (Expr *) key,
											 exprCollation(expr)));
		n++;
	}
	term->jointree->quals = mvr_tree_and(quals);
	return true;
}

/* Restrict a term to the rows that are touched; NULL for all */
void
mvr_touch_add(Query *term, SubLink *touched)
{
	term->hasSubLinks = true;
	if (touched && !join_touched_keys(term, touched))
		term->jointree->quals = mvr_tree_and(list_make2(term->jointree->quals, touched));
}

