/*
 * compat.h
 *		The differences between PostgreSQL versions, in this file only.
 *
 * Written against 18; what other versions name or order differently is
 * mapped to its form.
 */
#ifndef MATVIEW_REFRESH_COMPAT_H
#define MATVIEW_REFRESH_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_constraint.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM < 150000
#error "matview_refresh needs PostgreSQL 15 or later"
#endif

/* ----------
 * C
 * ----------
 */
#ifndef pg_fallthrough
#define pg_fallthrough __attribute__((fallthrough))
#endif

/* 19: a signal handler, like die, also gets to know who sent the signal */
#if PG_VERSION_NUM >= 190000
#define mvr_compat_die() die(postgres_signal_arg, pg_siginfo)
#else
#define mvr_compat_die() die(postgres_signal_arg)
#endif

/* ----------
 * SQL/JSON
 * ----------
 */
#if PG_VERSION_NUM >= 160000
#define MVR_HAS_JSON_CONSTRUCTORS
#endif
/* JSON_EXISTS, JSON_VALUE, JSON_QUERY, JSON_TABLE */
#if PG_VERSION_NUM >= 170000
#define MVR_HAS_JSON_QUERIES
#endif

/* ----------
 * Rights
 * ----------
 */
#if PG_VERSION_NUM < 160000
#include "catalog/pg_class.h"
#define object_ownercheck(classid, objid, roleid) \
	pg_class_ownercheck(objid, roleid)
#endif

/* 15: a function for each kind of object */
#if PG_VERSION_NUM >= 160000
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#define mvr_compat_owns_database(database) \
	object_ownercheck(DatabaseRelationId, database, GetUserId())
#define mvr_compat_owns_extension(name) \
	object_ownercheck(ExtensionRelationId, get_extension_oid(name, true), GetUserId())
#else
#define mvr_compat_owns_database(database) \
	pg_database_ownercheck(database, GetUserId())
#define mvr_compat_owns_extension(name) \
	pg_extension_ownercheck(get_extension_oid(name, true), GetUserId())
#endif

/* 17: MAINTAIN gives the right to refresh */
#if PG_VERSION_NUM >= 170000
#define mvr_compat_may_refresh(view) \
	(pg_class_aclcheck(view, GetUserId(), ACL_MAINTAIN) == ACLCHECK_OK)
#else
#define mvr_compat_may_refresh(view) \
	object_ownercheck(RelationRelationId, view, GetUserId())
#endif

/* ----------
 * Rows
 * ----------
 */

/* 19: a row description that was put together is usable only after this */
#if PG_VERSION_NUM < 190000
#define TupleDescFinalize(desc) ((void) (desc))
#endif

/* ----------
 * Heap and indexes
 * ----------
 */
#if PG_VERSION_NUM < 160000
typedef bool TU_UpdateIndexes;
#define mvr_compat_insert_index_tuples(info, slot, estate, is_update, which) \
	ExecInsertIndexTuples(info, slot, estate, is_update, false, NULL, NIL)
#define mvr_compat_needs_indexes(which) (which)
#elif PG_VERSION_NUM < 190000
#define mvr_compat_insert_index_tuples(info, slot, estate, is_update, which) \
	ExecInsertIndexTuples(info, slot, estate, is_update, false, NULL, NIL, \
						  (which) == TU_Summarizing)
#define mvr_compat_needs_indexes(which) ((which) != TU_None)
#else
#define mvr_compat_insert_index_tuples(info, slot, estate, is_update, which) \
	ExecInsertIndexTuples(info, estate, \
						  ((is_update) ? EIIT_IS_UPDATE : 0) | \
						  ((which) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0), \
						  slot, NIL, NULL)
#define mvr_compat_needs_indexes(which) ((which) != TU_None)
#endif

#define mvr_compat_table_beginscan(rel, snapshot) \
	table_beginscan(rel, snapshot, 0, NULL)

/* 19: a scan may be given flags */
#if PG_VERSION_NUM >= 190000
#define table_beginscan(rel, snapshot, nkeys, keys) \
	table_beginscan(rel, snapshot, nkeys, keys, SO_NONE)
#define mvr_compat_index_beginscan(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, NULL, nkeys, 0, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define mvr_compat_index_beginscan(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, NULL, nkeys, 0)
#else
#define mvr_compat_index_beginscan(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, nkeys, 0)
#endif

/* ----------
 * Executor
 * ----------
 */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#define mvr_compat_executor_run(desc) ExecutorRun(desc, ForwardScanDirection, 0)
#else
#define mvr_compat_executor_run(desc) \
	ExecutorRun(desc, ForwardScanDirection, 0, true)
