#!/bin/bash
#
# auto.sh -- what automatic refreshes cost, and how soon they come
#
#   bench/auto.sh [15|17|18] [--quick]
#
# On a private server, with the library preloaded:
#   latency    from the COMMIT of a single-row change to the commit of the
#              refreshed view with policy on_change: 100-group aggregate over
#              100,000 rows
#   idle       CPU time of all processes of ours with 200 policies, no writes
#   many       500 views scheduled every 5 s over a table that changes, two
#              workers: how long each waited for its turn
#   writers    single-row UPDATEs per second without a view, tracked, and
#              tracked with on_change
# Prints a table; needs a machine with nothing else to do.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

if [ "${1:-}" != --inner ]; then
	VERSION=
	QUICK=
	for arg; do
		case $arg in
		--quick) QUICK=--quick ;;
		15 | 17 | 18) VERSION=$arg ;;
		*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0" && exit 2 ;;
		esac
	done
	VERSION=${VERSION:-$(native_version)}
	prepare_version "$VERSION"
	make_work
	inside bash "$WORK/src/bench/auto.sh" --inner "$QUICK"
	exit
fi

[ "${2:-}" = --quick ] && PART=4 || PART=1
make_installation
build_extension "$MVR_WORK/build.log" || { tail "$MVR_WORK/build.log" && exit 1; }
start_server "$MVR_WORK/server" "shared_preload_libraries = 'matview_refresh'" \
	"max_worker_processes = 16" "shared_buffers = $(quarter_of_memory 1024)" "autovacuum = off" \
	"matview.max_workers = 2" "max_wal_size = 4GB" "checkpoint_timeout = 1h"

# our_nanoseconds -- CPU time of our background processes so far
our_nanoseconds() {
	local pid sum=0 spent

	for pid in $(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'matview%'"); do
		read -r spent _ <"/proc/$pid/schedstat" || continue
		sum=$((sum + spent))
	done
	echo "$sum"
}

wait_until() {
	local i

	for i in $(seq 600); do
		[ "$(sql -c "$1")" = t ] && return
		sleep 0.1
	done
	die "never true: $1"
}

say "PostgreSQL $(sql -c 'SHOW server_version'), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"

# ----------------------------------------------------------------------
sql <<'SQL'
CREATE EXTENSION matview_refresh;
CREATE TABLE base (id int PRIMARY KEY, k int, v int);
INSERT INTO base SELECT g, g % 100, 0 FROM generate_series(1, 100000) g;
VACUUM ANALYZE base;
CREATE MATERIALIZED VIEW latency AS SELECT k, count(*) AS n, sum(v) AS s FROM base GROUP BY k;
CREATE UNIQUE INDEX ON latency (k);
SELECT matview.set_auto_refresh('latency', 'on_change');
-- commits a change, then looks at the view until it shows; ms for each
CREATE PROCEDURE measure(times int) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
    wanted bigint;
    shown bigint;
BEGIN
    FOR i IN 1 .. times LOOP
        UPDATE base SET v = i WHERE id = 100;
        COMMIT;
        began := clock_timestamp();
        LOOP
            SELECT s INTO shown FROM latency WHERE k = 0;
            COMMIT;
            EXIT WHEN shown = i;
            PERFORM pg_sleep(0.0002);
        END LOOP;
        INSERT INTO results VALUES (1000 * extract(epoch FROM clock_timestamp() - began));
        COMMIT;
        PERFORM pg_sleep(0.12);
    END LOOP;
END $$;
CREATE TABLE results (ms float8);
SQL
wait_until "SELECT next_refresh = 'incremental' FROM matview.views WHERE view = 'latency'::regclass"
sql -c "CALL measure(20)"
sql -c "TRUNCATE results"
sql -c "CALL measure($((400 / PART)))"
say "latency: $(sql -c "SELECT format('median %s ms, p99 %s ms, longest %s ms, of %s commits',
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
	round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2), round(max(ms)::numeric, 2), count(*)) FROM results")"
sql -c "SELECT format('         the refresh itself: median %s ms', round((percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms))::numeric, 2))
	FROM matview.history WHERE view = 'latency'::regclass AND mode = 'incremental'"
[ "$(sql -c "SELECT missing + extra FROM matview.check('latency')")" = 0 ] || die "latency is wrong"

