# MatviewRandom::History
#
# The steps of a case as a file that psql can read, as long as it needs one
# session only; replay() runs it in as many as it has.  shrink() makes it as
# short as it can.
package MatviewRandom::History;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use MatviewRandom::Runner;

my $SHRINK_SECONDS = 240;

our @EXPORT = qw(write_history read_history replay shrink);

sub write_history
{
	my ($file, $title, @steps) = @_;
	open my $out, '>:encoding(UTF-8)', $file or die "$file: $!";
	print $out "-- $_\n" for split /\n/, $title;
	print $out "\n$_;\n" for @MatviewRandom::Runner::SETTINGS;
	for my $step (@steps)
	{
		my @flags = grep { $step->{$_} } qw(idle alone);
		push @flags, map { "may_fail=$_" } split ' ', $step->{may_fail} // '' if $step->{kind} ne 'wait';
		push @flags, "-- was $step->{state}" if $step->{state};
		push @flags, "-- was $step->{mode}" if $step->{mode};
		print $out "\n-- [$step->{session}] ", join(' ', $step->{kind}, @flags), "\n$step->{sql};\n";
		print $out map({ "$_\n" } @{ $step->{data} }), "\\.\n" if $step->{data};
		for my $part (qw(oracle check count))
		{
			print $out "-- $part\n$step->{$part};\n" if $step->{$part};
		}
	}
	close $out or die "$file: $!";
	return;
}

sub read_history
{
	my ($file) = @_;
	open my $in, '<:encoding(UTF-8)', $file or die "$file: $!";
	my @steps;
	my $part;
	while (my $line = <$in>)
	{
		chomp $line;
		if ($line =~ /^-- \[(\d+)\] (\w+)(.*)$/)
		{
			my ($session, $kind, $flags) = ($1, $2, $3);
			$flags =~ s/ -- was.*//;
			my @may_fail = $flags =~ /may_fail=(\S+)/g;
			push @steps, { session => $session, kind => $kind, may_fail => "@may_fail",
				map { $_ => 1 } grep { !/=/ } split ' ', $flags };
			$part = 'sql';
		}
		elsif ($line =~ /^-- (oracle|check|count)$/ && @steps)
		{
			$part = $1;
		}
		elsif (@steps && $line ne '')
		{
			my $step = $steps[-1];
			if ($step->{data} || ($step->{kind} eq 'copy' && ($step->{sql} // '') =~ /;$/))
			{
				$step->{data} //= [];
				push @{ $step->{data} }, $line if $line ne '\\.';
			}
			else
			{
				$step->{$part} .= ($step->{$part} ? "\n" : '') . $line;
			}
		}
	}
	for my $step (@steps)
	{
		$step->{data} //= [] if $step->{kind} eq 'copy';
		$step->{$_} && $step->{$_} =~ s/;$// for qw(sql oracle check count);
	}
	return @steps;
}

# Runs the steps on a clean database; returns the failure or undef.  Steps
# whose error is of no interest here are passed over.
sub replay
{
	my ($clean, $args, @steps) = @_;
	my $runner = MatviewRandom::Runner->new(%$args);
	$clean->();
	my $failure;
	for my $step (@steps)
	{
		next if eval { $runner->run({%$step}); 1 };
		die $@ if !ref $@;
		$failure = $@;
		last if $failure->{sign} !~ /^(?:\w+ )?error (?:25P02|42|3F)/;
		undef $failure;
	}
	$runner->disconnect;
	return $failure;
}

# Takes away steps, then rows of inserts, while the failure stays the same and
# there is time
sub shrink
{
	my ($clean, $args, $sign, @steps) = @_;
	my $start = time;
	my $fails = sub {
		return 0 if time - $start > $SHRINK_SECONDS;
		my $failure = replay($clean, $args, @_);
		return $failure && $failure->{sign} eq $sign;
	};
	return () if !$fails->(@steps);
	@steps = reduce($fails, @steps);
	for my $i (0 .. $#steps)
	{
		my $step = $steps[$i];
		next if $step->{sql} !~ /^INSERT.*VALUES\n/;
		my ($head, @rows) = split /\n/, $step->{sql};
		next if grep { !/^\(.*\),?$/ } @rows;
		s/,$// for @rows;
		my $with = sub {
			return { %$step, sql => "$head\n" . join(",\n", @_) };
		};
		@rows = reduce(
			sub { return @_ && $fails->(@steps[ 0 .. $i - 1 ], $with->(@_), @steps[ $i + 1 .. $#steps ]) },
			@rows);
		$steps[$i] = $with->(@rows);
	}
	return reduce($fails, @steps);
}

sub reduce
{
	my ($fails, @list) = @_;
	my $chunk = int(@list / 2) || 1;
	while (1)
	{
		my $removed = 0;
		for (my $at = $#list - $chunk + 1; $at > -$chunk; $at -= $chunk)
		{
			my $from = $at < 0 ? 0 : $at;
			my $to = $at + $chunk - 1;
			next if $to > $#list;
			my @rest = (@list[ 0 .. $from - 1 ], @list[ $to + 1 .. $#list ]);
			if (@rest < @list && $fails->(@rest))
			{
				@list = @rest;
				$removed = 1;
			}
		}
		next if $chunk == 1 && $removed;
		last if $chunk == 1;
		$chunk = int(($chunk + 1) / 2);
	}
	return @list;
}

1;
