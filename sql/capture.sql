-- Every change of a base table reaches its change log, and nothing else does.
--
-- The oracle: what the table held when tracking began, plus the log's rows by
-- weight, is what the table holds now, bit for bit.  At the end all views are
-- refreshed from their logs, and compared with their queries.
CREATE EXTENSION matview_refresh;
SET client_min_messages = warning;
CREATE SCHEMA capture;
SET search_path = capture;

-- The log of a base table
CREATE FUNCTION log_of(base regclass) RETURNS regclass LANGUAGE sql AS
$$SELECT l.log::regclass FROM matview.change_logs l WHERE l.base = $1$$;

-- Logged columns, by their names in the table and in the log
CREATE FUNCTION columns_of(base regclass, OUT here text, OUT there text) LANGUAGE sql AS
$$SELECT coalesce(string_agg(quote_ident(b.attname), ',' ORDER BY b.attnum), ''),
         coalesce(string_agg(l.attname, ',' ORDER BY b.attnum), '')
    FROM pg_attribute l JOIN pg_attribute b
         ON b.attrelid = $1 AND l.attname = 'c' || b.attnum
   WHERE l.attrelid = log_of($1) AND NOT l.attisdropped AND NOT b.attisdropped$$;

-- Track a view over the table with all that "columns" names, and keep the
-- contents for later
CREATE FUNCTION begin_capture(base regclass, columns text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    name text := 'v_' || base::oid;
BEGIN
    EXECUTE format('CREATE MATERIALIZED VIEW %I AS SELECT %s FROM %s', name, columns, base);
    PERFORM matview.refresh_incremental(name::regclass);
    EXECUTE format('DELETE FROM %s', log_of(base));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'before_' || base::oid);
    EXECUTE format('CREATE TABLE %I AS SELECT ROW(%s)::text AS r FROM %s',
                   'before_' || base::oid, (columns_of(base)).here, base);
END $$;

-- The oracle: rows that the log has too few of, and too many
CREATE FUNCTION check_capture(base regclass, OUT missing bigint, OUT extra bigint)
LANGUAGE plpgsql AS $$
DECLARE
    cols record := columns_of(base);
    now text := format('SELECT ROW(%s)::text FROM %s UNION ALL SELECT ROW(%s)::text FROM matview.log_rows(NULL::%s) WHERE weight = -1',
                       cols.here, base, cols.there, log_of(base));
    told text := format('SELECT r FROM %I UNION ALL SELECT ROW(%s)::text FROM matview.log_rows(NULL::%s) WHERE weight = 1',
                        'before_' || base::oid, cols.there, log_of(base));
BEGIN
    EXECUTE format('SELECT count(*) FROM ((%s) EXCEPT ALL (%s)) x', now, told) INTO missing;
    EXECUTE format('SELECT count(*) FROM ((%s) EXCEPT ALL (%s)) x', told, now) INTO extra;
END $$;

-- Refresh all views and compare them with their queries
CREATE FUNCTION check_views() RETURNS TABLE (base regclass, mode text, missing bigint, extra bigint)
LANGUAGE plpgsql AS $$
DECLARE
    view regclass;
BEGIN
    FOR view IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'm' AND c.relname LIKE 'v\_%' ORDER BY c.oid LOOP
        base := substr(view::text, 3)::oid::regclass;
        mode := (matview.refresh_incremental(view)).mode;
        SELECT * FROM matview.check(view) INTO missing, extra;
        RETURN NEXT;
    END LOOP;
END $$;

-- How many rows of each weight the log has
CREATE FUNCTION count_log(base regclass, OUT plus bigint, OUT minus bigint, OUT marks bigint)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT count(*) FILTER (WHERE weight = 1), count(*) FILTER (WHERE weight = -1),
                           count(*) FILTER (WHERE weight = 0) FROM matview.log_rows(NULL::%s)', log_of(base))
       INTO plus, minus, marks;
END $$;

