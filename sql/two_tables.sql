-- Joins of which two or three tables have changed since the last refresh.
-- Their deltas hold rows that come and go in between and were never in the
-- view; a view with a unique index must not take one of them for a row of its.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA two_tables;
SET search_path = two_tables, test;

CREATE TABLE a (id int PRIMARY KEY, k int, v int, s text);
CREATE TABLE b (k int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, m int, w int, s text);
CREATE TABLE c (m int PRIMARY KEY, x int, s text);
INSERT INTO a SELECT g, g % 7, g, 'a' || g FROM generate_series(1, 60) g;
INSERT INTO b SELECT g, g % 3, g, 'b' || g FROM generate_series(0, 6) g;
INSERT INTO c SELECT g, g, 'c' || g FROM generate_series(0, 2) g;

CREATE MATERIALIZED VIEW by_id AS SELECT a.id, a.v, b.w, b.s FROM a JOIN b USING (k);
CREATE UNIQUE INDEX ON by_id (id);
CREATE MATERIALIZED VIEW by_both AS SELECT a.id, b.k, a.v + b.w AS vw FROM a JOIN b USING (k);
CREATE UNIQUE INDEX ON by_both (id, k);
CREATE MATERIALIZED VIEW by_two_indexes AS SELECT a.id, -a.id AS neg, a.v, b.w FROM a JOIN b USING (k);
CREATE UNIQUE INDEX ON by_two_indexes (id);
CREATE UNIQUE INDEX ON by_two_indexes (neg);
CREATE MATERIALIZED VIEW by_text AS SELECT a.id::text AS id, b.s FROM a JOIN b USING (k);
CREATE UNIQUE INDEX ON by_text (id);
CREATE MATERIALIZED VIEW chain AS SELECT a.id, a.v, b.w, c.x, c.s FROM a JOIN b USING (k) JOIN c USING (m);
CREATE UNIQUE INDEX ON chain (id);
CREATE MATERIALIZED VIEW chain_filtered AS
  SELECT a.id, a.v, b.w, c.x FROM a JOIN b USING (k) JOIN c USING (m) WHERE a.v + b.w + c.x > 20;
CREATE UNIQUE INDEX ON chain_filtered (id);
CREATE MATERIALIZED VIEW chain_hash AS SELECT a.v % 5 AS v, b.w, c.x FROM a JOIN b USING (k) JOIN c USING (m);
CREATE MATERIALIZED VIEW self AS SELECT p.id, p.v, q.v AS qv FROM a p JOIN a q ON q.id = p.v;
CREATE UNIQUE INDEX ON self (id);
CREATE MATERIALIZED VIEW pairs AS SELECT b.k, c.m, b.w, c.x FROM b CROSS JOIN c;
CREATE UNIQUE INDEX ON pairs (k, m);
CREATE MATERIALIZED VIEW grouped AS
  SELECT c.m, count(*), sum(a.v * b.w) AS vw, max(a.v) AS v, string_agg(a.s || b.s || c.s, ' ' ORDER BY a.id) AS s
  FROM a JOIN b USING (k) JOIN c USING (m) GROUP BY c.m;
CREATE UNIQUE INDEX ON grouped (m);
CREATE MATERIALIZED VIEW branches AS
  SELECT 1 AS n, a.id, a.v + b.w AS v FROM a JOIN b USING (k)
  UNION ALL SELECT 2, a.id, b.w FROM a JOIN b ON b.k = a.v % 7;
CREATE UNIQUE INDEX ON branches (n, id);
CALL steps();

