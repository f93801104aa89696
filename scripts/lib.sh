# shellcheck shell=bash
#
# lib.sh -- what the commands of this directory share; sourced, not run
#
# Each command has two halves.  The outer half runs where the user is, as
# root or with sudo: it installs what is missing, copies the working tree
# into a private directory and enters it.  The inner half runs there as the
# unprivileged user postgres: it builds, starts servers and measures.
#
# (1) Nothing is installed into the machine's PostgreSQL.  The inner half
#     makes a private copy of its directories (PostgreSQL finds its files
#     relative to its own executable), so runs at the same time never see
#     each other's build, and an existing installation stays as it is.
# (2) A version that this machine's distribution does not package lives in a
#     folder of its own, with another Debian release in it, kept in
#     $MATVIEW_REFRESH_CACHE.  A stamp written last says that it is complete.
# (3) Servers listen on a Unix socket in their private directory only.  No
#     existing cluster is ever touched.
# (4) Run as root, the inner half has its own mounts and process ids: when it
#     ends, however it ends, its mounts and servers end with it.

set -euo pipefail
# an interrupted script still runs what it has put into its EXIT trap
trap 'exit 130' INT
trap 'exit 143' TERM HUP
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${MATVIEW_REFRESH_CACHE:-${HOME:-/root}/.cache/matview_refresh}

# Debian's release for each version; "native" ones come from this machine.
# 19 is not released yet: its packages are beside sid, in experimental.
declare -A RELEASE=([15]=bookworm [17]=trixie [18]=forky [19]=sid)
declare -A BESIDE=([19]=experimental)

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
die() {
	note "${0##*/}: $*"
	exit 2
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "needs root to run: $*"
	fi
}

# ----------------------------------------------------------------------
# Packages
# ----------------------------------------------------------------------

# apt ARGUMENTS... -- apt-get as root, by one of our commands at a time: apt
# itself waits for the lock of dpkg, but not for the one of its package lists
apt() {
	as_root flock /run/matview_refresh.apt.lock env "${APT[@]}" "$@" </dev/null >&2
}

APT=(DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600
	-o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false -o Dpkg::Use-Pty=0)

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# ensure_packages NAME... -- install what is missing on this machine
ensure_packages() {
	local p missing=()

	for p in "$@"; do
		is_installed "$p" || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || die "please install: ${missing[*]}"
	note "installing: ${missing[*]}"
	apt_install "${missing[@]}" 2>/dev/null || { apt update && apt_install "${missing[@]}"; } ||
		die "could not install: ${missing[*]}"
}

# The server package would create a cluster and start it, if not told else.
apt_install() {
	# shellcheck disable=SC2016
	as_root flock /run/matview_refresh.apt.lock sh -c '
		conf=/etc/postgresql-common/createcluster.d/matview_refresh.conf
		mkdir -p "${conf%/*}" && echo "create_main_cluster = false" >"$conf"
		env "$@"
		status=$?
		rm -f "$conf"
		exit $status' sh "${APT[@]}" install -y --no-install-recommends "$@" </dev/null >&2
}

# ----------------------------------------------------------------------
# A version of PostgreSQL: this machine's, or a folder with another Debian
# ----------------------------------------------------------------------

# packages_for VERSION -- NAME/SUITE for those that are not of the release
packages_for() {
	local p beside=${BESIDE[$1]:-}

	for p in "postgresql-$1" "postgresql-server-dev-$1" ${beside:+libpq5 libpq-dev libpgtypes3 libecpg6}; do
		echo "$p${beside:+/$beside}"
	done
	printf '%s\n' make gcc libc6-dev perl libipc-run-perl libdbd-pg-perl
}

