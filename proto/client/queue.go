package client

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/holdfast/holdfast/proto/wire"
)

// maxQueued is how many bytes of requests may wait for a peer that does not
// read: one of the largest, and thousands of usual ones.
const maxQueued = wire.MaxData + 1<<20

var errStalled = errors.New("peer does not read")

// queue is a connection whose Write does not block: the library writes under
// a lock that all its calls share, so one that blocked would hold up every
// other, past its deadline. What cannot be written at once waits, and is
// written by a goroutine that lives only as long as something waits.
type queue struct {
	net.Conn
	done chan struct{} // closed once the connection has ended

	mu      sync.Mutex
	waiting []byte
	writing bool  // the goroutine is there
	err     error // why nothing can be written any more
	ended   bool  // done is closed
}

func newQueue(conn net.Conn) *queue {
	return &queue{Conn: conn, done: make(chan struct{})}
}

// Write queues b, or returns the error that ended the connection. If too much
// is queued already it ends the connection.
func (q *queue) Write(b []byte) (int, error) {
	q.mu.Lock()
	if q.err == nil && len(q.waiting)+len(b) > maxQueued {
		q.mu.Unlock()
		q.end(errStalled)
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	if q.err != nil {
		return 0, q.err
	}
	q.waiting = append(q.waiting, b...)
	if !q.writing {
		q.writing = true
		go q.drain()
	}
	return len(b), nil
}

// drain writes until nothing waits any more. Closing the connection, which is
// what end does, ends it.
func (q *queue) drain() {
	for {
		q.mu.Lock()
		b := q.waiting
		q.waiting = nil
		if len(b) == 0 || q.err != nil {
			q.writing = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if _, err := q.Conn.Write(b); err != nil {
			q.fail(err)
		}
	}
}

// fail notes that writing is over. A peer that closed its end may have
// answered before, so there is still something to read; after any other error
// there is not.
func (q *queue) fail(cause error) {
	if !errors.Is(cause, syscall.EPIPE) && !errors.Is(cause, syscall.ECONNRESET) {
		q.end(cause)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = cause
		q.waiting = nil
	}
}

// Read reads, and notes when the connection has ended.
func (q *queue) Read(b []byte) (int, error) {
	n, err := q.Conn.Read(b)
	if err != nil {
		q.end(err)
	}
	return n, err
}

// Close closes the connection and forgets what waits.
func (q *queue) Close() error {
	return q.end(net.ErrClosed)
}

// end closes the connection, because of cause, if that was not done before.
func (q *queue) end(cause error) error {
	q.mu.Lock()
	if q.ended {
		q.mu.Unlock()
		return nil
	}
	if q.err == nil {
		q.err = cause
	}
	q.ended = true
	q.waiting = nil
	close(q.done)
	q.mu.Unlock()
	return q.Conn.Close()
}
