-- A refresh called by a trigger, when rows have been written whose own
-- triggers have not fired yet
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA refresh_in_trigger;
SET search_path = refresh_in_trigger, test;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO parent SELECT generate_series(1, 6);
INSERT INTO child SELECT g, 1 + g % 6 FROM generate_series(1, 30) g;
CREATE MATERIALIZED VIEW v AS SELECT parent, count(*) AS n FROM child GROUP BY parent;
CREATE MATERIALIZED VIEW j AS SELECT p.id, c.id AS child FROM parent p JOIN child c ON c.parent = p.id;
SELECT mode FROM matview.refresh_incremental('v');
SELECT mode FROM matview.refresh_incremental('j');

-- fires before the triggers of the child, whose rows are gone already
CREATE FUNCTION refresh() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM matview.refresh_incremental('v'), matview.refresh_incremental('j');
    RETURN NULL;
END $$;
CREATE TRIGGER a_refresh AFTER INSERT OR UPDATE OR DELETE ON parent FOR EACH STATEMENT EXECUTE FUNCTION refresh();
DELETE FROM parent WHERE id IN (2, 3);
SELECT contents('v'), contents('j');
-- what the child's triggers log afterwards must not count twice
INSERT INTO child VALUES (100, 1);
SELECT done, contents FROM step('v');
SELECT done, contents FROM step('j');
UPDATE parent SET id = id + 10;
SELECT contents('v'), contents('j');
INSERT INTO child VALUES (101, 11);
SELECT done, contents FROM step('v');
SELECT done, contents FROM step('j');
INSERT INTO child VALUES (102, 11);
SELECT done, contents FROM step('v');

DROP SCHEMA refresh_in_trigger CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
