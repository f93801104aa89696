# The clock is put forward and back while views are refreshed by themselves:
# each of them comes as soon as it would have, and nothing is said of it.
use strict;
use warnings;

use Config;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('clock');
$node->init;
my $library = $node->basedir . '/shift_clock.so';
my $shift = $node->basedir . '/shift';
plan skip_all => 'no C compiler, or not one for LD_PRELOAD'
  if $Config{osname} ne 'linux' || system('gcc', '-shared', '-fPIC', '-o', $library, 't/shift_clock.c') != 0;

# Put the clock so many seconds from the true time
sub set_clock
{
	my ($seconds) = @_;

	open my $file, '+>', "$shift.new" or die $!;
	print $file pack 'q', $seconds * 1e6;
	close $file;
	# the server has it mapped: write into the same file
	open my $old, -e $shift ? '+<' : '>', $shift or die $!;
	syswrite $old, pack('q', $seconds * 1e6);
	close $old;
	return;
}

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

sub start_psql
{
	my ($in, $out) = @_;

	return IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ], '<', $in, '>', $out);
}

# The clock is put while a refresh waits for a reader; returns how it ended
sub swap_beside
{
	my ($timeout, $seconds, $waits) = @_;
	my ($commands, $count, $mode) = ("BEGIN; SELECT count(*) > 0 FROM changed;\n", '', '');
	my $refresh_commands = "SET matview.swap_timeout = '$timeout'; SELECT mode FROM matview.refresh_concurrent('changed');\n";
	my $reader = start_psql(\$commands, \$count);

	$reader->pump until $count =~ /t/;
	my $refresh = start_psql(\$refresh_commands, \$mode);
	$refresh->pump_nb;
	wait_for(q(SELECT count(*) = 1 FROM matview.progress WHERE phase = 'swapping'), 'waits for a reader');
	set_clock($seconds);
	if ($waits)
	{
		select undef, undef, undef, 2;
		wait_for(q(SELECT count(*) = 1 FROM matview.progress WHERE phase = 'swapping'), 'goes on');
	}
	else
	{
		wait_for(q(SELECT count(*) = 0 FROM matview.progress), 'has ended', 20);
	}
	$commands .= "COMMIT;\n";
	$_->finish for ($reader, $refresh);
	set_clock(0);
	return $mode;
}

# Waits until a query gives a true value, not longer than some true seconds
sub wait_for
{
	my ($query, $name, $seconds) = @_;
	my $end = time + ($seconds // 60);

	while (time <= $end)
	{
		return pass($name) if sql($query) eq 't';
		select undef, undef, undef, 0.05;
	}
	diag(sql('SELECT now(); SELECT view, policy, last_attempt, next_due, failures, last_error FROM matview.views; SELECT * FROM matview.policy_runs'));
	return fail($name);
}

sub terminate
{
	my ($type) = @_;

	return sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'matview refresh $type'");
}

my @all = ('changed', 'recomputed', 'timed', 'timed_recomputed', 'above');

sub check_all
{
	my ($name) = @_;

	sql('UPDATE base SET v = v + 1');
	wait_for("SELECT missing = 0 AND extra = 0 FROM matview.check('$_')", "$name: $_") for @all;
	return;
}

$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
matview.min_interval = 10ms
));
set_clock(0);
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SHIFT_CLOCK} = $shift;
	$node->start;
}
set_clock(7200);
cmp_ok(abs(sql('SELECT extract(epoch FROM clock_timestamp())::bigint') - time - 7200), '<', 60, 'the clock can be put');
set_clock(0);

