package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// binEnv names, for the run of the tests proper, the directory of the programs
// that were built for it.
const binEnv = "HOLDFAST_TEST_BIN"

// programs are what Main builds, relative to the root of the module.
var programs = [...]string{
	"./manager/cmd/holdfast",
	"./shim/cmd/containerd-shim-holdfast-v2",
	"./shim/ocitest/fakeoci",
}

// Main is the TestMain of a package of integration tests. It builds the
// programs, gives the test process a mount namespace of its own, runs the tests
// and looks for descriptors and goroutines that they left.
func Main(m *testing.M) {
	if os.Getenv(binEnv) == "" {
		fmt.Fprintln(os.Stderr, "integration:", prepare()) // returns only on error
		os.Exit(1)
	}
	bin := os.Getenv(binEnv)
	before := openFiles()
	code := m.Run()
	if code == 0 {
		code = ended(before)
	}
	if races(bin) {
		code = 1
	}
	os.RemoveAll(bin)
	os.Exit(code)
}

// prepare builds the programs and starts this test binary over, by exec, in a
// mount namespace of its own: the mounts of tests stay out of the machine's
// sight, and crun, which does not work on hybrid cgroups, can be shown version 1
// alone.
func prepare() error {
	bin, err := os.MkdirTemp("", "hfbin-")
	if err != nil {
		return err
	}
	if err := os.Chmod(bin, 0o755); err != nil { // others than root run them too
		return err
	}
	if err := build(bin); err != nil {
		os.RemoveAll(bin)
		return err
	}
	os.Setenv(binEnv, bin)
	os.Setenv("GORACE", "atexit_sleep_ms=0 log_path="+filepath.Join(bin, raceLog))
	if os.Geteuid() == 0 {
		if err := ownMounts(); err != nil {
			os.RemoveAll(bin)
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", self, syscall.Exec(self, os.Args, os.Environ()))
}

// raceLog begins the names of the files that programs built with the race
// detector write their findings to, one per process.
const raceLog = "race"

// Race reports whether the programs are built with the race detector, which
// the environment variable RACE asks for. They are slower then, and larger.
func Race() bool { return os.Getenv("RACE") != "" }

// races prints what the race detector has found in any process.
func races(bin string) bool {
	logs, _ := filepath.Glob(filepath.Join(bin, raceLog+".*"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		fmt.Printf("%s\n", text)
	}
	return len(logs) > 0
}

// build compiles the programs into dir as `make build` does.
func build(dir string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-ldflags", "-s -w -X main.version=integration -X github.com/holdfast/holdfast/shim.Version=integration", "-o", dir + "/"}
	cgo := "CGO_ENABLED=0"
	if Race() {
		cgo, args = "CGO_ENABLED=1", append(args, "-race")
	}
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(root, p)); err != nil {
			return fmt.Errorf("build: %w", err)
		}
		args = append(args, p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// moduleRoot finds the directory of go.mod above the package under test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find go.mod above the working directory: %w", os.ErrNotExist)
}

// ownMounts moves the calling thread into a mount namespace of its own. It
// stays locked: the exec that follows makes it the whole process.
func ownMounts() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(unified); err == nil {
		if err := unix.Unmount(unified, 0); err != nil {
			return fmt.Errorf("hide %s from crun: %w", unified, err)
		}
	}
	return nil
}

// openFiles returns what the descriptors of this process lead to, by number.
func openFiles() map[string]string {
	files := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[e.Name()] = to
		}
	}
	return files
}

// ended reports, once all tests are over, descriptors that are open and were
// not before, and goroutines that still run. It returns the exit status.
func ended(before map[string]string) int {
	// Goroutines unwind after the test that waited for them has ended; the
	// runtime tells nobody when.
	var stacks string
	for range 50 {
		if stacks = strays(); stacks == "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	code := 0
	if stacks != "" {
		fmt.Printf("goroutines left when all tests were over:\n%s\n", stacks)
		code = 1
	}
	for fd, to := range openFiles() {
		if before[fd] != "" || strings.HasPrefix(to, "anon_inode:[event") || strings.HasPrefix(to, "/proc/") {
			continue // open before, or the Go runtime's poller
		}
		fmt.Printf("descriptor %s (%s) left open when all tests were over\n", fd, to)
		code = 1
	}
	return code
}

// strays returns the stacks of all goroutines but the calling one and those of
// the testing package.
func strays() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for i, g := range strings.Split(string(buf), "\n\n") {
		if i == 0 || strings.Contains(g, "testing.") || strings.Contains(g, "os/signal.") {
			continue
		}
		left = append(left, g)
	}
	return strings.Join(left, "\n\n")
}

// Binary returns the path of a program that Main has built, e.g. "holdfast".
func Binary(name string) string { return filepath.Join(os.Getenv(binEnv), name) }
