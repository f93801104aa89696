-- What writers do to views that they maintain themselves: everything but several
-- sessions at a time, which is in specs/live_*.spec and t/070_live.pl
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live;
SET search_path = live, test;

-- All live views of this schema that are not what their query says
CREATE FUNCTION wrong() RETURNS TABLE (view name, contents text) LANGUAGE sql AS $$
    SELECT relname, test.contents(c.oid) FROM pg_class c
     WHERE relkind = 'm' AND relnamespace = 'live'::regnamespace AND test.contents(c.oid) <> 'right'
     ORDER BY relname $$;
-- A view under both policies
CREATE PROCEDURE make(name text, query text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE MATERIALIZED VIEW %I AS %s', name || '_s', query);
    EXECUTE format('CREATE MATERIALIZED VIEW %I AS %s', name || '_c', query);
    PERFORM matview.set_auto_refresh((name || '_s')::regclass, 'on_statement');
    PERFORM matview.set_auto_refresh((name || '_c')::regclass, 'on_commit');
END $$;

CREATE TABLE a (id int PRIMARY KEY, k int, v int, t text, unused int);
CREATE TABLE b (k int PRIMARY KEY, w text);
INSERT INTO a SELECT g, g % 5, g, 'a' || g FROM generate_series(1, 20) g;
INSERT INTO b SELECT g, 'b' || g FROM generate_series(0, 3) g;
CALL make('rows', 'SELECT k, v, t FROM a WHERE v > 0');
CALL make('groups', 'SELECT k, count(*) AS n, sum(v) AS s, min(v) AS lo, max(v) AS hi FROM a GROUP BY k');
CALL make('inner', 'SELECT a.id, a.v, b.w FROM a JOIN b USING (k)');
CALL make('outer', 'SELECT a.id, a.v, b.w FROM a LEFT JOIN b USING (k)');
CALL make('win', 'SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY id) AS r FROM a');
CALL make('total', 'SELECT count(*) AS n, sum(v) AS s FROM a');
CALL make('divides', 'SELECT id, 100 / v AS q FROM a');
CALL make('has', 'SELECT k, w FROM b WHERE EXISTS (SELECT FROM a WHERE a.k = b.k)');
CALL make('tops', 'SELECT id, v FROM a ORDER BY v DESC, id LIMIT 3');
SELECT view, policy FROM matview.views WHERE policy IS NOT NULL ORDER BY view::text COLLATE "C";

-- On_statement is right at once, on_commit at the end
BEGIN;
INSERT INTO a VALUES (30, 1, 30, 'thirty');
SELECT view FROM wrong();
UPDATE b SET w = w || '!' WHERE k = 1;
DELETE FROM a WHERE id IN (1, 2);
SELECT view FROM wrong();
COMMIT;
SELECT * FROM wrong();

-- Savepoints
BEGIN;
INSERT INTO a VALUES (31, 1, 31);
SAVEPOINT s1;
UPDATE a SET v = v + 100, k = k + 1;
SAVEPOINT s2;
DELETE FROM b;
ROLLBACK TO s2;
INSERT INTO b VALUES (7, 'b7');
RELEASE s2;
ROLLBACK TO s1;
SELECT view FROM wrong();
INSERT INTO a VALUES (32, 7, 32);
SAVEPOINT s3;
INSERT INTO a VALUES (33, 7, 33);
RELEASE s3;
COMMIT;
SELECT * FROM wrong();
BEGIN;
SAVEPOINT s1;
DELETE FROM a WHERE id > 5;
SAVEPOINT s2;
TRUNCATE b;
ROLLBACK TO s1;
UPDATE a SET v = v + 1 WHERE id = 3;
COMMIT;
SELECT * FROM wrong();
-- applied, undone, and applied again
BEGIN;
UPDATE a SET v = v + 1 WHERE id = 4;
SAVEPOINT s1;
SELECT count(*) FROM matview.refresh_incremental('groups_c') WHERE mode = 'incremental';
ROLLBACK TO s1;
SELECT view FROM wrong() WHERE view LIKE 'groups%';
COMMIT;
SELECT * FROM wrong();

-- Errors in maintenance
\set VERBOSITY default
\set SHOW_CONTEXT always
INSERT INTO a VALUES (40, 1, 0);
UPDATE a SET v = 0 WHERE id = 5;
BEGIN;
SELECT matview.set_auto_refresh('divides_s', 'off');
COMMIT;
INSERT INTO a VALUES (40, 1, 0);
BEGIN;
INSERT INTO a VALUES (40, 1, 0);
UPDATE a SET v = 40 WHERE id = 40;
COMMIT;
SELECT count(*) FROM a WHERE id = 40;
-- never a failure of both together that neither row makes alone
BEGIN;
INSERT INTO a VALUES (41, 1, 0);
DELETE FROM a WHERE id = 41;
COMMIT;
-- in a subtransaction, and the transaction goes on
SELECT matview.set_auto_refresh('divides_s', 'on_statement');
DO $$
BEGIN
    INSERT INTO a VALUES (42, 2, 42);
    BEGIN
        INSERT INTO a VALUES (43, 2, 0);
    EXCEPTION WHEN division_by_zero THEN
        RAISE INFO 'caught: %', SQLERRM;
    END;
    UPDATE a SET v = v + 1 WHERE id = 42;
END $$;
\set SHOW_CONTEXT errors
\set VERBOSITY terse
SELECT * FROM wrong();
SELECT id, v FROM a WHERE id >= 40 ORDER BY id;

-- Deferred constraint triggers that write
CREATE FUNCTION write_b() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO b VALUES (NEW.k + 100, 'deferred') ON CONFLICT (k) DO UPDATE SET w = b.w || '+';
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION write_b();
BEGIN;
INSERT INTO a VALUES (50, 1, 50), (51, 101, 51);
SELECT count(*) FROM b WHERE w ~ 'deferred';
COMMIT;
INSERT INTO a VALUES (52, 102, 52);
BEGIN;
INSERT INTO a VALUES (53, 103, 53);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT view FROM wrong() WHERE view LIKE '%\_s';
COMMIT;
SELECT * FROM wrong();
SELECT * FROM b WHERE k > 100 ORDER BY k;
DROP TRIGGER later ON a;

-- PREPARE TRANSACTION
BEGIN;
INSERT INTO a VALUES (54, 1, 54);
UPDATE b SET w = w || '?' WHERE k = 1;
PREPARE TRANSACTION 'live';
COMMIT PREPARED 'live';
SELECT * FROM wrong();
BEGIN;
DELETE FROM a WHERE id > 10;
PREPARE TRANSACTION 'live';
ROLLBACK PREPARED 'live';
SELECT * FROM wrong();

-- One statement that writes both base tables
WITH x AS (INSERT INTO b VALUES (8, 'b8') RETURNING k),
     y AS (UPDATE b SET w = 'with' WHERE k = 2 RETURNING k),
     z AS (DELETE FROM a WHERE id = 6 RETURNING *)
INSERT INTO a SELECT 60 + x.k, x.k, 60, 'with' FROM x;
SELECT * FROM wrong();
WITH x AS (DELETE FROM a WHERE k = 3 RETURNING *) UPDATE b SET w = w || (SELECT count(*) FROM x) WHERE k = 3;
SELECT * FROM wrong();
WITH x AS (INSERT INTO a VALUES (70, 8, 70)) SELECT 1 AS one;
SELECT * FROM wrong();

-- Foreign keys with actions
CREATE TABLE parents (id int PRIMARY KEY, up int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE, name text);
CREATE TABLE children (id int PRIMARY KEY, p int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE, v int);
CREATE TABLE loose (id int PRIMARY KEY, p int DEFAULT 1 REFERENCES parents ON DELETE SET NULL ON UPDATE SET DEFAULT);
INSERT INTO parents VALUES (1, NULL, 'one'), (2, 1, 'two'), (3, 2, 'three'), (4, NULL, 'four'), (5, 4, 'five');
INSERT INTO children SELECT g, 1 + g % 5, g FROM generate_series(1, 20) g;
INSERT INTO loose SELECT g, 1 + g % 5 FROM generate_series(1, 10) g;
CALL make('family', 'SELECT p.name, c.v, l.id FROM parents p JOIN children c ON c.p = p.id LEFT JOIN loose l ON l.p = p.id');
CALL make('tree', 'SELECT p.name, u.name AS up FROM parents p LEFT JOIN parents u ON u.id = p.up');
CALL make('kids', 'SELECT p, count(*) AS n, max(v) AS hi FROM children GROUP BY p');
CALL make('lost', 'SELECT p, count(*) AS n FROM loose GROUP BY p');
UPDATE parents SET id = id + 10 WHERE id IN (2, 4);
SELECT * FROM wrong();
DELETE FROM parents WHERE id = 12;
SELECT * FROM wrong();
INSERT INTO parents VALUES (20, 20, 'self');
INSERT INTO children VALUES (100, 20, 100);
UPDATE parents SET id = 21 WHERE id = 20;
SELECT * FROM wrong();
DELETE FROM parents WHERE id IN (21, 14);
SELECT * FROM wrong();
TRUNCATE parents CASCADE;
SELECT * FROM wrong();

-- Triggers of the user's, before ours and behind them by name, that write
CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 3 THEN
        INSERT INTO b VALUES ((SELECT max(k) + 1 FROM b), TG_NAME);
        UPDATE a SET v = v + 1 WHERE id = 7;
    END IF;
    RETURN COALESCE(NEW, OLD);
END $$;
CREATE TRIGGER aaa_before BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION also();
CREATE TRIGGER aaa_after AFTER UPDATE ON a FOR EACH STATEMENT EXECUTE FUNCTION also();
CREATE TRIGGER zzz_after AFTER INSERT OR DELETE ON a FOR EACH ROW EXECUTE FUNCTION also();
CREATE TRIGGER zzz_statement AFTER INSERT ON a FOR EACH STATEMENT EXECUTE FUNCTION also();
INSERT INTO a VALUES (80, 1, 80), (81, 2, 81);
SELECT * FROM wrong();
UPDATE a SET k = 2 WHERE id IN (80, 3);
SELECT * FROM wrong();
DELETE FROM a WHERE id = 81;
SELECT * FROM wrong();
DROP TRIGGER aaa_before ON a;
DROP TRIGGER aaa_after ON a;
DROP TRIGGER zzz_after ON a;
DROP TRIGGER zzz_statement ON a;

-- A function that looks at the views in between
CREATE FUNCTION look() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
BEGIN
    SELECT n INTO before FROM total_s;
    INSERT INTO a VALUES (90, 1, 90);
    BEGIN
        INSERT INTO a VALUES (91, 1, 91);
        RAISE EXCEPTION 'undo';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        DELETE FROM a WHERE id = 90;
        INSERT INTO a VALUES (92, 1, 92), (93, 1, 93);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN (SELECT n FROM total_s) - before;
END $$;
SELECT look();
SELECT * FROM wrong();
-- in the midst of a statement that writes the base table
UPDATE a SET t = look_at.n::text FROM (SELECT n FROM total_s) AS look_at WHERE id = 7;
CREATE FUNCTION count_a() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO a VALUES ((SELECT max(id) + 1 FROM a), 2, 5);
    RETURN (SELECT n FROM total_s);
END $$;
INSERT INTO a VALUES (200, 1, count_a()), (300, 1, count_a());
SELECT * FROM wrong();
UPDATE a SET v = v + count_a() WHERE id IN (3, 4);
SELECT * FROM wrong();

-- Procedures that commit
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 400 .. 405 LOOP
        INSERT INTO a VALUES (i, i % 3, i);
        IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
        IF EXISTS (SELECT FROM live.wrong()) THEN RAISE EXCEPTION 'wrong at %', i; END IF;
    END LOOP;
END $$;
CALL commits();
SELECT * FROM wrong();
DO $$
BEGIN
    DELETE FROM a WHERE id >= 400;
    COMMIT;
    UPDATE b SET w = 'do';
END $$;
SELECT * FROM wrong();

-- Cursors
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM a WHERE id < 10 FOR UPDATE;
FETCH 2 FROM c;
UPDATE a SET v = v + 1000 WHERE CURRENT OF c;
FETCH 1 FROM c;
DELETE FROM a WHERE CURRENT OF c;
SELECT view FROM wrong() WHERE view LIKE '%\_s';
COMMIT;
SELECT * FROM wrong();
-- a cursor on a live view while its rows change
BEGIN;
DECLARE c CURSOR FOR SELECT k, n FROM groups_s ORDER BY k;
FETCH 1 FROM c;
UPDATE a SET k = k + 1;
FETCH 1 FROM c;
COMMIT;
SELECT * FROM wrong();

-- COPY, ON CONFLICT, MERGE
COPY a (id, k, v, t) FROM stdin;
500	1	500	copied
501	2	501	copied
\.
SELECT * FROM wrong();
INSERT INTO a VALUES (500, 3, 1), (502, 3, 2) ON CONFLICT (id) DO UPDATE SET v = a.v + excluded.v, k = excluded.k;
INSERT INTO a VALUES (500, 3, 1), (503, 3, 2) ON CONFLICT DO NOTHING;
SELECT * FROM wrong();
MERGE INTO a USING (VALUES (500, 4), (501, NULL), (504, 5)) s(id, k) ON a.id = s.id
    WHEN MATCHED AND s.k IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET k = s.k
    WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.k, 504, 'merged');
