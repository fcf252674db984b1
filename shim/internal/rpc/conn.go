package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/proto/wire"
)

// conn is one connection. Everything that must survive an upgrade is plain
// data in here: in, last, out, open.
//
// Goroutines: one reader, which owns in, last and readErr as long as it runs; one for
// each running handler; of those, one at a time writes. Whoever sets gone
// first owns file from then on.
type conn struct {
	srv  *Server
	file *os.File
	raw  syscall.RawConn

	in   input  // the frame being read
	last uint32 // highest stream id of a request

	readErr error // found by ready

	ready func(fd uintptr) bool // what the poller calls to read
	write writer                // of the goroutine that has writing

	mu       sync.Mutex
	open     call          // head of the ring of calls whose handlers run, oldest first
	running  int           // length of open
	brief    int           // those of them that are not known to merely wait
	inBytes  int           // of the requests of running
	out      queue         // replies that are not written
	writing  bool          // somebody is writing the head of out
	gone     bool          // file is no longer ours: dropped, hijacked or frozen
	pauses   int           // who wants no reader
	held     bool          // a blocked write is to give up: frozen
	stopping bool          // Stop has cancelled the waiting calls
	reading  chan struct{} // closed when the reader has ended; nil if there is none
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

// newConn takes file, also when it fails.
func newConn(s *Server, file *os.File) (*conn, error) {
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetDeadline(time.Time{})
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watch connection: %w", err)
	}
	c := &conn{srv: s, file: file, raw: raw}
	c.open.prev, c.open.next = &c.open, &c.open
	c.ready = c.readReady
	c.write.init(c)
	return c, nil
}

// startReader starts reading unless somebody wants it paused.
func (c *conn) startReader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.pauses > 0 || c.reading != nil {
		return
	}
	c.file.SetReadDeadline(time.Time{})
	c.reading = make(chan struct{})
	go c.read()
}

// pauseReader returns when nothing reads from c. The frame being read stays in in.
func (c *conn) pauseReader() {
	c.mu.Lock()
	c.pauses++
	reading := c.reading
	if reading != nil && !c.gone {
		c.file.SetReadDeadline(longAgo())
	}
	c.mu.Unlock()
	if reading != nil {
		<-reading
	}
}

// resumeReader takes one pauseReader back.
func (c *conn) resumeReader() {
	c.mu.Lock()
	c.pauses--
	c.mu.Unlock()
	c.startReader()
}

// read reads until the connection ends or somebody pauses it.
func (c *conn) read() {
	var err error
	for err == nil {
		if err = c.raw.Read(c.ready); err == nil {
			err = c.readErr
			runtime.Gosched() // a flood of requests: let their handlers catch up
		}
	}
	c.mu.Lock()
	close(c.reading)
	c.reading = nil
	paused := c.pauses > 0
	c.mu.Unlock()
	if !paused || !errors.Is(err, os.ErrDeadlineExceeded) {
		c.drop(err)
	}
}

// drop ends the connection: its handlers are cancelled, its replies forgotten.
// A cause other than the peer's leaving is logged. It must not be called from
// the functions that the poller calls: Close waits for those.
func (c *conn) drop(cause error) {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.gone = true
	c.out.clear(c.srv)
	c.cancelLocked(func(*call) bool { return true })
	c.changedLocked()
	c.mu.Unlock()

	c.file.Close()
	if cause != nil && !peerLeft(cause) {
		c.srv.logf("drop connection: %v", cause)
	}
	c.srv.remove(c)
}

// peerLeft tells the ways in which a client ends a connection.
func peerLeft(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// cancelLocked ends the contexts of those calls that match.
func (c *conn) cancelLocked(match func(*call) bool) {
	for q := c.open.next; q != &c.open; q = q.next {
		if match(q) {
			q.end(context.Canceled)
		}
	}
}

// admit enters q among the running, or says why not.
func (c *conn) admit(q *call) *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running >= c.srv.opt.MaxInFlight {
		return wire.Errorf(wire.ResourceExhausted, "%d requests of this connection are being handled", c.running)
	}
	c.running++
	c.brief++
	c.inBytes += len(q.data)
	q.prev, q.next = c.open.prev, &c.open
	q.prev.next, c.open.prev = q, q
	return nil
}

// waits notes that q merely waits.
func (c *conn) waits(q *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q.waits = true
	c.brief--
	if c.stopping { // too late to be cancelled with the others
		q.end(context.Canceled)
	}
	c.changedLocked()
}

// returnedLocked notes that q's handler has returned.
func (c *conn) returnedLocked(q *call) {
	q.prev.next, q.next.prev = q.next, q.prev
	q.prev, q.next = nil, nil
	c.running--
	if !q.waits {
		c.brief--
	}
	c.inBytes -= len(q.data)
	c.changedLocked()
}

// wait returns when cond, which is called with mu held, holds.
func (c *conn) wait(ctx context.Context, cond func() bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !cond() {
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			c.mu.Lock()
			return ctx.Err()
		}
		c.mu.Lock()
	}
	return nil
}

func (c *conn) changedLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// drain waits for the brief handlers, cancels the waiting ones, waits for
// those too and for the replies to be written.
func (c *conn) drain(ctx context.Context) error {
	err := c.wait(ctx, func() bool { return c.gone || c.brief == 0 })
	c.mu.Lock()
	c.stopping = true
	c.cancelLocked(func(q *call) bool { return q.waits })
	c.mu.Unlock()
	if err == nil {
		err = c.wait(ctx, func() bool {
			return c.gone || c.running == 0 && c.out.first == nil && !c.writing
		})
	}
	if err != nil {
		return fmt.Errorf("drain connection: %w", err)
	}
	return nil
}
