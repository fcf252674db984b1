package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
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
