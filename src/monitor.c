/*
 * monitor.c
 *		Counters, and the graph of what reads what.
 *
 * Counters are those of the workers of this database since the server was
 * started; without shared memory there are none.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_counters);
PG_FUNCTION_INFO_V1(mvr_dependency_graph);

/* ----------
 * Counters
 * ----------
 */

static void
put_counter(ReturnSetInfo *result, const char *name, double value)
{
	Datum		values[2];
	bool		nulls[2] = {false, false};

	values[0] = CStringGetTextDatum(name);
	values[1] = Float8GetDatum(value);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
count_workers(int *all, int *busy)
{
	*all = *busy = 0;
	LWLockAcquire(mvr_shared->lock, LW_SHARED);
	for (int i = 0; i < mvr_nslots; i++)
	{
		if (mvr_workers[i].state == MVR_WORKER_FREE || mvr_workers[i].database != MyDatabaseId)
			continue;
		(*all)++;
		if (mvr_workers[i].state == MVR_WORKER_BUSY)
			(*busy)++;
	}
	LWLockRelease(mvr_shared->lock);
}

/* SQL: matview.counters() */
Datum
mvr_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MvrDatabase *db = mvr_shared_lookup_database(MyDatabaseId);
	MvrCounters counters = {0};
	bool		has_scheduler = false;
	int			all;
	int			busy;

	InitMaterializedSRF(fcinfo, 0);
	if (mvr_shared == NULL)
		return (Datum) 0;
	/* without a slot the database is not served, nor counted for */
	if (db)
	{
		SpinLockAcquire(&db->mutex);
		counters = db->counters;
		has_scheduler = (db->scheduler != 0);
		SpinLockRelease(&db->mutex);
	}
	count_workers(&all, &busy);
	put_counter(result, "matview_refreshes_total", counters.refreshes);
	put_counter(result, "matview_refreshes_changed_total", counters.changed);
	put_counter(result, "matview_refresh_failures_total", counters.failures);
	put_counter(result, "matview_refresh_seconds_total", counters.microseconds / 1e6);
	put_counter(result, "matview_scheduler_wakeups_total", counters.wakeups);
	put_counter(result, "matview_scheduler_up", has_scheduler ? 1 : 0);
	put_counter(result, "matview_workers", all);
	put_counter(result, "matview_workers_busy", busy);
	return (Datum) 0;
}

/* ----------
 * The graph
 * ----------
 */

/*
 * Materialized views and what they read, directly or through plain views:
 * source, its kind, reader, its kind and policy; all as names.
 */
static const char *const graph_query =
	"WITH RECURSIVE edges AS ("
	" SELECT d.refobjid AS source, w.ev_class AS reader"
	"  FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d"
	"   ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
	"   AND d.objid OPERATOR(pg_catalog.=) w.oid"
	"   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
	"   AND d.refobjid OPERATOR(pg_catalog.<>) w.ev_class"
	" GROUP BY 1, 2),"
	" graph AS ("
	" SELECT e.* FROM edges e JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) e.reader"
	"  WHERE c.relkind OPERATOR(pg_catalog.=) 'm'"
	" UNION"
	" SELECT e.* FROM graph g JOIN edges e ON e.reader OPERATOR(pg_catalog.=) g.source"
	"  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) e.reader"
	"  WHERE c.relkind OPERATOR(pg_catalog.=) 'v')"
	" SELECT pg_catalog.format('%I.%I', sn.nspname, s.relname), s.relkind::pg_catalog.text, sp.policy,"
	"  pg_catalog.format('%I.%I', rn.nspname, r.relname), r.relkind::pg_catalog.text, rp.policy"
	" FROM graph g"
	" JOIN pg_catalog.pg_class s ON s.oid OPERATOR(pg_catalog.=) g.source"
	" JOIN pg_catalog.pg_namespace sn ON sn.oid OPERATOR(pg_catalog.=) s.relnamespace"
	" JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) g.reader"
	" JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) r.relnamespace"
	" LEFT JOIN matview.policies sp ON sp.view OPERATOR(pg_catalog.=) s.oid"
	" LEFT JOIN matview.policies rp ON rp.view OPERATOR(pg_catalog.=) r.oid"
	" WHERE s.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,v,m}')"
	" ORDER BY 1, 4";

