#!/bin/bash
#
# in_transaction.sh -- what views cost the writer that are up to date at once
#
#   bench/in_transaction.sh [--quick] [--repeat N] [--only PART] [--peers-only] [--output FILE]
#
# On a private server of PostgreSQL 18, beside pg_ivm, whose package is
# installed if it is missing, and beside triggers in PL/pgSQL.  Each contender
# has base tables of its own, alike; at the end of each part what it holds must
# be what the query says.  The parts:
#   rows    single-row UPDATEs per second under a 200-group aggregate
#   join    an UPDATE of 10,000 rows under a 3,000,000-row join view
#   bulk    an INSERT of 100,000 rows under the 200-group aggregate
#   groups  an INSERT of 10,000 rows under a 950,000-group aggregate
# Writes bench/IN_TRANSACTION.md, or the file named; --quick, at a tenth of the
# size, --only, and --peers-only, which leaves ours out, print instead.  Needs
# 10 GB of disk in the folder of the version, 4 GB of memory, half an hour, and
# a machine with nothing else to do.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/report.sh"

# ----------------------------------------------------------------------
# The outer half
# ----------------------------------------------------------------------

if [ "${1:-}" != --inner ]; then
	VERSION=18
	OUTPUT=$REPO/bench/IN_TRANSACTION.md
	CHOSEN=
	ARGS=()
	while [ $# -gt 0 ]; do
		case $1 in
		--quick | --peers-only) ARGS+=("$1") OUTPUT= ;;
		--only) ARGS+=("$1" "${2:?}") OUTPUT= && shift ;;
		--repeat) ARGS+=("$1" "${2:?}") && shift ;;
		--output) CHOSEN=${2:?} && shift ;;
		18) ;;
		*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 2 ;;
		esac
		shift
	done
	OUTPUT=${CHOSEN:-$OUTPUT}
	prepare_version "$VERSION"
	ensure_version_packages "$VERSION" "postgresql-$VERSION-pg-ivm"
	make_work
	inside bash "$WORK/src/bench/in_transaction.sh" --inner "${ARGS[@]}"
	if [ -n "$OUTPUT" ]; then
		cat "$OUTER_WORK/IN_TRANSACTION.md" >"$OUTPUT"
		say "written: $OUTPUT"
	else
		cat "$OUTER_WORK/IN_TRANSACTION.md"
	fi
	exit
fi

# ----------------------------------------------------------------------
# The inner half: contenders
# ----------------------------------------------------------------------

BENCH=$MVR_WORK/src/bench
OUT=$MVR_WORK/bench
SAMPLES=$OUT/samples
REPORT=$OUT/report
REPEAT=5
N=1000000
CHANGED=10000
BULK=100000
SECONDS_EACH=8 # of pgbench
PARTS=(rows bulk join groups)
OURS=(on_statement on_commit)

shift
while [ $# -gt 0 ]; do
	case $1 in
	--quick) N=100000 CHANGED=1000 BULK=10000 SECONDS_EACH=2 REPEAT=3 ;;
	--repeat) REPEAT=$2 && shift ;;
	--only) PARTS=("$2") && shift ;;
	--peers-only) OURS=() ;;
	esac
	shift
done

STATS='SELECT country, count(*) AS n, sum(age) AS total, avg(age) AS mean FROM users GROUP BY country'
DETAILS='SELECT o.id AS order_id, u.id AS user_id, p.id AS product_id, u.country, u.age,
	p.name AS product, o.quantity, o.quantity * p.price AS amount
	FROM orders o JOIN users u ON u.id = o.user_id JOIN products p ON p.id = o.product_id'
USER_ORDERS='SELECT user_id, count(*) AS n, sum(quantity) AS total, avg(quantity) AS mean FROM orders GROUP BY user_id'

# as CONTENDER COMMAND... -- in the schema of a contender
as() { PGOPTIONS="-c search_path=for_$1,public" "${@:2}"; }

# enter ORDERS CONTENDER... -- load the base tables of each, of that many orders
enter() {
	local c

	for c in "${@:2}"; do
		progress "loading tables of $N users and $1 orders for $c"
		sql -c "CREATE SCHEMA for_$c"
		as "$c" sql -v n="$N" -v orders="$1" -f "$BENCH/in_transaction.sql"
	done
}

