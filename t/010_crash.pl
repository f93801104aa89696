# What is left after a crash: of refreshes that had committed everything, of
# others nothing, and the change logs go with them.  Prepared transactions, over
# a crash too.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', q(
max_prepared_transactions = 10
autovacuum = off
restart_after_crash = on
));
$node->start;

# A view found by its row hash, one with state, one with a key of its own, one
# that is always recomputed
my %views = (
	plain => 'SELECT k, v FROM base',
	grouped => 'SELECT k, count(*) AS n, sum(id) AS s, max(id) AS m FROM base GROUP BY k',
	keyed => 'SELECT b.id, b.v, o.w FROM base b JOIN other o ON o.k = b.k',
	recomputed => 'SELECT id FROM base TABLESAMPLE SYSTEM (100) WHERE EXISTS (SELECT FROM other o WHERE o.k = base.k)');

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

# Refreshes all views; the modes in the order of their names
sub refresh_all
{
	return sql('SELECT ' . join(" || ' ' || ",
		map { "(matview.refresh_incremental('$_')).mode" } sort keys %views));
}

# By the extension and without it; '' if all is well
sub find_wrong
{
	my @queries;

	for my $view (sort keys %views)
	{
		my $query = $views{$view};
		push @queries, "SELECT '$view', c.missing, c.extra,
			(SELECT count(*) FROM (TABLE $view EXCEPT ALL ($query)) d),
			(SELECT count(*) FROM (($query) EXCEPT ALL TABLE $view) d)
			FROM matview.check('$view') c";
	}
	my @lines = split /\n/, sql(join(' UNION ALL ', @queries));
	is(scalar @lines, scalar keys %views, 'all views looked at');
	return join("\n", grep { !/\|0\|0\|0\|0$/ } @lines);
}

