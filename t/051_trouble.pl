# Background refreshes in trouble: views that fail and recover, settings of
# roles and databases that would break a worker, no room for workers, a base
# table without rights, locks, many views and few workers.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('trouble');
$node->init;
$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
max_prepared_transactions = 10
matview.min_interval = 10ms
matview.max_retry_delay = 1s
log_statement = none
));
$node->start;

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

sub wait_for
{
	my ($query, $name) = @_;

	ok($node->poll_query_until('postgres', $query), $name);
	return;
}

sub wait_right
{
	my ($view, $name) = @_;

	wait_for("SELECT missing = 0 AND extra = 0 FROM matview.check('$view')", $name);
	return;
}

sub count_in_log
{
	my ($pattern, $offset) = @_;
	my @lines = grep { /$pattern/ } split /\n/, substr(slurp_file($node->logfile), $offset // 0);

	return scalar @lines;
}

# Waits for so many lines of the log, and counts them
sub wait_in_log
{
	my ($pattern, $offset, $count) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if count_in_log($pattern, $offset) >= $count;
		select undef, undef, undef, 0.1;
	}
	return count_in_log($pattern, $offset);
}

# Settings that would break a worker, of whom it connects as and of the owner
sql('CREATE ROLE owner NOLOGIN', 'GRANT ALL ON SCHEMA public TO owner', 'CREATE EXTENSION matview_refresh');
my $superuser = sql('SELECT current_user');
my @hostile = ('statement_timeout = 1', 'lock_timeout = 1', 'idle_in_transaction_session_timeout = 1',
	'default_transaction_read_only = on', 'default_transaction_isolation = serializable',
	'default_transaction_deferrable = on', 'search_path = nowhere',
	'session_preload_libraries = nothing_there', 'exit_on_error = on', 'client_min_messages = debug1',
	'row_security = off', 'session_replication_role = replica', "lc_messages = 'C'", 'quote_all_identifiers = on',
	"IntervalStyle = 'iso_8601'", "DateStyle = 'German'", 'role = owner');
push @hostile, 'idle_session_timeout = 1';
push @hostile, 'transaction_timeout = 1' if $node->pg_version >= 17;
push @hostile, "restrict_nonsystem_relation_kind = 'view'"
  if sql("SELECT count(*) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'") eq '1';

sub set_all
{
	my ($whom, $what) = @_;

	# a session that is not under them itself
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c exit_on_error=off -c lock_timeout=0';
	sql(map { "ALTER $whom $_" } $what eq 'SET' ? map { "SET $_" } @hostile : ('RESET ALL'));
	return;
}

sql('SET ROLE owner', 'CREATE TABLE base (id int PRIMARY KEY, k int, v int)',
	'INSERT INTO base SELECT g, g % 5, g FROM generate_series(1, 100) g',
	'CREATE MATERIALIZED VIEW grouped AS SELECT k, count(*) AS n, sum(v) AS s FROM base GROUP BY k',
	'CREATE VIEW plain_view AS SELECT id, v FROM base',
	'CREATE MATERIALIZED VIEW recomputed AS SELECT id, v FROM plain_view ORDER BY v DESC LIMIT 5',
	q(CREATE MATERIALIZED VIEW styled AS SELECT id, (v * interval '1 day 2 hours')::text AS t, quote_ident('a') FROM base),
	q(CREATE MATERIALIZED VIEW failing AS SELECT id, 100 / v AS q FROM base),
	map { "SELECT matview.set_auto_refresh('$_', 'on_change')" } 'grouped', 'recomputed', 'styled');
