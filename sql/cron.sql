-- When a cron line comes next, compared with a search through all days and
-- minutes from now on.  t/056_cron.pl asks the same at given times.
\getenv dir PG_ABS_SRCDIR
\set oracle :dir /sql/include/oracle.sql
\i :oracle
CREATE SCHEMA cron;
SET search_path = cron, test;
CREATE MATERIALIZED VIEW v AS SELECT 1 AS one;

-- 'right', or when it comes and when it should; "days" says which days fit, by
-- day, month and dow, and "times" which times of the day, by hour and minute
CREATE FUNCTION compare(line text, days text, times text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    zone text := current_setting('log_timezone');
    began timestamp;
    due timestamp;
    expected timestamp;
BEGIN
    PERFORM matview.set_auto_refresh('v', line);
    -- within a minute
    LOOP
        began := clock_timestamp() AT TIME ZONE zone;
        due := matview.next_due('v'::regclass) AT TIME ZONE zone;
        EXIT WHEN date_trunc('minute', clock_timestamp() AT TIME ZONE zone) = date_trunc('minute', began);
    END LOOP;
    -- that of today may have passed
    EXECUTE format('SELECT min(at) FROM (
        SELECT x.d + make_interval(hours => hour, mins => minute) AS at
          FROM (SELECT d FROM generate_series(date_trunc(''day'', $1), $1 + interval ''9 years'', ''1 day'') d,
                    LATERAL (SELECT extract(day FROM d)::int AS day, extract(month FROM d)::int AS month, extract(dow FROM d)::int AS dow) f
                 WHERE %s ORDER BY d LIMIT 2) x,
               generate_series(0, 23) hour, generate_series(0, 59) minute
         WHERE %s) y WHERE at > $1', days, times) INTO expected USING began;
    IF due = expected AND (SELECT next_due AT TIME ZONE zone >= due FROM matview.views WHERE view = 'v'::regclass) THEN
        RETURN 'right';
    END IF;
    RETURN format('WRONG: at %s it is due at %s instead of %s', began, due, expected);
END $$;

SELECT line, compare(line, days, times) FROM (VALUES
    ('* * * * *', 'true', 'true'),
    -- values, lists, ranges, steps
    ('17 * * * *', 'true', 'minute = 17'),
    ('0 3 * * *', 'true', 'hour = 3 AND minute = 0'),
    ('*/15 8-18 * * mon-fri', 'dow BETWEEN 1 AND 5', 'hour BETWEEN 8 AND 18 AND minute % 15 = 0'),
    ('5/10 * * * *', 'true', 'minute % 10 = 5'),
    ('10-20/5,40,59 0 * * *', 'true', 'hour = 0 AND minute IN (10, 15, 20, 40, 59)'),
    ('7 1-23/2 * * *', 'true', 'hour % 2 = 1 AND minute = 7'),
    ('0,30 12 1,15 jan,JUL *', 'day IN (1, 15) AND month IN (1, 7)', 'hour = 12 AND minute IN (0, 30)'),
    ('0 0 1 3-12/3 *', 'day = 1 AND month IN (3, 6, 9, 12)', 'hour = 0 AND minute = 0'),
    -- days that not every month or year has
    ('0 12 31 * *', 'day = 31', 'hour = 12 AND minute = 0'),
    ('59 23 29-31 * *', 'day >= 29', 'hour = 23 AND minute = 59'),
    ('0 0 29 2 *', 'day = 29 AND month = 2', 'hour = 0 AND minute = 0'),
    -- days of the week: 0 and 7 are Sunday
    ('0 0 * * 0', 'dow = 0', 'hour = 0 AND minute = 0'),
    ('0 0 * * 7', 'dow = 0', 'hour = 0 AND minute = 0'),
    ('0 0 * * SUN,wed', 'dow IN (0, 3)', 'hour = 0 AND minute = 0'),
    ('0 0 * * 5-7', 'dow IN (5, 6, 0)', 'hour = 0 AND minute = 0'),
    -- both days restricted: either will do
    ('0 0 13 * 5', 'day = 13 OR dow = 5', 'hour = 0 AND minute = 0'),
    ('59 23 31 12 sun', 'month = 12 AND (day = 31 OR dow = 0)', 'hour = 23 AND minute = 59'),
    -- one that begins with an asterisk does not restrict: both must fit
    ('0 0 */2 * 1', 'day % 2 = 1 AND dow = 1', 'hour = 0 AND minute = 0'),
    ('0 0 8-14 * */3', 'day BETWEEN 8 AND 14 AND dow IN (0, 3, 6)', 'hour = 0 AND minute = 0'),
    -- shorthands
    ('@hourly', 'true', 'minute = 0'),
    ('@daily', 'true', 'hour = 0 AND minute = 0'),
    ('@midnight', 'true', 'hour = 0 AND minute = 0'),
    ('@weekly', 'dow = 0', 'hour = 0 AND minute = 0'),
    ('@monthly', 'day = 1', 'hour = 0 AND minute = 0'),
    ('@yearly', 'day = 1 AND month = 1', 'hour = 0 AND minute = 0'),
    ('@annually', 'day = 1 AND month = 1', 'hour = 0 AND minute = 0')) AS l(line, days, times);

-- not when it is paused, and not without a policy
SELECT matview.next_due('v'::regclass) > now() AS later;
SELECT matview.pause('v');
SELECT matview.next_due('v'::regclass) IS NULL AS never;
SELECT matview.resume('v');
SELECT matview.next_due('v'::regclass) > now() AS later;
SELECT matview.set_auto_refresh('v', 'off');
SELECT matview.next_due('v'::regclass) IS NULL AS never;

DROP SCHEMA cron CASCADE;
SELECT * FROM leftovers();
DROP EXTENSION matview_refresh;
DROP SCHEMA test CASCADE;
