-- A refresh joins rows as they are with rows as they were.  An expression that
-- fails for such a pair alone ends in a recomputation, not in an error.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA mixed_states;
SET search_path = mixed_states, test;
CREATE TABLE a (id int PRIMARY KEY, k int, v int);
CREATE TABLE b (k int PRIMARY KEY, v int);
INSERT INTO a VALUES (1, 1, 10), (2, 1, 20);
INSERT INTO b VALUES (1, 5), (2, 0), (3, 7);
CREATE MATERIALIZED VIEW joined AS SELECT a.id, a.v / b.v AS x FROM a JOIN b USING (k);
CREATE MATERIALIZED VIEW grouped AS SELECT k, sum(a.v / b.v) AS x FROM a JOIN b USING (k) GROUP BY k;
CALL steps();
-- No row ever met the 0, before or after
UPDATE a SET k = 2 WHERE id = 1;
UPDATE b SET v = 4 WHERE k = 2;
CALL steps();
UPDATE a SET k = 1 WHERE id = 1;
UPDATE b SET v = 0 WHERE k = 2;
CALL steps();
-- On from there
UPDATE a SET v = 30, k = 3 WHERE id = 2;
CALL steps();
-- The query itself fails: so does the refresh, and the view stays as it was
UPDATE a SET k = 2 WHERE id = 2;
UPDATE b SET v = v WHERE k = 1;
TABLE joined ORDER BY id;
SELECT matview.refresh_incremental('joined');
TABLE joined ORDER BY id;
UPDATE a SET k = 1 WHERE id = 2;
CALL steps();

-- The same at a COMMIT, which core with assertions expects no rollback in
SELECT matview.set_auto_refresh('joined', 'on_commit');
BEGIN;
UPDATE a SET k = 2 WHERE id = 1;
UPDATE b SET v = 4 WHERE k = 2;
COMMIT;
SELECT contents('joined');
BEGIN;
UPDATE a SET k = 1 WHERE id = 1;
UPDATE b SET v = 0 WHERE k = 2;
COMMIT;
SELECT contents('joined');

DROP SCHEMA mixed_states CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
