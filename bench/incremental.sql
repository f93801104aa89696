-- One repetition: 1% of a base table changes, then every contestant brings its
-- views up to date.  :k picks the rows.  What stands between \timing on and
-- off counts for the name that \echo has given before it.

-- A session that is new knows no table and no function yet
UPDATE users SET age = age + 1 WHERE id = 1;
UPDATE orders SET quantity = quantity + 1 WHERE id = 1;
SELECT 'mode', mode FROM matview.refresh_incremental('user_stats');
\ir by_hand_user_stats.sql
SELECT 'mode', mode FROM matview.refresh_incremental('order_details');
\ir by_hand_order_details.sql
SELECT 'mode', mode FROM matview.refresh_incremental('user_orders');
\ir by_hand_user_orders.sql

UPDATE users SET age = age + 1 WHERE id % 100 = :k;

\echo @user_stats.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('user_stats');
\timing off
\echo @user_stats.by_hand
\timing on
\ir by_hand_user_stats.sql
\timing off
\echo @user_stats.concurrently
\timing on
REFRESH MATERIALIZED VIEW CONCURRENTLY core.user_stats;
\timing off
\echo @user_stats.plain
\timing on
REFRESH MATERIALIZED VIEW core.user_stats;
\timing off

\echo @order_details.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('order_details');
\timing off
\echo @order_details.by_hand
\timing on
\ir by_hand_order_details.sql
\timing off
\echo @order_details.concurrently
\timing on
REFRESH MATERIALIZED VIEW CONCURRENTLY core.order_details;
\timing off
\echo @order_details.plain
\timing on
REFRESH MATERIALIZED VIEW core.order_details;
\timing off

UPDATE orders SET quantity = quantity + 1 WHERE id % 100 = :k;

\echo @order_details_2.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('order_details');
\timing off
\echo @order_details_2.by_hand
\timing on
\ir by_hand_order_details.sql
\timing off
\echo @order_details_2.plain
\timing on
REFRESH MATERIALIZED VIEW core.order_details;
\timing off

\echo @user_orders.ours
\timing on
SELECT 'mode', mode FROM matview.refresh_incremental('user_orders');
\timing off
\echo @user_orders.by_hand
\timing on
\ir by_hand_user_orders.sql
\timing off
\echo @user_orders.concurrently
\timing on
REFRESH MATERIALIZED VIEW CONCURRENTLY core.user_orders;
\timing off
\echo @user_orders.plain
\timing on
REFRESH MATERIALIZED VIEW core.user_orders;
\timing off

VACUUM;
