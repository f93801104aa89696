-- Text search depends on configurations and dictionaries.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA text_search;
SET search_path = text_search, test;

CREATE TABLE t (id int PRIMARY KEY, words text);
INSERT INTO t VALUES (1, 'the running dogs'), (2, 'a lazy cat');
CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = snowball, language = english, stopwords = english);
CREATE TEXT SEARCH CONFIGURATION ours (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION ours ALTER MAPPING FOR asciiword WITH stems;
CREATE FUNCTION lexemes(words text) RETURNS tsvector IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN to_tsvector('text_search.ours', words); END $$;
CREATE MATERIALIZED VIEW a_query AS SELECT id FROM t WHERE to_tsvector('ours', words) @@ to_tsquery('ours', 'the | dogs');
CREATE MATERIALIZED VIEW b_dictionary AS SELECT id, ts_lexize('stems', words) FROM t;
CREATE MATERIALIZED VIEW c_hidden AS SELECT id, lexemes(words) FROM t;
CREATE MATERIALIZED VIEW d_live AS SELECT id, to_tsvector('ours', words) FROM t;
CREATE MATERIALIZED VIEW e_other AS SELECT id, upper(words) FROM t;
SELECT matview.set_auto_refresh('d_live', 'on_statement');
CALL steps();
INSERT INTO t VALUES (3, 'there were dogs');
SELECT contents('d_live');
CALL steps();

-- Another configuration, then another dictionary
ALTER TEXT SEARCH CONFIGURATION ours ALTER MAPPING FOR asciiword WITH simple;
SELECT contents('d_live');
CALL steps();
ALTER TEXT SEARCH CONFIGURATION ours ALTER MAPPING FOR asciiword WITH stems;
CALL steps();
UPDATE t SET words = words || ' and birds' WHERE id = 1;
CALL steps();
ALTER TEXT SEARCH DICTIONARY stems (stopwords);
SELECT contents('d_live');
CALL steps();
INSERT INTO t VALUES (4, 'the end');
SELECT contents('d_live');
CALL steps();

SET client_min_messages = warning;
DROP SCHEMA text_search CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
