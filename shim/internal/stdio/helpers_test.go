package stdio

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/attach"
)

// patience bounds every wait for something that must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if mode := os.Getenv("STDIO_TEST_CONTAINER"); mode != "" {
		os.Exit(container(mode))
	}
	os.Exit(m.Run())
}

// container is what runs in the place of the container's process.
func container(mode string) int {
	switch mode {
	case "noise": // seeded bytes to both outputs, in writes of random size
		n, _ := strconv.Atoi(os.Getenv("STDIO_TEST_BYTES"))
		done := make(chan bool)
		for seed, f := range []*os.File{os.Stdout, os.Stderr} {
			go func() {
				writeNoise(f, noise(uint64(seed)+1, n), uint64(seed)+7)
				done <- true
			}()
		}
		<-done
		<-done
	case "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
	}
	return 0
}

// noise is n bytes with every value in them, newlines at the rate of text, and
// a line far above criLine.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := r.IntN(120); i < n; i += 1 + r.IntN(120) {
		b[i] = '\n'
	}
	long := b[n/2 : min(n, n/2+3*criLine)]
	copy(long, bytes.ReplaceAll(long, []byte{'\n'}, []byte{'x'}))
	if n > 0 {
		b[n-1] = 'z' // no newline at the end
	}
	return b
}

func writeNoise(f *os.File, b []byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for len(b) > 0 {
		n := 1 + r.IntN(1<<r.IntN(18))
		n = min(n, len(b))
		if _, err := f.Write(b[:n]); err != nil {
			os.Exit(3)
		}
		b = b[n:]
	}
}

// run starts this binary as the container of s.
func run(t *testing.T, s *Stdio, mode string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "STDIO_TEST_CONTAINER="+mode)
	cmd.Env = append(cmd.Env, env...)
	c := s.Child()
	// A nil *os.File in an io.Reader would not be nil.
	if c[0] != nil {
		cmd.Stdin = c[0]
	}
	if c[1] != nil {
		cmd.Stdout = c[1]
	}
	if c[2] != nil {
		cmd.Stderr = c[2]
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	s.CloseChild()
	return cmd
}

// checkLeaks must come first in a test: it looks when all else is cleaned up.
func checkLeaks(t *testing.T) {
	t.Helper()
	fds, goroutines := len(openFDs(t)), runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
		if now := openFDs(t); len(now) > fds {
			t.Errorf("%d descriptors before, %d after: %v", fds, len(now), now)
		}
	})
}

func openFDs(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		names = append(names, e.Name()+"→"+to)
	}
	return names
}

// eventually is for what nobody announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("not within %v: %s\n%s", patience, what, buf[:runtime.Stack(buf, true)])
		}
	}
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<16)
		t.Fatalf("not within %v: %s\n%s", patience, what, buf[:runtime.Stack(buf, true)])
	}
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// openStdio opens the streams and closes them with the test.
func openStdio(t *testing.T, c Config) *Stdio {
	t.Helper()
	s, err := Open(background(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ends are the container's ends, held by the test itself in its place.
func ends(t *testing.T, s *Stdio) (e [3]*os.File) {
	t.Helper()
	for i, f := range s.Child() {
		if f == nil {
			continue
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		e[i] = os.NewFile(uintptr(fd), names[i])
		t.Cleanup(func() { e[i].Close() })
	}
	s.CloseChild()
	return e
}

func mkfifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openEnd opens a client's end of a FIFO, in the poller. A read end must not be
// read before the shim has opened its own: without a writer that is EOF.
func openEnd(t *testing.T, path string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// readAll reads to EOF in the background.
func readAll(t *testing.T, f *os.File) func() []byte {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(patience))
	got := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(f)
		if err != nil {
			t.Errorf("read %s after %d bytes: %v", f.Name(), len(b), err)
		}
		got <- b
	}()
	return func() []byte { return <-got }
}

func readN(t *testing.T, f *os.File, n int) []byte {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, n)
	if got, err := io.ReadFull(f, b); err != nil {
		t.Fatalf("read %s after %q: %v", f.Name(), b[:got], err)
	}
	return b
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("%s: %d bytes, want %d; they differ at %d", what, len(got), len(want), i)
}

// peer is the client's side of an attach connection.
type peer struct {
	t    *testing.T
	conn *os.File
}

// attachTo connects a client; its side is closed with the test.
func attachTo(t *testing.T, s *Stdio, o AttachOptions) *peer {
	t.Helper()
	p, conn := newPeer(t)
	if err := s.Attach(conn, nil, o); err != nil {
		t.Fatal(err)
	}
	return p
}

func newPeer(t *testing.T) (*peer, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, os.NewFile(uintptr(pair[0]), "client")}
	p.conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { p.conn.Close() })
	return p, os.NewFile(uintptr(pair[1]), "shim")
}

// send writes one frame.
func (p *peer) send(kind attach.Kind, data string) {
	p.t.Helper()
	if _, err := p.conn.Write(attach.AppendFrame(nil, kind, []byte(data))); err != nil {
		p.t.Fatal(err)
	}
}

// got is what a client got up to End.
type got struct {
	streams [streams][]byte
	reason  string
	err     error // what came instead of End
}

// receive reads frames until End.
func (p *peer) receive() (g got) {
	for {
		kind, data, err := attach.ReadFrame(p.conn, nil)
		switch {
		case err != nil:
			g.err = err
			return g
		case kind == attach.End:
			g.reason = string(data)
			return g
		}
		g.streams[kind] = append(g.streams[kind], data...)
	}
}

// receiving does it in the background.
func (p *peer) receiving() func() got {
	c := make(chan got, 1)
	go func() { c <- p.receive() }()
	return func() got { return <-c }
}

// expect reads exactly so many bytes of a stream.
func (p *peer) expect(kind attach.Kind, want string) {
	p.t.Helper()
	var b []byte
	for len(b) < len(want) {
		k, data, err := attach.ReadFrame(p.conn, nil)
		if err != nil || k != kind {
			p.t.Fatalf("after %q: frame %v %q, %v", b, k, data, err)
		}
		b = append(b, data...)
	}
	if string(b) != want {
		p.t.Fatalf("got %q, want %q", b, want)
	}
}

// queued asks the kernel how much is queued in a socket or pipe.
func queued(f *os.File) (n int) {
	raw, _ := f.SyscallConn()
	raw.Control(func(fd uintptr) { n = unread(int(fd)) })
	return n
}
