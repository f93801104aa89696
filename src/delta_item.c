/*
 * delta_item.c
 *		What a FROM item reads: a relation as it is, its delta, what it was.
 *
 * A query built here has the columns of the item it stands for, under the same
 * numbers, so that nothing else in the query around changes; then come columns
 * of ours.
 *
 * Where only rows with certain keys can matter, old(R) reads the current rows
 * that have them through an index, and not the table.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* The column of an item that has the weight */
Var *
mvr_item_make_weight(int rti, AttrNumber attno)
{
	return makeVar(rti, attno, INT4OID, -1, InvalidOid, 0);
}

static Expr *
make_bool(bool value)
{
	return (Expr *) makeBoolConst(value, false);
}

/* ----------
 * What has changed
 * ----------
 */

/* The stage that a range table entry reads, or NULL */
MvrStage *
mvr_item_lookup_stage(MvrItems *context, RangeTblEntry *rte)
{
	int			number;

	if (rte->rtekind != RTE_NAMEDTUPLESTORE ||
		sscanf(rte->enrname, "stage %d", &number) != 1)
		return NULL;
	return list_nth(context->inner, number - 1);
}

/* The delta of what a range table entry reads, or NULL if it has not changed */
MvrDelta *
mvr_item_lookup_delta(MvrItems *context, RangeTblEntry *rte)
{
	MvrStage   *stage = mvr_item_lookup_stage(context, rte);

	if (stage == NULL && rte->rtekind != RTE_RELATION)
		return NULL;
	foreach_ptr(MvrDelta, delta, context->deltas)
	{
		if (stage ? delta->stage == stage :
			delta->stage == NULL && delta->base == rte->relid)
			return delta;
	}
	return NULL;
}

static bool
changed_walker(Node *node, MvrItems *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
		return mvr_item_lookup_delta(context, (RangeTblEntry *) node) != NULL;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, changed_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, changed_walker, context);
}

/* Does a query, or an expression, read anything that has changed, at any level? */
bool
mvr_item_has_changed(Node *node, MvrItems *context)
{
	return changed_walker(node, context);
}

/* ----------
 * What an item reads: now, its delta, what it was
 *
 * natts columns as the item has them, then one or more of ours.
 * ----------
 */

/* The rows of a stage's state as those of its query: <outputs> FROM state */
static Query *
build_stage_outputs(MvrStage *stage)
{
	Query	   *query = mvr_tree_make_select();
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = stage->state;
	rte->relkind = RELKIND_RELATION;
	rte->rellockmode = AccessShareLock;
	rte->inFromCl = true;
	rte->eref = makeAlias("state", NIL);
	mvr_compat_read_freely(query, rte, mvr_catalog_get_owner());
	mvr_tree_append_from(query, rte);
	foreach_ptr(TargetEntry, tle, stage->outputs)
		mvr_tree_append_target(query, copyObject(tle->expr), tle->resname);
	return query;
}

/* new(stage), a subquery */
RangeTblEntry *
mvr_item_build_stage(MvrStage *stage)
{
	Query	   *query = build_stage_outputs(stage);

	query->jointree->quals = copyObject((Node *) stage->having);
	return mvr_tree_make_subquery_rte(query, "stage");
}

/* SELECT <columns> FROM R, without our own */
static Query *
build_current(RangeTblEntry *rte, MvrDelta *delta, Query *home)
{
	Query	   *query;

	if (delta->stage)
		return build_stage_outputs(delta->stage);
	query = mvr_tree_make_select();
	mvr_tree_append_from(query, mvr_compat_move_rte(query, rte, home));
	for (int i = 0; i < delta->natts; i++)
	{
		AttrNumber	attno = delta->attmap[i];

		if (attno > 0)
		{
			Form_pg_attribute att = TupleDescAttr(delta->desc, attno - 1);

			mvr_tree_append_target(query, (Expr *) makeVar(1, i + 1, att->atttypid,
														   att->atttypmod,
														   att->attcollation, 0),
								   NameStr(att->attname));
		}
		else
			mvr_tree_append_target(query, (Expr *) makeNullConst(INT4OID, -1, InvalidOid),
								   "unused");
	}
	return query;
}

