package rpc

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestOldClient has the library of the daemons up to 1.6 judge the server. It
// is a module of its own, because the two generations share import paths.
func TestOldClient(t *testing.T) {
	program := filepath.Join(t.TempDir(), "oldclient")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "oldclient")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build old client: %v\n%s", err, out)
	}
	w := newWorld(t, Options{})
	out, err := exec.CommandContext(timeout(t), program, w.path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("old client: %v\n%s", err, out)
	}
}
