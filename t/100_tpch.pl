# The 22 queries of TPC-H as materialized views (bench/tpch), over many cycles
# of the specification's refresh streams and of changes beyond them: random
# rows of every table inserted, updated and deleted, keys moved, NULLs, groups
# that come and go.  After each cycle every view must equal its query, and must
# have been maintained from the changes.
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

my $SF = 0.01;
my $SHARE = 0.004;		# of the orders, in one refresh stream
my $CYCLES = $ENV{MVR_CYCLES} // 36;
my $dir = "$FindBin::RealBin/../bench/tpch";

my $node = PostgreSQL::Test::Cluster->new('tpch');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum_naptime = 5s\njit = off\nlog_statement = none\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION matview_refresh');
sub run_file
{
	my ($file) = @_;
	run_log([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', "sf=$SF", '-d', $node->connstr('postgres'), '-f', "$dir/$file.sql" ])
	  or BAIL_OUT("$file.sql");
	return;
}
run_file($_) for qw(schema generate load keys views);

my $judge = MatviewJudge->new($node, 'postgres');
is(scalar @{ $judge->{views} }, 22, '22 views');
is_deeply([ grep { !$judge->value("SELECT count(*) FROM $_") } @{ $judge->{views} } ], [], 'every view has rows');

# ---------- random changes ----------

my $next_key = 10_000_000;

sub text { return chance(4) ? 'NULL' : "'" . pick(@_) . "'" }
sub number { my ($low, $high) = @_; return chance(4) ? 'NULL' : $low + roll($high - $low + 1) }
sub amount { my ($low, $high) = @_; return chance(4) ? 'NULL' : sprintf '%d.%02d', $low + roll($high - $low + 1), roll(100) }
sub day { my ($from, $days) = @_; return chance(4) ? 'NULL' : "date '$from' + " . roll($days) }

# The values of each column are those that the queries ask for, and some others
my %VALUE = (
	r_name => sub { text('AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST') },
	n_name => sub { text('FRANCE', 'GERMANY', 'CANADA', 'BRAZIL', 'SAUDI ARABIA', 'JAPAN', 'KENYA') },
	n_regionkey => sub { number(0, 4) },
	s_name => sub { "'Supplier#" . roll(1_000_000_000) . q(') },
	s_nationkey => sub { number(0, 24) },
	s_phone => sub { text('11-111-111-1111', '22-222-222-2222') },
	s_acctbal => sub { amount(-999, 9999) },
	s_comment => sub { text('slow Customer late Complaints', 'good Customer Recommends', 'nothing') },
	p_name => sub { text('forest green', 'green forest sky', 'misty blue', 'forest navy', 'dark green') },
	p_brand => sub { text(map { "Brand#$_" } 12, 23, 34, 45, 55) },
	p_type => sub { text('ECONOMY ANODIZED STEEL', 'PROMO PLATED BRASS', 'SMALL POLISHED BRASS', 'MEDIUM POLISHED TIN') },
	p_size => sub { pick(number(1, 15), 15, 49, 14, 23, 3) },
	p_container => sub { text('MED BOX', 'MED BAG', 'SM CASE', 'LG PKG', 'JUMBO JAR') },
	p_retailprice => sub { amount(900, 2000) },
	ps_availqty => sub { number(1, 9999) },
	ps_supplycost => sub { amount(1, 999) },
	c_name => sub { "'Customer#" . roll(1_000_000_000) . q(') },
	c_nationkey => sub { number(0, 24) },
	c_phone => sub { text(map { "$_-123-456-7890" } 10, 13, 31, 23, 29, 30) },
	c_acctbal => sub { amount(-999, 9999) },
	c_mktsegment => sub { text('BUILDING', 'MACHINERY') },
	c_comment => sub { text('a', 'b') },
	o_custkey => sub { number(1, 1500) },
	o_orderstatus => sub { text('F', 'O', 'P') },
	o_totalprice => sub { amount(1000, 500000) },
	o_orderdate => sub { pick(day('1992-01-01', 2406), day('1993-07-01', 200), day('1995-01-01', 100)) },
	o_orderpriority => sub { text('1-URGENT', '2-HIGH', '5-LOW') },
	o_shippriority => sub { number(0, 1) },
	o_comment => sub { text('some special things and requests', 'nothing special', 'requests are special') },
	l_partkey => sub { number(1, 2000) },
	l_suppkey => sub { number(1, 100) },
	l_quantity => sub { pick(number(1, 50), number(1, 5), 50) },
	l_extendedprice => sub { amount(900, 90000) },
	l_discount => sub { chance(4) ? 'NULL' : '0.0' . roll(10) },
	l_tax => sub { chance(4) ? 'NULL' : '0.0' . roll(8) },
	l_returnflag => sub { text('R', 'A', 'N') },
	l_linestatus => sub { text('O', 'F') },
	l_shipdate => sub { pick(day('1992-01-01', 2500), day('1994-01-01', 400), day('1995-08-20', 200)) },
	l_commitdate => sub { day('1993-06-01', 600) },
	l_receiptdate => sub { day('1993-06-01', 600) },
	l_shipinstruct => sub { text('DELIVER IN PERSON', 'NONE') },
	l_shipmode => sub { text('AIR', 'MAIL', 'SHIP', 'RAIL') },
	# keys: those of rows that are there, mostly
	r_regionkey => sub { roll(5) },
	n_nationkey => sub { roll(25) },
	s_suppkey => sub { 1 + roll(100) },
	p_partkey => sub { 1 + roll(2000) },
	ps_partkey => sub { 1 + roll(2000) },
	ps_suppkey => sub { 1 + roll(100) },
	c_custkey => sub { 1 + roll(1500) },
	o_orderkey => sub { roll(1875) * 32 + roll(8) },
	l_orderkey => sub { roll(1875) * 32 + roll(8) },
	l_linenumber => sub { 1 + roll(9) },);

# table => share of the changes, key, and how many rows an average change means
my %TABLE = (
	region => { weight => 1, key => ['r_regionkey'] },
	nation => { weight => 2, key => ['n_nationkey'] },
	supplier => { weight => 5, key => ['s_suppkey'] },
	part => { weight => 5, key => ['p_partkey'] },
	partsupp => { weight => 6, key => [ 'ps_partkey', 'ps_suppkey' ] },
	customer => { weight => 6, key => ['c_custkey'] },
	orders => { weight => 9, key => ['o_orderkey'] },
	lineitem => { weight => 12, key => [ 'l_orderkey', 'l_linenumber' ] },);

for my $table (keys %TABLE)
{
	my $columns = $judge->rows("SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 ORDER BY attnum");
	my %is_key = map { $_ => 1 } @{ $TABLE{$table}{key} };
	$TABLE{$table}{columns} = [ grep { !$is_key{$_} && $VALUE{$_} } map { $_->[0] } @$columns ];
}

# Some rows of a table, by key, or of a few keys near each other
sub where
{
	my ($table) = @_;
	my ($key) = @{ $TABLE{$table}{key} };
	my $value = $VALUE{$key}->();
	return "$key = $value" if chance(40) || $value < 25;
	return "$key BETWEEN $value AND $value + " . (1 + roll($key =~ /orderkey/ ? 40 : 4));
}

sub assignments
{
	my ($table) = @_;
	my @columns = @{ $TABLE{$table}{columns} };
	return join ', ', map { "$_ = " . $VALUE{$_}->() } some_of(1 + roll(3), @columns);
}

sub insert_sql
{
	my ($table) = @_;
	my @key = @{ $TABLE{$table}{key} };
	my @columns = (@key, @{ $TABLE{$table}{columns} });
	my $new = @key == 1 && chance(40) ? $next_key++ : undef;
	my @rows = map { '(' . join(', ', map { $_ eq $key[0] && $new ? $new++ : $VALUE{$_}->() } @columns) . ')' } 1 .. 1 + roll(4);
	$next_key = $new + 1 if $new;
	return "INSERT INTO $table (" . join(', ', @columns) . ') VALUES ' . join(', ', @rows) . ' ON CONFLICT DO NOTHING';
}

# The key of a row changes: to one that is free, or to that of another parent
sub move_sql
{
	my ($table) = @_;
	my ($key, $second) = @{ $TABLE{$table}{key} };
	my $to = $second && chance(60) ? $VALUE{$key}->() : ++$next_key;
	my $from = $VALUE{$key}->();
	return "UPDATE $table AS x SET $key = $to WHERE $key = $from AND NOT EXISTS (SELECT 1 FROM $table AS y WHERE y.$key = $to"
	  . ($second ? " AND y.$second = x.$second)" : ')') . ($table =~ /region|nation/ ? ' AND ' . pick('true', 'false') : '');
}

# What brings groups, extremes and boundary rows of a query in and out
my @AIMED = (
	sub { "UPDATE lineitem SET l_shipdate = l_shipdate + 100 WHERE l_suppkey IN (SELECT s_suppkey FROM q15) AND l_shipdate BETWEEN '1996-01-01' AND '1996-02-15'" },
	sub { 'DELETE FROM orders WHERE o_orderkey IN (SELECT o_orderkey FROM q18 ORDER BY o_totalprice DESC LIMIT 1)' },
	sub { 'UPDATE lineitem SET l_quantity = 50 WHERE l_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY 1 HAVING count(*) = 7 ORDER BY l_orderkey % ' . (2 + roll(50)) . ', 1 LIMIT 2)' },
	sub { 'DELETE FROM lineitem WHERE l_orderkey IN (SELECT l_orderkey FROM q03 ORDER BY revenue DESC LIMIT ' . (1 + roll(3)) . ')' },
	sub { 'DELETE FROM orders WHERE o_custkey IN (SELECT c_custkey FROM q10 LIMIT 2)' },
	sub { 'UPDATE partsupp SET ps_supplycost = ps_supplycost + ' . (roll(2000) - 500) . ' WHERE ps_partkey IN (SELECT p_partkey FROM q02)' },
	sub { "INSERT INTO orders (o_orderkey, o_custkey, o_orderdate, o_comment) SELECT @{[$next_key += 10]}, c_custkey, '1993-10-05', 'x' FROM customer WHERE c_acctbal > 7000 AND NOT EXISTS (SELECT 1 FROM orders WHERE o_custkey = c_custkey) ORDER BY c_custkey LIMIT 1" },
	sub { 'DELETE FROM orders WHERE o_custkey = ' . (1 + roll(1500)) },
	sub { "UPDATE customer SET c_acctbal = c_acctbal + 5000 WHERE c_phone LIKE '13%' AND c_custkey % 10 = " . roll(10) },
	sub { 'DELETE FROM lineitem WHERE l_orderkey IN (SELECT o_orderkey FROM orders ORDER BY o_orderkey OFFSET ' . roll(14000) . ' LIMIT 1)' },
	sub { "UPDATE supplier SET s_comment = CASE WHEN s_comment LIKE '%Customer%Complaints%' THEN 'none' ELSE 'Customer Complaints' END WHERE s_suppkey % 30 = " . roll(30) },
	sub { "UPDATE part SET p_brand = 'Brand#23', p_container = 'MED BOX' WHERE p_partkey = " . (1 + roll(2000)) },
	sub { "DELETE FROM part WHERE p_brand = 'Brand#23' AND p_container = 'MED BOX' AND p_partkey % 2 = " . roll(2) },
	sub { "UPDATE nation SET n_name = CASE n_name WHEN 'FRANCE' THEN 'GERMANY' WHEN 'GERMANY' THEN 'FRANCE' END WHERE n_name IN ('FRANCE', 'GERMANY')" },
	sub { "UPDATE nation SET n_name = 'SAUDI ARABIA' WHERE n_nationkey = " . roll(25) },
	sub { "UPDATE region SET r_name = CASE r_name WHEN 'EUROPE' THEN 'ASIA' ELSE 'EUROPE' END WHERE r_name IN ('ASIA', 'EUROPE')" },
	sub { "UPDATE lineitem SET l_receiptdate = l_commitdate + " . (roll(3) - 1) . ' WHERE l_orderkey IN (SELECT o_orderkey FROM orders WHERE o_custkey = ' . (1 + roll(1500)) . ')' },
	sub { 'UPDATE orders SET o_comment = ' . $VALUE{o_comment}->() . ' WHERE o_custkey = ' . (1 + roll(1500)) },
	sub { "UPDATE lineitem SET l_orderkey = l_orderkey + 1 WHERE l_linenumber > 5 AND l_orderkey % 640 = @{[roll(6)]} AND NOT EXISTS (SELECT 1 FROM lineitem x WHERE x.l_orderkey = lineitem.l_orderkey + 1 AND x.l_linenumber > 4)" },
	sub { "UPDATE part SET p_size = 15, p_type = 'SMALL POLISHED BRASS' WHERE p_partkey % 70 = " . roll(70) },
	sub { 'UPDATE part SET p_size = 16 WHERE p_partkey IN (SELECT p_partkey FROM q02 ORDER BY s_acctbal LIMIT 2)' },
	sub { "UPDATE partsupp SET ps_availqty = CASE WHEN ps_availqty < 20 THEN 9999 ELSE 1 END FROM part WHERE p_partkey = ps_partkey AND p_name LIKE 'forest%' AND ps_partkey % 2 = " . roll(2) },
	sub { "UPDATE customer SET c_acctbal = CASE WHEN c_acctbal < 5000 THEN 9000 ELSE 10 END, c_phone = '23-1' WHERE c_custkey % 150 = " . 3 * roll(50) },
	sub { 'INSERT INTO orders (o_orderkey, o_custkey, o_orderdate) SELECT ' . ($next_key += 1000) . " + c_custkey, c_custkey, '1995-05-05' FROM customer WHERE c_custkey % 300 = " . 3 * roll(100) },
	sub { "UPDATE supplier SET s_nationkey = 2 WHERE s_suppkey % 20 = " . roll(20) },
	sub { "UPDATE customer SET c_nationkey = " . roll(25) . " WHERE c_custkey % 30 = " . roll(30) },
	sub { "UPDATE part SET p_type = 'ECONOMY ANODIZED STEEL' WHERE p_partkey % 97 = " . roll(97) },
	sub { "UPDATE part SET p_brand = 'Brand#12', p_container = 'SM BOX', p_size = 3 WHERE p_partkey % 50 = " . roll(50) },
	sub { "UPDATE lineitem SET l_shipmode = 'AIR', l_shipinstruct = 'DELIVER IN PERSON', l_quantity = " . (1 + roll(15)) . " WHERE l_partkey IN (SELECT p_partkey FROM part WHERE p_brand = 'Brand#12' AND p_container = 'SM BOX' LIMIT 3)" },
	sub { "UPDATE lineitem SET l_receiptdate = l_commitdate + " . (1 - roll(2)) . " FROM supplier, nation WHERE l_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'SAUDI ARABIA' AND l_orderkey % 64 = " . roll(8) },
	sub { "UPDATE lineitem SET l_shipdate = date '1995-09-01' + " . roll(40) . ' WHERE l_partkey = ' . (1 + roll(2000)) },
	sub { "UPDATE orders SET o_orderdate = date '1995-06-01' + " . roll(400) . ' WHERE o_orderkey % 512 = ' . roll(8) },
	sub { 'DELETE FROM lineitem WHERE l_partkey IN (SELECT ps_partkey FROM q11)' },
	sub { 'DELETE FROM supplier WHERE s_name IN (SELECT s_name FROM q20 LIMIT 1)' },
	sub { 'DELETE FROM partsupp WHERE ps_suppkey = ' . (1 + roll(100)) . ' AND ps_partkey % 7 = ' . roll(7) },
	sub { "UPDATE supplier SET s_nationkey = (SELECT min(n_nationkey) FROM nation WHERE n_name = '" . pick('CANADA', 'SAUDI ARABIA', 'GERMANY', 'FRANCE') . "') WHERE s_suppkey = " . (1 + roll(100)) },
);

sub change_sql
{
	return pick(@AIMED)->() if chance(45);
	my $table = weighted(map { $_ => $TABLE{$_}{weight} } sort keys %TABLE);
	my $how = weighted(insert => 30, update => 40, delete => $table =~ /region|nation/ ? 2 : 18, move => 10);
	return insert_sql($table) if $how eq 'insert';
	return "UPDATE $table SET " . assignments($table) . ' WHERE ' . where($table) if $how eq 'update';
	return "DELETE FROM $table WHERE " . where($table) if $how eq 'delete';
	return move_sql($table);
}

# Names that the queries ask for come back, or the views would be empty soon
my @RESTORE = (
	'DELETE FROM region WHERE r_regionkey > 4',
	'INSERT INTO region SELECT * FROM generate.regions() ON CONFLICT (r_regionkey) DO UPDATE SET r_name = excluded.r_name',
	'DELETE FROM nation WHERE n_nationkey > 24',
	'INSERT INTO nation SELECT * FROM generate.nations() ON CONFLICT (n_nationkey) DO UPDATE SET n_name = excluded.n_name, n_regionkey = excluded.n_regionkey',
	'INSERT INTO supplier SELECT * FROM generate.suppliers(1, 100) ON CONFLICT (s_suppkey) DO UPDATE SET s_nationkey = excluded.s_nationkey',
	'INSERT INTO part SELECT * FROM generate.parts(1, 2000) ON CONFLICT DO NOTHING',
	'INSERT INTO partsupp SELECT * FROM generate.partsupps(1, 2000) ON CONFLICT DO NOTHING',
	'INSERT INTO customer SELECT * FROM generate.customers(1, 1500) ON CONFLICT DO NOTHING');

# ---------- cycles ----------

$judge->refresh_all('first refresh');
seed_dice($ENV{MVR_SEED} // 1);
my $streams = 0;
for my $cycle (1 .. $CYCLES)
{
	my $sound;
	my @changes;
	if ($cycle % 3 == 1)
	{
		$streams++;
		@changes = ("CALL generate.rf1($streams, $SHARE)", "CALL generate.rf2($streams, $SHARE)");
		$judge->change($_) for @changes;
		$sound = $judge->refresh_all("refresh streams $streams", must_be_incremental => 1);
	}
	else
	{
		push @changes, map { change_sql() } 1 .. 4 + roll(8);
		push @changes, @RESTORE if $cycle % 3 == 0;
		$judge->change($_) for @changes;
		$sound = $judge->refresh_all("random changes, cycle $cycle", must_be_incremental => 1);
	}
	diag "changes of cycle $cycle:\n", map { "$_;\n" } @changes if !$sound;
}
# Nothing is left, then everything comes back: not by the changes, if the planner
# sees that they are more than the tables
$judge->change("DELETE FROM $_") for sort keys %TABLE;
$judge->refresh_all('empty tables', call => 'matview.refresh');
run_file('load');
$judge->refresh_all('tables filled again', call => 'matview.refresh');
$judge->report;
$judge->assert_modes;
$judge->assert_moved;

$node->stop;
done_testing();
