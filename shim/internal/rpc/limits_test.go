package rpc

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

func codeOf(r *wire.Response) wire.Code { return wire.CodeOf(r.Status.Err()) }

func TestRequestsInFlightAreBounded(t *testing.T) {
	w := newWorld(t, Options{MaxInFlight: 3})
	conn := w.dial()
	for i := range uint32(3) {
		write(t, conn, ask(t, 2*i+1, "Wait", nil))
		receive(t, w.entered, "entry")
	}
	write(t, conn, ask(t, 7, "Wait", nil))
	if stream, resp := answer(t, conn); stream != 7 || codeOf(resp) != wire.ResourceExhausted {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
	echo(t, w.official(), "on another connection")
	close(w.release)
	for range 3 {
		if _, resp := answer(t, conn); resp.Status != nil {
			t.Error(resp.Status)
		}
	}
	write(t, conn, ask(t, 9, "Empty", nil))
	if _, resp := answer(t, conn); resp.Status != nil {
		t.Error(resp.Status)
	}
}

func TestBytesOfRequestsAreBounded(t *testing.T) {
	w := newWorld(t, Options{MaxRequestBytes: 1 << 20})
	conn := w.dial()
	big := &types.Any{Value: make([]byte, 600_000)}
	write(t, conn, ask(t, 1, "Hold", big))
	receive(t, w.entered, "entry")
	write(t, conn, ask(t, 3, "Hold", big), ask(t, 5, "Empty", nil))
	if stream, resp := answer(t, conn); stream != 3 || codeOf(resp) != wire.ResourceExhausted {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
	if stream, resp := answer(t, conn); stream != 5 || resp.Status != nil {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
	close(w.release)
	answer(t, conn)
	write(t, conn, ask(t, 7, "Hold", big))
	if stream, resp := answer(t, conn); stream != 7 || resp.Status != nil {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
}

func TestHeaderAloneClaimsLittleMemory(t *testing.T) {
	w := newWorld(t, Options{})
	c, err := newConn(w.Server, w.pairEnd())
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Close()
	c.feed(wire.Header{Length: wire.MaxData, Stream: 1, Type: wire.FrameRequest}.Append(nil))
	if got := cap(c.in.body); got > firstBody {
		t.Errorf("%d bytes for a header", got)
	}
	c.feed(make([]byte, 3<<20))
	if got := cap(c.in.body); got > wire.MaxData {
		t.Errorf("%d bytes for a frame of %d", got, wire.MaxData)
	}
}

// pairEnd returns one end of a socket pair; the other is closed with the test.
func (w *world) pairEnd() *os.File {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { unix.Close(fds[1]) })
	return os.NewFile(uintptr(fds[0]), "pair")
}

func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, Options{MaxConns: 2})
	a, b := w.official(), w.official()
	echo(t, a, "a")
	echo(t, b, "b")
	if _, err := w.dial().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("third connection: %v", err)
	}
	a.Close()
	eventually(t, "room", func() bool { return w.Conns() == 1 })
	echo(t, w.official(), "c")
}

func TestClientThatReadsNothingIsDroppedAloneByTime(t *testing.T) {
	w := newWorld(t, Options{WriteTimeout: 50 * time.Millisecond})
	stuck := w.dial()
	write(t, stuck, ask(t, 1, "Wait", nil))
	receive(t, w.entered, "entry")
	write(t, stuck, ask(t, 3, "Big", &types.Any{TypeUrl: "1000000"}))
	if err := receive(t, w.ended, "end of its handler").Error(); err != "context canceled" {
		t.Error(err)
	}
	eventually(t, "log", func() bool { return w.logged("peer does not read its replies") })
	echo(t, w.official(), "others live")
}

