#!/bin/bash
#
# measure.sh -- the inner half of run.sh
#
# Every measured time becomes a line "case.contestant milliseconds" in
# samples; everything written to RESULTS.md is the median of such lines.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/report.sh"

BENCH=$MVR_WORK/src/bench
OUT=$MVR_WORK/bench
SAMPLES=$OUT/samples
REPORT=$OUT/report
REPEAT=5
N=1000000
BULK=100000
SECONDS_EACH=4					# of pgbench
SECTIONS=(incremental concurrent one_row nothing capture)

while [ $# -gt 0 ]; do
	case $1 in
	--quick) N=100000 BULK=10000 SECONDS_EACH=2 REPEAT=3 ;;
	--repeat) REPEAT=$2 && shift ;;
	--only) SECTIONS=("$2") && shift ;;
	esac
	shift
done

# collect FILE VARIABLES... -- run a file, add what it timed to the samples
#
# Our refreshes also say their mode, which must be the one expected: a time
# for something else would mislead.
collect() {
	local file=$1 expect=${MODE:-incremental}

	shift
	sql "$@" -f "$BENCH/$file" >"$OUT/psql" || { cat "$OUT/psql" >&2 && die "$file failed"; }
	awk -v expect="$expect" '
		function flush() { if (name != "" && n) printf "%s %.3f\n", name, ms; ms = n = 0 }
		/^@/ { flush(); name = substr($1, 2) }
		/^Time: / { ms += $2; n++ }
		/^bytes[|]/ { split($0, b, "|"); printf "%s %d\n", name, b[2] }
		/^mode[|]/ && $0 != "mode|" expect { other[name " was " $0]++ }
		END {
			flush()
			for (o in other) print "WARNING: " o ", " other[o] " times" > "/dev/stderr"
		}' "$OUT/psql" >>"$SAMPLES"
}

# ----------------------------------------------------------------------
# Sections
# ----------------------------------------------------------------------

setup() {
	local view

	progress "loading $N users, $((3 * N)) orders and their views"
	sql -v n="$N" -f "$BENCH/setup.sql"
	sql -f "$BENCH/by_hand.sql"
	sql -c "CREATE EXTENSION matview_refresh" \
		-c "CALL by_hand.arm('users', 'by_hand.log_users')" \
		-c "CALL by_hand.arm('orders', 'by_hand.log_orders')"
	for view in user_stats order_details user_orders; do
		sql -c "SELECT mode FROM matview.refresh_incremental('$view')" >/dev/null
	done
	sql -c "VACUUM (ANALYZE)" -c "CHECKPOINT"
}

