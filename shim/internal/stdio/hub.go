package stdio

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast/holdfast/proto/attach"
)

// streams is the number of kinds a stream can have; index with attach.Kind.
const streams = 3

// historySize is what a stream remembers for clients that ask for a replay, if
// it has no sink, where the bytes could be read, or is a terminal.
const historySize = 16 << 10

// hub hands the bytes of the outputs to the attach clients.
type hub struct {
	tasks  *sync.WaitGroup
	input  *input // nil: no stdin
	lagged [streams]atomic.Uint64
	grace  time.Duration // at close, for clients to take what is queued

	// subscribers says without the lock whether a stream has any.
	subscribers [streams]atomic.Int32

	mu       sync.Mutex
	clients  []*client       // +checklocks:mu — replaced, never changed in place
	live     [streams]bool   // +checklocks:mu — output exists and has not ended
	stdin    bool            // +checklocks:mu — input exists and has not ended
	remember [streams]bool   // set before the pumps start
	history  [streams][]byte // +checklocks:mu
}

// add starts a client, which was not yet given to anybody. Not after close. What it asks for
// and is over already, or never was, it does not wait for.
func (h *hub) add(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, kind := range []attach.Kind{attach.Stdout, attach.Stderr} {
		if !c.wants(kind) {
			continue
		}
		if past := h.history[kind]; c.o.ReplayBytes > 0 {
			c.put(kind, past[max(0, int64(len(past))-c.o.ReplayBytes):])
		}
		h.subscribers[kind].Add(1)
	}
	h.clients = append(slices.Clone(h.clients), c)
	h.tasks.Go(c.write)
	h.tasks.Go(c.read)
	if h.doneLocked(c) {
		c.finish("")
	}
}

// remove forgets c, if it is still known.
func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.clients, c)
	if i < 0 {
		return
	}
	h.clients = slices.Delete(slices.Clone(h.clients), i, i+1)
	for _, kind := range []attach.Kind{attach.Stdout, attach.Stderr} {
		if c.wants(kind) {
			h.subscribers[kind].Add(-1)
		}
	}
}

// doneLocked tells whether there is nothing left that c could wait for.
// One that only types waits for stdin to end.
func (h *hub) doneLocked(c *client) bool {
	if c.wants(attach.Stdout) && h.live[attach.Stdout] || c.wants(attach.Stderr) && h.live[attach.Stderr] {
		return false
	}
	typist := c.o.Stdin && !c.o.Stdout && !c.o.Stderr
	return !typist || !h.stdin
}

// listening tells whether bytes of the stream have to come through deliver.
func (h *hub) listening(kind attach.Kind) bool {
	return h.remember[kind] || h.subscribers[kind].Load() > 0
}

// deliver gives b, which is borrowed, to every client of the stream. It waits for
// Sync clients, without the lock.
func (h *hub) deliver(kind attach.Kind, b []byte) {
	if !h.listening(kind) {
		return
	}
	h.mu.Lock()
	clients := h.clients
	if h.remember[kind] {
		h.history[kind] = appendBounded(h.history[kind], b)
	}
	h.mu.Unlock()
	for _, c := range clients {
		if c.wants(kind) {
			h.lagged[kind].Add(uint64(c.put(kind, b)))
		}
	}
}

// appendBounded keeps the last historySize bytes.
func appendBounded(past, b []byte) []byte {
	if len(b) >= historySize {
		return append(past[:0], b[len(b)-historySize:]...)
	}
	if excess := len(past) + len(b) - historySize; excess > 0 {
		past = past[:copy(past, past[excess:])]
	}
	return append(past, b...)
}

// endStream is EOF of an output: clients that wait for nothing else get End.
// It returns when the Sync clients have been sent all, or are gone.
func (h *hub) endStream(kind attach.Kind) {
	h.mu.Lock()
	h.live[kind] = false
	clients := h.finishLocked()
	h.mu.Unlock()
	for _, c := range clients {
		if c.wants(kind) && c.o.Sync {
			_ = c.flushed(context.Background()) // has no end, so no error
		}
	}
}

// endInput says that the process got EOF on stdin.
func (h *hub) endInput() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stdin = false
	h.finishLocked()
}

func (h *hub) finishLocked() []*client {
	for _, c := range h.clients {
		if h.doneLocked(c) {
			c.finish("")
		}
	}
	return h.clients
}

// close ends every client: what is queued, the reason, or the grace is over.
func (h *hub) close(reason string) {
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		c.finish(reason)
		c.hurry(h.grace)
	}
}
