package manager

import "io"

// AttachConfig says which streams of a process to join.
type AttachConfig struct {
	// Stdin is read until its end, which ends the process's stdin, too. Borrowed:
	// it is not closed, but a deadline is set on it, if it has one to set, to stop
	// reading at the end of the attachment.
	Stdin io.Reader
	// Stdout and Stderr get what the process writes from now on. With a terminal
	// everything comes as Stdout. Each is written to by one goroutine at a time.
	Stdout, Stderr io.Writer
	// Sync makes the process wait for this client, so that no byte is lost.
	// Otherwise a client that falls behind is dropped (ErrLagging).
	Sync bool
	// ReplayBytes asks for at most so many bytes that were written before.
	ReplayBytes int64
}
