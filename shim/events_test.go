package shim

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// inOrder checks what is promised of the events of one run: numbered without a
// gap, create first, the start of a process before its exit and its exit once,
// init's exit after every other, delete last.
func inOrder(events []bundle.Event) error {
	started, exits := map[string]bool{}, map[string]int{}
	for i, e := range events {
		wrong := func(why string) error {
			return fmt.Errorf("event %d, %s of %q: %s", e.Seq, e.Topic, e.ExecID, why)
		}
		switch {
		case e.Seq != uint64(i+1):
			return wrong("it should be number " + strconv.Itoa(i+1))
		case (i == 0) != (e.Topic == bundle.TopicCreate):
			return wrong("create is the first, and only that")
		case exits[""] > 0 && (e.Topic == bundle.TopicExit || e.Topic == bundle.TopicExecStarted):
			return wrong("init's exit was before it")
		case e.Topic == bundle.TopicDelete && e.ExecID == "" && (i != len(events)-1 || exits[""] != 1):
			return wrong("it is not the last")
		}
		switch e.Topic {
		case bundle.TopicStart, bundle.TopicExecStarted:
			started[e.ExecID] = true
		case bundle.TopicExecAdded: // the id may be used again
			started[e.ExecID], exits[e.ExecID] = false, 0
		case bundle.TopicExit:
			exits[e.ExecID]++
			if exits[e.ExecID] > 1 {
				return wrong("it is the second")
			}
			if e.ExecID != "" && !started[e.ExecID] {
				return wrong("it has not been started")
			}
		}
	}
	return nil
}

// count returns how many events of a topic there were of one process.
func count(events []bundle.Event, topic, execID string) int {
	n := 0
	for _, e := range events {
		if e.Topic == topic && e.ExecID == execID {
			n++
		}
	}
	return n
}

func (s *driven) wantInOrder() {
	s.t.Helper()
	events := s.events()
	if err := inOrder(events); err != nil {
		s.t.Error(err)
		for _, e := range events {
			s.t.Logf("%d %s %q", e.Seq, e.Topic, e.ExecID)
		}
	}
}

// Fifty execs at once, some that end by themselves and some with init: whatever
// the kernel does first, what is told is in order.
func TestEventsAreInOrder(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		const execs = 50
		var all sync.WaitGroup
		for i := range execs {
			id := "e" + strconv.Itoa(i)
			args := []string{"/bin/true"}
			if i%3 == 0 {
				args = []string{"/bin/sleep", "1000"}
			}
			all.Go(func() {
				spec := s.process(args...)
				if _, err := s.Exec(patient(t), &task.ExecProcessRequest{ID: s.id, ExecID: id, Spec: spec}); err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: id}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i := range execs {
			if i%3 != 0 {
				s.wait("e"+strconv.Itoa(i), 0)
			}
		}
		s.end()
		for i := 0; i < execs; i += 3 {
			s.wait("e"+strconv.Itoa(i), 137)
		}
		s.delete("")
		s.wantInOrder()
		events := s.events()
		for i := range execs {
			id := "e" + strconv.Itoa(i)
			if n, m := count(events, bundle.TopicExecStarted, id), count(events, bundle.TopicExit, id); n != 1 || m != 1 {
				t.Errorf("%s: %d starts, %d exits", id, n, m)
			}
		}
	})
}

// A second Start of an exec is refused and changes nothing: its exit is told once.
func TestDoubleExecStartIsRefusedOnce(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		s.added("/bin/sleep", "1000")
		const starts = 8
		outcome := make(chan error, starts)
		ctx := patient(t)
		for range starts {
			go func() { outcome <- drop(s.Start(ctx, &task.StartRequest{ID: s.id, ExecID: "e1"})) }()
		}
		won := 0
		for range starts {
			if err := <-outcome; err == nil {
				won++
			} else {
				wantError(t, "start", err, wire.FailedPrecondition, "")
			}
		}
		if won != 1 {
			t.Errorf("%d starts succeeded", won)
		}
		s.kill("e1", unix.SIGTERM)
		s.wait("e1", 143)
		s.end()
		s.delete("")
		s.wantInOrder()
		if n := count(s.events(), bundle.TopicExit, "e1"); n != 1 {
			t.Errorf("%d exits", n)
		}
	})
}

