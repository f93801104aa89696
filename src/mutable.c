/*
 * mutable.c
 *		What a query's result depends on besides its tables.
 *
 * A view can be maintained from changes only if its expressions give the same
 * results at each refresh.  Immutable functions do.  Of the stable ones that
 * come with PostgreSQL many depend on nothing but settings, such as TimeZone
 * (as some do that are called immutable), and so do as long as the settings are
 * the same: these are listed here, and
 * the settings go into the fingerprint of the query.  A refresh under other
 * settings finds another fingerprint, and recomputes.
 *
 * Not listed is what reads the clock (input functions of date and time types
 * too: 'today'), catalogs, or the transaction.  Values of types that have their
 * looks from catalogs (enums, regclass) are refused as arguments, alone or in
 * rows, since functions such as concat() call their output functions.
 *
 * The fingerprint has also the text of the expanded query and the versions of
 * users' functions and composite types in it, to notice when a plain view, a
 * function or a type that the query uses is replaced.  What a function calls that
 * is not written in C nobody can tell: if there is one, the versions of all such
 * functions of the database are in it.  Text search depends on configurations and
 * dictionaries, though its functions are immutable: theirs are in it, too.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_ts_config_map.h"
#include "catalog/pg_ts_dict.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* Stable functions of PostgreSQL that depend on settings only, in order */
static const char *const settings_functions[] = {
	"anytextcat", "array_out", "array_to_json", "array_to_string", "cash_in", "cash_out",
	"concat", "concat_ws", "date", "date_add", "date_eq_timestamptz",
	"date_ge_timestamptz", "date_gt_timestamptz", "date_le_timestamptz",
	"date_lt_timestamptz", "date_ne_timestamptz", "date_out", "date_part", "date_subtract",
	"date_trunc", "extract", "format", "generate_series", "in_range", "interval_in",
	"interval_out", "interval_pl_timestamptz", "json_agg", "json_agg_finalfn",
	"json_agg_strict", "json_agg_strict_transfn", "json_agg_transfn", "json_build_array",
	"json_build_object", "json_object_agg", "json_object_agg_strict",
	"json_object_agg_unique", "json_object_agg_unique_strict", "json_to_tsvector",
	"jsonb_agg", "jsonb_agg_finalfn", "jsonb_agg_strict", "jsonb_agg_strict_transfn",
	"jsonb_agg_transfn", "jsonb_build_array", "jsonb_build_object", "jsonb_object_agg",
	"jsonb_object_agg_finalfn", "jsonb_object_agg_strict",
	"jsonb_object_agg_strict_transfn", "jsonb_object_agg_transfn",
	"jsonb_object_agg_unique", "jsonb_object_agg_unique_strict",
	"jsonb_object_agg_unique_strict_transfn", "jsonb_object_agg_unique_transfn",
	"jsonb_to_tsvector", "make_timestamptz", "money", "multirange_out", "numeric",
	"overlaps", "phraseto_tsquery", "plainto_tsquery", "quote_literal", "quote_nullable",
	"range_out", "record_out", "row_to_json", "textanycat", "time", "timestamp",
	"timestamp_eq_timestamptz", "timestamp_ge_timestamptz", "timestamp_gt_timestamptz",
	"timestamp_le_timestamptz", "timestamp_lt_timestamptz", "timestamp_ne_timestamptz",
	"timestamp_out", "timestamptz", "timestamptz_eq_date", "timestamptz_eq_timestamp",
	"timestamptz_ge_date", "timestamptz_ge_timestamp", "timestamptz_gt_date",
	"timestamptz_gt_timestamp", "timestamptz_le_date", "timestamptz_le_timestamp",
	"timestamptz_lt_date", "timestamptz_lt_timestamp", "timestamptz_mi_interval",
	"timestamptz_ne_date", "timestamptz_ne_timestamp", "timestamptz_out",
	"timestamptz_pl_interval", "timetz", "timezone", "to_char", "to_date", "to_json",
	"to_jsonb", "to_number", "to_timestamp", "to_tsquery", "to_tsvector", "ts_headline",
	"websearch_to_tsquery"
};

