/* matview_refresh--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION matview_refresh" to load this file. \quit

-- Part of the extension, and so of nobody who was here before: whoever owned
-- the schema could put functions into it that others would run.
CREATE SCHEMA matview;
GRANT USAGE ON SCHEMA matview TO PUBLIC;
COMMENT ON SCHEMA matview IS
'functions and views of the extension matview_refresh, and what it keeps: change logs, states, policies, history';

-- ----------
-- Registry (src/catalog.c).  OIDs, not names: a renamed view stays tracked,
-- and none of this means anything in another database.
-- ----------

CREATE TABLE matview.change_logs (
    base oid NOT NULL,
    log oid NOT NULL,
    is_logged boolean NOT NULL,
    is_live boolean NOT NULL,
    CONSTRAINT change_logs_pkey PRIMARY KEY (base)
);
COMMENT ON TABLE matview.change_logs IS
'internal: the change log of each base table that some tracked view reads';

CREATE TABLE matview.tracked_views (
    view oid NOT NULL,
    states oid[] NOT NULL,
    file oid NOT NULL,
    query_hash bigint NOT NULL,
    frontier pg_snapshot,
    own_xid xid8,
    own_cid cid,
    live "char",
    settings text[],
    CONSTRAINT tracked_views_pkey PRIMARY KEY (view)
);
COMMENT ON TABLE matview.tracked_views IS
'internal: the tracked materialized views and what each has consumed of its change logs';

CREATE TABLE matview.tracked_sources (
    view oid NOT NULL,
    base oid NOT NULL,
    columns smallint[] NOT NULL,
    shape bigint NOT NULL,
    CONSTRAINT tracked_sources_pkey PRIMARY KEY (view, base)
);
CREATE INDEX tracked_sources_base ON matview.tracked_sources (base);
COMMENT ON TABLE matview.tracked_sources IS
'internal: the base tables of each tracked view, with the columns it needs';

CREATE TABLE matview.refresh_history (
    view oid NOT NULL,
    started timestamptz NOT NULL,
    finished timestamptz NOT NULL,
    mode text NOT NULL,
    reason text,
    rows_inserted bigint NOT NULL,
    rows_updated bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    changes bigint NOT NULL
);
CREATE INDEX refresh_history_view ON matview.refresh_history (view, started);
COMMENT ON TABLE matview.refresh_history IS
'internal: past refreshes; read the view matview.history';

-- What users have said is in dumps: with the name of the view, and the database
-- ("home") in which its OID is right (src/policy.c).
CREATE TABLE matview.policies (
    view oid NOT NULL,
    view_name text NOT NULL,
    home text NOT NULL,
    policy text NOT NULL,
    paused boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE matview.policies IS
'internal: when materialized views are to be refreshed automatically; read the view matview.views';
SELECT pg_catalog.pg_extension_config_dump('matview.policies', '');

CREATE TABLE matview.policy_runs (
    view oid NOT NULL,
    started timestamptz NOT NULL,
    finished timestamptz NOT NULL,
    failures integer NOT NULL,
    sqlstate text,
    error text,
    retry_at timestamptz,
    CONSTRAINT policy_runs_pkey PRIMARY KEY (view)
);
COMMENT ON TABLE matview.policy_runs IS
'internal: how the last automatic refresh of each materialized view went; read the view matview.views';

-- Logical decoding passes over what is written here, see
-- mvr_catalog_create_table.
UPDATE pg_catalog.pg_class SET relrewrite = oid
 WHERE relnamespace = 'matview'::pg_catalog.regnamespace AND relkind = 'r'
   AND relname IN ('change_logs', 'tracked_views', 'tracked_sources', 'refresh_history',
                   'policies', 'policy_runs');

-- pg_dump reads it as whoever runs it
GRANT SELECT ON matview.policies TO PUBLIC;

-- ----------
-- Automatic refresh (src/policy.c)
-- ----------

CREATE FUNCTION matview.set_auto_refresh(view regclass, policy text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_set_auto_refresh';
COMMENT ON FUNCTION matview.set_auto_refresh(regclass, text) IS
'say when a materialized view is refreshed by itself: off, on_statement (when a statement that writes a base table returns), on_commit (before such a transaction commits), on_change (as soon as a change is committed), an interval (''5 seconds'') or a cron line (''*/5 * * * *'' or @daily, in log_timezone); on_statement and on_commit fill the view, or see that it is maintained if it has the policy, wait for those who write its base tables, and raise 0A000 when it cannot be maintained incrementally, 25001 in a REPEATABLE READ transaction; raises 22004 for NULL, 22023 for anything else; errors otherwise as matview.refresh';

