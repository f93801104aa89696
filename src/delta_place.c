/*
 * delta_place.c
 *		The places of a query at which something that has changed is read.
 *
 * Places are marked by an alias, which copies of the query keep.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"

#include "matview_refresh.h"

/* ----------
 * Marking
 * ----------
 */

static void
mark_place(RangeTblEntry *rte, int rti, bool is_linear, MvrPlaces *places)
{
	MvrPlace   *place = palloc(sizeof(MvrPlace));

	place->rte = rte;
	place->rti = rti;
	place->mark = psprintf("place %d", list_length(places->dependent) +
						   list_length(places->linear) + 1);
	place->is_linear = is_linear;
	rte->alias = makeAlias(place->mark, NIL);
	if (is_linear)
		places->linear = lappend(places->linear, place);
	else
		places->dependent = lappend(places->dependent, place);
}

/* Is this range table entry the place with this mark? */
bool
mvr_place_is_marked(RangeTblEntry *rte, const char *mark)
{
	return rte->alias && strcmp(rte->alias->aliasname, mark) == 0;
}

static bool
mark_sublinks(Node *node, MvrPlaces *places)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		mvr_place_mark(castNode(Query, ((SubLink *) node)->subselect), false, places);
		return mark_sublinks(((SubLink *) node)->testexpr, places);
	}
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, mark_sublinks, places);
}

static void
mark_item(Query *query, int rti, bool is_linear, MvrPlaces *places)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);

	if (mvr_item_lookup_delta(places->context, rte))
		mark_place(rte, rti, is_linear, places);
	else if (rte->rtekind == RTE_SUBQUERY && is_linear && !rte->lateral)
	{
		if (mvr_item_has_changed((Node *) rte->subquery, places->context))
			mark_place(rte, rti, true, places);
	}
	else if (rte->rtekind == RTE_SUBQUERY)
		mvr_place_mark(rte->subquery, false, places);
	else
	{
		mark_sublinks((Node *) rte->functions, places);
		mark_sublinks((Node *) rte->values_lists, places);
		mark_sublinks((Node *) rte->tablefunc, places);
	}
}

/* Mark the places of a query level and of those below */
void
mvr_place_mark(Query *query, bool is_linear, MvrPlaces *places)
{
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);
	Bitmapset  *linear = is_linear ? mvr_normalize_list_linear(query) : NULL;
	int			rti = -1;

	mark_sublinks((Node *) query->windowClause, places);
	mark_sublinks(query->limitCount, places);
	mark_sublinks(query->limitOffset, places);
	if (query->setOperations)
	{
		foreach_ptr(RangeTblEntry, arm, query->rtable)
			if (arm->rtekind == RTE_SUBQUERY)
				mvr_place_mark(arm->subquery, false, places);
		return;
	}
	while ((rti = bms_next_member(used, rti)) >= 0)
		mark_item(query, rti, bms_is_member(rti, linear), places);
	mark_sublinks((Node *) query->targetList, places);
	mark_sublinks((Node *) query->jointree, places);
	mark_sublinks(query->havingQual, places);
}

typedef struct FindContext
{
	const char *mark;
	Query	   *level;			/* being walked */
	Query	   *owner;			/* has the entry in its range table */
	int			rti;
} FindContext;

static bool
find_walker(Node *node, FindContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *save = context->level;
		bool		found = false;

		context->level = (Query *) node;
		for (int rti = 1; rti <= list_length(context->level->rtable); rti++)
		{
			if (mvr_place_is_marked(rt_fetch(rti, context->level->rtable), context->mark))
			{
				context->owner = context->level;
				context->rti = rti;
				return true;
			}
		}
		found = query_tree_walker((Query *) node, find_walker, context, 0);
		context->level = save;
		return found;
	}
	return expression_tree_walker(node, find_walker, context);
}

/* Is the place with this mark somewhere in a tree? */
bool
mvr_place_is_below(Node *node, const char *mark)
{
	FindContext context = {mark, NULL, NULL, 0};

	return find_walker(node, &context);
}

/* ----------
 * Replacing a place
 * ----------
 */

/* The LEFT JOIN, innermost, on whose right side an entry is; or NULL */
static JoinExpr *
find_nulling_join(Node *node, int rti)
{
	JoinExpr   *found = NULL;

	if (node == NULL || IsA(node, RangeTblRef))
		return NULL;
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			if (found == NULL)
				found = find_nulling_join(item, rti);
		return found;
	}
	found = find_nulling_join(((JoinExpr *) node)->larg, rti);
	if (found == NULL)
		found = find_nulling_join(((JoinExpr *) node)->rarg, rti);
	if (found == NULL &&
		bms_is_member(rti, mvr_tree_list_rtis(((JoinExpr *) node)->rarg)))
		found = (JoinExpr *) node;
	return found;
}

/* Filter the rows of one FROM item */
static void
add_item_qual(Query *owner, int rti, Node *qual)
{
	JoinExpr   *join = find_nulling_join((Node *) owner->jointree, rti);
	Node	  **quals = join ? &join->quals : &owner->jointree->quals;

	*quals = mvr_tree_and(list_make2(*quals, qual));
	owner->hasSubLinks = true;
}

/* Let an item of a query read a subquery instead */
void
mvr_place_replace(Query *owner, int rti, Query *by)
{
	lfirst(list_nth_cell(owner->rtable, rti - 1)) = mvr_tree_make_subquery_rte(by, "item");
}

