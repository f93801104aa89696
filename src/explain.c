/*
 * explain.c
 *		Looking at a view: how it is maintained, and whether it is right.
 *
 * Nothing here writes, so all of it works on a standby too.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_explain);
PG_FUNCTION_INFO_V1(mvr_check);
PG_FUNCTION_INFO_V1(mvr_pending_changes);

/* ----------
 * explain
 * ----------
 */

typedef struct Lines
{
	Tuplestorestate *rows;
	TupleDesc	desc;
} Lines;

static void
put_line(Lines *lines, const char *format,...) pg_attribute_printf(2, 3);

static void
put_line(Lines *lines, const char *format,...)
{
	StringInfoData text;
	Datum		value;
	bool		isnull = false;

	initStringInfo(&text);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	value = CStringGetTextDatum(text.data);
	tuplestore_putvalues(lines->rows, lines->desc, &value, &isnull);
}

/* One line of output for each line of a text */
static void
put_text(Lines *lines, char *text)
{
	char	   *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		put_line(lines, "  %s", line);
}

static const char *
name_strategy(MvrStrategy strategy)
{
	switch (strategy)
	{
		case MVR_ROWS:
			return "rows: each changed row of the query is found and written";
		case MVR_GROUPS:
			return "groups: each changed group is merged with its state";
		case MVR_KEYS:
			return "keys: the rows of each changed key are computed anew";
		case MVR_RECOMPUTE:
			break;
	}
	return "recompute: the query is run, and the rows that differ are written";
}

static const char *
name_merge(MvrMerge merge)
{
	switch (merge)
	{
		case MVR_MERGE_COUNT:
		case MVR_MERGE_SUM:
			return "added and subtracted";
		case MVR_MERGE_EXTREMUM:
			return "kept; the group is recomputed when it may have gone";
		case MVR_MERGE_SCALE:
			return "kept, for the digits that the sum shows";
		case MVR_MERGE_NONE:
			break;
	}
	return "recomputed for each group that changes";
}

static void
explain_keys(Lines *lines, const char *indent, MvrStage *stage)
{
	put_line(lines, "%s%s: %d", indent, stage->strategy == MVR_GROUPS ? "group keys" : "keys",
			 list_length(stage->keys));
	foreach_ptr(MvrGroupKey, key, stage->keys)
	{
		if (!key->is_image_equal && stage->strategy == MVR_GROUPS)
			put_line(lines, "%s  equal values of type %s can look different: changed groups are recomputed",
					 indent, format_type_with_typemod(key->type, key->typmod));
	}
	foreach_ptr(MvrStateColumn, column, stage->columns)
		put_line(lines, "%saggregate %s: %s", indent,
				 get_func_name(column->aggregate->aggfnoid),
				 name_merge(column->merge));
}

static void
explain_stages(Lines *lines, MvrStage *view)
{
	int			n = 0;

	foreach_ptr(MvrStage, stage, view->inner)
	{
		put_line(lines, "stage %d by %s", ++n, name_strategy(stage->strategy));
		explain_keys(lines, "  ", stage);
	}
	put_line(lines, "strategy %s", name_strategy(view->strategy));
	if (view->reason)
		put_line(lines, "reason: %s", view->reason);
	if (view->strategy == MVR_GROUPS)
		explain_keys(lines, "", view);
}

static void
explain_sources(Lines *lines, MvrStage *stage, MvrTracked *tracked)
{
	foreach_ptr(MvrUse, use, stage->uses)
	{
		StringInfoData columns;
		int			attno = -1;

		initStringInfo(&columns);
		while ((attno = bms_next_member(use->columns, attno)) >= 0)
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "",
							 quote_identifier(get_attname(use->base, attno, false)));
		put_line(lines, "base table %s (%s)",
				 quote_qualified_identifier(get_namespace_name(get_rel_namespace(use->base)),
											get_rel_name(use->base)),
				 columns.data);
	}
	if (tracked == NULL || tracked->live != MVR_LIVE_NOT)
		return;
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		if (tracked->frontier.valid && OidIsValid(source->log))
			put_line(lines, "pending changes of %s: " INT64_FORMAT,
					 quote_identifier(get_rel_name(source->base)),
					 mvr_change_log_count(source->log, &tracked->frontier));
	}
}

/* The pending changes of each base table, at least one row, to plan with */
static List *
make_sample_deltas(MvrStage *stage, MvrTracked *tracked)
{
	List	   *deltas = NIL;

	foreach_ptr(MvrSource, source, tracked->sources)
	{
		Relation	base = table_open(source->base, AccessShareLock);
		bool		marked;
		MvrDelta   *delta = tracked->live != MVR_LIVE_NOT ?
			mvr_delta_make(base, source) :
			mvr_log_delta_read(base, source, &tracked->frontier, false, &marked);

		mvr_identify_prepare(base, stage, delta);
		table_close(base, NoLock);
		delta->nrows = Max(delta->nrows, 1);
		deltas = lappend(deltas, delta);
	}
	return deltas;
}

