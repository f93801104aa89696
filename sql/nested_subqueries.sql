-- Subqueries within subqueries that aggregate.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA nested_subqueries;
SET search_path = nested_subqueries, test;

CREATE TABLE p (id int PRIMARY KEY, a int);
CREATE TABLE o (id int PRIMARY KEY, a int, total int);
CREATE TABLE r (id int PRIMARY KEY, a int, bonus int);
CREATE TABLE k (a int);
INSERT INTO p VALUES (1, 1), (2, 2);
INSERT INTO o VALUES (1, 1, 10);
INSERT INTO r VALUES (1, 1, 5);
INSERT INTO k VALUES (1), (2);
-- whose aggregate has a row also if it has no input
CREATE MATERIALIZED VIEW beside AS SELECT p.id,
  (SELECT coalesce(sum(total), 0) + (SELECT count(*) FROM r WHERE r.a = p.a) FROM o WHERE o.a = p.a) AS n FROM p;
CREATE MATERIALIZED VIEW beside_lateral AS SELECT p.id, x.* FROM p, LATERAL
  (SELECT max(total) AS mt, (SELECT max(bonus) FROM r WHERE r.a = p.a) AS mb FROM o WHERE o.a = p.a) x;
CREATE MATERIALIZED VIEW beside_itself AS SELECT p.id,
  (SELECT count(*) + (SELECT count(*) FROM k k2 WHERE k2.a = p.a) FROM k WHERE k.a = p.a) AS n FROM p;
CREATE MATERIALIZED VIEW beside_cte AS SELECT p.id,
  (WITH w AS (SELECT total AS x FROM o WHERE o.a = p.a) SELECT coalesce(max(x), 0) + (SELECT count(*) FROM r WHERE r.a = p.a) FROM w) AS n FROM p;
CREATE MATERIALIZED VIEW beside_where AS SELECT p.id FROM p
  WHERE (SELECT count(*) + (SELECT count(*) FROM r WHERE r.a = p.a) FROM o WHERE o.a = p.a) > 1;
CREATE MATERIALIZED VIEW beside_having AS SELECT p.id,
  (SELECT count(*) FROM o WHERE o.a = p.a HAVING (SELECT count(*) FROM r WHERE r.a = p.a) > 1) AS n FROM p;
CREATE MATERIALIZED VIEW within_sum AS SELECT p.id,
  (SELECT sum((SELECT count(*) FROM r WHERE r.a = o.a)) FROM o WHERE o.a = p.a) AS n FROM p;
CREATE MATERIALIZED VIEW within_where AS SELECT p.id,
  (SELECT count(*) FROM o WHERE o.a = p.a AND EXISTS (SELECT FROM r WHERE r.a = o.a AND r.bonus < o.total)) AS n FROM p;
-- that refer to the aggregate
CREATE MATERIALIZED VIEW of_aggregate AS SELECT p.id,
  (SELECT (SELECT count(*) FROM r WHERE r.bonus < max(o.total)) FROM o WHERE o.a = p.a) AS n FROM p;
CREATE MATERIALIZED VIEW of_key AS SELECT p.id,
  ARRAY(SELECT (SELECT count(*) FROM r WHERE r.a = o.a) FROM o WHERE o.id >= p.id GROUP BY o.a ORDER BY o.a) AS n FROM p;
SELECT matview.set_auto_refresh('of_aggregate', 'on_commit');

CALL steps();
INSERT INTO r VALUES (2, 2, 7);
CALL steps();
DELETE FROM k WHERE a = 1;
INSERT INTO o VALUES (2, 2, 8);
CALL steps();
DELETE FROM o;
UPDATE r SET a = 2;
CALL steps();
INSERT INTO o VALUES (3, 2, 6);
DELETE FROM r WHERE id = 2;
INSERT INTO k VALUES (1), (1);
CALL steps();

DROP SCHEMA nested_subqueries CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
