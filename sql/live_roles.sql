-- Views that writers maintain, whatever has been set for the roles of writers and
-- owners, and whoever the tables and views come to belong to
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
GRANT USAGE ON SCHEMA test TO PUBLIC;
SELECT current_user AS super \gset
CREATE ROLE regress_live_owner NOINHERIT;
CREATE ROLE regress_live_writer LOGIN NOINHERIT;
CREATE ROLE regress_live_heir NOINHERIT;
CREATE SCHEMA live_roles AUTHORIZATION regress_live_owner;
GRANT USAGE ON SCHEMA live_roles TO regress_live_writer;
SET search_path = live_roles, test;
SET TimeZone = 'UTC';
SET ROLE regress_live_owner;
CREATE TABLE t (id int PRIMARY KEY, k int, d timestamptz);
CREATE TABLE p (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 (id int, k int);
INSERT INTO t SELECT g, g % 3, '2024-01-01 12:30:00+00'::timestamptz + g * interval '1 h' FROM generate_series(1, 30) g;
INSERT INTO p2 SELECT g, g FROM generate_series(100, 110) g;
CREATE MATERIALIZED VIEW at_statement AS SELECT date_trunc('day', d) AS day, k, count(*) AS n FROM t GROUP BY 1, 2;
CREATE MATERIALIZED VIEW at_commit AS SELECT t.id, p.k, to_char(t.d, 'Dy HH24') AS hour FROM t LEFT JOIN p USING (id);
SELECT matview.set_auto_refresh('at_statement', 'on_statement'), matview.set_auto_refresh('at_commit', 'on_commit');
GRANT SELECT, INSERT, UPDATE, DELETE ON t, p TO regress_live_writer;
RESET ROLE;

ALTER ROLE regress_live_writer SET search_path = nowhere;
ALTER ROLE regress_live_writer SET TimeZone = 'Asia/Tokyo';
ALTER ROLE regress_live_writer SET DateStyle = 'German';
ALTER ROLE regress_live_writer SET IntervalStyle = 'iso_8601';
ALTER ROLE regress_live_writer SET row_security = off;
ALTER ROLE regress_live_writer SET default_transaction_isolation = 'serializable';
ALTER ROLE regress_live_writer SET default_transaction_deferrable = on;
ALTER ROLE regress_live_writer SET plan_cache_mode = 'force_generic_plan';
ALTER ROLE regress_live_writer SET enable_nestloop = off;
ALTER ROLE regress_live_writer SET enable_hashjoin = off;
ALTER ROLE regress_live_writer SET work_mem = '64kB';
ALTER ROLE regress_live_writer SET jit_above_cost = 0;
ALTER ROLE regress_live_writer SET quote_all_identifiers = on;
ALTER ROLE regress_live_writer SET lock_timeout = '20s';
ALTER ROLE regress_live_writer SET statement_timeout = '30s';
ALTER ROLE regress_live_owner SET default_transaction_read_only = on;
ALTER ROLE regress_live_owner SET TimeZone = 'America/New_York';
\c - regress_live_writer
INSERT INTO live_roles.t VALUES (100, 1, '2024-01-01 23:30:00+00');
UPDATE live_roles.t SET k = 2 WHERE id < 5;
BEGIN;
INSERT INTO live_roles.p VALUES (5, 5), (6, 6);
SAVEPOINT s;
DELETE FROM live_roles.t WHERE id = 8;
ROLLBACK TO s;
UPDATE live_roles.t SET d = d + interval '1 day' WHERE id = 9;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO live_roles.t VALUES (101, 1, '2024-01-02 00:30:00+00');
DELETE FROM live_roles.p WHERE id = 6;
COMMIT;
\c - :super
SET client_min_messages = warning;
SET search_path = live_roles, test;
SET TimeZone = 'UTC';
SELECT contents('at_statement'), contents('at_commit');

-- partitions that come and go with rows
SET ROLE regress_live_owner;
BEGIN;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200);
INSERT INTO t VALUES (105, 5, '2024-01-05');
COMMIT;
RESET ROLE;
SELECT contents('at_statement'), contents('at_commit');
SET ROLE regress_live_owner;
ALTER TABLE p DETACH PARTITION p1;
INSERT INTO p1 VALUES (1, 1);
INSERT INTO p VALUES (101, 7);
RESET ROLE;
SELECT contents('at_statement'), contents('at_commit');
SET ROLE regress_live_owner;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100);
UPDATE p1 SET k = 8 WHERE id = 1;
ALTER TABLE p DETACH PARTITION p2 CONCURRENTLY;
RESET ROLE;
SELECT contents('at_statement'), contents('at_commit');

