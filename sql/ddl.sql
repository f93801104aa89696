-- What other commands do to tracked views and their tables: the next refresh
-- is right, and nothing is left behind.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA ddl;
SET search_path = ddl, test;

CREATE TABLE t (id int PRIMARY KEY, k int, v int);
CREATE TABLE u (k int, name text);
INSERT INTO t SELECT g, g % 4, g FROM generate_series(1, 20) g;
INSERT INTO u SELECT g, 'n' || g FROM generate_series(0, 3) g;
CREATE MATERIALIZED VIEW groups AS SELECT k, count(*), sum(v) FROM t GROUP BY k;
CREATE UNIQUE INDEX ON groups (k);
CREATE MATERIALIZED VIEW rows AS SELECT k, v FROM t;
CREATE MATERIALIZED VIEW joined AS SELECT t.id, u.name FROM t JOIN u USING (k);
CREATE UNIQUE INDEX ON joined (id, name);
CREATE MATERIALIZED VIEW scalar AS SELECT count(*) FROM t;
CALL steps();

-- Native REFRESH, with changes before and after
INSERT INTO t VALUES (101, 1, 1);
REFRESH MATERIALIZED VIEW groups;
REFRESH MATERIALIZED VIEW rows;
CALL steps();
INSERT INTO t VALUES (102, 1, 1);
REFRESH MATERIALIZED VIEW groups;
REFRESH MATERIALIZED VIEW joined;
REFRESH MATERIALIZED VIEW rows;
INSERT INTO t VALUES (103, 1, 1);
CALL steps();
INSERT INTO t VALUES (104, 1, 1);
REFRESH MATERIALIZED VIEW CONCURRENTLY groups;
REFRESH MATERIALIZED VIEW CONCURRENTLY joined;
INSERT INTO t VALUES (105, 1, 1);
CALL steps();
INSERT INTO t VALUES (106, 1, 1);
CALL steps();
-- ... in one transaction with our own, and rolled back
BEGIN;
INSERT INTO t VALUES (107, 1, 1);
SELECT * FROM step('groups');
INSERT INTO t VALUES (108, 1, 1);
REFRESH MATERIALIZED VIEW groups;
INSERT INTO t VALUES (109, 1, 1);
SELECT * FROM step('groups');
REFRESH MATERIALIZED VIEW CONCURRENTLY groups;
SELECT * FROM step('groups');
COMMIT;
CALL steps();
INSERT INTO t VALUES (110, 1, 1);
BEGIN;
REFRESH MATERIALIZED VIEW groups;
REFRESH MATERIALIZED VIEW CONCURRENTLY joined;
ROLLBACK;
CALL steps();
-- WITH NO DATA
REFRESH MATERIALIZED VIEW groups WITH NO DATA;
REFRESH MATERIALIZED VIEW rows WITH NO DATA;
SELECT view, next_refresh FROM matview.views ORDER BY view::text;
INSERT INTO t VALUES (111, 1, 1);
SELECT matview.check('groups');
CALL steps();
INSERT INTO t VALUES (112, 1, 1);
CALL steps();
REFRESH MATERIALIZED VIEW rows WITH NO DATA;
SELECT * FROM step('rows', 'concurrent');
REFRESH MATERIALIZED VIEW rows WITH NO DATA;
SELECT * FROM step('rows', 'auto');
REFRESH MATERIALIZED VIEW rows WITH NO DATA;
SELECT * FROM step('rows', 'diff');
REFRESH MATERIALIZED VIEW rows WITH NO DATA;
SELECT * FROM step('rows', 'full');
CREATE MATERIALIZED VIEW unborn AS SELECT v FROM t WITH NO DATA;
SELECT matview.track('unborn');
INSERT INTO t VALUES (113, 1, 1);
CALL steps();

