package shim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// sleeper is a container that does nothing.
var sleeper = ocitest.Spec{Args: []string{"/bin/sleep", "1000"}}

// answer is what an RPC must say.
type answer struct {
	code wire.Code
	text string // "" is any
}

func refusal(text string) answer { return answer{wire.FailedPrecondition, text} }
func missing(text string) answer { return answer{wire.NotFound, text} }

var (
	yes        = answer{}
	blocks     = answer{wire.DeadlineExceeded, ""}
	notCreated = missing("container not created: not found")
	finished   = missing("process already finished: not found")
)

// asked is an RPC as a row of the tables below.
type asked struct {
	name string
	call func(s *driven, ctx context.Context) error
}

func drop[R any](_ R, err error) error { return err }

// requests are all RPCs about init that leave a container in the state it is in
// whatever they answer, or are refused in every state they are tried in.
var requests = []asked{
	{"Create", func(s *driven, ctx context.Context) error { return drop(s.Create(ctx, s.request())) }},
	{"Start", func(s *driven, ctx context.Context) error { return drop(s.Start(ctx, &task.StartRequest{ID: s.id})) }},
	{"State", func(s *driven, ctx context.Context) error { return drop(s.State(ctx, &task.StateRequest{ID: s.id})) }},
	{"Pids", func(s *driven, ctx context.Context) error { return drop(s.Pids(ctx, &task.PidsRequest{ID: s.id})) }},
	{"Stats", func(s *driven, ctx context.Context) error { return drop(s.Stats(ctx, &task.StatsRequest{ID: s.id})) }},
	{"Kill 0", func(s *driven, ctx context.Context) error { return drop(s.Kill(ctx, &task.KillRequest{ID: s.id})) }},
	{"Kill 0 all", func(s *driven, ctx context.Context) error {
		return drop(s.Kill(ctx, &task.KillRequest{ID: s.id, All: true}))
	}},
	{"Kill 999", func(s *driven, ctx context.Context) error {
		return drop(s.Kill(ctx, &task.KillRequest{ID: s.id, Signal: 999}))
	}},
	{"Delete", func(s *driven, ctx context.Context) error { return drop(s.Delete(ctx, &task.DeleteRequest{ID: s.id})) }},
	{"Pause", func(s *driven, ctx context.Context) error { return drop(s.Pause(ctx, &task.PauseRequest{ID: s.id})) }},
	{"Resume", func(s *driven, ctx context.Context) error { return drop(s.Resume(ctx, &task.ResumeRequest{ID: s.id})) }},
	{"Exec", func(s *driven, ctx context.Context) error {
		return drop(s.Exec(ctx, &task.ExecProcessRequest{ID: s.id, ExecID: "e1", Spec: s.process("/bin/true")}))
	}},
	{"ResizePty", func(s *driven, ctx context.Context) error {
		return drop(s.ResizePty(ctx, &task.ResizePtyRequest{ID: s.id, Width: 80, Height: 24}))
	}},
	{"CloseIO", func(s *driven, ctx context.Context) error {
		return drop(s.CloseIO(ctx, &task.CloseIORequest{ID: s.id, Stdin: true}))
	}},
	{"CloseIO without the flag", func(s *driven, ctx context.Context) error {
		return drop(s.CloseIO(ctx, &task.CloseIORequest{ID: s.id}))
	}},
	{"Update", func(s *driven, ctx context.Context) error {
		resources := &types.Any{TypeUrl: options.TypeResources, Value: []byte(`{"memory":{"limit":268435456}}`)}
		return drop(s.Update(ctx, &task.UpdateTaskRequest{ID: s.id, Resources: resources}))
	}},
	{"Checkpoint", func(s *driven, ctx context.Context) error {
		return drop(s.Checkpoint(ctx, &task.CheckpointTaskRequest{ID: s.id, Path: s.t.TempDir()}))
	}},
	{"Wait", func(s *driven, ctx context.Context) error {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		return timedOut(drop(s.Wait(short, &task.WaitRequest{ID: s.id})))
	}},
	{"Connect", func(s *driven, ctx context.Context) error {
		return drop(s.Connect(ctx, &task.ConnectRequest{ID: s.id}))
	}},
	{"Shutdown", func(s *driven, ctx context.Context) error {
		return drop(s.Shutdown(ctx, &task.ShutdownRequest{ID: s.id, Now: true}))
	}},
}

// timedOut makes no difference between a deadline that the shim notices and one
// that the client is quicker to notice.
func timedOut(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return wire.Errorf(wire.DeadlineExceeded, "")
	}
	return err
}

// rows are the answers of one state; an RPC that is not there is not tried in
// it, because it would move the container.
type rows map[string]answer

var exists = answer{wire.AlreadyExists, "create container c1: it exists: already exists"}

// absent are the answers before Create and after Delete.
var absent = rows{
	"Start": notCreated, "State": notCreated, "Pids": notCreated, "Stats": notCreated,
	"Kill 0": notCreated, "Kill 0 all": notCreated, "Kill 999": notCreated, "Delete": notCreated,
	"Pause": notCreated, "Resume": notCreated, "Exec": notCreated, "ResizePty": notCreated, "CloseIO": notCreated,
	"CloseIO without the flag": notCreated, "Update": notCreated, "Checkpoint": notCreated, "Wait": notCreated,
	"Connect": yes,
}

