# MatviewRandom::Work
#
# Random statements that change base tables.  Each function returns steps
# [ kind, SQL, data of a COPY ] for one session.  The tables stay small:
# inserts add a few rows, deletes take away a share.
package MatviewRandom::Work;

use strict;
use warnings;
use Exporter 'import';
use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Schema;
use MatviewRandom::Expr;

our @EXPORT = qw(fill_steps dml_steps ddl_steps outside_steps);

my $next_id = 1;
my $next_column = 0;

sub fill_steps
{
	my (@tables) = @_;
	$next_id = 1000;
	$next_column = 0;
	my @steps;
	for my $t (@tables)
	{
		my $n = chance(4) ? 0 : pick(8, 12, 16, 20, 30);
		push @steps, [ do => insert_sql($t, $t->{n}, map { any_row($t, $_) } 1 .. $n) ] if $n;
	}
	return @steps;
}

sub scope_in
{
	my ($t, $alias) = @_;
	return [ map { { %$_, e => "$alias.$_->{n}" } } @{ $t->{cols} } ];
}

# the table, or a partition or child of it
sub target_of
{
	my ($t) = @_;
	return $t->{n} if !@{ $t->{parts} } || chance(70);
	return pick(@{ $t->{parts} });
}

sub where
{
	my ($t, $alias) = @_;
	my $how = weighted(id => 30, k => 22, share => 28, any => 18, all => 1);
	return "$alias.id = " . (1 + roll(30)) if $how eq 'id';
	return "$alias.k = " . roll(6) if $how eq 'k';
	return "$alias.id % 5 = " . roll(5) if $how eq 'share';
	return 'true' if $how eq 'all';
	return "$alias.id % 2 = 0 AND " . condition(scope_in($t, $alias), 1);
}

sub new_id
{
	my ($t) = @_;
	return $t->{pk} && chance(85) ? $next_id++ : 1 + roll(30);
}

# "col = value" for an UPDATE; the values stay in their small range
sub assignments
{
	my ($t, $alias, $few) = @_;
	my %fixed = map { $_ => 1 } $few ? ('id', 'k') : ();
	my @cols = grep { !$fixed{ $_->{n} } && ($_->{n} ne 'id' || chance(8)) } writable_columns($t);
	@cols = writable_columns($t) if !@cols;
	@cols = some_of(1 + roll(2), @cols);
	my $scope = scope_in($t, $alias);
	my @list;
	for my $col (@cols)
	{
		my $type = $col->{t};
		my $value = field_sql($col, any_value($type, $col->{notnull} ? 0 : 15));
		if ($col->{n} eq 'id')
		{
			$value = pick("$alias.id + 1000", "$alias.id", $next_id++, 1 + roll(20));
		}
		elsif ($col->{ref})
		{
			$value = field_sql($col, 1 + roll(12)) if chance(80);
		}
		elsif (chance(18))
		{
			$value = "$alias.$col->{n}";
		}
		elsif (chance(30) && !$col->{notnull})
		{
			my $e = typed($type, $scope, 1);
			$value = "$e % 10" if $type eq 'int' || $type eq 'bigint';
			$value = "left($e, 20)" if $type eq 'text';
			$value = $e if $type eq 'bool';
		}
		push @list, "$col->{n} = $value";
	}
	return join ', ', @list;
}

