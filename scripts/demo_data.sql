-- What demo.sh loads: a shop with customers in 200 countries.

BEGIN;

CREATE TABLE users (
    id integer NOT NULL,
    country text NOT NULL,
    age integer NOT NULL
);
INSERT INTO users
SELECT i, 'country ' || (hashint4(i) & 1048575) % 200, 18 + (hashint4(-i) & 1048575) % 60
  FROM generate_series(1, 1000000) i;
ALTER TABLE users ADD PRIMARY KEY (id);

CREATE TABLE products (
    id integer NOT NULL,
    category text NOT NULL,
    price numeric(10,2) NOT NULL,
    stock integer NOT NULL
);
INSERT INTO products
SELECT i, 'category ' || (hashint4(i + 7) & 1048575) % 100, (100 + (hashint4(i) & 1048575) % 99900) / 100.0, i % 1000
  FROM generate_series(1, 1000000) i;
ALTER TABLE products ADD PRIMARY KEY (id);

-- three orders for each user
CREATE TABLE orders (
    id integer NOT NULL,
    user_id integer NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL
);
INSERT INTO orders
SELECT i, 1 + (i - 1) / 3, 1 + (hashint4(i) & 2147483647) % 1000000, 1 + i % 5
  FROM generate_series(1, 3000000) i;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_user_id ON orders (user_id);
CREATE INDEX orders_product_id ON orders (product_id);

COMMIT;

VACUUM (ANALYZE) users, products, orders;
