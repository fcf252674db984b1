package shim

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// callDelete calls the delete action in dir, as containerd does.
func callDelete(t testing.TB, dir string) result {
	t.Helper()
	return call{dir: dir}.make(t, "-namespace", namespace, "-address", "/c.sock", "-publish-binary", "/usr/bin/containerd",
		"-id", "c1", "-bundle", dir, "delete")
}

// deleted calls the delete action and returns its answer.
func deleted(t testing.TB, dir string) *task.DeleteResponse {
	t.Helper()
	r := callDelete(t, dir)
	r.succeeds(t)
	resp := new(task.DeleteResponse)
	if err := resp.Unmarshal(r.stdout); err != nil {
		t.Fatalf("answer %q: %v", r.stdout, err)
	}
	if end := resp.ExitedAt.Time(); end.After(time.Now()) || time.Since(end) > time.Hour {
		t.Errorf("exited at %v", end)
	}
	return resp
}

// crash kills the shim, and nothing else.
func (s *driven) crash() {
	s.t.Helper()
	if err := unix.Kill(s.child.PID(), unix.SIGKILL); err != nil { // our own child, not reaped: Done is open
		s.t.Fatal(err)
	}
	<-s.child.Done()
}

// exit returns the exit record of init.
func (s *driven) exit() bundle.Exit {
	s.t.Helper()
	e, err := bundle.ReadExit(filepath.Join(s.bundle, bundle.ExitFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func bootID(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func TestDeleteOfNothing(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if resp := deleted(t, dir); resp.Pid != 0 || resp.ExitStatus != 255 {
			t.Errorf("answer %+v", resp)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestDeleteAfterACrashEndsTheContainer(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pid := s.run(s.mountedRootfs)
		s.exec("e1", "/bin/sleep", "1000")
		s.crash()
		for range 2 { // containerd may ask again
			if resp := deleted(t, s.bundle); resp.Pid != pid || resp.ExitStatus != 137 {
				t.Errorf("answer %+v, want pid %d and 137", resp, pid)
			}
		}
		if e := s.exit(); !e.Known || e.Signal() != int(unix.SIGKILL) || e.Reason == "" || e.ID != "c1" || e.StartedAt.IsZero() {
			t.Errorf("exit record %+v", e)
		}
		// finish looks for what is left of mounts, cgroups, processes and records.
	})
}

// mountedRootfs has the shim mount the root file system, from the bundle's own
// directory moved aside.
func (s *driven) mountedRootfs(r *task.CreateTaskRequest) {
	s.t.Helper()
	source := filepath.Join(s.t.TempDir(), "image")
	if err := os.Rename(filepath.Join(s.bundle, bundle.RootfsDir), source); err != nil {
		s.t.Fatal(err)
	}
	r.Rootfs = []*types.Mount{{Type: "bind", Source: source, Options: []string{"rbind", "rw"}}}
}

func TestDeleteAfterACrashBeforeStart(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pid := s.create()
		s.crash()
		if resp := deleted(t, s.bundle); resp.Pid != pid || resp.ExitStatus != 137 {
			t.Errorf("answer %+v, want pid %d and 137", resp, pid)
		}
	})
}

func TestDeleteOfAPausedContainer(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pid := s.run()
		if _, err := s.Pause(patient(t), &task.PauseRequest{ID: s.id}); err != nil {
			t.Fatal(err)
		}
		s.crash()
		if resp := deleted(t, s.bundle); resp.Pid != pid || resp.ExitStatus != 137 {
			t.Errorf("answer %+v, want pid %d and 137", resp, pid)
		}
	})
}

// TestDeleteByWayOfALink: docker's state directory is below /var/run, and the OCI
// runtime knows it by its physical name.
func TestDeleteByWayOfALink(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(s.bundle, link); err != nil {
			t.Fatal(err)
		}
		pid := s.run(func(r *task.CreateTaskRequest) { r.Bundle = link })
		s.crash()
		if resp := deleted(t, link); resp.Pid != pid || resp.ExitStatus != 137 {
			t.Errorf("answer %+v, want pid %d and 137", resp, pid)
		}
	})
}

func TestDeleteTellsTheStatusThatIsOnRecord(t *testing.T) {
	s := drive(t, runcRuntime(t), ocitest.Spec{Args: []string{"/bin/sh", "-c", "exit 7"}})
	pid := s.run()
	s.wait("", 7)
	s.crash()
	for range 2 {
		if resp := deleted(t, s.bundle); resp.Pid != pid || resp.ExitStatus != 7 {
			t.Errorf("answer %+v, want pid %d and 7", resp, pid)
		}
	}
}

// TestAnUnknownStatusIsNotInvented: init dies when nobody looks.
func TestAnUnknownStatusIsNotInvented(t *testing.T) {
	s := drive(t, runcRuntime(t), sleeper)
	pid := s.run()
	r, err := reaper.New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	init, err := r.Adopt(int(pid)) // the shim has not reaped it: it lives
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := init.PidFD()
	if err != nil {
		t.Fatal(err)
	}
	defer pidfd.Close()
	s.crash()
	if err := init.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// A zombie still tells its status; the pidfd hangs up when it is reaped, which
	// here is the work of the machine's init.
	hangUp := []unix.PollFd{{Fd: int32(pidfd.Fd())}}
	n, err := unix.Poll(hangUp, int(20*time.Second/time.Millisecond))
	for err == unix.EINTR {
		n, err = unix.Poll(hangUp, int(20*time.Second/time.Millisecond))
	}
	if n != 1 {
		t.Fatalf("init was not reaped: %v", err)
	}
	if resp := deleted(t, s.bundle); resp.Pid != pid || resp.ExitStatus != 255 {
		t.Errorf("answer %+v, want pid %d and 255", resp, pid)
	}
	if e := s.exit(); e.Known || e.Reason == "" || e.Status != 0 {
		t.Errorf("exit record %+v", e)
	}
}

