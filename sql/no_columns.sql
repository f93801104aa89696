-- Set operations on rows without columns.  Before PostgreSQL 18 such rows are no
-- duplicates of each other for UNION, so what these give depends on the version.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA no_columns;
SET search_path = no_columns, test;

CREATE TABLE a (x int);
CREATE TABLE b (x int);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM (SELECT FROM a UNION SELECT FROM b) s;
CREATE MATERIALIZED VIEW united AS SELECT FROM a UNION SELECT FROM b;
CREATE MATERIALIZED VIEW common AS SELECT FROM a INTERSECT SELECT FROM b;
CREATE MATERIALIZED VIEW common_all AS SELECT FROM a INTERSECT ALL SELECT FROM b;
CREATE MATERIALIZED VIEW except_all AS SELECT FROM a EXCEPT ALL SELECT FROM b;
CREATE MATERIALIZED VIEW is_any AS SELECT x, EXISTS (SELECT FROM a UNION SELECT FROM b) AS e FROM a;
CREATE MATERIALIZED VIEW arm AS SELECT FROM a UNION ALL (SELECT FROM a UNION SELECT FROM b);
CREATE MATERIALIZED VIEW appended AS SELECT x, (SELECT count(*) FROM (SELECT WHERE a.x > 1 UNION ALL SELECT FROM b WHERE b.x = a.x) s) AS e FROM a;

CALL steps();
INSERT INTO a VALUES (1), (2), (2);
INSERT INTO b VALUES (1), (2);
CALL steps();
DELETE FROM b;
CALL steps();

DROP SCHEMA no_columns CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
