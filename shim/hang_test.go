package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// slowRunc is runc with a verb that waits, before or after its work, until it is
// let go on. began tells when it waits.
type slowRunc struct {
	t   testing.TB
	rt  ociRuntime
	dir string
}

func newSlowRunc(t testing.TB, verb string, after bool) *slowRunc {
	t.Helper()
	dir := t.TempDir()
	wait := "echo $$ >" + dir + "/began; while [ ! -e " + dir + "/go ]; do sleep 0.01; done"
	body := "exec " + ocitest.Need(t, "runc") + ` "$@"`
	if after {
		body = ocitest.Need(t, "runc") + ` "$@"; status=$?; ` + wait + "; exit $status"
	} else {
		body = wait + "; " + body
	}
	script := "#!/bin/sh\nfor a; do case $a in " + verb + ") " + body + ";; esac; done\nexec " + ocitest.Need(t, "runc") + ` "$@"` + "\n"
	if err := os.WriteFile(dir+"/runc", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &slowRunc{t: t, rt: ociRuntime{name: "runc", binary: dir + "/runc"}, dir: dir}
}

// waits waits until the verb is called and hangs.
func (r *slowRunc) waits() {
	r.t.Helper()
	eventually(r.t, "the OCI runtime is at it", func() bool {
		raw, err := os.ReadFile(r.dir + "/began")
		return err == nil && strings.HasSuffix(string(raw), "\n")
	})
}

func (r *slowRunc) letGo() {
	if err := os.WriteFile(r.dir+"/go", nil, 0o600); err != nil {
		r.t.Error(err)
	}
}

// slowVerbs are the calls that may take as long as the OCI runtime likes.
var slowVerbs = []struct {
	verb string
	call func(s *driven, ctx context.Context) error
}{
	{"pause", func(s *driven, ctx context.Context) error { return drop(s.Pause(ctx, &task.PauseRequest{ID: s.id})) }},
	{"exec", func(s *driven, ctx context.Context) error {
		return drop(s.Start(ctx, &task.StartRequest{ID: s.id, ExecID: "slow"}))
	}},
	{"update", func(s *driven, ctx context.Context) error {
		return drop(s.Update(ctx, &task.UpdateTaskRequest{ID: s.id, Resources: &types.Any{
			TypeUrl: options.TypeResources, Value: []byte(`{"memory":{"limit":268435456}}`),
		}}))
	}},
	{"checkpoint", func(s *driven, ctx context.Context) error {
		return drop(s.Checkpoint(ctx, &task.CheckpointTaskRequest{ID: s.id, Path: s.t.TempDir()}))
	}},
}

// An OCI runtime that hangs delays those who wait for it, and nobody else: not
// those who ask, and not the news of an exit.
func TestHungRuntimeBlocksNobody(t *testing.T) {
	for _, slow := range slowVerbs {
		t.Run(slow.verb, func(t *testing.T) {
			runc := newSlowRunc(t, slow.verb, false)
			s := drive(t, runc.rt, sleeper)
			t.Cleanup(runc.letGo)
			s.run()
			s.promise(&task.ExecProcessRequest{ExecID: "slow"}, "/bin/sleep", "1000")
			outcome := make(chan error, 1)
			ctx := patient(t)
			go func() { outcome <- slow.call(s, ctx) }()
			runc.waits()
			for _, r := range requests {
				switch r.name {
				case "State", "Pids", "Stats", "Kill 0", "Kill 0 all", "ResizePty", "CloseIO", "Connect", "Shutdown":
					wantError(t, r.name, r.call(s, soon(t)), wire.OK, "")
				case "Wait":
					wantError(t, r.name, r.call(s, soon(t)), wire.DeadlineExceeded, "")
				}
			}
			wantError(t, "state of the exec", drop(s.State(soon(t), &task.StateRequest{ID: s.id, ExecID: "slow"})), wire.OK, "")
			wantError(t, "info", drop(s.self.Info(soon(t), &shimv1.InfoRequest{})), wire.OK, "")
			wantError(t, "kill", drop(s.Kill(soon(t), &task.KillRequest{ID: s.id, Signal: 9})), wire.OK, "")
			resp, err := s.Wait(soon(t), &task.WaitRequest{ID: s.id})
			if err != nil || resp.ExitStatus != 137 {
				t.Errorf("wait beside a hung %s: %+v, %v", slow.verb, resp, err)
			}
			if _, err := os.Stat(s.bundle + "/exit.json"); err != nil {
				t.Error(err)
			}
			select {
			case err := <-outcome:
				t.Errorf("%s ended before it was let go: %v", slow.verb, err)
			default:
			}
			runc.letGo()
			if err := <-outcome; err == nil {
				t.Errorf("%s of a dead container succeeded", slow.verb)
			}
		})
	}
}

// A call whose caller has set a deadline ends by it; the OCI runtime is
// ended, and the next call finds the container as it was.
func TestHungRuntimeEndsWithTheDeadline(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.json")
	s := drive(t, runcNamed(t, ocitest.EnvScript+"="+script), sleeper)
	s.run()
	for _, slow := range slowVerbs[:3] {
		ocitest.Script{slow.verb: {Hang: true}}.Write(t, script)
		s.promise(&task.ExecProcessRequest{ExecID: "slow"}, "/bin/true")
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		err := timedOut(slow.call(s, ctx))
		cancel()
		wantError(t, slow.verb, err, wire.DeadlineExceeded, "")
		ocitest.Script{}.Write(t, script)
		s.pause() // waits at the gate until the call above has left it
		s.resume()
		s.delete("slow")
	}
	s.wantStatus("", types.StatusRunning)
}

// A Create that never ends can be given up, and leaves nothing.
func TestHungCreateEndsWithTheDeadline(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.json")
	s := drive(t, runcNamed(t, ocitest.EnvScript+"="+script), sleeper)
	ocitest.Script{"create": {Hang: true}}.Write(t, script)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	wantError(t, "create", timedOut(drop(s.Create(ctx, s.request()))), wire.DeadlineExceeded, "")
	ocitest.Script{}.Write(t, script)
	eventually(t, "the record of the failed create is gone", func() bool {
		_, err := os.Stat(s.bundle + "/task.json")
		return errors.Is(err, os.ErrNotExist)
	})
	s.run()
}

// What a Start has begun goes on although its caller is gone.
func TestStartSurvivesItsCaller(t *testing.T) {
	runc := newSlowRunc(t, "start", true)
	s := drive(t, runc.rt, sleeper)
	t.Cleanup(runc.letGo)
	s.create()
	conn := s.connect()
	go task.NewClient(conn, task.ServiceV2).Start(context.Background(), &task.StartRequest{ID: s.id})
	runc.waits()
	conn.Close()
	runc.letGo()
	eventually(t, "the container runs", func() bool { return s.state("").Status == types.StatusRunning })
}

// SIGKILL ends a container also while it is being frozen.
func TestKillOfAPausingContainer(t *testing.T) {
	runc := newSlowRunc(t, "pause", true)
	s := drive(t, runc.rt, sleeper)
	t.Cleanup(runc.letGo)
	s.run()
	outcome := make(chan error, 1)
	ctx := patient(t)
	go func() { outcome <- drop(s.Pause(ctx, &task.PauseRequest{ID: s.id})) }()
	runc.waits() // frozen, but the OCI runtime has not said so
	s.wantStatus("", types.StatusPausing)
	s.kill("", unix.SIGKILL)
	runc.letGo()
	<-outcome
	s.wait("", 137)
}