SELECT * FROM wrong();

-- TRUNCATE and rows in one transaction
BEGIN;
INSERT INTO b VALUES (20, 'gone');
TRUNCATE b;
INSERT INTO b VALUES (1, 'new'), (2, 'new');
SELECT view FROM wrong() WHERE view LIKE '%\_s';
COMMIT;
SELECT * FROM wrong();

-- A column that no view needs; values stored elsewhere
UPDATE a SET unused = id;
SELECT * FROM wrong();
UPDATE a SET t = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 3000) g) WHERE id IN (3, 4);
UPDATE a SET v = v + 1 WHERE id = 3;
BEGIN;
UPDATE a SET t = t || 'x' WHERE id = 4;
CLUSTER a USING a_pkey;
COMMIT;
BEGIN;
UPDATE a SET t = t || 'x' WHERE id = 4;
CLUSTER a USING a_pkey;
UPDATE a SET t = t || 'y' WHERE id = 4;
COMMIT;
SELECT * FROM wrong();
DELETE FROM a WHERE id IN (3, 4);
SELECT * FROM wrong();

-- Recomputed, then prepared
BEGIN;
TRUNCATE a;
INSERT INTO a VALUES (1, 1, 1), (2, 1, 2);
PREPARE TRANSACTION 'live';
COMMIT PREPARED 'live';
SELECT * FROM wrong();

