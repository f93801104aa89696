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

-- Recomputed within a statement, before its changes are logged: they are not applied again
CREATE TABLE inside (id int PRIMARY KEY, w int);
INSERT INTO inside SELECT i, i FROM generate_series(1, 5) i;
CREATE MATERIALIZED VIEW of_inside AS SELECT count(*) AS n, sum(w) AS s FROM inside;
CREATE MATERIALIZED VIEW rows_inside AS SELECT w FROM inside;
SELECT mode FROM matview.refresh_incremental('of_inside');
SELECT mode FROM matview.refresh_incremental('rows_inside');
CREATE FUNCTION refresh_inside() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT FROM matview.%s', replace(TG_ARGV[0], '?', quote_literal('of_inside')));
    EXECUTE format('SELECT FROM matview.%s', replace(TG_ARGV[0], '?', quote_literal('rows_inside')));
    RETURN NULL;
END $$;
CREATE PROCEDURE inside(call text) LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format('CREATE TRIGGER a AFTER INSERT OR UPDATE ON inside FOR EACH STATEMENT EXECUTE FUNCTION refresh_inside(%L)', call);
    UPDATE inside SET w = w + 1 WHERE id IN (1, 2);
    DROP TRIGGER a ON inside;
    EXECUTE format('CREATE TRIGGER a AFTER INSERT OR UPDATE ON inside FOR EACH ROW EXECUTE FUNCTION refresh_inside(%L)', call);
    INSERT INTO inside SELECT max(id) + 1, max(id) + 1 FROM inside;
    DROP TRIGGER a ON inside;
    EXECUTE format('WITH z AS (UPDATE inside SET w = w + 1 WHERE id IN (1, 2) RETURNING 1) SELECT count(*) FROM z, LATERAL (SELECT mode FROM matview.%s) r',
                   replace(call, '?', quote_literal('of_inside'))) INTO n;
    PERFORM matview.refresh_incremental('of_inside'), matview.refresh_incremental('rows_inside');
    RAISE INFO '%: % %', call, contents('of_inside'), contents('rows_inside');
END $$;
CALL inside('refresh_full(?)');
CALL inside('refresh_concurrent(?)');
CALL inside('refresh(?, ''diff'')');
CALL inside('refresh(?)');
CALL inside('refresh_incremental(?)');

DROP SCHEMA refresh_in_trigger CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
