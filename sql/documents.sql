-- SQL/JSON and XML: what shows values, by their output functions, depends on
-- settings; what makes values of documents calls input functions, which may read
-- the clock.  By name: fixed_ is maintained under any settings, zone_ under the
-- same ones, more_ is recomputed.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA documents;
SET search_path = documents, test;
SET timezone = 'UTC';

CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TYPE pair AS (a int, m mood);
CREATE TABLE t (id int PRIMARY KEY, s text, ts timestamptz, f float8, b bytea, m mood, j jsonb, x xml);
INSERT INTO t SELECT i, 's' || i, '2024-01-01 00:00+00', 0.1 * i, '\x6162', 'low',
    '{"t": "2024-01-01T00:00:00", "n": 7, "a": [{"v": 1}, {"v": 2}]}', '<r><v>1</v><v>2</v></r>' FROM generate_series(1, 3) i;

CREATE MATERIALIZED VIEW fixed_element AS SELECT id, xmlelement(name e, s, id)::text AS d FROM t;
CREATE MATERIALIZED VIEW fixed_table AS
  SELECT id, v, s FROM t, XMLTABLE('/r/v' PASSING x COLUMNS v int PATH '.', s text PATH '.') q;
CREATE MATERIALIZED VIEW zone_element AS SELECT id, xmlelement(name e, ts)::text AS d FROM t;
CREATE MATERIALIZED VIEW zone_attribute AS SELECT id, xmlelement(name e, xmlattributes(ts))::text AS d FROM t;
CREATE MATERIALIZED VIEW zone_forest AS SELECT id, xmlforest(f, b, ts)::text AS d FROM t;
CREATE MATERIALIZED VIEW more_element AS SELECT id, xmlelement(name e, m)::text AS d FROM t;
CREATE MATERIALIZED VIEW more_forest AS SELECT id, xmlforest(ROW(id, m)::pair AS p)::text AS d FROM t;
CREATE MATERIALIZED VIEW more_table AS
  SELECT id, v FROM t, XMLTABLE('/r' PASSING xmlelement(name r, '2024-01-01') COLUMNS v timestamptz PATH '.') q;
SELECT current_setting('server_version_num')::int >= 160000 AS has_constructors,
       current_setting('server_version_num')::int >= 170000 AS has_queries \gset
\if :has_constructors
CREATE MATERIALIZED VIEW fixed_array AS SELECT id, JSON_ARRAY(s, id, id::numeric, j) AS d FROM t;
CREATE MATERIALIZED VIEW zone_array AS SELECT id, JSON_ARRAY(ts) AS d FROM t;
CREATE MATERIALIZED VIEW zone_object AS SELECT id, JSON_OBJECT('ts': ts, 'f': f) AS d FROM t;
CREATE MATERIALIZED VIEW zone_objectagg AS SELECT m, JSON_OBJECTAGG(id: ts) AS d FROM t GROUP BY m;
CREATE MATERIALIZED VIEW more_array AS SELECT id, JSON_ARRAY(m) AS d FROM t;
CREATE MATERIALIZED VIEW more_object AS SELECT id, JSON_OBJECT('p': ROW(id, m)::pair) AS d FROM t;
\endif
\if :has_queries
CREATE MATERIALIZED VIEW fixed_value AS SELECT id, JSON_VALUE(j, '$.n' RETURNING int) AS d FROM t WHERE JSON_EXISTS(j, '$.n');
CREATE MATERIALIZED VIEW fixed_json_table AS
  SELECT id, v FROM t, JSON_TABLE(j, '$' COLUMNS (NESTED PATH '$.a[*]' COLUMNS (v int PATH '$.v'))) q;
