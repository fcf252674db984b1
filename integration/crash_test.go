package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/integration/harness"
	"golang.org/x/sys/unix"
)

// crashes are shims that died or do not answer.
func crashes() []scenario {
	return []scenario{
		{name: "a shim that was killed is reported at once, and rm -f cleans up", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			detach(w, "y", idle)
			shim := shimOf(t, w, "x")
			if err := shim.Signal(unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if !shim.Gone(harness.Patience) {
				t.Fatal("the shim survived SIGKILL")
			}
			began := time.Now()
			ps := w.OK("ps", "-a")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("ps took %v", took)
			}
			if !strings.Contains(ps, "unknown") || !strings.Contains(ps, "running") {
				t.Errorf("ps: %s", ps)
			}
			if i := w.Inspect("x"); i.Status != "unknown" {
				t.Errorf("inspect: %+v", i)
			}
			remove(w, "x", "y")
		}},
		{name: "a shim that hangs delays nobody but its own container", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			detach(w, "y", idle)
			shim := shimOf(t, w, "x")
			if err := shim.Signal(unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			ps := w.OK("ps", "-a")
			w.OK("exec", "y", "/bin/true")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("ps and exec took %v", took)
			}
			if !strings.Contains(ps, "running") {
				t.Errorf("ps: %s", ps)
			}
			remove(w, "x", "y")
		}},
	}
}

// shimOf returns the identity of a container's shim.
func shimOf(t *testing.T, w *harness.World, id string) harness.PID {
	t.Helper()
	i := w.Inspect(id)
	if i.Shim == nil {
		t.Fatalf("inspect tells no shim: %+v", i)
	}
	p, err := harness.Identify(i.Shim.PID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
