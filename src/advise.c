/*
 * advise.c
 *		Which indexes on base tables, and on states, make changes cheap?
 *
 * The delta of one table is joined with the others, and rows that a change
 * touches are looked up: through an index if there is one that begins with a
 * column that must be equal to something of the changed row, else by reading
 * the table.  Groups and keys that are computed anew are looked up by their key.
 *
 * Only what is certain is said: a column, compared by "=".  Those on base tables are
 * the user's to create, those on states are ours.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* Columns of an item that are compared with one and the same other item */
typedef struct Lookup
{
	Oid			base;			/* or InvalidOid */
	MvrStage   *stage;			/* what is looked up is its output */
	Bitmapset  *columns;
} Lookup;

typedef struct AdviseContext
{
	MvrItems   *items;			/* which stage an item reads */
	List	   *lookups;		/* of Lookup: of base tables, those that no index serves */
} AdviseContext;

/* Is there an index that begins with one of these columns? */
static bool
has_index(Oid base, Bitmapset *columns)
{
	Relation	rel = table_open(base, AccessShareLock);
	bool		found = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		AttrNumber	first = index->rd_index->indkey.values[0];

		found |= first > 0 && bms_is_member(first, columns) &&
			index->rd_index->indisvalid &&
			RelationGetIndexPredicate(index) == NIL &&
			(index->rd_rel->relam == BTREE_AM_OID || index->rd_rel->relam == HASH_AM_OID);
		index_close(index, AccessShareLock);
	}
	table_close(rel, NoLock);
	return found;
}

/* Does an item read a base table, or what a stage hands out? */
static bool
is_looked_up(RangeTblEntry *rte, AdviseContext *context)
{
	return rte->rtekind == RTE_RELATION || mvr_item_lookup_stage(context->items, rte);
}

static void
note_lookup(AdviseContext *context, RangeTblEntry *rte, Bitmapset *columns)
{
	Lookup	   *lookup;
	MvrStage   *stage = mvr_item_lookup_stage(context->items, rte);
	Oid			base = stage ? InvalidOid : rte->relid;

	if (bms_is_empty(columns) || (stage == NULL && has_index(base, columns)))
		return;
	foreach_ptr(Lookup, other, context->lookups)
		if (other->base == base && other->stage == stage && bms_equal(other->columns, columns))
			return;
	lookup = palloc(sizeof(Lookup));
	lookup->base = base;
	lookup->stage = stage;
	lookup->columns = columns;
	context->lookups = lappend(context->lookups, lookup);
}

static void
collect_quals(Node *node, List **quals)
{
	if (node == NULL || IsA(node, RangeTblRef))
		return;
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			collect_quals(item, quals);
		*quals = list_concat(*quals, make_ands_implicit((Expr *) ((FromExpr *) node)->quals));
	}
	else
	{
		collect_quals(((JoinExpr *) node)->larg, quals);
		collect_quals(((JoinExpr *) node)->rarg, quals);
		*quals = list_concat(*quals, make_ands_implicit((Expr *) ((JoinExpr *) node)->quals));
	}
}

/* The one item that an operand is of: 0 for the level outside, -1 for none or more */
static int
get_partner(Node *node)
{
	Bitmapset  *rtis = mvr_tree_pull_rtis(node);

	if (bms_is_empty(rtis))
		return contain_vars_of_level(node, 1) ? 0 : -1;
	return bms_num_members(rtis) == 1 ? bms_singleton_member(rtis) : -1;
}

/* The columns of an item that must be equal to something of a partner */
static Bitmapset *
list_columns_equal(List *quals, int rti, int partner)
{
	Bitmapset  *columns = NULL;

	foreach_ptr(Node, qual, quals)
	{
		List	   *args = mvr_tree_is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

		for (int side = 0; args && side < 2; side++)
		{
			AttrNumber	attno = mvr_tree_get_column(list_nth(args, side), rti);

			if (attno > 0 && get_partner(list_nth(args, 1 - side)) == partner)
				columns = bms_add_member(columns, attno);
		}
	}
	return columns;
}

/* <expr> IN (SELECT column): both sides are looked up by it */
static void
advise_in(Query *query, SubLink *link, AdviseContext *context)
{
	Query	   *sub = castNode(Query, link->subselect);

	if (link->subLinkType != ANY_SUBLINK || sub->setOperations)
		return;
	foreach_ptr(Node, test, make_ands_implicit((Expr *) link->testexpr))
	{
		Node	   *right = IsA(test, OpExpr) && list_length(((OpExpr *) test)->args) == 2 ?
			lsecond(((OpExpr *) test)->args) : NULL;
		Node	   *column;
		int			rti;

		if (right == NULL || !IsA(right, Param))
			continue;
		column = (Node *) ((TargetEntry *) list_nth(sub->targetList,
												   ((Param *) right)->paramid - 1))->expr;
		for (rti = 1; rti <= list_length(sub->rtable); rti++)
			if (is_looked_up(rt_fetch(rti, sub->rtable), context) &&
				mvr_tree_get_column(column, rti) > 0)
				note_lookup(context, rt_fetch(rti, sub->rtable),
							bms_make_singleton(mvr_tree_get_column(column, rti)));
		for (rti = 1; rti <= list_length(query->rtable); rti++)
			if (is_looked_up(rt_fetch(rti, query->rtable), context) &&
				mvr_tree_get_column(linitial(((OpExpr *) test)->args), rti) > 0)
				note_lookup(context, rt_fetch(rti, query->rtable),
							bms_make_singleton(mvr_tree_get_column(linitial(((OpExpr *) test)->args),
																  rti)));
	}
}

