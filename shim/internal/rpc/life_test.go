package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"golang.org/x/sys/unix"
)

func lockThread() { runtime.LockOSThread() }

func TestStopLetsHandlersAnswer(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Hold", nil), ask(t, 3, "Wait", nil))
	receive(t, w.entered, "entry")
	receive(t, w.entered, "entry")
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(timeout(t)) }()
	eventually(t, "listener closed", func() bool {
		c, err := net.Dial("unix", w.path)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("stop did not wait: %v", err)
	default:
	}
	close(w.release)
	for range 2 {
		if _, resp := answer(t, conn); resp.Status != nil {
			t.Error(resp.Status)
		}
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the answers: %d, %v", n, err)
	}
	if err := receive(t, stopped, "end of stop"); err != nil {
		t.Error(err)
	}
}

func TestStopDoesNotWaitForWhatHasNotHappened(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Wait", nil))
	receive(t, w.entered, "entry")
	w.stop()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("wait was answered: %d, %v", n, err)
	}
}

func TestStopIsBounded(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Hold", nil))
	receive(t, w.entered, "entry")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := w.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("connection: %v", err)
	}
	close(w.release) // the stop of the cleanup waits for the handler
}

func TestStopFlushesToSlowReader(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Big", &types.Any{TypeUrl: "3000000"}))
	eventually(t, "reply under way", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return firstConn(w.Server).isWriting()
	})
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(timeout(t)) }()
	if _, resp := answer(t, conn); len(resp.Payload) < 3000000 {
		t.Errorf("%d bytes", len(resp.Payload))
	}
	if err := receive(t, stopped, "end of stop"); err != nil {
		t.Error(err)
	}
}

func firstConn(s *Server) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		return c
	}
	return nil
}

func (c *conn) isWriting() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writing
}

func TestServeRefusesBlockingListener(t *testing.T) {
	checkLeaks(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := New(nil, Options{}).Serve(f); err == nil {
		t.Error("served /dev/null")
	}
}

func TestStopBeforeServe(t *testing.T) {
	checkLeaks(t)
	s := New(nil, Options{})
	if err := s.Stop(timeout(t)); err != nil {
		t.Error(err)
	}
	if err := s.Serve(listen(t, t.TempDir()+"/s")); err != nil {
		t.Error(err)
	}
}

// A connection may be accepted in the moment in which a Stop gives up waiting for
// the accepting to end.
func TestConnectionAcceptedDuringStopIsClosed(t *testing.T) {
	w := newWorld(t, Options{})
	w.stop()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := os.NewFile(uintptr(fds[1]), "peer")
	defer peer.Close()
	w.welcome(fds[0])
	if n := w.Conns(); n != 0 {
		t.Errorf("%d connections are served after the stop", n)
	}
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("peer reads %d, %v", n, err)
	}
}

func TestConnsChanged(t *testing.T) {
	var last atomic.Int64
	last.Store(-1)
	w := newWorld(t, Options{ConnsChanged: func(n int) { last.Store(int64(n)) }})
	var conns []net.Conn
	for range 5 {
		conns = append(conns, w.dial())
	}
	eventually(t, "five", func() bool { return last.Load() == 5 })
	for _, c := range conns {
		go c.Close()
	}
	eventually(t, "none", func() bool { return last.Load() == 0 })
}

func TestHijack(t *testing.T) {
	for _, method := range []string{"Hijack", "HijackMessage"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, Options{})
			conn := w.dial()
			write(t, conn, ask(t, 1, "Empty", nil))
			answer(t, conn)
			write(t, conn, ask(t, 3, method, nil))
			stream, resp := answer(t, conn)
			if stream != 3 || resp.Status != nil || string(resp.Payload) != "\x0a\x05yours" {
				t.Fatalf("stream %d: %+v", stream, resp)
			}
			got := receive(t, w.taken, "connection")
			defer got.conn.Close()
			if len(got.buffered) > 0 || w.Conns() != 0 {
				t.Errorf("buffered %q, %d connections", got.buffered, w.Conns())
			}
			w.stop() // is no longer the server's business
			write(t, conn, []byte("ping"))
			buf := make([]byte, 4)
			if _, err := io.ReadFull(got.conn, buf); err != nil || string(buf) != "ping" {
				t.Errorf("%q, %v", buf, err)
			}
			write(t, got.conn, []byte("pong"))
			if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "pong" {
				t.Errorf("%q, %v", buf, err)
			}
		})
	}
}

