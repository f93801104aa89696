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
use MatviewRandom::Subquery;
use MatviewRandom::Ordered;

our @EXPORT = qw(view_query plain_view_query start_queries);

my @relations;
my $alias;
my $hard;		# something hard has been put into the query under way
our $has_window_sets = 1;	# set-returning functions as keys of windows: before 19

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
	$MatviewRandom::Ordered::sees_order = 0;
	local $MatviewRandom::Expr::spice = any_spices();
	my $q = weighted(
		linear => 26, grouped => 34, distinct => 6, union_all => 5, cte => 9,
		over_query => 6, set_operations => 6, window => 8, limited => 6, distinct_on => 4, several => 9, beyond => 2);
	$q = {
		linear => \&linear, grouped => \&grouped, distinct => \&distinct,
		union_all => \&union_all, cte => \&with_cte, over_query => \&over_query, set_operations => \&set_operations,
		window => \&window_query, limited => \&limited_query, distinct_on => \&distinct_on_query,
		several => \&several, beyond => \&beyond }->{$q}->(1);
	$q->{sql} .= ' ORDER BY 1' if chance(4) && !$q->{ordered} && is_sortable($q->{cols}[0]{t});
	$q->{easy} = !$hard && !$MatviewRandom::Ordered::sees_order;
	return $q;
}

