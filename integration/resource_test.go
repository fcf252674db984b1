package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// resources are limits and counters.
func resources() []scenario {
	return []scenario{
		{name: "update changes a limit while the container runs", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			for _, mib := range []uint64{64, 96} {
				w.OK("update", "--memory", fmt.Sprintf("%dm", mib), "x")
				if got := count(t, w, "x").Memory.Limit; got != mib<<20 {
					t.Errorf("memory limit %d, want %d MiB", got, mib)
				}
			}
			w.OK("update", "--pids-limit", "20", "x")
			r := w.Run("exec", "x", "/bin/sh", "-c", `i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo all`)
			if strings.Contains(r.Stdout, "all") {
				t.Errorf("30 processes fit under a limit of 20: %v", r)
			}
			remove(w, "x")
		}},
		{name: "stats counts memory, processor time and processes", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; `+idle)
			ready(w, "x")
			c := count(t, w, "x")
			if c.Memory.Usage == 0 || c.CPU.Usage == 0 || c.Pids.Current < 2 {
				t.Errorf("counters: %+v", c)
			}
			remove(w, "x")
		}},
		{name: "the out-of-memory killer is named as the cause of death", contained: true, run: func(t *testing.T, w *harness.World) {
			detach(w, "x", `read go; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done`, "-i", "--memory", "24m")
			a := w.Start("attach", "x")
			a.Stdin.Write([]byte("go\n"))
			w.Want(137, "wait", "x")
			a.Wait()
			if e := w.Inspect("x").Exit; e == nil || !e.OOM || e.Signal != 9 {
				t.Errorf("exit: %+v", e)
			}
			w.OK("rm", "x")
		}},
	}
}

// counters is the part of `stats --json` that tests look at.
type counters struct {
	Memory struct{ Usage, Limit uint64 }
	CPU    struct{ Usage uint64 }
	Pids   struct{ Current, Limit uint64 }
}

// count returns one reading of a container's counters.
func count(t *testing.T, w *harness.World, id string) (c counters) {
	t.Helper()
	text := w.OK("stats", "--no-stream", "--json", id)
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("stats: %v in %s", err, text)
	}
	return c
}