func TestUnreadRepliesAreBoundedBySize(t *testing.T) {
	w := newWorld(t, Options{WriteTimeout: time.Hour, MaxReplyBytes: 5 << 20})
	stuck := w.dial()
	for i := range uint32(20) {
		if _, err := stuck.Write(ask(t, 2*i+1, "Big", &types.Any{TypeUrl: "1000000"})); err != nil {
			break // dropped already
		}
	}
	eventually(t, "log", func() bool { return w.logged("peer leaves too many replies unread") })
	eventually(t, "dropped", func() bool { return w.Conns() == 0 })
	echo(t, w.official(), "others live")
}

func TestUnreadRefusalsAreBounded(t *testing.T) {
	w := newWorld(t, Options{WriteTimeout: time.Hour, MaxReplyBytes: 1 << 20})
	stuck := w.dial()
	bad := bytes.Repeat(frame(wire.FrameRequest, 0, 2, nil), 1000)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = stuck.Write(bad)
	}
	if err == nil {
		t.Error("never dropped")
	}
	eventually(t, "dropped", func() bool { return w.Conns() == 0 })
}

func TestSlowReaderGetsEverything(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	const n = 8
	for i := range uint32(n) {
		write(t, conn, ask(t, 2*i+1, "Big", &types.Any{TypeUrl: fmt.Sprint(500_000 + i)}))
	}
	conn.SetReadBuffer(4096)
	for range n {
		stream, resp := answer(t, iotest{conn})
		var out types.Any
		if err := out.Unmarshal(resp.Payload); err != nil || len(out.Value) != 500_000+int(stream)/2 {
			t.Errorf("stream %d: %d bytes, %v", stream, len(out.Value), err)
		}
	}
}

// iotest reads in small pieces.
type iotest struct{ r io.Reader }

func (r iotest) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 3000)]) }

func TestPeerOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root to become somebody else")
	}
	w := newWorld(t, Options{})
	for dir := w.path; len(dir) > len(os.TempDir()); dir = dir[:strings.LastIndexByte(dir, '/')] {
		os.Chmod(dir, 0o777)
	}
	fds := connectAs(t, w.path, 12345)
	f := os.NewFile(uintptr(fds), "stranger")
	defer f.Close()
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read: %d, %v", n, err)
	}
	if !w.logged("is of user 12345") {
		t.Errorf("logged: %q", w.logLines())
	}
}

// connectAs connects on a thread with another effective user, whose
// credentials the socket keeps.
func connectAs(t *testing.T, path string, uid int) int {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		// The thread is not given back: it ends with the goroutine.
		lockThread()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
				err = errno
			} else {
				err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
			}
		}
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatalf("connect as %d: %v", uid, r.err)
	}
	return r.fd
}

func TestNoSIGPIPE(t *testing.T) {
	got := make(chan os.Signal, 16)
	signal.Notify(got, syscall.SIGPIPE) // Go hides it from everybody else
	defer signal.Stop(got)
	w := newWorld(t, Options{})
	for range 50 {
		conn := w.dial()
		write(t, conn, ask(t, 1, "Hold", nil))
		receive(t, w.entered, "entry")
		conn.CloseRead() // our writes now fail with EPIPE
		write(t, conn, ask(t, 3, "Empty", nil))
	}
	eventually(t, "all dropped", func() bool { return w.Conns() == 0 })
	close(w.release)
	select {
	case <-got:
		t.Error("SIGPIPE")
	default:
	}
}

func TestShortageOfDescriptorsPasses(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial() // before there are none left
	write(t, conn, ask(t, 1, "Empty", nil))
	answer(t, conn)
	late, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(late), "late")
	defer f.Close()

	var old unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &old)
	limit := old
	limit.Cur = 3
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	err = unix.Connect(late, &unix.SockaddrUnix{Name: w.path})
	eventually(t, "shortage noticed", func() bool { return w.logged("accept connection: too many open files") })
	unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, ask(t, 1, "Empty", nil))
	if _, resp := answer(t, f); resp.Status != nil {
		t.Error(resp.Status)
	}
}
