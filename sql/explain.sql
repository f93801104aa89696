-- docs/maintenance.md: its examples are maintained as it says, and cost what it
-- says.  If explain has come to say something else, docs/maintenance.sql writes
-- the page anew.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA shop;
SET search_path = shop, test;
SET timezone = 'UTC';
\set page `cat :'dir'/docs/maintenance.md`
\set statements :dir /sql/include/page.sql
\i :statements

-- Lines that explain does not say, and lines that the page lacks
CREATE FUNCTION lines(page text) RETURNS TABLE (n bigint, line text) LANGUAGE sql AS
  $$SELECT n, l FROM regexp_split_to_table(page, E'\n') WITH ORDINALITY AS x(l, n)$$;
SELECT count(*) AS views FROM pg_class WHERE relkind = 'm' AND relnamespace = 'shop'::regnamespace;
SELECT 'page' AS says, l.* FROM lines(:'page') l WHERE NOT EXISTS (SELECT FROM lines(page_now(:'page')) o WHERE o = l)
UNION ALL
SELECT 'explain', l.* FROM lines(page_now(:'page')) l WHERE NOT EXISTS (SELECT FROM lines(:'page') o WHERE o = l)
ORDER BY 2, 1 DESC;

-- Each is maintained as explain says, and right
INSERT INTO customers SELECT g, 'customer ' || g, 'country ' || g % 50 FROM generate_series(1, 3000) g;
INSERT INTO products SELECT g, 'product ' || g, 'category ' || g % 50, ARRAY['tag ' || g % 100, 'tag ' || g % 77] FROM generate_series(1, 3000) g;
INSERT INTO orders SELECT g, g % 2900 + 1, timestamptz '2024-01-01' + g * interval '17 minutes', g % 1000, g % 3 = 0 FROM generate_series(1, 10000) g;
INSERT INTO items SELECT o, l, (o * 7 + l * 13) % 2900 + 1, l, (o % 100) * 1.1, o * 0.5 FROM generate_series(1, 10000) o, generate_series(1, 3) l;
ANALYZE customers, products, orders, items;
CALL steps();
ANALYZE;
UPDATE customers SET country = 'country 3', name = 'product 5' WHERE id = 7;
DELETE FROM customers WHERE id = 8;
INSERT INTO customers VALUES (9001, 'new', 'country 999');
UPDATE products SET category = 'category 3', tags = '{new, tag 3}' WHERE id = 7;
INSERT INTO products VALUES (9001, 'new', 'category 3', NULL);
UPDATE orders SET customer_id = customer_id + 1, total = total + 5, paid = NULL WHERE id IN (7, 8);
DELETE FROM orders WHERE id = 9990;
INSERT INTO orders VALUES (90001, NULL, '2024-03-03', 5000, true), (90002, 2950, '2024-03-03', 5, true);
UPDATE items SET quantity = 9, price = 9.99, product_id = 2950 WHERE order_id = 7;
DELETE FROM items WHERE order_id = 9990;
CALL steps();

