-- Every contestant must hold the same; a line per view that does not.

CREATE TEMP VIEW differences AS
SELECT 'user_stats' AS view, count(*) AS rows FROM (
    (TABLE core.user_stats EXCEPT ALL TABLE user_stats) UNION ALL
    (TABLE user_stats EXCEPT ALL TABLE core.user_stats) UNION ALL
    (TABLE core.user_stats EXCEPT ALL SELECT country, total, avg_age FROM by_hand.user_stats)) d
UNION ALL
SELECT 'order_details', count(*) FROM (
    (TABLE core.order_details EXCEPT ALL TABLE order_details) UNION ALL
    (TABLE order_details EXCEPT ALL TABLE core.order_details) UNION ALL
    (TABLE core.order_details EXCEPT ALL TABLE by_hand.order_details)) d
UNION ALL
SELECT 'user_orders', count(*) FROM (
    (TABLE core.user_orders EXCEPT ALL TABLE user_orders) UNION ALL
    (TABLE user_orders EXCEPT ALL TABLE core.user_orders) UNION ALL
    (TABLE core.user_orders EXCEPT ALL TABLE by_hand.user_orders)) d;

SELECT 'WRONG: ' || view || ', ' || rows || ' rows' FROM differences WHERE rows <> 0
 UNION ALL
SELECT 'WRONG: matview.check(' || v || ') = ' || c::text
  FROM unnest('{user_stats,order_details,user_orders}'::text[]) v, matview.check(v::regclass) c
 WHERE (c.missing, c.extra) <> (0, 0);
