/*
 * identify.c
 *		Which rows of a base table are those that appeared?
 *
 * A dependent part (see delta_query.c) must be able to read a base table as it
 * was: without the rows that appeared.  They are known by a primary key, or by
 * another unique index without NULLs.  A table that has none must be searched
 * for rows that look like them; as many as have appeared are taken, and
 * remembered by where they stand.  Which of several that look alike does not
 * matter.
 *
 * The search compares hashes of rows, so it reads the whole table, unless a
 * column of the delta has no NULLs and an index.
 */
#include "postgres.h"

#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_inherits.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_func.h"
#include "utils/fmgroids.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

static Expr *
make_row_hash(List *vars)
{
	Oid			argtypes[] = {RECORDOID};
	Oid			function = LookupFuncName(list_make2(makeString("matview"),
													 makeString("row_hash")),
										  1, argtypes, false);
	RowExpr    *row = makeNode(RowExpr);
	int			n = 0;

	row->args = vars;
	row->row_typeid = RECORDOID;
	row->row_format = COERCE_EXPLICIT_CALL;
	row->location = -1;
	foreach_ptr(Var, var, vars)
	{
		(void) var;
		row->colnames = lappend(row->colnames, makeString(psprintf("c%d", ++n)));
	}
	return mvr_tree_make_call(function, INT8OID, list_make1(row));
}

/* The delta's columns as the base table numbers them (rti 1), or as itself does */
static List *
make_vars(MvrDelta *delta, bool of_base)
{
	List	   *vars = NIL;

	for (int i = 0; i < delta->natts; i++)
	{
		AttrNumber	attno = delta->attmap[i];
		Form_pg_attribute att;

		if (attno == 0)
			continue;
		att = TupleDescAttr(delta->desc, attno - 1);
		vars = lappend(vars, makeVar(1, of_base ? i + 1 : attno, att->atttypid,
									 att->atttypmod, att->attcollation, 0));
	}
	return vars;
}

/* <expr> IN (SELECT <column> FROM D(R) WHERE weight > 0) */
static Node *
make_in_appeared(MvrDelta *delta, Expr *expr, Expr *column, Oid eqop)
{
	Query	   *query = mvr_tree_make_select();
	SubLink    *link = makeNode(SubLink);
	Param	   *param = makeNode(Param);

	mvr_tree_append_from(query, mvr_tree_make_enr_rte(delta->name, delta->desc,
													  delta->nrows));
	mvr_tree_append_target(query, column, "key");
	query->jointree->quals = (Node *)
		mvr_tree_make_call(F_INT4GT, BOOLOID,
						   list_make2(makeVar(1, delta->weight, INT4OID, -1, InvalidOid, 0),
									  mvr_tree_make_int4(0)));
	param->paramkind = PARAM_SUBLINK;
	param->paramid = 1;
	param->paramtype = exprType((Node *) expr);
	param->paramtypmod = exprTypmod((Node *) expr);
	param->paramcollid = exprCollation((Node *) expr);
	param->location = -1;
	link->subLinkType = ANY_SUBLINK;
	link->testexpr = (Node *) mvr_tree_make_equals(eqop, expr, (Expr *) param,
												   param->paramcollid);
	link->operName = list_make1(makeString("="));
	link->subselect = (Node *) query;
	link->location = -1;
	return (Node *) link;
}

/* A column of the delta that leads an index of the base table; or 0 */
static AttrNumber
lookup_indexed_column(Relation base, MvrDelta *delta, Bitmapset *with_nulls)
{
	AttrNumber	result = 0;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(base))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		AttrNumber	attno = index->rd_index->indkey.values[0];

		if (attno > 0 && delta->attmap[attno - 1] > 0 &&
			!bms_is_member(delta->attmap[attno - 1], with_nulls) &&
			index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid &&
			RelationGetIndexPredicate(index) == NIL &&
			OidIsValid(lookup_type_cache(index->rd_opcintype[0], TYPECACHE_EQ_OPR)->eq_opr))
			result = attno;
		index_close(index, AccessShareLock);
	}
	return result;
}

/*
 * SELECT tableoid, ctid, <columns> FROM R
 *	WHERE hash(<columns>) IN (SELECT hash(<columns>) FROM D(R) WHERE weight > 0)
 *	  [AND <indexed column> IN (SELECT <it> FROM D(R) WHERE weight > 0)]
 */
static Query *
build_search(Relation base, MvrDelta *delta, Bitmapset *with_nulls)
{
	Query	   *query = mvr_tree_make_select();
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	AttrNumber	indexed = lookup_indexed_column(base, delta, with_nulls);
	Node	   *qual;

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(base);
	rte->relkind = base->rd_rel->relkind;
	rte->rellockmode = AccessShareLock;
	rte->inh = true;
	rte->inFromCl = true;
	rte->eref = makeAlias("base", NIL);
	/* where the view's owner reads it through a plain view, he may not */
	mvr_compat_read_freely(query, rte, BOOTSTRAP_SUPERUSERID);
	mvr_tree_append_from(query, rte);
	mvr_tree_append_target(query, (Expr *) makeVar(1, TableOidAttributeNumber, OIDOID, -1,
												   InvalidOid, 0), "of");
	mvr_tree_append_target(query, (Expr *) makeVar(1, SelfItemPointerAttributeNumber,
												   TIDOID, -1, InvalidOid, 0), "place");
	foreach_ptr(Var, var, make_vars(delta, true))
		mvr_tree_append_target(query, (Expr *) var, "column");
	qual = make_in_appeared(delta, make_row_hash(make_vars(delta, true)),
							make_row_hash(make_vars(delta, false)), lookup_type_cache(INT8OID, TYPECACHE_EQ_OPR)->eq_opr);
	if (indexed > 0)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(base), indexed - 1);
		Var		   *column = makeVar(1, delta->attmap[indexed - 1], att->atttypid,
									 att->atttypmod, att->attcollation, 0);
		Var		   *own = copyObject(column);

		own->varattno = own->varattnosyn = indexed;
		qual = mvr_tree_and(list_make2(qual, make_in_appeared(delta, (Expr *) own,
															  (Expr *) column,
															  lookup_type_cache(att->atttypid,
																				TYPECACHE_EQ_OPR)->eq_opr)));
	}
	query->jointree->quals = qual;
	query->hasSubLinks = true;
	return query;
}

