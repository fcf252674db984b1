package manager_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/types"
)

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
