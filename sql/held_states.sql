-- A view by groups whose columns hold the whole state of each group, with a
-- unique index over its keys, is its own state table.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA held;
SET search_path = held, test;

-- Which views have a state table of their own
CREATE FUNCTION with_state() RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(v.view::regclass::text, ' ' ORDER BY v.view::regclass::text COLLATE "C")
    FROM matview.tracked_views v WHERE cardinality(v.states) > 0
$$;

CREATE TABLE t (id int PRIMARY KEY, k int, k2 text, i int NOT NULL, n int, d numeric(8,2) NOT NULL, f float8, b bool NOT NULL);
INSERT INTO t SELECT g, nullif(g % 7, 6), nullif('k' || g % 3, 'k2'), g % 9, nullif(g % 5, 2), g * 0.25, g, g % 2 = 0
  FROM generate_series(1, 200) g;

-- These do not: all that is needed can be read from the view
CREATE MATERIALIZED VIEW y_count AS SELECT k, count(*) AS c FROM t GROUP BY k;
CREATE UNIQUE INDEX ON y_count (k);
CREATE MATERIALIZED VIEW y_mean AS SELECT k, avg(i) AS mean, sum(i) AS s, count(*) AS c FROM t GROUP BY k;
CREATE UNIQUE INDEX ON y_mean (k);
CREATE MATERIALIZED VIEW y_nullable AS SELECT sum(n) AS s, count(n) AS cn, k2, count(*) AS c, avg(n) AS mean FROM t GROUP BY k2;
CREATE UNIQUE INDEX ON y_nullable (k2);
CREATE MATERIALIZED VIEW y_two_keys AS SELECT k, k2, count(*) AS c, sum(d) AS s, min(i) AS mi, max(n) AS ma FROM t GROUP BY k, k2;
CREATE UNIQUE INDEX ON y_two_keys (k2 DESC, k) INCLUDE (c);
CREATE MATERIALIZED VIEW y_positions AS SELECT k2, k, count(*) FROM t GROUP BY 2, 1;
CREATE UNIQUE INDEX ON y_positions (k, k2);
CREATE MATERIALIZED VIEW y_joined AS
  SELECT a.k, count(*) AS c, sum(b.i) AS s, count(b.n) AS cn FROM t a JOIN t b ON b.id = a.id + 1 GROUP BY a.k;
CREATE UNIQUE INDEX ON y_joined (k);
CREATE MATERIALIZED VIEW y_other_unique AS SELECT k, count(*) AS c, max(id) AS last FROM t GROUP BY k;
CREATE UNIQUE INDEX ON y_other_unique (k);
CREATE UNIQUE INDEX ON y_other_unique (last);
CREATE MATERIALIZED VIEW y_text AS SELECT k2, count(*) AS c, max(k2) AS m, i FROM t GROUP BY k2, i;
CREATE UNIQUE INDEX ON y_text (i, k2 COLLATE "C");

-- These do: no index, another one, a group that is not shown, something missing
CREATE MATERIALIZED VIEW n_no_index AS SELECT k, count(*) AS c FROM t GROUP BY k;
CREATE MATERIALIZED VIEW n_wider AS SELECT k, count(*) AS c, 1 AS one FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_wider (k, one);
CREATE MATERIALIZED VIEW n_narrower AS SELECT k, k2, count(*) AS c FROM t WHERE k2 = 'k1' GROUP BY k, k2;
CREATE UNIQUE INDEX ON n_narrower (k);
CREATE MATERIALIZED VIEW n_partial AS SELECT k, count(*) AS c FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_partial (k) WHERE k > 0;
CREATE MATERIALIZED VIEW n_having AS SELECT k, count(*) AS c FROM t GROUP BY k HAVING count(*) > 28;
CREATE UNIQUE INDEX ON n_having (k);
CREATE MATERIALIZED VIEW n_no_count AS SELECT k, sum(i) AS s FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_no_count (k);
CREATE MATERIALIZED VIEW n_mean AS SELECT k, count(*) AS c, avg(i) AS mean FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_mean (k);
CREATE MATERIALIZED VIEW n_nullable AS SELECT k, count(*) AS c, sum(n) AS s FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_nullable (k);
CREATE MATERIALIZED VIEW n_float AS SELECT k, count(*) AS c, sum(f) AS s FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_float (k);
CREATE MATERIALIZED VIEW n_expression AS SELECT k + 0 AS k, count(*) AS c FROM t GROUP BY k;
CREATE UNIQUE INDEX ON n_expression (k);
CREATE MATERIALIZED VIEW n_outer AS
  SELECT a.k, count(*) AS c, sum(b.i) AS s FROM t a LEFT JOIN t b ON b.id = a.id + 150 GROUP BY a.k;