-- Both sides of the same joined rows
UPDATE a SET v = v + 1 WHERE id <= 10;
UPDATE b SET w = w + 100 WHERE k < 3;
CALL steps();
-- ... of one single row
UPDATE a SET v = v + 1 WHERE id = 1;
UPDATE b SET w = w + 1 WHERE k = 1;
CALL steps();
-- ... again and again, and in turns
UPDATE b SET w = w - 1 WHERE k = 2;
UPDATE a SET v = v - 1 WHERE id = 2;
UPDATE b SET w = w + 5 WHERE k = 2;
UPDATE a SET v = v + 7 WHERE id = 2;
UPDATE a SET v = v + 7 WHERE id = 2;
CALL steps();
-- ... in one transaction, with a part of it undone
BEGIN;
UPDATE a SET v = v + 1 WHERE k = 3;
SAVEPOINT p;
UPDATE b SET w = w + 9 WHERE k = 3;
UPDATE a SET k = 4 WHERE id = 3;
ROLLBACK TO p;
UPDATE b SET s = s || '!' WHERE k = 3;
COMMIT;
CALL steps();
-- ... by one statement
WITH u AS (UPDATE a SET v = v + 2 WHERE k = 5 RETURNING 1),
     x AS (UPDATE c SET x = x + 10 RETURNING 1)
UPDATE b SET w = w + 3 WHERE k IN (4, 5);
CALL steps();
-- ... and back: nothing of the view has changed
UPDATE a SET v = v + 1;
UPDATE b SET w = w + 1;
UPDATE a SET v = v - 1;
UPDATE b SET w = w - 1;
CALL steps();
-- Sums that stay as they are while both sides change
UPDATE a SET v = v + 1 WHERE k = 6;
UPDATE b SET w = w - 1 WHERE k = 6;
CALL steps();

-- The row joins another one, and that one changes as well
UPDATE a SET k = (k + 1) % 7 WHERE id % 2 = 0;
UPDATE b SET w = w + 1000;
CALL steps();
UPDATE a SET k = (k + 1) % 7;
UPDATE b SET m = (m + 1) % 3;
UPDATE c SET x = x * 2 + 1;
CALL steps();
-- Keys exchanged on the other side: what a row joins changes under it
UPDATE b SET k = 6 - k;
CALL steps();
UPDATE b SET k = 6 - k;
UPDATE a SET k = 6 - k;
CALL steps();
UPDATE b SET k = (k + 1) % 7;
UPDATE a SET k = (k + 6) % 7, v = v + 1;
CALL steps();
-- Keys of the view move, in a ring, while the other side changes
CREATE TABLE ring AS SELECT id, k, v, s FROM a;
BEGIN;
DELETE FROM a;
INSERT INTO a SELECT 1 + id % 60, k, v, s FROM ring;
UPDATE b SET w = w + 1 WHERE k % 2 = 0;
COMMIT;
CALL steps();
UPDATE a SET id = id + 1000 WHERE id <= 5;
UPDATE b SET w = w + 1;
UPDATE a SET id = id - 1000 WHERE id IN (1001, 1002);
UPDATE b SET w = w + 1 WHERE k = 0;
CALL steps();

-- Deleted on one side, changed on the other
DELETE FROM a WHERE id = 20;
UPDATE b SET w = w + 1;
CALL steps();
DELETE FROM b WHERE k = 3;
UPDATE a SET v = v + 1;
CALL steps();
INSERT INTO b VALUES (3, 1, 33, 'three again');
UPDATE a SET v = v + 1 WHERE k = 3;
INSERT INTO a VALUES (20, 3, 20, 'twenty again');
CALL steps();
-- Deleted and inserted, on both sides
DELETE FROM b WHERE k IN (1, 2);
DELETE FROM a WHERE id % 3 = 0;
INSERT INTO b VALUES (1, 2, 111, 'x1'), (2, 0, 222, 'x2');
INSERT INTO a SELECT g, g % 7, -g, 'again' FROM generate_series(3, 60, 3) g ON CONFLICT DO NOTHING;
CALL steps();
-- Inserted on both sides, and gone again
INSERT INTO a VALUES (500, 50, 1, 'a500'), (501, 50, 2, 'a501');
INSERT INTO b VALUES (50, 0, 1, 'b50');
DELETE FROM a WHERE id = 501;
UPDATE b SET w = 2 WHERE k = 50;
CALL steps();
INSERT INTO a VALUES (502, 51, 1, 'a502');
INSERT INTO b VALUES (51, 0, 1, 'b51');
DELETE FROM b WHERE k = 51;
CALL steps();

