-- The ways to refresh, what each reports, and where one can look it up.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA modes;
SET search_path = modes, test;

CREATE TABLE t (id int PRIMARY KEY, k int, v int, "Unused" text) WITH (autovacuum_enabled = off);
INSERT INTO t SELECT g, g % 20, g, 'x' FROM generate_series(1, 5000) g;
CREATE MATERIALIZED VIEW keyed AS SELECT id, k, v FROM t;
CREATE UNIQUE INDEX ON keyed (id);
CREATE MATERIALIZED VIEW plain AS SELECT k, v FROM t WHERE v % 2 = 0;
CREATE MATERIALIZED VIEW grouped AS SELECT k, count(*), sum(v), max(v) FROM t GROUP BY k;
CREATE MATERIALIZED VIEW ranked AS SELECT id, rank() OVER (ORDER BY v) FROM t TABLESAMPLE SYSTEM (100) WHERE id <= 100;
CREATE FUNCTION refresh(view regclass, mode text DEFAULT 'auto',
    OUT view_ regclass, OUT done text, OUT ins bigint, OUT upd bigint, OUT del bigint, OUT changes bigint,
    OUT timed boolean, OUT reason text, OUT contents text)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT r.view, r.mode, r.rows_inserted, r.rows_updated, r.rows_deleted, r.changes, r.duration_ms >= 0
      INTO view_, done, ins, upd, del, changes, timed
      FROM matview.refresh(refresh.view, refresh.mode) r;
    IF done <> 'none' THEN
        SELECT h.reason INTO reason FROM matview.history h WHERE h.view = refresh.view
         ORDER BY h.started DESC LIMIT 1;
    END IF;
    contents := test.contents(refresh.view);
END $$;
ANALYZE t;

-- The result has these columns
SELECT attname, atttypid::regtype FROM pg_attribute
 WHERE attrelid = 'matview.refresh_result'::regclass AND attnum > 0 ORDER BY attnum;
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_schema = 'matview' AND table_name = 'views' ORDER BY ordinal_position;
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_schema = 'matview' AND table_name = 'history' ORDER BY ordinal_position;
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_schema = 'matview' AND table_name = 'dependencies' ORDER BY ordinal_position;

-- Untracked: only refresh_incremental starts tracking
SELECT view, next_refresh, last_refresh, last_mode, last_reason, pending_changes, staleness
  FROM matview.views ORDER BY view::text;
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh('keyed', 'auto');
SELECT * FROM refresh('keyed', 'concurrent');
SELECT * FROM refresh('keyed', 'full');
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh('keyed', 'diff');
SELECT * FROM refresh('plain');
SELECT * FROM refresh('grouped');
SELECT * FROM refresh('ranked');
SELECT * FROM matview.dependencies;
SELECT view, next_refresh, last_refresh IS NOT NULL AS last_refresh, last_mode, last_reason, pending_changes,
       staleness > '0' AS stale FROM matview.views ORDER BY view::text;

-- Tracked without being filled: that is left to the next refresh
SELECT matview.track('keyed');
SELECT view, next_refresh, pending_changes FROM matview.views ORDER BY view::text;
SELECT * FROM refresh('keyed', 'incremental');
SELECT * FROM refresh('plain', 'incremental');
SELECT * FROM refresh('grouped', 'incremental');
SELECT * FROM refresh('ranked', 'incremental');
SELECT * FROM matview.dependencies ORDER BY view::text;
SELECT view, next_refresh, last_mode, last_reason, pending_changes, staleness = '0' AS fresh
  FROM matview.views ORDER BY view::text;

