/*
 * tree.c
 *		Small pieces of Query trees, as the parser would make them.
 *
 * Pure: no locks, no I/O; what is put into a tree is not copied first.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* ----------
 * Expressions
 * ----------
 */

Expr *
mvr_tree_make_int4(int32 value)
{
	return (Expr *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
							  Int32GetDatum(value), false, true);
}

/* A bigint constant */
Expr *
mvr_tree_make_int8(int64 value)
{
	return (Expr *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64),
							  Int64GetDatum(value), false, FLOAT8PASSBYVAL);
}

/* A call of a function whose result and arguments have no collation */
Expr *
mvr_tree_make_call(Oid func, Oid type, List *args)
{
	return (Expr *) makeFuncExpr(func, type, args, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* An aggregate of one argument, or of none if "arg" is NULL; "filter" too */
Aggref *
mvr_tree_make_aggregate(Oid func, Oid type, Expr *arg, Expr *filter)
{
	Aggref	   *agg = makeNode(Aggref);

	agg->aggfnoid = func;
	agg->aggtype = type;
	agg->aggkind = AGGKIND_NORMAL;
	agg->aggsplit = AGGSPLIT_SIMPLE;
	agg->aggno = agg->aggtransno = -1;
	agg->location = -1;
	agg->aggstar = (arg == NULL);
	agg->aggfilter = filter;
	if (arg)
	{
		agg->aggargtypes = list_make1_oid(exprType((Node *) arg));
		agg->args = list_make1(makeTargetEntry(arg, 1, NULL, false));
		agg->inputcollid = exprCollation((Node *) arg);
	}
	return agg;
}

/* CASE WHEN condition THEN value END */
Expr *
mvr_tree_make_case(Expr *condition, Expr *value)
{
	CaseExpr   *result = makeNode(CaseExpr);
	CaseWhen   *when = makeNode(CaseWhen);

	when->expr = condition;
	when->result = value;
	when->location = -1;
	result->casetype = exprType((Node *) value);
	result->casecollid = exprCollation((Node *) value);
	result->args = list_make1(when);
	result->defresult = (Expr *) makeNullConst(result->casetype, -1,
											   result->casecollid);
	result->location = -1;
	return (Expr *) result;
}

/* a = b by the operator of a sort or group clause */
Expr *
mvr_tree_make_equals(Oid eqop, Expr *a, Expr *b, Oid collation)
{
	Expr	   *equals = make_opclause(eqop, BOOLOID, false, a, b, InvalidOid, collation);

	set_opfuncid((OpExpr *) equals);
	return equals;
}

/* EXISTS (query); the query's outer references are already one level up */
Node *
mvr_tree_make_exists(Query *query)
{
	SubLink    *link = makeNode(SubLink);

	link->subLinkType = EXISTS_SUBLINK;
	link->subselect = (Node *) query;
	link->location = -1;
	return (Node *) link;
}

/* AND of quals that may be NULL; NULL if there is nothing in them */
Node *
mvr_tree_and(List *quals)
{
	List	   *flat = NIL;

	foreach_ptr(Node, qual, quals)
	{
		if (qual)
			flat = list_concat(flat, make_ands_implicit((Expr *) qual));
	}
	return flat == NIL ? NULL : (Node *) make_ands_explicit(flat);
}

/* ----------
 * Queries
 * ----------
 */

/* SELECT, with nothing in it yet */
Query *
mvr_tree_make_select(void)
{
	Query	   *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	return query;
}

/* Append a column to a target list; "name" may be NULL */
void
mvr_tree_append_target(Query *query, Expr *expr, const char *name)
{
	query->targetList = lappend(query->targetList,
								makeTargetEntry(expr, list_length(query->targetList) + 1,
												pstrdup(name ? name : ""), false));
}

static List *
list_column_names(Query *query)
{
	List	   *names = NIL;

	foreach_ptr(TargetEntry, tle, query->targetList)
		if (!tle->resjunk)
			names = lappend(names, makeString(pstrdup(tle->resname ? tle->resname : "")));
	return names;
}

/* A range table entry that reads a subquery, with the names of its columns */
RangeTblEntry *
mvr_tree_make_subquery_rte(Query *subquery, const char *name)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = subquery;
	rte->eref = makeAlias(name, list_column_names(subquery));
	rte->inFromCl = true;
	return rte;
}

/* ----------
 * A subquery that is a fence: no condition around it is asked of rows that it leaves
 * out.  The mark means nothing else for subqueries.
 * ----------
 */

void
mvr_tree_set_fence(RangeTblEntry *rte)
{
	rte->self_reference = true;
}

bool
mvr_tree_is_fence(const RangeTblEntry *rte)
{
	return rte->rtekind == RTE_SUBQUERY && rte->self_reference;
}

/* Make the mark what the planner knows: OFFSET 0 */
void
mvr_tree_build_fence(RangeTblEntry *rte)
{
	if (!mvr_tree_is_fence(rte))
		return;
	rte->self_reference = false;
	if (rte->subquery->limitOffset == NULL)
		rte->subquery->limitOffset = (Node *) mvr_tree_make_int8(0);
}

/* A range table entry that reads an ephemeral named relation */
RangeTblEntry *
mvr_tree_make_enr_rte(const char *name, TupleDesc desc, double nrows)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = pstrdup(name);
	rte->enrtuples = nrows;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		rte->coltypes = lappend_oid(rte->coltypes, att->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, att->atttypmod);
		rte->colcollations = lappend_oid(rte->colcollations, att->attcollation);
		names = lappend(names, makeString(pstrdup(NameStr(att->attname))));
	}
	rte->eref = makeAlias(name, names);
	rte->inFromCl = true;
	return rte;
}

