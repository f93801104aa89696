# pg_dump and restore: a dump holds the views and nothing of what tracking keeps,
# and where it is restored a refresh tracks them again.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;

my %views = (
	plain => 'SELECT k, v FROM s.base',
	grouped => 'SELECT k, count(*) AS n, sum(id) AS total FROM s.base GROUP BY k',
	part => 'SELECT id, k FROM s.parted WHERE id > 0',
	recomputed => 'SELECT id FROM s.base TABLESAMPLE SYSTEM (100) WHERE EXISTS (SELECT FROM s.parted p WHERE p.id = base.id)');
my @names = sort keys %views;

sub refresh_all
{
	my ($db) = @_;

	return $node->safe_psql($db, 'SELECT ' . join(" || ' ' || ",
		map { "(matview.refresh_incremental('s.$_')).mode" } @names));
}

# By the extension and without it; '' if all is well
sub find_wrong
{
	my ($db) = @_;
	my @queries = map {
		"SELECT '$_', c.missing, c.extra,
			(SELECT count(*) FROM (TABLE s.$_ EXCEPT ALL ($views{$_})) d),
			(SELECT count(*) FROM (($views{$_}) EXCEPT ALL TABLE s.$_) d)
		FROM matview.check('s.$_') c" } @names;
	my @lines = split /\n/, $node->safe_psql($db, join(' UNION ALL ', @queries));

	is(scalar @lines, scalar @names, 'all views looked at');
	return join("\n", grep { !/\|0\|0\|0\|0$/ } @lines);
}

# All that a user has said about the views
sub describe
{
	my ($db) = @_;

	return $node->safe_psql($db, q(
	SELECT relname, relispopulated, reloptions, relacl, relowner::regrole, pg_get_viewdef(c.oid),
		obj_description(c.oid, 'pg_class'), col_description(c.oid, 1),
		(SELECT string_agg(pg_get_indexdef(indexrelid), ' ' ORDER BY indexrelid::regclass::text) FROM pg_index
		  WHERE indrelid = c.oid AND pg_get_indexdef(indexrelid) !~ 'matview\.'),
		(SELECT string_agg(attname || ':' || attstattarget, ' ' ORDER BY attnum) FROM pg_attribute
		  WHERE attrelid = c.oid AND attnum > 0 AND attstattarget > 0)
	  FROM pg_class c WHERE relnamespace = 's'::regnamespace AND relkind = 'm' ORDER BY 1));
}

sub write_all
{
	my ($db) = @_;

	$node->safe_psql($db, q(
	INSERT INTO s.base SELECT g, g % 9, 'new' FROM generate_series(201, 250) g;
	UPDATE s.base SET v = v || 'x', k = k + 1 WHERE id % 10 = 0;
	DELETE FROM s.base WHERE id < 10 OR k = 3;
	INSERT INTO s.parted SELECT max(id) + 1, 5 FROM s.parted;
	INSERT INTO s.parted SELECT max(id) + 1, 15 FROM s.parted;
	UPDATE s.parted SET k = k + 10 WHERE k BETWEEN 1 AND 4));
	return;
}

$node->safe_psql('postgres', q(CREATE ROLE reader; CREATE DATABASE source));
$node->safe_psql('source', q(
CREATE EXTENSION matview_refresh;
CREATE SCHEMA s;
CREATE TABLE s.base (id int PRIMARY KEY, k int, v text);
CREATE TABLE s.parted (id int, k int) PARTITION BY RANGE (k);
CREATE TABLE s.parted_1 PARTITION OF s.parted FOR VALUES FROM (0) TO (10);
CREATE TABLE s.parted_2 (k int, id int);
ALTER TABLE s.parted ATTACH PARTITION s.parted_2 FOR VALUES FROM (10) TO (100);
INSERT INTO s.base SELECT g, g % 7, g::text FROM generate_series(1, 200) g;
INSERT INTO s.parted SELECT g, g FROM generate_series(1, 20) g;
CREATE FUNCTION s.own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER own AFTER INSERT ON s.base EXECUTE FUNCTION s.own();
) . join('', map { "CREATE MATERIALIZED VIEW s.$_ AS $views{$_};\n" } @names) . q(
CREATE UNIQUE INDEX part_id ON s.part (id) WITH (fillfactor = 70);
CREATE INDEX plain_v ON s.plain (lower(v)) WHERE k > 1;
ALTER MATERIALIZED VIEW s.plain SET (fillfactor = 80, autovacuum_enabled = false);
ALTER MATERIALIZED VIEW s.plain ALTER v SET STATISTICS 300;
COMMENT ON MATERIALIZED VIEW s.plain IS 'what it is';
COMMENT ON COLUMN s.plain.k IS 'a key';
GRANT SELECT ON s.plain, s.grouped TO reader;
CREATE VIEW s.above AS SELECT count(*) FROM s.grouped;
));

my $dir = $node->basedir;
my $described = describe('source');
$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/before.sql", 'source' ], 'dump before');
refresh_all('source');
write_all('source');
is(refresh_all('source'), 'incremental incremental incremental diff', 'tracked');
is(describe('source'), $described, 'the views are described as before');

# Changes that the views have not consumed go into the dump, but not the logs
$node->safe_psql('source', q(
	INSERT INTO s.base VALUES (900, 1, 'pending');
	UPDATE s.base SET v = 'pending' WHERE id = 50));
$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/after.sql", 'source' ], 'dump after');
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", 'source' ], 'dump, plain');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", 'source' ], 'dump, custom');

