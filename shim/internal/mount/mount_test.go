package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

// envPrivate marks a test binary that is in a mount namespace of its own.
const envPrivate = "HOLDFAST_TEST_PRIVATE_MOUNTS"

// TestMain moves the whole process into a private mount namespace: what a test
// mounts is nowhere else and is gone with the process.
func TestMain(m *testing.M) {
	if os.Getenv(envPrivate) == "" && os.Geteuid() == 0 {
		if err := becomePrivate(); err != nil {
			fmt.Fprintln(os.Stderr, "private mount namespace:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// becomePrivate does not return if it works. unshare(2) is about one thread;
// the exec makes that thread the process.
func becomePrivate() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), envPrivate+"=1"))
}

// place returns a root to mount at, and checks in the end that nothing is left
// there and no descriptor open.
func place(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := filepath.Join(t.TempDir(), "rootfs")
	fds := countFds(t)
	t.Cleanup(func() {
		if err := Unmount(root); err != nil {
			t.Error(err)
		}
		if left, _ := below(root); len(left) > 0 {
			t.Errorf("mounts left: %q", left)
		}
		if now := countFds(t); now != fds {
			t.Errorf("%d descriptors, were %d", now, fds)
		}
	})
	return root
}

func countFds(t *testing.T) int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// tree makes files (name to content) and directories (name ends in /).
func tree(t *testing.T, dir string, files ...string) string {
	t.Helper()
	for _, name := range append([]string{"./"}, files...) {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustAll(t *testing.T, root string, mounts ...*types.Mount) {
	t.Helper()
	if err := All(root, mounts); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// flags returns the options that mountinfo has for the topmost mount at path.
func flags(t *testing.T, path string) string {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); unoctal(f[4]) == path {
			found = f[5]
		}
	}
	return found
}

func TestBindsAndTmpfsInOrder(t *testing.T) {
	root := place(t)
	src := tree(t, t.TempDir(), "a", "data/", "file")
	vol := tree(t, t.TempDir(), "b")
	mustAll(t, root,
		&types.Mount{Type: "bind", Source: src, Options: []string{"rbind", "rw"}},
		&types.Mount{Type: "bind", Source: vol, Target: "/data", Options: []string{"bind", "ro", "nosuid"}},
		&types.Mount{Type: "bind", Source: vol + "/b", Target: "file", Options: []string{"bind"}},
	)
	if !exists(root+"/a") || !exists(root+"/data/b") {
		t.Error("files are missing")
	}
	if b, _ := os.ReadFile(root + "/file"); string(b) != "b" {
		t.Errorf("bound file holds %q", b)
	}
	if err := os.WriteFile(root+"/data/x", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write to a read-only bind: %v", err)
	}
	if err := os.WriteFile(root+"/x", nil, 0o644); err != nil {
		t.Errorf("write beside it: %v", err)
	}
	if f := flags(t, root+"/data"); !strings.Contains(f, "nosuid") {
		t.Errorf("flags %s", f)
	}
	if info, err := os.Stat(filepath.Dir(root)); err != nil || info.Mode().Perm() == 0 {
		t.Error(err)
	}
	if err := Unmount(root); err != nil {
		t.Fatal(err)
	}
	if exists(root + "/a") {
		t.Error("still mounted")
	}
	if !exists(src+"/a") || !exists(vol+"/b") {
		t.Error("unmounting took the sources away")
	}
	if err := Unmount(root); err != nil {
		t.Errorf("second unmount: %v", err)
	}
}

func TestBindKeepsFlagsOfItsSource(t *testing.T) {
	root := place(t)
	src := filepath.Join(filepath.Dir(root), "src")
	mustAll(t, src, &types.Mount{Type: "tmpfs", Source: "tmpfs", Options: []string{"nodev", "noexec", "noatime", "size=64k"}})
	t.Cleanup(func() { Unmount(src) })
	mustAll(t, root, &types.Mount{Type: "bind", Source: src, Options: []string{"ro", "exec"}})
	got := flags(t, root)
	for _, want := range []string{"ro", "nodev", "noatime"} {
		if !strings.Contains(got, want) {
			t.Errorf("flags %s are without %s", got, want)
		}
	}
	if strings.Contains(got, "noexec") {
		t.Errorf("flags %s still have noexec", got)
	}
	if strings.Contains(flags(t, src), "ro") {
		t.Error("the source became read-only")
	}
	mustAll(t, root, &types.Mount{Options: []string{"remount", "bind", "rw"}})
	if got := flags(t, root); strings.Contains(got, "ro") {
		t.Errorf("flags %s after remount", got)
	}
}

func TestLinksInsideDoNotLeadOutside(t *testing.T) {
	root := place(t)
	outside := tree(t, t.TempDir(), "victim/")
	src := tree(t, t.TempDir(), strings.TrimPrefix(outside, "/")+"/victim/", "real/")
	for link, to := range map[string]string{"abs": outside + "/victim", "up": "../../../../../../../.." + outside + "/victim", "in": "real"} {
		if err := os.Symlink(to, filepath.Join(src, link)); err != nil {
			t.Fatal(err)
		}
	}
	bind := &types.Mount{Type: "bind", Source: src}
	for _, target := range []string{"abs", "up", "in", "../../.." + outside + "/victim"} {
		mustAll(t, root, bind, &types.Mount{Type: "tmpfs", Source: "tmpfs", Target: target})
		if left, _ := below(outside); len(left) > 0 {
			t.Errorf("target %s was mounted at %s", target, left)
		}
		if left, _ := below(root); len(left) != 2 {
			t.Errorf("target %s: mounts %s", target, left)
		}
		if err := Unmount(root); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRootThatIsALinkIsRefused(t *testing.T) {
	root := place(t)
	victim := t.TempDir()
	if err := os.Symlink(victim, root); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(root)
	if err := All(root, []*types.Mount{{Type: "tmpfs", Source: "tmpfs"}}); err == nil {
		t.Error("mounted by way of a link")
	}
	if err := Unmount(root); err == nil {
		t.Error("unmounted by way of a link")
	}
}

func TestPartialFailureIsUndone(t *testing.T) {
	root := place(t)
	src := tree(t, t.TempDir(), "dir/", "keep/")
	mustAll(t, root, &types.Mount{Type: "bind", Source: src})
	before, _ := below(root)
	for _, bad := range []*types.Mount{
		{Type: "tmpfs", Source: "tmpfs", Target: "missing"},
		{Type: "bind", Source: "/no/such/source", Target: "dir"},
		{Type: "nosuchfs", Source: "x", Target: "dir"},
		{Type: "tmpfs", Source: "tmpfs", Target: "dir", Options: []string{"size=garbage"}},
		{Type: "tmpfs", Source: "tmpfs", Target: "dir", Options: []string{"X-containerd.mkfs"}},
		{Type: "bind", Source: src, Target: "dir", Options: []string{"uidmap=0:1:1"}},
		{Type: "fuse.sshfs", Source: "x"},
		{Type: "ext4", Source: src + "/no-image", Options: []string{"loop"}},
		{Type: "tmpfs", Source: "tmpfs", Options: []string{strings.Repeat("x", 5000)}},
	} {
		err := All(root, []*types.Mount{
			{Type: "tmpfs", Source: "tmpfs", Target: "dir"}, {Type: "tmpfs", Source: "tmpfs", Target: "keep"}, bad,
		})
		if err == nil {
			t.Errorf("%v was mounted", bad)
		} else if !strings.HasPrefix(err.Error(), "mount "+bad.Type) {
			t.Errorf("%v: error %v", bad, err)
		}
		if after, _ := below(root); len(after) != len(before) {
			t.Fatalf("%v: mounts %q, were %q", bad, after, before)
		}
	}
	if !exists(root + "/dir") {
		t.Error("what was mounted before is gone")
	}
}

func TestDangerousRootsAreRefused(t *testing.T) {
	for _, root := range []string{"", "/", "//", "relative", "/tmp/..", "."} {
		if err := All(root, []*types.Mount{{Type: "tmpfs"}}); err == nil {
			t.Errorf("All(%q) worked", root)
		}
		if err := Unmount(root); err == nil {
			t.Errorf("Unmount(%q) worked", root)
		}
	}
	if err := Unmount(filepath.Join(t.TempDir(), "missing")); err != nil {
		t.Errorf("root that is not there: %v", err)
	}
}

func TestUnmountOfABusyRootDetachesIt(t *testing.T) {
	root := place(t)
	mustAll(t, root, &types.Mount{Type: "tmpfs", Source: "tmpfs"})
	tree(t, root, "sub/")
	mustAll(t, root, &types.Mount{Type: "tmpfs", Source: "tmpfs", Target: "sub"})
	busy, err := os.Create(root + "/sub/open")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := Unmount(root); err != nil {
		t.Fatal(err)
	}
	if exists(root + "/sub") {
		t.Error("still to be seen")
	}
	if _, err := busy.WriteString("x"); err != nil {
		t.Errorf("the open file: %v", err)
	}
	busy.Close() // before place counts
}

func TestUnmountOfStacksAndStrangeNames(t *testing.T) {
	root := place(t)
	src := tree(t, t.TempDir(), "a b\t\\x\n/")
	tmp := &types.Mount{Type: "tmpfs", Source: "tmpfs", Target: "a b\t\\x\n"}
	mustAll(t, root, &types.Mount{Type: "bind", Source: src}, tmp, tmp, tmp,
		&types.Mount{Type: "bind", Source: src}, &types.Mount{Type: "tmpfs", Source: "tmpfs"})
	neighbour := root + "-neighbour"
	mustAll(t, neighbour, &types.Mount{Type: "tmpfs", Source: "tmpfs"})
	defer Unmount(neighbour)
	if err := Unmount(root); err != nil {
		t.Fatal(err)
	}
	if left, _ := below(neighbour); len(left) != 1 {
		t.Error("the neighbour whose name begins the same was unmounted too")
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opts string
		set  uintptr
		data string
	}{
		{"", 0, ""},
		{"ro nosuid nodev noexec", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"ro rw", 0, ""},
		{"rw ro", unix.MS_RDONLY, ""},
		{"noatime relatime", unix.MS_RELATIME, ""},
		{"noatime atime", 0, ""},
		{"defaults size=1m mode=755", 0, "size=1m,mode=755"},
		{"rbind ro unknown", unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY, "unknown"},
		{"sync dirsync mand strictatime", unix.MS_SYNCHRONOUS | unix.MS_DIRSYNC | unix.MS_MANDLOCK | unix.MS_STRICTATIME, ""},
	} {
		o, err := parse(&types.Mount{Options: strings.Fields(c.opts)})
		if err != nil || o.set != c.set || strings.Join(o.data, ",") != c.data {
			t.Errorf("%q: flags %#x, data %q, %v", c.opts, o.set, o.data, err)
		}
	}
}

func FuzzMountPoints(f *testing.F) {
	f.Add([]byte("22 1 0:20 / /a\\040b rw - tmpfs tmpfs rw\n23 1 0:20 / /a rw\n"), "/a")
	f.Add([]byte("x \\777\\\n 1 2 3 4 /a\\134/b"), "/a\\")
	f.Fuzz(func(t *testing.T, info []byte, root string) {
		for _, p := range mountPoints(info, root) {
			if p != root && !strings.HasPrefix(p, root+"/") {
				t.Errorf("%q is not below %q", p, root)
			}
		}
	})
}

func FuzzLayers(f *testing.F) {
	f.Add(`/a\:b:/c::/d`)
	f.Fuzz(func(t *testing.T, s string) {
		parts := splitLayers(s)
		if strings.Join(parts, ":") != s {
			t.Errorf("%q splits into %q", s, parts)
		}
		for _, p := range parts {
			unescape(p)
		}
		commonParent(parts)
	})
}
