# Views that writers maintain, and what happens to servers: a crash in the midst
# of writers and of each phase of maintenance, a standby that is promoted, dump
# and restore, transactions prepared and ended by others, logical replication.
# Nothing is preloaded.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %views = (
	s_groups => 'SELECT k, count(*) AS n, sum(v) AS s, max(v) AS hi FROM base GROUP BY k',
	s_rows => 'SELECT k, v FROM base WHERE v > 0',
	s_outer => 'SELECT o.k, o.w, b.id FROM other o LEFT JOIN base b USING (k)',
	c_groups => 'SELECT o.w, count(*) AS n, min(b.v) AS lo FROM base b JOIN other o USING (k) GROUP BY o.w',
	c_rows => 'SELECT b.id, o.w FROM base b JOIN other o USING (k)',
	c_windows => 'SELECT id, rank() OVER (PARTITION BY k ORDER BY v, id) AS r FROM base',
	c_above => 'SELECT n, count(*) AS times FROM s_groups GROUP BY n',
	c_parts => 'SELECT k, count(*) AS n FROM parted GROUP BY k');
my @names = sort keys %views;

sub policy
{
	my ($view) = @_;

	return $view =~ /^s_/ ? 'on_statement' : 'on_commit';
}

sub setup
{
	return join(";\n", 'CREATE EXTENSION matview_refresh',
		'CREATE TABLE base (id int PRIMARY KEY, k int, v int)',
		'CREATE TABLE other (k int PRIMARY KEY, w text)',
		'CREATE TABLE parted (id int PRIMARY KEY, k int) PARTITION BY RANGE (id)',
		'CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000)',
		'CREATE TABLE parted_2 PARTITION OF parted DEFAULT',
		'INSERT INTO base SELECT g, g % 9, g FROM generate_series(1, 300) g',
		q(INSERT INTO other SELECT g, 'w' || g % 4 FROM generate_series(0, 7) g),
		'INSERT INTO parted SELECT g * 10, g % 5 FROM generate_series(1, 200) g',
		# a view comes after those that it stands on
		(map { "CREATE MATERIALIZED VIEW $_ AS $views{$_}" } reverse @names),
		(map { "SELECT matview.set_auto_refresh('$_', '" . policy($_) . "')" } reverse @names));
}

# By the extension and without it; '' if all is well
sub find_wrong
{
	my ($node, $db) = @_;
	my @queries = map {
		qq(SELECT '$_', c.missing, c.extra,
			(SELECT count(*) FROM (SELECT "r r"::text FROM $_ "r r" EXCEPT ALL SELECT "r r"::text FROM ($views{$_}) "r r") d),
			(SELECT count(*) FROM (SELECT "r r"::text FROM ($views{$_}) "r r" EXCEPT ALL SELECT "r r"::text FROM $_ "r r") d)
		FROM matview.check('$_') c) } @names;
	my @lines = split /\n/, $node->safe_psql($db // 'postgres', join(' UNION ALL ', @queries));

	is(scalar @lines, scalar @names, 'all views looked at');
	return join("\n", grep { !/\|0\|0\|0\|0$/ } @lines);
}

# Writes to all base tables, each time others
my $round = 0;

sub write_all
{
	my ($node, $db) = @_;

	$round++;
	$node->safe_psql($db // 'postgres', qq(
	BEGIN;
	INSERT INTO base SELECT 10000 * $round + g, g % 11, g FROM generate_series(1, 20) g;
	UPDATE other SET w = 'w' || (k + $round) % 5;
	DELETE FROM base WHERE id % 50 = $round;
	COMMIT;
	UPDATE parted SET k = k + 1 WHERE id % 70 = 0;
	UPDATE base SET k = (k + 1) % 9, v = v + 1 WHERE id % 20 = $round;
	DELETE FROM parted WHERE id % 100 = 10 * $round));
	return;
}

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', q(
max_prepared_transactions = 10
deadlock_timeout = 100ms
));
$node->start;
$node->safe_psql('postgres', setup());
is(find_wrong($node), '', 'at first');

