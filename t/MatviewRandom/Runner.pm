# MatviewRandom::Runner
#
# Runs the steps of a case in several sessions and judges each refresh.
#
# A step is
#	session	number of the session
#	kind	do, create (a view, which a random query may not be fit for), copy,
#			refresh, oracle, live (an oracle for a live view), send (a statement
#			whose result nobody waits for) or wait (for that)
#	sql		the statement
#	data	lines of a COPY
#	oracle	(refresh) query that must return 0, 0, and then the view's row count
#	check	(refresh) query that must return 0, 0
#	count	(refresh) query for the row count, run before and after
#	idle	(refresh) a second refresh must find nothing to do
#	alone	(wait) nothing that the user has done can make a deadlock
#	may_fail	classes of SQLSTATEs, with spaces between, that are no failure
#
# The driver has one thread: between a refresh and its oracle no other session
# does anything, so both see the same committed rows.  Between "send" and "wait"
# several sessions do something at a time; there is no oracle then.
#
# What goes wrong is raised as { sign, text, step }: "sign" names the kind of
# failure without what differs between runs.
package MatviewRandom::Runner;

use strict;
use warnings;
use utf8;
use DBI;
use Time::HiRes qw(sleep);
use DBD::Pg qw(:async);

# A statement that meets these has met another session, or a constraint
# or took too long, of which t/090_random.pl allows few
my %LEGAL = map { $_ => 1 } qw(55P03 40001 40P01 57014);
my %LEGAL_WRITE = map { $_ => 1 } qw(
  55P03 40001 40P01 23505 23503 23514 23502 21000 27000 22003 55006 57014
  42P01 42P07 42809 2BP01 42P16 42P17 42704 55000 3B001);

# A query that fails on its data, that has a join condition which FULL JOIN cannot
# have, that takes too long
my $LEGAL_CREATE = qr/^(?:22...|0A000|21000|42803|57014)$/;

our @SETTINGS = (
	'SET client_min_messages = error', 'SET lock_timeout = 20', 'SET statement_timeout = 10000',
	'SET jit = off', 'SET matview.swap_timeout = 20', 'SET search_path = randomized');

sub new
{
	my ($class, %args) = @_;
	my $self = bless {
		%args,			# connstr, core, note
		sessions => [],
		steps => [],
		stats => {},
		reasons => {},
	}, $class;
	return $self;
}

sub session
{
	my ($self, $n) = @_;
	return $self->{sessions}[$n] //= $self->connect;
}

sub connect
{
	my ($self) = @_;
	my $dbh;
	for (1 .. 100)				# after a crash the server needs a while
	{
		$dbh = DBI->connect("dbi:Pg:$self->{connstr}", undef, undef,
			{ RaiseError => 0, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1 }) and last;
		sleep 0.1;
	}
	$dbh or die "cannot connect: $DBI::errstr\n";
	$dbh->do($_) for @SETTINGS;
	return $dbh;
}

sub disconnect
{
	my ($self) = @_;
	for my $dbh (grep { $_ } @{ $self->{sessions} })
	{
		local $SIG{__WARN__} = sub { };
		$dbh->disconnect;
	}
	$self->{sessions} = [];
	return;
}

sub fail
{
	my ($self, $sign, $text, $step) = @_;
	die { sign => $sign, text => $text, step => $step };
}

sub error_sign
{
	my ($state, $message) = @_;
	$message =~ s/\n.*//s;
	$message =~ s/"[^"]*"/"..."/g;
	$message =~ s/\d+/N/g;
	return "error $state: $message";
}

