#!/bin/bash
#
# load.sh -- writers beside views of all policies, for as long as wanted
#
#   scripts/load.sh [SECONDS [15|17|18|19]]
#
# 20 minutes by default, and a quarter of that for on_commit alone.  The private
# directory is kept, with the server's log in out/tap/071_live_load/log.

set -euo pipefail

case ${1:-} in
-h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
*[!0-9]*) echo "load.sh: not a number of seconds: $1" >&2 && exit 2 ;;
esac
SECONDS_WANTED=${1:-1200}
shift || true

export MVR_LOAD_SECONDS=$SECONDS_WANTED
export MATVIEW_REFRESH_TIMEOUT=$((SECONDS_WANTED * 2 + 900))
exec "$(dirname "${BASH_SOURCE[0]}")/test.sh" --keep "$@" t/071_live_load.pl
