#!/bin/bash
#
# test.sh -- run everything for one version of PostgreSQL
#
#   scripts/test.sh [--keep] [15|17|18|19] [TEST...]
#   scripts/test.sh --prepare VERSION
#
# Installs what is missing, builds in a private directory and runs the
# regression (sql/), isolation (specs/) and TAP (t/) tests, or just those
# named: sql/NAME.sql, specs/NAME.spec, t/NAME.pl.  The last line is
# "N passed, M failed"; a regression or isolation test counts as one, a TAP
# test as many as it has assertions.  What should have run and did not is a
# failure.  --prepare only installs; --keep keeps the private directory.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=
PREPARE=
TESTS=()

while [ $# -gt 0 ]; do
	case $1 in
	--prepare) PREPARE=1 ;;
	--keep) export KEEP=1 ;;
	-h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
	[0-9]*) VERSION=$1 ;;
	sql/*.sql | specs/*.spec | t/*.pl)
		[ -e "$REPO/$1" ] || die "no such test: $1"
		TESTS+=("$1")
		;;
	*) die "what is $1? Try --help" ;;
	esac
	shift
done
VERSION=${VERSION:-$(native_version)}

if [ -n "$PREPARE" ]; then
	prepare_version "$VERSION"
	exit
fi

# report PASSED FAILED -- the last line, and how we end
report() {
	say "$1 passed, $2 failed"
	[ "$2" = 0 ] && [ "$1" != 0 ] && exit 0
	exit 1
}

count_tests() {
	if [ ${#TESTS[@]} -gt 0 ]; then
		echo ${#TESTS[@]}
	else
		(cd "$REPO" && shopt -s nullglob && set -- sql/*.sql specs/*.spec t/*.pl && echo $#)
	fi
}

# In a subshell first, because it ends the script when it fails.
if ! (prepare_version "$VERSION"); then
	say "PostgreSQL $VERSION cannot be had here"
	report 0 $(($(count_tests) + 1))
fi
prepare_version "$VERSION"
make_work

status=0
inside bash "$WORK/src/scripts/run_suites.sh" "${TESTS[@]}" || status=$?

# run_suites.sh writes its counts last; without them nothing is known to pass.
if ! read -r passed failed 2>/dev/null <"$OUTER_WORK/counts"; then
	say "the tests of PostgreSQL $VERSION ended early (status $status)"
	report 0 $(($(count_tests) + 1))
fi
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
report "$passed" "$failed"
