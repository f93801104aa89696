-- SELECT DISTINCT: a row stays while some row of the base tables makes it.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA distincts;
SET search_path = distincts, test;

CREATE TABLE t (id int PRIMARY KEY, a int, b text, n numeric);
INSERT INTO t SELECT g, nullif(g % 4, 2), nullif('b' || g % 3, 'b1'), g % 2 FROM generate_series(1, 60) g;
CREATE TABLE u (a int, c text);
INSERT INTO u VALUES (0, 'zero'), (0, 'null'), (1, 'one'), (NULL, 'nothing'), (3, NULL);

CREATE MATERIALIZED VIEW one AS SELECT DISTINCT a FROM t;
CREATE MATERIALIZED VIEW two AS SELECT DISTINCT a, b FROM t;
CREATE MATERIALIZED VIEW expression AS SELECT DISTINCT a % 2 AS p, upper(b) AS ub FROM t WHERE id > 10;
CREATE MATERIALIZED VIEW numerics AS SELECT DISTINCT n FROM t;
CREATE MATERIALIZED VIEW joined AS SELECT DISTINCT t.b, u.c FROM t JOIN u ON u.a = t.a;
CREATE MATERIALIZED VIEW constant AS SELECT DISTINCT 1 AS one FROM t WHERE a = 1;
CREATE MATERIALIZED VIEW constant_infinite AS SELECT DISTINCT a, '-Infinity'::numeric AS low, 'NaN'::numeric AS none FROM t;
CREATE MATERIALIZED VIEW ordered AS SELECT DISTINCT b, a FROM t ORDER BY a DESC, b;
CREATE MATERIALIZED VIEW with_key AS SELECT DISTINCT id, a FROM t;
CREATE MATERIALIZED VIEW same_twice AS SELECT DISTINCT a, a AS a2 FROM t;
CREATE MATERIALIZED VIEW of_groups AS SELECT DISTINCT count(*) AS c FROM t GROUP BY a;
CREATE MATERIALIZED VIEW whole AS SELECT DISTINCT * FROM u;
CREATE MATERIALIZED VIEW unnested AS SELECT DISTINCT unnest(ARRAY[a, id % 3]) AS e FROM t;
CALL steps();

-- Rows that are there already change nothing
INSERT INTO t VALUES (101, 0, 'b0', 0), (102, NULL, NULL, NULL);
INSERT INTO u VALUES (0, 'zero'), (NULL, NULL);
CALL steps();
SELECT rows_inserted, rows_updated, rows_deleted FROM matview.history WHERE view = 'two'::regclass ORDER BY started DESC LIMIT 1;
INSERT INTO t VALUES (103, 5, 'new', 7), (104, 5, 'new', 7), (105, 5, NULL, NULL);
CALL steps();
DELETE FROM t WHERE id = 103;
CALL steps();
DELETE FROM t WHERE id = 104;
CALL steps();
-- The last row with NULL goes, in one statement with others' coming
UPDATE t SET a = coalesce(a, 9), b = coalesce(b, 'b9');
CALL steps();
-- "=" alike, but not in looks; then the one that was shown goes
INSERT INTO t VALUES (200, 0, 'b0', 1.0), (201, 0, 'b0', 1.00), (202, 0, 'b0', 7.70);
CALL steps();
DELETE FROM t WHERE n::text IN ('1', '7.70');
CALL steps();
UPDATE t SET n = n + 0.0 WHERE n = 0;
CALL steps();
DELETE FROM u WHERE a = 0;
UPDATE u SET c = 'one' WHERE c IS NULL;
CALL steps();
DELETE FROM t;
CALL steps();
INSERT INTO t VALUES (1, 1, 'b1', 1), (2, 1, 'b1', 1), (3, NULL, NULL, NULL), (4, NULL, NULL, NULL);
CALL steps();

-- Another idea of what is equal, which ORDER BY brings along
CREATE FUNCTION lower_lt(text, text) RETURNS bool IMMUTABLE STRICT LANGUAGE sql AS 'SELECT lower($1) < lower($2)';
CREATE FUNCTION lower_eq(text, text) RETURNS bool IMMUTABLE STRICT LANGUAGE sql AS 'SELECT lower($1) = lower($2)';
CREATE FUNCTION lower_cmp(text, text) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS
  'SELECT CASE WHEN lower($1) = lower($2) THEN 0 WHEN lower($1) < lower($2) THEN -1 ELSE 1 END';
CREATE OPERATOR <<< (PROCEDURE = lower_lt, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR === (PROCEDURE = lower_eq, LEFTARG = text, RIGHTARG = text, COMMUTATOR = ===, MERGES);
CREATE OPERATOR CLASS lower_ops FOR TYPE text USING btree AS OPERATOR 1 <<<, OPERATOR 3 ===, FUNCTION 1 lower_cmp(text, text);
CREATE TABLE words (id int PRIMARY KEY, k text);
INSERT INTO words VALUES (1, 'a'), (2, 'b');
CREATE MATERIALIZED VIEW words_grouped AS SELECT lower(min(k)) AS k, count(*) FROM words w GROUP BY w.k ORDER BY w.k USING <<<;
CREATE MATERIALIZED VIEW words_distinct AS SELECT count(*) FROM (SELECT DISTINCT k FROM words ORDER BY k USING <<<) d;
CREATE MATERIALIZED VIEW words_numbered AS
  SELECT id, row_number() OVER (PARTITION BY k ORDER BY k USING <<<, id) AS n FROM words;
SELECT v, done, contents FROM unnest('{words_grouped,words_distinct,words_numbered}'::text[]) v, step(v::regclass);
INSERT INTO words VALUES (3, 'A');
SELECT v, done, contents FROM unnest('{words_grouped,words_distinct,words_numbered}'::text[]) v, step(v::regclass);
SELECT DISTINCT reason FROM matview.history WHERE view::text ~ '^words' ORDER BY 1;

-- More columns than a tuple can have, twice
SELECT format('CREATE TABLE columns (%s)', string_agg(format('c%s int', i), ', ')) AS create FROM generate_series(1, 840) i \gset
:create;
INSERT INTO columns (c1) VALUES (2), (2);
CREATE MATERIALIZED VIEW columns_distinct AS SELECT DISTINCT * FROM columns;
CREATE MATERIALIZED VIEW columns_union AS SELECT * FROM columns UNION SELECT * FROM columns;
CREATE MATERIALIZED VIEW columns_first AS SELECT DISTINCT ON (c1) * FROM columns ORDER BY c1, c2;
SELECT v, done, contents FROM unnest('{columns_distinct,columns_union,columns_first}'::text[]) v, step(v::regclass);
INSERT INTO columns (c1) VALUES (1);
SELECT v, done, contents FROM unnest('{columns_distinct,columns_union,columns_first}'::text[]) v, step(v::regclass);
SELECT DISTINCT reason FROM matview.history WHERE view::text ~ '^columns' ORDER BY 1;

DROP SCHEMA distincts CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
