/*
 * committing.c
 *		No foreign table is read while a transaction commits.
 *
 * A foreign data wrapper ends its remote transactions when it is told that ours
 * is about to commit or to be prepared.  What is maintained at that moment may
 * come behind that.  A remote transaction begun there is never ended, which
 * postgres_fdw notices when ours has committed: too late for an error, so the
 * server goes down.  Therefore the error is raised here, before that.
 *
 * A view that reads a foreign table is not maintained by its writers.  But one
 * can become a partition of what it reads, and a function can read one; so all
 * plans are looked at that are run meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

static bool is_committing = false;
static ExecutorStart_hook_type previous_start_hook = NULL;

static void
refuse_foreign(Oid relid)
{
	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("foreign table \"%s\" cannot be read while a transaction commits",
					   get_rel_name(relid)),
				errdetail("A materialized view with policy on_commit reads it."),
				errhint("Use on_statement, or an interval."));
}

static void
start_executor(QueryDesc *desc, int eflags)
{
	foreach_ptr(RangeTblEntry, entry, is_committing ? desc->plannedstmt->rtable : NIL)
	{
		if (entry->rtekind == RTE_RELATION)
			refuse_foreign(entry->relid);
	}
	if (previous_start_hook)
		previous_start_hook(desc, eflags);
	else
		standard_ExecutorStart(desc, eflags);
}

/* Run what a commit waits for */
void
mvr_committing_run(void (*function) (void))
{
	is_committing = true;
	PG_TRY();
	{
		function();
	}
	PG_FINALLY();
	{
		is_committing = false;
	}
	PG_END_TRY();
}

/* Call it once, when the library is loaded */
void
mvr_committing_init(void)
{
	previous_start_hook = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
}
