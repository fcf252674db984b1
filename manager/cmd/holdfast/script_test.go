package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// tools are the real programs that the scripts run.
type tools struct{ holdfast, shim, rootfs string }

// build makes the tools once for all tests of this process.
func build(t *testing.T) tools {
	t.Helper()
	need(t, "busybox")
	built, err := theTools()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

var theTools = sync.OnceValues(func() (tools, error) {
	dir, err := os.MkdirTemp("", "holdfast-cli-")
	if err != nil {
		return tools{}, err
	}
	toolsDir = dir
	for _, pkg := range []string{"manager/cmd/holdfast", "shim/cmd/containerd-shim-holdfast-v2"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, filepath.Base(pkg)), "github.com/holdfast/holdfast/"+pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return tools{}, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	rootfs := filepath.Join(dir, "rootfs")
	return tools{filepath.Join(dir, "holdfast"), filepath.Join(dir, "containerd-shim-holdfast-v2"), rootfs}, makeRootfs(rootfs)
})

// toolsDir is removed by TestMain.
var toolsDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if toolsDir != "" {
		os.RemoveAll(toolsDir)
	}
	os.Exit(code)
}

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

// need skips the test if a program is missing, and fails it where REQUIRE
// names the program, as CI does.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	for _, must := range strings.Split(os.Getenv("REQUIRE"), ",") {
		if must == name {
			t.Fatalf("%s is missing", name)
		}
	}
	t.Skipf("%s is missing", name)
	return ""
}

// TestScripts runs testdata/*.txtar with real shims on every runtime there is.
// Beside testscript's own commands they have:
//
//	run CODE ARG...     holdfast ARG..., which must exit with CODE
//	gone ID             no trace of the container may be left
func TestScripts(t *testing.T) {
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("only root can run containers")
			}
			need(t, runtime)
			tl := build(t)
			testscript.Run(t, testscript.Params{
				Dir:      "testdata",
				Setup:    func(env *testscript.Env) error { return setupScript(env, tl, runtime) },
				Cmds:     map[string]func(*testscript.TestScript, bool, []string){"run": scriptRun, "gone": scriptGone},
				Deadline: time.Now().Add(3 * time.Minute),
			})
		})
	}
}

func setupScript(env *testscript.Env, tl tools, runtime string) error {
	root := filepath.Join(env.WorkDir, "root")
	env.Vars = append(env.Vars,
		"PATH="+filepath.Dir(tl.holdfast)+":"+os.Getenv("PATH"),
		"HOLDFAST_ROOT="+root, "HOLDFAST_SHIM="+tl.shim, "HOLDFAST_RUNTIME="+runtime, "HOLDFAST_CRIU_DIR="+os.Getenv("HOLDFAST_CRIU_DIR"),
		"ROOTFS="+tl.rootfs, "RUNTIME="+runtime,
	)
	env.Defer(func() {
		out, _ := exec.Command(tl.holdfast, "--root", root, "--shim", tl.shim, "ps", "-aq").Output()
		for _, id := range strings.Fields(string(out)) {
			if text, err := exec.Command(tl.holdfast, "--root", root, "--shim", tl.shim, "rm", "-f", id).CombinedOutput(); err != nil {
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
	root := ts.Getenv("HOLDFAST_ROOT")
	left := traces(filepath.Join(root, "default", args[0]))
	if _, err := os.Stat(filepath.Join(root, "default", args[0])); err == nil {
		left = append(left, "its directory")
	}
	if len(left) > 0 {
		ts.Fatalf("%s left behind: %s", args[0], strings.Join(left, "; "))
	}
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
