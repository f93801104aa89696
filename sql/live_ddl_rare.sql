-- Commands by which few would expect a view that writers maintain to change
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA rare;
SET search_path = rare, test;

-- All live views of this schema that are not what their query says
CREATE FUNCTION wrong() RETURNS TABLE (view name, contents text) LANGUAGE sql AS $$
    SELECT relname, test.contents(c.oid) FROM pg_class c
     WHERE relkind = 'm' AND relnamespace = 'rare'::regnamespace AND test.contents(c.oid) <> 'right'
     ORDER BY relname $$;
-- A view under both policies
CREATE PROCEDURE make(name text, query text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE MATERIALIZED VIEW %I AS %s', name || '_s', query);
    EXECUTE format('CREATE MATERIALIZED VIEW %I AS %s', name || '_c', query);
    PERFORM matview.set_auto_refresh((name || '_s')::regclass, 'on_statement');
    PERFORM matview.set_auto_refresh((name || '_c')::regclass, 'on_commit');
END $$;

CREATE TABLE p (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE parent (id int, v int);
INSERT INTO p VALUES (1, 1);
INSERT INTO parent VALUES (1, 1);
CALL make('parted', 'SELECT id, v FROM p');
CALL make('inherited', 'SELECT sum(v) AS s FROM parent');

-- CREATE SCHEMA creates tables without an event for each
CREATE SCHEMA rare_tables
    CREATE TABLE p2 PARTITION OF rare.p FOR VALUES FROM (10) TO (20)
    CREATE TABLE child () INHERITS (rare.parent);
INSERT INTO p VALUES (11, 11);
INSERT INTO rare_tables.p2 VALUES (12, 12);
INSERT INTO rare_tables.child VALUES (2, 2);
SELECT * FROM wrong();
CREATE SCHEMA rare_others CREATE TABLE t (id int) CREATE VIEW v AS SELECT id FROM t;
SELECT * FROM wrong();

-- Triggers of ours that somebody drops or renames
CREATE PROCEDURE on_triggers(command text, what text) LANGUAGE plpgsql AS $$
DECLARE
    trigger record;
BEGIN
    FOR trigger IN SELECT tgname AS name, tgrelid::regclass AS base FROM pg_trigger
                    WHERE tgname LIKE 'matview%' AND tgrelid IN ('p1'::regclass, 'parent'::regclass)
                      AND pg_get_triggerdef(oid) ~ what
    LOOP
        EXECUTE format(command, trigger.name, trigger.base, 'own_' || trigger.name);
    END LOOP;
END $$;
CALL on_triggers('DROP TRIGGER %I ON %s', 'INSERT');
INSERT INTO p VALUES (2, 2);
INSERT INTO parent VALUES (2, 2);
SELECT * FROM wrong();
CALL on_triggers('ALTER TRIGGER %I ON %s RENAME TO %I', 'UPDATE');
UPDATE p SET v = v + 1;
UPDATE parent SET v = v + 1;
SELECT * FROM wrong();

-- DETACH PARTITION CONCURRENTLY, which ends in a transaction of its own
ALTER TABLE p DETACH PARTITION rare_tables.p2 CONCURRENTLY;
SELECT * FROM wrong();
INSERT INTO p VALUES (3, 3);
INSERT INTO rare_tables.p2 VALUES (13, 13);
SELECT * FROM wrong();

-- A function by another name
CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 3) g;
CREATE FUNCTION plus(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN $1 + coalesce(nullif(current_setting('rare.plus', true), ''), '0')::int; END $$;
CALL make('calls', 'SELECT id, plus(id) AS p FROM t');
ALTER ROUTINE plus(int) SET rare.plus = 5;
SELECT * FROM wrong();
-- or one that this one calls
CREATE FUNCTION more(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT rare.plus($1) + 1';
CALL make('deep_calls', 'SELECT id, more(id) AS p FROM t');
CREATE OR REPLACE FUNCTION plus(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 20';
SELECT * FROM wrong();
-- twice, in one transaction
BEGIN;
CREATE OR REPLACE FUNCTION plus(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 30';
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
CREATE OR REPLACE FUNCTION plus(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 40';
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
COMMIT;
SELECT * FROM wrong();
-- and dropped, where there is another one
CREATE FUNCTION which(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION which(bigint) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2';
CREATE FUNCTION calls_which(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN rare.which($1); END';
CALL make('which_one', 'SELECT id, calls_which(id) AS p FROM t');
DROP FUNCTION which(int);
SELECT * FROM wrong();

-- A plain view that reads no table is replaced, and then by one that does
CREATE VIEW constant AS SELECT 1 AS id;
CALL make('constants', 'SELECT id FROM constant');
CALL make('constant_groups', 'SELECT count(*) AS n, max(id) AS hi FROM constant');
CREATE OR REPLACE VIEW constant AS SELECT 2 AS id;
SELECT * FROM wrong();
CREATE OR REPLACE VIEW constant AS SELECT id FROM t;
SELECT * FROM wrong();
INSERT INTO t VALUES (9);
SELECT * FROM wrong();

-- A foreign table becomes a partition: its rows are there from then on.  They
-- cannot be read at commit, when the foreign data wrapper has done its part.
CREATE EXTENSION file_fdw SCHEMA rare;
CREATE SERVER rare_files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE far PARTITION OF p FOR VALUES FROM (100) TO (200)
    SERVER rare_files OPTIONS (program 'echo 101,101', format 'csv');
SELECT * FROM wrong();
SELECT matview.set_auto_refresh('parted_c', 'off');
CREATE FOREIGN TABLE far PARTITION OF p FOR VALUES FROM (100) TO (200)
    SERVER rare_files OPTIONS (program 'echo 101,101', format 'csv');
SELECT * FROM wrong() WHERE view <> 'parted_c';
DROP FOREIGN TABLE far;
SELECT * FROM wrong() WHERE view <> 'parted_c';
CREATE FOREIGN TABLE far (id int, v int) SERVER rare_files OPTIONS (program 'echo 7,7', format 'csv');
SELECT matview.set_auto_refresh('inherited_c', 'off');
ALTER FOREIGN TABLE far INHERIT parent;
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
ALTER FOREIGN TABLE far NO INHERIT parent;
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
-- nor by a function
CREATE FUNCTION look(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (SELECT max(v) FROM rare.far); END $$;
CREATE MATERIALIZED VIEW looks AS SELECT id, look(id) AS l FROM t;
SELECT matview.set_auto_refresh('looks', 'on_commit');
\set SHOW_CONTEXT never
INSERT INTO t VALUES (4);
BEGIN;
INSERT INTO t VALUES (4);
PREPARE TRANSACTION 'rare';
SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE gid = 'rare' \gexec
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
SELECT matview.set_auto_refresh('looks', 'on_statement');
INSERT INTO t VALUES (4);
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';

-- Partitions go with something else
SELECT matview.set_auto_refresh('parted_c', 'off');
DROP MATERIALIZED VIEW looks;
CREATE FOREIGN TABLE far_away PARTITION OF p FOR VALUES FROM (200) TO (300)
    SERVER rare_files OPTIONS (program 'echo 201,201', format 'csv');
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
DROP SERVER rare_files CASCADE;
SELECT * FROM wrong() WHERE view NOT LIKE '%\_c';
SELECT matview.set_auto_refresh('parted_c', 'on_commit');
CREATE ACCESS METHOD rare_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE p_rare PARTITION OF p FOR VALUES FROM (200) TO (300) USING rare_heap;
INSERT INTO p VALUES (200, 1), (201, 2);
DROP ACCESS METHOD rare_heap CASCADE;
SELECT * FROM wrong() WHERE view <> 'inherited_c';

-- Capture does not hold any more, and no event trigger has told: the statement
-- that finds out cannot create triggers, and leaves it to COMMIT
CREATE TABLE above (LIKE t);
ALTER EVENT TRIGGER matview_refresh_recompute_live DISABLE;
ALTER TABLE t INHERIT above;
ALTER EVENT TRIGGER matview_refresh_recompute_live ENABLE ALWAYS;
BEGIN;
INSERT INTO t SELECT max(id) + 1 FROM t;
INSERT INTO t SELECT max(id) + 1 FROM t;
COMMIT;
SELECT * FROM wrong() WHERE view <> 'inherited_c';
INSERT INTO above SELECT max(id) + 1 FROM t;
SELECT * FROM wrong() WHERE view <> 'inherited_c';

-- A plain view is replaced by one that cannot be maintained, of other tables
CREATE TABLE before (id int);
CREATE TABLE after (id int PRIMARY KEY, parent int REFERENCES after ON DELETE CASCADE);
CREATE UNLOGGED TABLE hidden (id int);
CREATE VIEW replaced AS SELECT id FROM before;
CREATE MATERIALIZED VIEW replaced_c AS SELECT id, count(*) FROM replaced GROUP BY id;
CREATE MATERIALIZED VIEW replaced_s AS SELECT id FROM replaced;
SELECT matview.set_auto_refresh('replaced_c', 'on_commit'), matview.set_auto_refresh('replaced_s', 'on_statement');
CREATE OR REPLACE VIEW replaced AS WITH RECURSIVE r AS (SELECT id FROM after WHERE parent IS NULL
  UNION SELECT a.id FROM after a JOIN r ON a.parent = r.id) SELECT id FROM r WHERE NOT EXISTS (SELECT FROM hidden h WHERE h.id = r.id);
INSERT INTO after VALUES (1, NULL), (2, 1), (3, 2), (4, 4);
SELECT * FROM wrong() WHERE view LIKE 'replaced%';
INSERT INTO hidden VALUES (3);
SELECT * FROM wrong() WHERE view LIKE 'replaced%';
DELETE FROM after WHERE id = 2;
UPDATE after SET parent = NULL WHERE id = 4;
SELECT * FROM wrong() WHERE view LIKE 'replaced%';
SELECT count(*) FROM replaced_s;
CREATE OR REPLACE VIEW replaced AS SELECT id FROM after;
INSERT INTO after VALUES (5, 1);
SELECT * FROM wrong() WHERE view LIKE 'replaced%';
SELECT mode FROM matview.refresh_incremental('replaced_c');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'hidden'::regclass AND NOT tgisinternal;

-- A view that cannot be maintained any more, and then a column changes that it could
CREATE TABLE retyped (id int PRIMARY KEY, d int, n int);
INSERT INTO retyped VALUES (1, 1, 1), (2, 2, 2);
CREATE MATERIALIZED VIEW of_retyped_s AS SELECT r::text AS r FROM retyped r;
CREATE MATERIALIZED VIEW of_retyped_c AS SELECT r::text AS r FROM retyped r;
SELECT matview.set_auto_refresh('of_retyped_s', 'on_statement'), matview.set_auto_refresh('of_retyped_c', 'on_commit');
ALTER TABLE retyped ENABLE ROW LEVEL SECURITY;
UPDATE retyped SET d = 6 WHERE id = 1;
SELECT * FROM wrong() WHERE view LIKE 'of_retyped%';
ALTER TABLE retyped ALTER COLUMN n TYPE text;
UPDATE retyped SET d = 7 WHERE id = 1;
SELECT * FROM wrong() WHERE view LIKE 'of_retyped%';
ALTER TABLE retyped DROP COLUMN n;
INSERT INTO retyped VALUES (3, 3);
DELETE FROM retyped WHERE id = 2;
SELECT * FROM wrong() WHERE view LIKE 'of_retyped%';
ALTER TABLE retyped DISABLE ROW LEVEL SECURITY;
UPDATE retyped SET d = 8 WHERE id = 1;
SELECT * FROM wrong() WHERE view LIKE 'of_retyped%';

-- ... or a table gets a child or a partition, or loses its triggers
CREATE FUNCTION same(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE TABLE heir (id int PRIMARY KEY, k int);
CREATE TABLE split (id int, k int) PARTITION BY LIST (k);
CREATE TABLE split_1 PARTITION OF split FOR VALUES IN (1);
CREATE MATERIALIZED VIEW of_heir AS SELECT id, same(k) AS k FROM heir;
CREATE MATERIALIZED VIEW of_split AS SELECT id, same(k) AS k FROM split;
SELECT matview.set_auto_refresh('of_heir', 'on_commit'), matview.set_auto_refresh('of_split', 'on_statement');
ALTER FUNCTION same VOLATILE;
INSERT INTO heir VALUES (1, 1);
INSERT INTO split VALUES (1, 1);
SELECT * FROM wrong() WHERE view IN ('of_heir', 'of_split');
CREATE TABLE heir_child () INHERITS (heir);
INSERT INTO heir_child VALUES (2, 2);
CREATE TABLE split_3 (id int, k int);
INSERT INTO split_3 VALUES (3, 3);
ALTER TABLE split ATTACH PARTITION split_3 FOR VALUES IN (3);
SELECT * FROM wrong() WHERE view IN ('of_heir', 'of_split');
INSERT INTO split VALUES (33, 3);
INSERT INTO heir_child VALUES (22, 2);
SELECT * FROM wrong() WHERE view IN ('of_heir', 'of_split');
DROP TABLE heir_child;
ALTER TABLE heir DISABLE TRIGGER ALL;
INSERT INTO heir VALUES (4, 4);
ALTER TABLE heir ENABLE TRIGGER ALL;
SET session_replication_role = replica;
INSERT INTO heir VALUES (5, 5);
RESET session_replication_role;
SELECT * FROM wrong() WHERE view IN ('of_heir', 'of_split');
SELECT count(*) FROM of_heir;
ALTER FUNCTION same IMMUTABLE;
INSERT INTO heir VALUES (6, 6);
INSERT INTO split VALUES (6, 1);
SELECT * FROM wrong() WHERE view IN ('of_heir', 'of_split');

-- Members that are unlogged, foreign or temporary; a table that becomes unlogged
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE TABLE mixed (id int, k int) PARTITION BY LIST (k);
CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES IN (1);
CREATE MATERIALIZED VIEW of_mixed_s AS SELECT id, k FROM mixed WHERE k < 9;
CREATE MATERIALIZED VIEW of_mixed_c AS SELECT id, k FROM mixed WHERE k < 9;
SELECT matview.set_auto_refresh('of_mixed_s', 'on_statement'), matview.set_auto_refresh('of_mixed_c', 'on_commit');
CREATE UNLOGGED TABLE mixed_4 PARTITION OF mixed FOR VALUES IN (4);
INSERT INTO mixed_4 VALUES (5, 4);
INSERT INTO mixed VALUES (6, 4);
SELECT * FROM wrong() WHERE view LIKE 'of_mixed%';
BEGIN;
INSERT INTO mixed VALUES (7, 1);
SELECT * FROM wrong() WHERE view LIKE 'of_mixed_s%';
COMMIT;
TRUNCATE mixed_4;
SELECT * FROM wrong() WHERE view LIKE 'of_mixed%';
SELECT matview.set_auto_refresh('of_mixed_c', 'off');
CREATE FOREIGN TABLE mixed_9 PARTITION OF mixed FOR VALUES IN (9) SERVER nowhere;
INSERT INTO mixed VALUES (22, 1);
SELECT * FROM wrong() WHERE view LIKE 'of_mixed_s%';
CREATE TEMP TABLE heir_temp () INHERITS (heir);
BEGIN;
INSERT INTO heir VALUES (50, 50);
COMMIT;
SELECT * FROM wrong() WHERE view = 'of_heir';
DROP TABLE heir_temp;
CREATE TABLE volatile (id int PRIMARY KEY, w int);
INSERT INTO volatile VALUES (1, 1);
CREATE MATERIALIZED VIEW of_volatile AS SELECT id, w FROM volatile;
SELECT matview.set_auto_refresh('of_volatile', 'on_commit');
ALTER TABLE volatile SET UNLOGGED;
CREATE TABLE volatile_child () INHERITS (volatile);
INSERT INTO volatile_child VALUES (2, 2);
SELECT * FROM wrong() WHERE view = 'of_volatile';
DROP TABLE volatile_child;
ALTER TABLE volatile DISABLE TRIGGER ALL;
UPDATE volatile SET w = 7;
ALTER TABLE volatile ENABLE TRIGGER ALL;
SET session_replication_role = replica;
UPDATE volatile SET w = w + 1;
RESET session_replication_role;
SELECT * FROM wrong() WHERE view = 'of_volatile';
-- A plain view that comes to read a materialized view that is not tracked
CREATE MATERIALIZED VIEW untracked AS SELECT id FROM volatile;
CREATE VIEW turned AS SELECT id FROM retyped;
CREATE MATERIALIZED VIEW of_turned AS SELECT id FROM turned;
SELECT matview.set_auto_refresh('of_turned', 'on_commit');
CREATE OR REPLACE VIEW turned AS SELECT id FROM untracked;
INSERT INTO volatile VALUES (3, 3);
REFRESH MATERIALIZED VIEW untracked;
SELECT * FROM wrong() WHERE view = 'of_turned';
INSERT INTO volatile VALUES (4, 4);
SELECT mode FROM matview.refresh('untracked');
SELECT * FROM wrong() WHERE view = 'of_turned';
INSERT INTO volatile VALUES (5, 5);
SELECT mode FROM matview.refresh_incremental('untracked');
SELECT * FROM wrong() WHERE view = 'of_turned';

-- ALTER TABLE with several actions, and one of a table whose row type another one has
CREATE TABLE first_parent (id int);
CREATE TABLE second_parent (id int);
CREATE TABLE of_both (x int) INHERITS (first_parent, second_parent);
INSERT INTO of_both VALUES (1, 1);
CREATE MATERIALIZED VIEW of_first AS SELECT id FROM first_parent;
CREATE MATERIALIZED VIEW of_child AS SELECT id, row_to_json(of_both) AS j FROM of_both;
CREATE TABLE row_type (a int, b int);
CREATE DOMAIN row_domain AS row_type;
CREATE TABLE typed (id int PRIMARY KEY, c row_type[], d row_domain);
INSERT INTO typed VALUES (1, ARRAY[(1, 2)::row_type], (3, 4));
CREATE MATERIALIZED VIEW of_typed AS SELECT id, row_to_json(c[1]) AS j, row_to_json(d) AS k FROM typed;
SELECT matview.set_auto_refresh(v, 'on_commit') FROM unnest('{of_first,of_child,of_typed}'::regclass[]) v;
ALTER TABLE of_both NO INHERIT first_parent, NO INHERIT second_parent;
SELECT * FROM wrong() WHERE view IN ('of_first', 'of_child', 'of_typed');
ALTER TABLE of_both INHERIT second_parent;
ALTER TABLE of_both ADD COLUMN z int DEFAULT 1, NO INHERIT second_parent;
SELECT * FROM wrong() WHERE view IN ('of_first', 'of_child', 'of_typed');
ALTER TABLE row_type ADD COLUMN z int;
SELECT * FROM wrong() WHERE view IN ('of_first', 'of_child', 'of_typed');
ALTER TABLE row_type DROP COLUMN b;
SELECT * FROM wrong() WHERE view IN ('of_first', 'of_child', 'of_typed');
SELECT j, k FROM of_typed;

-- What a session keeps of views and tables goes when they are dropped
CREATE PROCEDURE come_and_go() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..12 LOOP
        CREATE TABLE passing (id int, g int);
        CREATE MATERIALIZED VIEW of_passing AS SELECT g, count(*) FROM passing GROUP BY g;
        PERFORM matview.set_auto_refresh('of_passing', 'on_commit');
        COMMIT;
        INSERT INTO passing VALUES (i, 1);
        COMMIT;
        DROP TABLE passing CASCADE;
        COMMIT;
    END LOOP;
END $$;
-- The row type of a table that the view does not read
CREATE TABLE as_type (x int, y int);
CREATE TABLE untyped (id int PRIMARY KEY, g int);
INSERT INTO untyped VALUES (1, 1);
CREATE FUNCTION make_row(a int) RETURNS as_type IMMUTABLE LANGUAGE plpgsql AS
$$ DECLARE r rare.as_type; BEGIN r.x := a; RETURN r; END $$;
CREATE MATERIALIZED VIEW by_cast AS SELECT id, row_to_json(ROW(id, g)::as_type) AS j FROM untyped;
CREATE MATERIALIZED VIEW by_function AS SELECT id, make_row(g)::text AS j FROM untyped;
SELECT matview.set_auto_refresh('by_cast', 'on_commit'), matview.set_auto_refresh('by_function', 'on_statement');
ALTER TABLE as_type ADD COLUMN z int;
SELECT contents('by_cast') AS cast, contents('by_function') AS function;
ALTER TABLE as_type DROP COLUMN z;
SELECT contents('by_cast') AS cast, contents('by_function') AS function;
CREATE TABLE over_type (x int, y int);
ALTER TABLE as_type INHERIT over_type;
ALTER TABLE over_type ADD COLUMN z int;
SELECT contents('by_cast') AS cast, contents('by_function') AS function;

-- The functions of an operator class that only GROUP BY and windows use
CREATE TYPE folded AS (t text);
CREATE FUNCTION folded_cmp(a folded, b folded) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btnametextcmp(lower(a.t)::name, lower(b.t))';
CREATE FUNCTION folded_lt(a folded, b folded) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT lower(a.t) < lower(b.t)';
CREATE FUNCTION folded_eq(a folded, b folded) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT lower(a.t) = lower(b.t)';
CREATE OPERATOR #<# (FUNCTION = folded_lt, LEFTARG = folded, RIGHTARG = folded);
CREATE OPERATOR #=# (FUNCTION = folded_eq, LEFTARG = folded, RIGHTARG = folded);
CREATE OPERATOR CLASS folded_ops DEFAULT FOR TYPE folded USING btree AS OPERATOR 1 #<#, OPERATOR 3 #=#, FUNCTION 1 folded_cmp(folded, folded);
CREATE TABLE words (id int PRIMARY KEY, f folded);
INSERT INTO words VALUES (1, ROW('a')), (2, ROW('A')), (3, ROW('b'));
CREATE MATERIALIZED VIEW by_class AS SELECT id, count(*) OVER (PARTITION BY f) AS n FROM words;
SELECT matview.set_auto_refresh('by_class', 'on_statement');
SELECT n, contents('by_class') FROM by_class ORDER BY id;
CREATE OR REPLACE FUNCTION folded_cmp(a folded, b folded) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btnametextcmp(a.t::name, b.t)';
CREATE OR REPLACE FUNCTION folded_lt(a folded, b folded) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT a.t < b.t';
CREATE OR REPLACE FUNCTION folded_eq(a folded, b folded) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT a.t = b.t';
SELECT n, contents('by_class') FROM by_class ORDER BY id;

-- A policy is ended in the midst of a statement, with changes that nobody else will have
CREATE TABLE ended (id int PRIMARY KEY, g int);
INSERT INTO ended VALUES (1, 1), (2, 2);
CREATE MATERIALIZED VIEW of_ended AS SELECT id, g FROM ended;
CREATE FUNCTION end_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM matview.set_auto_refresh('rare.of_ended', TG_ARGV[0]); RETURN NULL; END $$;
CREATE TRIGGER ends AFTER UPDATE ON ended FOR EACH ROW EXECUTE FUNCTION end_policy('off');
CREATE TRIGGER switches AFTER DELETE ON ended FOR EACH ROW EXECUTE FUNCTION end_policy('on_statement');
SELECT matview.set_auto_refresh('of_ended', 'on_commit');
BEGIN;
INSERT INTO ended VALUES (3, 1);
SAVEPOINT s;
UPDATE ended SET g = g + 1 WHERE id = 1;
ROLLBACK TO s;
DELETE FROM ended WHERE id = 1;
ROLLBACK TO s;
WITH w AS (INSERT INTO ended VALUES (4, 1) RETURNING id) SELECT matview.set_auto_refresh('of_ended', 'off') FROM w;
ROLLBACK TO s;
SELECT matview.set_auto_refresh('of_ended', 'off');
UPDATE ended SET g = 7 WHERE id = 2;
COMMIT;
SELECT mode, changes FROM matview.refresh_incremental('of_ended');
SELECT contents('of_ended');

CREATE FUNCTION kept() RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM pg_backend_memory_contexts WHERE name IN ('matview_refresh live view', 'matview_refresh base table') $$;
SELECT kept() AS before \gset
CALL come_and_go();
SELECT kept() - :before < 6 AS "few are kept";

DROP SCHEMA rare, rare_tables, rare_others CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
SELECT * FROM leftovers();

-- A base table is dropped while event triggers are off
CREATE TABLE test.lost (id int);
CREATE MATERIALIZED VIEW test.of_lost AS SELECT count(*) FROM test.lost;
SELECT mode FROM matview.refresh_incremental('test.of_lost');
ALTER EVENT TRIGGER matview_refresh_forget_dropped DISABLE;
DROP TABLE test.lost CASCADE;
ALTER EVENT TRIGGER matview_refresh_forget_dropped ENABLE ALWAYS;

-- The extension is dropped in a transaction that has written what a live view reads
CREATE TABLE test.again (id int PRIMARY KEY, g int);
INSERT INTO test.again VALUES (1, 1), (2, 2);
CREATE MATERIALIZED VIEW test.of_again AS SELECT g, count(*) AS n FROM test.again GROUP BY g;
SELECT matview.set_auto_refresh('test.of_again', 'on_commit');
BEGIN;
INSERT INTO test.again VALUES (3, 1);
SET LOCAL client_min_messages = error;
DROP EXTENSION matview_refresh CASCADE;
CREATE EXTENSION matview_refresh;
SELECT matview.set_auto_refresh('test.of_again', 'on_commit');
COMMIT;
SELECT * FROM matview.check('test.of_again');
TABLE test.of_again ORDER BY g;

DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