CREATE FUNCTION matview.schedule_auto_refresh(view regclass, every interval) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_schedule_auto_refresh';
COMMENT ON FUNCTION matview.schedule_auto_refresh(regclass, interval) IS
'have a materialized view refreshed at an interval; the same as matview.set_auto_refresh with that interval';

CREATE FUNCTION matview.pause(view regclass) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_pause';
COMMENT ON FUNCTION matview.pause(regclass) IS
'stop the automatic refresh of a materialized view until matview.resume; changes go on being captured; raises 55000 when it has no policy; on_statement and on_commit: waits for those who write the base tables; errors otherwise as matview.refresh';

CREATE FUNCTION matview.resume(view regclass) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_resume';
COMMENT ON FUNCTION matview.resume(regclass) IS
'go on with the automatic refresh of a materialized view; errors as matview.pause';

CREATE FUNCTION matview.next_due(view oid) RETURNS timestamptz
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'mvr_next_due';
COMMENT ON FUNCTION matview.next_due(oid) IS
'when a materialized view is to be refreshed next; NULL when that depends on changes, or when it is paused or has no policy';

CREATE FUNCTION matview.policy_name(view oid) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'mvr_policy_name';
COMMENT ON FUNCTION matview.policy_name(oid) IS
'internal: the name that a view has in matview.policies, whatever quote_all_identifiers says; NULL when it does not exist';

-- ----------
-- Capture (src/change_log.c, src/trigger.c)
-- ----------

CREATE FUNCTION matview.log_rows(log anyelement) RETURNS SETOF anyelement
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'mvr_log_rows';
COMMENT ON FUNCTION matview.log_rows(anyelement) IS
'internal: the rows of a change log, those that are packed among them; call it with NULL::matview.log_<oid of the base table>; raises 42809 for another type';
REVOKE ALL ON FUNCTION matview.log_rows(anyelement) FROM PUBLIC;

CREATE FUNCTION matview.capture() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_capture';
COMMENT ON FUNCTION matview.capture() IS
'internal: trigger function that appends the changes of a statement to a change log; raises 39P01 when called otherwise';
REVOKE ALL ON FUNCTION matview.capture() FROM PUBLIC;

CREATE FUNCTION matview.row_hash(record) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mvr_row_hash';
COMMENT ON FUNCTION matview.row_hash(record) IS
'hash of the binary image of a row; the index that finds the rows of a view without a unique index uses it';

-- ----------
-- Refresh (src/refresh.c)
-- ----------

CREATE TYPE matview.refresh_result AS (
    view regclass,
    mode text,
    rows_inserted bigint,
    rows_updated bigint,
    rows_deleted bigint,
    changes bigint,
    duration_ms double precision
);
COMMENT ON TYPE matview.refresh_result IS
'what a refresh did: duration_ms is the time since the call, in milliseconds; mode is full, concurrent, incremental, diff (recomputed, differing rows written) or none; changes counts the changed rows of base tables that have been applied, an UPDATE being two, without those that have cancelled each other out';

