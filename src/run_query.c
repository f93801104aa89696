/*
 * run_query.c
 *		Plan a Query tree and run it, row by row into a function.
 *
 * Queries run with the active snapshot, which the refresh has taken after its
 * locks, and as the current user, who is the view's owner by then.
 */
#include "postgres.h"

#include "commands/explain.h"
#include "executor/executor.h"
#include "jit/jit.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"

#include "matview_refresh.h"

/* What a page costs that is in memory, beside a row of it (cpu_tuple_cost) */
#define CACHED_PAGE_COST	0.1

typedef struct RowReceiver
{
	DestReceiver pub;
	MvrRowFunction function;
	void	   *arg;
	MemoryContext context;		/* reset after each row */
} RowReceiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;

	MemoryContext old = MemoryContextSwitchTo(receiver->context);

	mvr_progress_count();
	receiver->function(slot, receiver->arg);
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->context);
	return true;
}

static void
start_receiving(DestReceiver *self pg_attribute_unused(),
				int operation pg_attribute_unused(),
				TupleDesc desc pg_attribute_unused())
{
}

static void
stop_receiving(DestReceiver *self pg_attribute_unused())
{
}

static void
add_relation(QueryEnvironment *env, const char *name, TupleDesc desc, void *data,
			 int64 nrows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = nrows;
	enr->reldata = data;
	register_ENR(env, enr);
}

/* Make rows known to queries by name.  The tuplestore stays the caller's. */
void
mvr_run_query_add_rows(QueryEnvironment *env, const char *name, TupleDesc desc,
					   Tuplestorestate *rows, int64 nrows)
{
	add_relation(env, name, desc, rows, nrows);
}

/*
 * An environment in which queries find the deltas of base tables.  One whose rows
 * are elsewhere is known itself, to delta_scan.c.
 */
QueryEnvironment *
mvr_run_query_environment(List *deltas)
{
	QueryEnvironment *env = create_queryEnv();

	foreach_ptr(MvrDelta, delta, deltas)
	{
		add_relation(env, delta->name, delta->desc,
					 delta->source ? (void *) delta : (void *) delta->rows, delta->nrows);
		if (delta->places)
			mvr_run_query_add_rows(env, delta->places_name, delta->places_desc,
								   delta->places, delta->nplaces);
	}
	return env;
}

static bool
check_rights(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		mvr_compat_check_rights((Query *) node);
		return query_tree_walker((Query *) node, check_rights, context, 0);
	}
	return expression_tree_walker(node, check_rights, context);
}

/*
 * Check that a query, expanded but not planned, may be run.  A query over the
 * deltas alone would not notice that a right has been revoked.
 */
void
mvr_run_query_check_rights(Query *query)
{
	check_rights((Node *) query, NULL);
}

/*
 * Plan a query, which is modified.  While a parallel plan runs, rows may be
 * inserted (as core does when it fills a view), but not updated or deleted:
 * a plan whose rows lead to that must not be parallel.
 */
PlannedStmt *
mvr_run_query_plan(Query *query, bool may_be_parallel)
{
	return pg_plan_query(query, "", may_be_parallel ? CURSOR_OPT_PARALLEL_OK : 0,
						 NULL);
}

/*
 * Plan a query over deltas, of which the planner gets to know what it would of
 * tables.  There are few rows, so it is never worth it to compile expressions;
 * and what they are joined with has mostly been read or written lately, so a
 * page costs the same wherever it is.  A merge join would read an index in order
 * to find them, and the planner errs about how much of it.
 */
PlannedStmt *
mvr_run_query_plan_delta(Query *query, List *deltas, bool may_be_parallel)
{
	List	   *before = mvr_delta_stats_set(deltas);
	bool		save_jit = jit_enabled;
	double		save_random = random_page_cost;
	double		save_seq = seq_page_cost;
	bool		save_merge = enable_mergejoin;
	PlannedStmt *plan = NULL;

	PG_TRY();
	{
		jit_enabled = false;
		random_page_cost = Min(random_page_cost, CACHED_PAGE_COST);
		seq_page_cost = Min(seq_page_cost, CACHED_PAGE_COST);
		enable_mergejoin = false;
		plan = mvr_run_query_plan(query, may_be_parallel);
	}
	PG_FINALLY();
	{
		jit_enabled = save_jit;
		random_page_cost = save_random;
		seq_page_cost = save_seq;
		enable_mergejoin = save_merge;
		mvr_delta_stats_set(before);
	}
	PG_END_TRY();
	return plan;
}

/*
 * Run a plan and call the function for each row, in a memory context that is
 * reset after it.
 */
uint64
mvr_run_query(PlannedStmt *plan, QueryEnvironment *env, MvrRowFunction function,
			  void *arg)
{
	RowReceiver receiver = {
		.pub = {
			.receiveSlot = receive_row,
			.rStartup = start_receiving,
			.rShutdown = stop_receiving,
			.rDestroy = stop_receiving,
			.mydest = DestNone
		},
		.function = function,
		.arg = arg,
		.context = AllocSetContextCreate(CurrentMemoryContext, "matview row",
										 ALLOCSET_DEFAULT_SIZES)
	};
	QueryDesc  *desc = CreateQueryDesc(plan, "", GetActiveSnapshot(),
									   InvalidSnapshot, &receiver.pub, NULL, env, 0);
	uint64		processed;

	mvr_progress_expect(plan->planTree->plan_rows);
	ExecutorStart(desc, 0);
	mvr_compat_executor_run(desc);
	processed = desc->estate->es_processed;
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	MemoryContextDelete(receiver.context);
	return processed;
}

/* The plan as EXPLAIN shows it; the query is not run */
char *
mvr_run_query_explain(PlannedStmt *plan, QueryEnvironment *env)
{
	ExplainState *es = NewExplainState();
	QueryDesc  *desc = CreateQueryDesc(plan, "", GetActiveSnapshot(),
									   InvalidSnapshot, None_Receiver, NULL, env, 0);

	ExecutorStart(desc, EXEC_FLAG_EXPLAIN_ONLY);
	es->costs = true;
	ExplainBeginOutput(es);
	ExplainPrintPlan(es, desc);
	ExplainEndOutput(es);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	return es->str->data;
}
