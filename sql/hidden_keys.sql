-- Keys of groups and windows that are not columns of the view, below DISTINCT and LIMIT.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA hidden_keys;
SET search_path = hidden_keys, test;

CREATE TABLE t (id int PRIMARY KEY, a int, b int);
INSERT INTO t SELECT i, i % 2, i % 6 FROM generate_series(1, 12) i;
CREATE MATERIALIZED VIEW groups_limit AS SELECT DISTINCT a, count(*) AS n FROM t GROUP BY a, b ORDER BY a, n LIMIT 5;
CREATE MATERIALIZED VIEW groups_offset AS SELECT DISTINCT a, count(*) AS n FROM t GROUP BY a, b OFFSET 0;
CREATE MATERIALIZED VIEW groups_cube AS SELECT DISTINCT a, count(*) AS n FROM t GROUP BY CUBE (a, b) ORDER BY a, n LIMIT 5;
CREATE MATERIALIZED VIEW groups_union AS (SELECT DISTINCT a FROM t GROUP BY a, b ORDER BY a LIMIT 2) UNION ALL SELECT 3;
CREATE MATERIALIZED VIEW groups_except AS
  (SELECT DISTINCT a FROM t GROUP BY a, b ORDER BY a LIMIT 2) EXCEPT SELECT DISTINCT b FROM t GROUP BY b, a HAVING count(*) > 5;
CREATE MATERIALIZED VIEW groups_subquery AS
  SELECT DISTINCT a, (SELECT 1 + count(*) FROM t y WHERE y.b = t.b) FROM t GROUP BY b, a ORDER BY 2, 1 LIMIT 4;
CREATE MATERIALIZED VIEW groups_sets AS SELECT a, unnest(ARRAY[b, b + 1]) AS u FROM t GROUP BY b, a ORDER BY max(id), u LIMIT 4;
CREATE MATERIALIZED VIEW order_limit AS SELECT a, count(*) AS n FROM t GROUP BY b, a ORDER BY b DESC, a, n LIMIT 5;
CREATE MATERIALIZED VIEW windows_limit AS
  SELECT DISTINCT a, count(*) OVER (PARTITION BY b) AS n FROM t ORDER BY a, n LIMIT 5;
CREATE MATERIALIZED VIEW on_limit AS
  SELECT DISTINCT ON (b) a, count(*) AS n FROM t GROUP BY b, a ORDER BY b, max(id) DESC LIMIT 5;
CREATE MATERIALIZED VIEW on_windows AS
  SELECT DISTINCT ON (b) rank() OVER (ORDER BY sum(id) DESC), b FROM t GROUP BY b, a ORDER BY b, max(id) DESC OFFSET 1;
CREATE MATERIALIZED VIEW on_hidden AS
  SELECT DISTINCT ON (max(id) % 3) count(*), sum(a) OVER (PARTITION BY b % 2 ORDER BY id)
    FROM t GROUP BY b, id, a ORDER BY max(id) % 3, id LIMIT 4;

CALL steps();
UPDATE t SET a = a + 1, b = (b + 1) % 4 WHERE id % 5 = 1;
DELETE FROM t WHERE id = 3;
INSERT INTO t VALUES (100, 2, 1), (200, NULL, 2), (300, 2, NULL);
CALL steps();
DELETE FROM t WHERE id > 9;
CALL steps();

DROP SCHEMA hidden_keys CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
