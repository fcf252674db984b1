#!/bin/sh
# Finds a criu that works on the running kernel and prints the folder to put in
# PATH (or to give as the criu folder to holdfast). The distribution's own is
# taken if its `criu check` passes; else one from a newer suite is unpacked into
# .cache by fetch.sh. Nothing is installed and nothing is written outside .cache.
#
# The folder holds one program, a wrapper. It also gives criu a configuration:
# without iptables criu cannot lock the network while it dumps, so it is told not
# to. CRIU_CONFIG_FILE is read for every verb, also for the RPC mode in which runc
# and crun run criu; /etc/criu/runc.conf would do the same for the whole machine.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$here/../.." && pwd)/.cache/criu

# works PROGRAM: reports whether criu can dump and restore on this kernel.
# Needs root; what it says is kept for the error message.
works() { "$1" check >"$dir/check.log" 2>&1; }

# adopt PROGRAM: makes the wrapper for it, keeps it only if it works.
adopt() {
	: >"$dir/criu.conf"
	command -v iptables-restore >/dev/null || echo network-lock skip >"$dir/criu.conf"
	printf '#!/bin/sh\nCRIU_CONFIG_FILE=%s exec %s "$@"\n' "'$dir/criu.conf'" "'$1'" >"$dir/bin/criu.new"
	chmod 755 "$dir/bin/criu.new"
	works "$dir/bin/criu.new" || { rm -f "$dir/bin/criu.new"; return 1; }
	mv "$dir/bin/criu.new" "$dir/bin/criu" # by rename: another run may be using it
	echo "$dir/bin"
}

[ "$(id -u)" = 0 ] || { echo "criu: must be root: checkpoints need it, and so does criu check" >&2; exit 1; }
mkdir -p "$dir/bin"
if [ -x "$dir/bin/criu" ] && works "$dir/bin/criu"; then
	echo "$dir/bin"
	exit 0
fi
reason="none is installed"
if own=$(command -v criu); then
	adopt "$own" && exit 0
	reason="$("$own" --version | head -n 1) fails criu check on Linux $(uname -r)"
fi
echo "criu: $reason; trying newer suites" >&2

# Newest first. A suite this mirror does not have is passed over.
suites="sid testing stable"
case $(. /etc/os-release 2>/dev/null && echo "${ID:-}") in ubuntu) suites=devel ;; esac
for suite in $suites; do
	if bin=$("$here/fetch.sh" -s "$suite" "criu-$suite" criu); then
		adopt "$bin/criu" && exit 0
		echo "criu: the one of $suite fails criu check too:" >&2
		cat "$dir/check.log" >&2
	fi
done
echo "criu: no criu works here: $reason, and no newer one could be had (above); checkpoint and restore cannot run" >&2
exit 1
