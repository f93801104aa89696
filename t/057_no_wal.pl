# A refresh with nothing to do writes nothing: no WAL, no transaction id.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Nobody but this session writes WAL: no autovacuum, no checkpoint, nothing
# for a standby
my $node = PostgreSQL::Test::Cluster->new('quiet');
$node->init;
$node->append_conf('postgresql.conf', q(
autovacuum = off
checkpoint_timeout = 1d
wal_level = minimal
max_wal_senders = 0
));
$node->start;

my %views = (
	distinct_rows => 'SELECT DISTINCT v FROM base',
	grouped => 'SELECT k, count(*) AS n, avg(id) AS a, max(v) AS m FROM base GROUP BY k',
	joined => 'SELECT b.id, o.w FROM base b LEFT JOIN other o ON o.k = b.k',
	over_grouped => 'SELECT sum(n) AS n FROM grouped',
	plain => 'SELECT id, v FROM base WHERE k < 5',
	top => 'SELECT id, v FROM base ORDER BY v DESC, id LIMIT 3',
	windowed => 'SELECT id, rank() OVER (PARTITION BY k ORDER BY v) AS r FROM base');
my @names = sort keys %views;

$node->safe_psql('postgres', join ";\n", 'CREATE EXTENSION matview_refresh',
	'CREATE TABLE base (id int PRIMARY KEY, k int, v text)', 'CREATE TABLE other (k int PRIMARY KEY, w text)',
	'INSERT INTO base SELECT g, g % 7, g::text FROM generate_series(1, 300) g',
	q(INSERT INTO other SELECT g, 'w' || g FROM generate_series(0, 5) g),
	map { "CREATE MATERIALIZED VIEW $_ AS $views{$_}" } @names);

sub refresh_one
{
	my ($view, $call) = @_;

	return "BEGIN;
SELECT pg_current_wal_insert_lsn() AS start \\gset
SELECT mode FROM matview.$call \\gset
SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS wrote \\gset
COMMIT;
SELECT '$view', :'mode', pg_current_wal_insert_lsn() - :'start', :'wrote';
";
}

# Refreshes all views and says of each: mode, bytes of WAL, and whether there
# was a transaction id
sub refresh_all
{
	my ($call) = @_;
	my @lines = split /\n/, $node->safe_psql('postgres', join '', map { refresh_one($_, $call =~ s/VIEW/'$_'/r) } @names);

	return map { my ($view, @rest) = split /\|/; $view => join '|', @rest } @lines;
}

my @calls = ('refresh_incremental(VIEW)', 'refresh(VIEW)', q(refresh(VIEW, 'incremental', false)));
for my $round ('at first', 'after changes')
{
	my %done = refresh_all($calls[0]);

	is(scalar(grep { !/^none/ && !/\|0\|/ } values %done), scalar @names, "$round: something to do, which is seen");
	# whoever reads a page first may set hint bits, or prune
	for (1 .. 2)
	{
		refresh_all($_) for @calls;
		$node->safe_psql('postgres', "SELECT * FROM matview.check('$_')") for @names;
	}
	for my $call (@calls)
	{
		%done = refresh_all($call);
		is($done{$_}, 'none|0|f', "$round: $call of $_") for @names;
	}
	$node->safe_psql('postgres', join ";\n", "UPDATE base SET v = v || 'x', k = k + 1 WHERE id % 10 = 9",
		'DELETE FROM base WHERE id = 8', q(UPDATE other SET w = w || 'y' WHERE k = 2));
}

$node->stop;
done_testing();