func TestHijackHandsOverBytesAlreadyRead(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, append(ask(t, 1, "Hijack", nil), "early"...))
	answer(t, conn)
	got := receive(t, w.taken, "connection")
	defer got.conn.Close()
	write(t, conn, []byte(" bird"))
	conn.CloseWrite()
	rest, err := io.ReadAll(got.conn)
	if all := string(got.buffered) + string(rest); all != "early bird" {
		t.Errorf("%q, %v", all, err)
	}
}

func TestHijackOfBusyConnectionIsRefused(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Wait", nil))
	receive(t, w.entered, "entry")
	write(t, conn, ask(t, 3, "Hijack", nil))
	if stream, resp := answer(t, conn); stream != 3 || codeOf(resp) != wire.FailedPrecondition {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
	close(w.release)
	answer(t, conn)
	write(t, conn, ask(t, 5, "Empty", nil)) // still ttrpc
	if stream, resp := answer(t, conn); stream != 5 || resp.Status != nil {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
}

func TestContextsDerivedFromACall(t *testing.T) {
	for name, deadline := range map[string]time.Time{"cancel": {}, "deadline": time.Now().Add(10 * time.Millisecond)} {
		t.Run(name, func(t *testing.T) {
			q := &call{deadline: deadline}
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(q)
			defer cancel()
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("a derived context costs %d goroutines", n-before)
			}
			want := error(context.DeadlineExceeded)
			if deadline.IsZero() {
				want = context.Canceled
				q.end(want)
			}
			receive(t, ctx.Done(), "end of derived context")
			receive(t, q.Done(), "end of call")
			if ctx.Err() != want || q.Err() != want {
				t.Errorf("%v, %v, want %v", ctx.Err(), q.Err(), want)
			}
			late, cancelLate := context.WithCancel(q)
			defer cancelLate()
			receive(t, late.Done(), "end of context derived afterwards")
		})
	}
}

func TestHijackThatPanicsEndsItsConnectionOnly(t *testing.T) {
	checkLeaks(t)
	logged := make(chan string, 1)
	s := New(func(string, string) (wire.Method, bool) {
		return func(context.Context, []byte) (wire.Message, error) {
			return nil, &Hijack{Reply: &types.Empty{}, Take: func(*os.File, []byte) { panic("no hands") }}
		}, true
	}, Options{Log: func(text string) { logged <- text }})
	conn := adoptPair(t, s)
	write(t, conn, ask(t, 1, "Hijack", nil))
	answer(t, conn)
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
	receive(t, logged, "log")
	if err := s.Stop(timeout(t)); err != nil {
		t.Error(err)
	}
}

func TestStopAndFreezeMeetTraffic(t *testing.T) {
	for range 20 {
		w := newWorld(t, Options{})
		for range 4 {
			conn := w.dial()
			go func() {
				for i := uint32(1); ; i += 2 {
					if _, err := conn.Write(ask(t, i, "Echo", &types.Any{TypeUrl: "x"})); err != nil {
						return
					}
				}
			}()
			go io.Copy(io.Discard, conn)
		}
		eventually(t, "four", func() bool { return w.Conns() == 4 })
		frozen := make(chan struct{})
		go func() {
			defer close(frozen)
			states, err := w.Freeze(timeout(t))
			if err != nil {
				return // stopped first
			}
			for _, state := range states {
				w.Adopt(state) // closes it if stopped meanwhile
			}
		}()
		w.stop()
		<-frozen
		if n := w.Conns(); n != 0 {
			t.Errorf("%d connections", n)
		}
	}
}
