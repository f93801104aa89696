# Writers beside each other, and views of all policies over what they write.  At
# the end every view is what its query says.  First with on_commit alone, and
# each client with rows of his own: then nobody may fail, nor wait for ever.
#
# MVR_LOAD_SECONDS is for how long, 20 by default; see scripts/load.sh.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{MVR_LOAD_SECONDS} // 20;
my $node = PostgreSQL::Test::Cluster->new('live_load');
$node->init;
$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
max_prepared_transactions = 20
deadlock_timeout = 100ms
matview.min_interval = 20ms
log_statement = none
log_min_error_statement = panic
));
$node->start;

# Name, policy under the mixed load, query
my @views = (
	[ s_groups => 'on_statement', 'SELECT branch, count(*) AS n, sum(balance) AS s, min(balance) AS lo, max(balance) AS hi FROM accounts GROUP BY branch' ],
	[ s_rows => 'on_statement', 'SELECT account, amount FROM history WHERE amount > 0' ],
	[ s_parts => 'on_statement', 'SELECT k, count(*) AS n, max(id) AS hi FROM parted GROUP BY k' ],
	[ s_windows => 'on_statement', 'SELECT id, rank() OVER (PARTITION BY region ORDER BY name) AS r FROM branches' ],
	[ c_groups => 'on_commit', 'SELECT branch, avg(balance) AS a, count(*) FILTER (WHERE balance > 100) AS n FROM accounts GROUP BY branch' ],
	[ c_inner => 'on_commit', 'SELECT a.id, a.balance, b.name FROM accounts a JOIN branches b ON b.id = a.branch' ],
	[ c_sums => 'on_commit', 'SELECT b.region, sum(a.balance) AS s, max(a.balance) AS hi FROM accounts a JOIN branches b ON b.id = a.branch GROUP BY b.region' ],
	[ c_outer => 'on_commit', 'SELECT b.id, b.name, p.id AS p FROM branches b LEFT JOIN parted p ON p.k = b.id' ],
	[ c_nested => 'on_commit', 'SELECT n, count(*) AS times FROM (SELECT branch, count(*) AS n FROM accounts GROUP BY branch) x GROUP BY n' ],
	[ c_exists => 'on_commit', 'SELECT id, name FROM branches b WHERE EXISTS (SELECT FROM accounts a WHERE a.branch = b.id AND a.balance > 150)' ],
	[ c_top => 'on_commit', 'SELECT id, balance FROM accounts ORDER BY balance DESC, id LIMIT 5' ],
	[ c_above => 'on_commit', 'SELECT n, count(*) AS times FROM s_groups GROUP BY n' ],
	[ g_joined => 'on_change', 'SELECT h.account, a.branch, sum(h.amount) AS s FROM history h JOIN accounts a ON a.id = h.account GROUP BY 1, 2' ],
	[ g_above => 'on_change', 'SELECT sum(s) AS s FROM c_sums' ],
	[ i_parts => '500 milliseconds', 'SELECT id, k FROM parted WHERE id % 2 = 0' ],
	[ m_plain => 'off', 'SELECT id, balance FROM accounts WHERE balance < 50' ]);

$node->safe_psql('postgres', join(";\n", 'CREATE EXTENSION matview_refresh',
	'CREATE TABLE branches (id int PRIMARY KEY, name text, region int)',
	'CREATE TABLE accounts (id int PRIMARY KEY, branch int, balance int)',
	'CREATE TABLE history (id serial PRIMARY KEY, account int, amount int)',
	'CREATE TABLE parted (id int, k int) PARTITION BY LIST (k)',
	'CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (0, 1, 2, 3, 4)',
	'CREATE TABLE parted_2 PARTITION OF parted DEFAULT',
	q(INSERT INTO branches SELECT g, 'b' || g, g % 3 FROM generate_series(0, 19) g),
	'INSERT INTO accounts SELECT g, g % 20, g FROM generate_series(0, 299) g',
	'INSERT INTO history (account, amount) SELECT g % 300, g % 9 - 4 FROM generate_series(1, 500) g',
	'INSERT INTO parted SELECT g, g % 10 FROM generate_series(0, 99) g',
	'CREATE INDEX ON accounts (branch)', 'CREATE INDEX ON parted (k)', 'CREATE INDEX ON history (account)',
	map { "CREATE MATERIALIZED VIEW $_->[0] AS $_->[2]" } @views));