/* Of these, those that look for a configuration of text search */
static const char *const search_functions[] = {
	"json_to_tsvector", "jsonb_to_tsvector", "phraseto_tsquery", "plainto_tsquery", "to_tsquery",
	"to_tsvector", "ts_headline", "websearch_to_tsquery"
};

/* Stable functions that are as the input of the types is that they make of a document, but for array_nulls */
static const char *const record_functions[] = {
	"json_populate_record", "json_populate_recordset", "json_to_record", "json_to_recordset",
	"jsonb_populate_record", "jsonb_populate_recordset", "jsonb_to_record", "jsonb_to_recordset"
};

/* Those that are called immutable, and yet depend on settings */
static const char *const immutable_functions[] = {
	"box_out", "byteaout", "circle_out", "float4out", "float8out", "line_out",
	"lseg_out", "path_out", "point_out", "poly_out", "quote_ident", "timezone"
};

/* The same of those with an argument of type timestamptz, for other types have no zone */
static const char *const zone_functions[] = {
	"age", "date_add", "date_subtract", "date_trunc", "generate_series"
};

/* The settings that all of them read */
static const char *const settings[] = {
	"TimeZone", "timezone_abbreviations", "DateStyle", "IntervalStyle",
	"extra_float_digits", "bytea_output", "lc_monetary", "lc_numeric", "lc_time",
	"xmlbinary", "xmloption", "quote_all_identifiers", "default_text_search_config", "array_nulls"
};

/* What the text of users' functions means depends on these, when a session first calls them */
static const char *const parser_settings[] = {
	"transform_null_equals", "standard_conforming_strings",
	"plpgsql.check_asserts", "plpgsql.extra_errors"
};

typedef struct MutableContext
{
	List	   *queries;		/* being walked, the innermost first */
	bool		reads_settings;
	Oid			refused;		/* function, or InvalidOid */
	Oid			found;			/* function that is not immutable */
	bool		is_document;	/* refused: an expression on JSON or XML */
} MutableContext;

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static bool
is_listed(const char *name, const char *const *names, int n)
{
	return bsearch(&name, names, n, sizeof(char *), compare_names) != NULL;
}

/* To give a time of day a zone, or another one, takes the date: that of today */
static bool
asks_for_today(Oid rettype, const Oid *argtypes, int nargs)
{
	return rettype == TIMETZOID && argtypes[nargs - 1] != TIMESTAMPTZOID;
}

static bool
has_type(Oid type, const Oid *argtypes, int nargs)
{
	for (int i = 0; i < nargs; i++)
		if (argtypes[i] == type)
			return true;
	return false;
}

/* Only functions that initdb has made, not others of the same name */
static bool
is_settings_function(Oid funcid)
{
	char		kind = func_volatile(funcid);
	const char *name;
	Oid			rettype;
	Oid		   *argtypes;
	int			nargs;

	if (funcid >= FirstUnpinnedObjectId || kind == PROVOLATILE_VOLATILE)
		return false;
	name = get_func_name(funcid);
	if (name == NULL)
		return false;
	rettype = get_func_signature(funcid, &argtypes, &nargs);
	if (kind == PROVOLATILE_IMMUTABLE)
		return is_listed(name, immutable_functions, lengthof(immutable_functions)) ||
			(is_listed(name, zone_functions, lengthof(zone_functions)) &&
			 has_type(TIMESTAMPTZOID, argtypes, nargs));
	return is_listed(name, settings_functions, lengthof(settings_functions)) &&
		!asks_for_today(rettype, argtypes, nargs);
}

static bool is_plain_type(Oid type);

