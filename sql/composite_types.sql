-- A composite type gets another attribute: its values have another image then
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA composite_types;
SET search_path = composite_types, test;
CREATE TYPE pair AS (x int, y text);
CREATE TABLE t (id int PRIMARY KEY, e int, p int, c pair, list pair[]);
INSERT INTO t SELECT g, g % 3, g, row(g % 2, 'x')::pair, ARRAY[row(g % 2, 'y')::pair] FROM generate_series(1, 12) g;
CREATE MATERIALIZED VIEW by_pair AS SELECT e, c, max(p) FROM t GROUP BY e, c;
CREATE MATERIALIZED VIEW by_list AS SELECT list, count(*) FROM t GROUP BY list;
CREATE MATERIALIZED VIEW every_row AS SELECT id, c, list FROM t;
CREATE MATERIALIZED VIEW live AS SELECT c, sum(p) FROM t GROUP BY c;
CALL steps();
SELECT matview.set_auto_refresh('live', 'on_statement');
ALTER TYPE pair ADD ATTRIBUTE z int;
SELECT contents('live');
UPDATE t SET p = p + 1 WHERE id < 5;
SELECT contents('live');
CALL steps();
UPDATE t SET p = p + 1, c.z = 5 WHERE id < 3;
CALL steps();
ALTER TYPE pair DROP ATTRIBUTE y CASCADE;
SELECT contents('live');
UPDATE t SET p = p + 1 WHERE id > 7;
CALL steps();

DROP SCHEMA composite_types CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
