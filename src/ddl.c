/*
 * ddl.c
 *		Event triggers: what other commands do to tracked views.
 *
 * All are ENABLE ALWAYS and run as whoever ran the command; they touch the
 * registry only for objects that the command has just dropped or written, so
 * the right to that command is the right to this.
 *
 * DROP: state tables and change logs are members of the extension, for
 * pg_dump and DROP EXTENSION.  So they cannot depend on a view or base table
 * as well, or dropping that would want to drop the extension: they are dropped
 * here, when the view is gone or with the last view that reads them.  Triggers
 * go with their tables.  Who drops a view waits for no writer of what it reads:
 * those who maintain the view wait for him.  Partitions and others that live views
 * read can go by CASCADE with anything, so live views are looked at here.
 *
 * REFRESH MATERIALIZED VIEW: without CONCURRENTLY it gives the view a new
 * relfilenode, which the next refresh would notice.  With CONCURRENTLY it
 * writes the old one; only the command itself tells.  A restore from pg_dump
 * ends with these commands, so the policies that it has brought are adopted
 * here too.
 *
 * CREATE TABLE ... PARTITION OF, ATTACH PARTITION: an empty partition of a
 * table that is captured is captured at once.  Left to the next refresh, rows
 * would be in it by then, and the view recomputed.
 *
 * Commands that change what a query gives, other than by rows: no trigger tells
 * of them, so live views are looked at when such a command ends, and recomputed.
 * Among them is DROP TRIGGER, for one of ours may be dropped.
 *
 * ALTER: a policy has the view's name beside its OID, for pg_dump.  One that has
 * come with a dump is found by that name, so it is adopted before the name changes.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_forget_dropped);
PG_FUNCTION_INFO_V1(mvr_note_command);
PG_FUNCTION_INFO_V1(mvr_note_partition);
PG_FUNCTION_INFO_V1(mvr_note_rename);
PG_FUNCTION_INFO_V1(mvr_note_writers);
PG_FUNCTION_INFO_V1(mvr_lock_dropped);
PG_FUNCTION_INFO_V1(mvr_recompute_live);

static void
check_called_as_event_trigger(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("%s must be called as an event trigger", name));
}

/*
 * Catalogs are written with some snapshot active, and DETACH PARTITION
 * CONCURRENTLY ends in a transaction that has none.  True if it is to be popped.
 */
static bool
push_snapshot(void)
{
	if (ActiveSnapshotSet())
		return false;
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

/* The relations, or others by OID, that the running event is about */
static List *
list_event_relations(const char *query)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *relations = NIL;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the relations of the event");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		bool		isnull;

		relations = lappend_oid(relations,
								DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
															   SPI_tuptable->tupdesc,
															   1, &isnull)));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return relations;
}

/*
 * What live views read may be gone with something else, by CASCADE, whatever the
 * command: partitions, columns of base tables, functions that those of the query
 * may have called.
 */
static void
check_dropped(void)
{
	bool		has_others;
	bool		has_tables;
	bool		has_pushed;

	has_others = list_event_relations("SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects()"
									  " WHERE NOT is_temporary"
									  " AND (classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass"
									  " OR classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass"
									  " OR object_type OPERATOR(pg_catalog.=) 'table column' AND NOT original)") != NIL;
	has_tables = list_event_relations("SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects()"
									  " WHERE NOT is_temporary"
									  " AND object_type OPERATOR(pg_catalog.=) ANY ('{table,foreign table}')") != NIL;
	if (!has_others && !has_tables)
		return;
	has_pushed = push_snapshot();
	mvr_in_transaction_check(InvalidOid, !has_others);
	if (has_pushed)
		PopActiveSnapshot();
}

/* Event trigger on sql_drop */
Datum
mvr_forget_dropped(PG_FUNCTION_ARGS)
{
	List	   *relations;
	ListCell   *lc;
	bool		is_ended = false;

	check_called_as_event_trigger(fcinfo, "matview.forget_dropped()");
	relations = list_event_relations("SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects()"
									 " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
									 " AND objsubid OPERATOR(pg_catalog.=) 0");
	foreach(lc, relations)
	{
		is_ended |= mvr_track_end(lfirst_oid(lc), false);
		mvr_catalog_delete_history(lfirst_oid(lc));
	}
	foreach(lc, relations)
		mvr_change_log_drop(lfirst_oid(lc));
	mvr_policy_forget(relations);
	if (is_ended)
		mvr_track_sweep();
	check_dropped();
	PG_RETURN_NULL();
}

/*
 * Policies of another cluster, beside views that are live here already, are those
 * of before pg_upgrade, which has not kept our triggers.
 */
