-- NOT IN, op ALL and IN within OR, with NULLs on either side, that come and go.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA not_ins;
SET search_path = not_ins, test;

CREATE TABLE a (id int PRIMARY KEY, x int, y int NOT NULL, v varchar(5));
CREATE TABLE b (id int PRIMARY KEY, k int, n int NOT NULL, v varchar(5));
INSERT INTO a SELECT g, g, g, 'v' || g % 5 FROM generate_series(1, 12) g;
INSERT INTO b SELECT g, g * 2, g * 2, 'v' || g % 3 FROM generate_series(1, 6) g;

-- Neither side, either, both can be NULL
CREATE MATERIALIZED VIEW never AS SELECT id FROM a WHERE y NOT IN (SELECT n FROM b);
CREATE MATERIALIZED VIEW left_null AS SELECT id FROM a WHERE x NOT IN (SELECT n FROM b);
CREATE MATERIALIZED VIEW right_null AS SELECT id FROM a WHERE y NOT IN (SELECT k FROM b);
CREATE MATERIALIZED VIEW both_null AS SELECT id FROM a WHERE x NOT IN (SELECT k FROM b);
CREATE MATERIALIZED VIEW no_null_said AS
  SELECT id FROM a WHERE x IS NOT NULL AND x NOT IN (SELECT k FROM b WHERE k IS NOT NULL);
CREATE MATERIALIZED VIEW no_null_meant AS SELECT id FROM a WHERE x > 2 AND x NOT IN (SELECT k FROM b WHERE k > 2);
CREATE MATERIALIZED VIEW dependent AS SELECT id FROM a WHERE x NOT IN (SELECT k FROM b WHERE b.v = a.v);
CREATE MATERIALIZED VIEW expressions AS SELECT id FROM a WHERE x + 1 NOT IN (SELECT k - 1 FROM b);
CREATE MATERIALIZED VIEW casts AS SELECT id FROM a WHERE v NOT IN (SELECT v FROM b WHERE n > 4);
CREATE MATERIALIZED VIEW constants AS SELECT id FROM a WHERE 6 NOT IN (SELECT k FROM b) OR id > 9;
-- Made NULL by an outer join
CREATE MATERIALIZED VIEW outer_left AS
  SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.n = a.y WHERE b.n NOT IN (SELECT n - 4 FROM b);
CREATE MATERIALIZED VIEW outer_right AS
  SELECT id FROM a WHERE y NOT IN (SELECT b.n FROM a a2 LEFT JOIN b ON b.n = a2.y AND a2.x > 3);
-- Several columns
CREATE MATERIALIZED VIEW row_never AS SELECT id FROM a WHERE (y, id) NOT IN (SELECT n, n FROM b);
CREATE MATERIALIZED VIEW row_some AS SELECT id FROM a WHERE (x, id) NOT IN (SELECT n, k FROM b);
CREATE MATERIALIZED VIEW row_all AS SELECT id FROM a WHERE (x, y) <> ALL (SELECT k, n FROM b);
CREATE MATERIALIZED VIEW row_less AS SELECT id FROM a WHERE NOT (x, y) < ANY (SELECT k - 8, n FROM b);
-- Other operators
CREATE MATERIALIZED VIEW greater_all AS SELECT id FROM a WHERE x > ALL (SELECT k - 5 FROM b WHERE id < 6);
CREATE MATERIALIZED VIEW equal_all AS SELECT id FROM a WHERE y = ALL (SELECT k FROM b WHERE b.k >= a.x AND b.id < 3);
CREATE MATERIALIZED VIEW not_all AS SELECT id FROM a WHERE NOT (x >= ALL (SELECT k FROM b));
CREATE MATERIALIZED VIEW not_less_any AS SELECT id FROM a WHERE NOT (x < ANY (SELECT k - 6 FROM b));
CREATE MATERIALIZED VIEW like_any AS SELECT id FROM a WHERE NOT (v LIKE ANY (SELECT v FROM b WHERE n > 6));
-- Within OR, and below it
CREATE MATERIALIZED VIEW or_in AS SELECT id FROM a WHERE id > 10 OR x IN (SELECT k FROM b);
CREATE MATERIALIZED VIEW or_not_in AS
  SELECT id FROM a WHERE id > 10 OR (x NOT IN (SELECT k FROM b) AND y NOT IN (SELECT id FROM b));
