package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// scenario is one behaviour, to be had on every OCI runtime.
type scenario struct {
	name string // a sentence about behaviour
	run  func(t *testing.T, w *harness.World)
	// contained scenarios need namespaces, a root file system or cgroups, which
	// the fake runtime does not give its processes.
	contained bool
}

// scenarios are all of them; each group is in the file of its subject.
func scenarios() []scenario {
	var all []scenario
	for _, group := range [][]scenario{life(), execs(), streams(), terminals(), signals(), resources(), roots(), records(), crashes()} {
		all = append(all, group...)
	}
	return all
}

func TestScenarios(t *testing.T) {
	for _, runtime := range []string{"fake", "runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			if runtime != "fake" {
				harness.Need(t, runtime)
			}
			for _, s := range scenarios() {
				if s.contained && runtime == "fake" {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.run(t, harness.New(t, runtime))
				})
			}
		})
	}
}

// run calls `holdfast run` with a root file system of its own and returns how it
// ended. flags end before the id.
func run(w *harness.World, flags []string, id string, command ...string) harness.Result {
	w.T.Helper()
	return w.Run(runArgs(w, flags, id, command)...)
}

// detach runs a shell script in the background and fails the test if that does
// not work.
func detach(w *harness.World, id, script string, flags ...string) {
	w.T.Helper()
	if got := w.OK(runArgs(w, append([]string{"-d"}, flags...), id, []string{"/bin/sh", "-c", script})...); got != id {
		w.T.Fatalf("run -d printed %q, want the id %q", got, id)
	}
}

func runArgs(w *harness.World, flags []string, id string, command []string) []string {
	w.T.Helper()
	args := append([]string{"run"}, flags...)
	// The token in the environment lets the leak check find processes that
	// have no namespace to be found by.
	args = append(args, "--env", "WORLD="+w.Token)
	if w.Fake() {
		args = append(args, "--bundle", plainBundle(w, id), id)
	} else {
		args = append(args, "--rootfs", w.Rootfs(id), id)
	}
	return append(args, command...)
}

// plainBundle makes a bundle without any namespace: what the fake runtime gives
// its processes is what the spec must say, because a shim leaves it to the end of
// a pid namespace to end those in it.
func plainBundle(w *harness.World, id string) string {
	w.T.Helper()
	dir := w.Path("bundle-" + id)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		w.T.Fatal(err)
	}
	writeSpec(w, dir, specs.Spec{
		Version: "1.0.2", Root: &specs.Root{Path: "rootfs"}, Linux: &specs.Linux{},
		Process: &specs.Process{Args: []string{"/bin/true"}, Cwd: "/", Env: []string{"PATH=" + os.Getenv("PATH")}},
	})
	return dir
}

// writeSpec writes a bundle's config.json.
func writeSpec(w *harness.World, dir string, spec specs.Spec) {
	w.T.Helper()
	raw, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644)
	}
	if err != nil {
		w.T.Fatal(err)
	}
}

// remove removes containers, whatever their state.
func remove(w *harness.World, ids ...string) {
	w.T.Helper()
	w.OK(append([]string{"rm", "-f"}, ids...)...)
}

// status returns the status of a container as inspect shows it.
func status(w *harness.World, id string) string {
	w.T.Helper()
	return w.Inspect(id).Status
}

// idle is a script that waits for ever and costs nothing; TERM ends it with
// status 0.
const idle = `trap 'exit 0' TERM; echo ready; while :; do sleep 3600 & wait $!; done`
