package stdio

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// rest says whether a pump is between bytes, and who waits for some to arrive.
// The pump takes nothing from its source before it has called begin, so whoever
// holds mu while it rests knows that all that it ever took has arrived.
type rest struct {
	mu      sync.Mutex
	resting bool       // +checklocks:mu — the pump waits, with nothing in hand
	ended   bool       // +checklocks:mu
	waiters []*arrival // +checklocks:mu
}

// arrival is a Settle that waits for what had been written when it was called.
type arrival struct {
	goal uint64 // of output.in; 0 until the pump has nothing in hand and can tell
	done chan struct{}
}

// begin is called before each attempt to take bytes.
func (o *output) begin() { o.look(false) }

// pause is called before each wait for more.
func (o *output) pause() {
	for _, s := range o.sinks {
		o.lose(s.pause())
	}
	o.look(true)
}

// look is called by the pump when it has nothing in hand.
func (o *output) look(resting bool) {
	o.rest.mu.Lock()
	defer o.rest.mu.Unlock()
	o.rest.resting = resting
	o.rest.waiters = slices.DeleteFunc(o.rest.waiters, o.tell)
}

// finish is called when the pump is done.
func (o *output) finish() {
	o.rest.mu.Lock()
	defer o.rest.mu.Unlock()
	o.rest.ended = true
	for _, a := range o.rest.waiters {
		close(a.done)
	}
	o.rest.waiters = nil
}

// tell ends the wait of a if all has arrived. The pump has nothing in hand. An
// empty source is enough, because the process may itself take bytes out of it.
func (o *output) tell(a *arrival) bool {
	left := uint64(unread(o.src.fd))
	if a.goal == 0 {
		a.goal = o.in.Load() + left
	}
	if left > 0 && o.in.Load() < a.goal {
		return false
	}
	close(a.done)
	return true
}

// arrive returns what is done when all that was written to a pipe has arrived.
func (o *output) arrive() *arrival {
	a := &arrival{done: make(chan struct{})}
	o.rest.mu.Lock()
	defer o.rest.mu.Unlock()
	switch {
	case o.rest.ended:
		close(a.done)
	case !o.rest.resting || !o.tell(a):
		o.rest.waiters = append(o.rest.waiters, a)
	}
	return a
}

// forget ends the wait of a, if it has not ended.
func (r *rest) forget(a *arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters = slices.DeleteFunc(r.waiters, func(b *arrival) bool { return a == b })
}

// Settle waits until everything that was written to the outputs before the call
// is in its sinks and sent to Sync clients. A process that has ended has then had
// its say, though a child of it may hold its streams open, or write on, for ever.
//
// Of a terminal it waits for the end: the kernel does not tell when what was
// written at one side can be read at the other.
func (s *Stdio) Settle(ctx context.Context) error {
	for _, o := range s.outputs {
		if err := s.settle(ctx, o); err != nil {
			return fmt.Errorf("settle streams: %w", err)
		}
	}
	if err := s.hub.flushed(ctx); err != nil {
		return fmt.Errorf("settle streams: %w", err)
	}
	return nil
}

// settle waits for one output, or for the end of all.
func (s *Stdio) settle(ctx context.Context, o *output) error {
	if isClosed(s.drained) { // also by Close, before a pump ever ran
		return nil
	}
	var arrived chan struct{} // of a terminal: never
	if o.pipe {
		a := o.arrive()
		defer o.rest.forget(a)
		arrived = a.done
	}
	select {
	case <-arrived:
		return nil
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// flushed waits until the Sync clients have been sent all that is queued, or are
// gone.
func (h *hub) flushed(ctx context.Context) error {
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		if !c.o.Sync {
			continue
		}
		if err := c.flushed(ctx); err != nil {
			return err
		}
	}
	return nil
}
