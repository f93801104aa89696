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

-- fields that are compressed in the table, or not, and otherwise in the view
CREATE TABLE texts (id int PRIMARY KEY, x text, y text);
CREATE TABLE external (id int PRIMARY KEY, x text);
ALTER TABLE external ALTER x SET STORAGE EXTERNAL;
CREATE TYPE note AS (x text, n int);
CREATE DOMAIN noted AS note;
CREATE MATERIALIZED VIEW notes AS SELECT id, row(x, 1)::note AS r FROM texts;
CREATE MATERIALIZED VIEW noted_again AS SELECT row(x, 1)::note::noted AS r FROM texts;
CREATE MATERIALIZED VIEW lists AS SELECT id, ARRAY[row(x, 1)::note, NULL, row(y, 2)::note] AS r FROM texts;
CREATE MATERIALIZED VIEW whole AS SELECT external AS r FROM external;
CALL steps();
INSERT INTO texts SELECT i, repeat('z', 1600), (SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 50) g) FROM generate_series(1, 6) i;
INSERT INTO external SELECT i, repeat('z', 3000) FROM generate_series(1, 6) i;
CALL steps();
DELETE FROM texts WHERE id = 1;
DELETE FROM external WHERE id = 1;
UPDATE texts SET y = '' WHERE id = 2;
CALL steps();
SELECT matview.set_auto_refresh(v, 'on_statement') FROM unnest('{notes,lists,whole}'::regclass[]) v;
DELETE FROM texts WHERE id = 3;
DELETE FROM external WHERE id = 3;
SELECT v, contents(v) FROM unnest('{notes,lists,whole}'::regclass[]) v;
SELECT view, mode, reason FROM matview.history WHERE view IN ('notes'::regclass, 'lists'::regclass, 'whole'::regclass) AND mode <> 'incremental' ORDER BY started;

DROP SCHEMA composite_types CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
