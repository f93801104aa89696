# The queries of Nexmark as materialized views (t/nexmark), over many cycles of
# new persons, auctions and bids, among them random updates and deletes.  After
# each cycle every view must equal its query, and must have been maintained from
# the changes.
#
#	MVR_SEED=123	other changes than those of seed 1
#	MVR_CYCLES=n	more or fewer of them
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MatviewJudge;
use MatviewRandom::Dice;

my $CYCLES = $ENV{MVR_CYCLES} // 60;
my $EVENTS = 4000;				# before the first refresh
my $MORE = 100;					# in each cycle
my $dir = "$FindBin::RealBin/nexmark";

my $node = PostgreSQL::Test::Cluster->new('nexmark');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum_naptime = 5s\njit = off\nlog_statement = none\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION matview_refresh');
sub run_file
{
	my ($file) = @_;
	run_log([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$dir/$file.sql" ])
	  or BAIL_OUT("$file.sql");
	return;
}
run_file('schema');
$node->safe_psql('postgres', "CALL make_events(0, $EVENTS - 1); ANALYZE");
run_file('views');

my $judge = MatviewJudge->new($node, 'postgres');
is(scalar @{ $judge->{views} }, 23, '23 views');
is_deeply([ grep { !$judge->value("SELECT count(*) FROM $_") } @{ $judge->{views} } ], [], 'every view has rows');

my $events = $EVENTS;

sub any_auction { return roll(int($events / 50) * 3) }
sub any_person { return roll(int($events / 50)) }
sub text { return chance(8) ? 'NULL' : "'" . pick(@_) . "'" }
sub price { return chance(5) ? 'NULL' : 10**roll(6) * (1 + roll(9)) }
sub time_near { return chance(5) ? 'NULL' : 'time_of(' . roll($events) . ')' }

# some bids of an auction or of a bidder
sub bids { return chance(50) ? 'auction = ' . any_auction() : 'bidder = ' . any_person() . ' AND price % 3 = ' . roll(3) }

my @CHANGES = (
	[ 10, sub { 'UPDATE bid SET price = ' . price() . ' WHERE ' . bids() } ],
	[ 5, sub { 'UPDATE bid SET date_time = ' . time_near() . ' WHERE ' . bids() } ],
	[ 5, sub { 'UPDATE bid SET channel = ' . text('Apple', 'channel-9', 'BAIDU') . ", url = 'https://example.com/a/b?channel_id=" . roll(9) . "' WHERE " . bids() } ],
	[ 5, sub { 'UPDATE bid SET auction = ' . pick('NULL', any_auction(), any_auction()) . ' WHERE ' . bids() } ],
	[ 5, sub { 'UPDATE bid SET bidder = ' . pick('NULL', any_person(), any_person()) . ' WHERE ' . bids() } ],
	[ 10, sub { 'DELETE FROM bid WHERE ' . bids() } ],
	[ 5, sub { 'DELETE FROM bid WHERE ctid IN (SELECT max(ctid) FROM bid WHERE price = (SELECT max(price) FROM bid WHERE auction = ' . any_auction() . '))' } ],
	[ 6, sub { 'INSERT INTO bid SELECT * FROM bid WHERE ' . bids() . ' LIMIT 5' } ],
	[ 6, sub { 'INSERT INTO bid VALUES (' . join(', ', any_auction(), any_person(), price(), text('Google', 'x'), text('u', 'https://a/b/c/d'), time_near(), text('ccc', 'abc')) . ')' } ],
	[ 5, sub { 'UPDATE auction SET expires = date_time + ' . roll(90) . " * interval '1 second' WHERE id = " . any_auction() } ],
	[ 5, sub { 'UPDATE auction SET category = ' . pick('NULL', 10, 10, 12) . ', seller = ' . pick('seller', 'NULL', any_person()) . ' WHERE id = ' . any_auction() } ],
	[ 3, sub { 'UPDATE auction SET item_name = ' . text('lamp', 'chair') . ', date_time = ' . time_near() . ' WHERE id = ' . any_auction() } ],
	[ 3, sub { 'DELETE FROM auction WHERE id = ' . any_auction() } ],
	[ 2, sub { 'UPDATE auction SET id = id + 1000000 WHERE id = ' . any_auction() } ],
	[ 2, sub { 'UPDATE auction SET id = id - 1000000 WHERE id >= 1000000' } ],
	[ 4, sub { 'UPDATE person SET state = ' . text('OR', 'ID', 'NV') . ', name = ' . text('Ada', 'Bob') . ' WHERE id = ' . any_person() } ],
	[ 3, sub { 'UPDATE person SET date_time = (SELECT min(date_time) FROM auction WHERE seller = person.id) WHERE id = ' . any_person() } ],
	[ 3, sub { 'DELETE FROM person WHERE id = ' . any_person() } ],
	[ 3, sub { 'UPDATE side_input SET value = ' . text('one', 'two') . ' WHERE key = ' . roll(100) } ],
	[ 2, sub { 'DELETE FROM side_input WHERE key = ' . roll(100) } ],
	[ 2, sub { "INSERT INTO side_input SELECT k, 'again' FROM generate_series(0, 99) AS k ON CONFLICT DO NOTHING" } ],);

$judge->refresh_all('first refresh');
seed_dice($ENV{MVR_SEED} // 1);
for my $cycle (1 .. $CYCLES)
{
	my @changes = ("CALL make_events($events, $events + $MORE - 1)");
	$events += $MORE;
	# every third cycle only adds
	push @changes, map { weighted(map { @$_[ 1, 0 ] } @CHANGES) } 1 .. 2 + roll(8) if $cycle % 3;
	$_ = ref $_ ? $_->() : $_ for @changes;
	$judge->change($_) for @changes;
	$judge->refresh_all("cycle $cycle", must_be_incremental => 1) or diag "changes of cycle $cycle:\n", map { "$_;\n" } @changes;
}
$judge->report;
$judge->assert_modes;
$judge->assert_moved;

$node->stop;
done_testing();
