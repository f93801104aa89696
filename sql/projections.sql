-- Projections and filters of one table: every row of the view is a row of the
-- table.  With a key, without one, with duplicates.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA projections;
SET search_path = projections, test;

CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION strictly(int) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql AS 'BEGIN RETURN $1 || ''!''; END';
CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, a int, b text, c numeric, unused text);
INSERT INTO t SELECT g, nullif(g % 10, 3), 'b' || g % 4, g * 1.5, 'u' FROM generate_series(1, 200) g;
CREATE TABLE bag (a int, b text);
INSERT INTO bag SELECT g % 3, nullif('x' || g % 2, 'x1') FROM generate_series(1, 30) g;

CREATE MATERIALIZED VIEW all_columns AS SELECT * FROM t;
CREATE MATERIALIZED VIEW renamed AS SELECT id AS xid, a AS cid, b AS weight, c AS count FROM t;
CREATE MATERIALIZED VIEW filtered AS SELECT id, a FROM t WHERE a > 5 AND b <> 'b1';
CREATE MATERIALIZED VIEW filter_not_shown AS SELECT id FROM t WHERE a IS NULL OR c > 250;
CREATE MATERIALIZED VIEW expressions AS
  SELECT id, a + 1 AS a1, upper(b) AS ub, coalesce(a, -1) AS ca, CASE WHEN a > 5 THEN 'big' WHEN a IS NULL THEN NULL ELSE 'small' END AS size,
         twice(a) AS tw, strictly(a) AS st, ARRAY[a, id] AS arr, (a, b) IS NULL AS isn, a IN (1, 2, NULL) AS inl FROM t;
CREATE MATERIALIZED VIEW no_key AS SELECT a, b FROM t;
CREATE MATERIALIZED VIEW one_column AS SELECT a FROM t;
CREATE MATERIALIZED VIEW bags AS SELECT a, b FROM bag;
CREATE MATERIALIZED VIEW bags_twice AS SELECT b, b AS b2, a FROM bag;
CREATE MATERIALIZED VIEW constants AS SELECT 1 AS one, 'x'::text AS x, NULL::int AS n FROM bag;
CREATE MATERIALIZED VIEW no_columns AS SELECT FROM bag;
CREATE MATERIALIZED VIEW ordered AS SELECT id, a FROM t ORDER BY a DESC NULLS LAST, b, id;
CREATE MATERIALIZED VIEW never AS SELECT * FROM t WHERE false;
CREATE MATERIALIZED VIEW unnested AS SELECT id, unnest(ARRAY[a, a + 1, NULL]) AS u FROM t;
CREATE MATERIALIZED VIEW generated AS SELECT t.id, g FROM t, generate_series(1, 3) g WHERE g <= t.a;
CREATE MATERIALIZED VIEW lateral_function AS SELECT t.id, s FROM t, LATERAL generate_series(1, coalesce(t.a, 1)) s WHERE t.id < 30;
CREATE MATERIALIZED VIEW crossed_values AS SELECT t.id, v.x FROM t JOIN (VALUES (1, 'one'), (2, 'two'), (2, 'two again')) v(n, x) ON v.n = t.a;
CALL steps();

INSERT INTO t VALUES (1001, 7, 'b0', 1, NULL), (1002, NULL, NULL, NULL, NULL);
INSERT INTO bag VALUES (0, 'x0'), (0, 'x0'), (NULL, NULL), (NULL, NULL), (NULL, 'x0');
CALL steps();
UPDATE t SET a = a + 1 WHERE id % 3 = 0;
UPDATE bag SET b = 'x9' WHERE ctid IN (SELECT ctid FROM bag WHERE a = 0 LIMIT 2);
CALL steps();
-- Into the filter and out of it
UPDATE t SET a = CASE WHEN a > 5 THEN 1 ELSE 9 END WHERE id % 7 = 0;
CALL steps();
-- One of several equal rows goes
DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE a = 1);
DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE a IS NULL AND b IS NULL);
DELETE FROM t WHERE id IN (5, 15, 25);
CALL steps();
SELECT a, b, count(*) FROM bags GROUP BY a, b ORDER BY a, b;
-- The key itself changes; keys swap; a key is freed and taken again
UPDATE t SET id = id + 5000 WHERE id BETWEEN 50 AND 60;
CALL steps();
UPDATE t SET id = 3 - id WHERE id IN (1, 2);
DELETE FROM t WHERE id = 100;
INSERT INTO t VALUES (100, 0, 'again', 0, 'again');
CALL steps();
-- The same row many times in one batch
UPDATE t SET a = 1 WHERE id = 10;
UPDATE t SET a = 2 WHERE id = 10;
UPDATE t SET a = 9 WHERE id = 10;
DELETE FROM t WHERE id = 10;
INSERT INTO t VALUES (10, 8, 'b0', 8, 'x');
UPDATE t SET b = 'b2' WHERE id = 10;
CALL steps();
-- A column that no view but one needs
UPDATE t SET unused = 'other';
CALL steps();
-- An image that "=" does not see
UPDATE t SET c = c + 0.000 WHERE id < 20;
CALL steps();
-- Everything goes, and comes back
CREATE TABLE kept AS SELECT * FROM t;
CREATE TABLE kept_bag AS SELECT * FROM bag;
DELETE FROM t;
DELETE FROM bag;
CALL steps();
INSERT INTO t SELECT * FROM kept;
INSERT INTO bag SELECT * FROM kept_bag;
CALL steps();
-- Deleted and inserted again, alike: nothing to write
DELETE FROM bag;
INSERT INTO bag SELECT * FROM kept_bag;
CALL steps();
-- Large batches, that spill
SET work_mem = '64kB';
INSERT INTO t SELECT g, g % 12, 'b' || g % 5, g, repeat('u', 100) FROM generate_series(10000, 14000) g;
INSERT INTO bag SELECT g % 50, 'many' FROM generate_series(1, 4000) g;
CALL steps();
DELETE FROM t WHERE id % 2 = 0;
DELETE FROM bag WHERE a % 3 = 0;
UPDATE bag SET b = b || '!';
CALL steps();
RESET work_mem;

DROP SCHEMA projections CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
