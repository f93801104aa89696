# Background workers: views are refreshed by themselves, on change and at
# intervals; processes come and go with the extension, the database and the
# server.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('background');
$node->init;
$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
max_prepared_transactions = 10
matview.min_interval = 10ms
));
$node->start;

sub sql
{
	my ($db, @statements) = @_;

	return $node->safe_psql($db, join(";\n", @statements));
}

# Waits until a query gives a true value
sub wait_for
{
	my ($db, $query, $name) = @_;

	ok($node->poll_query_until($db, $query), $name);
	return;
}

# Waits until a view is what its query says
sub wait_right
{
	my ($db, $view, $name) = @_;

	wait_for($db, "SELECT missing = 0 AND extra = 0 FROM matview.check('$view')", $name);
	return;
}

sub count_processes
{
	my ($type, $db) = @_;

	return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'matview refresh $type'"
	  . (defined $db ? " AND datname = '$db'" : '');
}

# The launcher is there, and no scheduler
wait_for('postgres', 'SELECT (' . count_processes('launcher') . ') = 1', 'launcher');
is(sql('postgres', count_processes('scheduler')), '0', 'no scheduler without the extension');

# It comes with the extension
sql('postgres', 'CREATE DATABASE one', 'CREATE DATABASE two');
sql('one', 'CREATE EXTENSION matview_refresh',
	'CREATE TABLE base (id int PRIMARY KEY, k int, v int)',
	'INSERT INTO base SELECT g, g % 10, g FROM generate_series(1, 1000) g',
	'CREATE MATERIALIZED VIEW changed AS SELECT k, count(*) AS n, sum(v) AS s FROM base GROUP BY k',
	'CREATE MATERIALIZED VIEW timed AS SELECT id, v FROM base WHERE k = 3',
	# not maintained incrementally
	'CREATE MATERIALIZED VIEW recomputed AS SELECT id, v FROM base ORDER BY v DESC LIMIT 5',
	# a view over views
	'CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS n, sum(s) AS s FROM changed');
wait_for('postgres', 'SELECT (' . count_processes('scheduler', 'one') . ') = 1', 'a scheduler');

# on_change
sql('one', map { "SELECT matview.set_auto_refresh('$_', 'on_change')" } 'changed', 'recomputed', 'above');
sql('one', q(SELECT matview.schedule_auto_refresh('timed', '200 milliseconds')));
wait_for('one', q(SELECT count(*) = 4 FROM matview.views WHERE last_attempt IS NOT NULL AND failures = 0),
	'all have been refreshed');
is( sql('one', q(SELECT view, policy, paused FROM matview.views ORDER BY view::text)),
	"above|on_change|f\nchanged|on_change|f\nrecomputed|on_change|f\ntimed|00:00:00.2|f", 'policies');
my @all = ('changed', 'timed', 'recomputed', 'above');

sub check_all
{
	my ($name) = @_;

	wait_right('one', $_, "$name: $_") for @all;
	return;
}

sql('one', 'INSERT INTO base SELECT g, g % 10, g FROM generate_series(1001, 1010) g');
check_all('insert');
sql('one', 'UPDATE base SET v = v + 1 WHERE id = 1003');
check_all('update');
sql('one', 'DELETE FROM base WHERE k = 7');
check_all('delete');
sql('one', 'BEGIN', 'SAVEPOINT s', 'UPDATE base SET v = 5000 WHERE id = 3', 'ROLLBACK TO s',
	'UPDATE base SET v = 6000 WHERE id = 3', 'COMMIT');
check_all('savepoints');
sql('one', 'TRUNCATE base');
check_all('truncate');
is(sql('one', 'SELECT count(*) FROM changed'), '0', 'nothing is left');
sql('one', "COPY base FROM STDIN;\n1\t1\t1\n2\t2\t2\n3\t3\t3\n\\.\n");
check_all('copy');
is(sql('one', 'SELECT count(*) FROM changed'), '3', 'something is there');

