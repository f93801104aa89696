-- Partitions that come while views are tracked: captured at once if they are
-- empty, a reason to recompute if not, whatever else happens to them.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA partitions_added;
SET search_path = partitions_added, test;

CREATE TABLE p (id int, k int, v int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
INSERT INTO p SELECT g, g % 3, g FROM generate_series(1, 90) g;
CREATE MATERIALIZED VIEW v_groups AS SELECT k, count(*), sum(v) FROM p GROUP BY k;
CREATE MATERIALIZED VIEW v_rows AS SELECT id, v FROM p;
CREATE MATERIALIZED VIEW v_self AS SELECT a.id, b.v FROM p a JOIN p b ON a.id = b.id + 1;
CALL steps();

-- Created
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
CALL steps();
INSERT INTO p VALUES (100, 1, 1), (90, 1, 1);
INSERT INTO p2 VALUES (101, 2, 2);
UPDATE p SET id = id + 100 WHERE id = 90;
CALL steps();
TRUNCATE p2;
INSERT INTO p2 VALUES (102, 2, 2);
CALL steps();
-- ... with partitions of its own, which come later; IF NOT EXISTS
CREATE TABLE IF NOT EXISTS p3 PARTITION OF p FOR VALUES FROM (200) TO (300) PARTITION BY LIST (k);
CREATE TABLE p3a PARTITION OF p3 FOR VALUES IN (0, 1);
CREATE TABLE IF NOT EXISTS p3a PARTITION OF p3 FOR VALUES IN (0, 1);
INSERT INTO p VALUES (200, 0, 5), (201, 1, 6);
CREATE TABLE p3b PARTITION OF p3 DEFAULT;
INSERT INTO p3 VALUES (202, 2, 7);
CREATE MATERIALIZED VIEW v_branch AS SELECT k, sum(v) FROM p3 GROUP BY k;
CREATE MATERIALIZED VIEW v_leaf AS SELECT k, sum(v) FROM p3b GROUP BY k;
CALL steps();
CREATE TABLE p3c (v int, k int, id int);
ALTER TABLE p3 DETACH PARTITION p3b;
ALTER TABLE p3 ATTACH PARTITION p3c FOR VALUES IN (3);
INSERT INTO p VALUES (203, 3, 8);
INSERT INTO p3b VALUES (204, 4, 9);
CALL steps();
DROP TABLE p3b CASCADE;
-- ... under names that a search finds elsewhere
CREATE TABLE pg_class PARTITION OF p FOR VALUES FROM (300) TO (310);
CREATE SCHEMA added_too CREATE TABLE t PARTITION OF partitions_added.p FOR VALUES FROM (310) TO (320);
INSERT INTO p VALUES (300, 0, 1), (310, 0, 1);
CALL steps();
DROP TABLE partitions_added.pg_class;
DROP SCHEMA added_too CASCADE;
CALL steps();
-- ... by one who owns the table and nothing of ours
CREATE ROLE partitions_added_owner;
GRANT ALL ON SCHEMA partitions_added TO partitions_added_owner;
ALTER TABLE p OWNER TO partitions_added_owner;
SET ROLE partitions_added_owner;
CREATE TABLE p4 PARTITION OF p FOR VALUES FROM (400) TO (410);
INSERT INTO p4 VALUES (400, 1, 1);
RESET ROLE;
CALL steps();
-- ... as what cannot be captured
CREATE UNLOGGED TABLE p5 PARTITION OF p FOR VALUES FROM (500) TO (600);
INSERT INTO p VALUES (500, 1, 1);
CALL steps();
DROP TABLE p5;
CALL steps();

-- Attached: empty, also in columns that stand differently, also with partitions
CREATE TABLE p6 (dropped int, v int, id int, k int);
ALTER TABLE p6 DROP COLUMN dropped;
ALTER TABLE p ATTACH PARTITION p6 FOR VALUES FROM (600) TO (700);
CREATE TABLE p7 (LIKE p) PARTITION BY LIST (k);
CREATE TABLE p7a PARTITION OF p7 FOR VALUES IN (1);
CREATE TABLE p7b PARTITION OF p7 DEFAULT;
ALTER TABLE p ATTACH PARTITION p7 FOR VALUES FROM (700) TO (800);
INSERT INTO p VALUES (600, 1, 10), (700, 1, 20), (701, 2, 30);
UPDATE p SET v = v + 1 WHERE id >= 600;
CALL steps();
-- ... with rows
CREATE TABLE p8 (LIKE p);
INSERT INTO p8 VALUES (800, 1, 1);
ALTER TABLE p ATTACH PARTITION p8 FOR VALUES FROM (800) TO (900);
CALL steps();
INSERT INTO p8 VALUES (801, 2, 2);
CALL steps();
-- ... with rows in one partition of several
CREATE TABLE p9 (LIKE p) PARTITION BY LIST (k);
CREATE TABLE p9a PARTITION OF p9 FOR VALUES IN (1);
CREATE TABLE p9b PARTITION OF p9 DEFAULT;
INSERT INTO p9 VALUES (900, 0, 1);
ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000);
CALL steps();
-- ... along with one that is empty, in any order
ALTER TABLE p DETACH PARTITION p9;
CALL steps();
ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000);
CREATE TABLE p10 PARTITION OF p FOR VALUES FROM (1000) TO (1100);
INSERT INTO p VALUES (1000, 1, 1), (901, 1, 1);
CALL steps();
DROP TABLE p10;
ALTER TABLE p DETACH PARTITION p9;
CREATE TABLE p10 PARTITION OF p FOR VALUES FROM (1000) TO (1100);
INSERT INTO p VALUES (1000, 1, 1);
DROP TABLE p10;
CALL steps();
DROP TABLE p9;

