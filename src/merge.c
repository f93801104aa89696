/*
 * merge.c
 *		The values of a state column, before and after a change of its group.
 *
 * Each function takes the old value of a state column and what came and went,
 * any of which may be NULL, and sets the new value; or returns false if the
 * group must be recomputed.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "matview_refresh.h"

static int64
int8_or_zero(MvrValue datum)
{
	return datum.isnull ? 0 : DatumGetInt64(datum.value);
}

static bool
merge_int8(MvrValue old, MvrValue came, MvrValue went, MvrValue *result)
{
	int64		sum;

	if (pg_add_s64_overflow(int8_or_zero(old), int8_or_zero(came), &sum) ||
		pg_sub_s64_overflow(sum, int8_or_zero(went), &sum))
		return false;
	result->value = Int64GetDatum(sum);
	result->isnull = false;
	return true;
}

static bool
is_special_numeric(MvrValue datum)
{
	return !datum.isnull && (numeric_is_nan(DatumGetNumeric(datum.value)) ||
							 numeric_is_inf(DatumGetNumeric(datum.value)));
}

/* NaN and the infinities cannot be taken out of a sum again */
static bool
merge_numeric(MvrValue old, MvrValue came, MvrValue went, MvrValue *result)
{
	if (is_special_numeric(old) || is_special_numeric(came) || is_special_numeric(went))
		return false;
	*result = old;
	if (!came.isnull)
		result->value = old.isnull ? came.value :
			DirectFunctionCall2(numeric_add, old.value, came.value);
	if (old.isnull && came.isnull)
		return false;
	result->isnull = false;
	if (!went.isnull)
		result->value = DirectFunctionCall2(numeric_sub, result->value, went.value);
	return true;
}

static bool
merge_sum(MvrStateColumn *column, MvrValue count, MvrValue old,
		  MvrValue came, MvrValue went, MvrValue *result)
{
	result->value = (Datum) 0;
	result->isnull = true;
	if (int8_or_zero(count) == 0)
		return true;
	if (column->aggregate->aggtype == INT8OID)
		return merge_int8(old, came, went, result);
	return merge_numeric(old, came, went, result);
}

/*
 * A sum shows as many decimal digits as the one of its values that has most.
 * If values went, that is certain only while all have the same scale.
 * "low" and "high" are the least and the greatest scale.
 */
static bool
merge_scales(MvrValue count, const MvrValue low[3], const MvrValue high[3],
			 MvrValue *newlow, MvrValue *newhigh)
{
	newlow->isnull = newhigh->isnull = true;
	newlow->value = newhigh->value = (Datum) 0;
	if (int8_or_zero(count) == 0)
		return true;
	for (int i = 0; i < 2; i++)
	{
		if (low[i].isnull)
			continue;
		if (newlow->isnull || DatumGetInt32(low[i].value) < DatumGetInt32(newlow->value))
			*newlow = low[i];
		if (newhigh->isnull || DatumGetInt32(high[i].value) > DatumGetInt32(newhigh->value))
			*newhigh = high[i];
	}
	if (low[2].isnull)
		return true;
	return !newlow->isnull &&
		DatumGetInt32(newlow->value) == DatumGetInt32(newhigh->value) &&
		DatumGetInt32(newlow->value) == DatumGetInt32(low[2].value) &&
		DatumGetInt32(newlow->value) == DatumGetInt32(high[2].value);
}

/* The extremum stays, or what came is better, unless what went could be it */
static bool
merge_extremum(MvrStateColumn *column, MvrValue old, MvrValue came,
			   MvrValue went, MvrValue *result)
{
	RegProcedure better = get_opcode(column->better);
	Oid			collation = column->aggregate->inputcollid;

	*result = old;
	if (old.isnull ||
		(!came.isnull &&
		 DatumGetBool(OidFunctionCall2Coll(better, collation, came.value, old.value))))
		*result = came;
	if (went.isnull)
		return true;
	return !result->isnull &&
		DatumGetBool(OidFunctionCall2Coll(better, collation, result->value, went.value));
}

static MvrValue
get_column(TupleTableSlot *slot, AttrNumber attno)
{
	MvrValue	result;

	result.value = slot_getattr(slot, attno, &result.isnull);
	return result;
}

static const MvrValue null_value = {(Datum) 0, true};

/* The value of a state column before, what came, and what went */
static void
get_three(int nkeys, TupleTableSlot *found, TupleTableSlot *delta, int index,
		  MvrValue three[3])
{
	three[0] = found ? get_column(found, MVR_STATE_FIXED + nkeys + index + 1) : null_value;
	three[1] = get_column(delta, nkeys + 2 + 2 * index);
	three[2] = get_column(delta, nkeys + 3 + 2 * index);
}

/*
 * Merge the aggregates of a group: "found" is its state so far, or NULL; "delta"
 * a row of mvr_delta_query_build_groups(); "next" the new state, a virtual slot.
 * Returns false if the group must be recomputed.
 */
bool
mvr_merge_columns(const MvrStage *stage, TupleTableSlot *found, TupleTableSlot *delta,
				  TupleTableSlot *next)
{
	int			nkeys = list_length(stage->keys);
	Datum	   *values = next->tts_values + MVR_STATE_FIXED + nkeys;
	bool	   *nulls = next->tts_isnull + MVR_STATE_FIXED + nkeys;
	int			ncolumns = list_length(stage->columns);

	for (int i = 0; i < ncolumns; i++)
	{
		MvrStateColumn *column = list_nth(stage->columns, i);
		MvrValue	three[3];
		MvrValue	result = null_value;
		MvrValue	count = null_value;
		bool		merged = false;

		get_three(nkeys, found, delta, i, three);
		if (column->merge == MVR_MERGE_SUM || column->merge == MVR_MERGE_SCALE)
		{
			count = column->count == MVR_COUNT_OF_ROWS ?
				get_column(next, MVR_STATE_COUNT) :
				(MvrValue) {values[column->count], nulls[column->count]};
		}
		switch (column->merge)
		{
			case MVR_MERGE_COUNT:
				merged = merge_int8(three[0], three[1], three[2], &result);
				break;
			case MVR_MERGE_SUM:
				merged = merge_sum(column, count, three[0], three[1], three[2], &result);
				break;
			case MVR_MERGE_EXTREMUM:
				merged = merge_extremum(column, three[0], three[1], three[2], &result);
				break;
			case MVR_MERGE_SCALE:
				{
					/* least and greatest stand side by side */
					MvrValue	high[3];
					MvrValue	greatest;

					get_three(nkeys, found, delta, i + 1, high);
					merged = merge_scales(count, three, high, &result, &greatest);
					values[i + 1] = greatest.value;
					nulls[i + 1] = greatest.isnull;
					break;
				}
			case MVR_MERGE_NONE:
				break;
		}
		if (!merged)
			return false;
		values[i] = result.value;
		nulls[i] = result.isnull;
		if (column->merge == MVR_MERGE_SCALE)
			i++;
	}
	return true;
}
