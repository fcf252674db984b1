package integration

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/holdfast/holdfast"

// shimBinary is the program of which there is one per container.
const shimBinary = "./shim/cmd/..."

// arrows are the imports there must not be, direct or not, and why. A prefix
// matches a whole path element; a name that ends in /... is only what is below.
var arrows = []struct{ from, to, why string }{
	{"./shim/...", module + "/manager", "a shim outlives every manager"},
	{"./manager/...", module + "/shim", "the manager knows a shim only by what proto says"},
	{"./manager/...", module + "/reaper", "the manager's children are shims, which are not its to reap"},
	{"./shim/internal/...", module + "/shim/cmd", "internal packages know nothing of their doorway"},
	{"./proto/...", module + "/shim", "proto is what two processes agree on, not what one does"},
	{"./proto/...", module + "/manager", "proto is what two processes agree on, not what one does"},
	{"./proto/...", module + "/reaper", "proto imports no sibling"},
	{"./proto/...", module + "/console", "proto imports no sibling"},
	{"./reaper", module + "/proto", "reaper must stay liftable out of this repository"},
	{"./reaper", module + "/console", "reaper must stay liftable out of this repository"},
	{"./reaper", module + "/shim", "reaper must stay liftable out of this repository"},
	{"./console/...", module + "/proto", "console must stay liftable out of this repository"},
	{"./console/...", module + "/reaper", "console must stay liftable out of this repository"},
	{"./console/...", module + "/shim", "console must stay liftable out of this repository"},
	{"./manager/cmd/...", module + "/integration", "tests stay out of programs"},
	{shimBinary, module + "/integration", "tests stay out of programs"},
	{shimBinary, module + "/shim/ocitest", "tests stay out of programs"},
	{"./manager/cmd/...", module + "/shim/ocitest", "tests stay out of programs"},
}

// heavy are the imports that every container would pay for in private memory.
// What the shim does without them: processes through reaper, JSON through
// proto/jsontext, sockets through x/sys, logs line by line.
var heavy = []struct{ to, why string }{
	{"net", "a resolver, tables and 300 KiB for what four system calls do"},
	{"os/exec", "a thread for every child that runs; use reaper"},
	{"os/signal", "two threads and 160 KiB"},
	{"os/user", "it reads all of /etc/passwd; the OCI runtime knows users"},
	{"encoding", "reflection over every type; use proto/jsontext"},
	{"log", "logging through reflection and locks of its own"},
	{"reflect/...", "reflection keeps every method of every type alive"},
	{"regexp", "tables of Unicode, built at start"},
	{"text", "templates call methods by name, so nothing can be left out"},
	{"html", "as text/template"},
	{"go", "parsers of Go have no business in a container's guardian"},
	{"crypto", "self-tests at start, on every container"},
	{"compress", "tables"},
	{"testing", "tests stay out of programs"},
	{"flag", "fmt and reflect for three options"},
	{"expvar", "brings net/http"},
	{"google.golang.org", "type tables built at the first use of each message"},
	{"github.com", "generated code of this module needs no library"},
	{"gopkg.in", "the shim is the standard library and x/sys"},
	{"k8s.io", "the shim is the standard library and x/sys"},
}

// allowed are the exceptions from heavy, all of them.
var allowed = map[string]string{
	module:            "ourselves",
	"encoding/binary": "",
}

func TestArrows(t *testing.T) {
	for _, a := range arrows {
		for _, dep := range dependencies(t, a.from) {
			if under(dep, a.to) {
				t.Errorf("%s imports %s: %s", a.from, dep, a.why)
			}
		}
	}
}

// shim/internal must not import package shim itself, which imports it: Go
// forbids that only where it closes a circle.
func TestInternalPackagesDoNotKnowTheShim(t *testing.T) {
	for _, dep := range dependencies(t, "./shim/internal/...") {
		if dep == module+"/shim" {
			t.Errorf("shim/internal imports shim: the arrow goes the other way")
		}
	}
}

func TestTheShimIsLight(t *testing.T) {
	for _, dep := range dependencies(t, shimBinary) {
		for _, h := range heavy {
			if under(dep, h.to) && !excused(dep) {
				t.Errorf("the shim's program imports %s: %s (find the way with `go list -deps`, or `go mod why -m`)", dep, h.why)
			}
		}
	}
}

func excused(dep string) bool {
	for prefix := range allowed {
		if under(dep, prefix) {
			return true
		}
	}
	return false
}

// under reports whether an import path is prefix or below it.
func under(path, prefix string) bool {
	if below, ok := strings.CutSuffix(prefix, "/..."); ok {
		return strings.HasPrefix(path, below+"/")
	}
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// dependencies returns every package that those matching pattern import,
// directly or not, and themselves. Tests do not count.
func dependencies(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", pattern)
	cmd.Dir = ".."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list dependencies of %s: %v\n%s", pattern, err, stderr.String())
	}
	deps := strings.Fields(string(out))
	if len(deps) == 0 {
		t.Fatalf("%s matches no package", pattern)
	}
	return deps
}