/* A CTE that the planner computes once, and does not look into */
CommonTableExpr *
mvr_tree_make_cte(const char *name, Query *query)
{
	CommonTableExpr *cte = makeNode(CommonTableExpr);

	foreach_ptr(TargetEntry, tle, query->targetList)
	{
		Node	   *expr = (Node *) tle->expr;

		cte->ctecolnames = lappend(cte->ctecolnames, makeString(pstrdup(tle->resname)));
		cte->ctecoltypes = lappend_oid(cte->ctecoltypes, exprType(expr));
		cte->ctecoltypmods = lappend_int(cte->ctecoltypmods, exprTypmod(expr));
		cte->ctecolcollations = lappend_oid(cte->ctecolcollations, exprCollation(expr));
	}
	cte->ctename = pstrdup(name);
	cte->ctematerialized = CTEMaterializeAlways;
	cte->ctequery = (Node *) query;
	cte->cterefcount = 1;
	cte->location = -1;
	return cte;
}

/* A range table entry that reads a CTE of a query this many levels further out */
RangeTblEntry *
mvr_tree_make_cte_rte(CommonTableExpr *cte, int level)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_CTE;
	rte->ctename = pstrdup(cte->ctename);
	rte->ctelevelsup = level;
	rte->coltypes = list_copy(cte->ctecoltypes);
	rte->coltypmods = list_copy(cte->ctecoltypmods);
	rte->colcollations = list_copy(cte->ctecolcollations);
	rte->eref = makeAlias(cte->ctename, copyObject(cte->ctecolnames));
	rte->inFromCl = true;
	return rte;
}

/* Append a FROM item; the result has its number in the range table */
RangeTblRef *
mvr_tree_append_from(Query *query, RangeTblEntry *rte)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	query->rtable = lappend(query->rtable, rte);
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
	return ref;
}

/* SELECT <all columns> FROM (subquery) */
Query *
mvr_tree_make_outer(Query *subquery, const char *name)
{
	Query	   *query = mvr_tree_make_select();

	mvr_tree_append_from(query, mvr_tree_make_subquery_rte(subquery, name));
	foreach_ptr(TargetEntry, tle, subquery->targetList)
		if (!tle->resjunk)
			mvr_tree_append_target(query, (Expr *) makeVarFromTargetEntry(1, tle),
								   tle->resname);
	return query;
}

/*
 * SELECT * FROM arm UNION ALL SELECT * FROM arm ...
 * All arms have columns of the same types.
 */
