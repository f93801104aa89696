-- Every operator, over tables without any key
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA operators_without_keys;
SET search_path = operators_without_keys, test;
\set key ''
\set statements :dir /sql/include/operators.sql
\i :statements

-- Rows that are the same in every column
INSERT INTO b SELECT 60, 2, 5, 'same' FROM generate_series(1, 4);
INSERT INTO c SELECT 60, 2, 5 FROM generate_series(1, 4);
SELECT * FROM every_view();
DELETE FROM b WHERE ctid IN (SELECT ctid FROM b WHERE id = 60 LIMIT 2);
DELETE FROM c WHERE ctid IN (SELECT ctid FROM c WHERE id = 60 LIMIT 1);
UPDATE b SET y = 6 WHERE ctid IN (SELECT ctid FROM b WHERE id = 60 LIMIT 1);
SELECT * FROM every_view();

DROP SCHEMA operators_without_keys CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
