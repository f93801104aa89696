# The randomized test: random tables, materialized views and statements from
# several sessions; after each refresh the view must equal its query.
#
# A failing case is written to a file and can be run again alone:
#	MVR_SEED=123		only the case with this seed
#	MVR_SEED=1..50		only the cases with these
#	MVR_REPLAY=file		only the steps in this file
#	MVR_KEEP=1		write the history of each case
#	MVR_SHRINK=1		make the history of each failure as short as possible
#	MVR_RANDOM_SECONDS=n	go on with further seeds for n seconds
#	MVR_LIVE=kind		live views: none, on_commit, on_statement or both
#	MVR_CORE=1			test the test: core's REFRESH instead of ours
use strict;
use warnings;
use utf8;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use DBI;
use MatviewRandom;
use MatviewRandom::History;

my $REFRESHES = 5000;
my $SECONDS = 100;				# no more even for so many, but for ENOUGH
my $ENOUGH = 1700;				# so that three versions make 5000
my $INCREMENTAL_SHARE = 0.5;
my $MAX_FAILURES = 20;

my $core = $ENV{MVR_CORE};
my %args;
my $node = PostgreSQL::Test::Cluster->new('random');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf(
	'postgresql.conf', q(
max_prepared_transactions = 20
max_connections = 20
autovacuum_naptime = 1s
deadlock_timeout = 50ms
restart_after_crash = on
log_min_messages = error
log_statement = none
timezone = 'UTC'
));
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE mvr_owner; CREATE ROLE mvr_writer');
$node->safe_psql('postgres', 'CREATE DATABASE random');
my $amcheck = $node->psql('random', 'CREATE EXTENSION amcheck') == 0;
my $version = $node->safe_psql('random', 'SHOW server_version_num');
%args = (
	connstr => 'host=' . $node->host . ' port=' . $node->port . ' dbname=random',
	version => $version, core => $core, amcheck => $amcheck);
$args{connstr} =~ s/ /;/g;
create_extension() if !$core;
$MatviewRandom::Schema::has_icu =
  $node->safe_psql('random', q(SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu')) > 0;
my $random = MatviewRandom->new(%args);

# Every session looks which views are live
sub create_extension
{
	query('random', 'CREATE EXTENSION matview_refresh');
	query('random', 'GRANT SELECT ON matview.tracked_views TO PUBLIC');
	return;
}

# A clean database for the next case, whatever the last one left; if that was
# a crash, the server needs a while
sub clean
{
	for my $try (1 .. 100)
	{
		return if eval { try_clean(); 1 };
		die $@ if $try == 100;
		sleep 0.1;
	}
	return;
}

sub try_clean
{
	my $admin = sub { return query('postgres', @_) };
	my $gids = query('random', 'SELECT gid FROM pg_prepared_xacts');
	query('random', "ROLLBACK PREPARED '$_->[0]'") for @$gids;
	$admin->(q(SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'random' AND backend_type = 'client backend'));
	return if eval {
		query('random', 'DROP SCHEMA IF EXISTS randomized CASCADE');
		$core || query('random', 'SELECT count(*) FROM matview.tracked_views')->[0][0] == 0;
	};
	$admin->('DROP DATABASE IF EXISTS random WITH (FORCE)');
	$admin->('CREATE DATABASE random');
	create_extension() if !$core;
	query('random', 'CREATE EXTENSION amcheck') if $amcheck;
	return;
}

sub query
{
	my ($database, $sql) = @_;
	(my $connstr = $args{connstr}) =~ s/dbname=.*/dbname=$database/;
	my $dbh = DBI->connect("dbi:Pg:$connstr", undef, undef, { RaiseError => 1, PrintError => 0, PrintWarn => 0 });
	$dbh->do('SET client_min_messages = error');
	my $sth = $dbh->prepare($sql, { pg_direct => 1 });
	$sth->execute;
	my $rows = $sth->{NUM_OF_FIELDS} ? $sth->fetchall_arrayref : [];
	$dbh->disconnect;
	return $rows;
}

my $dir = $PostgreSQL::Test::Utils::log_path // '.';
my %total;
my %reasons;
my $failures = 0;

sub report
{
	my ($name, $failure, @steps) = @_;
	my $file = "$dir/random_$name.sql";
	my $title = "case $name on $version: $failure->{sign}\n$failure->{text}";
	write_history($file, $title, @steps);
	diag $title;
	diag "last statement: $failure->{step}{sql}" if $failure->{step};
	diag "history in $file";
	if ($ENV{MVR_SHRINK})
	{
		my @short = eval { shrink(\&clean, \%args, $failure->{sign}, @steps) };
		diag "could not be shortened: $@" if $@;
		write_history("$dir/random_$name.short.sql", $title, @short) if @short;
		diag @short ? "shortened to " . @short . " steps in $dir/random_$name.short.sql" : 'does not happen again in a replay';
	}
	clean();
	return;
}

sub run_seed
{
	my ($seed) = @_;
	my $result = $random->run_case($seed);
	$total{$_} += $result->{stats}{$_} for keys %{ $result->{stats} };
	$reasons{$_} += $result->{reasons}{$_} for keys %{ $result->{reasons} };
	ok(!$result->{failure}, "case $seed");
	write_history("$dir/random_$seed.sql", "case $seed", @{ $result->{steps} }) if $ENV{MVR_KEEP};
	if ($result->{failure})
	{
		$failures++;
		report($seed, $result->{failure}, @{ $result->{steps} });
	}
	elsif ($core)
	{
		query('random', 'DROP SCHEMA randomized CASCADE');
	}
	return;
}

if (my $file = $ENV{MVR_REPLAY})
{
	my @steps = read_history($file);
	my $failure = replay(\&clean, \%args, @steps);
	ok(!$failure, "replay of $file");
	report('replay', $failure, @steps) if $failure;
}
elsif (my $seeds = $ENV{MVR_SEED})
{
	my ($from, $to) = $seeds =~ /^(\d+)\.\.(\d+)$/ ? ($1, $2) : ($seeds, $seeds);
	run_seed($_) for $from .. $to;
}
else
{
	my $start = time;
	my $seconds = $ENV{MVR_RANDOM_SECONDS};
	my $seed = $seconds ? 100000 + int($start) % 1000000 * 1000 : 1;
	while ($failures < $MAX_FAILURES)
	{
		my $refreshes = $total{refreshes} // 0;
		last if time - $start > ($seconds // $SECONDS) && $refreshes >= $ENOUGH;
		last if !$seconds && $refreshes >= $REFRESHES;
		run_seed($seed++);
	}
	cmp_ok($total{refreshes}, '>=', $ENOUGH, "$total{refreshes} refreshes");
	my $late = $total{'refresh 57014'} // 0;
	cmp_ok($late, '<=', $total{refreshes} / 500, "refreshes that took too long: $late");
	my ($incremental, $diff) = map { $total{"asked incremental, was $_"} // 0 } qw(incremental diff);
	my $share = $incremental / ($incremental + $diff || 1);
	cmp_ok($share, '>=', $INCREMENTAL_SHARE, sprintf 'share of those asked for that were incremental: %.2f', $share) if !$core;
}
note "$_: $total{$_}" for sort keys %total;
note "recomputed $reasons{$_} times: $_" for sort { $reasons{$b} <=> $reasons{$a} } keys %reasons;

$node->stop;
done_testing();
