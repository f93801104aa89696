-- Aggregates whose value cannot be kept by adding and subtracting: the groups
-- that change are recomputed, the others are not touched.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA recomputed;
SET search_path = recomputed, test;

CREATE TABLE t (id int PRIMARY KEY, k int, s text, f4 real, f8 double precision, n numeric, j jsonb, b bit(4), a int[]);
INSERT INTO t
  SELECT g, nullif(g % 6, 5), 's' || g % 9, g / 4.0::real, g / 8.0::float8, (g % 4) * 1.10, jsonb_build_object('g', g), (g % 16)::bit(4), ARRAY[g % 3, g]
    FROM generate_series(1, 120) g;
CREATE TABLE u (id int PRIMARY KEY, k int, w float8);
INSERT INTO u SELECT g, g % 8, g * 0.5 FROM generate_series(1, 40) g;

CREATE FUNCTION longer(text, text) RETURNS text IMMUTABLE LANGUAGE sql
  AS $$SELECT CASE WHEN length($2) > length($1) OR $1 IS NULL THEN $2 ELSE $1 END$$;
CREATE AGGREGATE longest(text) (SFUNC = longer, STYPE = text);
CREATE FUNCTION sum_step(int8, int) RETURNS int8 IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN coalesce($1, 100) + coalesce($2, 1000); END';
CREATE AGGREGATE odd_sum(int) (SFUNC = sum_step, STYPE = int8);

CREATE MATERIALIZED VIEW strings AS SELECT k, string_agg(s, ',' ORDER BY s DESC, id) AS l FROM t GROUP BY k;
CREATE MATERIALIZED VIEW arrays AS SELECT k, array_agg(id ORDER BY id) AS ids, array_agg(a ORDER BY id) FILTER (WHERE a <> '{}' AND id < 200) AS aa FROM t GROUP BY k;
CREATE MATERIALIZED VIEW jsons AS SELECT k, jsonb_agg(j ORDER BY id) AS jb, json_object_agg(id, s ORDER BY id) AS jo FROM t GROUP BY k;
CREATE MATERIALIZED VIEW distincts AS SELECT k, count(DISTINCT s) AS c, trim_scale(sum(DISTINCT n)) AS n, array_agg(DISTINCT s ORDER BY s) AS a FROM t GROUP BY k;
CREATE MATERIALIZED VIEW percentiles AS
  SELECT k, percentile_cont(0.5) WITHIN GROUP (ORDER BY f8) AS med, percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY id) AS pd,
         mode() WITHIN GROUP (ORDER BY s) AS m, rank(30) WITHIN GROUP (ORDER BY id) AS r FROM t GROUP BY k;
CREATE MATERIALIZED VIEW statistics AS
  SELECT k, stddev(n) AS sd, var_pop(id) AS vp, corr(f8, id ORDER BY id) AS c, regr_slope(id, f8 ORDER BY id) AS rs, stddev_samp(f8 ORDER BY id) AS sf FROM t GROUP BY k;
CREATE MATERIALIZED VIEW user_defined AS SELECT k, longest(s ORDER BY id) AS l, odd_sum(id) AS o, odd_sum(id) FILTER (WHERE s = 's1') AS of FROM t GROUP BY k;
CREATE MATERIALIZED VIEW floats AS SELECT k, sum(f8) AS s8, avg(f8) AS a8, sum(f4) AS s4, avg(f4) AS a4, min(f8) AS mi, max(f4) AS ma FROM t GROUP BY k;
CREATE MATERIALIZED VIEW floats_ordered AS SELECT k, sum(f8 ORDER BY id) AS s8, avg(f4 ORDER BY id) AS a4 FROM t GROUP BY k;
CREATE MATERIALIZED VIEW floats_scalar AS SELECT sum(f8) AS s, count(*) AS c FROM t;
CREATE MATERIALIZED VIEW numerics AS SELECT k, sum(n) AS s, avg(n) AS a, trim_scale(min(n)) AS mi, trim_scale(max(n)) AS ma, sum(n) FILTER (WHERE n > 1) AS f FROM t GROUP BY k;
CREATE MATERIALIZED VIEW bits AS SELECT k, bit_and(id) AS ba, bit_or(b) AS bo, bit_xor(id) AS bx FROM t GROUP BY k;
CREATE MATERIALIZED VIEW mixed AS
  SELECT k, count(*) AS c, sum(id) AS s, string_agg(s, '' ORDER BY id) AS l, max(id) AS m FROM t GROUP BY k HAVING count(DISTINCT s) > 2;