# Prepared transactions
sql('one', 'BEGIN', 'UPDATE base SET v = v + 100', "PREPARE TRANSACTION 'writer'");
sql('one', q(COMMIT PREPARED 'writer'));
check_all('prepared');
is(sql('one', 'SELECT s FROM above'), '306', 'and committed');

# Pause and resume; no change is lost
sql('one', map { "SELECT matview.pause('$_')" } @all);
sql('one', 'UPDATE base SET v = v + 1000');
sql('one', q(SELECT pg_sleep(0.5)));
is(sql('one', 'SELECT s FROM changed WHERE k = 1'), '101', 'paused');
sql('one', map { "SELECT matview.resume('$_')" } @all);
check_all('resumed');

# A view that is not tracked, of a partition that is written through its parents
sql('one', 'CREATE TABLE parted (k int, v int) PARTITION BY LIST (k)',
	'CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (v)',
	'CREATE TABLE part_1_1 PARTITION OF part_1 FOR VALUES IN (1, 2)',
	'CREATE TABLE part_2 PARTITION OF parted FOR VALUES IN (2)',
	'CREATE MATERIALIZED VIEW of_partition AS SELECT count(*) AS n, max(random()) AS r FROM part_1_1',
	q(SELECT matview.set_auto_refresh('of_partition', 'on_change')));
my $n = 0;
for my $command ('INSERT INTO parted VALUES (1, 1)', 'INSERT INTO part_1 VALUES (1, 2)', 'INSERT INTO part_1_1 VALUES (1, 2)',
	"COPY parted FROM STDIN;\n1\t2\n\\.\n", 'INSERT INTO parted VALUES (2, 1); UPDATE parted SET k = 1 WHERE k = 2')
{
	$n++;
	wait_for('one', 'SELECT count(*) = 0 FROM matview.progress', 'nothing runs');
	sql('one', $command);
	wait_for('one', "SELECT n = $n FROM of_partition", "through its parents: $n");
}
sql('one', 'DROP MATERIALIZED VIEW of_partition', 'DROP TABLE parted');

# A function that tracked views use changes what they show, with no row changed
sql('one', 'CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 * 2 $$', 'CREATE TABLE used (v int)', 'INSERT INTO used VALUES (1)',
	map { ("CREATE MATERIALIZED VIEW uses_$_ AS SELECT twice(v) AS v FROM used", "SELECT matview.set_auto_refresh('uses_$_', '" . ($_ eq 'change' ? 'on_change' : '1 second') . "')") } qw(change interval));
wait_for('one', q(SELECT count(*) = 2 FROM matview.views WHERE view::text LIKE 'uses%' AND next_refresh = 'incremental'), 'tracked');
sql('one', 'SELECT pg_sleep(1.5)', 'CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 * 3 $$');
wait_for('one', "SELECT v = 3 FROM uses_$_", "$_: the function is another one") for qw(change interval);
sql('one', 'DROP TABLE used CASCADE', 'DROP FUNCTION twice');

# One that is replaced while another session makes a view live that uses it
sql('one', 'CREATE FUNCTION raced(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 + 1 $$',
	'CREATE MATERIALIZED VIEW first_race AS SELECT id, raced(id) AS r FROM base', 'CREATE MATERIALIZED VIEW second_race AS SELECT id, raced(id) AS r FROM base');
sql('one', 'BEGIN', q(SELECT matview.set_auto_refresh('first_race', 'on_commit')), q(PREPARE TRANSACTION 'live'));
sql('one', 'CREATE OR REPLACE FUNCTION raced(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 + 2 $$');
sql('one', q(COMMIT PREPARED 'live'));
wait_right('one', 'first_race', 'a function is replaced before the view is known to be live');
sql('one', 'BEGIN', 'CREATE OR REPLACE FUNCTION raced(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 + 3 $$', q(PREPARE TRANSACTION 'function'));
sql('one', q(SELECT matview.set_auto_refresh('second_race', 'on_statement')));
sql('one', q(COMMIT PREPARED 'function'));
wait_right('one', 'second_race', 'a function that is replaced before the view is live, and committed after that');
sql('one', 'DROP MATERIALIZED VIEW first_race, second_race', 'DROP FUNCTION raced');

