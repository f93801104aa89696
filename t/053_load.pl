# Writers, and views that are refreshed by themselves meanwhile: in two
# databases with one worker, with a crash, refreshes by hand and REFRESH.  At
# the end every view is what its query says.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('load');
$node->init;
$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
max_prepared_transactions = 20
matview.min_interval = 5ms
matview.max_workers = 1
matview.max_retry_delay = 1s
log_statement = none
));
$node->start;

my @dbs = ('first', 'second');
my @setup = ('CREATE EXTENSION matview_refresh',
	'CREATE TABLE base (id int PRIMARY KEY, k int, v int)',
	'CREATE TABLE other (k int PRIMARY KEY, w int)',
	'CREATE TABLE parted (id int, k int) PARTITION BY LIST (k)',
	'CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (0, 1, 2)',
	'CREATE TABLE parted_2 PARTITION OF parted DEFAULT',
	'INSERT INTO base SELECT g, g % 10, g FROM generate_series(1, 500) g',
	'INSERT INTO other SELECT g, g FROM generate_series(0, 9) g',
	'INSERT INTO parted SELECT g, g % 10 FROM generate_series(1, 100) g',
	'CREATE MATERIALIZED VIEW grouped AS SELECT k, count(*) AS n, sum(v) AS s, max(v) AS m FROM base GROUP BY k',
	'CREATE MATERIALIZED VIEW joined AS SELECT b.id, b.v, o.w FROM base b JOIN other o USING (k)',
	'CREATE MATERIALIZED VIEW by_part AS SELECT k, count(*) AS n FROM parted GROUP BY k',
	'CREATE MATERIALIZED VIEW recomputed AS SELECT id, k FROM base ORDER BY v DESC, id LIMIT 20',
	'CREATE MATERIALIZED VIEW parts AS SELECT p.id, p.k FROM parted p WHERE p.id IN (SELECT id FROM base ORDER BY id LIMIT 50)',
	'CREATE MATERIALIZED VIEW timed AS SELECT k, avg(v) AS a FROM base GROUP BY k',
	'CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS n, sum(s) AS s FROM grouped',
	'CREATE UNIQUE INDEX ON joined (id)', 'CREATE UNIQUE INDEX ON grouped (k)',
	(map { "SELECT matview.set_auto_refresh('$_', 'on_change')" } 'grouped', 'joined', 'by_part', 'recomputed', 'parts', 'above'),
	q(SELECT matview.set_auto_refresh('timed', '300 milliseconds')));
for my $db (@dbs)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, join(";\n", @setup));
}

my $dir = $node->basedir;
my %scripts = (
	write => q(
\set id random(1, 600)
\set k random(0, 9)
INSERT INTO base VALUES (:id, :k, :id) ON CONFLICT (id) DO UPDATE SET v = base.v + 1, k = :k;
UPDATE other SET w = w + 1 WHERE k = :k;
\set id random(1, 600)
DELETE FROM base WHERE id = :id;
),
	transaction => q(
\set id random(1, 500)
\set k random(0, 9)
BEGIN;
UPDATE base SET v = v + 10 WHERE k = :k AND id % 7 = 0;
SAVEPOINT s;
INSERT INTO parted VALUES (:id, :k);
ROLLBACK TO s;
INSERT INTO parted VALUES (:id, :k + 5);
DELETE FROM parted_1 WHERE id = :id;
COMMIT;
),
	prepared => q(
\set id random(1, 500)
BEGIN;
UPDATE base SET v = v - 1 WHERE id = :id;
UPDATE parted SET k = k + 1 WHERE id = :id;
PREPARE TRANSACTION 'p:client_id';
COMMIT PREPARED 'p:client_id';
),
	by_hand => q(
SELECT matview.refresh('grouped'), matview.refresh_incremental('joined');
REFRESH MATERIALIZED VIEW timed;
\sleep 50 ms
));
for my $name (keys %scripts)
{
	my $text = $scripts{$name};

	# the names of prepared transactions are those of all databases
	append_to_file("$dir/$name.$_.sql", $text =~ s/'p:client_id'/'p_${_}_:client_id'/gr =~ s/'p_(\w+)_:client_id'/:name/gr) for @dbs;
}

sub start_load
{
	my ($db, $seconds) = @_;
	my ($out, $err) = ('', '');

	return map {
		my $name = $_;
		IPC::Run::start([ 'pgbench', '-n', '-T', $seconds, '-c', ($name eq 'by_hand' || $name eq 'prepared') ? 1 : 2,
				'-D', "name='p_${db}'", '-f', "$dir/$name.$db.sql", '-h', $node->host, '-p', $node->port, $db ],
			'<', \undef, '>', '/dev/null', '2>', '/dev/null')
	} sort keys %scripts;
}

# Ends what a crash has left prepared
sub finish_prepared
{
	for my $line (split /\n/, $node->safe_psql('postgres', 'SELECT database, gid FROM pg_prepared_xacts'))
	{
		my ($db, $gid) = split /\|/, $line;

		$node->safe_psql($db, "COMMIT PREPARED '$gid'");
	}
	return;
}

sub check_all
{
	my ($name) = @_;

	for my $db (@dbs)
	{
		ok( $node->poll_query_until($db, q(SELECT count(*) = 7 AND bool_and(c.missing = 0 AND c.extra = 0)
			FROM matview.views v, matview.check(v.view) c)), "$name: $db");
		my $wrong = $node->safe_psql($db, join(' UNION ALL ', map {
			my $query = $node->safe_psql($db, "SELECT rtrim(pg_get_viewdef('$_'), ';')");
			"SELECT '$_' WHERE EXISTS ((SELECT x::text FROM $_ x EXCEPT ALL SELECT x::text FROM ($query) x) UNION ALL (SELECT x::text FROM ($query) x EXCEPT ALL SELECT x::text FROM $_ x))"
		} 'grouped', 'joined', 'by_part', 'recomputed', 'parts', 'timed', 'above'));
		is($wrong, '', "$name: contents, $db");
	}
	return;
}

check_all('at first');
for my $round (1 .. 2)
{
	my @load = map { start_load($_, $round == 2 ? 2 : 60) } @dbs;

	select undef, undef, undef, 1.5;
	if ($round < 2)
	{
		$node->stop('immediate');
		$_->finish for @load;
		$node->start;
		finish_prepared();
		check_all("crash");
	}
	else
	{
		$_->finish for @load;
		finish_prepared();
		check_all('load');
	}
}
for my $db (@dbs)
{
	# what somebody has put right by hand is tried again all the same
	ok($node->poll_query_until($db, 'SELECT count(*) = 0 FROM matview.views WHERE failures > 0'), "no failures, $db");
	cmp_ok($node->safe_psql($db, q(SELECT value FROM matview.metrics WHERE name = 'matview_refreshes_total')), '>', 5, "refreshes, $db");
}
$node->stop;
done_testing();
