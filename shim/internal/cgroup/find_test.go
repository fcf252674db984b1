package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a procfs, a sysfs and cgroup mounts that a test has made up.
type tree struct {
	*testing.T
	dir string
}

func newTree(t *testing.T) *tree { return &tree{t, t.TempDir()} }

func (w *tree) env() env { return env{proc: w.dir + "/proc", sys: w.dir + "/sys"} }

// write writes files, given as path and content in turn. MNT stands for where
// the tree is.
func (w *tree) write(files ...string) *tree {
	w.Helper()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(w.dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			w.Fatal(err)
		}
		content := strings.ReplaceAll(files[i+1], "MNT", w.dir)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	return w
}

const (
	mountinfoV2 = "25 1 0:22 / /proc rw shared:5 - proc proc rw\n" +
		"30 25 0:26 / MNT/cg rw,nosuid shared:9 master:3 - cgroup2 cgroup rw,nsdelegate\n"
	mountinfoV1 = "31 25 0:29 / MNT/cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 25 0:30 / MNT/cg/pids rw - cgroup cgroup rw,pids\n" +
		"33 25 0:31 / MNT/cg/memory rw - cgroup cgroup rw,memory\n" +
		"34 25 0:32 / MNT/cg/blkio rw - cgroup cgroup rw,blkio\n" +
		"35 25 0:33 / MNT/cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
		"36 25 0:34 / MNT/cg/hugetlb rw - cgroup cgroup rw,hugetlb\n" +
		"37 25 0:35 / MNT/cg/rdma rw - cgroup cgroup rw,rdma\n" +
		"38 25 0:36 / MNT/cg/unified rw - cgroup2 cgroup2 rw\n"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name              string
		self, its, mounts string
		dir               string // made in the tree
		lead, path        string // wanted
		err               error  // wanted
	}{
		{name: "v2", self: "0::/system.slice/x\n", its: "0::/kube/c1\n", mounts: mountinfoV2, dir: "cg/kube/c1",
			lead: Unified, path: "cg/kube/c1"},
		{name: "below our own", self: "0::/pod\n", its: "0::/pod/c1\n", mounts: mountinfoV2, dir: "cg/pod/c1",
			lead: Unified, path: "cg/pod/c1"},
		{name: "only alike in name", self: "0::/pod1\n", its: "0::/pod\n", mounts: mountinfoV2, dir: "cg/pod",
			lead: Unified, path: "cg/pod"},
		{name: "our own", self: "0::/pod\n", its: "0::/pod\n", mounts: mountinfoV2, dir: "cg/pod", err: ErrShared},
		{name: "above our own", self: "0::/pod/shim\n", its: "0::/pod\n", mounts: mountinfoV2, dir: "cg/pod", err: ErrShared},
		{name: "the root", self: "0::/pod/shim\n", its: "0::/\n", mounts: mountinfoV2, dir: "cg/pod", err: ErrShared},
		{name: "another namespace", self: "0::/\n", its: "0::/../c1\n", mounts: mountinfoV2, dir: "cg/c1", err: ErrOutside},
		{name: "above the namespace", self: "0::/\n", its: "0::/..\n", mounts: mountinfoV2, dir: "cg/c1", err: ErrOutside},
		{name: "removed", self: "0::/\n", its: "0::/c1 (deleted)\n", mounts: mountinfoV2, err: ErrShared},
		{name: "nested mount", self: "0::/docker/d/init\n", its: "0::/docker/d/c1\n",
			mounts: "30 25 0:26 /docker/d MNT/cg rw - cgroup2 cgroup rw\n", dir: "cg/c1", lead: Unified, path: "cg/c1"},
		{name: "not in the mount", self: "0::/docker/d/init\n", its: "0::/docker/e\n",
			mounts: "30 25 0:26 /docker/d MNT/cg rw - cgroup2 cgroup rw\n", dir: "cg/e", err: ErrShared},
		{name: "blanks in the path", self: "0::/\n", its: "0::/a b:c\n",
			mounts: "30 25 0:26 / MNT/c\\040g rw - cgroup2 cgroup rw\n", dir: "c g/a b:c", lead: Unified, path: "c g/a b:c"},
		{name: "the second mount", self: "0::/\n", its: "0::/c1\n",
			mounts: "29 25 0:26 / MNT/covered rw - cgroup2 cgroup rw\n" + mountinfoV2, dir: "cg/c1", lead: Unified, path: "cg/c1"},
		{name: "v1", self: "4:pids:/\n", its: "4:pids:/c1\n1:name=systemd:/\n", mounts: mountinfoV1, dir: "cg/pids/c1",
			lead: "pids", path: "cg/pids/c1"},
		{name: "dead in v1", self: "4:pids:/\n0::/\n", its: "4:pids:/\n0::/\n", mounts: mountinfoV1, dir: "cg/pids", err: ErrShared},
		{name: "two controllers in one", self: "2:cpu,cpuacct:/\n", its: "2:cpu,cpuacct:/c1\n", mounts: mountinfoV1,
			dir: "cg/cpu/c1", lead: "cpu", path: "cg/cpu/c1"},
		{name: "hybrid, systemd's alone", self: "1:name=systemd:/\n", its: "1:name=systemd:/c1\n", mounts: mountinfoV1,
			dir: "cg/systemd/c1", lead: "name=systemd", path: "cg/systemd/c1"},
		{name: "nothing mounted", self: "0::/\n", its: "0::/c1\n", err: ErrShared},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTree(t).write("proc/self/cgroup", c.self, "proc/7/cgroup", c.its, "proc/self/mountinfo", c.mounts)
			if c.dir != "" {
				if err := os.MkdirAll(filepath.Join(w.dir, c.dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			g, err := find(w.env(), 7)
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("%v, %v; want %v", g, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := w.dir + "/" + c.path; g.lead != c.lead || g.Path(c.lead) != want || !g.Exists() {
				t.Errorf("%q in %q, want %q in %q", g.Path(g.lead), g.lead, want, c.lead)
			}
			os.RemoveAll(w.dir + "/" + c.path)
			if _, _, err := g.Stats(); g.Exists() || !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after the removal: %v", err)
			}
			if _, err := g.OOMKills(); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("OOM kills after the removal: %v", err)
			}
			if pids, err := g.Pids(); err != nil || len(pids) != 0 {
				t.Errorf("processes after the removal: %v, %v", pids, err)
			}
		})
	}
}

