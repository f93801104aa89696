/*
 * matview_heap.c
 *		The only writer of view and state storage.
 *
 * Core lets no DML near a materialized view, so rows are written through the
 * table and index access methods directly.  The relation is none of a query's
 * range table (index 0 in InitResultRelInfo), so the executor looks for no
 * permissions on it; the caller has checked them.
 *
 * Locks: the view is held in ExclusiveLock, so nobody else writes it and
 * readers go on; a state table in RowExclusiveLock, which only the refresh of
 * its view takes, under the view's lock.  So a row that was found is the last
 * version, and a conflict is an internal error.
 *
 * Rows are found with SnapshotSelf: what this refresh has written so far
 * counts, whatever snapshot the query runs with.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "commands/vacuum.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "parser/parse_node.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "matview_refresh.h"

/* ----------
 * What is written to a view that others stand on goes to its change log
 * ----------
 */

static void
begin_log(MvrHeap *heap)
{
	const MvrBase *base = mvr_live_get_base(RelationGetRelid(heap->rel));
	Relation	log;
	AttrNumber *source;

	if (!OidIsValid(base->row.log))
		return;
	log = table_open(base->row.log, RowExclusiveLock);
	mvr_catalog_ensure_mark(log);
	base = mvr_live_get_base(RelationGetRelid(heap->rel));
	source = palloc0(sizeof(AttrNumber) * RelationGetDescr(log)->natts);
	for (int i = MVR_LOG_FIXED; i < RelationGetDescr(log)->natts; i++)
		source[i] = mvr_change_log_get_attnum(RelationGetDescr(log), i + 1);
	heap->log = palloc0(sizeof(MvrLogWriter));
	mvr_log_writer_begin(heap->log, base, log, source, 2, NULL);
	heap->gone = table_slot_create(heap->rel, NULL);
}

static void
end_log(MvrHeap *heap)
{
	Relation	log = heap->log->log;

	mvr_log_writer_end(heap->log);
	table_close(log, NoLock);
	ExecDropSingleTupleTableSlot(heap->gone);
}

static void
log_gone(MvrHeap *heap, ItemPointer tid)
{
	if (heap->log == NULL)
		return;
	if (!table_tuple_fetch_row_version(heap->rel, tid, SnapshotSelf, heap->gone))
		elog(ERROR, "row to log of materialized view \"%s\" not found",
			 RelationGetRelationName(heap->rel));
	mvr_log_writer_append(heap->log, heap->gone, -1);
	ExecClearTuple(heap->gone);
}

/* Open a view or state table to write it */
MvrHeap *
mvr_heap_open(Oid relid, LOCKMODE lockmode)
{
	MvrHeap    *heap = palloc0(sizeof(MvrHeap));

	heap->context = CurrentMemoryContext;
	heap->rel = table_open(relid, lockmode);
	if (heap->rel->rd_rel->relkind == RELKIND_RELATION)
		mvr_catalog_ensure_mark(heap->rel);
	heap->estate = CreateExecutorState();
	heap->info = makeNode(ResultRelInfo);
	InitResultRelInfo(heap->info, heap->rel, 0, NULL, 0);
	ExecOpenIndices(heap->info, false);
	heap->found = table_slot_create(heap->rel, NULL);
	if (heap->rel->rd_rel->relkind == RELKIND_MATVIEW)
		begin_log(heap);
	return heap;
}

/* Close it; locks are kept until the end of the transaction */
void
mvr_heap_close(MvrHeap *heap)
{
	if (heap->scan)
		index_endscan(heap->scan);
	if (heap->index)
		index_close(heap->index, NoLock);
	ExecDropSingleTupleTableSlot(heap->found);
	if (heap->log)
		end_log(heap);
	ExecCloseIndices(heap->info);
	FreeExecutorState(heap->estate);
	table_close(heap->rel, NoLock);
	pfree(heap);
}

/* ----------
 * Finding
 * ----------
 */

/* Find rows by equality on all key columns of a btree index */
void
mvr_heap_set_index(MvrHeap *heap, Oid index)
{
	heap->index = index_open(index, RowExclusiveLock);
	heap->nkeys = IndexRelationGetNumberOfKeyAttributes(heap->index);
	heap->keys = palloc(sizeof(AttrNumber) * heap->nkeys);
	heap->scankeys = palloc(sizeof(ScanKeyData) * heap->nkeys);
	for (int i = 0; i < heap->nkeys; i++)
	{
		Oid			type = heap->index->rd_opcintype[i];
		Oid			operator = get_opfamily_member(heap->index->rd_opfamily[i],
												   type, type, BTEqualStrategyNumber);

		heap->keys[i] = heap->index->rd_index->indkey.values[i];
		ScanKeyEntryInitialize(&heap->scankeys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, heap->index->rd_indcollation[i],
							   get_opcode(operator), (Datum) 0);
	}
	heap->scan = mvr_compat_index_beginscan(heap->rel, heap->index, SnapshotSelf,
											heap->nkeys);
}

