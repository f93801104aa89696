-- Set operations whose arms have different types: the casts that make them
-- alike, with their collations, and with the settings that they read.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA union_types;
SET search_path = union_types, test;
SET timezone = 'UTC';

CREATE DOMAIN code AS text CHECK (value <> 'no');
CREATE TABLE a (id bigint, t text, d code, ts timestamp);
CREATE TABLE b (id real, v varchar(20), n name, c char(5), z timestamptz);
INSERT INTO a VALUES (1, 'x', 'x', '2024-01-01'), (16777217, 'y', 'y', '2024-01-02');
INSERT INTO b VALUES (1, 'y', 'y', 'y', '2024-01-01'), (2.5, 'z', 'z', 'z', '2024-01-02');

CREATE MATERIALIZED VIEW text_varchar AS SELECT t FROM a UNION SELECT v FROM b;
CREATE MATERIALIZED VIEW text_name AS SELECT t FROM a UNION ALL SELECT n FROM b;
CREATE MATERIALIZED VIEW text_char AS SELECT t FROM a INTERSECT SELECT c FROM b;
CREATE MATERIALIZED VIEW varchar_text AS SELECT v FROM b EXCEPT ALL SELECT t FROM a;
CREATE MATERIALIZED VIEW intersect_all AS SELECT t FROM a INTERSECT ALL SELECT v FROM b;
CREATE MATERIALIZED VIEW domain_text AS SELECT d FROM a UNION SELECT t FROM a;
CREATE MATERIALIZED VIEW domain_varchar AS SELECT d FROM a EXCEPT SELECT v FROM b;
CREATE MATERIALIZED VIEW collated AS SELECT t COLLATE "C" FROM a UNION SELECT v FROM b;
CREATE MATERIALIZED VIEW with_values AS VALUES ('x'::text), ('q') UNION SELECT v FROM b;
CREATE MATERIALIZED VIEW below_groups AS
  SELECT t, count(*) AS n FROM (SELECT t FROM a UNION ALL SELECT v FROM b) s GROUP BY t;
CREATE MATERIALIZED VIEW below_join AS
  SELECT s.t, a.id FROM (SELECT t FROM a UNION SELECT n FROM b) s LEFT JOIN a ON a.t = s.t;
-- bigint to real to double precision, which is not bigint to double precision
CREATE MATERIALIZED VIEW two_steps AS
  (SELECT id FROM a UNION ALL SELECT id FROM b) UNION ALL SELECT 0.5::float8;
CREATE MATERIALIZED VIEW two_steps_distinct AS
  (SELECT id FROM a UNION SELECT id FROM b) UNION SELECT 0.5::float8;
-- these read TimeZone
CREATE MATERIALIZED VIEW zone AS SELECT ts FROM a UNION SELECT z FROM b;
CREATE MATERIALIZED VIEW zone_all AS SELECT ts FROM a UNION ALL SELECT z FROM b;
CREATE MATERIALIZED VIEW zone_nested AS
  SELECT ts::date FROM a UNION ALL (SELECT ts FROM a EXCEPT SELECT z FROM b);
CALL steps();

INSERT INTO a VALUES (16777219, 'new', 'new', '2024-02-01');
INSERT INTO b VALUES (3, 'new', 'new', 'new', '2024-02-01'), (4, 'other', 'other', 'other', '2024-02-02');
CALL steps();
DELETE FROM b WHERE v = 'y';
UPDATE a SET t = 'z', d = 'z' WHERE t = 'x';
CALL steps();

-- another time zone: recomputed, the others not
SET timezone = 'Asia/Tokyo';
INSERT INTO a VALUES (5, 'five', 'five', '2024-03-01');
CALL steps();

-- by those who write
SELECT count(matview.set_auto_refresh(c.oid, 'on_statement')) FROM pg_class c
 WHERE relkind = 'm' AND relnamespace = 'union_types'::regnamespace;
INSERT INTO b VALUES (6, 'six', 'six', 'six', '2024-03-01');
DELETE FROM a WHERE t = 'five';
SELECT c.oid::regclass AS view, contents(c.oid) FROM pg_class c
 WHERE relkind = 'm' AND relnamespace = 'union_types'::regnamespace AND contents(c.oid) <> 'right';

DROP SCHEMA union_types CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