wait_for('SELECT count(*) = 3 FROM matview.views WHERE last_attempt IS NOT NULL', 'running');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
for my $whom ("ROLE $superuser IN DATABASE postgres", 'ROLE owner', 'DATABASE postgres')
{
	next if $whom =~ /^DATABASE/;
	local $ENV{PGDATABASE} = 'plain';
	$node->safe_psql('plain', join(";\n", map { "ALTER $whom SET $_" } grep { !/session_preload/ || $whom !~ /DATABASE postgres/ } @hostile));
}
# new processes, which are under these settings
$node->restart;
{
	# as another superuser: our own sessions could not do much under them
	$node->safe_psql('plain', 'CREATE ROLE driver SUPERUSER LOGIN');
	local $ENV{PGUSER} = 'driver';
	sql('UPDATE base SET v = v + 1');
	wait_right($_, "hostile settings: $_") for 'grouped', 'recomputed';
	is(sql('SELECT sum(failures) FROM matview.views'), '0', 'without a failure');
	sql("ALTER ROLE $superuser IN DATABASE postgres RESET ALL", 'ALTER ROLE owner RESET ALL');
	# of the database, whoever connects: but for those that keep us out, too
	sql(map { "ALTER DATABASE postgres SET $_" } grep { /isolation|deferrable|search_path|row_security|quote|Style|lc_mess/ } @hostile);
}
$node->restart;
{
	local $ENV{PGOPTIONS} = '-c search_path=public -c row_security=on -c default_transaction_isolation=read\ committed -c default_transaction_deferrable=off';
	sql('UPDATE base SET v = v + 1');
	wait_right($_, "settings of the database: $_") for 'grouped', 'recomputed', 'styled';
	like(sql('SELECT t FROM styled WHERE id = 50'), qr/^P\d+DT/, 'in the style of the database');
	is(sql('SELECT sum(failures) FROM matview.views'), '0', 'without a failure');
	sql('ALTER DATABASE postgres RESET ALL', 'DROP MATERIALIZED VIEW styled');
}

# A view that fails: one line, more and more time between attempts, others go on
$node->restart;
my $offset = -s $node->logfile;
sql(q(SELECT matview.set_auto_refresh('failing', 'on_change')), 'UPDATE base SET v = 0 WHERE id = 7');
wait_for(q(SELECT failures >= 3 FROM matview.views WHERE view = 'failing'::regclass), 'it fails');
like(sql(q(SELECT last_error FROM matview.views WHERE view = 'failing'::regclass)), qr/division by zero/, 'last error');
is(sql(q(SET ROLE pg_monitor; SELECT last_error IS NULL FROM matview.views WHERE view = 'failing'::regclass)), 't',
	'which is for the owner only');
is(sql(q(SELECT next_due > last_attempt FROM matview.views WHERE view = 'failing'::regclass)), 't', 'it will be tried again');
sql('UPDATE base SET v = 50 WHERE id = 8');
wait_right('grouped', 'others go on');
is(count_in_log(qr/automatic refresh of materialized view public\.failing fails: division by zero \(SQLSTATE 22012\)/, $offset), 1,
	'one line in the log');
# in another way
sql('REVOKE SELECT ON base FROM owner', 'ALTER TABLE base OWNER TO CURRENT_USER', 'REVOKE ALL ON base FROM owner');
wait_for(q(SELECT last_error ~ 'permission denied' FROM matview.views WHERE view = 'failing'::regclass), 'it fails in another way');
is(count_in_log(qr/public\.failing fails: .*SQLSTATE 42501/, $offset), 1, 'another line');
# without a policy that is no matter, nor for the next one
my $failures = sql(q(SELECT failures FROM matview.views WHERE view = 'failing'::regclass));
sql(q(SELECT matview.set_auto_refresh('failing', 'off')));
is(sql(q(SELECT failures, last_error, next_due FROM matview.views WHERE view = 'failing'::regclass)), '||', 'no policy, no failures');
sql(q(SELECT matview.set_auto_refresh('failing', 'on_change')));
wait_for(qq(SELECT failures BETWEEN 1 AND $failures - 1 FROM matview.views WHERE view = 'failing'::regclass), 'they are counted anew');
sql('GRANT ALL ON base TO owner', 'UPDATE base SET v = 1 WHERE v = 0');
wait_for(q(SELECT failures = 0 AND last_error IS NULL FROM matview.views WHERE view = 'failing'::regclass), 'it recovers by itself');
wait_right('failing', 'and is right');
wait_for(q(SELECT count(*) = 3 FROM matview.views WHERE failures = 0), 'all have recovered');
is(count_in_log(qr/public\.failing works again after \d+ failures/, $offset), 1, 'and a line says so');