my $before = slurp_file("$dir/before.sql");
my $after = slurp_file("$dir/after.sql");
my $plain = slurp_file("$dir/plain.sql");
# newer releases fence a dump with a key of its own
s/^\\(un)?restrict .*$//mg for $before, $after;
# The index that finds rows without a key belongs to the view and goes with the
# extension
my $index = $after =~ s/^--\n-- Name: plain_row_hash_idx; .*?\n\n(?=--\n-- )//ms ? $& : '';
like($index, qr/^CREATE INDEX plain_row_hash_idx ON s\.plain USING btree \(matview\.row_hash\(plain\.\*\)\);$/m,
	'the index on row hashes');
like($index, qr/^ALTER INDEX s\.plain_row_hash_idx DEPENDS ON EXTENSION matview_refresh;$/m,
	'which depends on the extension');
is($after, $before, 'nothing else differs from a dump before tracking');
unlike($plain, qr/matview\.(log|state)_/, 'no logs, no states');
unlike($plain, qr/matview\.(tracked|change_logs|refresh_history)/, 'no registry');
unlike($plain, qr/matview\.capture|TRIGGER "?matview/, 'no triggers of ours');
like($plain, qr/CREATE TRIGGER own /, 'the triggers of others');
like($plain, qr/CREATE EXTENSION IF NOT EXISTS matview_refresh/, 'the extension');

# Restored: filled by REFRESH, and tracked again by the first refresh of ours
sub check_restored
{
	my ($db) = @_;

	is(describe($db), $described, "$db: the views are described as before");
	is(find_wrong($db), '', "$db: contents");
	is($node->safe_psql($db, 'SELECT count(*) FROM matview.tracked_views'), '0', "$db: not tracked");
	is( $node->safe_psql($db, q(
		SELECT count(*) FROM pg_class WHERE relnamespace = 'matview'::regnamespace
		   AND relname ~ '^(log|state)_')), '0', "$db: no logs, no states");
	refresh_all($db);
	is(find_wrong($db), '', "$db: contents after the first refresh");
	write_all_again($db);
	is(refresh_all($db), 'incremental incremental incremental diff', "$db: tracked again");
	is(find_wrong($db), '', "$db: contents after an incremental refresh");
	is(refresh_all($db), 'none none none diff', "$db: nothing more to do");
	is( $node->safe_psql($db, q(SELECT count(*) FROM pg_indexes WHERE indexdef ~ 'matview\.row_hash')),
		'1', "$db: the index on row hashes is found again");
	is(describe($db), $described, "$db: the views are still described as before");
	return;
}

sub write_all_again
{
	my ($db) = @_;

	$node->safe_psql($db, q(DELETE FROM s.base WHERE id BETWEEN 1 AND 10 OR id BETWEEN 201 AND 260));
	write_all($db);
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE from_plain; CREATE DATABASE from_custom; CREATE DATABASE with_ours');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'from_plain', '-f', "$dir/plain.sql" ],
	'restore, plain');
check_restored('from_plain');
$node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', 'from_custom', "$dir/custom.dump" ],
	'restore, two jobs');
check_restored('from_custom');

# --clean into a database in which the same views are tracked
$node->command_ok([ 'pg_restore', '-e', '--clean', '--if-exists', '-d', 'from_custom', "$dir/custom.dump" ],
	'restore over tracked views');
check_restored('from_custom');

# Data alone, into tables that are captured: nothing special about it
$node->safe_psql('from_plain', 'TRUNCATE s.base, s.parted');
refresh_all('from_plain');
is(find_wrong('from_plain'), '', 'emptied');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '--disable-triggers', '-t', 'base', '-t', 'parted_1',
		'-t', 'parted_2', '-d', 'from_plain', "$dir/custom.dump" ],
	'restore of data, triggers disabled');
refresh_all('from_plain');
is(find_wrong('from_plain'), '', 'filled again');

# The source does not know that it was dumped
is(refresh_all('source'), 'incremental none incremental diff', 'the source goes on');
is(find_wrong('source'), '', 'source');

# A copy by CREATE DATABASE has everything, OIDs and all
$node->safe_psql('source', q(INSERT INTO s.base VALUES (901, 1, 'pending')));
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE source');
is(refresh_all('copied'), 'incremental none incremental diff', 'a copy goes on');
is(find_wrong('copied'), '', 'copy');

# The schema is the extension's own: it goes with it, is not taken over from
# somebody else, and keeps its name
my $err;
$node->safe_psql('postgres', 'CREATE DATABASE theirs; CREATE ROLE stranger; GRANT CREATE ON DATABASE theirs TO stranger');
$node->safe_psql('theirs', 'SET ROLE stranger; CREATE SCHEMA matview');
$node->psql('theirs', 'CREATE EXTENSION matview_refresh', stderr => \$err);
like($err, qr/schema "matview" already exists/, 'the schema of somebody else');
$node->safe_psql('theirs', 'DROP SCHEMA matview; CREATE EXTENSION matview_refresh');
$node->psql('theirs', 'ALTER SCHEMA matview RENAME TO other', stderr => \$err);
like($err, qr/schema "matview" and its tables cannot be renamed/, 'another name for the schema');
$node->psql('theirs', 'ALTER TABLE matview.policies RENAME TO other', stderr => \$err);
like($err, qr/schema "matview" and its tables cannot be renamed/, 'another name for a table');
$node->safe_psql('theirs', 'DROP EXTENSION matview_refresh');
is( $node->safe_psql('theirs', q(SELECT count(*) FROM pg_namespace WHERE nspname = 'matview')), '0',
	'the schema goes with the extension');

$node->stop;
done_testing();
