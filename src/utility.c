/*
 * utility.c
 *		Commands that are ours, and those that we must know of.
 *
 * Ours, taken out of a copy of the statement before core sees it:
 *
 *	CREATE MATERIALIZED VIEW ... WITH (matview.auto_refresh = ...) AS ...
 *	ALTER MATERIALIZED VIEW ... SET (matview.auto_refresh = ...)
 *	ALTER MATERIALIZED VIEW ... RESET (matview.auto_refresh)
 *
 * and, if matview.intercept_refresh is on, REFRESH MATERIALIZED VIEW, which
 * becomes a refresh of the mode "auto".  It keeps what both forms promise: the
 * contents are those of the query now, and readers are not kept waiting.  It
 * does not track the view, which would make writers wait.
 *
 * To be known of: what writes tables without the executor, or commits what
 * another session has written (wake.c); definitions that change; databases
 * that come, and those that must be without our processes for a command.
 *
 * Only a preloaded library comes here.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

static ProcessUtility_hook_type previous_hook = NULL;

/* The arguments of a utility hook */
typedef struct Call
{
	PlannedStmt *stmt;
	const char *query;
	bool		read_only;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *env;
	DestReceiver *dest;
	QueryCompletion *qc;
} Call;

static void
run_command(Call *call)
{
	(previous_hook ? previous_hook : standard_ProcessUtility)
		(call->stmt, call->query, call->read_only, call->context, call->params,
		 call->env, call->dest, call->qc);
}

/* From here on the statement may be changed */
static Node *
copy_statement(Call *call)
{
	if (call->read_only)
	{
		call->stmt = copyObject(call->stmt);
		call->read_only = false;
	}
	return call->stmt->utilityStmt;
}

/* ----------
 * Options
 * ----------
 */

static bool
is_ours(const DefElem *option)
{
	return option->defnamespace && strcmp(option->defnamespace, "matview") == 0;
}

static bool
has_ours(List *options)
{
	foreach_ptr(DefElem, option, options)
	{
		if (is_ours(option))
			return true;
	}
	return false;
}

static void
check_option(const DefElem *option, bool is_second)
{
	if (strcmp(option->defname, "auto_refresh") != 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("unrecognized parameter \"matview.%s\"", option->defname),
				errdetail("The only parameter of matview_refresh is matview.auto_refresh."),
				errhint("Other settings are set with SET or in postgresql.conf."));
	if (is_second)
		ereport(ERROR,
				errcode(ERRCODE_SYNTAX_ERROR),
				errmsg("parameter \"matview.auto_refresh\" specified more than once"),
				errdetail("A materialized view has one refresh policy."),
				errhint("Name one."));
}

/* Take our option out of a list; "off" if it is to be reset */
static char *
take_option(List **options, bool is_reset)
{
	List	   *others = NIL;
	char	   *policy = NULL;

	foreach_ptr(DefElem, option, *options)
	{
		if (!is_ours(option))
		{
			others = lappend(others, option);
			continue;
		}
		check_option(option, policy != NULL);
		policy = is_reset ? pstrdup("off") : defGetString(option);
	}
	*options = others;
	return policy;
}

/* ----------
 * CREATE MATERIALIZED VIEW, also under EXPLAIN ANALYZE
 * ----------
 */

/* The statement that would create a materialized view, or NULL */
static CreateTableAsStmt *
find_create(Node *node)
{
	if (IsA(node, ExplainStmt))
	{
		Node	   *query = ((ExplainStmt *) node)->query;

		if (query == NULL || !IsA(query, Query) || ((Query *) query)->utilityStmt == NULL)
			return NULL;
		node = ((Query *) query)->utilityStmt;
	}
	if (IsA(node, CreateTableAsStmt) && ((CreateTableAsStmt *) node)->objtype == OBJECT_MATVIEW)
		return (CreateTableAsStmt *) node;
	return NULL;
}

/* What was there before (IF NOT EXISTS) keeps the policy that it has */
static void
run_create(Call *call)
{
	IntoClause *into = find_create(copy_statement(call))->into;
	char	   *policy = take_option(&into->options, false);
	Oid			schema = RangeVarGetCreationNamespace(into->rel);
	bool		was_there = OidIsValid(get_relname_relid(into->rel->relname, schema));
	Oid			view;

	run_command(call);
	CommandCounterIncrement();
	view = get_relname_relid(into->rel->relname, schema);
	if (!was_there && OidIsValid(view))
		mvr_policy_set(view, policy, "CREATE MATERIALIZED VIEW");
}

/* ----------
 * ALTER MATERIALIZED VIEW
 * ----------
 */