/* SELECT <columns> FROM D(R), without our own; the weight is in *weight */
static Query *
build_changes(MvrDelta *delta, Var **weight)
{
	Query	   *query = mvr_tree_make_select();
	AttrNumber	last = delta->weight;

	mvr_tree_append_from(query, mvr_tree_make_enr_rte(delta->name, delta->desc,
													  delta->nrows));
	for (int i = 0; i < delta->natts; i++)
	{
		AttrNumber	attno = delta->attmap[i];

		if (attno > 0)
		{
			Form_pg_attribute att = TupleDescAttr(delta->desc, attno - 1);

			mvr_tree_append_target(query, (Expr *) makeVar(1, attno, att->atttypid,
														   att->atttypmod,
														   att->attcollation, 0),
								   NameStr(att->attname));
		}
		else
			mvr_tree_append_target(query, (Expr *) makeNullConst(INT4OID, -1, InvalidOid),
								   "unused");
	}
	*weight = mvr_item_make_weight(1, last);
	return query;
}

/* weight <operator> 0 */
Node *
mvr_item_make_sign(Oid op, Var *weight)
{
	return (Node *) mvr_tree_make_equals(op, (Expr *) copyObject(weight),
										 mvr_tree_make_int4(0), InvalidOid);
}

/* D(R): <columns>, weight */
Query *
mvr_item_build_delta(MvrDelta *delta)
{
	Var		   *weight;
	Query	   *query = build_changes(delta, &weight);

	mvr_tree_append_target(query, (Expr *) weight, "weight");
	return query;
}

/* <column of the item at rti> = PARAM, and the subquery's column that it stands for */
static Expr *
make_in_test(Query *query, int paramid, Var *column, int rti, AttrNumber attno)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_SUBLINK;
	param->paramid = paramid;
	param->paramtype = column->vartype;
	param->paramtypmod = column->vartypmod;
	param->paramcollid = column->varcollid;
	param->location = -1;
	mvr_tree_append_target(query, (Expr *) column, "key");
	return mvr_tree_make_equals(lookup_type_cache(column->vartype, TYPECACHE_EQ_OPR)->eq_opr,
								(Expr *) makeVar(rti, attno, column->vartype,
												 column->vartypmod, column->varcollid, 0),
								(Expr *) param, column->varcollid);
}

/* A column of an ephemeral relation that a query has as its first item */
static Var *
make_enr_var(TupleDesc desc, AttrNumber attno)
{
	Form_pg_attribute att = TupleDescAttr(desc, attno - 1);

	return makeVar(1, attno, att->atttypid, att->atttypmod, att->attcollation, 0);
}

static Expr *
make_in(Query *query, List *tests)
{
	SubLink    *link = makeNode(SubLink);

	link->subLinkType = ANY_SUBLINK;
	link->testexpr = (Node *) make_ands_explicit(tests);
	link->operName = list_make1(makeString("="));
	link->subselect = (Node *) query;
	link->location = -1;
	return (Expr *) link;
}

/*
 * <columns of the item at rti> IN (SELECT <columns> FROM delta), or FROM the rows
 * of a term, a CTE that is "level" levels further out than this condition.
 */