CREATE UNIQUE INDEX ON n_outer (k);
CREATE MATERIALIZED VIEW n_scalar AS SELECT count(*) AS c, sum(i) AS s FROM t;
CALL steps();
SELECT with_state();

-- Groups come, change, move, go, come again
INSERT INTO t VALUES (1001, 99, 'new', 5, NULL, 1.5, 1, true), (1002, NULL, NULL, 1, 1, 0, NULL, false);
CALL steps();
UPDATE t SET i = i + 1, d = d + 0.01 WHERE id % 3 = 0;
UPDATE t SET n = NULL WHERE k = 2;
CALL steps();
UPDATE t SET k = coalesce(k, 3) + 1, k2 = CASE WHEN k2 IS NULL THEN 'k9' END WHERE id % 4 = 0;
CALL steps();
DELETE FROM t WHERE k = 99 OR k IS NULL;
DELETE FROM t WHERE (k, i) IN (SELECT k, min(i) FROM t GROUP BY k);
CALL steps();
INSERT INTO t SELECT g, nullif(g % 6, 5), 'k' || g % 4, g % 5, g, g, g, true FROM generate_series(2000, 2100) g;
CALL steps();
-- The other unique column goes from group to group
UPDATE t SET k = CASE k WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE k END;
CALL steps();
DELETE FROM t;
CALL steps();
INSERT INTO t SELECT g, g % 5, 'k', g, g, g, g, false FROM generate_series(1, 20) g;
CALL steps();
TRUNCATE t;
INSERT INTO t SELECT g, g % 5, 'k' || g % 2, g, g, g, g, false FROM generate_series(1, 40) g;
CALL steps();
CALL steps('full');
CALL steps('concurrent');
UPDATE t SET i = i + 1 WHERE id < 10;
CALL steps();
SELECT with_state();

SELECT line FROM matview.explain('y_mean') line WHERE line ~ 'state table';
SELECT line FROM matview.explain('n_mean') line WHERE line ~ 'state table';

-- An index that goes: the view is recomputed, and then has a state table
DROP INDEX y_count_k_idx;
UPDATE t SET k = 4 WHERE id = 1;
SELECT * FROM step('y_count');
SELECT reason FROM matview.history WHERE view = 'y_count'::regclass ORDER BY started DESC LIMIT 1;
UPDATE t SET k = 4 WHERE id = 2;
SELECT * FROM step('y_count');
-- ... which it uses until it is rebuilt
CREATE UNIQUE INDEX ON y_count (k);
UPDATE t SET k = 4 WHERE id = 3;
SELECT * FROM step('y_count');
SELECT with_state();
SELECT * FROM step('y_count', 'full');
UPDATE t SET k = 4 WHERE id = 5;
SELECT * FROM step('y_count');
SELECT with_state();
REINDEX INDEX CONCURRENTLY y_mean_k_idx;
UPDATE t SET i = 7 WHERE id = 5;
SELECT * FROM step('y_mean');

-- NULLs come where there could be none: values are counted from then on
ALTER TABLE t ALTER i DROP NOT NULL;
UPDATE t SET i = NULL WHERE k IN (1, 4);
CALL steps();
UPDATE t SET i = 3 WHERE k = 4;
CALL steps();
SELECT with_state();
UPDATE t SET i = 0 WHERE i IS NULL;
ALTER TABLE t ALTER i SET NOT NULL;
UPDATE t SET i = 11 WHERE id = 12;
CALL steps();
SELECT with_state();

-- Maintained by those who write
SELECT count(matview.set_auto_refresh(v::regclass, 'on_statement'))
  FROM unnest(ARRAY['y_count', 'y_mean', 'y_nullable', 'y_two_keys', 'y_joined', 'y_other_unique', 'n_mean']) v;
INSERT INTO t SELECT g, g % 8, 'x' || g % 3, g, nullif(g % 3, 0), g, g, true FROM generate_series(500, 520) g;
UPDATE t SET k = k + 1, i = i * 2 WHERE id % 3 = 0;
DELETE FROM t WHERE k = 7 OR id = 500;
UPDATE t SET n = NULL WHERE id = 501;
CALL steps();
BEGIN;
SAVEPOINT s;
UPDATE t SET k = 50;
SELECT k, c FROM y_count;
ROLLBACK TO s;
UPDATE t SET k = 51 WHERE id = 502;
SELECT test.contents('y_count'), test.contents('y_mean'), test.contents('y_other_unique');
COMMIT;
ALTER TABLE t ALTER i DROP NOT NULL;
UPDATE t SET i = NULL WHERE id % 2 = 0;
CALL steps();
DROP INDEX y_two_keys_k2_k_c_idx;
UPDATE t SET k = 52 WHERE id = 503;
CALL steps();
SELECT with_state();

DROP SCHEMA held CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
