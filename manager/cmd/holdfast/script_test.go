package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/integration/harness"
	"github.com/holdfast/holdfast/manager"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain builds the real programs, and gives the tests a mount namespace of
// their own, in which crun works on hybrid cgroups too.
func TestMain(m *testing.M) { harness.Main(m) }

// makeRootfs makes a root file system of busybox alone.
func makeRootfs(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/ann"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		return err
	}
	for _, name := range strings.Fields("sh ls cat echo sleep true false ps id env pwd kill stty seq head wc hostname test dd usleep tty printf yes") {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
		"etc/group":  "root:x:0:\nann:x:1000:\n",
		"etc/noexec": "not a program\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestScripts runs testdata/*.txtar with real shims on every runtime there is.
// Beside testscript's own commands they have:
//
//	run CODE ARG...     holdfast ARG..., which must exit with CODE
//	gone ID             no trace of the container may be left
//	until STATE ID      waits until inspect says so
//	shim SIGNAL ID      signals the container's shim
func TestScripts(t *testing.T) {
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			harness.NeedRoot(t)
			harness.Need(t, runtime)
			harness.Need(t, "busybox")
			rootfs := t.TempDir()
			if err := makeRootfs(rootfs); err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, testscript.Params{
				Dir:      "testdata",
				Setup:    func(env *testscript.Env) error { return setupScript(env, rootfs, runtime) },
				Cmds:     map[string]func(*testscript.TestScript, bool, []string){"run": scriptRun, "gone": scriptGone, "until": scriptUntil, "shim": scriptShim},
				Deadline: time.Now().Add(3 * time.Minute),
			})
		})
	}
}

func setupScript(env *testscript.Env, rootfs, runtime string) error {
	root := filepath.Join(env.WorkDir, "root")
	namespace := fmt.Sprintf("cli%d-%s-%s", os.Getpid(), runtime, filepath.Base(env.WorkDir))
	env.Vars = append(env.Vars,
		"PATH="+filepath.Dir(harness.Binary("holdfast"))+":"+os.Getenv("PATH"),
		"HOLDFAST_ROOT="+root, "HOLDFAST_NAMESPACE="+namespace, "HOLDFAST_RUNTIME="+runtime, "ROOTFS="+rootfs, "RUNTIME="+runtime,
	)
	env.Defer(func() {
		holdfast := func(args ...string) ([]byte, error) {
			return exec.Command(harness.Binary("holdfast"), append([]string{"--root", root, "--namespace", namespace}, args...)...).CombinedOutput()
		}
		out, _ := holdfast("ps", "-aq")
		for _, id := range strings.Fields(string(out)) {
			if text, err := holdfast("rm", "-f", id); err != nil {
				env.T().Log("rm -f", id, err, string(text))
			}
		}
		if left := traces(root); len(left) > 0 {
			env.T().Fatal("left behind: ", strings.Join(left, "; "))
		}
	})
	return nil
}

func scriptRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: run CODE ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec("holdfast", args[1:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func scriptGone(ts *testscript.TestScript, _ bool, args []string) {
	dir := filepath.Join(ts.Getenv("HOLDFAST_ROOT"), ts.Getenv("HOLDFAST_NAMESPACE"), args[0])
	left := traces(dir)
	if _, err := os.Stat(dir); err == nil {
		left = append(left, "its directory")
	}
	if len(left) > 0 {
		ts.Fatalf("%s left behind: %s", args[0], strings.Join(left, "; "))
	}
}

// scriptUntil polls: it is about a container that nobody may wait for, for that
// would remove it.
func scriptUntil(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ts.Check(ts.Exec("holdfast", "inspect", "--json", args[1]))
		if strings.Contains(ts.ReadFile("stdout"), `"status":"`+args[0]+`"`) {
			return
		}
	}
	ts.Fatalf("%s is not %s: %s", args[1], args[0], ts.ReadFile("stdout"))
}

func scriptShim(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("holdfast", "inspect", "--json", args[1]))
	var info manager.Inspect
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &info))
	ts.Check(unix.Kill(info.Shim.PID, unix.SignalNum("SIG"+args[0])))
}

// traces lists processes that name path, and mounts below it. A shim on its
// way out gets a moment: nothing tells a stranger when it has gone.
func traces(path string) []string {
	var left []string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left = left[:0]
		procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, p := range procs {
			line, _ := os.ReadFile(p)
			if strings.Contains(string(line), path) && !strings.HasPrefix(p, fmt.Sprintf("/proc/%d/", os.Getpid())) {
				left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, " "+path) {
				left = append(left, strings.TrimSpace(line))
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}