/*
 * Begin to look for the rows with these key values; NULL finds NULL.  What the
 * index scan allocates on its way must live as long as the scan.
 */
void
mvr_heap_seek(MvrHeap *heap, const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(heap->context);

	for (int i = 0; i < heap->nkeys; i++)
	{
		heap->scankeys[i].sk_flags = nulls[i] ? SK_ISNULL | SK_SEARCHNULL : 0;
		heap->scankeys[i].sk_argument = nulls[i] ? (Datum) 0 : values[i];
	}
	index_rescan(heap->scan, heap->scankeys, heap->nkeys, NULL, 0);
	MemoryContextSwitchTo(old);
}

/* The next row found goes to heap->found; false if there is none */
bool
mvr_heap_next(MvrHeap *heap)
{
	MemoryContext old = MemoryContextSwitchTo(heap->context);
	bool		is_found = index_getnext_slot(heap->scan, ForwardScanDirection,
											  heap->found);

	MemoryContextSwitchTo(old);
	return is_found;
}

static bool
seek_match(MvrHeap *heap, const Datum *values, const bool *nulls, MvrHeapMatch match,
		   void *arg)
{
	mvr_heap_seek(heap, values, nulls);
	while (mvr_heap_next(heap))
		if (match(heap, arg))
			return true;
	return false;
}

/*
 * Go to the first row with these key values for which a function is true; false
 * if there is none.
 *
 * What is found is what there is now.  If heap->must_serialize is set, the
 * active snapshot must see the same, or the transaction fails.
 */
bool
mvr_heap_find(MvrHeap *heap, const Datum *values, const bool *nulls,
			  MvrHeapMatch match, void *arg)
{
	bool		is_seen = false;
	bool		is_found;
	ItemPointerData seen;

	if (heap->must_serialize)
	{
		IndexScanDesc scan = heap->scan;

		heap->scan = mvr_compat_index_beginscan(heap->rel, heap->index,
												GetActiveSnapshot(), heap->nkeys);
		is_seen = seek_match(heap, values, nulls, match, arg);
		seen = heap->found->tts_tid;
		index_endscan(heap->scan);
		heap->scan = scan;
	}
	is_found = seek_match(heap, values, nulls, match, arg);
	if (heap->must_serialize &&
		(is_found != is_seen ||
		 (is_found && !ItemPointerEquals(&seen, &heap->found->tts_tid))))
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("could not serialize access due to concurrent update"),
				errdetail("Another transaction has maintained the same rows after this one took its snapshot."),
				errhint("The transaction might succeed if retried."));
	return is_found;
}

/* The row at a tid goes to heap->found; false if it is gone */
bool
mvr_heap_fetch(MvrHeap *heap, ItemPointer tid)
{
	return ItemPointerIsValid(tid) &&
		table_tuple_fetch_row_version(heap->rel, tid, SnapshotSelf, heap->found);
}

/* ----------
 * Writing
 * ----------
 */

/* slot->tts_tid tells where the row went */
void
mvr_heap_insert(MvrHeap *heap, TupleTableSlot *slot)
{
	table_tuple_insert(heap->rel, slot, GetCurrentCommandId(true), 0, NULL);
	if (heap->info->ri_NumIndices > 0)
		list_free(mvr_compat_insert_index_tuples(heap->info, slot, heap->estate,
												 false, 0));
	ResetPerTupleExprContext(heap->estate);
	if (heap->log)
		mvr_log_writer_append(heap->log, slot, 1);
	heap->inserted++;
}

/* slot->tts_tid tells where the row went */
void
mvr_heap_update(MvrHeap *heap, ItemPointer tid, TupleTableSlot *slot)
{
	TU_UpdateIndexes which;
	ItemPointerData old = *tid;

	log_gone(heap, &old);
	simple_table_tuple_update(heap->rel, &old, slot, GetActiveSnapshot(), &which);
	if (heap->info->ri_NumIndices > 0 && mvr_compat_needs_indexes(which))
		list_free(mvr_compat_insert_index_tuples(heap->info, slot, heap->estate,
												 true, which));
	ResetPerTupleExprContext(heap->estate);
	if (heap->log)
		mvr_log_writer_append(heap->log, slot, 1);
	heap->updated++;
}