// A process that ends before its Start has returned is told of after it.
func TestExitBeforeStartReturns(t *testing.T) {
	for _, execID := range []string{"", "e1"} {
		t.Run("process "+execID, func(t *testing.T) {
			dir := t.TempDir()
			spec, verb := sleeper, "exec"
			if execID == "" {
				spec, verb = ocitest.Spec{Args: []string{"/bin/true"}}, "start"
			}
			s := drive(t, runcNamed(t, ocitest.EnvScript+"="+dir+"/script.json"), spec)
			letGo := func() {
				if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			t.Cleanup(letGo)
			s.create()
			if execID != "" {
				s.start("")
				s.added("/bin/true")
			}
			ocitest.Script{verb: {After: true, DelayUntilFile: dir + "/go"}}.Write(t, dir+"/script.json")
			outcome := make(chan error, 1)
			ctx := patient(t)
			go func() { outcome <- drop(s.Start(ctx, &task.StartRequest{ID: s.id, ExecID: execID})) }()
			if execID == "" { // the kernel's news come although the call is not over
				s.wait("", 0)
				s.wantStatus("", types.StatusStopped)
			} else {
				eventually(t, "the exec has ended", func() bool { return len(s.processes()) == 1 })
			}
			letGo()
			if err := <-outcome; err != nil {
				t.Errorf("start: %v", err)
			}
			s.wait(execID, 0)
			if execID != "" {
				s.end()
			}
			if s.exit().StartedAt.IsZero() {
				t.Error("the record knows of no start")
			}
			s.delete("")
			s.wantInOrder()
		})
	}
}

// Execs die with init, are told of before it, and their waiters are released.
func TestExecsEndWithInit(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		s.exec("e1", "/bin/sleep", "1000")
		s.promise(&task.ExecProcessRequest{ExecID: "never"}, "/bin/true")
		exec, init := s.waiting("e1"), s.waiting("")
		s.kill("", unix.SIGKILL)
		exec(137)
		init(137)
		s.delete("")
		s.wantInOrder()
	})
}

// What a shim says of one exit is the same everywhere.
func TestAnExitIsToldTheSameEverywhere(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "exit 42"}})
		pid := s.run()
		waited := s.wait("", 42)
		state, record := s.state(""), s.exit()
		deleted := s.delete("")
		at := waited.ExitedAt.Time()
		if state.Status != types.StatusStopped || state.ExitStatus != 42 || state.Pid != pid || !state.ExitedAt.Time().Equal(at) {
			t.Errorf("state %+v, wait %+v", state, waited)
		}
		if deleted.ExitStatus != 42 || deleted.Pid != pid || !deleted.ExitedAt.Time().Equal(at) {
			t.Errorf("delete %+v, wait %+v", deleted, waited)
		}
		if !record.Known || record.Code != 42 || !record.ExitedAt.Equal(at) || record.StartedAt.IsZero() || record.CreatedAt.IsZero() {
			t.Errorf("record %+v, wait %+v", record, waited)
		}
		told := 0
		for _, e := range s.events() {
			if e.Topic == bundle.TopicExit || e.Topic == bundle.TopicDelete {
				told++
				if e.Code != 42 || !e.Known || e.PID != int(pid) || !e.ExitedAt.Equal(at) {
					t.Errorf("event %+v, wait %+v", e, waited)
				}
			}
		}
		if told != 2 {
			t.Errorf("%d events of the end", told)
		}
	})
}

// The second run of an id in one shim has nothing of the first.
func TestContainerIDMayBeUsedAgain(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		for range 3 {
			s.create()
			if _, err := os.Stat(s.bundle + "/exit.json"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the exit record of the run before is there: %v", err)
			}
			s.start("")
			s.exec("e1", "/bin/sleep", "1000")
			s.end()
			s.delete("")
		}
	})
}
