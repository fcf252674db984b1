package manager_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holdfast/holdfast/manager"
)

func TestCreateRefuses(t *testing.T) {
	m, _ := open(t)
	rootfs := t.TempDir()
	badJSON, noRoot := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(badJSON, "config.json"), []byte("{\n\"root\": {},\n oops}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(noRoot, "config.json"), []byte(`{"root":{"path":"missing"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	makeContainer(t, m, "taken")
	for name, c := range map[string]struct {
		id   string
		cfg  manager.CreateConfig
		want error
		text string
	}{
		"id up":        {"../x", manager.CreateConfig{Rootfs: rootfs}, manager.ErrInvalidID, "../x"},
		"id long":      {strings.Repeat("x", 200), manager.CreateConfig{Rootfs: rootfs}, manager.ErrInvalidID, "200"},
		"id dot":       {".x", manager.CreateConfig{Rootfs: rootfs}, manager.ErrInvalidID, ".x"},
		"id empty":     {"", manager.CreateConfig{Rootfs: rootfs}, manager.ErrInvalidID, "empty"},
		"taken":        {"taken", manager.CreateConfig{Rootfs: rootfs}, manager.ErrExists, "taken"},
		"nothing":      {"x", manager.CreateConfig{}, manager.ErrInvalid, "root file system"},
		"no bundle":    {"x", manager.CreateConfig{Bundle: "/no/such"}, os.ErrNotExist, "/no/such"},
		"empty bundle": {"x", manager.CreateConfig{Bundle: rootfs}, os.ErrNotExist, "config.json"},
		"bad JSON":     {"x", manager.CreateConfig{Bundle: badJSON}, manager.ErrInvalid, "line 3"},
		"no root":      {"x", manager.CreateConfig{Bundle: noRoot}, os.ErrNotExist, "missing"},
		"no rootfs":    {"x", manager.CreateConfig{Rootfs: "/no/such"}, os.ErrNotExist, "/no/such"},
		"relative":     {"x", manager.CreateConfig{SpecJSON: []byte(`{"root":{"path":"r"}}`)}, manager.ErrInvalid, "relative"},
		"both":         {"x", manager.CreateConfig{Rootfs: rootfs, Mounts: []manager.Mount{{Type: "tmpfs", Source: "x"}}}, manager.ErrInvalid, "both"},
		"two specs":    {"x", manager.CreateConfig{Rootfs: rootfs, SpecJSON: []byte("{}"), Spec: &specs.Spec{}}, manager.ErrInvalid, "more than one"},
		"label":        {"x", manager.CreateConfig{Rootfs: rootfs, Labels: map[string]string{"a=b": ""}}, manager.ErrInvalid, "label"},
		"user":         {"x", manager.CreateConfig{Rootfs: rootfs, Process: manager.SpecConfig{User: "nobody-here"}}, manager.ErrInvalid, "nobody-here"},
		"lower":        {"x", manager.CreateConfig{Mounts: []manager.Mount{{Type: "overlay", Source: "o", Options: []string{"lowerdir=/no/such"}}}}, os.ErrNotExist, "/no/such"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := m.Create(t.Context(), c.id, c.cfg)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Create: %v", err)
			}
		})
	}
	if got := names(t, filepath.Join(m.Root(), "test")); got != ".events taken" {
		t.Errorf("left over: %s", got)
	}
}

// Whoever runs the container again may be in another directory.
func TestProgramsAreRecordedForEveryDirectory(t *testing.T) {
	m, _ := open(t, manager.WithShim("bin/shim"))
	t.Chdir("/usr")
	for given, want := range map[string]string{"bin/env": "/usr/bin/env", "./bin/env": "/usr/bin/env", "/bin/true": "/bin/true", "true": "true"} {
		c, err := m.Create(t.Context(), "box", manager.CreateConfig{Rootfs: t.TempDir(), Runtime: manager.Runtime{Binary: given}})
		if err != nil {
			t.Fatal(err)
		}
		if r := c.Record(); r.Runtime.Binary != want || r.Shim != "/usr/bin/shim" {
			t.Errorf("%s is recorded as %s, the shim as %s", given, r.Runtime.Binary, r.Shim)
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCreateIsOneStep(t *testing.T) {
	m, _ := open(t)
	rootfs := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	ok := 0
	for range 8 {
		wg.Go(func() {
			_, err := m.Create(context.Background(), "box", manager.CreateConfig{Rootfs: rootfs})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ok++
			} else if !errors.Is(err, manager.ErrExists) {
				t.Errorf("Create: %v", err)
			}
		})
	}
	wg.Wait()
	if got := names(t, filepath.Join(m.Root(), "test")); ok != 1 || got != ".events box" {
		t.Errorf("%d created, there is %s", ok, got)
	}
}

func TestImportedSpecKeepsWhatIsNotOurs(t *testing.T) {
	m, _ := open(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "r"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := `{"ociVersion":"9.9","root":{"path":"r","fancy":1},"process":{"args":["a"],"env":["A=1","B=2"],"future":true},
		"mounts":[{"destination":"/old","mountpoint":1}],
		"linux":{"namespaces":[{"type":"pid"},{"type":"network"}],"seccomp":{"x":12345678901234567890}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	limit := int64(9)
	c, err := m.Create(t.Context(), "box", manager.CreateConfig{Bundle: dir, Process: manager.SpecConfig{
		Args: []string{"b", "c"}, Env: []string{"B=3", "C=4"}, Hostname: "h", HostNetwork: true, Terminal: true, User: "5:6", Readonly: true,
		Mounts: []specs.Mount{{Destination: "/new", Type: "tmpfs", Source: "tmpfs"}}, Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(c.Bundle(), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"9.9"`, `"mountpoint"`, `"fancy": 1`, `"future": true`, `12345678901234567890`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("lost %s: %s", want, raw)
		}
	}
	s, err := c.Spec()
	if err != nil {
		t.Fatal(err)
	}
	p := s.Process
	if s.Root.Path != filepath.Join(dir, "r") || !s.Root.Readonly || !slices.Equal(p.Args, []string{"b", "c"}) ||
		!slices.Equal(p.Env, []string{"A=1", "B=3", "C=4"}) || s.Hostname != "h" || !p.Terminal || p.User.UID != 5 || p.User.GID != 6 ||
		len(s.Linux.Namespaces) != 1 || len(s.Mounts) != 2 || s.Mounts[1].Destination != "/new" ||
		s.Linux.Resources == nil || *s.Linux.Resources.Pids.Limit != 9 || len(s.Linux.Resources.Devices) != 1 {
		t.Errorf("spec = %s", raw)
	}
}