codename() {
	sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# The version that scripts use when none is named.
native_version() {
	local v

	for v in "${!RELEASE[@]}"; do
		[ "${RELEASE[$v]}" != "$(codename)" ] || { echo "$v" && return; }
	done
	echo 15
}

is_native() {
	[ "${RELEASE[$1]}" = "$(codename)" ]
}

# prepare_version VERSION -- have it ready; sets ROOT, its root folder
prepare_version() {
	[ -n "${RELEASE[$1]:-}" ] || die "no recipe for PostgreSQL $1 (have: 15, 17, 18, 19)"
	if is_native "$1"; then
		local packages

		mapfile -t packages < <(packages_for "$1")
		ensure_packages "${packages[@]}"
		ROOT=/
	else
		[ "$(id -u)" = 0 ] || die "PostgreSQL $1 needs root here, for its Debian folder"
		ROOT=$CACHE/pg$1
		mkdir -p "$CACHE"
		# Others may be preparing the same folder.
		(flock 9 && prepare_folder "$1") 9>"$CACHE/pg$1.lock" ||
			die "could not prepare $ROOT"
	fi
}

# What the stamp of a complete folder says; another recipe completes it anew.
recipe() {
	echo "${RELEASE[$1]} $(packages_for "$1" | xargs)"
}

prepare_folder() {
	local stamp=$ROOT/.matview_refresh

	if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(recipe "$1")" ] && folder_works "$1"; then
		return 0
	fi
	# A folder that somebody began, or an older recipe: complete it if it can be.
	if [ -e "$ROOT/etc/debian_version" ] && [ ! -e "$ROOT/debootstrap" ]; then
		note "completing $ROOT"
		if complete_folder "$1" "$ROOT"; then
			return 0
		fi
		note "$ROOT is broken: making it anew"
	fi
	make_folder "$1"
}

folder_works() {
	# shellcheck disable=SC2016
	chroot "$ROOT" sh -c '
		/usr/lib/postgresql/$1/bin/postgres --version &&
		/usr/lib/postgresql/$1/bin/pg_config --pgxs &&
		id postgres && make --version && gcc --version &&
		perl -MIPC::Run -MDBD::Pg -MTest::More -e 1' sh "$1" >/dev/null 2>&1
}

# mirror -- where this machine has its Debian from
mirror() {
	local where

	# shellcheck disable=SC2016
	where=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $(codename)" 'Origin: Debian' |
		sed -n 1p)
	if [ -z "$where" ]; then
		apt update
		# shellcheck disable=SC2016
		where=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $(codename)" |
			sed -n 1p)
	fi
	[ -n "$where" ] || die "apt names no Debian archive on this machine"
	echo "$where"
}

# make_folder VERSION -- a new folder gets its name only when it is complete
make_folder() {
	local new release=${RELEASE[$1]} script=() old

	check_unmounted "$ROOT"
	ensure_packages debootstrap ca-certificates
	for old in "$ROOT".new.*; do
		[ ! -e "$old" ] || remove_folder "$old"
	done
	new=$(mktemp -d "$ROOT.new.XXXXXX")
	chmod 755 "$new"
	note "making $ROOT: Debian $release with PostgreSQL $1"
	[ -e "/usr/share/debootstrap/scripts/$release" ] ||
		script=(/usr/share/debootstrap/scripts/sid)
	# debootstrap leaves its mounts behind when it fails
	if ! (isolated debootstrap --variant=minbase --include=ca-certificates \
		"$release" "$new" "$(mirror)" "${script[@]}" >"$new.log" 2>&1 </dev/null); then
		tail -n 20 "$new.log" >&2
		remove_folder "$new"
		return 1
	fi
	if ! complete_folder "$1" "$new"; then
		remove_folder "$new"
		return 1
	fi
	[ ! -e "$ROOT" ] || remove_folder "$ROOT"
	mv "$new" "$ROOT"
	rm -f "$new.log"
}

# A folder with something mounted in it is in use, and deleting through a
# mount of /dev would delete the machine's own devices.
check_unmounted() {
	if grep -qF " $1/" /proc/self/mountinfo; then
		die "$1 has mounts in it; unmount them first, then try again"
	fi
}

remove_folder() {
	check_unmounted "$1"
	rm -rf --one-file-system "$1" "$1.log"
}

