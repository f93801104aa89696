-- Tables of :n users and three times as many orders, and three materialized
-- views over them, four times: ours in schema public, for REFRESH and for
-- REFRESH ... CONCURRENTLY in schema core (one view serves both), and as
-- tables maintained by hand in schema by_hand (by_hand.sql).

CREATE TABLE users (
    id integer NOT NULL,
    country text NOT NULL,
    age integer NOT NULL
);
INSERT INTO users
SELECT i, 'country ' || (hashint4(i) & 1048575) % 200, 18 + (hashint4(-i) & 1048575) % 60
  FROM generate_series(1, :n) i;
ALTER TABLE users ADD PRIMARY KEY (id);

CREATE TABLE orders (
    id integer NOT NULL,
    user_id integer NOT NULL,
    quantity integer NOT NULL
);
INSERT INTO orders
SELECT i, 1 + (hashint4(i) & 2147483647) % :n, 1 + i % 5
  FROM generate_series(1, 3 * :n) i;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_user_id ON orders (user_id);

VACUUM (ANALYZE) users, orders;

CREATE SCHEMA core;

\set user_stats 'SELECT country, count(*) AS total, avg(age) AS avg_age FROM users GROUP BY country'
\set order_details 'SELECT o.id AS order_id, u.id AS user_id, u.country, u.age, o.quantity FROM orders o JOIN users u ON u.id = o.user_id'
\set user_orders 'SELECT user_id, count(*) AS total, sum(quantity) AS quantity, avg(quantity) AS avg_quantity FROM orders GROUP BY user_id'

CREATE MATERIALIZED VIEW user_stats AS :user_stats;
CREATE MATERIALIZED VIEW order_details AS :order_details;
CREATE MATERIALIZED VIEW user_orders AS :user_orders;
CREATE MATERIALIZED VIEW core.user_stats AS :user_stats;
CREATE MATERIALIZED VIEW core.order_details AS :order_details;
CREATE MATERIALIZED VIEW core.user_orders AS :user_orders;

CREATE UNIQUE INDEX ON user_stats (country);
CREATE UNIQUE INDEX ON order_details (order_id);
CREATE UNIQUE INDEX ON user_orders (user_id);
CREATE UNIQUE INDEX ON core.user_stats (country);
CREATE UNIQUE INDEX ON core.order_details (order_id);
CREATE UNIQUE INDEX ON core.user_orders (user_id);

VACUUM (ANALYZE) user_stats, order_details, user_orders;
VACUUM (ANALYZE) core.user_stats, core.order_details, core.user_orders;