sub insert_values
{
	my ($t, $into, $n) = @_;
	my @rows;
	for (1 .. $n // 1 + roll(5))
	{
		my $row = any_row($t, new_id($t));
		push @rows, $row;
		push @rows, $row if !$t->{pk} && chance(15);
	}
	my ($leaf) = grep { $_->{n} eq $into } @{ $t->{leaves} };
	if ($leaf && defined $leaf->{k})
	{
		my @cols = writable_columns($t);
		my ($at) = grep { $cols[$_]{n} eq 'k' } 0 .. $#cols;
		$_->[$at] = $leaf->{k} for @rows;
	}
	return insert_sql($t, $into, @rows);
}

# select list for the writable columns of $t out of a relation with $scope
sub select_for
{
	my ($t, $scope, $id) = @_;
	return join ', ', map {
			$_->{n} eq 'id' ? $id
		  : $_->{ref}       ? 'NULL::integer'
		  : $_->{notnull}   ? 'coalesce(' . typed($_->{t}, $scope, 0) . ', ' . as_sql($_->{t}, any_value($_->{t}, 0)) . ')'
		  :                   type_cast($_->{t}, $_->{t} =~ /^(?:int|bigint)$/ ? typed($_->{t}, $scope, 1) . ' % 10' : typed($_->{t}, $scope, 0))
	} writable_columns($t);
}

sub column_list
{
	my ($t) = @_;
	return join ', ', map { $_->{n} } writable_columns($t);
}

my %DML;
%DML = (
	insert => sub {
		my ($t) = @_;
		my $into = target_of($t);
		$into = $t->{n} if $t->{kind} eq 'partitioned' && !grep { $_->{n} eq $into && defined $_->{k} } @{ $t->{leaves} };
		my $sql = insert_values($t, $into);
		if ($t->{pk} && $into eq $t->{n} && chance(35))
		{
			my $key = join ', ', @{ $t->{pk} };
			my @free = grep { $_->{n} !~ /^(?:id|k)$/ } writable_columns($t);
			my $col = @free ? pick(@free)->{n} : undef;
			$sql .= $col && chance(60)
			  ? "\nON CONFLICT ($key) DO UPDATE SET $col = excluded.$col"
			  : "\nON CONFLICT DO NOTHING";
		}
		$sql .= "\nRETURNING *" if chance(5);
		return $sql;
	},
	insert_select => sub {
		my ($t, @tables) = @_;
		my $from = pick(@tables);
		my $base = $next_id += 3000;
		$base = 0 if !$t->{pk} && chance(60);
		return "INSERT INTO $t->{n} (" . column_list($t) . ') SELECT '
		  . select_for($t, scope_in($from, 'x'), "x.id % 3000 + $base")
		  . " FROM $from->{n} AS x WHERE x.id % 5 = " . roll(5)
		  . ($t->{pk} ? ' ON CONFLICT DO NOTHING' : '');
	},
	update => sub {
		my ($t) = @_;
		return 'UPDATE ' . target_of($t) . ' AS x SET ' . assignments($t, 'x') . ' WHERE ' . where($t, 'x');
	},
	update_from => sub {
		my ($t, @tables) = @_;
		my $other = pick(@tables);
		return "UPDATE $t->{n} AS x SET " . assignments($t, 'x') . " FROM $other->{n} AS y WHERE x.id = y.id AND "
		  . where($other, 'y');
	},
	delete => sub {
		my ($t) = @_;
		return 'DELETE FROM ' . target_of($t) . ' AS x WHERE ' . where($t, 'x');
	},
	delete_using => sub {
		my ($t, @tables) = @_;
		my $other = pick(@tables);
		return "DELETE FROM $t->{n} AS x USING $other->{n} AS y WHERE x.k = y.k AND " . where($other, 'y') . ' AND ' . where($t, 'x');
	},
	merge => sub {
		my ($t, @tables) = @_;
		return merge_sql($t, @tables);
	},
	# subtransactions of which some come to nothing
	block => sub {
		my ($t, @tables) = @_;
		my @parts;
		for (1 .. 2 + roll(2))
		{
			my $do = pick('insert', 'update', 'delete');
			my $sql = $DML{$do}->(pick(@tables), @tables);
			$sql =~ s/\nRETURNING \*$//;
			my $raise = chance(35) ? ' RAISE division_by_zero;' : '';
			push @parts, "BEGIN $sql;$raise EXCEPTION WHEN integrity_constraint_violation OR division_by_zero THEN NULL; END;";
		}
		return 'DO $do$ BEGIN ' . join(' ', @parts) . ' END $do$';
	},
	cte => sub {
		my ($t, @tables) = @_;
		my $to = pick(@tables);
		my $base = $next_id += 3000;
		return pick(
			"WITH d AS (DELETE FROM $t->{n} AS x WHERE " . where($t, 'x') . ' RETURNING x.*) '
			  . "INSERT INTO $to->{n} (" . column_list($to) . ') SELECT ' . select_for($to, scope_in($t, 'd'), "d.id % 3000 + $base")
			  . ' FROM d' . ($to->{pk} ? ' ON CONFLICT DO NOTHING' : ''),
			"WITH u AS (UPDATE $t->{n} AS x SET " . assignments($t, 'x') . ' WHERE ' . where($t, 'x') . ' RETURNING x.id, x.k) '
			  . "DELETE FROM $to->{n} AS y USING u WHERE y.id = u.id + 1",
			'WITH i AS (' . insert_values($t, $t->{n}) . ' RETURNING id), '
			  . "e AS (DELETE FROM $t->{n} AS x WHERE " . where($t, 'x') . ' RETURNING id) '
			  . 'SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM e)',
			"WITH u AS (UPDATE $t->{n} AS x SET " . assignments($t, 'x') . ' WHERE x.id % 2 = 0 RETURNING x.id) '
			  . "UPDATE $t->{n} AS y SET " . assignments($t, 'y') . ' WHERE y.id % 2 = 1 AND ' . where($t, 'y'));
	},);

sub merge_sql
{
	my ($t, @tables) = @_;
	my @source = map { '(' . new_id($t) . ', ' . roll(6) . ')' } 1 .. 1 + roll(3);
	my $using = chance(60)
	  ? '(VALUES ' . join(', ', @source) . ') AS s (id, k)'
	  : '(SELECT DISTINCT id, k FROM ' . pick(@tables)->{n} . ' WHERE id % 5 = ' . roll(5) . ') AS s';
	my $sql = "MERGE INTO $t->{n} AS x USING $using ON x.id = s.id";
	$sql .= ' WHEN MATCHED AND s.k = ' . roll(6) . ' THEN ' . pick('DELETE', 'DO NOTHING') if chance(50);
	$sql .= ' WHEN MATCHED THEN UPDATE SET ' . assignments($t, 'x', 1);
	my $scope = [ { e => 's.k', t => 'int' } ];
	my $values = join ', ', map {
			$_->{n} eq 'id'          ? 's.id'
		  : $_->{n} eq 'k'           ? 'coalesce(s.k, 0)'
		  : $_->{ref}                ? 'NULL'
		  :                            as_sql($_->{t}, any_value($_->{t}, 0))
	} writable_columns($t);
	$sql .= ' WHEN NOT MATCHED THEN INSERT (' . column_list($t) . ") VALUES ($values)" if chance(80);
	return $sql;
}

sub copy_step
{
	my ($t) = @_;
	my @cols = writable_columns($t);
	my @lines;
	for (1 .. 1 + roll(5))
	{
		my $row = any_row($t, new_id($t));
		for my $i (0 .. $#cols)
		{
			$row->[$i] = undef if $cols[$i]{ref};
		}
		push @lines, join("\t", map { as_copy($_) } @$row);
	}
	return [ copy => "COPY $t->{n} (" . column_list($t) . ') FROM STDIN', \@lines ];
}

# One statement that changes rows, seldom more
sub dml_steps
{
	my (@tables) = @_;
	my $t = pick(@tables);
	my $how = weighted(
		insert => 30, update => 34, delete => 16, copy => 5, insert_select => 4,
		update_from => 3, delete_using => 2, merge => 6, cte => 5, block => 4, replica => 1, truncate => 2);
	return copy_step($t) if $how eq 'copy';
	if ($how eq 'truncate')
	{
		my $what = target_of($t);
		return ([ do => "TRUNCATE $what CASCADE" ],
			chance(80) ? [ do => insert_values($t, $t->{n}, 8) ] : ());
	}
	if ($how eq 'replica')
	{
		return (
			[ do => 'SET session_replication_role = replica' ],
			[ do => $DML{ pick('insert', 'update', 'delete') }->($t, @tables) ],
			[ do => 'RESET session_replication_role' ]);
	}
	return [ do => $DML{$how}->($t, @tables) ];
}

# What changes a table's contents or shape without row triggers
sub ddl_steps
{
	my (@tables) = @_;
	my $t = pick(@tables);
	if (@{ $t->{leaves} } && chance(70))
	{
		my $leaf = pick(@{ $t->{leaves} });
		if (chance(15))
		{
			return (
				[ do => "DROP TABLE $leaf->{n}" ],
				[ do => "CREATE TABLE $leaf->{n} PARTITION OF $t->{n} $leaf->{bound}" ],
				[ do => insert_values($t, $t->{n}) ]);
		}
		my $attach = [ do => "ALTER TABLE $t->{n} ATTACH PARTITION $leaf->{n} $leaf->{bound}" ];
		return $attach if chance(30);
		my @between = chance(50) ? [ do => "DELETE FROM $leaf->{n} WHERE id % 3 = 0" ] : ();
		return ([ do => "ALTER TABLE $t->{n} DETACH PARTITION $leaf->{n}" ], @between, chance(75) ? $attach : ());
	}
	if ($t->{kind} eq 'inherited' && chance(50))
	{
		my $child = pick(@{ $t->{parts} });
		my $back = [ do => "ALTER TABLE $child INHERIT $t->{n}" ];
		return $back if chance(20);
		return ([ do => "ALTER TABLE $child NO INHERIT $t->{n}" ],
			chance(50) ? [ do => "DELETE FROM $child WHERE id % 3 = 0" ] : (),
			chance(75) ? $back : ());
	}
	if (chance(20))
	{
		return (
			[ do => "ALTER TABLE $t->{n} DISABLE TRIGGER USER" ],
			[ do => $DML{ pick('insert', 'update', 'delete') }->($t, @tables) ],
			[ do => "ALTER TABLE $t->{n} ENABLE TRIGGER USER" ]);
	}
	if (chance(20))
	{
		return pick(
			[ do => 'CREATE OR REPLACE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT $1 * 2 + ' . roll(3) . ' $$' ],
			[ do => 'CREATE OR REPLACE FUNCTION plsum(integer, integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1 + $2 + ' . roll(3) . '; END $$' ]);
	}
	my $new = 'z' . $next_column++;
	return pick(
		[ do => "ALTER TABLE $t->{n} ADD COLUMN $new integer DEFAULT 5" ],
		[ do => "ALTER TABLE $t->{n} DROP COLUMN IF EXISTS z" . roll($next_column) ],
		[ do => "ALTER TABLE $t->{n} ALTER COLUMN k SET STATISTICS 5" ],
		[ do => "CREATE INDEX ON $t->{n} (k, id)" ],
		[ do => "DROP STATISTICS IF EXISTS $new" ],
		[ do => "CREATE STATISTICS $new ON id, k FROM $t->{n}" ],);
}

# What cannot run inside a transaction
sub outside_steps
{
	my (@tables) = @_;
	my $t = pick(@tables);
	return pick([ do => "VACUUM $t->{n}" ], [ do => "VACUUM FULL $t->{n}" ], [ do => "ANALYZE $t->{n}" ],
		[ do => "REINDEX TABLE $t->{n}" ]);
}

1;