# complete_folder VERSION DIR -- install what is missing, then write the stamp
complete_folder() {
	local packages suite

	mapfile -t packages < <(packages_for "$1")
	cp -L /etc/resolv.conf "$2/etc/resolv.conf" 2>/dev/null || true
	for suite in "${RELEASE[$1]}" ${BESIDE[$1]:-}; do
		echo "deb $(mirror) $suite main"
	done >"$2/etc/apt/sources.list"
	mkdir -p "$2/etc/postgresql-common/createcluster.d" "$2/etc/dpkg/dpkg.cfg.d"
	echo 'create_main_cluster = false' \
		>"$2/etc/postgresql-common/createcluster.d/matview_refresh.conf"
	echo force-unsafe-io >"$2/etc/dpkg/dpkg.cfg.d/matview_refresh"
	# no service of a package starts in here
	printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
	chmod 755 "$2/usr/sbin/policy-rc.d"
	# shellcheck disable=SC2016
	in_folder "$2" sh -c '
		apt="apt-get -qq -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false -o Dpkg::Use-Pty=0"
		dpkg --configure -a &&
		$apt update &&
		$apt install -y --no-install-recommends "$@" &&
		apt-get clean' sh "${packages[@]}" >"$2.log" 2>&1 ||
		{ tail -n 20 "$2.log" >&2 && rm -f "$2.log" && return 1; }
	rm -f "$2.log"
	ROOT=$2 folder_works "$1" || return 1
	recipe "$1" >"$2/.matview_refresh"
}

# ensure_version_packages VERSION NAME... -- install what is missing where that
# version is: on this machine, or in its folder, whose packages others may be
# changing
ensure_version_packages() {
	if is_native "$1"; then
		ensure_packages "${@:2}"
	else
		(flock 9 && install_in_folder "${@:2}") 9>"$CACHE/pg$1.lock" ||
			die "could not install in $ROOT: ${*:2}"
	fi
}

install_in_folder() {
	chroot "$ROOT" dpkg-query -W "$@" >/dev/null 2>&1 && return
	note "installing in $ROOT: $*"
	# shellcheck disable=SC2016
	in_folder "$ROOT" sh -c '
		apt="apt-get -qq -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false -o Dpkg::Use-Pty=0"
		$apt update && $apt install -y --no-install-recommends "$@" && apt-get clean' sh "$@" >&2
}

# isolated COMMAND... -- become a command with mounts and process ids of its
# own, which end with this script
#
# Where "/" is no mount point, in a chroot, what is mounted may show outside
# until the command ends.  Where the right to unshare is missing, as in a
# container, we do without; then the command has at least its own process
# group, and stops its servers itself.
isolated() {
	local unshare=(setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child)

	if "${unshare[@]}" --propagation private true 2>/dev/null; then
		exec "${unshare[@]}" --propagation private "$@"
	elif "${unshare[@]}" --propagation unchanged true 2>/dev/null; then
		exec "${unshare[@]}" --propagation unchanged "$@"
	fi
	[ "$ROOT" = / ] || die "needs the right to mount, for $ROOT"
	exec setsid "$@"
}

