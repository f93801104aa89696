/*
 * view.c
 *		The view that an SQL function was called for: who may, where, and as whom.
 */
#include "postgres.h"

#include "access/gin.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "matview_refresh.h"

static bool must_forget_plans = false;	/* when we are ourselves again */

/* The view argument of an SQL function; NULL is an error */
Oid
mvr_view_get_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("materialized view must not be null"),
				errdetail("The argument \"view\" is NULL."),
				errhint("Pass the name of a materialized view."));
	return PG_GETARG_OID(0);
}

/* The name of the SQL function that was called, for messages */
const char *
mvr_view_get_command(FunctionCallInfo fcinfo)
{
	return psprintf("matview.%s()", get_func_name(fcinfo->flinfo->fn_oid));
}

static const char *
name_relkind(char relkind)
{
	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			return "a table";
		case RELKIND_VIEW:
			return "a plain view";
		case RELKIND_SEQUENCE:
			return "a sequence";
		case RELKIND_FOREIGN_TABLE:
			return "a foreign table";
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "an index";
		case RELKIND_COMPOSITE_TYPE:
			return "a composite type";
		default:
			return "of another kind";
	}
}

/* Raise an error unless this is a materialized view that the user may refresh */
void
mvr_view_check(Oid view)
{
	char		relkind = get_rel_relkind(view);

	if (relkind == '\0')
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("relation with OID %u does not exist", view),
				errdetail("It may have been dropped meanwhile."),
				errhint("Pass the name of a materialized view."));
	if (relkind != RELKIND_MATVIEW)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("\"%s\" is not a materialized view", get_rel_name(view)),
				errdetail("It is %s.", name_relkind(relkind)),
				errhint("Pass the name of a materialized view."));
	if (get_rel_persistence(view) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("materialized view \"%s\" is temporary", get_rel_name(view)),
				errdetail("It ends with its session, and other sessions, which write what it reads, cannot see it."),
				errhint("Use REFRESH MATERIALIZED VIEW, or create the view in a schema that is not temporary."));
	if (!mvr_compat_may_refresh(view))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied for materialized view \"%s\"",
					   get_rel_name(view)),
				errdetail("Only those who may refresh a materialized view may use it here."),
				errhint("Call this as the owner of the materialized view."));
}

/* Commands that write cannot run everywhere; "command" is a function's name */
void
mvr_view_check_may_write(const char *command)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				errmsg("cannot execute %s during recovery", command),
				errdetail("A standby cannot write."),
				errhint("Call it on the primary: what it writes will be replicated."));
	if (XactReadOnly)
		ereport(ERROR,
				errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				errmsg("cannot execute %s in a read-only transaction", command),
				errdetail("It writes the materialized view and what is known of it."),
				errhint("Call it in a transaction that is READ WRITE."));
}

/* A view that a running query of this session reads must not change under it */
void
mvr_view_check_unused(Relation view)
{
	if (view->rd_refcnt > 1)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_IN_USE),
				errmsg("cannot refresh materialized view \"%s\"",
					   RelationGetRelationName(view)),
				errdetail("It is being used by active queries in this session."),
				errhint("Close cursors over it, and do not call this from a query that reads it."));
}

/*
 * Open a materialized view that the user may refresh.  Rights are checked
 * before the lock is asked for, and the view again behind it.
 */
Relation
mvr_view_open(Oid view, LOCKMODE lockmode)
{
	Relation	rel;

	mvr_view_check(view);
	rel = try_relation_open(view, lockmode);
	if (rel == NULL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("relation with OID %u does not exist", view),
				errdetail("It was dropped meanwhile."),
				errhint("Pass the name of a materialized view."));
	mvr_view_check(view);
	return rel;
}

static void
set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * Become the view's owner in a security-restricted operation, with a
 * search_path that names nobody's schema, and GIN indexes that give all rows,
 * whatever whoever writes a base table has set.  Returns the GUC nesting level.
 */
int
mvr_view_become_owner(Relation view, Oid *save_userid, int *save_context)
{
	int			level;

	GetUserIdAndSecContext(save_userid, save_context);
	SetUserIdAndSecContext(view->rd_rel->relowner,
						   *save_context | SECURITY_RESTRICTED_OPERATION);
	level = NewGUCNestLevel();
	set_for_now("search_path", "pg_catalog, pg_temp");
	if (GinFuzzySearchLimit != 0)
		set_for_now("gin_fuzzy_search_limit", "0");
	return level;
}

/*
 * What the session has parsed so far is not what it means until mvr_view_become_again,
 * nor is what is parsed until then what it means afterwards.
 */
void
mvr_view_forget_plans(void)
{
	ResetPlanCache();
	must_forget_plans = true;
}

/* End what mvr_view_become_owner began, with what it returned and set */
void
mvr_view_become_again(int level, Oid userid, int context)
{
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(userid, context);
	if (must_forget_plans)
		ResetPlanCache();
	must_forget_plans = false;
}

/* The file that holds a view's contents: others may have given it a new one */
Oid
mvr_view_get_file(Oid view)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
	Oid			file;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", view);
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return file;
}