static bool
is_option_command(const AlterTableCmd *cmd)
{
	return cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions;
}

static bool
alters_ours(const AlterTableStmt *stmt)
{
	foreach_ptr(AlterTableCmd, cmd, stmt->cmds)
	{
		if (is_option_command(cmd) && has_ours((List *) cmd->def))
			return true;
	}
	return false;
}

/* Take our option out of the subcommands, and those that are empty then */
static char *
take_policy(AlterTableStmt *stmt)
{
	List	   *others = NIL;
	char	   *policy = NULL;

	foreach_ptr(AlterTableCmd, cmd, stmt->cmds)
	{
		List	   *options = (List *) cmd->def;

		if (is_option_command(cmd) && has_ours(options))
		{
			policy = take_option(&options, cmd->subtype == AT_ResetRelOptions);
			cmd->def = (Node *) options;
			if (options == NIL)
				continue;
		}
		others = lappend(others, cmd);
	}
	stmt->cmds = others;
	return policy;
}

static void
run_alter(Call *call)
{
	AlterTableStmt *stmt = (AlterTableStmt *) copy_statement(call);
	char	   *policy = take_policy(stmt);
	Oid			view = RangeVarGetRelid(stmt->relation, NoLock, stmt->missing_ok);

	if (!OidIsValid(view) && stmt->cmds == NIL)
		ereport(NOTICE,
				errmsg("relation \"%s\" does not exist, skipping", stmt->relation->relname));
	if (stmt->cmds != NIL)
		run_command(call);
	if (!OidIsValid(view))
		return;
	CommandCounterIncrement();
	mvr_policy_set(view, policy, "ALTER MATERIALIZED VIEW");
}

/* ----------
 * REFRESH MATERIALIZED VIEW
 * ----------
 */

/* False if core is to do it, or to say why it cannot be done */
static bool
intercept_refresh(const RefreshMatViewStmt *stmt)
{
	Oid			view;

	if (!mvr_intercept_refresh || stmt->skipData)
		return false;
	view = RangeVarGetRelid(stmt->relation, NoLock, true);
	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_MATVIEW ||
		get_rel_persistence(view) == RELPERSISTENCE_TEMP ||
		!OidIsValid(get_extension_oid("matview_refresh", true)))
		return false;
	mvr_refresh_auto(view, stmt->concurrent);
	return true;
}

/* ----------
 * Databases without our processes
 * ----------
 */