/* The columns of a row type count for the fingerprint, so their names do not here */
static bool
is_plain_row_type(Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	bool		result = true;

	check_stack_depth();
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		result = result && (att->attisdropped || is_plain_type(att->atttypid));
	}
	ReleaseTupleDesc(desc);
	return result;
}

/* Does a value of this type look the same as long as settings do? */
static bool
is_plain_type(Oid type)
{
	Oid			element;

	type = getBaseType(type);
	element = get_element_type(type);
	if (OidIsValid(element))
		type = getBaseType(element);
	switch (type)
	{
		case UNKNOWNOID:
			return true;
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
			return false;
		default:
			if (get_typtype(type) == TYPTYPE_COMPOSITE)
				return is_plain_row_type(type);
			return type < FirstUnpinnedObjectId &&
				(get_typtype(type) == TYPTYPE_BASE ||
				 get_typtype(type) == TYPTYPE_RANGE ||
				 get_typtype(type) == TYPTYPE_MULTIRANGE);
	}
}

/* The columns of the item that a Var is the whole row of */
static List *
list_row(Var *var, MutableContext *context)
{
	List	   *names;
	List	   *columns = NIL;

	if (var->varattno == InvalidAttrNumber && (int) var->varlevelsup < list_length(context->queries))
	{
		Query	   *query = list_nth(context->queries, var->varlevelsup);

		mvr_compat_expand_rte(rt_fetch(var->varno, query->rtable), var->varno, false,
							  &names, &columns);
	}
	return columns;
}

static bool
has_plain_type(Node *arg, MutableContext *context)
{
	List	   *columns = NIL;

	if (IsA(arg, TargetEntry))
		arg = (Node *) ((TargetEntry *) arg)->expr;
	if (exprType(arg) != RECORDOID)
		return is_plain_type(exprType(arg));
	if (IsA(arg, RowExpr))
		columns = ((RowExpr *) arg)->args;
	else if (IsA(arg, Var))
		columns = list_row((Var *) arg, context);
	foreach_ptr(Node, column, columns)
	{
		if (!has_plain_type(column, context))
			return false;
	}
	return columns != NIL;
}

/* What an operator or function is called with; false for other nodes */
static bool
get_arguments(Node *node, List **args)
{
	*args = NIL;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			*args = ((FuncExpr *) node)->args;
			return true;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			*args = ((OpExpr *) node)->args;
			return true;
		case T_WindowFunc:
			*args = ((WindowFunc *) node)->args;
			return true;
		case T_ScalarArrayOpExpr:
			*args = ((ScalarArrayOpExpr *) node)->args;
			return true;
		case T_Aggref:
			*args = ((Aggref *) node)->args;
			return true;
		case T_CoerceViaIO:
			*args = list_make1(((CoerceViaIO *) node)->arg);
			return true;
		default:
			return mvr_json_xml_get_rendered(node, args);
	}
}

static bool
has_plain_arguments(Node *node, MutableContext *context)
{
	List	   *args;

	if (!get_arguments(node, &args))
		return false;
	foreach_ptr(Node, arg, args)
	{
		if (!has_plain_type(arg, context))
			return false;
	}
	return true;
}

static bool is_mutable_function(Oid funcid, void *context);

/*
 * CREATE AGGREGATE calls all immutable, as some of PostgreSQL's own are called: what
 * counts is what they are made of
 */
static bool
is_mutable_aggregate(Oid funcid, void *context)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(funcid));
	Form_pg_aggregate form;
	List	   *parts;
	ListCell   *lc;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	parts = list_make5_oid(form->aggtransfn, form->aggfinalfn, form->aggmtransfn,
						   form->aggminvtransfn, form->aggmfinalfn);
	ReleaseSysCache(tuple);
	foreach(lc, parts)
		if (OidIsValid(lfirst_oid(lc)) && is_mutable_function(lfirst_oid(lc), context))
			return true;
	return false;
}

