-- The base tables of one contender, in the first schema of the search path: :n
-- users, :orders orders (none if that is 0) and what they order.

CREATE TABLE users (
    id integer PRIMARY KEY,
    country text NOT NULL,
    age integer NOT NULL
);
INSERT INTO users
SELECT i, 'country ' || (hashint4(i) & 1048575) % 200, 18 + (hashint4(-i) & 1048575) % 60
  FROM generate_series(1, :n) i;

CREATE TABLE products (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price integer NOT NULL
);
INSERT INTO products SELECT i, 'product ' || i, 1 + i % 100 FROM generate_series(1, 1000) i;

CREATE TABLE orders (
    id integer NOT NULL,
    user_id integer NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL
);
INSERT INTO orders
SELECT i, 1 + (hashint4(i) & 2147483647) % :n, 1 + (hashint4(-i) & 2147483647) % 1000, 1 + i % 5
  FROM generate_series(1, :orders) i;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_user_id ON orders (user_id);

VACUUM (ANALYZE) users, products, orders;
