package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

func (w *world) own(md ...*wire.KeyValue) *Client {
	c := NewClient(w.path, md...)
	w.t.Cleanup(func() { c.Close() })
	return c
}

func TestClientCallsInOrder(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.own(&wire.KeyValue{Key: "containerd-namespace-ttrpc", Value: "n"})
	for i := range 100 {
		echo(t, c, fmt.Sprint(i))
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { echo(t, c, fmt.Sprint(i)) })
	}
	wg.Wait()
	var out types.Any
	if err := c.Call(timeout(t), "test", "Metadata", &types.Empty{}, &out); err != nil ||
		string(out.Value) != "containerd-namespace-ttrpc=n;" {
		t.Errorf("%q, %v", out.Value, err)
	}
	err := c.Call(timeout(t), "test", "Fail", &types.Any{TypeUrl: "coded"}, &out)
	if e, ok := err.(*wire.Error); !ok || e.Code != wire.NotFound || e.Message != "no such thing" {
		t.Errorf("%v", err)
	}
	echo(t, c, "an error reply costs no connection")
	if w.Conns() != 1 {
		t.Errorf("%d connections", w.Conns())
	}
}

func TestClientObeysItsContext(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.own()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, "test", "Wait", &types.Empty{}, &types.Any{}); !errors.Is(err, context.DeadlineExceeded) &&
		wire.CodeOf(err) != wire.DeadlineExceeded {
		t.Errorf("deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	receive(t, w.entered, "entry")
	go func() {
		<-w.entered
		cancel()
	}()
	if err := c.Call(ctx, "test", "Wait", &types.Empty{}, &types.Any{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancel: %v", err)
	}
	if err := c.Call(ctx, "test", "Wait", &types.Empty{}, &types.Any{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	echo(t, c, "the next call")
}

func TestClientConnectsAgain(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.own()
	echo(t, c, "first")
	firstConn(w.Server).drop(nil)
	echo(t, c, "without an error, as nothing was sent yet")

	go func() {
		<-w.entered
		firstConn(w.Server).drop(nil)
	}()
	if err := c.Call(timeout(t), "test", "Wait", &types.Empty{}, &types.Any{}); !errors.Is(err, ErrClosed) {
		t.Errorf("lost while waiting: %v", err)
	}
	echo(t, c, "again")
	c.Close()
	if err := c.Call(timeout(t), "test", "Wait", &types.Empty{}, &types.Any{}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	c.Close()
}

func TestClientSaysWhatIsWrong(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	err := NewClient(filepath.Join(dir, "none")).Call(timeout(t), "s", "m", &types.Empty{}, &types.Empty{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "call s/m: connect to "+dir) {
		t.Errorf("no socket: %v", err)
	}
	l := listen(t, filepath.Join(dir, "dead"))
	l.Close()
	err = NewClient(filepath.Join(dir, "dead")).Call(timeout(t), "s", "m", &types.Empty{}, &types.Empty{})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody there: %v", err)
	}
	err = NewClient(dir+strings.Repeat("/long", 30)).Call(timeout(t), "s", "m", &types.Empty{}, &types.Empty{})
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("long path: %v", err)
	}
}

func TestClientWaitsForRoomInTheBacklog(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, path)
	defer l.Close()
	raw, _ := l.SyscallConn()
	raw.Control(func(fd uintptr) { unix.Listen(int(fd), 0) })
	fill, err := dial(timeout(t), path)
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := dial(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("full backlog: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		f, err := dial(timeout(t), path)
		if err == nil {
			f.Close()
		}
		done <- err
	}()
	fd, err := accept(raw)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if err := receive(t, done, "connection"); err != nil {
		t.Error(err)
	}
}

func TestClientTalksToOfficialServer(t *testing.T) {
	checkLeaks(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := officialServer(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	c := NewClient(l.Addr().String())
	for i := range 10 {
		echo(t, c, fmt.Sprint(i))
	}
	err = c.Call(timeout(t), "nope", "Echo", &types.Any{}, &types.Any{})
	if wire.CodeOf(err) != wire.Unimplemented {
		t.Errorf("unknown service: %v", err)
	}
	c.Close()
	s.Close()
	<-served
}

// officialServer is the library's server with Echo of the test service.
func officialServer(t testing.TB) *ttrpc.Server {
	s, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	s.RegisterService("test", &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Echo": func(ctx context.Context, unmarshal func(any) error) (any, error) {
			m := new(anypb.Any)
			return m, unmarshal(m)
		},
	}})
	return s
}
