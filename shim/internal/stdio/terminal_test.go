package stdio

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/attach"
)

// openMaster returns a master as console's Receive does, and its slave's path.
func openMaster(t *testing.T) (*os.File, string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "master"), "/dev/pts/" + strconv.Itoa(int(n))
}

// openSlave opens the container's side; raw leaves bytes as they are.
func openSlave(t *testing.T, path string, raw bool) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Oflag &^= unix.ONLCR // as runc leaves it
	mode.Lflag &^= unix.ECHO
	if raw {
		mode.Iflag, mode.Oflag, mode.Lflag = 0, 0, 0
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "slave")
	t.Cleanup(func() { f.Close() })
	return f
}

func sizeOf(t *testing.T, f *os.File) console.Size {
	t.Helper()
	s, err := console.GetSize(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSizeSetBeforeTheTerminalExists(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Terminal: true, Stdin: "attach://", Stdout: "attach://"})
	if s.Child() != [3]*os.File{} {
		t.Error("pipes beside a terminal")
	}
	master, path := openMaster(t)
	slave := openSlave(t, path, false)
	early, late := console.Size{Width: 100, Height: 30}, console.Size{Width: 7, Height: 5}
	if err := errors.Join(s.Resize(console.Size{Width: 1, Height: 1}), s.Resize(early)); err != nil {
		t.Fatal(err)
	}
	s.Relay(master)
	if got := sizeOf(t, slave); got != early {
		t.Errorf("at start %v", got)
	}
	if err := s.Resize(late); err != nil {
		t.Fatal(err)
	}
	if got := sizeOf(t, slave); got != late {
		t.Errorf("after resize %v", got)
	}
	s.Close()
	if err := s.Resize(late); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestResizeWithoutTerminalDoesNothing(t *testing.T) {
	s := openStdio(t, Config{})
	if err := s.Resize(console.Size{Width: 1, Height: 2}); err != nil {
		t.Error(err)
	}
}

// The sinks, the clients and the counters are the same with a terminal.
func TestTerminalOutputIsExactInFileAndClient(t *testing.T) {
	checkLeaks(t)
	log := filepath.Join(t.TempDir(), "log")
	s := openStdio(t, Config{Terminal: true, Stdout: "file://" + log, Stderr: "ignored, even if it is no URI"})
	master, path := openMaster(t)
	slave := openSlave(t, path, true)
	p := attachTo(t, s, AttachOptions{Stdout: true, Stderr: true, Sync: true})
	receiving := p.receiving()
	s.Relay(master)
	want := noise(1, 300_000)
	if _, err := slave.Write(want); err != nil {
		t.Fatal(err)
	}
	slave.Close() // EIO on the master
	await(t, "drained", s.Drained())
	g := receiving()
	same(t, "client", g.streams[attach.Stdout], want)
	got, _ := os.ReadFile(log)
	same(t, "file", got, want)
	if g.err != nil || g.reason != "" || s.Counters().Stdout.In != uint64(len(want)) {
		t.Errorf("end %q, %v; %+v", g.reason, g.err, s.Counters())
	}
}

func TestTerminalInputIsExact(t *testing.T) {
	checkLeaks(t)
	fifo := mkfifo(t)
	s := openStdio(t, Config{Terminal: true, Stdin: fifo})
	p := attachTo(t, s, AttachOptions{Stdin: true, Stdout: true})
	p.send(attach.Stdin, "typed before the terminal was there|")
	master, path := openMaster(t)
	slave := openSlave(t, path, true)
	s.Relay(master)
	early := make([]byte, 36)
	if _, err := io.ReadFull(slave, early); err != nil || string(early) != "typed before the terminal was there|" {
		t.Fatalf("%q, %v", early, err)
	}
	w := openEnd(t, fifo, os.O_WRONLY)
	want := noise(2, 200_000)
	go func() {
		w.Write(want)
		w.Close()
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(slave, got); err != nil {
		t.Fatal(err)
	}
	same(t, "stdin", got, want)
}

func TestEOFOnATerminalInLineMode(t *testing.T) {
	for _, c := range []struct{ typed, line string }{{"", ""}, {"a line\n", "a line\n"}, {"unfinished", "unfinished"}} {
		t.Run(c.typed, func(t *testing.T) {
			checkLeaks(t)
			s := openStdio(t, Config{Terminal: true, Stdin: "attach://"})
			master, path := openMaster(t)
			slave := openSlave(t, path, false)
			s.Relay(master)
			p := attachTo(t, s, AttachOptions{Stdin: true})
			if c.typed != "" {
				p.send(attach.Stdin, c.typed)
			}
			p.send(attach.StdinEOF, "")
			if got, err := io.ReadAll(slave); err != nil || string(got) != c.line {
				t.Errorf("%q, %v", got, err)
			}
			if g := p.receive(); g.reason != "" || g.err != nil {
				t.Errorf("%+v", g)
			}
			if _, err := slave.WriteString("not hung up"); err != nil {
				t.Error(err)
			}
		})
	}
}

// An init closes its console and opens it again.
func TestTerminalMayBeClosedAndOpenedAgainUntilTheProcessExits(t *testing.T) {
	checkLeaks(t)
	log := filepath.Join(t.TempDir(), "log")
	s := openStdio(t, Config{Terminal: true, Stdout: "file://" + log})
	exited := make(chan struct{})
	s.FollowExit(exited)
	master, path := openMaster(t)
	first := openSlave(t, path, true)
	s.Relay(master)
	read := func(want string) {
		t.Helper()
		eventually(t, "the log says "+want, func() bool {
			b, _ := os.ReadFile(log)
			return string(b) == want
		})
	}
	first.WriteString("one ")
	read("one ")
	attachTo(t, s, AttachOptions{Stdout: true, ReplayBytes: 4}).expect(attach.Stdout, "one ")
	first.Close()
	for _, word := range []string{"two ", "three "} {
		again := openSlave(t, path, true)
		again.WriteString(word)
		again.Close()
	}
	read("one two three ")
	select {
	case <-s.Drained():
		t.Fatal("ended while the process lives")
	default:
	}
	child := openSlave(t, path, true) // a grandchild outlives the process
	close(exited)
	child.WriteString("four")
	read("one two three four")
	child.Close()
	await(t, "drained", s.Drained())
}

func TestTerminalWhoseProcessIsGoneAlready(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Terminal: true, Stdout: "attach://"})
	exited := make(chan struct{})
	close(exited)
	s.FollowExit(exited)
	master, path := openMaster(t)
	slave := openSlave(t, path, true)
	slave.WriteString("last words")
	slave.Close()
	p := attachTo(t, s, watching)
	s.Relay(master)
	if g := p.receive(); string(g.streams[1]) != "last words" || g.err != nil {
		t.Errorf("%q, %v", g.streams[1], g.err)
	}
	await(t, "drained", s.Drained())
}

