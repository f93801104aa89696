/*
 * delta_query.c
 *		Stage and changes -> Query trees.
 *
 * Every operator's delta rule is written here and nowhere else.  For a
 * relation R, new(R) is what it holds now, D(R) its delta and
 *	old(R) = new(R) + -D(R)
 * a UNION ALL of rows with weights.  A linear query is
 *
 *	SELECT t(f) FROM f1 x ... x fn WHERE w(f)
 *
 * over rows f of its linear items, where t and w may call on dependent parts
 * (see normalize.c): the right side of a LEFT JOIN, a LATERAL subquery, a
 * subquery in an expression.  These are functions of f, computed from tables of
 * their own.  Number all places at which a changed relation is read: those in
 * dependent parts first, then those that are linear items.  The delta is a sum
 * of one term for each place i, in which every place before i reads new(R) and
 * every place behind it old(R), and place i reads
 *
 *	a linear item	D(R); the row's weight counts
 *	a dependent part	new(R) once, with weight +1, and old(R) once, with
 *					weight -1, for those f that D(R) touches
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

#include "access/sysattr.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* What the queries of a stage are built from */
typedef struct Context
{
	List	   *inner;			/* of MvrStage: what "stage 1" ... stand for */
	List	   *deltas;			/* of MvrDelta */
} Context;

static Query *build_delta(Query *query, Context *context);

static Var *
make_weight_var(int rti, AttrNumber attno)
{
	return makeVar(rti, attno, INT4OID, -1, InvalidOid, 0);
}

static Expr *
make_bool(bool value)
{
	return (Expr *) makeBoolConst(value, false);
}

/*
 * Rows of an item that can matter: those whose columns have values that occur
 * in a delta.  Both lists have attribute numbers, of the item and of the
 * delta's ephemeral relation.
 */
typedef struct Keys
{
	MvrDelta   *delta;
	List	   *attnos;
	List	   *columns;
} Keys;

/* ----------
 * What has changed
 * ----------
 */

/* The stage that a range table entry reads, or NULL */
static MvrStage *
lookup_stage(Context *context, RangeTblEntry *rte)
{
	int			number;

	if (rte->rtekind != RTE_NAMEDTUPLESTORE ||
		sscanf(rte->enrname, "stage %d", &number) != 1)
		return NULL;
	return list_nth(context->inner, number - 1);
}

static MvrDelta *
lookup_delta(Context *context, RangeTblEntry *rte)
{
	MvrStage   *stage = lookup_stage(context, rte);

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
changed_walker(Node *node, Context *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
		return lookup_delta(context, (RangeTblEntry *) node) != NULL;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, changed_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, changed_walker, context);
}

static bool
has_changed(Query *query, Context *context)
{
	return changed_walker((Node *) query, context);
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
static RangeTblEntry *
build_stage_rte(MvrStage *stage)
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
	*weight = make_weight_var(1, last);
	return query;
}

static Node *
make_comparison(Oid func, Var *weight)
{
	return (Node *) mvr_tree_make_call(func, BOOLOID,
									   list_make2(copyObject(weight), mvr_tree_make_int4(0)));
}

/* D(R): <columns>, weight */
static Query *
build_delta_relation(MvrDelta *delta)
{
	Var		   *weight;
	Query	   *query = build_changes(delta, &weight);

	mvr_tree_append_target(query, (Expr *) weight, "weight");
	return query;
}

/* expr = PARAM, and the subquery's column that it stands for */
static Expr *
make_in_test(Query *query, int paramid, Form_pg_attribute att, int rti, AttrNumber attno,
			 AttrNumber column)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_SUBLINK;
	param->paramid = paramid;
	param->paramtype = att->atttypid;
	param->paramtypmod = att->atttypmod;
	param->paramcollid = att->attcollation;
	param->location = -1;
	mvr_tree_append_target(query, (Expr *) makeVar(1, column, att->atttypid, att->atttypmod,
												   att->attcollation, 0), "key");
	return mvr_tree_make_equals(lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR)->eq_opr,
								(Expr *) makeVar(rti, attno, att->atttypid, att->atttypmod,
												 att->attcollation, 0),
								(Expr *) param, att->attcollation);
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

/* <columns of the item at rti> IN (SELECT <columns> FROM delta) */
static Node *
make_key_filter(int rti, Keys *keys)
{
	Query	   *query = mvr_tree_make_select();
	List	   *tests = NIL;
	ListCell   *lc;
	int			n = 0;

	mvr_tree_append_from(query, mvr_tree_make_enr_rte(keys->delta->name, keys->delta->desc,
													  keys->delta->nrows));
	foreach(lc, keys->attnos)
	{
		AttrNumber	column = list_nth_int(keys->columns, n++);

		tests = lappend(tests, make_in_test(query, n,
											TupleDescAttr(keys->delta->desc, column - 1),
											rti, lfirst_int(lc), column));
	}
	return (Node *) make_in(query, tests);
}

