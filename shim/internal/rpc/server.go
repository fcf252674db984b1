package rpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Server answers ttrpc requests on any number of connections. Make one with
// [New]; it is safe for concurrent use.
type Server struct {
	lookup Lookup
	opt    Options

	replies sync.Pool // *reply, with a buffer worth keeping
	reads   sync.Pool // *readBuffer, held only while there is something to read

	notify sync.Mutex // serialises ConnsChanged; taken before mu

	mu        sync.Mutex
	mode      mode
	listeners map[*os.File]struct{} // of the Serve calls that run
	conns     map[*conn]struct{}    // served
	leaving   map[*conn]struct{}    // lost, but some of their handlers still run
	changed   chan struct{}         // closed at the next change; nil while nobody waits
}

// mode is the life of a server:
//
//	serving ──Freeze──► freezing ──► frozen ──Serve or Adopt──► serving
//	   │                   └─ too slow ─► serving
//	   └──Stop──► stopped
type mode uint8

const (
	serving mode = iota
	freezing
	frozen
	stopped
)

// New makes a server that finds its methods with lookup.
func New(lookup Lookup, opt Options) *Server {
	return &Server{
		lookup:    lookup,
		opt:       opt.withDefaults(),
		listeners: make(map[*os.File]struct{}),
		conns:     make(map[*conn]struct{}),
		leaving:   make(map[*conn]struct{}),
	}
}

// Conns returns the number of connections being served. Hijacked ones are not
// counted.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Stop ends the server: it stops accepting and reading, lets the handlers
// that do not merely wait (see [Options].Waits) finish, cancels the others,
// writes every reply and closes the connections. Of the waiting handlers only
// those are answered that return without an error, that is, whose event had
// come; to the rest the end of the connection says it all.
//
// When ctx ends first, whatever is left is cut off and the error says so. In
// any case the server is stopped. A handler must not call Stop and wait for
// it: Stop waits for the handler.
func (s *Server) Stop(ctx context.Context) error {
	conns, cut := s.quiesce(ctx, stopped)
	for _, c := range conns {
		c.pauseReader()
	}
	for _, c := range conns {
		if err := c.drain(ctx); cut == nil {
			cut = err
		}
	}
	for _, c := range conns {
		c.drop(nil)
	}
	if err := s.waitEmpty(ctx); cut == nil {
		cut = err
	}
	if cut != nil {
		return fmt.Errorf("stop rpc server: %w", cut)
	}
	return nil
}

// quiesce changes to mode m, in which no connection is accepted, waits until
// that is so, and returns the connections there are. It changes to freezing
// from serving only, and if that fails, back.
func (s *Server) quiesce(ctx context.Context, m mode) (conns []*conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mode == freezing && err == nil { // a Freeze under way ends by itself
		err = s.waitLocked(ctx)
	}
	if m == freezing {
		if err == nil && s.mode != serving {
			err = errors.New("not serving")
		}
		if err != nil {
			return nil, err
		}
	}
	s.mode = m
	s.changedLocked()
	for l := range s.listeners {
		l.SetReadDeadline(longAgo())
	}
	for len(s.listeners) > 0 && err == nil {
		err = s.waitLocked(ctx)
	}
	if m == freezing && err != nil && s.mode == freezing {
		s.mode = serving
		s.changedLocked()
		return nil, err
	}
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns, err
}

// waitEmpty waits until no Serve call runs and no handler is left.
func (s *Server) waitEmpty(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.listeners) > 0 || len(s.conns) > 0 || len(s.leaving) > 0 {
		if err := s.waitLocked(ctx); err != nil {
			return fmt.Errorf("handlers of %d connections still run: %w", len(s.leaving), err)
		}
	}
	return nil
}

// waitLocked gives mu up until something has changed.
func (s *Server) waitLocked(ctx context.Context) error {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) changedLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// remove forgets c, which is gone, or moves it among the leaving as long as
// handlers of it run. It is called at each step of c's end.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	_, served := s.conns[c]
	delete(s.conns, c)
	c.mu.Lock()
	running := c.running > 0
	c.mu.Unlock()
	if running {
		s.leaving[c] = struct{}{}
	} else {
		delete(s.leaving, c)
	}
	s.changedLocked()
	s.mu.Unlock()
	if served {
		s.connsChanged()
	}
}

func (s *Server) connsChanged() {
	if s.opt.ConnsChanged == nil {
		return
	}
	s.notify.Lock()
	defer s.notify.Unlock()
	s.opt.ConnsChanged(s.Conns())
}

func (s *Server) logf(format string, args ...any) {
	s.opt.Log(fmt.Sprintf(format, args...))
}

// longAgo is a deadline that makes a wait in the poller return at once.
func longAgo() time.Time { return time.Unix(1, 0) }
