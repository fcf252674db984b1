package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
	"golang.org/x/sys/unix"
)

// signals are kill, pause, and what arrives at holdfast itself.
func signals() []scenario {
	return []scenario{
		{name: "a process that a signal killed is reported as such", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			w.OK("kill", "x")
			w.Want(137, "wait", "x")
			if e := w.Inspect("x").Exit; e == nil || e.Signal != 9 || e.Code != 137 || !e.Known || e.Core {
				t.Errorf("exit: %+v", e)
			}
			w.OK("rm", "x")
		}},
		{name: "signal 0 only asks", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			w.OK("kill", "-s", "0", "x")
			if got := status(w, "x"); got != "running" {
				t.Errorf("status: %s", got)
			}
			w.OK("kill", "-s", "KILL", "x")
			w.Want(137, "wait", "x")
			w.Refused(125, []string{"x"}, "kill", "-s", "0", "x")
			w.OK("rm", "x")
		}},
		{name: "kill -a reaches every process of the container", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `trap 'echo one' USR1; sh -c "trap 'echo two' USR1; echo child; while :; do sleep 1; done" & echo ready; while :; do sleep 1; done`)
			logged(w, "x", "child")
			ready(w, "x")
			w.OK("kill", "-a", "-s", "USR1", "x")
			logged(w, "x", "one")
			logged(w, "x", "two")
			remove(w, "x")
		}},
		{name: "a signal to a foreground run is passed on", run: func(t *testing.T, w *harness.World) {
			for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
				id := "x" + strings.TrimPrefix(unix.SignalName(sig), "SIG")
				p := w.Start(runArgs(w, []string{"--rm"}, id, []string{"/bin/sh", "-c",
					`trap 'exit 40' INT; trap 'exit 41' TERM; echo ready; while :; do sleep 3600 & wait $!; done`})...)
				p.Await("ready")
				p.Signal(sig)
				want := 40
				if sig == unix.SIGTERM {
					want = 41
				}
				if code := p.Wait(); code != want {
					t.Errorf("%v: status %d, want %d: %v", sig, code, want, p)
				}
			}
		}},
		{name: "kill -9 of a foreground run leaves its container running", run: func(t *testing.T, w *harness.World) {
			p := w.Start(runArgs(w, nil, "x", []string{"/bin/sh", "-c", `trap 'exit 9' TERM; while :; do echo tick; sleep 0.05; done`})...)
			p.Await("tick")
			p.Kill() // perhaps before the OCI runtime's start has returned
			w.Eventually("the container is running", func() bool { return status(w, "x") == "running" })
			a := w.Start("attach", "--no-stdin", "x")
			a.Await("tick\ntick\n") // it did not die of writing to nobody
			w.OK("kill", "-s", "TERM", "x")
			a.Wait()
			w.Want(9, "wait", "x")
			w.OK("rm", "x")
		}},
		{name: "pause freezes and resume thaws", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `echo ready; read line; echo "got $line"; `+idle, "-i")
			ready(w, "x")
			w.OK("pause", "x")
			if got := status(w, "x"); got != "paused" {
				t.Errorf("status: %s", got)
			}
			w.Refused(125, []string{"x", "paused"}, "pause", "x")
			w.Refused(125, []string{"x", "paused"}, "exec", "x", "/bin/true")
			w.OK("resume", "x")
			if got := status(w, "x"); got != "running" {
				t.Errorf("status: %s", got)
			}
			w.OK("exec", "x", "/bin/true")
			w.Refused(125, []string{"x"}, "resume", "x")
			remove(w, "x")
		}},
		{name: "a paused container can be killed and removed", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			detach(w, "y", idle)
			w.OK("pause", "x", "y")
			w.OK("rm", "-f", "x")
			w.OK("kill", "y")
			w.Want(137, "wait", "y")
			w.OK("rm", "y")
		}},
		{name: "kill -9 of init ends all that shares its namespace", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `sleep 3600 & sleep 3600 & `+idle)
			ready(w, "x")
			p, err := harness.Identify(w.Inspect("x").PID)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Signal(unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			w.Want(137, "wait", "x")
			if _, err := os.Stat(w.Bundle("x")); err != nil {
				t.Errorf("the container is not only its process: %v", err)
			}
			w.OK("rm", "x")
		}},
	}
}