/*
 * <key of the item at rti> NOT IN (SELECT <key> FROM D(R) WHERE weight > 0)
 * or, without a key,
 * <place> NOT IN (SELECT place FROM ...)
 */
static Expr *
make_not_appeared(int rti, MvrDelta *delta, AttrNumber place)
{
	Query	   *query = mvr_tree_make_select();
	List	   *tests = NIL;
	int			attno = -1;

	if (delta->places)
		mvr_tree_append_from(query, mvr_tree_make_enr_rte(delta->places_name,
														  delta->places_desc,
														  delta->nplaces));
	else
	{
		mvr_tree_append_from(query, mvr_tree_make_enr_rte(delta->name, delta->desc,
														  delta->nrows));
		query->jointree->quals = make_comparison(F_INT4GT,
												 make_weight_var(1, delta->weight));
	}
	if (delta->places)
		tests = list_make1(make_in_test(query, 1, TupleDescAttr(delta->places_desc, 0), rti,
										place, 1));
	else if (delta->stage)
		tests = list_make1(make_in_test(query, 1, TupleDescAttr(delta->desc,
																delta->place - 1),
										rti, place, delta->place));
	while ((attno = bms_next_member(delta->identity, attno)) >= 0)
	{
		AttrNumber	column = delta->attmap[attno - 1];

		tests = lappend(tests, make_in_test(query, list_length(tests) + 1,
											TupleDescAttr(delta->desc, column - 1), rti,
											attno, column));
	}
	return make_notclause(make_in(query, tests));
}

/* Columns of a stage's output stand for expressions over its state */
static Keys *
map_keys(MvrDelta *delta, Keys *keys)
{
	Keys	   *mapped = palloc(sizeof(Keys));
	ListCell   *lc;

	if (delta->stage == NULL)
		return keys;
	*mapped = *keys;
	mapped->attnos = NIL;
	foreach(lc, keys->attnos)
		mapped->attnos = lappend_int(mapped->attnos,
									 castNode(Var, ((TargetEntry *)
													list_nth(delta->stage->outputs,
															 lfirst_int(lc) - 1))->expr)->varattno);
	return mapped;
}

/* Let a query of build_current() have the rows of some keys only */
static void
set_key_filter(Query *current, MvrDelta *delta, Keys *keys)
{
	Node	   *having = delta->stage ? copyObject((Node *) delta->stage->having) : NULL;

	current->jointree->quals = mvr_tree_and(list_make2(having,
													   make_key_filter(1, map_keys(delta, keys))));
	current->hasSubLinks = true;
}

/*
 * old(R) for a linear item: <columns>, weight.  Current rows, and the delta
 * undone.  The second arm has a condition that is always true: with one, the
 * planner leaves it a subquery, and so can search an index for the first.
 */
static Query *
build_old_weighted(RangeTblEntry *rte, MvrDelta *delta, Query *home, Keys *keys)
{
	Var		   *weight;
	Query	   *current = build_current(rte, delta, home);
	Query	   *undone = build_changes(delta, &weight);
	Expr	   *one = mvr_tree_make_int4(1);

	if (keys)
		set_key_filter(current, delta, keys);
	else if (delta->stage && delta->stage->having)
	{
		CaseExpr   *visible = (CaseExpr *)
			mvr_tree_make_case((Expr *) copyObject(delta->stage->having), one);

		visible->defresult = mvr_tree_make_int4(0);
		one = (Expr *) visible;
	}
	mvr_tree_append_target(current, one, "weight");
	undone->jointree->quals = make_comparison(F_INT4NE, weight);
	mvr_tree_append_target(undone, mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(weight)),
						   "weight");
	return mvr_tree_make_union_all(list_make2(current, undone));
}

/*
 * The rows of old(R) that have the keys, in a dependent part: <columns>
 */
static Query *
build_old_keyed(RangeTblEntry *rte, MvrDelta *delta, Query *home, Keys *keys)
{
	Var		   *weight;
	Query	   *current = build_current(rte, delta, home);
	Query	   *went = build_changes(delta, &weight);

	set_key_filter(current, delta, keys);
	current->jointree->quals =
		mvr_tree_and(list_make2(current->jointree->quals,
								make_not_appeared(1, delta, SelfItemPointerAttributeNumber)));
	went->jointree->quals = make_comparison(F_INT4LT, weight);
	return mvr_tree_make_union_all(list_make2(current, went));
}

/*
 * old(R) in a dependent part: <columns>, went, and if there is no key also <where
 * the row stands>, <is it shown>.  Rows of new(R) that appeared are in it; they go
 * by the condition that make_old_qual builds.
 */
