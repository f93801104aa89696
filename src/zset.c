/*
 * zset.c
 *		Collect rows with weights, hand out what is left of them.
 *
 * A multiset of rows in which a row may count negatively is called a Z-set
 * (Budiu et al., "DBSP: Automatic Incremental View Maintenance", VLDB 2023).
 * Deltas are Z-sets; so is "query minus view", whose rows are the differences.
 *
 * Rows are sorted by a hash of their key (of all columns, without a key), and
 * within a hash those that went come before those that appeared.  The sort
 * spills to disk, so size is no concern.  Of one hash only the distinct rows
 * that went are held in memory, and with a key also those that appeared:
 *
 *	1. a row that appeared and is the same as one that went: the two cancel
 *	   (MVR_ROW_SAME)
 *	2. when the hash ends, one that appeared and has the key of one that went:
 *	   MVR_ROW_UPDATED; without such a one, and always without a key,
 *	   MVR_ROW_INSERTED
 *	3. what went and met nothing: MVR_ROW_DELETED
 *
 * The second step must wait for the end.  A row of a join of which two tables
 * have changed comes and goes in between, so the rows of one key can be many,
 * and only those that are left are, or are to be, in the view.
 *
 * A row is compared by its binary image, since users see the difference
 * between values that "=" calls equal, and some types have no "=".  Columns
 * behind the row (the "payload") travel with it and are not compared.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "matview_refresh.h"

/* Columns before the row in what is sorted */
#define SORT_HASH		1
#define SORT_WEIGHT		2
#define SORT_TID		3
#define SORT_FIXED		3

/* A distinct row of the current hash that went, and how often */
typedef struct Went
{
	TupleTableSlot *slot;		/* sorted tuple */
	int64		count;			/* how often, not yet met */
	ItemPointerData *tids;		/* where, if that is known */
	int64		maxtids;
} Went;

struct MvrZset
{
	int			nrow;			/* columns of a row */
	int			nkeys;			/* 0: the whole row is the key */
	AttrNumber *keys;
	TupleDesc	sortdesc;
	Tuplesortstate *sort;
	bool		sorted;
	TupleTableSlot *in;			/* row on its way into the sort */
	TupleTableSlot *ahead;		/* next sorted tuple, if not empty */
	TupleTableSlot *current;	/* the one handed out as "row" */
	TupleTableSlot *row;		/* virtual slots that callers see */
	TupleTableSlot *old;
	int64		hash;			/* of the rows in "went" and "appeared" */
	Went	   *went;
	int			nwent;
	int			maxwent;
	TupleTableSlot **appeared;	/* with a key: rows that met no equal */
	int			nappeared;
	int			maxappeared;
	MemoryContext context;		/* for the zset's life */
};

/* ----------
 * Binary images
 * ----------
 */

/*
 * Hash of the binary image of some columns of a row, or of its first natts
 * columns if attnos is NULL.  Indexes hold these values: never change it.
 */
int64
mvr_zset_hash(TupleTableSlot *slot, int natts, const AttrNumber *attnos)
{
	uint64		hash = 0;

	for (int i = 0; i < natts; i++)
	{
		int			attno = attnos ? attnos[i] : i + 1;
		bool		isnull;
		Datum		value = slot_getattr(slot, attno, &isnull);

		hash = mvr_image_hash(value, isnull,
							  TupleDescAttr(slot->tts_tupleDescriptor, attno - 1),
							  hash + i + 1);
	}
	return (int64) hash;
}

/* Do columns of two slots, which have been deformed as far, agree? */
static bool
is_same_value(TupleTableSlot *a, int a_at, TupleTableSlot *b, int b_at)
{
	if (a->tts_isnull[a_at] || b->tts_isnull[b_at])
		return a->tts_isnull[a_at] == b->tts_isnull[b_at];
	return mvr_image_is_same(a->tts_values[a_at], b->tts_values[b_at],
							 TupleDescAttr(a->tts_tupleDescriptor, a_at));
}

/* Do two slots agree in a run of columns, at different places perhaps? */
static bool
is_same_image(TupleTableSlot *a, int a_first, TupleTableSlot *b, int b_first,
			  int natts)
{
	slot_getsomeattrs(a, a_first + natts);
	slot_getsomeattrs(b, b_first + natts);
	for (int i = 0; i < natts; i++)
		if (!is_same_value(a, a_first + i, b, b_first + i))
			return false;
	return true;
}

/*
 * Are the first natts columns of two rows alike, bit for bit?  Those that are
 * soonest compared come first: most rows that differ do so there.
 */
