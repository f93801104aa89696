BEGIN;
MERGE INTO by_hand.user_orders v
USING (SELECT user_id, sum(weight) AS n, sum(weight * quantity) AS s
         FROM by_hand.orders_log
        GROUP BY user_id) d
   ON v.user_id = d.user_id
 WHEN MATCHED AND v.total + d.n = 0 THEN
      DELETE
 WHEN MATCHED THEN
      UPDATE SET total = v.total + d.n, quantity = v.quantity + d.s,
                 avg_quantity = (v.quantity + d.s)::numeric / (v.total + d.n)
 WHEN NOT MATCHED THEN
      INSERT VALUES (d.user_id, d.n, d.s, d.s::numeric / d.n);
DELETE FROM by_hand.orders_log;
COMMIT;
