-- What is not maintained incrementally is recomputed: each says why, and is
-- right after every change.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA fallback;
SET search_path = fallback, test;

CREATE TABLE t (id int PRIMARY KEY, k int, v int, s text);
CREATE TABLE u (k int, w int);
CREATE TABLE parent (id int, v int);
CREATE TABLE child (more int) INHERITS (parent);
CREATE UNLOGGED TABLE unlogged (id int);
CREATE TABLE secured (id int, v int);
INSERT INTO t SELECT g, g % 4, g, '2020-01-' || (g % 28 + 1) FROM generate_series(1, 30) g;
INSERT INTO u VALUES (0, 1), (1, 2), (1, 3), (9, 9);
INSERT INTO parent VALUES (1, 1);
INSERT INTO child VALUES (2, 2, 2);
INSERT INTO unlogged VALUES (1);
INSERT INTO secured VALUES (1, 1), (2, 2);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_of_them ON secured USING (true);
CREATE MATERIALIZED VIEW a_source AS SELECT id, v FROM t;
CREATE FUNCTION mine_stable(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 + 1; END';
CREATE FUNCTION mine_volatile(int) RETURNS int VOLATILE LANGUAGE plpgsql AS 'BEGIN RETURN $1 + 1; END';
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, v FROM t WHERE v > 3;
CREATE EXTENSION file_fdw SCHEMA fallback;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE far (id int, v int) SERVER files OPTIONS (program 'echo 1,2', format 'csv');
CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE part_near PARTITION OF part FOR VALUES FROM (10) TO (20);

-- What stands in FROM
CREATE MATERIALIZED VIEW from_lateral AS SELECT t.id, x.w FROM t, LATERAL (SELECT w + t.v AS w FROM u WHERE u.k = t.k) x;
CREATE MATERIALIZED VIEW from_sample AS SELECT id FROM t TABLESAMPLE SYSTEM (100);
CREATE MATERIALIZED VIEW from_only AS SELECT id, v FROM ONLY parent;
CREATE MATERIALIZED VIEW from_matview AS SELECT id, v FROM a_source;
CREATE MATERIALIZED VIEW from_catalog AS SELECT relname FROM pg_class WHERE relname = 'part_far';
CREATE MATERIALIZED VIEW from_foreign AS SELECT id, v FROM far;
CREATE MATERIALIZED VIEW from_unlogged AS SELECT id FROM unlogged WHERE id < 0;
CREATE MATERIALIZED VIEW from_secured AS SELECT id, v FROM secured;
CREATE MATERIALIZED VIEW from_barrier AS SELECT id, v FROM barrier;
-- Recursion
-- (the word alone does nothing)
CREATE MATERIALIZED VIEW said_recursive AS
  WITH RECURSIVE r AS (SELECT id FROM s), s AS (SELECT * FROM t WHERE id > 1) SELECT * FROM r;
CREATE MATERIALIZED VIEW set_recursive AS
  WITH RECURSIVE r (id) AS (SELECT id FROM t WHERE id = 1 UNION ALL SELECT t.id FROM r JOIN t ON t.id = r.id * 2)
  SELECT id FROM r;
-- Locks
CREATE MATERIALIZED VIEW set_locks AS SELECT id, v FROM t FOR SHARE;
CREATE MATERIALIZED VIEW set_locks_below AS SELECT k, count(*) AS n FROM (SELECT k FROM t FOR UPDATE OF t) x GROUP BY k;
-- Functions
CREATE MATERIALIZED VIEW f_now AS SELECT id FROM t WHERE now() > '2020-01-01';
CREATE MATERIALIZED VIEW f_current_date AS SELECT id FROM t WHERE current_date > date '2020-01-01';
CREATE MATERIALIZED VIEW f_clock AS SELECT id FROM t WHERE clock_timestamp() > '2020-01-01';
CREATE MATERIALIZED VIEW f_user AS SELECT id FROM t WHERE current_user <> s;
CREATE MATERIALIZED VIEW f_setting AS SELECT id FROM t WHERE current_setting('work_mem') <> s;
CREATE MATERIALIZED VIEW f_cast_date AS SELECT id, s::date AS d FROM t;
CREATE MATERIALIZED VIEW f_random AS SELECT id FROM t WHERE random() < 2;
CREATE MATERIALIZED VIEW f_stable AS SELECT mine_stable(v) AS v FROM t;
CREATE MATERIALIZED VIEW f_volatile AS SELECT k, max(mine_volatile(v)) FROM t GROUP BY k;
-- Vars
CREATE MATERIALIZED VIEW v_system AS SELECT id, tableoid AS of FROM t;
CREATE MATERIALIZED VIEW v_ctid AS SELECT id FROM t WHERE ctid IS NOT NULL;
CREATE MATERIALIZED VIEW v_system_row AS SELECT t.tableoid AS of, count(t) AS n FROM t GROUP BY t.tableoid;
CREATE MATERIALIZED VIEW v_system_outer AS SELECT a.id, b.tableoid IS NULL AS alone, b IS NULL AS none FROM t AS a LEFT JOIN t AS b ON b.id = a.id + 1;
CREATE TYPE label AS ENUM ('a');
CREATE MATERIALIZED VIEW v_label AS SELECT v, (CASE WHEN k > 1 THEN 'a'::label END)::text AS l FROM t;
-- A stranger among the partitions
CREATE MATERIALIZED VIEW p_part AS SELECT id, v FROM part;
CALL steps();

-- None of them is tracked, and explain says the same
SELECT * FROM matview.dependencies WHERE view NOT IN ('a_source'::regclass, 'p_part'::regclass) ORDER BY view::text;
SELECT c.oid::regclass AS view FROM pg_class c, LATERAL (SELECT l FROM matview.explain(c.oid) l WHERE l ~ '^reason: ') e
 WHERE c.relkind = 'm' AND c.relnamespace = 'fallback'::regnamespace
   AND e.l IS DISTINCT FROM 'reason: ' || (SELECT reason FROM matview.history h WHERE h.view = c.oid ORDER BY started DESC LIMIT 1)
 ORDER BY 1;
SELECT view, next_refresh FROM matview.views WHERE next_refresh <> 'untracked' ORDER BY view::text;

-- Contents after changes of all kinds
CREATE PROCEDURE changed() LANGUAGE plpgsql AS $$
DECLARE
    v regclass;
    done text;
    wrong text;
BEGIN
    FOR v IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'm' AND c.relnamespace = 'fallback'::regnamespace
              ORDER BY c.relname COLLATE "C"
    LOOP
        SELECT r.mode INTO done FROM matview.refresh_incremental(v) r;
        COMMIT;
        wrong := test.contents(v);
        IF wrong <> 'right' OR done <> 'diff' THEN
            RAISE INFO '%: %, %', v, done, wrong;
        END IF;
    END LOOP;
END $$;
UPDATE t SET v = v + 1 WHERE id % 2 = 0;
UPDATE u SET w = w + 1;
CALL changed();
UPDATE t SET k = k + 1 WHERE id % 3 = 0;
UPDATE u SET k = k - 1 WHERE k = 1;
CALL changed();
DELETE FROM t WHERE k = 2;
INSERT INTO t SELECT g, g % 6, g, '2021-02-' || (g % 28 + 1) FROM generate_series(100, 130) g;
INSERT INTO u VALUES (2, 2), (5, NULL), (NULL, 5), (3, 3), (3, 3);
INSERT INTO parent VALUES (3, 3);
INSERT INTO child VALUES (4, 4, 4);
INSERT INTO secured VALUES (3, 3);
INSERT INTO unlogged VALUES (-1);
INSERT INTO part VALUES (11, 11);
CREATE FOREIGN TABLE part_far PARTITION OF part FOR VALUES FROM (0) TO (10)
  SERVER files OPTIONS (program 'echo 1,2', format 'csv');
ALTER FOREIGN TABLE far OPTIONS (SET program 'echo 3,4');
CALL changed();
SELECT reason FROM matview.history WHERE view = 'p_part'::regclass ORDER BY started;
UPDATE t SET v = NULL, k = NULL WHERE id % 5 = 0;
DELETE FROM u WHERE k = 3;
CALL changed();
TRUNCATE u;
DELETE FROM t WHERE id > 10;
CALL changed();
DELETE FROM t;
CALL changed();
INSERT INTO t VALUES (1, 1, 1, '2020-02-02'), (2, 1, 1, '2020-02-02');
CALL changed();
DROP FOREIGN TABLE part_far;
CALL changed();
INSERT INTO part VALUES (12, 12);
CALL changed();

-- The other ways to refresh do
SELECT v, s.* FROM unnest('{set_recursive,from_sample,f_now,v_label}'::regclass[]) v, step(v, 'concurrent') s;
SELECT v, s.* FROM unnest('{set_recursive,from_sample,f_now,v_label}'::regclass[]) v, step(v, 'full') s;
SELECT v, s.* FROM unnest('{set_recursive,from_sample,f_now,v_label}'::regclass[]) v, step(v, 'auto') s;
SELECT v, s.* FROM unnest('{set_recursive,from_sample,f_now,v_label}'::regclass[]) v, step(v, 'diff') s;
-- The query becomes one that is maintained, and back: by a view beneath
CREATE VIEW beneath AS SELECT id, v FROM t TABLESAMPLE SYSTEM (100);
CREATE MATERIALIZED VIEW z_above AS SELECT v, id FROM beneath;
SELECT * FROM step('z_above');
CREATE OR REPLACE VIEW beneath AS SELECT id, v FROM t WHERE v < 100;
SELECT * FROM step('z_above');
INSERT INTO t VALUES (3, 3, 3);
SELECT * FROM step('z_above');
CREATE OR REPLACE VIEW beneath AS SELECT id, v FROM t TABLESAMPLE SYSTEM (100);
INSERT INTO t VALUES (4, 4, 4);
SELECT * FROM step('z_above');
SELECT reason FROM matview.history WHERE view = 'z_above'::regclass ORDER BY started;

-- A table with as many columns as can be, and so none to spare for its log
SELECT 'CREATE TABLE widest (' || string_agg('c' || i || ' int2', ', ') || ')' AS command FROM generate_series(1, 1600) i \gset
\set ECHO none
:command;
\set ECHO all
CREATE MATERIALIZED VIEW z_widest AS SELECT count(widest) AS n FROM widest;
SELECT * FROM step('z_widest');
INSERT INTO widest VALUES (1);
SELECT * FROM step('z_widest');
SELECT reason FROM matview.history WHERE view = 'z_widest'::regclass ORDER BY started;

-- More aggregates than the state of a group can have columns
SELECT 'CREATE MATERIALIZED VIEW z_aggregates AS SELECT k, ' || string_agg(format('max(v + %s) AS c%s', i, i), ', ') || ' FROM t GROUP BY k' AS command
  FROM generate_series(1, 840) i \gset
\set ECHO none
:command;
\set ECHO all
SELECT done, ins, upd, del FROM step('z_aggregates');
INSERT INTO t VALUES (5, 1, 500);
SELECT * FROM step('z_aggregates');
SELECT reason FROM matview.history WHERE view = 'z_aggregates'::regclass ORDER BY started;

DROP SCHEMA fallback CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