# Runs a statement: ('', rows) or (SQLSTATE, message)
sub try
{
	my ($self, $n, $sql, $data) = @_;
	my $dbh = $self->session($n);
	my $rows = [];
	my $ok;
	# in a shortened history nobody may have waited
	$dbh->pg_result if $self->{sent} && delete $self->{sent}[$n];
	if ($data)
	{
		$ok = $dbh->do($sql);
		if ($ok)
		{
			my $sent = 1;
			$sent &&= $dbh->pg_putcopydata("$_\n") for @$data;
			$ok = $dbh->pg_putcopyend;
		}
	}
	elsif ($sql =~ /^\s*(?:SELECT|WITH|TABLE|EXPLAIN)/)
	{
		my $sth = $dbh->prepare($sql, { pg_direct => 1 });
		$ok = $sth->execute;
		$rows = $sth->fetchall_arrayref if $ok && $sth->{NUM_OF_FIELDS};
	}
	else
	{
		$ok = $dbh->do($sql);
		$self->{stats}{ $ok > 0 ? 'writes that wrote' : 'writes of no row' }++
		  if $ok && $sql =~ /^(?:INSERT|UPDATE|DELETE|MERGE)/;
	}
	return ('', $rows) if $ok;
	my ($state, $message) = ($dbh->state, $dbh->errstr // '');
	if ($state =~ /^(?:08|57P0)/ || !$dbh->ping)
	{
		return ('08006', $message);
	}
	return ($state, $message);
}

# Is an error expected of a step?
sub may_fail
{
	my ($step, $state) = @_;
	return grep { $_ eq substr($state, 0, 2) } split ' ', $step->{may_fail} // '';
}

sub send_statement
{
	my ($self, $step) = @_;
	my $dbh = $self->session($step->{session});
	$dbh->do($step->{sql}, { pg_async => PG_ASYNC });
	$self->{sent}[ $step->{session} ] = $step;
	return '';
}

# Waits for what was sent; returns the SQLSTATE
sub wait_for
{
	my ($self, $step) = @_;
	my $n = $step->{session};
	my $dbh = $self->session($n);
	my $sent = delete $self->{sent}[$n] or return '';
	$step->{of} = $sent->{sql};
	return '' if $dbh->pg_result;
	my ($state, $said) = ($dbh->state, $dbh->errstr // '');
	$state = '08006' if $state =~ /^(?:08|57P0)/ || !$dbh->ping;
	$self->fail('deadlock at commit', $said, $step) if $state eq '40P01' && $step->{alone};
	$step->{may_fail} //= $sent->{may_fail};
	return $self->accept_error($step, $state, $said);
}

# The SQLSTATE, if an error of a statement is one that may be
sub accept_error
{
	my ($self, $step, $state, $said) = @_;
	$step->{state} = $state;
	$self->{stats}{"$step->{kind} $state"}++;
	$self->fail('crash', $said, $step) if $state eq '08006';
	return $state if $step->{kind} eq 'create' && $state =~ $LEGAL_CREATE;
	return $state if $LEGAL_WRITE{$state} || may_fail($step, $state);
	$self->fail(error_sign($state, $said), "$state: $said", $step);
	return;
}

# Runs a step and remembers it; returns the SQLSTATE, '' for success
sub run
{
	my ($self, $step) = @_;
	push @{ $self->{steps} }, $step;
	return $self->run_refresh($step) if $step->{kind} eq 'refresh';
	return $self->judge($step, $step->{sql}, 'oracle') if $step->{kind} eq 'oracle';
	# a shortened history may have lost the COMMIT, before which on_commit has not come
	return '' if $step->{kind} eq 'live' && $step->{sql} =~ /'s', 'c'/ && $self->session($step->{session})->ping != 1;
	return $self->judge($step, $step->{sql}, 'live contents') if $step->{kind} eq 'live';
	return $self->send_statement($step) if $step->{kind} eq 'send';
	return $self->wait_for($step) if $step->{kind} eq 'wait';
	my ($state, $said) = $self->try($step->{session}, $step->{sql}, $step->{data});
	return $state eq '' ? '' : $self->accept_error($step, $state, $said);
}

sub run_refresh
{
	my ($self, $step) = @_;
	my $n = $step->{session};
	my ($state, $said, $before) = ('');
	if ($step->{count})
	{
		($state, $said) = $self->try($n, $step->{count});
		$before = $said->[0][0] if $state eq '';
	}
	($state, $said) = $self->try($n, $step->{sql}) if $state eq '';
	if ($state ne '')
	{
		$step->{state} = $state;
		$self->{stats}{"refresh $state"}++;
		$self->fail('crash', $said, $step) if $state eq '08006';
		return $state if $LEGAL{$state} || may_fail($step, $state);
		$self->fail(error_sign($state, $said), "$state: $said", $step);
	}
	my ($view, $mode, $inserted, $updated, $deleted, $changes) = @{ $said->[0] // [] };
	$mode //= 'native';
	$self->{stats}{refreshes}++;
	$self->{stats}{"mode $mode"}++;
	$step->{mode} = $mode;
	$self->{stats}{"asked incremental, was $mode"}++ if $step->{sql} =~ /refresh_incremental|'incremental'/;
	$step->{changes} = $changes;
	$self->note_reason($step) if $mode eq 'diff' && $step->{sql} !~ /'diff'/;
	$state = $self->judge($step, $step->{oracle}, 'contents');
	$state ||= $self->judge($step, $step->{check}, 'check') if $step->{check};
	return $state if $state ne '';
	if (defined $before && $mode =~ /^(?:incremental|diff|none)$/)
	{
		my $after = $self->value($n, $step->{count});
		$self->fail("row counts of mode $mode", "$before rows, +$inserted -$deleted, now $after", $step)
		  if $before + $inserted - $deleted != $after;
	}
	$self->fail('mode none wrote rows', "+$inserted ~$updated -$deleted", $step)
	  if $mode eq 'none' && $inserted + $updated + $deleted > 0;
	return $step->{idle} && $mode =~ /^(?:incremental|none)$/ ? $self->run_idle($step) : '';
}

# Why a refresh recomputed, without names
sub note_reason
{
	my ($self, $step) = @_;
	# in a transaction one more error would be one too many
	return if $self->session($step->{session})->ping != 1;
	my ($view) = $step->{sql} =~ /matview\.refresh\w*\((E?'(?:[^']|'')*')/ or return;
	my $reason = $self->value($step->{session}, "SELECT reason FROM matview.history WHERE view = $view\::regclass ORDER BY started DESC LIMIT 1") // '';
	$reason =~ s/"(?:[^"]|"")*"/"..."/g;
	$self->{reasons}{$reason}++;
	$self->fail('contents did not fit', $view, $step) if $reason eq 'the contents did not fit the changes';
	return;
}

# Nothing has happened since the last refresh, so the next has nothing to do
sub run_idle
{
	my ($self, $step) = @_;
	my ($state, $said) = $self->try($step->{session}, $step->{sql});
	if ($state ne '')
	{
		$self->fail('crash', $said, $step) if $state eq '08006';
		return $state if $LEGAL{$state};
		$self->fail('idle ' . error_sign($state, $said), "$state: $said", $step);
	}
	my ($view, $mode, @counts) = @{ $said->[0] };
	$self->{stats}{refreshes}++;
	$self->{stats}{"mode $mode"}++;
	$self->fail("idle refresh was $mode", "@counts[0 .. 3]", $step) if $mode ne 'none';
	return '';
}

sub value
{
	my ($self, $n, $sql) = @_;
	my ($state, $rows) = $self->try($n, $sql);
	return $state eq '' ? $rows->[0][0] : undef;
}

# '' if the query returned 0, 0, the SQLSTATE if it could not run
sub judge
{
	my ($self, $step, $sql, $what) = @_;
	my ($state, $said) = $self->try($step->{session}, $sql);
	if ($state ne '')
	{
		$self->fail('crash', $said, $step) if $state eq '08006';
		# in SERIALIZABLE any read may fail; a slow oracle judges nothing
		return $state if $state eq '40001' || $state eq '57014' || $state eq '55P03';
		$self->fail("$what " . error_sign($state, $said), "$state: $said", $step);
	}
	my ($missing, $extra, $rows) = @{ $said->[0] // [ 0, 0 ] };
	$self->{stats}{$what}++ if @$said;
	$self->{stats}{'refreshes of an empty view'}++ if $what eq 'contents' && $rows == 0;
	return '' if !$missing && !$extra;
	my $text = "$missing missing, $extra extra";
	if ($what =~ /contents$/ && $sql =~ /^(.*\))\nSELECT .*/s)
	{
		my $with = $1;
		for my $side ([ missing => 'q', 'v' ], [ extra => 'v', 'q' ])
		{
			my (undef, $rows) = $self->try($step->{session}, "$with\nTABLE $side->[1] EXCEPT ALL TABLE $side->[2] LIMIT 5");
			$text .= "\n  $side->[0]: $_->[0]" for ref $rows ? @$rows : ();
		}
	}
	$self->fail("wrong $what" . ($step->{mode} ? " after $step->{mode}" : ''), $text, $step);
	return;
}

1;
