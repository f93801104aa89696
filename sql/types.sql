-- Values of all kinds: without equality, with an equality that hides
-- differences, large, many, oddly named.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA types;
SET search_path = types, test;
SELECT 'CREATE EXTENSION citext SCHEMA types' WHERE EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') \gexec

-- No "=" at all
CREATE TABLE noeq (id int, j json, p point, x xml, pg polygon);
INSERT INTO noeq SELECT g % 5, ('{"g": ' || g % 3 || '}')::json, point(g % 4, 1), NULL, '((0,0),(1,1),(1,0))' FROM generate_series(1, 20) g;
CREATE MATERIALIZED VIEW noeq_rows AS SELECT * FROM noeq;
CREATE MATERIALIZED VIEW noeq_one AS SELECT j FROM noeq;
CREATE MATERIALIZED VIEW noeq_groups AS SELECT id, count(*), json_agg(j ORDER BY j::text) AS js, count(p) AS c FROM noeq GROUP BY id;
CREATE MATERIALIZED VIEW noeq_join AS SELECT a.j, b.p FROM noeq a JOIN noeq b ON a.id = b.id AND a.p ~= b.p;
CALL steps();
INSERT INTO noeq VALUES (1, '{"g": 1}', '(0,0)', NULL, NULL), (1, '{"g":1}', '(0,-0)', NULL, NULL), (NULL, NULL, NULL, NULL, NULL);
UPDATE noeq SET j = '{"g":  2}' WHERE id = 3;
DELETE FROM noeq WHERE ctid = (SELECT min(ctid) FROM noeq WHERE id = 2);
CALL steps();
UPDATE noeq SET p = point(1, 2), pg = '((0,0),(2,2),(2,0))' WHERE id = 1;
DELETE FROM noeq WHERE id IS NULL;
CALL steps();
DROP TABLE noeq CASCADE;

-- "=" hides what a user can see
CREATE TABLE hides (id int PRIMARY KEY, n numeric, f float8, iv interval, c char(5), b box, j jsonb);
INSERT INTO hides VALUES (1, 1.0, 0, '1 day', 'a', '((0,0),(1,1))', '{"a": 1.0}'), (2, 1.00, '-0', '24 hours', 'a ', '((0,0),(2,0.5))', '{"a": 1.00}'),
  (3, 1, 0, '1440 min', 'b', NULL, '{"a": 1}');
CREATE MATERIALIZED VIEW hides_rows AS SELECT id, n, f, iv, c, b, j FROM hides;
CREATE MATERIALIZED VIEW hides_bag AS SELECT n, iv FROM hides;
CREATE MATERIALIZED VIEW hides_numeric AS SELECT n, count(*) FROM hides GROUP BY n;
CREATE MATERIALIZED VIEW hides_extremum AS SELECT max(n) AS ma, min(n) AS mi, max(iv) AS iv, sum(n) AS s FROM hides;
CREATE MATERIALIZED VIEW hides_distinct AS SELECT DISTINCT n FROM hides;
CREATE MATERIALIZED VIEW hides_join AS SELECT a.n AS an, b.n AS bn FROM hides a JOIN hides b ON a.n = b.n;
CREATE UNIQUE INDEX ON hides_numeric (n);
-- Which of several looks a group shows is SQL's choice, so these are compared by
-- value, and must show a value that is there
CREATE SCHEMA by_value;
CREATE MATERIALIZED VIEW by_value.f AS SELECT f AS key, count(*) FROM hides GROUP BY f;
CREATE MATERIALIZED VIEW by_value.iv AS SELECT iv AS key, count(*) FROM hides GROUP BY iv;
CREATE MATERIALIZED VIEW by_value.j AS SELECT j AS key, count(*) FROM hides GROUP BY j;
CREATE FUNCTION shown() RETURNS TABLE (col text, done text, missing bigint, extra bigint, strange bigint)
LANGUAGE plpgsql AS $$
DECLARE
    query text;
