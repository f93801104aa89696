# Policies outlive dump and restore, and a server: on a standby nobody acts on
# them until it is promoted.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
matview.min_interval = 10ms
));
$primary->start;

my @names = ('s.changed', 's.timed', 's."By Cron"', 's.by_key', 's.paused', 's.unfilled');

sub sql
{
	my ($node, $db, @statements) = @_;

	return $node->safe_psql($db, join(";\n", @statements));
}

sub wait_for
{
	my ($node, $db, $query, $name) = @_;

	ok($node->poll_query_until($db, $query), $name);
	return;
}

sub wait_right
{
	my ($node, $db, $name) = @_;

	wait_for($node, $db, "SELECT missing = 0 AND extra = 0 FROM matview.check('$_')", "$name: $_")
	  for 's.changed', 's.timed', 's.by_key';
	return;
}

sub policies
{
	my ($node, $db) = @_;

	return sql($node, $db, 'SELECT view, policy, paused FROM matview.views ORDER BY view::text COLLATE "C"');
}

$primary->safe_psql('postgres', 'CREATE DATABASE source');
sql($primary, 'source', 'CREATE EXTENSION matview_refresh', 'CREATE SCHEMA s',
	'CREATE TABLE s.base (id int PRIMARY KEY, k int, v text)',
	'INSERT INTO s.base SELECT g, g % 7, g FROM generate_series(1, 100) g',
	'CREATE MATERIALIZED VIEW s.changed AS SELECT k, count(*) AS n FROM s.base GROUP BY k',
	'CREATE MATERIALIZED VIEW s.timed AS SELECT id, v FROM s.base',
	'CREATE MATERIALIZED VIEW s."By Cron" AS SELECT id FROM s.base',
	# pg_dump creates it after the primary key, so behind all data
	'CREATE MATERIALIZED VIEW s.by_key AS SELECT id, v, count(*) AS n FROM s.base GROUP BY id',
	'CREATE MATERIALIZED VIEW s.paused AS SELECT id FROM s.base',
	'CREATE MATERIALIZED VIEW s.unfilled AS SELECT id FROM s.base WITH NO DATA',
	q(SELECT matview.set_auto_refresh('s.changed', 'on_change')),
	q(SELECT matview.set_auto_refresh('s.timed', '100 milliseconds')),
	q(SELECT matview.set_auto_refresh('s."By Cron"', '0 3 * * *')),
	q(SELECT matview.set_auto_refresh('s.by_key', 'on_change')),
	# paused in the same transaction, or a worker may come between
	'BEGIN',
	q(SELECT matview.set_auto_refresh('s.paused', 'on_change')), q(SELECT matview.pause('s.paused')),
	q(SELECT matview.set_auto_refresh('s.unfilled', '1 day')), q(SELECT matview.pause('s.unfilled')),
	'COMMIT');
my $policies = policies($primary, 'source');
is($policies, qq(s."By Cron"|0 3 * * *|f
s.by_key|on_change|f
s.changed|on_change|f
s.paused|on_change|t
s.timed|00:00:00.1|f
s.unfilled|1 day|t), 'policies');
sql($primary, 'source', 'UPDATE s.base SET v = 1');
wait_right($primary, 'source', 'source');

# Dump and restore
my $dir = $primary->basedir;
$primary->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", 'source' ], 'dump, plain');
$primary->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", 'source' ], 'dump, custom');
$primary->command_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts.sql", 'source' ], 'dump, inserts');
unlike(slurp_file("$dir/plain.sql"), qr/policy_runs/, 'runs are not in a dump');
$primary->safe_psql('postgres', "CREATE DATABASE $_") for 'plain', 'custom', 'inserts';
my %restores = (
	plain => [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'plain', '-f', "$dir/plain.sql" ],
	custom => [ 'pg_restore', '-e', '-j', '2', '-d', 'custom', "$dir/custom.dump" ],
	inserts => [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'inserts', '-f', "$dir/inserts.sql" ]);
for my $db ('plain', 'custom', 'inserts')
{
	# OIDs of other things than before
	sql($primary, $db, map { "CREATE TABLE shift_$_ (a int)" } 1 .. 3);
	$primary->command_ok($restores{$db}, "restore, $db");
	is(policies($primary, $db), $policies, "$db: the same policies");
	sql($primary, $db, 'INSERT INTO s.base VALUES (1000, 1, 1000)');
	wait_right($primary, $db, $db);
	is(sql($primary, $db, q(SELECT count(*) FROM s.paused WHERE id = 1000)), '0', "$db: paused");
	is(sql($primary, $db, q(SELECT relispopulated FROM pg_class WHERE oid = 's.unfilled'::regclass)), 'f', "$db: not filled");
	is(sql($primary, $db, q(SELECT count(*) FROM matview.policies p WHERE p.view <> p.view_name::regclass)), '0', "$db: all adopted");
}
$primary->command_ok([ 'pg_restore', '-e', '--clean', '--if-exists', '-d', 'custom', "$dir/custom.dump" ],
	'restore over it');
is(policies($primary, 'custom'), $policies, 'the same policies');
sql($primary, 'custom', 'INSERT INTO s.base VALUES (1001, 1, 1000)');
wait_right($primary, 'custom', 'restored over it');
sql($primary, 'postgres', "DROP DATABASE $_") for 'plain', 'custom', 'inserts';

# A standby: no processes of ours, and they come with the promotion
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
sql($primary, 'source', 'INSERT INTO s.base VALUES (2000, 1, 1)');
wait_right($primary, 'source', 'on the primary');
$primary->wait_for_catchup($standby);
is(sql($standby, 'source', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^matview')), '0', 'no processes on a standby');
is(sql($standby, 'source', q(SELECT n FROM s.by_key WHERE id = 2000)), '1', 'it has what the primary has');
is(policies($standby, 'source'), $policies, 'and the policies');
my ($status, undef, $stderr) = $standby->psql('source', q(SELECT matview.pause('s.changed')));
is($status, 3, 'which cannot be set there');
like($stderr, qr/cannot execute matview\.pause\(\) during recovery/, 'and why');
sql($primary, 'source', q(SELECT matview.pause('s.changed')), 'INSERT INTO s.base VALUES (2001, 1, 1)', q(SELECT matview.resume('s.changed')));
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$standby->promote;
wait_right($standby, 'source', 'promoted');
sql($standby, 'source', 'DELETE FROM s.base WHERE id >= 2000');
wait_right($standby, 'source', 'after a change there');
is(sql($standby, 'source', q(SELECT count(*) FROM matview.views WHERE failures > 0)), '0', 'no failures');
$standby->stop;
done_testing();