CREATE MATERIALIZED VIEW not_or AS SELECT id FROM a WHERE NOT (id > 10 OR x IN (SELECT k FROM b));
-- Subqueries that are more than a join
CREATE MATERIALIZED VIEW of_groups AS SELECT id FROM a WHERE x NOT IN (SELECT k FROM b GROUP BY k HAVING count(*) > 0);
CREATE MATERIALIZED VIEW of_distinct AS SELECT id FROM a WHERE x NOT IN (SELECT DISTINCT k FROM b WHERE b.id < a.y);
CREATE MATERIALIZED VIEW of_union AS SELECT id FROM a WHERE x NOT IN (SELECT k FROM b UNION ALL SELECT id FROM b);
CREATE MATERIALIZED VIEW of_limit AS SELECT id FROM a WHERE x NOT IN (SELECT k FROM b WHERE b.id < a.y ORDER BY k LIMIT 2);
CREATE MATERIALIZED VIEW of_nothing AS SELECT id FROM a WHERE x NOT IN (SELECT a.y + 1);
CREATE MATERIALIZED VIEW nested AS
  SELECT id FROM a WHERE x NOT IN (SELECT k FROM b WHERE n NOT IN (SELECT x FROM a a2 WHERE a2.id > 6));
CREATE MATERIALIZED VIEW over_groups AS
  SELECT v, count(*) FROM a GROUP BY v HAVING count(*) NOT IN (SELECT k FROM b);
CREATE MATERIALIZED VIEW nested_deep AS
  SELECT id, x NOT IN (SELECT k FROM b WHERE k NOT IN (SELECT x FROM a a2 WHERE x NOT IN (SELECT k FROM b b2 WHERE k NOT IN (SELECT x FROM a a3 WHERE x NOT IN (SELECT k FROM b b3))))) AS n FROM a;
-- Values: NULL and false are two
CREATE MATERIALIZED VIEW shown AS SELECT id, x NOT IN (SELECT k FROM b) AS n, x > ALL (SELECT k FROM b) AS g FROM a;
CREATE MATERIALIZED VIEW shown_never_null AS
  SELECT id, y IN (SELECT n FROM b) AS i, y < ALL (SELECT n FROM b WHERE b.v = a.v) AS l, (y, id) IN (SELECT n, id * 2 FROM b) AS r FROM a;
CREATE MATERIALIZED VIEW shown_rows AS
  SELECT id, (x, y) IN (SELECT k, n FROM b) AS one, (x, v) IN (SELECT k, v FROM b) AS both, NOT (x, y) < ANY (SELECT k - 4, n FROM b) AS less FROM a;
CREATE MATERIALIZED VIEW shown_depth AS
  SELECT id, CASE WHEN x IN (SELECT k FROM b) THEN 'in' WHEN NOT x IN (SELECT k FROM b WHERE b.v = a.v) THEN 'not' ELSE '?' END AS c,
         coalesce(x = ANY (SELECT n FROM b WHERE b.k IN (SELECT x FROM a a2)), true) AS d
    FROM a;
CREATE MATERIALIZED VIEW shown_counts AS
  SELECT v, count(*) FILTER (WHERE x IN (SELECT k FROM b)) AS f, count(x NOT IN (SELECT k FROM b)) AS n FROM a GROUP BY v;
CREATE MATERIALIZED VIEW shown_groups AS SELECT x IN (SELECT k FROM b) AS i, count(*) FROM a GROUP BY 1;
CREATE MATERIALIZED VIEW unknown AS
  SELECT id FROM a WHERE (x NOT IN (SELECT k FROM b)) IS UNKNOWN OR (x = ALL (SELECT k FROM b WHERE b.id = a.id)) IS NOT TRUE;
-- What only the level itself can compute
CREATE MATERIALIZED VIEW of_window AS
  SELECT id, rank() OVER (ORDER BY y) IN (SELECT k FROM b) AS r, row_number() OVER (PARTITION BY v ORDER BY id) > ALL (SELECT n - 10 FROM b WHERE b.v = a.v) AS p FROM a;