# Some queries have none of what is beyond joins, groups and UNION ALL; others a
# bit of everything, or much of something
sub any_spices
{
	return {} if chance(30);
	my %strong = (outer => 70, predicate => 55, scalar => 25, derived => 30, lateral => 35, srf => 25, sets => 35, distinct => 100);
	my %some = chance(40) ? (outer => 15, predicate => 4, scalar => 3, derived => 8, lateral => 5, srf => 3, sets => 5) : ();
	return { %some, map { $_ => $strong{$_} } some_of(1 + roll(2), sort keys %strong) };
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
		derived => $o{simple} ? 0 : $depth > 0 ? 2 + 2 * int(spice_of('derived')) : int(spice_of('derived') / 2),
		values => 3, series => 1);
	my $name = new_alias();
	if ($how eq 'relation')
	{
		my $rel = $o{relation} // pick(@relations);
		my $only = ($rel->{kind} // '') eq 'inherited' && chance(3) ? 'ONLY ' : '';
		$hard = 1 if $only || $rel->{hard};
		my $from = ($rel->{kind} // '') eq 'partitioned' && chance(8) ? pick(@{ $rel->{parts} }) : $rel->{n};
		my @scope = scope_of($name, $rel);
		my $is_exact = !grep { $_->{fz} } @{ $rel->{cols} };
		push @scope, { e => "${name}::text", t => 'text' } if $is_exact && $MatviewRandom::Expr::allow_stable && chance(6);
		push @scope, { e => "row_to_json($name)", t => 'json' } if $is_exact && $MatviewRandom::Expr::allow_stable && chance(12);
		push @scope, { e => "($name IS " . pick('NULL', 'NOT NULL') . ')', t => 'bool' } if chance(2);
		push @scope, { e => "num_nonnulls($name)", t => 'int' } if chance(3);
		push @scope, { e => "$name.tableoid::bigint", t => 'bigint' } if chance(1) && ($rel->{kind} // '') =~ /^(?:plain|part|inh)/;
		@scope = grep { !$_->{whole} } @scope;
		return { sql => "$only$from AS $name", scope => \@scope, rel => $rel, name => $name, plain => $from eq $rel->{n} };
	}
	if ($how eq 'query' || $how eq 'derived')
	{
		my $q = $how eq 'derived' ? derived($depth - 1) : linear($depth - 1);
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

# a subquery that is more than a join
sub derived
{
	my ($depth) = @_;
	my $inner = $depth < 0;
	my $less = $inner ? 8 : 2;
	local $MatviewRandom::Expr::spice = { map { $_ => spice_of($_) / $less } keys %$MatviewRandom::Expr::spice };
	my $how = weighted(
		grouped => 45, distinct => 12, set_operations => 10, window => 10, limited => 8, distinct_on => 6, union_all => 6, several => 8);
	return { several => \&several,
		grouped => \&grouped, distinct => \&distinct, set_operations => \&set_operations, union_all => \&union_all,
		window => \&window_query, limited => \&limited_query, distinct_on => \&distinct_on_query }->{$how}->($inner ? 0 : $depth);
}

# a condition that joins the new item to what there is
sub join_condition
{
	my ($new, $old) = @_;
	my $tie = join ' AND ', grep { $_ } tie_of($new, $old), chance(20 + spice_of('predicate') / 2) ? condition([ @$new, @$old ], 1) : '';
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
	my $n = $o{items} // ($o{simple} ? 1 + chance(15) : weighted(1 => spice_of('outer') > 40 ? 5 : 40, 2 => 38, 3 => 15, 4 => 7));
	my $self = $n > 1 && chance(20) ? pick(@relations) : undef;
	my @items = map { from_item($depth, %o, $self && $_ < 3 ? (relation => $self) : ()) } 1 .. $n;
	my $style = $o{outer} || ($n > 1 && !$o{simple} && spice('outer')) ? 'outer' : pick('comma', 'join', 'join', 'nested');
	my $nested = $n >= 3 && ($style eq 'nested' || ($style eq 'outer' && chance(35)));
	my @where;
	my $sql = $items[0]{sql};
	my @scope = @{ $items[0]{scope} };
	if ($nested)
	{
		my $inner = join_condition($items[2]{scope}, $items[1]{scope});
		my $outer = join_condition([ @{ $items[1]{scope} }, @{ $items[2]{scope} } ], \@scope);
		my @types = $style eq 'outer' ? map { outer_type($_) } ($outer, $inner) : ('', '');
		$sql .= " $types[0]JOIN ($items[1]{sql} $types[1]JOIN $items[2]{sql} ON $inner) ON $outer";
		push @scope, @{ $items[1]{scope} }, @{ $items[2]{scope} };
	}
	if (!$nested || $n > 3)
	{
		for my $i ($nested ? 3 .. $n - 1 : 1 .. $n - 1)
		{
			my $item = $items[$i];
			# a condition of an outer join may refer to what is outside the subquery
			my $far = $o{correlate} && $style eq 'outer' && chance(25);
			my $on = join_condition($item->{scope}, $far ? [ @scope, @{ $o{correlate} } ] : \@scope);
			if ($style eq 'comma')
			{
				$sql .= ", $item->{sql}";
				push @where, $on;
			}
			elsif ($style eq 'outer')
			{
				$sql .= ' ' . ($far ? 'LEFT ' : outer_type($on)) . "JOIN $item->{sql} ON $on";
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
	my $multiplied;
	if (!$o{simple} && (chance(2) || spice('lateral')))
	{
		my $item = lateral_item(\@scope);
		$sql .= $style eq 'comma' ? ", $item->{sql}"
		  : chance(40) ? " LEFT JOIN $item->{sql} ON " . (chance(60) ? 'true' : condition([ @scope, @{ $item->{scope} } ], 0))
		  : " CROSS JOIN $item->{sql}";
		push @scope, @{ $item->{scope} };
		$multiplied = 1;
		# in a join that does not have what the LATERAL item refers to
		if ($style eq 'comma' && chance(40))
		{
			my $more = from_item(0, simple => 1);
			my $on = join_condition($more->{scope}, $item->{scope});
			$sql .= " LEFT JOIN $more->{sql} ON $on";
			push @scope, @{ $more->{scope} };
		}
		elsif ($style eq 'comma' && chance(40))
		{
			my $left = from_item(0, simple => 1);
			my $right = lateral_item(\@scope);
			my $on = tie_of($right->{scope}, $left->{scope});
			$sql .= ", ($left->{sql} " . ($on =~ /^[^ ]+ = [^ ]+$/ ? 'FULL ' : 'LEFT ') . "JOIN $right->{sql} ON $on)";
			push @scope, @{ $left->{scope} }, @{ $right->{scope} };
		}
	}
	push @where, condition(\@scope, 2) if chance($o{simple} ? 70 : 45 + spice_of('predicate'));
	if (my $outer = $o{correlate})
	{
		push @where, tie_of(\@scope, $outer) if chance(88);
		push @where, condition([ @scope, @$outer ], 0) if chance(18);
	}
	$sql .= ' WHERE ' . join(' AND ', map { "($_)" } @where) if @where;
	return { sql => $sql, scope => \@scope, items => \@items, multiplied => $multiplied };
}

# The word before JOIN.  FULL needs a condition that can be hashed or merged.
sub outer_type
{
	my ($on) = @_;
	return pick('LEFT ', 'RIGHT ', 'FULL ', 'FULL ', 'LEFT ', '') if $on =~ /^[^ ]+ = [^ ]+$/;
	return pick('LEFT ', 'RIGHT ', 'LEFT ', '', chance(10) ? 'FULL ' : 'LEFT ');
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
		if (!$o{simple} && (chance(1) || spice('srf')))
		{
			my ($call, $type) = set_returning($from->{scope});
			push @outputs, { e => $call, t => $type };
			$from->{multiplied} = 1;
		}
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
	return undef if chance(45) || $from->{multiplied};
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
	# of the group, not of its rows; and over the groups
	my ($int_key) = grep { $_->{t} eq 'int' } @keys;
	push @outputs, { e => "percentile_disc(least(greatest($int_key->{e}, 0), 9) / 9.0) WITHIN GROUP (ORDER BY " . typed('int', $scope, 0) . ')', t => 'int' }
	  if $int_key && chance(6);
	push @outputs, { e => 'sum(count(*)) OVER (ORDER BY ' . join(', ', map { $_->{e} } @keys) . pick('', ' ROWS 1 PRECEDING', ' GROUPS 1 PRECEDING') . ')', t => 'numeric' }
	  if @keys && chance(5) && !grep { !is_sortable($_->{t}) } @keys;
	push @outputs, map { of_key($_) } grep { chance(12) } @keys;
	my $sets = @keys && (chance(2) || spice('sets'));
	# a NULL that is a key, and one that stands for a key that is not in the set, come in any order
	$_->{e} =~ s/ ROWS 1 PRECEDING// for $sets ? @outputs : ();
	push @outputs, { e => "grouping($keys[0]{e})", t => 'int' } if @keys && chance($sets ? 30 : 3);
	my $constant = $sets && chance(15) ? { e => "'every'::text", t => 'text' } : undef;
	push @outputs, $constant if $constant;
	my $functional = $sets ? [] : functional_columns($from, \@keys);
	push @outputs, @$functional;
	# with that, and a unique index, a view may be its own state table
	push @outputs, { e => 'count(*)', t => 'bigint' } if chance(30);
	@outputs = ({ e => 'count(*)', t => 'bigint' }) if !@outputs;
	@outputs = shuffled(@outputs);
	my $having = chance(20) ? ' HAVING ' . having($scope, @keys, @aggs) : '';
	my ($list, @cols) = name_outputs(@outputs);
	my $unique = @keys && @shown == @keys && !$sets ? [ map { $_->{as} } @keys ] : undef;
	my @by = $sets ? grouping_sets(@keys, $constant // ()) : map { $_->{e} } @keys;
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

sub grouping_sets
{
	my @keys = map { $_->{e} } @_;
	my $all = join ', ', @keys;
	return "ROLLUP ($all)" if chance(35);
	return "CUBE ($all)" if chance(30);
	my ($first, @rest) = @keys;
	return ($first, 'ROLLUP (' . join(', ', @rest) . ')') if @rest && chance(25);
	my @sets = map { '(' . join(', ', grep { chance(55) } @keys) . ')' } 1 .. 1 + roll(3);
	return "GROUPING SETS (($all), " . join(', ', @sets) . ')';
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
	return having_condition("sum($int)") if spice('predicate') || spice('scalar');
	return pick('count(*) > 1', 'count(*) > 2', "sum($int) > 2", "max($int) IS NOT NULL", "count(*) % 2 = 0",
		"bool_or(" . condition($scope, 0) . ')',
		map { "($_->{e}) IS NOT NULL" } @rest);
}

# Several operations on one level, over keys that nobody may see: groups, windows
# over them, set-returning functions, DISTINCT, ORDER BY with LIMIT
sub several
{
	my ($depth) = @_;
	for (1 .. 8)
	{
		my $from = from_clause($depth, items => weighted(1 => 6, 2 => 3));
		my @keys = grep { is_exact($_->{t}) && !$_->{fz} } key_columns(1 + roll(3), $from->{scope});
		return several_over($from, @keys) if @keys;
	}
	return grouped($depth);
}

sub several_over
{
	my ($from, @keys) = @_;
	my $scope = $from->{scope};
	my $is_grouped = chance(65);
	my @aggs = $is_grouped ? grep { is_exact($_->{t}) && !$_->{fz} } map { aggregate($scope) } 1 .. 2 : ();
	my @values = (@keys, @aggs);
	my @sets;
	if (chance(spice('srf') ? 70 : 25))
	{
		# a key, or of the keys: above the groups
		my $is_key = chance(50);
		my ($call, $type) = set_returning($is_key || !$is_grouped ? $scope : \@keys);
		my $set = { e => $call, t => $type };
		if (is_exact($type) && $is_key)
		{
			push @keys, $set if $is_grouped;
			push @values, $set if $has_window_sets;
		}
		push @sets, $set if is_exact($type) && !($is_key && $is_grouped);
	}
	my @windows = map { several_window(@values) } 1 .. weighted(0 => 4, 1 => 5, 2 => 2);
	my @outputs = shuffled((grep { chance(60) } @keys), @aggs, @windows, @sets);
	@outputs = ($keys[0]) if !@outputs;
	my ($list, @cols) = name_outputs(@outputs);
	my $by = $is_grouped ? join(', ', map { $_->{e} } @keys) : '';
	my $is_rollup = $is_grouped && !@sets && @keys == grep({ $_->{e} !~ /\(/ } @keys) && chance(12);
	$by = " GROUP BY " . ($is_rollup ? "ROLLUP ($by)" : $by) if $by ne '';
	$by .= ' HAVING ' . having($scope, @aggs) if $is_grouped && chance(15);
	my $sql = "$list FROM $from->{sql}$by";
	# rows that differ in none of the columns can be taken for each other
	my $order = join ', ', shuffled(1 .. @cols);
	my $first = pick(@values)->{e};
	my $limit = pick(' LIMIT ', ' LIMIT ', ' OFFSET ') . (1 + roll(6));
	my $how = weighted(all => 3, distinct => 3, distinct_limit => 3, limit => 3, on => 2, on_limit => 1);
	return { sql => "SELECT $sql", cols => \@cols } if $how eq 'all';
	return { sql => "SELECT DISTINCT $sql", cols => \@cols, unique => [ map { $_->{n} } @cols ] } if $how eq 'distinct';
	return { sql => "SELECT DISTINCT $sql ORDER BY $order$limit", cols => \@cols, ordered => 1 } if $how eq 'distinct_limit';
	return { sql => "SELECT $sql ORDER BY " . (chance(50) ? "$first, " : '') . "$order$limit", cols => \@cols, ordered => 1 } if $how eq 'limit';
	return { sql => "SELECT DISTINCT ON ($first) $sql ORDER BY $first, $order" . ($how eq 'on' ? '' : $limit), cols => \@cols, ordered => 1 };
}

# A window function whose value does not depend on the order of equal rows
sub several_window
{
	my (@values) = @_;
	my $order = join ', ', map { $_->{e} . pick('', '', ' DESC') } some_of(1 + roll(2), @values);
	my $partition = chance(60) ? 'PARTITION BY ' . pick(@values)->{e} . ' ' : '';
	return { e => pick('rank()', 'dense_rank()', 'count(*)') . " OVER (${partition}ORDER BY $order)", t => 'bigint' };
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

# WITH queries, one or two, of which the second may read the first; often one is
# used twice
sub with_cte
{
	my @saved = @relations;
	my @with;
	my @rels;
	for my $i (1 .. weighted(1 => 7, 2 => 3))
	{
		my $inner = weighted(linear => 7, union_all => 2, derived => 5);
		$inner = { linear => \&linear, union_all => \&union_all, derived => \&derived }->{$inner}->(0);
		my $name = quote_name((chance(20) ? 'Some CTE' : 'w') . ($i > 1 ? $i : ''));
		push @with, "$name AS" . pick('', '', ' MATERIALIZED', ' NOT MATERIALIZED') . " ($inner->{sql})";
		push @rels, { n => $name, cols => $inner->{cols} };
		@relations = ($rels[-1], chance(60) ? @saved : ());
	}
	@relations = chance(50) ? @rels : (@rels, @rels, @rels, @saved);
	my $outer = weighted(linear => 5, grouped => 5, derived => 2);
	$outer = $outer eq 'derived' ? derived(0) : { linear => \&linear, grouped => \&grouped }->{$outer}->(0, items => 1 + roll(2));
	@relations = @saved;
	return {
		sql => 'WITH ' . join(', ', @with) . " $outer->{sql}",
		cols => $outer->{cols}, unique => $outer->{unique}, ordered => $outer->{ordered} };
}

# something over a subquery that is more than a join
sub over_query
{
	my $inner = weighted(union_all => 4, derived => 5, linear => 3);
	$inner = { linear => \&linear, union_all => \&union_all, derived => \&derived }->{$inner}->(0);
	my $rel = { n => "($inner->{sql})", cols => $inner->{cols} };
	my @saved = @relations;
	@relations = ($rel);
	my $how = weighted(linear => 3, grouped => 6, distinct => 1);
	my $outer = { linear => \&linear, grouped => \&grouped, distinct => \&distinct }->{$how};
	$outer = $outer->(0, items => 1);
	@relations = @saved;
	return $outer;
}

# Types as they are, or such as are cast to them by themselves
my %NARROWER = (int => 'smallint', bigint => 'int', text => 'varchar', numeric => 'int');

sub narrow
{
	return map { $NARROWER{$_} && chance(25) ? $NARROWER{$_} : $_ } @_;
}

# UNION, INTERSECT and EXCEPT, with and without ALL, nested
sub set_operations
{
	my ($depth) = @_;
	my @types = map { pick(qw(int int text bool date mood bigint money2), chance(15) ? qw(numeric texts jsonb) : ()) } 1 .. 1 + roll(3);
	my $branch = sub { return linear($depth, types => [ narrow(@types) ], items => weighted(1 => 7, 2 => 3)) };
	my $first = linear($depth, types => \@types, items => weighted(1 => 7, 2 => 3));
	my $sql = $first->{sql};
	for (1 .. weighted(1 => 55, 2 => 30, 3 => 15))
	{
		my $op = pick('UNION', 'UNION ALL', 'EXCEPT', 'EXCEPT ALL', 'INTERSECT', 'INTERSECT ALL');
		my $right = $branch->()->{sql};
		$right = "($right " . pick('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT') . ' ' . $branch->()->{sql} . ')' if chance(20);
		$sql = chance(40) ? "($sql) $op $right" : "$sql $op $right";
	}
	$_->{fz} ||= norm_of($_->{t}) ? 1 : 0 for @{ $first->{cols} };
	return { sql => $sql, cols => $first->{cols} };
}

# ---------- what is recomputed ----------

sub beyond
{
	$hard = 1;
	my $rel = pick(@relations);
	my $how = pick(qw(recursive clock sample));
	return {
		sql => "WITH RECURSIVE r (n) AS (SELECT 0 UNION SELECT n + 1 FROM r WHERE n < 5) "
		  . "SELECT r.n AS o0, count(x.*) AS o1 FROM r, $rel->{n} AS x WHERE " . condition([ scope_of('x', $rel) ], 0) . ' GROUP BY r.n',
		cols => [ { n => 'o0', t => 'int' }, { n => 'o1', t => 'bigint' } ], unique => ['o0'] } if $how eq 'recursive';
	my $tables = $how eq 'sample' && ($rel->{kind} // '') =~ /^(?:plain|partitioned|inherited)$/;
	my $from = $tables ? "$rel->{n} AS x TABLESAMPLE SYSTEM (100)" : "$rel->{n} AS x";
	my $where = $tables ? '' : " WHERE now() > '2020-01-01'";
	my ($list, @cols) = name_outputs(map { any_output([ scope_of('x', $rel) ]) } 1 .. 2);
	return { sql => "SELECT $list FROM $from$where", cols => \@cols };
}

set_subquery_from(\&from_clause, \&new_alias, sub { my @keyed = grep { $_->{single_id} } @relations; return @keyed ? pick(@keyed) : undef });
set_ordered_from(\&linear, \&grouped);

1;
