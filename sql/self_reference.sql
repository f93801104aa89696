-- A table that refers to itself: an action of the foreign key updates a row that
-- the same statement has updated already
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA self_reference;
SET search_path = self_reference, test;
CREATE TABLE person (id int PRIMARY KEY, up int REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE, name text);
INSERT INTO person VALUES (1, NULL, 'one'), (2, 1, 'two'), (3, 2, 'three'), (20, 20, 'self'), (21, 20, 'below');
CREATE MATERIALIZED VIEW left_join AS SELECT p.name, u.name AS up FROM person p LEFT JOIN person u ON u.id = p.up;
CREATE MATERIALIZED VIEW not_exists AS SELECT name FROM person p WHERE NOT EXISTS (SELECT FROM person u WHERE u.id = p.up AND u.id <> p.id);
CREATE MATERIALIZED VIEW counted AS SELECT u.name, count(p.id) AS n FROM person u LEFT JOIN person p ON p.up = u.id GROUP BY u.name;
CREATE MATERIALIZED VIEW inner_join AS SELECT p.name, u.name AS up FROM person p JOIN person u ON u.id = p.up;
CALL steps();
UPDATE person SET id = 30 WHERE id = 20;
CALL steps();
UPDATE person SET id = id + 100;
CALL steps();
DELETE FROM person WHERE id = 102;
CALL steps();
DELETE FROM person WHERE id = 130;
CALL steps();
DROP SCHEMA self_reference CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