-- Rewrites of the view: VACUUM FULL, CLUSTER, tablespace, access method
INSERT INTO t VALUES (114, 1, 1);
VACUUM FULL groups;
VACUUM FULL rows;
CLUSTER joined USING joined_id_name_idx;
CALL steps();
INSERT INTO t VALUES (115, 1, 1);
CALL steps();
ALTER MATERIALIZED VIEW groups ALTER COLUMN k SET STATISTICS 50, SET (fillfactor = 50);
REINDEX TABLE groups;
REINDEX TABLE CONCURRENTLY rows;
SELECT count(*) FROM pg_index WHERE indrelid = 'rows'::regclass;
VACUUM groups, rows, joined, t;
ANALYZE groups;
INSERT INTO t VALUES (116, 1, 1);
CALL steps();
SELECT count(*) FROM pg_index WHERE indrelid = 'rows'::regclass;
-- Rewrites and repairs of the tables
VACUUM FULL t;
CLUSTER t USING t_pkey;
REINDEX TABLE t;
CALL steps();
INSERT INTO t VALUES (117, 1, 1);
CALL steps();
ALTER TABLE t SET UNLOGGED;
INSERT INTO t VALUES (118, 1, 1);
ALTER TABLE t SET LOGGED;
CALL steps();
-- The registry's tables, and our own, are vacuumed like others
VACUUM FULL matview.tracked_views, matview.refresh_history;
SELECT 'VACUUM FULL ' || string_agg(c.oid::regclass::text, ', ') AS command FROM pg_class c
  WHERE c.relkind = 'r' AND c.relname ~ '^(log|state)_' AND c.relnamespace = 'matview'::regnamespace \gset
INSERT INTO t VALUES (119, 1, 1);
:command;
CALL steps();

-- TRUNCATE, alone and followed by writes in the same transaction
TRUNCATE t;
CALL steps();
INSERT INTO t SELECT g, g % 4, g FROM generate_series(1, 20) g;
CALL steps();
BEGIN;
INSERT INTO t VALUES (200, 1, 1);
TRUNCATE t;
INSERT INTO t SELECT g, g % 3, g FROM generate_series(1, 12) g;
UPDATE t SET v = 7 WHERE id = 3;
SELECT * FROM step('groups');
INSERT INTO t VALUES (201, 1, 1);
COMMIT;
CALL steps();
BEGIN;
SAVEPOINT a;
TRUNCATE t, u;
ROLLBACK TO a;
INSERT INTO t VALUES (202, 1, 1);
COMMIT;
CALL steps();
TRUNCATE u;
INSERT INTO u VALUES (1, 'one'), (1, 'uno');
CALL steps();

-- Changes of columns
ALTER TABLE t ADD COLUMN extra text;
INSERT INTO t VALUES (301, 1, 1, 'x');
CALL steps();
ALTER TABLE t ADD COLUMN extra2 int DEFAULT 7;
UPDATE t SET extra2 = 8, v = v + 1 WHERE id < 5;
CALL steps();
ALTER TABLE t DROP COLUMN extra;
INSERT INTO t VALUES (302, 2, 2);
CALL steps();
ALTER TABLE t RENAME COLUMN v TO value;
INSERT INTO t VALUES (303, 2, 2);
CALL steps();
ALTER TABLE t RENAME COLUMN value TO v;
ALTER TABLE u ALTER COLUMN name SET DEFAULT 'x', ALTER COLUMN name SET NOT NULL, ALTER COLUMN name SET STORAGE EXTERNAL;
INSERT INTO u (k) VALUES (2);
CALL steps();
\set VERBOSITY terse
ALTER TABLE u ALTER COLUMN k TYPE bigint;
\set VERBOSITY default
ALTER TABLE t ADD CONSTRAINT positive CHECK (v >= 0), ADD UNIQUE (id, k);
ALTER TABLE t DROP CONSTRAINT t_pkey;
INSERT INTO t VALUES (304, 2, 2);
CALL steps();