CREATE FUNCTION matview.refresh(view regclass, mode text DEFAULT 'auto', with_sources boolean DEFAULT true)
    RETURNS matview.refresh_result
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_refresh';
COMMENT ON FUNCTION matview.refresh(regclass, text, boolean) IS
'refresh a materialized view, and with_sources (or if that is NULL) before it the tracked materialized views that it reads, all with one snapshot; mode is auto (the cheapest by the planner''s estimates; what is not tracked is compared, and rebuilt if many rows differed when that was last done), full, concurrent, incremental or diff; raises 22004 for NULL as view or mode, 42809 for anything but a materialized view, 42501 without the right to refresh it, 22023 for an unknown mode, 25006 on a standby or in a read-only transaction, 40001 when the snapshot of the transaction is older than the last refresh, 42P01 when it is dropped meanwhile, 55006 when this session has a query or cursor open that reads it';

CREATE FUNCTION matview.refresh_full(view regclass)
    RETURNS matview.refresh_result
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_refresh_full';
COMMENT ON FUNCTION matview.refresh_full(regclass) IS
'recompute a materialized view and replace its contents; readers wait, as with REFRESH MATERIALIZED VIEW; errors as matview.refresh';

CREATE FUNCTION matview.refresh_concurrent(view regclass)
    RETURNS matview.refresh_result
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_refresh_concurrent';
COMMENT ON FUNCTION matview.refresh_concurrent(regclass) IS
'rebuild a materialized view beside its old contents, then swap; readers wait for milliseconds; needs no unique index; errors as matview.refresh';

CREATE FUNCTION matview.refresh_incremental(view regclass)
    RETURNS matview.refresh_result
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_refresh_incremental';
COMMENT ON FUNCTION matview.refresh_incremental(regclass) IS
'apply to a materialized view what changed in its base tables since the last refresh; the first call starts tracking and fills the view; errors as matview.refresh';

CREATE FUNCTION matview.track(view regclass) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_track';
COMMENT ON FUNCTION matview.track(regclass) IS
'install change capture on the base tables of a materialized view, without filling it; waits for those who write them; needs the TRIGGER privilege on them (42501); errors otherwise as matview.refresh';

CREATE FUNCTION matview.untrack(view regclass) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_untrack';
COMMENT ON FUNCTION matview.untrack(regclass) IS
'stop tracking a materialized view and remove the change capture that no other view needs; its contents stay; raises 55000 when its policy is on_statement or on_commit; errors otherwise as matview.refresh';

-- ----------
-- DDL (src/ddl.c)
-- ----------

CREATE FUNCTION matview.forget_dropped() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_forget_dropped';
COMMENT ON FUNCTION matview.forget_dropped() IS
'internal: removes what belonged to a dropped materialized view';
REVOKE ALL ON FUNCTION matview.forget_dropped() FROM PUBLIC;

CREATE FUNCTION matview.note_command() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_note_command';
COMMENT ON FUNCTION matview.note_command() IS
'internal: makes the next refresh recompute a view that REFRESH MATERIALIZED VIEW has written';
REVOKE ALL ON FUNCTION matview.note_command() FROM PUBLIC;

CREATE FUNCTION matview.note_partition() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_note_partition';
COMMENT ON FUNCTION matview.note_partition() IS
'internal: captures a new, empty partition from its first row on';
REVOKE ALL ON FUNCTION matview.note_partition() FROM PUBLIC;

CREATE FUNCTION matview.note_rename() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_note_rename';
COMMENT ON FUNCTION matview.note_rename() IS
'internal: keeps the names in matview.policies, which dumps have, up to date';
REVOKE ALL ON FUNCTION matview.note_rename() FROM PUBLIC;

CREATE FUNCTION matview.note_writers() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_note_writers';
COMMENT ON FUNCTION matview.note_writers() IS
'internal: marks change logs when base tables can be written through a new parent, or by a subscription';
REVOKE ALL ON FUNCTION matview.note_writers() FROM PUBLIC;