// A shell on the terminal, hung up by Close.
func TestCloseHangsTheTerminalUp(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Terminal: true, Stdin: "attach://", Stdout: "attach://"})
	s.FollowExit(make(chan struct{}))
	master, path := openMaster(t)
	slave := openSlave(t, path, false)
	cmd := exec.Command("sh", "-c", "stty size; echo ready; exec cat")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.Resize(console.Size{Width: 132, Height: 43})
	p := attachTo(t, s, typing)
	s.Relay(master)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	p.expect(attach.Stdout, "43 132\nready\n")
	p.send(attach.Stdin, "echo\n")
	p.expect(attach.Stdout, "echo\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGHUP {
		t.Errorf("ended by %v", err)
	}
}

func TestMasterIsTakenInEveryCase(t *testing.T) {
	checkLeaks(t)
	closed := openStdio(t, Config{Terminal: true})
	closed.Close()
	plain := openStdio(t, Config{})
	twice := openStdio(t, Config{Terminal: true})
	first, _ := openMaster(t)
	twice.Relay(first)
	for _, s := range []*Stdio{closed, plain, twice} {
		master, _ := openMaster(t)
		s.Relay(master)
		if err := master.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("left open: %v", err)
		}
	}
	none := openStdio(t, Config{Terminal: true, Stdin: "attach://", Stdout: "attach://"})
	p := attachTo(t, none, typing)
	none.Relay(nil)
	await(t, "drained", none.Drained())
	if g := p.receive(); g.reason != "" || g.err != nil {
		t.Errorf("%+v", g)
	}
}

func TestTerminalIntoFIFO(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	r := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Terminal: true, Stdout: path})
	master, pts := openMaster(t)
	slave := openSlave(t, pts, true)
	s.Relay(master)
	got := readAll(t, r)
	want := []byte(strings.Repeat("terminal ", 30_000))
	slave.Write(want)
	slave.Close()
	if b := got(); !bytes.Equal(b, want) {
		t.Errorf("%d bytes of %d", len(b), len(want))
	}
}
