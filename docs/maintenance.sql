-- Print docs/maintenance.md with what matview.explain says now of its examples.
-- In an empty database, from the top directory:
--
--	psql -XAtq -f docs/maintenance.sql > /tmp/page && cp /tmp/page docs/maintenance.md
--
-- The test sql/explain.sql tells when that is due.
\set ON_ERROR_STOP on
CREATE EXTENSION IF NOT EXISTS matview_refresh;
BEGIN;
CREATE SCHEMA shop;
SET LOCAL search_path = shop;
\set page `cat docs/maintenance.md`
\i sql/include/page.sql
SELECT page_now(:'page');
ROLLBACK;
