-- A rebuild puts new files in the place of the old ones, and nothing else of
-- the view changes: OID, indexes of every kind, options, grants, comments,
-- statistics, tablespaces, CLUSTER mark.
CREATE EXTENSION matview_refresh;
SET client_min_messages = warning;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_rebuild LOCATION '';
CREATE ROLE regress_rebuild_reader;
CREATE SCHEMA rebuild;
SET search_path = rebuild;
CREATE EXTENSION amcheck;

CREATE TABLE base (
    id int PRIMARY KEY, k int, word text, wide text, list int[],
    span tstzrange, place point, amount numeric
);
ALTER TABLE base ALTER wide SET STORAGE EXTERNAL;
INSERT INTO base
  SELECT g, g % 20, 'word ' || g, repeat(md5(g::text), g % 7 * 20), ARRAY[g % 9, g % 13],
         tstzrange(timestamptz '2020-01-01 UTC', timestamptz '2020-01-01 UTC' + g * interval '1 hour'),
         point(g, -g), g / 7.0
    FROM generate_series(1, 2000) g;

-- Looks at a table: were it run by somebody else, or with another
-- search_path, it would fail
CREATE TABLE factors (factor int);
INSERT INTO factors VALUES (3);
CREATE FUNCTION scaled(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN RETURN $1 * (SELECT factor FROM rebuild.factors); END$$;

CREATE MATERIALIZED VIEW v WITH (fillfactor = 90) AS SELECT * FROM base;
ALTER MATERIALIZED VIEW v ALTER word SET STATISTICS 33;
ALTER MATERIALIZED VIEW v ALTER wide SET STORAGE EXTERNAL;
ALTER MATERIALIZED VIEW v SET (toast.autovacuum_enabled = off);
COMMENT ON MATERIALIZED VIEW v IS 'comment of v';
COMMENT ON COLUMN v.word IS 'comment of word';
GRANT SELECT (id) ON v TO regress_rebuild_reader;

CREATE UNIQUE INDEX v_unique ON v (id) INCLUDE (word) WITH (fillfactor = 70);
COMMENT ON INDEX v_unique IS 'comment of v_unique';
CREATE UNIQUE INDEX v_nulls ON v (id, amount) NULLS NOT DISTINCT;
CREATE INDEX v_order ON v (k DESC NULLS LAST, word COLLATE "C" text_pattern_ops);
CREATE INDEX v_partial ON v (word) WHERE k > 10;
CREATE INDEX v_expr ON v (scaled(k), (lower(word) || k));
ALTER INDEX v_expr ALTER 1 SET STATISTICS 44;
CREATE FUNCTION digits(v) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1.id % 100; END';
CREATE INDEX v_row ON v (digits(v)) WHERE v IS NOT NULL;
CREATE INDEX v_hash ON v USING hash (wide);
CREATE INDEX v_gin ON v USING gin (list) WITH (fastupdate = off);
CREATE INDEX v_gist ON v USING gist (span);
CREATE INDEX v_spgist ON v USING spgist (place);
CREATE INDEX v_brin ON v USING brin (id int4_minmax_multi_ops (values_per_range = 16)) WITH (pages_per_range = 4);
CREATE INDEX v_elsewhere ON v (k) TABLESPACE regress_rebuild;
CLUSTER v USING v_order;
CREATE STATISTICS v_statistics ON k, word FROM v;
ANALYZE v;

-- All that is to survive
CREATE VIEW properties AS
  SELECT c.oid, c.relname, c.reltablespace, c.reloptions, c.relacl, c.relowner, c.relpersistence,
         c.relam, c.relhasindex, i.indisclustered, i.indisvalid, i.indisready, i.indislive,
         pg_get_indexdef(i.indexrelid) AS definition, obj_description(c.oid, 'pg_class') AS comment,
         (SELECT array_agg((a.attname, a.attstorage, a.attstattarget, a.attacl, col_description(c.oid, a.attnum))::text
                           ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid) AS columns,
         (SELECT count(*) FROM pg_statistic s WHERE s.starelid = c.oid) AS statistics,
         (SELECT count(*) FROM pg_statistic_ext s JOIN pg_statistic_ext_data d ON d.stxoid = s.oid
           WHERE s.stxrelid = c.oid) AS extended_statistics,
         (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid) AS toast_options
    FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
   WHERE c.oid = 'v'::regclass OR i.indrelid = 'v'::regclass;
CREATE TABLE before AS SELECT * FROM properties;

CREATE FUNCTION lost() RETURNS TABLE (what text) LANGUAGE sql AS $$
    SELECT x::text FROM ((SELECT * FROM before EXCEPT SELECT * FROM properties)
                         UNION ALL (SELECT * FROM properties EXCEPT SELECT * FROM before)) x
$$;

-- The files are others, well-formed, and nothing is left over
CREATE FUNCTION file_of(name text) RETURNS oid LANGUAGE sql AS
$$SELECT relfilenode FROM pg_class WHERE oid = name::regclass$$;
CREATE TABLE files AS SELECT relname, file_of(relname::text) AS file FROM properties;
CREATE FUNCTION faults(view regclass) RETURNS TABLE (what text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = view AND a.amname = 'btree';
    RETURN QUERY SELECT h::text FROM verify_heapam(view, check_toast => true) h;
    RETURN QUERY SELECT 'left over: ' || relname FROM pg_class WHERE relname LIKE 'pg\_temp\_%';
    RETURN QUERY SELECT 'toast table is called ' || t.relname
      FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid
     WHERE c.oid = view AND t.relname <> 'pg_toast_' || c.oid;
    RETURN QUERY SELECT 'no page is known to be all-visible' FROM pg_class c
     WHERE c.oid = view AND (c.relallvisible = 0 OR c.relpages = 0);
END $$;

-- The oracle
CREATE FUNCTION contents(view regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    query text := rtrim(pg_get_viewdef(view), ';');
    missing bigint;
    extra bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT q::text FROM (%s) q EXCEPT ALL SELECT q::text FROM %s q) x',
                   query, view) INTO missing;
    EXECUTE format('SELECT count(*) FROM (SELECT q::text FROM %2$s q EXCEPT ALL SELECT q::text FROM (%1$s) q) x',
                   query, view) INTO extra;
    RETURN CASE WHEN missing = 0 AND extra = 0 THEN 'right'
                ELSE format('WRONG: missing %s, extra %s', missing, extra) END;
END $$;

UPDATE base SET word = 'new ' || word, wide = wide || 'x' WHERE id % 3 = 0;
DELETE FROM base WHERE id % 10 = 0;
SELECT mode, rows_inserted FROM matview.refresh_concurrent('v');
SELECT * FROM lost();
SELECT * FROM faults('v');
SELECT count(*) FILTER (WHERE file = file_of(relname::text)) AS same FROM files;
SELECT contents('v');

INSERT INTO base SELECT 3000 + id, k, word, wide, list, span, place, amount FROM base WHERE id < 1000;
SELECT mode, rows_inserted FROM matview.refresh_full('v');
SELECT * FROM lost();
SELECT * FROM faults('v');
SELECT contents('v');

-- Each index finds what it should
CREATE FUNCTION found(condition text, OUT by_index bigint, OUT by_scan bigint, OUT index text) LANGUAGE plpgsql AS $$
DECLARE
    query text := 'SELECT count(*) FROM v WHERE ' || condition;
    line text;
BEGIN
    SET LOCAL enable_seqscan = off;
    EXECUTE query INTO by_index;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        index := coalesce(substring(line FROM 'v_[a-z]+'), index);
    END LOOP;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_indexonlyscan = off;
    SET LOCAL enable_bitmapscan = off;
    EXECUTE query INTO by_scan;
    SET LOCAL enable_indexscan = on;
    SET LOCAL enable_indexonlyscan = on;
    SET LOCAL enable_bitmapscan = on;
END $$;
SELECT * FROM found('scaled(k) = 9');
SELECT * FROM found('digits(v) = 9 AND v IS NOT NULL');
SELECT * FROM found('wide = repeat(md5(''13''), 120)');
SELECT * FROM found('list @> ''{8}''');
SELECT * FROM found('span @> timestamptz ''2020-01-31 UTC''');
SELECT * FROM found('place <@ box ''(0,0),(50,-50)''');

-- Old contents after an error, which names the view's index
CREATE TABLE pairs (id int, other int);
INSERT INTO pairs SELECT g, g FROM generate_series(1, 100) g;
CREATE MATERIALIZED VIEW p AS SELECT * FROM pairs;
CREATE UNIQUE INDEX "p Id" ON p (id);
INSERT INTO pairs VALUES (7, 8);
DO $$
DECLARE
    t text;
    c text;
BEGIN
    PERFORM matview.refresh_concurrent('p');
EXCEPTION WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS t = TABLE_NAME, c = CONSTRAINT_NAME;
    RAISE WARNING '%: %, %', sqlerrm, t, c;
END $$;
SELECT count(*) FROM p;
SELECT * FROM faults('p');

-- An index left invalid is valid again when its twin could be built
DROP INDEX "p Id";
SELECT mode FROM matview.refresh_concurrent('p');
CREATE UNIQUE INDEX CONCURRENTLY p_invalid ON p (id);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'p_invalid'::regclass;
SELECT mode FROM matview.refresh_concurrent('p');
DELETE FROM pairs WHERE other = 8 AND id = 7;
SELECT mode FROM matview.refresh_concurrent('p');
SELECT indisvalid, indisready FROM pg_index WHERE indexrelid = 'p_invalid'::regclass;
SELECT * FROM faults('p');
SELECT contents('p');

-- Nothing to read yet, no index, another tablespace, no toast table
CREATE MATERIALIZED VIEW empty TABLESPACE regress_rebuild AS SELECT id, k FROM base WITH NO DATA;
SELECT mode FROM matview.refresh_concurrent('empty');
SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE c.oid = 'empty'::regclass;
SELECT * FROM faults('empty');
SELECT contents('empty');

-- A toast table that the new contents can do without, and one they need
CREATE MATERIALIZED VIEW wide AS SELECT id, wide FROM base;
ALTER MATERIALIZED VIEW wide ALTER wide SET STORAGE PLAIN;
SELECT mode FROM matview.refresh_concurrent('wide');
SELECT reltoastrelid <> 0 AS has_toast, contents('wide') FROM pg_class WHERE oid = 'wide'::regclass;
ALTER MATERIALIZED VIEW wide ALTER wide SET STORAGE EXTENDED;
SELECT mode FROM matview.refresh_concurrent('wide');
SELECT reltoastrelid <> 0 AS has_toast, contents('wide') FROM pg_class WHERE oid = 'wide'::regclass;
SELECT * FROM faults('wide');

-- Not under an open cursor
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH c;
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT matview.refresh_concurrent('p');
ROLLBACK TO s;
SELECT matview.refresh_full('p');
ROLLBACK TO s;
\set VERBOSITY default
FETCH c;
COMMIT;

-- In a transaction and its savepoints
BEGIN;
INSERT INTO pairs VALUES (200, 200);
SELECT mode FROM matview.refresh_concurrent('p');
SELECT count(*) FROM p WHERE id = 200;
SAVEPOINT s;
INSERT INTO pairs VALUES (201, 201);
SELECT mode FROM matview.refresh_full('p');
SELECT count(*) FROM p WHERE id >= 200;
ROLLBACK TO s;
SELECT count(*) FROM p WHERE id >= 200;
SELECT mode FROM matview.refresh_concurrent('p');
ROLLBACK;
SELECT count(*) FROM p WHERE id >= 200;
BEGIN;
CREATE MATERIALIZED VIEW young AS SELECT * FROM pairs;
CREATE INDEX young_id ON young (id);
SELECT mode FROM matview.refresh_concurrent('young');
SAVEPOINT s;
SELECT mode FROM matview.refresh_concurrent('young');
ROLLBACK TO s;
COMMIT;
SELECT * FROM faults('young');
SELECT contents('young'), contents('p');

-- Prepared plans follow
PREPARE q AS SELECT count(*) FROM p WHERE other < 50;
SET plan_cache_mode = force_generic_plan;
EXECUTE q;
DELETE FROM pairs WHERE other < 10;
SELECT mode FROM matview.refresh_concurrent('p');
EXECUTE q;
RESET plan_cache_mode;

-- The row index of a tracked view without a key is built with the others
CREATE TABLE dups AS SELECT g % 100 AS a FROM generate_series(1, 1000) g;
CREATE MATERIALIZED VIEW d AS SELECT * FROM dups;
SELECT matview.track('d');
SELECT mode FROM matview.refresh_concurrent('d');
SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid = 'd'::regclass;
SELECT * FROM faults('d');
DELETE FROM dups WHERE a < 10;
SELECT mode, rows_deleted FROM matview.refresh_incremental('d');
SELECT contents('d');

DROP SCHEMA rebuild CASCADE;
DROP EXTENSION matview_refresh CASCADE;
DROP ROLE regress_rebuild_reader;
DROP TABLESPACE regress_rebuild;
