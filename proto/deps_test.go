package proto_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// heavy are the packages a shim pays for in memory and must not link. What
// fmt, os and time bring cannot be avoided.
var heavy = []string{"net", "net/http", "os/exec", "os/signal", "encoding/json", "log", "log/slog", "regexp", "text/template", "flag"}

// TestWirePackagesAreLight looks at everything the packages import, however
// deep: only this module and what is light of the standard library.
func TestWirePackagesAreLight(t *testing.T) {
	const module = "github.com/holdfast/holdfast/"
	for _, name := range []string{"types", "wire", "task", "events", "options", "stats", "bootstrap", "shimv1", "attach"} {
		out, err := exec.Command("go", "list", "-deps", "./"+name).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", name, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			ours := strings.HasPrefix(dep, module+"proto/")
			foreign := strings.Contains(strings.Split(dep, "/")[0], ".")
			if slices.Contains(heavy, dep) || foreign && !ours {
				t.Errorf("%s imports %s", name, dep)
			}
		}
	}
}