# Settings that are changed hold for what is waiting already
$node->append_conf('postgresql.conf', 'matview.min_interval = 1h');
$node->reload;
# until the scheduler has seen it
my $waits = 'f';
for (1 .. 100)
{
	sql('UPDATE base SET v = v + 2', 'SELECT pg_sleep(0.5)');
	last if ($waits = sql(q(SELECT missing > 0 FROM matview.check('grouped')))) eq 't';
}
is($waits, 't', 'a view that waits');
$node->append_conf('postgresql.conf', 'matview.min_interval = 10ms');
$node->reload;
wait_right($_, "min_interval is short again: $_") for 'grouped', 'recomputed', 'failing';

# A lock that somebody holds is no failure to speak of
$offset = -s $node->logfile;
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'BEGIN',
		'-c', q(COMMENT ON MATERIALIZED VIEW grouped IS 'locked'), '-c', 'SELECT pg_sleep(3)', '-c', 'COMMIT' ], '<', \$in, '>', \$out, '2>', \$err);
wait_for(q(SELECT count(*) = 1 FROM pg_locks WHERE relation = 'grouped'::regclass AND mode = 'ShareUpdateExclusiveLock' AND granted), 'locked');
sql('UPDATE base SET v = v + 3');
wait_right($_, "beside a lock: $_") for 'recomputed', 'failing';
$session->finish;
wait_right('grouped', 'when the lock has gone');
is(count_in_log(qr/automatic refresh/, $offset), 0, 'no line in the log');
# ... nor is one that keeps out readers, too, and does not end the worker
$session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'BEGIN',
		'-c', 'REFRESH MATERIALIZED VIEW grouped', '-c', 'SELECT pg_sleep(4)', '-c', 'COMMIT' ], '<', \$in, '>', \$out, '2>', \$err);
wait_for(q(SELECT count(*) = 1 FROM pg_locks WHERE relation = 'grouped'::regclass AND mode = 'AccessExclusiveLock' AND granted), 'locked alone');
sql('UPDATE base SET v = v + 3');
wait_right('recomputed', 'beside that');
$session->finish;
wait_right('grouped', 'when that has gone');
is(count_in_log(qr/automatic refresh|exited with exit code 1/, $offset), 0, 'no line in the log, no worker ended');

# A cancellation that finds nothing to cancel
wait_for(q(SELECT count(*) = 0 FROM matview.progress), 'nothing runs');
my @pids = split /\n/, sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ '^matview'));
sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type ~ '^matview'), 'SELECT pg_sleep(0.5)');
is(sql('SELECT count(*) FROM pg_stat_activity WHERE pid IN (' . join(', ', @pids) . ')'), scalar @pids,
	'idle processes are not ended by a cancellation');

# A worker that is ended in the midst of a refresh, which goes on as long as
# there is a row in a table
sql('CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN WHILE EXISTS (SELECT FROM public.slowly) LOOP PERFORM pg_sleep(0.05); END LOOP; RETURN $1; END $$',
	'CREATE TABLE slowly (a int)', 'GRANT ALL ON slowly TO owner',
	'CREATE MATERIALIZED VIEW slow AS SELECT slow(id) AS id FROM base WHERE id < 4', 'INSERT INTO slowly VALUES (1)',
	q(SELECT matview.set_auto_refresh('slow', 'on_change')));
wait_for(q(SELECT count(*) = 1 FROM matview.progress WHERE view = 'slow'::regclass AND phase <> 'locking'), 'progress');
my $progress = sql(q(SELECT phase, rows_done <= rows_expected, rows_expected > 0, pid = (SELECT pid FROM pg_stat_activity a WHERE a.pid = p.pid AND backend_type = 'matview refresh worker') FROM matview.progress p));
like($progress, qr/^(rebuilding|comparing|swapping)\|t\|/, 'of a refresh');
sql(q(SELECT pg_terminate_backend(pid, 30000) FROM matview.progress));
sql('DELETE FROM slowly');
wait_for(q(SELECT count(*) = 0 FROM matview.progress), 'nothing runs');
sql('UPDATE base SET v = v + 1');
wait_right($_, "a worker ended: $_") for 'slow', 'grouped', 'recomputed', 'failing';

