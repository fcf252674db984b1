package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast/holdfast/integration/harness"
	"golang.org/x/sys/unix"
)

// stubborn is a first process that ignores all signals it may.
const stubborn = "trap '' INT TERM HUP; echo ready; while :; do sleep 0.05; done"

// front makes a world with a root file system on runc.
func front(t *testing.T) (w *harness.World, rootfs string) {
	w = harness.New(t, "runc")
	return w, w.Rootfs("r")
}

func TestSignalToAClientWithTerminalRestoresItAndLeavesTheProcess(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT} {
		t.Run(signalName(sig), func(t *testing.T) {
			w, rootfs := front(t)
			term := w.Terminal(80, 24, "run", "-ti", "--rootfs", rootfs, "x", "sh", "-c", stubborn)
			term.Await("ready")
			if term.Cooked() {
				t.Error("the terminal is not raw")
			}
			term.Signal(sig)
			if code := term.Wait(); code != 128+int(sig) || !term.Cooked() {
				t.Errorf("status %d, restored %v: %v", code, term.Cooked(), term)
			}
			if got := w.Inspect("x").Status; got != "running" {
				t.Errorf("the process is %s", got)
			}
			w.OK("rm", "-f", "x")
		})
	}
}

func TestTerminalIsRestoredWhenTheContainerIsRemoved(t *testing.T) {
	w, rootfs := front(t)
	term := w.Terminal(80, 24, "run", "-ti", "--rootfs", rootfs, "x", "sh", "-c", stubborn)
	term.Await("ready")
	w.OK("rm", "-f", "x")
	if code := term.Wait(); code != 137 || !term.Cooked() {
		t.Errorf("status %d, restored %v: %v", code, term.Cooked(), term)
	}
}

func TestDetachKeysMayBeChosen(t *testing.T) {
	w, rootfs := front(t)
	term := w.Terminal(80, 24, "run", "-ti", "--detach-keys", "ctrl-x,q", "--rootfs", rootfs, "x", "sh", "-c", "echo ready; cat")
	term.Await("ready")
	term.Type("\x10\x11\r") // nothing special any more
	term.Type("after\r")
	w.Eventually("cat answers", func() bool { return strings.Count(term.Stdout.String(), "after") == 2 })
	term.Type("\x18q")
	if code := term.Wait(); code != 0 || !strings.Contains(term.Stdout.String(), "holdfast: detached from x, which goes on") {
		t.Errorf("status %d: %v", code, term)
	}
	w.OK("rm", "-f", "x")
}

func TestCtrlCWithoutTerminalIsPassedOnAndAHintHelpsTheThirdTime(t *testing.T) {
	w, rootfs := front(t)
	term := w.Terminal(80, 24, "run", "--rm", "--rootfs", rootfs, "x", "sh", "-c", "trap 'echo caught' INT; echo ready; while :; do sleep 0.05; done")
	term.Await("ready")
	for i := range 3 {
		term.Type("\x03")
		w.Eventually(fmt.Sprintf("ctrl-c arrives %d times", i+1), func() bool { return strings.Count(term.Stdout.String(), "caught") == i+1 })
	}
	term.Await("hint: the process does not react; 'holdfast kill x' ends it")
	w.OK("kill", "x")
	if code := term.Wait(); code != 137 {
		t.Errorf("status %d: %v", code, term)
	}
}

func TestCtrlZStopsTheClientOnly(t *testing.T) {
	w, rootfs := front(t)
	p := w.Start("run", "--rootfs", rootfs, "x", "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")
	p.Await("1")
	p.Signal(unix.SIGTSTP)
	w.Eventually("the client stops", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		return strings.Contains(string(stat), ") T ")
	})
	if got := w.Inspect("x").Status; got != "running" {
		t.Errorf("the process is %s", got)
	}
	p.Signal(unix.SIGCONT)
	w.OK("kill", "x")
	if code := p.Wait(); code != 137 {
		t.Errorf("status %d: %v", code, p)
	}
	w.OK("rm", "x")
}

