/*
 * members.c
 *		The tables that the rows of a base table are in, and who writes them.
 *
 * A base table and all its children and partitions are its members.  Most are
 * written by statements that name them, whose triggers tell what they do.  Some
 * are written through a parent that is no member, or by a subscription.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_subscription_rel.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* The base table and all below it, locked; caller holds a lock on the base */
List *
mvr_members_list(Relation base, LOCKMODE lockmode)
{
	if (!base->rd_rel->relhassubclass)
		return list_make1_oid(RelationGetRelid(base));
	return find_all_inheritors(RelationGetRelid(base), lockmode, NULL);
}

/* Why one member cannot be captured, or NULL */
const char *
mvr_members_refusal_of(Relation rel)
{
	const char *reason = NULL;

	if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		reason = "\"%s\" is a foreign table";
	else if (rel->rd_rel->relkind == RELKIND_MATVIEW)
		reason = "\"%s\" is a materialized view";
	else if (rel->rd_rel->relkind == RELKIND_SEQUENCE)
		reason = "\"%s\" is a sequence";
	else if (IsSystemRelation(rel))
		reason = "\"%s\" is a system catalog";
	else if (rel->rd_rel->relkind != RELKIND_RELATION &&
			 rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		reason = "\"%s\" is not a table";
	else if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		reason = "\"%s\" is a temporary table";
	else if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		reason = "\"%s\" is unlogged, so a crash empties it";
	return reason ? psprintf(reason, RelationGetRelationName(rel)) : NULL;
}

/* Why changes of a relation cannot be captured, or NULL if they can */
const char *
mvr_members_refusal(Relation base)
{
	const char *reason;
	ListCell   *lc;

	/* its log has some of its own */
	if (RelationGetNumberOfAttributes(base) > MaxHeapAttributeNumber - MVR_LOG_FIXED)
		return psprintf("\"%s\" has too many columns", RelationGetRelationName(base));
	if (base->rd_rel->relkind == RELKIND_MATVIEW)
		return mvr_chain_refusal(base);
	reason = mvr_members_refusal_of(base);
	if (reason)
		return reason;
	foreach(lc, mvr_members_list(base, AccessShareLock))
	{
		Relation	rel = relation_open(lfirst_oid(lc), NoLock);

		reason = mvr_members_refusal_of(rel);
		relation_close(rel, NoLock);
		if (reason)
			return reason;
	}
	return NULL;
}

/* Scan a catalog for the rows whose oid column, first of the index, is this */
SysScanDesc
mvr_scan_by_oid(Relation catalog, Oid index, AttrNumber attno, Oid value)
{
	ScanKeyData key;

	ScanKeyInit(&key, attno, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	return systable_beginscan(catalog, index, true, NULL, 1, &key);
}

static bool
has_parent_outside(Oid member, List *members)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	SysScanDesc scan = mvr_scan_by_oid(catalog, InheritsRelidSeqnoIndexId,
									   Anum_pg_inherits_inhrelid, member);
	HeapTuple	tuple;
	bool		outside = false;

	while (!outside && HeapTupleIsValid(tuple = systable_getnext(scan)))
		outside = !list_member_oid(members,
								   ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return outside;
}

static bool
is_subscribed(Oid member)
{
	Relation	catalog = table_open(SubscriptionRelRelationId, AccessShareLock);
	SysScanDesc scan = mvr_scan_by_oid(catalog, SubscriptionRelSrrelidSrsubidIndexId,
									   Anum_pg_subscription_rel_srrelid, member);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * Transition tables do not tell all that happens in partitions, so there is
 * none to trust for a partitioned table.  In core's nodeModifyTable.c
 * - a row inserted through the root is handed over as it was before its
 *	 partition computed stored generated columns: they are NULL
 *	 (tcs_original_insert_tuple);
 * - a MERGE that moves a row to another partition by UPDATE puts it into the
 *	 tables of DELETE and INSERT, whose triggers fire only if the MERGE has such
 *	 actions too.
 */
static bool
is_partitioned(Oid member)
{
	return get_rel_relkind(member) == RELKIND_PARTITIONED_TABLE;
}

/* Can rows change without a transition table that tells how? */
bool
mvr_members_need_row_capture(List *members)
{
	ListCell   *lc;

	foreach(lc, members)
		if (has_parent_outside(lfirst_oid(lc), members) ||
			is_subscribed(lfirst_oid(lc)) ||
			is_partitioned(lfirst_oid(lc)))
			return true;
	return false;
}

/*
 * Does each statement that changes a base table fire its statement triggers?
 * Not one that names a parent of it, nor a subscription.
 */
bool
mvr_members_see_statements(Relation base)
{
	List	   *members = mvr_members_list(base, AccessShareLock);
	ListCell   *lc;

	foreach(lc, members)
		if (has_parent_outside(lfirst_oid(lc), members) || is_subscribed(lfirst_oid(lc)))
			return false;
	return true;
}
