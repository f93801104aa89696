--
-- Functions that depend on settings alone: maintained as long as the settings
-- are the same, recomputed under others.
--
CREATE EXTENSION matview_refresh;
CREATE SCHEMA settings;
SET search_path = settings;
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE t (id int, ts timestamptz, m mood, d date);
INSERT INTO t SELECT i, '2024-01-01'::timestamptz + i * interval '7 hours', 'low', date '2024-01-01' + i
  FROM generate_series(1, 20) i;

CREATE MATERIALIZED VIEW by_day AS
  SELECT date_trunc('day', ts) AS day, count(*) AS n FROM t GROUP BY 1;
CREATE MATERIALIZED VIEW texts AS
  SELECT id || 'x' AS x, concat_ws(',', id, d) AS y, to_char(ts, 'HH24') AS h,
         jsonb_build_object('id', id, 'ts', ts) AS j, ts::text AS ts
    FROM t WHERE ts > date '2024-01-02';
-- these read more than settings
CREATE MATERIALIZED VIEW moods AS SELECT concat(m, id) AS c FROM t;
CREATE MATERIALIZED VIEW past AS SELECT id FROM t WHERE ts < now();
CREATE MATERIALIZED VIEW cast_text AS SELECT id FROM t WHERE ts < ('2024-01-0' || (id % 9 + 1))::timestamptz;

CREATE VIEW checks AS
  SELECT v::text, (matview.check(v)).*
    FROM unnest('{by_day,texts,moods,past,cast_text}'::regclass[]) AS v;

SELECT view, mode FROM unnest('{by_day,texts,moods,past,cast_text}'::regclass[]) AS v,
       matview.refresh_incremental(v);
INSERT INTO t VALUES (30, '2024-01-03 23:30+00', 'high', '2024-02-01');
DELETE FROM t WHERE id = 3;
SELECT view, mode FROM unnest('{by_day,texts,moods,past,cast_text}'::regclass[]) AS v,
       matview.refresh_incremental(v);
TABLE checks;

-- another time zone: other days, and the next refresh knows
SET timezone = 'Asia/Tokyo';
SELECT v, missing > 0 AND extra > 0 AS differs FROM checks WHERE v IN ('by_day', 'texts') ORDER BY v;
SELECT view, mode FROM unnest('{by_day,texts}'::regclass[]) AS v, matview.refresh_incremental(v);
TABLE checks;
UPDATE t SET ts = ts + interval '1 day' WHERE id = 5;
SELECT view, mode FROM unnest('{by_day,texts,moods,past,cast_text}'::regclass[]) AS v,
       matview.refresh_incremental(v);
TABLE checks;
SELECT h.view, h.mode, h.reason FROM matview.history h
 WHERE h.view = ANY ('{by_day,texts,moods,past,cast_text}'::regclass[])
 ORDER BY h.view::text, h.started;

(TABLE by_day EXCEPT ALL SELECT date_trunc('day', ts) AS day, count(*) AS n FROM t GROUP BY 1)
UNION ALL
(SELECT date_trunc('day', ts) AS day, count(*) AS n FROM t GROUP BY 1 EXCEPT ALL TABLE by_day);

