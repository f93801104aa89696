# MatviewRandom::Live
#
# What the randomized test does with live views: those that are maintained by
# the transactions that write their base tables.  Methods of a case.
#
# The oracle: for a fresh snapshot every live view equals its query, whatever
# others have not committed yet; and in a transaction those with policy
# on_statement do after each of its statements.  A view is live if the registry
# says so, as the session sees it.
package MatviewRandom::Case;

use strict;
use warnings;
use utf8;
use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Work;

my $LOCK_TIMEOUT = 20;			# as in Runner
my $RACE_TIMEOUT = 400;			# more than deadlock_timeout

# What changes contents for snapshots that are older, too
my $NOT_BY_ROWS = qr/\b(?:TRUNCATE|ALTER|DROP|CREATE|REFRESH|CLUSTER|VACUUM|REINDEX|matview\.)/;

# Will there be live views, and of which policies?
sub choose_live
{
	my ($self) = @_;
	$self->{live_kinds} = weighted(none => 40, on_commit => 20, on_statement => 12, both => 28);
	$self->{live_kinds} = $ENV{MVR_LIVE} if $ENV{MVR_LIVE};
	return;
}

sub has_live
{
	my ($self) = @_;
	return !$self->{core} && $self->{live_kinds} ne 'none';
}

# ---------- the oracle ----------

sub live_check_sql
{
	my ($self, $v, $kinds) = @_;
	my $row = $self->can('row_text')->($v);
	my $name = quote_text($v->{n});
	return "WITH v AS MATERIALIZED (SELECT $row AS r FROM $v->{n} AS t),\n"
	  . " q AS MATERIALIZED (SELECT $row AS r FROM ($v->{sql}) AS t)\n"
	  . "SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE v) AS x), (SELECT count(*) FROM (TABLE v EXCEPT ALL TABLE q) AS x), (SELECT count(*) FROM v)\n"
	  . " WHERE EXISTS (SELECT FROM matview.tracked_views WHERE view = $name\::regclass AND live IN ($kinds))";
}

# Views that may be live, some of them or all
sub live_candidates
{
	my ($self, $share) = @_;
	return grep { $_->{may_live} && !$_->{empty} && chance($share) } @{ $self->{views} };
}

# In a transaction, after one of its statements.  Returns the SQLSTATE if the
# oracle could not run.
sub judge_live
{
	my ($self, $s) = @_;
	my $tx = $self->{tx}[$s];
	return '' if !$self->has_live || $self->{is_renamed};
	return '' if $tx && $tx->{iso} ne 'READ COMMITTED' && $tx->{is_stale};
	for my $v ($self->live_candidates(50))
	{
		my $state = $self->step($s, 'live', $self->live_check_sql($v, $tx ? "'s'" : "'s', 'c'"));
		return $state if $state ne '' && $state ne '57014';
	}
	return '';
}

# For somebody who comes now
sub observe
{
	my ($self, $share) = @_;
	return if !$self->has_live;
	my $s = $self->observer;
	$self->step($s, 'live', $self->live_check_sql($_, "'s', 'c'")) for $self->live_candidates($share);
	return;
}

# A view is live exactly if its policy says so
sub observe_policies
{
	my ($self) = @_;
	return if !$self->has_live;
	$self->step($self->observer, 'oracle', q(SELECT count(*) FILTER (WHERE t.live IS DISTINCT FROM p.live), 0
  FROM (SELECT view, CASE WHEN NOT paused AND policy = 'on_statement' THEN 's' WHEN NOT paused AND policy = 'on_commit' THEN 'c' END AS live FROM matview.policies) AS p
  FULL JOIN matview.tracked_views AS t USING (view)));
	return;
}

# ---------- policies ----------

