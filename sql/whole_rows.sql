-- Whole rows: rows of NULLs and no row, types that change, rows of anything.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA whole_rows;
SET search_path = whole_rows, test;

CREATE TABLE a (gone int, id int PRIMARY KEY, k int, v varchar(5));
ALTER TABLE a DROP COLUMN gone;
CREATE TABLE b (k int, gone text, x numeric);
ALTER TABLE b DROP COLUMN gone;
CREATE TABLE p (id int, k int) PARTITION BY LIST (k);
CREATE TABLE p1 (k int, junk int, id int);
ALTER TABLE p1 DROP COLUMN junk;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p DEFAULT;
INSERT INTO a SELECT g, g % 4, 'v' || g FROM generate_series(1, 12) g;
INSERT INTO b VALUES (1, 1.0), (1, 1.00), (2, 2), (NULL, NULL), (NULL, 3);
INSERT INTO p SELECT g, g % 3 FROM generate_series(1, 9) g;

CREATE MATERIALIZED VIEW row_shown AS SELECT b FROM b;
CREATE MATERIALIZED VIEW row_counted AS
  SELECT k, count(b) AS n, count(b) FILTER (WHERE b IS NOT NULL) AS filled, count(DISTINCT b) AS d FROM b GROUP BY k;
CREATE MATERIALIZED VIEW row_null AS SELECT id, a IS NULL AS n, a IS NOT NULL AS nn, num_nonnulls(a) AS m FROM a;
CREATE MATERIALIZED VIEW row_key AS SELECT a, count(*) FROM a GROUP BY a;
CREATE MATERIALIZED VIEW row_distinct AS SELECT DISTINCT b FROM b;
CREATE MATERIALIZED VIEW row_of_key AS SELECT a.id, a, count(*) FROM a JOIN b USING (k) GROUP BY a.id;
CREATE MATERIALIZED VIEW row_window AS SELECT id, lag(a) OVER (PARTITION BY k ORDER BY id) AS before FROM a;
CREATE MATERIALIZED VIEW row_partition AS SELECT p, p.id FROM p;
CREATE MATERIALIZED VIEW row_compared AS SELECT a.id, o.id AS oid FROM a JOIN a o ON a >= o AND o.k = a.k;
-- As text and JSON
CREATE MATERIALIZED VIEW row_text AS SELECT id, a::text AS t, row_to_json(a) AS j, to_jsonb(a.*) AS b FROM a;
CREATE MATERIALIZED VIEW row_json_agg AS SELECT k, jsonb_agg(a ORDER BY id) AS rows FROM a GROUP BY k;
CREATE MATERIALIZED VIEW row_of_query AS
  SELECT row_to_json(x) AS j FROM (SELECT id, upper(v) AS "V V", k + 1 AS l FROM a WHERE id > 2) x(i, "V V");
CREATE MATERIALIZED VIEW row_of_groups AS
  WITH x AS (SELECT k, count(*) AS n, max(v) AS m FROM a GROUP BY k) SELECT to_jsonb(x) AS j, x IS NULL AS n FROM x;
CREATE MATERIALIZED VIEW row_of_union AS
  SELECT row_to_json(u)::text AS j, count(u) AS n FROM (SELECT id, k FROM a UNION ALL SELECT id, k FROM p) u GROUP BY 1;
CREATE VIEW plain AS SELECT id, v FROM a WHERE k <> 3;
CREATE MATERIALIZED VIEW row_of_view AS SELECT plain, to_json(plain) AS j FROM plain;
CREATE MATERIALIZED VIEW row_of_function AS
  SELECT a.id, f IS NULL AS n, num_nonnulls(f) AS m, row_to_json(f) AS j
    FROM a, unnest(ARRAY[a.k, NULL]) WITH ORDINALITY f(e, i) WHERE EXISTS (SELECT FROM b WHERE b.k = a.k);
-- What an outer join makes NULL is no row of NULLs
CREATE MATERIALIZED VIEW row_left AS
  SELECT a.id, b, num_nonnulls(b) AS m, b IS NULL AS n, row_to_json(b) AS j FROM a LEFT JOIN b ON b.k = a.k AND a.id < 9;
CREATE MATERIALIZED VIEW row_full AS
  SELECT a, b, num_nonnulls(a, b) AS m FROM a FULL JOIN b ON b.k = a.k;
CREATE MATERIALIZED VIEW row_left_counted AS
  SELECT a.k, count(b) AS n, count(*) AS c FROM a LEFT JOIN b ON b.k = a.id GROUP BY a.k;
CREATE MATERIALIZED VIEW row_left_query AS
  SELECT a.id, num_nonnulls(x) AS m, x.n FROM a LEFT JOIN (SELECT k, count(*) AS n FROM b GROUP BY k) x ON x.k = a.k;
CREATE MATERIALIZED VIEW row_left_view AS
  SELECT b.x, plain, num_nonnulls(plain) AS m FROM b LEFT JOIN plain ON plain.id = b.k;
CREATE MATERIALIZED VIEW row_left_lateral AS
  SELECT a.id, num_nonnulls(l) AS m FROM a LEFT JOIN LATERAL (SELECT b.x FROM b WHERE b.k = a.k ORDER BY x DESC LIMIT 1) l ON true;
