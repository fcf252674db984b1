package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// records are what is remembered of containers: labels, events, listings.
func records() []scenario {
	return []scenario{
		{name: "labels are set, changed, removed and filtered by", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle, "--label", "tier=front", "--label", "a=b")
			detach(w, "y", idle, "--label", "tier=back")
			if got := w.OK("ps", "-q", "--filter", "label=tier=front"); got != "x" {
				t.Errorf("filtered: %q", got)
			}
			w.OK("label", "y", "tier=front", "new=1")
			w.OK("label", "x", "a-")
			if got := strings.Fields(w.OK("ps", "-q", "--filter", "label=tier=front")); len(got) != 2 {
				t.Errorf("filtered after the change: %q", got)
			}
			if l := w.Inspect("x").Labels; l["a"] != "" || l["tier"] != "front" {
				t.Errorf("labels of x: %v", l)
			}
			if l := w.Inspect("y").Labels; l["new"] != "1" {
				t.Errorf("labels of y: %v", l)
			}
			remove(w, "x", "y")
		}},
		{name: "events tell a life in order, execs before init", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			ready(w, "x")
			w.OK("exec", "-d", "--exec-id", "e1", "x", "/bin/sh", "-c", "sleep 3600")
			w.OK("kill", "x")
			w.Want(137, "wait", "x")
			w.OK("rm", "x")
			want := []string{"create", "start", "exec-added", "exec-started", "exit e1", "exit", "delete"}
			var got []string
			w.Eventually("events tell the whole life in order", func() bool {
				got = topics(t, w.OK("events", "--json"))
				return inOrder(got, want)
			})
			if t.Failed() {
				t.Errorf("events %q, want in that order %q", got, want)
			}
		}},
		{name: "ps answers from disk after every shim has ended", run: func(t *testing.T, w *harness.World) {
			for _, id := range []string{"x", "y", "z"} {
				detach(w, id, "exit 2")
				w.Want(2, "wait", id)
			}
			ps := w.OK("ps", "-a")
			if strings.Count(ps, "stopped (2)") != 3 {
				t.Errorf("ps: %s", ps)
			}
			w.OK("rm", "x", "y", "z")
		}},
		{name: "namespaces do not see one another", run: func(t *testing.T, w *harness.World) {
			detach(w, "x", idle)
			if got := w.OK("--namespace", w.Token+"b", "ps", "-a", "-q"); got != "" {
				t.Errorf("seen from another namespace: %q", got)
			}
			w.Refused(125, []string{"x"}, "--namespace", w.Token+"b", "inspect", "x")
			remove(w, "x")
		}},
	}
}

// topics returns the topics of events, with the id of the exec if there is one.
func topics(t *testing.T, lines string) []string {
	t.Helper()
	var got []string
	for line := range strings.Lines(lines) {
		var e struct {
			Topic  string `json:"topic"`
			ExecID string `json:"exec_id"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("event %q: %v", line, err)
		}
		topic := e.Topic[strings.LastIndexByte(e.Topic, '/')+1:]
		if topic == "exit" && e.ExecID != "" {
			topic += " " + e.ExecID
		}
		got = append(got, topic)
	}
	return got
}

// inOrder reports whether all of want occur in got, in that order.
func inOrder(got, want []string) bool {
	for _, g := range got {
		if len(want) > 0 && g == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}