# A view is paused while it is refreshed: that comes to nothing, and is made up for
sql('INSERT INTO slowly VALUES (1)', 'INSERT INTO base VALUES (-1, 1, 1)');
wait_for(q(SELECT count(*) = 1 FROM matview.progress WHERE view = 'slow'::regclass AND phase <> 'locking'), 'it runs again');
$failures = sql(q(SELECT failures FROM matview.views WHERE view = 'slow'::regclass));
sql(q(SELECT matview.pause('slow')), 'DELETE FROM slowly');
wait_for(q(SELECT count(*) = 0 FROM matview.progress), 'and no more');
is(sql('SELECT count(*) FROM slow WHERE id = -1'), '0', 'paused while it was refreshed');
is(sql(q(SELECT failures FROM matview.views WHERE view = 'slow'::regclass)), $failures, 'which is no failure');
sql(q(SELECT matview.resume('slow')));
wait_right('slow', 'resumed');
sql('DELETE FROM base WHERE id = -1', q(SELECT matview.set_auto_refresh('slow', 'off')));

# Policies that end while their views are refreshed: the workers are there for others
sql('INSERT INTO slowly VALUES (1)',
	map({ "CREATE MATERIALIZED VIEW ended_$_ AS SELECT slow(id) AS id FROM base WHERE id < 4 WITH NO DATA" } 1 .. 2),
	map { "SELECT matview.set_auto_refresh('ended_$_', 'on_change')" } 1 .. 2);
wait_for('SELECT count(*) = 2 FROM matview.progress', 'both workers are busy');
sql((map { "SELECT matview.set_auto_refresh('ended_$_', 'off')" } 1 .. 2), 'DELETE FROM slowly', 'UPDATE base SET v = v + 1');
wait_right($_, "after that: $_") for 'grouped', 'failing';
sql('DROP MATERIALIZED VIEW ended_1, ended_2');

# DROP of a view while it is refreshed, and of what it reads
sql('CREATE MATERIALIZED VIEW gone AS SELECT * FROM base', q(SELECT matview.set_auto_refresh('gone', '100 milliseconds')));
wait_for(q(SELECT last_attempt IS NOT NULL FROM matview.views WHERE view = to_regclass('gone')), 'refreshed');
sql('UPDATE base SET v = v + 1', 'DROP MATERIALIZED VIEW gone');
is(sql(q(SELECT (SELECT count(*) FROM matview.policies WHERE view_name ~ 'gone') + (SELECT count(*) FROM matview.policy_runs r WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = r.view)))),
	'0', 'nothing of a dropped view');

# No room for workers: it waits, says so once, and goes on
# (the server's own launcher of logical replication takes one place, and ours,
# and the scheduler)
$node->append_conf('postgresql.conf', q(max_worker_processes = 4));
$node->restart;
sql('UPDATE base SET v = v + 1');
wait_right($_, "one worker: $_") for 'grouped', 'recomputed', 'failing';
$node->append_conf('postgresql.conf', q(max_worker_processes = 3));
$offset = -s $node->logfile;
$node->restart;
sql('UPDATE base SET v = v + 1');
is(wait_in_log(qr/no background worker slot is free for a refresh worker/, $offset, 1), 1, 'no worker: one line');
is(sql(q(SELECT missing > 0 FROM matview.check('grouped'))), 't', 'it waits');
$node->append_conf('postgresql.conf', q(max_worker_processes = 16));
$node->restart;
wait_right($_, "room again: $_") for 'grouped', 'recomputed', 'failing';

# No room for the scheduler of another database: one of two workers makes it
$node->append_conf('postgresql.conf', q(max_worker_processes = 5));
$node->restart;
sql((map { ("CREATE MATERIALIZED VIEW often_$_ AS SELECT id, random() AS r FROM base WHERE id < 4",
			"SELECT matview.set_auto_refresh('often_$_', '100 milliseconds')") } 1 .. 2));
wait_for(q(SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'matview refresh worker'), 'two workers');
sql('CREATE DATABASE second');
$node->safe_psql('second', join(";\n", 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (v int)',
		'CREATE MATERIALIZED VIEW late AS SELECT count(*) AS n FROM base', q(SELECT matview.set_auto_refresh('late', 'on_change')),
		'INSERT INTO base VALUES (1)'));