typedef struct Graph
{
	bool		is_dot;
	List	   *nodes;			/* names; the place in the list is the id */
	StringInfoData text;
} Graph;

/* A label in double quotes: as DOT has it, or as Mermaid has it */
static void
put_label(Graph *graph, const char *name, const char *policy)
{
	StringInfo	text = &graph->text;

	for (const char *c = name; *c; c++)
	{
		if (*c == '"')
			appendStringInfoString(text, graph->is_dot ? "\\\"" : "#quot;");
		else if (*c == '\\' && graph->is_dot)
			appendStringInfoString(text, "\\\\");
		else if (*c == '\n')
			appendStringInfoString(text, graph->is_dot ? "\\n" : "<br/>");
		/* Mermaid reads HTML, and entities that begin with # */
		else if (strchr("#&<>", *c) && !graph->is_dot)
			appendStringInfo(text, "#%d;", *c);
		else
			appendStringInfoChar(text, *c);
	}
	if (policy)
		appendStringInfo(text, "%s%s", graph->is_dot ? "\\n" : "<br/>", policy);
}

static const char *
get_opening(bool is_dot, char relkind)
{
	if (is_dot)
		return relkind == 'm' ? "[shape=box, style=bold, label=\"" :
			relkind == 'v' ? "[shape=box, style=dashed, label=\"" : "[shape=cylinder, label=\"";
	return relkind == 'm' ? "[[\"" : relkind == 'v' ? "(\"" : "[(\"";
}

static const char *
get_closing(bool is_dot, char relkind)
{
	if (is_dot)
		return "\"];";
	return relkind == 'm' ? "\"]]" : relkind == 'v' ? "\")" : "\")]";
}

/* The number of a node, which is drawn when it comes first */
static int
put_node(Graph *graph, const char *name, char relkind, const char *policy)
{
	ListCell   *lc;

	foreach(lc, graph->nodes)
		if (strcmp(lfirst(lc), name) == 0)
			return foreach_current_index(lc) + 1;
	graph->nodes = lappend(graph->nodes, pstrdup(name));
	appendStringInfo(&graph->text, "    n%d%s%s", list_length(graph->nodes),
					 graph->is_dot ? " " : "", get_opening(graph->is_dot, relkind));
	put_label(graph, name, policy);
	appendStringInfo(&graph->text, "%s\n", get_closing(graph->is_dot, relkind));
	return list_length(graph->nodes);
}

static char *
get_value(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static void
put_edge(Graph *graph, uint64 row)
{
	int			source = put_node(graph, get_value(row, 1), *get_value(row, 2),
								  get_value(row, 3));
	int			reader = put_node(graph, get_value(row, 4), *get_value(row, 5),
								  get_value(row, 6));

	appendStringInfo(&graph->text, graph->is_dot ? "    n%d -> n%d;\n" : "    n%d --> n%d\n",
					 source, reader);
}

static bool
parse_format(FunctionCallInfo fcinfo)
{
	char	   *format = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (format && pg_strcasecmp(format, "dot") == 0)
		return true;
	if (format && pg_strcasecmp(format, "mermaid") == 0)
		return false;
	ereport(ERROR,
			errcode(format ? ERRCODE_INVALID_PARAMETER_VALUE : ERRCODE_NULL_VALUE_NOT_ALLOWED),
			format ? errmsg("unrecognized graph format \"%s\"", format) :
			errmsg("graph format must not be null"),
			errdetail("Formats are mermaid and dot."),
			errhint("Leave the format out for mermaid."));
	pg_unreachable();
}

/* SQL: matview.dependency_graph(format) */
Datum
mvr_dependency_graph(PG_FUNCTION_ARGS)
{
	Graph		graph = {.is_dot = parse_format(fcinfo)};

	/* a StringInfo grows in the context that it was made in, not in SPI's */
	initStringInfo(&graph.text);
	appendStringInfoString(&graph.text, graph.is_dot ?
						   "digraph matview {\n    rankdir=LR;\n" : "graph LR\n");
	SPI_connect();
	if (SPI_execute(graph_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list what materialized views read");
	for (uint64 i = 0; i < SPI_processed; i++)
		put_edge(&graph, i);
	SPI_finish();
	if (graph.is_dot)
		appendStringInfoString(&graph.text, "}\n");
	PG_RETURN_TEXT_P(cstring_to_text(graph.text.data));
}
