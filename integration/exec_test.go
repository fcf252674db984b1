package integration

import (
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// execs are further processes in a container.
func execs() []scenario {
	return []scenario{
		{name: "exec exits with the status of its process", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			for range 2 {
				r := w.Run("exec", "x", "/bin/sh", "-c", "echo out; echo err >&2; exit 5")
				if r.Code != 5 || r.Stdout != "out\n" || r.Stderr != "err\n" {
					t.Errorf("got %v", r)
				}
			}
			remove(w, "x")
		}},
		{name: "exec of a program that is not there exits 127, of one that cannot run 126", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			w.Refused(127, []string{"/bin/nope"}, "exec", "x", "/bin/nope")
			w.Refused(126, []string{"/etc/passwd"}, "exec", "x", "/etc/passwd")
			if r := run(w, nil, "y", "/bin/nope"); r.Code != 127 {
				t.Errorf("run: got %v", r)
			}
			if r := run(w, nil, "z", "/etc/passwd"); r.Code != 126 {
				t.Errorf("run: got %v", r)
			}
			remove(w, "x")
		}},
		{name: "a detached exec is waited for by its id", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			if got := w.OK("exec", "-d", "--exec-id", "e1", "x", "/bin/sh", "-c", "exit 6"); got != "e1" {
				t.Errorf("exec -d printed %q", got)
			}
			w.Want(6, "wait", "--exec", "e1", "x")
			w.Refused(125, []string{"e1"}, "wait", "--exec", "e1", "x")
			remove(w, "x")
		}},
		{name: "exec takes stdin, environment, directory and user", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			r := w.RunInput("from outside\n", "exec", "-i", "-e", "A=b c", "-w", "/tmp", "-u", "user", "x",
				"/bin/sh", "-c", `cat; echo "$A"; pwd; id -u; id -g`)
			if want := "from outside\nb c\n/tmp\n1000\n1000\n"; r.Code != 0 || r.Stdout != want {
				t.Errorf("want %q, got %v", want, r)
			}
			remove(w, "x")
		}},
		{name: "exec in a container that does not run is refused", run: func(t *testing.T, w *harness.World) {
			w.Refused(125, []string{"x"}, "exec", "x", "/bin/true")
			detach(w, "x", "exit 0")
			w.Want(0, "wait", "x")
			w.Refused(125, []string{"x"}, "exec", "x", "/bin/true")
			w.OK("rm", "x")
		}},
		{name: "the end of the container ends its execs, with their own status", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			e := w.Start("exec", "x", "/bin/sh", "-c", "echo in; sleep 3600")
			e.Await("in")
			w.OK("kill", "x")
			if got := e.Wait(); got != 137 {
				t.Errorf("status %d: %v", got, e)
			}
			w.Want(137, "wait", "x")
			w.OK("rm", "x")
		}},
		{name: "execs come and go by the dozen and leave nothing in the shim", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			w.OK("exec", "x", "/bin/true")
			before := w.Inspect("x")
			for range 12 {
				w.Want(3, "exec", "x", "/bin/sh", "-c", "exit 3")
			}
			// The shim learns a moment after us that we have hung up.
			w.Eventually("the shim holds no more than before", func() bool {
				after := w.Inspect("x")
				return len(after.Processes) == len(before.Processes) &&
					after.Shim.Fds <= before.Shim.Fds && after.Shim.Goroutines <= before.Shim.Goroutines
			})
			remove(w, "x")
		}},
		{name: "top lists the processes of the container and no others", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			e := w.Start("exec", "x", "/bin/sh", "-c", "echo in; sleep 4321")
			e.Await("in")
			top := w.OK("top", "x")
			if !strings.Contains(top, "4321") || strings.Contains(top, "holdfast") {
				t.Errorf("top: %s", top)
			}
			remove(w, "x")
			e.Wait()
		}},
	}
}
