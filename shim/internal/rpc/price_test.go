package rpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// The prices are those of a process of its own, as it is in life: the test
// binary plays the server if this variable says which.
const playServer = "RPC_TEST_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(playServer); kind != "" {
		os.Exit(play(kind))
	}
	os.Exit(m.Run())
}

// play serves Echo on the listener that is descriptor 3 until standard input ends.
func play(kind string) int {
	if kind == "floor" {
		unix.SetNonblock(3, false)
	}
	l := os.NewFile(3, "listener")
	switch kind {
	case "floor": // one thread that reads and writes: what the kernel takes
		go func() {
			fd, _, err := unix.Accept(3)
			for buf := make([]byte, 4096); err == nil; {
				var n int
				if n, err = unix.Read(fd, buf); n == 0 {
					break
				}
				unix.Write(fd, buf[:n])
			}
		}()
	case "ours":
		echo := wire.Unary(func(_ context.Context, m *types.Any) (*types.Any, error) { return m, nil })
		s := New(func(service, method string) (wire.Method, bool) { return echo, true }, Options{})
		go s.Serve(l)
	case "official":
		nl, err := net.FileListener(l)
		if err != nil {
			return 1
		}
		go officialServer(nil).Serve(context.Background(), nl)
	}
	io.Copy(io.Discard, os.Stdin)
	return 0
}

type played struct {
	t    testing.TB
	path string
	pid  int
}

func startPlayed(t testing.TB, kind string) *played {
	t.Helper()
	p := &played{t: t, path: filepath.Join(t.TempDir(), "s")}
	l := listen(t, p.path)
	defer l.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), playServer+"="+kind, "GOMAXPROCS=1")
	cmd.ExtraFiles = []*os.File{l}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	return p
}

func (p *played) dial() *net.UnixConn {
	return (&world{t: p.t, path: p.path}).dial()
}

// cpu is what all threads have used so far.
func (p *played) cpu() (total time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		ns, _ := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		total += time.Duration(ns)
	}
	return total
}

// private is the private memory in KiB.
func (p *played) private() (kib int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "Private_") {
			n, _ := strconv.Atoi(strings.Fields(line)[1])
			kib += n
		}
	}
	return kib
}

// caller makes calls over a bare connection, so that the client costs little.
type caller struct {
	conn   net.Conn
	frame  []byte
	buf    []byte
	stream uint32
}

func newCaller(t testing.TB, conn net.Conn) *caller {
	return &caller{conn: conn, frame: ask(t, 1, "Echo", &types.Any{TypeUrl: strings.Repeat("u", 60)}), buf: make([]byte, 4096), stream: 1}
}

func (c *caller) call(t testing.TB) {
	h := wire.ParseHeader(c.frame)
	h.Stream = c.stream
	h.Append(c.frame[:0])
	c.stream += 2
	if _, err := c.conn.Write(c.frame); err != nil {
		t.Fatal(err)
	}
	if n, err := c.conn.Read(c.buf); err != nil || n < wire.HeaderSize+60 {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// BenchmarkServer compares the two servers, and a loop of read and write: latency seen by a client that
// makes one call after the other, and CPU of the server alone.
func BenchmarkServer(b *testing.B) {
	cpu := make(map[string]float64)
	for _, kind := range []string{"floor", "official", "ours"} {
		b.Run(kind, func(b *testing.B) {
			p := startPlayed(b, kind)
			conn := p.dial()
			conn.SetDeadline(time.Time{})
			c := newCaller(b, conn)
			for range 200 {
				c.call(b)
			}
			took := make([]time.Duration, 0, b.N)
			before := p.cpu()
			for b.Loop() {
				start := time.Now()
				c.call(b)
				took = append(took, time.Since(start))
			}
			each := float64(p.cpu()-before) / float64(len(took)) / 1000
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1000, "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100])/1000, "p99-us")
			b.ReportMetric(each, "server-cpu-us/op")
			cpu[kind] = each
		})
	}
	if cpu["official"] > 0 && cpu["ours"] > 0 {
		b.Logf("the official server takes %.2f times our CPU", cpu["official"]/cpu["ours"])
	}
}

// BenchmarkCall is the work inside the process alone: decode, handler on a
// goroutine, encode, send.
func BenchmarkCall(b *testing.B) {
	echo := wire.Unary(func(_ context.Context, m *types.Any) (*types.Any, error) { return m, nil })
	s := New(func(string, string) (wire.Method, bool) { return echo, true }, Options{})
	conn := adoptPair(b, s)
	conn.SetDeadline(time.Time{})
	c := newCaller(b, conn)
	b.ReportAllocs()
	for b.Loop() {
		c.call(b)
	}
	s.Stop(context.Background())
}

func BenchmarkContext(b *testing.B) {
	deadline := time.Now().Add(time.Hour)
	b.Run("standard", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			ctx.Err()
			cancel()
		}
	})
	b.Run("call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			q := &call{deadline: deadline}
			q.Err()
			q.end(context.Canceled)
		}
	})
}

// idleConnection bounds what one more idle connection adds to the private
// memory. Measured 2026-11: 5.0 KiB ours (2.1 of it the reader's stack, 0.4 left
// over from its one call), 21.5 official.
const idleConnection = 6 << 10

func TestIdleConnectionsAreCheap(t *testing.T) {
	const conns = 500
	each := make(map[string]int)
	for _, kind := range []string{"ours", "official"} {
		p := startPlayed(t, kind)
		open := func(n int) {
			for range n {
				newCaller(t, p.dial()).call(t)
			}
		}
		open(100)
		before := p.private()
		open(conns)
		each[kind] = (p.private() - before) * 1024 / conns
	}
	t.Logf("bytes per idle connection: %v", each)
	if raceEnabled {
		return // the detector's shadow counts too
	}
	if each["ours"] > idleConnection {
		t.Errorf("%d bytes for an idle connection, more than %d", each["ours"], idleConnection)
	}
}
