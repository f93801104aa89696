-- One repetition: one row changes.

UPDATE small SET age = age + 1 WHERE id = :k;
UPDATE big SET age = age + 1 WHERE id = :k * 10;

\echo @small_stats.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('small_stats');
\timing off
\echo @big_stats.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('big_stats');
\timing off
\echo @small_joined.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('small_joined');
\timing off
\echo @big_joined.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('big_joined');
\timing off