-- What a refresh after a small change reads in full, of the tables of some size.
-- Reading by an index does not count.  Nothing of it is kept.
CREATE FUNCTION read_in_full(view regclass, change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    what text;
BEGIN
    EXECUTE change;
    CREATE TEMP TABLE read_before AS
      SELECT oid, pg_stat_get_xact_tuples_returned(oid) + reltuples / 2 AS many
        FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r' AND reltuples >= 2000;
    PERFORM matview.refresh_incremental(view);
    SELECT string_agg(oid::regclass::text, ', ' ORDER BY oid::regclass::text COLLATE "C") INTO what
      FROM read_before WHERE pg_stat_get_xact_tuples_returned(oid) > many;
    RAISE SQLSTATE 'ZZ001' USING message = coalesce(what, '');
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
    RETURN SQLERRM;
END $$;
CREATE TABLE changes (base regclass, what text, statements text);
INSERT INTO changes VALUES
  ('customers', 'a row changes', $$UPDATE customers SET name = 'x', country = 'country 7' WHERE id = 70$$),
  ('customers', 'rows come and go', $$INSERT INTO customers VALUES (9002, 'y', 'country 5'); DELETE FROM customers WHERE id = 99$$),
  ('products', 'a row changes', $$UPDATE products SET name = 'x', category = 'category 7', tags = '{tag 3}' WHERE id = 80$$),
  ('orders', 'a key changes', $$UPDATE orders SET customer_id = customer_id + 1 WHERE id = 77$$),
  ('orders', 'a value changes', $$UPDATE orders SET total = total + 5 WHERE id = 77$$),
  ('orders', 'rows come and go', $$INSERT INTO orders VALUES (90003, 5, '2024-02-02', 5); DELETE FROM orders WHERE id = 99$$),
  ('orders', 'an extremum goes', $$DELETE FROM orders WHERE id IN (90001, 9999)$$),
  ('items', 'a row changes', $$UPDATE items SET quantity = quantity + 1, price = price + 1, product_id = product_id + 1 WHERE order_id = 55 AND line = 2$$);
CREATE FUNCTION costs() RETURNS TABLE (view text, changed text, what text, reads text) LANGUAGE sql AS $$
  SELECT d.view, d.depends_on, c.what, read_in_full(d.view, c.statements)
    FROM changes c JOIN matview.dependencies d ON d.depends_on = c.base
$$;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE with_indexes AS SELECT * FROM costs();
SELECT count(*) FROM with_indexes WHERE reads = '';
SELECT * FROM with_indexes WHERE reads <> '' ORDER BY view COLLATE "C", changed, what;

-- Without an index, more is
CREATE FUNCTION costs_more(base text) RETURNS TABLE (view text, reads_more_for_changed text, says text) LANGUAGE sql AS $$
  SELECT n.view, string_agg(DISTINCT n.changed, ', '),
         (SELECT l FROM matview.explain(n.view::regclass) l WHERE l LIKE 'an index %')
    FROM costs() n JOIN with_indexes o USING (view, changed, what)
   WHERE n.reads ~ base AND o.reads !~ base
   GROUP BY n.view ORDER BY n.view COLLATE "C"
$$;
DROP INDEX orders_customer;
SELECT * FROM costs_more('orders');
CREATE INDEX orders_customer ON orders (customer_id);
DROP INDEX orders_total;
SELECT * FROM costs_more('orders');
CREATE INDEX orders_total ON orders (total);
DROP INDEX items_product;
SELECT * FROM costs_more('items');
SELECT matview.untrack('sales');
SET client_min_messages = notice;
SELECT matview.track('sales');
SET client_min_messages = warning;
CREATE INDEX items_product ON items (product_id);
-- With one more, less is
CREATE INDEX items_price ON items (price);
SELECT view, changed, what, reads FROM costs() WHERE view = 'prices';

-- No equality, IN within OR, a table without a primary key
CREATE TABLE keyless (id int, customer_id int, x int);
INSERT INTO keyless SELECT id, customer_id, id FROM orders;
CREATE INDEX ON keyless (id) INCLUDE (customer_id);
-- ... with an index, or with a unique index
CREATE TABLE keyless_indexed (LIKE keyless INCLUDING INDEXES);
CREATE TABLE keyless_unique (LIKE keyless INCLUDING INDEXES);
INSERT INTO keyless_indexed TABLE keyless;
INSERT INTO keyless_unique TABLE keyless;
CREATE INDEX ON keyless_indexed (customer_id);
CREATE INDEX ON keyless_unique (customer_id);
ALTER TABLE keyless_unique ALTER id SET NOT NULL, ADD UNIQUE (id);
ANALYZE keyless, keyless_indexed, keyless_unique;
CREATE MATERIALIZED VIEW no_equality AS
  SELECT c.id, o.id AS order_id FROM customers c LEFT JOIN orders o ON o.id < c.id AND o.id > c.id - 3;
CREATE MATERIALIZED VIEW in_within_or AS
  SELECT id FROM customers WHERE country = 'x' OR id IN (SELECT customer_id FROM orders);
CREATE MATERIALIZED VIEW exists_within_or AS
  SELECT id FROM customers c WHERE country = 'x' OR EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id);
CREATE MATERIALIZED VIEW without_key AS
  SELECT c.id, k.x FROM customers c LEFT JOIN keyless k ON k.customer_id = c.id;
CREATE MATERIALIZED VIEW without_key_indexed AS
  SELECT c.id, k.x FROM customers c LEFT JOIN keyless_indexed k ON k.customer_id = c.id;
CREATE MATERIALIZED VIEW without_key_unique AS
  SELECT c.id, k.x FROM customers c LEFT JOIN keyless_unique k ON k.customer_id = c.id;
DELETE FROM changes WHERE what = 'a value changes';
INSERT INTO changes SELECT base, what, format('UPDATE %s SET customer_id = %s WHERE id = 77', base, value)
  FROM unnest('{keyless, keyless_indexed, keyless_unique}'::regclass[]) base,
       (VALUES ('a key changes', 'customer_id + 1'), ('a key is NULL', 'NULL')) v (what, value);
SELECT c.view, c.changed, string_agg(c.what, ', ' ORDER BY c.what) AS what, c.reads
  FROM unnest('{no_equality,in_within_or,exists_within_or,without_key,without_key_indexed,without_key_unique}'::regclass[]) v,
       matview.refresh_incremental(v) r, costs() c
 WHERE c.view::regclass = v GROUP BY 1, 2, 4 ORDER BY 1, 2, 4;

-- Most of a table changes: where old and new rows would meet, that is recomputed
UPDATE orders SET customer_id = customer_id % 2900 + 1;
SELECT v, done, contents FROM unnest('{customer_orders,best_customers,order_lines,order_counts}'::regclass[]) v, step(v);
SELECT last_reason FROM matview.views WHERE view IN ('customer_orders'::regclass, 'best_customers'::regclass);

DROP SCHEMA shop CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