CREATE MATERIALIZED VIEW of_aggregate AS
  SELECT v, count(*) IN (SELECT k FROM b) AS c, max(x) NOT IN (SELECT k FROM b WHERE b.v = a.v) AS m FROM a GROUP BY v;
CREATE MATERIALIZED VIEW of_limited AS SELECT id, x IN (SELECT k FROM b) AS i FROM a ORDER BY x IN (SELECT k FROM b), id LIMIT 4;
CREATE MATERIALIZED VIEW of_distinct_on AS SELECT DISTINCT ON (x IN (SELECT k FROM b)) id, v FROM a ORDER BY x IN (SELECT k FROM b), id;
-- In the condition of an outer join, about the left side, the right one, both, neither
CREATE MATERIALIZED VIEW on_left AS SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.k = a.x AND a.x NOT IN (SELECT n - 2 FROM b b2);
CREATE MATERIALIZED VIEW on_left_null AS SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.n = a.y AND a.x NOT IN (SELECT k - 2 FROM b b2);
CREATE MATERIALIZED VIEW on_right AS SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.n = a.y AND b.k NOT IN (SELECT x FROM a a2 WHERE a2.id > 6);
CREATE MATERIALIZED VIEW on_both AS
  SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.n >= a.y AND EXISTS (SELECT FROM b b2 WHERE b2.k = b.id AND b2.n <> a.x);
CREATE MATERIALIZED VIEW on_neither AS SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.n = a.y AND EXISTS (SELECT FROM b b2 WHERE b2.k = 7);
CREATE MATERIALIZED VIEW on_two AS
  SELECT a.id, b.id AS bid, c.id AS cid FROM a LEFT JOIN b ON b.n = a.y AND EXISTS (SELECT FROM b b2 WHERE b2.n = a.x)
    LEFT JOIN b c ON c.k = a.x AND (SELECT max(b2.k) FROM b b2 WHERE b2.n < b.n) > 3;
CREATE MATERIALIZED VIEW on_nested AS
  SELECT a.id, b.id AS bid, c.id AS cid
    FROM a LEFT JOIN (b LEFT JOIN a c ON c.x = b.k AND b.n NOT IN (SELECT y FROM a a2 WHERE a2.id > 6)) ON b.n = a.y AND c.v IN (SELECT v FROM b b2);
CREATE MATERIALIZED VIEW on_inner AS
  SELECT a.id, b.id AS bid, c.id AS cid FROM a LEFT JOIN (b JOIN a c ON c.x = b.k AND b.n NOT IN (SELECT x FROM a a2 WHERE a2.id > 9)) ON b.n = a.y;
CREATE MATERIALIZED VIEW on_full AS SELECT a.id, b.id AS bid FROM a FULL JOIN b ON b.n = a.y AND b.n > 6;
CREATE MATERIALIZED VIEW on_counted AS
  SELECT a.v, count(b.id) AS n FROM a LEFT JOIN b ON b.n = a.y AND EXISTS (SELECT FROM b b2 WHERE b2.v = a.v AND b2.n > b.n) GROUP BY a.v;
CALL steps();

INSERT INTO b VALUES (10, 7, 7, 'v4'), (11, 1, 1, 'v1');
DELETE FROM b WHERE id = 2;
UPDATE a SET x = 4, y = 4 WHERE id = 8;
CALL steps();
INSERT INTO b VALUES (20, NULL, 20, NULL);
CALL steps();
UPDATE a SET x = NULL, v = NULL WHERE id IN (3, 4);
DELETE FROM b WHERE id = 10;
CALL steps();
UPDATE b SET k = NULL WHERE id = 3;
DELETE FROM b WHERE id = 20;
INSERT INTO a VALUES (30, NULL, 30, NULL), (31, 31, 31, 'v9');
CALL steps();
UPDATE b SET k = n;
UPDATE a SET x = 2 WHERE id = 30;
CALL steps();
-- Nothing is among no rows
DELETE FROM b;
CALL steps();
INSERT INTO b VALUES (1, NULL, 1, NULL);
CALL steps();
-- A proof that did not hold for the old rows
DELETE FROM b WHERE k IS NULL;
INSERT INTO b VALUES (2, 2, 2, 'v2');
ALTER TABLE b ALTER k SET NOT NULL;
UPDATE a SET x = id;
ALTER TABLE a ALTER x SET NOT NULL;
CALL steps();
ALTER TABLE b ALTER k DROP NOT NULL;
INSERT INTO b VALUES (3, NULL, 3, 'v3');
CALL steps();
-- From 18 on a constraint can become valid, and nothing else change
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        EXECUTE 'ALTER TABLE b ADD CONSTRAINT filled NOT NULL k NOT VALID';
    END IF;
