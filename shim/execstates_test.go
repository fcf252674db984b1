package shim

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// execRequests are all RPCs that can name an exec, made about e1.
var execRequests = []asked{
	{"Exec", func(s *driven, ctx context.Context) error {
		return drop(s.Exec(ctx, &task.ExecProcessRequest{ID: s.id, ExecID: "e1", Spec: s.process("/bin/true")}))
	}},
	{"Start", func(s *driven, ctx context.Context) error {
		return drop(s.Start(ctx, &task.StartRequest{ID: s.id, ExecID: "e1"}))
	}},
	{"State", func(s *driven, ctx context.Context) error {
		return drop(s.State(ctx, &task.StateRequest{ID: s.id, ExecID: "e1"}))
	}},
	{"Kill 0", func(s *driven, ctx context.Context) error {
		return drop(s.Kill(ctx, &task.KillRequest{ID: s.id, ExecID: "e1"}))
	}},
	{"Kill 0 all", func(s *driven, ctx context.Context) error {
		return drop(s.Kill(ctx, &task.KillRequest{ID: s.id, ExecID: "e1", All: true}))
	}},
	{"Delete", func(s *driven, ctx context.Context) error {
		return drop(s.Delete(ctx, &task.DeleteRequest{ID: s.id, ExecID: "e1"}))
	}},
	{"ResizePty", func(s *driven, ctx context.Context) error {
		return drop(s.ResizePty(ctx, &task.ResizePtyRequest{ID: s.id, ExecID: "e1", Width: 80, Height: 24}))
	}},
	{"CloseIO", func(s *driven, ctx context.Context) error {
		return drop(s.CloseIO(ctx, &task.CloseIORequest{ID: s.id, ExecID: "e1", Stdin: true}))
	}},
	{"CloseIO without the flag", func(s *driven, ctx context.Context) error {
		return drop(s.CloseIO(ctx, &task.CloseIORequest{ID: s.id, ExecID: "e1"}))
	}},
	{"Wait", func(s *driven, ctx context.Context) error {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		return timedOut(drop(s.Wait(short, &task.WaitRequest{ID: s.id, ExecID: "e1"})))
	}},
}

var (
	inUse   = answer{wire.AlreadyExists, "id e1: already exists"}
	unknown = missing("process does not exist e1: not found")
	nobody  = rows{
		"Start": unknown, "State": unknown, "Kill 0": unknown, "Kill 0 all": unknown, "Delete": unknown,
		"ResizePty": unknown, "CloseIO": unknown, "CloseIO without the flag": unknown, "Wait": unknown,
	}
	unstarted = refusal("process not created: failed precondition")
	waiting   = rows{
		"Exec": inUse, "State": yes, "Kill 0": unstarted, "Kill 0 all": unstarted, "ResizePty": yes,
		"CloseIO": yes, "CloseIO without the flag": yes, "Wait": blocks,
	}
	over = rows{
		"Exec": inUse, "Start": refusal("cannot start a stopped process"), "State": yes, "Kill 0": finished,
		"Kill 0 all": finished, "ResizePty": yes, "CloseIO": yes, "CloseIO without the flag": yes, "Wait": yes,
	}
	executing = rows{
		"Exec": inUse, "Start": refusal("cannot start a running process"), "State": yes, "Kill 0": yes,
		"Kill 0 all": yes, "Delete": refusal("cannot delete a running process"), "ResizePty": yes, "CloseIO": yes,
		"CloseIO without the flag": yes, "Wait": blocks,
	}
)

// execs are the states an exec can be in, and its container around it.
var execStates = []struct {
	name    string
	reach   func(s *driven)
	answers rows
	status  types.Status
}{
	{"unknown", func(s *driven) { s.run() }, nobody, types.StatusUnknown},
	{"created", func(s *driven) { s.run(); s.added("/bin/true") }, waiting, types.StatusCreated},
	{"created beside a created init", func(s *driven) { s.create(); s.added("/bin/true") }, waiting, types.StatusCreated},
	{"created in a paused container", func(s *driven) { s.run(); s.added("/bin/true"); s.pause() },
		waiting.with(rows{"Start": refusal("cannot exec in a paused state")}), types.StatusPaused},
	{"created in a stopped container", func(s *driven) { s.run(); s.added("/bin/true"); s.end() },
		waiting.with(rows{
			"Start": refusal("container c1 init process is not running: failed precondition"),
			"Exec":  {code: wire.AlreadyExists},
		}), types.StatusCreated},
	{"running", func(s *driven) { s.run(); s.exec("e1", "/bin/sleep", "1000") }, executing, types.StatusRunning},
	{"running in a paused container", func(s *driven) { s.run(); s.exec("e1", "/bin/sleep", "1000"); s.pause() },
		executing, types.StatusPaused},
	{"stopped", func(s *driven) { s.run(); s.exec("e1", "/bin/true"); s.wait("e1", 0) }, over, types.StatusStopped},
	{"stopped with init", func(s *driven) { s.run(); s.exec("e1", "/bin/sleep", "1000"); s.end(); s.wait("e1", 137) },
		over, types.StatusStopped},
	{"failed to start", func(s *driven) {
		s.run()
		s.added("/no/such")
		if _, err := s.Start(patient(s.t), &task.StartRequest{ID: s.id, ExecID: "e1"}); err == nil {
			s.t.Error("a program that is not there was started")
		}
	}, over, types.StatusStopped},
	{"deleted before its start", func(s *driven) { s.run(); s.added("/bin/true"); s.delete("e1") }, nobody, types.StatusUnknown},
	{"deleted", func(s *driven) { s.run(); s.exec("e1", "/bin/true"); s.wait("e1", 0); s.delete("e1") }, nobody, types.StatusUnknown},
	{"of a deleted container", func(s *driven) { s.run(); s.added("/bin/true"); s.end(); s.delete("") }, rows{
		"Exec": notCreated, "Start": notCreated, "State": notCreated, "Kill 0": notCreated, "Kill 0 all": notCreated,
		"Delete": notCreated, "ResizePty": notCreated, "CloseIO": notCreated,
		"CloseIO without the flag": notCreated, "Wait": notCreated,
	}, types.StatusUnknown},
}

