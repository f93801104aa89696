-- A live view whose query reads settings keeps those it was made live with,
-- whoever writes
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_settings;
SET search_path = live_settings, test;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
CREATE TABLE event (id int PRIMARY KEY, at timestamptz);
INSERT INTO event SELECT g, timestamptz '2024-01-01 00:00+00' + g * interval '7 hours' FROM generate_series(1, 20) g;
CREATE MATERIALIZED VIEW daily AS SELECT date_trunc('day', at) AS day, count(*) AS n FROM event GROUP BY 1;
CREATE MATERIALIZED VIEW shown AS SELECT id, at::text AS at FROM event;
SELECT matview.set_auto_refresh('daily', 'on_statement');
SELECT matview.set_auto_refresh('shown', 'on_commit');

-- a session far away
SET timezone = 'Pacific/Auckland';
SET datestyle = 'German';
INSERT INTO event SELECT g, timestamptz '2024-01-01 00:00+00' + g * interval '7 hours' FROM generate_series(21, 30) g;
DELETE FROM event WHERE id % 4 = 0;
SELECT * FROM matview.check('daily');
SELECT * FROM matview.check('shown');
-- a refresh keeps them too, and finds nothing to do
SELECT mode FROM matview.refresh('daily');
SELECT mode FROM matview.refresh('shown', 'diff');
SHOW timezone;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SELECT contents('daily'), contents('shown');
SELECT mode, reason, rows_inserted, rows_updated, rows_deleted FROM matview.history ORDER BY started DESC LIMIT 1;

-- not live any more: those of the session again
SELECT matview.set_auto_refresh('shown', 'off');
SET timezone = 'Asia/Tokyo';
SELECT * FROM step('shown');

-- a writer who wants no more than some rows of a GIN index
CREATE TABLE item (id int PRIMARY KEY, tag int);
CREATE TABLE tagged (id int PRIMARY KEY, tags int[]);
INSERT INTO tagged SELECT g, ARRAY[g % 3] FROM generate_series(1, 6000) g;
CREATE INDEX ON tagged USING gin (tags);
ANALYZE tagged;
CREATE MATERIALIZED VIEW with_tag AS SELECT i.id, t.id AS tagged FROM item i JOIN tagged t ON t.tags @> ARRAY[i.tag];
SELECT matview.set_auto_refresh('with_tag', 'on_statement');
SET gin_fuzzy_search_limit = 10;
SET enable_seqscan = off;
INSERT INTO item VALUES (1, 1);
SHOW gin_fuzzy_search_limit;
RESET gin_fuzzy_search_limit;
RESET enable_seqscan;
SELECT count(*), contents('with_tag') FROM with_tag;

-- what a function means depends on settings of the session that first calls it
CREATE FUNCTION is_nothing(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN coalesce($1 = NULL, false); END';
CREATE TABLE maybe (id int, v int);
CREATE MATERIALIZED VIEW nothing AS SELECT id, is_nothing(v) AS n FROM maybe;
SELECT matview.set_auto_refresh('nothing', 'on_commit');
\c -
SET search_path = live_settings, test;
SET client_min_messages = warning;
SET transform_null_equals = on;
INSERT INTO maybe VALUES (1, NULL), (2, 2);
SHOW transform_null_equals;
\c -
SET search_path = live_settings, test;
SET client_min_messages = warning;
SELECT contents('nothing'), n.* FROM nothing n ORDER BY id;

-- ... also if this has called it before
\c -
SET client_min_messages = warning;
SET search_path = pg_catalog, pg_temp;
SET transform_null_equals = on;
SELECT live_settings.is_nothing(1), live_settings.is_nothing(NULL);
INSERT INTO live_settings.maybe VALUES (3, NULL);
SELECT live_settings.is_nothing(NULL);
SET transform_null_equals = off;
SELECT live_settings.is_nothing(NULL) AS parsed_before;
\c -
SET client_min_messages = warning;
SET search_path = live_settings, test;
SELECT contents('nothing'), n.* FROM nothing n WHERE id = 3;
-- ... or each time it runs
CREATE FUNCTION is_positive(i int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN ASSERT i > 0; RETURN true; EXCEPTION WHEN assert_failure THEN RETURN false; END $$;
CREATE TABLE number (i int PRIMARY KEY);
CREATE MATERIALIZED VIEW positive AS SELECT i, is_positive(i) AS p FROM number;
SELECT matview.set_auto_refresh('positive', 'on_commit');
\c -
SET search_path = live_settings, test;
SET client_min_messages = warning;
SET plpgsql.check_asserts = off;
INSERT INTO number VALUES (-1), (1);
SHOW plpgsql.check_asserts;
\c -
SET search_path = live_settings, test;
SET client_min_messages = warning;
SELECT contents('positive'), n.* FROM positive n ORDER BY i;

DROP SCHEMA live_settings CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
