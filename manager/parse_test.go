package manager

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/stats"
	"github.com/holdfast/holdfast/proto/types"
)

func TestParseMount(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for text, want := range map[string]Mount{
		"bind:" + a:                                   {Type: "bind", Source: a, Options: []string{"rbind"}},
		"bind:" + a + "::ro,bind":                     {Type: "bind", Source: a, Options: []string{"ro", "bind"}},
		"bind:" + a + ":ro":                           {Type: "bind", Source: a, Options: []string{"ro", "rbind"}},
		"bind:" + a + ":/:ro":                         {Type: "bind", Source: a, Target: "/", Options: []string{"ro", "rbind"}},
		"tmpfs:tmpfs":                                 {Type: "tmpfs", Source: "tmpfs"},
		"tmpfs:tmpfs:/run":                            {Type: "tmpfs", Source: "tmpfs", Target: "/run"},
		"tmpfs:tmpfs:/run:size=1m,mode=755":           {Type: "tmpfs", Source: "tmpfs", Target: "/run", Options: []string{"size=1m", "mode=755"}},
		"overlay:o:lowerdir=" + a + ":" + b + ",ro":   {Type: "overlay", Source: "o", Options: []string{"lowerdir=" + a + ":" + b, "ro"}},
		"overlay:o::lowerdir=" + a + "::" + b + ",ro": {Type: "overlay", Source: "o", Options: []string{"lowerdir=" + a + "::" + b, "ro"}},
		"ext4:/dev/none:/:noatime":                    {Type: "ext4", Source: "/dev/none", Target: "/", Options: []string{"noatime"}},
	} {
		got, err := ParseMount(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseMount(%s) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "bind", "bind:", ":x", "bind:relative", "overlay:o:lowerdir=x"} {
		if _, err := ParseMount(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseMount(%q): %v", bad, err)
		}
	}
}

func TestLookupUser(t *testing.T) {
	upper, lower, outside := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(lower+"/etc/passwd", "root:x:0:0:r:/root:/bin/sh\njoe:x:7:8:j:/home/joe:/bin/sh\nbad line\n")
	write(lower+"/etc/group", "root:x:0:\nwheel:x:10:root,joe\njoe:x:8:joe\n")
	write(outside+"/group", "evil:x:666:joe\n")
	roots := []string{upper, lower}
	for text, want := range map[string]string{
		"joe": "7 8 [10] /home/joe", "7": "7 8 [10] /home/joe", "joe:wheel": "7 10 [] /home/joe", "joe:99": "7 99 [] /home/joe",
		"99": "99 0 [] /", "99:joe": "99 8 [] /", "0": "0 0 [10] /root",
	} {
		a, err := lookupUser(roots, text)
		got := fmt.Sprint(a.user.UID, " ", a.user.GID, " ", a.user.AdditionalGids, " ", a.home)
		if err != nil || got != want {
			t.Errorf("lookupUser(%s) = %s, %v, want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{"", ":x", "joe:", "ann", "joe:none", "-1", "4294967295", "99999999999"} {
		if _, err := lookupUser(roots, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("lookupUser(%q): %v", bad, err)
		}
	}
	// A symlink cannot lead out of the root, nor a FIFO block.
	if err := os.MkdirAll(upper+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside+"/group", upper+"/etc/group"); err != nil {
		t.Fatal(err)
	}
	if a, err := lookupUser(roots, "joe"); err != nil || len(a.user.AdditionalGids) != 1 || a.user.AdditionalGids[0] != 10 {
		t.Errorf("with a symlink out of the root: %+v, %v", a, err)
	}
	if err := unix.Mkfifo(upper+"/etc/passwd", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := lookupUser(roots, "joe"); !errors.Is(err, ErrInvalid) {
		t.Errorf("with a FIFO for a file: %v", err)
	}
}

func TestRemoveTreeStopsAtMount(t *testing.T) {
	dir, precious := t.TempDir(), t.TempDir()
	if err := os.WriteFile(precious+"/keep", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	point := dir + "/tree/a b/m"
	if err := os.MkdirAll(point, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(precious, point, "", unix.MS_BIND, ""); err != nil {
		t.Skip("cannot mount here:", err)
	}
	defer unix.Unmount(point, unix.MNT_DETACH)
	if err := removeTree(dir + "/tree"); !errors.Is(err, ErrMounted) {
		t.Errorf("removeTree: %v", err)
	}
	if _, err := os.Stat(precious + "/keep"); err != nil {
		t.Error(err)
	}
	if points, err := mountsBelow(dir); err != nil || len(points) != 1 || points[0] != point {
		t.Errorf("mountsBelow = %q, %v", points, err)
	}
	if err := unmountBelow(dir + "/tree"); err != nil {
		t.Error(err)
	}
	if err := removeTree(dir + "/tree"); err != nil {
		t.Error(err)
	}
	if err := removeTree(dir + "/tree"); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestStatsOfBothCgroupVersions(t *testing.T) {
	v1 := &stats.MetricsV1{
		Cpu:    &stats.CPUV1{Usage: &stats.CPUUsageV1{Total: 9, User: 5, Kernel: 4}},
		Memory: &stats.MemoryV1{TotalInactiveFile: 30, Usage: &stats.MemoryEntryV1{Usage: 100, Limit: 0x7ffffffffffff000}},
		Pids:   &stats.Pids{Current: 3},
		Blkio:  &stats.BlkioV1{IoServiceBytesRecursive: []*stats.BlkioEntryV1{{Op: "Read", Value: 1}, {Op: "Write", Value: 2}, {Op: "Total", Value: 3}}},
	}
	raw, _ := v1.Marshal()
	s, err := decodeStats(&types.Any{TypeUrl: stats.TypeV1, Value: raw})
	if err != nil || s.CPU.Usage != 9 || s.Memory.WorkingSet != 70 || s.Memory.Limit != 0 || s.Pids.Current != 3 || s.IO.ReadBytes != 1 || s.IO.WriteBytes != 2 {
		t.Errorf("v1: %+v, %v", s, err)
	}
	v2 := &stats.MetricsV2{Cpu: &stats.CPUV2{UsageUsec: 9}, Memory: &stats.MemoryV2{Usage: 100, UsageLimit: 1 << 20, InactiveFile: 200}}
	raw, _ = v2.Marshal()
	s, err = decodeStats(&types.Any{TypeUrl: "type.googleapis.com/" + stats.TypeV2, Value: raw})
	if err != nil || s.CPU.Usage != 9000 || s.Memory.WorkingSet != 0 || s.Memory.Limit != 1<<20 {
		t.Errorf("v2: %+v, %v", s, err)
	}
	for _, bad := range []*types.Any{nil, {TypeUrl: "x"}, {TypeUrl: stats.TypeV2, Value: []byte{0xff}}} {
		if _, err := decodeStats(bad); err == nil {
			t.Errorf("decodeStats(%v) succeeded", bad)
		}
	}
}

func FuzzParseCRI(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.5Z stdout F text"))
	f.Add([]byte("2026-01-02T03:04:05.5Z stderr P:x "))
	f.Fuzz(func(t *testing.T, line []byte) {
		l, ok := parseCRI(line)
		if ok && !strings.HasSuffix(string(line), string(l.Text)) {
			t.Errorf("%q: text %q", line, l.Text)
		}
	})
}
