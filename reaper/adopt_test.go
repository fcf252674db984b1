package reaper

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// countWaits returns the kernel with a counter of waitid calls, to show that
// nothing spins.
func countWaits() (sys, *atomic.Int32) {
	n := new(atomic.Int32)
	s := linux()
	s.waitid = func(idType, id int, info *unix.Siginfo, options int, ru *unix.Rusage) error {
		n.Add(1)
		return unix.Waitid(idType, id, info, options, ru)
	}
	return s, n
}

// isZombie waits until pid is one.
func isZombie(w *world, pid int) {
	w.Helper()
	eventually(w, func() bool {
		s, err := w.stat(pid)
		return err == nil && s.state == 'Z'
	}, "become a zombie")
}

// keepsExits tells whether this kernel answers PIDFD_GET_INFO for the reaped.
func keepsExits(w *world) bool {
	w.Helper()
	pidfd := -1
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{PidFD: &pidfd}})
	if err != nil {
		w.Fatal(err)
	}
	defer unix.Close(pidfd)
	unix.Wait4(pid, nil, 0, nil)
	info := pidfdInfo{mask: infoExit}
	return w.sys.pidfdInfo(pidfd, &info) == nil && info.mask&infoExit != 0
}

// A parent may take seconds to reap, or never do: the zombie tells.
func TestExitOfSomebodyElsesChildIsToldBeforeItIsReaped(t *testing.T) {
	w := newWorld(t)
	if !keepsExits(w) {
		t.Skip("this kernel keeps no exit status for pidfds")
	}
	parent, pid := w.parent()
	p, err := w.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if e := w.exit(p); !e.Known || e.Signal() != unix.SIGSEGV || !e.Core() && dumpsHere(t) {
		t.Errorf("%+v", e)
	}
	if s, err := w.stat(pid); err != nil || s.state != 'Z' {
		t.Errorf("reaped, or not dead: %+v, %v", s, err)
	}
	parent.in.Close()
	w.exit(parent.Process)
}

// Who may not trace a process reads its exit code as 0. That is no success.
func TestZombieThatMayNotBeReadTellsNothing(t *testing.T) {
	s, waits := countWaits()
	w := newWorldOn(t, s)
	if !keepsExits(w) {
		t.Skip("this kernel keeps no exit status for pidfds")
	}
	parent, pid := w.parent()
	w.sys.proc = blindProc(t, pid)
	p, err := w.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(unix.SIGUSR2)
	isZombie(w, pid)
	// Its zombie is readable and stays so. The loop must have passed it by.
	eventually(t, func() bool { return waits.Load() > 0 }, "see the zombie")
	w.exit(w.start("/bin/true"))
	if e, ok := p.Exit(); ok {
		t.Errorf("exit before the reap: %+v", e)
	}
	if n := waits.Load(); n > 5 {
		t.Errorf("%d waits while a zombie lay there", n)
	}
	parent.tell(w, "reap")
	if e := w.exit(p); !e.Known || e.Signal() != unix.SIGUSR2 {
		t.Errorf("%+v", e)
	}
	parent.in.Close()
	w.exit(parent.Process)
}

// blindProc is a procfs that shows pid as to someone who may not trace it: the
// exit code reads as 0, and io cannot be read.
func blindProc(t *testing.T, pid int) string {
	dir := t.TempDir()
	its := fmt.Sprintf("%s/%d", dir, pid)
	if err := os.Mkdir(its, 0o700); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (x) Z 1%s 0\n", pid, strings.Repeat(" 0", 47))
	if err := os.WriteFile(its+"/stat", []byte(stat), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/self", dir+"/self"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The thread that leads may leave before the others; what counts is how the
// process ended.
func TestZombieOfManyThreadsTellsTheStatusOfTheProcess(t *testing.T) {
	w := newWorld(t)
	if !keepsExits(w) {
		t.Skip("this kernel keeps no exit status for pidfds")
	}
	parent, pid := w.parent("leaderless")
	p, err := w.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	isZombie(w, pid) // the leader: the process lives on
	if e, ok := p.Exit(); ok {
		t.Fatalf("exit of a process that lives: %+v", e)
	}
	parent.tell(w, "let go")
	if e := w.exit(p); !e.Known || e.Code() != 42 {
		t.Errorf("%+v", e)
	}
	parent.in.Close()
	w.exit(parent.Process)
}

func TestExitOfSomebodyElsesZombie(t *testing.T) {
	w := newWorld(t)
	parent, pid := w.parent()
	unix.Kill(pid, unix.SIGHUP)
	isZombie(w, pid)
	p, err := w.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	if keepsExits(w) {
		w.exit(p)
	}
	parent.tell(w, "reap")
	// Also on a kernel that keeps nothing: the zombie told.
	if e := w.exit(p); !e.Known || e.Signal() != unix.SIGHUP {
		t.Errorf("%+v", e)
	}
	parent.in.Close()
	w.exit(parent.Process)
}

func TestOldKernelTellsOfStrangersOnlyWhatTheZombieShows(t *testing.T) {
	for _, errno := range []error{unix.ENOTTY, unix.ESRCH, unix.ENOSYS, nil} {
		for _, blind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v,blind=%t", errno, blind), func(t *testing.T) {
				s, waits := countWaits()
				s.pidfdInfo = func(_ int, info *pidfdInfo) error {
					info.mask = 0
					return errno
				}
				w := newWorldOn(t, s)
				parent, pid := w.parent()
				if blind { // no procfs: nothing is to be had
					w.sys.proc = t.TempDir()
				}
				p, err := w.Adopt(pid)
				if err != nil {
					t.Fatal(err)
				}
				p.Signal(unix.SIGUSR2)
				eventually(t, func() bool { return waits.Load() > 0 }, "see the zombie")
				w.exit(w.start("/bin/true")) // and have done with it
				parent.tell(w, "reap")
				e := w.exit(p)
				if blind && (e.Known || !strings.HasPrefix(e.Reason, "its parent took the exit status") || e.Code() != 255) ||
					!blind && (!e.Known || e.Signal() != unix.SIGUSR2) {
					t.Errorf("%+v", e)
				}
				parent.in.Close()
				w.exit(parent.Process)
			})
		}
	}
}