static bool
is_mutable_function(Oid funcid, void *context)
{
	MutableContext *mutable = context;
	bool		reads_settings = is_settings_function(funcid);

	mutable->reads_settings |= reads_settings;
	/* goes with its session, and takes the view along, which no command tells */
	if (funcid >= FirstNormalObjectId && isAnyTempNamespace(get_func_namespace(funcid)))
	{
		mutable->refused = funcid;
		return true;
	}
	if (func_volatile(funcid) == PROVOLATILE_IMMUTABLE)
		return is_mutable_aggregate(funcid, context);
	mutable->found = funcid;
	if (reads_settings)
		return false;
	mutable->refused = funcid;
	return true;
}

/* Constructors of JSON and XML show values as their output functions do, or nearly */
static bool
is_mutable_document(Node *node, MutableContext *context)
{
	List	   *args;

	context->reads_settings |= mvr_json_xml_reads_settings(node);
	context->is_document = mvr_json_xml_is_mutable(node);
	if (context->is_document || !mvr_json_xml_get_rendered(node, &args))
		return context->is_document;
	foreach_ptr(Node, arg, args)
		context->reads_settings |= !mvr_json_xml_is_fixed_type(exprType(arg));
	context->is_document = !has_plain_arguments(node, context);
	return context->is_document;
}

static bool mutable_walker(Node *node, void *context);

/* What an arm of a set operation has for its columns; they are lists of types */
static List *
list_arm_types(Node *arm, MutableContext *context)
{
	Query	   *query = linitial(context->queries);
	List	   *types = NIL;

	if (IsA(arm, SetOperationStmt))
		return ((SetOperationStmt *) arm)->colTypes;
	query = rt_fetch(((RangeTblRef *) arm)->rtindex, query->rtable)->subquery;
	foreach_ptr(TargetEntry, tle, query->targetList)
		if (!tle->resjunk)
			types = lappend_oid(types, exprType((Node *) tle->expr));
	return types;
}

/* The casts that give an arm the types of the whole are not in the tree yet */
static bool
is_mutable_arm(Node *arm, const SetOperationStmt *op, MutableContext *context)
{
	ListCell   *lc_from;
	ListCell   *lc_to;

	forboth(lc_from, list_arm_types(arm, context), lc_to, op->colTypes)
	{
		Node	   *value = (Node *) makeVar(1, 1, lfirst_oid(lc_from), -1, InvalidOid, 0);

		if (lfirst_oid(lc_from) != lfirst_oid(lc_to) &&
			mutable_walker(coerce_to_common_type(NULL, value, lfirst_oid(lc_to), "UNION"),
						   context))
			return true;
	}
	return false;
}

/* RANGE with an offset: a day of timestamptz depends on TimeZone */
static bool
has_mutable_frame(Query *query, void *context)
{
	foreach_ptr(WindowClause, window, query->windowClause)
	{
		if ((OidIsValid(window->startInRangeFunc) &&
			 is_mutable_function(window->startInRangeFunc, context)) ||
			(OidIsValid(window->endInRangeFunc) &&
			 is_mutable_function(window->endInRangeFunc, context)))
			return true;
	}
	return false;
}

/* Is the input function of each column of a row type immutable? */
static bool
has_fixed_columns(Oid type)
{
	TupleDesc	desc;
	bool		result = true;

	if (get_typtype(type) != TYPTYPE_COMPOSITE)
		return false;
	desc = lookup_rowtype_tupdesc(type, -1);
	for (int i = 0; i < desc->natts; i++)
		result = result && (TupleDescAttr(desc, i)->attisdropped ||
							!mvr_json_xml_has_mutable_input(TupleDescAttr(desc, i)->atttypid));
	ReleaseTupleDesc(desc);
	return result;
}

