# MatviewRandom
#
# A case of the randomized test: random tables, random materialized views,
# then random statements from several sessions with refreshes between them.
# A case is determined by its seed and by what the server answers.
#
#	Dice, Types				chance, column types
#	Schema, Expr, Query		what is made: tables, expressions, queries
#	Work					what is done to it
#	Live					views that writers maintain, several statements at a time
#	Runner					runs a step, judges a refresh
#	History					writes, replays and shortens a case
package MatviewRandom;

use strict;
use warnings;
use utf8;
use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Schema;
use MatviewRandom::Query;
use MatviewRandom::Work;
use MatviewRandom::Live;
use MatviewRandom::Runner;

my $SESSIONS = 4;
my $MAX_ROWS = 1500;	# of a new view
my $MAX_WORK = 20000;	# rows that the nodes of its plan handle together

# args: connstr, version, core (test the test with core's REFRESH)
sub new
{
	my ($class, %args) = @_;
	return bless { %args }, $class;
}

# Runs a case; returns { failure, steps, stats }
sub run_case
{
	my ($self, $seed) = @_;

	seed_dice($seed);
	my $case = bless {
		%$self,
		seed => $seed,
		runner => MatviewRandom::Runner->new(connstr => $self->{connstr}),
		tx => [],			# open transaction of each session, or undef
		prepared => [],
		busy => {},			# view => session that has it locked
		views => [],		# materialized
		plain => [],
		nviews => 0,
	}, 'MatviewRandom::Case';
	my $ok = eval { $case->play; 1 };
	my $failure = $ok ? undef : ref $@ ? $@ : { sign => 'driver', text => "$@" };
	$case->{runner}->disconnect;
	return {
		failure => $failure,
		steps => $case->{runner}{steps},
		stats => $case->{runner}{stats},
		reasons => $case->{runner}{reasons} };
}

package MatviewRandom::Case;

use MatviewRandom::Dice;
use MatviewRandom::Types;
use MatviewRandom::Schema;
use MatviewRandom::Query;
use MatviewRandom::Work;

# The session that has no transactions
sub observer
{
	return $SESSIONS;
}

sub step
{
	my ($self, $session, $kind, $sql, %rest) = @_;
	return $self->{runner}->run({ session => $session, kind => $kind, sql => $sql, %rest });
}

sub play
{
	my ($self) = @_;

	my $emit = sub { my $state = $self->step(0, 'do', $_[0]); die "$state: $_[0]\n" if $state ne ''; };
	$self->choose_live;
	# whoever is in the way of this, autovacuum among them, will go
	$emit->('SET lock_timeout = 0');
	$emit->('CREATE SCHEMA randomized');
	$self->{has_roles} = chance(30);
	if ($self->{has_roles})
	{
		$emit->('GRANT ALL ON SCHEMA randomized TO mvr_owner');
		$emit->('GRANT USAGE ON SCHEMA randomized TO mvr_writer');
		$emit->('ALTER DEFAULT PRIVILEGES FOR ROLE mvr_owner IN SCHEMA randomized GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO mvr_writer');
	}
	$self->use_settings($_) for 0 .. $SESSIONS - 1;
	$MatviewRandom::Query::has_window_sets = $self->{version} < 190000;
	$self->{tables} = [ make_tables($emit, $self->{version}) ];
	$self->{has_deferred} = grep { $_->{has_deferred} } @{ $self->{tables} };
	$self->step(0, @$_) for fill_steps(@{ $self->{tables} });
	$self->make_plain_view for 1 .. weighted(0 => 4, 1 => 4, 2 => 2);
	$self->make_view for 1 .. 2 + roll(3);
	if ($self->has_live)
	{
		$self->change_policy(0, $_) for grep { chance(70) } @{ $self->{views} };
	}
	$emit->('SET lock_timeout = 20');
	for (1 .. 130 + roll(80))
	{
		$self->act(roll($SESSIONS));
	}
	$self->settle;
	$self->final_checks;
	return;
}