-- other owners; the right to track is not asked for again
REASSIGN OWNED BY regress_live_owner TO regress_live_heir;
INSERT INTO t VALUES (106, 5, '2024-01-06');
SELECT contents('at_statement'), contents('at_commit');
ALTER TABLE t OWNER TO regress_live_writer;
INSERT INTO t VALUES (107, 5, '2024-01-07');
INSERT INTO p VALUES (7, 7);
GRANT SELECT ON t TO regress_live_heir;
INSERT INTO t VALUES (107, 5, '2024-01-07');
ALTER TABLE p DETACH PARTITION p1;
SELECT contents('at_statement'), contents('at_commit');

-- who owns a view decides what row-level security shows to it
CREATE TABLE secured (id int PRIMARY KEY, g int);
INSERT INTO secured VALUES (1, 1), (2, 2);
ALTER TABLE secured OWNER TO regress_live_heir;
CREATE VIEW of_secured AS SELECT * FROM secured;
ALTER VIEW of_secured OWNER TO regress_live_heir;
GRANT SELECT ON secured, of_secured TO PUBLIC;
CREATE MATERIALIZED VIEW direct AS SELECT id, g FROM secured;
CREATE MATERIALIZED VIEW through AS SELECT id, g FROM of_secured;
ALTER MATERIALIZED VIEW through OWNER TO regress_live_writer;
SELECT matview.set_auto_refresh('direct', 'on_statement'), matview.set_auto_refresh('through', 'on_commit');
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
SELECT (SELECT count(*) FROM direct) AS direct, (SELECT count(*) FROM through) AS through;
ALTER MATERIALIZED VIEW direct OWNER TO regress_live_writer;
SELECT missing, extra, (SELECT count(*) FROM direct) FROM matview.check('direct');
ALTER VIEW of_secured SET (security_invoker = true);
SELECT missing, extra, (SELECT count(*) FROM through) FROM matview.check('through');
ALTER VIEW of_secured RESET (security_invoker);
SELECT missing, extra, (SELECT count(*) FROM through) FROM matview.check('through');
ALTER VIEW of_secured OWNER TO regress_live_writer;
SELECT missing, extra, (SELECT count(*) FROM through) FROM matview.check('through');

-- a policy that goes with what it reads
CREATE TABLE allowed (k int);
INSERT INTO allowed VALUES (1);
GRANT SELECT, TRIGGER ON allowed TO regress_live_writer;
CREATE POLICY allowed_ones ON secured USING (EXISTS (SELECT FROM live_roles.allowed WHERE k = secured.g));
SELECT (SELECT count(*) FROM direct) AS direct;
DROP TABLE allowed CASCADE;
SELECT (SELECT count(*) FROM direct) AS direct;
CREATE VIEW allowed AS SELECT 2 AS k;
GRANT SELECT ON allowed TO regress_live_writer;
CREATE POLICY allowed_ones ON secured USING (EXISTS (SELECT FROM live_roles.allowed WHERE k = secured.g));
SELECT (SELECT count(*) FROM direct) AS direct;
DROP VIEW allowed CASCADE;
SELECT (SELECT count(*) FROM direct) AS direct;

DROP SCHEMA live_roles CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
DROP OWNED BY regress_live_owner, regress_live_writer, regress_live_heir;
DROP ROLE regress_live_owner, regress_live_writer, regress_live_heir;
