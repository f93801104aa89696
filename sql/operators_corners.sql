-- Every operator, where its rule is easily missed: subqueries in LIMIT and in
-- frames, "=" that casts change, keys made of keys, LATERAL beside what an outer
-- join makes NULL, NOT NULL that is not, errors that only a delta query sees.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA operators_corners;
SET search_path = operators_corners, test;

CREATE TABLE a (id int PRIMARY KEY, k int, x int, v varchar(10));
CREATE TABLE b (id int PRIMARY KEY, k int, y int, v varchar(10));
CREATE TABLE c (id int PRIMARY KEY, k int, z int);
CREATE TABLE size (n int PRIMARY KEY);
INSERT INTO a SELECT g, g % 5, g, (ARRAY['s', 's ', 't'])[g % 3 + 1] FROM generate_series(1, 12) g;
INSERT INTO b SELECT g, nullif(g % 4, 0), g, (ARRAY['s', 's  ', 't'])[g % 3 + 1] FROM generate_series(1, 12) g;
INSERT INTO c SELECT g, g % 3, g FROM generate_series(1, 9) g;
INSERT INTO size VALUES (2);

-- Subqueries in LIMIT, OFFSET and frames
CREATE MATERIALIZED VIEW limit_query AS
  SELECT id FROM a ORDER BY id LIMIT (SELECT n FROM size) OFFSET (SELECT n - 1 FROM size);
CREATE MATERIALIZED VIEW limit_dependent AS
  SELECT c.id, ARRAY(SELECT b.id FROM b WHERE b.k = c.k ORDER BY y DESC LIMIT (SELECT n FROM size)) FROM c;
CREATE MATERIALIZED VIEW limit_lateral AS
  SELECT c.id, l.y FROM c LEFT JOIN LATERAL (
    SELECT y FROM b WHERE b.k = c.k ORDER BY y OFFSET (SELECT n FROM size)) l ON true;
CREATE MATERIALIZED VIEW frame AS
  SELECT id, sum(x) OVER (PARTITION BY k ORDER BY x ROWS (SELECT n FROM size) PRECEDING) FROM a;
CREATE MATERIALIZED VIEW limit_groups AS
  SELECT k, count(*) FROM a GROUP BY k ORDER BY k LIMIT (SELECT n FROM size);
CREATE MATERIALIZED VIEW limit_distinct AS
  SELECT DISTINCT k FROM a ORDER BY k OFFSET (SELECT n FROM size);
CREATE MATERIALIZED VIEW limit_union AS
  SELECT k FROM a UNION SELECT y FROM b ORDER BY 1 LIMIT (SELECT n FROM size);
CREATE MATERIALIZED VIEW limit_sets AS
  SELECT id, generate_series(1, x % 3) AS s FROM a ORDER BY id, s LIMIT (SELECT n + 3 FROM size);
-- A subquery that is the left side of another
CREATE MATERIALIZED VIEW in_in AS
  SELECT id FROM a WHERE (v IN (SELECT v FROM b WHERE y > 3)) IN (SELECT n > 1 FROM size);
CREATE MATERIALIZED VIEW in_in_value AS
  SELECT id, (x IN (SELECT y FROM b)) IN (SELECT n > 1 FROM size) AS i, (x > ALL (SELECT n FROM size)) = ANY (SELECT y > 5 FROM b) AS j FROM a;
-- A scale that a function is said to have, and has not
CREATE FUNCTION make_record(x int) RETURNS record IMMUTABLE LANGUAGE sql AS 'SELECT ROW(CASE WHEN x < 6 THEN 1.0 ELSE 1.00 END)';
CREATE MATERIALIZED VIEW declared AS
  SELECT sum(r.n) AS s FROM a, make_record(a.x) AS r (n numeric(5,3));
-- A window function that is the left side of a subquery
CREATE MATERIALIZED VIEW in_window AS
  SELECT c.id, l.* FROM c, LATERAL (SELECT a.x, rank() OVER (ORDER BY a.x) IN (SELECT y FROM b) AS top FROM a WHERE a.k = c.k) l;