Query *
mvr_tree_make_union_all(List *arms)
{
	Query	   *query;
	Node	   *tree = NULL;
	SetOperationStmt *types = makeNode(SetOperationStmt);

	if (list_length(arms) == 1)
		return linitial(arms);
	query = mvr_tree_make_select();
	foreach_ptr(TargetEntry, tle, ((Query *) linitial(arms))->targetList)
	{
		Oid			type = exprType((Node *) tle->expr);
		Oid			collation = exprCollation((Node *) tle->expr);

		if (tle->resjunk)
			continue;
		types->colTypes = lappend_oid(types->colTypes, type);
		types->colTypmods = lappend_int(types->colTypmods, -1);
		types->colCollations = lappend_oid(types->colCollations, collation);
		mvr_tree_append_target(query, (Expr *) makeVar(1, tle->resno, type, -1, collation, 0),
							   tle->resname);
	}
	foreach_ptr(Query, arm, arms)
	{
		RangeTblRef *ref = makeNode(RangeTblRef);

		query->rtable = lappend(query->rtable, mvr_tree_make_subquery_rte(arm, "arm"));
		ref->rtindex = list_length(query->rtable);
		if (tree == NULL)
			tree = (Node *) ref;
		else
		{
			SetOperationStmt *op = copyObject(types);

			op->op = SETOP_UNION;
			op->all = true;
			op->larg = tree;
			op->rarg = (Node *) ref;
			tree = (Node *) op;
		}
	}
	query->setOperations = tree;
	return query;
}

/* ----------
 * Looking and changing
 * ----------
 */

/* Turn an entry of the range table into one that stands for nothing */
void
mvr_tree_blank_rte(RangeTblEntry *rte)
{
	Alias	   *eref = rte->eref;

	memset(rte, 0, sizeof(RangeTblEntry));
	rte->type = T_RangeTblEntry;
	rte->rtekind = RTE_RESULT;
	rte->eref = makeAlias(eref ? eref->aliasname : "*RESULT*", NIL);
}

static void
collect_rtis(Node *node, Bitmapset **used)
{
	if (node == NULL)
		return;
	if (IsA(node, RangeTblRef))
		*used = bms_add_member(*used, ((RangeTblRef *) node)->rtindex);
	else if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			collect_rtis(item, used);
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);

		if (join->rtindex > 0)
			*used = bms_add_member(*used, join->rtindex);
		collect_rtis(join->larg, used);
		collect_rtis(join->rarg, used);
	}
}

/* The range table entries that a part of a join tree names, joins among them */
Bitmapset *
mvr_tree_list_rtis(Node *jointree)
{
	Bitmapset  *used = NULL;

	collect_rtis(jointree, &used);
	return used;
}

static void
collect_linear(Node *node, Bitmapset **linear)
{
	if (IsA(node, RangeTblRef))
		*linear = bms_add_member(*linear, ((RangeTblRef *) node)->rtindex);
	else if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			collect_linear(item, linear);
	}
	else if (((JoinExpr *) node)->jointype == JOIN_INNER)
	{
		collect_linear(((JoinExpr *) node)->larg, linear);
		collect_linear(((JoinExpr *) node)->rarg, linear);
	}
	else
		collect_linear(((JoinExpr *) node)->larg, linear);
}

/* The items whose rows nothing makes NULL, in the order of their numbers */
Bitmapset *
mvr_tree_list_linear(Query *query)
{
	Bitmapset  *linear = NULL;

	collect_linear((Node *) query->jointree, &linear);
	return linear;
}

/* Entries that no FROM item names stand for nothing, but for their rights */
void
mvr_tree_blank_unused(Query *query)
{
	Bitmapset  *used = mvr_tree_list_rtis((Node *) query->jointree);

	for (int rti = 1; rti <= list_length(query->rtable); rti++)
	{
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (!bms_is_member(rti, used) && !mvr_compat_has_perms(rte))
			mvr_tree_blank_rte(rte);
	}
}

/* The entries that Vars of this query level in "node" belong to */
Bitmapset *
mvr_tree_pull_rtis(Node *node)
{
	Bitmapset  *rtis = NULL;

	foreach_ptr(Var, var, pull_vars_of_level(node, 0))
		rtis = bms_add_member(rtis, var->varno);
	return rtis;
}

/* The items of a query level that one of them, which is LATERAL, is computed from */
Bitmapset *
mvr_tree_list_lateral(RangeTblEntry *rte)
{
	if (rte->rtekind == RTE_SUBQUERY)
		return mvr_tree_pull_rtis(mvr_tree_make_exists(rte->subquery));
	return bms_union(mvr_tree_pull_rtis((Node *) rte->functions),
					 bms_union(mvr_tree_pull_rtis((Node *) rte->values_lists),
							   mvr_tree_pull_rtis((Node *) rte->tablefunc)));
}

