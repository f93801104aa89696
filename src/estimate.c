/*
 * estimate.c
 *		Is it worth it to apply the changes?
 *
 * "auto" compares the planner's cost for the delta queries with its cost for
 * the whole query.  Other questions that are asked before: whether so much has
 * changed that the answer is known, and whether errors must be expected.
 */
#include "postgres.h"

#include "access/table.h"
#include "optimizer/cost.h"
#include "utils/lsyscache.h"

#include "matview_refresh.h"

/* Rows from which a change of half a table is one to recompute for */
#define FLOOD_FROM	1000

/*
 * What the planner thinks a stage costs: its delta, and what has to be computed
 * anew.  Sets the number of rows that come out.
 */
static double
estimate_stage(MvrStage *stage, List *deltas, double *nrows)
{
	Query	   *query = stage->strategy == MVR_ROWS ?
		mvr_delta_query_build_rows(stage, deltas) :
		mvr_delta_query_build_groups(stage, deltas);
	PlannedStmt *plan = mvr_run_query_plan_delta(query, deltas, false);
	double		cost = plan->planTree->total_cost;

	*nrows = plan->planTree->plan_rows;
	if (stage->strategy == MVR_KEYS || (stage->strategy == MVR_GROUPS && !stage->is_merged))
	{
		MvrStageKey *key = mvr_stage_key_begin(stage);

		plan = mvr_run_query_plan_delta(mvr_delta_query_build_contents(stage, key->desc,
																	   "wanted", *nrows,
																	   false),
										deltas, false);
		cost += plan->planTree->total_cost;
		*nrows = plan->planTree->plan_rows;
	}
	return cost;
}

/*
 * Would a rebuild cost less than applying the deltas of base tables?  The states
 * of the stages are known (mvr_inner_set_states).
 *
 * The delta queries are planned for pages in memory, as they are when they run,
 * the whole query with the server's own costs, as REFRESH does it.
 */
bool
mvr_estimate_is_rebuild_cheaper(MvrStage *view, List *known)
{
	PlannedStmt *full = mvr_run_query_plan(copyObject(view->query), true);
	List	   *deltas = list_copy(known);
	double		delta_cost = 0;
	double		full_cost;
	double		nrows;

	foreach_ptr(MvrStage, stage, view->inner)
	{
		MvrDelta   *guess;

		if (!mvr_delta_query_has_changed(stage, deltas))
			continue;
		delta_cost += estimate_stage(stage, deltas, &nrows);
		/* a row goes for each that appears */
		guess = mvr_stage_make_delta(stage);
		guess->nrows = 2 * nrows;
		deltas = lappend(deltas, guess);
	}
	/* what is written: an index search and an update, against an append */
	delta_cost += estimate_stage(view, deltas, &nrows);
	delta_cost += nrows * 3 * random_page_cost * 0.1;
	full_cost = full->planTree->total_cost +
		full->planTree->plan_rows * (cpu_tuple_cost * 4);
	return full_cost < delta_cost;
}

/* Does a delta query read one table as it is and another as it was? */
static bool
reads_old_rows(const MvrStage *view, List *deltas)
{
	foreach_ptr(MvrUse, use, view->uses)
		if (use->is_dependent)
			return true;
	return list_length(deltas) > 1 || view->inner != NIL;
}

/*
 * Can a delta query see rows that never were there together, or are not there any
 * more?  Then an expression may fail that never does in the view's query.
 */
bool
mvr_estimate_can_fail(const MvrStage *view, List *deltas)
{
	foreach_ptr(MvrDelta, delta, deltas)
		if (delta->has_passing)
			return true;
	return reads_old_rows(view, deltas);
}

/*
 * Has so much changed that a recomputation is better than queries over old and
 * new rows?  They are meant for a few rows, and planned without statistics.
 */
char *
mvr_estimate_find_flood(const MvrStage *view, List *deltas)
{
	foreach_ptr(MvrDelta, delta, reads_old_rows(view, deltas) ? deltas : NIL)
	{
		Relation	base = table_open(delta->base, NoLock);
		double		ntuples = base->rd_rel->reltuples;

		table_close(base, NoLock);
		if (delta->nrows >= FLOOD_FROM && ntuples >= 0 && delta->nrows > ntuples / 2)
			return psprintf("more than half of \"%s\" has changed",
							get_rel_name(delta->base));
	}
	return NULL;
}
