-- Bad input: message, detail, hint and SQLSTATE of each; nothing is lost and
-- nothing is left behind.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA errors;
SET search_path = errors, test;

-- What a command ends with
CREATE FUNCTION try(command text) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
DECLARE state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    line := 'no error';
    RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    FOREACH line IN ARRAY ARRAY[state, message, detail, hint] LOOP
        line := regexp_replace(line, '(?<=OID )\d+|\d{6,}', 'N');
        RETURN NEXT;
    END LOOP;
END $$;
-- The same for each function that takes a view
CREATE FUNCTION try_all(argument text) RETURNS TABLE (functions text, state text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
DECLARE f text;
BEGIN
    CREATE TEMP TABLE results (f text, s text, m text, d text, h text);
    FOREACH f IN ARRAY ARRAY['refresh', 'refresh_full', 'refresh_concurrent', 'refresh_incremental', 'track', 'untrack', 'explain', 'check'] LOOP
        BEGIN
            EXECUTE format('SELECT * FROM matview.%s(%s)', f, argument);
            INSERT INTO results VALUES (f, 'no error');
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
            INSERT INTO results VALUES (f, state, message, detail, hint);
        END;
    END LOOP;
    RETURN QUERY SELECT CASE count(*) WHEN 8 THEN 'all' ELSE string_agg(r.f, ', ') END, r.s, r.m, r.d, r.h FROM results r GROUP BY 2, 3, 4, 5 ORDER BY 1;
    DROP TABLE results;
END $$;

CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 1);
CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
CREATE VIEW plain AS SELECT * FROM t;
CREATE SEQUENCE s;
CREATE INDEX i ON t (v);
CREATE TYPE composite AS (a int);
CREATE TABLE parts (a int) PARTITION BY LIST (a);
CREATE INDEX parts_i ON parts (a);
CREATE TEMP TABLE temporary (a int);
CREATE FOREIGN DATA WRAPPER errors_fdw;
CREATE SERVER errors_server FOREIGN DATA WRAPPER errors_fdw;
CREATE FOREIGN TABLE foreigner (a int) SERVER errors_server;
\x on
SELECT * FROM try_all($$'nothing'$$);
SELECT * FROM try_all('NULL');
SELECT * FROM try_all('0');
SELECT * FROM try_all('987654321');
SELECT * FROM try_all($$'t'$$);
SELECT * FROM try_all($$'plain'$$);
SELECT * FROM try_all($$'s'$$);
SELECT * FROM try_all($$'i'$$);
SELECT * FROM try_all($$'composite'$$);
SELECT * FROM try_all($$'parts'$$);
SELECT * FROM try_all($$'parts_i'$$);
SELECT * FROM try_all($$'temporary'$$);
-- PostgreSQL 15 does not create such a view; where there is one, it is refused
DO $$ BEGIN
    CREATE MATERIALIZED VIEW pg_temp.temporary_view AS SELECT * FROM t;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END $$;
CREATE TEMP TABLE expected AS SELECT '42809' AS state, 'materialized view "temporary_view" is temporary' AS message,
    'It ends with its session, and other sessions, which write what it reads, cannot see it.' AS detail,
    'Use REFRESH MATERIALIZED VIEW, or create the view in a schema that is not temporary.' AS hint;
SELECT t.* FROM pg_class c, expected e, LATERAL try_all(quote_literal(c.relname)) t
 WHERE c.relname = 'temporary_view' AND (t.functions, t.state, t.message, t.detail, t.hint) IS DISTINCT FROM ('all', e.state, e.message, e.detail, e.hint);
SELECT call, t.lines FROM pg_class c, expected e, unnest(ARRAY['set_auto_refresh(%L, ''on_change'')', 'set_auto_refresh(%L, ''on_statement'')',
    'set_auto_refresh(%L, ''off'')', 'schedule_auto_refresh(%L, ''1 day'')', 'pause(%L)', 'resume(%L)', 'refresh(%L, ''diff'')']) call,
    LATERAL (SELECT array_agg(line) AS lines FROM try(format('SELECT matview.' || call, c.relname))) t
 WHERE c.relname = 'temporary_view' AND t.lines IS DISTINCT FROM ARRAY[e.state, e.message, e.detail, e.hint];
