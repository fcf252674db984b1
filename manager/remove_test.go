package manager_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/bundle"
)

func TestSweepRemovesWhatTheDeadLeft(t *testing.T) {
	m, _ := open(t)
	ns := filepath.Join(m.Root(), "test")
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{".new-a-1", ".new-b-2", ".gone-c-3", ".gone-d-4", ".new-young-5"} {
		dir := filepath.Join(ns, name)
		if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name != ".new-young-5" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{".new-b-2", ".gone-d-4"} { // somebody is at it
		f, err := os.Open(filepath.Join(ns, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := manager.Open(m.Root(), "test"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, ns); got != ".events .gone-d-4 .new-b-2 .new-young-5" {
		t.Errorf("after sweep: %s", got)
	}
}

func TestDeleteNeverReachesThroughMounts(t *testing.T) {
	m, _ := open(t)
	c := makeContainer(t, m, "box")
	precious := t.TempDir()
	keep := filepath.Join(precious, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rootfs := filepath.Join(c.Bundle(), "rootfs")
	if err := unix.Mount(precious, rootfs, "", unix.MS_BIND, ""); err != nil {
		t.Skip("cannot mount here:", err)
	}
	t.Cleanup(func() { unix.Unmount(rootfs, unix.MNT_DETACH) })
	// A symlink must not be followed either.
	if err := os.Symlink(precious, filepath.Join(c.Bundle(), "link")); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("file of others: %v", err)
	}
	if _, err := os.Stat(c.Bundle()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("bundle: %v", err)
	}
}

func TestBrokenRecordCanBeDeleted(t *testing.T) {
	m, _ := open(t)
	c := makeContainer(t, m, "box")
	if err := os.WriteFile(filepath.Join(c.Bundle(), bundle.ContainerFile), []byte(`{"version":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := m.Load(t.Context(), "box")
	if err != nil || !strings.Contains(c.Record().Problem, "99") {
		t.Fatalf("Load: %v", err)
	}
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); err == nil {
		t.Error("NewTask with an unknown record")
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}