-- The chain: its ends, its middle, all of it
UPDATE a SET v = v + 1 WHERE id < 10;
UPDATE c SET x = x + 1 WHERE m = 0;
CALL steps();
UPDATE b SET m = (m + 1) % 3 WHERE k < 4;
UPDATE c SET x = x + 1;
CALL steps();
UPDATE a SET k = (k + 2) % 7 WHERE id < 30;
UPDATE b SET m = (m + 2) % 3;
UPDATE c SET x = -x, s = s || '.';
UPDATE a SET v = v + 1 WHERE id BETWEEN 20 AND 40;
UPDATE b SET w = w + 1 WHERE k IN (0, 4);
CALL steps();
DELETE FROM c WHERE m = 1;
UPDATE b SET m = 0 WHERE m = 1 AND k < 5;
UPDATE a SET v = v + 50;
INSERT INTO c VALUES (1, 77, 'new c');
CALL steps();
-- Values that look like the ones before: the same joined row over another way
UPDATE b SET w = 5, s = 's', m = 0;
UPDATE c SET x = 1, s = 'c';
CALL steps();
UPDATE a SET k = (k + 1) % 7;
UPDATE b SET m = (m + 1) % 3;
CALL steps();
UPDATE a SET k = (k + 1) % 7, v = v + 1 WHERE id % 2 = 1;
UPDATE b SET w = 6 WHERE k % 2 = 1;
UPDATE c SET x = 2 WHERE m = 2;
CALL steps();

-- The unique index is made when the view is already tracked; another goes
DROP INDEX chain_id_idx;
CREATE UNIQUE INDEX ON chain (id, w);
UPDATE a SET v = v + 1 WHERE id < 9;
UPDATE b SET w = w + 1;
UPDATE c SET x = x + 1;
CALL steps();

-- Random changes of all three, many between two refreshes
SELECT setseed(0.25);
CREATE PROCEDURE churn() LANGUAGE plpgsql AS $$
DECLARE
    r int;
    n int;
BEGIN
    FOR i IN 1 .. 25 LOOP
        r := floor(random() * 60);
        n := floor(random() * 8);
        CASE floor(random() * 7)::int
            WHEN 0 THEN UPDATE a SET v = v + 1 WHERE id % 11 = r % 11;
            WHEN 1 THEN UPDATE a SET k = n WHERE id % 5 = r % 5;
            WHEN 2 THEN UPDATE b SET w = n % 4 WHERE k = r % 7;
            WHEN 3 THEN UPDATE b SET m = n % 4 WHERE k = r % 7;
            WHEN 4 THEN UPDATE c SET x = n % 4 WHERE m = r % 3;
            WHEN 5 THEN DELETE FROM a WHERE id = r;
            ELSE INSERT INTO a SELECT g, g % 7, g, 'n' FROM generate_series(1, 60) g WHERE g % 9 = r % 9
                 ON CONFLICT (id) DO UPDATE SET k = (a.k + 1) % 7;
        END CASE;
    END LOOP;
END $$;
CALL churn();
CALL steps();
CALL churn();
CALL steps();
CALL churn();
CALL steps();
CALL churn();
CALL steps();
CALL churn();
CALL steps();
CALL churn();
CALL steps();
SELECT view, count(*) FILTER (WHERE mode = 'incremental') > 20 AS incremental,
       string_agg(DISTINCT reason, ', ') AS reasons
  FROM matview.history GROUP BY view ORDER BY view::text;

DROP SCHEMA two_tables CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
