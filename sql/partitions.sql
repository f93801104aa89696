-- Partitioned and inherited base tables: DML at the root and at a leaf, rows
-- that move, partitions that come and go, columns in another order, ONLY.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA partitions;
SET search_path = partitions, test;

CREATE TABLE p (id int, k int, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 (dropped int, v text, k int, extra int, id int NOT NULL);
ALTER TABLE p2 DROP COLUMN dropped, DROP COLUMN extra;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200);
CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (400) PARTITION BY LIST (k);
CREATE TABLE p3a PARTITION OF p3 FOR VALUES IN (0, 1);
CREATE TABLE p3b PARTITION OF p3 DEFAULT;
INSERT INTO p SELECT g, g % 4, 'v' || g % 7 FROM generate_series(1, 390, 7) g;
CREATE MATERIALIZED VIEW p_rows AS SELECT id, k, v FROM p;
CREATE MATERIALIZED VIEW p_groups AS SELECT k, count(*), sum(id), max(v) FROM p GROUP BY k;
CREATE MATERIALIZED VIEW p_self AS SELECT a.id, b.id AS bid FROM p a JOIN p b ON a.id = b.id - 7;
CREATE MATERIALIZED VIEW p_leaf AS SELECT id, v FROM p2;
CREATE MATERIALIZED VIEW p_branch AS SELECT k, count(*) FROM p3 GROUP BY k;
CREATE MATERIALIZED VIEW p_both AS SELECT p.id, p1.v FROM p JOIN p1 USING (id);
CREATE MATERIALIZED VIEW p_only AS SELECT count(*) FROM ONLY p;
CALL steps();
-- At the root
INSERT INTO p VALUES (50, 1, 'root'), (150, 1, 'root'), (250, 1, 'root'), (251, 7, 'root');
UPDATE p SET v = 'up' WHERE k = 2;
DELETE FROM p WHERE id % 3 = 0 AND id < 250;
CALL steps();
-- At a leaf, and in between
INSERT INTO p1 VALUES (51, 2, 'leaf');
INSERT INTO p2 (id, k, v) VALUES (151, 2, 'leaf');
INSERT INTO p3 VALUES (252, 2, 'branch'), (253, 0, 'branch');
INSERT INTO p3a VALUES (254, 1, 'leaf');
UPDATE p2 SET v = 'leaf up', k = k + 1;
UPDATE p3 SET v = 'branch up' WHERE k = 1;
DELETE FROM p3b WHERE k = 3;
CALL steps();
-- Rows that move between partitions
UPDATE p SET id = id + 100 WHERE id BETWEEN 1 AND 60;
UPDATE p3 SET k = CASE k WHEN 0 THEN 9 ELSE 0 END WHERE id < 330;
CALL steps();
-- COPY, MERGE, ON CONFLICT, TRUNCATE of one
COPY p FROM stdin;
60	1	copied
160	\N	copied
360	1	copied
\.
COPY p2 (id, k, v) FROM stdin;
161	1	copied
\.
MERGE INTO p USING (VALUES (60, 'merged'), (61, 'new')) s(id, v) ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET v = s.v, id = p.id + 200 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1, s.v);
CALL steps();
TRUNCATE p2;
INSERT INTO p2 (id, k, v) VALUES (162, 1, 'after');
CALL steps();
-- A partition comes, with rows; new, attached, detached, dropped
CREATE TABLE p4 PARTITION OF p FOR VALUES FROM (400) TO (500);
INSERT INTO p VALUES (401, 1, 'new');
INSERT INTO p4 VALUES (402, 1, 'new');
CALL steps();
INSERT INTO p4 VALUES (403, 1, 'new');
CALL steps();
CREATE TABLE p5 (v text, id int NOT NULL, k int);
INSERT INTO p5 VALUES ('attached', 501, 1), ('attached', 502, 2);
ALTER TABLE p ATTACH PARTITION p5 FOR VALUES FROM (500) TO (600);
CALL steps();
INSERT INTO p5 VALUES ('after', 503, 1);
UPDATE p SET v = 'x' WHERE id = 501;
CALL steps();
ALTER TABLE p DETACH PARTITION p5;
INSERT INTO p5 VALUES ('alone', 504, 1);
CALL steps();
INSERT INTO p1 VALUES (70, 1, 'then');
CALL steps();
ALTER TABLE p ATTACH PARTITION p5 FOR VALUES FROM (500) TO (600);
ALTER TABLE p DETACH PARTITION p5 CONCURRENTLY;
CALL steps();
INSERT INTO p5 VALUES ('alone', 505, 1);
INSERT INTO p4 VALUES (404, 1, 'not alone');
CALL steps();
DROP TABLE p4;
CALL steps();
DROP TABLE p5;
-- Detached and attached again, changed in between, within one batch
ALTER TABLE p DETACH PARTITION p1;
UPDATE p1 SET v = 'outside' WHERE id = 70;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100);
CALL steps();
INSERT INTO p1 VALUES (71, 1, 'again');
CALL steps();
-- TRUNCATE of all
TRUNCATE p;
CALL steps();
INSERT INTO p VALUES (1, 1, 'one'), (101, 1, 'two'), (201, 1, 'three');
CALL steps();
-- The same in one transaction
BEGIN;
CREATE TABLE p6 PARTITION OF p FOR VALUES FROM (600) TO (700);
INSERT INTO p VALUES (601, 1, 'six'), (2, 1, 'one');
SELECT * FROM step('p_groups');
INSERT INTO p6 VALUES (602, 1, 'six');
DROP TABLE p6;
SELECT * FROM step('p_groups');
ROLLBACK;
CALL steps();
DROP TABLE p CASCADE;
SELECT * FROM leftovers();