/* Delete the row at a place, and log it for those who read the view */
void
mvr_heap_delete(MvrHeap *heap, ItemPointer tid)
{
	ItemPointerData old = *tid;

	log_gone(heap, &old);
	simple_table_tuple_delete(heap->rel, &old, GetActiveSnapshot());
	heap->deleted++;
}

/* ----------
 * Indexes
 * ----------
 */

/*
 * Does a unique index tell rows apart by columns whose "=" means the same
 * image?  Then a row that changes has the same key before and after, as the
 * Z-set sees it.
 */
static bool
is_key_index(Relation index)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		!form->indisready || index->rd_rel->relam != BTREE_AM_OID ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		Oid			type = index->rd_opcintype[i];

		/* of char without a length, blanks at the end are neither here nor there */
		if (form->indkey.values[i] <= 0 ||
			(type == BPCHAROID && TupleDescAttr(RelationGetDescr(index), i)->atttypmod < 0) ||
			!OidIsValid(get_opfamily_proc(index->rd_opfamily[i], type, type,
										  BTEQUALIMAGE_PROC)) ||
			!DatumGetBool(OidFunctionCall1Coll(get_opfamily_proc(index->rd_opfamily[i],
																 type, type,
																 BTEQUALIMAGE_PROC),
											   index->rd_indcollation[i],
											   ObjectIdGetDatum(type))))
			return false;
	}
	return true;
}

static bool
has_exactly_columns(Relation index, Bitmapset *columns)
{
	Bitmapset  *mine = NULL;

	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		mine = bms_add_member(mine, index->rd_index->indkey.values[i]);
	return bms_equal(mine, columns);
}

/*
 * A unique index by which the rows of a view can be found, or InvalidOid: one
 * over just these columns, or if NULL over any.
 */
Oid
mvr_heap_lookup_key_index(Relation view, Bitmapset *columns)
{
	List	   *indexes = RelationGetIndexList(view);
	Oid			result = InvalidOid;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (!OidIsValid(result) && is_key_index(index) &&
			(columns == NULL || has_exactly_columns(index, columns)))
			result = lfirst_oid(lc);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return result;
}

/* Does an index have all these columns among its key columns? */
static bool
has_key_columns(Relation index, Bitmapset *columns)
{
	Bitmapset  *left = bms_copy(columns);

	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		if (index->rd_index->indkey.values[i] > 0)
			left = bms_del_member(left, index->rd_index->indkey.values[i]);
	return bms_is_empty(left);
}

/*
 * Is there a unique index on the view, other than "index" and those over all
 * of "columns", if any?  Then a row may be inserted only when all rows that go
 * are gone.
 */
bool
mvr_heap_has_other_unique(Relation view, Oid index, Bitmapset *columns)
{
	List	   *indexes = RelationGetIndexList(view);
	bool		result = false;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	other;

		if (lfirst_oid(lc) == index)
			continue;
		other = index_open(lfirst_oid(lc), AccessShareLock);
		if (other->rd_index->indisunique &&
			(columns == NULL || !has_key_columns(other, columns)))
			result = true;
		index_close(other, AccessShareLock);
	}
	list_free(indexes);
	return result;
}

/* CREATE INDEX on columns or an expression, as the relation's owner, and where it is */
static Oid
create_index(Relation rel, const char *name, const char *method, List *elems, bool skip_build)
{
	IndexStmt  *stmt = makeNode(IndexStmt);

	stmt->idxname = pstrdup(name);
	stmt->relation = makeRangeVar(get_namespace_name(RelationGetNamespace(rel)),
								  pstrdup(RelationGetRelationName(rel)), -1);
	stmt->accessMethod = pstrdup(method);
	stmt->tableSpace = get_tablespace_name(OidIsValid(rel->rd_rel->reltablespace) ?
										   rel->rd_rel->reltablespace : MyDatabaseTableSpace);
	stmt->indexParams = elems;
	stmt->transformed = true;
	return mvr_compat_define_index(RelationGetRelid(rel), stmt, skip_build).objectId;
}

static IndexElem *
make_index_elem(char *name, Node *expr)
{
	IndexElem  *elem = makeNode(IndexElem);

	elem->name = name;
	elem->expr = expr;
	return elem;
}

static Oid
get_row_hash_function(void)
{
	Oid			argtypes[] = {RECORDOID};

	return LookupFuncName(list_make2(makeString("matview"), makeString("row_hash")),
						  1, argtypes, false);
}