CREATE FUNCTION matview.note_policies() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_note_policies';
COMMENT ON FUNCTION matview.note_policies() IS
'internal: tells the refresh scheduler of policies that a restore has brought';
REVOKE ALL ON FUNCTION matview.note_policies() FROM PUBLIC;

CREATE TRIGGER note_policies AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON matview.policies
    FOR EACH STATEMENT EXECUTE FUNCTION matview.note_policies();
ALTER TABLE matview.policies ENABLE ALWAYS TRIGGER note_policies;

CREATE FUNCTION matview.recompute_live() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_recompute_live';
COMMENT ON FUNCTION matview.recompute_live() IS
'internal: recomputes views with policy on_statement or on_commit after commands that change the result of their queries';
REVOKE ALL ON FUNCTION matview.recompute_live() FROM PUBLIC;

CREATE FUNCTION matview.lock_dropped() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'mvr_lock_dropped';
COMMENT ON FUNCTION matview.lock_dropped() IS
'internal: locks base tables before DROP EXTENSION, in the order of those who write them';
REVOKE ALL ON FUNCTION matview.lock_dropped() FROM PUBLIC;

CREATE EVENT TRIGGER matview_refresh_lock_dropped ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION')
    EXECUTE FUNCTION matview.lock_dropped();
ALTER EVENT TRIGGER matview_refresh_lock_dropped ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_lock_dropped IS
'locks base tables before DROP EXTENSION, in the order of those who write them';

CREATE EVENT TRIGGER matview_refresh_forget_dropped ON sql_drop
    EXECUTE FUNCTION matview.forget_dropped();
ALTER EVENT TRIGGER matview_refresh_forget_dropped ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_forget_dropped IS
'what is known of dropped views and tables goes with them';

CREATE EVENT TRIGGER matview_refresh_note_command ON ddl_command_end
    WHEN TAG IN ('REFRESH MATERIALIZED VIEW')
    EXECUTE FUNCTION matview.note_command();
ALTER EVENT TRIGGER matview_refresh_note_command ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_note_command IS
'REFRESH MATERIALIZED VIEW: the view is compared by its next refresh, and those that stand on it are told';

CREATE EVENT TRIGGER matview_refresh_note_partition ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE')
    EXECUTE FUNCTION matview.note_partition();
ALTER EVENT TRIGGER matview_refresh_note_partition ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_note_partition IS
'captures an empty partition from its first row on';

CREATE EVENT TRIGGER matview_refresh_note_rename ON ddl_command_end
    WHEN TAG IN ('ALTER MATERIALIZED VIEW', 'ALTER TABLE', 'ALTER INDEX', 'ALTER SCHEMA', 'ALTER EXTENSION')
    EXECUTE FUNCTION matview.note_rename();
ALTER EVENT TRIGGER matview_refresh_note_rename ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_note_rename IS
'the policy of a view follows its name, for pg_dump';

-- what has come with a restore or a copy of the database is found by its old name
CREATE EVENT TRIGGER matview_refresh_adopt_policies ON ddl_command_start
    WHEN TAG IN ('ALTER MATERIALIZED VIEW', 'DROP MATERIALIZED VIEW', 'ALTER TABLE', 'ALTER INDEX',
                 'ALTER SCHEMA', 'DROP SCHEMA', 'ALTER EXTENSION')
    EXECUTE FUNCTION matview.note_rename();
ALTER EVENT TRIGGER matview_refresh_adopt_policies ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_adopt_policies IS
'policies that have come with a restore or a copy are found by the old name before it changes';

CREATE EVENT TRIGGER matview_refresh_note_writers ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION')
    EXECUTE FUNCTION matview.note_writers();
ALTER EVENT TRIGGER matview_refresh_note_writers ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_note_writers IS
'tables that can be written now without their triggers telling are marked';

