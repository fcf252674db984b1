package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/ttrpc"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/wire"
)

// TestCallCarriesMessagesBothWays makes a call against the library's server.
func TestCallCarriesMessagesBothWays(t *testing.T) {
	s := serve(t, map[string]handler{"Create": func(ctx context.Context, payload []byte) ([]byte, error) {
		var req task.CreateTaskRequest
		if err := req.Unmarshal(payload); err != nil {
			return nil, err
		}
		if req.ID != "box" || req.Bundle != "/b" {
			t.Errorf("server got %+v", req)
		}
		return (&task.CreateTaskResponse{Pid: 42}).Marshal()
	}})
	c := task.NewClient(s.dial(t), task.ServiceV2)
	resp, err := c.Create(t.Context(), &task.CreateTaskRequest{ID: "box", Bundle: "/b"})
	if err != nil || resp.Pid != 42 {
		t.Fatalf("Create = %+v, %v", resp, err)
	}
}

// TestErrorOfPeerKeepsItsCode sees the code and text the server answered with.
func TestErrorOfPeerKeepsItsCode(t *testing.T) {
	s := serve(t, map[string]handler{"Kill": func(context.Context, []byte) ([]byte, error) {
		return nil, errNotFound
	}})
	c := task.NewClient(s.dial(t), task.ServiceV2)
	_, err := c.Kill(t.Context(), &task.KillRequest{ID: "box"})
	if wire.CodeOf(err) != wire.NotFound || !strings.Contains(err.Error(), "process already finished: not found") {
		t.Errorf("Kill: %v (%v)", err, wire.CodeOf(err))
	}
	if _, err := c.Pause(t.Context(), &task.PauseRequest{}); wire.CodeOf(err) != wire.Unimplemented {
		t.Errorf("Pause, which the server has not: %v", err)
	}
	if _, err := c.Kill(t.Context(), &task.KillRequest{}); wire.CodeOf(err) != wire.NotFound {
		t.Errorf("Kill after errors: %v", err)
	}
}

