package shim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/events"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/internal/rpc"
)

const (
	// forwardLimit bounds one delivery; containerd answers within a millisecond.
	forwardLimit = 5 * time.Second
	// A daemon that is away is tried again after firstPause, and then ever more
	// rarely, down to every lastPause.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// maxPending bounds what is kept for a daemon that stays away, in events. Only a
	// container that does a thousand things without anybody asking for them gets there.
	maxPending = 4096
)

// forwarder delivers the events of the container to containerd, in order and one
// at a time: an event waits until the one before it was taken, for as long as
// that takes. A nil forwarder is for a shim without a containerd.
type forwarder struct {
	address   string
	namespace string
	client    *rpc.Client // nil while nothing is pending; run's alone
	log       *logger
	wake      chan struct{} // holds one token when something changed
	stop      chan struct{} // closed when what is pending is given up
	ended     chan struct{} // closed when run has returned

	mu      sync.Mutex
	pending []bundle.Event // the first one is being delivered
	closing bool           // leave as soon as nothing is pending
}

// newForwarder starts a forwarder to the ttrpc address of a containerd; "" is
// none.
func newForwarder(address, namespace string, log *logger) *forwarder {
	if address == "" {
		return nil
	}
	f := &forwarder{
		address: strings.TrimPrefix(address, "unix://"), namespace: namespace, log: log,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go f.run()
	return f
}

// add queues an event. It never waits.
func (f *forwarder) add(e bundle.Event) {
	if f == nil {
		return
	}
	f.mu.Lock()
	if len(f.pending) >= maxPending {
		f.log.warnf("drop event %d (%s) for containerd: %d wait already; the journal has it", e.Seq, e.Topic, maxPending)
	} else {
		f.pending = append(f.pending, e)
	}
	f.mu.Unlock()
	f.signal()
}

func (f *forwarder) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// close ends the forwarder when everything is delivered, or ctx ends.
func (f *forwarder) close(ctx context.Context) {
	if f == nil {
		return
	}
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	f.signal()
	select {
	case <-f.ended:
	case <-ctx.Done():
		f.log.warnf("leave %d events undelivered: containerd does not take them; the journal has them", f.waiting())
		close(f.stop)
		<-f.ended // at once, or when the attempt under way has ended
	}
}

func (f *forwarder) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending)
}

// run delivers until close.
func (f *forwarder) run() {
	defer close(f.ended)
	defer f.disconnect()
	pause := firstPause
	for !isClosed(f.stop) {
		e, any, closing := f.next()
		if !any {
			f.disconnect() // a quiet container needs no descriptor for the daemon
			if closing {
				return
			}
			<-f.wake
			continue
		}
		if err := f.deliver(e); err != nil {
			f.log.debugf("%v; trying again in %v", err, pause)
			f.rest(pause)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		f.mu.Lock()
		f.pending = f.pending[1:]
		f.mu.Unlock()
	}
}

func (f *forwarder) connect() *rpc.Client {
	if f.client == nil {
		f.client = rpc.NewClient(f.address, &wire.KeyValue{Key: "containerd-namespace-ttrpc", Value: f.namespace})
	}
	return f.client
}

func (f *forwarder) disconnect() {
	if f.client != nil {
		f.client.Close()
		f.client = nil
	}
}

func (f *forwarder) next() (e bundle.Event, any, closing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 0 {
		f.pending = nil
		return e, false, f.closing
	}
	return f.pending[0], true, f.closing
}

// rest waits for d, or less if the shim wants to leave or has more to tell.
func (f *forwarder) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.wake:
	case <-f.stop:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// deliver makes one attempt. An event that containerd finds invalid will never
// be taken, and must not keep the others from arriving.
func (f *forwarder) deliver(e bundle.Event) error {
	topic, m := wireEvent(e)
	body, err := pack(topic, m)
	if err != nil {
		f.log.warnf("%v; containerd is not told", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardLimit)
	defer cancel()
	_, err = events.NewClient(f.connect(), events.ServiceName).Forward(ctx, &events.ForwardRequest{Envelope: &events.Envelope{
		Timestamp: types.FromTime(e.Time), Namespace: f.namespace, Topic: e.Topic, Event: body,
	}})
	if errors.Is(err, &wire.Error{Code: wire.InvalidArgument}) {
		f.log.warnf("containerd refuses event %d (%s): %v", e.Seq, e.Topic, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("forward event %d (%s): %w", e.Seq, e.Topic, err)
	}
	return nil
}

// wireEvent returns an event as containerd knows it: the type of the message
// and the message. An exit of init carries the container's id twice; that is how
// clients tell it from an exec's.
func wireEvent(e bundle.Event) (typeURL string, m wire.Message) {
	pid, id := uint32(e.PID), e.ExecID
	if id == "" {
		id = e.ID
	}
	switch e.Topic {
	case bundle.TopicCreate:
		return events.TypeTaskCreate, &events.TaskCreate{
			ContainerID: e.ID, Bundle: e.Bundle, Checkpoint: e.Checkpoint, Pid: pid,
			IO: &events.TaskIO{Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, Terminal: e.Terminal},
		}
	case bundle.TopicStart:
		return events.TypeTaskStart, &events.TaskStart{ContainerID: e.ID, Pid: pid}
	case bundle.TopicExit:
		return events.TypeTaskExit, &events.TaskExit{
			ContainerID: e.ID, ID: id, Pid: pid, ExitStatus: uint32(e.Code), ExitedAt: types.FromTime(e.ExitedAt),
		}
	case bundle.TopicDelete:
		return events.TypeTaskDelete, &events.TaskDelete{
			ContainerID: e.ID, ID: e.ExecID, Pid: pid, ExitStatus: uint32(e.Code), ExitedAt: types.FromTime(e.ExitedAt),
		}
	case bundle.TopicExecAdded:
		return events.TypeTaskExecAdded, &events.TaskExecAdded{ContainerID: e.ID, ExecID: e.ExecID}
	case bundle.TopicExecStarted:
		return events.TypeTaskExecStarted, &events.TaskExecStarted{ContainerID: e.ID, ExecID: e.ExecID, Pid: pid}
	case bundle.TopicPaused:
		return events.TypeTaskPaused, &events.TaskPaused{ContainerID: e.ID}
	case bundle.TopicResumed:
		return events.TypeTaskResumed, &events.TaskResumed{ContainerID: e.ID}
	case bundle.TopicOOM:
		return events.TypeTaskOOM, &events.TaskOOM{ContainerID: e.ID}
	}
	return events.TypeTaskCheckpointed, &events.TaskCheckpointed{ContainerID: e.ID, Checkpoint: e.Checkpoint}
}
