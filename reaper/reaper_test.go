package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (w *world) limited() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	w.Cleanup(cancel)
	return ctx
}

func TestExitCodeIsExact(t *testing.T) {
	w := newWorld(t)
	for code := range 256 {
		p := w.start("/bin/sh", "-c", "exit "+strconv.Itoa(code))
		e := w.exit(p)
		if !e.Known || e.Status != uint32(code)<<8 || e.Code() != code || e.Signal() != 0 || e.Core() {
			t.Errorf("exit %d: %+v, code %d", code, e, e.Code())
		}
	}
	if e := w.exit(w.play("exit", "42").Process); e.Code() != 42 {
		t.Errorf("own child: %+v", e)
	}
}

func TestSignalIsExact(t *testing.T) {
	w := newWorld(t)
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH: // ignored by default
			continue
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU: // stop
			continue
		}
		p := w.park()
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		e := w.exit(p.Process)
		if !e.Known || e.Signal() != sig || e.Code() != 128+int(sig) {
			t.Errorf("signal %d: %+v", sig, e)
		}
		switch sig {
		case unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV,
			unix.SIGXCPU, unix.SIGXFSZ, unix.SIGSYS:
			if want := uint32(sig) | 0x80; !e.Core() && dumpsHere(t) || e.Core() && e.Status != want {
				t.Errorf("signal %d: core %t, status %#x, want %#x", sig, e.Core(), e.Status, want)
			}
		default:
			if e.Core() || e.Status != uint32(sig) {
				t.Errorf("signal %d: status %#x", sig, e.Status)
			}
		}
	}
}

// dumpsHere tells whether a core dump goes into the working directory; what a
// handler program of the machine does with one is not for us to test.
func dumpsHere(t *testing.T) bool {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	return err == nil && strings.HasPrefix(string(pattern), "core")
}

func TestStoppedIsNotExited(t *testing.T) {
	w := newWorld(t)
	p := w.park()
	for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGCONT} {
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := p.Exit(); ok {
		t.Fatalf("exit of a living process: %+v", e)
	}
	p.Signal(unix.SIGTERM)
	if e := w.exit(p.Process); e.Signal() != unix.SIGTERM {
		t.Errorf("%+v", e)
	}
}

func TestExitReachesEveryReaderHoweverLate(t *testing.T) {
	w := newWorld(t)
	p := w.park()
	ctx, cancel := context.WithCancelCause(context.Background())
	sour := errors.New("sour")
	cancel(sour)
	if _, err := p.Wait(ctx); !errors.Is(err, sour) {
		t.Errorf("wait with a context that is done: %v", err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if e := w.exit(p.Process); e.Signal() != unix.SIGUSR1 {
				t.Errorf("early reader: %+v", e)
			}
		})
	}
	before := time.Now()
	p.Signal(unix.SIGUSR1)
	wg.Wait()
	<-p.Done()
	for range 2 {
		if e, err := p.Wait(ctx); err != nil || e.Signal() != unix.SIGUSR1 {
			t.Errorf("late reader whose context is done: %+v, %v", e, err)
		}
	}
	e, ok := p.Exit()
	if !ok || e.At.Before(before) || e.At.After(time.Now()) {
		t.Errorf("time of death %v", e.At)
	}
	if err := p.Signal(unix.SIGKILL); !errors.Is(err, ErrExited) {
		t.Errorf("signal after the exit: %v", err)
	}
	if _, err := p.PidFD(); !errors.Is(err, ErrExited) {
		t.Errorf("pidfd after the exit: %v", err)
	}
}

func TestRusageIsTheChildsOwn(t *testing.T) {
	w := newWorld(t)
	e := w.exit(w.start("/bin/sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"))
	ru := e.Rusage
	if ru.User <= 0 || ru.User > 20*time.Second || ru.MaxRSS < 100 || ru.MaxRSS > 1<<20 {
		t.Errorf("%+v", ru)
	}
}

func TestStartGivesTheChildWhatWasAskedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	extra, err := os.Open("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	dir, adj := t.TempDir(), 123
	p, err := w.Start(Command{
		Path: "/proc/self/exe", Env: []string{"REAPER_CHILD=fds", "MARK=here", quick}, Dir: dir,
		Files: []*os.File{nil, wr, os.Stderr, nil, extra}, Setsid: true, OOMScoreAdj: &adj,
	})
	if err != nil {
		t.Fatal(err)
	}
	if fl, _ := flags(wr); fl&unix.O_NONBLOCK == 0 {
		t.Error("a lent file was put into blocking mode")
	}
	wr.Close()
	var b strings.Builder
	for buf := make([]byte, 4096); ; {
		n, err := r.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if e := w.exit(p); e.Code() != 0 {
		t.Errorf("%+v", e)
	}
	for _, want := range []string{"0=/dev/null\n", "1=pipe:", "3=/dev/null\n", "4=/proc/", "leader=true group=true",
		"dir=" + dir + " ", "adj=123", "env=here"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "5=pipe") || strings.Contains(b.String(), "5=anon_inode:[pidfd]") {
		t.Errorf("a descriptor too many:\n%s", b.String())
	}
}

func TestOOMScoreOfAProcessThatIsGoneAlready(t *testing.T) {
	w := newWorld(t)
	adj := 10
	for range 100 {
		p, err := w.Start(Command{Path: "/bin/true", OOMScoreAdj: &adj})
		if err != nil {
			t.Fatal(err)
		}
		if e := w.exit(p); e.Code() != 0 || !e.Known {
			t.Errorf("%+v", e)
		}
	}
	s := linux()
	exec := s.forkExec
	s.forkExec = func(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
		pid, err := exec(path, argv, attr)
		isZombie(w, pid)
		return pid, err
	}
	w = newWorldOn(t, s)
	if p, err := w.Start(Command{Path: "/bin/true", OOMScoreAdj: &adj}); err != nil {
		t.Error(err)
	} else if e := w.exit(p); e.Code() != 0 || !e.Known {
		t.Errorf("%+v", e)
	}
}

func flags(f *os.File) (fl int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	c.Control(func(fd uintptr) { fl, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	return fl, err
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	w := newWorld(t)
	closed, _ := os.Open("/dev/null")
	closed.Close()
	bad := 5000
	for name, c := range map[string]Command{
		"no such file":       {Path: "/nonexistent"},
		"permission denied":  {Path: "/proc/self/stat"},
		"use of closed file": {Path: "/bin/true", Files: []*os.File{closed}},
		"no such file or":    {Path: "/bin/true", Dir: "/nonexistent"},
		"set oom score":      {Path: "/bin/true", OOMScoreAdj: &bad},
	} {
		if p, err := w.Start(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	// newWorld's cleanup looks for zombies and descriptors.
}

func TestCloseMakesTheLivingUnknown(t *testing.T) {
	w := newWorld(t)
	living := w.play("park")
	dead := w.start("/bin/true")
	w.exit(dead)
	fd, err := living.PidFD()
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e, ok := living.Exit()
	if !ok || e.Known || e.Reason != "reaper closed" || e.Code() != 255 || e.Signal() != 0 {
		t.Errorf("living: %+v, %t", e, ok)
	}
	if e, _ := dead.Exit(); e.Code() != 0 || !e.Known {
		t.Errorf("dead: %+v", e)
	}
	if err := living.Signal(0); !errors.Is(err, ErrExited) {
		t.Errorf("signal: %v", err)
	}
	if _, err := w.Start(Command{Path: "/bin/true"}); !errors.Is(err, ErrClosed) {
		t.Errorf("start: %v", err)
	}
	if _, err := w.Adopt(living.PID()); !errors.Is(err, ErrClosed) {
		t.Errorf("adopt: %v", err)
	}
	w.Hold()()
	w.Sweep()

	// The next reaper takes it from there.
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Adopt(living.PID())
	if err != nil {
		t.Fatal(err)
	}
	living.in.Close()
	if e := w.exit(p); !e.Known || e.Code() != 0 {
		t.Errorf("%+v", e)
	}
}

func TestCloseAmidStartsLeavesNoChild(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				p, err := w.Start(Command{Path: "/bin/true"})
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				<-p.Done()
				// One that Close found alive has no reaper any more.
				if e, _ := p.Exit(); !e.Known {
					unix.Wait4(p.PID(), nil, 0, nil)
				}
			}
		})
	}
	w.exit(w.start("/bin/sh", "-c", "exit 0"))
	w.Close()
	wg.Wait()
}

func TestThreadsDoNotGrowWithChildren(t *testing.T) {
	w := newWorld(t)
	threads := func() int {
		names, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	w.park()
	before, routines := threads(), runtime.NumGoroutine()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil { // blocking: cat does not poll
		t.Fatal(err)
	}
	keep, end := os.NewFile(uintptr(ends[0]), "keep"), os.NewFile(uintptr(ends[1]), "end")
	var living []*Process
	for range 200 {
		p, err := w.Start(Command{Path: "/bin/cat", Files: []*os.File{keep, nil, nil}})
		if err != nil {
			t.Fatal(err)
		}
		living = append(living, p)
	}
	keep.Close()
	// The Go runtime may add a few for its own ends.
	if n := threads(); n > before+8 {
		t.Errorf("%d threads, were %d", n, before)
	}
	if n := runtime.NumGoroutine(); n != routines {
		t.Errorf("%d goroutines, were %d", n, routines)
	}
	end.Close()
	for _, p := range living {
		if e := w.exit(p); e.Code() != 0 || !e.Known {
			t.Errorf("%+v", e)
		}
	}
}

func TestIdentityTellsProcessesApart(t *testing.T) {
	w := newWorld(t)
	a, b := w.park(), w.park()
	ida, idb := a.Identity(), b.Identity()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if ida == idb || ida.PID != a.PID() || ida.StartTime == 0 || ida.BootID != strings.TrimSpace(string(boot)) {
		t.Errorf("%+v %+v", ida, idb)
	}
	same, err := w.Adopt(a.PID())
	if err != nil || same != a.Process {
		t.Errorf("adopted a known process: %p, %v; want %p", same, err, a.Process)
	}
	a.Signal(unix.SIGKILL)
	w.exit(a.Process)
	if a.Identity() != ida {
		t.Errorf("after the exit: %+v, was %+v", a.Identity(), ida)
	}
	if fmt.Sprint(ida.Inode) == fmt.Sprint(idb.Inode) && ida.Inode != 0 {
		t.Error("two processes, one inode")
	}
}
