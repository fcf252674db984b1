package integration

import (
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// counting is a script whose state is a number.
const counting = `i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done`

func TestCheckpoint(t *testing.T) {
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			harness.Need(t, runtime)
			dir := harness.NeedCheckpoint(t, runtime)
			for _, s := range checkpoints() {
				t.Run(s.name, func(t *testing.T) {
					w := harness.New(t, runtime)
					w.Env = append(w.Env, "HOLDFAST_CRIU_DIR="+dir)
					s.run(t, w)
				})
			}
		})
	}
}

func checkpoints() []scenario {
	return []scenario{
		{name: "a counting process goes on counting where it was", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", counting)
			logged(w, "x", "5\n")
			w.OK("checkpoint", "x", w.Path("image"))
			if got := status(w, "x"); got != "stopped" {
				t.Errorf("status after a checkpoint: %s", got)
			}
			before := numbers(t, w.OK("logs", "x"))
			last := before[len(before)-1]
			if got := w.OK("restore", "-d", "x", w.Path("image")); got != "x" {
				t.Errorf("restore -d printed %q", got)
			}
			logged(w, "x", "\n"+strconv.Itoa(last+5)+"\n")
			after := numbers(t, w.OK("logs", "x"))
			for i := 1; i < len(after); i++ {
				if after[i] != after[i-1]+1 && after[i] != last+1 {
					t.Errorf("counted %d after %d", after[i], after[i-1])
				}
			}
			w.OK("exec", "x", "/bin/true")
			w.OK("kill", "x")
			w.Want(137, "wait", "x")
			w.OK("rm", "x")
		}},
		{name: "a container can be saved while it goes on, and be restored as another", run: func(t *testing.T, w *harness.World) {
			root := w.Rootfs("shared")
			w.OK("run", "-d", "--rootfs", root, "x", "/bin/sh", "-c", counting)
			logged(w, "x", "5\n")
			w.OK("checkpoint", "--leave-running", "x", w.Path("image"))
			if got := status(w, "x"); got != "running" {
				t.Errorf("status after a checkpoint that leaves it running: %s", got)
			}
			remove(w, "x")
			w.OK("restore", "-d", "--rootfs", root, "y", w.Path("image"))
			logged(w, "y", "\n")
			if first := numbers(t, w.OK("logs", "y"))[0]; first < 5 {
				t.Errorf("the restored one counts from %d", first)
			}
			remove(w, "y")
		}},
		{name: "what is no checkpoint cannot be restored, and nothing is left", run: func(t *testing.T, w *harness.World) {
			w.Refused(125, []string{"/nowhere/image"}, "restore", "-d", "--rootfs", w.Rootfs("x"), "x", "/nowhere/image")
			w.Refused(125, []string{w.Dir}, "restore", "-d", "--rootfs", w.Rootfs("y"), "y", w.Path("rootfs"))
		}},
	}
}

// numbers parses one number a line.
func numbers(t *testing.T, text string) []int {
	t.Helper()
	var all []int
	for word := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("log: %v in %q", err, text)
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		t.Fatal("the log is empty")
	}
	return all
}
