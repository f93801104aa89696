-- The three materialized views that demo.sh refreshes.  REFRESH ...
-- CONCURRENTLY needs the unique indexes; matview_refresh does not.

CREATE MATERIALIZED VIEW user_stats AS
SELECT country, count(*) AS total, avg(age) AS avg_age
  FROM users
 GROUP BY country;
CREATE UNIQUE INDEX ON user_stats (country);

CREATE MATERIALIZED VIEW product_stats AS
SELECT category, count(*) AS products, sum(stock) AS stock, avg(price) AS avg_price
  FROM products
 GROUP BY category;
CREATE UNIQUE INDEX ON product_stats (category);

CREATE MATERIALIZED VIEW order_details AS
SELECT o.id AS order_id, u.country, u.age, p.category, p.price, o.quantity
  FROM orders o
  JOIN users u ON u.id = o.user_id
  JOIN products p ON p.id = o.product_id;
CREATE UNIQUE INDEX ON order_details (order_id);

VACUUM (ANALYZE) user_stats, product_stats, order_details;