static void
get_place(Query *query, MvrPlace *place, Query **owner, int *rti)
{
	FindContext context = {place->mark, NULL, NULL, 0};

	if (!find_walker((Node *) query, &context))
		elog(ERROR, "%s not found", place->mark);
	*owner = context.owner;
	*rti = context.rti;
}

/* old(Q) for a linear item that is a subquery, of its delta: its columns, weight */
static Query *
build_old_subquery(Query *subquery, Query *changes)
{
	Query	   *current = mvr_tree_make_outer(copyObject(subquery), "current");
	Query	   *delta = mvr_tree_make_outer(changes, "delta");
	TargetEntry *last = llast(delta->targetList);

	mvr_tree_append_target(current, mvr_tree_make_int4(1), "weight");
	last->expr = mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(last->expr));
	return mvr_tree_make_union_all(list_make2(current, delta));
}

/*
 * Let an item of a query read a CTE of it, which is computed once.  The planner
 * does not know how many rows a join with a delta has; where it takes one for
 * what are many, it would compute a subquery again for each.
 */
static void
replace_by_cte(Query *owner, int rti, Query *by)
{
	CommonTableExpr *cte = makeNode(CommonTableExpr);
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	foreach_ptr(TargetEntry, tle, by->targetList)
	{
		Node	   *expr = (Node *) tle->expr;

		cte->ctecolnames = lappend(cte->ctecolnames, makeString(pstrdup(tle->resname)));
		cte->ctecoltypes = lappend_oid(cte->ctecoltypes, exprType(expr));
		cte->ctecoltypmods = lappend_int(cte->ctecoltypmods, exprTypmod(expr));
		cte->ctecolcollations = lappend_oid(cte->ctecolcollations, exprCollation(expr));
	}
	cte->ctename = psprintf("old_%d", list_length(owner->cteList) + 1);
	cte->ctematerialized = CTEMaterializeAlways;
	cte->ctequery = (Node *) by;
	cte->cterefcount = 1;
	cte->location = -1;
	owner->cteList = lappend(owner->cteList, cte);

	rte->rtekind = RTE_CTE;
	rte->ctename = cte->ctename;
	rte->coltypes = list_copy(cte->ctecoltypes);
	rte->coltypmods = list_copy(cte->ctecoltypmods);
	rte->colcollations = list_copy(cte->ctecolcollations);
	rte->eref = makeAlias(cte->ctename, copyObject(cte->ctecolnames));
	rte->inFromCl = true;
	lfirst(list_nth_cell(owner->rtable, rti - 1)) = rte;
}

/*
 * Let a place read what was there; only what has the keys, if there are some.
 * "changes" is the delta of a linear item that is a subquery.
 */
void
mvr_place_set_old(Query *query, MvrPlace *place, MvrKeys *keys, Query *changes, MvrItems *context)
{
	Query	   *owner;
	int			rti;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, &rti);
	rte = rt_fetch(rti, owner->rtable);
	rte->alias = NULL;
	delta = mvr_item_lookup_delta(context, rte);
	if (delta == NULL)
		mvr_place_replace(owner, rti, build_old_subquery(rte->subquery, changes));
	else if (place->is_linear && keys)
		replace_by_cte(owner, rti, mvr_item_build_old_weighted(rte, delta, owner, keys));
	else if (place->is_linear)
	{
		mvr_place_replace(owner, rti, mvr_item_build_old_weighted(rte, delta, owner, NULL));
		if (delta->stage && delta->stage->having)
			add_item_qual(owner, rti, mvr_item_make_sign(F_INT4NE,
													  mvr_item_make_weight(rti, delta->natts + 1)));
	}
	else if (keys)
		mvr_place_replace(owner, rti, mvr_item_build_old_keyed(rte, delta, owner, keys));
	else
	{
		mvr_place_replace(owner, rti, mvr_item_build_old_table(rte, delta, owner));
		add_item_qual(owner, rti, mvr_item_build_old_qual(rti, delta));
	}
}

/* Let a linear place read the delta; "changes" as above */
void
mvr_place_set_delta(Query *query, MvrPlace *place, Query *changes, MvrItems *context)
{
	Query	   *owner;
	int			rti;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, &rti);
	rte = rt_fetch(rti, owner->rtable);
	rte->alias = NULL;
	delta = mvr_item_lookup_delta(context, rte);
	mvr_place_replace(owner, rti, delta ? mvr_item_build_delta(delta) : changes);
}

/* The column behind an item's own */
AttrNumber
mvr_place_get_weight(Query *query, MvrPlace *place, MvrItems *context, int *rti)
{
	Query	   *owner;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, rti);
	rte = rt_fetch(*rti, owner->rtable);
	delta = mvr_item_lookup_delta(context, rte);
	return delta ? delta->natts + 1 : list_length(rte->subquery->targetList) + 1;
}

static bool
resolve_walker(Node *node, MvrItems *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		MvrStage   *stage = mvr_item_lookup_stage(context, rte);

		rte->alias = NULL;
		if (stage)
			memcpy(rte, mvr_item_build_stage(stage), sizeof(RangeTblEntry));
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, resolve_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, resolve_walker, context);
}

/* Let every place that is left read what is there now; modifies the query */
Query *
mvr_place_resolve(Query *query, MvrItems *context)
{
	resolve_walker((Node *) query, context);
	return query;
}