bool
mvr_zset_is_same(TupleTableSlot *a, TupleTableSlot *b, int natts)
{
	TupleDesc	desc = a->tts_tupleDescriptor;

	slot_getsomeattrs(a, natts);
	slot_getsomeattrs(b, natts);
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < natts; i++)
			if (TupleDescAttr(desc, i)->attbyval == (pass == 0) &&
				!is_same_value(a, i, b, i))
				return false;
	return true;
}

static bool
is_same_key(MvrZset *zset, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int i = 0; i < zset->nkeys; i++)
	{
		int			at = SORT_FIXED + zset->keys[i] - 1;

		if (!is_same_image(a, at, b, at, 1))
			return false;
	}
	return true;
}

/* ----------
 * Putting rows in
 * ----------
 */

static TupleDesc
build_joined_desc(int nfixed, TupleDesc row, TupleDesc payload)
{
	int			npayload = payload ? payload->natts : 0;
	TupleDesc	desc = CreateTemplateTupleDesc(nfixed + row->natts + npayload);

	for (int i = 0; i < row->natts; i++)
		TupleDescCopyEntry(desc, nfixed + i + 1, row, i + 1);
	for (int i = 0; i < npayload; i++)
		TupleDescCopyEntry(desc, nfixed + row->natts + i + 1, payload, i + 1);
	return desc;
}

/*
 * Begin a Z-set of rows, with payload columns or NULL.  The nkeys columns in
 * "keys" tell rows apart; with none, a row has no other identity than itself
 * and nothing is handed out as updated.
 */
MvrZset *
mvr_zset_begin(TupleDesc row, TupleDesc payload, int nkeys, const AttrNumber *keys)
{
	MvrZset    *zset = palloc0(sizeof(MvrZset));
	AttrNumber	attnos[] = {SORT_HASH, SORT_WEIGHT};
	Oid			operators[] = {Int8LessOperator, Int4LessOperator};
	Oid			collations[] = {InvalidOid, InvalidOid};
	bool		nulls_first[] = {false, false};
	TupleDesc	seen = build_joined_desc(0, row, payload);

	zset->context = CurrentMemoryContext;
	zset->nrow = row->natts;
	zset->nkeys = nkeys;
	zset->keys = palloc(sizeof(AttrNumber) * (nkeys + 1));
	for (int i = 0; i < nkeys; i++)
		zset->keys[i] = keys[i];
	zset->sortdesc = build_joined_desc(SORT_FIXED, row, payload);
	TupleDescInitEntry(zset->sortdesc, SORT_HASH, "hash", INT8OID, -1, 0);
	TupleDescInitEntry(zset->sortdesc, SORT_WEIGHT, "weight", INT4OID, -1, 0);
	TupleDescInitEntry(zset->sortdesc, SORT_TID, "tid", TIDOID, -1, 0);
	TupleDescFinalize(zset->sortdesc);
	TupleDescFinalize(seen);
	zset->in = MakeSingleTupleTableSlot(zset->sortdesc, &TTSOpsVirtual);
	zset->ahead = MakeSingleTupleTableSlot(zset->sortdesc, &TTSOpsMinimalTuple);
	zset->current = MakeSingleTupleTableSlot(zset->sortdesc, &TTSOpsMinimalTuple);
	zset->row = MakeSingleTupleTableSlot(seen, &TTSOpsVirtual);
	zset->old = MakeSingleTupleTableSlot(seen, &TTSOpsVirtual);
	zset->sort = tuplesort_begin_heap(zset->sortdesc, 2, attnos, operators,
									  collations, nulls_first, work_mem, NULL,
									  TUPLESORT_NONE);
	return zset;
}

/*
 * What a row is sorted by: a hash of its key.  If the first key column is
 * passed by value then its low bits come first, so that rows are handed out,
 * and searched for, about in the order of an index on it: neighbours on a page
 * are visited together.
 */
static int64
get_sort_hash(MvrZset *zset, TupleTableSlot *row)
{
	int64		hash;
	bool		isnull;
	Datum		value;

	if (zset->nkeys == 0)
		return mvr_zset_hash(row, zset->nrow, NULL);
	hash = mvr_zset_hash(row, zset->nkeys, zset->keys);
	value = slot_getattr(row, zset->keys[0], &isnull);
	if (isnull || !TupleDescAttr(zset->in->tts_tupleDescriptor,
								 SORT_FIXED + zset->keys[0] - 1)->attbyval)
		return hash;
	return (int64) (((uint64) (uint32) value << 32) | (uint32) hash);
}

/*
 * Add a row of weight +1 or -1.  tid says where a row that went stands, or is
 * NULL; payload may be NULL for a row that went.
 */
