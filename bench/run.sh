#!/bin/bash
#
# run.sh -- measure matview_refresh against core and against SQL by hand
#
#   bench/run.sh [--quick] [--repeat N] [--only SECTION] [--output FILE] [15|17|18|19]
#
# Builds in a private directory, starts a private server there and measures
# everything on it in one run, on PostgreSQL 18 if no version is named.  The
# sections are incremental, concurrent, one_row, nothing and capture.  Writes
# bench/RESULTS.md, or the file named; --quick, at a tenth of the size, and
# --only print instead, for they tell little.  Needs 15 GB of disk in $TMPDIR
# or /tmp (or the folder of the version), 4 GB of memory, half an hour, and a
# machine with nothing else to do.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

VERSION=18
OUTPUT=$REPO/bench/RESULTS.md
ARGS=()

while [ $# -gt 0 ]; do
	case $1 in
	--quick) ARGS+=("$1") OUTPUT= ;;
	--only) ARGS+=("$1" "${2:?}") OUTPUT= && shift ;;
	--repeat) ARGS+=("$1" "${2:?}") && shift ;;
	--output) CHOSEN=${2:?} && shift ;;
	15 | 17 | 18 | 19) VERSION=$1 ;;
	*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 2 ;;
	esac
	shift
done
OUTPUT=${CHOSEN:-$OUTPUT}

prepare_version "$VERSION"
make_work
inside bash "$WORK/src/bench/measure.sh" "${ARGS[@]}"
if [ -n "$OUTPUT" ]; then
	cat "$OUTER_WORK/RESULTS.md" >"$OUTPUT"
	say "written: $OUTPUT"
else
	cat "$OUTER_WORK/RESULTS.md"
fi