BEGIN
    FOREACH col IN ARRAY '{f,iv,j}'::text[] LOOP
        query := format('SELECT %I AS key, count(*) FROM hides GROUP BY 1', col);
        SELECT r.mode INTO done FROM matview.refresh_incremental(format('by_value.%I', col)::regclass) r;
        EXECUTE format('SELECT count(*) FROM ((%s) EXCEPT ALL TABLE by_value.%I) x', query, col) INTO missing;
        EXECUTE format('SELECT count(*) FROM (TABLE by_value.%I EXCEPT ALL (%s)) x', col, query) INTO extra;
        EXECUTE format('SELECT count(*) FROM by_value.%1$I v WHERE v.key::text NOT IN
                        (SELECT %1$I::text FROM hides)', col) INTO strange;
        RETURN NEXT;
    END LOOP;
END $$;
CALL steps();
SELECT * FROM shown();
UPDATE hides SET n = 1.0000 WHERE id = 1;
CALL steps();
SELECT * FROM shown();
UPDATE hides SET f = '-0' WHERE id = 1;
UPDATE hides SET iv = '86400 s', j = '{"a": 1.000}' WHERE id = 1;
CALL steps();
SELECT * FROM shown();
DELETE FROM hides WHERE id = 1;
CALL steps();
SELECT * FROM shown();
INSERT INTO hides VALUES (1, 1.0, 0, '1 day', 'a', '((0,0),(1,1))', '{"a": 1.0}');
DELETE FROM hides WHERE id = 2;
CALL steps();
SELECT * FROM shown();
UPDATE hides SET n = trim_scale(n);
CALL steps();
SELECT * FROM shown();
SET client_min_messages = warning;
DROP SCHEMA by_value CASCADE;
DROP TABLE hides CASCADE;

-- Enums, domains, composites, arrays, ranges, bytea, network, bits, text search
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN pair_domain AS pair;
CREATE TABLE kinds (id int PRIMARY KEY, m mood, d positive, p pair, pd pair_domain, ds positives, pa pair[], r int4range, mr int4multirange,
                    by bytea, i inet, bs varbit, ts tsvector, u uuid, o oid, n name, c "char", tz timetz, ma macaddr, e mood[]);
INSERT INTO kinds SELECT g, (ARRAY['sad', 'ok', 'happy', NULL])[1 + g % 4]::mood, 1 + g % 3, ROW(g % 2, 'p')::pair, ROW(g % 3, NULL)::pair, ARRAY[1 + g % 2]::positives, ARRAY[ROW(g, 'x')::pair, NULL],
  int4range(g % 5, g % 5 + 2), int4multirange(int4range(0, g % 3)), decode(lpad(to_hex(g), 4, '0'), 'hex'), ('10.0.0.' || g % 3)::inet, g::bit(8)::varbit, to_tsvector('simple', 'word' || g % 3),
  ('00000000-0000-0000-0000-00000000000' || g % 5)::uuid, g % 4, 'n' || g % 3, chr(65 + g % 3)::"char", '10:00+02', '08:00:2b:01:02:03', ARRAY['ok', NULL]::mood[]
  FROM generate_series(1, 30) g;
CREATE MATERIALIZED VIEW kinds_rows AS SELECT * FROM kinds;
CREATE MATERIALIZED VIEW kinds_bag AS SELECT m, d, p, pd, r, i, ts, n, c, e FROM kinds;
CREATE MATERIALIZED VIEW kinds_fields AS SELECT id, (p).a AS pa, (pd).b AS pb, ds[1] AS d1, pa[1] AS p1, (pa[1]).a AS p1a, lower(r) AS l FROM kinds;
CREATE MATERIALIZED VIEW kinds_groups AS SELECT m, d, count(*), max(u::text) AS u, min(i) AS i, max(e) AS e, min(m) AS mm, max(d) AS md FROM kinds GROUP BY m, d;
CREATE MATERIALIZED VIEW kinds_keys AS SELECT p, ds, r, mr, by, bs, ts, u, count(*), sum(d) AS s FROM kinds GROUP BY p, ds, r, mr, by, bs, ts, u;
CREATE MATERIALIZED VIEW kinds_distinct AS SELECT DISTINCT p, m, d, n, c, o, tz, ma FROM kinds;
CREATE MATERIALIZED VIEW kinds_join AS SELECT a.id, b.id AS bid FROM kinds a JOIN kinds b ON a.p = b.p AND a.m = b.m AND a.r && b.r;
CALL steps();
UPDATE kinds SET m = 'happy', p = ROW(9, 'nine'), pd = NULL, d = NULL WHERE id % 5 = 0;
UPDATE kinds SET p = NULL, ds = '{}', by = '', ts = '' WHERE id = 3;
UPDATE kinds SET p = ROW(NULL, NULL), e = NULL WHERE id = 4;
INSERT INTO kinds (id) VALUES (100);
DELETE FROM kinds WHERE id BETWEEN 20 AND 22;
CALL steps();
ALTER TYPE mood ADD VALUE 'great' BEFORE 'happy';
UPDATE kinds SET m = 'great' WHERE id % 3 = 0;
CALL steps();
DROP TABLE kinds CASCADE;

-- Values that are toasted, and compressed ones that are equal
CREATE TABLE big (id int PRIMARY KEY, k int, v text, w text);
ALTER TABLE big ALTER v SET STORAGE EXTERNAL;
INSERT INTO big SELECT g, g % 3, repeat(chr(64 + g), 9000), (SELECT string_agg(md5((g * h)::text), '') FROM generate_series(1, 300) h) FROM generate_series(1, 12) g;
CREATE MATERIALIZED VIEW big_rows AS SELECT id, v, w FROM big;
CREATE MATERIALIZED VIEW big_bag AS SELECT v FROM big;
CREATE MATERIALIZED VIEW big_keys AS SELECT v, count(*), max(w) AS w FROM big GROUP BY v;
CREATE MATERIALIZED VIEW big_agg AS SELECT k, string_agg(v, '' ORDER BY id) AS l, max(v) AS m FROM big GROUP BY k;
CALL steps();
UPDATE big SET k = k + 1 WHERE id = 1;
UPDATE big SET w = w || 'x' WHERE id = 2;
UPDATE big SET v = v || '' WHERE id = 3;
INSERT INTO big SELECT id + 100, k, v, w FROM big WHERE id < 4;
CALL steps();
DELETE FROM big WHERE id IN (1, 2, 3, 102);
UPDATE big SET v = repeat('z', 20000), w = NULL WHERE id = 5;
CALL steps();
ALTER TABLE big ALTER v SET STORAGE EXTENDED;
UPDATE big SET v = v || '';
CALL steps();
DROP TABLE big CASCADE;

-- Seventy columns, some dropped, the last one used
SELECT 'CREATE TABLE wide (' || string_agg('c' || g || ' int', ', ') || ')' FROM generate_series(1, 70) g \gexec
SELECT 'ALTER TABLE wide ' || string_agg('DROP c' || g, ', ') FROM generate_series(3, 60, 7) g \gexec
INSERT INTO wide (c1, c2, c65, c70) SELECT g, g % 4, g % 5, g * 2 FROM generate_series(1, 40) g;
CREATE MATERIALIZED VIEW wide_all AS SELECT * FROM wide;
CREATE MATERIALIZED VIEW wide_last AS SELECT c70, c65 FROM wide WHERE c68 IS NULL;
CREATE MATERIALIZED VIEW wide_groups AS SELECT c2, count(c70), sum(c70) AS s, max(c65) AS m FROM wide GROUP BY c2;
CALL steps();
UPDATE wide SET c70 = c70 + 1, c66 = c1 WHERE c1 % 3 = 0;
UPDATE wide SET c68 = 1 WHERE c1 % 10 = 0;
DELETE FROM wide WHERE c1 = 7;
CALL steps();
-- One that no view needs goes; then one is added
ALTER TABLE wide DROP COLUMN c1 CASCADE;
INSERT INTO wide (c2, c65, c70) VALUES (1, 2, 3);
CALL steps();
ALTER TABLE wide ADD COLUMN c71 int DEFAULT 5;
UPDATE wide SET c71 = 6, c70 = 0 WHERE c2 = 1;
CALL steps();
DROP TABLE wide CASCADE;

-- Names: long, quoted, and those that the change log uses itself
CREATE TABLE "Quoted ""name"" with	tab" ("select" int PRIMARY KEY, "A b" text, "ключ" int, "%s" int, """" int);
INSERT INTO "Quoted ""name"" with	tab" SELECT g, 'b' || g % 3, g % 2, g, -g FROM generate_series(1, 10) g;
CREATE MATERIALIZED VIEW "A view, 'quoted' ""twice"" and as long as a name can be, 63 byte" AS
  SELECT "A b", "ключ", sum("%s") AS "$1", max("""") AS "max """ FROM "Quoted ""name"" with	tab" GROUP BY 1, 2;
CREATE MATERIALIZED VIEW "Rows" AS SELECT "select", "A b" || '''\' AS "A b", """" FROM "Quoted ""name"" with	tab";
CREATE TABLE log (xid int, cid text, weight int, count numeric, hash bigint, key int, c1 int, c2 int, view_row tid, key1 int, aggregate1 int, tid int, ctid_ int, "test r" int);
INSERT INTO log SELECT g, 'cid', -1, g, 0, g % 3, g, g, '(0,1)', 1, 2, 3, 4, 5 FROM generate_series(1, 10) g;
CREATE MATERIALIZED VIEW log_rows AS SELECT * FROM log;
CREATE MATERIALIZED VIEW log_groups AS SELECT key, key1, count(*) AS hash, sum(weight) AS weight, sum(count) AS count, max(xid) AS xid, min(aggregate1) AS key3 FROM log GROUP BY key, key1;
CREATE MATERIALIZED VIEW log_join AS SELECT a.weight, b.weight AS w, a.xid, b.cid FROM log a JOIN log b USING (key);
CREATE SCHEMA wanted;
CREATE TABLE wanted.delta (id int, wanted int, delta int);
CREATE MATERIALIZED VIEW delta AS WITH wanted AS (SELECT * FROM wanted.delta), d AS (SELECT wanted.* FROM wanted) SELECT delta, count(DISTINCT wanted) FROM d GROUP BY delta;
CALL steps();
UPDATE "Quoted ""name"" with	tab" SET "ключ" = 7, """" = 1 WHERE "select" < 4;
DELETE FROM "Quoted ""name"" with	tab" WHERE "select" = 5;
UPDATE log SET weight = 0, count = NULL, key = NULL WHERE xid < 3;
UPDATE log SET weight = -1, xid = NULL, key1 = 7 WHERE xid = 5;
DELETE FROM log WHERE xid = 7;
INSERT INTO wanted.delta VALUES (1, 1, 1), (2, 1, 1), (3, 2, 1), (3, NULL, NULL);
CALL steps();
DROP SCHEMA wanted CASCADE;
DROP TABLE log CASCADE;
DROP TABLE "Quoted ""name"" with	tab" CASCADE;

-- Generated columns, identity, and a table of a composite type
CREATE TYPE person AS (name text, age int);
CREATE TABLE people OF person;
CREATE TABLE gen (id int GENERATED ALWAYS AS IDENTITY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO people SELECT 'p' || g, g % 4 FROM generate_series(1, 10) g;
INSERT INTO gen (a) SELECT g % 4 FROM generate_series(1, 10) g;
CREATE MATERIALIZED VIEW people_ages AS SELECT age, count(*) FROM people GROUP BY age;
CREATE MATERIALIZED VIEW gen_rows AS SELECT id, b FROM gen WHERE b > 2;
CREATE MATERIALIZED VIEW gen_groups AS SELECT b, count(*), sum(a) FROM gen GROUP BY b;
CALL steps();
UPDATE people SET age = 9 WHERE name = 'p1';
UPDATE gen SET a = a + 1 WHERE id % 2 = 0;
INSERT INTO gen (a) VALUES (NULL), (5);
CALL steps();

DROP SCHEMA types CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