-- Our triggers, by level and event
CREATE FUNCTION triggers_of(base regclass)
RETURNS TABLE (tab regclass, level text, events text, enabled "char", internal bool)
LANGUAGE sql AS
$$SELECT t.tgrelid::regclass, CASE WHEN t.tgtype & 1 = 1 THEN 'row' ELSE 'statement' END,
         concat_ws(' ', CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END,
                   CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END,
                   CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
                   CASE WHEN t.tgtype & 32 <> 0 THEN 'truncate' END),
         t.tgenabled, t.tgisinternal
    FROM pg_depend d JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
   WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = log_of($1)
   ORDER BY t.tgrelid::regclass::text, 2, 3$$;

--
-- One table, every way to write to it
--
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric, note text);
INSERT INTO item SELECT g, 'old ' || g, g, 'note' FROM generate_series(1, 20) g;
SELECT begin_capture('item', 'id, name, price');
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type
  FROM pg_attribute a WHERE a.attrelid = log_of('item') AND a.attnum > 0 ORDER BY a.attnum;
SELECT * FROM triggers_of('item');

INSERT INTO item VALUES (21, 'one', 1.0, 'n');
INSERT INTO item SELECT g, 'many', g, 'n' FROM generate_series(22, 3000) g;
UPDATE item SET price = price + 1 WHERE id = 1;
UPDATE item SET name = name || '!' WHERE id BETWEEN 2 AND 2000;
DELETE FROM item WHERE id = 3;
DELETE FROM item WHERE id > 2500;
COPY item FROM stdin;
4001	copied	4.50	\N
4002	\N	\N	\N
\.
INSERT INTO item VALUES (4001, 'conflict', 1, ''), (4003, 'no conflict', 1, '')
    ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO item VALUES (4001, 'conflict', 1, '') ON CONFLICT DO NOTHING;
MERGE INTO item i USING (VALUES (1, 'merged'), (2, NULL), (4004, 'new')) AS s (id, name) ON s.id = i.id
    WHEN MATCHED AND s.name IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET name = s.name
    WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name, 0, '');
WITH gone AS (DELETE FROM item WHERE id BETWEEN 10 AND 12 RETURNING *),
     come AS (INSERT INTO item SELECT id + 10000, name, price, note FROM gone RETURNING *)
UPDATE item SET price = -1 WHERE id IN (SELECT id - 10000 + 10 FROM come);
SELECT * FROM check_capture('item');

-- Nothing changed that is logged: not the image, not the columns, no rows
SELECT * FROM count_log('item');
UPDATE item SET note = note || '!';
UPDATE item SET price = price, name = name;
UPDATE item SET price = 1 WHERE false;
DELETE FROM item WHERE false;
INSERT INTO item SELECT * FROM item WHERE false;
SELECT * FROM count_log('item');
-- Equal is not the same
UPDATE item SET price = 1.00 WHERE id = 21;
SELECT * FROM count_log('item');
SELECT * FROM check_capture('item');

-- Savepoints and rollback take the log with them
BEGIN;
INSERT INTO item VALUES (5001, 'stays', 1, '');
SAVEPOINT s;
INSERT INTO item VALUES (5002, 'goes', 1, '');
ROLLBACK TO s;
INSERT INTO item VALUES (5003, 'stays', 1, '');
COMMIT;
BEGIN;
DELETE FROM item;
ROLLBACK;
SELECT * FROM check_capture('item');
-- all of one transaction have its top-level id
DO $$
DECLARE n int;
BEGIN
    BEGIN
        INSERT INTO capture.item VALUES (5004, 'sub', 1, '');
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    EXECUTE format('SELECT count(*) FROM %s WHERE xid = pg_current_xact_id()',
                   capture.log_of('capture.item')) INTO n;
    IF n <> 1 THEN RAISE EXCEPTION 'found % rows', n; END IF;
END $$;

