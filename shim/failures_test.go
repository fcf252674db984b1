package shim

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// An exec that cannot be run has ended, with the code a shell would give, and
// may be deleted; it cannot be started again.
func TestExecOfMissingBinaryIs127(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		for _, c := range []struct {
			id, path string
			code     uint32
		}{{"e1", "/no/such", 127}, {"e2", "no-such", 127}, {"e3", "/etc", 126}} {
			s.promise(&task.ExecProcessRequest{ExecID: c.id}, c.path)
			wait := s.waiting(c.id)
			_, err := s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: c.id})
			wantError(t, "start", err, wire.Unknown, "")
			if err != nil && !strings.Contains(err.Error(), "OCI runtime exec failed: ") {
				t.Errorf("start: %v", err)
			}
			wait(c.code)
			if st := s.state(c.id); st.Status != types.StatusStopped || st.ExitStatus != c.code || st.Pid != 0 {
				t.Errorf("%s: state %+v", c.id, st)
			}
			if d := s.delete(c.id); d.ExitStatus != c.code || d.ExitedAt.Time().IsZero() {
				t.Errorf("%s: delete tells of %+v", c.id, d)
			}
		}
		s.end()
		s.delete("")
		s.wantInOrder()
	})
}

// An OCI runtime that fails after it has made the process of an exec leaves no
// process behind, and nobody hears of it.
func TestExecThatFailsLateLeavesNoProcess(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.json")
	s := drive(t, runcNamed(t, ocitest.EnvScript+"="+script), sleeper)
	s.run(s.unattended)
	ocitest.Script{"exec": {After: true, Log: "no luck"}}.Write(t, script)
	s.added("/bin/sleep", "1000")
	_, err := s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: "e1"})
	wantError(t, "start", err, wire.Unknown, "OCI runtime exec failed: no luck")
	s.wait("e1", 137)
	s.delete("e1")
	if pids := s.processes(); len(pids) != 1 {
		t.Errorf("processes %v, want init's", pids)
	}
	s.promise(&task.ExecProcessRequest{ExecID: "e2", Stdout: "attach://"}, "/bin/sleep", "1000")
	_, err = s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: "e2"})
	wantError(t, "start", err, wire.Unknown, "OCI runtime exec failed: no luck")
	s.end() // e2 is not deleted, and must not keep the shim
	s.leaves()
	if err := os.RemoveAll(s.bundle + "/execs"); err != nil {
		t.Error(err)
	}
	s.wantInOrder()
}

func TestCreateOfMissingBinary(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/no/such"}})
		_, err := s.Create(patient(t), s.request())
		wantError(t, "create", err, wire.Unknown, "")
		text := ""
		if err != nil {
			text = err.Error()
		}
		if rt.name == "runc" && !strings.Contains(text, `OCI runtime create failed: runc create failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory`) ||
			!strings.Contains(text, "OCI runtime create failed: ") {
			t.Errorf("create: %s", text)
		}
		s.wantNoTask("create")
		if len(s.events()) != 0 {
			t.Errorf("events of a failed create: %v", s.events())
		}
	})
}

func TestCreateWithoutAnOCIRuntime(t *testing.T) {
	s := drive(t, ociRuntime{name: "none", binary: "/no/such/runtime", fake: true}, sleeper)
	_, err := s.Create(patient(t), s.request())
	wantError(t, "create", err, wire.Unknown, "")
	if err == nil || !strings.Contains(err.Error(), "/no/such/runtime") {
		t.Errorf("create: %v", err)
	}
	s.wantNoTask("create")
}