DROP TABLE expected;
SELECT count(*) FROM matview.views WHERE view::text LIKE '%temporary_view';
SELECT * FROM try_all($$'foreigner'$$);
SELECT * FROM try_all($$'pg_class'$$);
SELECT * FROM try_all($$'pg_toast.pg_toast_1255'$$);
SELECT * FROM try_all($$'matview.views'$$);
SELECT * FROM try_all($$'matview.tracked_views'$$);
\x off
-- Modes
SELECT * FROM try($$SELECT matview.refresh('m', 'sideways')$$);
SELECT * FROM try($$SELECT matview.refresh('m', '')$$);
SELECT * FROM try($$SELECT matview.refresh('m', NULL)$$);
SELECT * FROM try($$SELECT matview.refresh('m', 'none')$$);
SELECT * FROM try($$SELECT matview.refresh('m', 'FULL')$$);
-- An unpopulated view
CREATE MATERIALIZED VIEW empty AS SELECT * FROM t WITH NO DATA;
SELECT * FROM try($$SELECT matview.check('empty')$$);
SELECT * FROM try($$SELECT * FROM matview.explain('empty')$$);
SELECT * FROM try($$SELECT matview.track('empty')$$);
SELECT * FROM try($$SELECT matview.untrack('empty')$$);
SELECT * FROM try($$SELECT matview.refresh('empty')$$);
-- A read-only transaction
BEGIN READ ONLY;
SELECT * FROM try($$SELECT matview.refresh('m')$$);
SELECT * FROM try($$SELECT matview.refresh_full('m')$$);
SELECT * FROM try($$SELECT matview.refresh_concurrent('m')$$);
SELECT * FROM try($$SELECT matview.refresh_incremental('m')$$);
SELECT * FROM try($$SELECT matview.track('m')$$);
SELECT * FROM try($$SELECT matview.untrack('m')$$);
SELECT * FROM try($$SELECT matview.check('m')$$);
SELECT count(*) > 0 AS explained FROM matview.explain('m');
SELECT count(*) > 0 AS listed FROM matview.views;
COMMIT;
-- Rights
CREATE ROLE regress_mvr_none;
GRANT USAGE ON SCHEMA errors, test TO regress_mvr_none;
GRANT SELECT ON ALL TABLES IN SCHEMA errors TO regress_mvr_none;
SET ROLE regress_mvr_none;
SELECT * FROM try($$SELECT matview.refresh('m')$$);
SELECT * FROM try($$SELECT matview.refresh_incremental('m')$$);
SELECT * FROM try($$SELECT matview.refresh_full('m')$$);
SELECT * FROM try($$SELECT matview.refresh_concurrent('m')$$);
SELECT * FROM try($$SELECT matview.track('m')$$);
SELECT * FROM try($$SELECT matview.untrack('m')$$);
SELECT * FROM try($$SELECT matview.check('m')$$);
SELECT * FROM try($$SELECT matview.explain('m')$$);
RESET ROLE;
-- The internal functions, called by hand
SELECT * FROM try('SELECT matview.capture()');
SELECT * FROM try('SELECT matview.forget_dropped()');
SELECT * FROM try('SELECT matview.note_command()');
SELECT * FROM try('SELECT matview.row_hash(NULL)');
SELECT matview.row_hash(ROW(1, 'a'::text)) = matview.row_hash(ROW(1, 'a'::text)) AS same, matview.row_hash(ROW(1.0)) = matview.row_hash(ROW(1.00)) AS same_image;
SELECT matview.pending_changes(0) IS NULL AS none, matview.pending_changes('t'::regclass) IS NULL AS none, matview.pending_changes(NULL) IS NULL AS none;
CREATE TABLE trap (a int);
CREATE TRIGGER x AFTER INSERT ON trap EXECUTE FUNCTION matview.capture();
SELECT * FROM try('INSERT INTO trap VALUES (1)');
DROP TRIGGER x ON trap;
CREATE TRIGGER x AFTER INSERT ON trap REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION matview.capture(1, 2);
SELECT * FROM try('INSERT INTO trap VALUES (1)');
DROP TRIGGER x ON trap;
CREATE TRIGGER x BEFORE INSERT ON trap FOR EACH ROW EXECUTE FUNCTION matview.capture('t', 'm');
SELECT * FROM try('INSERT INTO trap VALUES (1)');
DROP TRIGGER x ON trap;
DROP TABLE trap;
-- The query fails: division by zero in what came; nothing is lost
CREATE MATERIALIZED VIEW quotient AS SELECT id, 10 / v AS q FROM t;
CREATE MATERIALIZED VIEW quotient_sum AS SELECT sum(10 / v) AS q FROM t;
SELECT * FROM step('quotient');
SELECT * FROM step('quotient_sum');
INSERT INTO t VALUES (2, 0), (3, 5);
SELECT * FROM try($$SELECT matview.refresh_incremental('quotient')$$);
SELECT * FROM try($$SELECT matview.refresh_incremental('quotient_sum')$$);
SELECT * FROM try($$SELECT matview.refresh_concurrent('quotient')$$);
SELECT * FROM try($$SELECT matview.refresh_full('quotient')$$);
SELECT * FROM quotient;
UPDATE t SET v = 2 WHERE v = 0;
SELECT * FROM step('quotient');
SELECT * FROM step('quotient_sum');
-- The view is in use by this session
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM m;
FETCH c;
SELECT * FROM try($$SELECT matview.refresh_full('m')$$);
SELECT * FROM try($$SELECT matview.refresh_concurrent('m')$$);
SELECT * FROM try($$SELECT matview.refresh_incremental('m')$$);
ROLLBACK;
SELECT * FROM try($$SELECT r.mode FROM m, matview.refresh('m') r$$);
-- Twice in a query
SELECT * FROM try($$SELECT matview.refresh('m') FROM (VALUES (1), (2)) x$$);
SELECT * FROM step('m');
-- Dropped by a function of its own query, or by the query that refreshes it
CREATE FUNCTION drop_view(view text) RETURNS int VOLATILE LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'DROP MATERIALIZED VIEW errors.' || view;
    RETURN 1;