func TestOrphanBecomesOursAliveOrDead(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	for _, first := range []string{"the parent", "the child"} {
		t.Run(first+" dies first", func(t *testing.T) {
			w := newWorld(t, WithSubreaper())
			parent, pid := w.parent()
			p, err := w.Adopt(pid)
			if err != nil {
				t.Fatal(err)
			}
			if first == "the child" {
				p.Signal(unix.SIGTERM)
				isZombie(w, pid)
			}
			parent.in.Close() // it ends without having reaped
			w.exit(parent.Process)
			p.Signal(unix.SIGTERM)
			e := w.exit(p)
			if !e.Known || e.Signal() != unix.SIGTERM || e.Rusage.MaxRSS == 0 {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestTracedChildEndsWhenTheTracerLetsGo(t *testing.T) {
	s, waits := countWaits()
	w := newWorldOn(t, s)
	p := w.park()
	tracer := w.play("tracer", fmt.Sprint(p.PID()))
	tracer.hear(w, "traced errno 0")
	p.Signal(unix.SIGKILL)
	isZombie(w, p.PID())
	eventually(t, func() bool { return waits.Load() > 0 }, "see the zombie")
	if e, ok := p.Exit(); ok {
		t.Errorf("exit before the tracer let go: %+v", e)
	}
	if n := waits.Load(); n > 5 {
		t.Errorf("%d waits", n)
	}
	tracer.in.Close()
	if e := w.exit(p.Process); e.Signal() != unix.SIGKILL {
		t.Errorf("%+v", e)
	}
	w.exit(tracer.Process)
}

func TestAdoptOwnChildThatIsAZombie(t *testing.T) {
	w := newWorld(t)
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "exit 9"}, &syscall.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	isZombie(w, pid)
	p, err := w.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	if e := w.exit(p); e.Code() != 9 || !e.Known {
		t.Errorf("%+v", e)
	}
	if p.Identity().StartTime == 0 || p.PID() != pid {
		t.Errorf("identity %+v", p.Identity())
	}
}

func TestAdoptFD(t *testing.T) {
	w := newWorld(t)
	parent, pid := w.parent()
	open := func() *os.File {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "pidfd")
	}
	pidfd, later := open(), open()
	p, err := w.AdoptFD(pidfd)
	if err != nil || p.PID() != pid {
		t.Fatalf("%v, %v", p, err)
	}
	if _, err := pidfd.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the pidfd was not taken: %v", err)
	}
	handed, err := p.PidFD()
	if err != nil {
		t.Fatal(err)
	}
	if same, err := w.AdoptFD(handed); err != nil || same != p {
		t.Errorf("known process by pidfd: %p, %v; want %p", same, err, p)
	}
	p.Signal(unix.SIGALRM)
	isZombie(w, pid)
	parent.tell(w, "reap")
	w.exit(p)
	if keepsExits(w) {
		gone, err := w.AdoptFD(later)
		if err != nil {
			t.Fatal(err)
		}
		if e := w.exit(gone); !e.Known || e.Signal() != unix.SIGALRM || gone.PID() != 0 {
			t.Errorf("adopted after the reap: %+v, pid %d", e, gone.PID())
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AdoptFD(null); !errors.Is(err, unix.EBADF) {
		t.Errorf("not a pidfd: %v", err)
	}
	parent.in.Close()
	w.exit(parent.Process)
}

func TestAdoptRefuses(t *testing.T) {
	w := newWorld(t)
	gone := w.start("/bin/true")
	w.exit(gone)
	for pid, want := range map[int]error{-1: unix.EINVAL, 0: unix.EINVAL, 1 << 30: unix.ESRCH, gone.PID(): unix.ESRCH} {
		if p, err := w.Adopt(pid); !errors.Is(err, want) {
			t.Errorf("adopt %d: %v, %v", pid, p, err)
		}
	}
}
