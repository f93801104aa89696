-- Every operator, over tables with primary keys
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA operators;
SET search_path = operators, test;
\set key 'PRIMARY KEY'
\set statements :dir /sql/include/operators.sql
\i :statements

DROP SCHEMA operators CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
