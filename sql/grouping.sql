-- GROUPING() without grouping sets, and constants among the keys of sets.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA grouping_sets;
SET search_path = grouping_sets, test;

CREATE TABLE t (id int PRIMARY KEY, a int, b text, x int);
INSERT INTO t SELECT g, g % 3, nullif('b' || g % 2, 'b1'), g FROM generate_series(1, 20) g;

-- Without sets every key is in the one set
CREATE MATERIALIZED VIEW plain AS
  SELECT a, b, grouping(a, b) AS g, count(*) FROM t GROUP BY a, b HAVING grouping(b) = 0;
CREATE MATERIALIZED VIEW plain_layers AS
  SELECT a, rank() OVER (ORDER BY grouping(a), a) AS r, generate_series(0, grouping(a)) AS s, sum(x)
    FROM t GROUP BY a;
CREATE MATERIALIZED VIEW plain_below AS
  SELECT a, (SELECT grouping(t.a) + max(u.x) FROM t u WHERE u.a = t.a) AS m FROM t GROUP BY a;
CREATE MATERIALIZED VIEW plain_within AS
  SELECT s.a, s.g, u.x FROM (SELECT a, grouping(a) AS g FROM t GROUP BY a) s JOIN t u ON u.id = s.a;
CREATE MATERIALIZED VIEW plain_dependent AS
  SELECT id, ARRAY(SELECT grouping(u.b) + count(*) FROM t u WHERE u.a = t.a GROUP BY u.b ORDER BY 1) FROM t;

-- One set, an empty one, the same twice
CREATE MATERIALIZED VIEW sets AS
  SELECT a, count(*), grouping(a) AS g FROM t GROUP BY GROUPING SETS ((), (a));
CREATE MATERIALIZED VIEW sets_one AS
  SELECT a, count(*), grouping(a) AS g FROM t GROUP BY GROUPING SETS ((a));
CREATE MATERIALIZED VIEW sets_empty AS
  SELECT count(*) FROM t GROUP BY GROUPING SETS ((), ());
CREATE MATERIALIZED VIEW sets_distinct AS
  SELECT a, b, grouping(a, b) AS g, sum(x) FROM t GROUP BY DISTINCT ROLLUP (a, b), ROLLUP (a, b);

-- Keys that are constants: groups of one value, and NULL where they are not
CREATE MATERIALIZED VIEW constant_plain AS
  SELECT 'all' AS k, count(*), sum(x) FROM t GROUP BY 'all'::text;
CREATE MATERIALIZED VIEW constant_sets AS
  SELECT 'all'::text AS k, a, grouping('all'::text, a) AS g, sum(x) FROM t GROUP BY ROLLUP ('all'::text, a);
CREATE MATERIALIZED VIEW constant_unseen AS
  SELECT count(*) FROM t GROUP BY CUBE (a, 'x'::text);
CREATE MATERIALIZED VIEW constant_query AS
  SELECT (SELECT max(b) FROM t) AS m, a, sum(x) FROM t GROUP BY CUBE ((SELECT max(b) FROM t), a);
-- ... of which it is not clear what is the key
CREATE MATERIALIZED VIEW constant_elsewhere AS
  SELECT 'all'::text AS k, 'all'::text || coalesce(a::text, '') AS l, a, sum(x) FROM t GROUP BY ROLLUP ('all'::text, a);
CREATE MATERIALIZED VIEW constant_above AS
  SELECT (SELECT max(b) FROM t) AS m, coalesce((SELECT max(b) FROM t), '') AS c, rank() OVER (ORDER BY sum(x)) AS r
    FROM t GROUP BY ROLLUP ((SELECT max(b) FROM t));
-- Sets in a subquery that depends on what is outside
CREATE TABLE u (id int PRIMARY KEY);
INSERT INTO u VALUES (1), (2);
CREATE MATERIALIZED VIEW dependent_having AS
  SELECT u.id, z.* FROM u, LATERAL (SELECT b, count(*) AS n FROM t WHERE t.a = u.id GROUP BY ROLLUP (b) HAVING b IS NULL) z;