# ----------------------------------------------------------------------
echo "UPDATE base SET v = v + 1 WHERE id = 1 + (random() * 99999)::int;" >"$MVR_WORK/update.sql"
rate() {
	pgbench -n -T $((12 / PART)) -c 1 -f "$MVR_WORK/update.sql" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p'
}
sql -c "SET client_min_messages = warning; SELECT matview.set_auto_refresh('latency', 'off'), matview.untrack('latency')" >/dev/null
bare=$(rate)
sql -c "SELECT matview.refresh_incremental('latency')" >/dev/null
tracked=$(rate)
sql -c "SELECT matview.set_auto_refresh('latency', 'on_change')" >/dev/null
changed=$(rate)
say "writers: UPDATEs per second: $bare without capture, $tracked tracked, $changed with on_change"
wait_until "SELECT missing + extra = 0 FROM matview.check('latency')"

# ----------------------------------------------------------------------
sql -c "DO \$\$ BEGIN FOR i IN 1 .. 200 LOOP
	EXECUTE format('CREATE TABLE idle_base_%s (id int, k int)', i);
	EXECUTE format('CREATE MATERIALIZED VIEW idle_%s AS SELECT k, count(*) AS n FROM idle_base_%s GROUP BY k', i, i);
	PERFORM matview.set_auto_refresh(format('idle_%s', i), CASE i % 4 WHEN 0 THEN '10 seconds' WHEN 1 THEN '*/5 * * * *' ELSE 'on_change' END);
	END LOOP; END \$\$"
wait_until "SELECT count(*) = 150 FROM matview.views WHERE view::text LIKE 'idle%' AND last_attempt IS NOT NULL AND policy NOT LIKE '%*%'"
sleep 3
before=$(our_nanoseconds)
sleep $((60 / PART))
after=$(our_nanoseconds)
say "idle: $(awk -v t=$((after - before)) -v s=$((60 / PART)) 'BEGIN { printf "%.3f%% of one CPU with 200 policies (half on_change, a quarter every 10 s, a quarter cron) in %d s\n", t / 1e7 / s, s }')"

# ----------------------------------------------------------------------
sql -c "DO \$\$ BEGIN FOR i IN 1 .. 200 LOOP EXECUTE format('DROP TABLE idle_base_%s CASCADE', i); END LOOP; END \$\$" 2>/dev/null
sql -c "SELECT matview.set_auto_refresh('latency', 'off')" >/dev/null
sql -c "CREATE TABLE turns (view regclass, at timestamptz)"
sql -c "DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP
	EXECUTE format('CREATE MATERIALIZED VIEW many_%s AS SELECT k, count(*) AS n, sum(v) AS s FROM base WHERE k = %s GROUP BY k', i, i % 100);
	EXECUTE format('CREATE UNIQUE INDEX ON many_%s (k)', i);
	END LOOP; END \$\$"
sql -c "DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP PERFORM matview.set_auto_refresh(format('many_%s', i), '5 seconds'); END LOOP; END \$\$"
wait_until "SELECT count(*) = 500 FROM matview.views WHERE view::text LIKE 'many%' AND last_refresh IS NOT NULL"
sleep 12
pgbench -n -T $((40 / PART)) -R 50 -f "$MVR_WORK/update.sql" >/dev/null 2>&1 &
writer=$!
sleep 5
began=$(sql -c "SELECT now()")
for i in $(seq $((30 / PART))); do
	sql -c "INSERT INTO turns SELECT view, started FROM matview.policy_runs"
	sleep 1
done
wait "$writer" || true
say "many: $(sql -c "WITH gaps AS (SELECT at - lag(at) OVER (PARTITION BY view ORDER BY at) AS gap FROM (SELECT DISTINCT view, at FROM turns WHERE at > '$began') t)
	SELECT format('500 views every 5 s, 2 workers: from turn to turn median %s s, p99 %s s, longest %s s; %s turns',
	round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY gap))::numeric, 2),
	round(extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY gap))::numeric, 2),
	round(extract(epoch FROM max(gap))::numeric, 2), count(*)) FROM gaps WHERE gap IS NOT NULL")"
sql -c "SELECT format('      %s refreshes took %s ms each on average', round(max(value) FILTER (WHERE name = 'matview_refreshes_total')),
	round((1000 * max(value) FILTER (WHERE name = 'matview_refresh_seconds_total') / max(value) FILTER (WHERE name = 'matview_refreshes_total'))::numeric, 2)) FROM matview.metrics"
sleep 11
[ "$(sql -c "SELECT count(*) FROM matview.views v, matview.check(v.view) c WHERE v.policy IS NOT NULL AND c.missing + c.extra > 0")" = 0 ] || die "a view is wrong"
