# MatviewRandom::Query
#
# Random queries over relations { n => quoted name, cols => [...] }.
#
# A query is
#	sql		its text
#	cols	its columns { n, t, fz }, see MatviewRandom::Expr
#	unique	names of columns that are a key of the result, or undef
#	easy	true unless it has something that is beyond delta maintenance
package MatviewRandom::Query;

use strict;
use warnings;
use Exporter 'import';
use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Expr;

our @EXPORT = qw(view_query plain_view_query start_queries);

my @relations;
my $alias;
my $hard;		# something hard has been put into the query under way

my @OUTPUT_NAMES = ('Weird Col', 'count', 'weight', 'xid', 'select', 'tid', 'hash', 'a"b', 'k', 'id');

sub start_queries
{
	@relations = @_;
	$alias = 0;
	return;
}

# A query for a materialized view
sub view_query
{
	$MatviewRandom::Expr::allow_stable = chance(10);
	$hard = $MatviewRandom::Expr::allow_stable;
	my $q = weighted(
		linear => 28, grouped => 38, distinct => 8, union_all => 8, cte => 8,
		over_query => 6, beyond => 7);
	$q = {
		linear => \&linear, grouped => \&grouped, distinct => \&distinct,
		union_all => \&union_all, cte => \&with_cte, over_query => \&over_query,
		beyond => \&beyond }->{$q}->(1);
	$q->{sql} .= ' ORDER BY 1' if chance(4) && !$q->{ordered} && is_sortable($q->{cols}[0]{t});
	$q->{easy} = !$hard;
	return $q;
}

# What a plain view shows; the same columns each time it is called again
sub plain_view_query
{
	my ($shape) = @_;
	$hard = 0;
	if (!$shape)
	{
		$MatviewRandom::Expr::allow_stable = 0;
		return linear(0, simple => 1) if chance(96);
		return { %{ grouped(0) }, hard => 1 };
	}
	my $again = linear(0, simple => 1, types => [ map { $_->{t} } @{ $shape->{cols} } ]);
	my $i = 0;
	$again->{sql} = 'SELECT ' . join(', ', map { 'c' . ++$i . " AS $_->{n}" } @{ $shape->{cols} })
	  . " FROM ($again->{sql}) AS s (" . join(', ', map { "c$_" } 1 .. $i) . ')';
	$again->{cols} = $shape->{cols};
	return $again;
}

sub new_alias
{
	$alias++;
	return chance(4) ? qq("A $alias") : "a$alias";
}

sub scope_of
{
	my ($name, $rel) = @_;
	my @scope = map { { %$_, e => "$name.$_->{n}" } } @{ $rel->{cols} };
	return @scope;
}

# ---------- FROM ----------

