/*
 * columns.c
 *		Columns that stand for others become expressions over those.
 *
 * A virtual generated column is its expression: no log can hold it.  A whole row
 *	SELECT count(t) FROM t		is that of its columns, ROW(t.a, t.b)::t
 *
 * as they are now: that the type has changed is seen by the fingerprint of the
 * query (mutable.c).  Where an outer join makes the rows of the item NULL, a
 * whole row is NULL, which is not a row of NULLs.  There the item becomes a
 * subquery that has these expressions as its columns
 *	a LEFT JOIN t ON c			a LEFT JOIN (SELECT t.a, t.b, ROW(t.a, t.b)::t FROM t) t ON c
 *
 * Pure but for a look at tables, on query levels whose aliases have been
 * flattened.
 */
#include "postgres.h"

#include "access/table.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* ----------
 * Whole rows of an item
 * ----------
 */

typedef struct RowContext
{
	int			rti;
	int			sublevels_up;
	AttrNumber	attno;			/* the column that they become; 0 just to find one */
	Var		   *found;
} RowContext;

static bool
row_walker(Node *node, RowContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno != context->rti || var->varattno != InvalidAttrNumber ||
			(int) var->varlevelsup != context->sublevels_up)
			return false;
		context->found = var;
		var->varattno = context->attno;
		return context->attno == 0;
	}
	if (IsA(node, Query))
	{
		bool		found;

		context->sublevels_up++;
		found = query_tree_walker((Query *) node, row_walker, context, 0);
		context->sublevels_up--;
		return found;
	}
	return expression_tree_walker(node, row_walker, context);
}

/* A Var that is the whole row of an item, or NULL */
static Var *
find_row(Query *query, int rti)
{
	RowContext	context = {.rti = rti};

	query_tree_walker(query, row_walker, &context, 0);
	return context.found;
}

static void
replace_rows(Query *query, int rti, AttrNumber attno)
{
	RowContext	context = {.rti = rti,.attno = attno};

	query_tree_walker(query, row_walker, &context, 0);
}

/* ----------
 * Columns of an item
 * ----------
 */

/* Of a table, dropped ones among them, virtual ones as expressions */
static List *
list_table_columns(Oid relid, int rti, bool *has_virtual)
{
	Relation	rel = table_open(relid, NoLock);
	List	   *tlist = NIL;

	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		Expr	   *expr;

		if (mvr_compat_is_virtual(att))
		{
			expr = (Expr *) mvr_compat_generation_expr(rel, i + 1);
			ChangeVarNodes((Node *) expr, 1, rti, 0);
			*has_virtual = true;
		}
		else if (att->attisdropped)
			expr = (Expr *) makeNullConst(INT4OID, -1, InvalidOid);
		else
			expr = (Expr *) makeVar(rti, i + 1, att->atttypid, att->atttypmod,
									att->attcollation, 0);
		tlist = lappend(tlist, makeTargetEntry(expr, i + 1, pstrdup(NameStr(att->attname)),
											   false));
	}
	table_close(rel, NoLock);
	return tlist;
}

/*
 * Has a table both virtual columns and dropped ones?  Then PostgreSQL makes a
 * ROW() of its whole row, in which the latter are NULL: t IS NOT NULL is never true.
 */
bool
mvr_columns_is_odd_row(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	bool		has_virtual = false;
	bool		has_dropped = false;

	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		has_virtual |= !att->attisdropped && mvr_compat_is_virtual(att);
		has_dropped |= att->attisdropped;
	}
	table_close(rel, NoLock);
	return has_virtual && has_dropped;
}

static bool
is_selected(Bitmapset *selected, AttrNumber attno)
{
	return bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, selected) ||
		bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, selected);
}

/*
 * The expressions of the virtual columns that a query level names, which are not in
 * its tree before mvr_columns_expand().
 */
List *
mvr_columns_list_virtual(Query *query)
{
	List	   *exprs = NIL;
	int			rti = 0;

	foreach_ptr(RangeTblEntry, rte, query->rtable)
	{
		Relation	rel;
		Bitmapset  *selected;

		rti++;
		if (rte->rtekind != RTE_RELATION)
			continue;
		rel = table_open(rte->relid, AccessShareLock);
		selected = mvr_compat_has_virtual(RelationGetDescr(rel)) ?
			mvr_compat_get_selected(query, rte) : NULL;
		for (int i = 0; selected && i < RelationGetDescr(rel)->natts; i++)
		{
			Node	   *expr;

			if (!mvr_compat_is_virtual(TupleDescAttr(RelationGetDescr(rel), i)) ||
				!is_selected(selected, i + 1))
				continue;
			expr = (Node *) mvr_compat_generation_expr(rel, i + 1);
			ChangeVarNodes(expr, 1, rti, 0);
			exprs = lappend(exprs, expr);
		}
		table_close(rel, NoLock);
	}
	return exprs;
}

/* Of any item; "as_type" are those of its row type, dropped ones among them */
static List *
list_item_columns(RangeTblEntry *rte, int rti, bool as_type, bool *has_virtual)
{
	List	   *tlist = NIL;
	List	   *names;
	List	   *columns;
	ListCell   *lc;

	if (rte->rtekind == RTE_RELATION)
		return list_table_columns(rte->relid, rti, has_virtual);
	mvr_compat_expand_rte(rte, rti, as_type, &names, &columns);
	lc = list_head(names);
	foreach_ptr(Expr, column, columns)
	{
		tlist = lappend(tlist, makeTargetEntry(column, list_length(tlist) + 1,
											   pstrdup(strVal(lfirst(lc))), false));
		lc = lnext(names, lc);
	}
	return tlist;
}