# ----------
# Crashes
# ----------

my $dir = $node->basedir;
append_to_file("$dir/write.sql", q(
\set id random(1, 2000)
\set k random(0, 9)
BEGIN;
INSERT INTO base VALUES (:id, :k, :id) ON CONFLICT (id) DO UPDATE SET v = base.v + 1, k = :k;
UPDATE other SET w = 'w' || :k WHERE k = :k;
COMMIT;
DELETE FROM base WHERE id = (:id * 7) % 2000;
UPDATE parted SET k = :k WHERE id = (:id / 10) * 10;
));

for my $crash (1 .. 3)
{
	my ($out, $err) = ('', '');
	my $load = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 60, '--max-tries', 100, '-f', "$dir/write.sql",
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', \$out, '2>', \$err);

	select undef, undef, undef, 0.7 * $crash;
	$node->stop('immediate');
	$load->finish;
	$node->start;
	is(find_wrong($node), '', "crash $crash under load");
	write_all($node);
	is(find_wrong($node), '', "writes after crash $crash");
}

# Leaves a session in the midst of what these statements have begun
sub start_session
{
	my (@statements) = @_;
	my $out = '';
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
			map { ('-c', $_) } @statements ],
		'<', \undef, '>&', \$out);

	$node->poll_query_until('postgres',
		q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event IN ('PgSleep', 'advisory'))))
	  or die 'the session did not get there';
	return $psql;
}

# A view whose rows wait for an advisory lock while they are computed, the last of
# all: a COMMIT stops there with all other views maintained
$node->safe_psql('postgres', q(
CREATE TABLE gates (id int);
CREATE FUNCTION pass(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN PERFORM pg_advisory_xact_lock_shared(id); RETURN id; END $$;
CREATE MATERIALIZED VIEW gate AS SELECT pass(id) FROM gates;
SELECT matview.set_auto_refresh('gate', 'on_commit')));
my @writes = ('BEGIN', 'INSERT INTO base VALUES (-1, 1, 5), (-2, 100, 6)', 'DELETE FROM base WHERE id % 3 = 0',
	q(UPDATE other SET w = 'crash'), 'UPDATE parted SET k = 99 WHERE id % 3 = 0');

for my $phase (
	[ 'statements have written' => @writes, 'SELECT pg_sleep(600)' ],
	[ 'a view is recomputed' => @writes, 'TRUNCATE other', 'SELECT pg_sleep(600)' ],
	[ 'a policy is set' => 'BEGIN', q(SELECT matview.set_auto_refresh('c_rows', 'off')), 'SELECT pg_sleep(600)' ],
	[ 'all views are maintained' => @writes, 'INSERT INTO gates VALUES (1)', 'COMMIT' ])
{
	my ($name, @statements) = @$phase;
	my $holder = $node->background_psql('postgres');

	$holder->query_safe('SELECT pg_advisory_lock(1)');
	my $psql = start_session(@statements);
	# all of it on disk, so that recovery has something to disbelieve
	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->stop('immediate');
	$psql->finish;
	eval { $holder->quit };
	$node->start;
	is(find_wrong($node), '', "crash when $name");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM base WHERE id < 0'), '0', "$name: nothing of it");
	write_all($node);
	is(find_wrong($node), '', "$name: and goes on");
}
$node->safe_psql('postgres', 'DROP TABLE gates CASCADE');

# ----------
# Prepared transactions
# ----------

for my $end ('COMMIT', 'ROLLBACK')
{
	$node->safe_psql('postgres', q(
	BEGIN;
	DELETE FROM base WHERE id = -5;
	INSERT INTO base VALUES (-5, 1, 5);
	UPDATE parted SET k = 42 WHERE id = 100;
	PREPARE TRANSACTION 'live'));
	is(find_wrong($node), '', "prepared, before $end");
	# another group of the same view
	$node->safe_psql('postgres', q(SET lock_timeout = '60s'; BEGIN; INSERT INTO parted VALUES (7, 77); COMMIT))
	  if $end eq 'COMMIT';
	$node->stop('immediate');
	$node->start;
	is(find_wrong($node), '', "prepared, after a crash, before $end");
	$node->safe_psql('postgres', "$end PREPARED 'live'");
	is(find_wrong($node), '', "after $end PREPARED");
	write_all($node);
	is(find_wrong($node), '', "writes after $end PREPARED");
}

# ----------
# A standby
# ----------

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
write_all($node);
$node->wait_for_catchup($standby);
is(find_wrong($standby), '', 'on the standby');
my ($status, undef, $stderr) = $standby->psql('postgres', q(SELECT matview.set_auto_refresh('c_rows', 'off')));
isnt($status, 0, 'no policy is set there');
like($stderr, qr/cannot execute/, 'and it says why');

# ----------
# Dump and restore
# ----------

my $described = $node->safe_psql('postgres', q(SELECT view::regclass, policy FROM matview.views WHERE policy IS NOT NULL ORDER BY view::text));

$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", 'postgres' ], 'dump, plain');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", 'postgres' ], 'dump, custom');
$node->safe_psql('postgres', "CREATE DATABASE $_") for 'from_plain', 'from_custom', 'from_single';
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'from_plain', '-f', "$dir/plain.sql" ], 'restore, plain');
$node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', 'from_custom', "$dir/custom.dump" ], 'restore, two jobs');
$node->command_ok([ 'pg_restore', '-e', '-1', '-d', 'from_single', "$dir/custom.dump" ], 'restore, one transaction');
for my $db ('from_plain', 'from_custom', 'from_single')
{
	is($node->safe_psql($db, q(SELECT view::regclass, policy FROM matview.views WHERE policy IS NOT NULL ORDER BY view::text)),
		$described, "$db: policies");
	is(find_wrong($node, $db), '', "$db: contents");
	write_all($node, $db);
	is(find_wrong($node, $db), '', "$db: maintained again");
}

