-- The session of the README: an existing view, refreshed in all three ways.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA session;
SET search_path = session, test;

CREATE TABLE users (id int PRIMARY KEY, country text, age int);
INSERT INTO users SELECT g, 'country ' || g % 5, 20 + g % 50 FROM generate_series(1, 500) g;
CREATE MATERIALIZED VIEW user_stats AS
  SELECT country, count(*) AS total, avg(age) AS avg_age FROM users GROUP BY country;
COMMENT ON MATERIALIZED VIEW user_stats IS 'users by country';

-- The first call tracks and fills; the view was right, so nothing is written
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_incremental('user_stats');
UPDATE users SET age = age + 1 WHERE id = 7;
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_incremental('user_stats');
SELECT * FROM matview.check('user_stats');
SELECT contents('user_stats');

-- Nothing changed: nothing is done
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_incremental('user_stats');

-- A group comes, a group goes
INSERT INTO users VALUES (1001, 'elsewhere', 33), (1002, 'elsewhere', 34);
DELETE FROM users WHERE country = 'country 3';
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_incremental('user_stats');
SELECT * FROM user_stats ORDER BY country;

-- The other two, with changes pending, and incremental again after each
UPDATE users SET country = 'moved' WHERE id % 100 = 1;
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_concurrent('user_stats');
SELECT contents('user_stats');
DELETE FROM users WHERE country = 'moved' AND id < 200;
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_incremental('user_stats');
SELECT contents('user_stats');
UPDATE users SET age = NULL WHERE country = 'country 1';
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_full('user_stats');
SELECT contents('user_stats');
INSERT INTO users (id) VALUES (2000);
SELECT view, mode, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.refresh_incremental('user_stats');
SELECT contents('user_stats');

-- What a refresh leaves in the registry
SELECT view, mode, reason, rows_inserted, rows_updated, rows_deleted, changes
  FROM matview.history WHERE view = 'user_stats'::regclass ORDER BY started;
SELECT view, next_refresh, last_mode, pending_changes FROM matview.views;
SELECT * FROM matview.dependencies;

-- It is the same view for those who read it
SELECT obj_description('user_stats'::regclass);

-- Without the extension it is an ordinary materialized view
DROP EXTENSION matview_refresh;
SELECT count(*) FROM user_stats;
INSERT INTO users VALUES (3000, 'after', 1);
REFRESH MATERIALIZED VIEW user_stats;
SELECT count(*) FROM user_stats WHERE country = 'after';
DROP SCHEMA session, test CASCADE;
