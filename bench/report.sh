# shellcheck shell=bash
#
# report.sh -- tables of ours beside theirs, in Markdown; sourced, not run
#
# Figures are medians of SAMPLES (scripts/lib.sh); the tables go to REPORT.

# describe_server -- what the figures were measured on, as a paragraph
describe_server() {
	cat <<-TEXT
		$(sql -c "SELECT regexp_replace(version(), ',.*', '')"), $(nproc) cores,
		$(awk '/^MemTotal/ { printf "%d", $2 / 1048576 }' /proc/meminfo) GB of memory. Settings:
		$(sql -c "SELECT string_agg('\`' || name || ' = ' || current_setting(name) || '\`', ', ' ORDER BY name)
		            FROM pg_settings WHERE name = ANY ('{autovacuum,checkpoint_timeout,fsync,maintenance_work_mem,max_wal_size,shared_buffers,synchronous_commit,work_mem}')").
	TEXT
}

heading() {
	printf '\n## %s\n' "$1" >>"$REPORT"
}

table() {
	printf '\n| case | ours | compared with | theirs | ratio | target | met |\n' >>"$REPORT"
	printf '|---|--:|---|--:|--:|--:|---|\n' >>"$REPORT"
}

# row CASE OURS NAME THEIRS TARGET -- names of samples; TARGET like "<= 0.125"
# for the ratio of ours to theirs, or "" for none
row() {
	local ours theirs

	ours=$(median "$2")
	theirs=$(median "$4")
	awk -v title="$1" -v o="$ours" -v name="$3" -v t="$theirs" -v target="$5" -v tps="${TPS:-}" '
		function show(x) {
			if (tps) return sprintf("%d/s", x)
			return x >= 1000 ? sprintf("%.2f s", x / 1000) : sprintf("%.2f ms", x)
		}
		function small(x) { return x < 0.2 ? sprintf("1/%.1f", 1 / x) : sprintf("%.2f", x) }
		BEGIN {
			r = o / t
			met = ""
			if (target != "") {
				split(target, p, " ")
				met = (p[1] == "<=" ? r <= p[2] : r >= p[2]) ? "yes" : "**no**"
				target = (p[1] == "<=" ? "≤ " : "≥ ") small(p[2])
			}
			printf "| %s | %s | %s | %s | %s | %s | %s |\n",
				title, show(o), name, show(t), small(r), target, met
		}' >>"$REPORT"
}

# limit CASE SAMPLE LIMIT UNIT -- a figure with a bound of its own
limit() {
	local value

	value=$(median "$2")
	awk -v title="$1" -v v="$value" -v max="$3" -v unit="$4" '
		BEGIN {
			printf "| %s | %s %s | | | | ≤ %s %s | %s |\n", title,
				unit == "ms" ? sprintf("%.2f", v) : int(v), unit, max, unit,
				v <= max ? "yes" : "**no**"
		}' >>"$REPORT"
}
