-- Many rows are read where they stand: in the change log, or in the transition
-- tables of a statement
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA in_place;
SET search_path = in_place, test;

CREATE TABLE t (id int PRIMARY KEY, grp int, v int, note text, other int DEFAULT 0);
CREATE MATERIALIZED VIEW sums AS SELECT grp, count(*) AS n, count(v) AS known, sum(v) AS total FROM t GROUP BY grp;
CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS n, sum(v) AS total, avg(v) AS mean FROM t;
CREATE MATERIALIZED VIEW rows AS SELECT id, v, note FROM t WHERE v % 3 = 0;
CREATE MATERIALIZED VIEW extremes AS SELECT grp, min(v) AS low, max(note) AS high FROM t GROUP BY grp;

CREATE FUNCTION steps_here() RETURNS TABLE (view name, mode text, changes bigint, contents text) LANGUAGE plpgsql AS $$
BEGIN
	FOR view IN SELECT relname FROM pg_class WHERE relkind = 'm' AND relnamespace = 'in_place'::regnamespace ORDER BY relname
	LOOP
		SELECT r.mode, r.changes INTO mode, changes FROM matview.refresh_incremental(view::text::regclass) r;
		contents := contents(view::text::regclass);
		RETURN NEXT;
	END LOOP;
END $$;

INSERT INTO t SELECT i, i % 7, nullif(i % 11, 5), 'note ' || i FROM generate_series(1, 3000) i;
SELECT * FROM steps_here();

-- Change logs: one writer
UPDATE t SET v = v + 1;
SELECT * FROM steps_here();
-- columns that the views do not read
UPDATE t SET other = other + 1;
SELECT * FROM steps_here();
-- several, whose rows undo each other
INSERT INTO t SELECT i, i % 7, 1, 'passing' FROM generate_series(3001, 6000) i;
UPDATE t SET grp = grp + 1 WHERE id <= 2000;
DELETE FROM t WHERE id > 3000;
SELECT * FROM steps_here();
-- all in one transaction with the refresh, and again
BEGIN;
DELETE FROM t WHERE id % 2 = 0;
SELECT * FROM steps_here();
INSERT INTO t SELECT i, i % 5, i, NULL FROM generate_series(10001, 11500) i;
SAVEPOINT s;
UPDATE t SET v = 0;
SELECT * FROM steps_here();
ROLLBACK TO s;
SELECT * FROM steps_here();
COMMIT;
SELECT * FROM steps_here();
-- few rows
INSERT INTO t VALUES (20000, 1, 1, 'few');
SELECT * FROM steps_here();
-- a mark among them
BEGIN;
INSERT INTO t SELECT i, 1, 1, 'before' FROM generate_series(30001, 31500) i;
TRUNCATE t;
INSERT INTO t SELECT i, i % 4, i, 'after' FROM generate_series(1, 2500) i;
COMMIT;
SELECT * FROM steps_here();
-- an expression that fails for rows that are not there any more
CREATE MATERIALIZED VIEW quotients AS SELECT grp, sum(100 / v) AS s FROM t GROUP BY grp;
SELECT * FROM steps_here();
INSERT INTO t SELECT i, 1, i % 100, 'passing' FROM generate_series(50001, 52000) i;
DELETE FROM t WHERE v = 0;
SELECT * FROM steps_here();
-- and in so few that they are not looked at one by one
INSERT INTO t SELECT i, 1, 7, 'stays' FROM generate_series(60001, 60040) i;
INSERT INTO t VALUES (60041, 1, 0, 'passing');
DELETE FROM t WHERE v = 0;
SELECT * FROM steps_here();

-- Live views: the transition tables
DELETE FROM t;
SELECT matview.set_auto_refresh(v, 'on_statement') FROM unnest('{sums,everything,rows,extremes}'::regclass[]) v;
SELECT matview.set_auto_refresh('quotients', 'off');
CREATE FUNCTION look() RETURNS TABLE (view name, n bigint, contents text) LANGUAGE plpgsql AS $$
BEGIN
	FOR view IN SELECT relname FROM pg_class WHERE relkind = 'm' AND relnamespace = 'in_place'::regnamespace AND relname <> 'quotients' ORDER BY relname
	LOOP
		EXECUTE format('SELECT count(*) FROM %I', view) INTO n;
		contents := contents(view::text::regclass);
		RETURN NEXT;
	END LOOP;
END $$;
INSERT INTO t SELECT i, i % 7, nullif(i % 11, 5), 'note ' || i FROM generate_series(1, 3000) i;
SELECT * FROM look();
UPDATE t SET v = v + 1 WHERE id % 10 <> 0;
SELECT * FROM look();
UPDATE t SET other = other + 1, v = CASE WHEN id = 17 THEN 3 ELSE v END;
SELECT * FROM look();
INSERT INTO t SELECT i, i % 7, i, 'more' FROM generate_series(2001, 4500) i ON CONFLICT (id) DO UPDATE SET v = excluded.v, note = NULL;
SELECT * FROM look();
MERGE INTO t USING (SELECT i FROM generate_series(1, 6000) i) s ON t.id = s.i
 WHEN MATCHED AND t.id % 3 = 0 THEN DELETE
 WHEN MATCHED THEN UPDATE SET grp = 9 - grp
 WHEN NOT MATCHED THEN INSERT VALUES (s.i, s.i % 3, s.i, 'merged');
