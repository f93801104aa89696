#!/bin/bash
#
# soak.sh -- the randomized test for as long as wanted, with ever new seeds
#
#   scripts/soak.sh [SECONDS [15|17|18|19]]
#
# The private directory is kept: it has the history of each failing case, also
# cut down to what is needed, in src/tmp_check/log or out/tap/090_random/log.
# t/090_random.pl says how to run one again.

set -euo pipefail

case ${1:-} in
-h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
*[!0-9]*) echo "soak.sh: not a number of seconds: $1" >&2 && exit 2 ;;
esac
SECONDS_WANTED=${1:-3600}
shift || true

export MVR_RANDOM_SECONDS=$SECONDS_WANTED MVR_SHRINK=1
export MATVIEW_REFRESH_TIMEOUT=$((SECONDS_WANTED + 1800))
exec "$(dirname "${BASH_SOURCE[0]}")/test.sh" --keep "$@" t/090_random.pl