-- functions that are not in the query: of a window's frame, of an aggregate
SET timezone = 'UTC';
CREATE TABLE u (id int, ts timestamptz);
INSERT INTO u VALUES (1, '2024-03-10 05:30+00'), (2, '2024-03-11 05:00+00');
CREATE FUNCTION add_text(text, timestamptz) RETURNS text STABLE LANGUAGE sql AS $$ SELECT coalesce($1 || ',', '') || $2 $$;
CREATE FUNCTION add_state(text, text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 || $2 $$;
CREATE FUNCTION finish(text) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT $1 || clock_timestamp() $$;
CREATE AGGREGATE stable_texts(timestamptz) (sfunc = add_text, stype = text);
CREATE AGGREGATE volatile_texts(text) (sfunc = add_state, stype = text, finalfunc = finish);
CREATE AGGREGATE good_texts(text) (sfunc = add_state, stype = text);
CREATE MATERIALIZED VIEW framed AS
  SELECT id, count(*) OVER (ORDER BY ts RANGE BETWEEN '1 day' PRECEDING AND CURRENT ROW) AS n FROM u;
CREATE MATERIALIZED VIEW stable AS SELECT stable_texts(ts) FROM u;
CREATE MATERIALIZED VIEW volatile AS SELECT volatile_texts(id::text) FROM u;
CREATE MATERIALIZED VIEW good AS SELECT good_texts(id::text) FROM u;
SELECT view, mode FROM unnest('{framed,stable,volatile,good}'::regclass[]) AS v, matview.refresh_incremental(v);
SELECT v, e FROM unnest('{framed,stable,volatile,good}'::regclass[]) AS v, matview.explain(v) e WHERE e ~ '^(strategy|reason)';
SET timezone = 'America/New_York';
INSERT INTO u VALUES (3, '2024-03-12 05:00+00');
SELECT view, mode FROM unnest('{framed,stable,good}'::regclass[]) AS v, matview.refresh_incremental(v);
SELECT v, c FROM unnest('{framed,stable,good}'::regclass[]) AS v, matview.check(v) c;
SELECT * FROM framed ORDER BY id;

-- functions that are called immutable, and read settings all the same
SET timezone = 'UTC';
CREATE TABLE w (id int, ts timestamptz, f float8, b bytea, n text);
INSERT INTO w VALUES (1, '2024-01-01 00:00+00', 1 / 3.0, '\x01', 'a'), (2, '2024-01-02 00:00+00', 2 / 3.0, '\x02', 'B');
CREATE MATERIALIZED VIEW im_zone AS SELECT id, ts AT TIME ZONE 'EST' AS z FROM w;
CREATE MATERIALIZED VIEW im_float AS SELECT f::text AS f, count(*) FROM w GROUP BY 1;
CREATE MATERIALIZED VIEW im_point AS SELECT id, point(f, 1)::text AS p FROM w;
CREATE MATERIALIZED VIEW im_bytes AS SELECT id, b::text AS b FROM w;
CREATE MATERIALIZED VIEW im_quoted AS SELECT id, quote_ident(n) AS q FROM w;
CREATE VIEW immutables AS SELECT v FROM unnest('{im_zone,im_float,im_point,im_bytes,im_quoted}'::regclass[]) AS v;
SELECT view, mode FROM immutables, matview.refresh_incremental(v);
INSERT INTO w VALUES (3, '2024-01-03 00:00+00', 1 / 7.0, '\x03', 'c');
SELECT view, mode FROM immutables, matview.refresh_incremental(v);
SET timezone_abbreviations = 'Australia';
SET extra_float_digits = 0;
SET bytea_output = 'escape';
SET quote_all_identifiers = on;
INSERT INTO w VALUES (4, '2024-01-04 00:00+00', 1 / 9.0, '\x04', 'd');
SELECT view, mode FROM immutables, matview.refresh_incremental(v);
SELECT v, c.* FROM immutables, matview.check(v) c;
RESET timezone_abbreviations;
RESET extra_float_digits;
RESET bytea_output;
RESET quote_all_identifiers;


-- of functions of one name, some take settings and some the clock
CREATE TABLE moments (id int, x xid, ts timestamp, tz timestamptz, ti time, tt timetz);
INSERT INTO moments VALUES (1, '700', '2024-01-31 12:00', '2024-01-31 12:00+00', '12:00', '12:00+00');
CREATE MATERIALIZED VIEW age_of_xid AS SELECT id, age(x) FROM moments;
CREATE MATERIALIZED VIEW age_until_today AS SELECT id, age(ts) AS a, age(tz) AS b FROM moments;
CREATE MATERIALIZED VIEW zone_of_today AS SELECT id, ti::timetz AS t FROM moments;
CREATE MATERIALIZED VIEW zone_moved AS SELECT id, tt AT TIME ZONE 'Europe/Berlin' AS t FROM moments;
CREATE MATERIALIZED VIEW age_between AS SELECT id, age('2024-03-30 00:00+00', tz) AS a, tz::timetz AS t FROM moments;
CREATE MATERIALIZED VIEW age_without_zone AS SELECT id, age('2024-03-30 00:00', ts) AS a FROM moments;
CREATE VIEW ages AS
  SELECT v FROM unnest('{age_of_xid,age_until_today,zone_of_today,zone_moved,age_between,age_without_zone}'::regclass[]) AS v;
SELECT view, mode FROM ages, matview.refresh_incremental(v);
INSERT INTO moments SELECT 2, x, ts, tz, ti, tt FROM moments;
SELECT view, mode FROM ages, matview.refresh_incremental(v);
SET timezone = 'America/New_York';
INSERT INTO moments SELECT 3, x, ts, tz, ti, tt FROM moments WHERE id = 1;
SELECT view, mode FROM ages, matview.refresh_incremental(v);
SELECT v, c.* FROM ages, matview.check(v) c WHERE v::text !~ 'of_xid|until_today';
SELECT DISTINCT a, t FROM age_between;

-- aggregates that are called immutable, and are made of what is not
CREATE TYPE colour AS ENUM ('red', 'blue');
CREATE TABLE parts (id int PRIMARY KEY, tz timestamptz, c colour);
INSERT INTO parts VALUES (1, '2024-01-01 00:00+00', 'red');
CREATE MATERIALIZED VIEW object_zone AS SELECT id, jsonb_object_agg(id, tz) AS x FROM parts GROUP BY id;
CREATE MATERIALIZED VIEW object_enum AS SELECT id, jsonb_object_agg(id, c) AS x FROM parts GROUP BY id;
SELECT v, mode FROM unnest('{object_zone,object_enum}'::regclass[]) v, matview.refresh_incremental(v);
SET timezone = 'Asia/Shanghai';
ALTER TYPE colour RENAME VALUE 'red' TO 'green';
INSERT INTO parts VALUES (2, '2024-01-01 00:00+00', 'blue');
SELECT v, r.mode, c.* FROM unnest('{object_zone,object_enum}'::regclass[]) v, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;
INSERT INTO parts VALUES (3, '2024-01-01 00:00+00', 'blue');
SELECT v, r.mode, c.* FROM unnest('{object_zone,object_enum}'::regclass[]) v, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;
-- what is stable for some other type, or for a setting that is among those
CREATE TYPE fixed AS (a int, b text[]);
CREATE TYPE dated AS (a int, b date);
CREATE TABLE inputs (id int PRIMARY KEY, j jsonb, n text, y text, words text);
INSERT INTO inputs VALUES (1, '[{"a": 1, "b": ["x"]}, {"a": 2}]', '12.5', '1 day 02:00', 'the houses'), (2, '[]', '-1', '1 mon', 'a house');
CREATE MATERIALIZED VIEW in_a_recordset AS SELECT i.id, r.* FROM inputs i, jsonb_to_recordset(i.j) r (a int, b text[]);
CREATE MATERIALIZED VIEW in_b_record AS SELECT id, (jsonb_populate_record(NULL::fixed, j -> 0)).b FROM inputs;
CREATE MATERIALIZED VIEW in_c_rows AS SELECT i.id, r.a FROM inputs i LEFT JOIN LATERAL jsonb_populate_recordset(NULL::fixed, i.j) r ON true;
CREATE MATERIALIZED VIEW in_d_number AS SELECT id, to_number(n, 'S999D9') AS x, n::money::numeric AS m FROM inputs;
CREATE MATERIALIZED VIEW in_e_interval AS SELECT id, y::interval AS y FROM inputs;
CREATE MATERIALIZED VIEW in_f_array AS SELECT id, format('{%s}', id)::int[] AS a, format('[%s,)', id)::int4range AS r FROM inputs;
CREATE MATERIALIZED VIEW in_f_nulls AS SELECT id, format('{%s, NULL}', y)::text[] AS a FROM inputs;
CREATE MATERIALIZED VIEW in_g_search AS SELECT id, to_tsvector(words) AS w FROM inputs WHERE to_tsvector(words) @@ plainto_tsquery('houses');
CREATE MATERIALIZED VIEW out_a_recordset AS SELECT i.id, r.a FROM inputs i, jsonb_to_recordset(i.j - 0) r (a int, b date);
CREATE MATERIALIZED VIEW out_b_rows AS SELECT i.id, r.a FROM inputs i, jsonb_populate_recordset(NULL::dated, i.j - 0) r;
CREATE MATERIALIZED VIEW out_c_array AS SELECT id, format('{2024-01-0%s}', id)::date[] AS a FROM inputs;
CREATE VIEW inputs_read AS SELECT oid::regclass AS v FROM pg_class WHERE relkind = 'm' AND relname ~ '^(in|out)_' ORDER BY relname;
SELECT v, mode FROM inputs_read, matview.refresh_incremental(v);
INSERT INTO inputs SELECT id + 2, j, n, y, words || ' of cards' FROM inputs;
SELECT v, r.mode, c.* FROM inputs_read, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;
SET default_text_search_config = 'pg_catalog.simple';
SET array_nulls = off;
INSERT INTO inputs SELECT id + 4, j, n, y, words FROM inputs;
SELECT v, r.mode, c.* FROM inputs_read, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;
RESET default_text_search_config;
RESET array_nulls;
-- columns that are computed when they are read, where there are such
SELECT format('CREATE TABLE computed (id int PRIMARY KEY, f float8, a timestamptz, b timestamptz, s text,
                 shown text GENERATED ALWAYS AS (f::text) %1$s, between interval GENERATED ALWAYS AS (age(a, b)) %1$s,
                 words tsvector GENERATED ALWAYS AS (to_tsvector(''settings.stems''::regconfig, s)) %1$s)',
              CASE WHEN current_setting('server_version_num')::int >= 180000 THEN 'VIRTUAL' ELSE 'STORED' END) AS create \gset
