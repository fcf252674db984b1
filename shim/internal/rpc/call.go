package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast/holdfast/proto/wire"
)

// call is one request that is not answered yet, and the context its handler
// gets. It is a context of its own because most handlers never wait: a call
// costs no channel, timer or goroutine until somebody asks for Done, and
// deadlines are compared with the clock.
type call struct {
	conn   *conn
	stream uint32
	data   []byte // the frame without its header; never changed, so slices of it may live on
	request
	deadline time.Time // zero for none
	moved    bool      // came with its deadline from another server
	waits    bool      // see Options.Waits
	failed   bool      // the handler has returned an error

	prev, next *call // in conn.open, guarded by conn.mu

	mu    sync.Mutex
	err   error // why it ended
	done  chan struct{}
	timer *time.Timer
	after map[*func()]struct{} // to be called when it ends
}

type callKey struct{}

// Deadline returns when the client will have given up.
func (c *call) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Value knows only what Metadata asks for.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return nil
}

// Err tells why the call has ended, nil if it has not.
func (c *call) Err() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err == nil && c.late() {
		c.end(context.DeadlineExceeded)
		return c.Err()
	}
	return err
}

// Done returns the channel that is closed when the call ends.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		} else {
			c.startTimerLocked()
		}
	}
	return c.done
}

// AfterFunc has f called on a goroutine of its own once the call has ended.
// The context package looks for this method: with it, a context derived from
// a call costs no goroutine that waits for Done.
func (c *call) AfterFunc(f func()) (stop func() bool) {
	key := &f
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*func()]struct{})
	}
	c.after[key] = struct{}{}
	c.startTimerLocked()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, pending := c.after[key]
		delete(c.after, key)
		return pending
	}
}

// startTimerLocked makes the deadline end the call by itself.
func (c *call) startTimerLocked() {
	if c.timer == nil && !c.deadline.IsZero() {
		c.timer = time.AfterFunc(time.Until(c.deadline), func() { c.end(context.DeadlineExceeded) })
	}
}

// end ends the call's context; the first reason stays.
func (c *call) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	for f := range c.after {
		go (*f)()
	}
	c.after = nil
}

func (c *call) late() bool {
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

// left is what is left of the deadline, as Request.Left wants it.
func (c *call) left() time.Duration {
	if c.deadline.IsZero() {
		return 0
	}
	if left := time.Until(c.deadline); left != 0 {
		return left
	}
	return -1
}

func (c *call) metadata() []*wire.KeyValue {
	if !c.hasMetadata {
		return nil
	}
	var req wire.Request
	if req.Unmarshal(c.data) != nil { // has been decoded once already
		return nil
	}
	return req.Metadata
}
