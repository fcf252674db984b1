package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// move freezes w and returns what another server has adopted.
func (w *world) move(to *world) []ConnState {
	w.t.Helper()
	states, err := w.Freeze(timeout(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, state := range states {
		if err := to.Adopt(state); err != nil {
			w.t.Fatal(err)
		}
	}
	return states
}

func TestConnectionsMoveToAnotherServer(t *testing.T) {
	old, next := newWorld(t, Options{}), newWorld(t, Options{})
	conn := old.dial()
	write(t, conn, ask(t, 1, "Empty", nil))
	answer(t, conn)
	left := requestData(t, &wire.Request{Service: "test", Method: "Wait", TimeoutNano: int64(time.Hour),
		Metadata: []*wire.KeyValue{{Key: "a", Value: "b"}}})
	write(t, conn, ask(t, 3, "Wait", nil), frame(wire.FrameRequest, 0, 5, left))
	receive(t, old.entered, "entry")
	receive(t, old.entered, "entry")
	half := ask(t, 7, "Echo", &types.Any{TypeUrl: "in two parts"})
	write(t, conn, half[:25])
	c := old.official()
	echo(t, c, "before")

	states := old.move(next)
	if len(states) != 2 || old.Conns() != 0 || next.Conns() != 2 {
		t.Errorf("%d states, %d and %d connections", len(states), old.Conns(), next.Conns())
	}
	for range 2 {
		if err := receive(t, old.ended, "end of old handler"); err != context.Canceled {
			t.Error(err)
		}
		receive(t, next.entered, "entry into new handler")
	}
	echo(t, c, "after")
	write(t, conn, half[25:], ask(t, 7, "Empty", nil))
	codes := map[wire.Code]bool{}
	for range 2 {
		_, resp := answer(t, conn)
		codes[codeOf(resp)] = true
	}
	if !codes[wire.OK] || !codes[wire.InvalidArgument] {
		t.Errorf("answers to the halved frame and to a reused id: %v", codes)
	}
	close(next.release)
	got := map[uint32]bool{}
	for range 2 {
		stream, resp := answer(t, conn)
		got[stream] = resp.Status == nil && string(resp.Payload) == "\x0a\x06waited"
	}
	if !got[3] || !got[5] {
		t.Errorf("answers to what waited: %v", got)
	}
}

func TestFreezeLetsHandlersAnswer(t *testing.T) {
	old, next := newWorld(t, Options{}), newWorld(t, Options{})
	conn := old.dial()
	write(t, conn, ask(t, 1, "Hold", nil))
	receive(t, old.entered, "entry")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := old.Freeze(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("freeze: %v", err)
	}
	if err := receive(t, old.served, "end of serve"); err != ErrFrozen {
		t.Errorf("serve: %v", err)
	}
	old.serve() // undone
	write(t, conn, ask(t, 3, "Empty", nil))
	if stream, _ := answer(t, conn); stream != 3 {
		t.Errorf("stream %d", stream)
	}
	echo(t, old.official(), "new connection after the undone freeze")
	close(old.release)
	old.move(next)
	if stream, resp := answer(t, conn); stream != 1 || resp.Status != nil {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
	write(t, conn, ask(t, 5, "Empty", nil))
	if stream, _ := answer(t, conn); stream != 5 {
		t.Errorf("stream %d", stream)
	}
}

func TestUnreadRepliesMove(t *testing.T) {
	old, next := newWorld(t, Options{}), newWorld(t, Options{})
	conn := old.dial()
	const n = 4
	for i := range uint32(n) {
		write(t, conn, ask(t, 2*i+1, "Big", &types.Any{TypeUrl: "2000000"}))
	}
	eventually(t, "reply under way", func() bool { return firstConn(old.Server).isWriting() })
	states := old.move(next)
	// Some requests may not have been read yet when the reader was paused.
	if len(states) != 1 || len(states[0].Out) == 0 || len(states[0].Requests) > 0 {
		t.Errorf("%d states", len(states))
	}
	for range n {
		stream, resp := answer(t, conn)
		var out types.Any
		if err := out.Unmarshal(resp.Payload); err != nil || len(out.Value) != 2000000 {
			t.Errorf("stream %d: %d bytes, %v", stream, len(out.Value), err)
		}
	}
}

func TestRefusedFrameMoves(t *testing.T) {
	old, next := newWorld(t, Options{}), newWorld(t, Options{})
	conn := old.dial()
	big := frame(wire.FrameRequest, 0, 1, make([]byte, wire.MaxData+5))
	write(t, conn, big[:1<<20])
	eventually(t, "read", func() bool { return old.Conns() == 1 })
	states := old.move(next)
	if states[0].Skip == 0 || states[0].SkipStream != 1 {
		t.Logf("frozen before the header was read: %d", states[0].Skip)
	}
	write(t, conn, big[1<<20:], ask(t, 3, "Empty", nil))
	if stream, resp := answer(t, conn); stream != 1 || codeOf(resp) != wire.ResourceExhausted {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
	if stream, resp := answer(t, conn); stream != 3 || resp.Status != nil {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
}

func TestFrozenServerGoesOnWhenItAdoptsItsConnections(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Wait", nil))
	receive(t, w.entered, "entry")
	waiting := w.dial() // may be in the backlog as well as accepted
	w.move(w.world())
	if err := receive(t, w.served, "end of serve"); err != ErrFrozen {
		t.Errorf("serve: %v", err)
	}
	w.serve()
	receive(t, w.entered, "entry again")
	write(t, waiting, ask(t, 1, "Empty", nil))
	answer(t, waiting)
	close(w.release)
	if stream, resp := answer(t, conn); stream != 1 || resp.Status != nil {
		t.Errorf("stream %d: %v", stream, resp.Status)
	}
}

func (w *world) world() *world { return w }

// TestTrafficOverManyMoves has clients that never notice.
func TestTrafficOverManyMoves(t *testing.T) {
	old, next := newWorld(t, Options{}), newWorld(t, Options{})
	stop := make(chan struct{})
	ended := make(chan int, 3)
	for range 3 {
		c := old.official()
		echo(t, c, "connected")
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					ended <- n
					return
				default:
					echo(t, c, "going on")
				}
			}
		}()
	}
	for range 50 {
		old.move(next)
		old, next = next, old
	}
	close(stop)
	for range 3 {
		receive(t, ended, "client")
	}
	if n := old.Conns(); n != 3 {
		t.Errorf("%d connections", n)
	}
}
