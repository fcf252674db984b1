package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/events"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/internal/rpc"
)

// eventSink is the part of containerd that takes events.
type eventSink struct {
	mu     sync.Mutex
	refuse map[string]error // by topic; given once
	got    []*events.Envelope
	more   chan struct{} // one token for each event taken
}

func (s *eventSink) Forward(_ context.Context, r *events.ForwardRequest) (*types.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse[r.Envelope.Topic]; err != nil {
		delete(s.refuse, r.Envelope.Topic)
		return nil, err
	}
	s.got = append(s.got, r.Envelope)
	s.more <- struct{}{}
	return &types.Empty{}, nil
}

func (s *eventSink) topics() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.got {
		list = append(list, e.Topic)
	}
	return list
}

// listen serves the sink at path until the test ends.
func (s *eventSink) listen(t *testing.T, path string) {
	t.Helper()
	l, err := serve.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.New(func(service, method string) (wire.Method, bool) {
		return events.Lookup(s, method), service == events.ServiceName
	}, rpc.Options{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Stop(t.Context()), <-served); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func newSink() *eventSink {
	return &eventSink{refuse: map[string]error{}, more: make(chan struct{}, 100)}
}

func (s *eventSink) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.more:
		case <-time.After(20 * time.Second):
			t.Fatalf("only %v arrived", s.topics())
		}
	}
}

func testForwarder(t *testing.T, path string) *forwarder {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return newForwarder(path, "ns", newLogger(Config{Log: log, ID: "c1", Debug: true}))
}

var life = []string{bundle.TopicCreate, bundle.TopicStart, bundle.TopicPaused, bundle.TopicExit, bundle.TopicDelete}

func event(topic string) bundle.Event {
	return bundle.Event{Topic: topic, ID: "c1", Namespace: "ns", PID: 7, Code: 3, Known: true, Time: time.Now(), ExitedAt: time.Now()}
}

// A failed delivery is repeated and lets nothing overtake it; an event that
// containerd will never take does not hold up the others.
func TestEventsReachContainerdInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	sink := newSink()
	sink.refuse[bundle.TopicStart] = wire.Errorf(wire.Unavailable, "not yet")
	sink.refuse[bundle.TopicPaused] = wire.Errorf(wire.InvalidArgument, "never")
	sink.listen(t, path)
	f := testForwarder(t, "unix://"+path)
	for _, topic := range life {
		f.add(event(topic))
	}
	f.close(t.Context())
	want := slices.DeleteFunc(slices.Clone(life), func(topic string) bool { return topic == bundle.TopicPaused })
	if got := sink.topics(); !slices.Equal(got, want) {
		t.Errorf("arrived: %v, want %v", got, want)
	}
	var exit events.TaskExit
	if err := exit.Unmarshal(sink.got[2].Event.Value); err != nil {
		t.Fatal(err)
	}
	if exit.ContainerID != "c1" || exit.ID != "c1" || exit.ExitStatus != 3 || sink.got[2].Event.TypeUrl != events.TypeTaskExit || sink.got[2].Namespace != "ns" {
		t.Errorf("exit = %+v in %+v", exit, sink.got[2])
	}
}

// What happens while containerd is away arrives when it is back.
func TestEventsWaitForContainerd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	f := testForwarder(t, path)
	for _, topic := range life {
		f.add(event(topic))
	}
	sink := newSink()
	sink.listen(t, path)
	sink.await(t, len(life))
	f.close(t.Context())
	if got := sink.topics(); !slices.Equal(got, life) {
		t.Errorf("arrived: %v, want %v", got, life)
	}
}

// A shim that leaves does not wait for ever for a containerd that is gone.
func TestForwarderGivesUpWhenTheShimLeaves(t *testing.T) {
	f := testForwarder(t, filepath.Join(t.TempDir(), "nobody.sock"))
	f.add(event(bundle.TopicExit))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.close(ctx)
	if n := f.waiting(); n != 1 {
		t.Errorf("%d events wait, want 1", n)
	}
	var none *forwarder // a shim without a containerd
	none.add(event(bundle.TopicExit))
	none.close(t.Context())
}
