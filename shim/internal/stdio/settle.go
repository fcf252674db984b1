package stdio

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// rest says whether a pump is between bytes. The pump takes nothing from its
// source before it has called begin, so whoever holds mu and finds the pump
// resting and the source empty knows that all that was written has arrived.
type rest struct {
	mu      sync.Mutex
	resting bool          // +checklocks:mu — the pump waits, with nothing in hand
	ended   bool          // +checklocks:mu
	changed chan struct{} // +checklocks:mu — closed at the next rest; nil if nobody waits
}

// begin is called before each attempt to take bytes.
func (r *rest) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resting = false
}

// pause is called before each wait for more.
func (r *rest) pause() { r.tell(false) }

// end is called when the pump is done.
func (r *rest) end() { r.tell(true) }

func (r *rest) tell(ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resting, r.ended = true, ended
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// settled reports whether nothing is under way in the stream whose source is fd;
// if something is, wait is closed when it is worth asking again.
func (r *rest) settled(fd int) (yes bool, wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return true, nil
	}
	if r.resting { // TIOCINQ is FIONREAD by another name (ioctl_tty(2), pipe(7))
		if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil && n == 0 {
			return true, nil
		}
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return false, r.changed
}

// Settle waits until everything that was written to the outputs before the call
// is in its sinks and sent to Sync clients. A process that has ended has then had
// its say, though a child of it may hold its streams open for ever.
//
// Of a terminal it waits for the end: the kernel does not tell when what was
// written at one side can be read at the other.
func (s *Stdio) Settle(ctx context.Context) error {
	if isClosed(s.drained) { // also by Close, before a pump ever ran
		return nil
	}
	for _, o := range s.outputs {
		for o.pipe {
			yes, wait := o.rest.settled(o.src.fd)
			if yes {
				break
			}
			if err := s.await(ctx, wait); err != nil || isClosed(s.drained) {
				return err
			}
		}
		if !o.pipe {
			if err := s.await(ctx, s.drained); err != nil {
				return err
			}
		}
	}
	sent := make(chan struct{})
	go func() { // ended by the clients, which Close ends
		defer close(sent)
		s.hub.flushed()
	}()
	return s.await(ctx, sent)
}

// await waits for c, or for the streams to end.
func (s *Stdio) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("settle streams: %w", context.Cause(ctx))
	}
}

// flushed waits until the Sync clients have been sent all, or are gone.
func (h *hub) flushed() {
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		if c.o.Sync {
			c.flushed()
		}
	}
}
