package reaper

import (
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWaitInterrupted(t *testing.T) {
	s := linux()
	var n atomic.Int32
	s.waitid = func(idType, id int, info *unix.Siginfo, options int, ru *unix.Rusage) error {
		if n.Add(1)%3 != 0 {
			return unix.EINTR
		}
		return unix.Waitid(idType, id, info, options, ru)
	}
	w := newWorldOn(t, s)
	for range 5 {
		if e := w.exit(w.start("/bin/sh", "-c", "exit 6")); !e.Known || e.Code() != 6 {
			t.Errorf("%+v", e)
		}
	}
}

func TestKernelThatCannotWaitForPidfds(t *testing.T) {
	s := linux()
	s.waitid = func(idType, id int, info *unix.Siginfo, options int, ru *unix.Rusage) error {
		if idType == unix.P_PIDFD {
			return unix.EINVAL // before 5.4
		}
		return unix.Waitid(idType, id, info, options, ru)
	}
	w := newWorldOn(t, s)
	p := w.start("/bin/true")
	if e := w.exit(p); e.Known || !strings.Contains(e.Reason, "invalid argument") {
		t.Errorf("%+v", e)
	}
	unix.Wait4(p.PID(), nil, 0, nil)
}

func TestEpollThatIsFull(t *testing.T) {
	s := linux()
	s.epollCtl = func(epfd, op, fd int, e *unix.EpollEvent) error {
		if op == unix.EPOLL_CTL_ADD {
			return unix.ENOSPC // /proc/sys/fs/epoll/max_user_watches
		}
		return unix.EpollCtl(epfd, op, fd, e)
	}
	w := newWorldOn(t, s)
	if _, err := w.Start(Command{Path: "/bin/cat"}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("start: %v", err)
	}
	if _, err := w.Adopt(1); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("adopt: %v", err)
	}
}

func TestPidfdsRefused(t *testing.T) {
	s := linux()
	s.pidfdOpen = func(int, int) (int, error) { return -1, unix.EMFILE }
	w := newWorldOn(t, s)
	if _, err := w.Adopt(1); !errors.Is(err, unix.EMFILE) {
		t.Errorf("adopt: %v", err)
	}
}

func TestSignalRefused(t *testing.T) {
	s := linux()
	refuse := atomic.Bool{}
	s.sendSignal = func(fd int, sig unix.Signal) error {
		if refuse.Load() {
			return unix.EPERM
		}
		return unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	w := newWorldOn(t, s)
	p := w.park()
	refuse.Store(true)
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, unix.EPERM) {
		t.Errorf("signal: %v", err)
	}
	refuse.Store(false)
}

// TestRawStatus checks the way back from what waitid takes apart.
func TestRawStatus(t *testing.T) {
	for status := range int32(256) {
		if ws := unix.WaitStatus(rawStatus(cldExited, status)); !ws.Exited() || ws.ExitStatus() != int(status) {
			t.Errorf("exit %d: %#x", status, ws)
		}
	}
	for sig := int32(1); sig <= 64; sig++ {
		killed, dumped := unix.WaitStatus(rawStatus(cldKilled, sig)), unix.WaitStatus(rawStatus(cldDumped, sig))
		if killed.Signal() != unix.Signal(sig) || killed.CoreDump() || dumped.Signal() != unix.Signal(sig) || !dumped.CoreDump() {
			t.Errorf("signal %d: %#x, %#x", sig, killed, dumped)
		}
	}
}

func TestParseStat(t *testing.T) {
	// Fields 6 to 51.
	tail := " 6 0 -1 4194304 99 0 0 0 0 0 0 0 20 0 1 0 99409 3133440 379 18446744073709551615" + strings.Repeat(" 1", 26) + " "
	for _, name := range []string{"cat", "a b", ") Z 7 (", "x)\n(y", "", "(((", ")))"} {
		s, err := parseStat([]byte("12 (" + name + ") S 34 5" + tail + "10752\n"))
		if err != nil || s != (procStat{state: 'S', ppid: 34, start: 99409, exitCode: 10752}) {
			t.Errorf("%q: %+v, %v", name, s, err)
		}
	}
	for _, bad := range []string{"", ")", "1 (x) S", "1 (x) S 1 1", "1 (x) S x 1" + tail + "0", "1 (x) S 1 1" + tail, "1 (x) S 1 1" + tail + "-1"} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
	r := &Reaper{sys: linux()}
	if s, err := r.stat(1); err != nil || s.ppid != 0 || s.start == math.MaxUint64 {
		t.Errorf("init: %+v, %v", s, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 34 5 6 0 -1 4194304 99 0 0 0 0 0 0 0 20 0 1 0 99409 3133440 379 0 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"))
	f.Add([]byte("1 (x)"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStat(b)
		if err != nil && s != (procStat{}) {
			t.Errorf("%+v beside %v", s, err)
		}
	})
}
