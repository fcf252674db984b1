package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is more than anything here takes, on a machine with other troubles.
const patience = 20 * time.Second

// envRole makes the test binary a shim, of the kind that its value names.
const envRole = "HOLDFAST_TEST_SHIM"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(playShim(role))
	}
	os.Exit(m.Run())
}

// facts are what the shim of these tests finds out about itself.
type facts struct {
	Args       []string
	Dir        string
	Env        []string
	Session    int
	PID        int
	Files      map[int]string // by descriptor: "flags target", before Inherit
	After      map[int]string // the same after it
	Accepting  bool
	NonBlock   bool
	GOMAXPROCS int
}

func playShim(role string) int {
	f := facts{
		Args: os.Args, Env: os.Environ(), PID: os.Getpid(), Files: openFiles(), GOMAXPROCS: runtime.GOMAXPROCS(0),
	}
	switch role {
	case "dies":
		return 3
	case "hangs":
		select {}
	}
	in, err := Inherit()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch role {
	case "fails":
		in.Fail(errors.New("Refuse to serve: it rains"))
		return 1
	case "says nothing":
		in.Fail(errors.New(""))
		return 1
	case "babbles":
		in.Fail(errors.New(strings.Repeat("no ", 100000)))
		return 1
	}
	f.After = openFiles()
	f.Dir, _ = os.Getwd()
	f.Session, _ = unix.Getsid(0)
	n, err := unix.GetsockoptInt(ListenerFD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	f.Accepting = err == nil && n == 1
	flags, _ := unix.FcntlInt(ListenerFD, unix.F_GETFL, 0)
	f.NonBlock = flags&unix.O_NONBLOCK != 0
	raw, _ := json.Marshal(f)
	if err := os.WriteFile("facts.json", raw, 0o600); err != nil {
		in.Fail(err)
		return 1
	}
	if err := in.Ready(); err != nil {
		return 1
	}
	if role == "stays" {
		block := make([]byte, 1)
		conn := accept()
		_, _ = unix.Read(conn, block) // until the test hangs up
	}
	return 0
}

// accept waits for one connection on the inherited socket.
func accept() int {
	for {
		poll := []unix.PollFd{{Fd: ListenerFD, Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return -1
		}
		if fd, _, err := unix.Accept4(ListenerFD, unix.SOCK_CLOEXEC); err == nil {
			return fd
		}
	}
}

// openFiles lists the descriptors of this process but those of the Go runtime:
// the descriptor's flags and what it leads to.
func openFiles() map[int]string {
	files := make(map[int]string)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		files[-1] = err.Error()
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.Contains(target, "eventpoll") || strings.Contains(target, "eventfd") {
			continue
		}
		fd, _ := strconv.Atoi(e.Name())
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		files[fd] = fmt.Sprintf("%d %s", flags, target)
	}
	return files
}

// fixture is a bundle with a socket, and a request to serve it.
func fixture(t *testing.T, role string) Request {
	t.Helper()
	t.Setenv(envRole, role)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return Request{Binary: self, Namespace: "ns", ID: "c1", Bundle: dir, Listener: l, Log: log}
}

// checkLeaks must come first in a test: it looks when all else is cleaned up.
func checkLeaks(t *testing.T) {
	t.Helper()
	fds, goroutines := openFiles(), runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
		for fd, f := range openFiles() {
			if fds[fd] != f {
				t.Errorf("left open: %d %s", fd, f)
			}
		}
		var st unix.WaitStatus
		if pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil); err != unix.ECHILD {
			t.Errorf("a child is left: %d, %v", pid, err)
		}
	})
}

// eventually is for what nobody announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
