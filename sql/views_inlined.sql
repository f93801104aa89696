-- Plain views, subqueries and CTEs between the materialized view and the
-- tables are part of its query; replacing one is noticed.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA inlined;
SET search_path = inlined, test;

CREATE TABLE t (id int PRIMARY KEY, k int, v int);
CREATE TABLE u (k int, name text);
INSERT INTO t SELECT g, g % 5, g FROM generate_series(1, 40) g;
INSERT INTO u SELECT g, 'name ' || g FROM generate_series(0, 3) g;
CREATE VIEW v1 AS SELECT id, k, v * 2 AS vv FROM t WHERE v > 3;
CREATE VIEW v2 AS SELECT v1.id, v1.vv, u.name FROM v1 JOIN u ON u.k = v1.k;
CREATE VIEW v_union AS SELECT k FROM t UNION ALL SELECT k FROM u;
CREATE VIEW v_barrier WITH (security_barrier) AS SELECT id, v FROM t WHERE k = 1;
CREATE VIEW v_columns (a, b) AS SELECT k, v FROM t;

CREATE MATERIALIZED VIEW over_view AS SELECT * FROM v1;
CREATE MATERIALIZED VIEW over_views AS SELECT name, vv FROM v2 WHERE id < 30;
CREATE MATERIALIZED VIEW view_twice AS SELECT x.id, y.id AS yid FROM v1 x JOIN v1 y ON x.k = y.k AND x.id < y.id;
CREATE MATERIALIZED VIEW view_and_table AS SELECT v1.id, t.v FROM v1 JOIN t USING (id);
CREATE MATERIALIZED VIEW over_union AS SELECT k, count(*) FROM v_union GROUP BY k;
CREATE MATERIALIZED VIEW over_barrier AS SELECT * FROM v_barrier WHERE v > 5;
CREATE MATERIALIZED VIEW over_columns AS SELECT b, sum(a) FROM v_columns GROUP BY b;
CREATE MATERIALIZED VIEW grouped AS SELECT name, sum(vv), count(*) FROM v2 GROUP BY name;
CREATE MATERIALIZED VIEW subquery AS SELECT s.a + 1 AS a FROM (SELECT k + v AS a, id FROM t WHERE id % 2 = 0) s WHERE s.a > 4;
CREATE MATERIALIZED VIEW subqueries AS SELECT * FROM (SELECT * FROM (SELECT id AS i, k FROM t) a WHERE k < 4) b JOIN (SELECT DISTINCT k FROM u) c USING (k);
CREATE MATERIALIZED VIEW cte AS WITH w AS (SELECT k, v FROM t WHERE v > 2) SELECT k, sum(v) FROM w GROUP BY k;
CREATE MATERIALIZED VIEW cte_twice AS WITH w AS (SELECT id, k FROM t) SELECT a.id, b.id AS bid FROM w a JOIN w b ON a.k = b.k WHERE a.id + 5 = b.id;
CREATE MATERIALIZED VIEW cte_of_cte AS
  WITH a AS (SELECT * FROM t WHERE v > 1), b AS MATERIALIZED (SELECT k, v FROM a), c AS NOT MATERIALIZED (SELECT k FROM b UNION ALL SELECT k FROM a)
  SELECT c.k, u.name FROM c JOIN u USING (k);
CREATE MATERIALIZED VIEW cte_unused AS WITH w AS (SELECT 1 / 0 AS x FROM t) SELECT id FROM t;
CREATE MATERIALIZED VIEW cte_nested AS WITH w AS (SELECT * FROM t) SELECT * FROM (WITH w AS (SELECT id, v FROM w WHERE k = 2) SELECT id + v AS s FROM w) x;
CREATE MATERIALIZED VIEW cte_in_union AS WITH w AS (SELECT k FROM u) SELECT k FROM w UNION ALL SELECT k FROM t UNION ALL (WITH w AS (SELECT 7 AS k) SELECT k FROM w);
CREATE MATERIALIZED VIEW lateral_sub AS SELECT t.id, l.x FROM t, LATERAL (SELECT t.v + 1 AS x WHERE t.k > 1) l;
CREATE MATERIALIZED VIEW lateral_table AS SELECT t.id, l.name FROM t, LATERAL (SELECT u.name FROM u WHERE u.k = t.k) l;
CALL steps();