# Heap and indexes of the views, their states, the logs and the registry
sub find_damage
{
	my $what = q{
	FROM pg_class c LEFT JOIN pg_class t ON t.reltoastrelid = c.oid
	WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p'
	  AND (c.relkind = 'm' OR c.relnamespace = 'matview'::regnamespace
	       OR t.relkind = 'm' OR t.relnamespace = 'matview'::regnamespace)};
	sql("SELECT bt_index_check(i.indexrelid, true)
		FROM (SELECT c.oid $what) r JOIN pg_index i ON i.indrelid = r.oid
		JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am a ON a.oid = ic.relam
		WHERE a.amname = 'btree' AND i.indisvalid");
	return sql("SELECT r.oid::regclass, h.*
		FROM (SELECT c.oid $what) r CROSS JOIN LATERAL verify_heapam(r.oid::regclass) h");
}

sub check_all
{
	my ($name) = @_;

	is(find_wrong(), '', "$name: contents");
	is(find_damage(), '', "$name: no damage");
}

# Leaves a session in the midst of a transaction that has run all this
sub start_transaction
{
	my (@statements) = @_;
	my $out = '';
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $node->connstr('postgres'),
			map { ('-c', $_) } 'BEGIN', @statements, 'SELECT pg_sleep(600)' ],
		'<', \undef, '>&', \$out);

	$node->poll_query_until('postgres',
		q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')))
	  or die 'the transaction did not get there';
	return $psql;
}

# Ends the server, in the midst of such a transaction if there is one
sub crash_within
{
	my (@statements) = @_;
	my $psql;

	if (@statements)
	{
		$psql = start_transaction(@statements);
		# all of it on disk, so that recovery has something to disbelieve
		sql('CHECKPOINT');
	}
	$node->stop('immediate');
	$psql->finish if $psql;
	$node->start;
	return;
}

my @writes = (
	'INSERT INTO base SELECT g, g % 7, repeat(g::text, 3) FROM generate_series(1001, 1100) g',
	"UPDATE base SET v = v || 'x', k = (k + 1) % 9 WHERE id % 10 = 0",
	'DELETE FROM base WHERE id BETWEEN 50 AND 70 OR k = 3',
	"UPDATE other SET w = w || 'y' WHERE k IN (1, 2)");
my @undo = (
	'DELETE FROM base WHERE id > 1000',
	'INSERT INTO base SELECT g, g % 4, g::text FROM generate_series(50, 70) g ON CONFLICT DO NOTHING');

sql('CREATE EXTENSION matview_refresh', 'CREATE EXTENSION amcheck',
	'CREATE TABLE base (id int PRIMARY KEY, k int, v text)',
	'CREATE TABLE other (k int PRIMARY KEY, w text)',
	'INSERT INTO base SELECT g, g % 7, g::text FROM generate_series(1, 1000) g',
	"INSERT INTO other SELECT g, 'w' || g FROM generate_series(0, 5) g",
	map { "CREATE MATERIALIZED VIEW $_ AS $views{$_}" } sort keys %views);
sql('CREATE UNIQUE INDEX keyed_id ON keyed (id)', 'CREATE INDEX ON plain (v)');
refresh_all();
my $all = join(', ', map { "matview.refresh_incremental('$_')" } sort keys %views);

# Committed, then a crash
crash_within();
check_all('after the first refresh');
sql(@writes);
is(refresh_all(), 'incremental incremental incremental diff', 'incremental');
crash_within();
check_all('after an incremental refresh');
is(refresh_all(), 'none none none diff', 'the frontier is there');
sql(@undo);
crash_within();
is(refresh_all(), 'incremental incremental incremental diff', 'changes logged before the crash');
check_all('and applied after it');

sql(@writes);
for my $mode ('concurrent', 'diff', 'full')
{
	sql('SELECT ' . join(', ', map { "matview.refresh('$_', '$mode')" } sort keys %views));
	sql(@undo) if $mode eq 'diff';
	sql("SELECT $all") if $mode eq 'diff';
	crash_within();
	check_all("after refresh, $mode");
	sql('INSERT INTO base VALUES (2000, 1, 1), (2001, 8, 1)', 'DELETE FROM base WHERE id IN (1, 2)');
	is(refresh_all(), 'incremental incremental incremental diff', 'incremental again');
	check_all("incremental after refresh, $mode");
	sql('DELETE FROM base WHERE id >= 2000');
	sql("INSERT INTO base VALUES (1, 1, '1'), (2, 2, '2')");
	refresh_all();
}

# Not committed
for my $mode ('incremental', 'concurrent', 'diff', 'full')
{
	my $before = sql('SELECT ' . join(', ',
		map { "(SELECT md5(string_agg(x::text, ' ' ORDER BY x::text)) FROM $_ x)" } sort keys %views));

	sql("UPDATE base SET v = v || 'z' WHERE id % 3 = 0");
	crash_within("UPDATE base SET k = k + 1 WHERE id % 5 = 0",
		"DELETE FROM base WHERE id % 11 = 0",
		'SELECT ' . join(', ', map { "matview.refresh('$_', '$mode')" } sort keys %views),
		"INSERT INTO base VALUES (3000, 3, 'lost')",
		"SELECT $all");
	is( sql('SELECT ' . join(', ',
			map { "(SELECT md5(string_agg(x::text, ' ' ORDER BY x::text)) FROM $_ x)" } sort keys %views)),
		$before, "the views are as before, $mode");
	is(find_damage(), '', "no damage, $mode");
	sql("INSERT INTO base VALUES (4000, 4, 'kept')");
	is(refresh_all(), 'incremental incremental incremental diff', "incremental, $mode");
	check_all("after a refresh that had not committed, $mode");
	sql('DELETE FROM base WHERE id = 4000');
	refresh_all();
}

# The first refresh, not committed: no tracking, and nothing in its way
sql(map { "SELECT matview.untrack('$_')" } sort keys %views);
crash_within("SELECT $all", @undo);
is(sql('SELECT count(*) FROM matview.tracked_views'), '0', 'nothing is tracked');
is(sql(q(SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'matview%')), '0', 'no triggers');
sql(@undo);
refresh_all();
sql(@writes);
is(refresh_all(), 'incremental incremental incremental diff', 'tracked anew');
check_all('tracked anew');

# Killed, not crashed as a whole: the postmaster starts over
sql("UPDATE base SET v = 'before the kill' WHERE id % 4 = 0");
my $killed = start_transaction("SELECT $all");
my $offset = -s $node->logfile;
PostgreSQL::Test::Utils::system_log('pg_ctl', 'kill', 'KILL',
	sql(q(SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep')));
$killed->finish;
# it answers for a moment before it notices
$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
# one view does not show the column
is(refresh_all(), 'none incremental incremental diff', 'after a kill');
check_all('after a kill');

# A writer prepared: its changes come when it commits, and over a crash
sql('BEGIN', "UPDATE base SET v = 'prepared', k = 5 WHERE id % 6 = 0",
	"INSERT INTO base VALUES (5000, 1, 'prepared')", q(PREPARE TRANSACTION 'writer'));
sql("INSERT INTO base VALUES (5001, 2, 'beside')");
is(refresh_all(), 'incremental incremental incremental diff', 'beside a prepared writer');
check_all('beside a prepared writer');
is(refresh_all(), 'none none none diff', 'nothing more to do');
crash_within();
sql("INSERT INTO base VALUES (5002, 2, 'beside')");
is(refresh_all(), 'incremental incremental incremental diff', 'beside a recovered one');
check_all('beside a recovered one');
sql(q(COMMIT PREPARED 'writer'));
is(refresh_all(), 'incremental incremental incremental diff', 'after COMMIT PREPARED');
check_all('after COMMIT PREPARED');
sql('BEGIN', 'DELETE FROM base WHERE id >= 5000', q(PREPARE TRANSACTION 'writer'));
refresh_all();
sql(q(ROLLBACK PREPARED 'writer'));
is(refresh_all(), 'none none none diff', 'after ROLLBACK PREPARED');
check_all('after ROLLBACK PREPARED');

# A refresher prepared
for my $mode ('incremental', 'concurrent', 'diff', 'full')
{
	for my $end ('ROLLBACK', 'COMMIT')
	{
		my $name = "$mode, $end PREPARED";

		sql("UPDATE base SET v = v || 'p' WHERE id % 8 = 1");
		sql('BEGIN', "UPDATE base SET v = v || 'q' WHERE id % 8 = 2",
			'SELECT ' . join(', ', map { "matview.refresh('$_', '$mode')" } sort keys %views),
			"UPDATE base SET v = v || 'r' WHERE id % 8 = 2",
			"SELECT matview.refresh_incremental('grouped'), matview.refresh_incremental('plain')",
			q(PREPARE TRANSACTION 'refresher'));
		sql("UPDATE base SET k = k + 1 WHERE id % 8 = 3");
		crash_within() if $mode eq 'incremental' || $mode eq 'concurrent';
		sql("$end PREPARED 'refresher'");
		is(refresh_all(), 'incremental incremental incremental diff', $name);
		check_all($name);
	}
}

$node->stop;
done_testing();
