# MatviewRandom::Expr
#
# Random expressions over a scope: a list of { e => SQL, t => type, fz => }.
# "fz" marks a value that is one of several equal ones (see
# MatviewRandom::Types): such a value may be shown, compared and grouped by,
# but no expression may depend on its image.
package MatviewRandom::Expr;

use strict;
use warnings;
use Exporter 'import';
use MatviewRandom::Dice;
use MatviewRandom::Types;

our @EXPORT = qw(typed condition any_output aggregate key_columns type_cast spice spice_of);

# What a query is to have more of: kind => percent of the places where it could
# stand.  The kinds are
#	outer		outer joins
#	predicate	subqueries in conditions
#	scalar		subqueries as values
#	derived		subqueries in FROM that are more than a join
#	lateral		LATERAL subqueries
#	srf			set-returning functions
#	sets		grouping sets
#	distinct	count(DISTINCT)
# Empty outside of queries for views.
our $spice = {};

# The makers of subqueries (MatviewRandom::Subquery); each gets a scope
our ($make_predicate, $make_scalar);

sub spice_of { return $spice->{ $_[0] } // 0 }
sub spice { return chance($spice->{ $_[0] } // 0) }

# Whether functions that read settings may be used.  They are seldom: a view
# with one of them may have to be recomputed.
our $allow_stable = 0;

# What makes a value of a type; each gets the scope and the depth left
my %MAKE = (
	int => [
		sub { '(' . typed('int', @_) . pick(' + 1', ' * 2', ' - 3', ' % 3', ' + ' . sub_typed('smallint', @_)) . ')' },
		sub { 'coalesce(' . typed('int', @_) . ', ' . roll(5) . ')' },
		sub { 'CASE WHEN ' . condition(@_) . ' THEN ' . typed('int', @_) . pick('', ' ELSE ' . roll(9)) . ' END' },
		sub { 'nullif(' . typed('int', @_) . ', ' . roll(4) . ')' },
		sub { pick('length', 'ascii', 'octet_length') . '(' . typed('text', @_) . ')' },
		sub { pick('greatest', 'least') . '(' . typed('int', @_) . ', ' . typed('int', @_) . ')' },
		sub { 'extract(' . pick('year', 'month', 'day') . ' FROM ' . as_date(@_) . ')::integer' },
		sub { 'cardinality(' . typed(pick('texts', 'ints'), @_) . ')' },
		sub { '(' . typed('pair', @_) . ').a' },
		sub { 'twice(' . typed('int', @_) . ')' },
		sub { 'plsum(' . typed('int', @_) . ', ' . typed('int', @_) . ')' },
		sub { 'array_position(' . typed('texts', @_) . ", 'b')" },
		sub { '(' . typed('count_dom', @_) . ' + 1)' },
		sub { 'abs(' . typed('int', @_) . ')' }, ],
	bigint => [
		sub { '(' . typed('bigint', @_) . ' + ' . typed('int', @_) . ')' },
		sub { typed('int', @_) . '::bigint' },
		sub { 'coalesce(' . typed('bigint', @_) . ', -1)' }, ],
	smallint => [ sub { 'coalesce(' . typed('smallint', @_) . ', 1::smallint)' }, ],
	numeric => [
		sub { '(' . typed('numeric', @_) . pick(' + 1', ' * 2.0', ' - 0.50') . ')' },
		sub { 'round(' . typed('numeric', @_) . ', ' . roll(3) . ')' },
		sub { '(' . typed('money2', @_) . ' / 4)' },
		sub { typed('int', @_) . '::numeric' },
		sub { '(' . typed('money2', @_) . ' * ' . typed('int', @_) . ')' }, ],
	money2 => [ sub { typed('int', @_) . '::numeric(10,2)' }, ],
	text => [
		sub { pick('upper', 'lower', 'md5', 'btrim', 'reverse') . '(' . typed('text', @_) . ')' },
		sub { '(' . typed('text', @_) . ' || ' . typed('text', @_) . ')' },
		sub { 'coalesce(' . typed('text', @_) . ", 'none')" },
		sub { 'left(' . typed('text', @_) . ', 1)' },
		sub { '(' . typed('json', @_) . q{->>'a')} },
		sub { '(' . typed('jsonb', @_) . q{->>'a')} },
		sub { '(' . typed('pair', @_) . ').b' },
		sub { 'replace(' . typed('bigtext', @_) . ", 'q', '')" },
		sub { 'CASE ' . typed('int', @_) . " WHEN 1 THEN 'one' WHEN 2 THEN " . typed('text', @_) . ' END' },
		sub { typed(pick(qw(int bool uuid jsonb json money2 point bytea char)), @_) . '::text' }, ],
	float => [
		sub { '(' . typed('float', @_) . pick(' * 2', ' + 0.25', ' - 1') . ')' },
		sub { typed('int', @_) . '::float8' },
		sub { 'coalesce(' . typed('float', @_) . ', 0.5)' }, ],
	real => [ sub { typed('smallint', @_) . '::real' }, ],
	bool => [
		sub { '(' . condition(@_) . ')' },
		sub { 'coalesce(' . typed('bool', @_) . ', false)' }, ],
	date => [
		sub { '(' . typed('date', @_) . ' + 1)' },
		sub { typed('timestamp', @_) . '::date' }, ],
	timestamp => [
		sub { "date_trunc('" . pick('month', 'day', 'hour') . "', " . typed('timestamp', @_) . ')' },
		sub { '(' . typed('timestamp', @_) . " + interval '1 day')" }, ],
	timestamptz => [ sub { "coalesce(" . typed('timestamptz', @_) . ", '2024-01-01 00:00:00+00')" }, ],
	interval => [ sub { '(' . typed('interval', @_) . ' * 2)' }, ],
	jsonb => [
		sub { '(' . typed('jsonb', @_) . q{->'a')} },
		sub { '(' . typed('jsonb', @_) . q{ || '{"a": 7}'::jsonb)} }, ],
	json => [ sub { '(' . typed('json', @_) . q{->'a')} }, ],
	texts => [
		sub { 'ARRAY[' . typed('text', @_) . ', ' . typed('text', @_) . ']' },
		sub { '(' . typed('texts', @_) . " || 'z'::text)" }, ],
	ints => [ sub { 'ARRAY[' . typed('int', @_) . ', 1]' }, ],
	pair => [ sub { 'ROW(' . typed('int', @_) . ', ' . typed('text', @_) . ')::pair' }, ],
	mood => [ sub { 'coalesce(' . typed('mood', @_) . ", 'low')" }, ],);

