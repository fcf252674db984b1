package console_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/console"
)

func listen(t *testing.T, dir string) *console.Socket {
	t.Helper()
	before := countFDs(t)
	s, err := console.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		if now := countFDs(t); now > before {
			t.Errorf("%d descriptors before, %d after", before, now)
		}
	})
	return s
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// receiveAndUse takes a master from a runtime in another process, sizes it and
// talks through it.
func receiveAndUse(t *testing.T, s *console.Socket) {
	t.Helper()
	cmd := runSender(t, s.Path(), "master")
	master, err := s.Receive(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := master.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatalf("the master is not in the poller: %v", err)
	}
	if err := console.Resize(master, console.Size{Width: 132, Height: 43}); err != nil {
		t.Fatal(err)
	}
	if got, err := console.GetSize(master); err != nil || got != (console.Size{Width: 132, Height: 43}) {
		t.Fatalf("size %v, %v", got, err)
	}
	rc, _ := master.SyscallConn()
	rc.Control(func(fd uintptr) {
		if flags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("the master is inherited by children")
		}
	})
	if _, err := master.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for buf := make([]byte, 64); !strings.HasSuffix(got.String(), "seen"); {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatalf("read after %q: %v", got.String(), err)
		}
		got.Write(buf[:n])
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestMasterArrivesFromAnotherProcess(t *testing.T) {
	receiveAndUse(t, listen(t, t.TempDir()))
}

func TestDirectoryDeeperThanASocketAddress(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := listen(t, dir)
	if len(s.Path()) > 107 {
		t.Fatalf("path of %d bytes: %s", len(s.Path()), s.Path())
	}
	receiveAndUse(t, s)
}

func TestSocketIsPrivate(t *testing.T) {
	dir := t.TempDir()
	s := listen(t, dir)
	info, err := os.Stat(filepath.Dir(s.Path()))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("directory mode %v", info.Mode())
	}
	if filepath.Dir(filepath.Dir(s.Path())) != dir {
		t.Errorf("%s is not below %s", s.Path(), dir)
	}
}

func TestDefaultDirectoryIsTheRuntimeDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	s, err := console.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.HasPrefix(s.Path(), dir) {
		t.Errorf("%s is not below %s", s.Path(), dir)
	}
}

func TestMissingDirectoryIsNamed(t *testing.T) {
	_, err := console.Listen("/nonexistent/place")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/place") {
		t.Fatalf("error %v", err)
	}
}

func TestWrongSendersAreRefused(t *testing.T) {
	for _, c := range []struct{ what, want string }{
		{"nothing", "without sending a terminal"},
		{"text", "without a descriptor"},
		{"pipe", "not a pty master"},
		{"slave", "not a pty master"},
		{"two", "more than one descriptor"},
		{"many", "more than one descriptor"},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := listen(t, t.TempDir())
			cmd := runSender(t, s.Path(), c.what)
			master, err := s.Receive(within(t, 20*time.Second))
			if err == nil {
				master.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRuntimeThatNeverConnectsEndsWithTheContext(t *testing.T) {
	s := listen(t, t.TempDir())
	_, err := s.Receive(within(t, 20*time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	// The socket is good for another try: the context was the caller's.
	receiveAndUse(t, s)
}

func TestRuntimeThatConnectsAndSendsNothing(t *testing.T) {
	s := listen(t, t.TempDir())
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.Path()}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Receive(within(t, 20*time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
}

func TestCloseEndsReceive(t *testing.T) {
	s := listen(t, t.TempDir())
	done := make(chan error, 1)
	go func() {
		_, err := s.Receive(context.Background())
		done <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Fatalf("error %v", err)
	}
}

func TestResizeOfSomethingElse(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := console.Resize(r, console.Size{Width: 1, Height: 2}); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("error %v", err)
	}
	r.Close()
	if err := console.Resize(r, console.Size{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if _, err := console.GetSize(r); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestSizeIsSeenFromBothSides(t *testing.T) {
	master, slave := openPty(t)
	if got, err := console.GetSize(slave); err != nil || got != (console.Size{}) {
		t.Fatalf("fresh: %v, %v", got, err)
	}
	if err := console.Resize(master, console.Size{Width: 80, Height: 24}); err != nil {
		t.Fatal(err)
	}
	if got, err := console.GetSize(slave); err != nil || got != (console.Size{Width: 80, Height: 24}) {
		t.Fatalf("after: %v, %v", got, err)
	}
	slave.Close()
	if _, err := io.ReadAll(master); !errors.Is(err, unix.EIO) {
		t.Errorf("after hang-up: %v", err)
	}
}