# The same of a view that is computed anew each time
sql('one', 'CREATE FUNCTION thrice(int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN $1 * 3; END $$', 'CREATE TABLE used (v int)', 'INSERT INTO used VALUES (1)',
	'CREATE VIEW uses AS SELECT thrice(v) AS v FROM used', 'CREATE MATERIALIZED VIEW uses_stable AS SELECT v FROM uses', q(SELECT matview.set_auto_refresh('uses_stable', 'on_change')));
wait_for('one', q(SELECT last_mode IS NOT NULL FROM matview.views WHERE view = 'uses_stable'::regclass), 'refreshed once');
sql('one', 'CREATE OR REPLACE FUNCTION thrice(int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN $1 * 4; END $$');
wait_for('one', 'SELECT v = 4 FROM uses_stable', 'computed with the new function');
sql('one', 'DROP TABLE used CASCADE', 'DROP FUNCTION thrice');

# What else views depend on: composite types, labels of enums, text search, the server's settings
sql('one', 'CREATE TYPE inner_pair AS (a int, b text)', 'CREATE TYPE outer_pair AS (i inner_pair, n int)', q(CREATE TYPE mood AS ENUM ('low', 'high')),
	'CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)',
	'CREATE TABLE typed (id int, p outer_pair, m mood, t text, ts timestamptz)',
	q(INSERT INTO typed VALUES (1, ((1, 'x'), 2), 'low', 'some words', '2024-01-01 12:00+00')),
	map { my $policy = $_; my $suffix = $policy =~ s/\W/_/gr;
		map { ("CREATE MATERIALIZED VIEW $_->[0]_$suffix AS SELECT $_->[1] AS v FROM typed", "SELECT matview.set_auto_refresh('$_->[0]_$suffix', '$policy')") }
		  [ of_pair => 'row_to_json(p)::text' ], [ of_mood => 'm::text' ], [ of_words => q(to_tsvector('words', t)::text) ], [ of_day => q(date_trunc('day', ts)::text) ] }
	  ('on_change', '1 second'));
wait_for('one', q(SELECT count(*) = 8 FROM matview.views WHERE view::text LIKE 'of\_%' AND last_mode IS NOT NULL), 'all refreshed once');
sql('one', 'SELECT pg_sleep(1.5)', 'ALTER TYPE inner_pair RENAME ATTRIBUTE b TO bb', q(ALTER TYPE mood RENAME VALUE 'low' TO 'lower'),
	'ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH english_stem', q(ALTER SYSTEM SET timezone = 'Asia/Tokyo'), 'SELECT pg_reload_conf()');
for my $suffix ('on_change', '1_second')
{
	wait_for('one', "SELECT v LIKE '%\"bb\"%' FROM of_pair_$suffix", "an attribute of a type: $suffix");
	wait_for('one', "SELECT v = 'lower' FROM of_mood_$suffix", "a label: $suffix");
	wait_for('one', "SELECT v = '''word'':2' FROM of_words_$suffix", "text search: $suffix");
	wait_for('one', "SELECT v LIKE '%+09' FROM of_day_$suffix", "a setting of the server: $suffix");
}
sql('one', 'ALTER SYSTEM RESET timezone', 'SELECT pg_reload_conf()', 'DROP TABLE typed CASCADE', 'DROP TYPE outer_pair, inner_pair, mood', 'DROP TEXT SEARCH CONFIGURATION words');

