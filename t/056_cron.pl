# When cron lines are due, with the clock put to given times, in time zones
# that change the clock and in some that do not.
use strict;
use warnings;

use Config;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $node = PostgreSQL::Test::Cluster->new('cron');
$node->init;
my $library = $node->basedir . '/shift_clock.so';
my $shift = $node->basedir . '/shift';
plan skip_all => 'no C compiler, or not one for LD_PRELOAD'
  if $Config{osname} ne 'linux' || system('gcc', '-shared', '-fPIC', '-o', $library, 't/shift_clock.c') != 0;

# Put the clock some seconds after a time in UTC, "YYYY-MM-DD hh:mm"
sub set_clock
{
	my ($time) = @_;
	my ($year, $month, $day, $hour, $minute) = $time =~ /\d+/g;
	my $microseconds = (timegm(5, $minute, $hour, $day, $month - 1, $year) - time) * 1e6;

	# the server has it mapped: write into the same file
	open my $file, -e $shift ? '+<' : '>', $shift or die $!;
	syswrite $file, pack('q', $microseconds);
	close $file;
	return;
}

my $zone = 'UTC';

sub set_zone
{
	my ($new) = @_;

	return if $new eq $zone;
	$zone = $new;
	$node->append_conf('postgresql.conf', "log_timezone = '$zone'");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('log_timezone') = '$zone'") or die $zone;
	return;
}

# The next three times, in UTC
sub next_times
{
	my ($line) = @_;
	my @times;

	$node->safe_psql('postgres', "SELECT matview.set_auto_refresh('v', '$line')");
	for (1 .. 3)
	{
		push @times, $node->safe_psql('postgres',
			q(SELECT to_char(matview.next_due('v'::regclass) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')));
		last if $times[-1] eq '';
		set_clock($times[-1]);
	}
	return \@times;
}

$node->append_conf('postgresql.conf', q(
autovacuum = off
log_timezone = 'UTC'
timezone = 'Pacific/Auckland'
));
set_clock('2023-11-30 12:34');
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SHIFT_CLOCK} = $shift;
	$node->start;
}
is($node->safe_psql('postgres', q(SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'))), '2023-11-30', 'the clock can be put');
$node->safe_psql('postgres', 'CREATE EXTENSION matview_refresh; CREATE MATERIALIZED VIEW v AS SELECT 1 AS one');

# zone, when it is (a Thursday, mostly), line, when it is due
for my $case (
	[ 'UTC', '2023-11-30 12:34', '@hourly', '2023-11-30 13:00', '2023-11-30 14:00', '2023-11-30 15:00' ],
	[ 'UTC', '2023-11-30 12:34', '@daily', '2023-12-01 00:00', '2023-12-02 00:00', '2023-12-03 00:00' ],
	[ 'UTC', '2023-11-30 12:34', '@weekly', '2023-12-03 00:00', '2023-12-10 00:00', '2023-12-17 00:00' ],
	[ 'UTC', '2023-11-30 12:34', '@monthly', '2023-12-01 00:00', '2024-01-01 00:00', '2024-02-01 00:00' ],
	[ 'UTC', '2023-11-30 12:34', '@yearly', '2024-01-01 00:00', '2025-01-01 00:00', '2026-01-01 00:00' ],
	# one day or the other, or both
	[ 'UTC', '2023-11-30 12:34', '0 0 13 * 5', '2023-12-01 00:00', '2023-12-08 00:00', '2023-12-13 00:00' ],
	[ 'UTC', '2023-11-30 12:34', '0 0 */13 * 5', '2023-12-01 00:00', '2024-03-01 00:00', '2024-06-14 00:00' ],
	[ 'UTC', '2023-11-30 12:34', '0 0 13 * */5', '2024-09-13 00:00', '2024-10-13 00:00', '2024-12-13 00:00' ],
	[ 'UTC', '2023-11-30 18:40', '*/15 8-18 * * mon-fri', '2023-11-30 18:45', '2023-12-01 08:00', '2023-12-01 08:15' ],
	[ 'UTC', '2023-12-01 18:50', '*/15 8-18 * * mon-fri', '2023-12-04 08:00', '2023-12-04 08:15', '2023-12-04 08:30' ],
	# the last minute of the year, and days that are not in every month
	[ 'UTC', '2023-12-31 23:58', '* * * * *', '2023-12-31 23:59', '2024-01-01 00:00', '2024-01-01 00:01' ],
	[ 'UTC', '2023-11-30 12:34', '0 12 31 * *', '2023-12-31 12:00', '2024-01-31 12:00', '2024-03-31 12:00' ],
	[ 'UTC', '2024-02-27 23:59', '59 23 28-31 2 *', '2024-02-28 23:59', '2024-02-29 23:59', '2025-02-28 23:59' ],
	[ 'UTC', '2023-11-30 12:34', '0 0 29 2 *', '2024-02-29 00:00', '2028-02-29 00:00', '2032-02-29 00:00' ],
	# eight years, for 2100 is no leap year
	[ 'UTC', '2096-02-29 12:00', '0 0 29 2 *', '2104-02-29 00:00', '2108-02-29 00:00', '2112-02-29 00:00' ],
	# in log_timezone
	[ 'Asia/Kathmandu', '2023-11-30 12:34', '0 3 * * *', '2023-11-30 21:15', '2023-12-01 21:15', '2023-12-02 21:15' ],
	[ 'Asia/Kathmandu', '2023-11-30 12:34', '@monthly', '2023-11-30 18:15', '2023-12-31 18:15', '2024-01-31 18:15' ],
	# the night in which 2:30 is skipped, and that in which 1:30 comes twice
	[ 'America/New_York', '2024-03-09 12:00', '30 2 * * *', '2024-03-11 06:30', '2024-03-12 06:30', '2024-03-13 06:30' ],
	[ 'America/New_York', '2024-03-09 12:00', '0 3 * * *', '2024-03-10 07:00', '2024-03-11 07:00', '2024-03-12 07:00' ],
	[ 'America/New_York', '2024-11-02 12:00', '30 1 * * *', '2024-11-03 05:30', '2024-11-03 06:30', '2024-11-04 06:30' ],
	[ 'America/New_York', '2024-11-02 12:00', '@daily', '2024-11-03 04:00', '2024-11-04 05:00', '2024-11-05 05:00' ])
{
	my ($where, $now, $line, @due) = @$case;

	set_zone($where);
	set_clock($now);
	is_deeply(next_times($line), \@due, "$line in $where at $now");
}

$node->stop;
done_testing();
