-- Every operator: outer joins, subqueries, nested groups, set
-- operations, windows, LIMIT.  Each view must follow every change, and be right.
-- :key is PRIMARY KEY, or nothing: then rows are told apart by their look.
-- With :live the views are maintained by the statements themselves, and a
-- refresh finds nothing to do.

-- One refresh of each view, and the oracle: how many did what, and who is wrong
CREATE FUNCTION every_view(mode text DEFAULT 'incremental')
RETURNS TABLE (done text, contents text, views bigint, wrong text) LANGUAGE sql AS $$
  SELECT s.done, s.contents, count(*), string_agg(c.relname, ', ') FILTER (WHERE s.contents <> 'right')
    FROM pg_class c, step(c.oid, every_view.mode) s
   WHERE c.relkind = 'm' AND c.relnamespace = current_schema()::regnamespace
   GROUP BY 1, 2 ORDER BY 1, 2
$$;
CREATE TABLE a (id int :key, k int, x int, t text);
CREATE TABLE b (id int :key, k int, y int, t text);
CREATE TABLE c (id int :key, k int, z int);
INSERT INTO a SELECT g, g % 7, g, 'a' || g FROM generate_series(1, 30) g;
INSERT INTO b SELECT g, nullif(g % 9, 0), g, 'b' || g FROM generate_series(1, 30) g;
INSERT INTO c SELECT g, g % 5, g * 3 FROM generate_series(1, 20) g;
CREATE MATERIALIZED VIEW left_join AS
  SELECT a.id, a.k, b.y FROM a LEFT JOIN b ON a.k=b.k;
CREATE MATERIALIZED VIEW left_join_chain AS
  SELECT a.id, b.id bid, c.z FROM a LEFT JOIN b ON a.k=b.k AND b.y>5 LEFT JOIN c ON c.k = b.k;
CREATE MATERIALIZED VIEW left_join_of_join AS
  SELECT a.id, b.id bid, c.z FROM a LEFT JOIN (b JOIN c ON b.k=c.k) ON a.k=b.k WHERE a.x > 3;
CREATE MATERIALIZED VIEW left_join_nested AS
  SELECT a.id, b.id bid, c.z FROM a LEFT JOIN (b LEFT JOIN c ON b.k=c.k AND c.z>9) ON a.k=b.k;
CREATE MATERIALIZED VIEW right_join AS
  SELECT a.id, b.id bid FROM a RIGHT JOIN b ON a.k=b.k;
CREATE MATERIALIZED VIEW full_join AS
  SELECT a.id, b.id bid, a.k ak, b.k bk FROM a FULL JOIN b ON a.k=b.k AND a.x<20;
CREATE MATERIALIZED VIEW full_join_chain AS
  SELECT a.id, b.id bid, c.id cid FROM a FULL JOIN b ON a.k=b.k FULL JOIN c ON b.k=c.k;
CREATE MATERIALIZED VIEW full_join_grouped AS
  SELECT k, count(*), sum(x) sx, sum(y) sy FROM a FULL JOIN b USING (k) GROUP BY k;
CREATE MATERIALIZED VIEW exists_ AS
  SELECT id, k FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k=a.k AND b.y>10);
CREATE MATERIALIZED VIEW not_exists AS
  SELECT id, k FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k=a.k AND b.y>25);
CREATE MATERIALIZED VIEW in_ AS
  SELECT id, k FROM a WHERE k IN (SELECT k FROM b WHERE y>20);
CREATE MATERIALIZED VIEW not_in AS
  SELECT id, k FROM a WHERE k NOT IN (SELECT k FROM b WHERE y>27);
CREATE MATERIALIZED VIEW not_in_key AS
  SELECT id, k FROM a WHERE k NOT IN (SELECT id FROM c WHERE z>27);
CREATE MATERIALIZED VIEW exists_or AS
  SELECT id, k FROM a WHERE x < 5 OR EXISTS (SELECT FROM b WHERE b.k=a.k AND b.y>28);
CREATE MATERIALIZED VIEW in_case AS
  SELECT id, CASE WHEN k IN (SELECT k FROM b WHERE y>25) THEN 1 WHEN k IS NULL THEN 2 END c FROM a;
CREATE MATERIALIZED VIEW scalar AS
  SELECT id, (SELECT sum(y) FROM b WHERE b.k=a.k) s, (SELECT max(z) FROM c) m FROM a;