void
mvr_zset_put(MvrZset *zset, TupleTableSlot *row, int weight, ItemPointer tid,
			 TupleTableSlot *payload)
{
	TupleTableSlot *in = zset->in;
	int			npayload = zset->sortdesc->natts - SORT_FIXED - zset->nrow;
	int64		hash = get_sort_hash(zset, row);

	ExecClearTuple(in);
	slot_getsomeattrs(row, zset->nrow);
	memcpy(in->tts_values + SORT_FIXED, row->tts_values, sizeof(Datum) * zset->nrow);
	memcpy(in->tts_isnull + SORT_FIXED, row->tts_isnull, sizeof(bool) * zset->nrow);
	for (int i = 0; i < npayload; i++)
	{
		int			at = SORT_FIXED + zset->nrow + i;

		in->tts_values[at] = 0;
		in->tts_isnull[at] = true;
		if (payload)
			in->tts_values[at] = slot_getattr(payload, i + 1, &in->tts_isnull[at]);
	}
	in->tts_values[SORT_HASH - 1] = Int64GetDatum(hash);
	in->tts_values[SORT_WEIGHT - 1] = Int32GetDatum(weight);
	in->tts_values[SORT_TID - 1] = PointerGetDatum(tid);
	in->tts_isnull[SORT_HASH - 1] = false;
	in->tts_isnull[SORT_WEIGHT - 1] = false;
	in->tts_isnull[SORT_TID - 1] = (tid == NULL);
	ExecStoreVirtualTuple(in);
	tuplesort_puttupleslot(zset->sort, in);
}

/* ----------
 * Handing rows out
 * ----------
 */

static int64
get_hash(TupleTableSlot *sorted)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(sorted, SORT_HASH, &isnull));
}

static int
get_weight(TupleTableSlot *sorted)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(sorted, SORT_WEIGHT, &isnull));
}

static void
fetch_ahead(MvrZset *zset)
{
	if (!zset->sorted)
	{
		tuplesort_performsort(zset->sort);
		zset->sorted = true;
	}
	if (!tuplesort_gettupleslot(zset->sort, true, true, zset->ahead, NULL))
		ExecClearTuple(zset->ahead);
}

/* Show the row part of a sorted tuple in a slot that callers see */
static TupleTableSlot *
show_row(TupleTableSlot *shown, TupleTableSlot *sorted)
{
	int			natts = shown->tts_tupleDescriptor->natts;

	ExecClearTuple(shown);
	slot_getallattrs(sorted);
	memcpy(shown->tts_values, sorted->tts_values + SORT_FIXED, sizeof(Datum) * natts);
	memcpy(shown->tts_isnull, sorted->tts_isnull + SORT_FIXED, sizeof(bool) * natts);
	return ExecStoreVirtualTuple(shown);
}

/* A free place for a distinct row that went, its slot kept from earlier use */
static Went *
add_went(MvrZset *zset)
{
	Went	   *went;

	if (zset->nwent == zset->maxwent)
	{
		int			newmax = Max(zset->maxwent * 2, 4);

		zset->went = zset->maxwent == 0 ? palloc0(sizeof(Went) * newmax) :
			repalloc(zset->went, sizeof(Went) * newmax);
		memset(zset->went + zset->maxwent, 0, sizeof(Went) * (newmax - zset->maxwent));
		zset->maxwent = newmax;
	}
	went = &zset->went[zset->nwent++];
	if (went->slot == NULL)
		went->slot = MakeSingleTupleTableSlot(zset->sortdesc, &TTSOpsMinimalTuple);
	went->count = 0;
	return went;
}

static Went *
lookup_same(MvrZset *zset, TupleTableSlot *sorted)
{
	for (int i = 0; i < zset->nwent; i++)
		if (is_same_image(zset->went[i].slot, SORT_FIXED, sorted, SORT_FIXED,
						  zset->nrow))
			return &zset->went[i];
	return NULL;
}

/* Remember one more row that went, where it stands if that is known */
static void
note_went(MvrZset *zset, TupleTableSlot *sorted)
{
	MemoryContext old = MemoryContextSwitchTo(zset->context);
	Went	   *went = lookup_same(zset, sorted);
	bool		isnull;
	Datum		tid;

	if (went == NULL)
	{
		went = add_went(zset);
		ExecCopySlot(went->slot, sorted);
	}
	tid = slot_getattr(sorted, SORT_TID, &isnull);
	if (!isnull)
	{
		if (went->count >= went->maxtids)
		{
			int64		newmax = Max(went->maxtids * 2, 2);

			went->tids = went->maxtids == 0 ?
				palloc(sizeof(ItemPointerData) * newmax) :
				repalloc_huge(went->tids, sizeof(ItemPointerData) * newmax);
			went->maxtids = newmax;
		}
		went->tids[went->count] = *(ItemPointer) DatumGetPointer(tid);
	}
	went->count++;
	MemoryContextSwitchTo(old);
}