func TestFindWithoutProcess(t *testing.T) {
	if g, err := Find(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, %v", g, err)
	}
	// This very process has no cgroup that is not ours.
	if g, err := Find(os.Getpid()); !errors.Is(err, ErrShared) {
		t.Errorf("%+v, %v", g, err)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("4:cpu,cpuacct:/a:b\n0::/x (deleted)\n1:name=systemd:/"), []byte(mountinfoV1+mountinfoV2))
	f.Add([]byte("::\n:"), []byte(`1 2 3 /\040\9 /\08 rw - cgroup x y`))
	f.Fuzz(func(t *testing.T, paths, mounts []byte) {
		table := parseMounts(mounts)
		for name, p := range parsePaths(paths) {
			if !strings.HasPrefix(p, "/") {
				t.Errorf("%q: path %q", name, p)
			}
			if strings.ContainsRune(p, 0) {
				continue
			}
			locate(table, name, p)
		}
	})
}

// What is wanted of a file is found whole, however lines lie to the buffer.
func TestReadLinesInAnySize(t *testing.T) {
	file, want := t.TempDir()+"/f", ""
	var all strings.Builder
	for i := range 200 {
		line := strings.Repeat("x", i*i%701) + "\n"
		if i%3 == 0 {
			line = "keep " + line
			want += line
		}
		all.WriteString(line)
	}
	all.WriteString("keep this without an end")
	want += "keep this without an end"
	if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for size := range 900 {
		b, err := readLines(file, size+1, func(line []byte) bool { return strings.HasPrefix(string(line), "keep ") })
		if err != nil || string(b) != want {
			t.Fatalf("size %d: %d bytes, %v; want %d", size+1, len(b), err, len(want))
		}
	}
	none, err := readLines(file, 1<<10, func([]byte) bool { return false })
	if err != nil || len(none) != 0 || cap(none) != 1<<10 {
		t.Errorf("%d of %d bytes for nothing, %v", len(none), cap(none), err)
	}
}
