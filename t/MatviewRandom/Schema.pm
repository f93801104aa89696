# MatviewRandom::Schema
#
# Random base tables: plain, partitioned or inherited, with keys, foreign
# keys, dropped and generated columns, triggers and odd names.
#
# A table is
#	n		quoted name
#	cols	columns, see MatviewRandom::Types; also
#			 fill	false: the table computes it
#			 ref	the table whose id it holds
#	kind	plain, partitioned, inherited
#	pk		names of the primary key's columns, or undef
#	parts	what DML may aim at besides the table itself
#	leaves	partitions that may be detached and attached: { n, bound }
#
# Every table has the columns id and k of type int, so that anything joins.
package MatviewRandom::Schema;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use MatviewRandom::Dice;
use MatviewRandom::Types;

our @EXPORT = qw(make_tables col_named writable_columns any_row insert_sql field_sql);

our $has_icu = 1;

my @COLUMN_NAMES = (
	'weight', 'xid', 'cid', 'c1', 'c2', 'Mixed Case', 'select', 'a"b',
	'count', 'sum', 'grüße', 'tid', 'hash', 'x' x 63);

sub make_tables
{
	my ($emit, $version) = @_;

	make_types($emit);
	my $ntables = weighted(1 => 1, 2 => 5, 3 => 4, 4 => 2);
	my @names = ('t0', 't1', 't2', 't3');
	for my $name (@names)
	{
		$name .= pick(' one', '"quoted"', 'Upper', '_' . 'y' x 60) if chance(15);
	}
	my @tables;
	for my $i (0 .. $ntables - 1)
	{
		push @tables, make_table($emit, $version, $names[$i], @tables);
	}
	add_triggers($emit, @tables) if chance(10);
	return @tables;
}

sub make_types
{
	my ($emit) = @_;

	$emit->("CREATE TYPE mood AS ENUM ('low', 'mid', 'high')");
	$emit->('CREATE TYPE pair AS (a integer, b text)');
	$emit->('CREATE DOMAIN count_dom AS integer CHECK (VALUE >= 0)');
	$emit->($has_icu ? q(CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)) : 'CREATE COLLATION nocase FROM "C"');
	$emit->('CREATE AGGREGATE plus(bigint) (SFUNC = int8pl, STYPE = bigint, INITCAP = 0)');
	$emit->('CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT $1 * 2 $$');
	$emit->('CREATE FUNCTION plsum(integer, integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1 + $2; END $$');
	return;
}

sub make_table
{
	my ($emit, $version, $name, @others) = @_;

	my $kind = weighted(plain => 55, partitioned => 28, inherited => 17);
	my $t = { n => quote_name($name), raw => $name, kind => $kind, parts => [], leaves => [] };
	my @cols = ({ n => 'id', t => 'int', notnull => 1 }, { n => 'k', t => 'int' });

	my @spare = shuffled(@COLUMN_NAMES);
	my $n = 0;
	for (1 .. 2 + roll(5))
	{
		my $raw = chance(25) ? pop @spare : 'v' . $n++;
		push @cols, { n => quote_name($raw), t => weighted(column_types()) };
	}
	push @cols, map { { n => "w$_", t => 'int' } } 1 .. 70 if chance(1);
	my ($target) = some_of(1, grep { $_->{single_id} } @others);
	push @cols, { n => 'ref', t => 'int', ref => $target } if $target && chance(70);
	if (chance(15))
	{
		my $virtual = $version >= 180000 && chance(50);
		push @cols, {
			n => 'gen', t => 'int', fill => 0,
			def => 'GENERATED ALWAYS AS (' . pick('id * 2', 'coalesce(k, -1) + 1') . ') '
			  . ($virtual ? 'VIRTUAL' : 'STORED') };
		$t->{virtual} = $virtual;
	}
	push @cols, { n => 'dropped1', t => 'text', gone => 1 } if chance(20);
	push @cols, { n => 'dropped2', t => 'bigint', gone => 1 } if chance(20);
	@cols = shuffled(@cols);

	my $split = '';
	if ($kind eq 'partitioned')
	{
		$t->{split} = weighted(list => 3, hash => 2, range => 3);
		$split = $t->{split} eq 'hash' ? 'PARTITION BY HASH (id)' : "PARTITION BY \U$t->{split}\E (k)";
	}
	$t->{unlogged} = $kind eq 'plain' && chance(1);
	$emit->(
		sprintf 'CREATE %sTABLE %s (%s) %s',
		$t->{unlogged} ? 'UNLOGGED ' : '',
		$t->{n}, join(', ', map { column_sql($_) } @cols), $split);
	$t->{cols} = [ grep { !$_->{gone} } @cols ];
	my @gone = grep { $_->{gone} } @cols;

	if ($kind eq 'partitioned')
	{
		make_partitions($emit, $t, @cols);
	}
	elsif ($kind eq 'inherited')
	{
		make_children($emit, $t);
	}
	$emit->("ALTER TABLE $t->{n} DROP COLUMN $_->{n}") for @gone;
	add_keys($emit, $t);
	return $t;
}

