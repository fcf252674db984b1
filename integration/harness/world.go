package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Patience is how long the harness waits for anything that must happen: far
// longer than it takes on a loaded machine, and short enough that a hang is
// told from slowness within a test run.
const Patience = 30 * time.Second

// World is where one test happens. Its methods fail the test on any error of
// their own. They may be called from the test's goroutine only.
type World struct {
	T         testing.TB
	Token     string // in the name of everything this world makes
	Dir       string // temporary files; short, because sockets live below it
	Root      string // of holdfast's state
	Namespace string
	Runtime   string // path of the OCI runtime
	Env       []string

	started []*Process // by Start and Terminal; ended by the cleanup
}

// New makes a world for t that runs containers with the OCI runtime of that
// name: "fake" (see package ocitest), "runc" or "crun". What is left of it when
// the test ends fails the test.
func New(t testing.TB, runtime string) *World {
	t.Helper()
	NeedRoot(t)
	Need(t, "busybox")
	path := Binary("fakeoci")
	if runtime != "fake" {
		path = Need(t, runtime)
	}
	dir, err := os.MkdirTemp("/tmp", "hfw")
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Base(dir)
	w := &World{T: t, Token: token, Dir: dir, Root: dir + "/r", Namespace: token, Runtime: path}
	w.Env = append(os.Environ(),
		"HOLDFAST_ROOT="+w.Root, "HOLDFAST_NAMESPACE="+w.Namespace, "HOLDFAST_RUNTIME="+w.Runtime,
		"HOLDFAST_SHIM="+Binary("containerd-shim-holdfast-v2"), "TERM=xterm")
	t.Cleanup(w.end)
	return w
}

// Path returns a path below the world's directory.
func (w *World) Path(elem ...string) string {
	return filepath.Join(append([]string{w.Dir}, elem...)...)
}

// Bundle returns the directory that holdfast keeps for a container.
func (w *World) Bundle(id string) string { return filepath.Join(w.Root, w.Namespace, id) }

// Fake reports whether containers are processes without namespaces.
func (w *World) Fake() bool { return filepath.Base(w.Runtime) == "fakeoci" }

// Eventually waits until ok, which takes a while by itself and of which nobody
// sends word, is true. It fails the test if that does not come to be.
func (w *World) Eventually(what string, ok func() bool) {
	w.T.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.T.Errorf("it did not come true that %s", what)
			return
		}
	}
}

// end ends what the test has started, checks that nothing else is left, and
// removes everything.
func (w *World) end() {
	for _, p := range w.started {
		p.Kill()
	}
	left := w.settle()
	for _, what := range left {
		w.T.Errorf("left behind: %s", what)
	}
	if len(left) > 0 || w.T.Failed() {
		w.logState()
	}
	w.raze()
	if mounts := mountsUnder(w.Dir); len(mounts) > 0 {
		w.T.Errorf("cannot remove %s, still mounted: %v", w.Dir, mounts)
		return
	}
	if err := os.RemoveAll(w.Dir); err != nil {
		w.T.Errorf("remove world: %v", err)
	}
}

// logState puts into the test's log what the shims have logged.
func (w *World) logState() {
	logs, _ := filepath.Glob(filepath.Join(w.Root, w.Namespace, "*", "log"))
	for _, name := range logs {
		if text, err := os.ReadFile(name); err == nil && len(text) > 0 {
			w.T.Logf("%s:\n%s", name, text)
		}
	}
}
