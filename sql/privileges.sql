-- Who may do what, and as whom a view's expressions run.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA rights;
CREATE ROLE regress_mvr_owner;
CREATE ROLE regress_mvr_member IN ROLE regress_mvr_owner;
CREATE ROLE regress_mvr_writer;
CREATE ROLE regress_mvr_stranger;
CREATE ROLE regress_mvr_evil;
GRANT ALL ON SCHEMA rights TO regress_mvr_owner, regress_mvr_evil;
GRANT USAGE ON SCHEMA rights, test TO PUBLIC;
SET search_path = rights, test;

CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t SELECT g, g FROM generate_series(1, 5) g;
GRANT SELECT ON t TO regress_mvr_owner;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO regress_mvr_writer;
SET ROLE regress_mvr_owner;
CREATE MATERIALIZED VIEW m AS SELECT id, v FROM t;
CREATE MATERIALIZED VIEW g AS SELECT v % 2 AS k, count(*), sum(v) FROM t GROUP BY v % 2;
-- No TRIGGER privilege, so no tracking; but all that needs none
SELECT mode FROM matview.refresh_incremental('m');
SELECT matview.track('m');
SELECT mode FROM matview.refresh_full('m');
SELECT mode FROM matview.refresh_concurrent('m');
SELECT mode FROM matview.refresh('m', 'diff');
SELECT mode FROM matview.refresh('m');
SELECT * FROM matview.check('m');
RESET ROLE;
SELECT * FROM leftovers();
GRANT TRIGGER ON t TO regress_mvr_owner;
SET ROLE regress_mvr_owner;
SELECT mode FROM matview.refresh_incremental('m');
SELECT matview.track('g');
SELECT mode FROM matview.refresh_incremental('g');
-- A writer has no rights on logs, states or views
SET ROLE regress_mvr_writer;
INSERT INTO t VALUES (6, 6);
UPDATE t SET v = v + 1 WHERE id < 3;
DELETE FROM t WHERE id = 3;
INSERT INTO t VALUES (6, 1) ON CONFLICT (id) DO UPDATE SET v = 60;
SELECT * FROM m;
RESET ROLE;
SET search_path = '';
SET ROLE regress_mvr_writer;
INSERT INTO rights.t VALUES (7, 7);
RESET ROLE;
SET search_path = rights, test;
SELECT format('SELECT * FROM %s', log::regclass) AS read_log FROM matview.change_logs \gset
SELECT format('DELETE FROM %s', log::regclass) AS write_log FROM matview.change_logs \gset
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '\d{3,}', 'N');
END $$;
SET ROLE regress_mvr_writer;
SELECT try(:'read_log'), try(:'write_log');
SET ROLE regress_mvr_owner;
SELECT try(:'read_log'), try(:'write_log');
-- A member of the owner's role may refresh; a stranger may not, whatever he may read
RESET ROLE;
GRANT SELECT ON m, g, t TO regress_mvr_stranger, PUBLIC;
SET ROLE regress_mvr_member;
SELECT mode FROM matview.refresh_incremental('m');
SELECT mode FROM matview.refresh_incremental('g');
SELECT matview.untrack('g');
SET ROLE regress_mvr_stranger;
SELECT matview.refresh_incremental('m');
SELECT matview.track('m');
SELECT matview.untrack('m');
SELECT matview.explain('m');
SELECT matview.check('m');
RESET ROLE;
SELECT contents('m');
-- Who has MAINTAIN may call all that the owner may; where that privilege does
-- not exist, the owner does
SELECT current_setting('server_version_num')::int >= 170000 AS has_maintain \gset
\set maintainer regress_mvr_owner
\if :has_maintain
GRANT MAINTAIN ON m TO regress_mvr_stranger;
\set maintainer regress_mvr_stranger
\endif
UPDATE t SET v = v + 10 WHERE id = 1;
SET ROLE :maintainer;
SELECT current_user = :'maintainer' AS is_maintainer;
SELECT mode FROM matview.refresh_incremental('m');
SELECT mode FROM matview.refresh('m');
SELECT mode FROM matview.refresh('m', 'diff');
SELECT mode FROM matview.refresh_concurrent('m');
SELECT mode FROM matview.refresh_full('m');
SELECT matview.track('m');
SELECT * FROM matview.check('m');
SELECT count(*) > 0 AS explained FROM matview.explain('m');
SELECT matview.set_auto_refresh('m', '1 day');
SELECT matview.schedule_auto_refresh('m', '1 hour');
SELECT matview.pause('m');
SELECT matview.resume('m');
SELECT matview.set_auto_refresh('m', 'off');
SELECT matview.untrack('m');
SET ROLE regress_mvr_owner;
SELECT mode FROM matview.refresh_incremental('m');
RESET ROLE;
SELECT contents('m');
-- ... of that view, and as long as he has it
\if :has_maintain
SET ROLE regress_mvr_stranger;
SELECT try('SELECT matview.refresh_incremental(''g'')') <> '42501 permission denied for materialized view "g"' AS wrong \gset
RESET ROLE;
REVOKE MAINTAIN ON m FROM regress_mvr_stranger;
\if :wrong
\echo a privilege on one view is one on another
\endif
\endif
SET ROLE regress_mvr_stranger;
SELECT try('SELECT matview.refresh_incremental(''m'')'), try('SELECT matview.set_auto_refresh(''m'', ''off'')');
RESET ROLE;
-- A superuser refreshes as the owner: no more rights than he has
REVOKE SELECT ON t FROM regress_mvr_owner, PUBLIC;
INSERT INTO t VALUES (8, 8);
SELECT mode FROM matview.refresh_full('m');
SELECT mode FROM matview.refresh_concurrent('m');
SELECT mode FROM matview.refresh_incremental('m');
SELECT mode FROM matview.refresh_incremental('g');
SELECT count(*) FROM m WHERE id = 8;
GRANT SELECT ON t TO regress_mvr_owner;
CALL steps();
-- ... of some columns only
REVOKE SELECT ON t FROM regress_mvr_owner;
GRANT SELECT (id) ON t TO regress_mvr_owner;
UPDATE t SET v = 80 WHERE id = 8;
SELECT mode FROM matview.refresh_incremental('m');
SELECT count(*) FROM m WHERE v = 80;
GRANT SELECT ON t TO regress_mvr_owner;
CALL steps();
-- ... of a plain view in between, which reads its tables as its own owner
CREATE TABLE hidden (id int, secret text);
INSERT INTO hidden VALUES (1, 's1');
CREATE VIEW seen AS SELECT id, secret FROM hidden;
GRANT SELECT ON seen TO regress_mvr_owner;
GRANT TRIGGER ON hidden TO regress_mvr_owner;
SET ROLE regress_mvr_owner;
CREATE MATERIALIZED VIEW through AS SELECT t.id, s.secret FROM t JOIN seen s USING (id);
SELECT mode FROM matview.refresh_incremental('through');
RESET ROLE;
INSERT INTO hidden VALUES (2, 's2');
CALL steps();
REVOKE SELECT ON seen FROM regress_mvr_owner;
INSERT INTO hidden VALUES (4, 's4');
SELECT mode FROM matview.refresh_incremental('through');
SELECT count(*) FROM through WHERE id = 4;
GRANT SELECT ON seen TO regress_mvr_owner;
CALL steps();

