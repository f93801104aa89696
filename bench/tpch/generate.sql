-- Functions that make the rows of TPC-H, in SQL alone: keys, skews and value
-- domains are those of the specification, the values come from a hash of the
-- row's key, so that the same scale factor always gives the same rows.
--
-- What differs from the specification, for a small scale to have rows in every
-- query: each 2500th order is a large one (Q18), and one supplier in 2000 has
-- complaints in its comment (Q16), one recommendations.
--
-- The functions read no table but generate.words and generate.scale; they are
-- created in schema generate, for tables that the search_path finds.

CREATE SCHEMA generate;

CREATE TABLE generate.scale (sf float8 NOT NULL);
INSERT INTO generate.scale VALUES (:sf);

-- rows at this scale factor; a constant in every query that uses it
CREATE FUNCTION generate.rows_of(per_scale_factor integer) RETURNS bigint
LANGUAGE sql STABLE AS $$ SELECT greatest(1, round(per_scale_factor * sf))::bigint FROM generate.scale $$;

-- 0 .. n - 1, depending on the key and on which of its columns is asked for
CREATE FUNCTION generate.any_of(key bigint, col integer, n bigint) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT ((hashint8extended(key, col) & 9223372036854775807) % n)::integer $$;

CREATE FUNCTION generate.address(key bigint, col integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT left(translate(md5(key::text || '/' || col) || md5(col || '/' || key), '0369c', ' ,XyZ'), 10 + generate.any_of(key, col, 31)) $$;

CREATE FUNCTION generate.phone(key bigint, nation integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 10 + nation || '-' || 100 + generate.any_of(key, 90, 900) || '-'
    || 100 + generate.any_of(key, 91, 900) || '-' || 1000 + generate.any_of(key, 92, 9000) $$;

CREATE FUNCTION generate.balance(key bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$ SELECT (generate.any_of(key, 93, 1099999) - 99999)::numeric / 100 $$;

-- supplier number i (0 .. 3) of a part, of s suppliers in all
CREATE FUNCTION generate.supplier_of(part integer, i integer, s bigint) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT ((part + i * (s / 4 + (part - 1) / s % greatest(1, s / 12))) % s + 1)::integer $$;

CREATE FUNCTION generate.price_of(part integer) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$ SELECT (90000 + part / 10 % 20001 + 100 * (part % 1000))::numeric / 100 $$;

-- Order keys are sparse: of 32 keys the first load uses 8, and the refresh
-- streams the others, eight at a time (slots 1 to 3).
CREATE FUNCTION generate.order_key(n bigint, slot bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT n / 8 * 32 + slot * 8 + n % 8 $$;

-- Text to cut comments from: a comment is a piece of one of 4096 lines
CREATE TABLE generate.words (id integer PRIMARY KEY, line text NOT NULL);
INSERT INTO generate.words
SELECT id, string_agg(
           (ARRAY['foxes', 'ideas', 'theodolites', 'pinto beans', 'instructions', 'dependencies', 'excuses', 'platelets', 'asymptotes', 'courts', 'dolphins', 'multipliers', 'sauternes', 'warthogs', 'frets', 'dinos', 'attainments', 'somas', 'requests', 'packages', 'accounts', 'deposits', 'realms', 'pearls'])[1 + generate.any_of(id * 32 + i, 1, 24)]
        || (ARRAY[' sleep', ' wake', ' are', ' cajole', ' haggle', ' nag', ' use', ' boost', ' affix', ' detect', ' integrate', ' maintain', ' nod', ' was', ' lose', ' sublate', ' solve', ' thrash', ' promise', ' engage'])[1 + generate.any_of(id * 32 + i, 2, 20)]
        || (ARRAY[' furiously', ' slyly', ' carefully', ' blithely', ' quickly', ' fluffily', ' quietly', ' ruthlessly', ' thinly', ' closely', ' doggedly', ' daringly', ' bravely', ' stealthily', ' permanently', ' enticingly', ' idly', ' busily', ' regularly', ' finally', ' ironically', ' evenly', ' boldly', ' silently'])[1 + generate.any_of(id * 32 + i, 3, 24)]
        || (ARRAY['. ', ' about the ', ' above the ', ' across the ', ' after the ', ' against the ', ' along the ', ' among the ', '; ', '! ', ', ', ' under the ', '? ', ' -- ', ' final ', ' regular ', ' pending ', ' express ', ' unusual ', ' bold '])[1 + generate.any_of(id * 32 + i, 4, 20)], ''
           ORDER BY i)
  FROM generate_series(0, 4095) AS id, generate_series(1, 10) AS i
 GROUP BY id;

-- the piece for a key: at least low and at most high characters long
CREATE FUNCTION generate.cut(line text, key bigint, low integer, high integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT substr(line, 1 + generate.any_of(key, 94, 60), low + generate.any_of(key, 95, high - low + 1)) $$;

CREATE FUNCTION generate.regions() RETURNS SETOF region
LANGUAGE sql STABLE AS $$
SELECT r, (ARRAY['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'])[r + 1]::char(25),
       generate.cut(line, r, 31, 115)::varchar(152)
  FROM generate_series(0, 4) AS r
  JOIN generate.words AS w ON w.id = 17 * r
$$;

CREATE FUNCTION generate.nations() RETURNS SETOF nation
LANGUAGE sql STABLE AS $$
SELECT n - 1, name::char(25), r_regionkey, generate.cut(line, n, 31, 114)::varchar(152)
  FROM (VALUES (1, 'ALGERIA', 0), (2, 'ARGENTINA', 1), (3, 'BRAZIL', 1), (4, 'CANADA', 1), (5, 'EGYPT', 4),
               (6, 'ETHIOPIA', 0), (7, 'FRANCE', 3), (8, 'GERMANY', 3), (9, 'INDIA', 2), (10, 'INDONESIA', 2),
               (11, 'IRAN', 4), (12, 'IRAQ', 4), (13, 'JAPAN', 2), (14, 'JORDAN', 4), (15, 'KENYA', 0),
               (16, 'MOROCCO', 0), (17, 'MOZAMBIQUE', 0), (18, 'PERU', 1), (19, 'CHINA', 2), (20, 'ROMANIA', 3),
               (21, 'SAUDI ARABIA', 4), (22, 'VIETNAM', 2), (23, 'RUSSIA', 3), (24, 'UNITED KINGDOM', 3),
               (25, 'UNITED STATES', 1)) AS v (n, name, r_regionkey)
  JOIN generate.words AS w ON w.id = 31 * n
$$;

CREATE FUNCTION generate.suppliers(first bigint, last bigint) RETURNS SETOF supplier
LANGUAGE sql STABLE AS $$
SELECT s::integer, ('Supplier#' || lpad(s::text, 9, '0'))::char(25), generate.address(s, 10)::varchar(40), nation,
       generate.phone(s, nation)::char(15), generate.balance(s)::numeric(15,2),
       (CASE s % 2000
          WHEN 13 THEN overlay(comment PLACING 'Customer Complaints' FROM 5 FOR 19)
          WHEN 14 THEN overlay(comment PLACING 'Customer Recommends' FROM 5 FOR 19)
          ELSE comment END)::varchar(101)
  FROM (SELECT s, generate.any_of(s, 118, 25) AS nation, generate.cut(line, s, 25, 100) AS comment
          FROM generate_series(first, last) AS s
          JOIN generate.words AS w ON w.id = generate.any_of(s, 12, 4096) OFFSET 0) AS x
$$;

CREATE FUNCTION generate.parts(first bigint, last bigint) RETURNS SETOF part
LANGUAGE sql STABLE AS $$
SELECT p::integer,
       concat_ws(' ', colors[1 + a % 92], colors[1 + (a + b) % 92], colors[1 + (a + 2 * b) % 92],
                 colors[1 + (a + 3 * b) % 92], colors[1 + (a + 4 * b) % 92])::varchar(55),
       ('Manufacturer#' || m)::char(25), ('Brand#' || m || 1 + generate.any_of(p, 23, 5))::char(10),
       ((ARRAY['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO'])[1 + generate.any_of(p, 24, 6)]
        || (ARRAY[' ANODIZED', ' BURNISHED', ' PLATED', ' POLISHED', ' BRUSHED'])[1 + generate.any_of(p, 25, 5)]
        || (ARRAY[' TIN', ' NICKEL', ' BRASS', ' STEEL', ' COPPER'])[1 + generate.any_of(p, 26, 5)])::varchar(25),
       1 + generate.any_of(p, 27, 50),
       ((ARRAY['SM', 'LG', 'MED', 'JUMBO', 'WRAP'])[1 + generate.any_of(p, 28, 5)]
        || (ARRAY[' CASE', ' BOX', ' BAG', ' JAR', ' PKG', ' PACK', ' CAN', ' DRUM'])[1 + generate.any_of(p, 29, 8)])::char(10),
       generate.price_of(p::integer)::numeric(15,2), generate.cut(line, p, 5, 22)::varchar(23)
  FROM (SELECT p, line, generate.any_of(p, 20, 92) AS a, 1 + 2 * generate.any_of(p, 21, 11) AS b,
               1 + generate.any_of(p, 22, 5) AS m,
               ARRAY['almond', 'antique', 'aquamarine', 'azure', 'beige', 'bisque', 'black', 'blanched', 'blue', 'blush',
                     'brown', 'burlywood', 'burnished', 'chartreuse', 'chiffon', 'chocolate', 'coral', 'cornflower',
                     'cornsilk', 'cream', 'cyan', 'dark', 'deep', 'dim', 'dodger', 'drab', 'firebrick', 'floral',
                     'forest', 'frosted', 'gainsboro', 'ghost', 'goldenrod', 'green', 'grey', 'honeydew', 'hot',
                     'indian', 'ivory', 'khaki', 'lace', 'lavender', 'lawn', 'lemon', 'light', 'lime', 'linen',
                     'magenta', 'maroon', 'medium', 'metallic', 'midnight', 'mint', 'misty', 'moccasin', 'navajo',
                     'navy', 'olive', 'orange', 'orchid', 'pale', 'papaya', 'peach', 'peru', 'pink', 'plum', 'powder',
                     'puff', 'purple', 'red', 'rose', 'rosy', 'royal', 'saddle', 'salmon', 'sandy', 'seashell',
                     'sienna', 'sky', 'slate', 'smoke', 'snow', 'spring', 'steel', 'tan', 'thistle', 'tomato',
                     'turquoise', 'violet', 'wheat', 'white', 'yellow'] AS colors
          FROM generate_series(first, last) AS p
          JOIN generate.words AS w ON w.id = generate.any_of(p, 30, 4096) OFFSET 0) AS x
$$;

CREATE FUNCTION generate.partsupps(first bigint, last bigint) RETURNS SETOF partsupp
LANGUAGE sql STABLE AS $$
SELECT p::integer, generate.supplier_of(p::integer, i, suppliers), 1 + generate.any_of(p * 4 + i, 31, 9999),
       ((100 + generate.any_of(p * 4 + i, 32, 99901))::numeric / 100)::numeric(15,2),
       generate.cut(line, p * 4 + i, 49, 198)::varchar(199)
  FROM (SELECT p, i, line, s.suppliers
          FROM (SELECT generate.rows_of(10000) AS suppliers OFFSET 0) AS s,
               generate_series(first, last) AS p, generate_series(0, 3) AS i, generate.words AS w
         WHERE w.id = generate.any_of(p * 4 + i, 33, 4096) OFFSET 0) AS x
$$;

CREATE FUNCTION generate.customers(first bigint, last bigint) RETURNS SETOF customer
LANGUAGE sql STABLE AS $$
SELECT c::integer, ('Customer#' || lpad(c::text, 9, '0'))::varchar(25), generate.address(c, 40)::varchar(40), nation,
       generate.phone(c, nation)::char(15), generate.balance(c)::numeric(15,2),
       (ARRAY['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'MACHINERY', 'HOUSEHOLD'])[1 + generate.any_of(c, 42, 5)]::char(10),
       generate.cut(line, c, 29, 116)::varchar(117)
  FROM (SELECT c, line, generate.any_of(c, 41, 25) AS nation
          FROM generate_series(first, last) AS c
          JOIN generate.words AS w ON w.id = generate.any_of(c, 43, 4096) OFFSET 0) AS x
$$;

-- The lineitems of orders number first to last, without what the order itself
-- holds.  A third of the customers never orders, so two keys of three are used.
CREATE FUNCTION generate.lineitems(first bigint, last bigint, slot bigint) RETURNS SETOF lineitem
LANGUAGE sql STABLE AS $$
SELECT o, part, generate.supplier_of(part, generate.any_of(key, 52, 4), suppliers), n, quantity::numeric(15,2),
       (quantity * generate.price_of(part))::numeric(15,2),
       (generate.any_of(key, 54, 11)::numeric / 100)::numeric(15,2), (generate.any_of(key, 55, 9)::numeric / 100)::numeric(15,2),
       CASE WHEN ship + receipt > date '1995-06-17' THEN 'N' WHEN generate.any_of(key, 58, 2) = 0 THEN 'R' ELSE 'A' END::char(1),
       CASE WHEN ship > date '1995-06-17' THEN 'O' ELSE 'F' END::char(1),
       ship, ordered + 30 + generate.any_of(key, 57, 61), ship + receipt,
       (ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[1 + generate.any_of(key, 59, 4)]::char(25),
       (ARRAY['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'])[1 + generate.any_of(key, 60, 7)]::char(10),
       generate.cut(line, key, 10, 43)::varchar(44)
  FROM (SELECT o, n, line, o * 8 + n AS key, suppliers, ordered,
               1 + generate.any_of(o * 8 + n, 50, parts) AS part,
               CASE WHEN is_large THEN 44 + generate.any_of(o * 8 + n, 53, 7) ELSE 1 + generate.any_of(o * 8 + n, 53, 50) END AS quantity,
               ordered + 1 + generate.any_of(o * 8 + n, 56, 121) AS ship,
               1 + generate.any_of(o * 8 + n, 61, 30) AS receipt
          FROM (SELECT o, date '1992-01-01' + generate.any_of(o, 70, 2406) AS ordered,
                       generate.any_of(o, 71, 2500) = 0 AS is_large, 1 + generate.any_of(o, 72, 7) AS lines,
                       parts, suppliers
                  FROM (SELECT generate.order_key(i, slot) AS o FROM generate_series(first, last) AS i) AS k,
                       (SELECT generate.rows_of(200000) AS parts, generate.rows_of(10000) AS suppliers OFFSET 0) AS s
                OFFSET 0) AS ord,
               generate_series(1, CASE WHEN is_large THEN 7 ELSE lines END) AS n, generate.words AS w
         WHERE w.id = generate.any_of(o * 8 + n, 62, 4096) OFFSET 0) AS x
$$;

-- The orders that lineitems of the table belong to
CREATE FUNCTION generate.orders(first bigint, last bigint, slot bigint) RETURNS SETOF orders
LANGUAGE sql STABLE AS $$
SELECT o, (3 * generate.any_of(o, 80, customers / 3) + 1 + generate.any_of(o, 81, 2))::integer,
       status::char(1), price::numeric(15,2), date '1992-01-01' + generate.any_of(o, 70, 2406),
       (ARRAY['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'])[1 + generate.any_of(o, 82, 5)]::char(15),
       ('Clerk#' || lpad((1 + generate.any_of(o, 83, clerks))::text, 9, '0'))::char(15), 0,
       (CASE WHEN generate.any_of(o, 84, 93) = 0
          THEN overlay('special' || substr(comment, 8) PLACING 'requests' FROM length(comment) - 7)
          ELSE comment END)::varchar(79)
  FROM (SELECT l_orderkey AS o, customers, clerks, status, price,
               generate.cut(line, l_orderkey, 19, 78) AS comment
          FROM (SELECT l_orderkey, sum(l_extendedprice * (1 + l_tax) * (1 - l_discount)) AS price,
                       CASE min(l_linestatus) WHEN max(l_linestatus) THEN min(l_linestatus) ELSE 'P' END AS status
                  FROM lineitem
                 WHERE l_orderkey BETWEEN generate.order_key(first, slot) AND generate.order_key(last, slot)
                   AND l_orderkey / 8 % 4 = slot
                 GROUP BY l_orderkey) AS l
         CROSS JOIN (SELECT generate.rows_of(150000) AS customers, generate.rows_of(1000) AS clerks OFFSET 0) AS s
          JOIN generate.words AS w ON w.id = generate.any_of(l_orderkey, 85, 4096) OFFSET 0) AS x
$$;

-- Refresh stream RF1, number k (from 1): 0.1% new orders with their lineitems
CREATE PROCEDURE generate.rf1(k bigint, share float8 DEFAULT 0.001)
LANGUAGE plpgsql AS $$
DECLARE
    total bigint := generate.rows_of(1500000);
    n bigint := greatest(1, round(total * share));
    -- the whole of a slot is filled before the next one is begun
    slot bigint := 1 + (k - 1) / (total / n);
    first bigint := (k - 1) % (total / n) * n;
BEGIN
    INSERT INTO lineitem SELECT * FROM generate.lineitems(first, first + n - 1, slot);
    INSERT INTO orders SELECT * FROM generate.orders(first, first + n - 1, slot);
END $$;

-- Refresh stream RF2, number k (from 1): 0.1% of the first orders go, with
-- their lineitems
CREATE PROCEDURE generate.rf2(k bigint, share float8 DEFAULT 0.001)
LANGUAGE plpgsql AS $$
DECLARE
    n bigint := greatest(1, round(generate.rows_of(1500000) * share));
    low bigint := generate.order_key((k - 1) * n, 0);
    high bigint := generate.order_key(k * n - 1, 0);
BEGIN
    DELETE FROM lineitem WHERE l_orderkey BETWEEN low AND high AND l_orderkey / 8 % 4 = 0;
    DELETE FROM orders WHERE o_orderkey BETWEEN low AND high AND o_orderkey / 8 % 4 = 0;
END $$;
