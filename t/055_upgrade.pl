# pg_upgrade: contents, tracking and policies are there afterwards, and views are
# maintained again, though it has kept none of our triggers, nor the marks that
# logical decoding goes by.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %views = (
	tracked => 'SELECT k, count(*) AS n, sum(v) AS s FROM t GROUP BY k',
	tracked_rows => 'SELECT k, v FROM t',
	at_statement => 'SELECT k, count(*) AS n, max(v) AS hi FROM t GROUP BY k',
	at_commit => 'SELECT t.id, p.k FROM t JOIN p USING (id)',
	paused => 'SELECT v FROM t',
	changed => 'SELECT k, max(v) AS hi FROM t GROUP BY k',
	above => 'SELECT n, count(*) AS times FROM at_statement GROUP BY n');
my %policies = (at_statement => 'on_statement', at_commit => 'on_commit', paused => 'on_commit',
	changed => 'on_change', above => 'on_commit');
my @live = ('above', 'at_commit', 'at_statement');
# a view comes after those that it stands on
my @names = reverse sort keys %views;

sub wrong
{
	my ($node, @views) = @_;

	return join ' ', grep { $node->safe_psql('postgres', "SELECT * FROM matview.check('$_')") ne '0|0' } @views;
}

sub policies
{
	my ($node) = @_;

	return $node->safe_psql('postgres', 'SELECT view, policy, paused FROM matview.views ORDER BY view::text');
}

my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->start;
$old->safe_psql('postgres', join(";\n", 'CREATE EXTENSION matview_refresh',
	'CREATE TABLE t (id int PRIMARY KEY, k int, v int)',
	'CREATE TABLE p (id int, k int) PARTITION BY RANGE (id)',
	'CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)',
	'INSERT INTO t SELECT g, g % 5, g FROM generate_series(1, 100) g',
	'INSERT INTO p SELECT g, g % 3 FROM generate_series(1, 50) g',
	(map { "CREATE MATERIALIZED VIEW $_ AS $views{$_}" } @names),
	(map { "SELECT matview.refresh_incremental('$_')" } 'tracked', 'tracked_rows'),
	(map { "SELECT matview.set_auto_refresh('$_', '$policies{$_}')" } sort { $b cmp $a } keys %policies),
	q(SELECT matview.pause('paused')),
	'INSERT INTO t SELECT g, g % 5, g FROM generate_series(101, 110) g'));
my $before = policies($old);
$old->stop;

# Upgrades the old cluster, copied, to one of its own
sub upgrade
{
	my ($name, @settings) = @_;
	my $new = PostgreSQL::Test::Cluster->new($name);

	$new->init;
	command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir,
		'-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], "$name: pg_upgrade");
	$new->append_conf('postgresql.conf', join("\n", @settings, ''));
	$new->start;
	is(policies($new), $before, "$name: the same policies");
	return $new;
}

sub check
{
	my ($new, $name) = @_;

	$new->safe_psql('postgres', join(";\n", 'DELETE FROM t WHERE id = 3', 'INSERT INTO t VALUES (300, 3, 300)',
		'UPDATE p SET k = k + 1 WHERE id < 9'));
	is(wrong($new, @live), '', "$name: writers maintain views again");
	$new->safe_psql('postgres', "SELECT matview.refresh_incremental('$_')") for 'tracked', 'tracked_rows', 'paused';
	$new->safe_psql('postgres', join(";\n", 'DELETE FROM t WHERE id = 4', q(SELECT matview.resume('paused'))));
	is($new->safe_psql('postgres', "SELECT mode FROM matview.refresh_incremental('$_')"), 'incremental', "$name: $_ by changes")
	  for 'tracked', 'tracked_rows';
	is(wrong($new, @live, 'tracked', 'tracked_rows', 'paused'), '', "$name: all right");
	is($new->safe_psql('postgres', q(SELECT string_agg(relname, ' ') FROM pg_class
		WHERE relnamespace = 'matview'::regnamespace AND relkind = 'r' AND relrewrite = 0 AND pg_stat_get_tuples_inserted(oid) +
			pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid) > 0)), '', "$name: all marked that are written");
	$new->safe_psql('postgres', 'DROP EXTENSION matview_refresh');
	is($new->safe_psql('postgres', q(SELECT count(*) FROM pg_class c FULL JOIN pg_trigger t ON tgname ~ 'matview' AND tgrelid = c.oid
		WHERE relname ~ '^(log|state)_\d' OR tgname ~ 'matview')), '0', "$name: nothing left");
	$new->stop;
	return;
}

# Without a worker it takes the policies to be set again
my $new = upgrade('alone');
$new->safe_psql('postgres', q(SELECT matview.set_auto_refresh(view, policy) FROM matview.views
	WHERE policy IN ('on_statement', 'on_commit') AND NOT paused ORDER BY view));
check($new, 'alone');

# or a command that looks at them
$new = upgrade('command');
$new->safe_psql('postgres', 'ALTER TABLE t ADD COLUMN other int');
check($new, 'command');

# With one, nothing
$new = upgrade('preloaded', q(shared_preload_libraries = 'matview_refresh'), 'max_worker_processes = 16',
	'wal_level = logical');
$new->safe_psql('postgres', 'INSERT INTO t VALUES (200, 1, 200)');
ok($new->poll_query_until('postgres', "SELECT missing = 0 AND extra = 0 FROM matview.check('$_')"), "preloaded: $_ by itself")
  for @live, 'changed';
check($new, 'preloaded');
done_testing();
