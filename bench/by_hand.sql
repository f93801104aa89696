-- What an expert writes who has no extension: the views as tables, a log
-- filled by PL/pgSQL statement triggers with the same rows as our change log,
-- and one MERGE per view (by_hand_*.sql) that applies the log to it.

CREATE SCHEMA by_hand;

CREATE TABLE by_hand.users_log (
    xid xid8 NOT NULL, weight integer NOT NULL,
    id integer, country text, age integer
);
CREATE TABLE by_hand.orders_log (
    xid xid8 NOT NULL, weight integer NOT NULL,
    id integer, user_id integer, quantity integer
);

CREATE FUNCTION by_hand.log_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO by_hand.users_log
        SELECT pg_current_xact_id(), -1, id, country, age FROM old_rows;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO by_hand.users_log
        SELECT pg_current_xact_id(), 1, id, country, age FROM new_rows;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION by_hand.log_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO by_hand.orders_log
        SELECT pg_current_xact_id(), -1, id, user_id, quantity FROM old_rows;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO by_hand.orders_log
        SELECT pg_current_xact_id(), 1, id, user_id, quantity FROM new_rows;
    END IF;
    RETURN NULL;
END $$;

-- arm(table, function): the three triggers that it takes
CREATE PROCEDURE by_hand.arm(base regclass, logger regproc) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER by_hand_insert AFTER INSERT ON %s
                    REFERENCING NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION %s()', base, logger);
    EXECUTE format('CREATE TRIGGER by_hand_update AFTER UPDATE ON %s
                    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION %s()', base, logger);
    EXECUTE format('CREATE TRIGGER by_hand_delete AFTER DELETE ON %s
                    REFERENCING OLD TABLE AS old_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION %s()', base, logger);
END $$;

CREATE TABLE by_hand.user_stats AS
SELECT country, count(*) AS total, avg(age) AS avg_age, sum(age) AS sum_age
  FROM users GROUP BY country;
ALTER TABLE by_hand.user_stats ADD PRIMARY KEY (country);

CREATE TABLE by_hand.order_details AS
SELECT o.id AS order_id, u.id AS user_id, u.country, u.age, o.quantity
  FROM orders o JOIN users u ON u.id = o.user_id;
ALTER TABLE by_hand.order_details ADD PRIMARY KEY (order_id);

CREATE TABLE by_hand.user_orders AS
SELECT user_id, count(*) AS total, sum(quantity) AS quantity, avg(quantity) AS avg_quantity
  FROM orders GROUP BY user_id;
ALTER TABLE by_hand.user_orders ADD PRIMARY KEY (user_id);

VACUUM (ANALYZE) by_hand.user_stats, by_hand.order_details, by_hand.user_orders;