/* Is this one of the record_functions, and what it makes of a document fixed? */
static bool
is_fixed_record(Node *node, List *types)
{
	FuncExpr   *call = (FuncExpr *) node;
	ListCell   *lc;

	if (!IsA(node, FuncExpr) || call->funcid >= FirstUnpinnedObjectId ||
		!is_listed(get_func_name(call->funcid), record_functions, lengthof(record_functions)))
		return false;
	if (types == NIL)
		return has_fixed_columns(call->funcresulttype);
	foreach(lc, types)
		if (mvr_json_xml_has_mutable_input(lfirst_oid(lc)))
			return false;
	return true;
}

/*
 * What there is to look at of an expression whose function is stable in general, and
 * depends on settings alone for the types that it makes: its arguments.
 */
static bool
is_fixed_input(Node *node, Node **args)
{
	CoerceViaIO *cast = (CoerceViaIO *) node;
	RangeTblFunction *item = (RangeTblFunction *) node;

	if (IsA(node, RangeTblFunction) && is_fixed_record(item->funcexpr, item->funccoltypes))
		*args = (Node *) ((FuncExpr *) item->funcexpr)->args;
	else if (is_fixed_record(node, NIL))
		*args = (Node *) ((FuncExpr *) node)->args;
	else if (IsA(node, CoerceViaIO) &&
			 TypeCategory(exprType((Node *) cast->arg)) == TYPCATEGORY_STRING &&
			 (type_is_array(cast->resulttype) || type_is_range(cast->resulttype)) &&
			 !mvr_json_xml_has_mutable_input(cast->resulttype))
		*args = (Node *) cast->arg;
	else
		return false;
	return true;
}

static bool
mutable_walker(Node *node, void *context)
{
	MutableContext *mutable = context;
	Node	   *args;

	if (node == NULL)
		return false;
	if (is_fixed_input(node, &args))
	{
		mutable->reads_settings = true;
		return mutable_walker(args, context);
	}
	mutable->found = InvalidOid;
	if (check_functions_in_node(node, is_mutable_function, context))
		return true;
	if (OidIsValid(mutable->found) && !has_plain_arguments(node, mutable))
	{
		mutable->refused = mutable->found;
		return true;
	}
	if (IsA(node, SQLValueFunction) || IsA(node, NextValueExpr) ||
		is_mutable_document(node, mutable))
		return true;
	if (IsA(node, SetOperationStmt) &&
		(is_mutable_arm(((SetOperationStmt *) node)->larg, (SetOperationStmt *) node, mutable) ||
		 is_mutable_arm(((SetOperationStmt *) node)->rarg, (SetOperationStmt *) node, mutable)))
		return true;
	if (IsA(node, Query))
	{
		bool		found;

		if (has_mutable_frame((Query *) node, context))
			return true;
		mutable->queries = lcons(node, mutable->queries);
		found = query_tree_walker((Query *) node, mutable_walker, context, 0) ||
			mutable_walker((Node *) mvr_columns_list_virtual((Query *) node), context);
		mutable->queries = list_delete_first(mutable->queries);
		return found;
	}
	return expression_tree_walker(node, mutable_walker, context);
}

/*
 * The reason why a query can give another result though its tables have not
 * changed, or NULL.  Sets *reads_settings to whether it depends on settings.
 */
char *
mvr_mutable_refuse(Query *query, bool *reads_settings)
{
	MutableContext context = {0};
	bool		is_refused = mutable_walker((Node *) query, &context);

	*reads_settings = context.reads_settings;
	if (!is_refused)
		return NULL;
	if (context.is_document)
		return "an expression on JSON or XML depends on more than its arguments";
	if (!OidIsValid(context.refused))
		return "the query depends on the time or the session";
	return psprintf(isAnyTempNamespace(get_func_namespace(context.refused)) ?
					"function \"%s\" is temporary" : "function \"%s\" is not immutable",
					get_func_name(context.refused));
}

/* ----------
 * Fingerprint
 * ----------
 */

/* Mix well: what is put in twice must not cancel itself out */
static uint64
hash_number(uint64 number, uint64 hash)
{
	return hash_bytes_extended((const unsigned char *) &number, sizeof(number), hash + 1);
}

