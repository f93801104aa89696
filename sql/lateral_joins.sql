-- LATERAL subqueries whose conditions an outer join keeps from going elsewhere.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA lateral_joins;
SET search_path = lateral_joins, test;

CREATE TABLE a (id int PRIMARY KEY, h int);
CREATE TABLE b (id int PRIMARY KEY, aid int);
CREATE TABLE c (x int);
INSERT INTO a VALUES (1, 1), (2, 1), (3, 2);
INSERT INTO b VALUES (10, 1), (11, 2);
INSERT INTO c VALUES (10), (1);
-- ON refers to what is outside the subquery
CREATE MATERIALIZED VIEW on_outside AS SELECT a.id, l.*
  FROM a CROSS JOIN LATERAL (SELECT b.id AS bid, m.x FROM b LEFT JOIN c m ON m.x = a.h WHERE b.aid = a.id) l;
CREATE MATERIALIZED VIEW on_outside_twice AS SELECT a.id, l.*
  FROM a, LATERAL (SELECT b.id AS bid, k.* FROM b LEFT JOIN LATERAL (SELECT x, a.h FROM c WHERE c.x = a.id AND b.id > a.h) k ON a.id < 3) l;
-- the subquery is on the left side of a join, which does not have what it refers to
CREATE MATERIALIZED VIEW where_outside AS SELECT a.id, l.bid, c.x
  FROM a, LATERAL (SELECT b.id AS bid FROM b WHERE b.aid = a.id) l LEFT JOIN c ON c.x = l.bid;
CREATE MATERIALIZED VIEW column_outside AS SELECT a.id, l.bid, c.x
  FROM a, LATERAL (SELECT b.id + a.h AS bid FROM b) l LEFT JOIN c ON c.x = l.bid;
CREATE MATERIALIZED VIEW where_inside AS SELECT a.id, l.bid, c.x
  FROM (a CROSS JOIN LATERAL (SELECT b.id AS bid FROM b WHERE b.aid = a.id) l) LEFT JOIN c ON c.x = l.bid;
-- whole rows of joins
CREATE MATERIALIZED VIEW row_of_join AS SELECT c.x, row_to_json(j)::text AS j
  FROM c JOIN (a JOIN b ON b.aid = a.id) AS j (i, h, bid, aid) ON j.h = c.x;
-- FROM items that LATERAL ones refer to, and that have rows of their own
CREATE MATERIALIZED VIEW of_group AS SELECT (SELECT max(b.id) FROM b WHERE b.aid = q.m) AS z
  FROM (SELECT max(h) AS m FROM a) q, (a FULL JOIN LATERAL (SELECT q.m FROM c) l ON a.id = l.m);
CREATE MATERIALIZED VIEW of_distinct AS SELECT l.m, EXISTS (SELECT FROM b WHERE b.aid = q.m) AS z
  FROM (SELECT DISTINCT h AS m FROM a) q, LATERAL (SELECT q.m FROM c UNION ALL SELECT a.id FROM a WHERE a.id > q.m) l;
CREATE MATERIALIZED VIEW of_subquery AS SELECT c.x FROM c
  WHERE EXISTS (SELECT FROM (SELECT DISTINCT h AS m FROM a WHERE a.id < c.x) q, LATERAL (SELECT FROM b WHERE b.aid = q.m UNION ALL SELECT FROM b WHERE b.id = q.m) l);

CALL steps();
INSERT INTO b VALUES (1, 1), (9, 3), (8, 2);
INSERT INTO c VALUES (9), (2), (3);
CALL steps();
UPDATE a SET h = h + 1;
CALL steps();
UPDATE a SET h = h - 1;
DELETE FROM c WHERE x = 9;
UPDATE b SET aid = aid - 1;
CALL steps();
INSERT INTO b VALUES (20, 1);
CALL steps();
DELETE FROM c;
CALL steps();

-- those that are NULL are none before PostgreSQL 16, and recomputed from it on
CREATE MATERIALIZED VIEW nulled_row AS SELECT c.x, j IS NULL AS w
  FROM c LEFT JOIN (a JOIN b USING (id)) AS j ON j.id = c.x;
SELECT contents FROM step('nulled_row');
INSERT INTO c VALUES (1), (2), (10);
SELECT contents FROM step('nulled_row');
DELETE FROM b WHERE id < 9;
SELECT contents FROM step('nulled_row');

DROP SCHEMA lateral_joins CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