# Policies that are there before the views are filled, by something else than REFRESH
sql('postgres', 'CREATE DATABASE filled');
sql('filled', 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (k int)', map { "CREATE MATERIALIZED VIEW by_$_ AS SELECT count(*) FROM base WITH NO DATA" } qw(on_change on_commit interval));
sql('filled', q(INSERT INTO matview.policies VALUES (1, 'public.by_on_change', '1/1', 'on_change', false), (1, 'public.by_on_commit', '1/1', 'on_commit', false), (1, 'public.by_interval', '1/1', '1 second', false)), 'SELECT pg_sleep(1)');
sql('filled', 'SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW by_on_change', q(SELECT * FROM matview.refresh_full('by_on_commit')), q(SELECT * FROM matview.refresh_incremental('by_interval')));
wait_for('filled', q(SELECT count(*) = 1 FROM matview.tracked_views WHERE live <> 'n'), 'one is live');
sql('filled', 'INSERT INTO base VALUES (1)');
is(sql('filled', 'SELECT count FROM by_on_commit'), '1', 'by its writers');
wait_for('filled', "SELECT count = 1 FROM by_$_", "by a worker: $_") for qw(on_change interval);
sql('postgres', 'DROP DATABASE filled');

# A restore in two steps: policies that come to views that are there already
$node->command_ok([ 'pg_dump', '-s', '-f', $node->basedir . '/schema.sql', 'one' ], 'dump of the schema');
for my $how (['-a'], ['-a', '--inserts'])
{
	sql('postgres', 'CREATE DATABASE two_steps');
	$node->command_ok([ 'psql', '-q', '-X', '-d', 'two_steps', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $node->basedir . '/schema.sql' ], 'its restore');
	wait_for('postgres', 'SELECT (' . count_processes('scheduler', 'two_steps') . ') = 1', 'a scheduler');
	sql('two_steps', 'INSERT INTO base VALUES (1, 1, 1)', 'REFRESH MATERIALIZED VIEW changed');
	$node->command_ok([ 'pg_dump', @$how, '-t', 'matview.policies', '-f', $node->basedir . '/data.sql', 'one' ], "dump of the policies @$how");
	$node->command_ok([ 'psql', '-q', '-X', '-d', 'two_steps', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $node->basedir . '/data.sql' ], 'its restore');
	sql('two_steps', 'INSERT INTO base VALUES (2, 1, 1)');
	wait_for('two_steps', 'SELECT s = 2 FROM changed WHERE k = 1', 'they are in force');
	sql('postgres', 'DROP DATABASE two_steps');
}

# The same of a database whose views have policies for writers
sql('postgres', 'CREATE DATABASE for_writers');
sql('for_writers', 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (k int)',
	map { ("CREATE MATERIALIZED VIEW by_$_ AS SELECT k, count(*) FROM base GROUP BY k", "SELECT matview.set_auto_refresh('by_$_', '$_')") } qw(on_commit on_statement));
sql('for_writers', 'INSERT INTO base VALUES (1)');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/writers', 'for_writers' ], 'dump for writers');
sql('postgres', 'CREATE DATABASE two_steps');
$node->command_ok([ 'pg_restore', '-e', $_, '-d', 'two_steps', $node->basedir . '/writers' ], "restore $_") for '-s', '-a';
wait_for('two_steps', q(SELECT count(*) = 2 FROM matview.tracked_views WHERE live <> 'n'), 'they are live');
sql('two_steps', 'INSERT INTO base VALUES (1), (2)');
is(sql('two_steps', "SELECT k, count FROM by_$_ ORDER BY k"), "1|2\n2|1", "$_ after a restore in two steps") for qw(on_commit on_statement);
# and into the database that it was taken from, where the views are made anew
$node->command_ok([ 'pg_restore', '-e', '--clean', '-d', 'for_writers', $node->basedir . '/writers' ], 'restore --clean');
sql('for_writers', 'INSERT INTO base VALUES (1), (2)');
is(sql('for_writers', "SELECT k, count FROM by_$_ ORDER BY k"), "1|2\n2|1", "$_ after a restore in its place") for qw(on_commit on_statement);
sql('postgres', "DROP DATABASE $_") for qw(two_steps for_writers);

# Restart, and a crash with changes that nobody has been told of
$node->restart;
sql('one', 'UPDATE base SET v = v + 1');
check_all('restart');
sql('one', 'UPDATE base SET v = v + 1');
$node->stop('immediate');
$node->start;
check_all('crash');
sql('one', 'BEGIN', 'UPDATE base SET v = v + 7', "PREPARE TRANSACTION 'writer'");
$node->stop('immediate');
$node->start;
wait_for('postgres', 'SELECT (' . count_processes('scheduler', 'one') . ') = 1', 'a scheduler after the crash');
sql('one', q(COMMIT PREPARED 'writer'));
check_all('prepared before the crash');

# Processes that are ended come again
for my $type ('worker', 'scheduler', 'launcher')
{
	sql('one', "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
		WHERE backend_type = 'matview refresh $type'");
	sql('one', 'UPDATE base SET v = v + 1');
	check_all("$type ended");
}

# A database that becomes a template is left alone, also by a scheduler that the
# launcher has not started itself
wait_for('postgres', 'SELECT (' . count_processes('launcher') . ') = 1', 'another launcher');
sql('postgres', 'ALTER DATABASE one IS_TEMPLATE true');
wait_for('postgres', 'SELECT (' . count_processes('scheduler', 'one') . ') = 0', 'no scheduler in a template');
sql('one', 'UPDATE base SET v = v + 1');
sql('postgres', 'ALTER DATABASE one IS_TEMPLATE false');
check_all('no template');
is(sql('postgres', count_processes('scheduler', 'one')), '1', 'one scheduler');

# DROP EXTENSION, and everything of it goes; CREATE, and it comes again
sql('one', 'DROP EXTENSION matview_refresh');
wait_for('postgres', 'SELECT (' . count_processes('scheduler', 'one') . ') = 0', 'no scheduler');
wait_for('postgres', 'SELECT (' . count_processes('worker', 'one') . ') = 0', 'no worker');
is(sql('one', q(SELECT count(*) FROM pg_namespace WHERE nspname = 'matview')), '0', 'nothing is left');
sql('one', 'CREATE EXTENSION matview_refresh');
sql('one', map { "SELECT matview.set_auto_refresh('$_', 'on_change')" } @all);
sql('one', 'UPDATE base SET v = v + 1');
check_all('created again');

# Commands that want a database to themselves
sql('postgres', 'CREATE DATABASE copied TEMPLATE one');
sql('copied', 'UPDATE base SET v = v + 1');
wait_right('copied', $_, "copied: $_") for @all;
sql('postgres', 'ALTER DATABASE copied RENAME TO renamed');
sql('renamed', 'UPDATE base SET v = v + 1');
wait_right('renamed', $_, "renamed: $_") for @all;
wait_for('postgres', 'SELECT (' . count_processes('scheduler', 'renamed') . ') = 1', 'a scheduler there');
sql('postgres', 'DROP DATABASE renamed');
sql('one', 'UPDATE base SET v = v + 1');
check_all('after all that');
is(sql('one', q(SELECT count(*) FROM matview.views WHERE failures > 0)), '0', 'no failures');

# Quiet: nothing is refreshed that has not changed, when all that was told of
# has been looked at
my $attempts = q(SELECT string_agg(last_attempt::text, ' ' ORDER BY view) FROM matview.views);
my ($before, $after);
for (1 .. 20)
{
	$before = sql('one', $attempts);
	sql('one', 'SELECT pg_sleep(1)');
	$after = sql('one', $attempts);
	last if $after eq $before;
}
is($after, $before, 'nothing happens without a change');

$node->stop;
done_testing();
