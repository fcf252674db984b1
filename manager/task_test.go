package manager_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
)

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
