/*
 * json_xml.c
 *		SQL/JSON and XML expressions, which call functions that are not in the tree.
 *
 * Constructors call the output functions of their arguments, or what stands for
 * them; see mvr_json_xml_get_rendered.  JSON_VALUE and the columns of tables made
 * from documents call input functions; a JSON path can read TimeZone.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/jsonpath.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* Does a constructor render values?  Then these are in *args. */
bool
mvr_json_xml_get_rendered(Node *node, List **args)
{
	if (IsA(node, XmlExpr))
		*args = list_concat_copy(((XmlExpr *) node)->named_args, ((XmlExpr *) node)->args);
#ifdef MVR_HAS_JSON_CONSTRUCTORS
	else if (IsA(node, JsonConstructorExpr))
		*args = ((JsonConstructorExpr *) node)->args;
#endif
	else
		return false;
	return true;
}

/* Does a value of this type look the same whatever the settings are? */
bool
mvr_json_xml_is_fixed_type(Oid type)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case CHAROID:
		case UNKNOWNOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case XMLOID:
			return true;
		default:
			return false;
	}
}

static bool
has_mutable_input(Oid type)
{
	Oid			function;
	Oid			param;

	getTypeInputInfo(type, &function, &param);
	return func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/*
 * May a text give another value of this type another time, under the same settings?
 * Those of arrays and ranges are as those in them are.
 */
bool
mvr_json_xml_has_mutable_input(Oid type)
{
	Oid			element = type_is_range(type) ? get_range_subtype(type) : get_element_type(type);

	return OidIsValid(element) ? mvr_json_xml_has_mutable_input(element) : has_mutable_input(type);
}

#ifdef MVR_HAS_JSON_QUERIES

static bool
is_mutable_path(Node *path, const JsonExpr *json)
{
	if (!IsA(path, Const))
		return true;
	return !((Const *) path)->constisnull &&
		jspIsMutable(DatumGetJsonPathP(((Const *) path)->constvalue),
					 json->passing_names, json->passing_values);
}

/* Does a path make dates or times of texts?  Keys of documents are quoted in it. */
static bool
makes_times(Node *path)
{
	char	   *text;

	if (!IsA(path, Const) || ((Const *) path)->constisnull)
		return !IsA(path, Const);
	text = OidOutputFunctionCall(F_JSONPATH_OUT, ((Const *) path)->constvalue);
	return strstr(text, ".date") || strstr(text, ".time");
}

static bool
makes_times_in_pattern(Node *plan)
{
	if (plan == NULL)
		return false;
	check_stack_depth();
	if (IsA(plan, JsonTableSiblingJoin))
		return makes_times_in_pattern((Node *) ((JsonTableSiblingJoin *) plan)->lplan) ||
			makes_times_in_pattern((Node *) ((JsonTableSiblingJoin *) plan)->rplan);
	return makes_times((Node *) castNode(JsonTablePathScan, plan)->path->value) ||
		makes_times_in_pattern((Node *) ((JsonTablePathScan *) plan)->child);
}

/* The row patterns of JSON_TABLE, nested as they are */
static bool
has_mutable_pattern(Node *plan, const JsonExpr *json)
{
	if (plan == NULL)
		return false;
	check_stack_depth();
	if (IsA(plan, JsonTableSiblingJoin))
		return has_mutable_pattern((Node *) ((JsonTableSiblingJoin *) plan)->lplan, json) ||
			has_mutable_pattern((Node *) ((JsonTableSiblingJoin *) plan)->rplan, json);
	return is_mutable_path((Node *) castNode(JsonTablePathScan, plan)->path->value, json) ||
		has_mutable_pattern((Node *) ((JsonTablePathScan *) plan)->child, json);
}

static bool
is_mutable_query(const JsonExpr *json)
{
	return is_mutable_path(json->path_spec, json) || has_mutable_input(json->returning->typid);
}

#endif

/*
 * Does what an expression takes from a document depend on settings?  A date or time in
 * it, which a path has made or which was passed, becomes a text as elsewhere.
 */
bool
mvr_json_xml_reads_settings(Node *node)
{
#ifdef MVR_HAS_JSON_QUERIES
	if (IsA(node, JsonExpr))
	{
		foreach_ptr(Node, value, ((JsonExpr *) node)->passing_values)
			if (!mvr_json_xml_is_fixed_type(exprType(value)))
				return true;
		return ((JsonExpr *) node)->op != JSON_TABLE_OP &&
			makes_times(((JsonExpr *) node)->path_spec);
	}
	if (IsA(node, TableFunc) && ((TableFunc *) node)->functype == TFT_JSON_TABLE)
		return makes_times_in_pattern((Node *) ((TableFunc *) node)->plan);
#else
	(void) node;
#endif
	return false;
}

/*
 * Can an expression that reads a document give another result for the same one?
 * (Its operands are for the caller to look at.)
 */
bool
mvr_json_xml_is_mutable(Node *node)
{
	ListCell   *lc;

#ifdef MVR_HAS_JSON_QUERIES
	/* what a table is made from is its document: the columns come by themselves */
	if (IsA(node, JsonExpr))
		return ((JsonExpr *) node)->op != JSON_TABLE_OP && is_mutable_query((JsonExpr *) node);
	if (IsA(node, TableFunc) && ((TableFunc *) node)->functype == TFT_JSON_TABLE)
		return has_mutable_pattern((Node *) ((TableFunc *) node)->plan,
								   castNode(JsonExpr, ((TableFunc *) node)->docexpr));
#endif
	if (!IsA(node, TableFunc))
		return false;
	foreach(lc, ((TableFunc *) node)->coltypes)
		if (has_mutable_input(lfirst_oid(lc)))
			return true;
	return false;
}
