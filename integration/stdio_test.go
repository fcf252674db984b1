package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
	"golang.org/x/sys/unix"
)

// streams are stdin, stdout and stderr without a terminal.
func streams() []scenario {
	return []scenario{
		{name: "stdin goes in, stdout and stderr come out apart", run: func(t *testing.T, w *harness.World) {
			r := w.RunInput("one\ntwo\n", runArgs(w, []string{"--rm", "-i"}, "x", []string{"/bin/sh", "-c", "cat; echo err >&2"})...)
			if r.Code != 0 || r.Stdout != "one\ntwo\n" || r.Stderr != "err\n" {
				t.Errorf("got %v", r)
			}
		}},
		{name: "without -i stdin is at its end", run: func(t *testing.T, w *harness.World) {
			r := w.RunInput("not for you\n", runArgs(w, []string{"--rm"}, "x", []string{"/bin/sh", "-c", "cat; echo end"})...)
			if r.Code != 0 || r.Stdout != "end\n" {
				t.Errorf("got %v", r)
			}
		}},
		{name: "every byte arrives, however many, in both directions", run: func(t *testing.T, w *harness.World) {
			data := make([]byte, 4<<20)
			for i := range data {
				data[i] = byte(i*7 + i>>9)
			}
			r := w.RunInput(string(data), runArgs(w, []string{"--rm", "-i"}, "x", []string{"/bin/cat"})...)
			if r.Code != 0 || r.Stdout != string(data) {
				t.Errorf("status %d, %d bytes of %d, sha256 %x want %x", r.Code, len(r.Stdout), len(data), sha256.Sum256([]byte(r.Stdout)), sha256.Sum256(data))
			}
		}},
		{name: "the last words of a process that ends at once are not lost", run: func(t *testing.T, w *harness.World) {
			for i := range 5 {
				r := run(w, []string{"--rm"}, fmt.Sprintf("x%d", i), "/bin/sh", "-c", "echo last words; echo err >&2; exit 4")
				if r.Code != 4 || r.Stdout != "last words\n" || r.Stderr != "err\n" {
					t.Errorf("got %v", r)
				}
			}
		}},
		{name: "logs prints what was written, also after the end", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", "echo one; echo two >&2; exit 1")
			w.Want(1, "wait", "x")
			r := w.Run("logs", "x")
			if all := r.Stdout + r.Stderr; r.Code != 0 || !strings.Contains(all, "one\n") || !strings.Contains(all, "two\n") {
				t.Errorf("got %v", r)
			}
			w.OK("rm", "x")
		}},
		{name: "logs -f follows until the container ends", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 3600 & wait $!; done`)
			f := w.Start("logs", "-f", "x")
			f.Await("ready")
			w.OK("kill", "-s", "TERM", "x")
			if code := f.Wait(); code != 0 || !strings.Contains(f.Stdout.String(), "bye\n") {
				t.Errorf("status %d: %v", code, f)
			}
			w.OK("rm", "x")
		}},
		{name: "a log can be a file of one's own, in CRI format", run: func(t *testing.T, w *harness.World) {
			file := w.Path("deep", "x.log")
			detach(w, "x", "echo one; echo two >&2", "--log", "file://"+file+"?format=cri")
			w.Want(0, "wait", "x")
			text, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(text), " stdout F one\n") || !strings.Contains(string(text), " stderr F two\n") {
				t.Errorf("log: %v, %q", err, text)
			}
			w.OK("rm", "x")
			if _, err := os.Stat(file); err != nil {
				t.Errorf("the user's log file did not survive rm: %v", err)
			}
		}},
		{name: "attach joins the streams and leaves without ending the process", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `echo ready; while read line; do echo "got $line"; done; echo eof`, "-i")
			ready(w, "x")
			for _, word := range []string{"first", "second"} {
				a := w.Start("attach", "--sig-proxy=false", "x")
				fmt.Fprintln(a.Stdin, word)
				a.Await("got " + word)
				a.Kill()
				if got := status(w, "x"); got != "running" {
					t.Errorf("status after the client was killed: %s", got)
				}
			}
			a := w.Start("attach", "x")
			fmt.Fprintln(a.Stdin, "third")
			a.Await("got third")
			a.Stdin.Close() // the end of stdin is the container's too
			if code := a.Wait(); code != 0 || !strings.Contains(a.Stdout.String(), "eof") {
				t.Errorf("status %d: %v", code, a)
			}
			w.Want(0, "wait", "x")
			w.OK("rm", "x")
		}},
		{name: "a reader that stops reading does not stop the others", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `read go; i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo "line $i of a text that is long enough to fill pipes"; done; echo end`, "-i")
			stuck := w.Start("attach", "--no-stdin", "x")
			stuck.Signal(unix.SIGSTOP)
			live := w.Start("logs", "-f", "x")
			feed := w.Start("attach", "x")
			fmt.Fprintln(feed.Stdin, "go")
			live.Await("line 1 ")
			stuck.Kill()
			live.Await("line 40000 ")
			feed.Wait()
			live.Wait()
			w.Want(0, "wait", "x")
			w.OK("rm", "x")
		}},
	}
}