static Query *
build_old_table(RangeTblEntry *rte, MvrDelta *delta, Query *home)
{
	Var		   *weight;
	Query	   *current = build_current(rte, delta, home);
	Query	   *went = build_changes(delta, &weight);

	mvr_tree_append_target(current, make_bool(false), "went");
	mvr_tree_append_target(went, make_bool(true), "went");
	if (delta->identity == NULL)
	{
		mvr_tree_append_target(current, (Expr *)
							   makeVar(1, SelfItemPointerAttributeNumber, TIDOID, -1,
									   InvalidOid, 0), "place");
		mvr_tree_append_target(current, delta->stage && delta->stage->having ?
							   copyObject(delta->stage->having) : make_bool(true), "shown");
		mvr_tree_append_target(went, (Expr *) makeNullConst(TIDOID, -1, InvalidOid), "place");
		mvr_tree_append_target(went, make_bool(true), "shown");
	}
	went->jointree->quals = make_comparison(F_INT4LT, weight);
	return mvr_tree_make_union_all(list_make2(current, went));
}

/* The condition that makes build_old_table's rows those of old(R) */
static Node *
make_old_qual(int rti, MvrDelta *delta)
{
	AttrNumber	natts = delta->natts;
	Var		   *went = makeVar(rti, natts + 1, BOOLOID, -1, InvalidOid, 0);
	Expr	   *stays = make_not_appeared(rti, delta, natts + 2);

	if (delta->stage && delta->stage->having)
		stays = make_andclause(list_make2(makeVar(rti, natts + 3, BOOLOID, -1, InvalidOid, 0),
										  stays));
	return (Node *) make_orclause(list_make2(went, stays));
}

/* ----------
 * Places: where changed relations are read
 *
 * They are marked by an alias, which copies of the tree keep.
 * ----------
 */

typedef struct Place
{
	char	   *mark;
	bool		is_linear;
	RangeTblEntry *rte;			/* what it reads, in the query that was marked */
	int			rti;			/* of a linear item */
} Place;

typedef struct Places
{
	Context    *context;
	List	   *dependent;		/* of Place */
	List	   *linear;
} Places;

static void mark_query(Query *query, bool is_linear, Places *places);

static void
mark_place(RangeTblEntry *rte, int rti, bool is_linear, Places *places)
{
	Place	   *place = palloc(sizeof(Place));

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

static bool
is_marked(RangeTblEntry *rte, const char *mark)
{
	return rte->alias && strcmp(rte->alias->aliasname, mark) == 0;
}

static bool
mark_sublinks(Node *node, Places *places)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		mark_query(castNode(Query, ((SubLink *) node)->subselect), false, places);
		return mark_sublinks(((SubLink *) node)->testexpr, places);
	}
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, mark_sublinks, places);
}

static void
mark_item(Query *query, int rti, bool is_linear, Places *places)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);

	if (lookup_delta(places->context, rte))
		mark_place(rte, rti, is_linear, places);
	else if (rte->rtekind == RTE_SUBQUERY && is_linear && !rte->lateral)
	{
		if (has_changed(rte->subquery, places->context))
			mark_place(rte, rti, true, places);
	}
	else if (rte->rtekind == RTE_SUBQUERY)
		mark_query(rte->subquery, false, places);
	else
	{
		mark_sublinks((Node *) rte->functions, places);
		mark_sublinks((Node *) rte->values_lists, places);
		mark_sublinks((Node *) rte->tablefunc, places);
	}
}

/* Mark the places of a query level and of those below */
static void
mark_query(Query *query, bool is_linear, Places *places)
{
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);
	Bitmapset  *linear = is_linear ? mvr_normalize_list_linear(query) : NULL;
	int			rti = -1;

	mark_sublinks(query->limitCount, places);
	mark_sublinks(query->limitOffset, places);
	mark_sublinks((Node *) query->windowClause, places);
	if (query->setOperations)
	{
		foreach_ptr(RangeTblEntry, arm, query->rtable)
			if (arm->rtekind == RTE_SUBQUERY)
				mark_query(arm->subquery, false, places);
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
			if (is_marked(rt_fetch(rti, context->level->rtable), context->mark))
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

static bool
has_mark(Node *node, const char *mark)
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

static void
replace_rte(Query *owner, int rti, Query *by)
{
	lfirst(list_nth_cell(owner->rtable, rti - 1)) = mvr_tree_make_subquery_rte(by, "item");
}

static void
get_place(Query *query, Place *place, Query **owner, int *rti)
{
	FindContext context = {place->mark, NULL, NULL, 0};

	if (!find_walker((Node *) query, &context))
		elog(ERROR, "%s not found", place->mark);
	*owner = context.owner;
	*rti = context.rti;
}

/* old(Q) for a linear item that is a subquery: its columns, weight */
static Query *
build_old_subquery(Query *subquery, Context *context)
{
	Query	   *current = mvr_tree_make_outer(copyObject(subquery), "current");
	Query	   *delta = mvr_tree_make_outer(build_delta(subquery, context), "delta");
	TargetEntry *last = llast(delta->targetList);

	mvr_tree_append_target(current, mvr_tree_make_int4(1), "weight");
	last->expr = mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(last->expr));
	return mvr_tree_make_union_all(list_make2(current, delta));
}