static void
adopt_policies(bool also_unfilled)
{
	if (mvr_policy_adopt(also_unfilled))
		mvr_in_transaction_check(InvalidOid, false);
}

/* Event trigger on ddl_command_end of REFRESH MATERIALIZED VIEW */
Datum
mvr_note_command(PG_FUNCTION_ARGS)
{
	List	   *relations;
	ListCell   *lc;

	check_called_as_event_trigger(fcinfo, "matview.note_command()");
	relations = list_event_relations("SELECT objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
									 " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass");
	foreach(lc, relations)
	{
		MvrTracked *tracked = mvr_catalog_lookup_view(lfirst_oid(lc));

		mvr_wake_note_captured(lfirst_oid(lc));
		if (tracked == NULL)
			continue;
		tracked->file = InvalidOid;
		mvr_catalog_store_view(tracked, false);
		CommandCounterIncrement();
	}
	adopt_policies(true);
	foreach(lc, relations)
	{
		mvr_policy_follow_refresh(lfirst_oid(lc));
		mvr_in_transaction_check(lfirst_oid(lc), false);
	}
	PG_RETURN_NULL();
}

/* Event trigger on ddl_command_start and ddl_command_end of what can rename a view */
Datum
mvr_note_rename(PG_FUNCTION_ARGS)
{
	bool		has_pushed;

	check_called_as_event_trigger(fcinfo, "matview.note_rename()");
	if (!mvr_catalog_is_complete())
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("schema \"matview\" and its tables cannot be renamed or moved"),
				errdetail("They belong to the extension matview_refresh, which finds them by name."),
				errhint("Leave them where they are."));
	has_pushed = push_snapshot();
	adopt_policies(false);
	if (has_pushed)
		PopActiveSnapshot();
	PG_RETURN_NULL();
}

/* The name of the table that a command makes a partition, or NULL */
static RangeVar *
get_partition_name(Node *command)
{
	AlterTableCmd *alter;

	if (IsA(command, CreateStmt))
		return ((CreateStmt *) command)->partbound ?
			((CreateStmt *) command)->relation : NULL;
	if (!IsA(command, AlterTableStmt))
		return NULL;
	alter = linitial_node(AlterTableCmd, ((AlterTableStmt *) command)->cmds);
	return alter->subtype == AT_AttachPartition ?
		castNode(PartitionCmd, alter->def)->name : NULL;
}

/* Event trigger on ddl_command_end of CREATE TABLE and ALTER TABLE */
Datum
mvr_note_partition(PG_FUNCTION_ARGS)
{
	RangeVar   *name;
	Oid			partition;

	check_called_as_event_trigger(fcinfo, "matview.note_partition()");
	name = get_partition_name(((EventTriggerData *) fcinfo->context)->parsetree);
	if (name == NULL)
		PG_RETURN_NULL();
	partition = RangeVarGetRelid(name, NoLock, true);
	if (OidIsValid(partition))
		mvr_track_add_partition(partition);
	PG_RETURN_NULL();
}

/* The table that ALTER TABLE gives a parent, or NULL */
static RangeVar *
get_new_child(AlterTableStmt *alter)
{
	ListCell   *lc;

	foreach(lc, alter->cmds)
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_AddInherit)
			return alter->relation;
	return get_partition_name((Node *) alter);
}

/* Event trigger on ddl_command_end of what lets others write a table */
Datum
mvr_note_writers(PG_FUNCTION_ARGS)
{
	Node	   *command;
	RangeVar   *child = NULL;
	bool		has_pushed;

	check_called_as_event_trigger(fcinfo, "matview.note_writers()");
	command = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (IsA(command, AlterTableStmt))
	{
		child = get_new_child((AlterTableStmt *) command);
		if (child == NULL)
			PG_RETURN_NULL();
	}
	else if (!IsA(command, CreateSubscriptionStmt) && !IsA(command, AlterSubscriptionStmt))
		PG_RETURN_NULL();		/* RENAME, SET SCHEMA: they are ALTER TABLE, too */
	has_pushed = push_snapshot();
	mvr_track_mark_unseen(child ? RangeVarGetRelid(child, NoLock, true) : InvalidOid);
	if (has_pushed)
		PopActiveSnapshot();
	PG_RETURN_NULL();
}

/* Does CREATE TABLE put a table below another one? */
static bool
is_child(const CreateStmt *create)
{
	return create->partbound != NULL || create->inhRelations != NIL;
}

/* Does one within CREATE SCHEMA, which has no event of its own? */
static bool
has_child(const CreateSchemaStmt *create)
{
	ListCell   *lc;

	foreach(lc, create->schemaElts)
		if (IsA(lfirst(lc), CreateStmt) && is_child(lfirst_node(CreateStmt, lc)))
			return true;
	return false;
}

