-- UNION ALL, of the same and of different tables, nested, below groups.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA unions;
SET search_path = unions, test;

CREATE TABLE a (id int PRIMARY KEY, v text, n int);
CREATE TABLE b (id bigint PRIMARY KEY, v varchar(20), n smallint);
INSERT INTO a SELECT g, 'v' || g % 3, g % 5 FROM generate_series(1, 30) g;
INSERT INTO b SELECT g, 'v' || g % 3, g % 5 FROM generate_series(1, 30) g;

CREATE MATERIALIZED VIEW two AS SELECT id, v FROM a UNION ALL SELECT id, v FROM b;
CREATE MATERIALIZED VIEW same AS SELECT v FROM a UNION ALL SELECT v FROM a;
CREATE MATERIALIZED VIEW same_filters AS SELECT id, n FROM a WHERE n > 1 UNION ALL SELECT id, -n FROM a WHERE n < 3;
CREATE MATERIALIZED VIEW labelled AS SELECT 'a' AS src, id, v FROM a UNION ALL SELECT 'b', id, v FROM b;
CREATE MATERIALIZED VIEW four AS SELECT n FROM a UNION ALL (SELECT n FROM b UNION ALL SELECT id FROM a) UNION ALL SELECT 1;
CREATE MATERIALIZED VIEW with_values AS SELECT id, v FROM b UNION ALL VALUES (0, 'zero'), (NULL, NULL);
CREATE MATERIALIZED VIEW below_filter AS SELECT * FROM (SELECT id, v, n FROM a UNION ALL SELECT id, v, n FROM b) u WHERE n = 2 OR v IS NULL;
CREATE MATERIALIZED VIEW below_join AS SELECT u.v, a.id FROM (SELECT v, n FROM a UNION ALL SELECT v, n FROM b) u JOIN a ON a.n = u.n AND a.id < 6;
CREATE MATERIALIZED VIEW below_groups AS SELECT v, count(*), sum(n) FROM (SELECT v, n FROM a UNION ALL SELECT v, n FROM b) u GROUP BY v;
CREATE MATERIALIZED VIEW of_joins AS SELECT a.id, b.v FROM a JOIN b ON a.n = b.n AND a.id < 5 UNION ALL SELECT a.id, a.v FROM a;
CREATE MATERIALIZED VIEW self_joined AS
  SELECT p.v, q.v AS w FROM (SELECT v, n FROM a WHERE id < 6 UNION ALL SELECT v, n FROM b WHERE id < 6) p
    JOIN (SELECT v, n FROM a WHERE id < 6 UNION ALL SELECT v, n FROM b WHERE id < 6) q ON p.n = q.n;
CREATE MATERIALIZED VIEW ordered AS SELECT id, v FROM a UNION ALL SELECT id, v FROM b ORDER BY 1, 2;
CREATE MATERIALIZED VIEW distinct_union AS SELECT v FROM a UNION SELECT v FROM b;
CREATE MATERIALIZED VIEW distinct_union_three AS SELECT n FROM a UNION SELECT n FROM b UNION SELECT id FROM a WHERE id > 25;
CREATE MATERIALIZED VIEW all_then_distinct AS (SELECT n FROM a UNION ALL SELECT n FROM a) UNION SELECT n FROM b;
CREATE MATERIALIZED VIEW distinct_then_all AS (SELECT n FROM a UNION SELECT n FROM a) UNION ALL SELECT n FROM b;
CREATE MATERIALIZED VIEW no_columns AS SELECT FROM a UNION ALL SELECT FROM b;
CALL steps();

INSERT INTO a VALUES (100, 'v9', 2), (101, NULL, NULL);
INSERT INTO b VALUES (100, 'v9', 2), (9999999999, NULL, NULL);
CALL steps();
UPDATE a SET v = 'w' || n WHERE id % 2 = 0;
UPDATE b SET n = n + 1, v = 'v9' WHERE id % 3 = 0;
CALL steps();
-- A row moves from one arm to the other: the view is the same
DELETE FROM a WHERE id BETWEEN 7 AND 9;
INSERT INTO b SELECT 1000 + g, 'v' || g % 3, g % 5 FROM generate_series(7, 9) g;
DELETE FROM b WHERE id = 5;
UPDATE a SET id = 500 WHERE id = 6;
CALL steps();
WITH gone AS (DELETE FROM a WHERE id = 11 RETURNING *) INSERT INTO b SELECT 2011, v, n FROM gone;
CALL steps();
DELETE FROM a;
CALL steps();
TRUNCATE b;
CALL steps();
INSERT INTO b VALUES (1, 'v1', 1);
INSERT INTO a VALUES (1, 'v1', 1);
CALL steps();

DROP SCHEMA unions CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
