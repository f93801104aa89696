# A streaming standby: it refuses to refresh, answers what only reads, and when
# promoted goes on where the primary was.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;

my %views = (
	plain => 'SELECT k, v FROM base',
	grouped => 'SELECT k, count(*) AS n, sum(id) AS s FROM base GROUP BY k',
	joined => 'SELECT b.id, b.v, o.w FROM base b JOIN other o ON o.k = b.k',
	recomputed => 'SELECT id FROM base TABLESAMPLE SYSTEM (100) WHERE EXISTS (SELECT FROM other o WHERE o.k = base.k)');
my @names = sort keys %views;

sub refresh_all
{
	my ($node) = @_;

	return $node->safe_psql('postgres', 'SELECT ' . join(" || ' ' || ",
		map { "(matview.refresh_incremental('$_')).mode" } @names));
}

# By the extension and without it; '' if all is well
sub find_wrong
{
	my ($node) = @_;
	my @queries = map {
		"SELECT '$_', c.missing, c.extra,
			(SELECT count(*) FROM (TABLE $_ EXCEPT ALL ($views{$_})) d),
			(SELECT count(*) FROM (($views{$_}) EXCEPT ALL TABLE $_) d)
		FROM matview.check('$_') c" } @names;
	my @lines = split /\n/, $node->safe_psql('postgres', join(' UNION ALL ', @queries));

	is(scalar @lines, scalar @names, 'all views looked at');
	return join("\n", grep { !/\|0\|0\|0\|0$/ } @lines);
}

$primary->safe_psql('postgres', q(
CREATE EXTENSION matview_refresh;
CREATE TABLE base (id int PRIMARY KEY, k int, v text);
CREATE TABLE other (k int PRIMARY KEY, w text);
INSERT INTO base SELECT g, g % 7, g::text FROM generate_series(1, 300) g;
INSERT INTO other SELECT g, 'w' || g FROM generate_series(0, 5) g;
) . join('', map { "CREATE MATERIALIZED VIEW $_ AS $views{$_};\n" } @names) . q(
CREATE MATERIALIZED VIEW untracked AS SELECT id FROM base;
SELECT matview.set_auto_refresh('plain', '1 day');
));
refresh_all($primary);

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my @writes = (
	'INSERT INTO base SELECT g, g % 9, repeat(g::text, 4) FROM generate_series(301, 350) g',
	"UPDATE base SET v = v || 'x', k = (k + 1) % 8 WHERE id % 10 = 0",
	'DELETE FROM base WHERE id < 20 OR k = 3',
	"UPDATE other SET w = w || 'y' WHERE k IN (1, 2)");

sub replay
{
	$primary->wait_for_catchup($standby);
	return;
}

# What is refreshed on the primary arrives, each way of it
$primary->safe_psql('postgres', $_) for @writes;
is(refresh_all($primary), 'incremental incremental incremental diff', 'incremental on the primary');
replay();
is(find_wrong($standby), '', 'it arrives');
for my $mode ('concurrent', 'diff', 'full')
{
	$primary->safe_psql('postgres', "UPDATE base SET v = v || 'z', k = k + 1 WHERE id % 6 = 1");
	$primary->safe_psql('postgres', 'SELECT ' . join(', ', map { "matview.refresh('$_', '$mode')" } @names));
	replay();
	is(find_wrong($standby), '', "$mode arrives");
	is( $standby->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*) FROM grouped WHERE k = 1'),
		'1', "indexes, $mode");
}

# No refresh there, nor anything else that writes
for my $call ((map { "matview.refresh_$_('grouped')" } 'full', 'concurrent', 'incremental'),
	"matview.refresh('grouped')", "matview.refresh('recomputed', 'diff')",
	"matview.refresh_incremental('untracked')", "matview.track('untracked')", "matview.untrack('grouped')",
	"matview.set_auto_refresh('grouped', 'on_commit')", "matview.set_auto_refresh('grouped', 'off')",
	"matview.schedule_auto_refresh('plain', '1 day')", "matview.pause('plain')", "matview.resume('plain')")
{
	my ($status, undef, $stderr) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	my ($function) = $call =~ /^([\w.]+)/;

	is($status, 3, "$call fails");
	like($stderr, qr/ERROR:  25006: cannot execute \Q$function\E\(\) during recovery/, "$call: message");
	like($stderr, qr/DETAIL:  A standby cannot write\./, "$call: detail");
	like($stderr, qr/HINT:  Call it on the primary: what it writes will be replicated\./, "$call: hint");
}

# What reads works, and tells of changes that wait for the primary
$primary->safe_psql('postgres', q(INSERT INTO base VALUES (500, 1, 'pending'); DELETE FROM base WHERE id = 77));
replay();
is($standby->safe_psql('postgres', "SELECT * FROM matview.check('plain')"), '1|1', 'check sees what is pending');
is( $standby->safe_psql('postgres', q(SELECT pending_changes FROM matview.views WHERE view = 'plain'::regclass)),
	$primary->safe_psql('postgres', q(SELECT pending_changes FROM matview.views WHERE view = 'plain'::regclass)),
	'as many changes pending');
for my $view (@names, 'untracked')
{
	my ($status, $stdout, $stderr) =
	  $standby->psql('postgres', "SELECT matview.explain('$view')");

	is("$status|$stderr", '0|', "explain of $view");
	ok(length $stdout, "explain of $view says something");
}
is( $standby->safe_psql('postgres', 'SELECT count(*) FROM matview.history'),
	$primary->safe_psql('postgres', 'SELECT count(*) FROM matview.history'), 'history');

# Changes that some of the views have consumed and others have not
$primary->safe_psql('postgres', $_)
  for "INSERT INTO base VALUES (501, 2, 'pending')", "UPDATE other SET w = 'pending' WHERE k = 4";
is( $primary->safe_psql('postgres', "SELECT mode FROM matview.refresh_incremental('grouped')"),
	'incremental', 'one of the views is ahead of the others');
replay();
$primary->stop('immediate');
$standby->promote;
is(refresh_all($standby), 'none incremental incremental diff', 'goes on where the primary was');
is(find_wrong($standby), '', 'contents');
$standby->safe_psql('postgres', 'DELETE FROM base WHERE id BETWEEN 301 AND 360');
$standby->safe_psql('postgres', $_) for @writes;
is(refresh_all($standby), 'incremental incremental incremental diff', 'changes captured there');
is(find_wrong($standby), '', 'contents again');
is($standby->safe_psql('postgres', "SELECT mode FROM matview.refresh_incremental('untracked')"),
	'diff', 'tracking begins there');
$standby->safe_psql('postgres', 'DELETE FROM base WHERE id = 99');
is( $standby->safe_psql('postgres', q(
	SELECT mode FROM matview.refresh_incremental('untracked');
	SELECT * FROM matview.check('untracked'))), "incremental\n0|0", 'and works');

$standby->stop;
done_testing();