static bool
outer_walker(Node *node, void *context)
{
	int		   *depth = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return (int) ((Var *) node)->varlevelsup > *depth;
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup > *depth)
		return true;
	if (IsA(node, GroupingFunc) && (int) ((GroupingFunc *) node)->agglevelsup > *depth)
		return true;
	if (IsA(node, RangeTblEntry))
		return ((RangeTblEntry *) node)->rtekind == RTE_CTE &&
			(int) ((RangeTblEntry *) node)->ctelevelsup > *depth;
	if (IsA(node, Query))
	{
		bool		result;

		(*depth)++;
		result = query_tree_walker((Query *) node, outer_walker, context,
								   QTW_EXAMINE_RTES_BEFORE);
		(*depth)--;
		return result;
	}
	return expression_tree_walker(node, outer_walker, context);
}

/* Does a query refer to something outside of it, a CTE among that? */
bool
mvr_tree_is_correlated(Query *query)
{
	int			depth = 0;

	return query_tree_walker(query, outer_walker, &depth, QTW_EXAMINE_RTES_BEFORE);
}

typedef struct SinkContext
{
	Bitmapset  *present;		/* entries that the query still has */
	int			depth;
} SinkContext;

static Node *
sink_mutator(Node *node, SinkContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if ((int) var->varlevelsup > context->depth ||
			((int) var->varlevelsup == context->depth &&
			 !bms_is_member(var->varno, context->present)))
			var->varlevelsup++;
		return (Node *) var;
	}
	if (IsA(node, Aggref) && (int) ((Aggref *) node)->agglevelsup > context->depth)
	{
		Aggref	   *agg = (Aggref *) expression_tree_mutator(node, sink_mutator, context);

		agg->agglevelsup++;
		return (Node *) agg;
	}
	if (IsA(node, Query))
	{
		Node	   *result;

		context->depth++;
		result = (Node *) query_tree_mutator((Query *) node, sink_mutator, context, 0);
		context->depth--;
		return result;
	}
	return expression_tree_mutator(node, sink_mutator, context);
}

/*
 * Make a query that has part of another level's FROM items, under the same
 * numbers, a subquery of that level: Vars of items that it does not have refer
 * to the query outside.
 */
Query *
mvr_tree_sink(Query *query)
{
	SinkContext context = {mvr_tree_list_rtis((Node *) query->jointree), 0};

	return query_tree_mutator(query, sink_mutator, &context, 0);
}

/*
 * A query that becomes a subquery of one at its level: what it refers to outside is
 * a level further away.  Modifies the query.
 */
Query *
mvr_tree_lower(Query *query)
{
	IncrementVarSublevelsUp((Node *) query, 1, 1);
	return query;
}

static void
collect_nulling(Node *node, int rti, Bitmapset **joins)
{
	if (node == NULL || IsA(node, RangeTblRef))
		return;
	if (IsA(node, FromExpr))
	{
		foreach_ptr(Node, item, ((FromExpr *) node)->fromlist)
			collect_nulling(item, rti, joins);
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);

		if (IS_OUTER_JOIN(join->jointype) &&
			bms_is_member(rti, mvr_tree_list_rtis(join->rarg)))
			*joins = bms_add_member(*joins, join->rtindex);
		collect_nulling(join->larg, rti, joins);
		collect_nulling(join->rarg, rti, joins);
	}
}

/* The LEFT JOINs of a join tree that have an entry on their nullable side */
Bitmapset *
mvr_tree_list_nulling(Node *jointree, int rti)
{
	Bitmapset  *joins = NULL;

	collect_nulling(jointree, rti, &joins);
	return joins;
}

/* A copy of a Var as the target list of this query sees it */
Var *
mvr_tree_make_visible(Query *query, Var *var)
{
	Var		   *copy = copyObject(var);

	mvr_compat_set_nulling(copy, mvr_tree_list_nulling((Node *) query->jointree,
													   var->varno));
	return copy;
}

/*
 * The test of a subquery, with its columns in the place of PARAM_SUBLINK.  Those of a
 * subquery within the test are its own.
 */
Node *
mvr_tree_fill_params(Node *node, List *targets)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return copyObject((Node *) ((TargetEntry *)
									list_nth(targets, ((Param *) node)->paramid - 1))->expr);
	if (IsA(node, SubLink))
		return copyObject(node);
	return expression_tree_mutator(node, mvr_tree_fill_params, targets);
}

/*
 * An operand without casts that change nothing, not even what "=" means: two
 * values of text may be one of char(n).
 */