static void
explain_delta_plan(Lines *lines, MvrStage *stage, List *deltas, const char *title)
{
	Query	   *query = stage->strategy == MVR_ROWS ?
		mvr_delta_query_build_rows(stage, deltas) :
		mvr_delta_query_build_groups(stage, deltas);

	put_line(lines, "%s", title);
	put_text(lines, mvr_run_query_explain(mvr_run_query_plan_delta(query, deltas,
															   stage->strategy == MVR_ROWS),
										  mvr_run_query_environment(deltas)));
}

/* What a refresh would run, stage by stage, if all base tables had changed */
static void
explain_delta_plans(Lines *lines, MvrStage *view, MvrTracked *tracked)
{
	List	   *deltas;
	int			n = 0;

	if (view->strategy == MVR_RECOMPUTE || tracked == NULL || !tracked->frontier.valid ||
		!mvr_inner_has_states(view, tracked))
		return;
	mvr_inner_set_states(view, tracked, AccessShareLock);
	deltas = make_sample_deltas(view, tracked);
	foreach_ptr(MvrStage, stage, view->inner)
	{
		MvrDelta   *changes = mvr_stage_make_delta(stage);

		explain_delta_plan(lines, stage, deltas,
						   psprintf("plan for the changes of stage %d:", ++n));
		changes->nrows = 1;
		deltas = lappend(deltas, changes);
	}
	explain_delta_plan(lines, view, deltas, "plan for the changes:");
	mvr_delta_end(deltas);
}

/* SQL: matview.explain(view) */
Datum
mvr_explain(PG_FUNCTION_ARGS)
{
	Relation	view = mvr_view_open(mvr_view_get_argument(fcinfo),
											 AccessShareLock);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Lines		lines;
	MvrStage   *stage;
	MvrTracked *tracked;
	Oid			userid;
	int			context;
	int			level;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	lines.rows = result->setResult;
	lines.desc = result->setDesc;

	level = mvr_live_become_owner(view, &userid, &context);
	stage = mvr_analyze_view(view);
	tracked = mvr_catalog_lookup_view(RelationGetRelid(view));
	explain_stages(&lines, stage);
	explain_sources(&lines, stage, tracked);
	foreach_ptr(char, command, mvr_advise_list_indexes(stage))
		put_line(&lines, "an index would make changes cheaper: %s", command);
	put_line(&lines, "tracked: %s", tracked == NULL ? "no" :
			 tracked->frontier.valid ? "yes" : "yes, to be filled");
	if (tracked && tracked->frontier.valid && stage->held &&
		!mvr_inner_has_own_state(stage, tracked))
		put_line(&lines, "the view is its own state table");
	if (tracked && tracked->live != MVR_LIVE_NOT)
		put_line(&lines, "maintained by those who write the base tables, when %s",
				 tracked->live == MVR_LIVE_STATEMENT ? "their statement ends" : "they commit");
	explain_delta_plans(&lines, stage, tracked);
	put_line(&lines, "plan for a recompute:");
	put_text(&lines, mvr_run_query_explain(mvr_run_query_plan(copyObject(stage->query), true),
										   NULL));
	mvr_view_become_again(level, userid, context);
	relation_close(view, NoLock);
	return (Datum) 0;
}

/* ----------
 * check
 * ----------
 */

/* SQL: matview.check(view) */
Datum
mvr_check(PG_FUNCTION_ARGS)
{
	Relation	view = mvr_view_open(mvr_view_get_argument(fcinfo),
											 AccessShareLock);
	MvrStage   *stage;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	int64		missing;
	int64		extra;
	Oid			userid;
	int			context;
	int			level;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!RelationIsPopulated(view))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("materialized view \"%s\" has not been populated",
					   RelationGetRelationName(view)),
				errdetail("It was created WITH NO DATA."),
				errhint("Refresh it first."));
	level = mvr_live_become_owner(view, &userid, &context);
	stage = mvr_analyze_view(view);
	PushActiveSnapshot(GetTransactionSnapshot());
	mvr_diff_count(stage, view, &missing, &extra);
	PopActiveSnapshot();
	mvr_view_become_again(level, userid, context);
	relation_close(view, NoLock);
	values[0] = Int64GetDatum(missing);
	values[1] = Int64GetDatum(extra);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* SQL: matview.pending_changes(oid) */
Datum
mvr_pending_changes(PG_FUNCTION_ARGS)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(PG_GETARG_OID(0));
	int64		count = 0;

	if (tracked == NULL || !tracked->frontier.valid ||
		!SearchSysCacheExists1(RELOID, PG_GETARG_DATUM(0)) ||
		tracked->file != mvr_view_get_file(tracked->view))
		PG_RETURN_NULL();
	if (tracked->live != MVR_LIVE_NOT)
		PG_RETURN_INT64(mvr_pending_count(tracked->view));
	foreach_ptr(MvrSource, source, tracked->sources)
	{
		if (OidIsValid(source->log))
			count += mvr_change_log_count(source->log, &tracked->frontier);
	}
	PG_RETURN_INT64(count);
}
