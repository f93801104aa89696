-- The 200-group aggregate as a table that triggers on users keep up to date in
-- the transaction that changes them: :variant is "statement" or "row".  Users
-- do not come or go here, nor countries; it is no slower for that.

CREATE TABLE stats AS
SELECT country, count(*) AS n, sum(age) AS total FROM users GROUP BY country;
ALTER TABLE stats ADD PRIMARY KEY (country), SET (fillfactor = 50);
VACUUM (FULL, ANALYZE) stats;

CREATE FUNCTION keep_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stats s SET n = s.n + d.n, total = s.total + d.total
      FROM (SELECT country, sum(w) AS n, sum(w * age) AS total
              FROM (SELECT country, age, 1 AS w FROM new_rows
                     UNION ALL SELECT country, age, -1 FROM old_rows) c
             GROUP BY country) d
     WHERE s.country = d.country;
    RETURN NULL;
END $$;

CREATE FUNCTION keep_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.country = NEW.country THEN
        UPDATE stats SET total = total + NEW.age - OLD.age WHERE country = NEW.country;
    ELSE
        UPDATE stats SET n = n - 1, total = total - OLD.age WHERE country = OLD.country;
        UPDATE stats SET n = n + 1, total = total + NEW.age WHERE country = NEW.country;
    END IF;
    RETURN NULL;
END $$;

SELECT CASE :'variant' WHEN 'statement' THEN
    'CREATE TRIGGER keep AFTER UPDATE ON users REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION keep_statement()'
ELSE
    'CREATE TRIGGER keep AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep_row()'
END \gexec
