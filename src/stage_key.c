/*
 * stage_key.c
 *		Find the rows of a state table by their keys.
 *
 * A state table has an index on a hash of its rows' keys.  The hash is made by
 * the types' own hash functions, which agree with their "="; two keys are the
 * same if all their values are "=" or both NULL.
 *
 * Keys whose contents must be computed anew are collected here, those with
 * NULLs apart from the others: see mvr_delta_query_build_contents().
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

typedef struct MvrKeySupport
{
	MvrGroupKey *key;
	FmgrInfo	equals;
	FmgrInfo   *hash;			/* extended hash function of the type, or NULL */
} MvrKeySupport;

/*
 * Lives in the current memory context, and so do the keys that are wanted.  The
 * types of the keys have "=", which analyze.c has seen to.
 */
MvrStageKey *
mvr_stage_key_begin(const MvrStage *stage)
{
	MvrStageKey *result = palloc0(sizeof(MvrStageKey));
	int			n = 0;

	result->stage = stage;
	result->context = CurrentMemoryContext;
	result->nkeys = list_length(stage->keys);
	result->keys = palloc0(sizeof(MvrKeySupport) * (result->nkeys + 1));
	result->desc = CreateTemplateTupleDesc(Max(result->nkeys, 1));
	TupleDescInitEntry(result->desc, 1, "none", INT4OID, -1, 0);
	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		MvrKeySupport *support = &result->keys[n++];
		TypeCacheEntry *type = lookup_type_cache(key->type,
												 TYPECACHE_HASH_EXTENDED_PROC_FINFO);

		support->key = key;
		fmgr_info(get_opcode(key->clause->eqop), &support->equals);
		if (OidIsValid(type->hash_extended_proc))
			support->hash = &type->hash_extended_proc_finfo;
		TupleDescInitEntry(result->desc, n, "key", key->type, key->typmod, 0);
		TupleDescInitEntryCollation(result->desc, n, key->collation);
	}
	TupleDescFinalize(result->desc);
	return result;
}

/* The keys that are wanted go; the rest goes with its memory context */
void
mvr_stage_key_end(MvrStageKey *key)
{
	for (int kind = 0; kind < 2; kind++)
		if (key->wanted[kind])
			tuplestore_end(key->wanted[kind]);
}

/*
 * Hash of the key that stands in a slot from column first (from 1) on.  A type
 * without a hash function adds nothing, unless its "=" compares images.
 */
int64
mvr_stage_key_hash(MvrStageKey *key, TupleTableSlot *slot, int first)
{
	uint64		hash = 0;

	for (int i = 0; i < key->nkeys; i++)
	{
		MvrKeySupport *support = &key->keys[i];
		bool		isnull;
		Datum		value = slot_getattr(slot, first + i, &isnull);
		uint64		one = 0;

		if (isnull)
			one = 1;
		else if (support->hash)
			one = DatumGetUInt64(FunctionCall2Coll(support->hash, support->key->collation,
												   value, Int64GetDatum(0)));
		else if (support->key->is_image_equal)
		{
			AttrNumber	attno = first + i;

			one = mvr_zset_hash(slot, 1, &attno);
		}
		hash = hash_combine64(hash, one);
	}
	return (int64) hash;
}

/* Are the keys that stand in two slots, from these columns on, the same? */
bool
mvr_stage_key_is_same(MvrStageKey *key, TupleTableSlot *a, int a_first,
					  TupleTableSlot *b, int b_first)
{
	for (int i = 0; i < key->nkeys; i++)
	{
		MvrKeySupport *support = &key->keys[i];
		bool		a_null;
		bool		b_null;
		Datum		a_value = slot_getattr(a, a_first + i, &a_null);
		Datum		b_value = slot_getattr(b, b_first + i, &b_null);

		if (a_null != b_null)
			return false;
		if (!a_null &&
			!DatumGetBool(FunctionCall2Coll(&support->equals, support->key->collation,
											a_value, b_value)))
			return false;
	}
	return true;
}

/* Remember a key, which a slot has in its first columns, to be recomputed */
void
mvr_stage_key_want(MvrStageKey *key, TupleTableSlot *slot)
{
	int			kind = 0;

	slot_getsomeattrs(slot, key->nkeys);
	for (int i = 0; i < key->nkeys; i++)
		if (slot->tts_isnull[i])
			kind = 1;
	key->nwanted[kind]++;
	if (key->nkeys == 0)
		return;
	if (key->wanted[kind] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(key->context);

		key->wanted[kind] = tuplestore_begin_heap(true, false, work_mem);
		MemoryContextSwitchTo(old);
	}
	tuplestore_putvalues(key->wanted[kind], key->desc, slot->tts_values, slot->tts_isnull);
}

/*
 * Compute the contents of the keys of one kind (0, or 1: those with NULLs) from
 * what the stage reads.  There must be some.
 */
void
mvr_stage_key_run_wanted(MvrStageKey *key, int kind, MvrRowFunction function, void *arg)
{
	QueryEnvironment *env = create_queryEnv();
	Query	   *query;

	if (key->wanted[kind])
		mvr_run_query_add_rows(env, "wanted", key->desc, key->wanted[kind],
							   key->nwanted[kind]);
	query = mvr_delta_query_build_contents(key->stage, key->desc, "wanted",
										   key->nwanted[kind], kind == 1);
	/* without keys all rows are read, which is no search for a few */
	mvr_run_query(key->nkeys > 0 ? mvr_run_query_plan_delta(query, NIL, false) :
				  mvr_run_query_plan(query, false), env, function, arg);
}