# { sql, scope, rel }
sub from_item
{
	my ($depth, %o) = @_;
	my $how = weighted(
		relation => 80,
		query => $depth > 0 && !$o{simple} ? 11 : 0,
		grouped => $depth > 0 && !$o{simple} ? 2 : 0,
		values => 3, series => 1);
	my $name = new_alias();
	if ($how eq 'relation')
	{
		my $rel = $o{relation} // pick(@relations);
		my $only = ($rel->{kind} // '') eq 'inherited' && chance(3) ? 'ONLY ' : '';
		$hard = 1 if $only || $rel->{hard};
		my $from = ($rel->{kind} // '') eq 'partitioned' && chance(8) ? pick(@{ $rel->{parts} }) : $rel->{n};
		my @scope = scope_of($name, $rel);
		push @scope, { e => "${name}::text", t => 'text' } if chance(2) && $MatviewRandom::Expr::allow_stable;
		push @scope, { e => "row_to_json($name)", t => 'json' } if $MatviewRandom::Expr::allow_stable && chance(5);
		push @scope, { e => "($name IS NOT NULL)", t => 'bool' } if chance(2);
		push @scope, { e => "$name.tableoid::bigint", t => 'bigint' } if chance(1) && ($rel->{kind} // '') =~ /^(?:plain|part|inh)/;
		@scope = grep { !$_->{whole} } @scope;
		return { sql => "$only$from AS $name", scope => \@scope, rel => $rel, name => $name, plain => $from eq $rel->{n} };
	}
	if ($how eq 'query' || $how eq 'grouped')
	{
		$hard = 1 if $how eq 'grouped';
		my $q = $how eq 'grouped' ? grouped($depth - 1) : linear($depth - 1);
		return { sql => "($q->{sql}) AS $name", scope => [ scope_of($name, $q) ], name => $name };
	}
	if ($how eq 'values')
	{
		my @types = ('int', pick(qw(text numeric bool date mood)));
		my $rows = join ', ',
		  map { '(' . join(', ', map { as_sql($_, any_value($_)) } @types) . ')' } 1 .. 1 + roll(3);
		return {
			sql => "(VALUES $rows) AS $name (x, y)",
			scope => [ { e => "$name.x", t => 'int' }, { e => "$name.y", t => $types[1] } ], name => $name };
	}
	return {
		sql => "generate_series(0, " . (1 + roll(3)) . ") AS $name (x)",
		scope => [ { e => "$name.x", t => 'int' } ], name => $name };
}

# a condition that joins the new item to what there is
sub join_condition
{
	my ($new, $old) = @_;
	my $tie = join ' AND ', grep { $_ } tie_of($new, $old), chance(20) ? condition([ @$new, @$old ], 1) : '';
	return $tie;
}

sub tie_of
{
	my ($new, $old) = @_;
	my @pairs;
	my @ints;
	for my $n (@$new)
	{
		next if !is_groupable($n->{t});
		for my $o (@$old)
		{
			next if $n->{t} ne $o->{t};
			push @pairs, [ $n, $o ];
			push @ints, [ $n, $o ] if $n->{t} eq 'int' && $n->{e} =~ /\.(?:id|k|ref|up|x)$/ && $o->{e} =~ /\.(?:id|k|ref|up|x)$/;
		}
	}
	return 'true' if !@pairs;
	my ($n, $o) = @{ @ints && chance(75) ? pick(@ints) : pick(@pairs) };
	my $how = weighted(eq => 70, not_distinct => 6, expr => 6, or => 5, less => 6, small => 4, true => 2);
	return "$n->{e} IS NOT DISTINCT FROM $o->{e}" if $how eq 'not_distinct';
	if ($how ne 'eq' && @ints)
	{
		($n, $o) = @{ pick(@ints) };
		return "$n->{e} = $o->{e} + 1" if $how eq 'expr';
		return "($n->{e} = $o->{e} OR $n->{e} + $o->{e} = 3)" if $how eq 'or';
		return "$n->{e} < $o->{e} AND $n->{e} >= 0 AND $o->{e} < 5" if $how eq 'less';
		return "abs($n->{e} - $o->{e}) <= 1" if $how eq 'small';
		return "$n->{e} < 4" if $how eq 'true';
	}
	return "$n->{e} = $o->{e}";
}

# { sql (FROM and WHERE), scope, items }
sub from_clause
{
	my ($depth, %o) = @_;
	my $n = $o{items} // ($o{simple} ? 1 + chance(15) : weighted(1 => 40, 2 => 38, 3 => 15, 4 => 7));
	my $self = $n > 1 && chance(20) ? pick(@relations) : undef;
	my @items = map { from_item($depth, %o, $self && $_ < 3 ? (relation => $self) : ()) } 1 .. $n;
	my $style = $o{outer} ? 'outer' : pick('comma', 'join', 'join', 'nested');
	my @where;
	my $sql = $items[0]{sql};
	my @scope = @{ $items[0]{scope} };
	if ($style eq 'nested' && $n == 3)
	{
		my $inner = join_condition($items[2]{scope}, $items[1]{scope});
		my $outer = join_condition([ @{ $items[1]{scope} }, @{ $items[2]{scope} } ], \@scope);
		$sql .= " JOIN ($items[1]{sql} JOIN $items[2]{sql} ON $inner) ON $outer";
		push @scope, @{ $items[1]{scope} }, @{ $items[2]{scope} };
	}
	else
	{
		for my $i (1 .. $n - 1)
		{
			my $item = $items[$i];
			my $on = join_condition($item->{scope}, \@scope);
			if ($style eq 'comma')
			{
				$sql .= ", $item->{sql}";
				push @where, $on;
			}
			elsif ($style eq 'outer')
			{
				my $type = $on =~ /^[^ ]+ = [^ ]+$/ ? pick('LEFT', 'RIGHT', 'FULL', 'LEFT') : pick('LEFT', 'RIGHT');
				$sql .= " $type JOIN $item->{sql} ON $on";
			}
			elsif (chance(10))
			{
				$sql .= " CROSS JOIN $item->{sql}";
				push @where, $on;
			}
			else
			{
				$sql .= " JOIN $item->{sql} ON $on";
			}
			push @scope, @{ $item->{scope} };
		}
	}
	if (!$o{simple} && chance(2))
	{
		my ($more, @cols) = lateral(\@scope);
		$sql .= ($style eq 'comma' ? ', ' : ' CROSS JOIN ') . $more;
		push @scope, @cols;
	}
	push @where, condition(\@scope, 2) if chance($o{simple} ? 70 : 45);
	push @where, $o{where} if $o{where};
	$sql .= ' WHERE ' . join(' AND ', map { "($_)" } @where) if @where;
	return { sql => $sql, scope => \@scope, items => \@items };
}

sub lateral
{
	my ($scope) = @_;
	my $name = new_alias();
	$hard = 1;
	my ($list) = grep { $_->{t} eq 'texts' && !$_->{fz} } @$scope;
	return ("unnest($list->{e}) AS $name (x)", { e => "$name.x", t => 'text' }) if $list && chance(60);
	my $int = typed('int', $scope, 1);
	return ("generate_series(1, least($int, 3)) AS $name (x)", { e => "$name.x", t => 'int' }) if chance(50);
	return ("LATERAL (SELECT $int AS x) AS $name", { e => "$name.x", t => 'int' });
}

# ---------- SELECT ----------

# names for the outputs { e, t, fz }: the select list and the columns
sub name_outputs
{
	my (@outputs) = @_;
	my %used;
	my $i = 0;
	my (@list, @cols);
	for my $out (@outputs)
	{
		my $name = quote_name(chance(10) ? pick(@OUTPUT_NAMES) : 'o' . $i++);
		$name = 'o' . $i++ while $used{$name}++;
		push @list, "$out->{e} AS $name";
		push @cols, { n => $name, t => $out->{t}, fz => $out->{fz} ? 1 : 0 };
		$out->{as} = $name;
	}
	return (join(', ', @list), @cols);
}

# filter, projection, joins
sub linear
{
	my ($depth, %o) = @_;
	my $from = from_clause($depth, %o);
	my @outputs;
	if ($o{types})
	{
		@outputs = map { { e => type_cast($_, typed($_, $from->{scope}, 2)), t => $_ } } @{ $o{types} };
	}
	else
	{
		@outputs = map { any_output($from->{scope}) } 1 .. 1 + roll(5);
		push @outputs, { e => 'unnest(' . typed('texts', $from->{scope}, 1) . ')', t => 'text' }
		  if !$o{simple} && chance(1);
	}
	my $unique = $o{types} ? undef : add_key($from, \@outputs);
	my ($list, @cols) = name_outputs(@outputs);
	$unique = [ map { $_->{as} } @$unique ] if $unique;
	return { sql => "SELECT $list FROM $from->{sql}", cols => \@cols, unique => $unique };
}

# Sometimes show the primary keys of all tables, which makes a key
sub add_key
{
	my ($from, $outputs) = @_;
	return undef if chance(45) || grep { $_->{e} =~ /unnest/ } @$outputs;
	my @key;
	for my $item (@{ $from->{items} })
	{
		my $rel = $item->{rel};
		return undef if !$rel || !$rel->{pk} || $rel->{kind} eq 'inherited';
		push @key, map { { e => "$item->{name}.$_", t => 'int' } } @{ $rel->{pk} };
	}
	return undef if $from->{sql} =~ /unnest|generate_series|LATERAL|VALUES|OUTER|LEFT|RIGHT|FULL/;
	push @$outputs, @key;
	@$outputs = shuffled(@$outputs);
	return \@key;
}

# GROUP BY or aggregates without it
sub grouped
{
	my ($depth, %o) = @_;
	my $from = from_clause($depth, %o);
	my $scope = $from->{scope};
	my @keys = key_columns(weighted(0 => 14, 1 => 46, 2 => 30, 3 => 10), $scope);
	my @aggs = map { aggregate($scope) } 1 .. weighted(0 => 4, 1 => 25, 2 => 35, 3 => 25, 4 => 10);
	my @outputs = (@aggs, map { of_aggregates($scope, @aggs) } 1 .. chance(35));
	my @shown = grep { chance(88) } @keys;
	push @outputs, @shown;
	push @outputs, map { of_key($_) } grep { chance(12) } @keys;
	my $functional = functional_columns($from, \@keys);
	push @outputs, @$functional;
	@outputs = ({ e => 'count(*)', t => 'bigint' }) if !@outputs;
	@outputs = shuffled(@outputs);
	my $having = chance(20) ? ' HAVING ' . having($scope, @keys, @aggs) : '';
	my ($list, @cols) = name_outputs(@outputs);
	my $unique = @keys && @shown == @keys ? [ map { $_->{as} } @keys ] : undef;
	my @by = map { $_->{e} } @keys;
	if (@keys && $unique && chance(15))
	{
		for my $key (@keys)
		{
			my ($at) = grep { $cols[$_]{n} eq $key->{as} } 0 .. $#cols;
			$key->{at} = $at + 1;
		}
		@by = map { $_->{at} } @keys;
	}
	my $by = @keys ? ' GROUP BY ' . join(', ', @by) : '';
	return { sql => "SELECT $list FROM $from->{sql}$by$having", cols => \@cols, unique => $unique };
}

# Grouped by a table's primary key, its other columns may be shown
sub functional_columns
{
	my ($from, $keys) = @_;
	my $item = $from->{items}[0];
	my $rel = $item->{rel};
	return [] if !$rel || !$rel->{pk} || ($rel->{kind} // '') eq 'inherited' || !$item->{plain} || !chance(8);
	push @$keys, { e => "$item->{name}.$_", t => 'int' } for @{ $rel->{pk} };
	return [ some_of(1 + roll(2), grep { $_->{e} =~ /^\Q$item->{name}\E\./ && $_->{e} !~ /::/ && !$_->{fz} } @{ $item->{scope} }) ];
}

sub of_key
{
	my ($key) = @_;
	return () if $key->{fz};
	return { e => "coalesce($key->{e}, 0) + 1", t => 'int' } if $key->{t} eq 'int';
	return { e => "upper($key->{e})", t => 'text' } if $key->{t} eq 'text';
	return { e => "$key->{e} IS NULL", t => 'bool' };
}

sub of_aggregates
{
	my ($scope, @aggs) = @_;
	my $int = typed('int', $scope, 1);
	my @exprs = (
		{ e => "sum($int) + count(*)", t => 'bigint' },
		{ e => "coalesce(sum($int), 0) * 2", t => 'bigint' },
		{ e => 'count(*) > 2', t => 'bool' },
		{ e => "CASE WHEN count(*) > 3 THEN 'many' ELSE 'few' END", t => 'text' },
		{ e => "max($int) - min($int)", t => 'int' },
		{ e => "round(avg($int), 2)", t => 'numeric' },
		{ e => "sum($int)::text || '/' || count(*)::text", t => 'text' });
	push @exprs, map { { e => "$_->{e} IS NULL", t => 'bool' } } @aggs;
	return pick(@exprs);
}

sub having
{
	my ($scope, @rest) = @_;
	my $int = typed('int', $scope, 1);
	return pick('count(*) > 1', 'count(*) > 2', "sum($int) > 2", "max($int) IS NOT NULL", "count(*) % 2 = 0",
		"bool_or(" . condition($scope, 0) . ')',
		map { "($_->{e}) IS NOT NULL" } @rest);
}

sub distinct
{
	my ($depth) = @_;
	my $from = from_clause($depth);
	my @outputs = grep { is_groupable($_->{t}) } map { any_output($from->{scope}) } 1 .. 3;
	@outputs = ({ e => typed('int', $from->{scope}, 2), t => 'int' }) if !@outputs;
	$_->{fz} ||= norm_of($_->{t}) ? 1 : 0 for @outputs;
	my ($list, @cols) = name_outputs(@outputs);
	return { sql => "SELECT DISTINCT $list FROM $from->{sql}", cols => \@cols, unique => [ map { $_->{n} } @cols ] };
}

sub union_all
{
	my ($depth) = @_;
	my @types = map { pick(qw(int text numeric bool date mood jsonb money2 float point nocase texts bigint)) } 1 .. 1 + roll(3);
	my @branches = map { linear($depth, types => \@types, items => weighted(1 => 7, 2 => 3)) } 1 .. weighted(2 => 7, 3 => 3);
	my $sql = join ' UNION ALL ', map { chance(20) ? "($_->{sql})" : $_->{sql} } @branches;
	return { sql => $sql, cols => $branches[0]{cols} };
}

# a WITH query, sometimes used twice
sub with_cte
{
	my $inner = weighted(linear => 8, grouped => 1, union_all => 2, distinct => 1);
	$hard = 1 if $inner =~ /grouped|distinct/;
	$inner = { linear => \&linear, grouped => \&grouped, union_all => \&union_all, distinct => \&distinct }->{$inner}->(0);
	my $name = quote_name(chance(20) ? 'Some CTE' : 'w');
	my $rel = { n => $name, cols => $inner->{cols} };
	my @saved = @relations;
	@relations = chance(50) ? ($rel) : ($rel, $rel, $rel, @relations);
	my $outer = chance(50) ? linear(0, items => 1 + roll(2)) : grouped(0, items => 1 + roll(2));
	@relations = @saved;
	my $how = pick('', '', ' MATERIALIZED', ' NOT MATERIALIZED');
	return {
		sql => "WITH $name AS$how ($inner->{sql}) $outer->{sql}",
		cols => $outer->{cols}, unique => $outer->{unique} };
}

# something over a subquery that is more than a join
sub over_query
{
	my $inner = weighted(union_all => 6, grouped => 1, distinct => 1, linear => 4);
	$hard = 1 if $inner =~ /grouped|distinct/;
	$inner = { linear => \&linear, grouped => \&grouped, union_all => \&union_all, distinct => \&distinct }->{$inner}->(0);
	my $rel = { n => "($inner->{sql})", cols => $inner->{cols} };
	my @saved = @relations;
	@relations = ($rel);
	my $how = weighted(linear => 3, grouped => 6, distinct => 1);
	my $outer = { linear => \&linear, grouped => \&grouped, distinct => \&distinct }->{$how};
	$outer = $outer->(0, items => 1);
	@relations = @saved;
	return $outer;
}

# ---------- what delta queries do not do ----------

sub beyond
{
	$hard = 1;
	my $how = pick(qw(outer outer exists in window limit set_op scalar distinct_on sets recursive not_exists));
	if ($how eq 'outer')
	{
		return chance(60) ? linear(0, outer => 1, items => 2 + roll(2)) : grouped(0, outer => 1, items => 2);
	}
	return with_subquery($how) if $how =~ /exists|^in$|scalar/;
	return strict_over($how) if $how =~ /window|limit|distinct_on/;
	if ($how eq 'set_op')
	{
		my @types = map { pick(qw(int text bool date mood)) } 1 .. 1 + roll(2);
		my ($a, $b) = map { linear(0, types => \@types, items => 1) } 1, 2;
		my $op = pick('UNION', 'EXCEPT', 'INTERSECT', 'EXCEPT ALL', 'INTERSECT ALL');
		return { sql => "$a->{sql} $op $b->{sql}", cols => $a->{cols} };
	}
	if ($how eq 'recursive')
	{
		my $rel = pick(@relations);
		return {
			sql => "WITH RECURSIVE r (n) AS (SELECT 0 UNION SELECT n + 1 FROM r WHERE n < 5) "
			  . "SELECT r.n AS o0, count(x.*) AS o1 FROM r, $rel->{n} AS x WHERE " . condition([ scope_of('x', $rel) ], 0) . ' GROUP BY r.n',
			cols => [ { n => 'o0', t => 'int' }, { n => 'o1', t => 'bigint' } ], unique => ['o0'] };
	}
	my $from = from_clause(0, items => 1);
	my @keys = key_columns(2, $from->{scope});
	return linear(0) if @keys < 2;
	my $sets = pick('ROLLUP', 'CUBE', 'GROUPING SETS');
	my ($list, @cols) = name_outputs(@keys, aggregate($from->{scope}), { e => 'count(*)', t => 'bigint' });
	return {
		sql => "SELECT $list FROM $from->{sql} GROUP BY $sets (" . join(', ', map { $_->{e} } @keys) . ')',
		cols => \@cols };
}

sub with_subquery
{
	my ($how) = @_;
	my $other = pick(@relations);
	my $name = new_alias();
	my @inside = scope_of($name, $other);
	my $from = from_clause(0, items => 1);
	if ($how eq 'scalar')
	{
		my $on = tie_of(\@inside, $from->{scope});
		my @outputs = (
			any_output($from->{scope}),
			{ e => "(SELECT count(*) FROM $other->{n} AS $name WHERE $on)", t => 'bigint' });
		my ($list, @cols) = name_outputs(@outputs);
		return { sql => "SELECT $list FROM $from->{sql}", cols => \@cols };
	}
	my $item = from_item(0);
	my $not = $how eq 'not_exists' || chance(20) ? 'NOT ' : '';
	my $on = $how eq 'in'
	  ? typed('int', $item->{scope}, 1) . " ${not}IN (SELECT " . typed('int', \@inside, 1) . " FROM $other->{n} AS $name WHERE " . condition(\@inside, 0) . ')'
	  : "${not}EXISTS (SELECT 1 FROM $other->{n} AS $name WHERE " . tie_of(\@inside, $item->{scope}) . ')';
	my ($list, @cols) = name_outputs(map { any_output($item->{scope}) } 1 .. 2);
	return { sql => "SELECT $list FROM $item->{sql} WHERE $on", cols => \@cols };
}

# what depends on an order of all rows: only over strict columns
sub strict_over
{
	my ($how) = @_;
	my $inner = linear(0);
	return $inner if grep { $_->{fz} } @{ $inner->{cols} };
	my $image = 's::text COLLATE "C"';
	my $sql = "SELECT s.* FROM ($inner->{sql}) AS s ORDER BY $image LIMIT " . (1 + roll(6));
	my @cols = @{ $inner->{cols} };
	my ($eq) = grep { is_groupable($_->{t}) && !norm_of($_->{t}) } @cols;
	if ($how eq 'window')
	{
		my $by = $eq ? "PARTITION BY s.$eq->{n} " : '';
		my $what = pick("count(*) OVER ($by)", "rank() OVER (${by}ORDER BY $image)", "row_number() OVER (${by}ORDER BY $image)");
		$sql = "SELECT s.*, $what AS win FROM ($inner->{sql}) AS s";
		push @cols, { n => 'win', t => 'bigint', fz => 0 };
	}
	elsif ($how eq 'distinct_on' && $eq)
	{
		$sql = "SELECT DISTINCT ON (s.$eq->{n}) s.* FROM ($inner->{sql}) AS s ORDER BY s.$eq->{n}, $image";
	}
	return { sql => $sql, cols => \@cols, ordered => 1 };
}

1;
