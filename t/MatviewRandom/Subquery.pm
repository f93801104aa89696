# MatviewRandom::Subquery
#
# Subqueries in expressions: EXISTS, IN, ANY and ALL with their NOT, row
# comparisons, scalar subqueries and ARRAY(), correlated or not; and LATERAL
# subqueries and set-returning functions in FROM.
package MatviewRandom::Subquery;

use strict;
use warnings;
use Exporter 'import';
use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Expr;

our @EXPORT = qw(set_subquery_from column_query having_condition lateral_item set_returning);

$MatviewRandom::Expr::make_predicate = \&predicate;
$MatviewRandom::Expr::make_scalar = \&value_query;

# MatviewRandom::Query's from_clause and new_alias, and what picks a relation
# with a key of one column, or none
my ($from_clause, $new_alias, $keyed_relation);

sub set_subquery_from
{
	($from_clause, $new_alias, $keyed_relation) = @_;
	return;
}

# Within a subquery there is less of everything
sub milder
{
	return { map { $_ => $MatviewRandom::Expr::spice->{$_} / 4 } keys %$MatviewRandom::Expr::spice };
}

# FROM and WHERE of a subquery, mostly one that depends on the outer scope
sub inner_from
{
	my ($outer) = @_;
	return $from_clause->(0, items => weighted(1 => 8, 2 => 3), @$outer && chance(65) ? (correlate => $outer) : ());
}