static Node *
make_key_filter(int rti, List *attnos, MvrKeys *keys, int level)
{
	Query	   *query = mvr_tree_make_select();
	List	   *tests = NIL;
	ListCell   *lc;
	int			n = 0;

	if (keys->rows)
		mvr_tree_append_from(query, mvr_tree_make_cte_rte(linitial(keys->rows->ctes),
														  level + 1));
	else
		mvr_tree_append_from(query, mvr_tree_make_enr_rte(keys->delta->name,
														  keys->delta->desc,
														  keys->delta->nrows));
	foreach(lc, attnos)
	{
		AttrNumber	column = list_nth_int(keys->columns, n++);
		Var		   *var;

		if (keys->rows)
		{
			var = copyObject(list_nth_node(Var, keys->rows->columns, column - 1));
			var->varno = 1;
			var->varattno = column;
		}
		else
			var = make_enr_var(keys->delta->desc, column);
		tests = lappend(tests, make_in_test(query, n, var, rti, lfirst_int(lc)));
	}
	return (Node *) make_in(query, tests);
}

/*
 * <key of the item at rti> NOT IN (SELECT <key> FROM D(R) WHERE weight > 0)
 * or, without a key,
 * <place> NOT IN (SELECT place FROM ...)
 *
 * The list becomes a hash table, made once.  The planner thinks that it is made
 * again with each search of an index, and would rather read the table; so it is
 * told that there are few rows.
 */
static Expr *
make_not_appeared(int rti, MvrDelta *delta, AttrNumber of, AttrNumber place)
{
	Query	   *query = mvr_tree_make_select();
	List	   *tests = NIL;
	int			attno = -1;

	if (delta->places)
		mvr_tree_append_from(query, mvr_tree_make_enr_rte(delta->places_name,
														  delta->places_desc,
														  Min(delta->nplaces, 10)));
	else
	{
		mvr_tree_append_from(query, mvr_tree_make_enr_rte(delta->name, delta->desc,
														  Min(delta->nrows, 10)));
		query->jointree->quals = mvr_item_make_sign(MVR_INT4_GT,
													mvr_item_make_weight(1, delta->weight));
	}
	if (delta->places)
	{
		tests = list_make1(make_in_test(query, 1, make_enr_var(delta->places_desc, 1), rti, of));
		tests = lappend(tests, make_in_test(query, 2, make_enr_var(delta->places_desc, 2), rti,
											place));
	}
	else if (delta->stage)
		tests = list_make1(make_in_test(query, 1, make_enr_var(delta->desc, delta->place), rti,
										place));
	while ((attno = bms_next_member(delta->identity, attno)) >= 0)
		tests = lappend(tests, make_in_test(query, list_length(tests) + 1,
											make_enr_var(delta->desc, delta->attmap[attno - 1]),
											rti, attno));
	return make_notclause(make_in(query, tests));
}

/* The key columns as those of R, or of the state that a stage's output stands for */
static List *
list_current_keys(MvrDelta *delta, MvrKeys *keys)
{
	List	   *attnos = NIL;
	ListCell   *lc;

	if (delta->stage == NULL)
		return keys->attnos;
	foreach(lc, keys->attnos)
		attnos = lappend_int(attnos,
							 castNode(Var, ((TargetEntry *)
											list_nth(delta->stage->outputs,
													 lfirst_int(lc) - 1))->expr)->varattno);
	return attnos;
}

/* ... and as those of D(R) */
static List *
list_delta_keys(MvrDelta *delta, MvrKeys *keys)
{
	List	   *attnos = NIL;
	ListCell   *lc;

	foreach(lc, keys->attnos)
		attnos = lappend_int(attnos, delta->attmap[lfirst_int(lc) - 1]);
	return attnos;
}

/* Let a query of build_current() have the rows of some keys only */
static void
add_key_filter(Query *current, MvrDelta *delta, MvrKeys *keys)
{
	/* two levels: the UNION ALL, and the query that reads it */
	current->jointree->quals =
		mvr_tree_and(list_make2(current->jointree->quals,
								make_key_filter(1, list_current_keys(delta, keys), keys,
												keys->level + 2)));
	current->hasSubLinks = true;
}

