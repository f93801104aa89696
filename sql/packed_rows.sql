-- Rows that stand together in one row of a change log: values of every size, NULLs,
-- and a log that has got other columns since
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA packed_rows;
SET search_path = packed_rows, test;
CREATE TABLE t (id int PRIMARY KEY, c "char", wide text, s smallint, n numeric, i interval, later int, point point);
INSERT INTO t SELECT g, chr(65 + g % 26)::"char", nullif(repeat('x', g * 37 % 1400), ''), nullif(g % 7, 0), nullif(g % 11, 0) / 4.0,
       nullif(g % 5, 0) * interval '1 day 2 hours', g, point(g, nullif(g % 3, 0)) FROM generate_series(1, 400) g;
ALTER TABLE t ALTER wide SET STORAGE EXTERNAL;
CREATE MATERIALIZED VIEW every_row AS SELECT id, c, wide, s, n, i, point FROM t;
CREATE MATERIALIZED VIEW widths AS SELECT s, count(wide), sum(length(wide)) AS sum, max(wide) AS longest FROM t GROUP BY s;
CALL steps();
UPDATE t SET wide = wide || 'y', s = s + 1 WHERE id % 2 = 0;
UPDATE t SET wide = repeat('z', id * 3), n = NULL WHERE id % 5 = 0;
DELETE FROM t WHERE id % 3 = 0;
-- one row that is toasted, and one that is too large for company
INSERT INTO t VALUES (1001, 'q', repeat('long', 3000), 1, 1, NULL, 1), (1002, 'q', repeat('wide', 400), 2, 2, NULL, 2), (1003, 'q', 'short', 3, 3, NULL, 3);
UPDATE t SET c = 'r' WHERE id > 1000;
CALL steps();

-- what is packed already knows nothing of a column that another view needs
UPDATE t SET wide = left(wide, 100) WHERE id % 4 = 1;
CREATE MATERIALIZED VIEW later AS SELECT later, c FROM t;
SELECT matview.track('later');
UPDATE t SET later = later + 1, s = s + 2 WHERE id % 4 < 2;
CALL steps();
ALTER TABLE t ADD COLUMN last text DEFAULT 'last';
CREATE MATERIALIZED VIEW last AS SELECT id, last, wide FROM t WHERE id > 20;
UPDATE t SET s = s - 1 WHERE id % 4 = 2;
SELECT mode FROM matview.refresh('last', 'incremental');
UPDATE t SET last = NULL WHERE id % 8 = 3;
CALL steps();
-- a column goes, with the view that needed it, and its type comes back as another
UPDATE t SET later = 7, s = 1 WHERE id % 16 = 1;
ALTER TABLE t DROP COLUMN later CASCADE;
ALTER TABLE t ADD COLUMN later text;
CREATE MATERIALIZED VIEW later AS SELECT id, later FROM t;
SELECT mode FROM matview.refresh('later', 'incremental');
UPDATE t SET later = 'x' || id, s = 2 WHERE id % 16 = 2;
CALL steps();
SELECT pending_changes FROM matview.views WHERE view = 'later'::regclass;
UPDATE t SET later = upper(later) WHERE id % 16 = 2;
SELECT pending_changes FROM matview.views WHERE view = 'later'::regclass;

DROP SCHEMA packed_rows CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
