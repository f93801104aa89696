#!/bin/bash
#
# run_demo.sh -- the inner half of demo.sh
#
# The views are refreshed five ways, each after another 10,000 users and
# 10,000 products have changed.  While a refresh runs, a reader looks up one
# row of the view 500 times a second; its longest wait is counted from the
# moment its turn came, so a query that had to queue counts in full.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SRC=$MVR_WORK/src
OUT=$MVR_WORK/demo
VIEWS=(user_stats product_stats order_details)
RESULTS=$OUT/results			# view|method|mode|milliseconds|rows|wait
CHANGES=0
BEGAN=$SECONDS

# step TEXT COMMAND... -- say what happens, and how long it took
step() {
	local text=$1 began

	shift
	printf '  %-64s' "$text ..."
	began=$(date +%s%N)
	"$@"
	awk -v ns=$(($(date +%s%N) - began)) 'BEGIN { printf "%6.1f s\n", ns / 1e9 }'
}

build() {
	build_extension "$OUT/build.log" || { tail -n 40 "$OUT/build.log" >&2 && die "build failed"; }
}

start() {
	start_server "$OUT/server" "shared_buffers = $(quarter_of_memory 1024)" \
		"synchronous_commit = off" "max_wal_size = 8GB" "checkpoint_timeout = 1h" \
		"work_mem = 256MB" "maintenance_work_mem = 256MB" "autovacuum = off" \
		"wal_level = minimal" "max_wal_senders = 0" || exit 1
}

# Another 1% of users has a birthday, another 1% of products a new price.
change() {
	CHANGES=$((CHANGES + 1))
	sql -c "UPDATE users SET age = age + 1 WHERE id % 100 = $CHANGES" \
		-c "UPDATE products SET price = price + 1 WHERE id % 100 = $CHANGES"
}

# ----------------------------------------------------------------------
# Measuring
# ----------------------------------------------------------------------

# lookup VIEW -- what the reader asks
lookup() {
	case $1 in
	user_stats) echo "SELECT * FROM user_stats WHERE country = 'country 7'" ;;
	product_stats) echo "SELECT * FROM product_stats WHERE category = 'category 7'" ;;
	order_details) echo "SELECT * FROM order_details WHERE order_id = 7" ;;
	esac
}

# times FILE -- the sum of what psql's \timing printed
times() { awk '/^Time: / { ms += $2 } END { printf "%.3f\n", ms }' "$1"; }

# by_core VIEW METHOD -- a REFRESH, in a transaction that tells what it wrote
by_core() {
	local since rows

	start_reader "$OUT" "$(lookup "$1")"
	since=$(date +%s.%N)
	sql >"$OUT/psql" <<-SQL
		\\timing on
		BEGIN;
		$2 $1;
		\\timing off
		SELECT 'rows', pg_stat_get_xact_tuples_inserted(c) + pg_stat_get_xact_tuples_deleted(c)
		  FROM CAST('$1'::regclass AS oid) c;
		\\timing on
		COMMIT;
	SQL
	stop_reader "$since"
	if [[ $2 = *CONCURRENTLY* ]]; then
		rows=$(sed -n 's/^rows|//p' "$OUT/psql")
	else
		rows=$(sql -c "SELECT count(*) FROM $1")
	fi
	echo "$1|$2||$(times "$OUT/psql")|$rows|$LONGEST_WAIT" >>"$RESULTS"
}

# by_us VIEW METHOD
by_us() {
	local since mode rows

	start_reader "$OUT" "$(lookup "$1")"
	since=$(date +%s.%N)
	sql >"$OUT/psql" <<-SQL
		\\timing on
		SELECT 'mode', mode, rows_inserted + rows_updated + rows_deleted FROM $2('$1');
	SQL
	stop_reader "$since"
	IFS='|' read -r _ mode rows < <(grep '^mode|' "$OUT/psql")
	echo "$1|$2|$mode|$(times "$OUT/psql")|$rows|$LONGEST_WAIT" >>"$RESULTS"
}

all_views() {
	local how=$1 method=$2 view

	for view in "${VIEWS[@]}"; do
		"$how" "$view" "$method"
	done
}

track_all() {
	local view

	for view in "${VIEWS[@]}"; do
		sql -c "SELECT matview.refresh_incremental('$view')" >"$OUT/psql"
	done
}

# ----------------------------------------------------------------------
# Showing
# ----------------------------------------------------------------------

