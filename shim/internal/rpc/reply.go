package rpc

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/holdfast/holdfast/proto/wire"
	"golang.org/x/sys/unix"
)

const (
	maxBatch    = 64       // frames in one write
	keepBuffer  = 4 << 10  // larger reply buffers are left to the collector
	maxErrorLen = 64 << 10 // of the text of an error

	minBuffer     = 512 // most replies
	replyOverhead = 96  // of a reply beside its buffer, about
)

// reply is one frame to be written, in a pooled buffer.
type reply struct {
	buf  []byte // whole frame
	left []byte // what is not written yet
	cost int    // of memory, in bytes, while it is queued
	next *reply
}

// queue is a list of replies.
type queue struct {
	first, last *reply
	cost        int // of all
}

func (q *queue) push(r *reply) {
	if q.last == nil {
		q.first = r
	} else {
		q.last.next = r
	}
	q.last = r
	q.cost += r.cost
}

func (q *queue) pop() *reply {
	r := q.first
	q.first = r.next
	if q.first == nil {
		q.last = nil
	}
	q.cost -= r.cost
	r.next = nil
	return r
}

func (q *queue) clear(s *Server) {
	for q.first != nil {
		s.recycle(q.pop())
	}
}

// newReply returns a reply with a buffer of size bytes.
func (s *Server) newReply(size int) *reply {
	r, _ := s.replies.Get().(*reply)
	if r == nil {
		r = new(reply)
	}
	if cap(r.buf) < size {
		r.buf = make([]byte, size, max(size, minBuffer))
	}
	r.buf = r.buf[:size]
	r.left = r.buf
	r.cost = cap(r.buf) + replyOverhead
	return r
}

func (s *Server) recycle(r *reply) {
	if cap(r.buf) > keepBuffer {
		return
	}
	r.left, r.next = nil, nil
	s.replies.Put(r)
}

// encode makes the frame that answers stream with msg or, if that is not nil,
// with err. What cannot be sent becomes an error that can.
func (s *Server) encode(stream uint32, msg wire.Message, err error) *reply {
	if err == nil && msg == nil {
		err = wire.Errorf(wire.Internal, "handler returned neither reply nor error")
	}
	if err == nil {
		r, failed := s.encodeReply(stream, msg)
		if failed == nil {
			return r
		}
		err = failed
	}
	status := wire.StatusOf(err)
	if status.Code == int32(wire.OK) {
		status.Code = int32(wire.Unknown)
	}
	// Clients refuse a whole Response over one bad byte in its text, and
	// runtimes put anything into their messages.
	status.Message = strings.ToValidUTF8(status.Message[:min(len(status.Message), maxErrorLen)], "\uFFFD")
	resp := wire.Response{Status: status}
	r := s.newReply(wire.HeaderSize + resp.Size())
	putHeader(r.buf, stream)
	resp.MarshalToSizedBuffer(r.buf[wire.HeaderSize:])
	return r
}

// encodeReply is encode for a message. A Response with a payload alone is one
// tag and a length before the message, so the message is encoded in place.
func (s *Server) encodeReply(stream uint32, msg wire.Message) (*reply, error) {
	const payloadTag = 2<<3 | 2
	size := msg.Size()
	prefix := 0
	if size > 0 {
		prefix = 1 + varintLen(uint64(size))
	}
	if size+prefix > wire.MaxData {
		return nil, wire.Errorf(wire.ResourceExhausted,
			"reply of %d bytes exceeds maximum message size of %d", size, wire.MaxData)
	}
	r := s.newReply(wire.HeaderSize + prefix + size)
	putHeader(r.buf, stream)
	if size == 0 {
		return r, nil
	}
	b := append(r.buf[:wire.HeaderSize], payloadTag)
	for v := uint64(size); ; v >>= 7 {
		if v < 0x80 {
			b = append(b, byte(v))
			break
		}
		b = append(b, byte(v)|0x80)
	}
	n, err := msg.MarshalToSizedBuffer(r.buf[len(b):])
	if err == nil && n != size {
		err = errors.New("size changed meanwhile")
	}
	if err != nil {
		s.recycle(r)
		return nil, wire.Errorf(wire.Internal, "encode reply: %v", err)
	}
	return r, nil
}