#endif

/* The range table entries that a plan writes: from 19 on a set, not a list */
#include "nodes/plannodes.h"

static inline List *
mvr_compat_list_results(const PlannedStmt *plan)
{
#if PG_VERSION_NUM >= 190000
	List	   *results = NIL;
	int			rti = -1;

	while ((rti = bms_next_member(plan->resultRelationRelids, rti)) >= 0)
		results = lappend_int(results, rti);
	return results;
#else
	return plan->resultRelations;
#endif
}

/* 19: the planner can tell EXPLAIN more */
#if PG_VERSION_NUM >= 190000
#include "tcop/tcopprot.h"
#define pg_plan_query(query, string, options, params) \
	pg_plan_query(query, string, options, params, NULL)
#endif

#if PG_VERSION_NUM >= 190000
#define mvr_compat_define_index(relid, stmt, skip_build) \
	DefineIndex(NULL, relid, stmt, InvalidOid, InvalidOid, InvalidOid, -1, \
				false, false, false, skip_build, true)
#elif PG_VERSION_NUM >= 160000
#define mvr_compat_define_index(relid, stmt, skip_build) \
	DefineIndex(relid, stmt, InvalidOid, InvalidOid, InvalidOid, -1, \
				false, false, false, skip_build, true)
#else
#define mvr_compat_define_index(relid, stmt, skip_build) \
	DefineIndex(relid, stmt, InvalidOid, InvalidOid, InvalidOid, \
				false, false, false, skip_build, true)
#endif

#if PG_VERSION_NUM >= 170000
#define mvr_compat_reindex_index(index, params) \
	reindex_index(NULL, index, false, RELPERSISTENCE_PERMANENT, params)
#else
#define mvr_compat_reindex_index(index, params) \
	reindex_index(index, false, RELPERSISTENCE_PERMANENT, params)
#endif

