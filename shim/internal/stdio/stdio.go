package stdio

import (
	"context"
	"errors"
	"os"

	"github.com/holdfast/holdfast/console"
)

// Config says where the three streams of one process lead. The URIs are those
// of Create and Exec; doc.go lists the schemes.
type Config struct {
	Stdin, Stdout, Stderr string
	// Terminal: stdin and stdout are the pty given to Relay, Stderr is ignored.
	Terminal bool
	// UID and GID own the container's ends of the pipes, so that the
	// process can reopen /dev/stdout.
	UID, GID int
	// ID and Namespace name the process in errors and to log sinks.
	ID, Namespace string
}

// AttachOptions is what a client of Attach asks for.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	// Sync makes the process wait for this client: nothing is dropped, and
	// a client that stops reading stops the process's output.
	Sync bool
	// ReplayBytes asks for up to so many bytes of earlier output first.
	ReplayBytes int64
}

// StreamCounters counts the bytes of one stream since Open.
type StreamCounters struct {
	In      uint64 // read from the container (stdin: written to it)
	Dropped uint64 // not delivered: to a sink that failed (disk full)
	Lagged  uint64 // not delivered to attach clients that fell behind
}

// Counters is a snapshot of all three.
type Counters struct{ Stdin, Stdout, Stderr StreamCounters }

// Stdio is the streams of one process, from Open to Close.
type Stdio struct{}

// Open opens every sink and makes the container's pipes. It may wait for the
// reader of an output FIFO, until ctx ends and for 30 s at most. On error
// nothing is left open.
func Open(ctx context.Context, c Config) (*Stdio, error) { return nil, errors.New("not built yet") }

// Child lends stdin, stdout and stderr for the OCI runtime; nil stands for
// /dev/null. With a terminal all three are nil. They are closed by CloseChild.
func (s *Stdio) Child() [3]*os.File { return [3]*os.File{} }

// CloseChild closes the files of Child once the runtime has inherited them. As
// long as they are open the streams cannot reach EOF. Idempotent.
func (s *Stdio) CloseChild() {}

// FollowExit tells when the process itself is gone (reaper's Done channel).
// Call it before Relay. It matters for a terminal only: a process such as an
// init may close the terminal and open it again, which looks like its end
// (EIO); with FollowExit it counts as the end only once done is closed.
func (s *Stdio) FollowExit(done <-chan struct{}) {}

// Relay starts to move data. master is the pty for a terminal, nil otherwise;
// Relay takes it in every case, also after Close. Call it once.
func (s *Stdio) Relay(master *os.File) {}

// CloseStdin gives the process EOF on stdin: at once for attach://, for a FIFO
// when every client has closed it too. Data already accepted arrives first; it
// never blocks. No stdin, or closed before: nil. A terminal in line mode gets
// its EOF character; it is not hung up.
func (s *Stdio) CloseStdin() error { return nil }

// Resize sets the terminal's size, before Relay too: it is then remembered.
// Without a terminal it does nothing. After Close it returns os.ErrClosed.
func (s *Stdio) Resize(size console.Size) error { return nil }

// Drained is closed when every output has reached EOF and all of it is in its
// sinks (Sync clients included), or at Close. A grandchild that holds
// the stream open delays it without bound: wait with a deadline.
func (s *Stdio) Drained() <-chan struct{} { return nil }

// Attach adds a client which speaks proto/attach on conn, a nonblocking unix
// stream socket; buffered is what was read from it already. Attach takes conn in
// every case and returns at once. A client that attached before Relay gets every byte.
func (s *Stdio) Attach(conn *os.File, buffered []byte, o AttachOptions) error {
	return errors.New("not built yet")
}

// Counters may be called at any time.
func (s *Stdio) Counters() Counters { return Counters{} }

// Close ends everything by force: data still on its way is given up (wait for
// Drained first), attach clients have one second to take what is queued, the
// terminal is hung up. Idempotent; all goroutines and descriptors are gone
// when it returns nil. An error means that a write to a regular file
// did not return within 5 s and its goroutine remains.
func (s *Stdio) Close() error { return nil }
