#!/bin/sh
# Brings programs of a newer suite of this machine's own distribution into a
# private folder, without installing anything: nothing outside the checkout's
# .cache is written.
#
#   fetch.sh [-p] [-s SUITE] NAME PACKAGE...
#
# The packages and all they depend on, down to libc, are unpacked into
# .cache/NAME/root; .cache/NAME/bin gets the programs of the named packages, each
# as a wrapper that runs it on the libraries it came with. Prints that bin folder.
# A second call finds everything there and is done at once.
#
# A program that runs itself again through /proc/self/exe, as runc does, finds the
# loader there and not itself. For such, -p writes the way to the libraries into
# the program instead (with patchelf, which is installed if need be).
#
# The mirror is the one this machine is configured for; only the suite is
# another (sid on Debian, devel on Ubuntu, unless -s says which).
set -eu

die() { echo "fetch: $*" >&2; exit 1; }

suite= patch=
while getopts ps: opt; do
	case $opt in p) patch=1 ;; s) suite=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || { echo "usage: fetch.sh [-p] [-s SUITE] NAME PACKAGE..." >&2; exit 2; }
name=$1; shift

if [ -z "$suite" ]; then
	distro=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || distro=
	case $distro in
	*ubuntu*) suite=devel ;;
	*debian*) suite=sid ;;
	*) die "cannot fetch $*: only Debian and Ubuntu are known; install it by hand and put it in PATH" ;;
	esac
fi
command -v apt-get >/dev/null || die "cannot fetch $*: apt-get is missing"

cache=$(cd "$(dirname "$0")/../.." && pwd)/.cache
dest=$cache/$name
wanted="$suite $dest $patch $*" # the wrappers hold absolute paths, so the place counts too
[ -z "$patch" ] || "$(dirname "$0")/packages.sh" patchelf
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # two runs of make must not unpack into each other
if [ "$(cat "$dest/complete" 2>/dev/null)" = "$wanted" ]; then
	echo "$dest/bin"
	exit 0
fi

apt=$cache/apt/$suite
mkdir -p "$apt/sources" "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/none/partial"
: >"$apt/status" # nothing is installed, says this file; so apt resolves the whole closure

# private PROGRAM ARGS...: an apt program that sees only our folders.
private() {
	program=$1; shift
	"$program" -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$apt/sources" \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$apt/none" \
		-o Dir::State="$apt/state" -o Dir::State::Status="$apt/status" \
		-o Dir::State::extended_states="$apt/extended" -o Dir::Log="$apt" \
		-o Dir::Cache="$apt/cache" -o Dir::Cache::Archives="$apt/cache/archives" \
		-o APT::Sandbox::User=root -o APT::Default-Release= -o APT::Install-Recommends=false \
		-o APT::Keep-Downloaded-Packages=true -o Acquire::Languages=none -o Acquire::Retries=3 \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o APT::Update::Post-Invoke::= -o APT::Update::Post-Invoke-Success::= "$@"
}

# The machine's own sources with the suite replaced. Main archive only: updates
# and security have suites of their own (NAME-updates, NAME/updates).
# Signed-By stays, so signatures are checked against the same key as ever.
rm -f "$apt/sources"/*
for f in /etc/apt/sources.list.d/*.sources; do
	[ -f "$f" ] && awk -v suite="$suite" -f "$(dirname "$0")/sources.awk" "$f"
done >"$apt/sources/own.sources"
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
	[ -f "$f" ] && sed -nE "s#^[[:space:]]*deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]]+[a-z]+[[:space:]]+(.*\bmain\b.*)#deb \1\2 $suite \3#p" "$f"
done >"$apt/sources/own.list"
[ -s "$apt/sources/own.sources" ] || [ -s "$apt/sources/own.list" ] ||
	die "no package source for the main archive in /etc/apt to take $suite from"

echo "fetch: $* from $suite" >&2
# A third party's source may lack the suite; what counts is whether the packages resolve.
private apt-get update >"$apt/update.log" 2>&1 || true
# Asked with an empty cache, because what is in the cache is left out of the list.
private apt-get install --yes --print-uris -o Dir::Cache::Archives="$apt/none" "$@" >"$apt/uris" 2>"$apt/resolve.log" ||
	{ cat "$apt/update.log" "$apt/resolve.log" >&2; die "cannot resolve $* in $suite of this machine's mirror"; }
private apt-get install --yes --download-only "$@" >"$apt/download.log" 2>&1 ||
	{ cat "$apt/download.log" >&2; die "cannot download $* from $suite of this machine's mirror"; }

rm -rf "$dest"
mkdir -p "$dest/root" "$dest/bin"
awk '{print $2}' "$apt/uris" | while read -r deb; do
	dpkg -x "$apt/cache/archives/$deb" "$dest/root" || exit 1
done || die "cannot unpack the packages for $*"

loader=$(find "$dest/root" \( -name 'ld-linux*.so.*' -o -name 'ld64.so.*' \) | head -n 1)
libc=$(find "$dest/root" -name libc.so.6 | head -n 1)
[ -n "$loader" ] && [ -n "$libc" ] || die "$* brought no C library along"
libs=$(dirname "$libc"):$dest/root/lib/$(basename "$(dirname "$libc")")

# place PROGRAM: puts it, made to run on its own libraries, into bin.
place() {
	to=$dest/bin/${1##*/}
	if ldd "$1" 2>&1 | grep -qE 'not a dynamic|statically linked'; then
		ln -s "$1" "$to" # needs no libraries
	elif [ -n "$patch" ]; then
		patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libs" "$1" && ln -s "$1" "$to"
	else
		printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "'$loader'" "'$libs'" "'$1'" >"$to" && chmod 755 "$to"
	fi
}
for package; do
	dpkg -c "$apt/cache/archives/$(awk '{print $2}' "$apt/uris" | grep "^${package}_")" |
		awk '$1 ~ /^-..x/ && $6 ~ /\/s?bin\/[^\/]+$/ {print $6}'
done | while read -r program; do
	program=$dest/root/${program#./}
	case $(head -c 4 "$program" | od -An -tx1 | tr -d ' ') in
	7f454c46) place "$program" ;; # ELF; scripts are left where they are
	esac
done
ls "$dest/bin" | grep -q . || die "$* holds no program"
echo "$wanted" >"$dest/complete"
echo "$dest/bin"
