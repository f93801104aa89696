#!/bin/bash
#
# measure.sh -- the inner half of ../tpch.sh
#
# Every measured time becomes a line "SCALE.CONTESTANT.VIEW milliseconds" in
# samples, or "SCALE.load milliseconds"; what is written is the median of such
# lines.  The mode of each of our refreshes goes to modes, as "SCALE.VIEW mode".

. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

TPCH=$MVR_WORK/src/bench/tpch
OUT=$MVR_WORK/bench
SAMPLES=$OUT/samples
MODES=$OUT/modes
SCALES=(0.1 1)
REPEAT=5

while [ $# -gt 0 ]; do
	case $1 in
	--scale) read -r -a SCALES <<<"$2" && shift ;;
	--repeat) REPEAT=$2 && shift ;;
	esac
	shift
done
# the largest comes last
LARGEST=${SCALES[-1]}

# timed NAME COMMAND... -- adds its time to the samples
timed() {
	local name=$1 since

	shift
	since=$(date +%s%N)
	"$@"
	echo "$name $((($(date +%s%N) - since) / 1000000))" >>"$SAMPLES"
}

load() {
	sql -f "$TPCH/schema.sql"
	sql -v sf="$1" -f "$TPCH/generate.sql"
	sql -f "$TPCH/load.sql"
	sql -f "$TPCH/keys.sql"
}

# The views twice: ours in schema public, for REFRESH in schema core
make_views() {
	local v

	sql -v sf="$1" -f "$TPCH/views.sql"
	sql -c "CREATE SCHEMA core"
	PGOPTIONS="-c search_path=core,public" sql -v sf="$1" -f "$TPCH/views.sql"
	sql -c "CREATE EXTENSION matview_refresh"
	mapfile -t VIEWS < <(sql -c "SELECT matviewname FROM pg_matviews WHERE schemaname = 'public' ORDER BY 1")
	for v in "${VIEWS[@]}"; do
		timed "$1.first.$v" sql -c "SELECT mode FROM matview.refresh_incremental('$v')" >/dev/null
	done
	sql -c "VACUUM (ANALYZE)" -c "CHECKPOINT"
}

# refresh_all SCALE CONTESTANT STATEMENT -- of each view, with %s for its name
refresh_all() {
	local v

	for v in "${VIEWS[@]}"; do
		# shellcheck disable=SC2059
		printf "\\\\echo @$1.$2.%s\n\\\\timing on\n$3;\n\\\\timing off\n" "$v" "$v"
	done | sql >"$OUT/psql"
	awk -v scale="$1" -v modes="$MODES" '
		/^@/ { name = substr($1, 2); view = name; sub(/.*\./, "", view) }
		/^Time: / { printf "%s %.3f\n", name, $2 }
		/^mode[|]/ { split($0, f, "|"); print scale "." view, f[2], f[3] >> modes }' "$OUT/psql" >>"$SAMPLES"
}

