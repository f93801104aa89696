#!/bin/bash
#
# demo.sh -- see all three refreshes at work, beside what core needs
#
#   scripts/demo.sh [15|17|18|19]
#
# Installs what is missing, builds in a private directory, starts a private
# server there, loads a million users, a million products and three million
# orders, and refreshes three materialized views over them: first with
# REFRESH MATERIALIZED VIEW, then with matview_refresh.  Needs 4 GB of disk
# in $TMPDIR or /tmp, and leaves nothing behind.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
'' | 15 | 17 | 18 | 19) VERSION=${1:-$(native_version)} ;;
*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

prepare_version "$VERSION"
make_work
[ "$(df -Pk "$OUTER_WORK" | awk 'NR == 2 { print int($4 / 1024) }')" -ge 4000 ] ||
	die "needs 4 GB of free disk in ${OUTER_WORK%/*}; set TMPDIR to another place"
inside bash "$WORK/src/scripts/run_demo.sh"
