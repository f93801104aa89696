-- What a COMMIT does for live views is ended by statement_timeout
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_timeout;
SET search_path = live_timeout, test;
\set SHOW_CONTEXT never

-- takes long for some rows only
CREATE FUNCTION slow(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF x >= 100 THEN PERFORM pg_sleep(60); END IF;
  RETURN x;
END $$;
CREATE TABLE t (id int PRIMARY KEY, x int);
INSERT INTO t SELECT g, g FROM generate_series(1, 9) g;
CREATE MATERIALIZED VIEW v AS SELECT slow(x) AS x, count(*) AS n FROM t GROUP BY 1;
SELECT matview.set_auto_refresh('v', 'on_commit');
SET statement_timeout = '1s';

-- COMMIT, the commit of a single statement, PREPARE, a procedure
\set VERBOSITY sqlstate
BEGIN;
INSERT INTO t VALUES (10, 1);
INSERT INTO t VALUES (11, 100);
COMMIT;
INSERT INTO t VALUES (12, 100);
BEGIN;
INSERT INTO t VALUES (13, 100);
PREPARE TRANSACTION 'live_timeout';
CREATE PROCEDURE p() LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO t VALUES (14, 2);
  COMMIT;
  INSERT INTO t VALUES (15, 100);
  COMMIT;
END $$;
CALL p();
\set VERBOSITY default
SELECT id FROM t WHERE id > 9;
SELECT contents('v');

-- what comes after a COMMIT that was in time is not ended
INSERT INTO t VALUES (16, 3);
RESET statement_timeout;
SELECT FROM pg_sleep(1.5);
INSERT INTO t VALUES (17, 3);
SELECT contents('v');

DROP SCHEMA live_timeout CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
