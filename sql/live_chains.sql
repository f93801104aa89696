-- Live views on others: live on live, on views that are refreshed by hand, and
-- the other way round
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_chains;
SET search_path = live_chains, test;
CREATE TABLE t (id int PRIMARY KEY, k int, x int);
INSERT INTO t SELECT g, g % 5, g FROM generate_series(1, 50) g;
CREATE MATERIALIZED VIEW low AS SELECT k, sum(x) AS s FROM t GROUP BY k;
CREATE MATERIALIZED VIEW by_hand AS SELECT id, k FROM t WHERE x > 20;
CREATE MATERIALIZED VIEW high AS SELECT s % 2 AS odd, count(*) AS n FROM low GROUP BY 1;
CREATE MATERIALIZED VIEW middle AS SELECT l.k, l.s, count(h.id) AS n FROM low l LEFT JOIN by_hand h USING (k) GROUP BY l.k, l.s;
CREATE MATERIALIZED VIEW top AS SELECT max(n) AS most FROM middle;
SELECT mode FROM matview.refresh('by_hand', 'incremental');
SELECT matview.set_auto_refresh(v::regclass, p)
  FROM (VALUES ('low', 'on_statement'), ('high', 'on_commit'), ('middle', 'on_statement'), ('top', 'on_commit')) x (v, p);

UPDATE t SET x = x + 1 WHERE id = 7;
SELECT contents('low'), contents('high'), contents('middle'), contents('top');
BEGIN;
INSERT INTO t VALUES (100, 9, 1), (101, 9, 30);
SELECT contents('low'), contents('middle');
COMMIT;
SELECT contents('low'), contents('high'), contents('middle'), contents('top');

-- the view below is refreshed by hand, in each way
SELECT mode FROM matview.refresh('by_hand', 'incremental');
SELECT contents('by_hand'), contents('middle'), contents('top');
DELETE FROM t WHERE id % 7 = 0;
BEGIN;
SELECT mode FROM matview.refresh('by_hand', 'concurrent');
SELECT contents('middle');
COMMIT;
SELECT contents('by_hand'), contents('middle'), contents('top');
DELETE FROM t WHERE id % 5 = 0;
SELECT mode FROM matview.refresh('by_hand', 'full');
SELECT contents('by_hand'), contents('middle'), contents('top');
DELETE FROM t WHERE id % 3 = 0;
REFRESH MATERIALIZED VIEW by_hand;
SELECT contents('by_hand'), contents('middle'), contents('top');
UPDATE t SET x = -x WHERE id % 2 = 0;
SELECT mode FROM matview.refresh('by_hand', 'diff');
SELECT contents('low'), contents('high'), contents('by_hand'), contents('middle'), contents('top');
REFRESH MATERIALIZED VIEW low;
SELECT contents('low'), contents('high'), contents('middle'), contents('top');
UPDATE t SET x = 5 WHERE k = 2;
SELECT contents('low'), contents('high'), contents('middle'), contents('top');

-- one in the middle is refreshed by hand from here on
SELECT matview.pause('middle');
INSERT INTO t SELECT g, g % 4, g FROM generate_series(200, 220) g;
SELECT contents('low'), contents('high');
SELECT mode FROM matview.refresh('by_hand');
SELECT mode FROM matview.refresh('middle');
SELECT contents('middle'), contents('top');
SELECT matview.resume('middle');
INSERT INTO t SELECT g, g % 4, g FROM generate_series(300, 320) g;
SELECT contents('low'), contents('high'), contents('middle'), contents('top');

-- A cursor over one below, which is up to date
CREATE TABLE pointed (id int PRIMARY KEY, g int);
INSERT INTO pointed SELECT g, g % 3 FROM generate_series(1, 9) g;
CREATE MATERIALIZED VIEW pointed_groups AS SELECT g, count(*) AS n FROM pointed GROUP BY g;
CREATE MATERIALIZED VIEW pointed_counts AS SELECT n, count(*) AS c FROM pointed_groups GROUP BY n;
SELECT matview.set_auto_refresh('pointed_groups', 'on_commit');
SELECT mode FROM matview.refresh_incremental('pointed_counts');
INSERT INTO pointed VALUES (10, 1);
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM pointed_groups ORDER BY g;
FETCH 1 FROM c;
SELECT mode FROM matview.refresh_incremental('pointed_counts');
FETCH 1 FROM c;
COMMIT;
SELECT contents('pointed_groups'), contents('pointed_counts');

-- ALTER MATERIALIZED VIEW renames columns, also of a table
CREATE TABLE named (id int PRIMARY KEY, a int);
INSERT INTO named VALUES (1, 1);
CREATE MATERIALIZED VIEW named_rows AS SELECT id, a FROM named;
CREATE MATERIALIZED VIEW named_json AS SELECT id, row_to_json(named_rows) AS j FROM named_rows;
CREATE MATERIALIZED VIEW named_table AS SELECT id, row_to_json(named) AS j FROM named;
SELECT matview.set_auto_refresh(v, 'on_commit') FROM unnest('{named_rows,named_json,named_table}'::regclass[]) v;
ALTER MATERIALIZED VIEW named_rows RENAME COLUMN a TO b;
SELECT contents('named_json'), j FROM named_json;
ALTER MATERIALIZED VIEW named RENAME COLUMN a TO c;
SELECT contents('named_table'), j FROM named_table;

DROP SCHEMA live_chains CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