/* ALTER DATABASE SET TABLESPACE, unlike other options */
static bool
moves_database(const AlterDatabaseStmt *stmt)
{
	foreach_ptr(DefElem, option, stmt->options)
	{
		if (strcmp(option->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

/* The database that a command wants to itself, or InvalidOid */
static Oid
get_wanted_database(Node *node)
{
	const char *name = NULL;

	if (IsA(node, DropdbStmt))
		name = ((DropdbStmt *) node)->dbname;
	else if (IsA(node, RenameStmt) && ((RenameStmt *) node)->renameType == OBJECT_DATABASE)
		name = ((RenameStmt *) node)->subname;
	else if (IsA(node, AlterDatabaseStmt) && moves_database((AlterDatabaseStmt *) node))
		name = ((AlterDatabaseStmt *) node)->dbname;
	else if (IsA(node, CreatedbStmt))
	{
		foreach_ptr(DefElem, option, ((CreatedbStmt *) node)->options)
		{
			if (strcmp(option->defname, "template") == 0 && option->arg)
				name = defGetString(option);
		}
	}
	return name ? get_database_oid(name, true) : InvalidOid;
}

static bool
drops_extension(Node *node)
{
	if (!IsA(node, DropStmt) || ((DropStmt *) node)->removeType != OBJECT_EXTENSION)
		return false;
	foreach_ptr(Node, name, ((DropStmt *) node)->objects)
	{
		if (strcmp(strVal(name), "matview_refresh") == 0)
			return true;
	}
	return false;
}

static void
set_holder(MvrDatabase *db, int pid)
{
	SpinLockAcquire(&db->mutex);
	db->holder = pid;
	SpinLockRelease(&db->mutex);
}

/*
 * Run a command without our refreshes in a database or, if the command is
 * about the database itself, without any process of ours.  What core waits
 * for then, up to 5 s, is that they have gone.
 */
static void
run_alone(Call *call, MvrDatabase *db, bool is_about_database)
{
	int			scheduler;

	set_holder(db, MyProcPid);
	scheduler = db->scheduler;
	if (is_about_database && scheduler != 0)
		kill(scheduler, SIGTERM);
	mvr_shared_terminate_workers(db->database);
	PG_TRY();
	{
		run_command(call);
	}
	PG_FINALLY();
	{
		set_holder(db, 0);
		mvr_shared_wake(db);
		mvr_wake_note_databases();
	}
	PG_END_TRY();
}

/* The slot of the database that must be left for a command, or NULL */
static MvrDatabase *
find_database_to_leave(Node *node, bool *is_about_database)
{
	Oid			database = get_wanted_database(node);

	*is_about_database = OidIsValid(database);
	if (drops_extension(node))
		return superuser() || mvr_compat_owns_extension("matview_refresh") ?
			mvr_shared_lookup_database(MyDatabaseId) : NULL;
	if (!OidIsValid(database) || database == MyDatabaseId || !mvr_compat_owns_database(database))
		return NULL;
	return mvr_shared_lookup_database(database);
}

/* ----------
 * What the scheduler and the launcher are told
 * ----------
 */

static void
note_copy(const CopyStmt *stmt)
{
	Oid			relid;

	if (!stmt->is_from || stmt->relation == NULL)
		return;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	if (OidIsValid(relid))
		mvr_wake_note_written(relid);
}

static void
note_truncate(const TruncateStmt *stmt)
{
	foreach_ptr(RangeVar, relation, stmt->relations)
	{
		Oid			relid = RangeVarGetRelid(relation, NoLock, true);

		if (OidIsValid(relid))
			mvr_wake_note_written(relid);
	}
	if (stmt->behavior == DROP_CASCADE)
		mvr_wake_note_all();
}

/* Does a statement define something that no view can read? */
static bool
is_irrelevant(Node *node)
{
	if (IsA(node, CreateStmt))
		return ((CreateStmt *) node)->relation->relpersistence == RELPERSISTENCE_TEMP;
	if (IsA(node, CreateTableAsStmt))
		return ((CreateTableAsStmt *) node)->into->rel->relpersistence == RELPERSISTENCE_TEMP;
	return false;
}

static void
note_command(PlannedStmt *stmt)
{
	Node	   *node = stmt->utilityStmt;

	if (IsA(node, CopyStmt))
		note_copy((CopyStmt *) node);
	else if (IsA(node, TruncateStmt))
		note_truncate((TruncateStmt *) node);
	else if (IsA(node, CreatedbStmt) || IsA(node, DropdbStmt) || IsA(node, AlterDatabaseStmt))
		mvr_wake_note_databases();
	else if (IsA(node, CreateExtensionStmt) &&
			 strcmp(((CreateExtensionStmt *) node)->extname, "matview_refresh") == 0)
	{
		mvr_wake_note_extension();
		mvr_wake_note_policies();
	}
	else if (drops_extension(node))
		mvr_wake_note_policies();
	if (GetCommandLogLevel((Node *) stmt) == LOGSTMT_DDL && !is_irrelevant(node))
		mvr_wake_note_catalog();
}

static bool
commits_prepared(Node *node)
{
	return IsA(node, TransactionStmt) &&
		((TransactionStmt *) node)->kind == TRANS_STMT_COMMIT_PREPARED;
}

/* ----------
 * The hook
 * ----------
 */

/* Run a command that is ours; false if it is none */
static bool
run_ours(Call *call)
{
	Node	   *node = call->stmt->utilityStmt;
	CreateTableAsStmt *create = find_create(node);

	if (create && has_ours(create->into->options))
		run_create(call);
	else if (IsA(node, AlterTableStmt) && alters_ours((AlterTableStmt *) node))
		run_alter(call);
	else if (IsA(node, RefreshMatViewStmt))
		return intercept_refresh((RefreshMatViewStmt *) node);
	else
		return false;
	return true;
}

static void
run_others(Call *call)
{
	bool		is_about_database;
	MvrDatabase *db = find_database_to_leave(call->stmt->utilityStmt, &is_about_database);

	if (db)
		run_alone(call, db, is_about_database);
	else
		run_command(call);
}

static void
process_utility(PlannedStmt *stmt, const char *query, bool read_only,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	Call		call = {stmt, query, read_only, context, params, env, dest, qc};
	bool		commits = commits_prepared(stmt->utilityStmt);

	/* no catalog can be looked at in a failed transaction, nor is there need */
	if (IsA(stmt->utilityStmt, TransactionStmt))
	{
		run_command(&call);
		/* its own transaction has ended nothing: say so now */
		if (commits)
		{
			mvr_wake_note_all();
			mvr_wake_note_policies();
			mvr_wake_note_catalog();
			mvr_wake_note_extension();
			mvr_wake_now();
		}
		return;
	}
	if (!run_ours(&call))
		run_others(&call);
	note_command(call.stmt);
}

/* Called while the library is being preloaded */
void
mvr_utility_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