sub change_policy
{
	my ($self, $s, $view) = @_;
	my $v = $view // (@{ $self->{views} } ? pick(@{ $self->{views} }) : return);
	my $name = quote_text($v->{n});
	my $kind = $self->{live_kinds} eq 'both' ? pick('on_statement', 'on_commit') : $self->{live_kinds};
	my $how = $view || !$v->{may_live} ? 'live' : weighted(live => 8, pause => 3, resume => 4, off => 2, on_change => 1);
	my $sql =
		$how eq 'pause' || $how eq 'resume' ? "SELECT matview.$how($name)"
	  : $how ne 'live' ? "SELECT matview.set_auto_refresh($name, '$how')"
	  : "SELECT matview.set_auto_refresh($name, '$kind')";
	my $state = $self->step($s, 'do', $sql, may_fail => '0A 25 55');
	$self->note_statement($s, $sql);
	if ($state eq '')
	{
		$v->{may_live} = 1 if $how eq 'live';
		push @{ $self->{tx}[$s]{views} }, $v->{n} if $self->{tx}[$s];
		$self->{busy}{ $v->{n} } = $s if $self->{tx}[$s];
		$state = $self->judge_live($s);
	}
	$self->recover($s) if $state ne '';
	return;
}

# Remember what makes snapshots of others, or locks, of another kind
sub note_statement
{
	my ($self, $s, $sql) = @_;
	return if $sql !~ $NOT_BY_ROWS;
	$self->make_stale($s);
	my $tx = $self->{tx}[$s] or return;
	$tx->{is_odd} = 1;
	return;
}

sub make_stale
{
	my ($self, $s) = @_;
	for my $other (grep { $_ != $s } 0 .. $#{ $self->{tx} })
	{
		$self->{tx}[$other]{is_stale} = 1 if $self->{tx}[$other];
	}
	return;
}

# ---------- several at a time ----------

sub race_statement
{
	my ($self, $s, $only_commits) = @_;
	return 'COMMIT' if $self->{tx}[$s] && ($only_commits || chance(55));
	for (1 .. 10)
	{
		my @steps = dml_steps(@{ $self->{tables} });
		return $steps[0][1] if @steps == 1 && $steps[0][0] eq 'do';
	}
	return 'SELECT';
}

# Statements of several sessions at a time; some wait for others
sub race
{
	my ($self) = @_;
	my @sessions = some_of(2 + roll(2), grep { $self->{tx}[$_] || chance(60) } 0 .. $self->observer - 1);
	return if @sessions < 2;
	my $only_commits = chance(50);
	for my $s (@sessions)
	{
		next if $self->{tx}[$s] || (!$only_commits && chance(30));
		$self->begin($s);
		$self->write_rows($s, 1 + roll(2));
	}
	@sessions = grep { $self->{tx}[$_] } @sessions if $only_commits;
	my $alone = $only_commits && $self->{live_kinds} eq 'on_commit' && !$self->{has_deferred}
	  && !grep { $_->{is_odd} } grep { $_ } @{ $self->{tx} };
	my %sql = map { $_ => $self->race_statement($_, $only_commits) } @sessions;
	$self->step($_, 'do', "SET lock_timeout = $RACE_TIMEOUT") for @sessions;
	$self->step($_, 'send', $sql{$_}, may_fail => '25') for @sessions;
	my %state = map { $_ => $self->step($_, 'wait', '', $alone ? (alone => 1) : ()) } @sessions;
	$self->after_race($_, $sql{$_}, $state{$_}) for @sessions;
	$self->step($_, 'do', "SET lock_timeout = $LOCK_TIMEOUT") for @sessions;
	for my $s (@sessions)
	{
		my $state = $self->judge_live($s);
		$self->recover($s) if $state ne '';
	}
	$self->{runner}{stats}{races}++;
	$self->observe(100);
	return;
}

sub after_race
{
	my ($self, $s, $sql, $state) = @_;
	$self->note_statement($s, $sql);
	if ($sql eq 'COMMIT')
	{
		$self->make_stale($s) if $self->{tx}[$s]{is_odd};
		$self->end_of_tx($s);
	}
	elsif ($state ne '')
	{
		$self->recover($s);
	}
	return;
}

1;
