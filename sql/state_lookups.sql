-- States are looked up by what other stages compare, through an index: a change of
-- one row reads no state as a whole.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA state_lookups;
SET search_path = state_lookups, test;
SET jit = off;

CREATE TABLE customers (id int PRIMARY KEY);
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, placed int NOT NULL, status text NOT NULL);
CREATE TABLE products (sku text PRIMARY KEY, x int);
CREATE TABLE items (id int PRIMARY KEY, sku text NOT NULL, n int NOT NULL);
INSERT INTO customers SELECT generate_series(1, 6000);
INSERT INTO orders SELECT g, g % 6000 + 1, g, 's' || g % 3 FROM generate_series(1, 30000) g;
INSERT INTO products SELECT 's' || g, g FROM generate_series(1, 10000) g;
INSERT INTO items SELECT g, 's' || g % 10000, g % 9 FROM generate_series(1, 30000) g;
CREATE INDEX ON orders (customer);
CREATE INDEX ON items (sku);
VACUUM ANALYZE customers, orders, products, items;

CREATE MATERIALIZED VIEW by_window AS
  SELECT c.id, s.id AS last FROM customers c LEFT JOIN
    (SELECT customer, id, row_number() OVER (PARTITION BY customer ORDER BY placed DESC, id) AS n FROM orders) s
    ON s.customer = c.id AND s.n = 1;
CREATE MATERIALIZED VIEW by_distinct AS
  SELECT c.id, s.id AS last FROM customers c
    JOIN (SELECT DISTINCT ON (customer) customer, id FROM orders ORDER BY customer, placed DESC, id) s ON s.customer = c.id;
CREATE MATERIALIZED VIEW groups_over_window AS
  SELECT customer, avg(gap) FROM
    (SELECT customer, placed - lag(placed) OVER (PARTITION BY customer ORDER BY placed, id) AS gap FROM orders) s GROUP BY customer;
CREATE MATERIALIZED VIEW window_over_window AS
  SELECT id, count(*) FILTER (WHERE gap > 3) OVER (PARTITION BY customer ORDER BY id) AS n FROM
    (SELECT customer, id, placed - lag(placed) OVER (PARTITION BY customer ORDER BY placed, id) AS gap FROM orders) s;
CREATE MATERIALIZED VIEW exists_window AS
  SELECT id FROM customers c WHERE EXISTS (
    SELECT FROM (SELECT customer, rank() OVER (PARTITION BY customer ORDER BY placed) AS r FROM orders) s
     WHERE s.customer = c.id AND r = 2);
CREATE MATERIALIZED VIEW in_groups AS
  SELECT id FROM customers WHERE id IN (SELECT customer FROM orders GROUP BY status, customer HAVING count(*) > 1);
CREATE MATERIALIZED VIEW two_keys AS
  SELECT c.id, s.status, s.n FROM customers c
    JOIN (SELECT status, customer, count(*) AS n FROM orders GROUP BY status, customer) s ON s.customer = c.id;
CREATE MATERIALIZED VIEW text_key AS
  SELECT p.sku, p.x, s.n FROM products p LEFT JOIN (SELECT sku, sum(n) AS n FROM items GROUP BY sku) s ON s.sku = p.sku;
SELECT v, mode FROM unnest('{by_window,by_distinct,groups_over_window,window_over_window,exists_window,in_groups,two_keys,text_key}'::regclass[]) v,
       matview.refresh_incremental(v);
SELECT c.relname AS view, regexp_replace(indexdef, '.* USING ', '') AS index
  FROM pg_indexes i JOIN pg_class c ON c.oid = substring(i.tablename FROM 'state_([0-9]+)_')::oid
 WHERE i.schemaname = 'matview' AND i.tablename ~ '^state_[0-9]+_' ORDER BY 1, i.tablename COLLATE "C", 2;

-- what is read of states as a whole, without those of an index
CREATE FUNCTION read_of_states() RETURNS bigint LANGUAGE sql AS $$
  SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_all_tables WHERE schemaname = 'matview' AND relname ~ '^state_[0-9]+_' $$;
SELECT pg_stat_force_next_flush();
SELECT read_of_states() AS before \gset
CALL steps();
INSERT INTO orders VALUES (100001, 777, 900000, 's1');
DELETE FROM orders WHERE id = 4000;
UPDATE items SET n = n + 1 WHERE id = 77;
CALL steps();
INSERT INTO customers VALUES (10001);
DELETE FROM customers WHERE id = 5;
UPDATE products SET x = x + 1 WHERE sku = 's77';
CALL steps();
SELECT pg_stat_force_next_flush();
SELECT read_of_states() - :before AS read;

-- keys of types that no index is for
CREATE TYPE bits AS (b bit(3));
CREATE TABLE one (id int PRIMARY KEY, a bit(3)[], m money[], c bits);
CREATE TABLE many (id int PRIMARY KEY, a bit(3)[], m money[], c bits);
INSERT INTO many SELECT i, ARRAY[i::bit(3)], ARRAY[i::money], ROW(i::bit(3))::bits FROM generate_series(1, 6) i;
CREATE MATERIALIZED VIEW by_bits AS SELECT one.id, s.n FROM one JOIN (SELECT a, count(*) AS n FROM many GROUP BY a) s ON s.a = one.a;
CREATE MATERIALIZED VIEW by_money AS SELECT one.id, s.n FROM one JOIN (SELECT m, count(*) AS n FROM many GROUP BY m) s ON s.m = one.m;
CREATE MATERIALIZED VIEW by_record AS SELECT one.id, s.n FROM one JOIN (SELECT c, count(*) AS n FROM many GROUP BY c) s ON s.c = one.c;
SELECT v, done, contents FROM unnest('{by_bits,by_money,by_record}'::text[]) v, step(v::regclass);
INSERT INTO one SELECT * FROM many WHERE id < 4;
INSERT INTO many SELECT id + 6, a, m, c FROM many WHERE id > 2;
SELECT v, done, contents FROM unnest('{by_bits,by_money,by_record}'::text[]) v, step(v::regclass);

DROP SCHEMA state_lookups CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
