#!/bin/bash
#
# tpch.sh -- measure the refresh of the 22 TPC-H queries as materialized views
#
#   bench/tpch.sh [--scale "0.1 1"] [--repeat N] [--output DIR] [15|17|18]
#
# Builds in a private directory, starts a private server there, on PostgreSQL
# 18 if no version is named, and loads TPC-H (bench/tpch) at each of the scale
# factors.  One pair of the specification's refresh streams, of 0.1% of the
# largest scale's orders at every scale, is followed by a refresh of each view:
# ours, then REFRESH MATERIALIZED VIEW of another view with the same query.
# Writes TPCH.md and tpch.svg into bench, or the directory named; with --scale
# alone it prints them instead.  Needs 10 GB of disk in $TMPDIR or /tmp (or the
# folder of the version), 4 GB of memory, half an hour, and a machine with
# nothing else to do.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

VERSION=18
OUTPUT=$REPO/bench
ARGS=()

while [ $# -gt 0 ]; do
	case $1 in
	--scale) ARGS+=("$1" "${2:?}") OUTPUT= && shift ;;
	--repeat) ARGS+=("$1" "${2:?}") && shift ;;
	--output) CHOSEN=${2:?} && shift ;;
	15 | 17 | 18) VERSION=$1 ;;
	*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 2 ;;
	esac
	shift
done
OUTPUT=${CHOSEN:-$OUTPUT}

prepare_version "$VERSION"
make_work
inside bash "$WORK/src/bench/tpch/measure.sh" "${ARGS[@]}"
if [ -n "$OUTPUT" ]; then
	cat "$OUTER_WORK/TPCH.md" >"$OUTPUT/TPCH.md"
	cat "$OUTER_WORK/tpch.svg" >"$OUTPUT/tpch.svg"
	say "written: $OUTPUT/TPCH.md, $OUTPUT/tpch.svg"
else
	cat "$OUTER_WORK/TPCH.md"
fi