CREATE EVENT TRIGGER matview_refresh_recompute_live ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE SCHEMA', 'DROP SCHEMA',
                 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE', 'DROP TRIGGER', 'CREATE VIEW', 'ALTER VIEW', 'CREATE RULE',
                 'ALTER MATERIALIZED VIEW',
                 'CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'CREATE AGGREGATE',
                 'ALTER AGGREGATE',
                 'CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'ALTER TYPE', 'DROP TYPE',
                 'ALTER DOMAIN', 'ALTER TEXT SEARCH CONFIGURATION',
                 'ALTER TEXT SEARCH DICTIONARY', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION', 'DROP SUBSCRIPTION',
                 'DROP OWNED', 'DROP EXTENSION')
    EXECUTE FUNCTION matview.recompute_live();
ALTER EVENT TRIGGER matview_refresh_recompute_live ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER matview_refresh_recompute_live IS
'views with policy on_statement or on_commit are recomputed after commands that change the result of their queries';

-- ----------
-- Looking at it (src/explain.c)
-- ----------

CREATE FUNCTION matview.explain(view regclass) RETURNS SETOF text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_explain';
COMMENT ON FUNCTION matview.explain(regclass) IS
'how a materialized view is maintained: strategy, reason for a fallback, and the plan a refresh would run now; errors as those of matview.refresh about the view';