# ----------
# Logical replication
# ----------

my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->start;
$subscriber->safe_psql('postgres', q(
CREATE EXTENSION matview_refresh;
CREATE TABLE base (id int PRIMARY KEY, k int, v int);
CREATE TABLE other (k int PRIMARY KEY, w text);
CREATE TABLE parted (id int PRIMARY KEY, k int)));
$node->safe_psql('postgres', 'CREATE PUBLICATION pub FOR TABLE base, other, parted WITH (publish_via_partition_root)');
my $connstr = $node->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION sub CONNECTION '$connstr' PUBLICATION pub");
$subscriber->wait_for_subscription_sync($node, 'sub');
$subscriber->safe_psql('postgres', join(";\n", (map { "CREATE MATERIALIZED VIEW $_ AS $views{$_}" } reverse @names)));
($status, undef, $stderr) = $subscriber->psql('postgres', q(SELECT matview.set_auto_refresh('s_rows', 'on_statement')));
isnt($status, 0, 'no statement trigger sees an apply worker');
like($stderr, qr/s_rows.*cannot be maintained on_statement.*subscription.*on_change/s, 'and it says so');
$subscriber->safe_psql('postgres', join(";\n", map { "SELECT matview.set_auto_refresh('$_', 'on_commit')" } reverse @names));
is(find_wrong($subscriber), '', 'subscriber at first');
for my $what (1 .. 2)
{
	write_all($node);
	$node->safe_psql('postgres', 'TRUNCATE other; INSERT INTO other VALUES (1, 1), (2, 1)') if $what == 2;
	$node->wait_for_catchup('sub');
	is(find_wrong($subscriber), '', "what an apply worker writes, $what");
}
$subscriber->safe_psql('postgres', q(INSERT INTO base VALUES (-9, 1, 9)));
is(find_wrong($subscriber), '', 'and a session beside it');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
write_all($subscriber);
is(find_wrong($subscriber), '', 'without the subscription');
$subscriber->stop;

# ----------
# Promotion
# ----------

write_all($node);
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
is(find_wrong($standby), '', 'promoted');
write_all($standby);
is(find_wrong($standby), '', 'writes there');
$standby->stop;

done_testing();
