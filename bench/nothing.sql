-- One repetition: nothing has changed.  The WAL position is the whole
-- server's; it stands still while nobody writes.

SELECT pg_current_wal_insert_lsn() AS before \gset
\echo @nothing_stats.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('user_stats');
\timing off
\echo @nothing_details.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('order_details');
\timing off
\echo @nothing.wal
SELECT 'bytes', pg_current_wal_insert_lsn() - :'before';
