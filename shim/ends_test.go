package shim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// unattended are the options of a container whose shim leaves with it.
func (s *driven) unattended(r *task.CreateTaskRequest) {
	r.Options = packed(s.t, shimv1.TypeCreateOptions, &shimv1.CreateOptions{
		Runtime: &options.Options{BinaryName: s.rt.binary, Root: s.root},
	})
}

// A shim that nobody asked to stay leaves by itself, with connections or
// without, and records are all that is left.
func TestShimLeavesByItself(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "exit 9"}})
		s.create(s.unattended)
		wait := s.waiting("")
		s.start("")
		wait(9)
		s.leaves()
		s.wantNothingLeft()
		if e := s.exit(); !e.Known || e.Code != 9 {
			t.Errorf("record %+v", e)
		}
		s.wantInOrder()
	})
}

// A shim whose container was deleted, and whose daemon went away without a
// Shutdown, leaves too.
func TestShimLeavesAfterDelete(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	s.end()
	s.delete("")
	s.conn.Close()
	s.leaves()
}

// Shutdown is answered before it takes effect, and has none while there is a task.
func TestShutdown(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.create()
	for range 2 {
		if _, err := s.Shutdown(patient(t), &task.ShutdownRequest{ID: s.id, Now: true}); err != nil {
			t.Fatal(err)
		}
		s.wantStatus("", types.StatusCreated)
	}
	s.delete("")
	if _, err := s.Shutdown(patient(t), &task.ShutdownRequest{ID: s.id}); err != nil {
		t.Errorf("the Shutdown that counts: %v", err)
	}
	s.leaves()
	s.wantNothingLeft()
	<-s.conn.Done()
}

// Whoever ends a session or a service by signal does not end a container's shim;
// and the container has these signals as anybody has them.
func TestSigtermLeavesTheContainerItsShim(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pids := []uint32{s.run(), s.exec("e1", "/bin/sleep", "1000")}
		var deaf uint64 // what else is ignored comes from whoever runs the test
		for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE} {
			deaf |= 1 << (sig - 1)
			if err := unix.Kill(s.child.PID(), sig); err != nil { // our own child, not reaped
				t.Fatal(err)
			}
			s.wantStatus("", types.StatusRunning)
		}
		for _, pid := range pids {
			ignored, blocked := signalMask(t, pid, "SigIgn"), signalMask(t, pid, "SigBlk")
			if ignored&deaf != 0 || blocked&deaf != 0 {
				t.Errorf("process %d ignores %#x and blocks %#x", pid, ignored, blocked)
			}
		}
		s.kill("e1", unix.SIGTERM)
		s.wait("e1", 143)
	})
}

// signalMask reads a mask of signals from /proc/PID/status.
func signalMask(t testing.TB, pid uint32, name string) uint64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), name+":\t")
	mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

// In a pid namespace of somebody else's the kernel ends nobody with init; the
// shim does, before it tells.
func TestSharedPidNamespaceIsEmptiedOnExit(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{
			Args: []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000 & exit 3"}, HostPID: true,
		})
		s.run()
		s.wait("", 3)
		if left := s.processes(); len(left) > 0 {
			t.Errorf("processes %v are left", left)
		}
	})
}

// SIGKILL ends a paused container; other signals wait for Resume.
func TestKillOfAPausedContainer(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.01; done"}})
		s.run()
		s.exec("e1", "/bin/sleep", "1000")
		s.pause()
		s.kill("", unix.SIGTERM)
		s.wantStatus("", types.StatusPaused)
		s.resume()
		s.wait("", 4)
		s.delete("")

		s.create()
		s.start("")
		s.pause()
		s.kill("", unix.SIGKILL)
		s.wait("", 137)
	})
}

// An exec that is killed while all are frozen thaws nobody.
func TestKillOfAnExecInAPausedContainer(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pid := s.run()
		s.exec("e1", "/bin/sleep", "1000")
		s.pause()
		s.kill("e1", unix.SIGKILL)
		s.wantStatus("", types.StatusPaused)
		if !frozen(t, pid) {
			t.Error("the container was thawed")
		}
		s.resume()
		s.wait("e1", 137)
		s.wantStatus("", types.StatusRunning)
	})
}

// frozen reports whether a process sits in the freezer of its cgroup.
func frozen(t testing.TB, pid uint32) bool {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, file := range []string{"/sys/fs/cgroup/freezer" + f[2] + "/freezer.state", "/sys/fs/cgroup" + f[2] + "/cgroup.freeze"} {
			if got, err := os.ReadFile(file); err == nil && (strings.TrimSpace(string(got)) == "FROZEN" || strings.TrimSpace(string(got)) == "1") {
				return true
			}
		}
	}
	return false
}

// Kill with all reaches everybody, also what init left behind.
func TestKillAll(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "trap 'exit 6' USR1; sleep 1000 & wait"}})
		s.run()
		s.exec("e1", "/bin/sleep", "1000")
		eventually(t, "the trap is set", func() bool { return len(s.processes()) == 3 })
		if _, err := s.Kill(patient(t), &task.KillRequest{ID: s.id, Signal: uint32(unix.SIGUSR1), All: true}); err != nil {
			t.Fatal(err)
		}
		s.wait("", 6)
		resp, err := s.Wait(patient(t), &task.WaitRequest{ID: s.id, ExecID: "e1"})
		if err != nil || resp.ExitStatus != 128+uint32(unix.SIGUSR1) && resp.ExitStatus != 137 { // init's end may be quicker
			t.Errorf("the exec: %+v, %v", resp, err)
		}
	})
}

// Our own Exit tells the facts behind the code.
func TestExitTellsTheFacts(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		s.exec("e1", "/bin/sh", "-c", "exit 137")
		status := func(execID string) *shimv1.ExitStatus {
			e, err := s.self.Exit(patient(t), &shimv1.ExitRequest{ID: s.id, ExecID: execID})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		if e := status("e1"); e.Code != 137 || e.Signal != 0 || !e.Known || e.Status != 137<<8 || e.MaxRssKib == 0 {
			t.Errorf("exit 137: %+v", e)
		}
		s.kill("", unix.SIGKILL)
		if e := status(""); e.Code != 137 || e.Signal != 9 || !e.Known || e.Status != 9 || time.Since(e.ExitedAt.Time()) > patience {
			t.Errorf("SIGKILL: %+v", e)
		}
		_, err := s.self.Exit(patient(t), &shimv1.ExitRequest{ID: s.id, ExecID: "nope"})
		wantError(t, "exit of an unknown exec", err, wire.NotFound, "process does not exist nope: not found")
		if e, err := bundle.ReadExit(s.bundle + "/" + bundle.ExecFile("e1")); err != nil || e.Code != 137 || e.ExecID != "e1" {
			t.Errorf("record of the exec %+v, %v", e, err)
		}
	})
}
