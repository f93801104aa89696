/*
 * plan.c
 *		Plans of delta queries, kept with stages that are kept.
 *
 * To plan the query for one changed row takes longer than to run it.  A session
 * that maintains a live view keeps its stages, and with each the plans for a few
 * rows, one for each set of relations that have changed.  For many rows a plan
 * is made each time: that is little beside them, and the best plan is another.
 *
 * Whoever keeps a stage throws it away, plans and all, when something that it
 * depends on has changed.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/lmgr.h"

#include "matview_refresh.h"

/* Deltas of so many rows in all are few */
#define FEW_ROWS	50

typedef struct KeptPlan
{
	char	   *deltas;			/* which relations have changed */
	PlannedStmt *plan;
} KeptPlan;

static PlannedStmt *
build_plan(const MvrStage *stage, List *deltas, bool may_be_parallel)
{
	if (stage->strategy == MVR_ROWS)
		return mvr_run_query_plan_delta(mvr_delta_query_build_rows(stage, deltas), deltas,
										may_be_parallel);
	return mvr_run_query_plan_delta(mvr_delta_query_build_groups(stage, deltas), deltas, false);
}

/* The query leaves out what NULLs would do in columns that have none */
static void
describe_nulls(StringInfo text, const MvrDelta *delta)
{
	for (int i = 0; delta->nulls && i < delta->desc->natts; i++)
		appendStringInfoChar(text, delta->nulls[i] ? 'n' : '-');
}

/*
 * Which relations have changed, and what else the delta query depends on; NULL if in many
 * rows, or such as are elsewhere
 */
static char *
describe_deltas(List *deltas)
{
	StringInfoData text;
	int64		nrows = 0;

	initStringInfo(&text);
	foreach_ptr(MvrDelta, delta, deltas)
	{
		nrows += delta->nrows;
		if (delta->source)
			return NULL;
		appendStringInfo(&text, "%s %d %s;", delta->name, delta->identity != NULL,
						 delta->places_name ? delta->places_name : "");
		describe_nulls(&text, delta);
	}
	return nrows <= FEW_ROWS ? text.data : NULL;
}

static PlannedStmt *
keep_plan(struct MvrPlans *plans, const char *text, PlannedStmt *plan)
{
	MemoryContext old = MemoryContextSwitchTo(plans->context);
	KeptPlan   *kept = palloc(sizeof(KeptPlan));

	kept->deltas = pstrdup(text);
	kept->plan = copyObject(plan);
	plans->plans = lappend(plans->plans, kept);
	MemoryContextSwitchTo(old);
	return kept->plan;
}

/* The plan of the delta query of a stage */
PlannedStmt *
mvr_plan_delta(const MvrStage *stage, List *deltas)
{
	char	   *text = stage->plans ? describe_deltas(deltas) : NULL;

	if (text == NULL)
		return build_plan(stage, deltas, stage->plans == NULL);
	foreach_ptr(KeptPlan, kept, stage->plans->plans)
	{
		if (strcmp(kept->deltas, text) == 0)
			return kept->plan;
	}
	return keep_plan(stage->plans, text, build_plan(stage, deltas, false));
}

static void
lock_relations(const MvrStage *stage, List *states, bool is_state)
{
	foreach_ptr(KeptPlan, kept, stage->plans ? stage->plans->plans : NIL)
	{
		foreach_ptr(RangeTblEntry, rte, kept->plan->rtable)
		{
			if (rte->rtekind == RTE_RELATION &&
				list_member_oid(states, rte->relid) == is_state)
				LockRelationOid(rte->relid, rte->rellockmode);
		}
	}
}

/* Lock the relations that the plans kept for a view read: its states, or others */
void
mvr_plan_lock(const MvrStage *view, List *states, bool is_state)
{
	foreach_ptr(MvrStage, stage, view->inner)
		lock_relations(stage, states, is_state);
	lock_relations(view, states, is_state);
}

static bool
depends_on(const MvrStage *stage, Oid relid)
{
	foreach_ptr(KeptPlan, kept, stage->plans ? stage->plans->plans : NIL)
	{
		if (list_member_oid(kept->plan->relationOids, relid))
			return true;
	}
	return false;
}

/* Do plans kept for a view depend on a relation? */
bool
mvr_plan_depends_on(const MvrStage *view, Oid relid)
{
	foreach_ptr(MvrStage, stage, view->inner)
	{
		if (depends_on(stage, relid))
			return true;
	}
	return depends_on(view, relid);
}