/* Let a place read what was there; only what has the keys, if there are some */
static void
set_old(Query *query, Place *place, Keys *keys, Context *context)
{
	Query	   *owner;
	int			rti;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, &rti);
	rte = rt_fetch(rti, owner->rtable);
	rte->alias = NULL;
	delta = lookup_delta(context, rte);
	if (delta == NULL)
		replace_rte(owner, rti, build_old_subquery(rte->subquery, context));
	else if (place->is_linear)
	{
		replace_rte(owner, rti, build_old_weighted(rte, delta, owner, keys));
		if (keys == NULL && delta->stage && delta->stage->having)
			add_item_qual(owner, rti, make_comparison(F_INT4NE,
													  make_weight_var(rti, delta->natts + 1)));
	}
	else if (keys)
		replace_rte(owner, rti, build_old_keyed(rte, delta, owner, keys));
	else
	{
		replace_rte(owner, rti, build_old_table(rte, delta, owner));
		add_item_qual(owner, rti, make_old_qual(rti, delta));
	}
}

/* Let a linear place read the delta */
static void
set_delta(Query *query, Place *place, Context *context)
{
	Query	   *owner;
	int			rti;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, &rti);
	rte = rt_fetch(rti, owner->rtable);
	rte->alias = NULL;
	delta = lookup_delta(context, rte);
	replace_rte(owner, rti, delta ? build_delta_relation(delta) :
				build_delta(rte->subquery, context));
}

/* The column behind an item's own */
static AttrNumber
get_weight_attno(Query *query, Place *place, Context *context, int *rti)
{
	Query	   *owner;
	RangeTblEntry *rte;
	MvrDelta   *delta;

	get_place(query, place, &owner, rti);
	rte = rt_fetch(*rti, owner->rtable);
	delta = lookup_delta(context, rte);
	return delta ? delta->natts + 1 : list_length(rte->subquery->targetList) + 1;
}

static bool
resolve_walker(Node *node, Context *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		MvrStage   *stage = lookup_stage(context, rte);

		rte->alias = NULL;
		if (stage)
			memcpy(rte, build_stage_rte(stage), sizeof(RangeTblEntry));
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, resolve_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, resolve_walker, context);
}

/* Let every place that is left read what is there now; modifies the query */
static Query *
resolve(Query *query, Context *context)
{
	resolve_walker((Node *) query, context);
	return query;
}

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

typedef struct Focus
{
	Context    *context;
	Query	   *term;			/* whose rows are touched */
	Place	   *place;
	bool		failed;			/* not understood: everything is touched */
	Bitmapset  *removed;		/* joins of this level that are none any more */
	Query	   *level;			/* where the place was found, as rti */
	int			rti;
	List	   *links;			/* of Link, see find_links */
} Focus;

/* A column of the place that must be equal to an expression of the term's row */
typedef struct Link
{
	Node	   *outside;
	AttrNumber	attno;
} Link;

static bool focus_query(Query *query, Focus *focus);

static bool
is_under(Query *query, Node *node, const char *mark)
{
	Bitmapset  *rtis = mvr_tree_list_rtis(node);
	int			rti = -1;

	while ((rti = bms_next_member(rtis, rti)) >= 0)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (is_marked(rte, mark) ||
			(rte->rtekind == RTE_SUBQUERY && has_mark((Node *) rte->subquery, mark)))
			return true;
	}
	return false;
}

/* The conditions that can be asked of changed rows */
static Node *
keep_quals(Node *quals, Bitmapset *own, Bitmapset *usable, Focus *focus)
{
	List	   *kept = NIL;
	Bitmapset  *unusable = bms_difference(own, usable);

	foreach_ptr(Node, qual, make_ands_implicit((Expr *) quals))
		if (!bms_overlap(mvr_tree_pull_rtis(qual), unusable) &&
			!has_mark(qual, focus->place->mark))
			kept = lappend(kept, qual);
	return mvr_tree_and(kept);
}

static Node *
focus_item(Query *query, RangeTblRef *ref, Focus *focus, Bitmapset **usable)
{
	RangeTblEntry *rte = rt_fetch(ref->rtindex, query->rtable);

	if (is_marked(rte, focus->place->mark))
	{
		focus->level = query;
		focus->rti = ref->rtindex;
		replace_rte(query, ref->rtindex,
					build_delta_relation(lookup_delta(focus->context, rte)));
		*usable = bms_make_singleton(ref->rtindex);
	}
	else
	{
		Bitmapset  *removed = focus->removed;

		focus->removed = NULL;
		*usable = focus_query(rte->subquery, focus) ?
			bms_make_singleton(ref->rtindex) : NULL;
		focus->removed = removed;
	}
	return (Node *) ref;
}

