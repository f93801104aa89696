-- GROUP BY with everything that keeps state: aggregates, FILTER, HAVING,
-- expressions, keys that are NULL or not shown, no GROUP BY at all.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA groups;
SET search_path = groups, test;

CREATE TABLE t (
    id int PRIMARY KEY, k int, k2 text, b bool,
    i2 smallint, i4 int, i8 bigint, n numeric, n2 numeric(12,2),
    ts timestamp, iv interval, x text, d date, m money
);
INSERT INTO t
  SELECT g, nullif(g % 7, 6), nullif('k' || g % 3, 'k2'), nullif(g % 4, 3) > 0,
         nullif(g % 100, 50), nullif(g % 9, 4) * 1000, g::bigint * 10000000000,
         nullif(g % 5, 2) * 1.10, g * 0.25,
         timestamp '2020-01-01' + g * interval '1 hour', g * interval '1 minute',
         'x' || g % 13, date '2020-01-01' + g % 20, (g % 11)::text::money
    FROM generate_series(1, 300) g;

CREATE MATERIALIZED VIEW counts AS
  SELECT k, count(*) AS n, count(i4) AS n_i4, count(b) AS n_b, count(DISTINCT x) AS n_x FROM t GROUP BY k;
CREATE MATERIALIZED VIEW sums AS
  SELECT k, sum(i2) AS s2, sum(i4) AS s4, sum(i8) AS s8, sum(n) AS sn, sum(n2) AS sn2, sum(iv) AS siv, sum(m) AS sm
    FROM t GROUP BY k;
CREATE MATERIALIZED VIEW avgs AS
  SELECT k, avg(i2) AS a2, avg(i4) AS a4, avg(i8) AS a8, avg(n) AS an, avg(n2) AS an2, avg(iv) AS aiv
    FROM t GROUP BY k;
CREATE MATERIALIZED VIEW extrema AS
  SELECT k, min(i2) AS i2_min, max(i2) AS i2_max, min(i4) AS i4_min, max(i4) AS i4_max, min(n) AS n_min, max(n) AS n_max,
         min(ts) AS ts_min, max(ts) AS ts_max, min(x) AS x_min, max(x) AS x_max, min(d) AS d_min, max(iv) AS iv_max
    FROM t GROUP BY k;
CREATE MATERIALIZED VIEW bools AS
  SELECT k, bool_and(b) AS band, bool_or(b) AS bor, every(i4 > 2000) AS ev, bool_and(n IS NULL) AS nulls FROM t GROUP BY k;
CREATE MATERIALIZED VIEW filters AS
  SELECT k, count(*) FILTER (WHERE b) AS c, count(i4) FILTER (WHERE i4 > 3000) AS ci, sum(i4) FILTER (WHERE b) AS s,
         avg(n) FILTER (WHERE NOT b) AS a, min(i4) FILTER (WHERE b IS NULL) AS mi, max(x) FILTER (WHERE id % 2 = 0) AS mx,
         bool_and(b) FILTER (WHERE i4 > 1000) AS ba
    FROM t GROUP BY k;
CREATE MATERIALIZED VIEW having_count AS
  SELECT k, k2, count(*) AS c FROM t GROUP BY k, k2 HAVING count(*) > 14 AND sum(i4) IS NOT NULL;
CREATE MATERIALIZED VIEW having_other AS
  SELECT k FROM t GROUP BY k HAVING max(id) > 295 OR bool_and(b);
CREATE MATERIALIZED VIEW expressions AS
  SELECT k * 2 AS kk, sum(i4) * 1.0 / nullif(count(i4), 0) AS ratio, 'k=' || coalesce(k::text, 'none') AS label,
         CASE WHEN count(*) > 40 THEN 'many' ELSE 'few' END AS size, max(i4) - min(i4) AS range, sum(i4 + i2) AS both,
         coalesce(sum(i4 * i2), 0) AS product, 42 AS answer
    FROM t GROUP BY k;
CREATE MATERIALIZED VIEW key_expressions AS
  SELECT date_trunc('day', ts) AS day, (i4 % 3) IS NULL AS none, lower(x) AS lx, count(*), sum(n2)
    FROM t GROUP BY date_trunc('day', ts), (i4 % 3) IS NULL, lower(x);
CREATE MATERIALIZED VIEW key_hidden AS SELECT count(*), sum(i4) FROM t GROUP BY k;
CREATE MATERIALIZED VIEW key_half AS SELECT k2, count(*) FROM t GROUP BY k, k2;
CREATE MATERIALIZED VIEW no_aggregate AS SELECT k, k2 FROM t GROUP BY k, k2;
CREATE MATERIALIZED VIEW nothing_shown AS SELECT 1 AS one FROM t GROUP BY k;
CREATE MATERIALIZED VIEW primary_key AS SELECT id, k, x, count(*) FROM t GROUP BY id;
CREATE MATERIALIZED VIEW scalar AS SELECT count(*), sum(i4), avg(n), min(x), max(ts), bool_or(b), sum(n2) AS sum2 FROM t;
CREATE MATERIALIZED VIEW scalar_having AS SELECT count(*) AS c FROM t HAVING count(*) > 250;
CREATE MATERIALIZED VIEW scalar_where AS SELECT count(*), sum(i4) FROM t WHERE k = 3 AND b;
CREATE MATERIALIZED VIEW having_only AS SELECT 1 AS one FROM t HAVING true;
CREATE MATERIALIZED VIEW const_key AS SELECT 1 AS one, count(*) FROM t GROUP BY 1;
CREATE MATERIALIZED VIEW same_twice AS SELECT k AS a, k AS b, sum(i4) AS c, sum(i4) AS d, k + 1 AS e FROM t GROUP BY k;
CREATE MATERIALIZED VIEW joined AS
  SELECT a.k, count(*), sum(b.i4), max(a.x), avg(b.n) FROM t a JOIN t b ON a.id = b.id + 1 AND a.k2 = b.k2 GROUP BY a.k;