ok($node->poll_query_until('second', 'SELECT n = 1 FROM late'), 'a scheduler there, and a worker');
# There is one process for the workers of both: they take turns, and the log is not full of it
$offset = -s $node->logfile;
for my $n (2 .. 5)
{
	my $turns = sql(q(SELECT last_attempt FROM matview.views WHERE view = 'often_1'::regclass));

	$node->safe_psql('second', 'INSERT INTO base VALUES (1)');
	ok($node->poll_query_until('second', "SELECT n = $n FROM late"), "its turn: $n");
	wait_for("SELECT last_attempt > '$turns' FROM matview.views WHERE view = 'often_1'::regclass", 'and the turn of the other one');
}
cmp_ok(count_in_log(qr/no background worker slot is free for a refresh worker/, $offset), '<=', 4, 'a line of each, or two');
sql('DROP MATERIALIZED VIEW often_1, often_2', 'DROP DATABASE second');
$node->append_conf('postgresql.conf', q(max_worker_processes = 16));
$node->restart;

# No more processes than databases: a worker is more than one scheduler more
$node->append_conf('postgresql.conf', q(max_worker_processes = 4));
my @few = map { "few_$_" } 1 .. 3;
for my $db (@few)
{
	sql("CREATE DATABASE $db");
	$node->safe_psql($db, join(";\n", 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (v int)',
			'CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM base', q(SELECT matview.set_auto_refresh('counted', 'on_change'))));
}
$node->restart;
$node->safe_psql($_, 'INSERT INTO base VALUES (1)') for @few;
sql('UPDATE base SET v = v + 1');
my $deadline = time + 60;
my $served;
until ($served || time > $deadline)
{
	($served) = grep { $node->safe_psql($_, 'SELECT n FROM counted') eq '1' } @few;
	$served ||= sql(q(SELECT missing = 0 AND extra = 0 FROM matview.check('grouped'))) eq 't';
	select undef, undef, undef, 0.2;
}
ok($served, 'one of them is served');
# There is room for one scheduler beside the worker: the others are known to be down
my @up = map { $node->safe_psql($_, q(SELECT value FROM matview.metrics WHERE name = 'matview_scheduler_up')) } @few;
is(scalar(grep { /^[01]$/ } @up), scalar(@few), 'up or not') or diag("@up");
cmp_ok(scalar(grep { $_ eq '0' } @up), '>=', 1, 'not all of them are served') or diag("@up");
$node->append_conf('postgresql.conf', q(max_worker_processes = 16));
$node->restart;
ok($node->poll_query_until($_, 'SELECT n = 1 FROM counted'), "room again: $_") for @few;
sql("DROP DATABASE $_") for @few;

# Workers that cannot connect: they are tried again, but not all the time
sql('CREATE DATABASE broken');
$node->safe_psql('broken', join(";\n", 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (v float)', 'INSERT INTO base VALUES (1)',
		'CREATE MATERIALIZED VIEW volatile AS SELECT v + random() AS v FROM base', q(SELECT matview.set_auto_refresh('volatile', '100 milliseconds'))));
ok($node->poll_query_until('broken', 'SELECT count(*) = 1 FROM matview.views WHERE last_attempt IS NOT NULL'), 'a worker there');
my $file = $node->data_dir . '/base/' . sql(q(SELECT oid FROM pg_database WHERE datname = 'broken')) . '/PG_VERSION';
rename $file, "$file.away" or die $!;
$offset = -s $node->logfile;
my $began = time;
sql(q(SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = 'broken' AND backend_type = 'matview refresh worker'));
my $attempts = wait_in_log(qr/FATAL: .*not a valid data directory/, $offset, 2);
sql('SELECT pg_sleep(2)');
$attempts = count_in_log(qr/FATAL: .*not a valid data directory/, $offset);
cmp_ok($attempts, '>=', 2, 'it is tried again');
# after a second, two, four ...
cmp_ok(2**($attempts - 1) - 1, '<=', time - $began + 1, 'not too often') or diag("$attempts attempts");
rename "$file.away", $file or die $!;
ok($node->poll_query_until('broken', q(SELECT last_attempt > now() - interval '1 second' FROM matview.views)), 'it works again');
sql('DROP DATABASE broken');