# The same with functions that read settings
my %STABLE = (
	text => [
		sub { typed(pick(qw(mood date texts pair timestamp)), @_) . '::text' },
		sub { 'concat_ws(' . "'-', " . typed('text', @_) . ', ' . typed('int', @_) . ')' },
		sub { 'to_char(' . typed(pick('timestamp', 'timestamptz'), @_) . ", 'YYYY-MM')" },
		sub { 'format(' . "'%s/%s', " . typed('int', @_) . ', ' . typed('text', @_) . ')' }, ],
	timestamptz => [
		sub { "date_trunc('" . pick('month', 'day') . "', " . typed('timestamptz', @_) . ')' }, ],
	jsonb => [
		sub { "jsonb_build_object('x', " . typed(pick('int', 'text', 'bool'), @_) . ')' },
		sub { 'to_jsonb(' . typed(pick('int', 'texts', 'pair'), @_) . ')' }, ],
	json => [
		sub { "json_build_object('x', " . typed(pick('int', 'text'), @_) . ')' }, ],);

sub makers
{
	my ($type) = @_;
	return (@{ $MAKE{$type} // [] }, $allow_stable ? @{ $STABLE{$type} // [] } : ());
}

# types whose text does not depend on settings
my %FIXED_TEXT = map { $_ => 1 }
  qw(int bigint smallint numeric money2 text bigtext varchar char nocase float real bool time interval jsonb json bytea uuid inet bits point count_dom);

sub sub_typed { return 'coalesce(' . typed(@_) . ', 0)' }

sub as_date
{
	return pick(
		'coalesce(nullif(' . typed('date', @_) . ", 'infinity'), '2000-02-03')",
		typed('timestamp', @_));
}

# an expression of the type, never fuzzy
sub typed
{
	my ($type, $scope, $depth) = @_;
	if ($depth > 0 && spice('scalar'))
	{
		my $subquery = $make_scalar->($type, $scope);
		return $subquery if $subquery;
	}
	my @cols = grep { $_->{t} eq $type && !$_->{fz} } @$scope;
	my @makers = $depth > 0 ? makers($type) : ();
	if (@makers && chance(@cols ? 35 : 92))
	{
		return pick(@makers)->($scope, $depth - 1);
	}
	return pick(@cols)->{e} if @cols && chance(90);
	return '(' . as_sql($type, any_value($type, 5)) . ')';
}

sub comparison
{
	my ($scope, $depth) = @_;
	my @cols = grep { is_groupable($_->{t}) } @$scope;
	return 'true' if !@cols;
	my $col = pick(@cols);
	my $type = $col->{t};
	my @same = grep { $_->{t} eq $type && $_ != $col } @cols;
	my $right =
		@same && chance(40) ? pick(@same)->{e}
	  : chance(80) || $col->{fz} ? as_sql($type, any_value($type, 3))
	  :                     typed($type, $scope, $depth);
	my $op = is_sortable($type) ? pick('=', '=', '<>', '<', '>=') : pick('=', '=', '<>');
	$op = pick('IS DISTINCT FROM', 'IS NOT DISTINCT FROM') if chance(12);
	return "$col->{e} $op $right";
}

sub condition
{
	my ($scope, $depth) = @_;
	return $make_predicate->($scope) if spice('predicate');
	my $how = weighted(
		compare => 50, null => 12, list => 8, bool => 10, not => 4,
		and => $depth > 0 ? 8 : 0, or => $depth > 0 ? 10 : 0,
		like => 4, contains => 4, mod => 10);
	return comparison($scope, $depth) if $how eq 'compare';
	return pick(@$scope)->{e} . pick(' IS NULL', ' IS NOT NULL', ' IS NOT NULL') if $how eq 'null';
	return typed('int', $scope, $depth - 1) . pick(' IN (0, 1, 2)', ' NOT IN (3, 5)', ' BETWEEN 1 AND 4',
		' = ANY (ARRAY[1, 2, NULL])') if $how eq 'list';
	return typed('int', $scope, $depth - 1) . ' % 2 = ' . roll(2) if $how eq 'mod';
	return 'NOT (' . condition($scope, $depth - 1) . ')' if $how eq 'not';
	return typed('text', $scope, 0) . pick(" LIKE 'a%'", " ~ '[ab]'", " ILIKE '%A%'") if $how eq 'like';
	return pick(
		typed('texts', $scope, 0) . " @> '{a}'",
		typed('jsonb', $scope, 0) . q( @> '{"a": 1}'),
		"'b' = ANY (" . typed('texts', $scope, 0) . ')') if $how eq 'contains';
	return '(' . condition($scope, $depth - 1) . uc(" $how ") . condition($scope, $depth - 1) . ')'
	  if $how eq 'and' || $how eq 'or';
	my @bools = grep { $_->{t} eq 'bool' && !$_->{fz} } @$scope;
	return @bools ? pick(@bools)->{e} : comparison($scope, $depth);
}

# a column as it is or an expression: { e, t, fz }
sub any_output
{
	my ($scope) = @_;
	return { %{ pick(@$scope) } } if chance(65);
	my $type = chance(60) ? pick(@$scope)->{t} : pick(qw(int text numeric bool text int jsonb));
	return { e => typed($type, $scope, 2), t => $type, fz => 0 };
}

# the expression as exactly that type, whatever it was made of
sub type_cast
{
	my ($type, $e) = @_;
	return $type eq 'nocase' ? "($e COLLATE nocase)" : "($e)::" . type_sql($type);
}

# what to group by: { e, t, fz }
sub key_columns
{
	my ($n, $scope) = @_;
	my @cols = grep { is_groupable($_->{t}) } @$scope;
	my @low = grep { $_->{e} !~ /\.id$/ } @cols;
	my @keys;
	while (@keys < $n)
	{
		my $key;
		if (@cols && chance(72))
		{
			$key = { %{ pick(@low && chance(85) ? @low : @cols) } };
		}
		else
		{
			my $type = pick(qw(int int text bool date numeric mood money2 texts));
			$key = { e => typed($type, $scope, 2), t => $type };
			# a bare constant would be a position in GROUP BY
			next if $key->{e} !~ /[a-z"]\d*"?\./;
		}
		$n--, next if grep { $_->{e} eq $key->{e} } @keys;
		$key->{fz} ||= norm_of($key->{t}) ? 1 : 0;
		push @keys, $key;
	}
	return @keys;
}

my %SUM = (
	int => 'bigint', smallint => 'bigint', count_dom => 'bigint', bigint => 'numeric',
	numeric => 'numeric', money2 => 'numeric', float => 'float', real => 'real',
	interval => 'interval');
my %AVG = (float => 'float', real => 'float', interval => 'interval');

sub of_kind
{
	my ($kind, $scope) = @_;
	return grep { $MatviewRandom::Types::TYPE{ $_->{t} }{$kind} } @$scope;
}

# { e, t, fz }; only_exact leaves out what recomputes its groups
sub aggregate
{
	my ($scope) = @_;
	my $filter = chance(22) ? ' FILTER (WHERE ' . condition($scope, 1) . ')' : '';
	my $how = weighted(
		star => 14, count => 10, sum => 20, avg => 12, minmax => 18, bool => 8,
		string => 4, array => 4, distinct => spice_of('distinct') ? 40 : 5, stddev => 3, percentile => 2, mode => 1,
		bits => 2, json => 2, user => 2, first => 1);
	return { e => "count(*)$filter", t => 'bigint', fz => 0 } if $how eq 'star';
	if ($how eq 'count')
	{
		return { e => 'count(' . pick(@$scope)->{e} . ")$filter", t => 'bigint', fz => 0 };
	}
	if ($how eq 'sum' || $how eq 'avg')
	{
		my @nums = of_kind('num', $scope);
		my $arg = @nums && chance(75) ? pick(@nums) : { t => 'int', e => typed('int', $scope, 2) };
		my $type = $how eq 'sum' ? $SUM{ $arg->{t} } : $AVG{ $arg->{t} } // 'numeric';
		return { e => "$how($arg->{e})$filter", t => $type, fz => $arg->{fz} };
	}
	if ($how eq 'minmax' || $how eq 'percentile' || $how eq 'mode')
	{
		my @sortable = of_kind('sort', $scope);
		my $arg = @sortable && chance(80) ? pick(@sortable) : { t => 'int', e => typed('int', $scope, 2) };
		my $type = $arg->{t};
		# max(varchar) is text and so on: the types here keep theirs, but for
		my $shown = $type eq 'money2' ? 'numeric' : $type;
		my $fz = $arg->{fz} || norm_of($type) ? 1 : 0;
		my $e =
			$how eq 'minmax' ? pick('min', 'max') . "($arg->{e})"
		  : ($how eq 'mode' ? 'mode()' : 'percentile_disc(' . pick('0', '0.5', '0.9') . ')')
		  . " WITHIN GROUP (ORDER BY $arg->{e})";
		return { e => "$e$filter", t => $shown, fz => $fz };
	}
	if ($how eq 'bool')
	{
		my $e = pick('bool_and', 'bool_or', 'every') . '(' . condition($scope, 1) . ')';
		return { e => "$e$filter", t => 'bool', fz => 0 };
	}
	my @strict = grep { !$_->{fz} && ($allow_stable || $FIXED_TEXT{ $_->{t} }) } @$scope;
	my $arg = @strict ? pick(@strict) : { e => '1', t => 'int' };
	my $image = "$arg->{e}::text COLLATE \"C\"";
	if ($how eq 'string')
	{
		return { e => "string_agg(left($arg->{e}::text, 9), ',' ORDER BY $image)$filter", t => 'text', fz => 0 };
	}
	if (($how eq 'json' && $allow_stable) || $how eq 'array')
	{
		my $e = $how eq 'json' ? 'jsonb_agg' : 'array_agg';
		my $int = chance(50) ? typed('int', $scope, 1) : undef;
		return $int
		  ? { e => "$e($int ORDER BY $int)$filter", t => $how eq 'json' ? 'jsonb' : 'ints', fz => 0 }
		  : { e => "${e}(left($arg->{e}::text, 20) ORDER BY $image DESC)$filter",
			t => $how eq 'json' ? 'jsonb' : 'texts', fz => 0 };
	}
	if ($how eq 'distinct')
	{
		my @eq = of_kind('eq', $scope);
		return { e => 'count(DISTINCT ' . pick(@eq)->{e} . ")$filter", t => 'bigint', fz => 0 } if @eq && chance(60);
		return { e => 'sum(DISTINCT ' . typed('int', $scope, 1) . ")$filter", t => 'bigint', fz => 0 };
	}
	if ($how eq 'stddev')
	{
		return { e => pick('stddev', 'var_pop', 'variance') . '(' . typed('int', $scope, 1) . ")$filter", t => 'numeric', fz => 0 };
	}
	if ($how eq 'bits')
	{
		return { e => pick('bit_and', 'bit_or') . '(' . typed('int', $scope, 1) . ")$filter", t => 'int', fz => 0 };
	}
	if ($how eq 'first')
	{
		return { e => "(array_agg($arg->{e} ORDER BY $image))[1]", t => $arg->{t}, fz => 0 }
		  if $arg->{t} !~ /^(?:texts|ints)$/;
	}
	return { e => 'plus(' . typed('bigint', $scope, 1) . ")$filter", t => 'bigint', fz => 0 };
}

1;