Node *
mvr_tree_strip_relabel(Node *node)
{
	while (IsA(node, RelabelType))
	{
		Node	   *arg = (Node *) ((RelabelType *) node)->arg;

		if (lookup_type_cache(exprType(arg), TYPECACHE_EQ_OPR)->eq_opr !=
			lookup_type_cache(exprType(node), TYPECACHE_EQ_OPR)->eq_opr)
			break;
		node = arg;
	}
	return node;
}

/* The column of the item at rti, and of no other level, that an operand is; or 0 */
AttrNumber
mvr_tree_get_column(Node *node, int rti)
{
	node = mvr_tree_strip_relabel(node);
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && ((Var *) node)->varno == rti &&
		((Var *) node)->varattno > 0)
		return ((Var *) node)->varattno;
	return 0;
}

/* a = b for one type and collation, by the "=" of the type's operator class */
bool
mvr_tree_is_equality(Node *qual)
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

static bool
ends_in(const char *name, const char *end)
{
	size_t		length = strlen(name);

	return length >= strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

static bool
begins_with(const char *name, const char *start)
{
	return strncmp(name, start, strlen(start)) == 0;
}

/*
 * Does a function of PostgreSQL give a result for all values that there may well be?
 * Comparisons do, sums and products (if they do not overflow), and what looks at texts,
 * documents and arrays.
 */
static bool
is_total_function(const char *name)
{
	static const char *const names[] = {
		"abs", "arraycontained", "arraycontains", "arrayoverlap", "btrim", "ceil", "char_length",
		"concat", "concat_ws", "date_part", "date_trunc", "extract", "floor", "initcap", "length",
		"lower", "ltrim", "octet_length", "replace", "round", "rtrim", "sign", "trunc", "upper"
	};
	static const char *const starts[] = {
		"json_array_element", "json_extract_path", "json_object_field", "jsonb_array_element_text",
		"jsonb_contain", "jsonb_exists", "jsonb_extract_path", "jsonb_object_field",
		"range_contain", "range_overlap"
	};
	static const char *const ends[] = {
		"eq", "ne", "lt", "le", "gt", "ge", "pl", "mi", "mul", "_add", "_sub", "cat", "abs", "um",
		"up", "uminus", "uplus", "larger", "smaller", "pl_interval", "mi_interval", "pli", "mii"
	};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	for (int i = 0; i < (int) lengthof(starts); i++)
		if (begins_with(name, starts[i]))
			return true;
	for (int i = 0; i < (int) lengthof(ends); i++)
		if (ends_in(name, ends[i]))
			return true;
	return strcmp(name, "jsonb_array_element") == 0;
}

/* May a function fail?  What tells nothing of its arguments does not. */
static bool
is_partial_function(Oid funcid, pg_attribute_unused() void *context)
{
	char	   *name;

	if (get_func_leakproof(funcid))
		return false;
	name = funcid < FirstNormalObjectId ? get_func_name(funcid) : NULL;
	return name == NULL || !is_total_function(name);
}

/* LIKE or a regular expression: a constant pattern has been tried by the first row */
static bool
is_constant_match(Node *node)
{
	char	   *name;

	if (!IsA(node, OpExpr) || list_length(((OpExpr *) node)->args) != 2 ||
		!IsA(lsecond(((OpExpr *) node)->args), Const))
		return false;
	set_opfuncid((OpExpr *) node);
	name = get_func_name(((OpExpr *) node)->opfuncid);
	return name && ((OpExpr *) node)->opfuncid < FirstNormalObjectId &&
		(ends_in(name, "like") || strstr(name, "regex"));
}

static bool
fails_walker(Node *node, void *context)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (is_constant_match(node))
		return fails_walker(linitial(((OpExpr *) node)->args), context);
	if (IsA(node, CoerceToDomain) || check_functions_in_node(node, is_partial_function, NULL))
		return true;
	/* from text, and from what may be in a document */
	if (IsA(node, CoerceViaIO))
		return TypeCategory(((CoerceViaIO *) node)->resulttype) != TYPCATEGORY_STRING;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcformat == COERCE_EXPLICIT_CAST &&
		exprType(linitial(((FuncExpr *) node)->args)) == JSONBOID)
		return true;
	return expression_tree_walker(node, fails_walker, context);
}

/*
 * Can an expression well raise an error, which a condition that stands beside it
 * may be there to prevent?
 */
bool
mvr_tree_may_fail(Node *node)
{
	return fails_walker(node, NULL);
}
