# MatviewRandom::Ordered
#
# Queries in which an order matters: window functions, DISTINCT ON, LIMIT.
# Each orders by columns that tell all its rows apart, or by fewer where the
# result does not depend on ties.
package MatviewRandom::Ordered;

use strict;
use warnings;
use Exporter 'import';
use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Expr;
use MatviewRandom::Subquery;

our @EXPORT = qw(window_query limited_query distinct_on_query set_ordered_from);
our $sees_order;	# a window has seen the order of a subquery, which nobody maintains

my ($linear, $grouped);

sub set_ordered_from
{
	($linear, $grouped) = @_;
	return;
}

# Rows to put in order: { sql, cols (with e), total, keyed }; total has the
# columns that tell the rows apart.  If not keyed, rows that are the same in all
# columns may be among them.
sub source
{
	my ($depth, %o) = @_;
	for (1 .. 6)
	{
		my $q = weighted(linear => 7, grouped => 3, typed => 2);
		$q = $q eq 'linear' ? $linear->($depth, items => weighted(1 => 6, 2 => 3))
		  : $q eq 'grouped' ? $grouped->($depth, items => weighted(1 => 6, 2 => 2))
		  :                   typed_rows($depth);
		my @cols = map { { %$_, e => "s.$_->{n}" } } @{ $q->{cols} };
		my @total = total_order($q, @cols) or next;
		return { sql => "($q->{sql}) AS s", cols => \@cols, total => \@total, keyed => $q->{unique} };
	}
	my $q = typed_rows($depth);
	my @cols = map { { %$_, e => "s.$_->{n}" } } @{ $q->{cols} };
	return { sql => "($q->{sql}) AS s", cols => \@cols, total => \@cols };
}

sub typed_rows
{
	my ($depth) = @_;
	return $linear->($depth, types => [ map { weighted(exact_types()) } 1 .. 1 + roll(4) ], items => weighted(1 => 6, 2 => 3));
}

