package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/rpc"
	"golang.org/x/sys/unix"
)

// Config says what to serve.
type Config struct {
	Namespace, ID string
	Bundle        string   // absolute
	Listener      *os.File // listening, nonblocking; Serve takes it
	Log           *os.File // borrowed
	Version       string
	Revision      string
	Binary        string
	Debug         bool
	// Publish is the ttrpc address of a containerd that wants the events; "" is none.
	Publish string
	// Shared: the process is somebody else's, with children that are not ours.
	Shared bool
}

// Serve serves one container until it is over. ready is called when requests
// are answered.
//
// The phases of its life:
//
//	set up  lock the bundle, become subreaper, start reaper and server
//	serve   until Shutdown, or until nobody needs it any more (shim.go)
//	leave   remove the socket, answer what is under way, deliver the last events,
//	        close everything, unlock
//
// An error is one of the set-up: from then on nobody is there to be told, and it
// is logged, or becomes an exit status.
func Serve(cfg Config, ready func() error) error {
	lock, err := lockBundle(cfg.Bundle)
	if err != nil {
		cfg.Listener.Close()
		return err
	}
	// The lock is the sign of life, and the last thing to go: who gets it knows that
	// the socket is removed and nothing of us is left.
	defer lock.Close()

	var opts []reaper.Option
	if !cfg.Shared {
		opts = append(opts, reaper.WithSubreaper())
	}
	r, err := reaper.New(opts...)
	if err != nil {
		cfg.Listener.Close()
		return fmt.Errorf("serve: %w", err)
	}
	defer r.Close()

	s := &shim{cfg: cfg, log: newLogger(cfg), reaper: r, started: time.Now(), lock: lock, gone: make(chan struct{})}
	s.forward = newForwarder(cfg.Publish, cfg.Namespace, s.log)
	s.server = rpc.New(s.lookup, rpc.Options{
		Waits:        waits,
		Log:          func(line string) { s.log.warnf("%s", line) },
		ConnsChanged: func(int) { s.reconsider() },
	})
	s.reconsider()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(cfg.Listener) }()
	if err := ready(); err != nil {
		s.log.warnf("%v; serving all the same", err)
	}
	s.untilGone(served)
	s.log.debugf("leaving")

	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := s.server.Stop(ctx); err != nil {
		s.log.warnf("%v", err)
	}
	s.forward.close(ctx)
	if c := s.current(); c != nil {
		c.Close()
	}
	return nil
}

// untilGone waits until the shim is to leave.
func (s *shim) untilGone(served <-chan error) {
	select {
	case <-s.gone:
	case err := <-served:
		// Nobody new can reach us. The container is still watched, and its exit will
		// be on record.
		s.log.warnf("stop accepting connections: %v; staying until the container is over", err)
		<-s.gone
	}
}

// lockBundle takes the lock that says that this bundle has a shim. The kernel
// drops it when we die, however we die.
func lockBundle(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+"/"+bundle.LockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock bundle: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock bundle %s: another shim serves it", dir)
		}
		return nil, fmt.Errorf("lock bundle %s: %w", dir, err)
	}
	return f, nil
}

// lookup finds the methods of the two services. containerd's task service has
// had two names for the same messages.
func (s *shim) lookup(service, method string) (wire.Method, bool) {
	switch service {
	case task.ServiceV2, task.ServiceV3:
		return task.Lookup(tasks{s}, method), true
	case shimv1.ServiceName:
		return shimv1.Lookup(self{s}, method), true
	}
	return nil, false
}

// waits names the methods that may take as long as the container lives.
func waits(service, method string) bool {
	return method == "Wait" || (method == "Exit" && service == shimv1.ServiceName)
}