typedef struct WalkContext
{
	Query	   *level;
	AdviseContext *advise;
} WalkContext;

/* Columns of an item are looked up; those of a subquery are what they are in it */
static void
advise_item(RangeTblEntry *rte, Bitmapset *columns, AdviseContext *context)
{
	Query	   *sub = rte->subquery;

	if (is_looked_up(rte, context))
		note_lookup(context, rte, columns);
	if (rte->rtekind != RTE_SUBQUERY || sub->setOperations || mvr_layers_is_grouped(sub) ||
		mvr_layers_is_keyed(sub) || bms_is_empty(columns))
		return;
	for (int rti = 1; rti <= list_length(sub->rtable); rti++)
	{
		Bitmapset  *inner = NULL;
		int			column = -1;

		while ((column = bms_next_member(columns, column)) >= 0)
		{
			TargetEntry *tle = get_tle_by_resno(sub->targetList, column);
			AttrNumber	attno = tle ? mvr_tree_get_column((Node *) tle->expr, rti) : 0;

			if (attno > 0)
				inner = bms_add_member(inner, attno);
		}
		advise_item(rt_fetch(rti, sub->rtable), inner, context);
	}
}

static void
advise_level(Query *query, AdviseContext *context)
{
	int			nitems = list_length(query->rtable);
	List	   *quals = NIL;

	collect_quals((Node *) query->jointree, &quals);
	for (int rti = 1; rti <= nitems; rti++)
	{
		for (int partner = 0; partner <= nitems; partner++)
			if (partner != rti)
				advise_item(rt_fetch(rti, query->rtable), list_columns_equal(quals, rti, partner),
							context);
	}
}

static bool
advise_walker(Node *node, WalkContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		advise_in(context->level, (SubLink *) node, context->advise);
	if (IsA(node, Query))
	{
		WalkContext inner = {(Query *) node, context->advise};

		advise_level((Query *) node, context->advise);
		return query_tree_walker((Query *) node, advise_walker, &inner, 0);
	}
	return expression_tree_walker(node, advise_walker, context);
}

/* Keys that are computed anew are looked up, by the first that is a column */
static void
advise_keys(const MvrStage *stage, AdviseContext *context)
{
	Query	   *input = stage->input;

	if (stage->strategy == MVR_GROUPS && stage->is_merged)
		return;
	foreach_ptr(MvrGroupKey, key, stage->keys)
		for (int rti = 1; rti <= list_length(input->rtable); rti++)
			if (is_looked_up(rt_fetch(rti, input->rtable), context) &&
				mvr_tree_get_column((Node *) key->expr, rti) > 0)
			{
				note_lookup(context, rt_fetch(rti, input->rtable),
							bms_make_singleton(mvr_tree_get_column((Node *) key->expr, rti)));
				return;
			}
}

/* CREATE INDEX ON table (columns) */
static char *
format_index(Lookup *lookup)
{
	StringInfoData text;
	int			attno = -1;

	initStringInfo(&text);
	appendStringInfo(&text, "CREATE INDEX ON %s (",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(lookup->base)),
												get_rel_name(lookup->base)));
	while ((attno = bms_next_member(lookup->columns, attno)) >= 0)
		appendStringInfo(&text, "%s%s",
						 text.data[text.len - 1] == '(' ? "" : ", ",
						 quote_identifier(get_attname(lookup->base, attno, false)));
	appendStringInfoChar(&text, ')');
	return text.data;
}

/* What is looked up when one of the base tables or stages changes, a list of Lookup */
static List *
list_lookups(const MvrStage *view)
{
	MvrItems	items = {.inner = view->inner};
	AdviseContext context = {&items, NIL};
	List	   *stages = list_copy(view->inner);

	stages = lappend(stages, unconstify(MvrStage *, view));
	foreach_ptr(MvrStage, stage, stages)
	{
		WalkContext walk = {stage->input, &context};

		advise_walker((Node *) stage->input, &walk);
		advise_keys(stage, &context);
	}
	return context.lookups;
}

/*
 * Commands that would create the indexes a view's maintenance lacks, a list of
 * strings.  The base tables are locked.
 */
List *
mvr_advise_list_indexes(const MvrStage *view)
{
	List	   *result = NIL;

	if (view->strategy == MVR_RECOMPUTE)
		return NIL;
	foreach_ptr(Lookup, lookup, list_lookups(view))
		if (lookup->stage == NULL && get_rel_relkind(lookup->base) != RELKIND_MATVIEW)
			result = lappend(result, format_index(lookup));
	return result;
}

/*
 * By which columns of its state other stages look up what a stage hands out: a list of
 * Bitmapsets, of which any column serves.  The base tables are locked.
 */
List *
mvr_advise_list_state_lookups(const MvrStage *view, const MvrStage *stage)
{
	List	   *result = NIL;

	foreach_ptr(Lookup, lookup, list_lookups(view))
	{
		Bitmapset  *columns = NULL;
		int			output = -1;

		if (lookup->stage != stage)
			continue;
		while ((output = bms_next_member(lookup->columns, output)) >= 0)
		{
			Node	   *expr = (Node *) list_nth_node(TargetEntry, stage->outputs, output - 1)->expr;

			/* aggregates are computed when they are read */
			if (IsA(expr, Var))
				columns = bms_add_member(columns, ((Var *) expr)->varattno);
		}
		if (columns)
			result = lappend(result, columns);
	}
	return result;
}
