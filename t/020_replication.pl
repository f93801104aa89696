# Logical replication on either side: nothing of ours is published to a
# subscriber to all tables, and what an apply worker writes is captured.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->start;
my $connstr = $publisher->connstr . ' dbname=postgres';

sub refresh_and_check
{
	my ($node, $view) = @_;
	my $mode = $node->safe_psql('postgres',
		"SELECT mode FROM matview.refresh_incremental('$view')");

	return $mode . ' '
	  . $node->safe_psql('postgres', "SELECT missing, extra FROM matview.check('$view')");
}

# A big column goes to the log's TOAST table too
my $tables = q(
CREATE TABLE plain (id int PRIMARY KEY, v text);
ALTER TABLE plain ALTER v SET STORAGE EXTERNAL;
CREATE TABLE part (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 (k int NOT NULL, id int NOT NULL, PRIMARY KEY (id, k));
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (10) TO (20));
$publisher->safe_psql('postgres', $tables);
$subscriber->safe_psql('postgres', $tables);
$publisher->safe_psql('postgres', 'CREATE PUBLICATION pub FOR ALL TABLES');
$publisher->safe_psql('postgres',
	"SELECT pg_create_logical_replication_slot('watch', 'test_decoding')");
$subscriber->safe_psql('postgres',
	"CREATE SUBSCRIPTION sub CONNECTION '$connstr' PUBLICATION pub");
$subscriber->wait_for_subscription_sync($publisher, 'sub');

# Views on the publisher, after the subscription began
$publisher->safe_psql('postgres', q(
CREATE EXTENSION matview_refresh;
CREATE MATERIALIZED VIEW v AS SELECT id, v FROM plain;
CREATE MATERIALIZED VIEW g AS SELECT k, count(*) FROM part GROUP BY k;
SELECT matview.refresh_incremental('v'), matview.refresh_incremental('g')));

my @writes = (
	"INSERT INTO plain VALUES (1, 'one'), (2, repeat('x', 10000))",
	"INSERT INTO plain SELECT g, repeat('y', 5000) FROM generate_series(3, 50) g",
	"UPDATE plain SET v = v || 'z' WHERE id IN (1, 2)",
	'DELETE FROM plain WHERE id > 40',
	'INSERT INTO part SELECT g, g FROM generate_series(1, 19) g',
	'UPDATE part SET k = k + 10 WHERE k < 5',
	'UPDATE part SET id = id + 100 WHERE k = 15',
	'DELETE FROM part WHERE id IN (6, 16)');

$publisher->safe_psql('postgres', $_) for @writes;
is(refresh_and_check($publisher, 'v'), 'incremental 0|0', 'publisher: rows');
is(refresh_and_check($publisher, 'g'), 'incremental 0|0', 'publisher: groups');
$publisher->wait_for_catchup('sub');
is( $subscriber->safe_psql('postgres', 'SELECT count(*), sum(length(v)) FROM plain'),
	$publisher->safe_psql('postgres', 'SELECT count(*), sum(length(v)) FROM plain'),
	'a subscriber without the extension goes on');
is( $publisher->safe_psql('postgres', q(
	SELECT DISTINCT substring(data FROM '^table (\w+\.\w+):')
	  FROM pg_logical_slot_get_changes('watch', NULL, NULL)
	 WHERE data ~ '^table (matview|pg_toast)\.')),
	'', 'nothing of ours is decoded');

# Views on the subscriber: the apply worker fires row triggers only
$subscriber->safe_psql('postgres', q(
CREATE EXTENSION matview_refresh;
CREATE MATERIALIZED VIEW v AS SELECT id, v FROM plain;
CREATE MATERIALIZED VIEW g AS SELECT k, count(*) FROM part GROUP BY k;
SELECT matview.refresh_incremental('v'), matview.refresh_incremental('g')));
is( $subscriber->safe_psql('postgres', q(
	SELECT string_agg(DISTINCT tgrelid::regclass::text, ',') FROM pg_trigger
	 WHERE tgname LIKE 'matview%' AND tgtype & 1 = 1)),
	'part_1,part_2,plain', 'capture by row on a subscriber');
$publisher->safe_psql('postgres', $_) for (
	"INSERT INTO plain SELECT g, 'again' FROM generate_series(60, 70) g",
	"UPDATE plain SET v = 'short' WHERE id < 5",
	'DELETE FROM plain WHERE id = 5',
	'UPDATE part SET k = k + 10 WHERE k < 10',
	'INSERT INTO part VALUES (7, 7)');
$publisher->wait_for_catchup('sub');
is(refresh_and_check($subscriber, 'v'), 'incremental 0|0', 'subscriber: rows');
is(refresh_and_check($subscriber, 'g'), 'incremental 0|0', 'subscriber: groups');
$publisher->safe_psql('postgres', 'TRUNCATE plain');
$publisher->wait_for_catchup('sub');
is(refresh_and_check($subscriber, 'v'), 'diff 0|0', 'subscriber: TRUNCATE');

# No longer a subscriber: statements again
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
is(refresh_and_check($subscriber, 'v'), 'diff 0|0', 'capture by statement again');
is( $subscriber->safe_psql('postgres', q(
	SELECT count(*) FROM pg_trigger
	 WHERE tgrelid = 'plain'::regclass AND tgtype & 1 = 0 AND tgname LIKE 'matview%')),
	'5', 'five triggers');

# One that comes and goes between two refreshes, and what it wrote.  Not to all
# tables: our own are among these, and the subscriber has others.
$publisher->safe_psql('postgres', 'CREATE PUBLICATION ours FOR TABLES IN SCHEMA public');
$subscriber->safe_psql('postgres', q(
CREATE MATERIALIZED VIEW of_commit AS SELECT count(*), max(id) FROM plain;
CREATE MATERIALIZED VIEW of_statement AS SELECT id % 2 AS odd, count(*) FROM plain GROUP BY 1;
SELECT matview.set_auto_refresh('of_commit', 'on_commit'),
       matview.set_auto_refresh('of_statement', 'on_statement')));
$subscriber->safe_psql('postgres',
	"CREATE SUBSCRIPTION again CONNECTION '$connstr' PUBLICATION ours WITH (copy_data = false)");
$publisher->safe_psql('postgres', "INSERT INTO plain SELECT g, 'new' FROM generate_series(1, 7) g");
$publisher->wait_for_catchup('again');
is($subscriber->safe_psql('postgres', 'SELECT * FROM of_commit'), '7|7',
	'an on_commit view that was there before the subscription');
is($subscriber->safe_psql('postgres', 'SELECT * FROM of_statement ORDER BY 1'), "0|3\n1|4",
	'an on_statement view that was');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION again');
$subscriber->safe_psql('postgres', 'DELETE FROM plain WHERE id = 7');
is($subscriber->safe_psql('postgres', 'TABLE of_commit UNION ALL TABLE of_statement ORDER BY 1, 2'),
	"0|3\n1|3\n6|6", 'both views by writers go on');
is(refresh_and_check($subscriber, 'v'), 'diff 0|0', 'what it wrote is in the view');

$publisher->stop;
$subscriber->stop;
done_testing();