INSERT INTO t VALUES (100, 1, 100), (101, NULL, NULL), (102, 3, 5);
INSERT INTO u VALUES (4, 'name 4'), (1, 'second 1'), (NULL, NULL);
CALL steps();
UPDATE t SET v = v - 3, k = (k + 1) % 5 WHERE id % 3 = 0;
UPDATE u SET name = upper(name) WHERE k = 2;
CALL steps();
DELETE FROM t WHERE id % 7 = 0;
DELETE FROM u WHERE k = 1;
CALL steps();

-- A view below is replaced: what was consumed is worth nothing
CREATE OR REPLACE VIEW v1 AS SELECT id, k, v * 3 AS vv FROM t WHERE v > 10;
CALL steps();
UPDATE t SET v = v + 1 WHERE id % 2 = 0;
CALL steps();
-- ... by one that reads another table
CREATE TABLE t2 AS SELECT * FROM t WHERE id < 10;
CREATE OR REPLACE VIEW v1 AS SELECT id, k, v AS vv FROM t2;
CALL steps();
INSERT INTO t2 VALUES (500, 2, 2);
INSERT INTO t VALUES (500, 2, 2);
CALL steps();
-- ... while changes are pending
INSERT INTO t2 VALUES (501, 2, 2);
CREATE OR REPLACE VIEW v1 AS SELECT id, k, -v AS vv FROM t2 WHERE k IS NOT NULL;
INSERT INTO t2 VALUES (502, 2, 2), (503, NULL, 1);
CALL steps();
-- ... by one that cannot be maintained, and back
CREATE OR REPLACE VIEW v1 AS SELECT id, k, v AS vv FROM t2 ORDER BY id LIMIT 5;
CALL steps();
DELETE FROM t2 WHERE id IN (SELECT min(id) FROM t2);
CALL steps();
CREATE OR REPLACE VIEW v1 AS SELECT id, k, v AS vv FROM t2;
CALL steps();
INSERT INTO t2 VALUES (504, 2, 2);
CALL steps();
-- What nobody reads any more is not captured any more
SELECT depends_on, count(*) FROM matview.dependencies GROUP BY 1 ORDER BY 1;

-- A function below is replaced
CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 + 1; END';
CREATE FUNCTION f_sql(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
CREATE MATERIALIZED VIEW functions AS SELECT id, f(v) AS f, f_sql(v) AS fs FROM t;
CREATE MATERIALIZED VIEW functions_grouped AS SELECT f(k) AS f, sum(f_sql(v)) AS s FROM t GROUP BY f(k);
CALL steps();
CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 + 2; END';
CALL steps();
UPDATE t SET v = v + 1 WHERE id < 10;
CREATE OR REPLACE FUNCTION f_sql(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 2';
CALL steps();
UPDATE t SET v = v + 1 WHERE id < 10;
CALL steps();
-- Or one that a function calls, or an aggregate is made of
CREATE FUNCTION inner_most(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 3';
CREATE FUNCTION inner_f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inlined.inner_most($1); END';
CREATE FUNCTION outer_f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inlined.inner_f($1) + 1; END';
CREATE FUNCTION add(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT coalesce($1, 0) + coalesce($2, 0)';
CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int);
CREATE MATERIALIZED VIEW functions_deep AS SELECT id, outer_f(v) AS f FROM t;
CREATE MATERIALIZED VIEW functions_total AS SELECT k, total(v) AS f FROM t GROUP BY k;
SELECT done, contents FROM step('functions_deep');
SELECT done, contents FROM step('functions_total');
CREATE OR REPLACE FUNCTION inner_most(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 5';
SELECT done, contents FROM step('functions_deep');
CREATE OR REPLACE FUNCTION add(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT coalesce($1, 0) + 2 * coalesce($2, 0)';
SELECT done, contents FROM step('functions_total');
BEGIN;
CREATE OR REPLACE FUNCTION inner_most(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 6';
SELECT done, contents FROM step('functions_deep');
CREATE OR REPLACE FUNCTION inner_most(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 7';
SELECT done, contents FROM step('functions_deep');
CREATE OR REPLACE FUNCTION outer_f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inlined.inner_f($1) + 2; END';
SELECT done, contents FROM step('functions_deep');
CREATE OR REPLACE FUNCTION outer_f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inlined.inner_f($1) + 3; END';
SELECT done, contents FROM step('functions_deep');
COMMIT;
SELECT contents FROM step('functions_total');
-- A temporary one it cannot be
CREATE FUNCTION pg_temp.passing() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
UPDATE t SET v = v + 1 WHERE id < 10;
SELECT done, contents FROM step('functions_deep');
SELECT done, contents FROM step('functions_total');
DROP FUNCTION pg_temp.passing();

DROP SCHEMA inlined CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