-- A writer without any right to the log, and one who skips ordinary triggers
CREATE ROLE regress_capture_writer;
GRANT USAGE ON SCHEMA capture TO regress_capture_writer;
GRANT INSERT, UPDATE, DELETE, SELECT ON item TO regress_capture_writer;
SET ROLE regress_capture_writer;
INSERT INTO item VALUES (6001, 'poor', 1, '');
UPDATE item SET name = 'poorer' WHERE id = 6001;
DELETE FROM item WHERE id = 1;
RESET ROLE;
SET session_replication_role = replica;
INSERT INTO item VALUES (6002, 'replica', 1, '');
RESET session_replication_role;
SELECT * FROM check_capture('item');

SELECT * FROM check_views();

-- TRUNCATE leaves a mark
SELECT marks FROM count_log('item');
TRUNCATE item;
SELECT marks FROM count_log('item');

-- Users do not see the triggers
\d item
-- and cannot make one of their own
CREATE TRIGGER mine AFTER INSERT ON item FOR EACH STATEMENT EXECUTE FUNCTION matview.capture();
INSERT INTO item VALUES (1, 'x', 1, '');
DROP TRIGGER mine ON item;

--
-- Triggers and foreign keys that write to the table
--
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY,
                    parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
                    up int REFERENCES child ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO parent SELECT generate_series(1, 10);
INSERT INTO child SELECT g, g % 10 + 1, NULLIF(g - 1, 0) FROM generate_series(1, 40) g;
SELECT begin_capture('child', 'id, parent, up');
DELETE FROM parent WHERE id = 3;
UPDATE parent SET id = id + 100 WHERE id < 6;
UPDATE child SET id = id + 1000;
DELETE FROM child WHERE id = 1001;
SELECT * FROM check_capture('child');

CREATE TABLE chain (id int PRIMARY KEY, n int);
CREATE FUNCTION next_in_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE capture.chain SET n = n + 1 WHERE id = new.id + 1;
    UPDATE capture.chain SET n = n + 1 WHERE id = new.id AND n < 100;
    RETURN NULL;
END $$;
INSERT INTO chain SELECT g, 90 + g FROM generate_series(1, 5) g;
SELECT begin_capture('chain', 'id, n');
CREATE TRIGGER chain AFTER UPDATE ON chain FOR EACH ROW WHEN (new.n < 100) EXECUTE FUNCTION next_in_chain();
UPDATE chain SET n = n + 1 WHERE id IN (1, 3);
SELECT * FROM chain ORDER BY id;
SELECT * FROM check_capture('chain');