// TestDeleteBesideAShimThatIsEnding is what every deletion by containerd ends
// with.
func TestDeleteBesideAShimThatIsEnding(t *testing.T) {
	s := drive(t, runcRuntime(t), ocitest.Spec{Args: []string{"/bin/sh", "-c", "exit 7"}})
	pid := s.run()
	s.wait("", 7)
	s.delete("")
	if resp := deleted(t, s.bundle); resp.Pid != pid || resp.ExitStatus != 7 {
		t.Errorf("answer %+v, want pid %d and 7", resp, pid)
	}
	if _, err := s.Connect(patient(t), &task.ConnectRequest{ID: s.id}); err != nil {
		t.Errorf("the shim was disturbed: %v", err)
	}
	s.connect() // its socket is still there
}

// record writes a task record as a shim that has died would have left it.
func (s *driven) record(change func(*bundle.Task)) {
	s.t.Helper()
	rec := bundle.Task{
		ID: s.id, Namespace: namespace, Bundle: s.bundle, Phase: bundle.PhaseCreating,
		Runtime: bundle.Runtime{Binary: s.rt.binary, Root: filepath.Join(s.root, namespace)},
	}
	change(&rec)
	if err := bundle.WriteTask(rec); err != nil {
		s.t.Fatal(err)
	}
}

// runtime calls the OCI runtime behind the shim's back.
func (s *driven) runtime(args ...string) {
	s.t.Helper()
	cmd := exec.Command(s.rt.binary, append([]string{"--root", filepath.Join(s.root, namespace)}, args...)...)
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %v", cmd, err)
	}
}

// TestDeleteOfAHalfMadeContainer: the shim died while or after the OCI runtime
// created, and before it could take down the pid.
func TestDeleteOfAHalfMadeContainer(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.crash()
		rootfs := filepath.Join(s.bundle, bundle.RootfsDir)
		if err := unix.Mount(rootfs, rootfs, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		s.record(func(rec *bundle.Task) { rec.Mounted = true })
		s.runtime("create", "--bundle", s.bundle, "--pid-file", filepath.Join(s.bundle, bundle.PidFile), s.id)
		for range 2 {
			if resp := deleted(t, s.bundle); resp.ExitStatus != 255 {
				t.Errorf("answer %+v", resp)
			}
		}
		if _, err := os.Stat(filepath.Join(s.bundle, bundle.ExitFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("exit record of what never was a container: %v", err)
		}
	})
}

// TestDeleteTouchesNobodyElsesContainer: another daemon has one of the same id in
// the same state directory of the OCI runtime, and the records here are
// wrong about it in every way.
func TestDeleteTouchesNobodyElsesContainer(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		theirs := drive(t, rt, sleeper)
		pid := theirs.run()
		ours := driveAs(t, rt, sleeper, "c1", t.TempDir())
		ours.crash()
		for name, change := range map[string]func(*bundle.Task){
			"nothing was made": func(*bundle.Task) {},
			"the pid is used again": func(rec *bundle.Task) {
				rec.Phase = bundle.PhaseStarted
				rec.Init = bundle.Process{PID: int(pid), StartTime: 1, BootID: bootID(t)}
			},
			"the boot is another": func(rec *bundle.Task) {
				rec.Phase = bundle.PhaseStarted
				id := identityOf(t, int(pid))
				rec.Init = bundle.Process{PID: id.PID, StartTime: id.StartTime, BootID: "another"}
			},
		} {
			ours.record(func(rec *bundle.Task) {
				rec.Runtime.Root = filepath.Join(theirs.root, namespace)
				change(rec)
			})
			if resp := deleted(t, ours.bundle); resp.ExitStatus != 255 {
				t.Errorf("%s: answer %+v", name, resp)
			}
			theirs.wantStatus("", types.StatusRunning)
			theirs.runtime("state", theirs.id)
		}
	})
}

func identityOf(t *testing.T, pid int) reaper.Identity {
	t.Helper()
	r, err := reaper.New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p.Identity()
}

func TestDeleteRefusesRecordsAboutSomethingElse(t *testing.T) {
	s := drive(t, runcRuntime(t), sleeper)
	s.run()
	raw, err := os.ReadFile(filepath.Join(s.bundle, bundle.TaskFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ text, says string }{
		"of a copied bundle":   {string(raw), "about the bundle"},
		"of another id":        {strings.Replace(string(raw), `"c1"`, `"c2"`, 1), "c2"},
		"of another namespace": {strings.Replace(string(raw), `"`+namespace+`"`, `"other"`, 1), "other"},
		"of another version":   {`{"version":99}`, "unknown version"},
		"torn":                 {string(raw[:len(raw)/2]), "task record"},
		"empty":                {"", "task record"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, bundle.TaskFile)
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		callDelete(t, dir).fails(t, tc.says, "nothing was touched")
		if left, err := os.ReadFile(path); err != nil || string(left) != tc.text {
			t.Errorf("record %s is now %q, %v", name, left, err)
		}
	}
	s.wantStatus("", types.StatusRunning)
}

// TestDeleteRemovesOnlySockets: the address is what a file says.
func TestDeleteRemovesOnlySockets(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"unix://" + precious, "", "garbage", "unix:///no/such/socket"} {
		if err := os.WriteFile(filepath.Join(dir, bundle.AddressFile), []byte(address), 0o600); err != nil {
			t.Fatal(err)
		}
		deleted(t, dir)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
