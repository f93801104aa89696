#!/bin/bash
#
# run_suites.sh -- the inner half of test.sh: build, then the three suites
#
# Runs as postgres in MVR_WORK, with the tree in its src.  Writes "PASSED
# FAILED" to MVR_WORK/counts as its last act.
#
# What passed is what a suite's own report names as passed; the tests that
# should have run are known beforehand, and each of them that is not reported
# as passed has failed.  Beyond that, a suite's exit status and the server's
# log can only add failures.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SRC=$MVR_WORK/src
OUT=$MVR_WORK/out
DEADLINE=$((SECONDS + ${MATVIEW_REFRESH_TIMEOUT:-1500}))
PASSED=0
FAILED=0
LOG_READ=0						# lines of the server's log already looked at

export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-120} PGISOLATIONTIMEOUT=60

fail() {
	FAILED=$((FAILED + ${2:-1}))
	say "FAILED: $1"
}

finish() {
	stop_server
	echo "$PASSED $FAILED" >"$MVR_WORK/counts"
	[ "$FAILED" = 0 ]
	exit
}

# Runs a command in what is left of the time for this version.
in_time() {
	local left=$((DEADLINE - SECONDS))

	[ "$left" -gt 0 ] || { note "out of time" && return 124; }
	timeout -k 10 "$left" "$@"
}

# make_variable NAME -- its value in our Makefile, as a list
make_variable() {
	make -s -C "$SRC" PG_CONFIG="$BINDIR/pg_config" \
		--eval "print-variable: ; @echo \$($1)" print-variable
}