sub column_sql
{
	my ($col) = @_;
	return join ' ', grep { $_ } $col->{n}, type_sql($col->{t}), $col->{def},
	  $col->{notnull} ? 'NOT NULL' : '';
}

# Partitions made with PARTITION OF, and others made as tables with another
# order of columns and then attached.
sub make_partitions
{
	my ($emit, $t, @cols) = @_;

	my @bounds =
		$t->{split} eq 'hash'
	  ? map { "FOR VALUES WITH (MODULUS 3, REMAINDER $_)" } 0 .. 2
	  : $t->{split} eq 'list'
	  ? ('FOR VALUES IN (0, 1)', 'FOR VALUES IN (2, 3, 4)', 'DEFAULT')
	  : ('FOR VALUES FROM (MINVALUE) TO (2)', 'FOR VALUES FROM (2) TO (4)', 'DEFAULT');
	my $i = 0;
	for my $bound (@bounds)
	{
		my $leaf = quote_name("$t->{raw}_p" . $i++);
		$leaf = quote_name(substr($t->{raw}, 0, 50) . "_p$i") if length($t->{raw}) > 60;
		if (chance(50))
		{
			$emit->(
				sprintf 'CREATE TABLE %s (%s%s)',
				$leaf,
				chance(30) ? 'junk integer, ' : '',
				join ', ', map { column_sql($_) } shuffled(@cols));
			$emit->("ALTER TABLE $leaf DROP COLUMN IF EXISTS junk");
			$emit->("ALTER TABLE $t->{n} ATTACH PARTITION $leaf $bound");
		}
		elsif ($t->{split} ne 'hash' && $bound ne 'DEFAULT' && chance(15))
		{
			$emit->("CREATE TABLE $leaf PARTITION OF $t->{n} $bound PARTITION BY HASH (id)");
			for my $r (0, 1)
			{
				my $sub = quote_name(substr($t->{raw}, 0, 50) . "_p${i}_s$r");
				$emit->("CREATE TABLE $sub PARTITION OF $leaf FOR VALUES WITH (MODULUS 2, REMAINDER $r)");
				push @{ $t->{parts} }, $sub;
			}
		}
		else
		{
			$emit->("CREATE TABLE $leaf PARTITION OF $t->{n} $bound");
		}
		push @{ $t->{parts} }, $leaf;
		push @{ $t->{leaves} }, { n => $leaf, bound => $bound, k => $t->{split} eq 'hash' ? undef : (1, 3, 7)[ $i - 1 ] };
	}
	return;
}

sub make_children
{
	my ($emit, $t) = @_;

	for my $i (1 .. 1 + roll(2))
	{
		my $child = quote_name(substr($t->{raw}, 0, 50) . "_c$i");
		my $extra = pick('', 'extra text', 'extra integer DEFAULT 7');
		$emit->("CREATE TABLE $child ($extra) INHERITS ($t->{n})");
		push @{ $t->{parts} }, $child;
	}
	return;
}