-- Tracked: each mode, with a small change pending
UPDATE t SET v = v + 10 WHERE id = 2;
INSERT INTO t VALUES (10001, 3, 3), (10002, 3, 4);
DELETE FROM t WHERE id = 4;
SELECT view, pending_changes, staleness > '0' AS stale FROM matview.views ORDER BY view::text;
SELECT * FROM refresh('keyed', 'incremental');
SELECT * FROM refresh('plain', 'incremental');
SELECT * FROM refresh('grouped', 'incremental');
SELECT * FROM refresh('ranked', 'incremental');
UPDATE t SET v = v + 10 WHERE id = 2;
SELECT * FROM refresh('keyed', 'diff');
SELECT * FROM refresh('plain', 'diff');
SELECT * FROM refresh('grouped', 'diff');
SELECT * FROM refresh('ranked', 'diff');
UPDATE t SET v = v + 10 WHERE id = 2;
SELECT * FROM refresh('keyed', 'concurrent');
SELECT * FROM refresh('plain', 'concurrent');
SELECT * FROM refresh('grouped', 'concurrent');
SELECT * FROM refresh('ranked', 'concurrent');
UPDATE t SET v = v + 10 WHERE id = 2;
SELECT * FROM refresh('keyed', 'full');
SELECT * FROM refresh('plain', 'full');
SELECT * FROM refresh('grouped', 'full');
SELECT * FROM refresh('ranked', 'full');
-- ... and with none
SELECT * FROM refresh('keyed', 'incremental');
SELECT * FROM refresh('plain');
SELECT * FROM refresh('grouped', 'diff');
SELECT * FROM refresh('keyed', 'concurrent');
SELECT * FROM refresh('keyed', 'incremental');
SELECT * FROM refresh('grouped', 'incremental');
SELECT * FROM refresh('ranked', 'incremental');

-- auto: incremental for a small change, concurrent for a change of everything
VACUUM ANALYZE t;
VACUUM ANALYZE keyed, plain, grouped;
UPDATE t SET v = v + 1 WHERE id = 5;
SELECT * FROM refresh('keyed');
SELECT * FROM refresh('plain');
SELECT * FROM refresh('grouped');
UPDATE t SET v = v + 1;
SELECT * FROM refresh('keyed');
SELECT * FROM refresh('plain');
SELECT * FROM refresh('grouped');
UPDATE t SET v = v + 1 WHERE id = 5;
SELECT * FROM refresh('keyed');
SELECT * FROM refresh('plain');
SELECT * FROM refresh('grouped');
-- A change of a column that no view needs is none
UPDATE t SET "Unused" = 'y';
SELECT view, pending_changes FROM matview.views ORDER BY view::text;
SELECT * FROM refresh('keyed');

-- The four functions are the modes
UPDATE t SET v = v + 1 WHERE id = 6;
SELECT mode FROM matview.refresh_incremental('keyed');
SELECT mode FROM matview.refresh_concurrent('keyed');
SELECT mode FROM matview.refresh_full('keyed');
SELECT (matview.refresh('plain')).mode;
SELECT mode FROM matview.refresh(view => 'plain', mode => 'diff');

-- Not populated: filled from nothing, whatever the mode
CREATE MATERIALIZED VIEW empty AS SELECT id, v FROM t WHERE k = 1 WITH NO DATA;
SELECT view, next_refresh, last_mode FROM matview.views WHERE view = 'empty'::regclass;
SELECT matview.check('empty');
SELECT * FROM refresh('empty', 'incremental');
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh('empty', 'incremental');
REFRESH MATERIALIZED VIEW empty WITH NO DATA;
SELECT view, next_refresh FROM matview.views WHERE view = 'empty'::regclass;
SELECT * FROM refresh('empty', 'auto');
REFRESH MATERIALIZED VIEW empty WITH NO DATA;
SELECT * FROM refresh('empty', 'diff');
REFRESH MATERIALIZED VIEW empty WITH NO DATA;
SELECT * FROM refresh('empty', 'incremental');
DROP MATERIALIZED VIEW empty;
CREATE MATERIALIZED VIEW empty AS SELECT id, v FROM t WHERE k = 1 WITH NO DATA;
SELECT * FROM refresh('empty');
DROP MATERIALIZED VIEW empty;
CREATE MATERIALIZED VIEW empty AS SELECT id, v FROM t WHERE k = 1 WITH NO DATA;
SELECT * FROM refresh('empty', 'diff');
SELECT matview.untrack('empty');
DROP MATERIALIZED VIEW empty;

-- explain: strategy, reason, base tables, pending changes; plans without costs
CREATE FUNCTION explained(view regclass) RETURNS SETOF text LANGUAGE sql AS
  $$ SELECT l FROM matview.explain(view) WITH ORDINALITY e (l, n) WHERE l !~ '^  ' ORDER BY n $$;