/* SELECT <columns of D(R)> WHERE weight < 0 [AND <keys> IN ...] */
static Query *
build_went(MvrDelta *delta, MvrKeys *keys, int level)
{
	Var		   *weight;
	Query	   *went = build_changes(delta, &weight);

	went->jointree->quals = mvr_item_make_sign(MVR_INT4_LT, weight);
	if (keys && keys->rows && keys->attnos)
	{
		went->jointree->quals =
			mvr_tree_and(list_make2(went->jointree->quals,
									make_key_filter(1, list_delta_keys(delta, keys), keys,
													level)));
		went->hasSubLinks = true;
	}
	return went;
}

/*
 * old(R) for a linear item: <columns>, weight.  Current rows, and the delta
 * undone.  The second arm has a condition that is always true: with one, the
 * planner leaves it a subquery, and so can search an index for the first.
 */
Query *
mvr_item_build_old_weighted(RangeTblEntry *rte, MvrDelta *delta, Query *home, MvrKeys *keys)
{
	Var		   *weight;
	Query	   *current = build_current(rte, delta, home);
	Query	   *undone = build_changes(delta, &weight);
	Expr	   *one = mvr_tree_make_int4(1);

	if (keys)
	{
		current->jointree->quals =
			delta->stage ? copyObject((Node *) delta->stage->having) : NULL;
		add_key_filter(current, delta, keys);
	}
	else if (delta->stage && delta->stage->having)
	{
		CaseExpr   *visible = (CaseExpr *)
			mvr_tree_make_case((Expr *) copyObject(delta->stage->having), one);

		visible->defresult = mvr_tree_make_int4(0);
		one = (Expr *) visible;
	}
	mvr_tree_append_target(current, one, "weight");
	undone->jointree->quals = mvr_item_make_sign(MVR_INT4_NE, weight);
	mvr_tree_append_target(undone, mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(weight)),
						   "weight");
	return mvr_tree_make_union_all(list_make2(current, undone));
}

/* The rows of old(R) that are not there any more: <columns> */
Query *
mvr_item_build_went(MvrDelta *delta)
{
	return build_went(delta, NULL, 0);
}

/* The rows of old(R) that still are: <columns> */
Query *
mvr_item_build_kept(RangeTblEntry *rte, MvrDelta *delta, Query *home)
{
	Query	   *kept = build_current(rte, delta, home);
	Node	   *having = delta->stage ? copyObject((Node *) delta->stage->having) : NULL;

	kept->jointree->quals =
		mvr_tree_and(list_make2(having, make_not_appeared(1, delta, TableOidAttributeNumber,
														  SelfItemPointerAttributeNumber)));
	kept->hasSubLinks = true;
	return kept;
}

/*
 * The rows of old(R) that have the keys, in a dependent part: <columns>
 */
Query *
mvr_item_build_old_keyed(RangeTblEntry *rte, MvrDelta *delta, Query *home, MvrKeys *keys)
{
	Query	   *current = mvr_item_build_kept(rte, delta, home);

	add_key_filter(current, delta, keys);
	return mvr_tree_make_union_all(list_make2(current,
											  build_went(delta, keys, keys->level + 2)));
}

/* Conditions on the item at rti as those on the delta, the first item of a query */
static Node *
map_to_delta(List *quals, int rti, MvrDelta *delta)
{
	AttrMap    *map = make_attrmap(delta->natts);
	bool		has_whole_row;
	Node	   *mapped;

	memcpy(map->attnums, delta->attmap, sizeof(AttrNumber) * delta->natts);
	mapped = map_variable_attnos((Node *) quals, rti, 0, map, InvalidOid, &has_whole_row);
	ChangeVarNodes(mapped, rti, 1, 0);
	return mvr_tree_and((List *) mapped);
}

/*
 * The rows that went, for a query that is computed row by row.  Each time it
 * would read all of the delta, so what it can find there is put into a CTE.
 */