# leave CONTENDER...
leave() {
	local c

	for c in "$@"; do
		sql -c "SET client_min_messages = warning" -c "DROP SCHEMA for_$c CASCADE"
	done
}

# keep CONTENDER VIEW QUERY KEY -- have a view that the contender keeps up to date
keep() {
	progress "$2 of $1"
	case $1 in
	none) ;;
	on_*)
		as "$1" sql -c "CREATE MATERIALIZED VIEW $2 AS $3" \
			-c "CREATE UNIQUE INDEX ON $2 ($4)" \
			-c "SELECT FROM matview.refresh_incremental('$2')" \
			-c "SELECT matview.set_auto_refresh('$2', '$1')" -c "VACUUM ANALYZE $2" >/dev/null
		;;
	# it makes an index on the key by itself
	pg_ivm)
		as "$1" sql -c "SET client_min_messages = warning" \
			-c "SELECT pgivm.create_immv('$2', \$\$$3\$\$)" -c "VACUUM ANALYZE $2" >/dev/null
		;;
	*) as "$1" sql -v variant="$1" -f "$BENCH/in_transaction_by_hand.sql" ;;
	esac
}

# verify VIEW QUERY COLUMNS CONTENDER... -- each must hold what its query says
verify() {
	local c wrong columns=$3

	for c in "${@:4}"; do
		[ "$c" != none ] || continue
		case $c in statement | row) columns="country, n, total, total::numeric / n" ;; esac
		wrong=$(as "$c" sql -c "WITH v AS MATERIALIZED (SELECT $columns FROM $1), q AS MATERIALIZED ($2)
			SELECT count(*) FROM ((TABLE v EXCEPT ALL TABLE q) UNION ALL (TABLE q EXCEPT ALL TABLE v)) d")
		[ "$wrong" = 0 ] || die "WRONG: $1 of $c differs from its query by $wrong rows"
	done
	progress "$1: all hold what the query says"
}

# clean CONTENDER... -- so that nobody measures what others have left
clean() {
	local c

	for c in "$@"; do
		sql -c "SELECT format('VACUUM %I.%I;', schemaname, relname) FROM pg_stat_user_tables
		         WHERE schemaname IN ('for_$c', 'matview')" | sql -f -
	done
	sql -c "CHECKPOINT"
}

# timed NAME CONTENDER STATEMENT -- until it is committed, in ms
timed() {
	printf '\\timing on\n%s;\n' "$3" | as "$2" sql >"$OUT/psql"
	awk -v name="$1.$2" '/^Time: / { printf "%s %.3f\n", name, $2 }' "$OUT/psql" >>"$SAMPLES"
}

# ----------------------------------------------------------------------
# Parts
# ----------------------------------------------------------------------

# pgbench_updates CONTENDER CLIENTS
pgbench_updates() {
	as "$1" pgbench -n -M prepared -T "$SECONDS_EACH" -c "$2" -j "$2" -D n="$N" \
		-f "$OUT/update.sql" >"$OUT/pgbench" 2>&1 || { cat "$OUT/pgbench" >&2 && die "pgbench failed for $1"; }
	grep -q '^number of failed transactions: 0 ' "$OUT/pgbench" ||
		{ cat "$OUT/pgbench" >&2 && die "transactions of $1 failed"; }
	awk -v name="rows_$2.$1" '/^tps = / { printf "%s %d\n", name, $3 }' "$OUT/pgbench" >>"$SAMPLES"
}

measure_rows() {
	local k c clients all=(none "${OURS[@]}" pg_ivm statement row)

	printf '\\set id random(1, :n)\nUPDATE users SET age = age + 1 WHERE id = :id;\n' >"$OUT/update.sql"
	enter 0 "${all[@]}"
	for c in "${all[@]}"; do
		keep "$c" stats "$STATS" country
	done
	for k in $(seq "$REPEAT"); do
		progress "single-row UPDATEs, repetition $k of $REPEAT"
		for c in "${all[@]}"; do
			for clients in 1 4; do
				clean "$c"
				pgbench_updates "$c" "$clients"
			done
		done
		# nobody is always the first
		all=("${all[@]:1}" "${all[0]}")
	done
	verify stats "$STATS" "country, n, total, mean" "${all[@]}"
	leave "${all[@]}"
}

