-- Every operator, in views that the writers maintain, over tables without any key
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_operators_without_keys;
SET search_path = live_operators_without_keys, test;
\set key ''
\set live on
\set statements :dir /sql/include/operators.sql
\i :statements

DROP SCHEMA live_operators_without_keys CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