show() {
	awk -F'|' -v view="$1" -v count="$(sql -c "SELECT count(*) FROM $1")" '
		function commas(n,    s) {
			s = sprintf("%d", n)
			while (match(s, /[0-9][0-9][0-9][0-9]($|,)/))
				s = substr(s, 1, RSTART) "," substr(s, RSTART + 1)
			return s
		}
		function duration(ms) {
			return ms >= 1000 ? sprintf("%.2f  s", ms / 1000) : sprintf("%.1f ms", ms)
		}
		BEGIN {
			printf "\n%s, %s rows\n", view, commas(count)
			printf "  %-42s %11s %13s %13s\n", "", "time", "rows written", "reader waited"
		}
		$1 == view {
			name = $2
			if ($3 != "" && index(name, $3) == 0) name = name " (" $3 ")"
			printf "  %-42s %11s %13s %13s\n", name, duration($4), commas($5), duration($6)
		}' "$RESULTS"
}

# One user has a birthday, then nothing happens.
show_small_changes() {
	local line

	printf '\nAnd for a single row, UPDATE users SET age = age + 1 WHERE id = 7:\n'
	sql -c "UPDATE users SET age = age + 1 WHERE id = 7"
	for line in "user_stats" "order_details" "order_details"; do
		sql -F ' ' -c "SELECT format('  %-42s %8s ms %13s', 'refresh_incremental(''$line'')',
			                      round(duration_ms::numeric, 1),
			                      mode || ', ' || rows_inserted + rows_updated + rows_deleted || ' rows')
			             FROM matview.refresh_incremental('$line')"
	done
}

check_all() {
	local view result bad=0

	for view in "${VIEWS[@]}"; do
		result=$(sql -c "SELECT * FROM matview.check('$view')")
		if [ "$result" = "0|0" ]; then
			echo "  matview.check('$view'): missing 0, extra 0" >>"$OUT/checks"
		else
			echo "  matview.check('$view'): missing|extra = $result  <-- WRONG" >>"$OUT/checks"
			bad=1
		fi
	done
	echo "$bad" >"$OUT/bad"
}

# ----------------------------------------------------------------------

mkdir -p "$OUT"
make_installation
say "matview_refresh on $(postgres --version | sed 's/^postgres (PostgreSQL) /PostgreSQL /'), $(nproc) cores, $(quarter_of_memory 1024) shared_buffers"
say "(a private server in $OUT, gone when this ends)"
say
build &						# while one processor loads data
BUILD=$!
step "starting a server" start
step "loading 1,000,000 users, 1,000,000 products, 3,000,000 orders" sql -f "$SRC/scripts/demo_data.sql"
step "creating three materialized views" sql -f "$SRC/scripts/demo_views.sql"
step "building the extension beside that; what is left of it" wait "$BUILD"
wait "$BUILD" || exit 1

say
say "Core PostgreSQL, after 10,000 users and 10,000 products have changed"
change
step "REFRESH MATERIALIZED VIEW" all_views by_core "REFRESH MATERIALIZED VIEW"
change
step "REFRESH MATERIALIZED VIEW CONCURRENTLY" \
	all_views by_core "REFRESH MATERIALIZED VIEW CONCURRENTLY"

say
say "CREATE EXTENSION matview_refresh, the same views, as many changes"
sql -c "CREATE EXTENSION matview_refresh"
step "first refresh_incremental: starts tracking, fills the views" track_all
change
step "matview.refresh_full" all_views by_us matview.refresh_full
change
step "matview.refresh_concurrent" all_views by_us matview.refresh_concurrent
change
step "matview.refresh_incremental" all_views by_us matview.refresh_incremental

for v in "${VIEWS[@]}"; do
	show "$v"
done
show_small_changes

say
say "Is every view exactly what its query gives?"
step "comparing" check_all
cat "$OUT/checks"
say
if [ "$(cat "$OUT/bad")" != 0 ]; then
	say "FAILED: a view does not hold what its query gives"
	exit 1
fi
if [ "$(grep -c '|matview.refresh_incremental|incremental|' "$RESULTS")" != ${#VIEWS[@]} ]; then
	say "FAILED: refresh_incremental did something else:"
	sql -F " " -c "SELECT view, mode, reason FROM matview.history WHERE mode <> 'incremental'"
	exit 1
fi
say "All three are.  This took $((SECONDS - BEGAN)) s."