/*
 * The version of a catalog row: who wrote it, and where, since a transaction can
 * write it twice
 */
static uint64
hash_version(HeapTuple tuple, uint64 hash)
{
	hash = hash_number(HeapTupleHeaderGetRawXmin(tuple->t_data), hash);
	return hash_number(((uint64) ItemPointerGetBlockNumber(&tuple->t_self) << 16) |
					   ItemPointerGetOffsetNumber(&tuple->t_self), hash);
}

typedef struct HashContext
{
	uint64		hash;
	bool		calls_any;		/* a function may call others, nobody knows which */
	bool		searches_text;
} HashContext;

/* Aggregates have the functions that their definition names */
static bool
may_call_any(Form_pg_proc form)
{
	return form->prokind == PROKIND_AGGREGATE ||
		(form->prolang != INTERNALlanguageId && form->prolang != ClanguageId);
}

static bool
hash_function(Oid funcid, void *arg)
{
	HashContext *context = arg;
	HeapTuple	tuple;

	if (funcid < FirstUnpinnedObjectId && func_volatile(funcid) == PROVOLATILE_STABLE)
		context->searches_text |= is_listed(get_func_name(funcid), search_functions,
											lengthof(search_functions));
	if (funcid < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	if (HeapTupleIsValid(tuple))
	{
		context->hash = hash_version(tuple, context->hash);
		context->calls_any |= may_call_any((Form_pg_proc) GETSTRUCT(tuple));
		ReleaseSysCache(tuple);
	}
	return false;
}

/* The versions of all users' functions that are not written in C, nor temporary */
static uint64
hash_all_functions(void)
{
	Relation	pg_proc = table_open(ProcedureRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		hash = 0;

	ScanKeyInit(&key, Anum_pg_proc_oid, BTGreaterEqualStrategyNumber, F_OIDGE,
				ObjectIdGetDatum(FirstNormalObjectId));
	scan = systable_beginscan(pg_proc, ProcedureOidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		if (!may_call_any(form) || isAnyTempNamespace(form->pronamespace))
			continue;
		hash = hash_version(tuple, hash_number(form->oid, hash));
	}
	systable_endscan(scan);
	table_close(pg_proc, AccessShareLock);
	return hash;
}

/* The versions of all rows of a catalog */
static uint64
hash_catalog(Oid relid, uint64 hash)
{
	Relation	rel = table_open(relid, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		hash = hash_version(tuple, hash);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return hash;
}

static uint64
hash_text_search(void)
{
	uint64		hash = hash_catalog(TSConfigRelationId, 0);

	hash = hash_catalog(TSConfigMapRelationId, hash);
	return hash_catalog(TSDictionaryRelationId, hash);
}

static bool
is_text_search(Oid type)
{
	return type == REGCONFIGOID || type == REGDICTIONARYOID;
}

static void hash_composite(Oid type, uint64 *hash);

/* An attribute of a composite type, dropped or not; false if there is none */
static bool
hash_attribute(Oid relid, AttrNumber attnum, uint64 *hash)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid),
										Int16GetDatum(attnum));
	Oid			type;

	if (!HeapTupleIsValid(tuple))
		return false;
	*hash = hash_version(tuple, *hash);
	type = ((Form_pg_attribute) GETSTRUCT(tuple))->atttypid;
	ReleaseSysCache(tuple);
	if (OidIsValid(type))
		hash_composite(type, hash);
	return true;
}

/* A composite type can get other attributes, and its values another image */
static void
hash_composite(Oid type, uint64 *hash)
{
	Oid			element = get_base_element_type(type);
	Oid			relid = get_typ_typrelid(getBaseType(OidIsValid(element) ? element : type));

	check_stack_depth();
	for (AttrNumber i = 1; OidIsValid(relid) && hash_attribute(relid, i, hash); i++)
		;
}