END $$;
SELECT contents FROM step('right_null');
DELETE FROM b WHERE k IS NULL;
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        EXECUTE 'ALTER TABLE b VALIDATE CONSTRAINT filled';
    END IF;
END $$;
SELECT contents FROM step('right_null');

-- An array has the order of its query, whatever it depends on
CREATE MATERIALIZED VIEW ordered AS
  SELECT id, ARRAY(SELECT n FROM b ORDER BY n DESC) AS d, ARRAY(SELECT n FROM b ORDER BY n DESC LIMIT 2) AS l FROM a;
CREATE MATERIALIZED VIEW ordered_below AS
  SELECT id, ARRAY(SELECT n FROM (SELECT n FROM b ORDER BY n DESC) s) AS d FROM a WHERE id < 3;
INSERT INTO b SELECT g, g, g FROM generate_series(4, 9) g;
SELECT done, contents FROM step('ordered');
SELECT done, contents FROM step('ordered_below');
INSERT INTO b VALUES (15, 15, 15), (0, 0, 0);
SELECT done, contents FROM step('ordered');
SELECT done, contents FROM step('ordered_below');
DELETE FROM b WHERE n IN (15, 7);
SELECT done, contents FROM step('ordered');
SELECT done, contents FROM step('ordered_below');

-- Where no NULL has changed, a few changes are worth it
CREATE TABLE big_a AS SELECT g AS id, g AS x FROM generate_series(1, 20000) g;
CREATE TABLE big_b AS SELECT g AS id, g * 2 AS k FROM generate_series(1, 20000) g;
ALTER TABLE big_a ADD PRIMARY KEY (id);
ALTER TABLE big_b ADD PRIMARY KEY (id);
CREATE INDEX ON big_a (x);
CREATE INDEX ON big_b (k);
VACUUM ANALYZE big_a, big_b;
CREATE MATERIALIZED VIEW big_not_in AS SELECT id FROM big_a WHERE x NOT IN (SELECT k FROM big_b);
CREATE MATERIALIZED VIEW big_shown AS SELECT id, x IN (SELECT k FROM big_b) AS i FROM big_a;
CREATE MATERIALIZED VIEW big_on AS
  SELECT a.id, b.id AS bid FROM big_a a LEFT JOIN big_b b ON b.k = a.x AND EXISTS (SELECT FROM big_b b2 WHERE b2.k = b.id);
SELECT done, contents FROM step('big_not_in');
SELECT done, contents FROM step('big_shown');
SELECT done, contents FROM step('big_on');
UPDATE big_b SET k = k + 1 WHERE id IN (10, 20);
UPDATE big_a SET x = x + 3 WHERE id IN (40, 90);
SELECT done, contents FROM step('big_not_in', 'auto');
SELECT done, contents FROM step('big_shown', 'auto');
SELECT done, contents FROM step('big_on', 'auto');
-- a NULL
UPDATE big_b SET k = NULL WHERE id = 10;
SELECT contents FROM step('big_not_in');
SELECT contents FROM step('big_shown');

-- a writer's statement of many rows that changes few, all without NULLs, and then one with NULLs
CREATE TABLE own (id int PRIMARY KEY, x int, y int);
INSERT INTO own SELECT i, i, 0 FROM generate_series(1, 1000) i;
CREATE MATERIALIZED VIEW own_live AS SELECT id FROM own WHERE x NOT IN (SELECT y FROM own);
SELECT matview.set_auto_refresh('own_live', 'on_statement');
UPDATE own SET y = CASE WHEN id = 7 THEN 2 ELSE y END;
SELECT contents('own_live');
INSERT INTO own VALUES (2001, 11, NULL);
SELECT contents('own_live');

DROP SCHEMA not_ins CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