static bool
is_lateral_item(Query *query, Node *item)
{
	Bitmapset  *rtis = mvr_tree_list_rtis(item);
	int			rti = -1;

	while ((rti = bms_next_member(rtis, rti)) >= 0)
		if (rt_fetch(rti, query->rtable)->lateral)
			return true;
	return false;
}

static Node *
focus_join(Query *query, Node *node, Focus *focus, Bitmapset **usable)
{
	const char *mark = focus->place->mark;

	if (IsA(node, RangeTblRef))
		return focus_item(query, (RangeTblRef *) node, focus, usable);
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;
		Node	   *center = NULL;
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
		items = list_make1(focus_join(query, center, focus, usable));
		is_whole = is_whole && *usable != NULL;
		foreach_ptr(Node, item, from->fromlist)
		{
			/* what is computed from columns that are not usable is not either */
			if (item == center || (!is_whole && is_lateral_item(query, item)))
				continue;
			items = lappend(items, item);
			*usable = bms_add_members(*usable, mvr_tree_list_rtis(item));
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
		has_mark(((SubLink *) node)->subselect, context->mark))
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

/* PARAM_SUBLINK -> the column of the subquery */
static Node *
link_column_mutator(Node *node, List *targets)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return copyObject((Node *) ((TargetEntry *)
									list_nth(targets, ((Param *) node)->paramid - 1))->expr);
	return expression_tree_mutator(node, link_column_mutator, targets);
}

/* Is an expression a column that cannot be NULL? */
static bool
is_never_null(Query *query, Node *node)
{
	Var		   *var = (Var *) node;
	RangeTblEntry *rte;
	HeapTuple	tuple;
	bool		result;

	while (IsA(var, RelabelType))
		var = (Var *) ((RelabelType *) var)->arg;
	if (!IsA(var, Var) || var->varlevelsup != 0 ||
		!bms_is_member(var->varno, mvr_normalize_list_linear(query)))
		return false;
	rte = rt_fetch(var->varno, query->rtable);
	if (rte->rtekind != RTE_RELATION)
		return false;
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(rte->relid),
							Int16GetDatum(var->varattno));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);
	return result;
}

/* Can the comparison of an IN be neither true nor false? */
static bool
can_be_null(Query *query, Query *sub, Node *testexpr)
{
	foreach_ptr(Node, test, make_ands_implicit((Expr *) testexpr))
	{
		OpExpr	   *op = (OpExpr *) test;
		Node	   *right;

		if (!IsA(test, OpExpr) || list_length(op->args) != 2 ||
			!op_strict(op->opno) || !is_never_null(query, linitial(op->args)))
			return true;
		right = link_column_mutator(lsecond(op->args), sub->targetList);
		if (!is_never_null(sub, right))
			return true;
	}
	return false;
}

/* An expression without changes of its type that leave "=" what it is */
static Node *
strip_relabel(Node *node)
{
	while (IsA(node, RelabelType))
	{
		Node	   *arg = (Node *) ((RelabelType *) node)->arg;

		/* two values of text may be one of char(n) */
		if (lookup_type_cache(exprType(arg), TYPECACHE_EQ_OPR)->eq_opr !=
			lookup_type_cache(exprType(node), TYPECACHE_EQ_OPR)->eq_opr)
			break;
		node = arg;
	}
	return node;
}

/* The column of the item at rti, and of no other level, that an operand is; or 0 */
static AttrNumber
get_item_column(Node *node, int rti)
{
	node = strip_relabel(node);
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && ((Var *) node)->varno == rti &&
		((Var *) node)->varattno > 0)
		return ((Var *) node)->varattno;
	return 0;
}

/* Is this column one that the item has a plain column for? */
static bool
is_plain_column(MvrDelta *delta, AttrNumber attno)
{
	return attno > 0 && attno <= delta->natts && delta->attmap[attno - 1] > 0 &&
		(delta->stage == NULL ||
		 IsA(((TargetEntry *) list_nth(delta->stage->outputs, attno - 1))->expr, Var));
}

/* a = b for one type and collation, by the "=" of the type's operator class */
static bool
is_equality(Node *qual)
{
	OpExpr	   *op = (OpExpr *) qual;
	Oid			type;

	if (!IsA(qual, OpExpr) || list_length(op->args) != 2)
		return false;
	type = exprType(linitial(op->args));
	return type == exprType(lsecond(op->args)) &&
		exprCollation(linitial(op->args)) == exprCollation(lsecond(op->args)) &&
		(op->inputcollid == exprCollation(linitial(op->args))) &&
		op->opno == lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
}

