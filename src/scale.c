/*
 * scale.c
 *		How many decimal digits does a numeric expression show?
 *
 * 1.0 and 1.00 are equal and look different.  A sum shows as many digits as the
 * one of its values that has most, and a group shows one of its equal keys.  If
 * the number of digits follows from the expression, a sum can be kept right
 * when values go, and equal keys look alike.
 *
 * The rules are those of core's numeric.c: a declared scale is every value's
 * scale, sums have the greater one, products the sum of both.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"

#include "matview_refresh.h"

#define MAX_SCALE	100

static bool infer_scales(Node *node, Bitmapset **scales);

static bool
add_scale(Bitmapset **scales, int scale)
{
	if (scale > MAX_SCALE)
		return false;
	*scales = bms_add_member(*scales, Max(scale, 0));
	return true;
}

/* The scale that a type modifier of numeric declares; see numeric.c */
static bool
infer_from_typmod(int32 typmod, Bitmapset **scales)
{
	return typmod >= (int32) VARHDRSZ &&
		add_scale(scales, (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024);
}

/* All pairs of scales of two operands */
static bool
infer_from_pair(List *args, bool is_product, Bitmapset **scales)
{
	Bitmapset  *left = NULL;
	Bitmapset  *right = NULL;
	int			a = -1;

	if (!infer_scales(linitial(args), &left) || !infer_scales(lsecond(args), &right))
		return false;
	while ((a = bms_next_member(left, a)) >= 0)
	{
		int			b = -1;

		while ((b = bms_next_member(right, b)) >= 0)
			if (!add_scale(scales, is_product ? a + b : Max(a, b)))
				return false;
	}
	return true;
}

static bool
infer_from_constant(Node *node, Bitmapset **scales)
{
	Const	   *con = (Const *) node;

	return IsA(node, Const) && !con->constisnull && con->consttype == INT4OID &&
		add_scale(scales, DatumGetInt32(con->constvalue));
}

/* Fields of a date that are whole numbers */
static bool
is_whole_field(Node *node)
{
	static const char *const fields[] = {
		"century", "day", "decade", "dow", "doy", "hour", "isodow", "isoyear",
		"millennium", "minute", "month", "quarter", "week", "year"
	};
	Const	   *con = (Const *) node;

	if (!IsA(node, Const) || con->constisnull || con->consttype != TEXTOID)
		return false;
	for (int i = 0; i < (int) lengthof(fields); i++)
		if (pg_strcasecmp(fields[i], TextDatumGetCString(con->constvalue)) == 0)
			return true;
	return false;
}

static bool
infer_from_call(Oid func, List *args, Bitmapset **scales)
{
	switch (func)
	{
		case F_NUMERIC_INT2:
		case F_NUMERIC_INT4:
		case F_NUMERIC_INT8:
		case F_ROUND_NUMERIC:
		case F_TRUNC_NUMERIC:
		case F_FLOOR_NUMERIC:
		case F_CEIL_NUMERIC:
		case F_CEILING_NUMERIC:
			return add_scale(scales, 0);
		case F_NUMERIC_ADD:
		case F_NUMERIC_SUB:
			return infer_from_pair(args, false, scales);
		case F_NUMERIC_MUL:
			return infer_from_pair(args, true, scales);
		case F_NUMERIC_UMINUS:
		case F_NUMERIC_UPLUS:
		case F_NUMERIC_ABS:
		case F_ABS_NUMERIC:
			return infer_scales(linitial(args), scales);
		case F_ROUND_NUMERIC_INT4:
			return infer_from_constant(lsecond(args), scales);
		case F_NUMERIC_NUMERIC_INT4:
			return IsA(lsecond(args), Const) &&
				infer_from_typmod(DatumGetInt32(((Const *) lsecond(args))->constvalue),
								  scales);
		case F_EXTRACT_TEXT_DATE:
		case F_EXTRACT_TEXT_TIMESTAMP:
		case F_EXTRACT_TEXT_TIMESTAMPTZ:
			return is_whole_field(linitial(args)) && add_scale(scales, 0);
		default:
			return false;
	}
}

/* The scales of whichever of these values it is */
static bool
infer_from_all(List *values, Bitmapset **scales)
{
	foreach_ptr(Node, value, values)
		if (!infer_scales(value, scales))
			return false;
	return true;
}

/* NaN and the infinities have none */
static bool
infer_from_value(Numeric value, Bitmapset **scales)
{
	return !numeric_is_nan(value) && !numeric_is_inf(value) &&
		add_scale(scales, DatumGetInt32(DirectFunctionCall1(numeric_scale,
															NumericGetDatum(value))));
}

/*
 * Add the scales that the values of a numeric expression can have; false if they
 * cannot be told.
 */
static bool
infer_scales(Node *node, Bitmapset **scales)
{
	if (node == NULL)
		return true;
	if (exprType(node) == NUMERICOID && infer_from_typmod(exprTypmod(node), scales))
		return true;
	switch (nodeTag(node))
	{
		case T_Const:
			{
				Const	   *con = (Const *) node;

				return con->constisnull ||
					(con->consttype == NUMERICOID &&
					 infer_from_value(DatumGetNumeric(con->constvalue), scales));
			}
		case T_RelabelType:
			return infer_scales((Node *) ((RelabelType *) node)->arg, scales);
		case T_FuncExpr:
			return infer_from_call(((FuncExpr *) node)->funcid,
								   ((FuncExpr *) node)->args, scales);
		case T_OpExpr:
			set_opfuncid((OpExpr *) node);
			return infer_from_call(((OpExpr *) node)->opfuncid,
								   ((OpExpr *) node)->args, scales);
		case T_CoalesceExpr:
			return infer_from_all(((CoalesceExpr *) node)->args, scales);
		case T_MinMaxExpr:
			return infer_from_all(((MinMaxExpr *) node)->args, scales);
		case T_CaseExpr:
			{
				CaseExpr   *expr = (CaseExpr *) node;

				foreach_ptr(CaseWhen, when, expr->args)
					if (!infer_scales((Node *) when->result, scales))
						return false;
				return infer_scales((Node *) expr->defresult, scales);
			}
		default:
			return false;
	}
}

/*
 * The scales that values of a numeric expression can have, not counting NaN and
 * the infinities; NULL if that is not known.
 */
Bitmapset *
mvr_scale_infer(Expr *expr)
{
	Bitmapset  *scales = NULL;

	return infer_scales((Node *) expr, &scales) ? scales : NULL;
}
