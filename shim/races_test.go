package shim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// atOnce makes the same call several times at once and counts the successes.
// The others must be refused with the code.
func atOnce(t *testing.T, what string, code wire.Code, call func(ctx context.Context) error) (won int) {
	t.Helper()
	const calls = 8
	outcome := make(chan error, calls)
	ctx := patient(t)
	for range calls {
		go func() { outcome <- call(ctx) }()
	}
	for range calls {
		if err := <-outcome; err == nil {
			won++
		} else {
			wantError(t, what, err, code, "")
		}
	}
	return won
}

// Of equal requests at the same time one succeeds, and the others learn it.
func TestEqualRequestsAtOnce(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		for _, c := range []struct {
			what string
			code wire.Code
			call func(ctx context.Context) error
		}{
			{"create", wire.AlreadyExists, func(ctx context.Context) error { return drop(s.Create(ctx, s.request())) }},
			{"start", wire.FailedPrecondition, func(ctx context.Context) error {
				return drop(s.Start(ctx, &task.StartRequest{ID: s.id}))
			}},
			{"exec", wire.AlreadyExists, func(ctx context.Context) error {
				return drop(s.Exec(ctx, &task.ExecProcessRequest{ID: s.id, ExecID: "e1", Spec: s.process("/bin/true")}))
			}},
			{"delete exec", wire.NotFound, func(ctx context.Context) error {
				return drop(s.Delete(ctx, &task.DeleteRequest{ID: s.id, ExecID: "e1"}))
			}},
			{"pause", wire.FailedPrecondition, func(ctx context.Context) error {
				return drop(s.Pause(ctx, &task.PauseRequest{ID: s.id}))
			}},
			{"resume", wire.FailedPrecondition, func(ctx context.Context) error {
				return drop(s.Resume(ctx, &task.ResumeRequest{ID: s.id}))
			}},
		} {
			if won := atOnce(t, c.what, c.code, c.call); won != 1 {
				t.Errorf("%s: %d succeeded", c.what, won)
			}
		}
		s.end()
		won := atOnce(t, "delete", wire.NotFound, func(ctx context.Context) error {
			return drop(s.Delete(ctx, &task.DeleteRequest{ID: s.id}))
		})
		if won != 1 {
			t.Errorf("delete: %d succeeded", won)
		}
		s.wantInOrder()
	})
}

// Every waiter is told, and told the same.
func TestManyWaiters(t *testing.T) {
	s := drive(t, fakeRuntime(t), ocitest.Spec{Args: []string{"/bin/sh", "-c", "read x; exit 8"}})
	path, in := writer(t)
	s.create(func(r *task.CreateTaskRequest) { r.Stdin = path })
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { s.wait("", 8) })
	}
	s.start("")
	in.WriteString("\n")
	all.Wait()
}

// The errors of execs that fail at the same time are each one's own.
func TestErrorsOfParallelExecsDoNotMix(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				id, path := fmt.Sprint("e", i), fmt.Sprintf("/no/such-%d-", i)
				spec := s.process(path)
				if _, err := s.Exec(patient(t), &task.ExecProcessRequest{ID: s.id, ExecID: id, Spec: spec}); err != nil {
					t.Error(err)
				}
				_, err := s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: id})
				if err == nil || !strings.Contains(err.Error(), path) && rt.name != "crun" { // crun names no path
					t.Errorf("%s: %v", path, err)
				}
			})
		}
		all.Wait()
	})
}

// A Delete whose caller has no time left still undoes what Create did.
func TestDeleteOutlivesItsCaller(t *testing.T) {
	s := drive(t, runcRuntime(t), ocitest.Spec{Args: []string{"/bin/sh", "-c", "yes | head -c 1000000"}})
	path, _ := reader(t) // never read: the output does not drain
	s.create(s.mountedRootfs, func(r *task.CreateTaskRequest) { r.Stdout = path })
	s.start("")
	s.kill("", unix.SIGKILL)
	s.wait("", 137)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, _ = s.Delete(ctx, &task.DeleteRequest{ID: s.id})
	eventually(t, "the task is gone", func() bool {
		_, err := s.State(patient(t), &task.StateRequest{ID: s.id})
		return wire.CodeOf(err) == wire.NotFound
	})
	_, err := s.Delete(patient(t), &task.DeleteRequest{ID: s.id})
	wantError(t, "delete again", err, wire.NotFound, notCreated.text)
}

// An OCI runtime that never sends the terminal is given up.
func TestTerminalThatNeverComes(t *testing.T) {
	rt := fakeRuntime(t)
	deaf := filepath.Join(t.TempDir(), "deaf")
	script := "#!/bin/sh\nn=$#\nwhile [ $n -gt 0 ]; do a=$1; shift; n=$((n-1))\n" +
		`case $a in --console-socket) shift; n=$((n-1));; *) set -- "$@" "$a";; esac; done` + "\nexec " + rt.binary + ` "$@"` + "\n"
	if err := os.WriteFile(deaf, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	rt.binary = deaf
	s := drive(t, rt, sleeper)
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	err := drop(s.Create(ctx, s.request(func(r *task.CreateTaskRequest) { r.Terminal = true })))
	wantError(t, "create", timedOut(err), wire.DeadlineExceeded, "")
	eventually(t, "the failed create is undone", func() bool {
		_, err := os.Stat(s.bundle + "/task.json")
		return err != nil && len(s.processes()) == 0
	})
	s.run() // without a terminal all is well
}

// A container in which everything happens at once ends like any other.
func TestKillInTheMidstOfIt(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				id := fmt.Sprint("e", i)
				spec := s.process("/bin/sleep", "1000")
				if _, err := s.Exec(patient(t), &task.ExecProcessRequest{ID: s.id, ExecID: id, Spec: spec}); err != nil {
					wantError(t, "exec", err, wire.FailedPrecondition, "")
					return
				}
				started := make(chan error, 1)
				go func() {
					started <- drop(s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: id}))
				}()
				if i == 5 {
					s.kill("", unix.SIGKILL)
				}
				<-started
				if _, err := s.Wait(patient(t), &task.WaitRequest{ID: s.id, ExecID: id}); err != nil {
					wantError(t, "wait for an exec that never ran", err, wire.NotFound, "")
				}
			})
		}
		s.wait("", 137)
		s.delete("") // releases those who wait for what never started
		all.Wait()
		s.wantInOrder()
	})
}
