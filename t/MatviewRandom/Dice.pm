# MatviewRandom::Dice
#
# The source of all chance in the randomized test: a generator of our own
# (Knuth's MMIX constants), so that a seed means the same case with every perl.
package MatviewRandom::Dice;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(seed_dice roll chance pick weighted shuffled some_of);

my $state = 0;

sub seed_dice
{
	my ($seed) = @_;
	$state = $seed;
	roll(2) for 1 .. 8;
	return;
}

# 0 .. n - 1
sub roll
{
	my ($n) = @_;
	{
		use integer;
		$state = $state * 6364136223846793005 + 1442695040888963407;
	}
	return (($state >> 33) & 0x7fffffff) % $n;
}

# true in $percent of the cases
sub chance
{
	my ($percent) = @_;
	return roll(1000) < $percent * 10;
}

sub pick
{
	return $_[ roll(scalar @_) ];
}

# weighted(a => 3, b => 1): a three times as often as b
sub weighted
{
	my @pairs = @_;
	my $total = 0;
	for (my $i = 1; $i < @pairs; $i += 2)
	{
		$total += $pairs[$i];
	}
	my $point = roll($total);
	while (@pairs)
	{
		my ($what, $weight) = splice(@pairs, 0, 2);
		return $what if $point < $weight;
		$point -= $weight;
	}
	die 'weights';
}

sub shuffled
{
	my @list = @_;
	for (my $i = $#list; $i > 0; $i--)
	{
		my $j = roll($i + 1);
		@list[ $i, $j ] = @list[ $j, $i ];
	}
	return @list;
}

# $n different elements in random order, or all if there are fewer
sub some_of
{
	my ($n, @list) = @_;
	@list = shuffled(@list);
	$#list = $n - 1 if $n < @list;
	return @list;
}

1;
