package manager_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// eventually polls where nothing can be waited for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

// leaks fails the test if goroutines or descriptors are left at its end.
func leaks(t *testing.T) {
	t.Helper()
	fds := func() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }
	before, fdsBefore := runtime.NumGoroutine(), fds()
	t.Cleanup(func() {
		defer func() {
			if t.Failed() {
				buf := make([]byte, 1<<20)
				t.Logf("%s", buf[:runtime.Stack(buf, true)])
			}
		}()
		eventually(t, "goroutines and descriptors end", func() bool {
			return runtime.NumGoroutine() <= before && fds() <= fdsBefore
		})
	})
}

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}
