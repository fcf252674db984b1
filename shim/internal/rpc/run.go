package rpc

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/holdfast/holdfast/proto/wire"
)

// run is the goroutine of a call.
func (q *call) run() {
	c := q.conn
	r, hijack := q.handle()
	if hijack != nil && c.hijack(q, hijack) {
		return
	}
	c.reply(q, r)
}

// handle calls the handler and encodes what it returns. For a hijack r is
// what to answer if it is not possible.
func (q *call) handle() (r *reply, h *Hijack) {
	s := q.conn.srv
	returned := false
	q.failed = true
	defer func() {
		if returned {
			return
		}
		// recover is nil after runtime.Goexit, which ends here as well.
		s.logf("panic in %s/%s: %v\n%s", q.service, q.name, recover(), stack())
		r, h = s.encode(q.stream, nil, wire.Errorf(wire.Internal, "panic in %s/%s", q.service, q.name)), nil
	}()
	msg, err := q.method(q, q.payload)
	if h = hijackOf(msg, err); h != nil {
		msg, err = nil, wire.Errorf(wire.FailedPrecondition, "connection is in use by other requests")
	}
	r = s.encode(q.stream, msg, err)
	q.failed = err != nil
	returned = true
	return r, h
}

func stack() []byte {
	buf := make([]byte, 16<<10)
	return buf[:runtime.Stack(buf, false)]
}

func hijackOf(msg wire.Message, err error) *Hijack {
	if h, ok := msg.(*Hijack); ok && err == nil {
		return h
	}
	if h, ok := errors.AsType[*Hijack](err); ok {
		return h
	}
	return nil
}

// reply ends q with r.
func (c *conn) reply(q *call, r *reply) {
	q.end(context.Canceled)
	c.mu.Lock()
	c.returnedLocked(q)
	write := false
	if c.stopping && q.waits && q.failed {
		// What the client waits for has not happened. That we stopped
		// waiting is no answer.
		c.srv.recycle(r)
	} else {
		write = c.enqueueLocked(r)
	}
	c.writing = c.writing || write
	last := c.gone && c.running == 0
	c.mu.Unlock()
	if write {
		c.flush()
	}
	if last {
		c.srv.remove(c)
	}
}

// hijack hands the connection over, if q is all that it is used for. If not,
// q is as before.
func (c *conn) hijack(q *call, h *Hijack) bool {
	c.pauseReader()
	c.mu.Lock()
	alone := c.running == 1 && c.out.first == nil && !c.writing && c.in.skip.left == 0
	if c.gone || !alone {
		c.mu.Unlock()
		c.resumeReader()
		return false
	}
	c.gone = true
	c.returnedLocked(q)
	c.mu.Unlock()
	q.end(context.Canceled)

	r := c.srv.encode(q.stream, h.Reply, nil)
	_, err := c.write.all([][]byte{r.left})
	c.srv.recycle(r)
	c.srv.remove(c)
	if err != nil {
		c.file.Close()
		c.srv.logf("answer %s/%s: %v", q.service, q.name, err)
		return true
	}
	c.file.SetDeadline(time.Time{})
	c.give(q, h.Take)
	return true
}

// give calls take, whose panics must not end the process either.
func (c *conn) give(q *call, take func(*os.File, []byte)) {
	defer func() {
		if p := recover(); p != nil {
			c.file.Close()
			c.srv.logf("panic in hijack of %s/%s: %v\n%s", q.service, q.name, p, stack())
		}
	}()
	take(c.file, c.in.bytes())
}