--
-- Types without "=", domains, large values, generated columns, odd names
--
CREATE DOMAIN posint AS int NOT NULL CHECK (value > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE odd (gone int, xid int, cid text COLLATE "C", weight numeric(8,3), j json, p point,
                  d posint, c pair, e mood[], big text,
                  "a name of sixty-three bytes, with ""quotes"" and spaces inside it!" varchar(5),
                  twice int GENERATED ALWAYS AS (xid * 2) STORED);
ALTER TABLE odd DROP COLUMN gone;
ALTER TABLE odd ALTER big SET STORAGE EXTERNAL;
INSERT INTO odd VALUES (1, 'c', 1, '{"a":1}', '(1,2)', 1, (1, 'x'), '{sad}', repeat('x', 10000), 'name');
SELECT begin_capture('odd', '*');
INSERT INTO odd VALUES (2, 'd', 2, '{"a": 2}', '(1,3)', 2, (2, 'y'), '{happy,sad}', repeat('y', 20000), 'eman');
UPDATE odd SET weight = 7;
UPDATE odd SET big = big || 'z', c.b = NULL WHERE xid = 2;
UPDATE odd SET j = '{"a":  1}' WHERE xid = 1;
SELECT * FROM check_capture('odd');
-- large values that stayed are not logged again
SELECT * FROM count_log('odd');
UPDATE odd SET big = big;
SELECT * FROM count_log('odd');
-- a constraint that log rows would break is no concern of the log
CREATE TABLE bounded (d posint);
SELECT begin_capture('bounded', 'd + 0 AS d');
INSERT INTO bounded VALUES (1), (2);
DELETE FROM bounded WHERE d = 1;
DROP TABLE odd CASCADE;
ALTER DOMAIN posint ADD CHECK (value > 1);
SELECT * FROM check_capture('bounded');

--
-- Columns that no view reads any more may go, or change their type; writers go
-- on, and a new view gets a log column that fits
--
CREATE TABLE alter_me (id int, a int, b int, c int);
SELECT begin_capture('alter_me', 'id, a, b');
SELECT 'DROP MATERIALIZED VIEW v_' || 'alter_me'::regclass::oid AS drop \gset
CREATE MATERIALIZED VIEW keeps_log AS SELECT id FROM alter_me;
SELECT matview.track('keeps_log');
:drop;
ALTER TABLE alter_me DROP COLUMN a, ALTER b TYPE text;
INSERT INTO alter_me VALUES (1, 'one', 1);
UPDATE alter_me SET b = 'uno';
SELECT begin_capture('alter_me', 'id, b, c');
INSERT INTO alter_me VALUES (2, 'two', 2);
UPDATE alter_me SET b = 'due', c = c + 1;
DELETE FROM alter_me WHERE id = 2;
SELECT * FROM (SELECT (columns_of('alter_me')).*) c;
SELECT * FROM check_capture('alter_me');

--
-- A partitioned table: root, leaf, moved rows, columns in another order
--
CREATE TABLE part (id int, k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_low (v text, dropped int, k int, id int);
ALTER TABLE part_low DROP COLUMN dropped;
ALTER TABLE part ATTACH PARTITION part_low FOR VALUES FROM (0) TO (100);
CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id);
CREATE TABLE part_high_leaf PARTITION OF part_high DEFAULT;
INSERT INTO part SELECT g, g * 10, 'v' || g FROM generate_series(1, 15) g;
SELECT begin_capture('part', 'id, k, v');
SELECT tab, count(*), min(level), max(level) FROM triggers_of('part') GROUP BY 1 ORDER BY 1;
INSERT INTO part VALUES (21, 21, 'root'), (22, 122, 'root');
INSERT INTO part_low (id, k, v) VALUES (23, 23, 'leaf');
INSERT INTO part_high VALUES (24, 124, 'middle');
INSERT INTO part_high_leaf VALUES (25, 125, 'leaf');
COPY part FROM stdin;
26	26	copy
27	127	copy
\.
UPDATE part SET v = v || '!' WHERE id < 4;
UPDATE part_low SET v = 'low' WHERE id = 5;
UPDATE part_high SET v = 'high' WHERE id = 12;
UPDATE part SET k = k + 100 WHERE k BETWEEN 50 AND 99;
UPDATE part SET k = 20, v = 'moved' WHERE id IN (11, 12);
DELETE FROM part WHERE id = 13;
DELETE FROM part_high_leaf WHERE id = 14;
SELECT * FROM check_capture('part');
-- a trigger swallows rows that move: the two transition tables get out of step
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RETURN CASE WHEN new.id % 2 = 0 THEN NULL ELSE new END; END$$;
CREATE TRIGGER swallow BEFORE INSERT ON part_high_leaf FOR EACH ROW EXECUTE FUNCTION swallow();
UPDATE part SET k = CASE WHEN id % 3 = 0 THEN k ELSE 150 END, v = 'swallowed?' WHERE k < 100;
SELECT * FROM check_capture('part');
SELECT * FROM check_views();
-- TRUNCATE of a leaf
TRUNCATE part_low;
SELECT marks > 0 AS marked FROM count_log('part');

--
-- A partition as base table: statements name its parent, so rows are captured
--
CREATE TABLE tree (id int, k int) PARTITION BY LIST (k);
CREATE TABLE tree_1 (k int, id int);
ALTER TABLE tree ATTACH PARTITION tree_1 FOR VALUES IN (1);
CREATE TABLE tree_2 PARTITION OF tree FOR VALUES IN (2);
INSERT INTO tree SELECT g, g % 2 + 1 FROM generate_series(1, 10) g;
SELECT begin_capture('tree_1', 'id, k');
SELECT * FROM triggers_of('tree_1');
INSERT INTO tree VALUES (11, 1), (12, 2);
INSERT INTO tree_1 (id, k) VALUES (13, 1);
UPDATE tree SET k = 3 - k WHERE id < 7;
UPDATE tree SET id = id + 100 WHERE id > 8;
DELETE FROM tree WHERE id IN (7, 8);
SELECT * FROM check_capture('tree_1');
-- the parent has a log of its own beside it
SELECT begin_capture('tree', 'id, k');
INSERT INTO tree VALUES (31, 1), (32, 2);
INSERT INTO tree_1 (id, k) VALUES (33, 1);
SELECT * FROM check_capture('tree');
SELECT * FROM check_capture('tree_1');
SELECT * FROM check_views() WHERE base = ANY ('{tree,tree_1}'::regclass[]);
TRUNCATE tree;
SELECT marks FROM count_log('tree_1');

--
-- Inheritance, with a parent that is no member
--
CREATE TABLE base (id int, v text);
CREATE TABLE other (v text);
CREATE TABLE heir (more int) INHERITS (base);
SELECT begin_capture('base', 'id, v');
SELECT tab, count(*), min(level), max(level) FROM triggers_of('base') GROUP BY 1 ORDER BY 1;
INSERT INTO base VALUES (1, 'base');
INSERT INTO heir VALUES (2, 'heir', 0);
UPDATE base SET v = v || '!';
UPDATE ONLY base SET v = v || '?';
SELECT * FROM check_capture('base');
-- now rows can change through a statement that names neither
ALTER TABLE heir INHERIT other;
SELECT matview.track(('v_' || 'base'::regclass::oid)::regclass);
SELECT tab, level, events FROM triggers_of('base');
UPDATE other SET v = v || '.';
DELETE FROM base WHERE id = 1;
SELECT * FROM check_capture('base');
ALTER TABLE heir NO INHERIT other;
ALTER TABLE heir NO INHERIT base;
SELECT matview.track(('v_' || 'base'::regclass::oid)::regclass);
SELECT tab, level, events FROM triggers_of('base');

--
-- Disabled triggers are put back
--
ALTER TABLE base DISABLE TRIGGER ALL;
SELECT events, enabled FROM triggers_of('base');
SELECT matview.track(('v_' || 'base'::regclass::oid)::regclass);
SELECT events, enabled FROM triggers_of('base');
ALTER TABLE base DISABLE TRIGGER USER;
SELECT DISTINCT enabled FROM triggers_of('base');

SELECT * FROM check_views();

--
-- The last view over a table takes the log along, and so does the table
--
SELECT log_of('chain') AS log \gset
SELECT 'DROP MATERIALIZED VIEW v_' || 'chain'::regclass::oid AS drop \gset
:drop;
SELECT log_of('chain') IS NULL AS forgotten, to_regclass(:'log') IS NULL AS gone;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'chain'::regclass;
SELECT log_of('child') AS log \gset
SELECT 'child'::regclass::oid AS child \gset
DROP TABLE child CASCADE;
SELECT log_of(:child) IS NULL AS forgotten, to_regclass(:'log') IS NULL AS gone;
-- a table that is read by two views
CREATE MATERIALIZED VIEW second AS SELECT count(*) FROM item;
SELECT matview.track('second');
SELECT 'DROP MATERIALIZED VIEW v_' || 'item'::regclass::oid AS drop \gset
:drop;
SELECT count(*) FROM triggers_of('item');
SELECT matview.untrack('second');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'item'::regclass;

--
-- DROP EXTENSION takes logs and triggers along, without CASCADE
--
DROP EXTENSION matview_refresh;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'matview\_%';
SELECT count(*) FROM pg_class WHERE relname ~ '^log_\d+$';
INSERT INTO item VALUES (2, 'x', 1, '');
INSERT INTO tree VALUES (1, 1);
DROP SCHEMA capture CASCADE;
DROP ROLE regress_capture_writer;