sql('CREATE EXTENSION matview_refresh', 'CREATE TABLE base (id int PRIMARY KEY, k int, v int)',
	'INSERT INTO base SELECT g, g % 10, g FROM generate_series(1, 100) g',
	'CREATE MATERIALIZED VIEW changed AS SELECT k, count(*) AS n, sum(v) AS s FROM base GROUP BY k',
	'CREATE MATERIALIZED VIEW timed AS SELECT id, v FROM base WHERE k = 3',
	map({ "CREATE MATERIALIZED VIEW $_ AS WITH RECURSIVE r AS (SELECT id, v FROM base WHERE id = 7 UNION ALL SELECT b.id, b.v FROM r JOIN base b ON b.id = r.id + 7) SELECT * FROM r" } 'recomputed', 'timed_recomputed'),
	'CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS n, sum(s) AS s FROM changed',
	map({ "SELECT matview.set_auto_refresh('$_', 'on_change')" } 'changed', 'recomputed', 'above'),
	map({ "SELECT matview.set_auto_refresh('$_', '300 milliseconds')" } 'timed', 'timed_recomputed'));
check_all('before');
my $offset = -s $node->logfile;

my $day = 86400;
for my $seconds (3600, 0, 400 * $day, -400 * $day, 10 * 365 * $day, 3, 2, 1, 0, -3600)
{
	set_clock($seconds);
	check_all("$seconds s");
}
for my $type ('worker', 'scheduler', 'launcher')
{
	for my $seconds (10 * $day, 0)
	{
		terminate($type);
		set_clock($seconds);
		check_all("$seconds s, $type ended");
		set_clock(5 * $day);
		terminate($type);
		check_all("then forward, $type ended");
	}
}
set_clock(0);
check_all('at the end');

# What counts from a time that has become one of the future: the refresh that a
# clean view gets now and then, and the life of an idle worker
set_clock(400 * $day);
check_all('forward once more');
set_clock(0);
sql('SELECT pg_reload_conf()');
wait_for(q(SELECT last_attempt < now() + interval '1 day' FROM matview.views WHERE view = 'timed_recomputed'::regclass), 'back');
set_clock(660);
sql('SELECT pg_reload_conf()');
wait_for(q(SELECT last_attempt < now() + interval '1 day' FROM matview.views WHERE view = 'timed'::regclass), 'a clean view');
sql(map { "SELECT matview.set_auto_refresh('$_', 'off')" } @all);
wait_for(q(SELECT count(*) = 0 FROM matview.progress), 'nothing runs');
set_clock(400 * $day);
sql(q(SELECT matview.set_auto_refresh('changed', 'on_change')));
sql('UPDATE base SET v = v + 1');
wait_for(q(SELECT missing = 0 AND extra = 0 FROM matview.check('changed')), 'a worker');
my $workers = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'matview refresh worker');
for (1 .. 20)
{
	# it must have seen the one before it sees the other
	set_clock(0);
	sql('SELECT pg_reload_conf(), pg_sleep(1)');
	set_clock(400);
	sql('SELECT pg_reload_conf(), pg_sleep(1)');
	last if sql($workers) eq '0';
}
is(sql($workers), '0', 'an idle worker has gone');

# matview.swap_timeout is a time, too
is(swap_beside('1min', 3600, 1), "concurrent\n", 'forward: waits for the reader');
is(swap_beside('3s', -3600, 0), "diff\n", 'back: not for longer than it should');
is(sql('SELECT count(*) FROM matview.views WHERE failures > 0'), '0', 'no failures');
my @lines = grep { !/terminat|exited with exit code|checkpoint|statement:/ } split /\n/, substr(slurp_file($node->logfile), $offset);
cmp_ok(scalar @lines, '<', 10, 'and nothing in the log') or diag(join "\n", @lines[0 .. 20]);
# A cron line is due though the server was down, also the first time
set_clock(0);
sql('CREATE MATERIALIZED VIEW nightly AS SELECT * FROM base', q(SELECT matview.set_auto_refresh('nightly', '0 3 * * *')));
$node->stop;
set_clock($day);
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SHIFT_CLOCK} = $shift;
	$node->start;
}
wait_for(q(SELECT last_attempt IS NOT NULL FROM matview.views WHERE view = 'nightly'::regclass), 'missed while the server was down');
$node->stop;
done_testing();