# Many views and two workers: each gets its turn; dependent ones come last
sql((map { "CREATE MATERIALIZED VIEW many_$_ AS SELECT k, sum(v) + $_ AS s FROM base GROUP BY k" } 1 .. 40),
	'CREATE MATERIALIZED VIEW chain_1 AS SELECT sum(s) AS s FROM many_1',
	'CREATE MATERIALIZED VIEW chain_2 AS SELECT s + 1 AS s FROM chain_1');
sql((map { "SELECT matview.set_auto_refresh('many_$_', '" . ($_ % 2 ? 'on_change' : '200 milliseconds') . "')" } 1 .. 40),
	map { "SELECT matview.set_auto_refresh('$_', 'on_change')" } 'chain_1', 'chain_2');
wait_for(q(SELECT count(*) = 42 FROM matview.views WHERE view::text ~ '^(many|chain)' AND last_attempt IS NOT NULL AND failures = 0), 'each has had its turn');
sql('UPDATE base SET v = v * 2');
wait_for(q(SELECT bool_and(missing = 0 AND extra = 0) FROM matview.views v, matview.check(v.view) WHERE v.view::text ~ '^(many|chain)'), 'all are right');
is(sql('SELECT s FROM chain_2'), sql('SELECT sum(v) + 5 + 1 FROM base'), 'the last of a chain');
is(sql(q(SELECT count(*) <= 2 FROM pg_stat_activity WHERE backend_type = 'matview refresh worker')), 't', 'by two workers');
ok(sql(q(SELECT value > 0 FROM matview.metrics WHERE name = 'matview_refreshes_total')) eq 't', 'counted');

# Fewer workers than there are: the others get nothing to do
sql('ALTER SYSTEM SET matview.max_workers = 4', 'SELECT pg_reload_conf()',
	(map { "CREATE MATERIALIZED VIEW slow_$_ AS SELECT $_ AS i, pg_sleep(0.2)::text AS p" } 1 .. 6),
	map { "SELECT matview.set_auto_refresh('slow_$_', '100 ms')" } 1 .. 6);
wait_for('SELECT count(*) >= 3 FROM matview.progress', 'several at a time');
sql('ALTER SYSTEM SET matview.max_workers = 1', 'SELECT pg_reload_conf()');
wait_for('SELECT count(*) <= 1 FROM matview.progress', 'fewer');
select undef, undef, undef, 0.5;
is(join(' ', sort { $b <=> $a } map { select undef, undef, undef, 0.05; sql('SELECT count(*) FROM matview.progress') } 1 .. 10) =~ /^1( [01])*$/ ? 'one' : 'more',
	'one', 'one at a time');
sql('DROP MATERIALIZED VIEW ' . join(', ', map { "slow_$_" } 1 .. 6), 'ALTER SYSTEM RESET matview.max_workers', 'SELECT pg_reload_conf()');

# A worker that has nothing to do makes way for another database, though that has one
$node->safe_psql('postgres', 'CREATE DATABASE idle');
$node->safe_psql('idle', join(";\n", 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (id int)',
		'CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM base', q(SELECT matview.set_auto_refresh('counted', 'on_change'))));
sql('CREATE TABLE lengthy_base (i int)', 'CREATE TABLE brisk_base (i int)', 'ALTER SYSTEM SET matview.max_workers = 2', 'SELECT pg_reload_conf()',
	q(CREATE MATERIALIZED VIEW lengthy AS SELECT g, CASE WHEN g % 65536 = 0 THEN pg_sleep(60)::text END AS slept
	    FROM lengthy_base, generate_series(i, i + 199999) g),
	'CREATE MATERIALIZED VIEW brisk AS SELECT count(*) FROM brisk_base', map { "SELECT matview.set_auto_refresh('$_', 'on_change')" } 'lengthy', 'brisk');