#if PG_VERSION_NUM < 170000
#define foreach_ptr(type, var, lst) \
	for (type *var = NULL, *var##__once = (type *) 1; \
		 var##__once; \
		 var##__once = NULL) \
		for (ForEachState var##__state = {(lst), 0}; \
			 var##__state.l != NIL && \
			 var##__state.i < var##__state.l->length && \
			 (var = lfirst(&var##__state.l->elements[var##__state.i]), true); \
			 var##__state.i++)
#endif

/* ----------
 * Query trees
 * ----------
 */
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"

/* 16: the planner's root, for nulling joins; none are left where we call it */
static inline Node *
mvr_compat_flatten_aliases(Query *query, Node *node)
{
#if PG_VERSION_NUM >= 160000
	return flatten_join_alias_vars(NULL, query, node);
#else
	return flatten_join_alias_vars(query, node);
#endif
}

/*
 * 18: grouped expressions are columns of a range table entry of their own, and
 * generated columns may be virtual
 */
#if PG_VERSION_NUM >= 180000
#define mvr_compat_has_group_rte(query) ((query)->hasGroupRTE)
#define mvr_compat_flatten_groups(query, node) \
	flatten_group_exprs(NULL, query, node)
#define mvr_compat_clear_group_rte(query) ((query)->hasGroupRTE = false)
#define mvr_compat_is_virtual(att) \
	((att)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#define mvr_compat_has_virtual(desc) \
	((desc)->constr && (desc)->constr->has_generated_virtual)
#define mvr_compat_generation_expr(rel, attno) \
	build_generation_expression(rel, attno)
/* attnotnull is set for a constraint NOT VALID, too: there may be NULLs */
#define mvr_compat_is_not_null(desc, attno) \
	(TupleDescCompactAttr(desc, (attno) - 1)->attnullability == ATTNULLABLE_VALID)
#else
#define mvr_compat_is_not_null(desc, attno) \
	(TupleDescAttr(desc, (attno) - 1)->attnotnull)
#define mvr_compat_has_group_rte(query) false
#define mvr_compat_flatten_groups(query, node) (node)
#define mvr_compat_clear_group_rte(query) ((void) 0)
#define mvr_compat_is_virtual(att) false
#define mvr_compat_has_virtual(desc) false
#define mvr_compat_generation_expr(rel, attno) NULL
#endif

/* 18: a constraint says that a column is not NULL; before, the column does */
static inline TransactionId
mvr_compat_get_not_null_xmin(Oid relid, AttrNumber attno)
{
	TransactionId result = InvalidTransactionId;
	HeapTuple	tuple;

#if PG_VERSION_NUM >= 180000
	tuple = findNotNullConstraintAttnum(relid, attno);
#else
	tuple = SearchSysCacheCopy2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attno));
#endif
	if (HeapTupleIsValid(tuple))
	{
		result = HeapTupleHeaderGetXmin(tuple->t_data);
		heap_freetuple(tuple);
	}
	return result;
}

static inline Node *
mvr_compat_replace_vars(Node *node, int rti, RangeTblEntry *rte, List *tlist,
						bool *has_sublinks)
{
#if PG_VERSION_NUM >= 180000
	return ReplaceVarsFromTargetList(node, rti, 0, rte, tlist, 0,
									 REPLACEVARS_REPORT_ERROR, 0, has_sublinks);
#else
	return ReplaceVarsFromTargetList(node, rti, 0, rte, tlist,
									 REPLACEVARS_REPORT_ERROR, 0, has_sublinks);
#endif
}

/* The columns of an item; "include_dropped" as NULLs */
static inline void
mvr_compat_expand_rte(RangeTblEntry *rte, int rti, bool include_dropped,
					  List **names, List **columns)
{
#if PG_VERSION_NUM >= 180000
	expandRTE(rte, rti, 0, VAR_RETURNING_DEFAULT, -1, include_dropped, names, columns);
#else
	expandRTE(rte, rti, 0, -1, include_dropped, names, columns);
#endif
}

/* 16: permissions stand beside the range table */
static inline void
mvr_compat_combine_range_tables(Query *query, Query *sub)
{
#if PG_VERSION_NUM >= 160000
	CombineRangeTables(&query->rtable, &query->rteperminfos,
					   sub->rtable, sub->rteperminfos);
#else
	query->rtable = list_concat(query->rtable, sub->rtable);
#endif
}

/*
 * A copy of a range table entry, made to be the first of another query, along
 * with its permissions (which are the entry's own before 16)
 */
#if PG_VERSION_NUM >= 160000
static inline RangeTblEntry *
mvr_compat_move_rte(Query *to, RangeTblEntry *rte, Query *from)
{
	RangeTblEntry *copy = copyObject(rte);

	if (copy->perminfoindex > 0)
	{
		to->rteperminfos = list_make1(copyObject(getRTEPermissionInfo(from->rteperminfos,
																	  rte)));
		copy->perminfoindex = 1;
	}
	return copy;
}
#else
#define mvr_compat_move_rte(to, rte, from) ((void) (from), copyObject(rte))
#endif

/*
 * Let a query read a relation with the rights of "as", who may, whoever runs it;
 * the planner looks at statistics with them as well.  Until 15 none are asked.
 */
static inline void
mvr_compat_read_freely(Query *query, RangeTblEntry *rte, Oid as)
{
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *perminfo = addRTEPermissionInfo(&query->rteperminfos, rte);

	perminfo->requiredPerms = ACL_SELECT;
	perminfo->checkAsUser = as;
#else
	(void) query;
	rte->checkAsUser = as;
#endif
}

/* 18: index access methods in general */
#if PG_VERSION_NUM >= 180000
#define mvr_compat_is_index_operator(op) (get_op_index_interpretation(op) != NIL)
#else
#define mvr_compat_is_index_operator(op) (get_op_btree_interpretation(op) != NIL)
#endif

/* Check the rights to what one query, without those inside it, reads */
#if PG_VERSION_NUM >= 160000
#define mvr_compat_check_rights(query) \
	ExecCheckPermissions((query)->rtable, (query)->rteperminfos, true)
#else
#define mvr_compat_check_rights(query) ExecCheckRTPerms((query)->rtable, true)
#endif

/*
 * 16: a Var names the outer joins that may have made it NULL
 */
static inline void
mvr_compat_set_nulling(Var *var, Bitmapset *joins)
{
#if PG_VERSION_NUM >= 160000
	var->varnullingrels = joins;
#else
	(void) var;
	(void) joins;
#endif
}

static inline bool
mvr_compat_is_nulled(const Var *var)
{
#if PG_VERSION_NUM >= 160000
	return var->varnullingrels != NULL;
#else
	(void) var;
	return false;
#endif
}

/* What nulls "from", but for what is "inside", nulls "to" */
static inline void
mvr_compat_copy_nulling(Var *to, const Var *from, Bitmapset *inside)
{
#if PG_VERSION_NUM >= 160000
	to->varnullingrels = bms_difference(from->varnullingrels, inside);
#else
	(void) to;
	(void) from;
	(void) inside;
#endif
}

/* Outer joins are none any more, for the Vars of this query level */
static inline void
mvr_compat_remove_nulling(Node **node, Bitmapset *joins)
{
#if PG_VERSION_NUM >= 160000
	*node = remove_nulling_relids(*node, joins, NULL);
#else
	(void) node;
	(void) joins;
#endif
}

static inline void
mvr_compat_copy_rights(Query *to, Query *from)
{
#if PG_VERSION_NUM >= 160000
	to->rteperminfos = copyObject(from->rteperminfos);
#else
	(void) to;
	(void) from;
#endif
}

/* The columns of an item that the query names, as bits of pull_varattnos() */
static inline Bitmapset *
mvr_compat_get_selected(Query *query, RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	return rte->perminfoindex == 0 ? NULL :
		getRTEPermissionInfo(query->rteperminfos, rte)->selectedCols;
#else
	(void) query;
	return rte->selectedCols;
#endif
}

/* The range table, with its permissions */
static inline void
mvr_compat_move_tables(Query *to, Query *from)
{
	to->rtable = from->rtable;
	from->rtable = NIL;
#if PG_VERSION_NUM >= 160000
	to->rteperminfos = from->rteperminfos;
	from->rteperminfos = NIL;
#endif
}

/* 15: blanking an entry of the range table may lose its permission check */
#if PG_VERSION_NUM >= 160000
#define mvr_compat_has_perms(rte) false
#else
#define mvr_compat_has_perms(rte) \
	((rte)->rtekind == RTE_RELATION && (rte)->requiredPerms != 0)
#endif

/*
 * rebuild.c: files got another name in 16; a count of frozen pages came in 18;
 * CLUSTER became a part of REPACK in 19, which also copies indexes
 */
#include "access/visibilitymap.h"
#include "storage/bufmgr.h"

#if PG_VERSION_NUM >= 190000
#include "access/heapam.h"
#include "catalog/index.h"
#include "commands/repack.h"
#define index_concurrently_create_copy(rel, index, tablespace, name) \
	index_create_copy(rel, INDEX_CREATE_SKIP_BUILD | INDEX_CREATE_CONCURRENT, \
					  index, tablespace, name)
#define index_build(rel, index, info, is_reindex, parallel) \
	index_build(rel, index, info, is_reindex, parallel, true)
#else
#include "commands/cluster.h"
#endif

/*
 * Mark a page, and its bits in the visibility map, all-visible and all-frozen.
 * Caller has the page locked and the map's page pinned.  From 19 on whoever
 * sets the bits locks the map and writes the WAL.
 */
static inline void
mvr_compat_mark_page_frozen(Relation rel, Buffer buffer, Buffer map)
{
	Page		page = BufferGetPage(buffer);
	BlockNumber block = BufferGetBlockNumber(buffer);
	uint8		flags = VISIBILITYMAP_ALL_VISIBLE | VISIBILITYMAP_ALL_FROZEN;

#if PG_VERSION_NUM >= 190000
	LockBuffer(map, BUFFER_LOCK_EXCLUSIVE);
	START_CRIT_SECTION();
	PageSetAllVisible(page);
	PageClearPrunable(page);
	MarkBufferDirty(buffer);
	visibilitymap_set(block, map, flags, rel->rd_locator);
	if (RelationNeedsWAL(rel))
		log_heap_prune_and_freeze(rel, buffer, map, flags, InvalidTransactionId,
								  false, PRUNE_VACUUM_SCAN, NULL, 0, NULL, 0,
								  NULL, 0, NULL, 0);
	END_CRIT_SECTION();
	LockBuffer(map, BUFFER_LOCK_UNLOCK);
#else
	PageSetAllVisible(page);
	MarkBufferDirty(buffer);
	visibilitymap_set(rel, block, buffer, InvalidXLogRecPtr, map,
					  InvalidTransactionId, flags);
#endif
}

#if PG_VERSION_NUM < 160000
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#define rd_firstRelfilelocatorSubid rd_firstRelfilenodeSubid
#define RelationAssumeNewRelfilelocator RelationAssumeNewRelfilenode
#endif
#if PG_VERSION_NUM < 180000
#define mvr_set_relallfrozen(form, n) ((void) (n))
#define mvr_swap_relallfrozen(a, b) ((void) 0)
#else
#define mvr_set_relallfrozen(form, n) ((form)->relallfrozen = (n))
#define mvr_swap_relallfrozen(a, b) \
	do { \
		int32		swap_frozen_ = (a)->relallfrozen; \
		(a)->relallfrozen = (b)->relallfrozen; \
		(b)->relallfrozen = swap_frozen_; \
	} while (0)
#endif

#endif							/* MATVIEW_REFRESH_COMPAT_H */
