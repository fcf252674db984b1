package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

const patience = 20 * time.Second

// world is a server with the test service, and what it logged.
type world struct {
	*Server
	t      testing.TB
	path   string
	l      *os.File
	served chan error

	mu      sync.Mutex
	lines   []string
	entered chan string   // a handler that waits has been entered
	release chan struct{} // closed: "hold" returns
	ended   chan error    // why the context of a handler ended
	taken   chan taken
}

type taken struct {
	conn     *os.File
	buffered []byte
}

// newWorld starts a server. It is stopped, and checked for leaks, at the end of the test.
func newWorld(t testing.TB, opt Options) *world {
	checkLeaks(t)
	w := &world{
		t:       t,
		path:    filepath.Join(t.TempDir(), "s"),
		served:  make(chan error, 1),
		entered: make(chan string, 20000),
		release: make(chan struct{}),
		ended:   make(chan error, 20000),
		taken:   make(chan taken, 1),
	}
	opt.Log = w.log
	opt.Waits = func(_, method string) bool { return method == "Wait" }
	w.Server = New(w.lookup, opt)
	w.l = listen(t, w.path)
	w.serve()
	t.Cleanup(func() {
		w.stop()
		if err := <-w.served; err != nil && !errors.Is(err, ErrFrozen) {
			t.Errorf("serve: %v", err)
		}
		w.l.Close()
	})
	return w
}

func (w *world) serve() { go func() { w.served <- w.Serve(w.l) }() }

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		w.t.Errorf("stop: %v", err)
	}
}

func (w *world) log(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

func (w *world) logLines() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

func (w *world) logged(part string) bool { return strings.Contains(w.logLines(), part) }

// lookup is the test service: Echo answers with its request; Hold answers once released; Wait only
// when its context ends or release is closed; and so on.
func (w *world) lookup(service, method string) (wire.Method, bool) {
	if service != "test" {
		return nil, false
	}
	return map[string]wire.Method{
		"Echo":  wire.Unary(func(_ context.Context, m *types.Any) (*types.Any, error) { return m, nil }),
		"Empty": wire.Unary(func(context.Context, *types.Empty) (*types.Empty, error) { return &types.Empty{}, nil }),
		"Hold": func(ctx context.Context, _ []byte) (wire.Message, error) {
			w.entered <- "Hold"
			<-w.release
			return &types.Any{TypeUrl: "held"}, nil
		},
		"Wait": func(ctx context.Context, p []byte) (wire.Message, error) {
			w.entered <- "Wait"
			select {
			case <-w.release:
				return &types.Any{TypeUrl: "waited"}, nil
			default:
			}
			select {
			case <-w.release:
				return &types.Any{TypeUrl: "waited"}, nil
			case <-ctx.Done():
				w.ended <- ctx.Err()
				return nil, ctx.Err()
			}
		},
		"Big": wire.Unary(func(_ context.Context, m *types.Any) (*types.Any, error) {
			var n int
			fmt.Sscan(m.TypeUrl, &n)
			return &types.Any{Value: make([]byte, n)}, nil
		}),
		"Fail": wire.Unary(func(_ context.Context, m *types.Any) (*types.Any, error) {
			return nil, failures[m.TypeUrl]
		}),
		"Nil":    func(context.Context, []byte) (wire.Message, error) { return nil, nil },
		"Panic":  func(context.Context, []byte) (wire.Message, error) { panic("at the disco") },
		"Goexit": func(context.Context, []byte) (wire.Message, error) { runtime.Goexit(); return nil, nil },
		"Metadata": func(ctx context.Context, _ []byte) (wire.Message, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var b bytes.Buffer
			for _, kv := range Metadata(ctx) {
				fmt.Fprintf(&b, "%s=%s;", kv.Key, kv.Value)
			}
			return &types.Any{Value: b.Bytes()}, nil
		},
		"Deadline": func(ctx context.Context, _ []byte) (wire.Message, error) {
			d, ok := ctx.Deadline()
			return &types.Any{TypeUrl: fmt.Sprint(ok, time.Until(d) > 0)}, nil
		},
		"Hijack": wire.Unary(func(context.Context, *types.Any) (*types.Any, error) {
			return nil, &Hijack{Reply: &types.Any{TypeUrl: "yours"}, Take: func(f *os.File, b []byte) { w.taken <- taken{f, b} }}
		}),
		"HijackMessage": func(context.Context, []byte) (wire.Message, error) {
			return &Hijack{Reply: &types.Any{TypeUrl: "yours"}, Take: func(f *os.File, b []byte) { w.taken <- taken{f, b} }}, nil
		},
	}[method], true
}

var failures = map[string]error{
	"coded":   wire.Errorf(wire.NotFound, "no such thing"),
	"wrapped": fmt.Errorf("look: %w", wire.Errorf(wire.AlreadyExists, "id e1: already exists")),
	"plain":   errors.New("plain"),
	"enoent":  fmt.Errorf("open x: %w", unix.ENOENT),
	"eof":     io.EOF,
	"ctx":     context.Canceled,
	"late":    context.DeadlineExceeded,
	"garbled": errors.New("bad \xff\xfe bytes"),
	"long":    errors.New(strings.Repeat("x", 5<<20)),
}

// listen makes a listening socket as a shim inherits it.
func listen(t testing.TB, path string) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 512); err != nil {
		t.Fatal(err)
	}
	return f
}

