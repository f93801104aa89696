-- Views over tracked materialized views: a refresh of one first refreshes what
-- it stands on, in one snapshot.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA chains;
SET search_path = chains, test;

CREATE TABLE t (id int PRIMARY KEY, k int, v int);
CREATE TABLE u (k int PRIMARY KEY, name text);
INSERT INTO t SELECT g, g % 5, g FROM generate_series(1, 40) g;
INSERT INTO u SELECT g, 'name ' || g FROM generate_series(0, 6) g;
CREATE MATERIALIZED VIEW rows AS SELECT id, k, v * 2 AS w FROM t WHERE v > 3;
CREATE MATERIALIZED VIEW groups AS SELECT k, count(*) AS n, sum(w) AS w FROM rows GROUP BY k;
CREATE MATERIALIZED VIEW named AS SELECT u.name, g.n, g.w FROM u LEFT JOIN groups g USING (k);
-- A diamond
CREATE VIEW between AS SELECT * FROM groups WHERE n > 2;
CREATE MATERIALIZED VIEW diamond AS
  SELECT r.id, b.n, (SELECT max(w) FROM named) AS most FROM rows r JOIN between b USING (k);

-- What is not tracked is no source
SELECT done, contents FROM step('diamond');
SELECT reason FROM matview.history WHERE view = 'diamond'::regclass;
SELECT done, contents FROM step('rows');
SELECT done, contents FROM step('groups');
SELECT done, contents FROM step('named');
SELECT done, contents FROM step('diamond');
SELECT * FROM matview.dependencies ORDER BY view::text, depends_on::text;

-- One refresh brings all of them up to date
CREATE FUNCTION all_of_them() RETURNS TABLE (view name, contents text) LANGUAGE sql AS
  $$SELECT relname, test.contents(oid) FROM pg_class WHERE relkind = 'm' AND relnamespace = 'chains'::regnamespace ORDER BY 1$$;
UPDATE t SET v = v + 1 WHERE id % 7 = 0;
INSERT INTO t VALUES (50, 6, 50), (51, 6, 51);
SELECT mode, rows_inserted + rows_updated + rows_deleted > 0 AS wrote FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();
DELETE FROM t WHERE k = 2;
UPDATE u SET name = upper(name) WHERE k = 1;
UPDATE t SET k = 0 WHERE id = 4;
SELECT mode FROM matview.refresh('diamond');
SELECT * FROM all_of_them();
SELECT mode FROM matview.refresh_incremental('diamond');
-- ... unless it is asked not to
UPDATE t SET v = v + 100 WHERE id = 8;
SELECT mode FROM matview.refresh('diamond', 'incremental', false);
SELECT contents('diamond');
SELECT mode FROM matview.refresh('named', 'incremental', false);
SELECT mode FROM matview.refresh_incremental('rows');
SELECT mode FROM matview.refresh('groups', with_sources => false, mode => 'incremental');
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();

-- A source that is rebuilt makes those above recompute, once
UPDATE t SET v = v + 1 WHERE id = 9;
SELECT mode FROM matview.refresh_concurrent('rows');
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();
UPDATE t SET v = v + 1 WHERE id = 9;
SELECT mode FROM matview.refresh_incremental('diamond');
UPDATE t SET v = v + 1 WHERE id = 9;
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();
REFRESH MATERIALIZED VIEW groups;
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();
-- ... and one that has its differences written does not
UPDATE t SET v = v + 1 WHERE id = 10;
SELECT mode FROM matview.refresh('rows', 'diff');
SELECT mode FROM matview.refresh_incremental('named');
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();

-- In one transaction, with writes between
BEGIN;
UPDATE t SET v = v + 1 WHERE id = 11;
SELECT mode FROM matview.refresh_incremental('named');
UPDATE t SET v = v + 1 WHERE id = 12;
DELETE FROM t WHERE id = 13;
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();
SAVEPOINT s;
UPDATE t SET v = v + 1 WHERE id = 14;
SELECT mode FROM matview.refresh_incremental('diamond');
ROLLBACK TO s;
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();
COMMIT;
INSERT INTO t VALUES (60, 1, 60);
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT * FROM all_of_them();

-- REFRESH ... CONCURRENTLY writes a source where it is
CREATE TABLE w (id int PRIMARY KEY, n int);
INSERT INTO w VALUES (1, 1), (2, 2);
CREATE MATERIALIZED VIEW source AS SELECT id, n FROM w;
CREATE UNIQUE INDEX ON source (id);
CREATE MATERIALIZED VIEW above AS SELECT count(*) AS c, sum(n) AS s FROM source;
SELECT done, contents FROM step('source');
SELECT done, contents FROM step('above');
INSERT INTO w VALUES (3, 3);
REFRESH MATERIALIZED VIEW CONCURRENTLY source;
SELECT done, contents FROM step('above');
INSERT INTO w VALUES (4, 4);
SELECT done, contents FROM step('above');
TABLE above;

-- A source that is given up, and goes
SELECT matview.untrack('rows');
INSERT INTO t VALUES (61, 1, 61);
SELECT mode FROM matview.refresh_incremental('diamond');
SELECT last_reason FROM matview.views WHERE view = 'diamond'::regclass;
SELECT contents('diamond'), contents('named'), contents('groups');
SELECT done, contents FROM step('rows');
DROP MATERIALIZED VIEW named CASCADE;
SELECT done, contents FROM step('groups');

-- The extension is made anew, and a session has known the log of a view
CREATE MATERIALIZED VIEW known AS SELECT n, count(*) AS c FROM w GROUP BY n;
CREATE MATERIALIZED VIEW over_known AS SELECT count(*) AS c FROM known;
SELECT done, contents FROM step('known');
SELECT done, contents FROM step('over_known');
UPDATE w SET n = n + 1;
SELECT done, contents FROM step('known');
DROP EXTENSION matview_refresh;
CREATE EXTENSION matview_refresh;
INSERT INTO w VALUES (100, 100);
SELECT done, contents FROM step('known', 'diff');
SELECT done, contents FROM step('over_known');

DROP SCHEMA chains CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