/* Has a row type as many columns?  A plain view may have got some. */
static bool
is_row_of(Oid type, List *tlist)
{
	TupleDesc	desc;
	bool		result;

	if (type == RECORDOID)
		return true;
	desc = lookup_rowtype_tupdesc_domain(type, -1, false);
	result = desc->natts == list_length(tlist);
	ReleaseTupleDesc(desc);
	return result;
}

/* ROW(columns), of the type of a whole row */
static Expr *
make_row(List *tlist, Oid type)
{
	RowExpr    *row = makeNode(RowExpr);

	foreach_ptr(TargetEntry, tle, tlist)
	{
		row->args = lappend(row->args, copyObject(tle->expr));
		if (type == RECORDOID)
			row->colnames = lappend(row->colnames, makeString(pstrdup(tle->resname)));
	}
	row->row_typeid = type;
	row->row_format = COERCE_IMPLICIT_CAST;
	row->location = -1;
	return (Expr *) row;
}

/*
 * "t IS NULL" asks each column.  That of a ROW(), the planner would ask those
 * that have been dropped, too.
 */
typedef struct TestContext
{
	RangeTblEntry *rte;
	int			rti;
	int			sublevels_up;
} TestContext;

static Node *
make_test(NullTest *test, TestContext *context)
{
	List	   *names;
	List	   *columns;
	List	   *tests = NIL;

	mvr_compat_expand_rte(context->rte, context->rti, false, &names, &columns);
	IncrementVarSublevelsUp((Node *) columns, context->sublevels_up, 0);
	foreach_ptr(Expr, column, columns)
	{
		NullTest   *one = copyObject(test);

		one->arg = column;
		one->argisrow = false;
		tests = lappend(tests, one);
	}
	return tests == NIL ? makeBoolConst(true, false) : mvr_tree_and(tests);
}

static Node *
test_mutator(Node *node, TestContext *context)
{
	NullTest   *test = (NullTest *) node;

	if (node == NULL)
		return NULL;
	if (IsA(node, NullTest) && test->argisrow && IsA(test->arg, Var))
	{
		Var		   *var = (Var *) test->arg;

		if (var->varno == context->rti && var->varattno == InvalidAttrNumber &&
			(int) var->varlevelsup == context->sublevels_up)
			return make_test(test, context);
	}
	if (IsA(node, Query))
	{
		Node	   *result;

		context->sublevels_up++;
		result = (Node *) query_tree_mutator((Query *) node, test_mutator, context, 0);
		context->sublevels_up--;
		return result;
	}
	return expression_tree_mutator(node, test_mutator, context);
}

static Query *
expand_tests(Query *query, int rti)
{
	TestContext context = {rt_fetch(rti, query->rtable), rti, 0};

	return query_tree_mutator(query, test_mutator, &context, 0);
}

/* ----------
 * The door
 * ----------
 */

/* (SELECT <columns>, <the whole row> FROM <item>), the item being its first */
static RangeTblEntry *
wrap_item(Query *query, RangeTblEntry *rte, List *tlist, Oid row_type)
{
	Query	   *sub = mvr_tree_make_select();
	RangeTblEntry *copy = mvr_compat_move_rte(sub, rte, query);

	if (copy->rtekind == RTE_SUBQUERY)
		IncrementVarSublevelsUp((Node *) copy->subquery, 1, 1);
	mvr_tree_append_from(sub, copy);
	sub->targetList = tlist;
	if (OidIsValid(row_type))
		mvr_tree_append_target(sub, make_row(tlist, row_type), "row");
	return mvr_tree_make_subquery_rte(sub, rte->eref->aliasname);
}

static bool
has_columns(RangeTblEntry *rte)
{
	return rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY ||
		rte->rtekind == RTE_FUNCTION || rte->rtekind == RTE_VALUES ||
		rte->rtekind == RTE_TABLEFUNC;
}

/* Returns the query, which is modified */
Query *
mvr_columns_expand(Query *query)
{
	Bitmapset  *linear = mvr_tree_list_linear(query);
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);
	int			rti = -1;

	while ((rti = bms_next_member(used, rti)) >= 0)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);
		bool		is_linear = bms_is_member(rti, linear);
		bool		has_virtual = false;
		Var		   *row;
		Oid			row_type;
		List	   *tlist;

		if (!has_columns(rte))
			continue;
		row = find_row(query, rti);
		row_type = row ? row->vartype : InvalidOid;
		if (row == NULL && rte->rtekind != RTE_RELATION)
			continue;
		tlist = list_item_columns(rte, is_linear ? rti : 1, row_type != RECORDOID, &has_virtual);
		if (row && !is_row_of(row_type, tlist))
			row = NULL;
		if (row == NULL && !has_virtual)
			continue;
		if (is_linear && row)
			query = expand_tests(query, rti);
		if (is_linear)
			query = (Query *) mvr_compat_replace_vars((Node *) query, rti, rte, tlist,
													  &query->hasSubLinks);
		else if (rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY)
		{
			if (row)
				replace_rows(query, rti, list_length(tlist) + 1);
			lfirst(list_nth_cell(query->rtable, rti - 1)) =
				wrap_item(query, rte, tlist, row ? row_type : InvalidOid);
		}
	}
	return query;
}