sub add_keys
{
	my ($emit, $t) = @_;

	my %nullable = map { $_->{n} => !$_->{notnull} } @{ $t->{cols} };
	my $by_k = $t->{kind} eq 'partitioned' && $t->{split} ne 'hash';
	if (chance(65))
	{
		my @pk = $by_k ? ('id', 'k') : chance(10) ? ('k', 'id') : ('id');
		$emit->("ALTER TABLE $t->{n} ADD PRIMARY KEY (" . join(', ', @pk) . ')');
		for my $col (@{ $t->{cols} })
		{
			$col->{notnull} = 1 if grep { $_ eq $col->{n} } @pk;
		}
		$t->{pk} = \@pk;
		$t->{single_id} = $t->{kind} ne 'inherited' && !$t->{unlogged} && @pk == 1;
	}
	for my $col (grep { $_->{ref} } @{ $t->{cols} })
	{
		$emit->("ALTER TABLE $t->{n} ADD FOREIGN KEY (ref) REFERENCES $col->{ref}{n} (id)"
			  . pick('', ' ON DELETE CASCADE', ' ON DELETE SET NULL', ' ON DELETE CASCADE')
			  . pick(' ON UPDATE CASCADE', ' ON UPDATE CASCADE', '')
			  . (($t->{has_deferred} = chance(15)) ? ' DEFERRABLE INITIALLY DEFERRED' : ''));
	}
	if ($t->{single_id} && $t->{kind} eq 'plain' && chance(15))
	{
		$emit->("ALTER TABLE $t->{n} ADD COLUMN up integer REFERENCES $t->{n} (id) ON DELETE CASCADE ON UPDATE CASCADE");
		push @{ $t->{cols} }, { n => 'up', t => 'int', ref => $t };
	}
	$emit->("CREATE INDEX ON $t->{n} (k)") if chance(40);
	$emit->("CREATE INDEX ON $t->{n} (id, k) WHERE k > 1") if chance(10);
	$emit->("CREATE INDEX ON $t->{n} (ref)") if chance(40) && col_named($t, 'ref');
	$emit->("ALTER TABLE $t->{n} REPLICA IDENTITY FULL") if chance(5);
	$emit->("ALTER TABLE $t->{n} SET (toast_tuple_target = 128)")
	  if $t->{kind} eq 'plain' && chance(10);
	if ($t->{kind} eq 'plain' && chance(30))
	{
		$emit->("ALTER TABLE $t->{n} ALTER COLUMN $_->{n} SET STORAGE EXTERNAL")
		  for grep { $_->{t} eq 'bigtext' } @{ $t->{cols} };
	}
	return;
}

# Triggers that change the row under way, or write on their own
sub add_triggers
{
	my ($emit, @tables) = @_;

	my $t = pick(@tables);
	if (chance(50))
	{
		$emit->('CREATE FUNCTION bump_k() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.k := abs(NEW.k); RETURN NEW; END $$');
		$emit->("CREATE TRIGGER bump BEFORE INSERT OR UPDATE ON $t->{n} FOR EACH ROW WHEN (NEW.k < 0) EXECUTE FUNCTION bump_k()")
		  if $t->{kind} ne 'partitioned';
		return;
	}
	my $other = pick(@tables);
	$emit->("CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN "
		  . "IF pg_trigger_depth() < 3 THEN UPDATE $other->{n} SET k = NEW.k WHERE id = NEW.id + 1; END IF; RETURN NULL; END \$\$");
	$emit->("CREATE TRIGGER echo AFTER UPDATE ON $t->{n} FOR EACH ROW EXECUTE FUNCTION echo()");
	return;
}

sub col_named
{
	my ($t, $name) = @_;
	my ($col) = grep { $_->{n} eq $name } @{ $t->{cols} };
	return $col;
}

sub writable_columns
{
	my ($t) = @_;
	return grep { $_->{fill} // 1 } @{ $t->{cols} };
}

# A reference is to some id that exists
sub field_sql
{
	my ($col, $raw) = @_;
	return as_sql($col->{t}, $raw) if !$col->{ref} || !defined $raw;
	return "(SELECT max(id) FROM $col->{ref}{n} WHERE id <= $raw)";
}

# Raw values for the writable columns
sub any_row
{
	my ($t, $id) = @_;
	my @row;
	for my $col (writable_columns($t))
	{
		push @row,
			$col->{n} eq 'id' ? $id
		  : $col->{ref}       ? (chance(25) ? undef : 1 + roll(12))
		  :                     any_value($col->{t}, $col->{notnull} ? 0 : 15);
	}
	return \@row;
}

# One row a line, so that a failing case can be cut down line by line
sub insert_sql
{
	my ($t, $into, @rows) = @_;
	my @cols = writable_columns($t);
	return
		"INSERT INTO $into ("
	  . join(', ', map { $_->{n} } @cols)
	  . ") VALUES\n"
	  . join(
		",\n",
		map {
			my $row = $_;
			'(' . join(', ', map { field_sql($cols[$_], $row->[$_]) } 0 .. $#cols) . ')'
		} @rows);
}

1;