CREATE MATERIALIZED VIEW in_window_order AS
  SELECT id, ARRAY(SELECT x FROM a WHERE a.k = c.k ORDER BY rank() OVER (ORDER BY a.x) IN (SELECT y FROM b), x) AS xs FROM c;
-- Set-returning functions in ORDER BY give rows
CREATE MATERIALIZED VIEW sorted_rows AS
  SELECT id FROM a ORDER BY generate_series(1, 2);
CREATE MATERIALIZED VIEW sorted_groups AS
  SELECT k, count(*) FROM a GROUP BY k ORDER BY generate_series(1, 2);
CREATE MATERIALIZED VIEW sorted_windows AS
  SELECT id, row_number() OVER (ORDER BY id) AS n FROM a ORDER BY generate_series(1, 2);
CREATE MATERIALIZED VIEW sorted_below AS
  SELECT count(*) FROM (SELECT id FROM a ORDER BY unnest(ARRAY[1, x])) s;
-- An alias like the marks that places get
CREATE MATERIALIZED VIEW alias AS
  SELECT "place 1".x, b.id FROM a AS "place 1" JOIN b ON b.id = "place 1".k;
CREATE MATERIALIZED VIEW alias_query AS
  SELECT a.id FROM a WHERE EXISTS (SELECT FROM b AS "place 1" JOIN c AS "place 2" USING (k) WHERE "place 1".y = a.x);
-- The order of a subquery, and windows that see it or do not
CREATE MATERIALIZED VIEW order_rows AS
  SELECT row_number() OVER () AS n, id FROM (SELECT * FROM a ORDER BY x DESC) s;
CREATE MATERIALIZED VIEW order_frame AS
  SELECT id, sum(x) OVER (ROWS UNBOUNDED PRECEDING) AS s FROM (SELECT * FROM a ORDER BY x DESC) s;
CREATE MATERIALIZED VIEW order_lag AS
  SELECT id, lag(x) OVER (PARTITION BY k) AS l FROM (SELECT * FROM a ORDER BY k, x DESC) s;
CREATE MATERIALIZED VIEW order_union AS
  SELECT string_agg(s, ',') FROM (SELECT v AS s FROM a UNION SELECT v FROM b ORDER BY s DESC) q;
CREATE MATERIALIZED VIEW order_except AS
  SELECT row_number() OVER () AS n, x FROM (SELECT x FROM a EXCEPT SELECT y FROM b ORDER BY x DESC) q;
CREATE MATERIALIZED VIEW order_unseen AS
  SELECT id, sum(x) OVER (PARTITION BY k) AS s, rank() OVER () AS r,
         row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM (SELECT * FROM a ORDER BY x DESC) s;
-- Conditions that keep others from failing
CREATE TABLE attribute (id int PRIMARY KEY, kind text, value text);
INSERT INTO attribute VALUES (1, 'a', '1'), (2, 'x', 'no number');
CREATE MATERIALIZED VIEW fence_materialized AS
  WITH n AS MATERIALIZED (SELECT id, value::int AS v FROM attribute WHERE kind = 'a' OR kind = 'b' OR kind = 'c' OR kind = 'd')
  SELECT count(*) FROM (SELECT * FROM n) s WHERE v > 0;
CREATE MATERIALIZED VIEW fence_twice AS
  WITH n AS (SELECT id, value::int AS v FROM attribute WHERE kind = 'a' OR kind = 'b' OR kind = 'c' OR kind = 'd')
  SELECT l.id FROM n l JOIN n r ON l.v = r.v WHERE l.v > 0;
CREATE TABLE doc (id int PRIMARY KEY, j jsonb);
INSERT INTO doc VALUES (1, '[1, 2]'), (2, '3');
CREATE MATERIALIZED VIEW fence_document AS
  WITH n AS MATERIALIZED (SELECT doc.* FROM doc JOIN attribute k ON k.id = doc.id AND k.kind <> 'x') SELECT id FROM n WHERE jsonb_array_length(j) > 1;
