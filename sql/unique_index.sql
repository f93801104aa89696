-- Views with unique indexes of their own: rows are written in an order in
-- which no two of them ever collide, whatever the changes.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA uniques;
SET search_path = uniques, test;

CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int UNIQUE DEFERRABLE INITIALLY DEFERRED, b text, c int);
INSERT INTO t SELECT g, 1000 + g, 'b' || g, g % 3 FROM generate_series(1, 30) g;
CREATE MATERIALIZED VIEW one_key AS SELECT id, a, b, c FROM t;
CREATE UNIQUE INDEX ON one_key (id);
CREATE MATERIALIZED VIEW other_key AS SELECT id, a, b, c FROM t;
CREATE UNIQUE INDEX ON other_key (a);
CREATE MATERIALIZED VIEW two_keys AS SELECT id, a, b, c FROM t;
CREATE UNIQUE INDEX ON two_keys (id);
CREATE UNIQUE INDEX ON two_keys (a);
CREATE MATERIALIZED VIEW three_keys AS SELECT id, a, b, c FROM t;
CREATE UNIQUE INDEX ON three_keys (c, id) INCLUDE (b);
CREATE UNIQUE INDEX ON three_keys (lower(b));
CREATE UNIQUE INDEX ON three_keys (a) WHERE c = 1;
CREATE MATERIALIZED VIEW expression_key AS SELECT a, b FROM t;
CREATE UNIQUE INDEX ON expression_key ((a + 1));
CREATE MATERIALIZED VIEW partial_key AS SELECT id, c FROM t;
CREATE UNIQUE INDEX ON partial_key (id) WHERE c > 0;
CREATE MATERIALIZED VIEW null_key AS SELECT nullif(a, 1005) AS a, c FROM t;
CREATE UNIQUE INDEX ON null_key (a);
CREATE MATERIALIZED VIEW null_key_2 AS SELECT nullif(a, 1005) AS a, nullif(c, 1) AS c, id FROM t;
CREATE UNIQUE INDEX ON null_key_2 (a, c);
CREATE MATERIALIZED VIEW text_key AS SELECT b, a FROM t;
CREATE UNIQUE INDEX ON text_key (b);
CREATE MATERIALIZED VIEW numeric_key AS SELECT a::numeric AS n, c FROM t;
CREATE UNIQUE INDEX ON numeric_key (n);
CREATE MATERIALIZED VIEW desc_key AS SELECT id, a FROM t;
CREATE UNIQUE INDEX ON desc_key (a DESC NULLS FIRST, id);
CREATE MATERIALIZED VIEW grouped AS SELECT c, count(*), min(a) AS mi, max(a) AS ma FROM t GROUP BY c;
CREATE UNIQUE INDEX ON grouped (c);
CREATE MATERIALIZED VIEW grouped_other AS SELECT c, min(a) AS mi, max(id) AS ma FROM t GROUP BY c;
CREATE UNIQUE INDEX ON grouped_other (mi);
CREATE UNIQUE INDEX ON grouped_other (ma, c);
CREATE MATERIALIZED VIEW grouped_hidden AS SELECT count(*) * 0 + min(a) AS mi FROM t GROUP BY c;
CREATE UNIQUE INDEX ON grouped_hidden (mi);
CREATE MATERIALIZED VIEW constrained AS SELECT id, int4range(a, a + 1) AS r FROM t;
CREATE INDEX ON constrained USING gist (r);
CREATE INDEX ON constrained USING hash (id);
CREATE INDEX ON constrained USING brin (id);
CREATE INDEX ON constrained (lower(r)) WHERE id > 3;
CALL steps();

-- Do the indexes find what the heap holds?
CREATE EXTENSION amcheck SCHEMA uniques;
CREATE FUNCTION check_indexes() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE bt_index_check(i.indexrelid, true) IS NOT NULL) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_class c ON c.oid = i.indrelid
     WHERE c.relkind = 'm' AND c.relnamespace = 'uniques'::regnamespace AND x.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') $$;

