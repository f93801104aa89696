-- Set-returning functions that are keys of groups or windows, or stand above them.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA set_returning_keys;
SET search_path = set_returning_keys, test;

CREATE TABLE t (id int, k int, tags int[]);
INSERT INTO t SELECT i, i % 3, ARRAY[i % 4, i % 5, 7] FROM generate_series(1, 30) i;

-- Keys of groups
CREATE MATERIALIZED VIEW groups AS SELECT unnest(tags) AS tag, count(*) FROM t GROUP BY 1;
CREATE MATERIALIZED VIEW groups_unseen AS SELECT count(*) FROM t GROUP BY unnest(tags);
CREATE MATERIALIZED VIEW groups_and_more AS
  SELECT unnest(tags) + 1 AS tag, k, count(*), sum(id), generate_series(1, k) AS above FROM t GROUP BY 1, 2;
CREATE MATERIALIZED VIEW groups_rollup AS SELECT unnest(tags) AS tag, k, count(*) FROM t GROUP BY ROLLUP (1, 2);
CREATE MATERIALIZED VIEW groups_distinct AS
  SELECT DISTINCT unnest(tags) AS tag, generate_series(1, 2), count(*) FROM t GROUP BY 1, 2;
CREATE MATERIALIZED VIEW groups_limit AS
  SELECT k, unnest(tags) AS tag, max(id) FILTER (WHERE id > (SELECT avg(id) FROM t)) FROM t
   GROUP BY k, tag ORDER BY max(id) DESC, tag, k LIMIT 4;
CREATE MATERIALIZED VIEW groups_subquery AS
  SELECT unnest(tags) AS tag, (SELECT count(*) FROM t y WHERE y.id > max(x.id)) FROM t x GROUP BY 1;
CREATE MATERIALIZED VIEW groups_ranked AS
  SELECT unnest(tags) AS tag, count(*), rank() OVER (ORDER BY count(*), unnest(tags)) FROM t
   GROUP BY 1 HAVING count(*) > 1 ORDER BY 2, 1 LIMIT 3;

-- Keys of windows
CREATE MATERIALIZED VIEW windows AS
  SELECT unnest(tags) AS tag, row_number() OVER (PARTITION BY unnest(tags) ORDER BY id) FROM t;
CREATE MATERIALIZED VIEW windows_over_groups AS
  SELECT unnest(tags) AS tag, row_number() OVER (PARTITION BY unnest(tags), k ORDER BY count(*)) FROM t GROUP BY tags, k;

-- Above both
CREATE MATERIALIZED VIEW above_windows AS
  SELECT unnest(tags) AS tag, k + 1 AS next, generate_series(0, k + 1), sum(id) OVER (PARTITION BY k + 1, id) FROM t;
CREATE MATERIALIZED VIEW above_groups AS
  SELECT unnest(tags) AS tag, row_number() OVER (ORDER BY max(id), tags) FROM t GROUP BY tags;
CREATE MATERIALIZED VIEW above_expressions AS
  SELECT unnest(tags || (k + 1)) AS tag, row_number() OVER (ORDER BY max(id), tags, k + 1) FROM t GROUP BY tags, k + 1;

CALL steps();
UPDATE t SET tags = tags || id, k = (k + 1) % 4 WHERE id % 7 = 1;
DELETE FROM t WHERE id = 3;
INSERT INTO t VALUES (100, 1, '{1,7}'), (200, NULL, '{}'), (300, 2, NULL);
CALL steps();
DELETE FROM t WHERE id >= 100 OR id = 22;
INSERT INTO t VALUES (101, 0, '{7,7}');
CALL steps();

SET client_min_messages = warning;
DROP SCHEMA set_returning_keys CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