END $$;
CREATE MATERIALIZED VIEW drops_itself AS SELECT id, errors.drop_view('drops_itself') AS d FROM t WITH NO DATA;
SELECT f, line FROM unnest('{refresh,refresh_full,refresh_concurrent,refresh_incremental}'::text[]) f,
    try(format($$SELECT * FROM matview.%s('drops_itself')$$, f));
SELECT relispopulated FROM pg_class WHERE oid = 'drops_itself'::regclass;
DROP MATERIALIZED VIEW drops_itself;
CREATE MATERIALIZED VIEW doomed AS SELECT v, count(*) FROM t GROUP BY v;
SELECT * FROM step('doomed');
SELECT f, line FROM unnest('{refresh,refresh_full,refresh_concurrent,refresh_incremental,track,untrack,check,explain,pause}'::text[]) f,
    try(format($$SELECT drop_view('doomed'), matview.%s('doomed')$$, f));
SELECT * FROM step('doomed');
SELECT (matview.refresh_full('doomed')).mode, drop_view('doomed');
SELECT to_regclass('doomed') IS NULL AS dropped;
SELECT what FROM leftovers() WHERE what ~ 'dropped|dependency';
-- Settings
SELECT * FROM try('SET matview.history_limit = -1');
SELECT * FROM try($$SET matview.max_log_size = 'x'$$);
SELECT * FROM try('SET matview.unknown = 1');
SET matview.history_limit = 2;
SELECT done FROM step('m', 'full');
SELECT done FROM step('m', 'full');
SELECT done FROM step('m', 'full');
SELECT count(*) FROM matview.history WHERE view = 'm'::regclass;
SET matview.history_limit = 0;
SELECT done FROM step('m', 'full');
SELECT count(*) FROM matview.history WHERE view = 'm'::regclass;
RESET matview.history_limit;
-- The registry cannot be written by anybody
SET ROLE regress_mvr_none;
SELECT * FROM try('DELETE FROM matview.tracked_views');
SELECT * FROM try('SELECT * FROM matview.tracked_views');
SELECT count(*) > 0 AS readable FROM matview.views;
SELECT count(*) >= 0 AS readable FROM matview.history;
RESET ROLE;

DROP SERVER errors_server CASCADE;
DROP FOREIGN DATA WRAPPER errors_fdw;
DROP SCHEMA errors CASCADE;
DROP OWNED BY regress_mvr_none;
DROP ROLE regress_mvr_none;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
