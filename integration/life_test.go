package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// life is a container's way from run to rm.
func life() []scenario {
	return []scenario{
		{name: "run exits with the status of the process", run: func(t *testing.T, w *harness.World) {
			for _, code := range []int{0, 1, 7, 255} {
				r := run(w, []string{"--rm"}, fmt.Sprintf("x%d", code), "/bin/sh", "-c", fmt.Sprintf("exit %d", code))
				if r.Code != code || r.Stdout != "" || r.Stderr != "" {
					t.Errorf("exit %d: got %v", code, r)
				}
			}
			if got := w.OK("ps", "-a", "--json"); got != "" && got != "[]" {
				t.Errorf("containers left by run --rm: %s", got)
			}
		}},
		{name: "a detached container lives on without any holdfast", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			i := w.Inspect("x")
			if i.Status != "running" || i.PID == 0 || i.Shim == nil || i.ID != "x" || i.Namespace != w.Namespace {
				t.Errorf("inspect: %+v", i)
			}
			w.OK("kill", "-s", "TERM", "x")
			w.Want(0, "wait", "x")
			if got := status(w, "x"); got != "stopped" {
				t.Errorf("status after the exit: %s", got)
			}
			w.OK("rm", "x")
		}},
		{name: "the exit status waits for whoever comes late", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", "exit 9")
			for range 3 {
				if got := w.Want(9, "wait", "x"); got != "9" {
					t.Errorf("wait printed %q", got)
				}
			}
			if e := w.Inspect("x").Exit; e == nil || e.Code != 9 || !e.Known || e.Signal != 0 {
				t.Errorf("exit in inspect: %+v", e)
			}
			w.OK("rm", "x")
		}},
		{name: "the exit status reaches everyone who waits", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `trap 'exit 9' TERM; echo ready; while :; do sleep 3600 & wait $!; done`)
			var waits []*harness.Process
			for range 4 {
				waits = append(waits, w.Start("wait", "x"))
			}
			ready(w, "x")
			w.OK("kill", "-s", "TERM", "x")
			for _, p := range waits {
				if got := p.Wait(); got != 9 {
					t.Errorf("status %d: %v", got, p)
				}
			}
			w.OK("rm", "x")
		}},
		{name: "create makes, start runs, and start runs again", run: func(t *testing.T, w *harness.World) {
			args := runArgs(w, nil, "x", []string{"/bin/sh", "-c", "echo once; exit 3"})
			args[0] = "create"
			if got := w.OK(args...); got != "x" {
				t.Errorf("create printed %q", got)
			}
			if i := w.Inspect("x"); i.Status != "created" || i.PID == 0 {
				t.Errorf("after create: %+v", i)
			}
			for range 3 {
				w.OK("start", "x")
				w.Want(3, "wait", "x")
			}
			w.OK("rm", "x")
		}},
		{name: "a created container can be removed without ever starting", run: func(t *testing.T, w *harness.World) {
			args := runArgs(w, nil, "x", []string{"/bin/true"})
			args[0] = "create"
			w.OK(args...)
			remove(w, "x")
		}},
		{name: "rm refuses what runs, and -f ends it", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			w.Refused(125, []string{"x", "running"}, "rm", "x")
			if got := status(w, "x"); got != "running" {
				t.Errorf("status after a refused rm: %s", got)
			}
			w.OK("rm", "-f", "x")
			w.Refused(125, []string{"x"}, "inspect", "x")
			w.OK("rm", "-f", "x") // what is not there is removed
		}},
		{name: "of five that create one id, one wins", run: func(t *testing.T, w *harness.World) {
			args := runArgs(w, []string{"-d"}, "x", []string{"/bin/sh", "-c", idle})
			var calls []*harness.Process
			for range 5 {
				calls = append(calls, w.Start(args...))
			}
			won := 0
			for _, p := range calls {
				if p.Wait() == 0 {
					won++
				} else if !strings.Contains(p.Stderr.String(), "exists") {
					t.Errorf("a loser does not say that the id exists: %v", p)
				}
			}
			if won != 1 || status(w, "x") != "running" {
				t.Errorf("%d calls won, status %s", won, status(w, "x"))
			}
			remove(w, "x")
		}},
		{name: "many containers run side by side", run: func(t *testing.T, w *harness.World) {
			const n = 8
			var ids []string
			for i := range n {
				ids = append(ids, fmt.Sprintf("x%d", i))
			}
			var calls []*harness.Process
			for _, id := range ids {
				calls = append(calls, w.Start(runArgs(w, []string{"-d"}, id, []string{"/bin/sh", "-c", idle})...))
			}
			for _, p := range calls {
				if code := p.Wait(); code != 0 {
					t.Errorf("status %d: %v", code, p)
				}
			}
			if got := strings.Count(w.OK("ps", "-q"), "\n") + 1; got != n {
				t.Errorf("ps lists %d, want %d", got, n)
			}
			remove(w, ids...)
		}},
	}
}

// ready waits until a container has printed "ready", as idle does once its trap
// is set.
func ready(w *harness.World, id string) {
	w.T.Helper()
	logged(w, id, "ready")
}

// logged waits until a container's log holds text.
func logged(w *harness.World, id, text string) {
	w.T.Helper()
	p := w.Start("logs", "-f", id)
	p.Await(text)
	p.Kill()
}
