package manager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/holdfast/holdfast/proto/attach"
	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/shimv1"
)

// AttachConfig says which streams of a process to join; nil ones are not.
type AttachConfig struct {
	// Stdin is read until its end, which ends the process's stdin, too. Any
	// other error of it detaches, and is what Wait returns. Borrowed: it is not
	// closed, but a read deadline is set on it, if it takes one, to stop reading
	// at the end of the attachment, and is cleared again. Without deadlines, as
	// with a terminal, one read may outlast the attachment.
	Stdin io.Reader
	// Stdout and Stderr get what the process writes from now on. With a terminal
	// everything comes as Stdout. They are written to by one goroutine.
	Stdout, Stderr io.Writer
	// Sync makes the process wait for this client, so that no byte is lost.
	// Otherwise a client that falls behind is dropped (ErrLagging).
	Sync bool
	// ReplayBytes asks for at most so many bytes that were written before, where
	// the shim still has them.
	ReplayBytes int64
}

// Attachment is a client joined to a process's streams, over a connection of
// its own. The process does not end with it.
type Attachment struct {
	conn     net.Conn
	terminal bool
	done     chan struct{} // closed when the streams are over and err is set
	input    chan struct{} // closed when nobody reads Stdin any more; nil without
	unblock  func()        // stops a read of Stdin that is blocked, if that is possible
	restore  func()        // undoes unblock; set with input

	mu    sync.Mutex
	err   error // guarded by mu; why the attachment ended
	ended bool  // guarded by mu; err is final
}

// Attach joins the process's streams. Clients that join before the program is
// started miss nothing. ErrExited if it has ended.
func (p *Process) Attach(ctx context.Context, cfg AttachConfig) (*Attachment, error) {
	limited, cancel := context.WithTimeout(ctx, p.c.m.opt.callTimeout)
	defer cancel()
	conn, err := dialShim(limited, p.c.dir, p.c.m.opt.dialTimeout)
	if errors.Is(err, errLost) {
		err = p.lost()
	}
	if err != nil {
		return nil, fmt.Errorf("attach to %v: %w", p, err)
	}
	resp := &shimv1.AttachResponse{}
	err = client.Once(limited, conn, shimv1.ServiceName, "Attach", &shimv1.AttachRequest{
		ID: p.c.id, ExecID: p.execID,
		Stdin: cfg.Stdin != nil, Stdout: cfg.Stdout != nil, Stderr: cfg.Stderr != nil,
		Sync: cfg.Sync, ReplayBytes: cfg.ReplayBytes,
	}, resp)
	if err != nil {
		conn.Close()
		if err = answer(err); errors.Is(err, client.ErrClosed) {
			err = p.lost()
		}
		return nil, fmt.Errorf("attach to %v: %w", p, err)
	}
	a := &Attachment{conn: conn, terminal: resp.Terminal, done: make(chan struct{}), unblock: func() {}}
	if cfg.Stdin != nil {
		a.startInput(cfg.Stdin)
	}
	go a.output(cfg.Stdout, cfg.Stderr)
	return a, nil
}

// Terminal reports whether the streams are a terminal.
func (a *Attachment) Terminal() bool { return a.terminal }

// Done is closed when the attachment has ended: Wait returns at once.
func (a *Attachment) Done() <-chan struct{} { return a.done }

// Wait blocks until the attachment has ended: nil when the process's outputs
// have, and everything was written; ErrDetached after Close; ErrLagging; an
// error of Stdin, Stdout or Stderr; or what became of the shim.
func (a *Attachment) Wait() error {
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close detaches, if the attachment has not ended, and waits for its goroutines
// (but see AttachConfig.Stdin).
func (a *Attachment) Close() error {
	a.end(ErrDetached)
	<-a.done
	return nil
}

// end ends the attachment for the reason err, unless it has ended for another.
func (a *Attachment) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.ended, a.err = true, err
	a.conn.Close()
	a.unblock() // neither blocks, and output must not overtake them
}

// output writes what comes from the shim until its End, and is the last to
// leave.
func (a *Attachment) output(stdout, stderr io.Writer) {
	defer close(a.done)
	buf := make([]byte, attach.HeaderSize+attach.MaxData)
	for {
		kind, data, err := attach.ReadFrame(a.conn, buf)
		switch {
		case err != nil:
			err = fmt.Errorf("read from shim: %w", noEOF(err))
		case kind == attach.Stdout && stdout != nil:
			_, err = stdout.Write(data)
		case kind == attach.Stderr && stderr != nil:
			_, err = stderr.Write(data)
		case kind == attach.End:
			a.end(endError(string(data)))
			a.waitInput()
			return
		}
		if err != nil {
			a.end(err)
			a.waitInput()
			return
		}
	}
}

// noEOF makes an end without End an error that is not taken for an end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// endError is what the text of an End frame means.
func endError(text string) error {
	switch {
	case text == "":
		return nil
	case strings.HasPrefix(text, "lagging"):
		return fmt.Errorf("%w: %s", ErrLagging, text)
	default:
		return fmt.Errorf("%w: %s", ErrDetached, text)
	}
}

// startInput sends what stdin gives.
func (a *Attachment) startInput(stdin io.Reader) {
	type deadliner interface{ SetReadDeadline(time.Time) error }
	d, ok := stdin.(deadliner)
	// Some take a deadline in principle but not for this file.
	ok = ok && d.SetReadDeadline(time.Time{}) == nil
	input := make(chan struct{})
	if ok {
		a.input = input
		a.unblock = func() { _ = d.SetReadDeadline(time.Unix(1, 0)) }
		a.restore = func() { _ = d.SetReadDeadline(time.Time{}) }
	}
	go func() {
		defer close(input)
		a.send(stdin)
	}()
}

// waitInput waits for the reader of stdin, if it can be stopped.
func (a *Attachment) waitInput() {
	if a.input != nil {
		<-a.input
		a.restore()
	}
}

func (a *Attachment) send(stdin io.Reader) {
	data := make([]byte, 32<<10)
	frame := make([]byte, 0, attach.HeaderSize+len(data))
	for {
		n, err := stdin.Read(data)
		if n > 0 {
			if _, werr := a.conn.Write(attach.AppendFrame(frame, attach.Stdin, data[:n])); werr != nil {
				return // the reader of the connection knows why
			}
		}
		if errors.Is(err, io.EOF) {
			_, _ = a.conn.Write(attach.AppendFrame(frame, attach.StdinEOF, nil))
			return
		}
		if err != nil {
			a.end(err)
			return
		}
	}
}