measure_incremental() {
	local k

	# the first one warms every cache and is not counted
	for k in $(seq 0 "$REPEAT"); do
		progress "incremental refresh, repetition $k of $REPEAT"
		collect incremental.sql -v k="$k"
		[ "$k" != 0 ] || rm -f "$SAMPLES"
	done
	compare
	heading "Incremental refresh after 1% of the base table has changed"
	cat >>"$REPORT" <<-TEXT

		\`UPDATE\` of every hundredth row. $N users, $((3 * N)) orders; a changed user is one
		group and three rows of the join view on average, a changed order one group and one row.
		"by hand" is an expert's SQL on tables (\`by_hand_*.sql\`), from a log of its own that
		holds the same. After each change ours goes first, then by hand, CONCURRENTLY, REFRESH.
		Before, in the same session, ours and by hand have been run for one changed row.
	TEXT
	table
	row "200-group aggregate" user_stats.ours "REFRESH" user_stats.plain "<= 0.125"
	row "" user_stats.ours "CONCURRENTLY" user_stats.concurrently ""
	row "" user_stats.ours "by hand" user_stats.by_hand "<= 1.2"
	row "$((3 * N))-row join view, users changed" order_details.ours "REFRESH" order_details.plain "<= 0.0666667"
	row "" order_details.ours "CONCURRENTLY" order_details.concurrently "<= 0.0285715"
	row "" order_details.ours "by hand" order_details.by_hand "<= 1.2"
	row "the same, orders changed" order_details_2.ours "REFRESH" order_details_2.plain ""
	row "" order_details_2.ours "by hand" order_details_2.by_hand ""
	row "$N-group aggregate" user_orders.ours "REFRESH" user_orders.plain "<= 0.0666667"
	row "" user_orders.ours "CONCURRENTLY" user_orders.concurrently "<= 0.04"
	row "" user_orders.ours "by hand" user_orders.by_hand "<= 1.2"
}

compare() {
	local wrong

	progress "comparing what everybody holds"
	wrong=$(sql -f "$BENCH/compare.sql")
	[ -z "$wrong" ] || die "$wrong"
}

# with_reader CASE LOOKUP STATEMENT -- a time, and the longest wait of a reader
with_reader() {
	local since

	start_reader "$OUT" "$2"
	since=$(date +%s.%N)
	printf '\\timing on\n%s;\n' "$3" | sql >"$OUT/psql"
	stop_reader "$since"
	awk -v name="$1" '/^Time: / { printf "%s %.3f\n", name, $2 }' "$OUT/psql" >>"$SAMPLES"
	echo "$1_wait $LONGEST_WAIT" >>"$SAMPLES"
}

measure_concurrent() {
	local k lookup="SELECT * FROM order_details WHERE order_id = 7"

	for k in $(seq "$REPEAT"); do
		progress "concurrent refresh, repetition $k of $REPEAT"
		sql -c "UPDATE users SET age = age + 1 WHERE id % 100 = 50 + $k"
		with_reader concurrent.ours "$lookup" "SELECT matview.refresh_concurrent('order_details')"
		with_reader concurrent.full "$lookup" "SELECT matview.refresh_full('order_details')"
		lookup=${lookup/FROM /FROM core.}
		with_reader concurrent.concurrently "$lookup" \
			"REFRESH MATERIALIZED VIEW CONCURRENTLY core.order_details"
		with_reader concurrent.plain "$lookup" "REFRESH MATERIALIZED VIEW core.order_details"
		lookup=${lookup/core./}
		# what the machine alone makes a reader wait
		with_reader concurrent.beside "$lookup" "REFRESH MATERIALIZED VIEW core.order_details"
		sql -c "VACUUM order_details, core.order_details, users"
	done
	heading "Concurrent refresh of the $((3 * N))-row join view"
	cat >>"$REPORT" <<-TEXT

		While it runs, a reader looks up one row 500 times a second; its longest wait counts
		from the moment its turn came. On a machine with few cores most of that is the reader
		waiting for a processor: "beside REFRESH" is a reader of a view that nothing is done to
		while another one is refreshed.
	TEXT
	table
	row "refresh_concurrent" concurrent.ours "REFRESH" concurrent.plain "<= 1.15"
	row "" concurrent.ours "CONCURRENTLY" concurrent.concurrently "<= 0.5"
	row "refresh_full" concurrent.full "REFRESH" concurrent.plain ""
	row "longest reader wait, refresh_concurrent" concurrent.ours_wait "REFRESH" concurrent.plain_wait ""
	row "" concurrent.ours_wait "CONCURRENTLY" concurrent.concurrently_wait ""
	row "" concurrent.ours_wait "beside REFRESH" concurrent.beside_wait ""
	limit "longest reader wait, refresh_concurrent" concurrent.ours_wait 20 ms
}

measure_one_row() {
	local k

	progress "loading tables of $N and $((10 * N)) rows"
	sql -v n="$N" -f "$BENCH/one_row_setup.sql" >/dev/null
	progress "one changed row"
	for k in $(seq 23); do
		sed "s/:k/$((k * 997))/g" "$BENCH/one_row.sql"
	done >"$BENCH/one_row_all.sql"
	collect one_row_all.sql
	compare_one_row
	sql -c "DROP TABLE small, big, countries CASCADE" 2>/dev/null
	heading "One changed row, at two sizes"
	table
	row "200-group aggregate over $((10 * N)) rows" big_stats.ours "over $N rows" small_stats.ours "<= 1.2"
	row "join view of $((10 * N)) rows" big_joined.ours "of $N rows" small_joined.ours "<= 1.2"
}

compare_one_row() {
	local wrong

	wrong=$(sql -c "SELECT v, c FROM unnest('{small_stats,big_stats,small_joined}'::text[]) v,
	                        matview.check(v::regclass) c WHERE (c.missing, c.extra) <> (0, 0)")
	[ -z "$wrong" ] || die "WRONG: $wrong"
}

measure_nothing() {
	local k view

	progress "nothing changed"
	for view in user_stats order_details; do
		sql -c "SELECT mode FROM matview.refresh_incremental('$view')" >/dev/null
	done
	sql -c "CHECKPOINT"
	for k in $(seq 25); do
		cat "$BENCH/nothing.sql"
	done >"$BENCH/nothing_all.sql"
	MODE=none collect nothing_all.sql
	heading "Nothing changed"
	table
	limit "200-group aggregate" nothing_stats.ours 0.5 ms
	limit "$((3 * N))-row join view" nothing_details.ours 0.5 ms
	limit "WAL written by both" nothing.wal 0 bytes
}

# pgbench_writes CASE TABLE CLIENTS STATEMENT
pgbench_writes() {
	printf '\\set id random(1, %d)\n%s;\n' "$N" "$4" >"$OUT/write.sql"
	pgbench -n -M prepared -T "$SECONDS_EACH" -c "$3" -j "$3" -f "$OUT/write.sql" >"$OUT/pgbench" 2>&1 ||
		{ cat "$OUT/pgbench" >&2 && die "pgbench failed"; }
	awk -v name="$1.$2" '/^tps = / { printf "%s %d\n", name, $3 }' "$OUT/pgbench" >>"$SAMPLES"
}

empty_logs() {
	sql -c "SELECT 1 FROM matview.refresh_incremental('w_view')" \
		-c "TRUNCATE by_hand.users_log" -c "VACUUM $1" -c "CHECKPOINT" >/dev/null
}

measure_capture() {
	local k w clients tables=(w_none w_ours w_hand)

	progress "loading three tables of $N rows"
	sql -v n="$N" -f "$BENCH/capture_setup.sql" >/dev/null
	for k in $(seq "$REPEAT"); do
		progress "capture, repetition $k of $REPEAT"
		for _ in 1 2 3; do
			# nobody is always the first
			tables=("${tables[@]:1}" "${tables[0]}")
			for w in "${tables[@]}"; do
				for clients in 1 4; do
					pgbench_writes "update_$clients" "$w" "$clients" \
						"UPDATE $w SET age = age + 1 WHERE id = :id"
				done
				pgbench_writes insert_1 "$w" 1 \
					"INSERT INTO $w VALUES (nextval('${w}_seq'), 'country 7', 33)"
				sql -c "DELETE FROM $w WHERE id > 200000000"
				empty_logs "$w"
			done
		done
		for w in "${tables[@]}" "${tables[@]}" "${tables[@]}"; do
			collect capture_bulk.sql -v w="$w" -v bulk="$BULK"
			empty_logs "$w"
		done
	done
	[ "$(sql -c "SELECT * FROM matview.check('w_view')")" = "0|0" ] || die "WRONG: w_view"
	heading "What capture costs the writer"
	cat >>"$REPORT" <<-TEXT

		One row per transaction by pgbench, $SECONDS_EACH seconds each; $BULK rows by one
		statement. "by hand" is a PL/pgSQL statement trigger with transition tables that logs
		the same.
	TEXT
	table
	TPS=1 row "single-row UPDATE, 1 client" update_1.w_ours "no capture" update_1.w_none ">= 0.9"
	TPS=1 row "" update_1.w_ours "by hand" update_1.w_hand ""
	TPS=1 row "single-row UPDATE, 4 clients" update_4.w_ours "no capture" update_4.w_none ">= 0.85"
	TPS=1 row "" update_4.w_ours "by hand" update_4.w_hand ""
	TPS=1 row "single-row INSERT, 1 client" insert_1.w_ours "no capture" insert_1.w_none ">= 0.9"
	TPS=1 row "" insert_1.w_ours "by hand" insert_1.w_hand ""
	row "INSERT of $BULK rows" bulk_insert.w_ours "no capture" bulk_insert.w_none "<= 1.35"
	row "" bulk_insert.w_ours "by hand" bulk_insert.w_hand ""
	row "UPDATE of $BULK rows" bulk_update.w_ours "no capture" bulk_update.w_none "<= 1.25"
	row "" bulk_update.w_ours "by hand" bulk_update.w_hand ""
	row "DELETE of $BULK rows" bulk_delete.w_ours "no capture" bulk_delete.w_none ""
	row "" bulk_delete.w_ours "by hand" bulk_delete.w_hand ""
}

# ----------------------------------------------------------------------

write_results() {
	cat <<-TEXT
		# How fast it is

		Written by \`bench/run.sh\` on $(date -u +%Y-%m-%d): all on one server in one run, each figure
		the median of $REPEAT repetitions or more. A ratio is ours to theirs: for times smaller is
		better, for throughput bigger.

		$(describe_server)
	TEXT
	cat "$REPORT"
	cat <<-TEXT

		## All measurements

		Times in ms, pgbench in transactions per second.

		| | n | least | median | most |
		|---|--:|--:|--:|--:|
	TEXT
	summarize_samples
}

mkdir -p "$OUT"
: >"$SAMPLES"
: >"$REPORT"
make_installation
build_extension "$OUT/build.log" || { tail -n 40 "$OUT/build.log" >&2 && die "build failed"; }
start_server "$OUT/server" "shared_buffers = $(quarter_of_memory 2048)" \
	"synchronous_commit = off" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"work_mem = 64MB" "maintenance_work_mem = 256MB" "autovacuum = off" || exit 1
setup
for section in "${SECTIONS[@]}"; do
	"measure_$section"
done
write_results >"$MVR_WORK/RESULTS.md"
progress "done"