-- Values of a row change, its key does not
UPDATE t SET b = b || 'x', c = (c + 1) % 3 WHERE id % 2 = 0;
CALL steps();
-- The key changes: to one that is free, to one that becomes free, in a chain
UPDATE t SET id = id + 100, a = a + 1000 WHERE id <= 5;
CALL steps();
UPDATE t SET id = id + 1, a = a + 1 WHERE id BETWEEN 6 AND 30;
CALL steps();
UPDATE t SET id = id - 1, a = a - 1 WHERE id BETWEEN 7 AND 31;
CALL steps();
-- Two rows swap
UPDATE t SET id = 27 - id WHERE id IN (13, 14);
CALL steps();
UPDATE t SET a = 2031 - a WHERE a IN (1015, 1016);
CALL steps();
-- Each key goes its own way
UPDATE t SET id = 41 - id WHERE id IN (20, 21);
UPDATE t SET a = 2043 - a WHERE a IN (1021, 1022);
UPDATE t SET b = (ARRAY['b24', 'b23x'])[1 + id % 2] WHERE id IN (23, 24);
CALL steps();
-- A ring of all
UPDATE t SET id = CASE WHEN id = 30 THEN 6 ELSE id + 1 END WHERE id BETWEEN 6 AND 30;
UPDATE t SET a = CASE WHEN a = 1030 THEN 1006 ELSE a + 1 END WHERE a BETWEEN 1006 AND 1030;
CALL steps();
-- A key's row is deleted, and inserted by another
DELETE FROM t WHERE id = 10;
INSERT INTO t VALUES (10, 5000, 'new ten', 1);
DELETE FROM t WHERE a = 1020;
INSERT INTO t VALUES (1020, 1020, 'new 1020', 2);
CALL steps();
-- NULL keys are as many as you like
UPDATE t SET a = NULL WHERE id IN (11, 12, 15);
CALL steps();
UPDATE t SET a = id + 3000 WHERE a IS NULL;
CALL steps();
-- Groups exchange what is unique
UPDATE t SET c = 2 - c;
CALL steps();
UPDATE t SET a = -a WHERE c = 0;
CALL steps();
DELETE FROM t WHERE c = 1;
CALL steps();
-- All rows at once
UPDATE t SET id = -id, a = -a;
CALL steps();
DELETE FROM t;
INSERT INTO t SELECT g, 1000 + g, 'b' || g, g % 3 FROM generate_series(1, 300) g;
CALL steps();
SELECT check_indexes();
SET work_mem = '64kB';
UPDATE t SET id = CASE WHEN id = 300 THEN 1 ELSE id + 1 END, a = a - 1, b = b || repeat('x', 100);
CALL steps();
RESET work_mem;
SELECT check_indexes();
CALL steps('concurrent');
UPDATE t SET id = 301 - id, a = 2301 - a;
CALL steps();
UPDATE t SET id = 301 - id, a = 2301 - a;
CALL steps('diff');
SELECT check_indexes();

-- A unique index that the query does not keep is an error of the query's
-- data, as it is for REFRESH; nothing is lost, and it goes on afterwards
CREATE TABLE d (id int, v int);
INSERT INTO d VALUES (1, 1), (2, 2);
CREATE MATERIALIZED VIEW breaks AS SELECT id, v FROM d;
CREATE UNIQUE INDEX breaks_id ON breaks (id);
CREATE MATERIALIZED VIEW breaks_grouped AS SELECT v % 2 AS v, count(*) FROM d GROUP BY v;
CREATE UNIQUE INDEX breaks_grouped_v ON breaks_grouped (v);
SELECT * FROM step('breaks');
SELECT * FROM step('breaks_grouped');
INSERT INTO d VALUES (2, 3);
SELECT matview.refresh_incremental('breaks');
SELECT matview.refresh_incremental('breaks_grouped');
SELECT matview.refresh_concurrent('breaks');
SELECT matview.refresh_full('breaks');
SELECT matview.refresh('breaks', 'diff');
SELECT * FROM breaks ORDER BY 1, 2;
DELETE FROM d WHERE v = 3;
SELECT * FROM step('breaks');
SELECT * FROM step('breaks_grouped');

DROP SCHEMA uniques CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
