#!/bin/sh
# The point of it all in a minute, on real containers: run as `make demo`, as
# root. Every step shows the command and what came of it; a step whose result is
# not what it should be ends the demo with an error. Nothing is left behind but
# the root file system, .cache/rootfs.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
PATH=$(cd "$here/../.." && pwd)/bin:$PATH
dir=$(mktemp -d /tmp/holdfast-demo.XXXXXX)
export PATH HOLDFAST_ROOT="$dir/state" TERM="${TERM:-xterm}"
bold= plain=
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi

clean() {
	holdfast ps -aq | xargs -r holdfast rm -f >/dev/null || true
	cd /
	if grep -q " $dir" /proc/self/mountinfo; then
		echo "demo: something is still mounted below $dir, so it is left there" >&2
	else
		rm -rf "$dir"
	fi
}
trap clean EXIT
trap 'exit 130' INT TERM

say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
# show COMMAND...: prints it as one would type it, and runs it.
show() {
	line=
	for arg; do
		case $arg in *[!A-Za-z0-9_/.:=-]* | '') arg="'$arg'" ;; esac
		line="$line $arg"
	done
	printf '%s$%s%s\n' "$bold" "$line" "$plain"
	"$@"
}
fail() { echo "demo: $*" >&2; exit 1; }
# eventually COMMAND...: waits, a few seconds at most, until it succeeds.
eventually() {
	tries=100
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "$* did not come true"
		sleep 0.1
	done
}
# counted ID N: has the container counted to N or further?
counted() { [ "$(holdfast logs -n 1 "$1")" -ge "$2" ]; }
# shim ID: the pid of the container's shim.
shim() { holdfast inspect --json "$1" | sed 's/.*"shim":{"pid":\([0-9]*\).*/\1/'; }
# parent PID: the pid of its parent.
parent() { awk '/^PPid:/ {print $2}' "/proc/$1/status"; }

say "a root file system of one program"
# It stays, for the README's commands; what runs here only reads it.
mkdir -p "$here/../../.cache"
cd "$here/../../.cache"
root=rootfs
mkdir -p "$root/bin" "$root/tmp" "$root/proc" "$root/dev" "$root/sys" "$root/etc"
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
	[ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
done
ls "$root" | xargs
show holdfast version

criu=$("$here/../setup/criu.sh") || criu=
[ -z "$criu" ] || export HOLDFAST_CRIU_DIR="$criu"

say "three containers, each under a shim of its own; no daemon"
show holdfast run -d --rootfs "$root" --label tier=front web /bin/sh -c 'while :; do sleep 1; done'
show holdfast run -d --rootfs "$root" count /bin/sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'
show holdfast run -d --rootfs "$root" job /bin/sh -c 'echo done; exit 7'
show holdfast ps -a
say "the exit status of the third waits for whoever asks"
status=0
show holdfast wait job || status=$?
[ $status = 7 ] || fail "wait exited $status, not 7"

say "a further process in a running container"
show holdfast exec --env GREETING=hello web /bin/sh -c 'echo "$GREETING from $(hostname), pid $$"; ps'

say "and one with a terminal, 100 columns wide"
script -qec "stty cols 100 rows 30; holdfast exec -t web /bin/sh -c 'tty; stty size'" /dev/null </dev/null | tee "$dir/tty"
grep -q '30 100' "$dir/tty" || fail "the terminal has another size"

say "kill -9 of the holdfast that runs a container in the foreground"
holdfast run --rootfs "$root" fore /bin/sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done' >"$dir/fore" 2>&1 &
manager=$!
eventually grep -q 3 "$dir/fore"
show kill -9 $manager
wait $manager 2>/dev/null || true
pid=$(shim fore)
echo "its shim, pid $pid, lives on, now a child of process $(parent "$pid"); and so does the container:"
show holdfast ps
said=$(wc -l <"$dir/fore")
say "another holdfast connects: the count has gone on meanwhile"
eventually counted fore $((said + 5))
show holdfast logs -n 3 fore
show holdfast exec fore /bin/echo "still at your service"

if [ -n "$criu" ]; then
	say "checkpoint: a process becomes files, restore: it goes on where it was"
	eventually counted count 5
	show holdfast checkpoint count "$dir/image"
	before=$(holdfast logs -n 1 count)
	show holdfast ps -a
	du -sh "$dir/image"
	show holdfast restore -d count "$dir/image"
	eventually counted count $((before + 5))
	echo "it had counted to $before, and went on:"
	show holdfast logs -n 5 count
else
	say "checkpoint and restore are left out: no criu for this kernel (above)"
fi

say "what happened, in order"
show holdfast events | sed 's/^[^ ]*T//'

say "gone, and nothing left"
show holdfast rm -f web count job fore
show holdfast ps -a
eventually sh -c "! pgrep -f -- '[-]bundle $dir/state'"
echo "no shim, no mount, no process of them is left"