// lives are the answers of every state with a living init.
var lives = rows{
	"Create": exists, "State": yes, "Pids": yes, "Stats": yes, "Kill 0": yes, "Kill 0 all": yes,
	"Kill 999": {wire.InvalidArgument, "kill: signal 999: invalid argument"}, "ResizePty": yes, "CloseIO": yes,
	"CloseIO without the flag": yes, "Update": yes, "Wait": blocks, "Connect": yes, "Shutdown": yes,
}

func (r rows) with(more rows) rows {
	all := rows{}
	for _, from := range []rows{r, more} {
		for k, v := range from {
			all[k] = v
		}
	}
	return all
}

var states = []struct {
	name    string
	reach   func(s *driven)
	answers rows
	status  types.Status // afterwards; StatusUnknown: there is no task
}{
	{"before create", func(*driven) {}, absent, types.StatusUnknown},
	{"created", func(s *driven) { s.create() }, lives.with(rows{
		"Pause": refusal("cannot pause task in created state"), "Resume": refusal("cannot resume task in created state"),
		"Checkpoint": refusal("cannot checkpoint a task in created state"), "Exec": yes,
	}), types.StatusCreated},
	{"running", func(s *driven) { s.run() }, lives.with(rows{
		"Start": refusal("cannot start a running process"), "Delete": refusal("cannot delete a running process"),
		"Resume": refusal("cannot resume a running process"), "Exec": yes,
	}), types.StatusRunning},
	{"paused", func(s *driven) { s.run(); s.pause() }, lives.with(rows{
		"Start": refusal("cannot start a paused process"), "Delete": refusal("cannot delete a paused process"),
		"Pause": refusal("cannot pause a paused container"), "Exec": refusal("cannot exec in a paused state"),
	}), types.StatusPaused},
	{"stopped", func(s *driven) { s.run(); s.end() }, rows{
		"Create": exists, "State": yes, "Pids": yes, "Kill 0": finished, "Kill 0 all": yes,
		"Kill 999": {wire.InvalidArgument, ""}, "ResizePty": yes, "CloseIO": yes, "CloseIO without the flag": yes,
		"Update": refusal("cannot update a stopped container"), "Wait": yes, "Connect": yes, "Shutdown": yes,
		"Start": refusal("cannot start a stopped process"), "Pause": refusal("cannot pause a stopped container"),
		"Resume": refusal("cannot resume a stopped container"), "Exec": refusal("cannot exec in a stopped state"),
		"Checkpoint": refusal("cannot checkpoint a stopped container"),
	}, types.StatusStopped},
	{"deleted", func(s *driven) { s.run(); s.end(); s.delete("") }, absent, types.StatusUnknown},
}

func (s *driven) pause() {
	s.t.Helper()
	if _, err := s.Pause(patient(s.t), &task.PauseRequest{ID: s.id}); err != nil {
		s.t.Fatalf("pause: %v", err)
	}
}

func (s *driven) resume() {
	s.t.Helper()
	if _, err := s.Resume(patient(s.t), &task.ResumeRequest{ID: s.id}); err != nil {
		s.t.Fatalf("resume: %v", err)
	}
}

// Every RPC in every state gives the code and the text that clients know, moves
// nothing, and the shim lives.
func TestEveryRPCInEveryState(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		for _, st := range states {
			t.Run(st.name, func(t *testing.T) {
				s := drive(t, rt, sleeper)
				st.reach(s)
				for _, r := range requests {
					want, tried := st.answers[r.name]
					if !tried {
						continue
					}
					if rt.fake && r.name == "Stats" && st.status != types.StatusUnknown {
						want = missing("cgroup does not exist: not found") // it shares the test's
					}
					wantError(t, r.name, r.call(s, patient(t)), want.code, want.text)
				}
				got, err := s.State(patient(t), &task.StateRequest{ID: s.id})
				switch {
				case st.status == types.StatusUnknown:
					wantError(t, "state afterwards", err, wire.NotFound, notCreated.text)
				case err != nil || got.Status != st.status:
					t.Errorf("afterwards it is %v, %v, want %v", got, err, st.status)
				}
				if s.gone() {
					t.Error("the shim has left")
				}
			})
		}
	})
}

// A container id that is not this shim's is nobody's here.
func TestOtherContainersAreUnknown(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	mine := s.id
	s.id = "c2"
	for _, r := range requests {
		switch r.name {
		case "Connect", "Shutdown":
			wantError(t, r.name, r.call(s, patient(t)), wire.OK, "")
		case "Create":
			wantError(t, r.name, r.call(s, patient(t)), wire.FailedPrecondition, "")
		default:
			wantError(t, r.name, r.call(s, patient(t)), wire.NotFound, "")
		}
	}
	s.id = mine
	s.wantStatus("", types.StatusRunning)
	s.kill("", unix.SIGKILL)
}
