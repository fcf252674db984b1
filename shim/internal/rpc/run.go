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
	s, survived := q.conn.srv, false
	defer func() {
		if survived {
			return
		}
		// recover is nil after runtime.Goexit, which ends up here as well.
		s.logf("panic in %s/%s: %v\n%s", q.service, q.name, recover(), stack())
		q.failed = true
		q.conn.reply(q, s.encode(q.stream, nil, wire.Errorf(wire.Internal, "panic in %s/%s", q.service, q.name)))
	}()
	msg, err := q.handle()
	h := hijackOf(msg, err)
	if h != nil {
		msg, err = h.Reply, nil
	}
	r := s.encode(q.stream, msg, err)
	q.failed = err != nil
	survived = true // nothing of the handler's is called from here on

	if h == nil {
		q.conn.reply(q, r)
	} else {
		q.conn.hijack(q, h, r)
	}
}

// handle decodes the request and calls its handler.
func (q *call) handle() (wire.Message, error) {
	var err error
	if q.request, err = decodeRequest(q.data); err != nil {
		return nil, wire.Errorf(wire.InvalidArgument, "unmarshal request error: %v", err)
	}
	if q.timeout != 0 && !q.moved {
		q.deadline = time.Now().Add(time.Duration(q.timeout))
	}
	s := q.conn.srv
	method, known := s.lookup(q.service, q.name)
	switch {
	case method == nil && known:
		return nil, wire.Errorf(wire.Unimplemented, "method %s", q.name)
	case method == nil:
		return nil, wire.Errorf(wire.Unimplemented, "service %s", q.service)
	}
	if s.opt.Waits(q.service, q.name) {
		q.conn.waits(q)
	}
	return method(q, q.payload)
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

// hijack answers q with r and hands the connection over, if q is all that it
// is used for.
func (c *conn) hijack(q *call, h *Hijack, r *reply) {
	c.pauseReader()
	// The client may have seen the last reply before its writer has returned.
	// A writer that is stuck ends with the connection.
	c.wait(context.Background(), func() bool {
		return c.gone || c.running > 1 || c.out.first == nil && !c.writing
	})
	c.mu.Lock()
	if c.gone || c.running > 1 || c.in.skip.left > 0 {
		c.mu.Unlock()
		c.resumeReader()
		c.srv.recycle(r)
		q.failed = true
		c.reply(q, c.srv.encode(q.stream, nil,
			wire.Errorf(wire.FailedPrecondition, "connection is in use by other requests")))
		return
	}
	c.gone = true
	c.returnedLocked(q)
	c.mu.Unlock()
	q.end(context.Canceled)

	_, err := c.write.all([][]byte{r.left})
	c.srv.recycle(r)
	c.srv.remove(c)
	if err != nil {
		c.file.Close()
		c.srv.logf("answer %s/%s: %v", q.service, q.name, err)
		return
	}
	c.file.SetDeadline(time.Time{})
	c.give(q, h.Take)
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
