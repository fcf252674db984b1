package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/ttrpc"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

func TestOfficialClientGetsReplies(t *testing.T) {
	c := newWorld(t, Options{}).official()
	for _, size := range []int{0, 1, 100, 4000, 5000, 70_000, 1 << 20, 4<<20 - 100} {
		in := &types.Any{TypeUrl: "x", Value: bytes.Repeat([]byte{7}, size)}
		var out types.Any
		if err := c.Call(timeout(t), "test", "Echo", in, &out); err != nil {
			t.Fatalf("echo of %d bytes: %v", size, err)
		}
		if out.TypeUrl != "x" || !bytes.Equal(out.Value, in.Value) {
			t.Errorf("echo of %d bytes differs", size)
		}
	}
	if err := c.Call(timeout(t), "test", "Empty", &types.Empty{}, &types.Empty{}); err != nil {
		t.Errorf("empty: %v", err)
	}
}

func TestOfficialClientGetsErrors(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.official()
	for _, tt := range []struct {
		service, method, arg string
		code                 wire.Code
		text                 string
	}{
		{"nope", "Echo", "", wire.Unimplemented, "service nope"},
		{"test", "Nope", "", wire.Unimplemented, "method Nope"},
		{"test", "Fail", "coded", wire.NotFound, "no such thing"},
		{"test", "Fail", "wrapped", wire.AlreadyExists, "look: id e1: already exists"},
		{"test", "Fail", "plain", wire.Unknown, "plain"},
		{"test", "Fail", "enoent", wire.NotFound, "open x: no such file or directory"},
		{"test", "Fail", "eof", wire.OutOfRange, "EOF"},
		{"test", "Fail", "ctx", wire.Canceled, "context canceled"},
		{"test", "Fail", "garbled", wire.Unknown, "bad \uFFFD bytes"},
		{"test", "Fail", "long", wire.Unknown, strings.Repeat("x", maxErrorLen)},
		{"test", "Nil", "", wire.Internal, "handler returned neither reply nor error"},
		{"test", "Panic", "", wire.Internal, "panic in test/Panic"},
		{"test", "Goexit", "", wire.Internal, "panic in test/Goexit"},
		{"test", "Big", "4194304", wire.ResourceExhausted, "reply of 4194309 bytes exceeds maximum message size of 4194304"},
		{"test", "Big", "100000000", wire.ResourceExhausted, "reply of 100000005 bytes exceeds maximum message size of 4194304"},
	} {
		err := c.Call(context.Background(), tt.service, tt.method, &types.Any{TypeUrl: tt.arg}, &types.Any{})
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Code != tt.code || e.Message != tt.text {
			t.Errorf("%s/%s(%s): %.200v", tt.service, tt.method, tt.arg, err)
		}
	}
	if err := c.Call(timeout(t), "test", "Empty", &types.Empty{}, &types.Empty{}); err != nil {
		t.Errorf("connection does not survive errors: %v", err)
	}
	if !w.logged("panic in test/Panic: at the disco") || !w.logged("helpers_test.go") {
		t.Error("panic is not logged with its stack")
	}
}

func TestReplyOfExactlyTheMaximumIsSent(t *testing.T) {
	c := newWorld(t, Options{}).official()
	// Any: tag, 4-byte length; Response: tag, 4-byte length.
	const most = wire.MaxData - 5 - 5
	var out types.Any
	if err := c.Call(timeout(t), "test", "Big", &types.Any{TypeUrl: fmt.Sprint(most)}, &out); err != nil || len(out.Value) != most {
		t.Errorf("got %d bytes, %v", len(out.Value), err)
	}
	err := c.Call(timeout(t), "test", "Big", &types.Any{TypeUrl: fmt.Sprint(most + 1)}, &out)
	if wire.CodeOf(err) != wire.ResourceExhausted {
		t.Errorf("one byte more: %v", err)
	}
}