-- Inheritance: the parent has rows too; children have more columns
CREATE TABLE parent (id int, v text);
CREATE TABLE child (extra int) INHERITS (parent);
CREATE TABLE grandchild (more text) INHERITS (child);
CREATE TABLE other (v text, x int, id int);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', 2);
INSERT INTO grandchild VALUES (3, 'g', 3, 'm');
CREATE MATERIALIZED VIEW i_rows AS SELECT id, v FROM parent;
CREATE MATERIALIZED VIEW i_groups AS SELECT v, count(*), sum(id) FROM parent GROUP BY v;
CREATE MATERIALIZED VIEW i_only AS SELECT id FROM ONLY parent;
CREATE MATERIALIZED VIEW i_child AS SELECT id, extra FROM child;
CALL steps();
INSERT INTO parent VALUES (11, 'p');
INSERT INTO child VALUES (12, 'c', 2);
INSERT INTO grandchild VALUES (13, 'g', 3, 'm');
CALL steps();
UPDATE parent SET v = v || '!' WHERE id > 10;
UPDATE ONLY parent SET id = id + 20;
UPDATE ONLY child SET v = 'only child';
DELETE FROM child WHERE id = 3;
CALL steps();
ALTER TABLE other INHERIT parent;
CALL steps();
INSERT INTO other VALUES ('o', 1, 4);
CALL steps();
ALTER TABLE other NO INHERIT parent;
INSERT INTO other VALUES ('o', 1, 5);
CALL steps();
TRUNCATE ONLY parent;
CALL steps();
TRUNCATE child;
CALL steps();
DROP TABLE grandchild;
INSERT INTO child VALUES (22, 'c', 2);
CALL steps();
-- A table becomes a parent after it is tracked
CREATE TABLE plain (id int, v text);
CREATE MATERIALIZED VIEW late_rows AS SELECT id, v FROM plain;
CREATE MATERIALIZED VIEW late_only AS SELECT id, v FROM ONLY plain;
CALL steps();
CREATE TABLE born () INHERITS (plain);
INSERT INTO born VALUES (1, 'b');
INSERT INTO plain VALUES (2, 'p');
CALL steps();
INSERT INTO born VALUES (3, 'b');
CALL steps();

DROP SCHEMA partitions CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