/*
 * ALTER TABLE: what it alters.  NULL, so that all is looked at, if it takes a child
 * from a parent as well.
 */
static RangeVar *
get_altered(const AlterTableStmt *alter)
{
	ListCell   *lc;

	foreach(lc, alter->cmds)
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_DropInherit)
			return NULL;
	return alter->relation;
}

/* DROP TRIGGER: the table that it was on */
static RangeVar *
get_trigger_table(const DropStmt *drop)
{
	List	   *name = linitial_node(List, drop->objects);

	return makeRangeVarFromNameList(list_truncate(list_copy(name), list_length(name) - 1));
}

/* Has a column, a domain, a query or a function a type or arrays of it? */
static bool
is_type_used(Oid type)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	Oid			array = get_array_type(type);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TypeRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		result = form->classid == RelationRelationId || form->classid == RewriteRelationId ||
			form->classid == ProcedureRelationId ||
			(form->classid == TypeRelationId && form->objid != array);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return result || (OidIsValid(array) && is_type_used(array));
}

/* Can views that do not read a relation depend on its columns, or those of its children? */
static bool
has_other_readers(Oid relid)
{
	ListCell   *lc;

	if (get_rel_relkind(relid) == RELKIND_VIEW)
		return true;
	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
	{
		Oid			type = get_rel_type_id(lfirst_oid(lc));

		if (OidIsValid(type) && is_type_used(type))
			return true;
	}
	return false;
}

/*
 * The relation that a command is about whose rows no trigger tells of; false if
 * there are none.  InvalidOid if it can be any.
 */
static bool
find_target(Node *command, Oid *relid)
{
	RangeVar   *name = NULL;

	*relid = InvalidOid;
	switch (nodeTag(command))
	{
		case T_CreateSchemaStmt:
			return has_child((CreateSchemaStmt *) command);
		case T_CreateStmt:
		case T_CreateForeignTableStmt:
			if (!is_child((CreateStmt *) command))
				return false;
			name = ((CreateStmt *) command)->relation;
			break;
		case T_AlterTableStmt:
			if (((AlterTableStmt *) command)->objtype != OBJECT_TYPE)
				name = get_altered((AlterTableStmt *) command);
			break;
		case T_DropStmt:
			if (((DropStmt *) command)->removeType == OBJECT_TRIGGER)
				name = get_trigger_table((DropStmt *) command);
			break;
		default:
			break;
	}
	if (name == NULL)
		return true;
	*relid = RangeVarGetRelid(name, NoLock, true);
	if (!OidIsValid(*relid))
		return false;
	/* no need to find out which */
	if (has_other_readers(*relid))
		*relid = InvalidOid;
	return true;
}

/* Event trigger on ddl_command_end of what can change the contents of live views */
Datum
mvr_recompute_live(PG_FUNCTION_ARGS)
{
	Node	   *command;
	Oid			relid;
	bool		has_pushed;

	check_called_as_event_trigger(fcinfo, "matview.recompute_live()");
	command = ((EventTriggerData *) fcinfo->context)->parsetree;
	has_pushed = push_snapshot();
	if (find_target(command, &relid))
		mvr_in_transaction_check(relid, false);
	if (has_pushed)
		PopActiveSnapshot();
	PG_RETURN_NULL();
}

static bool
names_extension(const DropStmt *drop)
{
	ListCell   *lc;

	foreach(lc, drop->objects)
		if (strcmp(strVal(lfirst(lc)), "matview_refresh") == 0)
			return true;
	return false;
}

/*
 * Event trigger on ddl_command_start of DROP EXTENSION.  The command locks change
 * logs before it comes to the tables whose triggers go with them; writers do so
 * the other way round.  Who may not drop it is refused later, and locks nothing.
 */
Datum
mvr_lock_dropped(PG_FUNCTION_ARGS)
{
	Node	   *command;
	List	   *tables = NIL;
	ListCell   *lc;

	check_called_as_event_trigger(fcinfo, "matview.lock_dropped()");
	command = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (!IsA(command, DropStmt) || !names_extension((DropStmt *) command) ||
		!has_privs_of_role(GetUserId(), mvr_catalog_get_owner()))
		PG_RETURN_NULL();
	/* one that was dropped while event triggers were off is known yet */
	foreach(lc, mvr_catalog_list_bases())
		if (SearchSysCacheExists1(RELOID, lfirst_oid(lc)))
			tables = list_concat_unique_oid(tables, find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	list_sort(tables, list_oid_cmp);
	foreach(lc, tables)
		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
	PG_RETURN_NULL();
}