CREATE MATERIALIZED VIEW scalar_alone AS
  SELECT id FROM a WHERE x > (SELECT avg(y) FROM b);
CREATE MATERIALIZED VIEW scalar_avg AS
  SELECT id FROM a WHERE x > (SELECT avg(y) FROM b WHERE b.k=a.k);
CREATE MATERIALIZED VIEW group_joined AS
  SELECT a.id, s.n, s.m FROM a JOIN (SELECT k, count(*) n, max(y) m FROM b GROUP BY k) s ON s.k=a.k;
CREATE MATERIALIZED VIEW group_of_groups AS
  SELECT n, count(*) FROM (SELECT k, count(*) n FROM b GROUP BY k) s GROUP BY n;
CREATE MATERIALIZED VIEW having_subquery AS
  SELECT k, sum(x) FROM a GROUP BY k HAVING sum(x) > (SELECT avg(y) FROM b);
CREATE MATERIALIZED VIEW cte_twice AS
  WITH s AS (SELECT k, sum(y) t FROM b GROUP BY k) SELECT * FROM s WHERE t = (SELECT max(t) FROM s);
CREATE MATERIALIZED VIEW count_distinct AS
  SELECT k, count(DISTINCT x%3) FROM a GROUP BY k;
CREATE MATERIALIZED VIEW rollup_ AS
  SELECT k, x%2 p, count(*), grouping(k, x%2) FROM a GROUP BY ROLLUP(k, x%2);
CREATE MATERIALIZED VIEW cube_having AS
  SELECT k, x%2 p, sum(x) FROM a GROUP BY CUBE(k, x%2) HAVING sum(x)>20;
CREATE MATERIALIZED VIEW union_ AS
  SELECT k FROM a UNION SELECT k FROM b;
CREATE MATERIALIZED VIEW intersect_ AS
  SELECT k FROM a INTERSECT SELECT k FROM b;
CREATE MATERIALIZED VIEW intersect_all AS
  SELECT k FROM a INTERSECT ALL SELECT k FROM b;
CREATE MATERIALIZED VIEW except_ AS
  SELECT k FROM a EXCEPT SELECT k FROM b WHERE y>15;
CREATE MATERIALIZED VIEW except_all AS
  SELECT k FROM a EXCEPT ALL SELECT k FROM b;
CREATE MATERIALIZED VIEW except_of_union AS
  (SELECT k FROM a UNION ALL SELECT k FROM b) EXCEPT (SELECT id FROM c WHERE z>6);
CREATE MATERIALIZED VIEW window_partition AS
  SELECT id, k, rank() OVER (PARTITION BY k ORDER BY x DESC) r, sum(x) OVER (PARTITION BY k) FROM a;
CREATE MATERIALIZED VIEW window_whole AS
  SELECT id, row_number() OVER (ORDER BY x DESC, id) FROM a;
CREATE MATERIALIZED VIEW window_of_groups AS
  SELECT k, sum(x) s, rank() OVER (ORDER BY sum(x) DESC) FROM a GROUP BY k;
CREATE MATERIALIZED VIEW distinct_on AS
  SELECT DISTINCT ON (k) k, id, x FROM a ORDER BY k, x DESC;
CREATE MATERIALIZED VIEW limit_ AS
  SELECT id, x FROM a ORDER BY x DESC, id LIMIT 5;
CREATE MATERIALIZED VIEW limit_ties AS
  SELECT id, k FROM a ORDER BY k DESC FETCH FIRST 3 ROWS WITH TIES;
CREATE MATERIALIZED VIEW lateral_top AS
  SELECT c.id, l.* FROM c, LATERAL (SELECT b.id bid, b.y FROM b WHERE b.k=c.k ORDER BY y DESC LIMIT 2) l;
CREATE MATERIALIZED VIEW lateral_left AS
  SELECT c.id, l.* FROM c LEFT JOIN LATERAL (SELECT b.id bid, b.y FROM b WHERE b.k=c.k ORDER BY y DESC LIMIT 2) l ON TRUE;
CREATE MATERIALIZED VIEW srf AS
  SELECT id, generate_series(1,k) g FROM a;
CREATE MATERIALIZED VIEW srf_distinct AS
  SELECT DISTINCT generate_series(1,k) g FROM a;
CREATE MATERIALIZED VIEW any_ AS
  SELECT id FROM a WHERE x > ANY (SELECT y FROM b WHERE b.k = a.k);
