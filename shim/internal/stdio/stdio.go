package stdio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/attach"
)

// stuckWrite bounds what Close waits for a write to a regular file, the one
// thing that cannot be interrupted (a dead network file system).
const stuckWrite = 5 * time.Second

// Stdio is the streams of one process, from Open to Close.
type Stdio struct {
	terminal bool
	child    [streams]*os.File // lent to the OCI runtime, closed by CloseChild
	in       *input            // nil: no stdin
	outputs  []*output
	targets  []*target
	hub      hub
	tasks    sync.WaitGroup // every goroutine but Close's own
	once     sync.Once      // Close
	closeErr error
	drained  chan struct{}

	mu      sync.Mutex
	relayed bool            // +checklocks:mu
	closed  bool            // +checklocks:mu
	undone  int             // +checklocks:mu — outputs not at EOF
	exited  <-chan struct{} // +checklocks:mu — from FollowExit
	master  *os.File        // +checklocks:mu — the pty, ours
	size    *console.Size   // +checklocks:mu — what the pty shall get
}

// FollowExit tells when the process itself is gone (reaper's Done channel).
// Call it before Relay. It matters for a terminal only: a process such as an
// init may close the terminal and open it again, which looks like its end
// (EIO); with FollowExit it counts as the end only once done is closed.
func (s *Stdio) FollowExit(done <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exited = done
}

// Relay starts to move data. master is the pty for a terminal, as console's
// Receive returns it (nonblocking), and nil otherwise; Relay takes it in every
// case, also after Close. A terminal without master is at EOF at once. Call it once.
func (s *Stdio) Relay(master *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relayed || s.closed || !s.terminal {
		if master != nil {
			master.Close()
		}
		master = nil
	}
	if s.relayed || s.closed {
		return
	}
	s.relayed = true
	if master != nil {
		s.connectLocked(master)
	}
	s.undone = len(s.outputs)
	if s.undone == 0 {
		close(s.drained)
	}
	for _, o := range s.outputs {
		s.tasks.Go(func() {
			o.pump()
			s.outputDone()
		})
	}
	if s.in != nil && s.in.src != nil {
		s.tasks.Go(s.in.pump)
	}
}

// connectLocked takes master.
func (s *Stdio) connectLocked(master *os.File) {
	s.master = master
	if s.size != nil {
		console.Resize(master, *s.size) // of a pty it cannot fail
	}
	if src, err := newSource(master, -1); err == nil {
		src.exited = s.exited
		s.outputs[0].src = src
	}
	if s.in != nil {
		s.in.connect(master)
	}
}

func (s *Stdio) outputDone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.undone--; s.undone == 0 {
		close(s.drained)
	}
}

// CloseStdin gives the process EOF on stdin: at once for attach://, for a FIFO
// when every client has closed it too. Data already accepted arrives first; it
// never blocks. No stdin, or closed before: nil. A terminal in line mode gets
// its EOF character; it is not hung up.
func (s *Stdio) CloseStdin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil && !s.closed {
		s.in.shut()
	}
	return nil
}

// Resize sets the terminal's size, before Relay too: it is then remembered.
// Without a terminal it does nothing. After Close it returns os.ErrClosed.
func (s *Stdio) Resize(size console.Size) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.terminal:
		return nil
	case s.closed:
		return fmt.Errorf("resize terminal: %w", os.ErrClosed)
	case s.master == nil:
		s.size = &size
		return nil
	}
	return console.Resize(s.master, size)
}

// Drained is closed when every output has reached EOF and all of it is in its
// sinks (and sent to Sync clients), or at Close. A grandchild that holds
// the stream open delays it without bound: wait with a deadline.
func (s *Stdio) Drained() <-chan struct{} { return s.drained }

// AttachOptions is what a client of Attach asks for.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	// Sync makes the process wait for this client: nothing is dropped, and
	// a client that stops reading stops the process's output. Others are
	// dropped with a reason when they fall a mebibyte behind.
	Sync bool
	// ReplayBytes asks for up to so many bytes of earlier output first. Only
	// streams without a sink (attach://), and terminals that do not lead
	// into a FIFO, remember any: 16 KiB.
	ReplayBytes int64
}

// Attach adds a client which speaks proto/attach on conn, a nonblocking unix
// stream socket; buffered is what was read from it already. Attach takes conn in
// every case and returns at once. A client that attached before Relay gets
// every byte; one that comes after the end gets End. An error that matches
// os.ErrClosed: Close came first.
func (s *Stdio) Attach(conn *os.File, buffered []byte, o AttachOptions) error {
	c, err := newClient(conn, o, &s.hub)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	c.early = buffered
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return fmt.Errorf("attach: streams: %w", os.ErrClosed)
	}
	s.hub.add(c)
	return nil
}

// StreamCounters counts the bytes of one stream since Open.
type StreamCounters struct {
	In      uint64 // read from the container; of stdin, written to it
	Dropped uint64 // of In: not taken by a sink (disk full); if records were torn, at most
	Lagged  uint64 // of In: what attach clients were too slow for, when they were dropped
}

// Counters is a snapshot of all three.
type Counters struct{ Stdin, Stdout, Stderr StreamCounters }

// Counters may be called at any time.
func (s *Stdio) Counters() Counters {
	var all [streams]StreamCounters
	if s.in != nil {
		all[attach.Stdin].In = s.in.written.Load()
	}
	for _, o := range s.outputs {
		all[o.kind] = StreamCounters{o.in.Load(), o.lost.Load(), s.hub.lagged[o.kind].Load()}
	}
	return Counters{all[attach.Stdin], all[attach.Stdout], all[attach.Stderr]}
}

// Close ends everything by force: data still on its way is given up (wait for
// Drained first), attach clients have one second to take what is queued, the
// terminal is hung up. Idempotent; all goroutines and descriptors are gone
// when it returns nil. An error means that a write to a regular file
// did not return within 5 s; what belongs to it is freed when it does.
func (s *Stdio) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.interrupt()
		done := make(chan struct{})
		go func() { // ended by the last task
			s.tasks.Wait()
			s.release()
			close(done)
		}()
		timeout := time.NewTimer(stuckWrite)
		defer timeout.Stop()
		select {
		case <-done:
		case <-timeout.C:
			s.closeErr = errors.New("close streams: a write does not return")
		}
	})
	return s.closeErr
}

// interrupt makes every task end. The clients come first, so that they learn
// that the end was by force.
func (s *Stdio) interrupt() {
	s.hub.close("streams closed")
	for _, o := range s.outputs {
		if o.src != nil {
			o.src.interrupt()
		}
	}
	for _, t := range s.targets {
		t.interrupt()
	}
	if s.in != nil {
		s.in.interrupt()
	}
}

// release closes every descriptor, when no task is left to use one.
func (s *Stdio) release() {
	for _, o := range s.outputs {
		if o.src != nil {
			o.src.watcher.Wait()
			o.src.file.Close()
		}
	}
	for _, t := range s.targets {
		t.release()
	}
	if s.in != nil {
		s.in.close()
	}
	s.CloseChild()
	if !isClosed(s.drained) {
		close(s.drained)
	}
}