# wanted DIR SUFFIX -- names of the tests to run: those named, or all
wanted() {
	local f

	if [ ${#NAMED[@]} -gt 0 ]; then
		printf '%s\n' "${NAMED[@]}"
	else
		(cd "$SRC" && find "$1" -maxdepth 1 -name "*$2" 2>/dev/null)
	fi | while IFS= read -r f; do
		case $f in "$1"/*"$2") basename "$f" "$2" ;; esac
	done | sort
}

# ----------------------------------------------------------------------
# pg_regress and pg_isolation_regress
# ----------------------------------------------------------------------

# Prints the names reported as passed.  Up to version 15 a line reads
# "test NAME ... ok  12 ms", with the name alone in a group; from 16 on it is
# "ok 1  - NAME  12 ms", with "+" for "-" in a group.
names_passed() {
	awk '
		/^ok [0-9]+ +[-+] / { seen[$4]++; ok[$4]++; next }
		/^not ok [0-9]+ +[-+] / { seen[$5]++; next }
		/^(test|    ) .* \.\.\. / {
			name = ($1 == "test") ? $2 : $1
			seen[name]++
			if ($0 ~ /\.\.\. ok( +[0-9]+ ms)? *$/) ok[name]++
		}
		END { for (n in ok) if (ok[n] == seen[n]) print n }' "$1"
}

# run_regress TITLE PROGRAM OUTDIR OPTIONS TESTS... -- OPTIONS is one word
run_regress() {
	local title=$1 program=$2 out=$3 options=$4 name passed status=0 bad=0

	shift 4
	[ $# -gt 0 ] || { say "$title: no tests" && return; }
	say "== $title: $# tests"
	mkdir -p "$out"
	# pg_regress wants these to write its actual results into
	mkdir -p "$out/results" "$out/sql" "$out/expected" "$out/specs"
	# shellcheck disable=SC2086
	(cd "$SRC" && in_time "$program" --inputdir=. --outputdir="$out" --bindir="$BINDIR" \
		$options "$@") | tee "$out/report" || status=${PIPESTATUS[0]}
	passed=$(names_passed "$out/report")
	for name in "$@"; do
		if grep -qxF -- "$name" <<<"$passed"; then
			PASSED=$((PASSED + 1))
		else
			bad=$((bad + 1))
			fail "$title $name"
		fi
	done
	if [ -s "$out/regression.diffs" ]; then
		say "-- regression.diffs (at most 400 lines)"
		head -n 400 "$out/regression.diffs" | cut -c 1-400
		bad=$((bad + 1)) status=1
	fi
	[ "$status" = 0 ] || [ "$bad" != 0 ] || fail "$title (exit status $status)"
	check_server "$title"
}

# A server that crashed and came back is a failure, whatever the tests say.
check_server() {
	local crash='was terminated by signal|PANIC:  |TRAP: ' log=$OUT/log

	tail -n "+$((LOG_READ + 1))" "$SERVER_LOG" >"$log"
	LOG_READ=$((LOG_READ + $(wc -l <"$log")))
	if grep -qE "$crash" "$log"; then
		fail "the server crashed during $1"
		grep -E -B 5 -A 10 "$crash" "$log" | tail -n 60
	elif ! is_server_running; then
		fail "the server ended during $1"
		tail -n 40 "$log"
	fi
}

# ----------------------------------------------------------------------
# prove
# ----------------------------------------------------------------------

# run_tap NAME -- one file of t/, with what PGXS's installcheck gives it
run_tap() {
	local out=$OUT/tap/$1 passed failed planned skipped reason crash status=0 began=$SECONDS

	mkdir -p "$out/log"
	# shellcheck disable=SC2086
	(cd "$SRC" && TESTLOGDIR=$out/log TESTDATADIR=$out PGPORT=65432 \
		PG_REGRESS=$PGXS_ROOT/src/test/regress/pg_regress in_time env -u PGHOST -u PGUSER -u PGDATABASE \
		prove -I "$PGXS_ROOT/src/test/perl" -I . -I t ${PROVE_FLAGS:-} --verbose "t/$1.pl") \
		>"$out/tap" 2>"$out/stderr" || status=$?
	# a to-do that fails is no failure; a skipped assertion did not pass
	read -r passed failed planned skipped < <(awk '
		/^ok [0-9]+/ { if (tolower($0) ~ /# *skip/) s++; else p++ }
		/^not ok [0-9]+/ { if (tolower($0) ~ /# *todo/) s++; else f++ }
		/^1\.\.[0-9]+/ { n = substr($1, 4) + 0; plan = 1 }
		END { print p + 0, f + 0, plan ? n : -1, s + 0 }' "$out/tap")
	if [ "$status" = 0 ] && grep -q '^Result: NOTESTS' "$out/tap"; then
		say "t/$1.pl: $(grep -o 'skipped: .*' "$out/tap" || echo skipped)"
		return
	fi
	if [ "$planned" -gt $((passed + failed + skipped)) ]; then
		failed=$((planned - passed - skipped))
	elif [ "$failed" = 0 ] && { [ "$status" != 0 ] || [ "$planned" = -1 ] || [ $((passed + skipped)) = 0 ]; }; then
		failed=1
	fi
	crash=$(grep -lE 'terminated by signal (4|6|7|8|11)\b|TRAP: ' "$out"/log/*.log 2>/dev/null || true)
	[ -z "$crash" ] || failed=$((failed + 1))
	PASSED=$((PASSED + passed))
	say "t/$1.pl: $passed passed, $failed failed, $skipped skipped, $((SECONDS - began)) s"
	[ "$failed" = 0 ] && return
	fail "t/$1.pl (exit status $status)" "$failed"
	grep -E '^not ok' "$out/tap" || true
	say "-- its output (at most 60 lines each)"
	tail -n 60 "$out/tap" "$out/stderr" | cut -c 1-400
	for reason in $crash; do
		say "-- crash in ${reason##*/}"
		grep -E -B 5 -A 10 'terminated by signal (4|6|7|8|11)\b|TRAP: ' "$reason" | tail -n 60
	done
}

run_tap_suite() {
	local name

	[ $# -gt 0 ] || { say "TAP: no tests" && return; }
	say "== TAP: $# files"
	for name in "$@"; do
		run_tap "$name"
	done
}

# ----------------------------------------------------------------------

NAMED=("$@")
mapfile -t REGRESS < <(wanted sql .sql)
mapfile -t ISOLATION < <(wanted specs .spec)
mapfile -t TAP < <(wanted t .pl)

mkdir -p "$OUT"
make_installation
PGXS_ROOT=$BINDIR/../lib/pgxs
say "== build with $(pg_config --version)"
if ! in_time true || ! build_extension "$OUT/build.log"; then
	tail -n 60 "$OUT/build.log"
	fail "build, and no test ran" $((1 + ${#REGRESS[@]} + ${#ISOLATION[@]} + ${#TAP[@]}))
	finish
fi
if grep -n 'warning:' "$OUT/build.log"; then
	fail "build: warnings"
fi

if [ $((${#REGRESS[@]} + ${#ISOLATION[@]})) -gt 0 ]; then
	if ! start_server "$MVR_WORK/server" "fsync = off" "max_prepared_transactions = 10" \
		"log_line_prefix = '%m [%p] %q%a '" "log_statement = none"; then
		fail "the server did not start" $((${#REGRESS[@]} + ${#ISOLATION[@]}))
	else
		run_regress regression "$PGXS_ROOT/src/test/regress/pg_regress" \
			"$OUT/regress" "$(make_variable REGRESS_OPTS)" "${REGRESS[@]}"
		run_regress isolation "$PGXS_ROOT/src/test/isolation/pg_isolation_regress" \
			"$OUT/isolation" "$(make_variable ISOLATION_OPTS)" "${ISOLATION[@]}"
		stop_server
	fi
fi
run_tap_suite "${TAP[@]}"
finish