report_rows() {
	local c clients suffix

	heading "Single-row UPDATEs under a 200-group aggregate"
	cat >>"$REPORT" <<-TEXT

		pgbench, prepared, $SECONDS_EACH seconds each: \`UPDATE users SET age = age + 1 WHERE id = :id\`
		of one of $N users; the view is \`$STATS\`.
		The triggers are PL/pgSQL that keeps a summary table, by statement (with transition tables)
		or by row (\`in_transaction_by_hand.sql\`).
	TEXT
	table
	for clients in 1 4; do
		for c in "${OURS[@]}"; do
			suffix=", $clients client$([ "$clients" = 1 ] || echo s)"
			TPS=1 row "$c$suffix" "rows_$clients.$c" "pg_ivm" "rows_$clients.pg_ivm" \
				"$([ "$c" = on_commit ] || { [ "$clients" = 1 ] && echo ">= 4" || echo ">= 10"; })"
			TPS=1 row "" "rows_$clients.$c" "statement trigger" "rows_$clients.statement" \
				"$([ "$c" = on_commit ] || echo ">= 0.6")"
			TPS=1 row "" "rows_$clients.$c" "row trigger" "rows_$clients.row" \
				"$([ "$c" = on_commit ] || echo ">= 0.6")"
			TPS=1 row "" "rows_$clients.$c" "no view" "rows_$clients.none" ""
		done
	done
}

measure_bulk() {
	local k c all=(none "${OURS[@]}" pg_ivm)

	enter 0 "${all[@]}"
	for c in "${all[@]}"; do
		keep "$c" stats "$STATS" country
	done
	# the first one warms every cache and is not counted
	for k in $(seq 0 $((10 * REPEAT))); do
		progress "INSERT of $BULK rows, repetition $k of $((10 * REPEAT))"
		for c in "${all[@]}"; do
			clean "$c"
			timed bulk "$c" "INSERT INTO users SELECT $((N + k * BULK)) + i, 'country ' || i % 200, i % 60
				FROM generate_series(1, $BULK) i"
		done
		[ "$k" != 0 ] || forget bulk
		all=("${all[@]:1}" "${all[0]}")
	done
	verify stats "$STATS" "country, n, total, mean" "${all[@]}"
	leave "${all[@]}"
	# the overhead is small beside what one repetition differs from the next: each
	# is compared with that of the same turn
	for c in "${OURS[@]}" pg_ivm; do
		awk -v c="$c" '
			$1 == "bulk.none" { none[++n] = $2 }
			$1 == "bulk." c { ours[++m] = $2 }
			END { for (k = 1; k <= m; k++) printf "bulk_overhead.%s %.3f\n", c, ours[k] - none[k] }' \
			"$SAMPLES" >"$OUT/overheads"
		cat "$OUT/overheads" >>"$SAMPLES"
	done
}

report_bulk() {
	local c

	heading "INSERT of $BULK rows under a 200-group aggregate"
	table
	for c in "${OURS[@]}"; do
		row "$c, statement and commit" "bulk.$c" "pg_ivm" bulk.pg_ivm ""
		row "" "bulk.$c" "no view" bulk.none ""
		row "$c, what that is more than without a view" "bulk_overhead.$c" "pg_ivm" bulk_overhead.pg_ivm "<= 0.5"
	done
}

measure_join() {
	local k c from all=(none "${OURS[@]}" pg_ivm)

	enter $((3 * N)) "${all[@]}"
	for c in "${all[@]}"; do
		keep "$c" details "$DETAILS" order_id
	done
	for k in $(seq 0 "$REPEAT"); do
		progress "UPDATE of $CHANGED rows, repetition $k of $REPEAT"
		from=$((k * CHANGED))
		for c in "${all[@]}"; do
			clean "$c"
			timed join_orders "$c" "UPDATE orders SET quantity = quantity + 1 WHERE id > $from AND id <= $((from + CHANGED))"
			timed join_users "$c" "UPDATE users SET age = age + 1 WHERE id > $from AND id <= $((from + CHANGED))"
		done
		[ "$k" != 0 ] || forget join
		all=("${all[@]:1}" "${all[0]}")
	done
	verify details "$DETAILS" "order_id, user_id, product_id, country, age, product, quantity, amount" "${all[@]}"
	leave "${all[@]}"
}

report_join() {
	local c

	heading "UPDATE of $CHANGED rows under a $((3 * N))-row join view"
	cat >>"$REPORT" <<-TEXT

		$((3 * N)) orders, $N users and 1000 products. An order is one row of the view, a user three.
		The time ends with the commit.
	TEXT
	table
	for c in "${OURS[@]}"; do
		row "$c, orders" "join_orders.$c" "pg_ivm" join_orders.pg_ivm "<= 0.5"
		row "" "join_orders.$c" "no view" join_orders.none ""
		row "$c, users" "join_users.$c" "pg_ivm" join_users.pg_ivm "<= 0.5"
		row "" "join_users.$c" "no view" join_users.none ""
	done
}

measure_groups() {
	local k c all=(none "${OURS[@]}" pg_ivm)

	enter $((3 * N)) "${all[@]}"
	for c in "${all[@]}"; do
		keep "$c" user_orders "$USER_ORDERS" user_id
	done
	for k in $(seq 0 "$REPEAT"); do
		progress "INSERT of $CHANGED rows, repetition $k of $REPEAT"
		for c in "${all[@]}"; do
			clean "$c"
			timed groups "$c" "INSERT INTO orders
				SELECT $((3 * N + k * CHANGED)) + i, 1 + (hashint4($((k * CHANGED)) - i) & 2147483647) % $N, 7, 1
				  FROM generate_series(1, $CHANGED) i"
		done
		[ "$k" != 0 ] || forget groups
		all=("${all[@]:1}" "${all[0]}")
	done
	verify user_orders "$USER_ORDERS" "user_id, n, total, mean" "${all[@]}"
	leave "${all[@]}"
}

report_groups() {
	local c

	heading "INSERT of $CHANGED rows under an aggregate of nearly $N groups"
	table
	for c in "${OURS[@]}"; do
		row "$c, statement and commit" "groups.$c" "pg_ivm" groups.pg_ivm ""
		row "" "groups.$c" "no view" groups.none ""
	done
}

# ----------------------------------------------------------------------
# All of it
# ----------------------------------------------------------------------

# forget CASE -- samples of the repetition that only warmed the caches
forget() {
	sed -i "/^$1/d" "$SAMPLES"
}

write_results() {
	cat <<-TEXT
		# What a view costs the writer that is up to date at once

		Written by \`bench/in_transaction.sh\` on $(date -u +%Y-%m-%d): all on one server in one run, in
		turn, each figure the median of $REPEAT repetitions or more. A ratio is ours to theirs: for
		times smaller is better, for throughput bigger. Each contender has base tables of its own.
		pg_ivm is $(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_ivm'").

		$(describe_server)
	TEXT
	cat "$REPORT"
	cat <<-TEXT

		## All measurements

		Times in ms, pgbench (rows) in transactions per second, at 1 client and at 4.

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
start_server "$OUT/server" "shared_preload_libraries = 'matview_refresh, pg_ivm'" \
	"shared_buffers = $(quarter_of_memory 2048)" "synchronous_commit = off" "autovacuum = off" \
	"max_wal_size = 16GB" "checkpoint_timeout = 1h" "work_mem = 64MB" "maintenance_work_mem = 256MB" || exit 1
sql -c "CREATE EXTENSION matview_refresh" -c "CREATE EXTENSION pg_ivm"
for part in "${PARTS[@]}"; do
	"measure_$part"
	[ ${#OURS[@]} = 0 ] || "report_$part"
done
write_results >"$MVR_WORK/IN_TRANSACTION.md"
progress "done"