// official returns the library's client.
func (w *world) official() *client.Client {
	w.t.Helper()
	conn, err := net.Dial("unix", w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	c := client.New(conn)
	w.t.Cleanup(func() { c.Close() })
	return c
}

// dial returns a bare connection.
func (w *world) dial() *net.UnixConn {
	w.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: w.path, Net: "unix"})
	if err != nil {
		w.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// frame encodes a frame.
func frame(typ wire.FrameType, flags uint8, stream uint32, data []byte) []byte {
	h := wire.Header{Length: uint32(len(data)), Stream: stream, Type: typ, Flags: flags}
	return append(h.Append(nil), data...)
}

func requestData(t testing.TB, r *wire.Request) []byte {
	t.Helper()
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ask encodes a request frame for a method of the test service.
func ask(t testing.TB, stream uint32, method string, msg wire.Message) []byte {
	t.Helper()
	r := &wire.Request{Service: "test", Method: method}
	if msg != nil {
		r.Payload, _ = msg.Marshal()
	}
	return frame(wire.FrameRequest, 0, stream, requestData(t, r))
}

// answer reads one frame, which must be a response.
func answer(t testing.TB, r io.Reader) (uint32, *wire.Response) {
	t.Helper()
	var head [wire.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatalf("read header of answer: %v", err)
	}
	h := wire.ParseHeader(head[:])
	if h.Type != wire.FrameResponse || h.Flags != 0 || h.Length > wire.MaxData {
		t.Fatalf("answer has header %+v", h)
	}
	data := make([]byte, h.Length)
	if _, err := io.ReadFull(r, data); err != nil {
		t.Fatalf("read answer: %v", err)
	}
	resp := new(wire.Response)
	if err := resp.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	return h.Stream, resp
}

func write(t testing.TB, w io.Writer, frames ...[]byte) {
	t.Helper()
	if _, err := w.Write(bytes.Join(frames, nil)); err != nil {
		t.Fatal(err)
	}
}

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t testing.TB, from <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("no %s", what)
	}
	return v
}

// eventually polls for what has no event.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// checkLeaks compares descriptors, and looks for goroutines in this package, when
// the test and its later cleanups are done.
func checkLeaks(t testing.TB) {
	runtime.GC() // files without an owner from elsewhere
	before := openFiles()
	t.Cleanup(func() {
		var more string
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			more = ""
			for fd, to := range openFiles() {
				if _, ok := before[fd]; !ok {
					more += fd + " -> " + to + "\n"
				}
			}
			more += ourGoroutines()
			if more == "" {
				return
			}
			if time.Now().After(end) {
				t.Errorf("left behind:\n%s", more)
				return
			}
		}
	})
}

func openFiles() map[string]string {
	files := make(map[string]string)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(to, "anon_inode") && !strings.HasPrefix(to, "/proc/") {
			files[e.Name()] = to
		}
	}
	return files
}

// ourGoroutines returns the stacks of the goroutines that the server or client started.
func ourGoroutines() string {
	buf := make([]byte, 1<<20)
	var ours []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		for _, start := range []string{"rpc.(*conn)", "rpc.(*call)", "rpc.(*Server)"} {
			if strings.Contains(g, "created by github.com/holdfast/holdfast/shim/internal/"+start) {
				ours = append(ours, g)
			}
		}
	}
	return strings.Join(ours, "\n\n")
}