# A bare constant in ORDER BY or GROUP BY would be a position
sub is_variable { return $_[0] =~ /[a-z"]\d*"?\./ }

# One that neither LIMIT nor DISTINCT can make depend on anything but values
sub tail
{
	my ($e, $type) = @_;
	return '' if !is_exact($type) || !is_variable($e) || !chance(12);
	return " ORDER BY $e" . pick('', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST') . ' LIMIT ' . (1 + roll(4)) . pick('', '', ' OFFSET 1');
}

# SELECT of one column of the type
sub column_query
{
	my ($type, $outer) = @_;
	my $from = inner_from($outer);
	my @cols = grep { $_->{t} eq $type } @{ $from->{scope} };
	my $e = @cols && chance(80) ? pick(@cols)->{e} : typed($type, $from->{scope}, 1);
	my $how = weighted(plain => 60, distinct => 10, grouped => 12, union => 8);
	return "SELECT DISTINCT $e FROM $from->{sql}" if $how eq 'distinct';
	return "SELECT $e FROM $from->{sql} GROUP BY $e" . pick('', ' HAVING count(*) > 1', ' HAVING count(*) = 1')
	  if $how eq 'grouped' && is_variable($e);
	if ($how eq 'union')
	{
		my $more = inner_from($outer);
		# a type that one of the two is cast to
		my $other = $type eq 'int' && chance(50) ? pick('bigint', 'smallint') : $type;
		return "SELECT $e FROM $from->{sql} " . pick('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT', 'EXCEPT ALL')
		  . ' SELECT ' . typed($other, $more->{scope}, 1) . " FROM $more->{sql}";
	}
	return "SELECT $e FROM $from->{sql}" . tail($e, $type);
}

# Grouping sets over columns of a scope: { by, keys }, or undef
sub grouping_sets
{
	my ($scope) = @_;
	my @keys = grep { is_variable($_->{e}) && $_->{e} !~ /[( ]/ } key_columns(1 + roll(2), $scope);
	return undef if !@keys;
	my $all = join ', ', map { $_->{e} } @keys;
	return { keys => \@keys, by => pick("ROLLUP ($all)", "CUBE ($all)", "GROUPING SETS (($all), ($keys[-1]{e}))", "GROUPING SETS ((), ($all))") };
}

sub exists_query
{
	my ($outer) = @_;
	my $from = inner_from($outer);
	return 'SELECT ' . pick('1', '*', 'NULL') . " FROM $from->{sql}" . (chance(8) ? pick(' LIMIT 1', ' OFFSET 1', ' LIMIT 2 OFFSET 2') : '')
	  if chance(85);
	my $sets = grouping_sets($from->{scope});
	return "SELECT 1 FROM $from->{sql} GROUP BY $sets->{by} HAVING count(*) " . pick('> 1', '= 1', '% 2 = 1') if $sets && chance(40);
	return "SELECT 1 FROM $from->{sql} HAVING " . pick('count(*) > 1', 'count(*) = 0', 'count(*) % 2 = 1');
}

# A condition with a subquery in it
sub predicate
{
	my ($scope) = @_;
	local $MatviewRandom::Expr::spice = milder();
	my $how = weighted(exists => 30, in => 26, any => 10, all => 10, row => 8, compare => 16, of_predicate => 3);
	my $not = chance(35) ? 'NOT ' : '';
	return "${not}EXISTS (" . exists_query($scope) . ')' if $how eq 'exists';

	if ($how eq 'of_predicate')
	{
		my $from = inner_from($scope);
		return '(' . predicate($scope) . ') ' . pick('IN', 'NOT IN', '= ANY', '<> ALL') . ' (SELECT ' . condition($from->{scope}, 0) . " FROM $from->{sql})";
	}

	my @cols = grep { is_groupable($_->{t}) } @$scope;
	my $left = @cols && chance(80) ? pick(@cols) : { e => typed('int', $scope, 1), t => 'int' };
	my $type = $left->{t};
	if ($how eq 'in')
	{
		return "$left->{e} ${not}IN (" . column_query($type, $scope) . ')';
	}
	if ($how eq 'row')
	{
		my $from = inner_from($scope);
		my ($a, $b) = map { typed('int', $scope, 1) } 1, 2;
		my ($x, $y) = map { typed('int', $from->{scope}, 1) } 1, 2;
		return "($a, $b) " . pick('IN', 'NOT IN', '= ANY', '<> ALL', '< ANY', '>= ALL') . " (SELECT $x, $y FROM $from->{sql})"
		  if chance(75);
		return "($a, $b) " . pick('=', '<', '<>') . " (SELECT min($x), max($y) FROM $from->{sql})";
	}
	if ($how eq 'compare')
	{
		$left = { e => typed('int', $scope, 1), t => 'int' } if !is_sortable($type);
		$type = $left->{t};
		my $right = value_query($type, $scope);
		return "$left->{e} " . pick('=', '<', '>=', '<>', 'IS DISTINCT FROM') . " $right" if $right;
	}
	my @ops = is_sortable($type) ? ('=', '<>', '<', '>=') : ('=', '<>');
	return "$left->{e} " . pick(@ops) . ($how eq 'all' ? ' ALL (' : ' ANY (') . column_query($type, $scope) . ')';
}

# What an aggregate over int, text ... gives that is of the type; each gets a
# scope.  None may depend on which of several equal values it sees.
my %AGGREGATE = (
	int => [
		sub { 'count(*)::integer' },
		sub { pick('max', 'min') . '(' . typed('int', @_, 1) . ')' },
		sub { 'coalesce(sum(' . typed('int', @_, 1) . '), 0)::integer' },
		sub { 'count(DISTINCT ' . typed('int', @_, 1) . ')::integer' },
		sub { '(max(' . typed('int', @_, 0) . ') - min(' . typed('int', @_, 0) . '))' }, ],
	bigint => [ sub { 'count(*)' }, sub { 'sum(' . typed('int', @_, 1) . ')' }, sub { 'max(' . typed('bigint', @_, 1) . ')' } ],
	numeric => [ sub { 'avg(' . typed('int', @_, 1) . ')' }, sub { 'sum(' . typed('money2', @_, 0) . ')' } ],
	money2 => [ sub { pick('max', 'min') . '(' . typed('money2', @_, 0) . ')::numeric(10,2)' } ],
	text => [
		sub { pick('max', 'min') . '(' . typed('text', @_, 1) . ')' },
		sub { my $e = 'left(' . typed('text', @_, 0) . ', 5)'; "string_agg($e, ',' ORDER BY $e)" }, ],
	bool => [
		sub { pick('bool_or', 'bool_and') . '(' . condition(@_, 0) . ')' },
		sub { 'count(*) > ' . roll(4) }, ],
	texts => [ sub { my $e = typed('text', @_, 0); "array_agg($e ORDER BY $e)" } ],
	map {
		my $type = $_;
		($type => [ sub { pick('max', 'min') . '(' . typed($type, @_, 0) . ')' } ])
	} qw(smallint date time timestamp timestamptz mood));

# A subquery as a value of the type, or undef
sub value_query
{
	my ($type, $scope) = @_;
	local $MatviewRandom::Expr::spice = milder();
	my $makers = $AGGREGATE{$type};
	my $how = weighted(
		aggregate => $makers ? 60 : 0, first => is_exact($type) ? 15 : 0, lookup => 14, nested => $type eq 'int' ? 12 : 0,
		beside => $type eq 'int' ? 10 : 0, of_aggregate => $type eq 'int' ? 5 : 0,
		array => $type eq 'texts' ? 60 : 0, none => 1);
	if ($how eq 'lookup')
	{
		my $rel = $keyed_relation->() or return undef;
		my @cols = grep { $_->{t} eq $type && !$_->{fz} } @{ $rel->{cols} } or return undef;
		my $name = $new_alias->();
		return "(SELECT $name." . pick(@cols)->{n} . " FROM $rel->{n} AS $name WHERE $name.id = " . typed('int', $scope, 0) . ')';
	}
	return undef if $how eq 'none';
	my $from = inner_from($scope);
	return '(SELECT ' . pick(@$makers)->($from->{scope}) . " FROM $from->{sql}" . (chance(6) ? ' HAVING count(*) > 1' : '') . ')'
	  if $how eq 'aggregate';
	if ($how eq 'nested')
	{
		my @keys = key_columns(1, $from->{scope});
		my $name = $new_alias->();
		return "(SELECT " . pick('max', 'min', 'count', 'sum') . "($name.n)::integer FROM (SELECT count(*) AS n FROM $from->{sql} GROUP BY $keys[0]{e}) AS $name)";
	}
	# a subquery beside an aggregate, which has a row without any input, or of one
	if ($how eq 'beside' || $how eq 'of_aggregate')
	{
		my $more = inner_from($scope);
		my $int = typed('int', $from->{scope}, 0);
		return "(SELECT coalesce(" . pick(@$makers)->($from->{scope}) . ", 0) + (SELECT count(*)::integer FROM $more->{sql}) FROM $from->{sql})"
		  if $how eq 'beside' || !is_variable($int);
		my $name = $new_alias->();
		return '(SELECT (SELECT count(*)::integer FROM (SELECT ' . typed('int', $more->{scope}, 1) . " AS x FROM $more->{sql}) AS $name"
		  . " WHERE $name.x < max($int)) FROM $from->{sql})";
	}
	if ($how eq 'array')
	{
		my $e = typed('text', $from->{scope}, 0);
		return "ARRAY(SELECT $e FROM $from->{sql} ORDER BY 1" . pick('', ' DESC') . ')';
	}
	my $e = typed($type, $from->{scope}, 1);
	return undef if !is_variable($e);
	return "(SELECT $e FROM $from->{sql} ORDER BY ($e) IS NULL, ($e)" . pick('', ' DESC') . ' LIMIT 1' . pick('', '', ' OFFSET 1') . ')';
}

# HAVING, with aggregates of the query it belongs to
sub having_condition
{
	my ($sum) = @_;
	local $MatviewRandom::Expr::spice = milder();
	my $from = inner_from([]);
	my $int = typed('int', $from->{scope}, 1);
	return pick(
		'count(*) > (SELECT count(*) / ' . (2 + roll(4)) . " FROM $from->{sql})",
		"$sum >= (SELECT avg($int) FROM $from->{sql})",
		"$sum = ANY (SELECT $int FROM $from->{sql})",
		"count(*) NOT IN (SELECT x.n FROM (SELECT $int AS n FROM $from->{sql}) AS x WHERE x.n IS NOT NULL)",
		'NOT EXISTS (' . exists_query([]) . ') OR count(*) > 1');
}

# ---------- in FROM ----------

# A set-returning function over what stands left of it: call, column types
sub set_returning
{
	my ($scope) = @_;
	my $how = pick(qw(unnest unnest series series array object split ints));
	return ('unnest(' . typed('texts', $scope, 1) . ')', 'text') if $how eq 'unnest';
	return ('unnest(ARRAY[' . join(', ', map { typed('int', $scope, 1) } 1 .. 1 + roll(3)) . '])', 'int') if $how eq 'ints';
	return ("regexp_split_to_table(left(" . typed('text', $scope, 0) . ", 6), '')", 'text') if $how eq 'split';
	my $json = typed('jsonb', $scope, 0);
	return ("jsonb_array_elements(CASE jsonb_typeof($json) WHEN 'array' THEN $json END)", 'jsonb') if $how eq 'array';
	return ("jsonb_object_keys(CASE jsonb_typeof($json) WHEN 'object' THEN $json END)", 'text') if $how eq 'object';
	return ('generate_series(1, least(' . typed('int', $scope, 1) . ', 3))', 'int');
}

# A FROM item that depends on those before it: { sql, scope }
sub lateral_item
{
	my ($scope) = @_;
	my $name = $new_alias->();
	if (chance(spice_of('srf') ? 70 : 15))
	{
		my ($call, $type) = set_returning($scope);
		my $column = { e => "$name.x", t => $type };
		return { sql => "$call WITH ORDINALITY AS $name (x, y)", scope => [ $column, { e => "$name.y", t => 'bigint' } ] } if chance(25);
		return { sql => "$call AS $name (x)", scope => [$column] };
	}
	if (chance(4))
	{
		my $int = typed('int', $scope, 0);
		return {
			sql => "XMLTABLE('/r/i' PASSING xmlelement(name r, xmlelement(name i, $int), xmlelement(name i, 7)) COLUMNS x text PATH '.', y FOR ORDINALITY) AS $name",
			scope => [ { e => "$name.x", t => 'text' }, { e => "$name.y", t => 'int' } ] };
	}
	local $MatviewRandom::Expr::spice = milder();
	my $from = $from_clause->(0, items => weighted(1 => 8, 2 => 2), chance(88) ? (correlate => $scope) : ());
	my $how = weighted(top => 50, aggregate => 25, distinct => 8, plain => 17, sets => 12);
	my @out;
	my $sets = $how eq 'sets' ? grouping_sets($from->{scope}) : undef;
	if ($sets)
	{
		my $keys = $sets->{keys};
		@out = (@$keys, { e => 'count(*)', t => 'bigint' }, { e => "grouping($keys->[0]{e})", t => 'int' },
			map { my $t = pick(qw(int bool)); { e => pick(@{ $AGGREGATE{$t} })->($from->{scope}), t => $t } } 1 .. roll(2));
	}
	elsif ($how eq 'aggregate')
	{
		@out = map { my $t = pick(qw(int bigint text bool)); { e => pick(@{ $AGGREGATE{$t} })->($from->{scope}), t => $t } } 1 .. 1 + roll(2);
	}
	else
	{
		@out = map { my $t = pick(qw(int int text bool date money2 mood)); { e => typed($t, $from->{scope}, 1), t => $t } } 1 .. 1 + roll(3);
	}
	my $tail = $sets ? " GROUP BY $sets->{by}" . pick('', '', ' HAVING count(*) > 1') : '';
	my $other = $how eq 'plain' && chance(40) ? $from_clause->(0, items => 1, correlate => $scope) : undef;
	$_->{e} = type_cast($_->{t}, $_->{e}) for $other ? @out : ();
	my $i = 0;
	my $list = join ', ', map { "$_->{e} AS x" . $i++ } @out;
	$tail = ' UNION ALL SELECT ' . join(', ', map { type_cast($_->{t}, typed($_->{t}, $other->{scope}, 1)) } @out) . " FROM $other->{sql}" if $other;
	if ($how eq 'top')
	{
		my @order = map { $_ . pick('', ' DESC', ' DESC NULLS LAST') } shuffled(1 .. @out);
		$tail = ' ORDER BY ' . join(', ', @order) . ' LIMIT ' . (1 + roll(3)) . pick('', '', ' OFFSET 1');
		$tail = " ORDER BY 1 DESC FETCH FIRST " . (1 + roll(2)) . ' ROWS WITH TIES' if chance(15);
	}
	my $select = $how eq 'distinct' ? 'SELECT DISTINCT' : 'SELECT';
	$i = 0;
	return {
		sql => "LATERAL ($select $list FROM $from->{sql}$tail) AS $name",
		scope => [ map { { %$_, e => "$name.x" . $i++ } } @out ] };
}

1;