static bool
hash_walker(Node *node, void *arg)
{
	HashContext *context = arg;
	List	   *args;

	if (node == NULL)
		return false;
	check_functions_in_node(node, hash_function, context);
	if (IsA(node, Var))
	{
		hash_composite(((Var *) node)->vartype, &context->hash);
		context->searches_text |= is_text_search(((Var *) node)->vartype);
	}
	if (IsA(node, Const))
		context->searches_text |= is_text_search(((Const *) node)->consttype);
	if (IsA(node, TargetEntry))
		hash_composite(exprType((Node *) ((TargetEntry *) node)->expr), &context->hash);
	if (IsA(node, RowExpr))
		hash_composite(((RowExpr *) node)->row_typeid, &context->hash);
	/* of an aggregate they are targets */
	if (IsA(node, RowExpr))
		args = ((RowExpr *) node)->args;
	else if (IsA(node, Aggref) || !get_arguments(node, &args))
		args = NIL;
	foreach_ptr(Node, operand, args)
		hash_composite(exprType(operand), &context->hash);
	/* what the functions behind an operator class do */
	if (IsA(node, SortGroupClause))
		context->calls_any |= ((SortGroupClause *) node)->eqop >= FirstNormalObjectId ||
			((SortGroupClause *) node)->sortop >= FirstNormalObjectId;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, hash_walker, arg, QTW_EXAMINE_SORTGROUP) ||
			hash_walker((Node *) mvr_columns_list_virtual((Query *) node), arg);
	return expression_tree_walker(node, hash_walker, arg);
}

static uint64
hash_text(const char *text, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) text, strlen(text), seed);
}

/* Fingerprint of the settings that functions read */
uint64
mvr_mutable_hash_settings(void)
{
	uint64		hash = 0;

	for (int i = 0; i < (int) lengthof(settings); i++)
	{
		const char *value = GetConfigOption(settings[i], true, false);

		hash = hash_text(value ? value : "", hash);
	}
	return hash;
}

/* Fingerprint of an expanded query and of what else its result depends on */
int64
mvr_mutable_hash(Query *query, bool reads_settings)
{
	char	   *text = nodeToString(query);
	HashContext context = {hash_text(text, 0), false, false};
	uint64		hash;

	pfree(text);
	hash_walker((Node *) query, &context);
	hash = context.hash;
	if (context.calls_any)
		hash = hash_number(hash_all_functions(), hash);
	if (context.calls_any || context.searches_text)
		hash = hash_number(hash_text_search(), hash);
	if (reads_settings)
		hash = hash_number(mvr_mutable_hash_settings(), hash);
	return (int64) hash;
}

static bool
has_setting(List *list, const char *name)
{
	foreach_ptr(char, setting, list)
	{
		if (strncmp(setting, name, strlen(name)) == 0 && setting[strlen(name)] == '=')
			return true;
	}
	return false;
}

/* Does a setting decide what the text of a function is parsed to? */
bool
mvr_mutable_is_parsed(const char *name)
{
	return strcmp(name, "transform_null_equals") == 0;
}

/* The value of a setting; of those of PL/pgSQL, the default where it is not loaded yet */
const char *
mvr_mutable_get_setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	if (value)
		return value;
	if (strcmp(name, "plpgsql.check_asserts") == 0)
		return "on";
	return strcmp(name, "plpgsql.extra_errors") == 0 ? "none" : NULL;
}

static List *
add_settings(List *list, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		const char *value = has_setting(list, names[i]) ? NULL :
			mvr_mutable_get_setting(names[i]);

		if (value)
			list = lappend(list, psprintf("%s=%s", names[i], value));
	}
	return list;
}

/*
 * The settings that a live view is computed with, as "name=value": those it has
 * already, and what others are now that it depends on.
 */
List *
mvr_mutable_add_settings(List *list, bool reads_settings)
{
	list = add_settings(list, parser_settings, lengthof(parser_settings));
	return reads_settings ? add_settings(list, settings, lengthof(settings)) : list;
}
