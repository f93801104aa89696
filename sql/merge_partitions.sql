-- MERGE whose UPDATE moves rows between partitions: a delete here, an insert
-- there, and both are captured.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA merge_partitions;
SET search_path = merge_partitions, test;

CREATE TABLE part (id int, k int, v int) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 (v int, gone int, id int, k int);
ALTER TABLE part_2 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (10) TO (20);
CREATE TABLE part_3 PARTITION OF part FOR VALUES FROM (20) TO (40) PARTITION BY LIST (k);
CREATE TABLE part_3a PARTITION OF part_3 FOR VALUES IN (20, 21, 22, 23, 24);
CREATE TABLE part_3b PARTITION OF part_3 DEFAULT;
CREATE TABLE source (id int PRIMARY KEY, k int, v int);
INSERT INTO part SELECT g, g % 30, g FROM generate_series(1, 60) g;
CREATE MATERIALIZED VIEW rows AS SELECT k, v FROM part;
CREATE MATERIALIZED VIEW keyed AS SELECT id, k, v FROM part;
CREATE UNIQUE INDEX ON keyed (id);
CREATE MATERIALIZED VIEW filtered AS SELECT id, v FROM part WHERE k >= 10 AND k < 24;
CREATE MATERIALIZED VIEW grouped AS SELECT k / 10 AS k, count(*), sum(v), min(v), max(v) FROM part GROUP BY 1;
CREATE MATERIALIZED VIEW of_leaf AS SELECT id, v FROM part_2;
CREATE MATERIALIZED VIEW of_branch AS SELECT k, count(*) FROM part_3 GROUP BY k;
CREATE MATERIALIZED VIEW with_source AS SELECT p.id, p.k, s.v FROM part p JOIN source s ON s.id = p.id;
CREATE UNIQUE INDEX ON with_source (id);
CALL steps();

-- Rows move from the first partition to the second, and deeper, and back
INSERT INTO source SELECT g, 10 + g % 10, 100 + g FROM generate_series(1, 9) g;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = s.k, v = s.v;
CALL steps();
UPDATE source SET k = k + 10;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = s.k;
CALL steps();
UPDATE source SET k = 49 - k;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = s.k;
CALL steps();
UPDATE source SET k = k % 10;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = s.k, v = -p.v;
CALL steps();
-- All actions in one statement; some rows stay where they are
INSERT INTO source SELECT g, (g * 7) % 40, -g FROM generate_series(50, 70) g;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED AND s.id % 5 = 0 THEN DELETE
  WHEN MATCHED AND s.id % 5 = 1 THEN UPDATE SET v = p.v + 1
  WHEN MATCHED AND s.id % 5 = 2 THEN DO NOTHING
  WHEN MATCHED THEN UPDATE SET k = s.k, v = s.v
  WHEN NOT MATCHED AND s.id % 5 = 3 THEN DO NOTHING
  WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (s.id, s.k, s.v);
CALL steps();
-- Moved back and forth between two refreshes: what is left is nothing
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = 39 - p.k;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = 39 - p.k;
CALL steps();
-- Undone, and half undone
BEGIN;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = (p.k + 10) % 40;
ROLLBACK;
CALL steps();
BEGIN;
MERGE INTO part p USING source s ON p.id = s.id AND s.id < 5
  WHEN MATCHED THEN UPDATE SET k = (p.k + 10) % 40;
SAVEPOINT a;
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = (p.k + 20) % 40;
ROLLBACK TO a;
SELECT * FROM step('keyed');
MERGE INTO part p USING source s ON p.id = s.id AND s.id > 5
  WHEN MATCHED THEN UPDATE SET k = (p.k + 10) % 40;
COMMIT;
CALL steps();
-- A trigger sends the row elsewhere, or nowhere; one on the way counts
CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF new.id = 3 THEN RETURN NULL; END IF; new.v := new.v + 1000; RETURN new; END $$;
CREATE TRIGGER elsewhere BEFORE INSERT OR UPDATE ON part_1 FOR EACH ROW EXECUTE FUNCTION elsewhere();
CREATE TRIGGER elsewhere BEFORE INSERT OR UPDATE ON part_2 FOR EACH ROW EXECUTE FUNCTION elsewhere();
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = (p.k + 10) % 40
  WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (s.id, 5, 5);
CALL steps();
DROP FUNCTION elsewhere CASCADE;
-- Into a branch; into the leaf; into a table that is also a source
MERGE INTO part_3 p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = CASE WHEN p.k < 25 THEN 30 ELSE 21 END
  WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (s.id + 1000, 22, s.v);
CALL steps();
MERGE INTO part_2 p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET v = p.v + 1
  WHEN NOT MATCHED AND s.id < 4 THEN INSERT (id, k, v) VALUES (s.id + 2000, 12, s.v);
CALL steps();
MERGE INTO source s USING (SELECT DISTINCT ON (id) id, k, v FROM part WHERE id < 2000 ORDER BY id, v, k) p ON p.id = s.id
  WHEN MATCHED AND p.id % 2 = 0 THEN DELETE
  WHEN MATCHED THEN UPDATE SET v = p.v + 1
  WHEN NOT MATCHED THEN INSERT VALUES (p.id, p.k, p.v);
CALL steps();
-- Into a new partition, and back
CREATE TABLE part_4 PARTITION OF part FOR VALUES FROM (40) TO (50);
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = 40 + p.k % 10;
CALL steps();
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = p.k - 40;
CALL steps();
-- The ordinary UPDATE, and a row that finds no partition
UPDATE part SET k = (k + 15) % 50;
CALL steps();
MERGE INTO part p USING source s ON p.id = s.id
  WHEN MATCHED THEN UPDATE SET k = 60;
CALL steps();

DROP SCHEMA merge_partitions CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
