package manager_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/holdfast/holdfast/manager"
)

func TestRootfsByMounts(t *testing.T) {
	m, l := open(t)
	lower := t.TempDir()
	if err := os.MkdirAll(filepath.Join(lower, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lower, "etc", "passwd"), []byte("joe:x:7:8::/home/joe:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var mounts []manager.Mount
	for _, text := range []string{"overlay:overlay:lowerdir=" + t.TempDir() + ":" + lower, "tmpfs:tmpfs:/run:size=1m"} {
		mount, err := manager.ParseMount(text)
		if err != nil {
			t.Fatal(err)
		}
		mounts = append(mounts, mount)
	}
	if _, err := m.Create(t.Context(), "box", manager.CreateConfig{Mounts: mounts[1:]}); !errors.Is(err, manager.ErrInvalid) {
		t.Errorf("Create without a mount at the root: %v", err)
	}
	c, err := m.Create(t.Context(), "box", manager.CreateConfig{Mounts: mounts, Process: manager.SpecConfig{User: "joe"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.Spec()
	if err != nil || s.Root.Path != "rootfs" || s.Process.User.UID != 7 || s.Process.User.GID != 8 || !slices.Contains(s.Process.Env, "HOME=/home/joe") {
		t.Errorf("spec = %+v %+v, %v", s.Root, s.Process, err)
	}
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); err != nil {
		t.Fatal(err)
	}
	if r := l.last().create.Rootfs; len(r) != 2 || r[0].Type != "overlay" || r[1].Target != "/run" {
		t.Errorf("Create.rootfs = %+v", r)
	}
}

// OCI runtimes refuse a root file system behind a link; people have them.
func TestRootfsBehindALink(t *testing.T) {
	m, _ := open(t)
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	c, err := m.Create(t.Context(), "box", manager.CreateConfig{Rootfs: link})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := c.Spec(); err != nil || s.Root.Path != real {
		t.Errorf("spec's root = %+v, %v, want %s", s.Root, err, real)
	}
}
