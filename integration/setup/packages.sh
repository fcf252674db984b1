#!/bin/sh
# Installs what building and testing needs from the distribution's packages,
# unless it is there. Without arguments all of it; with arguments the programs
# named (see the list below). Quick when nothing is missing.
set -eu

# program:package on Debian and Ubuntu:what for
list="
runc:runc:containers
crun:crun:containers, the second runtime
script:bsdutils:the demo runs a terminal in it
busybox:busybox-static:the test containers' only program; must be static
containerd:containerd:tests under a real containerd
conmon:conmon:the benchmark's yardstick
protoc:protobuf-compiler:make proto and its drift check
gcc:gcc libc6-dev:the race detector
"

# have PROGRAM: is it there, and of the kind we need?
have() {
	command -v "$1" >/dev/null || return 1
	# A dynamic busybox would need libraries in the container's rootfs.
	[ "$1" != busybox ] || ! ldd "$(command -v busybox)" >/dev/null 2>&1
}

# packages PROGRAM: the packages that hold it; an unlisted program is its own package.
packages() { p=$(echo "$list" | awk -F: -v p="$1" '$1 == p {print $2}'); echo "${p:-$1}"; }

PATH=$PATH:/usr/sbin:/sbin
[ $# -gt 0 ] || set -- $(echo "$list" | cut -d: -f1)
missing= wanted=
for program; do
	have "$program" && continue
	missing="$missing $program"
	wanted="$wanted $(packages "$program")"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "packages: missing:$missing" >&2
	echo "packages: only Debian and Ubuntu are known here; install these by your distribution's means and try again" >&2
	exit 1
fi
root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "packages: missing:$missing; run as root to install$wanted" >&2; exit 1; }
	root=sudo
fi
echo "packages: installing$wanted" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted >"$log" 2>&1
}
# The lists on the machine may be missing or stale; only then are they fetched.
install || { $root apt-get update -q >"$log" 2>&1 && install; } || {
	cat "$log" >&2
	echo "packages: cannot install$wanted (above)" >&2
	exit 1
}
for program in $missing; do
	have "$program" || { echo "packages: $program is still missing after installing $(packages "$program")" >&2; exit 1; }
done
