package serve

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenIsPrivateAndLeavesNothingElse(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	old := unix.Umask(0)
	l, err := Listen(path)
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	st, err := os.Lstat(path)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	fd := rawFD(l)
	fdFlags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0)
	flFlags, _ := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if fdFlags&unix.FD_CLOEXEC == 0 || flFlags&unix.O_NONBLOCK == 0 {
		t.Errorf("descriptor flags %#x, status flags %#x", fdFlags, flFlags)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
	if live, err := Listens(path); !live || err != nil {
		t.Errorf("Listens: %t, %v", live, err)
	}
}

func TestListenReplacesAStaleSocketAndRefusesALiveOne(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(path); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), path) {
		l.Close()
		t.Errorf("somebody listens: %v", err)
	}
	if live, err := Listens(path); !live || err != nil {
		t.Errorf("the refused one has done harm: %t, %v", live, err)
	}
	first.Close() // as by a kill: the file stays
	if live, err := Listens(path); live || err != nil {
		t.Errorf("nobody listens: %t, %v", live, err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if live, err := Listens(path); !live || err != nil {
		t.Errorf("the second one: %t, %v", live, err)
	}
}

// TestListenSeesALiveSocketThatIsBusy: a stopped shim with a full backlog is
// alive all the same.
func TestListenSeesALiveSocketThatIsBusy(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	full := false
	for range backlog + 2 {
		conn, err := Dial(path)
		if errors.Is(err, unix.EAGAIN) {
			full = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if !full {
		t.Fatalf("%d connections and the backlog of %d is not full", backlog+2, backlog)
	}
	if live, err := Listens(path); !live || err != nil {
		t.Errorf("Listens: %t, %v", live, err)
	}
	if _, err := Listen(path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("Listen: %v", err)
	}
}

func TestListenTouchesOnlySockets(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	stale, err := Listen(filepath.Join(dir, "stale"))
	if err != nil {
		t.Fatal(err)
	}
	stale.Close()
	for name, make := range map[string]func(string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"link":      func(p string) error { return os.Symlink("stale", p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(path); !errors.Is(err, unix.ENOTSOCK) {
			t.Errorf("%s: Listen: %v", name, err)
		}
		if err := RemoveSocket(path); !errors.Is(err, unix.ENOTSOCK) {
			t.Errorf("%s: RemoveSocket: %v", name, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := RemoveSocket(filepath.Join(dir, "stale")); err != nil {
		t.Error(err)
	}
	if err := RemoveSocket(filepath.Join(dir, "stale")); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// TestListenKnowsTheLengthOfAPath tries every length around the limit, which
// also holds for the temporary name.
func TestListenKnowsTheLengthOfAPath(t *testing.T) {
	checkLeaks(t)
	dir, err := os.MkdirTemp("/tmp", "s") // t.TempDir is too long already
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for n := len(dir) + 2; n <= MaxSocketPath+3; n++ {
		path := dir + "/" + strings.Repeat("x", n-len(dir)-1)
		l, err := Listen(path)
		if n > MaxSocketPath {
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "106") {
				t.Errorf("%d bytes: error %v names neither path nor limit", n, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		if live, err := Listens(path); !live || err != nil {
			t.Errorf("%d bytes: Listens: %t, %v", n, live, err)
		}
		l.Close()
		os.Remove(path)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestListenWithoutADirectory(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(t.TempDir(), "gone", "s")
	if _, err := Listen(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := Dial(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
