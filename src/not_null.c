/*
 * not_null.c
 *		Which expressions cannot be NULL?
 *
 * What a proof rests on must count for what a refresh can rely on: that a column
 * is NOT NULL is part of its table's shape (capture.c), so a view is recomputed
 * when that changes, as its old rows may have NULLs.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "matview_refresh.h"

static Node *
strip_relabel(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* Is a condition never true where the expression, without casts, is NULL? */
static bool
rejects_null(Node *qual, Node *expr)
{
	if (IsA(qual, NullTest))
		return ((NullTest *) qual)->nulltesttype == IS_NOT_NULL &&
			!((NullTest *) qual)->argisrow &&
			equal(strip_relabel((Node *) ((NullTest *) qual)->arg), expr);
	if (IsA(qual, OpExpr) && op_strict(((OpExpr *) qual)->opno))
	{
		foreach_ptr(Node, arg, ((OpExpr *) qual)->args)
			if (equal(strip_relabel(arg), expr))
				return true;
	}
	return false;
}

/*
 * Can the transaction's snapshot be one that sees NULLs from before the column
 * was declared NOT NULL?
 */
static bool
may_see_old_nulls(Oid relid, AttrNumber attno)
{
	TransactionId xmin;

	if (!IsolationUsesXactSnapshot())
		return false;
	xmin = mvr_compat_get_not_null_xmin(relid, attno);
	return !TransactionIdIsValid(xmin) ||
		(TransactionIdIsNormal(xmin) &&
		 (TransactionIdIsCurrentTransactionId(xmin) ||
		  XidInMVCCSnapshot(xmin, GetTransactionSnapshot())));
}

/* Tables that inherit from one without NULLs may have them */
static bool
is_column_not_null(Oid relid, AttrNumber attno)
{
	Relation	rel = table_open(relid, NoLock);
	bool		result = attno > 0 &&
		(rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE || !has_subclass(relid)) &&
		mvr_compat_is_not_null(RelationGetDescr(rel), attno) &&
		!may_see_old_nulls(relid, attno);

	table_close(rel, NoLock);
	return result;
}

/* Of an item whose rows nothing makes NULL */
static bool
is_item_not_null(RangeTblEntry *rte, AttrNumber attno)
{
	TargetEntry *tle;

	if (rte->rtekind == RTE_RELATION)
		return is_column_not_null(rte->relid, attno);
	if (rte->rtekind != RTE_SUBQUERY || rte->subquery->setOperations ||
		rte->subquery->groupingSets)
		return false;
	tle = get_tle_by_resno(rte->subquery->targetList, attno);
	return tle && mvr_not_null_is_proven(rte->subquery, (Node *) tle->expr);
}

/*
 * Can an expression of a query level, whose aliases have been flattened, not be
 * NULL in rows that its WHERE lets pass?
 */
bool
mvr_not_null_is_proven(Query *query, Node *expr)
{
	Var		   *var = (Var *) strip_relabel(expr);

	if (IsA(var, Const))
		return !((Const *) var)->constisnull;
	if (!IsA(var, Var) || var->varlevelsup != 0)
		return false;
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) query->jointree->quals))
		if (rejects_null(qual, (Node *) var))
			return true;
	return bms_is_member(var->varno, mvr_tree_list_linear(query)) &&
		is_item_not_null(rt_fetch(var->varno, query->rtable), var->varattno);
}

/*
 * Is a comparison one that is NULL for NULLs only?  An operator that is strict
 * may still return NULL for others, unless it is one of an operator class.
 */
bool
mvr_not_null_is_comparison(Node *test)
{
	OpExpr	   *op = (OpExpr *) test;

	return IsA(test, OpExpr) && list_length(op->args) == 2 && op_strict(op->opno) &&
		mvr_compat_is_index_operator(op->opno);
}
