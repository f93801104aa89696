# MatviewJudge
#
# Refreshes a set of views and judges each: its rows against its query, both
# ways and by their text, matview.check, and the mode of the refresh.
package MatviewJudge;

use strict;
use warnings;
use DBI;
use Test::More;

# Settings of the session; what is compiled just in time is not worth it here
my @SETTINGS = ('SET client_min_messages = error', 'SET jit = off', 'SET statement_timeout = 60000');

sub new
{
	my ($class, $node, $database) = @_;
	my $connstr = 'host=' . $node->host . ';port=' . $node->port . ";dbname=$database";
	my $dbh = DBI->connect("dbi:Pg:$connstr", undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
	my $self = bless { dbh => $dbh, round => 0 }, $class;
	$self->run($_) for @SETTINGS;
	$self->{views} = [ map { $_->[0] } @{ $self->rows('SELECT matviewname FROM pg_matviews ORDER BY 1') } ];
	for my $view (@{ $self->{views} })
	{
		my $query = $self->value("SELECT pg_get_viewdef('$view'::regclass)");
		$query =~ s/;\s*$//;
		$self->{oracle}{$view} = "WITH v AS MATERIALIZED (SELECT t::text AS r FROM $view AS t),"
		  . " q AS MATERIALIZED (SELECT t::text AS r FROM ($query) AS t)"
		  . ' SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE v) AS x),'
		  . ' (SELECT count(*) FROM (TABLE v EXCEPT ALL TABLE q) AS x)';
	}
	return $self;
}

sub run
{
	my ($self, $sql) = @_;
	return $self->{dbh}->do($sql);
}

# A change, which may meet a row that has its key already
sub change
{
	my ($self, $sql) = @_;
	return if eval { $self->run($sql); 1 };
	die "$sql: $@" if $self->{dbh}->state !~ /^23/;
	return;
}

sub rows
{
	my ($self, $sql) = @_;
	my $sth = $self->{dbh}->prepare($sql, { pg_direct => 1 });
	$sth->execute;
	return $sth->fetchall_arrayref;
}

sub value
{
	my ($self, $sql) = @_;
	return $self->rows($sql)->[0][0];
}

# Refreshes each view, by "call" if not by refresh_incremental, and judges it.
# An error is a wrong view; after a crash nothing more can be said.
sub refresh_all
{
	my ($self, $title, %o) = @_;
	my (@wrong, @unchecked, @slow);
	my $n = @{ $self->{views} };
	my $call = $o{call} // 'matview.refresh_incremental';
	$self->{round}++;
	for my $view (@{ $self->{views} })
	{
		my $row = eval { $self->rows("SELECT mode, rows_inserted + rows_updated + rows_deleted, duration_ms FROM $call('$view')")->[0] };
		push @wrong, "$view: $@" and $self->note_mode($view, 'error') and next if !$row;
		my ($mode, $written, $ms) = @$row;
		$self->note_mode($view, $mode);
		$self->{ms}{$view} += $ms;
		$self->{rows}{$view} += $written;
		$self->{moved}{$view}++ if $written && $self->{round} > 1;
		$self->{maintained}{$view}++ if $written && $mode eq 'incremental';
		push @slow, "$view: $mode" if $mode !~ /^(?:incremental|none)$/;
		my $found = eval { $self->rows($self->{oracle}{$view})->[0] } // [ '?', $@ ];
		push @wrong, "$view after $mode: $found->[0] missing, $found->[1] extra" if "@$found" ne '0 0';
		$found = eval { $self->rows("SELECT missing, extra FROM matview.check('$view')")->[0] } // [ '?', $@ ];
		push @unchecked, "$view after $mode: $found->[0] missing, $found->[1] extra" if "@$found" ne '0 0';
		die "the server is gone after the refresh of $view, $title\n" if !$self->{dbh}->ping;
	}
	is($n - @wrong, $n, "$title: views equal to their query") or diag join "\n", @wrong;
	is($n - @unchecked, $n, "$title: views that check() finds right") or diag join "\n", @unchecked;
	push @{ $self->{slow} }, [ $title, @slow ] if $o{must_be_incremental};
	return !@wrong && !@unchecked;
}

sub note_mode
{
	my ($self, $view, $mode) = @_;
	$self->{modes}{$view}{$mode}++;
	# the first one fills the view
	my $reason = $self->{round} == 1 || $mode =~ /^(?:incremental|none|error)$/ ? undef
	  : $self->value("SELECT reason FROM matview.history WHERE view = '$view'::regclass ORDER BY started DESC LIMIT 1");
	$self->{reason}{$view} = $reason if defined $reason;
	return 1;
}

# Which views were maintained incrementally in each round that asked for it
sub assert_modes
{
	my ($self) = @_;
	my $n = @{ $self->{views} };
	for my $round (@{ $self->{slow} })
	{
		my ($title, @slow) = @$round;
		is($n - @slow, $n, "$title: views maintained incrementally") or diag join ', ', @slow;
	}
	return;
}

# That each view has been, with changes in its rows
sub assert_moved
{
	my ($self) = @_;
	is_deeply([ grep { !$self->{maintained}{$_} } @{ $self->{views} } ], [], 'rows of each view were written incrementally');
	return;
}

# A table of view, modes, how often its rows changed and how many of them, time
# of all refreshes, last reason
sub report
{
	my ($self) = @_;
	note sprintf '%-6s %-36s %7s %7s %9s  %s', 'view', 'modes', 'changed', 'rows', 'ms', 'reason';
	for my $view (@{ $self->{views} })
	{
		my $modes = $self->{modes}{$view};
		note sprintf '%-6s %-36s %7d %7d %9.1f  %s', $view, join(', ', map { "$_ $modes->{$_}" } sort keys %$modes),
		  $self->{moved}{$view} // 0, $self->{rows}{$view} // 0, $self->{ms}{$view} // 0, $self->{reason}{$view} // '';
	}
	return;
}

1;