CREATE MATERIALIZED VIEW zone_value AS SELECT id, JSON_VALUE(j, '$.t.datetime()' RETURNING text) AS d FROM t;
CREATE MATERIALIZED VIEW zone_passed AS SELECT id, JSON_VALUE(j, '$x' PASSING ts AS x) AS d FROM t;
CREATE MATERIALIZED VIEW zone_json_table AS SELECT id, v FROM t, JSON_TABLE(j, '$' COLUMNS (v text PATH '$.t.datetime()')) q;
CREATE MATERIALIZED VIEW zone_rows AS SELECT id, v FROM t, JSON_TABLE(j, '$.t.datetime()' COLUMNS (v text PATH '$')) q;
CREATE MATERIALIZED VIEW zone_scalar AS SELECT id, JSON_SCALAR(ts) AS d FROM t;
CREATE MATERIALIZED VIEW more_scalar AS SELECT id, JSON_SCALAR(m) AS d FROM t;
CREATE MATERIALIZED VIEW more_value AS SELECT id, JSON_VALUE(j, '$.t' RETURNING timestamptz) AS d FROM t;
CREATE MATERIALIZED VIEW more_path AS SELECT id, JSON_VALUE(j, '$.t.timestamp_tz()') AS d FROM t;
CREATE MATERIALIZED VIEW more_query AS SELECT id, (JSON_QUERY('{"a": 1, "m": "low"}' FORMAT JSON, '$' RETURNING pair)).a AS d FROM t;
CREATE MATERIALIZED VIEW more_json_table AS
  SELECT id, v FROM t, JSON_TABLE(j, '$' COLUMNS (v timestamptz PATH '$.t')) q;
CREATE MATERIALIZED VIEW more_nested AS
  SELECT id, v FROM t, JSON_TABLE(j, '$' COLUMNS (NESTED PATH '$.t ? (@.datetime() < "2025-01-01T00:00:00+01".datetime())'
    COLUMNS (v text PATH '$'))) q;
\endif

CREATE VIEW views AS SELECT c.oid::regclass AS view, split_part(relname, '_', 1) AS kind FROM pg_class c
 WHERE relkind = 'm' AND relnamespace = 'documents'::regnamespace;
-- what is not so, each time: nothing
CREATE VIEW not_as_named AS SELECT view FROM views
 WHERE (kind = 'more') <> EXISTS (SELECT FROM matview.explain(view) e WHERE e LIKE 'strategy recompute%');
CREATE VIEW wrong AS SELECT view, c FROM views, contents(view) c WHERE c <> 'right';

TABLE not_as_named;
SELECT v.view, mode FROM views v, matview.refresh_incremental(v.view) WHERE mode <> 'diff';
INSERT INTO t SELECT id + 10, s, ts, f, b, m, j, x FROM t WHERE id = 1;
SELECT v.view, mode FROM views v, matview.refresh_incremental(view) WHERE (kind = 'more') = (mode = 'incremental');
TABLE wrong;

-- other settings
SET timezone = 'Asia/Tokyo';
SET xmlbinary = 'hex';
SET extra_float_digits = 0;
INSERT INTO t SELECT id + 20, s, ts, f, b, 'high', j, x FROM t WHERE id = 2;
SELECT v.view, mode FROM views v, matview.refresh_incremental(view) WHERE (kind = 'fixed') <> (mode = 'incremental');
TABLE wrong;
-- and another label
ALTER TYPE mood RENAME VALUE 'low' TO 'renamed';
INSERT INTO t SELECT id + 30, s, ts, f, b, m, j, x FROM t WHERE id = 3;
SELECT v.view, mode FROM views v, matview.refresh_incremental(view) WHERE (kind = 'more') = (mode = 'incremental');
TABLE wrong;

-- by those who write: with the settings of this session
SELECT count(matview.set_auto_refresh(view, 'on_commit')) > 0 FROM views WHERE kind = 'zone';
SET timezone = 'America/New_York';
INSERT INTO t SELECT id + 40, s, ts, f, b, m, j, x FROM t WHERE id = 1;
SET timezone = 'Asia/Tokyo';
SELECT * FROM wrong JOIN views USING (view) WHERE kind = 'zone';

DROP SCHEMA documents CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