CREATE MATERIALIZED VIEW scalar AS SELECT string_agg(s, ',' ORDER BY id) AS l, count(DISTINCT k) AS c FROM t WHERE id > 100;
CREATE MATERIALIZED VIEW joined AS
  SELECT t.k, string_agg(t.s || u.id::text, ',' ORDER BY t.id, u.id) AS l, sum(u.w) AS w FROM t JOIN u ON u.k = t.k WHERE t.id < 40 GROUP BY t.k;
CREATE MATERIALIZED VIEW numeric_key AS SELECT trim_scale(n) AS n, count(*) AS c, min(id) AS m FROM t GROUP BY n;
CREATE MATERIALIZED VIEW float_key AS SELECT f8, count(*) AS c FROM (SELECT CASE WHEN id % 2 = 0 THEN f8 END AS f8 FROM t) x GROUP BY f8;
CREATE MATERIALIZED VIEW of_union AS
  SELECT k, array_agg(v ORDER BY v) AS v FROM (SELECT k, id AS v FROM t UNION ALL SELECT k, id + 1000 FROM u) x GROUP BY k;
CALL steps();

INSERT INTO t VALUES (201, 1, 'a much longer one', 1e10, 1e100, 1.1000, '[]', B'1111', NULL), (202, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}'),
  (203, 50, 'lonely', 0.1, 0.1, 0, 'null', B'0000', '{1}');
INSERT INTO u VALUES (101, 1, NULL), (102, NULL, 5);
CALL steps();
-- Only one group changes; the others are not written
UPDATE t SET s = 'changed' WHERE id = 7;
SELECT rows_inserted, rows_updated, rows_deleted FROM matview.refresh_incremental('strings');
CALL steps();
-- The extremum goes, and the one after it, and the last value
DELETE FROM t WHERE id IN (SELECT max(id) FROM t GROUP BY k);
DELETE FROM t WHERE f8 IN (SELECT min(f8) FROM t GROUP BY k);
UPDATE t SET n = n - 5 WHERE n IN (SELECT max(n) FROM t);
CALL steps();
UPDATE t SET f8 = NULL, f4 = NULL, n = NULL, s = NULL WHERE k = 2;
CALL steps();
UPDATE t SET f8 = 1, f4 = 2, n = 3.000, s = 'back' WHERE k = 2 AND id % 4 = 0;
CALL steps();
-- NaN, Infinity and -0 come and go
UPDATE t SET f8 = 'NaN', n = 'NaN' WHERE id = 12;
UPDATE t SET f8 = 'Infinity', f4 = '-Infinity' WHERE id = 13;
UPDATE t SET f8 = '-0', f4 = '-0' WHERE id IN (14, 20, 26);
CALL steps();
UPDATE t SET f8 = '-Infinity' WHERE id = 19;
UPDATE t SET n = 'Infinity' WHERE id IN (16, 18);
CALL steps();
UPDATE t SET n = '-Infinity' WHERE id = 22;
CALL steps();
UPDATE t SET f8 = 0, f4 = 0, n = 0 WHERE id IN (12, 13, 14, 16, 18, 19, 22);
CALL steps();
-- Sums that do not come back by subtraction
DROP MATERIALIZED VIEW floats, floats_scalar;
INSERT INTO t (id, k, f8, f4, n) VALUES (300, 3, 1e140, 1e38, 1e100), (301, 3, 1e-10, 1e-10, 1e-100);
CALL steps();
DELETE FROM t WHERE id = 300;
CALL steps();
-- Scales that show: the least and the greatest come and go
UPDATE t SET n = 1 WHERE k = 4;
CALL steps();
UPDATE t SET n = 1.0 WHERE k = 4;
CALL steps();
UPDATE t SET n = CASE WHEN id % 12 = 4 THEN 1.00 ELSE 1 END WHERE k = 4;
CALL steps();
DELETE FROM t WHERE k = 4 AND id % 12 = 4;
CALL steps();
-- Groups move, vanish, return
UPDATE t SET k = 60 WHERE k = 3;
UPDATE u SET k = 60 WHERE k = 3;
DELETE FROM t WHERE k IS NULL;
CALL steps();
INSERT INTO t (id, k, s) VALUES (400, NULL, 'null again'), (401, 3, 'three again');
CALL steps();
DELETE FROM t;
CALL steps();
INSERT INTO t (id, k, s, f8) VALUES (1, 1, 'x', 1);
CALL steps();

DROP SCHEMA recomputed CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
