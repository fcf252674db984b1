package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Freeze ends the service here so that it can go on elsewhere: it stops
// accepting and reading, waits until every handler that does not merely wait
// has returned, and hands out what is left. Replies that a peer did not take
// at once are part of that. The contexts of the handlers that wait end, and
// what they return is dropped: their requests are to be started again by
// [Server.Adopt], here or in another process.
//
// Every Serve call returns [ErrFrozen]. If ctx ends before the handlers have
// returned, everything is as before but that: call Serve again then, as well
// as after adopting the states back.
//
// The caller owns the connections of the states.
func (s *Server) Freeze(ctx context.Context) ([]ConnState, error) {
	conns, err := s.quiesce(ctx, freezing)
	if err != nil {
		return nil, fmt.Errorf("freeze rpc server: %w", err)
	}
	for _, c := range conns {
		c.pauseReader()
	}
	for _, c := range conns {
		if err == nil {
			err = c.wait(ctx, func() bool { return c.gone || c.brief == 0 })
		}
	}
	if err != nil {
		s.thaw(conns)
		return nil, fmt.Errorf("freeze rpc server: wait for handlers: %w", err)
	}
	var states []ConnState
	for _, c := range conns {
		if state, ok := c.freeze(); ok {
			states = append(states, state)
		}
		s.remove(c)
	}
	s.setMode(freezing, frozen)
	return states, nil
}

// thaw undoes a Freeze that was too slow.
func (s *Server) thaw(conns []*conn) {
	for _, c := range conns {
		c.resumeReader()
	}
	s.setMode(freezing, serving)
}

func (s *Server) setMode(from, to mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == from {
		s.mode = to
		s.changedLocked()
	}
}

// freeze takes the connection away from c, whose reader is paused and whose
// brief handlers have returned. It is false if the connection is gone.
func (c *conn) freeze() (ConnState, bool) {
	c.mu.Lock()
	c.held = true
	if !c.gone {
		c.file.SetWriteDeadline(longAgo())
	}
	c.mu.Unlock()
	// The deadline has the writer return at the next full socket buffer.
	c.wait(context.Background(), func() bool { return c.gone || !c.writing })

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return ConnState{}, false
	}
	c.gone = true
	state := ConnState{Conn: c.file, LastStream: c.last}
	if skip := c.in.skip; skip.left > 0 {
		state.Skip, state.SkipStream, state.SkipReason = skip.left, skip.stream, skip.reason
	} else {
		state.In = c.in.bytes()
	}
	for r := c.out.first; r != nil; r = r.next {
		state.Out = append(state.Out, r.left...)
	}
	for q := c.open.next; q != &c.open; q = q.next {
		state.Requests = append(state.Requests, Request{Stream: q.stream, Data: q.data, Left: q.left()})
		q.end(context.Canceled)
	}
	c.out.clear(c.srv)
	c.file.SetDeadline(time.Time{})
	return state, true
}

// Adopt continues a connection from state: it takes the connection, also when
// it fails, writes what was left to write, starts the handlers of the
// unanswered requests and then reads on. Credentials of the peer
// are not checked again.
func (s *Server) Adopt(state ConnState) error {
	if state.Conn == nil {
		return errors.New("adopt connection: none given")
	}
	c, err := newConn(s, state.Conn)
	if err != nil {
		return fmt.Errorf("adopt connection: %w", err)
	}
	s.mu.Lock()
	if s.mode == frozen {
		s.mode = serving
	}
	refused := s.mode != serving
	if !refused {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if refused {
		c.file.Close()
		return errors.New("adopt connection: server does not run")
	}
	s.connsChanged()
	c.restore(state)
	c.startReader()
	return nil
}

// restore is called before c has a reader.
func (c *conn) restore(state ConnState) {
	c.last = state.LastStream
	if len(state.Out) > 0 {
		c.mu.Lock()
		c.out.push(&reply{buf: state.Out, left: state.Out, cost: len(state.Out)})
		c.writing = true
		c.mu.Unlock()
		go c.flush()
	}
	for _, r := range state.Requests {
		q := &call{conn: c, stream: r.Stream, data: r.Data, moved: true}
		if r.Left != 0 {
			q.deadline = time.Now().Add(r.Left)
		}
		if err := c.start(q); err != nil {
			c.fail(r.Stream, err)
		}
	}
	c.in.skip = refused{left: state.Skip, stream: state.SkipStream, reason: state.SkipReason}
	c.feed(state.In)
}