sub total_order
{
	my ($q, @cols) = @_;
	my %unique = map { $_ => 1 } @{ $q->{unique} // [] };
	my @unique = grep { $unique{ $_->{n} } } @cols;
	return @unique if @unique && !grep { !is_sortable($_->{t}) && !is_exact($_->{t}) } @unique;
	return () if grep { !is_exact($_->{t}) || $_->{fz} } @cols;
	return @cols;
}

sub direction { return $_[0] . pick('', '', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST') }

# ORDER BY list that leaves no ties
sub total_list
{
	my ($src) = @_;
	my @by = shuffled(@{ $src->{total} });
	my ($first) = some_of(1, grep { is_sortable($_->{t}) } @{ $src->{cols} });
	unshift @by, $first if $first && chance(60);
	return join ', ', map { direction($_->{e}) } @by;
}

# ORDER BY list that may leave ties
sub partial_list
{
	my ($src) = @_;
	my @sortable = grep { is_sortable($_->{t}) } @{ $src->{cols} };
	return total_list($src) if !@sortable;
	return join ', ', map { direction($_->{e}) } some_of(1 + chance(25), @sortable);
}

sub frame
{
	return '' if chance(35);
	return pick(' ROWS BETWEEN 1 PRECEDING AND CURRENT ROW', ' ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING', ' ROWS UNBOUNDED PRECEDING',
		' ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING', ' RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING',
		' GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING', ' ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING',
		' ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW', ' GROUPS UNBOUNDED PRECEDING EXCLUDE TIES');
}

# { e, t } with its OVER clause
sub window_call
{
	my ($src, $by) = @_;
	my @cols = @{ $src->{cols} };
	my @plain = grep { !$_->{fz} } @cols;
	my @ints = grep { $_->{t} eq 'int' && !$_->{fz} } @cols;
	my $int = @ints ? pick(@ints)->{e} : 'length(' . typed('text', \@cols, 0) . ')';
	my $filter = chance(12) ? ' FILTER (WHERE ' . condition(\@cols, 0) . ')' : '';
	my $how = weighted(number => 22, rank => 22, share => 6, ntile => 5, value => @plain ? 20 : 0, aggregate => 20, total => 20, list => 4);
	my $over = sub { return ' OVER (' . join(' ', grep { $_ ne '' } $by, @_) . ')' };
	my $total = 'ORDER BY ' . total_list($src);
	my $partial = 'ORDER BY ' . partial_list($src);

	return { e => 'row_number()' . $over->($total), t => 'bigint' } if $how eq 'number';
	return { e => pick('rank()', 'dense_rank()') . $over->($partial), t => 'bigint' } if $how eq 'rank';
	return { e => pick('percent_rank()', 'cume_dist()') . $over->($partial), t => 'float' } if $how eq 'share';
	return { e => 'ntile(3)' . $over->($total), t => 'int' } if $how eq 'ntile';
	if ($how eq 'value')
	{
		my $col = pick(@plain);
		my $call = pick("lag($col->{e})", "lead($col->{e})", "lag($col->{e}, 2)", "first_value($col->{e})", "last_value($col->{e})", "nth_value($col->{e}, 2)");
		return { e => $call . $over->($total . ($call =~ /^l[ae][ga]d?\(/ ? '' : frame())), t => $col->{t} };
	}
	return { e => "string_agg(left(" . typed('text', \@cols, 0) . ", 3), ',')" . $over->($total), t => 'text' } if $how eq 'list';
	my $call = pick([ 'count(*)', 'bigint' ], [ "sum($int)", 'bigint' ], [ "max($int)", 'int' ], [ "min($int)", 'int' ], [ "avg($int)", 'numeric' ],
		[ 'count(' . pick(@cols)->{e} . ')', 'bigint' ], [ 'bool_or(' . condition(\@cols, 0) . ')', 'bool' ]);
	my $order = $how eq 'total' ? '' : chance(50) ? $partial : $total . frame();
	return { e => "$call->[0]$filter" . $over->($order), t => $call->[1] };
}

sub columns_of
{
	my ($src) = @_;
	return map { { n => $_->{n}, t => $_->{t}, fz => $_->{fz} } } @{ $src->{cols} };
}

sub window_query
{
	my ($depth) = @_;
	my $src = source($depth);
	my @groupable = grep { is_groupable($_->{t}) } @{ $src->{cols} };
	my $by = @groupable && chance(78) ? 'PARTITION BY ' . join(', ', map { $_->{e} } some_of(1 + chance(20), @groupable)) : '';
	# which of several equal rows is the first could differ between two calls
	my $calls = $src->{keyed} ? weighted(1 => 6, 2 => 3, 3 => 1) : 1;
	my @calls = map { window_call($src, chance(80) ? $by : '') } 1 .. $calls;
	if (chance(3))
	{
		$sees_order = 1;
		$src->{sql} = "(SELECT * FROM $src->{sql} ORDER BY " . total_list($src) . ') AS s';
		@calls = ({ e => 'row_number() OVER ()', t => 'bigint' });
	}
	# compared with a subquery
	my $last = $calls[-1];
	if ($last->{t} =~ /^(?:bigint|int|text)$/ && chance(10))
	{
		my $query = column_query($last->{t}, $src->{cols});
		$calls[-1] = { e => "$last->{e} " . pick('IN', 'NOT IN', '> ALL', '<= ANY') . " ($query)", t => 'bool' };
	}
	my $i = 0;
	my $list = join ', ', 's.*', map { "$_->{e} AS win" . $i++ } @calls;
	$i = 0;
	my @cols = (columns_of($src), map { { n => 'win' . $i++, t => $_->{t}, fz => 0 } } @calls);
	my $sql = "SELECT $list FROM $src->{sql}";
	# the first few of each partition
	$sql = "SELECT r.* FROM ($sql) AS r WHERE r.win0 <= " . (1 + roll(3)) if $calls[0]{t} eq 'bigint' && chance(35);
	return { sql => $sql, cols => \@cols };
}

sub limited_query
{
	my ($depth) = @_;
	my $src = source($depth);
	my $n = 1 + roll(8);
	my $tail = chance(25)
	  ? partial_list($src) . " FETCH FIRST $n ROWS WITH TIES"
	  : chance(12)
	  ? total_list($src) . pick(' LIMIT ', ' OFFSET ') . "(SELECT least(count(*), $n) FROM (" . $linear->(0, items => 1)->{sql} . ') AS l)'
	  : total_list($src) . pick(" LIMIT $n", " LIMIT $n", " LIMIT $n OFFSET " . roll(4), ' OFFSET ' . (1 + roll(5)), " FETCH FIRST $n ROWS ONLY");
	return { sql => "SELECT s.* FROM $src->{sql} ORDER BY $tail", cols => [ columns_of($src) ], ordered => 1 };
}

sub distinct_on_query
{
	my ($depth) = @_;
	my $src = source($depth);
	my @by = some_of(1 + chance(25), grep { is_sortable($_->{t}) || is_exact($_->{t}) } @{ $src->{cols} });
	return limited_query($depth) if !@by;
	my $by = join ', ', map { $_->{e} } @by;
	my $rest = join ', ', map { direction($_->{e}) } grep { my $c = $_; !grep { $_ == $c } @by } shuffled(@{ $src->{total} });
	my $order = join ', ', grep { $_ ne '' } $by, $rest;
	return { sql => "SELECT DISTINCT ON ($by) s.* FROM $src->{sql} ORDER BY $order", cols => [ columns_of($src) ], ordered => 1 };
}

1;
