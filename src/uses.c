/*
 * uses.c
 *		Which base tables, and which columns of them, a view needs.
 *
 * That is what its change logs must have.  A dependent part also needs to tell
 * the rows of a base table apart, by the columns of a key if there is one.
 *
 * Locks: the base tables are locked already.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

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

static void collect_uses(MvrStage *view, Query *query, Node *more, bool is_linear);

static bool
collect_link_uses(Node *node, MvrStage *view)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		collect_uses(view, (Query *) node, NULL, false);
		return false;
	}
	return expression_tree_walker(node, collect_link_uses, view);
}

static void
collect_table_use(MvrStage *view, int rti, Oid base, List *vars, bool is_linear)
{
	MvrUse	   *use = ensure_use(view, base);

	foreach_ptr(Var, var, vars)
	{
		if (var->varno == rti)
			use->columns = bms_add_member(use->columns, var->varattno);
	}
	use->is_dependent |= !is_linear;
}

/*
 * Note the base tables that a normalized query reads, with the columns that it
 * needs, and whether it reads them in dependent parts.
 */
static void
collect_uses(MvrStage *view, Query *query, Node *more, bool is_linear)
{
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);
	Bitmapset  *linear = is_linear && !query->setOperations ?
		mvr_tree_list_linear(query) : NULL;
	List	   *vars = list_concat(pull_vars_of_level((Node *) query, 0),
								   pull_vars_of_level(more, 0));

	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);
		bool		here = query->setOperations ? is_linear : bms_is_member(rti, linear);

		if (rte->rtekind == RTE_SUBQUERY)
			collect_uses(view, rte->subquery, NULL, here && !rte->lateral);
		else if (rte->rtekind == RTE_RELATION && bms_is_member(rti, used) &&
				 (rte->relkind == RELKIND_RELATION || rte->relkind == RELKIND_MATVIEW ||
				  rte->relkind == RELKIND_PARTITIONED_TABLE))
			collect_table_use(view, rti, rte->relid, vars, here);
		collect_link_uses((Node *) rte->functions, view);
		collect_link_uses((Node *) rte->values_lists, view);
		collect_link_uses((Node *) rte->tablefunc, view);
	}
	collect_link_uses((Node *) query->targetList, view);
	collect_link_uses((Node *) query->jointree, view);
	collect_link_uses(query->havingQual, view);
	collect_link_uses((Node *) query->windowClause, view);
	collect_link_uses(query->limitCount, view);
	collect_link_uses(query->limitOffset, view);
	collect_link_uses(more, view);
}

/* Are two values of a column that its "=" calls equal the same to an index, too? */
static bool
is_no_finer(Relation index, int i, Form_pg_attribute att)
{
	Oid			eqop = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR)->eq_opr;

	return OidIsValid(eqop) && op_in_opfamily(eqop, index->rd_opfamily[i]) &&
		(att->attcollation == index->rd_indcollation[i] || !OidIsValid(att->attcollation) ||
		 get_collation_isdeterministic(att->attcollation));
}

/* Do the key columns of an index tell the rows of its table apart? */
static Bitmapset *
list_identity_columns(Relation index, Relation base)
{
	Form_pg_index form = index->rd_index;
	Bitmapset  *columns = NULL;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		RelationGetIndexPredicate(index) != NIL)
		return NULL;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		AttrNumber	attno = form->indkey.values[i];
		Form_pg_attribute att;

		if (attno <= 0)
			return NULL;
		att = TupleDescAttr(RelationGetDescr(base), attno - 1);
		if (!mvr_compat_is_not_null(RelationGetDescr(base), attno) ||
			mvr_compat_is_virtual(att) ||
			!is_no_finer(index, i, att))
			return NULL;
		columns = bms_add_member(columns, attno);
	}
	return columns;
}

/*
 * The columns that tell the rows of a base table apart: its primary key, or
 * else the smallest unique index over columns that are not NULL; or NULL.
 */
static Bitmapset *
lookup_identity(Relation base)
{
	Bitmapset  *best = NULL;
	bool		is_primary = false;
	ListCell   *lc;

	if (base->rd_rel->relkind == RELKIND_RELATION &&
		has_subclass(RelationGetRelid(base)))
		return NULL;
	foreach(lc, RelationGetIndexList(base))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Bitmapset  *columns = is_primary ? NULL : list_identity_columns(index, base);

		if (columns && (best == NULL || index->rd_index->indisprimary ||
						bms_num_members(columns) < bms_num_members(best)))
		{
			best = columns;
			is_primary = index->rd_index->indisprimary;
		}
		index_close(index, AccessShareLock);
	}
	return best;
}

/*
 * Dependent parts must be able to tell which rows of a base table are new: by a
 * key, or by where they stand.
 */
void
mvr_uses_find_identities(MvrStage *view)
{
	foreach_ptr(MvrUse, use, view->uses)
	{
		Relation	base;

		if (!use->is_dependent)
			continue;
		base = table_open(use->base, NoLock);
		use->identity = lookup_identity(base);
		table_close(base, NoLock);
		use->columns = bms_add_members(use->columns, use->identity);
	}
}

/* Note what one stage of a view reads */
void
mvr_uses_collect(MvrStage *view, const MvrStage *stage)
{
	List	   *more = NIL;

	foreach_ptr(MvrGroupKey, key, stage->keys)
		more = lappend(more, key->expr);
	foreach_ptr(MvrStateColumn, column, stage->columns)
		more = lappend(more, column->aggregate);
	collect_uses(view, stage->input, (Node *) more, true);
}
