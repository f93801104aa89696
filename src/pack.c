/*
 * pack.c
 *		Many rows of a change log in one.
 *
 * What a statement changes is mostly small rows, and a row of a heap has more
 * header than they have data.  So they are packed, up to about a page of them in
 * one value of type bytea, which is written, read and deleted as one row.
 *
 * A pack is
 *	uint32	how many rows
 *	uint16	how many columns the log had, without the fixed ones
 *	then for each row
 *	uint16	length of its data, with the highest bit set if it has NULLs
 *	int8	weight
 *	bytes	its NULLs, a bit for each column, if there are any
 *	bytes	its data, as in a heap
 *
 * The log may have got columns since, or lost some: they are read as from a row
 * of a heap that is older than that.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"

#include "matview_refresh.h"

/* All of it must fit on a page, with the rest of the log row */
#define PACK_SIZE		7900

/* A row with more data than this stands alone; fits into 15 bits */
#define MAX_ROW			1000

#define HAS_NULLS		0x8000
#define HEADER_SIZE		(sizeof(uint32) + sizeof(uint16))
#define ROW_HEADER_SIZE (sizeof(uint16) + 1)

struct MvrPack
{
	TupleDesc	desc;			/* of the log, without the fixed columns */
	uint32		nrows;
	Size		used;
	char		data[PACK_SIZE];
	uint64		room[MAX_ROW / sizeof(uint64)];	/* for one row, aligned */
};

struct MvrPackReader
{
	TupleDesc	desc;			/* likewise, as it is now; those that are read */
	const char *next;
	uint32		left;			/* rows that have not been read */
	uint16		natts;
	HeapTuple	tuple;			/* room for one row */
	HeapTuple	other;			/* and for the one before */
};

/* The columns of a log that come from the base table, of the first "natts" */
static TupleDesc
build_data_desc(TupleDesc log, int natts)
{
	TupleDesc	desc = CreateTemplateTupleDesc(natts - MVR_LOG_FIXED);

	for (int i = 1; i <= desc->natts; i++)
		TupleDescCopyEntry(desc, i, log, MVR_LOG_FIXED + i);
	TupleDescFinalize(desc);
	return desc;
}

/* ----------
 * Writing
 * ----------
 */

MvrPack *
mvr_pack_begin(TupleDesc log)
{
	MvrPack    *pack = palloc(sizeof(MvrPack));

	pack->desc = build_data_desc(log, log->natts);
	mvr_pack_clear(pack);
	return pack;
}

/* Make a pack empty, to be filled again */
void
mvr_pack_clear(MvrPack *pack)
{
	uint16		natts = pack->desc->natts;

	pack->nrows = 0;
	memcpy(pack->data + sizeof(uint32), &natts, sizeof(natts));
	pack->used = HEADER_SIZE;
}

