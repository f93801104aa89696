-- Deltas of so many rows that there are statistics on them, and plans with hash
-- tables; all tables change at once.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA large_deltas;
SET search_path = large_deltas, test;
CREATE TABLE a (id int PRIMARY KEY, k int, x numeric, t text);
CREATE TABLE b (id int PRIMARY KEY, k int, y int, t text COLLATE "C", wide text, j json);
CREATE TABLE c (k int, z int, p point);
INSERT INTO a SELECT g, nullif(g % 700, 0), g % 13 / 4.0, 'a' || g % 5 FROM generate_series(1, 2000) g;
INSERT INTO b SELECT g, nullif(g * 7 % 900, 0), g % 50, 'b' || g % 3, repeat(md5(g::text), 1 + g % 40), '{}' FROM generate_series(1, 2000) g;
INSERT INTO c SELECT g % 300, g % 20, point(g, g) FROM generate_series(1, 1000) g;
CREATE INDEX ON a (k);
CREATE INDEX ON b (k);
ANALYZE;
CREATE MATERIALIZED VIEW inner_join AS
  SELECT a.id, b.id AS bid, wide, j::text FROM a JOIN b ON a.k = b.k AND b.t <> 'b1' WHERE a.t IN ('a1', 'a2');
CREATE MATERIALIZED VIEW left_join AS
  SELECT a.id, b.id AS bid, wide FROM a LEFT JOIN b ON a.k = b.k AND b.y > 20;
CREATE MATERIALIZED VIEW left_join_counted AS
  SELECT a.k, count(b.id), count(*) AS n FROM a LEFT JOIN b ON a.k = b.k AND b.y < 40 GROUP BY a.k;
CREATE MATERIALIZED VIEW left_join_missing AS
  SELECT a.id FROM a LEFT JOIN b ON a.k = b.k WHERE b.id IS NULL;
CREATE MATERIALIZED VIEW left_join_chain AS
  SELECT a.id, b.id AS bid, c.z FROM a LEFT JOIN b ON a.k = b.k AND b.y > 40 LEFT JOIN c ON c.k = b.y;
CREATE MATERIALIZED VIEW left_joins AS
  SELECT a.id, b.id AS bid, c.z FROM a LEFT JOIN b ON b.id = a.id + 5 LEFT JOIN c ON c.k = a.k AND c.z < 3 WHERE coalesce(b.y, 7) % 2 = 1;
CREATE MATERIALIZED VIEW left_join_without_key AS
  SELECT a.id, c.z FROM a LEFT JOIN c ON c.k = a.k AND c.z = 1;
CREATE MATERIALIZED VIEW left_join_exists AS
  SELECT a.id, b.y FROM a LEFT JOIN b ON b.k = a.k WHERE b.id IS NULL OR NOT EXISTS (SELECT FROM c WHERE c.k = b.k AND c.z > a.x);
CREATE MATERIALIZED VIEW left_join_group AS
  SELECT a.id, s.n FROM a LEFT JOIN (SELECT k, count(*) AS n FROM b GROUP BY k HAVING count(*) > 1) s ON s.k = a.k;
CREATE MATERIALIZED VIEW full_join AS
  SELECT a.id, b.id AS bid FROM a FULL JOIN b ON a.k = b.k AND a.x < 2;
CREATE MATERIALIZED VIEW exists_both AS
  SELECT a.t, count(*) FROM a, c
   WHERE c.k = a.k AND EXISTS (SELECT FROM b WHERE b.k = a.k AND b.y <> c.z)
     AND NOT EXISTS (SELECT FROM b WHERE b.k = a.k AND b.y > 45 AND b.id <> a.id) GROUP BY a.t;
CREATE MATERIALIZED VIEW in_nested AS
  SELECT id FROM a WHERE k IN (SELECT k FROM b WHERE y > (SELECT sum(z) FROM c WHERE c.k = b.y) / 5);
CREATE MATERIALIZED VIEW scalar AS
  SELECT sum(x) AS s FROM a, b WHERE a.id = b.id AND b.y < (SELECT 0.9 * avg(y) FROM b AS o WHERE o.k = a.k AND o.t = 'b0');
CREATE MATERIALIZED VIEW lateral_ AS
  SELECT a.id, l.y FROM a, LATERAL (SELECT y FROM b WHERE b.k = a.k ORDER BY y DESC, id LIMIT 1) l WHERE a.t = 'a3';
CREATE MATERIALIZED VIEW having_group AS
  SELECT a.t, a.id, sum(b.y) AS s FROM a, b
   WHERE a.k = b.k AND a.k IN (SELECT k FROM b GROUP BY k HAVING sum(y) > 60) GROUP BY a.t, a.id;
CALL steps();
-- Each table changes by a tenth
CREATE PROCEDURE change(seed int) LANGUAGE sql AS $$
  DELETE FROM a WHERE id % 31 = seed;
  DELETE FROM b WHERE (id + 3) % 29 = seed;
  DELETE FROM c WHERE (k + z) % 37 = seed;
  UPDATE a SET k = (k + seed) % 800, x = x + 0.25 WHERE id % 41 = seed;
  UPDATE b SET y = (y + seed) % 50, wide = wide || 'x', k = CASE WHEN y % 3 = 0 THEN NULL ELSE k END WHERE id % 43 = seed;
  UPDATE c SET z = z + 1 WHERE z = seed % 20;
  INSERT INTO a SELECT 10000 * seed + g, nullif(g * seed % 750, 0), g % 11, 'a' || g % 6 FROM generate_series(1, 150) g;
  INSERT INTO b SELECT 10000 * seed + g, g * 3 % 900, g % 55, 'b' || g % 4, repeat('w', g * 20), '[]' FROM generate_series(1, 150) g;
  INSERT INTO c SELECT g * seed % 320, g % 22, NULL FROM generate_series(1, 100) g;
$$;
CALL change(1);
CALL steps();
CALL change(2);
CALL change(3);
CALL steps();
-- One at a time
DELETE FROM b WHERE k % 5 = 2;
CALL steps();
INSERT INTO b SELECT 90000 + g, g % 900, g % 50, 'b0', '', NULL FROM generate_series(1, 300) g;
CALL steps();
UPDATE a SET k = k + 1 WHERE id % 7 = 0;
CALL steps();
DELETE FROM c WHERE z % 4 = 1;
CALL steps();

DROP SCHEMA large_deltas CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
