package manager_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

func TestDeadShimIsReported(t *testing.T) {
	leaks(t)
	// The delete action of the real shim is for integration; here a script
	// stands for it and leaves a mark.
	script := filepath.Join(t.TempDir(), "shim")
	mark := script + ".ran"
	text := "#!/bin/sh\npwd > " + mark + "\necho \"$@\" >> " + mark + "\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	m, l := open(t, manager.WithShim(script))
	c, tk := run(t, m, "box")
	ctx := t.Context()
	waited := make(chan error, 1)
	go func() { _, err := tk.Wait(ctx); waited <- err }()
	l.last().die()
	if err := <-waited; !errors.Is(err, manager.ErrShimDead) {
		t.Errorf("Wait: %v", err)
	}
	begin := time.Now()
	s, err := c.Status(ctx)
	if err != nil || s.State != manager.StateUnknown || !errors.Is(s.Err, manager.ErrShimDead) || s.PID != 1000 {
		t.Errorf("Status = %+v, %v", s, err)
	}
	for name, err := range map[string]error{
		"kill":    tk.Kill(ctx, syscall.SIGTERM),
		"delete":  c.Delete(ctx),
		"newtask": func() error { _, err := c.NewTask(ctx, manager.TaskConfig{}); return err }(),
		"attach":  func() error { _, err := tk.Attach(ctx, manager.AttachConfig{}); return err }(),
	} {
		if !errors.Is(err, manager.ErrShimDead) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a dead shim cost %v", took)
	}
	if err := c.Delete(ctx, manager.Force()); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(mark)
	want := c.Bundle() + "\n-namespace test -id box -bundle " + c.Bundle() + " delete\n"
	if string(got) != want {
		t.Errorf("delete action ran as %q, want %q", got, want)
	}
}

func TestHungShimDelaysNobodyElse(t *testing.T) {
	leaks(t)
	m, l := open(t)
	l.setup = func(s *fakeShim) {
		if s.req.ID == "hung" {
			s.fault = func(method string) error {
				if method == "Create" || method == "Start" {
					return nil
				}
				return errSilent
			}
		}
	}
	hung, tk := run(t, m, "hung")
	well, _ := run(t, m, "well")
	ctx := t.Context()
	begin := time.Now()
	got := m.Statuses(ctx, []*manager.Container{hung, well})
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Statuses took %v", took)
	}
	if got[0].State != manager.StateUnknown || !errors.Is(got[0].Err, manager.ErrTimeout) {
		t.Errorf("hung: %+v", got[0])
	}
	if got[1].State != manager.StateRunning {
		t.Errorf("well: %+v", got[1])
	}
	if err := tk.Kill(ctx, syscall.SIGTERM); !errors.Is(err, manager.ErrTimeout) {
		t.Errorf("Kill: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := tk.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	ins := m.Inspects(ctx, []*manager.Container{hung})
	if ins[0].Status != manager.StateUnknown || ins[0].Reason == "" {
		t.Errorf("Inspect: %+v", ins[0])
	}
}

func TestForceDeletesWithoutHungShim(t *testing.T) {
	m, l := open(t, manager.WithShim("/bin/true"))
	l.setup = func(s *fakeShim) {
		s.fault = func(method string) error {
			if method == "Create" || method == "Start" {
				return nil
			}
			return errSilent
		}
	}
	c, tk := run(t, m, "hung")
	begin := time.Now()
	if _, err := tk.Delete(t.Context()); !errors.Is(err, manager.ErrTimeout) {
		t.Errorf("Delete: %v", err)
	}
	if err := c.Delete(t.Context(), manager.Force()); err != nil {
		t.Errorf("Delete by force: %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestConnectionClosedMidCallIsDialledAgain(t *testing.T) {
	leaks(t)
	m, l := open(t)
	c, _ := run(t, m, "box")
	s := l.last()
	dropped := 0
	s.setFault(func(method string) error {
		if method == "State" && dropped == 0 {
			dropped++
			return errDrop
		}
		return nil
	})
	if st, err := c.Status(t.Context()); err != nil || st.State != manager.StateRunning {
		t.Errorf("Status = %+v, %v", st, err)
	}
	// A shim that closes for good, with a record: the record is the answer.
	s.setFault(func(string) error { return errDrop })
	done := make(chan manager.Exit, 1)
	s.exit("", 3<<8)
	go func() { e, _ := c.Wait(t.Context()); done <- e }()
	if e := <-done; e.Code != 3 {
		t.Errorf("Wait = %+v", e)
	}
}

func TestFailedCreateIsUndone(t *testing.T) {
	leaks(t)
	for name, c := range map[string]struct {
		refuse error
		fault  func(s *fakeShim) func(string) error
		check  func(t *testing.T, err error)
	}{
		"shim does not come up": {
			refuse: errors.New("cannot make the soup"),
			check: func(t *testing.T, err error) {
				if err == nil || !strings.Contains(err.Error(), "cannot make the soup") {
					t.Errorf("NewTask: %v", err)
				}
			},
		},
		"runtime says no": {
			fault: func(s *fakeShim) func(string) error {
				return func(method string) error {
					if method != "Create" {
						return nil
					}
					_ = bundle.WriteExit(s.req.Bundle, bundle.Exit{ID: s.req.ID, Failed: true, Code: 127, Reason: "no such file"})
					return wire.Errorf(wire.Unknown, "OCI runtime create failed: exec: no such file")
				}
			},
			check: func(t *testing.T, err error) {
				var start *manager.StartError
				if !errors.As(err, &start) || start.Code != 127 {
					t.Errorf("NewTask: %v", err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, l := open(t)
			box := makeContainer(t, m, "box")
			before := names(t, box.Bundle())
			l.refuse = c.refuse
			if c.fault != nil {
				l.setup = func(s *fakeShim) { s.fault = c.fault(s) }
			}
			_, err := box.NewTask(t.Context(), manager.TaskConfig{})
			c.check(t, err)
			if after := names(t, box.Bundle()); after != strings.Replace(before, " rootfs", " log rootfs", 1) {
				t.Errorf("bundle holds %s, held %s", after, before)
			}
			if s, err := box.Status(t.Context()); err != nil || s.State != manager.StateNone {
				t.Errorf("Status = %+v, %v", s, err)
			}
			l.refuse, l.setup = nil, nil
			if _, err := box.NewTask(t.Context(), manager.TaskConfig{}); err != nil {
				t.Errorf("NewTask afterwards: %v", err)
			}
		})
	}
}

// A container that is created when we look, and runs when it is to be deleted,
// is ended like any other: its shim is well, and others wait for its answer.
func TestForceDeletesWhatBeginsToRunMeanwhile(t *testing.T) {
	leaks(t)
	m, l := open(t, manager.WithShim("/bin/false")) // cannot clean up after a shim that was killed
	c := makeContainer(t, m, "box")
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); err != nil {
		t.Fatal(err)
	}
	s := l.last()
	s.setFault(func(method string) error {
		if p := s.procs[""]; method == "Delete" && p.state == types.StatusCreated {
			p.state = types.StatusRunning
		}
		return nil
	})
	if err := c.Delete(t.Context(), manager.Force()); err != nil {
		t.Fatal(err)
	}
	if len(s.kills) != 1 || s.kills[0].Signal != 9 {
		t.Errorf("kills: %+v", s.kills)
	}
}
