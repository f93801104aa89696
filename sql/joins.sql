-- Inner joins: any condition, several tables, the same table twice, both
-- sides changed in one batch, duplicates, no key, NULL keys.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA joins;
SET search_path = joins, test;

CREATE TABLE a (id int PRIMARY KEY, x int, y text);
CREATE TABLE b (id int PRIMARY KEY, aid int, z int);
CREATE TABLE c (k text, z int, v numeric);
CREATE TABLE d (lo int, hi int, name text);
CREATE TABLE loner (alone int);
CREATE INDEX ON b (aid);
INSERT INTO a SELECT g, nullif(g % 7, 3), 'y' || g % 5 FROM generate_series(1, 40) g;
INSERT INTO b SELECT g, nullif(g % 50, 9), g % 6 FROM generate_series(1, 120) g;
INSERT INTO c SELECT nullif('y' || g % 6, 'y2'), g % 4, g * 0.10 FROM generate_series(1, 12) g;
INSERT INTO c SELECT * FROM c WHERE z = 1;
INSERT INTO d VALUES (0, 10, 'low'), (5, 20, 'mid'), (30, NULL, 'high'), (NULL, 3, 'null');
INSERT INTO loner VALUES (1);

CREATE MATERIALIZED VIEW inner_keyed AS SELECT a.id AS aid, b.id AS bid, a.y, b.z FROM a JOIN b ON b.aid = a.id;
CREATE MATERIALIZED VIEW inner_keyless AS SELECT a.y, b.z FROM a JOIN b ON b.aid = a.id;
CREATE MATERIALIZED VIEW implicit AS SELECT a.x, b.z FROM a, b WHERE b.aid = a.id AND a.x > b.z;
CREATE MATERIALIZED VIEW using_join AS SELECT * FROM (SELECT id AS aid, x FROM a) q JOIN b USING (aid);
CREATE MATERIALIZED VIEW natural_join AS SELECT * FROM b NATURAL JOIN c;
CREATE MATERIALIZED VIEW crossed AS SELECT a.id, loner.alone FROM a CROSS JOIN loner;
CREATE MATERIALIZED VIEW crossed_bag AS SELECT c.k, d.name FROM c CROSS JOIN d;
CREATE MATERIALIZED VIEW ranged AS SELECT a.id, d.name FROM a JOIN d ON a.id BETWEEN d.lo AND d.hi;
CREATE MATERIALIZED VIEW unequal AS SELECT a.id, b.id AS bid FROM a JOIN b ON a.x <> b.z AND a.id + b.id < 20;
CREATE MATERIALIZED VIEW null_keys AS SELECT a.id, b.id AS bid FROM a JOIN b ON a.x IS NOT DISTINCT FROM b.aid;
CREATE MATERIALIZED VIEW expression_join AS SELECT a.id, c.v FROM a JOIN c ON upper(a.y) = upper(c.k) AND (a.x + c.z) % 2 = 0;
CREATE MATERIALIZED VIEW or_join AS SELECT a.id, b.id AS bid FROM a JOIN b ON a.id = b.aid OR a.x = b.z AND b.id < 10;
CREATE MATERIALIZED VIEW self_join AS SELECT p.id AS p, q.id AS q, p.x FROM a p JOIN a q ON p.x = q.x AND p.id < q.id;
CREATE MATERIALIZED VIEW self_same AS SELECT p.id, q.y FROM a p JOIN a q ON p.id = q.id;
CREATE MATERIALIZED VIEW self_keyless AS SELECT p.z, q.v FROM c p, c q WHERE p.z = q.z;
CREATE MATERIALIZED VIEW self_three AS SELECT p.z AS z1, q.z AS z2, r.z AS z3 FROM c p JOIN c q ON p.k = q.k JOIN c r ON r.z = q.z;
CREATE MATERIALIZED VIEW four_tables AS
  SELECT a.id, b.id AS bid, c.v, d.name FROM a JOIN b ON b.aid = a.id JOIN c ON c.k = a.y JOIN d ON b.z BETWEEN d.lo AND coalesce(d.hi, 99);
CREATE MATERIALIZED VIEW seven AS
  SELECT a1.id FROM a a1 JOIN a a2 ON a1.id = a2.id JOIN a a3 ON a2.id = a3.id JOIN a a4 ON a3.id = a4.id
    JOIN a a5 ON a4.id = a5.id JOIN a a6 ON a5.id = a6.id JOIN a a7 ON a6.id = a7.id WHERE a7.x > 1;
