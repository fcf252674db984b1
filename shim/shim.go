package shim

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/container"
	"github.com/holdfast/holdfast/shim/internal/rpc"
)

// How long a shim stays although there is nothing to do. Each bounds a leak, and
// each leaves time for somebody who is about to come.
const (
	// createLimit: nobody has asked for a container. A daemon that died between
	// starting us and its Create will not come back to us.
	createLimit = time.Minute
	// deletedLimit: the container is deleted and nobody is connected, but whoever
	// deleted it did not say Shutdown.
	deletedLimit = 5 * time.Second
	// retiredLimit: the container has ended, and all that can be asked can be read
	// from disk. It only saves a client that asks at once the detour.
	retiredLimit = 300 * time.Millisecond
	// stopLimit bounds the writing of the last replies.
	stopLimit = 5 * time.Second
)

// shim is the one serving shim of a process, or of a bundle if several run in
// one process.
type shim struct {
	cfg     Config
	log     *logger
	reaper  *reaper.Reaper
	server  *rpc.Server
	started time.Time
	forward *forwarder    // nil without a containerd
	lock    *os.File      // of the bundle; borrowed
	gone    chan struct{} // closed by leave

	mu        sync.Mutex
	creating  bool
	container *container.Container // nil before Create has succeeded
	leaving   bool
	timer     *time.Timer // of the limit that runs; nil if none does
}

// containerConfig is what every container gets from us.
func (s *shim) containerConfig() container.Config {
	return container.Config{
		Namespace: s.cfg.Namespace, ID: s.cfg.ID, Bundle: s.cfg.Bundle,
		Reaper: s.reaper, Version: s.cfg.Version,
		Publish: s.publish, Log: s.log.warnf, Changed: s.reconsider,
	}
}

// reserve makes room for a container and returns the function that puts it
// there, or, given nil, gives the room back.
func (s *shim) reserve(id string) (settle func(*container.Container), err error) {
	if id != s.cfg.ID {
		return nil, container.Faultf(container.ErrState, "create container %s: this shim serves %s, and one container only", quote(id), s.cfg.ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.leaving:
		return nil, container.Faultf(container.ErrState, "create container: the shim is leaving")
	case s.creating:
		return nil, container.Faultf(container.ErrExists, "create container %s: it is being created: already exists", id)
	case s.container != nil && s.container.Live():
		return nil, container.Faultf(container.ErrExists, "create container %s: it exists: already exists", id)
	}
	s.creating = true
	return func(c *container.Container) {
		s.mu.Lock()
		s.creating = false
		if c != nil {
			s.container = c
		}
		s.mu.Unlock()
		s.reconsider()
	}, nil
}

// get returns the container, which must be the one with the given id.
func (s *shim) get(id string) (*container.Container, error) {
	c := s.current()
	if c == nil || !c.Live() {
		return nil, container.Faultf(container.ErrNotFound, "container not created: not found")
	}
	if id != s.cfg.ID {
		return nil, container.Faultf(container.ErrNotFound, "container %s: this shim serves %s: not found", quote(id), s.cfg.ID)
	}
	return c, nil
}

func (s *shim) current() *container.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.container
}

// publish is where the events of the container go, one at a time, in order.
func (s *shim) publish(e bundle.Event) {
	line := e.Encode()
	if err := bundle.AppendJournal(s.cfg.Bundle, line); err != nil {
		s.log.warnf("%v; event %d (%s) is not in the journal", err, e.Seq, e.Topic)
	}
	if err := bundle.AppendFeed(filepath.Dir(s.cfg.Bundle), line); err != nil {
		s.log.warnf("%v; event %d (%s) is not in the feed", err, e.Seq, e.Topic)
	}
	s.forward.add(e)
}

// reconsider looks whether the shim is still needed, and for how long it
// stays if not. It is called whenever that may have changed.
func (s *shim) reconsider() {
	conns := s.server.Conns()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.leaving || s.creating {
		return
	}
	switch c := s.container; {
	case c == nil && conns == 0:
		s.timer = time.AfterFunc(createLimit, s.leave)
	case c == nil:
	case !c.Live() && conns == 0:
		s.timer = time.AfterFunc(deletedLimit, s.leave)
	case c.Live() && c.Over():
		s.timer = time.AfterFunc(retiredLimit, s.leave)
	}
}

// leave ends the shim unless it has a container that is not over, or is about to
// have one. It does not wait for that: handlers call it. The socket goes at
// once, before a Shutdown is answered: whoever has that answer may make the next
// shim at the same place.
func (s *shim) leave() {
	s.mu.Lock()
	busy := s.creating || s.container != nil && !s.container.Over()
	first := !busy && !s.leaving
	s.leaving = s.leaving || first
	s.mu.Unlock()
	if first {
		s.removeSocket()
		close(s.gone)
	}
}

// removeSocket removes the socket and the file that names it, so that nobody
// finds an address without a shim behind it. A directory that has taken the
// place of our bundle is not ours to clean.
func (s *shim) removeSocket() {
	mine, err := s.lock.Stat()
	if err != nil {
		return
	}
	there, err := os.Stat(s.cfg.Bundle + "/" + bundle.LockFile)
	if err != nil || !os.SameFile(mine, there) {
		return
	}
	file := s.cfg.Bundle + "/" + bundle.AddressFile
	raw, err := os.ReadFile(file)
	if err != nil {
		return
	}
	path, err := bundle.SocketPath(string(raw))
	if err != nil {
		s.log.warnf("%v; the socket stays", err)
		return
	}
	// The name first: while we listen, nobody makes the next socket and its name.
	os.Remove(file)
	if err := serve.RemoveSocket(path); err != nil {
		s.log.warnf("%v", err)
	}
}

// quote shortens what a stranger has sent for an error's text.
func quote(s string) string {
	if len(s) > bundle.MaxID {
		return s[:bundle.MaxID] + "..."
	}
	return s
}