CREATE MATERIALIZED VIEW fence_sublink AS
  WITH n AS MATERIALIZED (SELECT doc.* FROM doc JOIN attribute k ON k.id = doc.id AND k.kind <> 'x')
  SELECT n.id, f FROM n, LATERAL jsonb_array_elements(j) f WHERE EXISTS (SELECT FROM a WHERE a.id = jsonb_array_length(n.j) - 1);
CREATE MATERIALIZED VIEW fence_offset AS
  SELECT id, v FROM (SELECT id, value::int AS v FROM attribute WHERE kind = 'a' OR kind = 'b' OR kind = 'c' OR kind = 'd' LIMIT ALL OFFSET 0) s
   WHERE v > 0 OFFSET 0;
CREATE MATERIALIZED VIEW fence_left AS
  WITH n AS (SELECT id, value::int AS v FROM attribute WHERE kind = 'a' OR kind = 'b' OR kind = 'c' OR kind = 'd')
  SELECT c.id, n.v, (SELECT count(*) FROM n m WHERE 100 / m.v > c.z) AS q FROM c LEFT JOIN n ON n.v = c.z AND n.v > 0;
CREATE MATERIALIZED VIEW fence_unneeded AS
  WITH n AS MATERIALIZED (SELECT id, value::int AS v FROM attribute WHERE kind = 'a' OR kind = 'b' OR kind = 'c' OR kind = 'd')
  SELECT id, v FROM n WHERE id > 0;
CREATE MATERIALIZED VIEW fence_lateral AS
  WITH n AS MATERIALIZED (SELECT id, k, x FROM a WHERE x > 1)
  SELECT l.id, r.x FROM n l, LATERAL (SELECT x FROM n WHERE n.k = l.k AND n.id < l.id) r;
CREATE MATERIALIZED VIEW fence_not_in AS
  SELECT count(*) FROM a
   WHERE id NOT IN (SELECT value::int FROM attribute WHERE kind = 'a' OR kind = 'b' OR kind = 'c' OR kind = 'd');
-- A subquery that CASE keeps from being computed
CREATE TABLE maybe (id int PRIMARY KEY, x int);
INSERT INTO maybe VALUES (1, 1);
CREATE MATERIALIZED VIEW case_rows AS
  SELECT id, CASE WHEN (SELECT min(x) FROM maybe) > 0 THEN (SELECT sum(100 / x) FROM maybe) END AS s FROM c;
CREATE MATERIALIZED VIEW case_groups AS
  SELECT k, count(*), CASE WHEN EXISTS (SELECT FROM maybe) THEN (SELECT 100 / count(*) FROM maybe) END AS s FROM c GROUP BY k;
-- Types that differ in the arms of a subquery that depends on what is outside
CREATE TABLE number (k int, n numeric, f float8);
CREATE MATERIALIZED VIEW arms_types AS
  SELECT id FROM a WHERE id IN (SELECT y FROM b WHERE b.k = a.k UNION ALL SELECT n FROM number WHERE number.k = a.k);
CREATE MATERIALIZED VIEW arms_nested AS
  SELECT id FROM a WHERE EXISTS (SELECT y FROM b WHERE b.k = a.k UNION ALL (SELECT z FROM c WHERE c.k = a.k EXCEPT SELECT f FROM number));
CREATE MATERIALIZED VIEW arms_lateral AS
  SELECT a.id, s.* FROM a LEFT JOIN LATERAL ((SELECT y, k FROM b WHERE b.k = a.k INTERSECT ALL SELECT n, k FROM number WHERE number.n > a.x - 50)
    UNION SELECT z, id FROM c WHERE c.k = a.k ORDER BY 1, 2 OFFSET 1) s ON s.y > a.x - 90;
CREATE MATERIALIZED VIEW arms_array AS
  SELECT id, ARRAY(SELECT y FROM b WHERE b.k = a.k UNION ALL SELECT f FROM number WHERE number.k = a.k ORDER BY 1 DESC) AS ys,
         (SELECT sum(v) FROM (SELECT y AS v FROM b WHERE b.k = a.k EXCEPT ALL SELECT n FROM number WHERE number.k = a.x) s) AS v FROM a;
