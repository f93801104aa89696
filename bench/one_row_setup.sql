-- The same table at two sizes, and over each an aggregate of 200 groups and a
-- join view with as many rows as the table.

CREATE TABLE countries (name text PRIMARY KEY, continent text NOT NULL);
INSERT INTO countries SELECT 'country ' || i, 'continent ' || i % 7 FROM generate_series(0, 199) i;

CREATE TABLE small (id integer NOT NULL, country text NOT NULL, age integer NOT NULL);
INSERT INTO small
SELECT i, 'country ' || (hashint4(i) & 1048575) % 200, 18 + (hashint4(-i) & 1048575) % 60
  FROM generate_series(1, :n) i;
ALTER TABLE small ADD PRIMARY KEY (id);

CREATE TABLE big (id integer NOT NULL, country text NOT NULL, age integer NOT NULL);
INSERT INTO big
SELECT i, 'country ' || (hashint4(i) & 1048575) % 200, 18 + (hashint4(-i) & 1048575) % 60
  FROM generate_series(1, 10 * :n) i;
ALTER TABLE big ADD PRIMARY KEY (id);

VACUUM (ANALYZE) countries, small, big;

CREATE MATERIALIZED VIEW small_stats AS
SELECT country, count(*) AS total, avg(age) AS avg_age FROM small GROUP BY country WITH NO DATA;
CREATE MATERIALIZED VIEW big_stats AS
SELECT country, count(*) AS total, avg(age) AS avg_age FROM big GROUP BY country WITH NO DATA;
CREATE MATERIALIZED VIEW small_joined AS
SELECT s.id, s.age, c.continent FROM small s JOIN countries c ON c.name = s.country WITH NO DATA;
CREATE MATERIALIZED VIEW big_joined AS
SELECT b.id, b.age, c.continent FROM big b JOIN countries c ON c.name = b.country WITH NO DATA;
CREATE UNIQUE INDEX ON small_stats (country);
CREATE UNIQUE INDEX ON big_stats (country);
CREATE UNIQUE INDEX ON small_joined (id);
CREATE UNIQUE INDEX ON big_joined (id);

SELECT mode FROM matview.refresh_incremental('small_stats');
SELECT mode FROM matview.refresh_incremental('big_stats');
SELECT mode FROM matview.refresh_incremental('small_joined');
SELECT mode FROM matview.refresh_incremental('big_joined');

VACUUM (ANALYZE) small_stats, big_stats, small_joined, big_joined;
