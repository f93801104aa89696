/*
 * image.c
 *		Binary images of values: what tells rows apart, and is hashed.
 *
 * Not "=", since users see the difference between values that it calls equal,
 * and some types have no "=".  How a value is stored is no part of its image:
 * compressed or not, in the row or elsewhere.  The fields of a composite value,
 * alone or in an array, are values of their own; a value taken from the table
 * has them compressed where one from a change log need not.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* What must be known of a type */
typedef struct Kind
{
	Oid			type;
	int16		len;
	bool		byval;
	char		align;
} Kind;

/* A composite value, or an array of such, taken apart */
typedef struct Parts
{
	int			n;
	Datum	   *values;
	bool	   *nulls;
	Kind	   *kinds;
	uint64		shape;			/* hash of what else is to be known, or 0 */
	void	   *copy;			/* of the value, or NULL */
} Parts;

PG_FUNCTION_INFO_V1(mvr_row_hash);

static Kind
get_kind(Form_pg_attribute att)
{
	Kind		kind = {att->atttypid, att->attlen, att->attbyval, att->attalign};

	return kind;
}

/*
 * The bits of a pass-by-value datum that a tuple keeps.  The rest depends on
 * whether the value has been through a tuple yet (think of an oid, which is
 * sign-extended when fetched and not when computed).
 */
static uint64
stored_bits(Datum value, int attlen)
{
	switch (attlen)
	{
		case 1:
			return (uint8) value;
		case 2:
			return (uint16) value;
		case 4:
			return (uint32) value;
		default:
			return value;
	}
}

/* ----------
 * Composite values
 * ----------
 */

static void
take_row_apart(Datum value, Parts *parts)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											  HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	parts->n = desc->natts;
	parts->shape = 0;
	parts->copy = (Pointer) header != DatumGetPointer(value) ? header : NULL;
	parts->values = palloc(sizeof(Datum) * (desc->natts + 1));
	parts->nulls = palloc(sizeof(bool) * (desc->natts + 1));
	parts->kinds = palloc(sizeof(Kind) * (desc->natts + 1));
	heap_deform_tuple(&tuple, desc, parts->values, parts->nulls);
	for (int i = 0; i < desc->natts; i++)
		parts->kinds[i] = get_kind(TupleDescAttr(desc, i));
	ReleaseTupleDesc(desc);
}

static void
take_array_apart(Datum value, Oid element, Parts *parts)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Kind		kind;

	kind.type = element;
	parts->copy = (Pointer) array != DatumGetPointer(value) ? array : NULL;
	get_typlenbyvalalign(element, &kind.len, &kind.byval, &kind.align);
	deconstruct_array(array, element, kind.len, kind.byval, kind.align, &parts->values,
					  &parts->nulls, &parts->n);
	parts->kinds = palloc(sizeof(Kind) * (parts->n + 1));
	for (int i = 0; i < parts->n; i++)
		parts->kinds[i] = kind;
	/* dimensions, and lower bounds behind them */
	parts->shape = hash_bytes_extended((unsigned char *) ARR_DIMS(array),
									   2 * sizeof(int) * ARR_NDIM(array), 0);
}

/* Take apart what has parts that can be compressed each by itself; else false */
static bool
take_apart(Datum value, const Kind *kind, Parts *parts)
{
	Oid			type;
	Oid			element;

	/* as all composite types are aligned, and arrays of them; no type: dropped */
	if (kind->len != -1 || kind->align != TYPALIGN_DOUBLE || !OidIsValid(kind->type))
		return false;
	type = getBaseType(kind->type);
	if (type_is_rowtype(type))
	{
		take_row_apart(value, parts);
		return true;
	}
	element = get_element_type(type);
	if (!OidIsValid(element) || !type_is_rowtype(element))
		return false;
	take_array_apart(value, element, parts);
	return true;
}

static void
free_parts(Parts *parts)
{
	pfree(parts->values);
	pfree(parts->nulls);
	pfree(parts->kinds);
	if (parts->copy)
		pfree(parts->copy);
}

/* ----------
 * Hash
 * ----------
 */

static uint64 hash_value(Datum value, bool isnull, const Kind *kind, uint64 seed);

static uint64
hash_parts(const Parts *parts, uint64 seed)
{
	uint64		hash = seed ^ parts->shape;

	check_stack_depth();
	for (int i = 0; i < parts->n; i++)
		hash = hash_value(parts->values[i], parts->nulls[i], &parts->kinds[i], hash + i + 1);
	return hash;
}

static uint64
hash_varlena(Datum value, uint64 seed)
{
	struct varlena *flat = PG_DETOAST_DATUM_PACKED(value);
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(flat),
										   VARSIZE_ANY_EXHDR(flat), seed);

	if ((Pointer) flat != DatumGetPointer(value))
		pfree(flat);
	return hash;
}

static uint64
hash_value(Datum value, bool isnull, const Kind *kind, uint64 seed)
{
	Parts		parts;

	if (isnull)
		return hash_bytes_uint32_extended(0, seed);
	if (kind->byval)
	{
		uint64		bits = stored_bits(value, kind->len);

		return hash_bytes_extended((unsigned char *) &bits, sizeof(bits), seed);
	}
	if (take_apart(value, kind, &parts))
	{
		uint64		hash = hash_parts(&parts, seed);

		free_parts(&parts);
		return hash;
	}
	if (kind->len == -1)
		return hash_varlena(value, seed);
	return hash_bytes_extended((unsigned char *) DatumGetPointer(value),
							   datumGetSize(value, false, kind->len), seed);
}

/* Hash of the image of a column's value */
uint64
mvr_image_hash(Datum value, bool isnull, Form_pg_attribute att, uint64 seed)
{
	Kind		kind = get_kind(att);

	return hash_value(value, isnull, &kind, seed);
}

/*
 * SQL: matview.row_hash(record), of all columns of a row.  Indexes hold these
 * values: never change it.
 */
Datum
mvr_row_hash(PG_FUNCTION_ARGS)
{
	Parts		parts;
	uint64		hash;

	take_row_apart(PG_GETARG_DATUM(0), &parts);
	hash = hash_parts(&parts, 0);
	free_parts(&parts);
	PG_RETURN_INT64((int64) hash);
}

/* ----------
 * Equality
 * ----------
 */

static bool is_same_value(Datum a, Datum b, const Kind *kind);

static bool
is_same_parts(const Parts *a, const Parts *b)
{
	check_stack_depth();
	if (a->n != b->n || a->shape != b->shape)
		return false;
	for (int i = 0; i < a->n; i++)
		if (a->kinds[i].type != b->kinds[i].type || a->nulls[i] != b->nulls[i] ||
			(!a->nulls[i] && !is_same_value(a->values[i], b->values[i], &a->kinds[i])))
			return false;
	return true;
}

static bool
is_same_value(Datum a, Datum b, const Kind *kind)
{
	Parts		parts_a;
	Parts		parts_b;
	bool		result;

	if (kind->byval)
		return stored_bits(a, kind->len) == stored_bits(b, kind->len);
	if (datum_image_eq(a, b, false, kind->len))
		return true;
	if (!take_apart(a, kind, &parts_a))
		return false;
	(void) take_apart(b, kind, &parts_b);
	result = is_same_parts(&parts_a, &parts_b);
	free_parts(&parts_a);
	free_parts(&parts_b);
	return result;
}

/* Do two values of a column have the same image? */
bool
mvr_image_is_same(Datum a, Datum b, Form_pg_attribute att)
{
	Kind		kind = get_kind(att);

	return is_same_value(a, b, &kind);
}