-- A frame's offset that looks like a key
CREATE MATERIALIZED VIEW frame_key AS
  SELECT k, 1 AS one, sum(sum(x)) OVER (ORDER BY k ROWS 1 PRECEDING) AS s FROM a GROUP BY k, one;
CREATE MATERIALIZED VIEW frame_key_set AS
  SELECT unnest(ARRAY[k, 1]) AS u, 2 AS two, sum(sum(x)) OVER (ORDER BY k GROUPS 2 PRECEDING) AS s
    FROM a GROUP BY u, two, k;
-- XMLTABLE of what is in a FULL JOIN
CREATE MATERIALIZED VIEW full_xmltable AS
  SELECT a.id, b.id AS bid, q.n FROM a FULL JOIN b ON a.id = b.id AND a.k = b.k,
         XMLTABLE('/r/i' PASSING xmlelement(name r, xmlelement(name i, a.v)) COLUMNS n text PATH '.') q;
-- Texts that are the same as char(n)
CREATE MATERIALIZED VIEW cast_scalar AS
  SELECT a.id, (SELECT count(*) FROM b WHERE b.v::bpchar = a.v::bpchar) FROM a;
CREATE MATERIALIZED VIEW cast_left AS
  SELECT a.id, b.id AS bid, c.id AS cid
    FROM a LEFT JOIN (b JOIN c ON c.id = b.y) ON a.v::bpchar = b.v::bpchar;
-- Keys of one set that are part of another's; constants
CREATE MATERIALIZED VIEW sets_of_sets AS
  SELECT k, x, k + x AS s, count(*) FROM a GROUP BY GROUPING SETS ((k, x), (x), (k + x), ());
CREATE MATERIALIZED VIEW sets_constant AS
  SELECT k, 1 AS one, count(*) + 1 AS n FROM a GROUP BY ROLLUP (k, 2);
-- A LATERAL item inside a join, beside an outer join
CREATE MATERIALIZED VIEW lateral_inside AS
  SELECT a.id, b.id AS bid, g, d.id AS did
    FROM a LEFT JOIN ((c LEFT JOIN b ON c.k = b.k) CROSS JOIN
                      (LATERAL generate_series(1, coalesce(b.y % 3, 3)) g JOIN c d ON d.id = g)) ON a.k = c.k;
-- VALUES that refer to their neighbours, in a subquery that is taken apart
CREATE MATERIALIZED VIEW lateral_values AS
  SELECT a.id, l.p FROM a CROSS JOIN LATERAL (VALUES (a.x), ((SELECT max(y) FROM b WHERE b.k = a.k))) l(p);
-- LATERAL below a FULL JOIN
CREATE MATERIALIZED VIEW lateral_full AS
  SELECT a.id, q.n, c.z FROM a JOIN (
    LATERAL (SELECT k, count(*) n FROM b WHERE b.y < a.x GROUP BY k) q FULL JOIN c ON c.z = q.n) ON true;
-- Columns of a subquery that an outer join inside makes NULL, and others
CREATE VIEW parts AS SELECT b.id, b.k, coalesce(c.z, 0) AS z, 1 AS one FROM b LEFT JOIN c ON c.k = b.k AND c.z > 5;
CREATE MATERIALIZED VIEW left_view AS
  SELECT a.id, p.* FROM a LEFT JOIN parts p(bid, bk) ON p.bk = a.k AND p.z <> a.x;
CREATE MATERIALIZED VIEW in_view AS
  SELECT a.id, a.x IN (SELECT p.z FROM parts p WHERE p.k = a.k) AS i FROM a;
-- An operator that is strict, and yet NULL for values
CREATE FUNCTION same_odd(int, int) RETURNS bool IMMUTABLE STRICT LANGUAGE sql AS
  'SELECT CASE WHEN $1 = $2 THEN true WHEN $1 % 2 = 0 THEN NULL ELSE false END';
CREATE OPERATOR =% (LEFTARG = int, RIGHTARG = int, FUNCTION = same_odd);
CREATE MATERIALIZED VIEW strange_any AS
  SELECT a.id, a.id =% ANY (SELECT id FROM b) AS u FROM a;