-- Come, captured for one view, and gone before another one has looked
CREATE TABLE p9 (LIKE p);
INSERT INTO p9 VALUES (900, 0, 1), (901, 1, 1);
ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000);
SELECT * FROM step('v_rows');
UPDATE p SET v = v + 100 WHERE id >= 900;
ALTER TABLE p DETACH PARTITION p9;
INSERT INTO p9 VALUES (902, 0, 1);
CALL steps();
ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000);
SELECT * FROM step('v_rows');
UPDATE p SET v = v + 100 WHERE id >= 900;
DROP TABLE p9;
CALL steps();
CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (900) TO (1000);
INSERT INTO p VALUES (900, 0, 1);
SELECT * FROM step('v_rows');
INSERT INTO p VALUES (901, 0, 1);
DROP TABLE p9;
CALL steps();
-- ... all in one transaction
BEGIN;
CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (900) TO (1000);
INSERT INTO p VALUES (900, 0, 1);
SELECT * FROM step('v_rows');
ALTER TABLE p DETACH PARTITION p9;
SELECT * FROM step('v_rows');
INSERT INTO p9 VALUES (901, 0, 1);
ALTER TABLE p ATTACH PARTITION p9 FOR VALUES FROM (900) TO (1000);
SELECT * FROM step('v_rows');
SELECT * FROM step('v_groups');
COMMIT;
CALL steps();
DROP TABLE p9;
CALL steps();

-- Undone
BEGIN;
SAVEPOINT before;
CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (900) TO (1000);
INSERT INTO p VALUES (900, 0, 1);
ROLLBACK TO before;
SELECT * FROM step('v_rows');
CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (900) TO (1000);
INSERT INTO p VALUES (900, 0, 2);
COMMIT;
CALL steps();
BEGIN;
DROP TABLE p9;
CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (900) TO (1000);
ROLLBACK;
INSERT INTO p VALUES (901, 0, 2);
CALL steps();

-- Switched off and on again in the transaction that created it
CREATE FUNCTION switch(rel regclass, mode text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = rel LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', rel, mode, name);
    END LOOP;
END $$;
BEGIN;
CREATE TABLE p10 PARTITION OF p FOR VALUES FROM (1000) TO (1100);
SELECT switch('p10', 'DISABLE');
INSERT INTO p VALUES (1000, 1, 1);
SELECT switch('p10', 'ENABLE ALWAYS');
COMMIT;
CALL steps();

-- Filled by an event trigger that comes before ours
CREATE FUNCTION fill() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('p11') IS NOT NULL THEN
        INSERT INTO p11 VALUES (1100, 1, 1);
    END IF;
END $$;
CREATE EVENT TRIGGER a_fill ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION fill();
CREATE TABLE p11 PARTITION OF p FOR VALUES FROM (1100) TO (1200);
INSERT INTO p VALUES (1101, 1, 1);
DROP EVENT TRIGGER a_fill;
CALL steps();

-- Not noted at all
ALTER EVENT TRIGGER matview_refresh_note_partition DISABLE;
CREATE TABLE p12 PARTITION OF p FOR VALUES FROM (1200) TO (1300);
INSERT INTO p VALUES (1200, 1, 1);
ALTER EVENT TRIGGER matview_refresh_note_partition ENABLE ALWAYS;
CREATE TABLE p13 PARTITION OF p FOR VALUES FROM (1300) TO (1400);
INSERT INTO p VALUES (1300, 1, 1);
CALL steps();

-- A table without a partition, and one that nobody reads
CREATE TABLE e (a int) PARTITION BY LIST (a);
CREATE MATERIALIZED VIEW v_empty AS SELECT count(*), sum(a) FROM e;
SELECT * FROM step('v_empty');
CREATE TABLE e1 PARTITION OF e DEFAULT;
INSERT INTO e VALUES (1), (2);
SELECT * FROM step('v_empty');
CREATE TABLE n (a int) PARTITION BY LIST (a);
CREATE TABLE n1 PARTITION OF n DEFAULT;
CREATE TEMP TABLE tp (a int) PARTITION BY LIST (a);
CREATE TEMP TABLE tp1 PARTITION OF tp DEFAULT;

SELECT matview.note_partition();
DROP SCHEMA partitions_added CASCADE;
SELECT * FROM leftovers();
DROP OWNED BY partitions_added_owner;
DROP ROLE partitions_added_owner;
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
