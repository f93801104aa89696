-- One repetition of the bulk writes on table :w; undone without being timed.

\echo @bulk_insert.:w
\timing on
INSERT INTO :w SELECT 100000000 + i, 'country ' || i % 200, i % 60 FROM generate_series(1, :bulk) i;
\timing off
\echo @bulk_update.:w
\timing on
UPDATE :w SET age = age + 1 WHERE id > 100000000;
\timing off
\echo @bulk_delete.:w
\timing on
DELETE FROM :w WHERE id > 100000000;
\timing off
VACUUM :w;