/* Hand out one of the rows that went, and forget it */
static void
take_went(MvrZset *zset, Went *went, MvrZsetRow *result)
{
	bool		isnull;

	went->count--;
	slot_getattr(went->slot, SORT_TID, &isnull);
	if (isnull)
		ItemPointerSetInvalid(&result->tid);
	else
		result->tid = went->tids[went->count];
	result->old = show_row(zset->old, went->slot);
}

/* Keep a row that appeared until all of its hash are known */
static void
note_appeared(MvrZset *zset, TupleTableSlot *sorted)
{
	MemoryContext old = MemoryContextSwitchTo(zset->context);

	if (zset->nappeared == zset->maxappeared)
	{
		int			newmax = Max(zset->maxappeared * 2, 4);

		zset->appeared = zset->maxappeared == 0 ?
			palloc(sizeof(TupleTableSlot *) * newmax) :
			repalloc(zset->appeared, sizeof(TupleTableSlot *) * newmax);
		for (int i = zset->maxappeared; i < newmax; i++)
			zset->appeared[i] = MakeSingleTupleTableSlot(zset->sortdesc,
														 &TTSOpsMinimalTuple);
		zset->maxappeared = newmax;
	}
	ExecCopySlot(zset->appeared[zset->nappeared++], sorted);
	MemoryContextSwitchTo(old);
}

/* Does a row that appeared cancel one that went?  Then hand out both. */
static bool
cancel_appeared(MvrZset *zset, TupleTableSlot *sorted, MvrZsetRow *result)
{
	Went	   *went = lookup_same(zset, sorted);

	if (went == NULL || went->count == 0)
		return false;
	take_went(zset, went, result);
	result->row = show_row(zset->row, sorted);
	result->change = MVR_ROW_SAME;
	return true;
}

/* Hand out a row that appeared and cancels none */
static void
take_appeared(MvrZset *zset, TupleTableSlot *sorted, MvrZsetRow *result)
{
	result->row = show_row(zset->row, sorted);
	result->old = NULL;
	result->change = MVR_ROW_INSERTED;
	for (int i = 0; i < zset->nwent && zset->nkeys > 0; i++)
	{
		if (zset->went[i].count > 0 && is_same_key(zset, zset->went[i].slot, sorted))
		{
			take_went(zset, &zset->went[i], result);
			result->change = MVR_ROW_UPDATED;
			return;
		}
	}
}

/* Hand out what is left of a hash; false if nothing is */
static bool
next_left(MvrZset *zset, MvrZsetRow *result)
{
	if (zset->nappeared > 0)
	{
		take_appeared(zset, zset->appeared[--zset->nappeared], result);
		return true;
	}
	for (; zset->nwent > 0; zset->nwent--)
	{
		Went	   *went = &zset->went[zset->nwent - 1];

		if (went->count == 0)
			continue;
		take_went(zset, went, result);
		result->row = NULL;
		result->change = MVR_ROW_DELETED;
		return true;
	}
	return false;
}

/*
 * Hand out the next row; false at the end.  Its slots are good until the next
 * call.
 */
bool
mvr_zset_next(MvrZset *zset, MvrZsetRow *result)
{
	if (!zset->sorted)
		fetch_ahead(zset);

	for (;;)
	{
		TupleTableSlot *sorted = zset->ahead;

		if ((TTS_EMPTY(sorted) || get_hash(sorted) != zset->hash) &&
			next_left(zset, result))
			return true;
		if (TTS_EMPTY(sorted))
			return false;
		zset->hash = get_hash(sorted);

		/* keep it while the next one is fetched */
		zset->ahead = zset->current;
		zset->current = sorted;
		fetch_ahead(zset);
		if (get_weight(sorted) < 0)
			note_went(zset, sorted);
		else if (cancel_appeared(zset, sorted, result))
			return true;
		else if (zset->nkeys > 0)
			note_appeared(zset, sorted);
		else
		{
			take_appeared(zset, sorted, result);
			return true;
		}
	}
}

/* Free the sort of a Z-set, with its files, and its slots */
void
mvr_zset_end(MvrZset *zset)
{
	tuplesort_end(zset->sort);
	ExecDropSingleTupleTableSlot(zset->in);
	ExecDropSingleTupleTableSlot(zset->ahead);
	ExecDropSingleTupleTableSlot(zset->current);
	ExecDropSingleTupleTableSlot(zset->row);
	ExecDropSingleTupleTableSlot(zset->old);
	for (int i = 0; i < zset->maxappeared; i++)
		ExecDropSingleTupleTableSlot(zset->appeared[i]);
	for (int i = 0; i < zset->maxwent; i++)
		if (zset->went[i].slot)
			ExecDropSingleTupleTableSlot(zset->went[i].slot);
}