-- NOT NULL that a child has not
CREATE TABLE parent (k int);
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        EXECUTE 'ALTER TABLE parent ADD CONSTRAINT filled NOT NULL k NO INHERIT';
        CREATE TABLE child () INHERITS (parent);
    ELSE
        ALTER TABLE parent ALTER k SET NOT NULL;
        CREATE TABLE child () INHERITS (parent);
        ALTER TABLE child ALTER k DROP NOT NULL;
    END IF;
END $$;
INSERT INTO child VALUES (NULL), (1), (50);
CREATE MATERIALIZED VIEW in_child AS
  SELECT parent.k, parent.k IN (SELECT id FROM b) AS i FROM parent;
CALL steps();

UPDATE size SET n = 3;
CALL steps();
INSERT INTO b VALUES (20, 1, 3, 's'), (21, 2, 4, 't   ');
DELETE FROM b WHERE id IN (2, 3);
INSERT INTO attribute VALUES (5, 'x', 'nor this'), (6, 'b', '6'), (7, 'd', '1');
INSERT INTO doc VALUES (5, '"no"'), (6, '[1, 2, 3]'), (7, '[]');
INSERT INTO maybe VALUES (2, 0);
INSERT INTO number VALUES (1, 6, 6), (2, 7.0, 7);
CALL steps();
UPDATE a SET v = v || ' ', x = x + 1 WHERE id < 5;
UPDATE c SET z = z + 3, k = k + 1 WHERE id > 6;
UPDATE doc SET j = '8' WHERE id = 5;
UPDATE doc SET j = j || '[4]' WHERE id = 6;
DELETE FROM maybe;
DELETE FROM number WHERE k = 2;
DELETE FROM c WHERE id = 2;
UPDATE b SET k = 1 WHERE k = 3;
CALL steps();
UPDATE size SET n = 1;
DELETE FROM b;
INSERT INTO a VALUES (20, 2, 20, 't');
CALL steps();

-- More aggregates than a state has room for
DO $$
DECLARE query text := 'SELECT k';
BEGIN
    FOR i IN 1..380 LOOP
        query := query || format(', max(x + %s) AS m%s, sum(x + %s) FILTER (WHERE x > %s) AS s%s', i, i, i, i, i);
    END LOOP;
    EXECUTE 'CREATE MATERIALIZED VIEW wide AS ' || query || ' FROM a GROUP BY k';
END $$;
SELECT done, contents FROM step('wide');
UPDATE a SET x = x + 1;
SELECT done, contents FROM step('wide');
DROP MATERIALIZED VIEW wide;

-- Errors of rows that never were there together: the view is recomputed
CREATE DOMAIN positive AS int CHECK (VALUE >= 0);
CREATE FUNCTION fail(value int, state text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF value < 0 THEN
        RAISE 'negative' USING ERRCODE = state;
    END IF;
    RETURN value;
END $$;
TRUNCATE a, b;
INSERT INTO a VALUES (1, 1, 5);
INSERT INTO b VALUES (1, 1, 5);
CREATE MATERIALIZED VIEW error_domain AS
  SELECT a.id, (a.x - b.y)::positive FROM a LEFT JOIN b ON a.id = b.id;
CREATE MATERIALIZED VIEW error_own AS
  SELECT a.id, fail(a.x - b.y, 'MY001') FROM a LEFT JOIN b ON a.id = b.id;
CREATE MATERIALIZED VIEW error_cancel AS
  SELECT a.id, fail(a.x - b.y, '57014') FROM a LEFT JOIN b ON a.id = b.id;
SELECT done, contents FROM step('error_domain');
SELECT done, contents FROM step('error_own');
SELECT done, contents FROM step('error_cancel');
UPDATE a SET x = x - 100;
UPDATE b SET y = y - 100;
SELECT done, contents FROM step('error_domain');
SELECT done, contents FROM step('error_own');
-- An error that ends the refresh leaves nothing open behind
\set VERBOSITY terse
SELECT done, contents FROM step('error_cancel');
SELECT 'alive' AS session;
UPDATE b SET y = 5;
SELECT done, contents FROM step('error_cancel');

\set VERBOSITY default
DROP SCHEMA operators_corners CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
