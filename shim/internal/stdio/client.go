package stdio

import (
	"context"
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast/holdfast/proto/attach"
)

const (
	// lagLimit is how far a client may fall behind before it is dropped.
	lagLimit = 1 << 20
	// syncLimit is how far the process may run ahead of a Sync client: enough
	// that both sides work at once.
	syncLimit = 2 * bufferSize
	// lagGrace is how long a dropped client has to take what was queued.
	lagGrace = 10 * time.Second
	// closeGrace is the same at Close. The hub has it as a field, for tests.
	closeGrace = time.Second
)

// client is one attach connection: a queue filled by the pumps, emptied by
// write; and read, which takes the other direction and notices when the peer
// goes. Both end when either does.
type client struct {
	conn *os.File // closed by write, at its end
	src  *source  // conn, for read
	o    AttachOptions
	hub  *hub
	// early is what had been read from conn before it came here.
	early []byte

	mu       sync.Mutex
	changed  sync.Cond // of anything below
	queue    []byte    // frames not yet written
	inFlight int       // bytes that write is writing
	sent     uint64    // bytes that write has written
	ending   bool      // End is queued: nothing more is
	gone     bool      // the peer is, or is given up
}

// newClient takes conn, also on error.
func newClient(conn *os.File, o AttachOptions, h *hub) (*client, error) {
	src, err := newSource(conn, -1)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &client{conn: conn, src: src, o: o, hub: h}
	c.changed.L = &c.mu
	return c, nil
}

// wants tells whether the client asked for the stream.
func (c *client) wants(kind attach.Kind) bool {
	switch kind {
	case attach.Stdout:
		return c.o.Stdout
	case attach.Stderr:
		return c.o.Stderr
	}
	return false
}

// put queues a copy of b. For a Sync client it waits for room; another
// client without room is dropped, and put returns the bytes it did not get.
func (c *client) put(kind attach.Kind, b []byte) (lagged int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Sync {
		for c.behindLocked() > syncLimit && !c.gone && !c.ending {
			c.changed.Wait()
		}
	}
	behind := c.behindLocked() + len(b)
	switch {
	case len(b) == 0 || c.gone || c.ending:
		return 0
	case !c.o.Sync && behind > lagLimit:
		c.finishLocked("lagging: " + strconv.Itoa(behind) + " bytes behind")
		c.conn.SetWriteDeadline(time.Now().Add(lagGrace))
		return len(b)
	}
	c.queue = attach.AppendFrame(c.queue, kind, b)
	c.changed.Broadcast()
	return 0
}

func (c *client) behindLocked() int { return len(c.queue) + c.inFlight }

// finish queues End; the client is over when it is written.
func (c *client) finish(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finishLocked(reason)
}

func (c *client) finishLocked(reason string) {
	if c.ending {
		return
	}
	c.ending = true
	c.queue = attach.AppendFrame(c.queue, attach.End, []byte(reason))
	c.changed.Broadcast()
}

// hurry gives up on the peer after d.
func (c *client) hurry(d time.Duration) { c.conn.SetWriteDeadline(time.Now().Add(d)) }

// flushed waits until all that is queued now has been written, or never will be.
func (c *client) flushed(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for goal := c.sent + uint64(c.behindLocked()); c.sent < goal && !c.gone; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.changed.Wait()
	}
	return nil
}

// write sends the queue until End is sent or the peer is gone, and then closes
// the connection, which ends read.
func (c *client) write() {
	var spare []byte
	for {
		frames := c.next(spare)
		if frames == nil {
			break
		}
		_, err := c.conn.Write(frames)
		c.mu.Lock()
		c.inFlight = 0
		c.sent += uint64(len(frames))
		c.gone = c.gone || err != nil
		c.changed.Broadcast()
		c.mu.Unlock()
		spare = frames[:0]
	}
	c.hub.remove(c)
	c.src.interrupt()
	c.conn.Close()
}

// next waits for frames and takes them; nil is the end. The queue goes on in spare,
// unless there is a pause: then the memory is given up.
func (c *client) next(spare []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.ending && !c.gone {
		spare, c.queue = nil, nil
		c.changed.Wait()
	}
	if len(c.queue) == 0 || c.gone {
		c.queue = nil
		return nil
	}
	frames := c.queue
	c.queue, c.inFlight = spare, len(frames)
	return frames
}

// read takes the client's frames until the peer goes or breaks the protocol.
func (c *client) read() {
	var frames frameReader
	err := frames.feed(c.early, c.frame)
	c.early = nil
	for err == nil {
		var b []byte
		if b, err = c.src.next(nothing, nothing); err == nil {
			err = frames.feed(b, c.frame)
		}
	}
	c.src.drop()
	c.mu.Lock()
	c.gone = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.conn.SetWriteDeadline(longAgo) // a write in progress has nobody to read it
}

// nothing is to be done at the steps of a read.
func nothing() {}

// frame takes a frame's data, or part of it. Of a client that did not ask for
// stdin, or when there is none, it is ignored. The wait for a process that
// does not read holds up this client alone.
func (c *client) frame(kind attach.Kind, data []byte) {
	in := c.hub.input
	if in == nil || !c.o.Stdin {
		return
	}
	switch kind {
	case attach.StdinEOF:
		in.shut()
	case attach.Stdin:
		if in.hold() {
			in.write(data)
			in.release()
		}
	}
}

// frameReader finds the frames in a stream that arrives in pieces of any size.
// Data is passed on as it comes: a frame need not be held to be used.
type frameReader struct {
	header [attach.HeaderSize]byte
	have   int // bytes of header
	left   int // bytes of data still to come, once the header is whole
}

// feed passes each piece of data to frame; a frame without data once, with nil.
func (r *frameReader) feed(b []byte, frame func(attach.Kind, []byte)) error {
	for len(b) > 0 {
		if r.have < len(r.header) {
			n := copy(r.header[r.have:], b)
			r.have, b = r.have+n, b[n:]
			if r.have < len(r.header) {
				return nil
			}
			length := binary.BigEndian.Uint32(r.header[1:])
			if length > attach.MaxData {
				return attach.ErrTooLong
			}
			if r.left = int(length); r.left == 0 {
				r.have = 0
				frame(attach.Kind(r.header[0]), nil)
				continue
			}
		}
		n := min(r.left, len(b))
		if n == 0 {
			return nil
		}
		frame(attach.Kind(r.header[0]), b[:n])
		r.left, b = r.left-n, b[n:]
		if r.left == 0 {
			r.have = 0
		}
	}
	return nil
}