SELECT * FROM look();
WITH gone AS (DELETE FROM t WHERE id % 2 = 0 RETURNING *)
INSERT INTO t SELECT id + 100000, grp, v, note FROM gone;
SELECT * FROM look();
-- in a transaction that has changed some before, and rolls back
BEGIN;
INSERT INTO t VALUES (-1, 1, 1, 'one');
SAVEPOINT s;
UPDATE t SET v = v * 2;
SELECT * FROM look();
ROLLBACK TO s;
SELECT * FROM look();
DELETE FROM t WHERE id % 5 = 0;
COMMIT;
SELECT * FROM look();
-- a trigger of the user's that writes the table once more
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		UPDATE in_place.t SET v = v + 1 WHERE id % 2 = 1;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER a_again AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION again();
UPDATE t SET grp = grp % 4;
SELECT * FROM look();
DROP TRIGGER a_again ON t;
CREATE TRIGGER zz_again AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION again();
UPDATE t SET grp = grp % 3;
SELECT * FROM look();
DROP TRIGGER zz_again ON t;
-- large values, stored elsewhere
INSERT INTO t SELECT i, 1, 3, repeat(md5(i::text), 200) FROM generate_series(200001, 201200) i;
SELECT * FROM look();
UPDATE t SET v = v + 3 WHERE id > 200000;
SELECT * FROM look();
-- what does not concern a view does not lock it
BEGIN;
UPDATE t SET other = other - 1;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object' AND objid IN ('everything'::regclass, 'sums'::regclass);
COMMIT;
SELECT * FROM look();
-- a view that is not live reads the log beside them
SELECT mode, changes > 0 AS some, contents('quotients') FROM matview.refresh_incremental('quotients');
-- more than fits in memory
SET work_mem = '64kB';
UPDATE t SET v = v + 1, note = left(note, 20) || repeat('-', 40);
SELECT * FROM look();
UPDATE t SET v = v - 1, note = rtrim(note, '-');
SELECT * FROM look();
RESET work_mem;
-- the snapshot of the transaction
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE t SET v = v - 1;
SELECT * FROM look();
COMMIT;
SELECT * FROM look();

-- Few rows
SET matview.in_place_from = 1;
INSERT INTO t VALUES (-2, 1, 3, 'two'), (-3, 1, NULL, NULL);
SELECT * FROM look();
UPDATE t SET v = 6 WHERE id < 0;
SELECT * FROM look();
DELETE FROM t WHERE id < -2;
SELECT * FROM look();
RESET matview.in_place_from;

-- Rows that two actions of foreign keys write, one after the other, in one statement;
-- of a view that looks up others for each of them
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, a int REFERENCES parent ON DELETE SET NULL, b int REFERENCES parent ON DELETE SET NULL, x int);
CREATE INDEX ON child (a);
CREATE INDEX ON child (b);
CREATE MATERIALIZED VIEW wider AS SELECT x FROM child;
CREATE MATERIALIZED VIEW looks_up AS SELECT l.id, r.id AS other FROM child l LEFT JOIN child r ON r.b = l.a;
SELECT mode FROM matview.refresh_incremental('wider');
SELECT matview.set_auto_refresh('looks_up', 'on_statement');
INSERT INTO parent SELECT generate_series(1, 2500);
INSERT INTO child SELECT i, i, i, i FROM generate_series(1, 2500) i;
SELECT count(*), contents('looks_up') FROM looks_up;
DELETE FROM parent WHERE id <= 1100;
SELECT count(*), contents('looks_up') FROM looks_up;
UPDATE child SET x = x + 1;
SELECT count(*), contents('looks_up') FROM looks_up;
SELECT mode, contents('wider') FROM matview.refresh_incremental('wider');

-- Partitions, whose rows come in other columns
SELECT matview.set_auto_refresh(v, 'off') FROM unnest('{sums,everything,rows,extremes}'::regclass[]) v;
CREATE TABLE p (a int, b text, c int) PARTITION BY LIST (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (c int, dropped int, b text, a int);
ALTER TABLE p2 DROP COLUMN dropped;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
CREATE MATERIALIZED VIEW of_p AS SELECT b, count(*) AS n, sum(c) AS s FROM p GROUP BY b;
SELECT matview.set_auto_refresh('of_p', 'on_statement');
INSERT INTO p SELECT 1 + i % 2, 'b' || i % 5, i FROM generate_series(1, 3000) i;
SELECT count(*), contents('of_p') FROM of_p;
UPDATE p SET a = 3 - a, c = c + 1;
SELECT count(*), contents('of_p') FROM of_p;
UPDATE p2 SET b = 'other' WHERE c % 2 = 0;
SELECT count(*), contents('of_p') FROM of_p;
DELETE FROM p1;
SELECT count(*), contents('of_p') FROM of_p;

SET client_min_messages = warning;
DROP SCHEMA in_place CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