static Query *
build_went_for_each(MvrDelta *delta, MvrKeys *keys, int rti, List *quals)
{
	CommonTableExpr *cte;
	Query	   *went;

	if (keys == NULL || keys->rows == NULL)
		return build_went(delta, NULL, 0);
	/* one level: from the CTE's query to its neighbour */
	went = build_went(delta, keys, 1);
	went->jointree->quals = mvr_tree_and(list_make2(went->jointree->quals,
													map_to_delta(quals, rti, delta)));
	cte = mvr_tree_make_cte(psprintf("went_%d", list_length(keys->rows->ctes)), went);
	keys->rows->ctes = lappend(keys->rows->ctes, cte);
	went = mvr_tree_make_select();
	mvr_tree_append_from(went, mvr_tree_make_cte_rte(cte, keys->level + 2));
	foreach_ptr(TargetEntry, tle, ((Query *) cte->ctequery)->targetList)
		mvr_tree_append_target(went, (Expr *) makeVarFromTargetEntry(1, tle), tle->resname);
	/*
	 * OFFSET 0, so that the planner scans it as a subquery: an arm of a UNION ALL
	 * that is the scan of a CTE it cannot look up by a value of another item, nor
	 * the other arms then (reparameterize_path in pathnode.c).
	 */
	went->limitOffset = (Node *) mvr_tree_make_int8(0);
	return went;
}

/*
 * old(R) in a dependent part: <columns>, went, and if there is no key also <where
 * the row stands>, <is it shown>, <in which table>.  Rows of new(R) that appeared
 * are in it; they go by the condition that mvr_item_build_old_qual builds.  With
 * keys, those of a term's rows, rows that went and do not have them are not in
 * it, nor are those for which one of the quals, conditions on the item at rti
 * alone, is not true.
 */
Query *
mvr_item_build_old_table(RangeTblEntry *rte, MvrDelta *delta, Query *home, MvrKeys *keys,
						 int rti, List *quals)
{
	Query	   *current = build_current(rte, delta, home);
	Query	   *went = build_went_for_each(delta, keys, rti, quals);

	mvr_tree_append_target(current, make_bool(false), "went");
	mvr_tree_append_target(went, make_bool(true), "went");
	if (delta->identity == NULL)
	{
		mvr_tree_append_target(current, (Expr *)
							   makeVar(1, SelfItemPointerAttributeNumber, TIDOID, -1,
									   InvalidOid, 0), "place");
		mvr_tree_append_target(current, delta->stage && delta->stage->having ?
							   copyObject(delta->stage->having) : make_bool(true), "shown");
		mvr_tree_append_target(current, (Expr *)
							   makeVar(1, TableOidAttributeNumber, OIDOID, -1, InvalidOid, 0),
							   "of");
		mvr_tree_append_target(went, (Expr *) makeNullConst(TIDOID, -1, InvalidOid), "place");
		mvr_tree_append_target(went, make_bool(true), "shown");
		mvr_tree_append_target(went, (Expr *) makeNullConst(OIDOID, -1, InvalidOid), "of");
	}
	return mvr_tree_make_union_all(list_make2(current, went));
}

/* The condition that makes mvr_item_build_old_table's rows those of old(R) */
Node *
mvr_item_build_old_qual(int rti, MvrDelta *delta)
{
	AttrNumber	natts = delta->natts;
	Var		   *went = makeVar(rti, natts + 1, BOOLOID, -1, InvalidOid, 0);
	Expr	   *stays = make_not_appeared(rti, delta, natts + 4, natts + 2);

	if (delta->stage && delta->stage->having)
		stays = make_andclause(list_make2(makeVar(rti, natts + 3, BOOLOID, -1, InvalidOid, 0),
										  stays));
	return (Node *) make_orclause(list_make2(went, stays));
}

/* Is this column one that the item has a plain column for? */
bool
mvr_item_is_plain(MvrDelta *delta, AttrNumber attno)
{
	return attno > 0 && attno <= delta->natts && delta->attmap[attno - 1] > 0 &&
		(delta->stage == NULL ||
		 IsA(((TargetEntry *) list_nth(delta->stage->outputs, attno - 1))->expr, Var));
}