# compare SCALE -- what both hold, and by our own check
compare() {
	local v wrong

	for v in "${VIEWS[@]}"; do
		wrong=$(sql -c "SELECT (SELECT count(*) FROM (TABLE $v EXCEPT ALL TABLE core.$v) x) || '+'
		                    || (SELECT count(*) FROM (TABLE core.$v EXCEPT ALL TABLE $v) x)
		                    || (SELECT ', check: ' || missing || '+' || extra FROM matview.check('$v'))")
		[ "$wrong" = "0+0, check: 0+0" ] || die "WRONG: $v at scale factor $1: $wrong"
	done
}

measure_scale() {
	local sf=$1 k share kept=$OUT/kept

	share=$(awk -v a="$LARGEST" -v b="$sf" 'BEGIN { print 0.001 * a / b }')
	export PGDATABASE=tpch
	sql -d postgres -c "CREATE DATABASE tpch"
	progress "scale factor $sf: loading"
	timed "$sf.load" load "$sf"
	progress "scale factor $sf: creating and filling the views"
	make_views "$sf"
	# the first one warms every cache and is not counted
	for k in $(seq 0 "$REPEAT"); do
		progress "scale factor $sf: refresh streams, repetition $k of $REPEAT"
		[ "$k" != 0 ] || cp "$SAMPLES" "$kept"
		timed "$sf.streams" sql -c "CALL generate.rf1($((k + 1)), $share)" -c "CALL generate.rf2($((k + 1)), $share)"
		refresh_all "$sf" ours "SELECT 'mode', mode, rows_inserted + rows_updated + rows_deleted FROM matview.refresh_incremental('%s')"
		refresh_all "$sf" plain "REFRESH MATERIALIZED VIEW core.%s"
		[ "$k" != 0 ] || { mv "$kept" "$SAMPLES" && sed -i "/^$sf\./d" "$MODES"; }
	done
	progress "scale factor $sf: comparing"
	compare "$sf"
	sql -c "SELECT view, last_reason FROM matview.views ORDER BY view::text" \
		>"$OUT/reasons.$sf"
	PGDATABASE=postgres
	sql -c "DROP DATABASE tpch"
}

# ----------------------------------------------------------------------
# Writing the report
# ----------------------------------------------------------------------

# "VIEW MODE ROWS OURS PLAIN SMALL" for each view; SMALL is ours at the smallest
# scale, or "-" if there is but one
figures() {
	local v small

	for v in "${VIEWS[@]}"; do
		small=-
		[ ${#SCALES[@]} = 1 ] || small=$(median "${SCALES[0]}.ours.$v")
		echo "$v $(awk -v name="$LARGEST.$v" '
			$1 == name { n[$2]++; rows += $3; total++ }
			END { for (m in n) out = out (out ? "," : "") m; printf "%s %.0f", out, rows / total }' "$MODES")" \
			"$(median "$LARGEST.ours.$v") $(median "$LARGEST.plain.$v") $small"
	done
}

write_report() {
	cat <<-TEXT
		# TPC-H as materialized views

		Written by \`bench/tpch.sh\` on $(date -u +%Y-%m-%d): the 22 queries at scale factor $LARGEST, refreshed after one
		pair of the specification's refresh streams (0.1% of the orders new, 0.1% deleted, with their
		lineitems). All on one server in one run, each figure the median of $REPEAT repetitions; REFRESH is
		plain REFRESH MATERIALIZED VIEW of a view with the same query. After the last repetition both were
		equal, and \`matview.check\` found nothing.

		$(sql -c "SELECT regexp_replace(version(), ',.*', '')"), $(nproc) cores,
		$(awk '/^MemTotal/ { printf "%d", $2 / 1048576 }' /proc/meminfo) GB of memory. Settings:
		$(sql -c "SELECT string_agg('\`' || name || ' = ' || current_setting(name) || '\`', ', ' ORDER BY name)
		            FROM pg_settings WHERE name = ANY ('{autovacuum,checkpoint_timeout,fsync,jit,maintenance_work_mem,max_wal_size,shared_buffers,synchronous_commit,work_mem}')").

		![time of a refresh per view](tpch.svg)

	TEXT
	awk -v small="${SCALES[0]}" -v large="$LARGEST" -v several=$((${#SCALES[@]} > 1)) '
		function ms(x) { return x >= 1000 ? sprintf("%.2f s", x / 1000) : sprintf("%.2f ms", x) }
		function ratio(x) { return x < 0.5 ? sprintf("1/%.1f", 1 / x) : sprintf("%.2f", x) }
		function met(x) { return x ? "yes" : "**no**" }
		{
			ours += $4; plain += $5; logs += log($4 / $5)
			if ($2 ~ /^(incremental|none|incremental,none|none,incremental)$/) incremental++
			if ($4 > $5) slower = slower (slower ? ", " : "") $1
			if (several && $4 / $6 > 1.5) grows = grows (grows ? ", " : "") $1
			line[NR] = sprintf("| %s | %s | %d | %s | %s | %s |", $1, $2, $3, ms($4), ms($5), ratio($4 / $5))
			if (several) line[NR] = line[NR] sprintf(" %s | %.2f |", ms($6), $4 / $6)
		}
		END {
			print "| | | target | met |\n|---|--:|--:|---|"
			printf "| all views, ours to REFRESH (%s to %s) | %s | ≤ 1/20 | %s |\n", ms(ours), ms(plain), ratio(ours / plain), met(ours <= plain / 20)
			g = exp(logs / NR)
			printf "| geometric mean of the views | %s | ≤ 1/10 | %s |\n", ratio(g), met(g <= 0.1)
			printf "| views slower than their REFRESH | %s | none | %s |\n", slower ? slower : "none", met(!slower)
			printf "| views in mode incremental | %d of %d | all | %s |\n", incremental, NR, met(incremental == NR)
			if (several)
				printf "| views more than 1.5 × as slow as at scale factor %s | %s | none where indexes allow | %s |\n", small, grows ? grows : "none", met(!grows)
			printf "\n| view | mode | rows changed | ours | REFRESH | ratio |%s\n", several ? " ours at " small " | " large " to " small " |" : ""
			printf "|---|---|--:|--:|--:|--:|%s\n", several ? "--:|--:|" : ""
			for (i = 1; i <= NR; i++) print line[i]
		}' "$OUT/figures"
	if [ ${#SCALES[@]} -gt 1 ]; then
		cat <<-TEXT

			At scale factor ${SCALES[0]} the same number of orders came and went as at $LARGEST.
		TEXT
	fi
	awk 'FNR == NR { mode[$1] = $2; next }
		{ split($0, f, "|") }
		mode[f[1]] ~ /[^,]/ && mode[f[1]] !~ /^((incremental|none),?)+$/ {
			if (!n++) print "\n## Not incremental, and why\n\n| view | reason |\n|---|---|"
			printf "| %s | %s |\n", f[1], f[2]
		}' "$OUT/figures" "$OUT/reasons.$LARGEST"
	cat <<-TEXT

		## All measurements

		In ms: SCALE.ours.VIEW and SCALE.plain.VIEW are refreshes, SCALE.first.VIEW the first one, which fills
		the view, SCALE.streams the pair of refresh streams with capture of its changes.

		| | n | least | median | most |
		|---|--:|--:|--:|--:|
	TEXT
	summarize_samples
}

# Two bars per view, on a logarithmic scale; three with a smaller scale factor
write_chart() {
	awk -v small="${SCALES[0]}" -v large="$LARGEST" -v several=$((${#SCALES[@]} > 1)) -v version="$MVR_VERSION" '
		function x(ms) { return left + width * (log(ms < low ? low : ms) - log(low)) / (log(high) - log(low)) }
		function label(ms) { return ms >= 1000 ? ms / 1000 " s" : ms " ms" }
		function show(ms) { return ms >= 1000 ? sprintf("%.2f s", ms / 1000) : sprintf(ms < 10 ? "%.2f ms" : "%.0f ms", ms) }
		function bar(y, h, ms, class, title) {
			printf "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"><title>%s</title></rect>\n",
				class, left, y, x(ms) - left, h, title
		}
		function text(tx, ty, anchor, class, s) {
			printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">%s</text>\n", tx, ty, anchor, class, s
		}
		{ view[NR] = $1; ours[NR] = $4; plain[NR] = $5; little[NR] = $6; mode[NR] = $2 }
		END {
			low = 1e9; high = 0
			for (i = 1; i <= NR; i++) {
				if (ours[i] < low) low = ours[i]
				if (plain[i] < low) low = plain[i]
				if (several && little[i] < low) low = little[i]
				if (ours[i] > high) high = ours[i]
				if (plain[i] > high) high = plain[i]
			}
			low = 10 ^ int(log(low) / log(10) - (low < 1)); high = 10 ^ int(log(high) / log(10) + (high >= 1))
			left = 44; width = 640; top = 62; step = several ? 32 : 26; bottom = top + NR * step
			printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 780 %d\" font-family=\"sans-serif\" font-size=\"11\">\n", bottom + 30
			print "<style>.plain { fill: #b8b8b8 } .ours { fill: #336791 } .little { fill: #8fb4d4 } .grid { stroke: #e0e0e0 } .head { font-size: 14px; font-weight: bold } text { fill: #202020 } .dim { fill: #606060 }</style>"
			printf "<rect width=\"780\" height=\"%d\" fill=\"#ffffff\"/>\n", bottom + 30
			text(left, 20, "start", "head", "TPC-H, scale factor " large ": time of a refresh after refresh streams of 0.1%")
			printf "<rect class=\"plain\" x=\"%d\" y=\"32\" width=\"10\" height=\"10\"/>\n", left
			text(left + 15, 41, "start", "", "REFRESH MATERIALIZED VIEW")
			printf "<rect class=\"ours\" x=\"%d\" y=\"32\" width=\"10\" height=\"10\"/>\n", left + 190
			text(left + 205, 41, "start", "", "matview.refresh_incremental")
			if (several) {
				printf "<rect class=\"little\" x=\"%d\" y=\"32\" width=\"10\" height=\"10\"/>\n", left + 385
				text(left + 400, 41, "start", "", "the same change at scale factor " small)
			}
			for (t = low; t <= high * 1.01; t *= 10) {
				printf "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", x(t), x(t), top - 6, bottom
				text(x(t), bottom + 16, "middle", "dim", label(t))
			}
			h = several ? 8 : 9
			for (i = 1; i <= NR; i++) {
				y = top + (i - 1) * step
				text(left - 6, y + step / 2 + 1, "end", "", view[i])
				bar(y, h, plain[i], "plain", view[i] ", REFRESH: " show(plain[i]))
				bar(y + h, h, ours[i], "ours", view[i] ", " mode[i] ": " show(ours[i]))
				if (several) bar(y + 2 * h, h, little[i], "little", view[i] " at scale factor " small ": " show(little[i]))
				r = plain[i] / ours[i]
				text(x(ours[i] > plain[i] ? ours[i] : plain[i]) + 5, y + step / 2 + 1, "start", "dim", r >= 1.95 ? sprintf("%.0f ×", r) : sprintf("%.1f ×", r))
			}
			print "</svg>"
		}' "$OUT/figures"
}

mkdir -p "$OUT"
: >"$SAMPLES"
: >"$MODES"
make_installation
build_extension "$OUT/build.log" || { tail -n 40 "$OUT/build.log" >&2 && die "build failed"; }
start_server "$OUT/server" "shared_buffers = $(quarter_of_memory 4096)" \
	"synchronous_commit = off" "max_wal_size = 16GB" "checkpoint_timeout = 1h" \
	"work_mem = 64MB" "maintenance_work_mem = 256MB" "autovacuum = off" \
	"client_min_messages = warning" || exit 1
for scale in "${SCALES[@]}"; do
	measure_scale "$scale"
done
figures >"$OUT/figures"
write_report >"$MVR_WORK/TPCH.md"
write_chart >"$MVR_WORK/tpch.svg"
progress "done"
