package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Need returns the path of a program that the test cannot do without. A missing
// program skips the test, but fails it where REQUIRE names it (a list with
// commas) or CI is set: a test that never runs must not look green.
func Need(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, "run integration/setup/packages.sh "+name)
	}
	return path
}

// NeedRoot skips, or fails, a test that only root can run.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root", "run as root")
	}
}

// NeedCriu returns the folder of a criu that works on this kernel, as
// integration/setup/criu.sh has made it.
func NeedCriu(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, ".cache", "criu", "bin")
	if _, err := os.Stat(filepath.Join(dir, "criu")); err != nil {
		missing(t, "criu", "run integration/setup/criu.sh; it says why, if none can be had")
	}
	return dir
}

// NeedCheckpoint returns the folder of criu if the OCI runtime can checkpoint
// at all: crun can be built without.
func NeedCheckpoint(t testing.TB, runtime string) string {
	t.Helper()
	dir := NeedCriu(t)
	if filepath.Base(runtime) == "crun" {
		out, _ := exec.Command(Need(t, "crun"), "--version").Output()
		if !strings.Contains(string(out), "+CRIU") {
			t.Skip("this build of crun has no support for criu")
		}
	}
	return dir
}

func missing(t testing.TB, name, hint string) {
	t.Helper()
	if os.Getenv("CI") != "" || slices.Contains(strings.Split(os.Getenv("REQUIRE"), ","), name) {
		t.Fatalf("%s is required and not here: %s", name, hint)
	}
	t.Skipf("%s is not here: %s", name, hint)
}
