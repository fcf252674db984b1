package reaper

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed is returned for an operation on a reaper that was closed.
var ErrClosed = errors.New("reaper closed")

// Reaper starts, adopts and reaps processes. Its methods may be called from
// any goroutine.
type Reaper struct {
	sys         sys
	boot        string // boot id
	subreaper   bool   // sweep unknown zombies
	unsubreaper bool   // Close clears the flag that New has set

	epoll *os.File        // owned; parked in Go's poller, read by loop alone
	poll  syscall.RawConn // of epoll
	epfd  int             // of epoll, valid while closed is false and in the loop
	ended chan struct{}   // closed by loop

	scratch []byte // of the loop, for reading /proc

	calls    sync.WaitGroup // Start and Adopt in progress; Close waits for them
	adopting sync.Mutex     // one adoption at a time, so that two of one pid meet

	mu     sync.Mutex // guards the fields below; never held over a call that blocks
	closed bool
	procs  map[uint64]*Process // by token: started or adopted, exit not known yet
	pids   map[int]*Process    // the same by pid
	strays map[int]int         // living unknown children: pid to a pidfd that wakes the loop
	token  uint64              // last token given out
	holds  int                 // while positive unknown zombies are left alone
	wanted bool                // a sweep is asked for
	null   *os.File            // /dev/null for nil files of commands, opened once
}

// Option changes what [New] makes.
type Option func(*Reaper)

// WithSubreaper makes this process the one to which orphaned descendants fall
// (PR_SET_CHILD_SUBREAPER, prctl(2)) and sweeps those nobody knows once they
// are dead. Then no child may be started by other means than [Reaper.Start].
// Without it, as in a daemon that has children of its own, no process is
// touched but those started or adopted.
func WithSubreaper() Option {
	return func(r *Reaper) { r.subreaper = true }
}

// New returns a reaper at work. The caller ends it with [Reaper.Close].
func New(opts ...Option) (*Reaper, error) {
	return newReaper(linux(), opts...)
}

func newReaper(s sys, opts ...Option) (_ *Reaper, err error) {
	r := &Reaper{
		sys:    s,
		ended:  make(chan struct{}),
		procs:  make(map[uint64]*Process),
		pids:   make(map[int]*Process),
		strays: make(map[int]int),
	}
	for _, o := range opts {
		o(r)
	}
	r.boot = bootID(s.proc)
	if err := r.openEpoll(); err != nil {
		return nil, fmt.Errorf("make reaper: %w", err)
	}
	if r.subreaper {
		if err := r.becomeSubreaper(); err != nil {
			r.epoll.Close()
			return nil, fmt.Errorf("become subreaper: %w", err)
		}
	}
	// No sweep yet: after an exec of ourselves there may be zombies that the
	// caller is about to adopt. The first release of a Hold sweeps the others.
	go r.loop()
	return r, nil
}

// openEpoll makes the epoll descriptor and parks it in Go's poller: os.NewFile
// does that with a descriptor that is in non-blocking mode.
func (r *Reaper) openEpoll() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("make epoll non-blocking: %w", err)
	}
	r.epfd, r.epoll = fd, os.NewFile(uintptr(fd), "epoll")
	r.poll, err = r.epoll.SyscallConn()
	if err == nil {
		err = r.epoll.SetReadDeadline(time.Time{}) // fails if it is not in the poller
	}
	if err != nil {
		r.epoll.Close()
		return fmt.Errorf("park epoll in the poller: %w", err)
	}
	return nil
}

// becomeSubreaper sets the flag and remembers whether it was set before.
func (r *Reaper) becomeSubreaper() error {
	was, err := subreaperFlag()
	if err != nil {
		return err
	}
	r.unsubreaper = !was
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// Hold keeps unknown zombies from being swept until release is called: an OCI
// runtime is at work, and a process that it leaves behind must be adopted
// before release. Holds nest; release may be called more than once. At the
// last release a sweep runs.
func (r *Reaper) Hold() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.unholdLocked()
		r.askSweepLocked()
	})
}

// enter is the Hold of Start and Adopt.
func (r *Reaper) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.calls.Add(1)
	r.holds++
	return nil
}

// leave ends enter.
func (r *Reaper) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unholdLocked()
	r.calls.Done()
}

// unholdLocked makes up for a sweep that was due while held.
func (r *Reaper) unholdLocked() {
	r.holds--
	if r.holds == 0 && r.wanted {
		r.askSweepLocked()
	}
}

// Close stops reaping. Processes that still live get an exit that is not
// Known, with the reason "reaper closed"; they are not harmed. Their pidfds are
// closed. The subreaper flag is cleared if New has set it. A Start in progress
// is waited for; it fails, and its child is killed.
func (r *Reaper) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		<-r.ended
		return nil
	}
	r.closed = true
	r.mu.Unlock()

	r.calls.Wait()
	err := r.epoll.Close()
	<-r.ended
	// Nobody but us writes these from here on: enter and register refuse, and
	// the loop is gone.
	for _, p := range r.procs {
		e, ok := r.collect(p, false)
		if !ok {
			e = Exit{Reason: ErrClosed.Error(), At: r.sys.now()}
		}
		p.finish(e)
	}
	for _, fd := range r.strays {
		unix.Close(fd)
	}
	if r.null != nil {
		r.null.Close()
	}
	if r.unsubreaper {
		err = errors.Join(err, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
	}
	return err
}
