# What a preloaded library adds to SQL: matview.auto_refresh in CREATE and
# ALTER MATERIALIZED VIEW, and REFRESH MATERIALIZED VIEW run by us.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('forms');
$node->init;
$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'matview_refresh'
max_worker_processes = 16
));
$node->start;

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

sub policy_of
{
	my ($view) = @_;

	return sql("SELECT policy FROM matview.views WHERE view = to_regclass('$view')");
}

# Code, message, detail and hint of what fails
sub fails
{
	my ($statement, $pattern, $name) = @_;
	my ($status, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");

	is($status, 3, "$name: fails");
	like($stderr, $pattern, $name);
	return;
}

sub options_of
{
	my ($view) = @_;

	return sql("SELECT reloptions FROM pg_class WHERE oid = to_regclass('$view')");
}

# Without the extension the forms are there, but nobody to keep a policy
sql('CREATE TABLE base (id int PRIMARY KEY, k int)',
	'INSERT INTO base SELECT g, g % 4 FROM generate_series(1, 40) g');
fails(q(CREATE MATERIALIZED VIEW v WITH (matview.auto_refresh = on_change) AS SELECT 1 AS a),
	qr/matview/, 'no extension');
is(sql(q(SELECT to_regclass('v') IS NULL)), 't', 'and no view');
sql('CREATE EXTENSION matview_refresh', 'CREATE SCHEMA other');

# CREATE
sql(q(CREATE MATERIALIZED VIEW v WITH (matview.auto_refresh = 'on_change') AS SELECT k, count(*) AS n FROM base GROUP BY k));
is(policy_of('v'), 'on_change', 'CREATE');
is(options_of('v'), '', 'no other options');
sql(q(CREATE MATERIALIZED VIEW other.v WITH (fillfactor = 70, matview.auto_refresh = '1 day', autovacuum_enabled = off) AS SELECT id FROM base WITH NO DATA));
is(policy_of('other.v'), '1 day', 'CREATE in a schema, with other options');
is(options_of('other.v'), '{fillfactor=70,autovacuum_enabled=off}', 'which are kept');
sql(q(CREATE MATERIALIZED VIEW IF NOT EXISTS v WITH (matview.auto_refresh = '2 days') AS SELECT 1 AS a));
is(policy_of('v'), 'on_change', 'IF NOT EXISTS: as it was');
sql(q(CREATE MATERIALIZED VIEW IF NOT EXISTS v2 WITH (matview.auto_refresh = '*/5 * * * *') AS SELECT id FROM base));
is(policy_of('v2'), '*/5 * * * *', 'IF NOT EXISTS: created');
sql(q(EXPLAIN CREATE MATERIALIZED VIEW v3 WITH (matview.auto_refresh = '2 days') AS SELECT 1 AS a));
is(sql(q(SELECT to_regclass('v3') IS NULL)), 't', 'EXPLAIN creates nothing');
sql(q(EXPLAIN ANALYZE CREATE MATERIALIZED VIEW v3 WITH (matview.auto_refresh = '2 days') AS SELECT 1 AS a));
is(policy_of('v3'), '2 days', 'EXPLAIN ANALYZE does');
sql('DROP MATERIALIZED VIEW v3');
# a function that creates it twice, from one cached plan
sql(q(CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	CREATE MATERIALIZED VIEW v3 WITH (matview.auto_refresh = '3 days', fillfactor = 60) AS SELECT id FROM base; END $$));
sql('SELECT make()', 'DROP MATERIALIZED VIEW v3', 'SELECT make()');
is(policy_of('v3'), '3 days', 'from a cached plan');
is(options_of('v3'), '{fillfactor=60}', 'with its options');
# the extended protocol
is( $node->safe_psql('postgres',
		q(CREATE MATERIALIZED VIEW v4 WITH (matview.auto_refresh = '4 days') AS SELECT id FROM base \bind \g),
		extra_params => []), '', 'extended protocol') if $node->pg_version >= 16;
sql(q(BEGIN), q(CREATE MATERIALIZED VIEW v5 WITH (matview.auto_refresh = on_change) AS SELECT id FROM base), 'ROLLBACK');
is(sql(q(SELECT count(*) FROM matview.policies WHERE view_name = 'public.v5')), '0', 'rolled back');

fails(q(CREATE MATERIALIZED VIEW e WITH (matview.auto_refresh = 'never') AS SELECT 1 AS a),
	qr/ERROR:  22023: invalid refresh policy "never"\nDETAIL:  .*\nHINT:  /, 'bad policy');
fails(q(CREATE MATERIALIZED VIEW e WITH (matview.auto_refresh = 'on_commit') AS SELECT random() AS a),
	qr/ERROR:  0A000: .*on_commit.*\nDETAIL:  .*\nHINT:  .*on_change/, 'on_commit');
fails(q(CREATE MATERIALIZED VIEW e WITH (matview.auto_refresh) AS SELECT 1 AS a),
	qr/ERROR:  42601: auto_refresh requires a parameter/, 'no value');
fails(q(CREATE MATERIALIZED VIEW e WITH (matview.other = 1) AS SELECT 1 AS a),
	qr/ERROR:  22023: unrecognized parameter "matview\.other"\nDETAIL:  .*\nHINT:  /, 'another parameter');
fails(q(CREATE MATERIALIZED VIEW e WITH (matview.auto_refresh = on_change, matview.auto_refresh = on_change) AS SELECT 1 AS a),
	qr/ERROR:  42601: parameter "matview\.auto_refresh" specified more than once/, 'twice');
fails(q(CREATE TABLE e WITH (matview.auto_refresh = on_change) AS SELECT 1 AS a),
	qr/unrecognized parameter namespace "matview"/, 'a table');
fails(q(CREATE MATERIALIZED VIEW e WITH (others.auto_refresh = on_change) AS SELECT 1 AS a),
	qr/unrecognized parameter namespace "others"/, 'namespaces of others');
is(sql(q(SELECT to_regclass('e') IS NULL)), 't', 'none of them was created');

# ALTER
sql(q(ALTER MATERIALIZED VIEW v SET (matview.auto_refresh = '5 seconds')));
is(policy_of('v'), '00:00:05', 'SET');
sql(q(ALTER MATERIALIZED VIEW v SET (fillfactor = 80, matview.auto_refresh = on_change), ALTER n SET STATISTICS 7));
is(policy_of('v'), 'on_change', 'SET with other options');
is(options_of('v'), '{fillfactor=80}', 'which are set');
is(sql(q(SELECT attstattarget FROM pg_attribute WHERE attrelid = 'v'::regclass AND attname = 'n')), '7', 'other subcommands');
sql(q(ALTER MATERIALIZED VIEW v RESET (matview.auto_refresh, fillfactor)));
is(policy_of('v'), '', 'RESET');
is(options_of('v'), '', 'RESET of others');
sql(q(ALTER MATERIALIZED VIEW v RESET (matview.auto_refresh)));
sql(q(ALTER MATERIALIZED VIEW IF EXISTS nothing SET (matview.auto_refresh = on_change)));
sql(q(ALTER TABLE v SET (matview.auto_refresh = on_change)));
is(policy_of('v'), 'on_change', 'ALTER TABLE of a materialized view');
fails(q(ALTER MATERIALIZED VIEW nothing SET (matview.auto_refresh = on_change)),
	qr/ERROR:  42P01: relation "nothing" does not exist/, 'no such view');
fails(q(ALTER TABLE base SET (matview.auto_refresh = on_change)),
	qr/ERROR:  42809: "base" is not a materialized view\nDETAIL:  .*\nHINT:  /, 'a table');
fails(q(ALTER MATERIALIZED VIEW v SET (matview.auto_refresh = '0 seconds', fillfactor = 55)),
	qr/ERROR:  22023: invalid refresh policy/, 'bad policy');
is(options_of('v'), '', 'nothing was set');
sql('CREATE ROLE other_role', 'GRANT ALL ON SCHEMA public TO other_role');
fails(q(SET ROLE other_role; ALTER MATERIALIZED VIEW v SET (matview.auto_refresh = on_change)),
	qr/ERROR:  42501: permission denied for materialized view "v"\nDETAIL:  .*\nHINT:  /, 'no right');
fails(q(SET ROLE other_role; ALTER MATERIALIZED VIEW v RESET (matview.auto_refresh)), qr/ERROR:  42501: /, 'no right to reset');

# REFRESH
sql(q(ALTER MATERIALIZED VIEW v RESET (matview.auto_refresh)), q(ALTER MATERIALIZED VIEW other.v RESET (matview.auto_refresh)),
	q(ALTER MATERIALIZED VIEW v2 RESET (matview.auto_refresh)), q(ALTER MATERIALIZED VIEW v3 RESET (matview.auto_refresh)));
sql(q(SELECT matview.untrack('v')), q(SELECT matview.refresh_incremental('v')), 'ANALYZE base', 'INSERT INTO base SELECT g, 1 FROM generate_series(41, 2000) g',
	q(SELECT matview.refresh_incremental('v')), 'ANALYZE base, v');

sub last_mode
{
	my ($view) = @_;

	return sql("SELECT mode FROM matview.history WHERE view = to_regclass('$view') ORDER BY started DESC LIMIT 1");
}

sub count_refreshes
{
	my ($view) = @_;

	return sql("SELECT count(*) FROM matview.history WHERE view = to_regclass('$view')");
}

my $count = count_refreshes('v');
sql('INSERT INTO base VALUES (3001, 1)', 'REFRESH MATERIALIZED VIEW v');
is(count_refreshes('v'), $count, 'off: core has done it');
sql(q(SELECT matview.refresh_incremental('v')));
sql('INSERT INTO base VALUES (3002, 2)', 'SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW v');
is(last_mode('v'), 'incremental', 'REFRESH');
is(sql(q(SELECT * FROM matview.check('v'))), '0|0', 'and right');
sql('UPDATE base SET k = 3 WHERE id = 3002', 'SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW CONCURRENTLY v');
is(last_mode('v'), 'incremental', 'REFRESH CONCURRENTLY, without a unique index');
is(sql(q(SELECT * FROM matview.check('v'))), '0|0', 'and right');
sql('CREATE MATERIALIZED VIEW other.w AS SELECT id FROM base WITH NO DATA',
	'SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW other.w');
is(last_mode('other.w'), 'concurrent', 'one that is not tracked');
is(sql(q(SELECT * FROM matview.check('other.w'))), '0|0', 'and right');
is(sql(q(SELECT count(*) FROM matview.tracked_views WHERE view = 'other.w'::regclass)), '0', 'it is not tracked for that');
# what would be rebuilt is not if CONCURRENTLY promises old snapshots the old contents
my $file = q(SELECT pg_relation_filenode('other.w'));
for my $form ('', 'CONCURRENTLY ')
{
	my $before = sql($file);

	sql('INSERT INTO base SELECT max(id) + 1, 1 FROM base',
		"SET matview.history_limit = 0; SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW ${form}other.w");
	is(sql($file) eq $before ? 'same file' : 'another file', $form ? 'same file' : 'another file', "REFRESH ${form}of one that is not tracked");
	is(sql(q(SELECT * FROM matview.check('other.w'))), '0|0', 'and right');
}
sql('SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW v WITH NO DATA');
is(sql(q(SELECT relispopulated FROM pg_class WHERE oid = 'v'::regclass)), 'f', 'WITH NO DATA is what core does');
sql('SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW v');
is(sql(q(SELECT * FROM matview.check('v'))), '0|0', 'filled again');
fails('SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW base', qr/"base" is not a materialized view/, 'a table');
fails('SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW nothing', qr/relation "nothing" does not exist/, 'nothing');
fails('SET matview.intercept_refresh = on; SET ROLE other_role; REFRESH MATERIALIZED VIEW v', qr/ERROR:  42501: /, 'no right');
fails('SET matview.intercept_refresh = on; BEGIN READ ONLY; REFRESH MATERIALIZED VIEW v', qr/ERROR:  25006: /, 'read only');
# in a transaction, and in a function from a cached plan
sql('SET matview.intercept_refresh = on; BEGIN', 'UPDATE base SET k = 0 WHERE id = 3002', 'REFRESH MATERIALIZED VIEW v', 'COMMIT');
is(sql(q(SELECT * FROM matview.check('v'))), '0|0', 'in a transaction');
sql(q(CREATE FUNCTION again() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	FOR i IN 1..3 LOOP UPDATE base SET k = i WHERE id = 3001; REFRESH MATERIALIZED VIEW v; END LOOP; END $$),
	'SET matview.intercept_refresh = on; SELECT again()');
is(sql(q(SELECT * FROM matview.check('v'))), '0|0', 'in a function');
# without the extension core has its command again
sql('DROP EXTENSION matview_refresh', 'SET matview.intercept_refresh = on; REFRESH MATERIALIZED VIEW v');
is(sql('SELECT sum(n) FROM v'), sql('SELECT count(*) FROM base'), 'without the extension');

$node->stop;
done_testing();