CREATE MATERIALIZED VIEW ordered AS SELECT k, k2, count(*) AS c FROM t GROUP BY k, k2 ORDER BY c DESC, k2 NULLS FIRST;
CREATE MATERIALIZED VIEW volatile_free AS SELECT k, md5(sum(i4)::text) AS h, array[min(i4), max(i4)] AS a FROM t GROUP BY k;

CALL steps();

-- Inserts: into groups, into none, into new ones, with NULLs everywhere
INSERT INTO t VALUES (1001, 1, 'k0', true, 1, 1, 1, 1.5, 1.5, '2021-01-01', '1 day', 'zz', '2021-01-01', '1.00'),
  (1002, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (1003, 99, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (1004, 100, 'new', false, 32767, 1000, 9223372036854775807, 1e30, 0, 'infinity', '-1 day', '', '-infinity', '-2.50'),
  (1005, 100, 'new', false, NULL, 2147483647, 9223372036854775807, 1e-30, 0, '-infinity', '1 day', '', 'infinity', '-2.50');
CALL steps();
-- Updates within a group, of values alone; the counts stay
UPDATE t SET i4 = i4 + 1, n = n + 0.001, n2 = n2 + 1, i8 = i8 - 1 WHERE id % 3 = 0 AND id < 300;
CALL steps();
-- ... to NULL and from NULL
UPDATE t SET i4 = NULL, n = NULL, i2 = NULL, b = NULL, i8 = NULL, n2 = NULL, iv = NULL WHERE k = 2;
CALL steps();
UPDATE t SET i4 = 5, n = 7.0, i2 = 3, b = false, i8 = 0, n2 = 1 WHERE k = 2 AND id % 2 = 0 OR k = 99;
CALL steps();
-- Keys move, between groups, to NULL and from NULL
UPDATE t SET k = k + 1 WHERE id % 5 = 0;
UPDATE t SET k = NULL, k2 = NULL WHERE id % 31 = 0;
UPDATE t SET k2 = 'k9' WHERE k2 IS NULL;
UPDATE t SET ts = ts + interval '1 day', x = upper(x) WHERE id % 4 = 1;
CALL steps();
-- The extrema go
DELETE FROM t WHERE (k, i4) IN (SELECT k, max(i4) FROM t GROUP BY k);
DELETE FROM t WHERE (k, x) IN (SELECT k, min(x) FROM t GROUP BY k);
CALL steps();
-- Groups vanish, and return, within one batch and across two
DELETE FROM t WHERE k IN (1, 99) OR k IS NULL;
CALL steps();
INSERT INTO t (id, k, k2, i4, b) VALUES (2001, 1, 'k1', 10, true), (2002, NULL, 'k1', 20, false), (2003, 99, NULL, NULL, NULL);
CALL steps();
DELETE FROM t WHERE k = 3;
INSERT INTO t (id, k, k2, i4) SELECT g, 3, 'k1', g FROM generate_series(3000, 3020) g;
CALL steps();
-- HAVING flips, to and fro
INSERT INTO t (id, k, k2, i4, b) SELECT g, 77, 'h', 1, true FROM generate_series(4000, 4014) g;
CALL steps();
DELETE FROM t WHERE id = 4000;
CALL steps();
INSERT INTO t (id, k, k2, i4, b) VALUES (4000, 77, 'h', 1, true);
CALL steps();
UPDATE t SET i4 = NULL WHERE k = 77;
CALL steps();
-- Written and undone in one batch: nothing to do in the view
INSERT INTO t (id, k) VALUES (5000, 5);
DELETE FROM t WHERE id = 5000;
UPDATE t SET i4 = -i4;
UPDATE t SET i4 = -i4;
CALL steps();
-- Empty, and filled again
DELETE FROM t;
CALL steps();
SELECT * FROM scalar;
SELECT * FROM scalar_where;
SELECT count(*) FROM scalar_having;
SELECT count(*) FROM counts;
INSERT INTO t (id, k, i4, n) VALUES (1, 1, 1, 1.50), (2, 1, 2, 2.5), (3, NULL, NULL, NULL);
CALL steps();
DELETE FROM t WHERE id = 1;
CALL steps();
TRUNCATE t;
CALL steps();
INSERT INTO t (id, k, i4, n) VALUES (1, 1, 1, 1.50), (2, 1, 2, 2.5), (3, NULL, NULL, NULL);
CALL steps();

-- From an empty table on
CREATE TABLE e (k int, v int);
CREATE MATERIALIZED VIEW empty_scalar AS SELECT count(*), count(v) AS cv, sum(v), avg(v), min(v), bool_and(v > 0) FROM e;
CREATE MATERIALIZED VIEW empty_groups AS SELECT k, sum(v) FROM e GROUP BY k;
CALL steps();
INSERT INTO e VALUES (1, NULL);
CALL steps();
SELECT * FROM empty_scalar;
UPDATE e SET v = 0;
CALL steps();
SELECT * FROM empty_scalar;
DELETE FROM e;
CALL steps();
SELECT * FROM empty_scalar;

DROP SCHEMA groups CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
