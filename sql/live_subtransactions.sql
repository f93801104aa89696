-- Changes of many subtransactions wait in one place.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA live_subtransactions;
SET search_path = live_subtransactions, test;

CREATE TABLE a (id int PRIMARY KEY, g int, v text);
CREATE TABLE b (id int PRIMARY KEY, g int);
INSERT INTO b SELECT g, g % 5 FROM generate_series(1, 20) g;
CREATE MATERIALIZED VIEW grouped AS SELECT g, count(*), min(v) FROM a GROUP BY g;
CREATE MATERIALIZED VIEW joined AS SELECT a.id, a.v, b.id AS other FROM a JOIN b USING (g);
CREATE MATERIALIZED VIEW at_once AS SELECT g, count(*) FROM a GROUP BY g;
SELECT matview.set_auto_refresh('grouped', 'on_commit');
SELECT matview.set_auto_refresh('joined', 'on_commit');
SELECT matview.set_auto_refresh('at_once', 'on_statement');

-- Inserts rows "first" to "last", each in a subtransaction; every seventh fails
CREATE PROCEDURE fill(first int, last int, depth int DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN first .. last LOOP
        BEGIN
            INSERT INTO a VALUES (i, i % 5, repeat('x', i % 50));
            IF depth > 0 THEN
                CALL fill(i * 1000 + first, i * 1000 + last, depth - 1);
            END IF;
            IF i % 3 = 0 THEN
                UPDATE b SET g = g + 1 WHERE id = i % 20 + 1;
                DELETE FROM a WHERE id = i - 2;
            END IF;
            PERFORM 1 / (i % 7);
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END $$;
CREATE FUNCTION wrong() RETURNS TABLE (view text, contents text) LANGUAGE sql AS $$
  SELECT c.relname, test.contents(c.oid) FROM pg_class c
   WHERE c.relnamespace = 'live_subtransactions'::regnamespace AND c.relkind = 'm'
     AND test.contents(c.oid) <> 'right';
$$;

BEGIN;
CALL fill(1, 50);
-- two base tables, and views that read one of them or both
SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'pending changes';
SAVEPOINT undone;
CALL fill(51, 60);
ROLLBACK TO undone;
SAVEPOINT kept;
CALL fill(61, 66, 2);
RELEASE kept;
SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'pending changes';
TRUNCATE b;
SAVEPOINT kept;
TRUNCATE b;
INSERT INTO b VALUES (1, 1), (2, 2);
RELEASE kept;
SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'pending changes';
COMMIT;
SELECT * FROM wrong();
CALL fill(100, 120);
SELECT * FROM wrong();
BEGIN;
CALL fill(200, 210, 1);
PREPARE TRANSACTION 'subtransactions';
COMMIT PREPARED 'subtransactions';
SELECT * FROM wrong();

-- No room for what waits: neither the end of a transaction nor that of a
-- subtransaction stumbles over it a second time
\set SHOW_CONTEXT never
SET client_min_messages = error;
SET work_mem = '64kB';
SET temp_file_limit = '1MB';
CREATE TABLE wide (id int, v text);
CREATE MATERIALIZED VIEW of_wide AS SELECT id, v FROM wide;
SELECT matview.set_auto_refresh('of_wide', 'on_commit');
\set VERBOSITY sqlstate
DO $$ BEGIN
    FOR i IN 1 .. 20000 LOOP
        INSERT INTO wide VALUES (i, repeat('x', 100));
    END LOOP;
END $$;
\set VERBOSITY default
DO $$ BEGIN
    INSERT INTO wide VALUES (1, 'kept');
    BEGIN
        FOR i IN 1 .. 20000 LOOP
            INSERT INTO wide VALUES (i, repeat('x', 100));
        END LOOP;
    EXCEPTION WHEN OTHERS THEN
        RAISE INFO '%', sqlstate;
    END;
END $$;
SELECT count(*) FROM wide;
SELECT * FROM wrong();
BEGIN;
DO $$ BEGIN
    FOR i IN 1 .. 4 LOOP
        BEGIN
            FOR j IN 1 .. 2200 LOOP
                INSERT INTO wide VALUES (j, repeat('x', 100));
            END LOOP;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END $$;
RESET temp_file_limit;
COMMIT;
SELECT count(*) FROM wide;
SELECT * FROM wrong();
RESET work_mem;

DROP SCHEMA live_subtransactions CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