/*
 * Looks at the index as it is stored: the relcache would simplify its
 * expressions, which runs functions, and the caller need not be the view's owner.
 */
static bool
is_row_index(Relation index, Oid function)
{
	Form_pg_index form = index->rd_index;
	HeapTuple	tuple;
	Datum		stored;
	bool		isnull;
	List	   *exprs = NIL;

	if (!form->indisvalid || !form->indisready || form->indnatts != 1 ||
		index->rd_rel->relam != BTREE_AM_OID ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(RelationGetRelid(index)));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", RelationGetRelid(index));
	stored = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indexprs, &isnull);
	if (!isnull)
		exprs = stringToNode(TextDatumGetCString(stored));
	ReleaseSysCache(tuple);
	return exprs != NIL && IsA(linitial(exprs), FuncExpr) &&
		linitial_node(FuncExpr, exprs)->funcid == function;
}

/*
 * The index that mvr_heap_create_row_index has made, or InvalidOid.  It is
 * known by what it indexes: REINDEX CONCURRENTLY changes its OID, ALTER INDEX
 * its name.
 */
Oid
mvr_heap_lookup_row_index(Relation view)
{
	List	   *indexes = RelationGetIndexList(view);
	Oid			function = get_row_hash_function();
	Oid			result = InvalidOid;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (!OidIsValid(result) && is_row_index(index, function))
			result = lfirst_oid(lc);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return result;
}

/*
 * CREATE INDEX ON view (matview.row_hash(view.*)): finds the rows of a view
 * that has no key.  It is the view's, in its schema, and goes with the
 * extension.  The caller holds ShareLock on the view, or ExclusiveLock, which is
 * stronger.
 *
 * With skip_build nobody may write the view before a swap has given the index
 * a file, or mvr_heap_build_row_index has.
 */
Oid
mvr_heap_create_row_index(Relation view, bool skip_build)
{
	Oid			function = get_row_hash_function();
	Var		   *row = makeVar(1, InvalidAttrNumber, view->rd_rel->reltype, -1,
							  InvalidOid, 0);
	FuncExpr   *hash = makeFuncExpr(function, INT8OID, list_make1(row), InvalidOid,
									InvalidOid, COERCE_EXPLICIT_CALL);
	char	   *name = ChooseRelationName(RelationGetRelationName(view), NULL,
										  "row_hash_idx", RelationGetNamespace(view),
										  false);
	ObjectAddress index,
				extension;

	ObjectAddressSet(index, RelationRelationId,
					 create_index(view, name, "btree", list_make1(make_index_elem(NULL, (Node *) hash)),
								  skip_build));
	ObjectAddressSet(extension, ExtensionRelationId,
					 get_extension_oid("matview_refresh", false));
	recordDependencyOn(&index, &extension, DEPENDENCY_AUTO_EXTENSION);
	CommandCounterIncrement();
	return index.objectId;
}

/*
 * Build that index anew for what the view holds now.  The caller has a lock on
 * the view that keeps out all who write it; readers use no such index.
 */
void
mvr_heap_build_row_index(Oid index)
{
	ReindexParams params = {0};

	mvr_compat_reindex_index(index, &params);
	CommandCounterIncrement();
}

/* ----------
 * State tables
 * ----------
 */

