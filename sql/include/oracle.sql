\set ECHO none
-- What every test begins with: the extension, and the oracle in schema "test".
--
-- The oracle compares a view with its query, both ways, twice: by
-- matview.check(), and textually by EXCEPT ALL, because "=" calls values equal
-- that a user can tell apart, and because matview.check() is under test too.
SET client_min_messages = warning;
CREATE EXTENSION matview_refresh;
CREATE SCHEMA test;
SET search_path = test;

-- 'right', or what is wrong with the contents of a view
CREATE FUNCTION contents(view regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    checked record;
    query text := rtrim(pg_get_viewdef(view), ';');
    missing bigint;
    extra bigint;
BEGIN
    SELECT * INTO checked FROM matview.check(view);
    EXECUTE format('SELECT count(*) FROM (SELECT "test r"::text FROM (%s) AS "test r"
                    EXCEPT ALL SELECT "test r"::text FROM %s AS "test r") AS x', query, view) INTO missing;
    EXECUTE format('SELECT count(*) FROM (SELECT "test r"::text FROM %2$s AS "test r"
                    EXCEPT ALL SELECT "test r"::text FROM (%1$s) AS "test r") AS x', query, view) INTO extra;
    IF checked.missing = 0 AND checked.extra = 0 AND missing = 0 AND extra = 0 THEN
        RETURN 'right';
    END IF;
    RETURN format('WRONG: missing %s, extra %s; matview.check: missing %s, extra %s',
                  missing, extra, checked.missing, checked.extra);
END $$;

-- One refresh, and the oracle
CREATE FUNCTION step(view regclass, mode text DEFAULT 'incremental',
                     OUT done text, OUT ins bigint, OUT upd bigint, OUT del bigint, OUT contents text)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT r.mode, r.rows_inserted, r.rows_updated, r.rows_deleted
      INTO done, ins, upd, del
      FROM matview.refresh(step.view, step.mode) r;
    contents := test.contents(step.view);
END $$;

-- Refresh all materialized views of the current schema, each in a transaction
-- of its own, then consult the oracle.  A refresh that fell back says why.
CREATE PROCEDURE steps(mode text DEFAULT 'incremental') LANGUAGE plpgsql AS $$
DECLARE
    v regclass;
    done text;
    why text;
BEGIN
    FOR v IN SELECT c.oid FROM pg_class c
              WHERE c.relkind = 'm' AND c.relnamespace = current_schema()::regnamespace
              ORDER BY c.relname COLLATE "C"
    LOOP
        SELECT r.mode INTO done FROM matview.refresh(v, steps.mode) r;
        why := NULL;
        SELECT h.reason INTO why FROM matview.history h
         WHERE h.view = v AND done <> 'none' ORDER BY h.started DESC LIMIT 1;
        COMMIT;
        RAISE INFO '%: %', v, concat_ws(', ', done || coalesce(' (' || why || ')', ''), test.contents(v));
        COMMIT;
    END LOOP;
END $$;

-- What our objects have left behind, apart from the extension's own
CREATE FUNCTION leftovers() RETURNS TABLE (what text) LANGUAGE sql AS $$
  SELECT regexp_replace(l, '\d{4,}', 'N') FROM (
    SELECT 'relation ' || c.oid::regclass AS l FROM pg_class c
     WHERE c.relkind IN ('r', 'i', 't') AND c.oid >= 16384
       AND (c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'matview')
            AND c.relkind = 'r'
            AND c.relname NOT IN ('change_logs', 'tracked_views', 'tracked_sources', 'refresh_history',
                              'policies', 'policy_runs')
            OR c.relname ~ '^(pg_temp_|mvr_|matview_)')
    UNION ALL
    SELECT 'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass FROM pg_trigger t
      JOIN pg_proc p ON p.oid = t.tgfoid AND p.proname = 'capture'
    UNION ALL
    SELECT 'tracked view' FROM matview.tracked_views
    UNION ALL
    SELECT 'tracked source' FROM matview.tracked_sources
    UNION ALL
    SELECT 'change log' FROM matview.change_logs
    UNION ALL
    SELECT 'history of a dropped view' FROM matview.refresh_history h
     WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = h.view)
    UNION ALL
    SELECT 'policy of a dropped view' FROM matview.policies p
     WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p.view)
    UNION ALL
    SELECT 'run of a dropped view' FROM matview.policy_runs r
     WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.view)
    UNION ALL
    SELECT 'dependency on ' || d.refclassid::regclass || ' ' || d.refobjid FROM pg_depend d
     WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid >= 16384
       AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.refobjid)
    UNION ALL
    SELECT 'dependency of ' || d.classid::regclass || ' ' || d.objid FROM pg_depend d
     WHERE d.classid = 'pg_class'::regclass AND d.objid >= 16384
       AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid)
  ) x ORDER BY 1
$$;
\set ECHO all