-- Names, schemas, owners
CREATE SCHEMA elsewhere;
CREATE ROLE regress_mvr_owner;
GRANT ALL ON SCHEMA ddl, elsewhere, test TO regress_mvr_owner;
ALTER TABLE t RENAME TO tt;
ALTER TABLE u SET SCHEMA elsewhere;
ALTER MATERIALIZED VIEW groups RENAME TO grouped;
INSERT INTO tt VALUES (401, 2, 2);
INSERT INTO elsewhere.u VALUES (3, 'three');
CALL steps();
ALTER MATERIALIZED VIEW grouped SET SCHEMA elsewhere;
UPDATE tt SET k = 3 WHERE id = 401;
SELECT * FROM step('elsewhere.grouped');
ALTER MATERIALIZED VIEW elsewhere.grouped SET SCHEMA ddl;
ALTER TABLE tt RENAME TO t;
ALTER TABLE elsewhere.u SET SCHEMA ddl;
ALTER TABLE t OWNER TO regress_mvr_owner;
INSERT INTO t VALUES (402, 2, 2);
CALL steps();
ALTER MATERIALIZED VIEW grouped OWNER TO regress_mvr_owner;
INSERT INTO t VALUES (403, 2, 2);
SELECT * FROM step('grouped');
SET ROLE regress_mvr_owner;
INSERT INTO t VALUES (404, 2, 2);
SELECT mode FROM matview.refresh_incremental('grouped');
SELECT mode FROM matview.refresh_concurrent('grouped');
SELECT * FROM matview.check('grouped');
RESET ROLE;
CALL steps();
ALTER MATERIALIZED VIEW grouped RENAME COLUMN count TO n;
INSERT INTO t VALUES (405, 2, 2);
CALL steps();
-- Indexes of the view come and go, ours and the user's
DROP INDEX joined_id_name_idx;
INSERT INTO t VALUES (406, 1, 2);
CALL steps();
SELECT 'DROP INDEX ' || i.indexrelid::regclass AS command FROM pg_index i WHERE i.indrelid = 'rows'::regclass \gset
:command;
INSERT INTO t VALUES (407, 1, 2);
CREATE UNIQUE INDEX ON joined (name, id);
CREATE INDEX ON rows (v);
CALL steps();
-- Triggers of the user beside ours; disabled and enabled
ALTER TABLE t DISABLE TRIGGER ALL;
INSERT INTO t VALUES (408, 1, 2);
CALL steps();
ALTER TABLE t ENABLE TRIGGER ALL;
INSERT INTO t VALUES (409, 1, 2);
CALL steps();
ALTER TABLE t DISABLE TRIGGER USER;
INSERT INTO t VALUES (410, 1, 2);
CALL steps();
ALTER TABLE t ENABLE TRIGGER USER;
SET session_replication_role = replica;
INSERT INTO t VALUES (411, 1, 2);
UPDATE t SET v = v + 1 WHERE id = 410;
RESET session_replication_role;
CALL steps();
-- Row-level security appears, and goes
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON t USING (id % 2 = 1);
INSERT INTO t VALUES (412, 1, 2);
SELECT * FROM step('rows');
ALTER TABLE t FORCE ROW LEVEL SECURITY;
ALTER TABLE t OWNER TO CURRENT_USER;
ALTER MATERIALIZED VIEW grouped OWNER TO CURRENT_USER;
DROP POLICY odd ON t;
ALTER TABLE t NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
CALL steps();
-- Rules
CREATE RULE redirect AS ON INSERT TO u DO ALSO INSERT INTO t VALUES (new.k::int + 500, 1, 1);
INSERT INTO u VALUES (1, 'by rule');
CALL steps();
DROP RULE redirect ON u;