CREATE TEXT SEARCH CONFIGURATION stems (COPY = english);
:create;
INSERT INTO computed VALUES (1, 0.1::float8 + 0.2, '2024-03-30 00:00+00', '2024-01-31 12:00+00', 'houses');
CREATE MATERIALIZED VIEW computed_text AS SELECT id, shown FROM computed;
CREATE MATERIALIZED VIEW computed_interval AS SELECT count(*) FROM computed WHERE between >= interval '1 mon 29 days 12:00';
CREATE MATERIALIZED VIEW computed_words AS SELECT id, words FROM computed;
CREATE MATERIALIZED VIEW computed_row AS SELECT row_to_json(c.*) AS j FROM computed c;
CREATE VIEW computeds AS
  SELECT v FROM unnest('{computed_text,computed_interval,computed_words,computed_row}'::regclass[]) AS v;
SELECT v, mode FROM computeds, matview.refresh_incremental(v);
SET extra_float_digits = 0;
SET timezone = 'UTC';
ALTER TEXT SEARCH CONFIGURATION stems ALTER MAPPING FOR asciiword WITH simple;
INSERT INTO computed SELECT 2, f, a, b, s FROM computed;
SELECT v, c.* FROM computeds, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;
RESET extra_float_digits;

SET client_min_messages = warning;
DROP SCHEMA settings CASCADE;
DROP EXTENSION matview_refresh;
-- the script of the extension, too, is read under settings
SET standard_conforming_strings = off;
SET escape_string_warning = off;
CREATE EXTENSION matview_refresh;
SELECT extname FROM pg_extension WHERE extname = 'matview_refresh';
DROP EXTENSION matview_refresh;