func TestMetadataReachesHandler(t *testing.T) {
	c := newWorld(t, Options{}).official()
	md := ttrpc.MD{}
	md.Set("containerd-namespace-ttrpc", "h1nsmn")
	md.Append("many", "1", "2")
	var out types.Any
	ctx := ttrpc.WithMetadata(timeout(t), md)
	if err := c.Call(ctx, "test", "Metadata", &types.Empty{}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"containerd-namespace-ttrpc=h1nsmn;", "many=1;many=2;"} {
		if !strings.Contains(string(out.Value), want) {
			t.Errorf("%q is not in %q", want, out.Value)
		}
	}
	if err := c.Call(timeout(t), "test", "Metadata", &types.Empty{}, &out); err != nil {
		t.Error(err)
	}
	if Metadata(context.Background()) != nil {
		t.Error("metadata out of nowhere")
	}
}

func TestDeadlineOfClientEndsHandler(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.official()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	err := c.Call(ctx, "test", "Wait", &types.Empty{}, &types.Any{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("call: %v", err)
	}
	if err := receive(t, w.ended, "end of handler"); err != context.DeadlineExceeded {
		t.Errorf("handler's context: %v", err)
	}
	var out types.Any
	if err := c.Call(timeout(t), "test", "Deadline", &types.Empty{}, &out); err != nil || out.TypeUrl != "true true" {
		t.Errorf("%s, %v", out.TypeUrl, err)
	}
	if err := c.Call(context.Background(), "test", "Deadline", &types.Empty{}, &out); err != nil || out.TypeUrl != "false false" {
		t.Errorf("%s, %v", out.TypeUrl, err)
	}
}

func TestClosedConnectionCancelsItsHandlersOnly(t *testing.T) {
	w := newWorld(t, Options{})
	a, b := w.official(), w.official()
	done := make(chan error, 1)
	go func() { done <- b.Call(context.Background(), "test", "Wait", &types.Empty{}, &types.Any{}) }()
	receive(t, w.entered, "entry of b")
	for range 5 {
		go a.Call(context.Background(), "test", "Wait", &types.Empty{}, &types.Any{})
		receive(t, w.entered, "entry of a")
	}
	a.Close()
	for range 5 {
		if err := receive(t, w.ended, "end of handler"); err != context.Canceled {
			t.Errorf("handler's context: %v", err)
		}
	}
	eventually(t, "one connection", func() bool { return w.Conns() == 1 })
	close(w.release)
	if err := receive(t, done, "answer to b"); err != nil {
		t.Error(err)
	}
}

func TestManyConcurrentCalls(t *testing.T) {
	const conns, calls = 10, 1000
	w := newWorld(t, Options{})
	var wg sync.WaitGroup
	for i := range conns {
		c := w.official()
		for j := range calls {
			wg.Go(func() { echo(t, c, fmt.Sprintf("%d.%d", i, j)) })
		}
	}
	wg.Wait()
}

func TestTenThousandCallsAtOnceOnOneConnection(t *testing.T) {
	const calls = 10_000
	w := newWorld(t, Options{MaxInFlight: calls + 1})
	c := w.official()
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			var out types.Any
			if err := c.Call(context.Background(), "test", "Wait", &types.Empty{}, &out); err != nil || out.TypeUrl != "waited" {
				t.Errorf("wait: %v", err)
			}
		})
	}
	for range calls {
		receive(t, w.entered, "entry")
	}
	echo(t, c, "not behind the others")
	close(w.release)
	wg.Wait()
}

func echo(t testing.TB, c wire.Caller, text string) {
	t.Helper()
	var out types.Any
	if err := c.Call(context.Background(), "test", "Echo", &types.Any{TypeUrl: text}, &out); err != nil {
		t.Errorf("echo %s: %v", text, err)
	} else if out.TypeUrl != text {
		t.Errorf("echo %s: got %s", text, out.TypeUrl)
	}
}

func TestClosedServerIsSeenAsClosed(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.official()
	echo(t, c, "first")
	w.stop()
	err := c.Call(timeout(t), "test", "Echo", &types.Any{}, &types.Any{})
	if !errors.Is(err, client.ErrClosed) {
		t.Errorf("call after stop: %v", err)
	}
	if _, err := w.l.Stat(); err == nil {
		t.Error("listener is open")
	}
}