CREATE FUNCTION matview.check(view regclass, OUT missing bigint, OUT extra bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_check';
COMMENT ON FUNCTION matview.check(regclass) IS
'compare a materialized view with its query in one snapshot: rows of the query that the view lacks, rows of the view that the query lacks (where several looks of equal values are right, as of numeric 1.0 and 1.00 in GROUP BY, another one counts as one of each); raises 55000 when the view is not populated; errors otherwise as those of matview.refresh about the view';

CREATE FUNCTION matview.pending_changes(view oid) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'mvr_pending_changes';
COMMENT ON FUNCTION matview.pending_changes(oid) IS
'changes in the change logs that a tracked materialized view has not consumed yet, or, if its writers maintain it, of this transaction; NULL when it is not tracked or must be recomputed anyway';

CREATE FUNCTION matview.running_refreshes(OUT pid integer, OUT view oid, OUT phase text,
                                          OUT rows_done bigint, OUT rows_expected bigint,
                                          OUT started timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_progress';
COMMENT ON FUNCTION matview.running_refreshes() IS
'internal: the refreshes that run in this database; read the view matview.progress';

CREATE VIEW matview.views AS
    SELECT c.oid::regclass AS view,
           p.policy,
           p.paused,
           CASE WHEN t.view IS NULL THEN 'untracked'
                WHEN t.frontier IS NULL OR t.file <> c.relfilenode THEN 'recompute'
                ELSE 'incremental' END AS next_refresh,
           h.finished AS last_refresh,
           h.mode AS last_mode,
           CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN h.reason
                ELSE pg_catalog.split_part(h.reason, ': ', 1) END AS last_reason,
           matview.pending_changes(c.oid) AS pending_changes,
           CASE WHEN t.view IS NOT NULL AND matview.pending_changes(c.oid) = 0
                THEN interval '0'
                ELSE clock_timestamp() - h.finished END AS staleness,
           matview.next_due(c.oid) AS next_due,
           r.started AS last_attempt,
           r.failures,
           CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN r.error END AS last_error
      FROM pg_catalog.pg_class c
      LEFT JOIN matview.policies p ON p.view_name = matview.policy_name(c.oid)
      LEFT JOIN matview.policy_runs r ON r.view = c.oid AND p.policy IS NOT NULL
      LEFT JOIN matview.tracked_views t ON t.view = c.oid
      LEFT JOIN LATERAL (SELECT r.finished, r.mode, r.reason
                           FROM matview.refresh_history r
                          WHERE r.view = c.oid
                          ORDER BY r.started DESC LIMIT 1) h ON true
     WHERE c.relkind = 'm' AND c.relpersistence <> 't';
COMMENT ON VIEW matview.views IS
'every materialized view: its refresh policy, how its next refresh_incremental would go, its last refresh, pending changes and staleness, when it is due, failures of its automatic refresh';

CREATE VIEW matview.progress AS
    SELECT r.pid, r.view::regclass AS view, r.phase, r.rows_done, r.rows_expected, r.started
      FROM matview.running_refreshes() r;
COMMENT ON VIEW matview.progress IS
'refreshes that run now in this database, with the rows that the query of the phase has given and, by the planner''s estimate, will give; empty unless matview_refresh is in shared_preload_libraries';

CREATE VIEW matview.history AS
    SELECT r.view::regclass AS view, r.started, r.mode,
           CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN r.reason
                ELSE pg_catalog.split_part(r.reason, ': ', 1) END AS reason,
           r.rows_inserted, r.rows_updated, r.rows_deleted, r.changes,
           (extract(epoch FROM r.finished - r.started) * 1000)::double precision AS duration_ms
      FROM matview.refresh_history r
      JOIN pg_catalog.pg_class c ON c.oid = r.view;
COMMENT ON VIEW matview.history IS
'past refreshes that had something to do, with the reason for the mode, of which only the view''s owner sees an error message; the setting matview.history_limit says how many are kept per view';

CREATE VIEW matview.dependencies AS
    SELECT s.view::regclass AS view, s.base::regclass AS depends_on,
           ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = s.base AND a.attnum = ANY (s.columns)
                  ORDER BY a.attnum) AS columns
      FROM matview.tracked_sources s
      JOIN pg_catalog.pg_class c ON c.oid = s.view
      JOIN pg_catalog.pg_class b ON b.oid = s.base;
COMMENT ON VIEW matview.dependencies IS
'the base tables of each tracked materialized view and the columns it needs of them';

CREATE FUNCTION matview.counters(OUT name text, OUT value double precision) RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'mvr_counters';
COMMENT ON FUNCTION matview.counters() IS
'internal: what the background processes of this database have counted; read the view matview.metrics';

CREATE VIEW matview.metrics AS
    SELECT c.name, 'database="' || l.database || '"' AS labels, c.value
      FROM matview.counters() c,
           LATERAL (SELECT replace(replace(replace(current_database(), E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') AS database) l
    UNION ALL
    SELECT m.name,
           'database="' || replace(replace(replace(current_database(), E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') ||
           '",view="' || replace(replace(replace(format('%I.%I', n.nspname, k.relname), E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') || '"',
           m.value
      FROM matview.views v
      JOIN pg_catalog.pg_class k ON k.oid = v.view
      JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
     CROSS JOIN LATERAL (VALUES
           ('matview_view_pending_changes', v.pending_changes::double precision),
           ('matview_view_staleness_seconds', extract(epoch FROM v.staleness)::double precision),
           ('matview_view_last_refresh_timestamp_seconds', extract(epoch FROM v.last_refresh)::double precision),
           ('matview_view_consecutive_failures', v.failures::double precision),
           ('matview_view_paused', v.paused::integer::double precision)) m (name, value)
     WHERE m.value IS NOT NULL;
COMMENT ON VIEW matview.metrics IS
'counters and gauges by name, with labels as Prometheus writes them: name || ''{'' || labels || ''} '' || value is a line of its text format; counters begin at 0 when the server starts';

CREATE FUNCTION matview.dependency_graph(format text DEFAULT 'mermaid') RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'mvr_dependency_graph';
COMMENT ON FUNCTION matview.dependency_graph(text) IS
'what materialized views read, through plain views too, as a drawing: format is mermaid or dot; raises 22004 for NULL and 22023 for another format';

GRANT SELECT ON matview.metrics TO PUBLIC;
GRANT SELECT ON matview.views, matview.history, matview.dependencies, matview.progress TO PUBLIC;