typedef struct PlaceContext
{
	MvrZset    *zset;
	TupleTableSlot *row;		/* virtual: the delta's columns */
	TupleTableSlot *place;		/* virtual: tableoid, ctid */
} PlaceContext;

static void
show_row(PlaceContext *context, TupleTableSlot *slot, int first)
{
	int			natts = context->row->tts_tupleDescriptor->natts;

	slot_getsomeattrs(slot, first + natts);
	ExecClearTuple(context->row);
	memcpy(context->row->tts_values, slot->tts_values + first, sizeof(Datum) * natts);
	memcpy(context->row->tts_isnull, slot->tts_isnull + first, sizeof(bool) * natts);
	ExecStoreVirtualTuple(context->row);
}

/* A row of the base table that may be one that appeared */
static void
collect_place(TupleTableSlot *slot, void *arg)
{
	PlaceContext *context = arg;

	show_row(context, slot, 2);
	ExecClearTuple(context->place);
	for (int i = 0; i < 2; i++)
		context->place->tts_values[i] = slot_getattr(slot, i + 1,
													 &context->place->tts_isnull[i]);
	ExecStoreVirtualTuple(context->place);
	mvr_zset_put(context->zset, context->row, 1, NULL, context->place);
}

/* The rows that appeared; returns the columns that have NULLs in them */
static Bitmapset *
collect_appeared(PlaceContext *context, MvrDelta *delta)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);
	Bitmapset  *with_nulls = NULL;

	tuplestore_rescan(delta->rows);
	while (tuplestore_gettupleslot(delta->rows, true, false, slot))
	{
		bool		isnull;

		if (DatumGetInt32(slot_getattr(slot, delta->weight, &isnull)) < 0)
			continue;
		slot_getallattrs(slot);
		for (int i = 0; i < delta->desc->natts; i++)
			if (slot->tts_isnull[i])
				with_nulls = bms_add_member(with_nulls, i + 1);
		show_row(context, slot, 0);
		mvr_zset_put(context->zset, context->row, -1, NULL, NULL);
	}
	ExecDropSingleTupleTableSlot(slot);
	return with_nulls;
}

static TupleDesc
build_row_desc(MvrDelta *delta)
{
	TupleDesc	desc = CreateTemplateTupleDesc(delta->desc->natts - 1);

	for (int i = 1; i <= desc->natts; i++)
		TupleDescCopyEntry(desc, i, delta->desc, i);
	TupleDescFinalize(desc);
	return desc;
}

/* Find where the rows that appeared stand: one place for each */
static void
find_places(Relation base, MvrDelta *delta)
{
	PlaceContext context;
	Bitmapset  *with_nulls;
	MvrZsetRow	change;
	int			natts = delta->desc->natts - 1;

	context.place = MakeSingleTupleTableSlot(delta->places_desc, &TTSOpsVirtual);
	context.row = MakeSingleTupleTableSlot(build_row_desc(delta), &TTSOpsVirtual);
	context.zset = mvr_zset_begin(context.row->tts_tupleDescriptor, delta->places_desc, 0,
								  NULL);
	with_nulls = collect_appeared(&context, delta);
	mvr_run_query(mvr_run_query_plan(build_search(base, delta, with_nulls), false),
				  mvr_run_query_environment(list_make1(delta)), collect_place, &context);
	while (mvr_zset_next(context.zset, &change))
	{
		if (change.change != MVR_ROW_SAME)
			continue;
		slot_getsomeattrs(change.row, natts + 2);
		tuplestore_putvalues(delta->places, delta->places_desc,
							 change.row->tts_values + natts,
							 change.row->tts_isnull + natts);
		delta->nplaces++;
	}
	mvr_zset_end(context.zset);
	ExecDropSingleTupleTableSlot(context.row);
	ExecDropSingleTupleTableSlot(context.place);
}

/*
 * Make known which rows of a base table, open and locked, are those that
 * appeared in its delta, if a dependent part of the view's query reads it.  They
 * must be there: what appeared and went again is taken out of the delta.
 */
void
mvr_identify_prepare(Relation base, const MvrStage *stage, MvrDelta *delta)
{
	foreach_ptr(MvrUse, use, stage->uses)
	{
		if (use->base != delta->base || !use->is_dependent)
			continue;
		mvr_delta_net(delta);
		delta->identity = use->identity;
		if (delta->identity)
			continue;
		delta->places_name = psprintf("places_%u", delta->base);
		delta->places_desc = CreateTemplateTupleDesc(2);
		TupleDescInitEntry(delta->places_desc, 1, "of", OIDOID, -1, 0);
		TupleDescInitEntry(delta->places_desc, 2, "place", TIDOID, -1, 0);
		TupleDescFinalize(delta->places_desc);
		delta->places = tuplestore_begin_heap(false, false, work_mem);
		if (delta->nrows > 0)
			find_places(base, delta);
	}
}