-- More statements, and more groups, than there is room for locks
CREATE TABLE many (id int);
CALL make('many', 'SELECT id, count(*) AS n FROM many GROUP BY id');
CALL make('many_rows', 'SELECT id FROM many WHERE id > 0');
DO $$
BEGIN
    FOR i IN 1 .. 15000 LOOP
        INSERT INTO many VALUES (i);
    END LOOP;
    FOR i IN 1 .. 1000 LOOP
        DELETE FROM many WHERE ctid = (SELECT ctid FROM many LIMIT 1);
    END LOOP;
END $$;
SELECT * FROM wrong();

-- A policy ended by a trigger, in the midst of a statement
CREATE FUNCTION turn_off() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM matview.set_auto_refresh('rows_s', 'off');
    RETURN NEW;
END $$;
CREATE TRIGGER turn_off AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION turn_off();
INSERT INTO a VALUES (600, 0, 600), (601, 1, 601);
SELECT mode FROM matview.refresh_incremental('rows_s');
SELECT * FROM wrong();
DROP TRIGGER turn_off ON a;
SELECT matview.set_auto_refresh('rows_s', 'on_statement');
CREATE TRIGGER turn_off BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION turn_off();
INSERT INTO a VALUES (602, 0, 602), (603, 1, 603);
SELECT mode FROM matview.refresh_incremental('rows_s');
SELECT * FROM wrong();

-- A change log that is too large is none of a live view's business
CREATE MATERIALIZED VIEW nightly AS SELECT k, count(*) FROM a GROUP BY k;
SELECT mode FROM matview.refresh_incremental('nightly');
INSERT INTO a VALUES (604, 0, 604);
SET matview.max_log_size = 0;
SELECT mode FROM matview.refresh_incremental('nightly');
RESET matview.max_log_size;
SELECT view, next_refresh FROM matview.views WHERE policy LIKE 'on_%' AND next_refresh <> 'incremental';

DROP SCHEMA live CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