// TestContextEndsCall: the error is the context's, whoever noticed first.
func TestContextEndsCall(t *testing.T) {
	s := serve(t, map[string]handler{"Wait": func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	c := task.NewClient(s.dial(t), task.ServiceV2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, &task.WaitRequest{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait past its deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := c.Wait(ctx, &task.WaitRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait, cancelled: %v", err)
	}
	if _, err := c.Wait(ctx, &task.WaitRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait on a context that has ended: %v", err)
	}
}

// TestPeerIsToldDeadlineAndMetadata looks at what the server's context has.
func TestPeerIsToldDeadlineAndMetadata(t *testing.T) {
	check := func(ctx context.Context, _ []byte) ([]byte, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Minute {
			t.Errorf("deadline of the server: %v, %v", deadline, ok)
		}
		if metadata, _ := ttrpc.GetMetadata(ctx); len(metadata["a"]) != 2 {
			t.Errorf("metadata of the server: %v", metadata)
		}
		return nil, nil
	}
	s := serve(t, map[string]handler{"State": check})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = ttrpc.WithMetadata(ctx, ttrpc.MD{"a": {"1", "2"}})
	if _, err := task.NewClient(s.dial(t), task.ServiceV2).State(ctx, &task.StateRequest{}); err != nil {
		t.Error(err)
	}
	if err := client.Once(ctx, s.conn(t), task.ServiceV2, "State", &task.StateRequest{}, &task.StateResponse{}); err != nil {
		t.Error(err)
	}
}

// TestEndOfConnectionIsErrClosed whichever side ends it.
func TestEndOfConnectionIsErrClosed(t *testing.T) {
	for name, end := range map[string]func(c *client.Client, peer net.Conn){
		"here":          func(c *client.Client, _ net.Conn) { c.Close() },
		"peer":          func(_ *client.Client, peer net.Conn) { peer.Close() },
		"in a response": func(_ *client.Client, peer net.Conn) { peer.Write(make([]byte, 5)); peer.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ours, peer := socketPair(t)
			closed := make(chan struct{})
			c := client.New(ours, ttrpc.WithOnClose(func() { close(closed) }))
			t.Cleanup(func() { c.Close() })
			result := make(chan error, 1)
			go func() {
				result <- c.Call(context.Background(), "s", "m", &task.WaitRequest{}, &task.WaitResponse{})
			}()
			if _, err := io.ReadFull(peer, make([]byte, wire.HeaderSize)); err != nil {
				t.Fatal(err)
			}
			end(c, peer)
			if err := <-result; !errors.Is(err, client.ErrClosed) {
				t.Errorf("call in flight: %v", err)
			}
			<-c.Done()
			<-closed
			if err := c.Call(t.Context(), "s", "m", &task.WaitRequest{}, &task.WaitResponse{}); !errors.Is(err, client.ErrClosed) {
				t.Errorf("call afterwards: %v", err)
			}
		})
	}
}

// TestStoppedPeerDelaysNobody has a peer that never reads: each call ends with
// its context although the socket is full, and in the end the connection is
// given up and not memory.
func TestStoppedPeerDelaysNobody(t *testing.T) {
	ours, _ := socketPair(t)
	c := client.New(ours)
	defer c.Close()
	req := &task.CreateTaskRequest{Bundle: strings.Repeat("x", 1<<20)}
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := c.Call(ctx, "s", "m", req, &task.CreateTaskResponse{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("call to a peer that does not read: %v", err)
		}
	}
	var err error
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err = c.Call(ctx, "s", "m", req, &task.CreateTaskResponse{})
		cancel()
	}
	if !errors.Is(err, client.ErrClosed) {
		t.Errorf("call after megabytes went unread: %v", err)
	}
	<-c.Done()
}

// TestOversizeRequestHarmsOnlyItself on its own connection.
func TestOversizeRequestHarmsOnlyItself(t *testing.T) {
	s := serve(t, map[string]handler{"State": func(context.Context, []byte) ([]byte, error) { return nil, nil }})
	c := s.dial(t)
	big := &task.StateRequest{ID: strings.Repeat("x", wire.MaxData)}
	for _, call := range []func() error{
		func() error { return c.Call(t.Context(), task.ServiceV2, "State", big, &task.StateResponse{}) },
		func() error {
			return client.Once(t.Context(), s.conn(t), task.ServiceV2, "State", big, &task.StateResponse{})
		},
	} {
		if err := call(); wire.CodeOf(err) != wire.ResourceExhausted {
			t.Errorf("request over the limit: %v", err)
		}
	}
	if _, err := task.NewClient(c, task.ServiceV2).State(t.Context(), &task.StateRequest{}); err != nil {
		t.Errorf("call afterwards: %v", err)
	}
}

// TestManyCallsAtOnce keeps their answers apart.
func TestManyCallsAtOnce(t *testing.T) {
	s := serve(t, map[string]handler{"Start": func(_ context.Context, payload []byte) ([]byte, error) {
		var req task.StartRequest
		if err := req.Unmarshal(payload); err != nil {
			return nil, err
		}
		runtime.Gosched()
		return (&task.StartResponse{Pid: uint32(len(req.ID))}).Marshal()
	}})
	c := task.NewClient(s.dial(t), task.ServiceV2)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 100 {
				resp, err := c.Start(t.Context(), &task.StartRequest{ID: strings.Repeat("x", i)})
				if err != nil || int(resp.Pid) != i {
					t.Errorf("Start %d = %+v, %v", i, resp, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestOnceLeavesWhatFollowsReply on the connection.
func TestOnceLeavesWhatFollowsReply(t *testing.T) {
	ours, peer := socketPair(t)
	payload, _ := (&task.StartResponse{Pid: 7}).Marshal()
	response, _ := (&wire.Response{Payload: payload}).Marshal()
	frame := wire.Header{Length: uint32(len(response)), Stream: 1, Type: wire.FrameResponse}.Append(nil)
	frame = append(append(frame, response...), "what follows"...)
	if _, err := peer.Write(frame); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	resp := &task.StartResponse{}
	if err := client.Once(ctx, ours, "s", "m", &task.StartRequest{}, resp); err != nil || resp.Pid != 7 {
		t.Fatalf("Once = %+v, %v", resp, err)
	}
	cancel() // must not touch the connection any more
	rest := make([]byte, len("what follows"))
	if _, err := io.ReadFull(ours, rest); err != nil || string(rest) != "what follows" {
		t.Errorf("after Once: %q, %v", rest, err)
	}
}

// TestOnceFails in all the ways there are.
func TestOnceFails(t *testing.T) {
	response, _ := (&wire.Response{Status: &wire.Status{Code: 9, Message: "no"}}).Marshal()
	answer := func(h wire.Header, data []byte) []byte { return append(h.Append(nil), data...) }
	for name, c := range map[string]struct {
		answer []byte
		want   error
	}{
		"with a code":     {answer(wire.Header{Length: uint32(len(response)), Stream: 1, Type: wire.FrameResponse}, response), &wire.Error{Code: wire.FailedPrecondition}},
		"nothing":         {nil, client.ErrClosed},
		"half a frame":    {answer(wire.Header{Length: 9, Stream: 1, Type: wire.FrameResponse}, response[:1]), client.ErrClosed},
		"of other stream": {answer(wire.Header{Stream: 3, Type: wire.FrameResponse}, nil), nil},
		"too long":        {answer(wire.Header{Length: wire.MaxData + 1, Stream: 1, Type: wire.FrameResponse}, nil), nil},
		"garbage":         {answer(wire.Header{Length: 1, Stream: 1, Type: wire.FrameResponse}, []byte{0xff}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			ours, peer := socketPair(t)
			peer.Write(c.answer)
			peer.(*net.UnixConn).CloseWrite()
			err := client.Once(t.Context(), ours, "s", "m", &task.StartRequest{}, &task.StartResponse{})
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("Once: %v, want %v", err, c.want)
			}
		})
	}
	ours, _ := socketPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := client.Once(ctx, ours, "s", "m", &task.StartRequest{}, &task.StartResponse{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Once without an answer: %v", err)
	}
}
