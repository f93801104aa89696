-- A view that cannot be maintained: compared while little differs, else rebuilt.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA compare_or_rebuild;
SET search_path = compare_or_rebuild, test;

CREATE TABLE t (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off);
INSERT INTO t SELECT g, 0 FROM generate_series(1, 20000) g;
CREATE MATERIALIZED VIEW all_of_t AS SELECT id, v FROM t TABLESAMPLE SYSTEM (100);
CREATE UNIQUE INDEX ON all_of_t (id);
CREATE FUNCTION refresh(mode text DEFAULT 'auto', OUT done text, OUT ins bigint, OUT upd bigint, OUT del bigint,
                        OUT same_file boolean, OUT contents text)
LANGUAGE plpgsql AS $$
DECLARE
    file oid := pg_relation_filenode('all_of_t');
BEGIN
    SELECT r.mode, r.rows_inserted, r.rows_updated, r.rows_deleted INTO done, ins, upd, del
      FROM matview.refresh('all_of_t', refresh.mode) r;
    same_file := pg_relation_filenode('all_of_t') = file;
    contents := test.contents('all_of_t');
END $$;

-- Nothing is known yet; then as long as few rows are written
SELECT * FROM refresh();
UPDATE t SET v = v + 1 WHERE id <= 2000;
SELECT * FROM refresh();
UPDATE t SET v = v + 1 WHERE id <= 1999;
DELETE FROM t WHERE id = 20000;
INSERT INTO t VALUES (0, 0);
SELECT * FROM refresh();

-- More than a tenth of it: the next one rebuilds, and those after that
UPDATE t SET v = v + 1 WHERE id <= 8000;
SELECT * FROM refresh();
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh();
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh();
-- until a comparison finds few again
SELECT * FROM refresh('incremental');
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh();
UPDATE t SET v = v + 1 WHERE id <= 8000;
SELECT * FROM refresh();
SELECT * FROM refresh();
-- or the history has forgotten it
SET matview.history_limit = 2;
SELECT * FROM refresh();
SELECT mode, rows_inserted FROM matview.history WHERE view = 'all_of_t'::regclass ORDER BY started;
SELECT * FROM refresh();

-- Without a history it is not known
SET matview.history_limit = 0;
SELECT * FROM refresh();
SELECT * FROM refresh();
RESET matview.history_limit;

-- A few rows of a small view are no reason
DELETE FROM t WHERE id > 900;
SELECT * FROM refresh('diff');
SELECT * FROM refresh('diff');
UPDATE t SET v = v + 1;
SELECT * FROM refresh();
UPDATE t SET v = v + 1;
SELECT * FROM refresh();

-- Nor is one that is not populated compared
REFRESH MATERIALIZED VIEW all_of_t WITH NO DATA;
SELECT * FROM refresh();
SELECT * FROM refresh();

SET client_min_messages = warning;
DROP SCHEMA compare_or_rebuild CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
