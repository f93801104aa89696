-- Three equal tables: nobody watches w_none, a tracked view reads w_ours, and
-- w_hand has the triggers of by_hand.sql.

CREATE TABLE w_none (id integer NOT NULL, country text NOT NULL, age integer NOT NULL)
  WITH (fillfactor = 80);
INSERT INTO w_none
SELECT i, 'country ' || (hashint4(i) & 1048575) % 200, 18 + (hashint4(-i) & 1048575) % 60
  FROM generate_series(1, :n) i;
CREATE TABLE w_ours (LIKE w_none) WITH (fillfactor = 80);
CREATE TABLE w_hand (LIKE w_none) WITH (fillfactor = 80);
INSERT INTO w_ours SELECT * FROM w_none;
INSERT INTO w_hand SELECT * FROM w_none;
ALTER TABLE w_none ADD PRIMARY KEY (id);
ALTER TABLE w_ours ADD PRIMARY KEY (id);
ALTER TABLE w_hand ADD PRIMARY KEY (id);

CREATE SEQUENCE w_none_seq START 200000001 CACHE 1000;
CREATE SEQUENCE w_ours_seq START 200000001 CACHE 1000;
CREATE SEQUENCE w_hand_seq START 200000001 CACHE 1000;

-- all three columns, as the log by hand has them
CREATE MATERIALIZED VIEW w_view AS SELECT id, country, age FROM w_ours WHERE age < 0;
SELECT mode FROM matview.refresh_incremental('w_view');
CALL by_hand.arm('w_hand', 'by_hand.log_users');

VACUUM (ANALYZE) w_none, w_ours, w_hand;
