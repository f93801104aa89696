BEGIN;
-- delta(orders join users) = orders join delta(users)
--                          + delta(orders) join users - delta(orders) join delta(users)
-- In a table of its own, so that the planner knows how big it is.
CREATE TEMP TABLE delta ON COMMIT DROP AS
SELECT order_id, user_id, country, age, quantity, sum(weight) AS weight
  FROM (SELECT o.id AS order_id, d.id AS user_id, d.country, d.age, o.quantity, d.weight
          FROM by_hand.users_log d JOIN orders o ON o.user_id = d.id
         UNION ALL
        SELECT d.id, u.id, u.country, u.age, d.quantity, d.weight
          FROM by_hand.orders_log d JOIN users u ON u.id = d.user_id
         UNION ALL
        SELECT d.id, u.id, u.country, u.age, d.quantity, - d.weight * u.weight
          FROM by_hand.orders_log d JOIN by_hand.users_log u ON u.id = d.user_id) t
 GROUP BY order_id, user_id, country, age, quantity
HAVING sum(weight) <> 0;
DELETE FROM by_hand.order_details v USING delta d
 WHERE v.order_id = d.order_id AND d.weight < 0;
INSERT INTO by_hand.order_details
SELECT order_id, user_id, country, age, quantity FROM delta WHERE weight > 0;
DELETE FROM by_hand.users_log;
COMMIT;
