# Commands that SPI ends after some rows fire no AFTER STATEMENT trigger: what
# they have written is noticed all the same.
use strict;
use warnings;

use Cwd qw(abs_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('spi_limit');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 2');
$node->start;
my $library = abs_path($node->basedir) . '/spi_limit.so';
my $include = $node->config_data('--includedir-server');
$node->command_ok([ 'gcc', '-shared', '-fPIC', "-I$include", '-o', $library, 't/spi_limit.c' ], 'the function is built');

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

sub check
{
	my ($name) = @_;

	is(sql("SELECT view, c.* FROM unnest('{committed,stated}'::regclass[]) AS view, matview.check(view) c"),
		"committed|0|0\nstated|0|0", "$name: live views");
	is(sql("SELECT mode FROM unnest('{tracked,grouped}'::regclass[]) AS view, matview.refresh_incremental(view)"), "diff\ndiff", "$name: recomputed");
	is(sql("SELECT c.* FROM unnest('{tracked,grouped}'::regclass[]) AS view, matview.check(view) c"), "0|0\n0|0", "$name: and right");
	return;
}

sql('CREATE EXTENSION matview_refresh',
	"CREATE FUNCTION spi_limit(text, int) RETURNS bigint LANGUAGE c STRICT AS '$library'",
	'CREATE TABLE base (id int, k int)', 'INSERT INTO base SELECT i, i % 3 FROM generate_series(1, 30) i',
	map({ "CREATE MATERIALIZED VIEW $_ AS SELECT id, k FROM base" } 'tracked', 'committed', 'stated'),
	'CREATE MATERIALIZED VIEW grouped AS SELECT k, count(*), sum(id) FROM base GROUP BY k',
	map({ "SELECT matview.refresh_incremental('$_')" } 'tracked', 'grouped'),
	q(SELECT matview.set_auto_refresh('committed', 'on_commit')), q(SELECT matview.set_auto_refresh('stated', 'on_statement')));

is(sql(q(SELECT spi_limit('INSERT INTO base SELECT i, 1 FROM generate_series(101, 109) i RETURNING id', 3))), '3', 'INSERT ends after three rows');
check('INSERT');
is(sql(q(SELECT spi_limit('UPDATE base SET k = 7 RETURNING id', 4))), '4', 'UPDATE');
check('UPDATE');
is(sql(q(SELECT spi_limit('DELETE FROM base RETURNING id', 2))), '2', 'DELETE');
check('DELETE');
sql('BEGIN', 'INSERT INTO base VALUES (200, 1)', q(SELECT spi_limit('DELETE FROM base RETURNING id', 2)), 'UPDATE base SET k = 5 WHERE id = 20', 'COMMIT');
check('among others');
sql('BEGIN', q(SELECT spi_limit('DELETE FROM base RETURNING id', 2)), q(PREPARE TRANSACTION 'limited'), q(COMMIT PREPARED 'limited'));
check('prepared');

# What is rolled back leaves nothing, and all goes on as before
sql('BEGIN', 'SAVEPOINT s', q(SELECT spi_limit('DELETE FROM base RETURNING id', 2)), 'ROLLBACK TO s', 'INSERT INTO base VALUES (300, 2)', 'COMMIT');
is(sql("SELECT mode FROM unnest('{tracked,grouped}'::regclass[]) AS view, matview.refresh_incremental(view)"), "incremental\nincremental", 'rolled back');
is(sql("SELECT c.* FROM unnest('{tracked,grouped,committed,stated}'::regclass[]) AS view, matview.check(view) c"), "0|0\n0|0\n0|0\n0|0", 'and right');

$node->stop;
done_testing();
