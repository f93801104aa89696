-- Every change is applied once to each view: several views over one table that
-- are refreshed at different times; writes and refreshes in one transaction;
-- savepoints; REPEATABLE READ.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA frontier;
SET search_path = frontier, test;
CREATE TABLE t (id int PRIMARY KEY, k int, v int);
CREATE TABLE u (id int PRIMARY KEY, w int);
INSERT INTO t SELECT g, g % 4, g FROM generate_series(1, 20) g;
INSERT INTO u SELECT g, g FROM generate_series(1, 4) g;
CREATE MATERIALIZED VIEW fast AS SELECT k, count(*), sum(v) FROM t GROUP BY k;
CREATE MATERIALIZED VIEW slow AS SELECT k, count(*), sum(v) FROM t GROUP BY k;
CREATE MATERIALIZED VIEW rows_slow AS SELECT k, v FROM t;
CREATE MATERIALIZED VIEW joined AS SELECT t.id, t.v, u.w FROM t JOIN u ON u.id = t.k;
CALL steps();
CREATE FUNCTION log_rows(base regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s', (SELECT log::regclass FROM matview.change_logs l WHERE l.base = $1)) INTO n;
  RETURN n;
END $$;

-- Different frontiers over one log
INSERT INTO t VALUES (101, 1, 1);
SELECT * FROM step('fast');
INSERT INTO t VALUES (102, 1, 1);
SELECT * FROM step('fast');
SELECT view, pending_changes FROM matview.views ORDER BY view::text;
SELECT * FROM step('slow');
UPDATE t SET v = v + 1 WHERE id > 100;
SELECT * FROM step('fast');
DELETE FROM t WHERE id = 101;
SELECT * FROM step('slow');
SELECT * FROM step('fast');
SELECT log_rows('t') > 0 AS kept_for_others;
CALL steps();
CALL steps();
SELECT view, next_refresh, pending_changes FROM matview.views ORDER BY view::text;
-- What all have consumed is trimmed
INSERT INTO t VALUES (103, 1, 1);
CALL steps();
INSERT INTO t VALUES (104, 1, 1);
CALL steps();
SELECT log_rows('t') <= 2 AS trimmed;

-- Write, refresh, write, refresh in one transaction
BEGIN;
INSERT INTO t VALUES (201, 1, 10);
SELECT * FROM step('fast');
SELECT * FROM step('fast');
INSERT INTO t VALUES (202, 1, 10);
UPDATE t SET v = 11 WHERE id = 201;
SELECT * FROM step('fast');
SELECT * FROM step('rows_slow');
DELETE FROM t WHERE id = 202;
SELECT * FROM step('fast');
SELECT * FROM step('slow');
SELECT * FROM step('rows_slow');
SELECT * FROM step('joined');
INSERT INTO t VALUES (203, 1, 10);
COMMIT;
CALL steps();
-- The same, and the last refresh is the last thing done
BEGIN;
INSERT INTO t VALUES (204, 2, 10);
SELECT * FROM step('fast');
INSERT INTO t VALUES (205, 2, 10);
SELECT * FROM step('fast');
COMMIT;
CALL steps();
-- The transaction is rolled back: the frontier goes back with it
BEGIN;
INSERT INTO t VALUES (206, 2, 10);
SELECT * FROM step('fast');
INSERT INTO t VALUES (207, 2, 10);
SELECT * FROM step('fast');
ROLLBACK;
SELECT contents('fast');
CALL steps();
INSERT INTO t VALUES (208, 2, 10);
BEGIN;
SELECT * FROM step('fast');
ROLLBACK;
CALL steps();

-- Savepoints
BEGIN;
INSERT INTO t VALUES (301, 1, 1);
SAVEPOINT a;
INSERT INTO t VALUES (302, 1, 1);
SELECT * FROM step('fast');
SAVEPOINT b;
UPDATE t SET v = 100 WHERE id = 301;
SELECT * FROM step('fast');
SELECT * FROM step('slow');
ROLLBACK TO b;
SELECT contents('fast') AS fast, contents('slow') = 'right' AS slow_still;
UPDATE t SET v = 200 WHERE id = 301;
SELECT * FROM step('fast');
ROLLBACK TO a;
SELECT * FROM step('fast');
INSERT INTO t VALUES (303, 1, 1);
RELEASE a;
SELECT * FROM step('fast');
COMMIT;
CALL steps();
-- A refresh in a subtransaction that fails
DO $$
BEGIN
    INSERT INTO t VALUES (304, 3, 1);
    BEGIN
        INSERT INTO t VALUES (305, 3, 1);
        PERFORM matview.refresh_incremental('fast');
        RAISE 'undone';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
    PERFORM matview.refresh_incremental('fast');
    INSERT INTO t VALUES (306, 3, 1);
    PERFORM matview.refresh_incremental('fast');
    PERFORM matview.refresh_incremental('rows_slow');
END $$;
CALL steps();
-- Many subtransactions write in one transaction
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        BEGIN
            INSERT INTO t VALUES (1000 + i, i % 5, i);
            IF i % 3 = 0 THEN RAISE 'undone'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
        IF i % 20 = 0 THEN PERFORM matview.refresh_incremental('fast'); END IF;
    END LOOP;
END $$;
CALL steps();

-- Tracking begins in a transaction that has written, and goes on writing
BEGIN;
INSERT INTO t VALUES (401, 1, 1);
CREATE MATERIALIZED VIEW young AS SELECT v, count(*) FROM t GROUP BY v;
INSERT INTO t VALUES (402, 1, 1);
SELECT * FROM step('young');
INSERT INTO t VALUES (403, 1, 1);
SELECT * FROM step('young');
INSERT INTO t VALUES (404, 1, 1);
COMMIT;
CALL steps();
-- ... in a subtransaction that is rolled back
BEGIN;
CREATE TABLE newborn (id int);
INSERT INTO newborn VALUES (1);
CREATE MATERIALIZED VIEW baby AS SELECT id FROM newborn;
SAVEPOINT a;
SELECT * FROM step('baby');
ROLLBACK TO a;
INSERT INTO newborn VALUES (2);
SELECT * FROM step('baby');
INSERT INTO newborn VALUES (3);
COMMIT;
CALL steps();

-- A refresh from within a function that writes: before, and in the same command
CREATE FUNCTION write_and_refresh(int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO t VALUES ($1, 1, 1);
    PERFORM matview.refresh_incremental('fast');
    INSERT INTO t VALUES ($1 + 1, 1, 1);
    RETURN test.contents('slow') <> 'right';
END $$;
SELECT write_and_refresh(501), write_and_refresh(503);
CALL steps();
-- ... and from a trigger of the statement that writes
CREATE FUNCTION refresh_now() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM matview.refresh_incremental('fast'); RETURN NULL; END $$;
CREATE TRIGGER a_refresh_after AFTER INSERT ON t EXECUTE FUNCTION refresh_now();
INSERT INTO t VALUES (601, 1, 1), (602, 1, 1);
SELECT contents('fast');
INSERT INTO t VALUES (603, 1, 1);
SELECT contents('fast');
DROP TRIGGER a_refresh_after ON t;
CREATE TRIGGER z_refresh_each AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION refresh_now();
INSERT INTO t VALUES (604, 1, 1), (605, 1, 1);
SELECT contents('fast');
DROP TRIGGER z_refresh_each ON t;
CREATE TRIGGER b_refresh_before BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refresh_now();
INSERT INTO t VALUES (606, 1, 1), (607, 1, 1);
SELECT step('fast');
DROP TRIGGER b_refresh_before ON t;
CALL steps();
-- ... and from the statement itself
INSERT INTO t SELECT 608, 1, r.changes FROM matview.refresh_incremental('fast') r;
WITH w AS (INSERT INTO t VALUES (609, 1, 1) RETURNING id) SELECT w.id, r.mode FROM w, matview.refresh_incremental('fast') r;
CALL steps();

-- REPEATABLE READ, alone
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO t VALUES (701, 1, 1);
SELECT * FROM step('fast');
INSERT INTO t VALUES (702, 1, 1);
SELECT * FROM step('fast');
SELECT * FROM step('slow');
INSERT INTO t VALUES (703, 1, 1);
COMMIT;
CALL steps();
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE t SET v = v + 1 WHERE id > 600;
SELECT * FROM step('fast');
COMMIT;
CALL steps();
-- Tracking begins in REPEATABLE READ
CREATE MATERIALIZED VIEW late AS SELECT v FROM t;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO t VALUES (704, 1, 1);
SELECT * FROM step('late');
INSERT INTO t VALUES (705, 1, 1);
SELECT * FROM step('late');
COMMIT;
CALL steps();
INSERT INTO t VALUES (706, 1, 1);
CALL steps();

-- A view that was untracked, and is tracked again
SELECT matview.untrack('slow');
INSERT INTO t VALUES (801, 1, 1);
SELECT * FROM step('fast');
SELECT contents('slow') = 'right' AS slow_is_right;
CALL steps();
-- A view left behind too long is recomputed, rather than that the log grows
SET matview.max_log_size = 8;
INSERT INTO t SELECT g, 1, 1 FROM generate_series(2000, 3000) g;
SELECT * FROM step('fast');
UPDATE t SET v = v + 1 WHERE id >= 2000;
SELECT * FROM step('fast');
SELECT view, next_refresh FROM matview.views ORDER BY view::text;
CALL steps();
RESET matview.max_log_size;
INSERT INTO t VALUES (802, 1, 1);
CALL steps();

DROP SCHEMA frontier CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