/* Has a row NULLs, or values that are stored elsewhere? */
static void
find_kinds(TupleDesc desc, const Datum *values, const bool *nulls, bool *has_nulls,
		   bool *has_external)
{
	*has_nulls = *has_external = false;
	for (int i = 0; i < desc->natts; i++)
	{
		if (nulls[i])
			*has_nulls = true;
		else if (TupleDescAttr(desc, i)->attlen == -1 &&
				 VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			*has_external = true;
	}
}

static void
put_row(MvrPack *pack, Datum *values, bool *nulls, int weight, bool has_nulls,
		Size length)
{
	uint16		stored = has_nulls ? length | HAS_NULLS : length;
	char	   *to = pack->data + pack->used;
	uint8	   *bitmap = NULL;
	uint16		infomask = 0;

	memcpy(to, &stored, sizeof(stored));
	to[sizeof(stored)] = (char) weight;
	to += ROW_HEADER_SIZE;
	if (has_nulls)
	{
		bitmap = (uint8 *) to;
		to += BITMAPLEN(pack->desc->natts);
	}
	/* padding must be zero, for that is how it is told from a short header */
	memset(pack->room, 0, length);
	heap_fill_tuple(pack->desc, values, nulls, (char *) pack->room, length, &infomask,
					bitmap);
	memcpy(to, pack->room, length);
	pack->used = to + length - pack->data;
	pack->nrows++;
}

/*
 * Put a row, given its values without those of the fixed columns, if there is
 * room and it need not stand alone.
 */
MvrPackPut
mvr_pack_put(MvrPack *pack, const Datum *values, const bool *nulls, int weight)
{
	Datum	   *v = unconstify(Datum *, values);
	bool	   *n = unconstify(bool *, nulls);
	bool		has_nulls;
	bool		has_external;
	Size		length;

	find_kinds(pack->desc, values, nulls, &has_nulls, &has_external);
	if (has_external)
		return MVR_PACK_ALONE;
	length = heap_compute_data_size(pack->desc, v, n);
	if (length > MAX_ROW)
		return MVR_PACK_ALONE;
	if (pack->used + ROW_HEADER_SIZE + BITMAPLEN(pack->desc->natts) + length > PACK_SIZE)
		return MVR_PACK_FULL;
	put_row(pack, v, n, weight, has_nulls, length);
	return MVR_PACK_DONE;
}

/* The pack as a value; NULL if it has no rows */
bytea *
mvr_pack_get(MvrPack *pack)
{
	bytea	   *result;

	if (pack->nrows == 0)
		return NULL;
	memcpy(pack->data, &pack->nrows, sizeof(uint32));
	result = palloc(VARHDRSZ + pack->used);
	SET_VARSIZE(result, VARHDRSZ + pack->used);
	memcpy(VARDATA(result), pack->data, pack->used);
	return result;
}

/* ----------
 * Reading
 * ----------
 */

static HeapTuple
make_room(void)
{
	HeapTuple	tuple = palloc0(HEAPTUPLESIZE + MAX_ROW +
								MAXALIGN(SizeofHeapTupleHeader +
										 BITMAPLEN(MaxTupleAttributeNumber)));

	tuple->t_data = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
	return tuple;
}

/* Read packs, of whose rows only the first "ncolumns" of the log are wanted */
MvrPackReader *
mvr_pack_begin_read(TupleDesc log, AttrNumber ncolumns)
{
	MvrPackReader *reader = palloc0(sizeof(MvrPackReader));

	reader->desc = build_data_desc(log, ncolumns);
	reader->tuple = make_room();
	reader->other = make_room();
	return reader;
}

/* Free what reading a pack has allocated */
void
mvr_pack_end_read(MvrPackReader *reader)
{
	FreeTupleDesc(reader->desc);
	pfree(reader->tuple);
	pfree(reader->other);
	pfree(reader);
}

/* Begin with a pack, which must stay where it is */
void
mvr_pack_open(MvrPackReader *reader, bytea *pack)
{
	const char *from = VARDATA_ANY(pack);

	memcpy(&reader->left, from, sizeof(uint32));
	memcpy(&reader->natts, from + sizeof(uint32), sizeof(uint16));
	reader->next = from + HEADER_SIZE;
}

/*
 * The next row: the values of the columns that are not fixed, which hold until
 * the next call but one, and the weight.  False if there is none.
 */
bool
mvr_pack_next(MvrPackReader *reader, Datum *values, bool *nulls, int *weight)
{
	HeapTuple	tuple = reader->other;
	HeapTupleHeader header = tuple->t_data;
	uint16		length;
	bool		with_nulls;
	int			nbitmap;

	if (reader->left == 0)
		return false;
	reader->left--;
	memcpy(&length, reader->next, sizeof(length));
	*weight = (signed char) reader->next[sizeof(length)];
	reader->next += ROW_HEADER_SIZE;
	with_nulls = (length & HAS_NULLS) != 0;
	length &= ~HAS_NULLS;
	nbitmap = with_nulls ? BITMAPLEN(reader->natts) : 0;

	header->t_infomask = with_nulls ? HEAP_HASNULL : 0;
	header->t_infomask2 = 0;
	HeapTupleHeaderSetNatts(header, reader->natts);
	header->t_hoff = MAXALIGN(SizeofHeapTupleHeader + nbitmap);
	memcpy(header->t_bits, reader->next, nbitmap);
	memcpy((char *) header + header->t_hoff, reader->next + nbitmap, length);
	tuple->t_len = header->t_hoff + length;
	reader->next += nbitmap + length;
	heap_deform_tuple(tuple, reader->desc, values, nulls);
	reader->other = reader->tuple;
	reader->tuple = tuple;
	return true;
}

/* How many rows a pack has */
int64
mvr_pack_count(bytea *pack)
{
	uint32		nrows;

	memcpy(&nrows, VARDATA_ANY(pack), sizeof(nrows));
	return nrows;
}