wait_for(q(SELECT count(*) = 2 FROM matview.views WHERE view::text IN ('lengthy', 'brisk') AND last_attempt IS NOT NULL), 'both have had a turn');
$node->safe_psql('idle', 'INSERT INTO base VALUES (1)');
ok($node->poll_query_until('idle', 'SELECT count = 1 FROM counted'), 'a worker in another database');
sql('INSERT INTO lengthy_base VALUES (1)');
wait_for(q(SELECT count(*) = 1 FROM matview.progress WHERE view = 'lengthy'::regclass AND rows_done >= 65535), 'a long refresh');
sql('INSERT INTO brisk_base VALUES (1)');
wait_for('SELECT count = 1 FROM brisk', 'another view meanwhile');
is(sql(q(SELECT count(*) FROM matview.progress WHERE view = 'lengthy'::regclass)), '1', 'the long one still runs');
my $title = slurp_file('/proc/' . sql(q(SELECT pid FROM matview.progress WHERE view = 'lengthy'::regclass)) . '/cmdline');
like($title, qr/refresh of public\.lengthy: comparing, \d+ of \d+ rows/, 'how far it is, in the title of the process');
# its process is ended: that is a failure
sql(q(SELECT pg_terminate_backend(pid) FROM matview.progress WHERE view = 'lengthy'::regclass));
wait_for(q(SELECT failures > 0 AND last_error ~ 'has ended' AND last_attempt IS NOT NULL AND next_due IS NOT NULL FROM matview.views WHERE view = 'lengthy'::regclass), 'told');
sql('TRUNCATE lengthy_base', q(SELECT matview.set_auto_refresh('lengthy', 'on_change')));
wait_for(q(SELECT failures = 0 AND last_error IS NULL FROM matview.views WHERE view = 'lengthy'::regclass), 'until it has been refreshed');
sql('DROP MATERIALIZED VIEW lengthy, brisk', 'ALTER SYSTEM RESET matview.max_workers', 'SELECT pg_reload_conf()');
$node->safe_psql('postgres', 'DROP DATABASE idle');

# A refresh that runs is in nobody's way: not of DROP DATABASE, nor DROP EXTENSION
$node->safe_psql('postgres', 'CREATE DATABASE busy');
$node->safe_psql('busy', join(";\n", 'CREATE EXTENSION matview_refresh', 'CREATE TABLE base (id int)',
		'CREATE MATERIALIZED VIEW long AS SELECT id, pg_sleep(600)::text AS p FROM base', 'INSERT INTO base VALUES (1)',
		q(SELECT matview.set_auto_refresh('long', 'on_change'))));
ok($node->poll_query_until('busy', 'SELECT count(*) = 1 FROM matview.progress'), 'a long refresh');
$node->safe_psql('busy', 'DROP EXTENSION matview_refresh');
is($node->safe_psql('busy', q(SELECT count(*) FROM pg_extension WHERE extname = 'matview_refresh')), '0', 'DROP EXTENSION');
$node->safe_psql('busy', join(";\n", 'CREATE EXTENSION matview_refresh', q(SELECT matview.set_auto_refresh('long', 'on_change'))));
ok($node->poll_query_until('busy', 'SELECT count(*) = 1 FROM matview.progress'), 'a long refresh again');
$node->safe_psql('postgres', 'DROP DATABASE busy');
is(sql(q(SELECT count(*) FROM pg_database WHERE datname = 'busy')), '0', 'DROP DATABASE');
sql('UPDATE base SET v = v + 1');
wait_right($_, "after that: $_") for 'grouped', 'chain_2';

# The server crashes again and again: then it has some time without refreshes
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
$offset = -s $node->logfile;
for my $crash (1 .. 2)
{
	wait_for(q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'matview refresh scheduler'), 'a scheduler');
	kill 9, sql(q(SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'matview refresh scheduler'));
	wait_in_log(qr/database system is ready/, $offset, $crash);
}
is(wait_in_log(qr/automatic refreshes begin in 4 seconds, for the server has crashed 2 times/, $offset, 1), 1, 'one line in the log');
sql('UPDATE base SET v = v + 1');
wait_for(q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'matview refresh scheduler'), 'a scheduler again');
my ($said) = substr(slurp_file($node->logfile), $offset) =~ /^(\S+ \S+ \S+) .*automatic refreshes begin in 4 seconds/m;
is(sql("SELECT min(backend_start) > timestamptz '$said' + interval '3.9 seconds' FROM pg_stat_activity WHERE backend_type = 'matview refresh scheduler'"),
	't', 'nothing for some time');
wait_right($_, "then: $_") for 'grouped', 'chain_2';

$node->stop;
done_testing();
