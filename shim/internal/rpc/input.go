package rpc

import (
	"fmt"
	"io"

	"github.com/holdfast/holdfast/proto/wire"
	"golang.org/x/sys/unix"
)

const (
	readSize  = 4 << 10  // most requests, several at a time
	firstBody = 16 << 10 // most memory a mere header can claim
	readTurns = 8        // reads until others get a turn
)

// readBuffer is lent to a reader while there is something to read, so that
// idle connections hold none.
type readBuffer [readSize]byte

// input is a frame that has not arrived completely. Bytes are pushed into it
// in pieces of any size; there is nothing else that remembers them.
type input struct {
	header    [wire.HeaderSize]byte
	headerLen int
	body      []byte // grows with what arrives, up to the length in the header
	skip      refused
}

// refused is a frame that is not kept. When it has gone by, it is answered
// with ResourceExhausted.
type refused struct {
	left   uint32 // bytes to discard
	stream uint32
	reason string
}

// reset is called at the end of each frame. The body now belongs to its call.
func (in *input) reset() { *in = input{} }

// bytes returns what a new connection must be fed to continue here.
func (in *input) bytes() []byte {
	return append(append([]byte(nil), in.header[:in.headerLen]...), in.body...)
}

// readReady reads whatever there is, until the socket is empty (false: the
// poller calls again when there is more) or it is time to look for a pause.
func (c *conn) readReady(fd uintptr) bool {
	buf, _ := c.srv.reads.Get().(*readBuffer)
	if buf == nil {
		buf = new(readBuffer)
	}
	defer c.srv.reads.Put(buf)
	for range readTurns {
		dst := c.in.space(buf[:])
		n, err := unix.Read(int(fd), dst)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err == nil && n == 0:
			err = io.EOF
		}
		if err != nil {
			c.readErr = err // dropped when we are out of the poller
			return true
		}
		if &dst[0] != &buf[0] {
			c.in.body = c.in.body[:len(c.in.body)+n]
			c.complete()
		} else {
			c.feed(dst[:n])
		}
	}
	return true
}

// space returns where to read to: the rest of a large body, or buf.
func (in *input) space(buf []byte) []byte {
	if rest := in.body[len(in.body):cap(in.body)]; len(rest) >= len(buf) {
		return rest
	}
	return buf
}

// feed takes bytes that were read.
func (c *conn) feed(p []byte) {
	in := &c.in
	for len(p) > 0 {
		switch {
		case in.skip.left > 0:
			n := int(min(uint64(len(p)), uint64(in.skip.left)))
			p = p[n:]
			in.skip.left -= uint32(n)
			c.skipped()
		case in.headerLen < wire.HeaderSize:
			n := copy(in.header[in.headerLen:], p)
			p = p[n:]
			if in.headerLen += n; in.headerLen == wire.HeaderSize {
				c.begin()
			}
		default:
			length := int(wire.ParseHeader(in.header[:]).Length)
			n := min(len(p), length-len(in.body))
			in.grow(length, n)
			in.body = append(in.body, p[:n]...)
			p = p[n:]
			c.complete()
		}
	}
}

// grow makes room for n more bytes of a body of length: twice what there is,
// so that memory follows what the peer has sent, not what it says.
func (in *input) grow(length, n int) {
	if len(in.body)+n <= cap(in.body) {
		return
	}
	size := min(length, max(2*cap(in.body), firstBody, len(in.body)+n))
	in.body = append(make([]byte, 0, size), in.body...)
}

// begin looks at a complete header.
func (c *conn) begin() {
	h := wire.ParseHeader(c.in.header[:])
	if h.Length > wire.MaxData {
		c.refuse(h, fmt.Sprintf("message length %d exceed maximum message size of %d", h.Length, wire.MaxData))
		return
	}
	c.mu.Lock()
	held := c.inBytes
	c.mu.Unlock()
	if limit := c.srv.opt.MaxRequestBytes; held+int(h.Length) > limit {
		c.refuse(h, fmt.Sprintf("requests being handled would hold %d bytes, more than %d", held+int(h.Length), limit))
		return
	}
	c.complete()
}

// refuse skips the frame of header h, of which nothing but that has been taken.
func (c *conn) refuse(h wire.Header, reason string) {
	c.in.skip = refused{left: h.Length, stream: h.Stream, reason: reason}
	c.skipped()
}

// skipped answers a refused frame if it has gone by.
func (c *conn) skipped() {
	skip := c.in.skip
	if skip.left > 0 {
		return
	}
	c.in.reset()
	c.fail(skip.stream, wire.Errorf(wire.ResourceExhausted, "%s", skip.reason))
}

// complete handles the frame if all of it is there, and makes room otherwise.
func (c *conn) complete() {
	h := wire.ParseHeader(c.in.header[:])
	if len(c.in.body) < int(h.Length) {
		c.in.grow(int(h.Length), 1)
		return
	}
	body := c.in.body
	c.in.reset()
	if err := c.frame(h, body); err != nil {
		c.fail(h.Stream, err)
	}
}

// frame acts on a complete frame. An error is for its stream.
func (c *conn) frame(h wire.Header, body []byte) *wire.Error {
	switch {
	case h.Stream%2 != 1:
		return wire.Errorf(wire.InvalidArgument, "StreamID must be odd for client initiated streams")
	case h.Type == wire.FrameData:
		return wire.Errorf(wire.InvalidArgument, "StreamID is no longer active")
	case h.Type != wire.FrameRequest:
		return nil // of a later protocol
	case h.Stream <= c.last:
		return wire.Errorf(wire.InvalidArgument, "StreamID cannot be re-used and must increment")
	}
	c.last = h.Stream
	return c.start(&call{conn: c, stream: h.Stream, data: body})
}

// start has q handled on a goroutine of its own, where all that needs stack is
// done: the reader's stays at the 2 KiB that it is born with.
func (c *conn) start(q *call) *wire.Error {
	if err := c.admit(q); err != nil {
		return err
	}
	go q.run()
	return nil
}

// fail answers a frame that no handler will. The reader must not wait for a
// peer that does not read, so somebody else does.
func (c *conn) fail(stream uint32, err *wire.Error) {
	r := c.srv.encode(stream, nil, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.enqueueLocked(r) {
		return
	}
	c.writing = true
	go c.flush()
}