// added adds the exec e1.
func (s *driven) added(args ...string) {
	s.t.Helper()
	s.promise(&task.ExecProcessRequest{ExecID: "e1"}, args...)
}

func TestEveryRPCAboutAnExecInEveryState(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		for _, st := range execStates {
			t.Run(st.name, func(t *testing.T) {
				s := drive(t, rt, sleeper)
				st.reach(s)
				for _, r := range execRequests {
					want, tried := st.answers[r.name]
					if tried {
						wantError(t, r.name, r.call(s, patient(t)), want.code, want.text)
					}
				}
				if st.status != types.StatusUnknown {
					s.wantStatus("e1", st.status)
				}
				if s.gone() {
					t.Error("the shim has left")
				}
			})
		}
	})
}

// A client that waits before it starts (they all do) waits in every state.
func TestWaitBeforeStartOfAnExec(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		s.added("/bin/sh", "-c", "exit 7")
		wait := s.waiting("e1")
		s.start("e1")
		wait(7)
		if st := s.state("e1"); st.ID != "e1" || st.ExecID != "e1" || st.ExitStatus != 7 || st.ExitedAt.Time().IsZero() || st.Pid == 0 {
			t.Errorf("state of an exec that has ended: %+v", st)
		}
	})
}

// noticed is a connection that tells when something has been written to it.
type noticed struct {
	net.Conn
	wrote chan struct{}
}

func (n *noticed) Write(b []byte) (int, error) {
	size, err := n.Conn.Write(b)
	select {
	case n.wrote <- struct{}{}:
	default:
	}
	return size, err
}

// waiting waits in the background, from before it returns; the function that it
// returns takes the outcome.
func (s *driven) waiting(execID string) (outcome func(code uint32)) {
	s.t.Helper()
	type result struct {
		resp *task.WaitResponse
		err  error
	}
	done := make(chan result, 1)
	raw, err := net.Dial("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	sent := &noticed{raw, make(chan struct{}, 1)}
	conn := client.New(sent)
	s.t.Cleanup(func() { conn.Close() })
	ctx := patient(s.t)
	tasks := task.NewClient(conn, task.ServiceV2)
	go func() {
		resp, err := tasks.Wait(ctx, &task.WaitRequest{ID: s.id, ExecID: execID})
		done <- result{resp, err}
	}()
	<-sent.wrote // requests of one connection are read in order
	if _, err := tasks.Connect(ctx, &task.ConnectRequest{ID: s.id}); err != nil {
		s.t.Error(err)
	}
	return func(code uint32) {
		s.t.Helper()
		r := <-done
		if r.err != nil || r.resp.ExitStatus != code || r.resp.ExitedAt.Time().IsZero() {
			s.t.Errorf("wait for %q: %+v, %v, want %d", execID, r.resp, r.err, code)
		}
	}
}

// The id of a deleted exec is free again, and the next one has nothing of it.
func TestExecIDsMayBeUsedAgain(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		for code := uint32(1); code <= 3; code++ {
			s.added("/bin/sh", "-c", "exit "+string('0'+rune(code)))
			s.wantStatus("e1", types.StatusCreated)
			pid := s.start("e1")
			s.wait("e1", code)
			if got := s.delete("e1"); got.ExitStatus != code || got.Pid != pid {
				t.Errorf("delete tells of %+v, want code %d and pid %d", got, code, pid)
			}
		}
	})
}

// Deleting an exec that was never started tells nothing, and says so.
func TestDeleteOfAnExecThatNeverRan(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	s.added("/bin/true")
	got := s.delete("e1")
	if got.Pid != 0 || got.ExitStatus != 0 || !got.ExitedAt.Time().IsZero() {
		t.Errorf("delete tells of %+v", got)
	}
}
