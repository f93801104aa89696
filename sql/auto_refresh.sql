--
-- Policies: what they may be, who may set them, what becomes of them.  The
-- library is not preloaded here, so nobody follows them.
--
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
\set SHOW_CONTEXT never
CREATE SCHEMA auto;
SET search_path = auto, test;
SET client_min_messages = notice;
CREATE TABLE base (id int PRIMARY KEY, k int);
INSERT INTO base SELECT g, g % 3 FROM generate_series(1, 9) g;
CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM base GROUP BY k;
CREATE MATERIALIZED VIEW "V 2" AS SELECT id FROM base WHERE k = 1;
CREATE VIEW policies AS
  SELECT view, policy, paused, next_due > now() AS due_later FROM matview.views ORDER BY view::text COLLATE "C";

-- errors of PL/pgSQL have lines in them: only what the user sees of ours
CREATE FUNCTION try(command text) RETURNS TABLE (code text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    code := '00000';
    RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN NEXT;
END $$;

-- a notice, and it is stored
SELECT matview.set_auto_refresh('v', 'on_change');
SET client_min_messages = warning;
TABLE policies;
SELECT matview.set_auto_refresh('v', ' ON_CHANGE ');
TABLE policies;
SELECT matview.set_auto_refresh('v', '5 seconds');
SELECT matview.set_auto_refresh('"V 2"', '*/5 * * * *');
TABLE policies;
-- turns of an interval that have gone by, as of a view to which nothing has happened
INSERT INTO matview.policy_runs (view, started, finished, failures)
  VALUES ('v'::regclass, now() - interval '25.5 s', now() - interval '25.4 s', 0);
SELECT due.policy, matview.next_due('v'::regclass) - now() > interval '2 s' AS later
  FROM (SELECT policy FROM matview.views WHERE view = 'v'::regclass) due;
SELECT matview.set_auto_refresh('v', '1 day 2 hours');
UPDATE matview.policy_runs SET started = '2024-01-01 00:00+00' WHERE view = 'v'::regclass;
SELECT matview.next_due('v'::regclass) BETWEEN now() AND now() + interval '1 day 2 hours' AS later;
DELETE FROM matview.policy_runs;
SELECT matview.set_auto_refresh('v', '5 seconds');
SELECT matview.schedule_auto_refresh('v', '1 hour 30 minutes');
SELECT matview.set_auto_refresh('"V 2"', '@daily');
TABLE policies;

-- pause and resume
SELECT matview.pause('v');
SELECT matview.pause('v');
TABLE policies;
SELECT matview.resume('v');
TABLE policies;
-- a new policy is not paused
SELECT matview.pause('v');
SELECT matview.set_auto_refresh('v', '1 day');
TABLE policies;

-- transactional
BEGIN;
SELECT matview.set_auto_refresh('v', 'off');
TABLE policies;
ROLLBACK;
TABLE policies;

-- cron lines
\x
SELECT p AS policy, t.* FROM unnest(ARRAY[
    '0 0 * * *', '*/15 8-18 * * mon-fri', '0,30 1-23/2 1,15 jan,JUL *', '5/10 * * * *', '0 0 29 2 *',
    '0 0 13 * 5', '* * * * 7', '59 23 31 12 sun', '@hourly', '@Weekly',
    '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '*/0 * * * *', '5-1 * * * *',
    '1, * * * *', '* * * foo *', '* * * * monday', '0 0 30 2 *', '0 0 31 4,6 *', '1 1 1 1 1 1', '@never', '1-2-3 * * * *', '*/5 * * *', '*/5 * * * * *']) p,
    LATERAL try(format('SELECT matview.set_auto_refresh(''v'', %L)', p)) t
  WHERE code <> '00000';

-- intervals
SELECT p AS policy, t.* FROM unnest(ARRAY['100 milliseconds', '2 weeks', '1 month', '1 day 2 hours 3 minutes',
    '0', '99 milliseconds', '-1 hour', '1 day -24 hours', '101 years', '', 'soon', 'on change', '1 2 3', '5 parsecs', '99999999999999 days']) p,
    LATERAL try(format('SELECT matview.set_auto_refresh(''v'', %L)', p)) t
  WHERE code <> '00000';

-- cannot be maintained: refused with the reason
CREATE MATERIALIZED VIEW clock AS SELECT k, now() AS at FROM base;
SELECT t.* FROM unnest('{on_statement,on_commit}'::text[]) p, unnest('{clock}'::text[]) v,
    LATERAL try(format('SELECT matview.set_auto_refresh(%L, %L)', v, p)) t;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM try($$SELECT matview.set_auto_refresh('v', 'on_commit')$$);
ROLLBACK;
DROP MATERIALIZED VIEW clock;
-- NULL
SELECT c, t.* FROM unnest(ARRAY['set_auto_refresh(''v'', NULL)', 'set_auto_refresh(NULL, ''off'')',
    'schedule_auto_refresh(''v'', NULL)', 'schedule_auto_refresh(NULL, ''1 day'')', 'pause(NULL)', 'resume(NULL)',
    'dependency_graph(NULL)', 'dependency_graph(''svg'')']) c,
    LATERAL try('SELECT matview.' || c) t;
-- something else
SELECT c, t.* FROM unnest(ARRAY['set_auto_refresh(''base'', ''off'')', 'pause(''base'')', 'resume(''policies'')',
    'schedule_auto_refresh(0, ''1 day'')']) c,
    LATERAL try('SELECT matview.' || c) t;
-- read-only
BEGIN READ ONLY;
SELECT * FROM try($$SELECT matview.set_auto_refresh('v', 'on_change')$$);
SELECT * FROM try($$SELECT matview.schedule_auto_refresh('v', '1 day')$$);
SELECT * FROM try($$SELECT matview.pause('v')$$);
SELECT * FROM try($$SELECT matview.resume('v')$$);
ROLLBACK;
-- no policy
SELECT matview.set_auto_refresh('v', 'off');
SELECT matview.set_auto_refresh('v', 'off');
SELECT * FROM try($$SELECT matview.pause('v')$$);
SELECT * FROM try($$SELECT matview.resume('v')$$);

-- somebody else's
CREATE ROLE regress_matview_other;
GRANT USAGE ON SCHEMA auto, test TO regress_matview_other;
SET ROLE regress_matview_other;
SELECT c, t.* FROM unnest(ARRAY['set_auto_refresh(''v'', ''on_change'')', 'schedule_auto_refresh(''v'', ''1 day'')',
    'pause(''"V 2"'')', 'resume(''"V 2"'')']) c,
    LATERAL auto.try('SELECT matview.' || c) t;
SELECT * FROM try('DELETE FROM matview.policies');
SELECT * FROM try('SELECT * FROM matview.policy_runs');
SELECT count(*) > 0 AS readable FROM matview.policies;
SELECT count(*) > 0 AS readable FROM matview.metrics;
SELECT count(*) AS running FROM matview.progress;
RESET ROLE;
\x

-- renames and moves: the policy follows, and so does its name for dumps
CREATE SCHEMA "other s";
SELECT matview.set_auto_refresh('v', 'on_change');
ALTER MATERIALIZED VIEW v RENAME TO w;
ALTER TABLE w RENAME TO "W";
SELECT view::regclass, view_name, policy FROM matview.policies ORDER BY view_name COLLATE "C";
ALTER MATERIALIZED VIEW "W" SET SCHEMA "other s";
ALTER SCHEMA "other s" RENAME TO more;
SET quote_all_identifiers = on;
ALTER MATERIALIZED VIEW more."W" RENAME TO x;
RESET quote_all_identifiers;
SELECT view::regclass, view_name, policy FROM matview.policies ORDER BY view_name COLLATE "C";

-- a row that was restored: another home, an OID that means something else, a
-- view that is created later; and one of a view that will never be there
UPDATE matview.policies SET home = 'elsewhere', view = '"V 2"'::regclass WHERE view_name = 'more.x';
UPDATE matview.policies SET home = 'elsewhere', view = 'base'::regclass WHERE view_name = 'auto."V 2"';
INSERT INTO matview.policies VALUES (1, 'auto.later', 'elsewhere', '1 day', true), (1, 'gone.gone', 'elsewhere', 'off', false);
ALTER MATERIALIZED VIEW "V 2" SET (fillfactor = 90);
CREATE MATERIALIZED VIEW later AS SELECT 1 AS a WITH NO DATA;
REFRESH MATERIALIZED VIEW later;
SELECT CASE WHEN home LIKE '%/%' THEN view::regclass END AS view, view_name, policy, paused FROM matview.policies ORDER BY view_name COLLATE "C";
TABLE policies;
DELETE FROM matview.policies WHERE view_name = 'gone.gone';

-- what a copy of a database brings is found by its name, also by the first command that changes that
CREATE MATERIALIZED VIEW copied AS SELECT 1 AS one;
SELECT matview.set_auto_refresh('copied', '1 hour');
UPDATE matview.policies SET home = '1/1';
ALTER MATERIALIZED VIEW copied RENAME TO moved;
SELECT view, policy FROM matview.views WHERE policy = '01:00:00';
UPDATE matview.policies SET home = '1/1';
DROP MATERIALIZED VIEW moved;
CREATE MATERIALIZED VIEW moved AS SELECT 1 AS one;
SELECT view, policy FROM matview.views WHERE view = 'moved'::regclass;
DROP MATERIALIZED VIEW moved;

-- a line of the metrics is a line, whatever is in a name
CREATE MATERIALIZED VIEW "two
lines" AS SELECT count(*) FROM base;
SELECT matview.set_auto_refresh(oid, '1 hour') FROM pg_class WHERE relname LIKE E'two\n%';
SELECT labels FROM matview.metrics WHERE name = 'matview_view_paused' AND labels LIKE '%two%';
SELECT matview.dependency_graph(format) FROM unnest('{dot,mermaid}'::text[]) format;
DROP MATERIALIZED VIEW "two
lines";

-- whatever is quoted in the session
SET quote_all_identifiers = on;
SELECT policy, paused FROM matview.views WHERE policy IS NOT NULL ORDER BY policy COLLATE "C";
RESET quote_all_identifiers;

-- untrack keeps it; drop takes it along
SELECT matview.untrack('"V 2"');
TABLE policies;
DROP SCHEMA more CASCADE;
DROP MATERIALIZED VIEW later;
TABLE policies;

-- ALTER INDEX renames any relation, and an extension takes its views along
CREATE MATERIALIZED VIEW indexed AS SELECT 1 AS one;
SELECT matview.set_auto_refresh('indexed', 'on_change');
ALTER INDEX indexed RENAME TO renamed;
SELECT view_name, policy FROM matview.policies WHERE view_name ~ 'indexed|renamed';
DROP MATERIALIZED VIEW renamed;

-- the graph
CREATE VIEW plain AS SELECT b.id, v2.id AS other FROM base b JOIN "V 2" v2 USING (id);
CREATE MATERIALIZED VIEW top AS SELECT count(*) AS "n" FROM plain;
CREATE MATERIALIZED VIEW "a #35; <i>b</i> &lt;" AS SELECT count(*) AS "n" FROM plain;
SELECT matview.dependency_graph();
SELECT matview.dependency_graph('DOT');
SELECT name, labels FROM matview.metrics WHERE name = 'matview_view_paused' ORDER BY labels;

DROP MATERIALIZED VIEW "V 2" CASCADE;
DROP VIEW policies;
SELECT * FROM leftovers();
REVOKE ALL ON SCHEMA auto, test FROM regress_matview_other;
DROP ROLE regress_matview_other;
DROP SCHEMA auto CASCADE;
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