# The same planner settings for all sessions
sub use_settings
{
	my ($self, $s) = @_;
	if ($s == 0)
	{
		my @plans = ('enable_hashjoin = off', 'enable_mergejoin = off', 'enable_nestloop = off', 'enable_seqscan = off',
			'enable_hashagg = off', 'enable_sort = off', 'work_mem = 64', 'enable_partitionwise_join = on', 'enable_partitionwise_aggregate = on',
			'parallel_setup_cost = 0', 'plan_cache_mode = force_generic_plan', 'geqo_threshold = 2');
		$self->{settings} = [ chance(50) ? () : some_of(1 + roll(2), @plans) ];
		push @{ $self->{settings} }, 'matview.in_place_from = 1' if chance(50);
	}
	$self->step($s, 'do', "SET $_") for @{ $self->{settings} };
	# live views have the settings of one session, by which the others would not judge them
	if ($self->{has_zones} //= !$self->has_live && chance(15))
	{
		$self->step($s, 'do', "SET TimeZone = '" . pick('UTC', 'America/New_York', 'Asia/Tokyo') . q('));
		$self->step($s, 'do', 'SET DateStyle = ' . pick('ISO', 'German', 'SQL'));
	}
	$self->step($s, 'do', 'SET ROLE mvr_owner') if $self->{has_roles};
	return;
}

# ---------- views ----------

sub make_plain_view
{
	my ($self) = @_;
	start_queries(@{ $self->{tables} });
	my $q = plain_view_query();
	my $name = quote_name(chance(20) ? 'Plain "view"' . $self->{nviews}++ : 'p' . $self->{nviews}++);
	$self->step(0, 'do', "CREATE VIEW $name AS $q->{sql}", may_fail => '22') eq '' or return;
	push @{ $self->{plain} }, { %$q, n => $name, kind => 'view' };
	return;
}

sub make_view
{
	my ($self, $s) = @_;
	$s //= 0;
	my $v;
	for (1 .. 6)
	{
		my @mats = grep { chance(25) } grep { !$_->{over_view} } @{ $self->{views} };
		@mats = () if !chance(15);
		start_queries(@{ $self->{tables} }, @{ $self->{tables} }, @{ $self->{plain} }, @mats);
		my $q = view_query();
		my $name = quote_name(chance(12) ? 'Mat "view" ' . $self->{nviews}++ : 'v' . $self->{nviews}++);
		my $empty = chance(6);
		# with data, for some queries cannot be planned
		next if $self->step($s, 'create', "CREATE MATERIALIZED VIEW $name AS $q->{sql}") ne '';
		$self->step($s, 'do', "REFRESH MATERIALIZED VIEW $name WITH NO DATA") if $empty;
		my $n = $empty ? 0 : $self->{runner}->value($s, "SELECT count(*) FROM $name");
		if ($n > $MAX_ROWS || ($n == 0 && !$empty && !chance(10)) || $self->work_of($s, $q->{sql}) > $MAX_WORK)
		{
			$self->step($s, 'do', "DROP MATERIALIZED VIEW $name");
			next;
		}
		$v = { %$q, n => $name, kind => 'matview', empty => $empty };
		$v->{over_view} = grep { index($q->{sql}, $_->{n} . ' AS') >= 0 } @{ $self->{views} };
		last;
	}
	return if !$v;
	push @{ $self->{views} }, $v;
	$self->make_indexes($s, $v);
	return;
}

sub work_of
{
	my ($self, $s, $sql) = @_;
	my ($state, $plan) = $self->{runner}->try($s, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $sql");
	return $MAX_WORK + 1 if $state ne '';
	my $work = 0;
	for my $line (@$plan)
	{
		$work += $1 * $2 if $line->[0] =~ /rows=([\d.]+) loops=(\d+)/;
	}
	return $work;
}

sub make_indexes
{
	my ($self, $s, $v) = @_;
	if ($v->{unique} && chance(60))
	{
		$self->step($s, 'do', "CREATE UNIQUE INDEX ON $v->{n} (" . join(', ', @{ $v->{unique} }) . ')')
		  eq '' and $v->{has_unique} = 1;
	}
	for my $col (grep { chance(15) } @{ $v->{cols} })
	{
		my $t = $col->{t};
		my $on =
			$t eq 'point' ? "USING gist ($col->{n})"
		  : $t eq 'jsonb' || $t eq 'texts' ? "USING gin ($col->{n})"
		  : !is_groupable($t) ? ''
		  : $t eq 'int' ? pick("($col->{n})", "(($col->{n} % 3))", "USING brin ($col->{n})", "($col->{n}) WHERE $col->{n} > 1", "USING hash ($col->{n})")
		  : $t eq 'text' ? pick("(lower($col->{n}))", "($col->{n} COLLATE \"C\" text_pattern_ops)", "USING hash ($col->{n})")
		  : "($col->{n} DESC NULLS LAST)";
		next if !$on;
		$self->step($s, 'do', "CREATE INDEX ON $v->{n} $on");
		push @{ $v->{lookups} }, [ $col->{n}, '=' ] if $on =~ /hash/;
		push @{ $v->{lookups} }, [ $col->{n}, '@>' ] if $on =~ /gin/;
	}
	return;
}

sub row_text
{
	my ($v) = @_;
	return 't::text' if !grep { $_->{fz} } @{ $v->{cols} };
	return 'ROW(' . join(
		', ',
		map {
			my $norm = $_->{fz} ? norm_of($_->{t}) : undef;
			$norm ? sprintf($norm, "t.$_->{n}") : "t.$_->{n}"
		} @{ $v->{cols} }) . ')::text';
}

# ---------- refreshing ----------

sub refresh
{
	my ($self, $s, %o) = @_;
	my @views = @{ $self->{views} } or return;
	my @free = grep { ($self->{busy}{ $_->{n} } // $s) == $s } @views;
	@views = @free if @free && chance(95);
	my $v = $o{view} // weighted(map { $_ => $views[$_]{easy} ? 4 : $views[$_]{may_live} ? 2 : 1 } 0 .. $#views);
	$v = $views[$v] if !ref $v;
	my $tx = $self->{tx}[$s];
	my $how = $o{how} // weighted(
		incremental => 78, concurrent => 4, full => 3, diff => 4, auto => 8,
		native => 2, native_concurrently => $v->{has_unique} ? 2 : 0);
	$how = 'full' if $v->{empty} && $how =~ /^native_c/;
	my $name = quote_text($v->{n});
	my $sql =
		$how eq 'native' || ($self->{core} && $how ne 'native_concurrently') ? "REFRESH MATERIALIZED VIEW $v->{n}"
	  : $how eq 'native_concurrently' ? "REFRESH MATERIALIZED VIEW CONCURRENTLY $v->{n}"
	  : $how eq 'auto' ? "SELECT * FROM matview.refresh($name)"
	  : $how eq 'diff' || chance(20) ? "SELECT * FROM matview.refresh($name, '$how')"
	  : "SELECT * FROM matview.refresh_$how($name)";
	my $row = row_text($v);
	my %rest = (
		oracle => "WITH v AS MATERIALIZED (SELECT $row AS r FROM $v->{n} AS t),\n"
		  . " q AS MATERIALIZED (SELECT $row AS r FROM ($v->{sql}) AS t)\n"
		  . 'SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE v) AS x), (SELECT count(*) FROM (TABLE v EXCEPT ALL TABLE q) AS x), (SELECT count(*) FROM v)',
		view => $v->{n});
	# which of several equal values is shown is SQL's choice, but check() compares
	# them by their image
	$rest{check} = "SELECT missing, extra FROM matview.check($name)"
	  if !$self->{core} && !grep { $_->{fz} && norm_of($_->{t}) } @{ $v->{cols} };
	$rest{count} = "SELECT count(*) FROM $v->{n}" if chance(25) && !$v->{empty} && !($tx && $tx->{iso} ne 'READ COMMITTED');
	$rest{idle} = 1 if $how eq 'incremental' && $v->{easy} && !$v->{over_view} && !$self->{core} && chance(10);
	$rest{may_fail} = '55' if $v->{over_view} || $o{cursor};
	# core's writes into a view whose rows an old snapshot does not see
	$rest{may_fail} = '23' if $how eq 'native_concurrently' && $tx && $tx->{iso} ne 'READ COMMITTED';
	my $state = $self->step($s, 'refresh', $sql, %rest);
	$self->note_statement($s, $sql);
	$state = $self->judge_live($s) if $state eq '';
	if ($state eq '')
	{
		$v->{empty} = 0 if !$tx;
		$self->{busy}{ $v->{n} } = $s if $tx;
		push @{ $tx->{views} }, $v->{n} if $tx;
	}
	else
	{
		$self->recover($s);
		# one that takes too long is not tried again
		$self->{views} = [ grep { $_ != $v } @{ $self->{views} } ] if $state eq '57014';
	}
	return $state;
}

# Refreshes in places where nobody should put them: whatever they do, the next
# refresh must be right.
sub refresh_oddly
{
	my ($self, $s) = @_;
	my @views = grep { ($self->{busy}{ $_->{n} } // $s) == $s && !$_->{empty} } @{ $self->{views} };
	my ($v, $other) = some_of(2, @views);
	return $self->refresh($s) if !$v;
	my $how = $self->{core} ? 'cursor' : weighted(two => 2, with_write => 3, subtransaction => 3, cursor => 2);
	if ($how eq 'cursor')
	{
		return $self->refresh($s) if !$self->{tx}[$s];
		my $from = chance(60) ? $v : pick(@{ $self->{tables} });
		$self->do_steps($s, [ do => "DECLARE c1 CURSOR FOR SELECT * FROM $from->{n}" ], [ do => 'FETCH 2 FROM c1' ]);
		# a step that times out ends the transaction, and the cursor
		my $has_cursor = $self->{tx}[$s];
		my $state = $self->refresh($s, view => $v, cursor => $has_cursor);
		$self->do_steps($s, [ do => 'FETCH ALL FROM c1' ], [ do => 'CLOSE c1' ]) if $state eq '' && $has_cursor;
		return $state;
	}
	my $call = 'matview.refresh_incremental(' . quote_text($v->{n}) . ')';
	my ($write) = grep { $_->[0] eq 'do' && $_->[1] =~ /^(?:INSERT|UPDATE|DELETE)/ && $_->[1] !~ /RETURNING/ } map { dml_steps(@{ $self->{tables} }) } 1 .. 5;
	$write //= [ do => 'INSERT INTO ' . $self->{tables}[0]{n} . ' SELECT FROM generate_series(1, 0)' ];
	my $sql;
	if ($how eq 'two')
	{
		$sql = "SELECT $call" . ($other ? ', matview.refresh_incremental(' . quote_text($other->{n}) . ')' : '');
	}
	elsif ($how eq 'with_write')
	{
		$sql = "WITH w AS ($write->[1] RETURNING 1) SELECT $call, (SELECT count(*) FROM w)";
		$sql = "WITH w AS ($write->[1] RETURNING 1) SELECT (SELECT count(*) FROM w), $call" if chance(50);
	}
	else
	{
		my $raise = chance(60) ? 'RAISE division_by_zero;' : '';
		$sql = "DO \$do\$ BEGIN BEGIN $write->[1]; PERFORM $call; $raise EXCEPTION WHEN division_by_zero OR integrity_constraint_violation THEN NULL; END; $write->[1]; END \$do\$";
	}
	my $tx = $self->{tx}[$s];
	$self->do_steps($s, [ do => $sql ]);
	if ($tx && $self->{tx}[$s])
	{
		for my $view ($v, $how eq 'two' && $other ? $other : ())
		{
			$self->{busy}{ $view->{n} } = $s;
			push @{ $tx->{views} }, $view->{n};
		}
	}
	return $self->refresh($s, view => $v);
}

# ---------- sessions ----------

sub begin
{
	my ($self, $s) = @_;
	my $iso = weighted('READ COMMITTED' => 68, 'REPEATABLE READ' => 22, 'SERIALIZABLE' => 10);
	$self->step($s, 'do', $iso eq 'READ COMMITTED' ? 'BEGIN' : "BEGIN ISOLATION LEVEL $iso");
	$self->{tx}[$s] = { iso => $iso, savepoints => [], length => 0, views => [] };
	return;
}

sub end_of_tx
{
	my ($self, $s) = @_;
	for my $name (@{ $self->{tx}[$s]{views} })
	{
		delete $self->{busy}{$name};
	}
	$self->{tx}[$s] = undef;
	return;
}

sub finish
{
	my ($self, $s, $how) = @_;
	if ($how eq 'PREPARE')
	{
		my $gid = "mvr_$self->{seed}_" . $self->{nprepared}++;
		my $views = $self->{tx}[$s]{views};
		my $is_odd = $self->{tx}[$s]{is_odd};
		my $state = $self->step($s, 'do', "PREPARE TRANSACTION '$gid'", may_fail => '0A');
		$self->end_of_tx($s);
		return if $state ne '';
		push @{ $self->{prepared} }, { gid => $gid, views => $views, is_odd => $is_odd };
		$self->{busy}{$_} = -1 for @$views;
		return;
	}
	$self->step($s, 'do', $how);
	$self->make_stale($s) if $self->{tx}[$s]{is_odd};
	$self->end_of_tx($s);
	$self->observe(50);
	return;
}

sub resolve
{
	my ($self, $s) = @_;
	my $p = shift @{ $self->{prepared} };
	$self->step($s, 'do', pick('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$p->{gid}'");
	delete $self->{busy}{$_} for @{ $p->{views} };
	$self->make_stale(-1) if $p->{is_odd};
	$self->observe(100);
	return;
}

# After an error: out of the failed transaction, or back to a savepoint
sub recover
{
	my ($self, $s) = @_;
	my $tx = $self->{tx}[$s] or return;
	if (@{ $tx->{savepoints} } && chance(70))
	{
		$self->step($s, 'do', "ROLLBACK TO $tx->{savepoints}[-1]");
		return;
	}
	$self->step($s, 'do', 'ROLLBACK');
	$self->end_of_tx($s);
	return;
}

sub do_steps
{
	my ($self, $s, @steps) = @_;
	for my $step (@steps)
	{
		my ($kind, $sql, $data) = @$step;
		my $state = $self->step($s, $kind, $sql, $data ? (data => $data) : ());
		$self->note_statement($s, $sql);
		$state = $self->judge_live($s) if $state eq '';
		next if $state eq '';
		$self->recover($s);
		$self->step($s, 'do', 'RESET session_replication_role') if $sql !~ /replica/ && grep { $_->[1] =~ /replica/ } @steps;
		return;
	}
	return;
}

# Rows are also changed by one who has rights on the tables only
sub write_rows
{
	my ($self, $s, $n) = @_;
	my @steps = map { dml_steps(@{ $self->{tables} }) } 1 .. $n;
	@steps = grep { $_->[1] !~ /replica/ } @steps if $self->{has_roles};
	if ($self->{has_roles} && chance(40))
	{
		$self->step($s, 'do', 'SET ROLE mvr_writer');
		$self->do_steps($s, @steps);
		$self->step($s, 'do', 'SET ROLE mvr_owner');
		return;
	}
	return $self->do_steps($s, @steps);
}

sub act
{
	my ($self, $s) = @_;
	my $tx = $self->{tx}[$s];
	my @tables = @{ $self->{tables} };
	if ($tx)
	{
		my $sp = scalar @{ $tx->{savepoints} };
		my $long = $tx->{length}++ > 7;
		my $how = weighted(
			write => $long ? 10 : 44, refresh => $long ? 10 : 30, savepoint => 6, back => $sp ? 8 : 0,
			release => $sp ? 3 : 0, commit => $long ? 60 : 13, rollback => 4, prepare => 2, ddl => 2,
			policy => $self->has_live ? 2 : 0, race => $self->has_live ? 8 : 0);
		return $self->race if $how eq 'race';
		return $self->change_policy($s) if $how eq 'policy';
		return $self->write_rows($s, 1) if $how eq 'write';
		return $self->refresh_oddly($s) if $how eq 'refresh' && chance(8);
		return $self->refresh($s) if $how eq 'refresh';
		return $self->finish($s, uc $how) if $how =~ /^(?:commit|rollback|prepare)$/;
		if ($how eq 'ddl')
		{
			$self->do_steps($s, ddl_steps(@tables));
			$tx->{length} = 10;
		}
		elsif ($how eq 'savepoint')
		{
			my $name = pick('s1', 's2', 's3');
			$self->step($s, 'do', "SAVEPOINT $name");
			push @{ $tx->{savepoints} }, $name;
		}
		elsif ($how eq 'back')
		{
			$self->step($s, 'do', "ROLLBACK TO $tx->{savepoints}[-1]");
			$self->recover($s) if $self->judge_live($s) ne '';
		}
		else
		{
			$self->step($s, 'do', 'RELEASE ' . pop @{ $tx->{savepoints} });
		}
		return;
	}
	my $how = weighted(
		write => 26, begin => 15, refresh => 50, resolve => @{ $self->{prepared} } ? 15 : 0,
		ddl => 2, outside => 1, admin => 5, rename => 1,
		policy => $self->has_live ? 4 : 0, race => $self->has_live ? 10 : 0);
	return $self->race if $how eq 'race';
	return $self->change_policy($s) if $how eq 'policy';
	return $self->write_rows($s, 1 + roll(3)) if $how eq 'write';
	return $self->begin($s) if $how eq 'begin';
	if ($how eq 'refresh')
	{
		$self->write_rows($s, 1 + roll(2)) if chance(70);
		return chance(4) ? $self->refresh_oddly($s) : $self->refresh($s);
	}
	return $self->resolve($s) if $how eq 'resolve';
	return $self->do_steps($s, ddl_steps(@tables)) if $how eq 'ddl';
	return $self->do_steps($s, outside_steps(@tables)) if $how eq 'outside';
	return $self->refresh_renamed($s) if $how eq 'rename';
	return $self->administer($s);
}

# Names change under the views, so check() alone can be the oracle.  In one
# transaction, so that no other session meets the new names.
sub refresh_renamed
{
	my ($self, $s) = @_;
	my $t = pick(@{ $self->{tables} });
	my $v = @{ $self->{views} } ? pick(@{ $self->{views} }) : return;
	return if $self->{core} || $v->{empty} || grep { $_->{fz} && norm_of($_->{t}) } @{ $v->{cols} };
	my $col = pick(@{ $t->{cols} });
	my ($there, $back) = chance(50)
	  ? ("ALTER TABLE $t->{n} RENAME TO renamed_table", "ALTER TABLE renamed_table RENAME TO $t->{n}")
	  : ("ALTER TABLE $t->{n} RENAME COLUMN $col->{n} TO renamed_column", "ALTER TABLE $t->{n} RENAME COLUMN renamed_column TO $col->{n}");
	$self->begin($s);
	my $tx = $self->{tx}[$s];
	local $self->{is_renamed} = 1;
	$self->do_steps($s, grep({ $_->[1] !~ /replica/ } dml_steps($t)), [ do => $there ]);
	if (($self->{tx}[$s] // 0) == $tx)
	{
		my $state = $self->step($s, 'refresh', 'SELECT * FROM matview.refresh_incremental(' . quote_text($v->{n}) . ')',
			oracle => 'SELECT missing, extra, 1 FROM matview.check(' . quote_text($v->{n}) . ')');
		$state eq '' ? $self->do_steps($s, [ do => $back ]) : $self->recover($s);
	}
	$self->finish($s, 'COMMIT') if $self->{tx}[$s];
	return;
}

# What an administrator does to materialized views, outside of transactions
sub administer
{
	my ($self, $s) = @_;
	my $v = @{ $self->{views} } ? pick(@{ $self->{views} }) : return $self->make_view($s);
	$self->make_stale($s);
	my $name = quote_text($v->{n});
	my $how = weighted(
		vacuum => 3, untrack => 2, track => 2, index => 3, drop => 2, make => 4, replace => @{ $self->{plain} } ? 6 : 0,
		rename => 1, reindex => 1, cluster => 1);
	if ($how eq 'vacuum')
	{
		$self->step($s, 'do', pick('VACUUM FULL', 'VACUUM', 'ANALYZE', 'VACUUM FREEZE') . " $v->{n}");
	}
	elsif ($how eq 'track' || $how eq 'untrack')
	{
		$self->step($s, 'do', "SELECT matview.$how($name)") if !$self->{core};
	}
	elsif ($how eq 'index')
	{
		$self->make_indexes($s, $v);
	}
	elsif ($how eq 'reindex')
	{
		$self->step($s, 'do', "REINDEX TABLE $v->{n}");
	}
	elsif ($how eq 'cluster')
	{
		my $col = pick(@{ $v->{cols} });
		return if $col->{t} !~ /^(?:int|text|bigint|date)$/;
		my $index = 'clustering' . $self->{nviews}++;
		$self->do_steps($s, [ do => "CREATE INDEX $index ON $v->{n} ($col->{n})" ], [ do => "CLUSTER $v->{n} USING $index" ]);
	}
	elsif ($how eq 'make')
	{
		$self->make_view($s) if @{ $self->{views} } < 6;
	}
	elsif ($how eq 'drop')
	{
		return if @{ $self->{views} } < 2;
		$self->{views} = [ grep { $_ != $v } @{ $self->{views} } ]
		  if $self->step($s, 'do', "DROP MATERIALIZED VIEW $v->{n}") eq '';
	}
	elsif ($how eq 'rename')
	{
		return if grep { $_->{over_view} } @{ $self->{views} };
		my $new = quote_name('Renamed ' . $self->{nviews}++);
		$v->{n} = $new if $self->step($s, 'do', "ALTER MATERIALIZED VIEW $v->{n} RENAME TO $new") eq '';
	}
	else
	{
		my $p = pick(@{ $self->{plain} });
		start_queries(@{ $self->{tables} });
		my $q = plain_view_query($p);
		$self->observe(100) if $self->step($s, 'do', "CREATE OR REPLACE VIEW $p->{n} AS $q->{sql}", may_fail => '42') eq '';
	}
	return;
}

# Each row of the view is found through its indexes (amcheck looks at btrees)
sub index_lookups
{
	my ($self, $v) = @_;
	my @lookups = @{ $v->{lookups} // [] } or return;
	$self->step(0, 'do', "SET enable_$_ = off") for qw(seqscan hashjoin mergejoin);
	for my $lookup (@lookups)
	{
		my ($c, $op) = @$lookup;
		$self->step(0, 'oracle', "SELECT count(*), 0 FROM $v->{n} AS a WHERE a.$c $op a.$c"
			  . " AND NOT EXISTS (SELECT 1 FROM $v->{n} AS b WHERE b.$c $op a.$c)");
	}
	$self->step(0, 'do', "RESET enable_$_") for qw(seqscan hashjoin mergejoin);
	return;
}

# Everything committed or rolled back, everything refreshed once more
sub settle
{
	my ($self) = @_;
	for my $s (0 .. $SESSIONS - 1)
	{
		$self->finish($s, pick('COMMIT', 'ROLLBACK')) if $self->{tx}[$s];
	}
	$self->resolve(0) while @{ $self->{prepared} };
	$self->observe(100);
	$self->observe_policies;
	$self->refresh(roll($SESSIONS), view => $_, how => 'incremental') for @{ $self->{views} };
	return;
}

sub final_checks
{
	my ($self) = @_;
	# nobody is in the way now but autovacuum
	$self->step(0, 'do', 'SET lock_timeout = 0');
	$self->step(0, 'do', 'RESET ROLE');
	$self->index_lookups($_) for @{ $self->{views} };
	my $of_views = q(FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_am AS a ON a.oid = x.relam WHERE c.relkind = 'm' AND c.relnamespace = 'randomized'::regnamespace AND a.amname = 'btree');
	$self->step(0, 'do', "SELECT public.bt_index_check(x.oid, true) $of_views") if $self->{amcheck};
	$self->step(0, 'oracle', q(SELECT count(*), 0 FROM pg_class AS c, LATERAL public.verify_heapam(c.oid) AS h WHERE c.relkind = 'm' AND c.relispopulated AND c.relnamespace = 'randomized'::regnamespace))
	  if $self->{amcheck};
	return if $self->{core};

	my $unfit = $self->{runner}->value(0, q(SELECT count(*) FROM matview.history WHERE reason = 'the contents did not fit the changes'));
	$self->{runner}->fail('contents did not fit', 'see matview.history') if $unfit;
	if (chance(50))
	{
		# with it in the way, capture would rightly stay until the next DROP
		$self->step(0, 'do', q(DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'randomized'::regnamespace LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP; END $$));
		$self->step(0, 'do', "DROP MATERIALIZED VIEW $_->{n} CASCADE") for @{ $self->{views} };
		$self->step(0, 'oracle', q(SELECT count(*), 0 FROM pg_trigger WHERE tgfoid = 'matview.capture()'::regprocedure AND NOT EXISTS (SELECT FROM pg_class WHERE relkind = 'm')));
	}
	$self->step(0, 'do', 'DROP SCHEMA randomized CASCADE');
	$self->step(0, 'oracle', q(SELECT (SELECT count(*) FROM matview.tracked_views) + (SELECT count(*) FROM matview.tracked_sources), (SELECT count(*) FROM matview.change_logs) WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'randomized')));
	return;
}

1;