# :mine is a number that no other client has
my %scripts = (
	account => q(
\set id random(0, 19) * 15 + :mine
\set amount random(-20, 20)
BEGIN;
UPDATE accounts SET balance = balance + :amount WHERE id = :id;
INSERT INTO history (account, amount) VALUES (:id, :amount);
COMMIT;
),
	branch => q(
\set id random(0, 1) * 15 + :mine
\set account random(0, 19) * 15 + :mine
\set region random(0, 2)
BEGIN;
UPDATE branches SET region = :region, name = name || '.' WHERE id = :id AND length(name) < 20;
UPDATE branches SET name = 'b' || id WHERE id = :id AND length(name) >= 20;
SAVEPOINT s;
DELETE FROM parted WHERE id = :account;
ROLLBACK TO s;
UPDATE accounts SET branch = :region + :id WHERE id = :account;
COMMIT;
),
	part => q(
\set id random(0, 9) * 15 + :mine
\set k random(0, 9)
BEGIN;
DELETE FROM parted WHERE id = :id;
INSERT INTO parted VALUES (:id, :k);
INSERT INTO history (account, amount) VALUES (:id, :k);
COMMIT;
UPDATE parted SET k = (k + 1) % 10 WHERE id = :id;
),
	other_way => q(
\set id random(0, 19) * 15 + :mine
BEGIN;
INSERT INTO history (account, amount) VALUES (:id, 3), (:id, 3);
DELETE FROM history WHERE id IN (SELECT id FROM history WHERE account = :id ORDER BY id LIMIT 2);
UPDATE parted SET k = (k + 3) % 10 WHERE id = :id;
DELETE FROM accounts WHERE id = :id;
INSERT INTO accounts VALUES (:id, :id % 20, 77);
COMMIT;
),
	prepared => q(
\set id random(0, 19) * 15 + :mine
BEGIN;
UPDATE accounts SET balance = 200 - balance WHERE id = :id;
UPDATE parted SET k = (k + 5) % 10 WHERE id = :id;
PREPARE TRANSACTION 'p:mine';
COMMIT PREPARED 'p:mine';
),
	bulk => q(
BEGIN;
UPDATE accounts SET balance = balance + 1 WHERE id % 15 = :mine;
INSERT INTO history (account, amount) SELECT :mine, g % 5 FROM generate_series(1, 150) g;
DELETE FROM history WHERE account = :mine;
COMMIT;
\sleep 100 ms
),
	commands => q(
SELECT matview.refresh_incremental('m_plain');
SELECT matview.refresh_concurrent('c_top');
REFRESH MATERIALIZED VIEW s_windows;
ANALYZE accounts, parted;
VACUUM accounts, s_groups, c_inner;
ALTER TABLE history ALTER amount SET STATISTICS 50;
\sleep 300 ms
));
my $dir = $node->basedir;
append_to_file("$dir/$_.sql", $scripts{$_}) for keys %scripts;

# One client for each script and isolation level; "tries" of each transaction
sub run_load
{
	my ($seconds, $tries, @what) = @_;
	my $mine = 0;
	my @running;

	for my $what (@what)
	{
		my ($script, $isolation) = split /:/, $what;
		my ($out, $err) = ('', '');
		local $ENV{PGOPTIONS} = $isolation ? "-c default_transaction_isolation=$isolation" : '';
		my $run = IPC::Run::start([ 'pgbench', '-n', '-T', $seconds, '--max-tries', $tries, '-D', 'mine=' . $mine++,
				'-f', "$dir/$script.sql", '-h', $node->host, '-p', $node->port, 'postgres' ],
			'<', \undef, '>', \$out, '2>', \$err);
		push @running, [ $what, $run, \$out, \$err ];
	}
	for my $running (@running)
	{
		my ($what, $run, $out, $err) = @$running;

		ok($run->finish, "$what goes on to the end") or diag($$err);
		my ($done) = $$out =~ /transactions actually processed: (\d+)/;
		my ($failed) = $$out =~ /failed transactions: (\d+)/;
		note("$what: $done, failed $failed");
		is($failed, 0, "$what: none failed") or diag($$err);
		cmp_ok($done, '>', 0, "$what: some done");
	}
	return;
}

sub check_all
{
	my ($name) = @_;

	for my $view (@views)
	{
		my ($view, undef, $query) = @$view;
		my $is_right = $node->poll_query_until('postgres', "SELECT missing = 0 AND extra = 0 FROM matview.check('$view')");

		ok($is_right, "$name: check of $view");
		is( $node->safe_psql('postgres', "SELECT
			(SELECT count(*) FROM (SELECT \"r r\"::text FROM $view \"r r\" EXCEPT ALL SELECT \"r r\"::text FROM ($query) \"r r\") x),
			(SELECT count(*) FROM (SELECT \"r r\"::text FROM ($query) \"r r\" EXCEPT ALL SELECT \"r r\"::text FROM $view \"r r\") x)"),
			'0|0', "$name: contents of $view");
	}
	return;
}

# On_commit alone
for my $view (@views)
{
	$node->safe_psql('postgres', "SELECT matview.set_auto_refresh('$view->[0]', 'on_commit')");
}
run_load($seconds / 4, 1, 'account', 'account', 'branch', 'part', 'other_way', 'prepared', 'bulk');
check_all('on_commit');

# All policies, beside commands, and at all isolation levels.  On_statement a
# transaction can meet another one that has locked the same groups before.
for my $view (@views)
{
	$node->safe_psql('postgres', "SELECT matview.set_auto_refresh('$view->[0]', '$view->[1]')");
}
run_load($seconds, 0, 'account', 'account:repeatable\ read', 'branch', 'branch:serializable', 'part', 'part:repeatable\ read',
	'other_way', 'prepared', 'bulk', 'commands');
$node->safe_psql('postgres', "SELECT matview.refresh_incremental('m_plain')");
check_all('all policies');
# what somebody has put right by hand is tried again all the same
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM matview.views WHERE failures > 0'), 'no failures');

$node->stop;
done_testing();