CREATE MATERIALIZED VIEW dependent_left AS
  SELECT u.id, z.* FROM u LEFT JOIN LATERAL (SELECT b, x, grouping(b, x) AS g, count(*) + u.id AS n, sum(x + u.id) AS s
    FROM t WHERE t.a = u.id GROUP BY CUBE (b, x)) z ON z.n > 2;
CREATE MATERIALIZED VIEW dependent_array AS
  SELECT id, ARRAY(SELECT coalesce(b, 'all') || grouping(b) || count(*) FROM t WHERE t.a = u.id
                    GROUP BY ROLLUP (b) ORDER BY grouping(b) DESC, b DESC) AS bs FROM u;
CREATE MATERIALIZED VIEW dependent_limit AS
  SELECT u.id, z.* FROM u, LATERAL (SELECT DISTINCT b, sum(x) AS s, rank() OVER (PARTITION BY grouping(b) ORDER BY sum(x), b) AS r
    FROM t WHERE t.a = u.id GROUP BY GROUPING SETS ((b), (b, x), ()) ORDER BY s DESC NULLS LAST, b, r LIMIT 3) z;
CREATE MATERIALIZED VIEW dependent_on AS
  SELECT u.id, z.* FROM u, LATERAL (SELECT DISTINCT ON (b) b, x, count(*) AS n FROM t WHERE t.a >= u.id
                                     GROUP BY ROLLUP (b, x) ORDER BY b, count(*), x) z;
CREATE MATERIALIZED VIEW dependent_value AS
  SELECT id, (SELECT max(n) FROM (SELECT count(*) AS n FROM t v WHERE v.a = w.a GROUP BY ROLLUP (v.b, v.x)
                                  HAVING count(*) < w.x AND EXISTS (SELECT FROM t WHERE t.x = count(v.b) + w.a)) s) AS m,
         exists(SELECT FROM t v WHERE v.x > w.x GROUP BY GROUPING SETS ((v.a), (v.b), ()) HAVING sum(v.x) BETWEEN w.a AND w.x) AS e FROM t w;
CREATE MATERIALIZED VIEW dependent_within AS
  SELECT a, sum(x) AS s, (SELECT count(g) FROM (SELECT grouping(v.b) AS g, sum(t.x) AS outside, max(v.x) AS x
                                                 FROM t v WHERE v.a = t.a GROUP BY ROLLUP (v.b)) z WHERE z.outside > z.x) AS n
    FROM t GROUP BY a;
CREATE MATERIALIZED VIEW dependent_constant AS
  SELECT u.id, z.* FROM u, LATERAL (SELECT 1 AS k, coalesce(1, 2) AS c, b, count(*) FROM t WHERE t.a = u.id GROUP BY ROLLUP (1, b)) z;
-- An aggregate's direct argument is of the group, so it is NULL where its key is
CREATE MATERIALIZED VIEW direct_argument AS
  SELECT a, percentile_disc(a / 10.0) WITHIN GROUP (ORDER BY x) AS p, rank(a) WITHIN GROUP (ORDER BY a) AS r
    FROM t WHERE a < 10 GROUP BY CUBE (a);
CREATE MATERIALIZED VIEW direct_constant AS
  SELECT 0.5::float8 AS k, a, percentile_disc(0.5::float8) WITHIN GROUP (ORDER BY x) AS p FROM t GROUP BY ROLLUP (0.5::float8, a);
CALL steps();

INSERT INTO t VALUES (30, 1, 'new', 7), (31, 9, NULL, 9), (32, NULL, 'b0', 4);
DELETE FROM t WHERE x < 6;
UPDATE t SET a = 2 WHERE a = 1 AND b IS NULL;
CALL steps();
UPDATE t SET b = 'z' || b WHERE id % 3 = 0;
CALL steps();
DELETE FROM t;
CALL steps();
INSERT INTO t VALUES (1, 1, 'b', 1);
CALL steps();

DROP SCHEMA grouping_sets CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