CREATE MATERIALIZED VIEW row_left_function AS
  SELECT a.id, num_nonnulls(f) AS m FROM a LEFT JOIN generate_series(1, a.k) WITH ORDINALITY f(g, n) ON f.g > 1;
-- In subqueries, and of the query around
CREATE MATERIALIZED VIEW row_scalar AS
  SELECT id, (SELECT b FROM b WHERE b.k = a.k ORDER BY x DESC, x::text LIMIT 1) AS best,
         (SELECT num_nonnulls(a) + count(b) FROM b WHERE b.k = a.k) AS n FROM a;
CREATE MATERIALIZED VIEW row_in AS SELECT id FROM a WHERE a IN (SELECT o FROM a o WHERE o.k = 1) OR a::text LIKE '%4%';
-- Not: labels of an enum can change
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE c (id int, m mood);
INSERT INTO c VALUES (1, 'low'), (2, 'high');
CREATE MATERIALIZED VIEW row_enum AS SELECT row_to_json(c) AS j FROM c;
CREATE MATERIALIZED VIEW row_enum_counted AS SELECT m, count(c) AS n FROM c GROUP BY m;
CALL steps();

INSERT INTO a VALUES (20, 1, NULL), (21, NULL, 'x');
INSERT INTO b VALUES (3, NULL), (20, 5), (NULL, NULL);
INSERT INTO p VALUES (10, 1), (11, NULL);
INSERT INTO c VALUES (3, 'low');
DELETE FROM a WHERE id = 5;
CALL steps();
UPDATE a SET k = k + 1 WHERE id % 3 = 0;
UPDATE b SET x = x + 0.00 WHERE k = 1;
DELETE FROM b WHERE k = 2;
UPDATE p SET k = 1 WHERE id = 2;
CALL steps();
DELETE FROM b WHERE k IS NULL;
DELETE FROM b WHERE k = 1;
CALL steps();

-- The type gets a column, another name for one, loses one
CREATE TABLE d (id int PRIMARY KEY, k int);
INSERT INTO d SELECT g, g % 3 FROM generate_series(1, 6) g;
CREATE MATERIALIZED VIEW d_json AS SELECT d.id, row_to_json(d) AS j FROM d;
CREATE MATERIALIZED VIEW d_outer AS SELECT a.id, to_jsonb(d) AS j, num_nonnulls(d) AS n FROM a LEFT JOIN d ON d.k = a.k;
CREATE MATERIALIZED VIEW d_counted AS SELECT k, count(d) AS n, min(d::text) AS t FROM d GROUP BY k;
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
INSERT INTO d VALUES (7, 1);
ALTER TABLE d ADD COLUMN more text DEFAULT 'm';
INSERT INTO d VALUES (8, 2, 'n');
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
UPDATE d SET more = 'o' WHERE id < 3;
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
UPDATE d SET more = 'p' WHERE id = 3;
ALTER TABLE d RENAME COLUMN more TO less;
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
ALTER TABLE d ALTER COLUMN less TYPE varchar(1);
UPDATE d SET less = 'q' WHERE id = 4;
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
ALTER TABLE d DROP COLUMN less;
DELETE FROM d WHERE id = 1;
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
UPDATE d SET k = 5 WHERE id = 2;
SELECT v, done, contents FROM unnest('{d_json,d_outer,d_counted}'::text[]) v, step(v::regclass);
-- A plain view gets a column
CREATE OR REPLACE VIEW plain AS SELECT id, v, k FROM a WHERE k <> 3;
UPDATE a SET v = 'w' WHERE id = 6;
SELECT v, done, contents FROM unnest('{row_of_view,row_left_view}'::text[]) v, step(v::regclass);
UPDATE a SET v = 'y' WHERE id = 6;
SELECT v, done, contents FROM unnest('{row_of_view,row_left_view}'::text[]) v, step(v::regclass);
-- Of a table with dropped columns, beside virtual ones where there are any
SELECT format('CREATE TABLE virtual (id int PRIMARY KEY, gone int, k int, g int GENERATED ALWAYS AS (k + 1) %s)',
              CASE WHEN current_setting('server_version_num')::int >= 180000 THEN 'VIRTUAL' ELSE 'STORED' END) AS create \gset
:create;
ALTER TABLE virtual DROP COLUMN gone;
INSERT INTO virtual VALUES (1, 1), (2, NULL), (3, 3);
CREATE MATERIALIZED VIEW virtual_tested AS SELECT id, v IS NULL AS n, v IS NOT NULL AS nn FROM virtual v;
CREATE MATERIALIZED VIEW virtual_joined AS
  SELECT w.k, count(*) FROM virtual v JOIN virtual w USING (id) WHERE (v IS NOT NULL) IS NOT DISTINCT FROM false GROUP BY w.k;
CREATE MATERIALIZED VIEW virtual_counted AS SELECT k, count(v) FROM virtual v GROUP BY k;
SELECT v, contents FROM unnest('{virtual_tested,virtual_joined,virtual_counted}'::text[]) v, step(v::regclass);
INSERT INTO virtual VALUES (4, 4), (5, NULL);
SELECT v, contents FROM unnest('{virtual_tested,virtual_joined,virtual_counted}'::text[]) v, step(v::regclass);

DROP SCHEMA whole_rows CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