CREATE MATERIALIZED VIEW grouped AS
  SELECT a.y, count(*), sum(b.z), sum(c.v) AS v, max(b.id) FROM a JOIN b ON b.aid = a.id JOIN c ON c.k = a.y GROUP BY a.y;
CREATE MATERIALIZED VIEW grouped_self AS SELECT p.x, count(*) FROM a p JOIN a q ON p.x = q.x GROUP BY p.x;
CREATE MATERIALIZED VIEW nested AS
  SELECT s.id, s.z FROM (SELECT a.id, b.z FROM a JOIN b ON b.aid = a.id WHERE b.z > 1) s JOIN (SELECT z FROM c WHERE v > 0.5) t ON s.z = t.z;
CREATE MATERIALIZED VIEW nothing_of_b AS SELECT a.id FROM a, b WHERE a.id < 3;
CALL steps();

-- One side, then the other, then both at once
INSERT INTO a VALUES (41, 1, 'y1'), (42, NULL, NULL);
CALL steps();
INSERT INTO b VALUES (121, 41, 2), (122, 42, 1), (123, 9999, 1), (124, NULL, NULL);
CALL steps();
INSERT INTO a VALUES (43, 3, 'y0');
INSERT INTO b VALUES (125, 43, 0), (126, 43, 5);
INSERT INTO c VALUES ('y0', 0, 9.99), ('y0', 0, 9.99), (NULL, NULL, NULL);
INSERT INTO d VALUES (40, 45, 'new');
INSERT INTO loner VALUES (2), (2);
CALL steps();
-- Both sides move to each other
UPDATE a SET id = id + 100 WHERE id IN (1, 2, 3);
UPDATE b SET aid = aid + 100 WHERE aid IN (1, 2, 3);
UPDATE a SET x = coalesce(x, 0) + 1, y = 'y' || (id % 6);
UPDATE b SET z = z + 1 WHERE id % 2 = 0;
CALL steps();
-- A row meets another only for a while
INSERT INTO a VALUES (77, 1, 'y1');
INSERT INTO b VALUES (777, 77, 1);
DELETE FROM a WHERE id = 77;
CALL steps();
-- Matched rows go on both sides at once
DELETE FROM a WHERE id % 4 = 0;
DELETE FROM b WHERE aid % 4 = 0 OR aid IS NULL;
DELETE FROM c WHERE k IS NULL;
DELETE FROM d WHERE hi IS NULL;
CALL steps();
-- One of two equal rows, on both sides
DELETE FROM c WHERE ctid = (SELECT min(ctid) FROM c WHERE k = 'y0' AND v = 9.99);
DELETE FROM loner WHERE ctid = (SELECT min(ctid) FROM loner WHERE alone = 2);
CALL steps();
-- Keys to NULL and from NULL
UPDATE a SET x = NULL WHERE id % 3 = 0;
UPDATE b SET aid = NULL WHERE id % 3 = 0;
UPDATE c SET k = NULL WHERE z = 2;
CALL steps();
UPDATE a SET x = 2 WHERE x IS NULL;
UPDATE b SET aid = 5 WHERE aid IS NULL;
CALL steps();
-- Nothing remains of what was written
UPDATE a SET x = x + 1;
UPDATE b SET aid = aid + 1;
UPDATE a SET x = x - 1;
UPDATE b SET aid = aid - 1;
CALL steps();
-- One table empty, then the other, then neither
DELETE FROM loner;
DELETE FROM b;
CALL steps();
INSERT INTO b SELECT g, nullif(g % 50, 9), g % 6 FROM generate_series(1, 60) g;
DELETE FROM a;
CALL steps();
INSERT INTO a SELECT g, nullif(g % 7, 3), 'y' || g % 5 FROM generate_series(1, 40) g;
INSERT INTO loner VALUES (7);
CALL steps();
TRUNCATE a, b, c, d, loner;
CALL steps();
INSERT INTO a VALUES (1, 1, 'y1');
INSERT INTO b VALUES (1, 1, 1);
INSERT INTO c VALUES ('y1', 1, 1);
INSERT INTO d VALUES (0, 9, 'd');
INSERT INTO loner VALUES (1);
CALL steps();

DROP SCHEMA joins CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
