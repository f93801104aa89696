-- Every operator, in views that the writers maintain, over tables with primary keys
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_operators;
SET search_path = live_operators, test;
\set key 'PRIMARY KEY'
\set live on
\set statements :dir /sql/include/operators.sql
\i :statements

DROP SCHEMA live_operators CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
