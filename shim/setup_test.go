package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/holdfast/holdfast/shim/ocitest"
)

// TestMain makes of this binary the fake OCI runtime when it is called as one.
func TestMain(m *testing.M) {
	ocitest.Main()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	defer func() {
		if built.dir != "" {
			os.RemoveAll(built.dir)
		}
	}()
	return m.Run()
}

// built is the program under test, built by the first test that needs it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// shimProgram returns the path of containerd-shim-holdfast-v2, built as it
// is released. It is built without the race detector, which the shim's own
// packages have been through.
func shimProgram(t testing.TB) string {
	t.Helper()
	const name = "containerd-shim-holdfast-v2"
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "shim-test"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-buildmode=exe", "-o", built.dir, "./cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, name)
}