// putHeader writes the header of the frame buf.
func putHeader(buf []byte, stream uint32) {
	wire.Header{
		Length: uint32(len(buf) - wire.HeaderSize),
		Stream: stream,
		Type:   wire.FrameResponse,
	}.Append(buf[:0])
}

func varintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// enqueueLocked queues r. It is true if the caller has to write, that is, to
// set writing and call flush.
func (c *conn) enqueueLocked(r *reply) bool {
	if c.gone {
		c.srv.recycle(r)
		return false
	}
	c.out.push(r)
	if c.out.cost > c.srv.opt.MaxReplyBytes && c.out.first != r {
		// The caller may be inside the poller, where drop must not be called.
		go c.drop(errors.New("peer leaves too many replies unread"))
		return false
	}
	return !c.writing && !c.held
}

// flush writes the queue until it is empty. It is called by whoever set
// writing; everybody else only queues, so nobody waits behind a slow peer but
// the one that writes to it.
func (c *conn) flush() {
	for {
		batch := c.write.one[:0] // no allocation for one frame, the usual number
		c.mu.Lock()
		for r := c.out.first; r != nil && len(batch) < maxBatch; r = r.next {
			batch = append(batch, r.left)
		}
		if len(batch) == 0 || c.gone {
			c.write.batch, c.write.one = nil, [1][]byte{}
			c.writing = false
			c.changedLocked()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()

		n, err := c.write.all(batch)
		c.mu.Lock()
		c.wroteLocked(n)
		held := c.held && errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil {
			c.writing = false
			c.changedLocked()
		}
		c.mu.Unlock()
		switch {
		case held:
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.drop(errors.New("peer does not read its replies"))
			return
		case err != nil:
			c.drop(err)
			return
		}
	}
}

// wroteLocked takes n bytes off the queue.
func (c *conn) wroteLocked(n int) {
	if c.gone { // the queue has been cleared
		return
	}
	for c.out.first != nil && n >= len(c.out.first.left) {
		r := c.out.pop()
		n -= len(r.left)
		c.srv.recycle(r)
	}
	if n > 0 {
		c.out.first.left = c.out.first.left[n:]
	}
}

// writer is the part of a conn that belongs to the goroutine that writes.
type writer struct {
	conn   *conn
	ready  func(fd uintptr) bool // what the poller calls to write
	one    [1][]byte             // room for a batch of one
	batch  [][]byte              // left to write
	n      int                   // bytes written of batch
	err    error
	waited bool
}

func (w *writer) init(c *conn) {
	w.conn = c
	w.ready = w.writeReady
}

// all writes batch and returns how many bytes of it went out.
func (w *writer) all(batch [][]byte) (int, error) {
	w.batch, w.n, w.err, w.waited = batch, 0, nil, false
	err := w.conn.raw.Write(w.ready)
	if err == nil {
		err = w.err
	}
	if w.waited && err == nil {
		w.conn.setWriteDeadline(time.Time{})
	}
	return w.n, err
}

// writeReady writes as much as the socket takes; false has the poller wait
// for more room. There is no timer unless that happens.
func (w *writer) writeReady(fd uintptr) bool {
	for len(w.batch) > 0 {
		n, err := send(int(fd), w.batch)
		switch err {
		case nil:
			w.advance(n)
		case unix.EINTR:
		case unix.EAGAIN:
			if !w.waited {
				w.waited = true
				w.conn.setWriteDeadline(time.Now().Add(w.conn.srv.opt.WriteTimeout))
			}
			return false
		default:
			w.err = err
			return true
		}
	}
	return true
}

func (w *writer) advance(n int) {
	w.n += n
	for len(w.batch) > 0 && n >= len(w.batch[0]) {
		n -= len(w.batch[0])
		w.batch = w.batch[1:]
	}
	if n > 0 {
		w.batch[0] = w.batch[0][n:]
	}
}

// setWriteDeadline sets the deadline of a write, unless it is to give up at once.
func (c *conn) setWriteDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		c.file.SetWriteDeadline(t)
	}
}

// send writes to a socket. MSG_NOSIGNAL, because SIGPIPE would be sent to the
// process, even though Go does nothing about it.
func send(fd int, batch [][]byte) (int, error) {
	if len(batch) > 1 {
		return unix.SendmsgBuffers(fd, batch, nil, nil, unix.MSG_NOSIGNAL)
	}
	return unix.SendmsgN(fd, batch[0], nil, nil, unix.MSG_NOSIGNAL)
}