static Datum
build_state_options(void)
{
	Datum		fillfactor = CStringGetTextDatum("fillfactor=80");

	return PointerGetDatum(construct_array(&fillfactor, 1, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * Create the state table of a stage of a view, without its indexes; the number
 * is 0 for the view's own stage.  It is where the view is, and if that is moved,
 * from the next recomputation on.
 */
Oid
mvr_heap_create_state(Relation view, int number, TupleDesc desc)
{
	char	   *name = number == 0 ? psprintf("state_%u", RelationGetRelid(view)) :
		psprintf("state_%u_%d", RelationGetRelid(view), number);

	return mvr_catalog_create_table(name, view->rd_rel->reltablespace, desc,
									build_state_options(), RelationGetRelid(view));
}

/* Can any value of a column be in a B-tree? */
static bool
is_sortable(Form_pg_attribute att)
{
	return att->attlen != -1 && OidIsValid(GetDefaultOpClass(att->atttypid, BTREE_AM_OID));
}

/* Can the keys of a state be indexed, all of them? */
static bool
has_sortable_keys(TupleDesc desc, int nkeys)
{
	if (nkeys == 0 || nkeys > INDEX_MAX_KEYS)
		return false;
	for (int i = 0; i < nkeys; i++)
		if (!is_sortable(TupleDescAttr(desc, MVR_STATE_FIXED + i)))
			return false;
	return true;
}

/*
 * An index by which queries of other stages find rows by some columns: on those of
 * fixed size, else by hash, as a value could be too large for a B-tree.
 */
static void
create_lookup_index(Relation rel, Bitmapset *columns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *elems = NIL;
	char	   *hashed = NULL;
	int			attno = -1;
	char	   *name = ChooseRelationName(RelationGetRelationName(rel), NULL, "lookup_idx",
										  RelationGetNamespace(rel), false);

	while ((attno = bms_next_member(columns, attno)) >= 0)
	{
		Form_pg_attribute att = TupleDescAttr(desc, attno - 1);

		if (is_sortable(att) && list_length(elems) < INDEX_MAX_KEYS)
			elems = lappend(elems, make_index_elem(NameStr(att->attname), NULL));
		/* the operator class of arrays says nothing of their elements */
		else if (hashed == NULL && OidIsValid(GetDefaultOpClass(att->atttypid, HASH_AM_OID)) &&
				 OidIsValid(lookup_type_cache(att->atttypid, TYPECACHE_HASH_PROC)->hash_proc))
			hashed = NameStr(att->attname);
	}
	if (elems)
		create_index(rel, name, "btree", elems, false);
	else if (hashed)
		create_index(rel, name, "hash", list_make1(make_index_elem(hashed, NULL)), false);
}

/* Is there an index on nothing but columns that a query compares? */
static bool
is_served(List *served, Bitmapset *columns)
{
	foreach_ptr(Bitmapset, other, served)
		if (bms_is_subset(other, columns))
			return true;
	return false;
}

/*
 * The indexes of a state table: on the hash, by which its own stage finds rows; on the
 * keys (0: there are none), unless they could be too large; and for "lookups", sets of
 * columns by one of which queries of other stages find rows.
 */
void
mvr_heap_create_state_indexes(Oid state, int nkeys, List *lookups)
{
	Relation	rel = table_open(state, ShareLock);
	List	   *elems = NIL;
	List	   *served = NIL;

	create_index(rel, psprintf("%s_hash_idx", RelationGetRelationName(rel)), "btree",
				 list_make1(make_index_elem("hash", NULL)), false);
	if (has_sortable_keys(RelationGetDescr(rel), nkeys))
	{
		for (int i = 1; i <= nkeys; i++)
			elems = lappend(elems, make_index_elem(psprintf("key%d", i), NULL));
		create_index(rel, psprintf("%s_key_idx", RelationGetRelationName(rel)), "btree", elems,
					 false);
		served = list_make1(bms_make_singleton(MVR_STATE_FIXED + 1));
	}
	foreach_ptr(Bitmapset, columns, lookups)
	{
		if (is_served(served, columns))
			continue;
		create_lookup_index(rel, columns);
		served = lappend(served, columns);
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * ANALYZE a state table that was filled: queries of other stages are planned
 * with it.  Only its owner may, so we are that for the moment.
 */
void
mvr_heap_analyze_state(Oid state)
{
	VacuumStmt *stmt = makeNode(VacuumStmt);
	Oid			userid;
	int			context;

	stmt->is_vacuumcmd = false;
	stmt->rels = list_make1(makeVacuumRelation(NULL, state, NIL));
	GetUserIdAndSecContext(&userid, &context);
	SetUserIdAndSecContext(mvr_catalog_get_owner(),
						   context | SECURITY_LOCAL_USERID_CHANGE);
	ExecVacuum(make_parsestate(NULL), stmt, false);
	SetUserIdAndSecContext(userid, context);
	CommandCounterIncrement();
}

/* The index of a state table on its hash */
Oid
mvr_heap_lookup_state_index(Relation state)
{
	Oid			result = InvalidOid;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(state))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indkey.values[0] == MVR_STATE_HASH)
			result = lfirst_oid(lc);
		index_close(index, AccessShareLock);
	}
	if (!OidIsValid(result))
		elog(ERROR, "state table \"%s\" has no index", RelationGetRelationName(state));
	return result;
}

/* Drop a state table or an index of ours, if it is still there */
void
mvr_heap_drop(Oid relid)
{
	ObjectAddress object;

	if (!OidIsValid(relid) || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return;
	ObjectAddressSet(object, RelationRelationId, relid);
	performDeletion(&object, DROP_CASCADE,
					PERFORM_DELETION_INTERNAL | PERFORM_DELETION_SKIP_EXTENSIONS);
	CommandCounterIncrement();
}
