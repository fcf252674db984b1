package ocitest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noRaceSleep is for a test binary built with -race: it would spend a second at
// each exit waiting for reports of other threads.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// Binary returns the path of a program that is the fake runtime, for a test
// binary whose TestMain calls [Main] first. More variables, such as [EnvScript],
// may be given as K=V.
func Binary(t testing.TB, env ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	set := EnvFake + "=1 " + noRaceSleep
	for _, kv := range env {
		set += " " + quote(kv)
	}
	return script(t, "fakeoci", "exec env "+set+" "+quote(self)+` "$@"`)
}

// Crun returns the path of crun. crun < 1.15 refuses a machine that has cgroup
// v1 and, at /sys/fs/cgroup/unified, a cgroup2 with controllers; there it is a
// script that runs crun in a mount namespace without that mount, which is all
// that crun looks at. Nothing else sees the difference.
func Crun(t testing.TB) string {
	t.Helper()
	crun := Need(t, "crun")
	const unified = "/sys/fs/cgroup/unified"
	controllers, err := os.ReadFile(unified + "/cgroup.controllers")
	if err != nil || strings.TrimSpace(string(controllers)) == "" {
		return crun
	}
	return script(t, "crun", `exec unshare -m --propagation slave sh -c 'umount `+unified+
		` && exec "$@"' crun `+quote(crun)+` "$@"`)
}

func script(t testing.TB, name, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// EnvRequire lists programs, separated by commas, without which tests fail
// instead of being skipped; "all" is every one. CI sets it: a test that never
// runs must not look green.
const EnvRequire = "REQUIRE"

// Need returns the path of a program, or skips the test, or fails it if
// [EnvRequire] names the program.
func Need(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, name); runnable(path) == nil {
			return path
		}
	}
	missing(t, name)
	return ""
}

func missing(t testing.TB, name string) {
	t.Helper()
	for required := range strings.SplitSeq(os.Getenv(EnvRequire), ",") {
		if required == name || required == "all" {
			t.Fatalf("%s is not installed, but %s asks for it", name, EnvRequire)
		}
	}
	t.Skipf("%s is not installed", name)
}

// CriuDir returns the directory of a criu that works on this kernel: the one
// that `make setup` has put below the top of the repository.
func CriuDir(t testing.TB) string {
	t.Helper()
	top, err := os.Getwd() // a test's is its package's directory
	if err != nil {
		t.Fatal(err)
	}
	for ; top != "/"; top = filepath.Dir(top) {
		dir := filepath.Join(top, ".cache/criu/bin")
		if runnable(filepath.Join(dir, "criu")) == nil {
			return dir
		}
	}
	missing(t, "criu")
	return ""
}

// Spec describes a bundle for [Bundle].
type Spec struct {
	Args        []string          // default: sleep 1000
	Env         []string          // default: a PATH
	Cwd         string            // default: /
	Terminal    bool              //
	CgroupsPath string            // default: /holdfast-test-<random>
	HostPID     bool              // no pid namespace; set it for the fake runtime
	Annotations map[string]string //
}

// Bundle makes a bundle with a root file system of busybox and returns its
// directory, which the test's end removes.
func Bundle(t testing.TB, s Spec) string {
	t.Helper()
	dir := t.TempDir()
	Rootfs(t, filepath.Join(dir, "rootfs"))
	b, err := json.MarshalIndent(s.config(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Rootfs makes a root file system of busybox in dir.
func Rootfs(t testing.TB, dir string) {
	t.Helper()
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyFile(Need(t, "busybox"), filepath.Join(dir, "bin/busybox")); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("sh sleep cat echo true false env pwd kill ps ls head yes stty tty id sync test mkfifo") {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// config returns an OCI spec that runc and crun accept.
func (s Spec) config(t testing.TB) map[string]any {
	if len(s.Args) == 0 {
		s.Args = []string{"/bin/sleep", "1000"}
	}
	if s.Env == nil {
		s.Env = []string{"PATH=/bin:/usr/bin"}
	}
	if s.Cwd == "" {
		s.Cwd = "/"
	}
	if s.CgroupsPath == "" {
		s.CgroupsPath = "/holdfast-test-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	RemoveCgroups(t, s.CgroupsPath)
	caps := []string{"CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT"}
	namespaces := []map[string]string{{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}}
	if !s.HostPID {
		namespaces = append(namespaces, map[string]string{"type": "pid"})
	}
	return map[string]any{
		"ociVersion": "1.0.2",
		"root":       map[string]any{"path": "rootfs"},
		"hostname":   "test",
		"process": map[string]any{
			"terminal": s.Terminal, "args": s.Args, "env": s.Env, "cwd": s.Cwd,
			"user":         map[string]any{"uid": 0, "gid": 0},
			"capabilities": map[string]any{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"mounts": []map[string]any{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
			{"destination": "/dev/pts", "type": "devpts", "source": "devpts",
				"options": []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		},
		"linux":       map[string]any{"cgroupsPath": s.CgroupsPath, "namespaces": namespaces},
		"annotations": s.Annotations,
	}
}

// RemoveCgroups has the test fail at its end if a cgroup of that path is left,
// and removes it.
func RemoveCgroups(t testing.TB, path string) {
	t.Cleanup(func() {
		for _, dir := range CgroupDirs(path) {
			t.Errorf("cgroup %s is left", dir)
			if err := unix.Rmdir(dir); err != nil {
				t.Errorf("remove cgroup %s: %v", dir, err)
			}
		}
	})
}

// CgroupDirs returns the directories of a cgroup, deepest first, in every
// hierarchy it is in.
func CgroupDirs(path string) []string {
	const top = "/sys/fs/cgroup"
	hierarchies := []string{top}
	entries, _ := os.ReadDir(top)
	for _, e := range entries {
		if e.IsDir() {
			hierarchies = append(hierarchies, filepath.Join(top, e.Name()))
		}
	}
	var dirs []string
	for _, h := range hierarchies {
		filepath.WalkDir(filepath.Join(h, path), func(dir string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append([]string{dir}, dirs...)
			}
			return nil
		})
	}
	return dirs
}