CREATE FUNCTION plan_lines(view regclass) RETURNS TABLE (lines boolean, costs boolean) LANGUAGE sql AS
  $$ SELECT count(*) FILTER (WHERE l ~ '^  .*t') > 1, bool_or(l ~ 'cost=') FROM matview.explain(view) l $$;
SELECT matview.untrack('plain');
UPDATE t SET v = v + 1 WHERE id < 4;
SELECT * FROM explained('keyed');
SELECT * FROM explained('plain');
SELECT * FROM explained('grouped');
SELECT * FROM explained('ranked');
SELECT * FROM plan_lines('keyed');
SELECT * FROM plan_lines('grouped');
SELECT * FROM plan_lines('ranked');
CREATE MATERIALIZED VIEW aggregates AS
  SELECT k::numeric AS n, count(v), avg(v), min(v), sum(v::numeric), bool_and(v > 0), string_agg(v::text, ',' ORDER BY v),
         count(DISTINCT v % 7) AS kinds FROM t WHERE id < 50 GROUP BY 1;
SELECT * FROM explained('aggregates');
SELECT matview.track('aggregates');
SELECT * FROM explained('aggregates');
SELECT * FROM refresh('aggregates', 'incremental');
SELECT * FROM explained('aggregates');
DROP MATERIALIZED VIEW aggregates;

-- History: as many as are wanted, the latest
SELECT * FROM refresh('keyed', 'incremental');
SELECT mode, reason, rows_inserted, rows_updated, rows_deleted, changes, duration_ms >= 0 AS timed
  FROM matview.history WHERE view = 'keyed'::regclass ORDER BY started DESC LIMIT 3;
SET matview.history_limit = 2;
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT * FROM refresh('keyed', 'incremental');
SELECT mode FROM matview.history WHERE view = 'keyed'::regclass ORDER BY started;
UPDATE t SET v = v + 1 WHERE id < 3;
SELECT * FROM refresh('keyed', 'diff');
SELECT mode FROM matview.history WHERE view = 'keyed'::regclass ORDER BY started;
SELECT count(*) > 2 AS others_stay FROM matview.history WHERE view = 'grouped'::regclass;
SET matview.history_limit = 0;
UPDATE t SET v = v + 1 WHERE id = 1;
SELECT mode FROM matview.refresh('keyed', 'incremental');
SELECT count(*) FROM matview.history WHERE view = 'keyed'::regclass;
SELECT view, next_refresh, last_mode, staleness FROM matview.views WHERE view = 'keyed'::regclass;
RESET matview.history_limit;
SET matview.history_limit = -1;
SET matview.no_such_thing = 1;

-- A view left behind loses its place when another one is refreshed
SELECT * FROM refresh('grouped', 'incremental');
SELECT * FROM refresh('plain', 'incremental');
SET matview.max_log_size = '8kB';
UPDATE t SET v = v + 1;
SELECT view, next_refresh, pending_changes > 0 AS pending FROM matview.views ORDER BY view::text;
SELECT * FROM refresh('keyed', 'incremental');
SELECT view, next_refresh, pending_changes FROM matview.views ORDER BY view::text;
SELECT * FROM refresh('plain', 'incremental');
SELECT * FROM refresh('grouped', 'incremental');
-- ... never, if any size will do; and not as long as the log is small enough
SET matview.max_log_size = -1;
-- (whose place was lost above depends on when the log is vacuumed)
SELECT v, (matview.refresh(v, 'incremental')).mode IN ('none', 'diff') AS again
  FROM unnest('{grouped,keyed,plain}'::regclass[]) v;
UPDATE t SET v = v + 1;
SELECT * FROM refresh('keyed', 'incremental');
SELECT view, next_refresh, pending_changes FROM matview.views ORDER BY view::text;
SELECT * FROM refresh('grouped', 'incremental');
SELECT * FROM refresh('plain', 'incremental');
RESET matview.max_log_size;
UPDATE t SET v = v + 1;
SELECT * FROM refresh('keyed', 'incremental');
SELECT view, next_refresh, pending_changes FROM matview.views ORDER BY view::text;
CALL steps();

DROP SCHEMA modes CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
