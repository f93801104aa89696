-- Faults of live views that the randomized test has found
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_faults;
SET search_path = live_faults, test;

-- A plain view comes to read another table, in the transaction that writes it
CREATE TABLE t (id int PRIMARY KEY, x int);
CREATE TABLE u (id int PRIMARY KEY, x int);
INSERT INTO t SELECT g, g FROM generate_series(1, 9) g;
CREATE VIEW p AS SELECT id, x FROM t;
CREATE MATERIALIZED VIEW at_commit AS SELECT id, x FROM p;
CREATE MATERIALIZED VIEW at_statement AS SELECT x, count(*) FROM p GROUP BY x;
SELECT matview.set_auto_refresh('at_commit', 'on_commit');
SELECT matview.set_auto_refresh('at_statement', 'on_statement');
BEGIN;
INSERT INTO t VALUES (10, 1);
CREATE OR REPLACE VIEW p AS SELECT id, x FROM u;
INSERT INTO u VALUES (11, 1);
SELECT contents('at_statement');
COMMIT;
SELECT contents('at_commit'), contents('at_statement');

-- and the table that it read is dropped
DROP TABLE t;
INSERT INTO u VALUES (12, 1);
SELECT contents('at_commit'), contents('at_statement');
CREATE TABLE t (id int PRIMARY KEY, x int);
BEGIN;
CREATE OR REPLACE VIEW p AS SELECT id, x FROM t;
DROP TABLE u;
SELECT matview.pause('at_commit');
SELECT matview.set_auto_refresh('at_statement', 'off');
COMMIT;
INSERT INTO t VALUES (13, 1);
SELECT matview.resume('at_commit');
SELECT contents('at_commit'), (step('at_statement')).contents;

-- A table is dropped with its views, of which not all are live
CREATE MATERIALIZED VIEW not_live AS SELECT x FROM t;
SELECT done, contents FROM step('not_live');
DROP TABLE t CASCADE;

-- A subquery that stands in HAVING alone: its table was not looked at
CREATE TABLE t (id int PRIMARY KEY, k int);
CREATE TABLE u (id int PRIMARY KEY, k int);
INSERT INTO t VALUES (24, 4);
INSERT INTO u VALUES (4, 4);
CREATE MATERIALIZED VIEW in_having AS
  SELECT k, count(*) FROM t GROUP BY k HAVING sum((SELECT k FROM u WHERE u.id = t.k)) > 2;
SELECT done, contents FROM step('in_having');
UPDATE u SET k = 0;
SELECT done, contents FROM step('in_having');
SELECT matview.set_auto_refresh('in_having', 'on_statement');
UPDATE u SET k = 4;
SELECT contents('in_having');

DROP SCHEMA live_faults CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