-- A view is dropped while another over the same table stays; and its state
SELECT count(*) AS logs FROM matview.change_logs;
DROP MATERIALIZED VIEW joined;
SELECT count(*) AS logs FROM matview.change_logs;
DROP MATERIALIZED VIEW grouped, rows;
BEGIN;
DROP MATERIALIZED VIEW scalar;
ROLLBACK;
INSERT INTO t VALUES (601, 1, 2);
CALL steps();
DROP MATERIALIZED VIEW scalar, unborn;
SELECT * FROM leftovers();
-- untrack
CREATE MATERIALIZED VIEW groups AS SELECT k, count(*), sum(v) FROM t GROUP BY k;
CREATE MATERIALIZED VIEW rows AS SELECT k, v FROM t;
CALL steps();
SELECT matview.untrack('groups'), matview.untrack('rows'), matview.untrack('rows');
DELETE FROM matview.refresh_history;
SELECT * FROM leftovers();
SELECT count(*) AS indexes FROM pg_index WHERE indrelid IN ('groups'::regclass, 'rows'::regclass);
SELECT contents('groups'), contents('rows');
-- A base table is dropped, with its views, or with a column of it
CALL steps();
DROP TABLE t CASCADE;
SELECT * FROM leftovers();
CREATE TABLE t (id int, k int, v int);
CREATE MATERIALIZED VIEW groups AS SELECT k, count(*) FROM t GROUP BY k;
CREATE MATERIALIZED VIEW rows AS SELECT id, v FROM t;
CALL steps();
ALTER TABLE t DROP COLUMN k CASCADE;
INSERT INTO t VALUES (1, 1);
CALL steps();
DROP SCHEMA ddl CASCADE;
SELECT * FROM leftovers();
CREATE SCHEMA ddl;
SET search_path = ddl, test;
CREATE TABLE t (id int, k int);
CREATE MATERIALIZED VIEW rows AS SELECT id, k FROM t;
CREATE MATERIALIZED VIEW over AS SELECT k, count(*) FROM t GROUP BY k;
CALL steps();
DROP OWNED BY regress_mvr_owner CASCADE;
DROP TABLE t CASCADE;
CREATE TABLE t (id int, k int);
INSERT INTO t VALUES (1, 1);
CREATE MATERIALIZED VIEW rows AS SELECT id, k FROM t;
CREATE MATERIALIZED VIEW groups AS SELECT k, count(*) FROM t GROUP BY k;
CALL steps();

-- A parent comes and goes, rows go through it, and no column tells
CREATE TABLE above ();
ALTER TABLE t INHERIT above;
DELETE FROM above;
ALTER TABLE t NO INHERIT above;
SELECT done, contents FROM step('rows');
INSERT INTO t VALUES (1, 1);
SELECT done, contents FROM step('rows');
SELECT done, contents FROM step('groups');
BEGIN;
ALTER TABLE t INHERIT above;
DELETE FROM above;
ROLLBACK;
INSERT INTO t VALUES (2, 1);
SELECT done, contents FROM step('rows');
DROP TABLE above;
DELETE FROM t WHERE id = 2;
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM t;
CALL steps();
CREATE TABLE above (id int, k int) PARTITION BY LIST (k);
ALTER TABLE above ATTACH PARTITION t DEFAULT;
INSERT INTO above VALUES (7, 7), (8, 8);
ALTER TABLE above DETACH PARTITION t;
DROP TABLE above;
CALL steps();
DELETE FROM t WHERE id > 6;
CALL steps();
DROP MATERIALIZED VIEW counts;

-- The extension goes, and comes again
DROP EXTENSION matview_refresh;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass;
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'ddl'::regnamespace ORDER BY relname;
SELECT count(*) FROM pg_index WHERE indrelid = 'rows'::regclass;
INSERT INTO t VALUES (2, 2);
SELECT * FROM rows;
CREATE EXTENSION matview_refresh;
CALL steps();
INSERT INTO t VALUES (3, 3);
CALL steps();
BEGIN;
DROP EXTENSION matview_refresh;
INSERT INTO t VALUES (4, 4);
ROLLBACK;
INSERT INTO t VALUES (5, 5);
CALL steps();

DROP SCHEMA ddl, elsewhere CASCADE;
DROP ROLE regress_mvr_owner;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
