package term

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	ccon "github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/console"
)

// openPty returns a pty whose slave plays the user's terminal.
func openPty(t *testing.T) (master ccon.Console, slave *os.File) {
	t.Helper()
	master, path, err := ccon.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	slave, err = os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func modes(t *testing.T, f *os.File) (m unix.Termios) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		var got *unix.Termios
		if got, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			m = *got
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRawAndBack(t *testing.T) {
	_, slave := openPty(t)
	before := modes(t, slave)
	restore, err := RawTerminal(slave)
	if err != nil {
		t.Fatal(err)
	}
	raw := modes(t, slave)
	if raw.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 || raw.Oflag&unix.OPOST != 0 {
		t.Errorf("not raw: %+v", raw)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := restore(); err != nil {
				t.Error(err)
			}
			if now := modes(t, slave); now != before {
				t.Errorf("returned before the terminal was restored: %+v", now)
			}
		})
	}
	wg.Wait()
}

func TestRestoreOfALostTerminalIsAnErrorAndNoPanic(t *testing.T) {
	_, slave := openPty(t)
	restore, err := RawTerminal(slave)
	if err != nil {
		t.Fatal(err)
	}
	slave.Close()
	if first, second := restore(), restore(); first == nil || first != second {
		t.Errorf("%v, %v", first, second)
	}
}

func TestNotATerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := RawTerminal(f); !errors.Is(err, ErrNotTerminal) {
		t.Errorf("error %v", err)
	}
	if IsTerminal(f) {
		t.Error("the null device is a terminal")
	}
	if _, more := <-Watch(t.Context(), f); more {
		t.Error("the null device has a size")
	}
	_, slave := openPty(t)
	if !IsTerminal(slave) {
		t.Error("a pty is not a terminal")
	}
}

func next(t *testing.T, sizes <-chan console.Size) console.Size {
	t.Helper()
	select {
	case s := <-sizes:
		return s
	case <-time.After(30 * time.Second):
		t.Fatal("no size came")
		return console.Size{}
	}
}

func TestWatchSendsTheSizeAndEachChange(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	_, slave := openPty(t)
	set := func(w, h uint16) console.Size {
		t.Helper()
		s := console.Size{Width: w, Height: h}
		if err := console.Resize(slave, s); err != nil {
			t.Fatal(err)
		}
		// Our pty is not the controlling terminal of this process, so the
		// signal is sent by hand.
		if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := set(80, 24)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sizes := Watch(ctx, slave)
	if got := next(t, sizes); got != first {
		t.Errorf("first %v", got)
	}
	second := set(100, 30)
	if got := next(t, sizes); got != second {
		t.Errorf("second %v", got)
	}
	for i := range uint16(50) { // nobody takes them
		set(i, i)
	}
	last := set(132, 43)
	for got := next(t, sizes); got != last; {
		got = next(t, sizes)
	}
	cancel()
	for range sizes {
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines+1; { // os/signal keeps one
		if time.Now().After(deadline) {
			t.Fatal("goroutines are left")
		}
		runtime.Gosched()
	}
}