func TestCreateWithoutASpec(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	config := filepath.Join(s.bundle, bundle.ConfigFile)
	for _, raw := range []string{"", "{", "[]garbage"} {
		if err := os.WriteFile(config, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Create(patient(t), s.request())
		wantError(t, "create with "+raw, err, wire.InvalidArgument, "")
		s.wantNoTask(raw)
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(patient(t), s.request())
	wantError(t, "create without config.json", err, wire.InvalidArgument, "")
	s.wantNoTask("create")
}

// Daemons share the state directory of the OCI runtime: one whose Create
// fails because the id is taken must not take it for its own.
func TestFailedCreateNeverTouchesAnotherContainer(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		root := t.TempDir()
		winner := driveAs(t, rt, sleeper, "c1", root)
		pid := winner.run()
		t.Run("loser", func(t *testing.T) {
			loser := driveAs(t, rt, sleeper, "c1", root)
			loser.root = t.TempDir() // what the OCI runtime knows is not its
			_, err := loser.Create(patient(t), winner.request(func(r *task.CreateTaskRequest) { r.Bundle = loser.bundle }))
			wantError(t, "create", err, wire.Unknown, "")
			loser.wantNoTask("create")
		})
		winner.wantStatus("", types.StatusRunning)
		if got := winner.processes(); len(got) != 1 || got[0] != int(pid) {
			t.Errorf("processes %v, want %d", got, pid)
		}
		winner.exec("e1", "/bin/true") // the OCI runtime still knows it
		winner.wait("e1", 0)
	})
}

// A task that was never started may be deleted at once; who waits for it is told.
func TestDeleteOfCreatedTaskReleasesWaiters(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pid := s.create()
		wait := s.waiting("")
		got := s.delete("")
		wait(137)
		if got.Pid != pid || got.ExitStatus != 137 || got.ExitedAt.Time().IsZero() {
			t.Errorf("delete tells of %+v", got)
		}
		s.wantInOrder()
		events := s.events()
		if count(events, bundle.TopicStart, "") != 0 || count(events, bundle.TopicExit, "") != 1 || count(events, bundle.TopicDelete, "") != 1 {
			t.Errorf("events %v", events)
		}
	})
}

func TestKillOfCreatedTask(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.create()
		wait := s.waiting("")
		s.kill("", unix.SIGKILL)
		wait(137)
		s.wantStatus("", types.StatusStopped)
		_, err := s.Start(patient(t), &task.StartRequest{ID: s.id})
		wantError(t, "start", err, wire.FailedPrecondition, "cannot start a stopped process")
		if got := s.delete(""); got.ExitStatus != 137 {
			t.Errorf("delete tells of %+v", got)
		}
		s.wantInOrder()
	})
}

// Only init's former pid is left: an empty list is a leaked shim to containerd.
func TestPidsOfStoppedTaskIsInit(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		pid := s.run()
		s.end()
		resp, err := s.Pids(patient(t), &task.PidsRequest{ID: s.id})
		if err != nil || len(resp.Processes) != 1 || resp.Processes[0].Pid != pid {
			t.Errorf("pids %+v, %v, want %d", resp, err, pid)
		}
	})
}

// A create that is cut short halfway, here in a hook, leaves neither the process
// that the OCI runtime had made nor its state, and the id may be used again.
func TestCreateThatIsCutShort(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		config := filepath.Join(s.bundle, bundle.ConfigFile)
		sound, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		hook := `{"hooks":{"prestart":[{"path":"/bin/sleep","args":["sleep","3"],"env":["TOKEN=` + s.token + `"]}]},`
		if err := os.WriteFile(config, append([]byte(hook), sound[1:]...), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
		defer cancel()
		wantError(t, "create", timedOut(drop(s.Create(ctx, s.request()))), wire.DeadlineExceeded, "")
		if err := os.WriteFile(config, sound, 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the create is undone", func() bool {
			_, err := os.Stat(s.bundle + "/task.json")
			return err != nil
		})
		eventually(t, "the hook has ended", func() bool { return len(s.processes()) == 0 })
		if dirs := ocitest.CgroupDirs(s.cgroups); len(dirs) > 0 {
			t.Errorf("cgroups are left: %v", dirs)
		}
		s.run()
	})
}