/* The columns of the place that must be equal to something of the row outside */
static void
find_links(Node *node, Focus *focus)
{
	MvrDelta   *delta = lookup_delta(focus->context, focus->place->rte);

	if (!IsA(node, FromExpr))
		return;
	foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
		find_links(item, focus);
	foreach_ptr(Node, qual, make_ands_implicit((Expr *) ((FromExpr *) node)->quals))
	{
		List	   *args = is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

		for (int side = 0; args && side < 2; side++)
		{
			AttrNumber	attno = get_item_column(list_nth(args, side), focus->rti);
			Node	   *other = list_nth(args, 1 - side);
			Link	   *link;

			if (!is_plain_column(delta, attno) || mvr_tree_pull_rtis(other) != NULL ||
				!contain_vars_of_level(other, 1))
				continue;
			link = palloc(sizeof(Link));
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
build_touched_link(Query *query, SubLink *link, bool is_filter, Focus *focus)
{
	Query	   *original = castNode(Query, link->subselect);
	Query	   *sub = copyObject(original);
	Bitmapset  *removed = focus->removed;
	bool		usable;

	focus->removed = NULL;
	usable = focus_query(sub, focus);
	focus->removed = removed;
	if (link->subLinkType == ANY_SUBLINK && usable && !sub->setOperations)
	{
		Node	   *test = copyObject(link->testexpr);
		bool		has_nulls = !is_filter && can_be_null(query, original, test);

		IncrementVarSublevelsUp(test, 1, 0);
		test = link_column_mutator(test, sub->targetList);
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
focus_where(Query *query, FromExpr *from, Focus *focus)
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
focus_arm(Query *query, Focus *focus)
{
	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);
		RangeTblRef *ref;

		if (rte->rtekind != RTE_SUBQUERY || !has_mark((Node *) rte->subquery, focus->place->mark))
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

/*
 * Focus a copy of a dependent part.  Returns whether its columns are usable.
 */
static bool
focus_query(Query *query, Focus *focus)
{
	bool		usable = !mvr_layers_is_grouped(query) &&
		!mvr_normalize_is_keyed(query) && !query->hasTargetSRFs;
	Bitmapset  *own = mvr_tree_list_rtis((Node *) query->jointree);
	Bitmapset  *columns = NULL;

	query->groupClause = query->groupingSets = query->distinctClause =
		query->sortClause = query->windowClause = NIL;
	query->havingQual = query->limitCount = query->limitOffset = NULL;
	query->hasAggs = query->hasWindowFuncs = query->hasDistinctOn =
		query->hasTargetSRFs = false;
	if (query->setOperations)
		usable = focus_arm(query, focus) && usable;
	else if (is_under(query, (Node *) query->jointree, focus->place->mark))
	{
		query->jointree = castNode(FromExpr,
								   focus_join(query, (Node *) query->jointree, focus,
											  &columns));
		foreach_ptr(TargetEntry, tle, query->targetList)
			if (bms_overlap(mvr_tree_pull_rtis((Node *) tle->expr),
							bms_difference(own, columns)))
				usable = false;
		mvr_compat_remove_nulling((Node **) &query->jointree, focus->removed);
		mvr_compat_remove_nulling((Node **) &query->targetList, focus->removed);
	}
	else if (!focus_where(query, query->jointree, focus))
	{
		SubLink    *link = find_link((Node *) query->targetList, focus->place->mark);

		usable = false;
		if (link)
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
	mvr_tree_blank_unused(query);
	query->hasSubLinks = true;
	return usable;
}

/* What a place in the right side of a LEFT JOIN touches of the left side's rows */
static Node *
build_touched_join(Query *term, JoinExpr *join, Focus *focus)
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

static Node *
build_touched_item(Query *term, Node *node, Focus *focus)
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

		return is_under(term, join->larg, focus->place->mark) ?
			build_touched_item(term, join->larg, focus) :
			build_touched_join(term, join, focus);
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

/*
 * EXISTS (what a place in a dependent part takes part in) for the rows of a
 * term; NULL if all may be touched.
 */
static SubLink *
build_touched(Query *term, Focus *focus)
{
	const char *mark = focus->place->mark;
	Node	   *touched = NULL;
	SubLink    *link;

	if (is_under(term, (Node *) term->jointree, mark))
		touched = build_touched_item(term, (Node *) term->jointree, focus);
	else
	{
		foreach_ptr(Node, qual, make_ands_implicit((Expr *) term->jointree->quals))
		{
			link = find_link(qual, mark);
			if (link)
				touched = build_touched_link(term, link, (Node *) link == qual, focus);
		}
		link = find_link((Node *) term->targetList, mark);
		if (touched == NULL && link)
			touched = build_touched_link(term, link, false, focus);
	}
	return focus->failed ? NULL : (SubLink *) touched;
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
		List	   *args = is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

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

/* Restrict a term to the rows that a place in a dependent part touches */
static void
restrict_to_touched(Query *term, Place *place, Context *context)
{
	Focus		focus = {.context = context,.term = term,.place = place};
	SubLink    *touched = build_touched(term, &focus);

	term->hasSubLinks = true;
	if (touched && !join_touched_keys(term, touched))
		term->jointree->quals = mvr_tree_and(list_make2(term->jointree->quals, touched));
}

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
	expr = strip_relabel(expr);
	foreach_ptr(Known, known, knowns)
		if (equal(known->expr, expr))
			return known;
	return NULL;
}

static List *
add_known(List *knowns, Node *expr, AttrNumber column)
{
	Known	   *known = palloc(sizeof(Known));

	expr = strip_relabel(expr);
	known->expr = expr;
	known->column = column;
	return lappend(knowns, known);
}

/* What the place itself says: columns of its delta, or what they must equal */
static List *
list_known_at(Query *query, Place *place, MvrDelta *delta, Context *context)
{
	Focus		focus = {.context = context,.term = query,.place = place};
	List	   *knowns = NIL;

	if (!place->is_linear)
	{
		if (build_touched(query, &focus))
			foreach_ptr(Link, link, focus.links)
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
list_known(Query *query, Place *place, MvrDelta *delta, Context *context)
{
	List	   *knowns = list_known_at(query, place, delta, context);
	int			before;

	do
	{
		before = list_length(knowns);
		foreach_ptr(Node, qual, make_ands_implicit((Expr *) query->jointree->quals))
		{
			List	   *args = is_equality(qual) ? ((OpExpr *) qual)->args : NIL;

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
add_key(Keys **keys, MvrDelta *own, AttrNumber attno, MvrDelta *delta, AttrNumber column)
{
	if (TupleDescAttr(own->desc, own->attmap[attno - 1] - 1)->atttypid !=
		TupleDescAttr(delta->desc, column - 1)->atttypid)
		return;
	if (*keys == NULL)
	{
		*keys = palloc0(sizeof(Keys));
		(*keys)->delta = delta;
	}
	if (list_member_int((*keys)->attnos, attno))
		return;
	(*keys)->attnos = lappend_int((*keys)->attnos, attno);
	(*keys)->columns = lappend_int((*keys)->columns, column);
}

/* Which rows of an item can matter, given what is known?  NULL: any */
static Keys *
find_keys(Query *query, Place *item, List *knowns, MvrDelta *delta, Context *context)
{
	Focus		focus = {.context = context,.term = query,.place = item};
	MvrDelta   *own = lookup_delta(context, item->rte);
	Keys	   *keys = NULL;

	if (own == NULL || knowns == NIL)
		return NULL;
	if (!item->is_linear)
	{
		if (build_touched(query, &focus))
			foreach_ptr(Link, link, focus.links)
			{
				Known	   *known = lookup_known(knowns, link->outside);

				if (known)
					add_key(&keys, own, link->attno, delta, known->column);
			}
		return keys;
	}
	foreach_ptr(Known, known, knowns)
	{
		AttrNumber	attno = get_item_column(known->expr, item->rti);

		if (is_plain_column(own, attno))
			add_key(&keys, own, attno, delta, known->column);
	}
	return keys;
}

/* ----------
 * Delta of a linear query: its columns, then the weight
 * ----------
 */

/* The product of the weights of the places from "first" on, and a sign */
static Expr *
build_weight(Query *query, List *places, int first, int sign, Context *context)
{
	Expr	   *weight = NULL;

	for (int i = first; i < list_length(places); i++)
	{
		Place	   *place = list_nth(places, i);
		AttrNumber	attno;
		Expr	   *factor;
		int			rti;

		if (!place->is_linear)
			continue;
		attno = get_weight_attno(query, place, context, &rti);
		factor = (Expr *) make_weight_var(rti, attno);
		weight = weight == NULL ? factor :
			mvr_tree_make_call(F_INT4MUL, INT4OID, list_make2(weight, factor));
	}
	if (weight == NULL)
		return mvr_tree_make_int4(sign);
	return sign > 0 ? weight :
		mvr_tree_make_call(F_INT4UM, INT4OID, list_make1(weight));
}

/* The terms for one place: one, or two of opposite sign */
static List *
build_terms(Query *query, List *places, int which, Context *context)
{
	Place	   *place = list_nth(places, which);
	MvrDelta   *delta = lookup_delta(context, place->rte);
	List	   *knowns = delta ? list_known(query, place, delta, context) : NIL;
	Query	   *term = copyObject(query);
	Query	   *before;

	for (int i = which + 1; i < list_length(places); i++)
	{
		Place	   *other = list_nth(places, i);

		set_old(term, other, find_keys(query, other, knowns, delta, context), context);
	}
	if (place->is_linear)
	{
		set_delta(term, place, context);
		mvr_tree_append_target(term, build_weight(query, places, which, 1, context),
							   "weight");
		return list_make1(resolve(term, context));
	}
	restrict_to_touched(term, place, context);
	before = copyObject(term);
	set_old(before, place, find_keys(query, place, knowns, delta, context), context);
	mvr_tree_append_target(term, build_weight(query, places, which, 1, context), "weight");
	mvr_tree_append_target(before, build_weight(query, places, which, -1, context), "weight");
	return list_make2(resolve(term, context), resolve(before, context));
}

/* One empty arm, for a query in which nothing has changed */
static Query *
build_nothing(Query *query, Context *context)
{
	Query	   *nothing = copyObject(query);

	if (query->setOperations)
		return build_nothing(((RangeTblEntry *) linitial(query->rtable))->subquery, context);
	nothing->jointree->quals = makeBoolConst(false, false);
	mvr_tree_append_target(nothing, mvr_tree_make_int4(1), "weight");
	return resolve(nothing, context);
}

static Query *
build_delta(Query *query, Context *context)
{
	List	   *arms = NIL;

	if (query->setOperations)
	{
		foreach_ptr(RangeTblEntry, rte, query->rtable)
			if (rte->rtekind == RTE_SUBQUERY && has_changed(rte->subquery, context))
				arms = lappend(arms, build_delta(rte->subquery, context));
	}
	else
	{
		Query	   *marked = copyObject(query);
		Places		places = {context, NIL, NIL};
		List	   *all;

		mark_query(marked, true, &places);
		all = list_concat(places.dependent, places.linear);
		for (int i = 0; i < list_length(all); i++)
			arms = list_concat(arms, build_terms(marked, all, i, context));
	}
	return arms == NIL ? build_nothing(query, context) : mvr_tree_make_union_all(arms);
}

/* Does a stage read anything that has changed? */
bool
mvr_delta_query_has_changed(const MvrStage *stage, List *deltas)
{
	Context		context = {stage->inner, deltas};

	return has_changed(stage->input, &context);
}

/*
 * Delta of a view by rows:
 *	<columns of the view>, weight
 */
Query *
mvr_delta_query_build_rows(const MvrStage *stage, List *deltas)
{
	Context		context = {stage->inner, deltas};

	return build_delta(stage->input, &context);
}

/*
 * All rows of a view by rows, from base tables and the states of its stages if
 * there are such
 */
Query *
mvr_delta_query_build_all(const MvrStage *stage)
{
	Context		context = {stage->inner, NIL};

	if (stage->inner == NIL || !OidIsValid(((MvrStage *) linitial(stage->inner))->state))
		return copyObject(stage->query);
	return resolve(copyObject(stage->input), &context);
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

/* An aggregate over rows of one sign: came (F_INT4GT 0) or went (F_INT4LT 0) */
static Expr *
make_signed(Aggref *pattern, Var *weight, Oid compare)
{
	Aggref	   *agg = copyObject(pattern);
	Expr	   *sign = (Expr *) make_comparison(compare, weight);

	agg->aggfilter = agg->aggfilter == NULL ? sign :
		make_andclause(list_make2(agg->aggfilter, sign));
	return (Expr *) agg;
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

/* Subqueries of the input's level, which see changes that no row shows */
static bool
push_sublinks(Node *node, Query *inner)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, SubLink))
	{
		mvr_tree_append_target(inner, (Expr *) copyObject(node), "subquery");
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
 * without the aggregates if the state is not merged.  A net count of zero
 * does not mean "no change": an UPDATE can move sum(x) alone.
 * ----------
 */
Query *
mvr_delta_query_build_groups(const MvrStage *stage, List *deltas)
{
	Context		context = {stage->inner, deltas};
	Query	   *query = mvr_tree_make_select();
	Query	   *inner = build_key_input(stage);
	List	   *aggregates = NIL;
	Var		   *weight;
	int			nkeys = list_length(stage->keys);

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
	weight = make_weight_var(1, list_length(inner->targetList));
	mvr_tree_append_from(query, mvr_tree_make_subquery_rte(inner, "delta"));
	for (int i = 0; i < nkeys; i++)
		mvr_tree_append_target(query, (Expr *)
							   makeVarFromTargetEntry(1, list_nth(inner->targetList, i)),
							   "key");
	mvr_tree_append_target(query, (Expr *)
						   mvr_tree_make_aggregate(F_SUM_INT4, INT8OID,
												   (Expr *) copyObject(weight), NULL),
						   "count");
	foreach_ptr(Aggref, agg, aggregates)
	{
		mvr_tree_append_target(query, make_signed(agg, weight, F_INT4GT), "came");
		mvr_tree_append_target(query, make_signed(agg, weight, F_INT4LT), "went");
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
	Context		context = {stage->inner, NIL};
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
	return resolve(query, &context);
}