# in_folder DIR COMMAND... -- as root, with /dev and /proc mounted for the
# command alone
in_folder() {
	# shellcheck disable=SC2016
	(isolated bash -c '
		mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" &&
		exec chroot "$@"' bash "$@" </dev/null)
}

# ----------------------------------------------------------------------
# The outer half: a private copy of the working tree, and the way in
# ----------------------------------------------------------------------

# make_work -- copy the working tree into a private directory
#
# Sets OUTER_WORK and WORK, the directory as seen from outside and from
# inside; the tree is in its src.  It goes when the script ends, unless
# the script has set KEEP.
make_work() {
	local tmp=${TMPDIR:-/tmp}

	[ "$ROOT" = / ] || tmp=$ROOT/tmp
	OUTER_WORK=$(mktemp -d "$tmp/matview_refresh.XXXXXX")
	trap remove_work EXIT
	WORK=${OUTER_WORK#"${ROOT%/}"}
	mkdir "$OUTER_WORK/src"
	copy_tree "$OUTER_WORK/src"
	[ "$(id -u)" != 0 ] ||
		chroot "$ROOT" chown -R postgres:postgres "$WORK"
}

remove_work() {
	if [ -n "${INSIDE:-}" ]; then
		kill -TERM -- "-$INSIDE" 2>/dev/null || kill -KILL "$INSIDE" 2>/dev/null || true
		wait "$INSIDE" 2>/dev/null || true
	fi
	if [ -n "${KEEP:-}" ]; then
		note "kept: $OUTER_WORK"
	else
		rm -rf --one-file-system "$OUTER_WORK"
	fi
}

# What git would commit, changed or new: no leftovers of another build.
copy_tree() {
	local files=$1/../files f

	if git -C "$REPO" -c safe.directory='*' ls-files -z --cached --others \
		--exclude-standard >"$files" 2>/dev/null && [ -s "$files" ]; then
		while IFS= read -r -d '' f; do
			[ ! -e "$REPO/$f" ] || printf '%s\0' "$f"
		done <"$files" | tar -C "$REPO" --null -T - -cf - | tar -C "$1" --no-same-owner -xf -
	else
		tar -C "$REPO" --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
			-cf - . | tar -C "$1" --no-same-owner -xf -
	fi
	rm -f "$files"
}

# inside COMMAND... -- run in WORK's root folder, as postgres
#
# Nothing of the caller's environment comes along but what is listed here.
inside() {
	local env=(env -i "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" "HOME=$WORK"
		"LC_ALL=C.UTF-8" "TERM=${TERM:-dumb}" "MVR_WORK=$WORK" "MVR_VERSION=$VERSION")
	local v

	for v in CI PG_TEST_NOCLEAN PG_TEST_TIMEOUT_DEFAULT PROVE_FLAGS MATVIEW_REFRESH_TIMEOUT \
		MVR_RANDOM_SECONDS MVR_LOAD_SECONDS MVR_SEED MVR_REPLAY MVR_SHRINK MVR_KEEP MVR_CYCLES; do
		[ -z "${!v:-}" ] || env+=("$v=${!v}")
	done
	# In the background, so that a signal to this script is not kept waiting.
	if [ "$(id -u)" != 0 ]; then
		(cd "$WORK" && exec setsid "${env[@]}" "$@" </dev/null) &
	else
		# shellcheck disable=SC2016
		isolated bash -c '
			signal=TERM
			if [ $$ = 1 ]; then
				signal=KILL
				mount -t proc proc "${1%/}/proc" || exit
			fi
			[ "$1" = / ] || mount --rbind /dev "$1/dev" || exit
			exec chroot "$1" setpriv --pdeathsig "$signal" \
				--reuid postgres --regid postgres --init-groups "${@:2}"' \
			bash "$ROOT" "${env[@]}" sh -c 'cd "$MVR_WORK" && exec "$@"' sh "$@" </dev/null &
	fi
	INSIDE=$!
	wait "$INSIDE"
}

# ----------------------------------------------------------------------
# The inner half: a private installation, a private server
# ----------------------------------------------------------------------

# make_installation -- copy PostgreSQL's directories under WORK
#
# Executables are copied, because each finds the installation it belongs to
# by its own real path; the rest are links.  Sets BINDIR.
make_installation() {
	local v=$MVR_VERSION usr=$MVR_WORK/usr

	mkdir -p "$usr/lib/postgresql/$v" "$usr/share/postgresql" "$usr/include"
	cp -a "/usr/lib/postgresql/$v/bin" "$usr/lib/postgresql/$v/"
	cp -as "/usr/lib/postgresql/$v/lib" "$usr/lib/postgresql/$v/"
	cp -as "/usr/share/postgresql/$v" "$usr/share/postgresql/"
	ln -s /usr/include/postgresql "$usr/include/postgresql"
	rm -rf "$usr/lib/postgresql/$v/lib"/matview_refresh.so \
		"$usr/lib/postgresql/$v/lib"/bitcode/matview_refresh* \
		"$usr/share/postgresql/$v/extension"/matview_refresh*
	BINDIR=$usr/lib/postgresql/$v/bin
	export PATH=$BINDIR:$PATH
	# the point of it all: never install into the machine's own directories
	case $(pg_config --pkglibdir) in
	"$usr"/*) ;;
	*) die "PostgreSQL $v does not find its copy in $usr" ;;
	esac
}

# build_extension LOG -- build and install into the private installation
#
# A warning is an error, in our code as in what the Makefile adds later.  The
# bitcode for JIT is left out: it takes longer than all the rest.
build_extension() {
	make -C "$MVR_WORK/src" -j2 PG_CONFIG="$BINDIR/pg_config" COPT=-Werror with_llvm=no all >"$1" 2>&1 &&
		make -C "$MVR_WORK/src" PG_CONFIG="$BINDIR/pg_config" COPT=-Werror with_llvm=no install >>"$1" 2>&1
}

# start_server DIR [SETTING...] -- a private server in DIR
#
# Sets PGHOST and the like for clients, SERVER_PID and SERVER_LOG.
#
# No TCP port is opened, so the port is but part of the socket's name and
# cannot be taken.
start_server() {
	local dir=$1 pid

	shift
	mkdir -p "$dir/socket"
	initdb -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C -N >"$dir/initdb.log" 2>&1 ||
		{ cat "$dir/initdb.log" >&2 && return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir/socket'"
		echo "port = 5432"
		printf '%s\n' "$@"
	} >>"$dir/data/postgresql.conf"
	SERVER_LOG=$dir/server.log
	trap stop_server EXIT
	export PGHOST=$dir/socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	pg_ctl -D "$dir/data" -l "$SERVER_LOG" -w -t 60 -s start ||
		{ tail -n 30 "$SERVER_LOG" >&2 && return 1; }
	pid=$(sed -n 1p "$dir/data/postmaster.pid")
	SERVER_PID=$pid
}

is_server_running() {
	[ -n "${SERVER_PID:-}" ] && kill -0 "$SERVER_PID" 2>/dev/null
}

# stop_server -- stop what start_server started, by its process id
stop_server() {
	local i

	is_server_running || return 0
	kill -INT "$SERVER_PID" 2>/dev/null || true
	for i in $(seq 100); do
		is_server_running || break
		[ "$i" != 80 ] || kill -QUIT "$SERVER_PID" 2>/dev/null || true
		sleep 0.1
	done
	SERVER_PID=
}

# ----------------------------------------------------------------------
# Measuring, in the inner half
# ----------------------------------------------------------------------

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# quarter_of_memory MAX -- for shared_buffers; MAX in MB
quarter_of_memory() {
	awk -v max="$1" '/^MemTotal/ { m = $2 / 4096; print int(m > max ? max : m) "MB" }' \
		/proc/meminfo
}

progress() { note "$(printf '[%4d s] %s' "$SECONDS" "$*")"; }

# median NAME -- of the figures under this name in SAMPLES, a file of lines
# "NAME FIGURE"
median() {
	awk -v name="$1" '$1 == name { print $2 }' "$SAMPLES" | sort -g |
		awk '{ v[NR] = $1 } END {
			if (NR == 0) exit 1
			printf "%.3f\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# summarize_samples -- all of SAMPLES, as rows of a table
summarize_samples() {
	sort -k 1,1 -k 2,2g "$SAMPLES" | awk '
		function flush() {
			if (n) printf "| %s | %d | %s | %s | %s |\n", name, n, v[1],
				n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2, v[n]
			n = 0
		}
		$1 != name { flush(); name = $1 }
		{ v[++n] = $2 }
		END { flush() }'
}

# start_reader DIR QUERY -- run a query 500 times a second until stop_reader
start_reader() {
	READER_DIR=$1/reader
	rm -rf "$READER_DIR"
	mkdir -p "$READER_DIR"
	echo "$2;" >"$READER_DIR/query.sql"
	PGAPPNAME=reader pgbench -n -T 36000 -R 500 -l --log-prefix="$READER_DIR/log" \
		-f "$READER_DIR/query.sql" >"$READER_DIR/out" 2>&1 &
	READER=$!
	until [ "$(sql -c "SELECT count(*) FROM pg_stat_activity
	                    WHERE application_name = 'reader' AND query LIKE 'SELECT %'")" = 1 ]; do
		kill -0 "$READER" 2>/dev/null || { cat "$READER_DIR/out" >&2 && die "no reader"; }
		sleep 0.1
	done
	sleep 0.1
}

# stop_reader SINCE -- sets LONGEST_WAIT, in ms, of those that ended after SINCE
#
# A wait counts from the moment the query's turn came, so one that queued
# behind another that had to wait counts in full.
stop_reader() {
	sleep 0.1
	# what pgbench's own clock sends when the time is up
	kill -ALRM "$READER"
	wait "$READER" || { cat "$READER_DIR/out" >&2 && die "the reader failed"; }
	export LONGEST_WAIT
	LONGEST_WAIT=$(cat "$READER_DIR"/log* | awk -v since="$1" '
		$5 + $6 / 1e6 >= since && $3 > longest { longest = $3 }
		END { if (NR == 0) exit 1; printf "%.3f\n", longest / 1000 }')
}