func TestInterruptWhileNothingIsForwardedLeavesTheProcess(t *testing.T) {
	w, rootfs := front(t)
	p := w.Start("run", "--sig-proxy=false", "--rootfs", rootfs, "x", "sh", "-c", stubborn)
	p.Await("ready")
	p.Signal(unix.SIGINT)
	if code := p.Wait(); code != 130 {
		t.Errorf("status %d: %v", code, p)
	}
	wait := w.Start("wait", "x")
	w.OK("exec", "x", "true")
	wait.Signal(unix.SIGTERM)
	if code := wait.Wait(); code != 143 || wait.Stderr.String() != "" {
		t.Errorf("status of wait %d: %v", code, wait)
	}
	w.OK("rm", "-f", "x")
}

// shell runs a pipeline around holdfast as a user would and returns its output.
func shell(t *testing.T, w *harness.World, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(w.Env, "HF="+harness.Binary("holdfast"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func TestAClosedPipeEndsTheProcess(t *testing.T) {
	w, rootfs := front(t)
	if got := shell(t, w, `$HF run --rm --rootfs `+rootfs+` x yes | head -n 1; echo ${PIPESTATUS[0]}`); got != "y\n141\n" {
		t.Errorf("run: %q", got)
	}
	if got := w.OK("ps", "-aq"); got != "" {
		t.Errorf("left over: %q", got)
	}
	w.OK("run", "-d", "--rootfs", rootfs, "x", "sleep", "1000")
	if got := shell(t, w, `$HF exec x yes | head -n 1; echo ${PIPESTATUS[0]}`); got != "y\n141\n" {
		t.Errorf("exec: %q", got)
	}
	if got := w.Inspect("x").Processes; len(got) != 1 {
		t.Errorf("left over: %+v", got)
	}
	w.OK("rm", "-f", "x")
}

func TestASlowReaderLosesNothing(t *testing.T) {
	w, rootfs := front(t)
	// 700 kB are more than all buffers on the way hold; the reader begins after
	// the process has long been done with what it could write.
	got := shell(t, w, `$HF run --rm --rootfs `+rootfs+` x seq 1 110000 | { read first; sleep 3; wc -l; }`)
	if strings.TrimSpace(got) != "109999" {
		t.Errorf("%s lines arrived, want 109999", got)
	}
}

func TestAGrandchildThatHoldsTheOutputDelaysExecOnlyAMoment(t *testing.T) {
	w, rootfs := front(t)
	w.OK("run", "-d", "--rootfs", rootfs, "x", "sleep", "1000")
	begin := time.Now()
	if got := w.Want(5, "exec", "x", "sh", "-c", "sleep 500 & echo done; exit 5"); got != "done" {
		t.Errorf("output %q", got)
	}
	if d := time.Since(begin); d > 4*leftover {
		t.Errorf("exec returned after %v", d)
	}
	w.OK("rm", "-f", "x")
}

func TestProgressIsShownOnATerminalAlone(t *testing.T) {
	w, rootfs := front(t)
	w.OK("run", "-d", "--rootfs", rootfs, "x", "sleep", "1000")
	shim := w.Inspect("x").Shim.PID
	if err := unix.Kill(shim, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	term := w.Terminal(80, 24, "ps")
	term.Await("listing containers…")
	if code := term.Wait(); code != 0 || !strings.Contains(term.Stdout.String(), "\r\x1b[KID ") {
		t.Errorf("status %d, the line was not wiped away: %v", code, term)
	}
	r := w.Run("ps")
	if r.Code != 0 || r.Stderr != "" || !strings.Contains(r.Stdout, "unknown") {
		t.Errorf("%v", r)
	}
	if err := unix.Kill(shim, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.OK("rm", "-f", "x")
}
