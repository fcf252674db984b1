package manager_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/attach"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/wire"
)

// eventually polls where nothing can be waited for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

// leaks fails the test if goroutines or descriptors are left at its end.
func leaks(t *testing.T) {
	t.Helper()
	fds := func() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }
	before, fdsBefore := runtime.NumGoroutine(), fds()
	t.Cleanup(func() {
		defer func() {
			if t.Failed() {
				buf := make([]byte, 1<<20)
				t.Logf("%s", buf[:runtime.Stack(buf, true)])
			}
		}()
		eventually(t, "goroutines and descriptors end", func() bool {
			return runtime.NumGoroutine() <= before && fds() <= fdsBefore
		})
	})
}

func TestTaskLivesAndIsRunAgain(t *testing.T) {
	leaks(t)
	m, l := open(t)
	c, tk := run(t, m, "box")
	ctx := t.Context()
	if s, err := c.Status(ctx); err != nil || s.State != manager.StateRunning || s.PID != 1000 {
		t.Fatalf("Status = %+v, %v", s, err)
	}
	if _, err := c.NewTask(ctx, manager.TaskConfig{}); !errors.Is(err, manager.ErrTaskExists) {
		t.Errorf("second NewTask: %v", err)
	}
	if err := c.Delete(ctx); !errors.Is(err, manager.ErrRunning) {
		t.Errorf("Delete of a running container: %v", err)
	}
	if _, err := tk.Delete(ctx); !errors.Is(err, manager.ErrRunning) {
		t.Errorf("Delete of a running task: %v", err)
	}
	if err := tk.Pause(ctx); err != nil {
		t.Error(err)
	}
	if err := tk.Pause(ctx); !errors.Is(err, manager.ErrState) {
		t.Errorf("Pause of a paused task: %v", err)
	}
	if err := tk.Resume(ctx); err != nil {
		t.Error(err)
	}
	wait := make(chan manager.Exit, 1)
	go func() {
		e, err := tk.Wait(ctx)
		if err != nil {
			t.Error(err)
		}
		wait <- e
	}()
	l.last().exit("", 7<<8)
	if e := <-wait; e.Code != 7 || !e.Known {
		t.Errorf("Wait = %+v", e)
	}
	if err := tk.Kill(ctx, syscall.SIGTERM); !errors.Is(err, manager.ErrExited) {
		t.Errorf("Kill of the dead: %v", err)
	}
	first := l.last()
	// Without Delete: a stopped run makes way.
	if tk, err := c.NewTask(ctx, manager.TaskConfig{}); err != nil {
		t.Fatal(err)
	} else if err := tk.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if l.last() == first {
		t.Fatal("no second shim")
	}
	if err := c.Delete(ctx, manager.Force()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Bundle()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("bundle after Delete: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(m.Root(), "test", ".[ng]*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if _, err := m.Load(ctx, "box"); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
}

func TestStoppedTaskNeedsNoShim(t *testing.T) {
	leaks(t)
	m, l := open(t)
	c, tk := run(t, m, "box")
	ctx := t.Context()
	l.last().exit("", 9)
	l.last().die()
	check := func(c *manager.Container) {
		t.Helper()
		s, err := c.Status(ctx)
		if err != nil || s.State != manager.StateStopped || s.Exit.Code != 137 || s.Exit.Signal != syscall.SIGKILL {
			t.Errorf("Status = %+v, %v", s, err)
		}
		in, err := c.Inspect(ctx)
		if err != nil || in.Status != manager.StateStopped || in.Exit.SignalName != "SIGKILL" || in.Shim != nil {
			t.Errorf("Inspect = %+v, %v", in, err)
		}
	}
	check(c)
	again, err := m.Load(ctx, "box")
	if err != nil {
		t.Fatal(err)
	}
	check(again)
	if e, err := tk.Wait(ctx); err != nil || e.Code != 137 {
		t.Errorf("Wait = %+v, %v", e, err)
	}
	if e, err := tk.Delete(ctx); err != nil || e.Code != 137 {
		t.Errorf("Delete = %+v, %v", e, err)
	}
	if s, err := c.Status(ctx); err != nil || s.State != manager.StateNone {
		t.Errorf("Status after Delete = %+v, %v", s, err)
	}
	if _, err := c.Task(ctx); !errors.Is(err, manager.ErrNoTask) {
		t.Errorf("Task: %v", err)
	}
	if _, err := tk.Delete(ctx); !errors.Is(err, manager.ErrNoTask) {
		t.Errorf("second Delete: %v", err)
	}
}

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

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestTwoManagersRunContainerOnce(t *testing.T) {
	m, l := open(t, manager.WithLockTimeout(5*time.Second))
	makeContainer(t, m, "box")
	var wg sync.WaitGroup
	var mu sync.Mutex
	ok := 0
	for range 8 {
		other, err := manager.Open(m.Root(), "test", manager.WithLauncher(l), manager.WithRuntime("/bin/true"), manager.WithLockTimeout(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			c, err := other.Load(context.Background(), "box")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, err = c.NewTask(context.Background(), manager.TaskConfig{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ok++
			} else if !errors.Is(err, manager.ErrTaskExists) {
				t.Errorf("NewTask: %v", err)
			}
		})
	}
	wg.Wait()
	if ok != 1 || len(l.shims) != 1 {
		t.Errorf("%d tasks, %d shims", ok, len(l.shims))
	}
}

func TestLockedContainerIsBusy(t *testing.T) {
	m, _ := open(t, manager.WithLockTimeout(30*time.Millisecond))
	c := makeContainer(t, m, "box")
	f, err := os.Open(c.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); !errors.Is(err, manager.ErrBusy) {
		t.Errorf("NewTask: %v", err)
	}
	if err := c.Delete(t.Context()); !errors.Is(err, manager.ErrBusy) {
		t.Errorf("Delete: %v", err)
	}
}

func TestExecLife(t *testing.T) {
	leaks(t)
	m, l := open(t)
	_, tk := run(t, m, "box")
	ctx := t.Context()
	e, err := tk.Exec(ctx, manager.ExecConfig{ID: "e1", Args: []string{"ls"}, Env: []string{"A=b"}, Cwd: "/tmp"})
	if err != nil {
		t.Fatal(err)
	}
	spec := string(l.last().procs["e1"].stdin)
	for _, want := range []string{`"A=b"`, `"PATH=`, `"cwd": "/tmp"`, `"ls"`} {
		if !strings.Contains(spec, want) {
			t.Errorf("process of exec has no %s: %s", want, spec)
		}
	}
	if _, err := tk.Exec(ctx, manager.ExecConfig{ID: "e1", Args: []string{"ls"}}); !errors.Is(err, manager.ErrExists) {
		t.Errorf("second exec of the id: %v", err)
	}
	if _, err := tk.Exec(ctx, manager.ExecConfig{ID: "../x", Args: []string{"ls"}}); !errors.Is(err, manager.ErrInvalidID) {
		t.Errorf("exec ../x: %v", err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Delete(ctx); !errors.Is(err, manager.ErrRunning) {
		t.Errorf("Delete while it runs: %v", err)
	}
	if list, err := tk.Execs(ctx); err != nil || len(list) != 1 || list[0].ID() != "e1" {
		t.Errorf("Execs = %v, %v", list, err)
	}
	l.last().exit("e1", 5<<8)
	if x, err := e.Wait(ctx); err != nil || x.Code != 5 {
		t.Errorf("Wait = %+v, %v", x, err)
	}
	if err := e.Kill(ctx, syscall.SIGTERM); !errors.Is(err, manager.ErrExited) {
		t.Errorf("Kill: %v", err)
	}
	if x, err := e.Delete(ctx); err != nil || x.Code != 5 {
		t.Errorf("Delete = %+v, %v", x, err)
	}
	if _, err := tk.LoadExec(ctx, "e1"); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("LoadExec: %v", err)
	}
	if err := e.Kill(ctx, syscall.SIGTERM); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("Kill of the deleted: %v", err)
	}
}

func TestExecRecordOutlivesShim(t *testing.T) {
	m, l := open(t)
	_, tk := run(t, m, "box")
	ctx := t.Context()
	e, err := tk.Exec(ctx, manager.ExecConfig{ID: "e1", Args: []string{"ls"}})
	if err != nil {
		t.Fatal(err)
	}
	s := l.last()
	s.exit("e1", 5<<8)
	s.exit("", 0)
	s.die()
	if x, err := e.Wait(ctx); err != nil || x.Code != 5 {
		t.Errorf("Wait = %+v, %v", x, err)
	}
	if list, err := tk.Execs(ctx); err != nil || len(list) != 1 {
		t.Errorf("Execs = %v, %v", list, err)
	}
	if x, err := e.Delete(ctx); err != nil || x.Code != 5 {
		t.Errorf("Delete = %+v, %v", x, err)
	}
	if list, err := tk.Execs(ctx); err != nil || len(list) != 0 {
		t.Errorf("Execs = %v, %v", list, err)
	}
}

func TestAttachCarriesStreams(t *testing.T) {
	leaks(t)
	m, l := open(t)
	_, tk := run(t, m, "box")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out, errs bytes.Buffer
	a, err := tk.Attach(t.Context(), manager.AttachConfig{Stdin: r, Stdout: &out, Stderr: &errs, Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	l.last().write(attach.Stderr, "warning")
	if _, err := w.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	w.Close() // EOF makes the fake end the streams
	if err := a.Wait(); err != nil {
		t.Errorf("Wait: %v", err)
	}
	if out.String() != "hello" || errs.String() != "warning" {
		t.Errorf("out %q, err %q", out.String(), errs.String())
	}
	a.Close()
}

func TestAttachEnds(t *testing.T) {
	leaks(t)
	m, l := open(t)
	_, tk := run(t, m, "box")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	detach := errors.New("detach keys")
	for name, c := range map[string]struct {
		stdin *errReader
		end   func(a *manager.Attachment, s *fakeShim)
		want  error
	}{
		"closed":  {end: func(a *manager.Attachment, _ *fakeShim) { a.Close() }, want: manager.ErrDetached},
		"lagging": {end: func(_ *manager.Attachment, s *fakeShim) { s.write(attach.End, "lagging: 5 bytes behind") }, want: manager.ErrLagging},
		"stdin":   {stdin: &errReader{detach}, end: func(*manager.Attachment, *fakeShim) {}, want: detach},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := manager.AttachConfig{Stdin: r, Stdout: new(bytes.Buffer)}
			if c.stdin != nil {
				cfg.Stdin = c.stdin
			}
			a, err := tk.Attach(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			c.end(a, l.last())
			if err := a.Wait(); !errors.Is(err, c.want) {
				t.Errorf("Wait: %v, want %v", err, c.want)
			}
			a.Close()
			l.last().mu.Lock()
			l.last().procs[""].clients = nil
			l.last().mu.Unlock()
		})
	}
	// The pipe can be read again.
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 1 {
		t.Errorf("stdin after the attachments: %v", err)
	}
	a, err := tk.Attach(t.Context(), manager.AttachConfig{Stdout: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	l.last().die()
	if err := a.Wait(); err == nil || errors.Is(err, manager.ErrDetached) {
		t.Errorf("Wait with a dead shim: %v", err)
	}
}

// errReader fails.
type errReader struct{ err error }

func (r *errReader) Read([]byte) (int, error) { return 0, r.err }

func TestTaskGetsWhatContainerSays(t *testing.T) {
	m, l := open(t, manager.WithCriu("/opt/criu"))
	c, err := m.Create(t.Context(), "box", manager.CreateConfig{
		Rootfs:  t.TempDir(),
		Process: manager.SpecConfig{Args: []string{"sh"}, Terminal: true, Size: manager.Size{Width: 80, Height: 25}},
		Runtime: manager.Runtime{Binary: "/bin/false", NoPivot: true, Args: []string{"--x"}},
		Stdio:   manager.Stdio{OpenStdin: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{Linger: true}); err != nil {
		t.Fatal(err)
	}
	s := l.last()
	r, o := s.create, s.options
	if !r.Terminal || r.Stdin != "attach://" || r.Stderr != "" || r.Stdout != "file://"+c.Bundle()+"/output.log?format=cri" {
		t.Errorf("Create = %+v", r)
	}
	if o.Runtime.BinaryName != "/bin/false" || !o.Runtime.NoPivotRoot || o.Runtime.Root != m.Root()+"/.runtime" ||
		o.RuntimeArgs[0] != "--x" || o.ConsoleWidth != 80 || o.ConsoleHeight != 25 || !o.Linger || o.CriuDir != "/opt/criu" {
		t.Errorf("options = %+v %+v", o, o.Runtime)
	}
	if _, err := os.Stat(filepath.Join(c.Bundle(), "address")); err != nil {
		t.Error(err)
	}
}

func TestLongPathGetsShortSocket(t *testing.T) {
	root := filepath.Join(t.TempDir(), strings.Repeat("d", 20))
	l := &fakeLauncher{t: t}
	m, err := manager.Open(root, "test", manager.WithLauncher(l), manager.WithRuntime("/bin/true"))
	if err != nil {
		t.Fatal(err)
	}
	c := makeContainer(t, m, strings.Repeat("c", 76))
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); err != nil {
		t.Fatal(err)
	}
	address, _ := os.ReadFile(filepath.Join(c.Bundle(), "address"))
	if !strings.HasPrefix(string(address), "unix://"+root+"/.s/") {
		t.Errorf("address = %s", address)
	}
	if err := c.Delete(t.Context(), manager.Force()); err != nil {
		t.Fatal(err)
	}
	if left := names(t, filepath.Join(root, ".s")); left != "" {
		t.Errorf("left over: %s", left)
	}
}

func TestNoRuntimeNoShim(t *testing.T) {
	m, err := manager.Open(t.TempDir(), "test", manager.WithRuntime("no-such-runtime"), manager.WithShim("no-such-shim"))
	if err != nil {
		t.Fatal(err)
	}
	c := makeContainer(t, m, "box")
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); !errors.Is(err, manager.ErrNoRuntime) {
		t.Errorf("NewTask: %v", err)
	}
	m, err = manager.Open(m.Root(), "test", manager.WithRuntime("/bin/true"), manager.WithShim("no-such-shim"))
	if err != nil {
		t.Fatal(err)
	}
	c = makeContainer(t, m, "box2")
	if _, err := c.NewTask(t.Context(), manager.TaskConfig{}); !errors.Is(err, manager.ErrNoShim) {
		t.Errorf("NewTask: %v", err)
	}
	if got := names(t, c.Bundle()); got != "config.json container.json rootfs" {
		t.Errorf("left over: %s", got)
	}
}
