package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// terminals are processes that have one.
func terminals() []scenario {
	shell := []string{"/bin/sh", "-c", `trap 'echo resized $(stty size)' WINCH; trap 'echo caught INT' INT; stty -echo; stty size; echo ready
while :; do read line || continue; [ "$line" = quit ] && exit 6; echo "got $line"; done`}
	return []scenario{
		{name: "a terminal has the user's size from its first moment", run: func(t *testing.T, w *harness.World) {
			term := w.Terminal(71, 19, runArgs(w, []string{"--rm", "-t", "-i"}, "x", []string{"/bin/sh", "-c", "stty size; test -t 0 && test -t 1 && test -t 2 && exit 8"})...)
			if code := term.Wait(); code != 8 || !strings.Contains(term.Stdout.String(), "19 71\r") {
				t.Errorf("status %d: %v", code, term)
			}
			if !term.Cooked() {
				t.Errorf("the user's terminal was not restored")
			}
		}},
		{name: "keys, window size and Ctrl-C reach the process", run: func(t *testing.T, w *harness.World) {
			term := w.Terminal(80, 24, runArgs(w, []string{"--rm", "-t", "-i"}, "x", shell)...)
			term.Await("24 80")
			term.Await("ready")
			term.Type("hello\r")
			term.Await("got hello")
			term.Resize(90, 30)
			term.Await("resized 30 90")
			term.Type("\x03")
			term.Await("caught INT")
			term.Type("quit\r")
			if code := term.Wait(); code != 6 || !term.Cooked() {
				t.Errorf("status %d, restored %v: %v", code, term.Cooked(), term)
			}
		}},
		{name: "ctrl-p ctrl-q leaves the process running, attach comes back", run: func(t *testing.T, w *harness.World) {
			term := w.Terminal(80, 24, runArgs(w, []string{"-t", "-i"}, "x", shell)...)
			term.Await("ready")
			term.Type("\x10\x11")
			if code := term.Wait(); code != 0 || !term.Cooked() {
				t.Errorf("status %d, restored %v: %v", code, term.Cooked(), term)
			}
			if got := status(w, "x"); got != "running" {
				t.Fatalf("status after leaving: %s", got)
			}
			back := w.Terminal(100, 40, "attach", "x")
			back.Await("resized 40 100")
			back.Type("quit\r")
			if code := back.Wait(); code != 6 || !back.Cooked() {
				t.Errorf("status %d, restored %v: %v", code, back.Cooked(), back)
			}
			w.OK("rm", "x")
		}},
		{name: "an exec has a terminal of its own", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			command := "stty size; read line; echo got $line; exit 3"
			crun := filepath.Base(w.Runtime) == "crun" // sets the size in one process and runs the program in another
			if crun {
				command = "read started; " + command
			}
			term := w.Terminal(60, 20, "exec", "-t", "-i", "x", "/bin/sh", "-c", command)
			if crun {
				term.Type("\r") // arrives when crun has returned
			}
			term.Await("20 60")
			term.Type("word\r")
			term.Await("got word")
			if code := term.Wait(); code != 3 || !term.Cooked() {
				t.Errorf("status %d, restored %v: %v", code, term.Cooked(), term)
			}
			remove(w, "x")
		}},
		{name: "kill -9 of a client with a terminal leaves the process running", run: func(t *testing.T, w *harness.World) {
			term := w.Terminal(80, 24, runArgs(w, []string{"-t", "-i"}, "x", shell)...)
			term.Await("ready")
			term.Kill()
			back := w.Terminal(80, 24, "attach", "x")
			back.Type("again\r")
			back.Await("got again")
			back.Type("quit\r")
			if code := back.Wait(); code != 6 {
				t.Errorf("status %d: %v", code, back)
			}
			w.OK("rm", "x")
		}},
	}
}