CREATE MATERIALIZED VIEW all_ AS
  SELECT id FROM a WHERE x >= ALL (SELECT y FROM b WHERE b.k = a.k);
CREATE MATERIALIZED VIEW array_ AS
  SELECT id, ARRAY(SELECT y FROM b WHERE b.k=a.k ORDER BY y DESC) FROM a;
CREATE MATERIALIZED VIEW group_of_outer AS
  SELECT a.k, count(b.id), min(b.y) mi FROM a LEFT JOIN b ON a.k=b.k GROUP BY a.k;
CREATE MATERIALIZED VIEW self_left AS
  SELECT a1.id, a2.id i2 FROM a a1 LEFT JOIN a a2 ON a1.k=a2.k AND a2.x > a1.x;
CREATE MATERIALIZED VIEW distinct_outer AS
  SELECT DISTINCT a.k, b.y IS NULL n FROM a LEFT JOIN b ON a.k=b.k;
CREATE MATERIALIZED VIEW exists_nested AS
  SELECT a.id, EXISTS(SELECT FROM b WHERE b.k=a.k AND EXISTS (SELECT FROM c WHERE c.k=b.k AND c.z>a.x)) e FROM a;
CREATE MATERIALIZED VIEW in_row AS
  SELECT id FROM a WHERE (k, id) IN (SELECT k, y FROM b);
CREATE MATERIALIZED VIEW limit_of_groups AS
  SELECT k, s FROM (SELECT k, sum(x) s FROM a GROUP BY k ORDER BY 2 DESC LIMIT 3) q ORDER BY s;
SELECT * FROM every_view();
\if :{?live}
SELECT count(matview.set_auto_refresh(oid::regclass, CASE WHEN row_number % 2 = 0 THEN 'on_statement' ELSE 'on_commit' END))
  FROM (SELECT oid, row_number() OVER (ORDER BY relname COLLATE "C") FROM pg_class
         WHERE relkind = 'm' AND relnamespace = current_schema()::regnamespace) v;
\endif

UPDATE a SET x = x + 1 WHERE id IN (3, 5);
SELECT * FROM every_view();
UPDATE b SET y = y + 3, k = k + 1 WHERE id IN (4, 9, 11);
INSERT INTO b VALUES (100, 3, 50, 'n'), (101, NULL, 7, 'q');
SELECT * FROM every_view();
-- All tables at once
DELETE FROM b WHERE id IN (100, 7);
INSERT INTO a VALUES (100, NULL, 9, 'z'), (101, 3, 10, 'y');
UPDATE c SET z = 5 WHERE id = 4;
DELETE FROM c WHERE id = 7;
INSERT INTO c VALUES (200, 3, 30);
SELECT * FROM every_view();
-- Keys move
UPDATE a SET k = k + 1 WHERE id < 10;
DELETE FROM a WHERE id = 20;
UPDATE b SET k = NULL WHERE id IN (1, 2);
UPDATE c SET id = id + 300 WHERE id < 3;
SELECT * FROM every_view();
-- Tables become empty, and full again
DELETE FROM b;
SELECT * FROM every_view();
INSERT INTO b SELECT g, g % 4, g, 'b' || g FROM generate_series(1, 30) g;
DELETE FROM c;
SELECT * FROM every_view();
DELETE FROM a;
INSERT INTO c SELECT g, g % 5, g * 3 FROM generate_series(1, 20) g;
SELECT * FROM every_view();
INSERT INTO a SELECT g, g % 7, g, 'a' || g FROM generate_series(1, 30) g;
-- Rows that look alike
INSERT INTO b SELECT g + 50, 2, 5, 'same' FROM generate_series(1, 3) g;
SELECT * FROM every_view();
DELETE FROM b WHERE id = 52;
UPDATE a SET x = x + 1 WHERE k = 2;
SELECT * FROM every_view();
-- The other ways, and on from there
SELECT * FROM every_view('concurrent');
UPDATE b SET y = y - 1 WHERE id < 8;
SELECT * FROM every_view();
SELECT * FROM every_view('full');
UPDATE c SET z = z - 1 WHERE id < 8;
SELECT * FROM every_view();
\if :{?live}
-- What could not be done from the changes
SELECT h.mode, h.reason, count(*) FROM matview.history h
 WHERE h.mode <> 'concurrent' AND h.mode <> 'full' AND h.reason IS DISTINCT FROM 'tracking starts' GROUP BY 1, 2 ORDER BY 1, 2;
\endif
