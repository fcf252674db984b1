package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/types"
)

func TestOpenMakesPrivateRoot(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	m, err := manager.Open(root, "ns")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Join(root, "ns")} {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, st, err)
		}
	}
	if m.Root() != root || m.Namespace() != "ns" {
		t.Errorf("manager of %s, %s", m.Root(), m.Namespace())
	}
	for _, bad := range []string{"", "..", "a/b", ".x", strings.Repeat("n", 77)} {
		if _, err := manager.Open(root, bad); !errors.Is(err, manager.ErrInvalidID) {
			t.Errorf("Open namespace %q: %v", bad, err)
		}
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := manager.Open(file, "ns"); err == nil {
		t.Error("Open below a file succeeded")
	}
}

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
		"linux":{"namespaces":[{"type":"pid"},{"type":"network"}],"seccomp":{"x":12345678901234567890}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := m.Create(t.Context(), "box", manager.CreateConfig{Bundle: dir, Process: manager.SpecConfig{
		Args: []string{"b", "c"}, Env: []string{"B=3", "C=4"}, Hostname: "h", HostNetwork: true, Terminal: true, User: "5:6", Readonly: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(c.Bundle(), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"9.9"`, `"fancy": 1`, `"future": true`, `12345678901234567890`} {
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
		len(s.Linux.Namespaces) != 1 {
		t.Errorf("spec = %s", raw)
	}
}

func TestLabelsSurviveEverybody(t *testing.T) {
	m, _ := open(t, manager.WithLockTimeout(20*time.Second))
	makeContainer(t, m, "box")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c, err := m.Load(context.Background(), "box")
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.SetLabels(context.Background(), map[string]string{fmt.Sprint("k", i): "v", "gone": "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c, err := m.Load(t.Context(), "box")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetLabels(t.Context(), nil, "gone"); err != nil {
		t.Fatal(err)
	}
	again, err := m.Load(t.Context(), "box")
	if err != nil || len(again.Labels()) != 16 || len(c.Labels()) != 16 {
		t.Errorf("labels = %v, %v", again.Labels(), err)
	}
	if err := c.SetLabels(t.Context(), map[string]string{"": "x"}); !errors.Is(err, manager.ErrInvalid) {
		t.Errorf("empty key: %v", err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.SetLabels(t.Context(), map[string]string{"a": "b"}); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("labels of the deleted: %v", err)
	}
}

func TestListFilters(t *testing.T) {
	m, _ := open(t)
	rootfs := t.TempDir()
	for id, labels := range map[string]map[string]string{
		"a1": {"app": "web", "tier": "1"}, "a2": {"app": "db"}, "b1": {},
	} {
		if _, err := m.Create(t.Context(), id, manager.CreateConfig{Rootfs: rootfs, Labels: labels}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, m, "c1")
	for want, filters := range map[string][]string{
		"a1 a2 b1 c1": nil,
		"a1 a2":       {"label=app"},
		"a1":          {"label=app=web"},
		"a2 b1 c1":    {"label=app!=web"},
		"b1 c1":       {"label!=app"},
		"a2":          {"label=app", "label!=tier"},
		"a1 b1 c1":    {"id=*1"},
		"c1":          {"status=running"},
		"a1 a2 b1":    {"status=none"},
	} {
		list, err := m.List(t.Context(), filters...)
		var ids []string
		for _, c := range list {
			ids = append(ids, c.ID())
		}
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("List(%v) = %s, %v, want %s", filters, got, err, want)
		}
	}
	for _, bad := range []string{"x", "label=", "colour=red", "status=happy", "id=["} {
		if _, err := m.List(t.Context(), bad); !errors.Is(err, manager.ErrInvalid) {
			t.Errorf("List(%s): %v", bad, err)
		}
	}
}

func TestListIgnoresStrangersAndShowsForeign(t *testing.T) {
	m, l := open(t)
	ns := filepath.Join(m.Root(), "test")
	makeContainer(t, m, "ours")
	for _, dir := range []string{".hidden", "emptydir", "not an id", ".gone-x-12"} {
		if err := os.Mkdir(filepath.Join(ns, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(ns, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(ns, "ours"), filepath.Join(ns, "link")); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(ns, "broken")
	if err := os.Mkdir(broken, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "container.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(ns, "theirs")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(ns, "theirs", "s.sock")
	ln, err := serve.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Launch(t.Context(), serve.Request{ID: "theirs", Namespace: "test", Bundle: foreign, Listener: ln}); err != nil {
		t.Fatal(err)
	}
	ln.Close()
	l.last().procs[""] = &fakeProc{state: types.StatusRunning, exited: make(chan struct{})}
	for name, text := range map[string]string{
		"config.json": `{"process":{"args":["x"]}}`, "runtime": "runc",
		"bootstrap.json": `{"version":2,"address":"unix://` + socket + `","protocol":"ttrpc"}`,
	} {
		if err := os.WriteFile(filepath.Join(foreign, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := m.List(t.Context())
	var got []string
	for _, c := range list {
		s, err := c.Status(t.Context())
		got = append(got, fmt.Sprint(c.ID(), " ", s.State, " ", err, " ", c.Record().Problem != ""))
		c.Close()
	}
	want := []string{"broken none <nil> true", "ours none <nil> false", "theirs running <nil> false"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %v, %v", got, err)
	}
	c, err := m.Load(t.Context(), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Delete(t.Context()); !errors.Is(err, manager.ErrState) {
		t.Errorf("Delete without force: %v", err)
	}
	if err := c.SetLabels(t.Context(), map[string]string{"a": "b"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SetLabels: %v", err)
	}
}

func TestListOfThousandReadsDisksOnly(t *testing.T) {
	m, _ := open(t)
	c := makeContainer(t, m, "box")
	raw, err := os.ReadFile(filepath.Join(c.Bundle(), "container.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 999 {
		dir := filepath.Join(m.Root(), "test", fmt.Sprint("c", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "container.json"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	list, err := m.List(t.Context())
	took := time.Since(begin)
	if err != nil || len(list) != 1000 || list[1].ID() != "c0" {
		t.Errorf("List of %d, %v", len(list), err)
	}
	t.Logf("1000 containers listed in %v", took)
	if took > 2*time.Second {
		t.Errorf("List took %v", took)
	}
	begin = time.Now()
	m.Statuses(t.Context(), list)
	t.Logf("and asked after in %v", time.Since(begin))
}

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