-- Functions run as the owner, in a security-restricted operation, with a
-- search_path that the caller does not choose
CREATE TABLE escaped (who text, how text);
GRANT INSERT ON escaped TO PUBLIC;
SET ROLE regress_mvr_evil;
CREATE TABLE bait (id int, v int);
INSERT INTO bait VALUES (1, 1);
CREATE FUNCTION whoami(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
  $$BEGIN RETURN current_user || ' ' || current_setting('search_path'); END$$;
CREATE FUNCTION attempt() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE 'SET LOCAL ROLE NONE';
        EXECUTE 'INSERT INTO rights.escaped VALUES (session_user, current_user)';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'RESET SESSION AUTHORIZATION';
        EXECUTE 'INSERT INTO rights.escaped VALUES (current_user, ''reset'')';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'CREATE TEMP TABLE trap (a int)';
        EXECUTE 'INSERT INTO rights.escaped VALUES (current_user, ''temporary table'')';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'DECLARE stays CURSOR WITH HOLD FOR SELECT 1';
        EXECUTE 'INSERT INTO rights.escaped VALUES (current_user, ''cursor'')';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'CREATE TABLE rights.late (a int)';
        EXECUTE 'CREATE FUNCTION rights.late() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN INSERT INTO rights.escaped VALUES (current_user, ''''deferred''''); RETURN NULL; END''';
        EXECUTE 'CREATE CONSTRAINT TRIGGER x AFTER INSERT ON rights.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rights.late()';
        EXECUTE 'INSERT INTO rights.late VALUES (1)';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'SET search_path = rights';
        EXECUTE 'SET work_mem = ''123kB''';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    EXECUTE 'INSERT INTO rights.escaped VALUES (current_user, ''called'')';
END $$;
-- what is not volatile may not write, but call what does
CREATE FUNCTION escape(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$BEGIN PERFORM rights.attempt(); RETURN $1; END$$;
CREATE MATERIALIZED VIEW evil AS SELECT id, v FROM bait;
CREATE MATERIALIZED VIEW evil_groups AS SELECT v, count(*), max(id) FROM bait GROUP BY v;
CREATE INDEX ON evil (escape(id));
CREATE UNIQUE INDEX ON evil (escape(v));
CREATE INDEX ON evil_groups (escape(v)) WHERE escape(v) > -1;
CREATE MATERIALIZED VIEW who AS SELECT id, whoami(v) AS w FROM bait;
CREATE MATERIALIZED VIEW evil_call AS SELECT escape(id) AS e, escape(v) AS ev FROM bait;
CREATE MATERIALIZED VIEW evil_sum AS SELECT escape(v) AS e, sum(escape(id)) AS s FROM bait GROUP BY escape(v) HAVING escape(1) = 1;
-- operators and casts of his own, in schemas that come first
CREATE FUNCTION evil_eq(int, int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM rights.escape(1); RETURN $1 OPERATOR(pg_catalog.=) $2; END';
CREATE OPERATOR rights.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil_eq);
CREATE FUNCTION count(int) RETURNS bigint LANGUAGE sql AS 'SELECT 666';
RESET ROLE;
DROP TABLE IF EXISTS late;
TRUNCATE escaped;
SET work_mem = '4MB';
SET search_path = rights, pg_catalog, test;
SELECT mode FROM matview.refresh_incremental('evil');
SELECT mode FROM matview.refresh_incremental('evil_groups');
SELECT mode FROM matview.refresh_incremental('who');
SELECT mode FROM matview.refresh_incremental('evil_call');
SELECT mode FROM matview.refresh_incremental('evil_sum');
INSERT INTO bait VALUES (2, 2), (3, 3);
SELECT mode FROM matview.refresh_incremental('evil');
SELECT mode FROM matview.refresh_incremental('evil_groups');
SELECT mode FROM matview.refresh_incremental('who');
SELECT mode FROM matview.refresh_incremental('evil_call');
SELECT mode FROM matview.refresh_incremental('evil_sum');
SELECT mode FROM matview.refresh_concurrent('evil');
SELECT mode FROM matview.refresh_full('evil_groups');
SELECT mode FROM matview.refresh('evil', 'diff');
SELECT * FROM matview.check('evil');
SELECT * FROM matview.check('who');
SELECT count(*) > 0 FROM matview.explain('evil_call');
SHOW search_path;
SHOW work_mem;
SET search_path = rights, test;
SELECT DISTINCT who, how FROM escaped ORDER BY 1, 2;
SELECT DISTINCT w FROM who ORDER BY 1;
SELECT current_user = session_user AS myself;
-- A writer's trigger must not run the view's functions as the writer
SET ROLE regress_mvr_evil;
GRANT INSERT ON bait TO regress_mvr_writer;
SET ROLE regress_mvr_writer;
INSERT INTO bait VALUES (4, 4);
RESET ROLE;
SELECT DISTINCT who, how FROM escaped ORDER BY 1, 2;

-- Nor does a superuser run those of an index when he ends the tracking
SET ROLE regress_mvr_evil;
CREATE INDEX ON evil (id) WHERE id > escape(0);
CREATE INDEX ON evil ((v + escape(1)));
RESET ROLE;
\c -
SET client_min_messages = warning;
SET search_path = rights, test;
SELECT matview.untrack('evil');
SELECT DISTINCT who, how FROM escaped ORDER BY 1, 2;

-- A reason can have an error message, with values of the base tables in it
CREATE TABLE kinds (id int PRIMARY KEY, kind text);
CREATE TABLE secrets (id int PRIMARY KEY, secret text);
INSERT INTO kinds SELECT g, CASE WHEN g > 1 THEN 'number' ELSE 'text' END FROM generate_series(1, 100) g;
INSERT INTO secrets SELECT g, CASE WHEN g > 1 THEN '1' ELSE 'top secret' END FROM generate_series(1, 100) g;
CREATE MATERIALIZED VIEW mixed AS
  SELECT k.id, CASE WHEN kind = 'number' THEN secret END::int AS n FROM kinds k JOIN secrets USING (id);
SELECT mode FROM matview.refresh_incremental('mixed');
BEGIN;
UPDATE kinds SET kind = 'number' WHERE id = 1;
UPDATE secrets SET secret = '1' WHERE id = 1;
COMMIT;
SELECT mode FROM matview.refresh_incremental('mixed');
SELECT last_reason FROM matview.views WHERE view = 'mixed'::regclass;
SELECT reason FROM matview.history WHERE view = 'mixed'::regclass ORDER BY started;
SET ROLE regress_mvr_stranger;
SELECT last_reason FROM matview.views WHERE view = 'mixed'::regclass;
SELECT reason FROM matview.history WHERE view = 'mixed'::regclass ORDER BY started;
RESET ROLE;

-- A caller's temporary objects stand in nobody's way
CREATE TEMP TABLE t (id int, v int);
CREATE TEMP TABLE change_logs (base oid, log oid);
CREATE TEMP VIEW tracked_views AS SELECT 1 AS view;
INSERT INTO rights.t VALUES (20, 20);
SELECT mode FROM matview.refresh_incremental('m');
SELECT contents('m');
DROP TABLE pg_temp.t, change_logs;
DROP VIEW tracked_views;

-- The right to track is asked for once
REVOKE TRIGGER ON t FROM regress_mvr_owner;
CREATE TABLE above (LIKE t);
ALTER TABLE t INHERIT above;
SET ROLE regress_mvr_owner;
SELECT mode FROM matview.refresh_incremental('m');
RESET ROLE;
INSERT INTO t VALUES (21, 21);
SELECT done, contents FROM step('m');
ALTER TABLE t NO INHERIT above;

-- A view that hides rows hides them from the functions of whoever reads it, also while changes are applied
CREATE TABLE half (id int PRIMARY KEY, k text, j text);
CREATE VIEW shown WITH (security_barrier) AS SELECT * FROM half WHERE k = 'public';
GRANT SELECT ON shown TO regress_mvr_owner;
SET ROLE regress_mvr_owner;
CREATE FUNCTION peek(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE COST 0.0001 AS $$
BEGIN
    IF $1 ~ 'secret' THEN
        RAISE 'seen: %', $1;
    END IF;
    RETURN true;
END $$;
CREATE MATERIALIZED VIEW peeks AS SELECT id FROM shown WHERE peek(j);
CREATE MATERIALIZED VIEW peeks_groups AS SELECT k, count(*) FROM shown WHERE peek(j) GROUP BY k;
CREATE MATERIALIZED VIEW peeks_on AS SELECT DISTINCT ON (j) j, id FROM shown WHERE peek(j) ORDER BY j, id;
CREATE MATERIALIZED VIEW peeks_join AS SELECT a.id FROM shown a LEFT JOIN shown b ON b.id = a.id + 1 WHERE peek(a.j) AND a.id NOT IN (SELECT id + 5 FROM shown c WHERE peek(c.j));
RESET ROLE;
CREATE VIEW peeking AS SELECT v FROM unnest('{peeks,peeks_groups,peeks_on,peeks_join}'::regclass[]) v;
SELECT matview.track(v) FROM peeking;
INSERT INTO half VALUES (1, 'private', 'a secret'), (2, 'public', 'nothing special');
SELECT v, mode FROM peeking, matview.refresh_incremental(v);
UPDATE half SET j = j || '!';
INSERT INTO half VALUES (3, 'private', 'another secret'), (4, 'public', 'x'), (5, 'public', 'y');
SELECT v, r.mode, c.* FROM peeking, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;
DELETE FROM half WHERE id IN (1, 4);
SELECT v, r.mode, c.* FROM peeking, LATERAL (SELECT mode FROM matview.refresh_incremental(v)) r, matview.check(v) c;

-- Who may set what: anybody, a superuser, nobody but the configuration file
SET ROLE regress_mvr_writer;
SELECT name, try(format('SET LOCAL %s TO DEFAULT', name)) FROM pg_settings WHERE name LIKE 'matview.%' ORDER BY name;
RESET ROLE;
SELECT name, try(format('SET LOCAL %s TO DEFAULT', name)) FROM pg_settings WHERE name LIKE 'matview.%' ORDER BY name;

SELECT * FROM matview.dependencies ORDER BY view::text, depends_on::text;
DROP SCHEMA rights CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
DROP OWNED BY regress_mvr_owner, regress_mvr_member, regress_mvr_writer, regress_mvr_stranger, regress_mvr_evil;
DROP ROLE regress_mvr_owner, regress_mvr_member, regress_mvr_writer, regress_mvr_stranger, regress_mvr_evil;
