package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
	"golang.org/x/sys/unix"
)

// TestRefusals are the things that cannot be had: each is one line that names
// what is wrong, and leaves nothing behind (the world checks that).
func TestRefusals(t *testing.T) {
	for _, r := range refusals() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := harness.New(t, "runc")
			code := r.code
			if code == 0 {
				code = 125
			}
			w.Refused(code, r.words, r.args(t, w)...)
		})
	}
}

type refusal struct {
	name  string
	code  int      // 125 if 0
	words []string // what the one line must mention
	args  func(t *testing.T, w *harness.World) []string
}

func refusals() []refusal {
	// with returns a run of /bin/true with flags before the id.
	with := func(id string, flags ...string) func(*testing.T, *harness.World) []string {
		return func(_ *testing.T, w *harness.World) []string {
			args := append([]string{"run"}, flags...)
			return append(args, "--rootfs", w.Rootfs("root"), id, "/bin/true")
		}
	}
	return []refusal{
		{name: "an id that leaves the directory", words: []string{"../x"}, args: with("../x")},
		{name: "an id with a slash", words: []string{"a/b"}, args: with("a/b")},
		{name: "an id of 200 characters", words: []string{"200"}, args: with(strings.Repeat("x", 200))},
		{name: "an empty id", words: []string{"ID"}, args: with("")},
		{name: "a namespace that leaves the directory", words: []string{"../x"}, args: with("y", "--namespace", "../x")},
		{name: "a runtime that is not there", words: []string{"/nowhere/runc"}, args: with("x", "--runtime", "/nowhere/runc")},
		{name: "a shim that is not there", words: []string{"/nowhere/shim"}, args: with("x", "--shim", "/nowhere/shim")},
		{name: "a shim that is no program", words: []string{"/etc/passwd"}, args: with("x", "--shim", "/etc/passwd")},
		{name: "a user that is not there", words: []string{"nobody-here"}, args: with("x", "--user", "nobody-here")},
		{name: "a root file system that is not there", words: []string{"/nowhere/rootfs"}, args: func(*testing.T, *harness.World) []string {
			return []string{"run", "--rootfs", "/nowhere/rootfs", "x", "/bin/true"}
		}},
		{name: "a bundle that is not there", words: []string{"/nowhere/bundle"}, args: func(*testing.T, *harness.World) []string {
			return []string{"run", "--bundle", "/nowhere/bundle", "x"}
		}},
		{name: "a bundle whose config.json is no JSON", words: []string{"config.json"}, args: func(t *testing.T, w *harness.World) []string {
			dir := w.Path("bundle")
			writeBundle(t, w, dir, "/bin/true")
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"ociVersion": "1.0.2", `), 0o644); err != nil {
				t.Fatal(err)
			}
			return []string{"run", "--bundle", dir, "x"}
		}},
		{name: "a bundle without a process", words: []string{"process"}, args: func(t *testing.T, w *harness.World) []string {
			dir := w.Path("bundle")
			writeBundle(t, w, dir, "/bin/true")
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"ociVersion": "1.0.2", "root": {"path": "rootfs"}}`), 0o644); err != nil {
				t.Fatal(err)
			}
			return []string{"run", "--bundle", dir, "x"}
		}},
		{name: "a mount that cannot be", words: []string{"nosuchfs"}, args: func(*testing.T, *harness.World) []string {
			return []string{"run", "--mount", "nosuchfs:none", "x", "/bin/true"}
		}},
		{name: "a mount whose source is not there", words: []string{"/nowhere/src"}, args: func(*testing.T, *harness.World) []string {
			return []string{"run", "--mount", "bind:/nowhere/src", "x", "/bin/true"}
		}},
		{name: "a state directory too deep for a socket", words: []string{"socket"}, args: func(_ *testing.T, w *harness.World) []string {
			root := w.Path(strings.Repeat("deep/", 25))
			return []string{"--root", root, "run", "--rootfs", w.Rootfs("root"), "x", "/bin/true"}
		}},
		{name: "a state directory that cannot be written", words: []string{"read-only file system"}, args: func(t *testing.T, w *harness.World) []string {
			return []string{"--root", tmpfs(t, w, "ro", "size=1m", unix.MS_RDONLY) + "/r", "run", "--rootfs", w.Rootfs("root"), "x", "/bin/true"}
		}},
		{name: "a state directory on a full disk", words: []string{"no space left on device"}, args: func(t *testing.T, w *harness.World) []string {
			dir := tmpfs(t, w, "full", "size=64k", 0)
			fill(t, filepath.Join(dir, "rest"))
			return []string{"--root", dir + "/r", "run", "--rootfs", w.Rootfs("root"), "x", "/bin/true"}
		}},
		{name: "a command that is none", words: []string{"frobnicate"}, args: func(*testing.T, *harness.World) []string {
			return []string{"frobnicate"}
		}},
		{name: "a flag that is none", words: []string{"--frob"}, args: with("x", "--frob")},
		{name: "a container that is not there", words: []string{"nosuch"}, args: func(*testing.T, *harness.World) []string {
			return []string{"wait", "nosuch"}
		}},
	}
}

// tmpfs mounts a small file system below the world's directory until the test
// ends.
func tmpfs(t *testing.T, w *harness.World, name, options string, flags uintptr) string {
	t.Helper()
	dir := w.Path(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // runs before the world looks for mounts
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill writes a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
}

// Who is not root is told so, by every command, before anything is touched.
func TestNotRoot(t *testing.T) {
	w := harness.New(t, "runc")
	for _, args := range [][]string{{"ps"}, {"run", "--rootfs", "/", "x", "/bin/true"}, {"rm", "-f", "x"}} {
		r := w.RunAs(1000, args...)
		if r.Code != 125 || !strings.Contains(r.Stderr, "root") || strings.Count(r.Stderr, "\n") > 2 {
			t.Errorf("got %v", r)
		}
	}
	if r := w.RunAs(1000, "version"); r.Code != 0 {
		t.Errorf("version needs no root: %v", r)
	}
	if _, err := os.Stat(w.Root); err == nil {
		t.Errorf("%s was made", w.Root)
	}
}

// A machine without cgroups is told so by the OCI runtime, in one line.
func TestNoCgroup(t *testing.T) {
	w := harness.New(t, "runc")
	w.Env = append(w.Env, fmt.Sprintf("HOLDFAST_RUNTIME=%s", hideCgroups(t, w)))
	w.Refused(125, []string{"cgroup"}, "run", "--rootfs", w.Rootfs("x"), "x", "/bin/true")
}

// hideCgroups returns a runtime that sees no cgroups: runc in a mount namespace
// without them.
func hideCgroups(t *testing.T, w *harness.World) string {
	t.Helper()
	path := w.Path("runc-without-cgroups")
	script := "#!/bin/sh\nexec unshare -m sh -c 'umount -l -R /sys/fs/cgroup && mount -t tmpfs none /sys/fs/cgroup; exec " + w.Runtime + " \"$@\"' runc \"$@\"\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
