-- What belongs to a view is in the view's tablespace, and change logs are in the
-- database's, whatever default_tablespace says
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_default LOCATION '';
CREATE TABLESPACE regress_view LOCATION '';
CREATE TABLESPACE regress_base LOCATION '';
CREATE ROLE regress_tablespaces;
CREATE SCHEMA tablespaces AUTHORIZATION regress_tablespaces;
SET search_path = tablespaces, test;
CREATE TABLE t (id int, k int, v int) TABLESPACE regress_base;
INSERT INTO t SELECT g, g % 3, g FROM generate_series(1, 9) g;
CREATE MATERIALIZED VIEW rows_here AS SELECT k, v FROM t;
CREATE MATERIALIZED VIEW rows_there TABLESPACE regress_view AS SELECT k, v FROM t;
CREATE MATERIALIZED VIEW groups_here AS SELECT n, count(*) FROM (SELECT k, count(*) AS n FROM t GROUP BY k) g GROUP BY n;
CREATE MATERIALIZED VIEW groups_there TABLESPACE regress_view AS
  SELECT n, count(*) FROM (SELECT k, count(*) AS n FROM t GROUP BY k) g GROUP BY n;
-- the owner may create nothing in any of them
ALTER TABLE t OWNER TO regress_tablespaces;
ALTER MATERIALIZED VIEW rows_here OWNER TO regress_tablespaces;
ALTER MATERIALIZED VIEW rows_there OWNER TO regress_tablespaces;
ALTER MATERIALIZED VIEW groups_here OWNER TO regress_tablespaces;
ALTER MATERIALIZED VIEW groups_there OWNER TO regress_tablespaces;
CREATE VIEW places AS
  SELECT CASE WHEN c.relname ~ '^rows' THEN c.relname ELSE regexp_replace(c.relname, '\d{2,}', 'N') END AS what,
         relkind, coalesce(spcname, 'default') AS place, count(*)
    FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = reltablespace
   WHERE relnamespace = 'tablespaces'::regnamespace AND relkind IN ('i', 'm')
      OR relnamespace = 'matview'::regnamespace AND relname ~ '^(log|state)'
   GROUP BY 1, 2, 3;
SET default_tablespace = regress_default;
GRANT CREATE ON TABLESPACE regress_default TO regress_tablespaces;
SET ROLE regress_tablespaces;
SELECT mode FROM matview.refresh_incremental('rows_here');
SELECT mode FROM matview.refresh_incremental('rows_there');
SELECT mode FROM matview.refresh_concurrent('groups_here');
SELECT mode FROM matview.refresh_incremental('groups_here');
SELECT mode FROM matview.refresh_incremental('groups_there');
RESET ROLE;
SELECT * FROM places ORDER BY what COLLATE "C", place;

-- Another column in the log; rebuilt; a view that is moved
CREATE MATERIALIZED VIEW more AS SELECT id, k, v FROM t;
SELECT mode FROM matview.refresh_incremental('more');
SELECT mode FROM matview.refresh_concurrent('rows_there');
SELECT mode FROM matview.refresh_full('groups_there');
ALTER MATERIALIZED VIEW groups_here SET TABLESPACE regress_view;
SELECT mode FROM matview.refresh_incremental('groups_here');
SELECT * FROM places ORDER BY what COLLATE "C", place;
INSERT INTO t VALUES (10, 7, 7);
SELECT done, contents FROM step('rows_here');
SELECT done, contents FROM step('rows_there');
SELECT done, contents FROM step('groups_here');
SELECT done, contents FROM step('groups_there');

RESET default_tablespace;
DROP SCHEMA tablespaces CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
DROP TABLESPACE regress_base;
DROP TABLESPACE regress_view;
DROP TABLESPACE regress_default;
DROP ROLE regress_tablespaces;
