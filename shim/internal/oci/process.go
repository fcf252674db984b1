package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/holdfast/holdfast/reaper"
)

// CreateRequest describes a container to be made.
type CreateRequest struct {
	ID            string
	Bundle        string      // directory with config.json
	PidFile       string      // where the runtime shall write the pid; what lies there is removed first
	ConsoleSocket string      // unix socket for the pty master; "" is no terminal
	NoPivot       bool        // MS_MOVE instead of pivot_root, for a rootfs on a ramdisk
	NoNewKeyring  bool        // keep the session keyring
	Stdio         [3]*os.File // the container's; nil is /dev/null; borrowed
}

// Create makes a container whose process waits for Start, and returns that
// process.
//
// On failure the error is an [*Error], and a process beside it is one that the
// runtime left: the caller ends and deletes it.
func (r *Runtime) Create(ctx context.Context, q CreateRequest) (*reaper.Process, error) {
	args := []string{"--bundle", q.Bundle, "--pid-file", q.PidFile}
	args = appendIf(args, q.ConsoleSocket != "", "--console-socket", q.ConsoleSocket)
	args = appendIf(args, q.NoPivot, "--no-pivot")
	args = appendIf(args, q.NoNewKeyring, "--no-new-keyring")
	return r.spawn(ctx, q.PidFile, call{
		verb: "create", args: args, id: q.ID, files: q.Stdio, ofContainer: true,
	})
}

// ExecRequest describes a process to be added to a container.
type ExecRequest struct {
	ID            string      // of the container
	ProcessJSON   []byte      // OCI runtime spec, Process
	PidFile       string      // as in CreateRequest
	ConsoleSocket string      // as in CreateRequest
	Stdio         [3]*os.File // the process's; nil is /dev/null; borrowed
}

// Exec runs a process in a container and returns it. What it fails with is as
// for [Runtime.Create].
func (r *Runtime) Exec(ctx context.Context, q ExecRequest) (*reaper.Process, error) {
	// Runtimes read the document once, at their start, so it needs no name.
	doc, err := memfdOf("oci-process", q.ProcessJSON)
	if err != nil {
		return nil, &Error{Verb: "exec", Message: err.Error(), Err: err}
	}
	defer doc.Close()
	args := []string{"--process", pathOf(doc)}
	args = appendIf(args, q.ConsoleSocket != "", "--console-socket", q.ConsoleSocket)
	args = append(args, "--detach", "--pid-file", q.PidFile)
	return r.spawn(ctx, q.PidFile, call{
		verb: "exec", args: args, id: q.ID, files: q.Stdio, ofContainer: true,
	})
}

func appendIf(args []string, cond bool, more ...string) []string {
	if cond {
		return append(args, more...)
	}
	return args
}

// spawn runs a call that leaves a process behind and adopts that process
// before anybody can reap it.
func (r *Runtime) spawn(ctx context.Context, pidFile string, c call) (*reaper.Process, error) {
	defer r.Reaper.Hold()()
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Verb: c.verb, Message: err.Error(), Err: err}
	}
	begin := bootTicks()
	_, err := r.run(ctx, c)
	pid, p, adoptErr := r.adopt(pidFile, begin)
	if failure, ok := errors.AsType[*Error](err); ok {
		failure.PID = pid
		return p, failure
	}
	if adoptErr != nil {
		return nil, &Error{Verb: c.verb, Message: adoptErr.Error(), PID: pid, Err: adoptErr}
	}
	return p, nil
}

// adopt takes over the process of a pid file. begin is when the call began, in
// ticks since boot: an older process can only be a stranger whose pid stands in
// a file the runtime got wrong.
func (r *Runtime) adopt(pidFile string, begin uint64) (int, *reaper.Process, error) {
	pid, err := ReadPidFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, fmt.Errorf("%w %s", ErrNoPidFile, pidFile)
	}
	if err != nil {
		return 0, nil, err
	}
	p, err := r.Reaper.Adopt(pid)
	if err != nil {
		return pid, nil, fmt.Errorf("%w: %w", ErrProcessGone, err)
	}
	// 0: it ended and was reaped between the two; then nobody else had the pid.
	if start := p.Identity().StartTime; start != 0 && start < begin {
		return pid, nil, fmt.Errorf("%w: process %d is older than its container", ErrProcessGone, pid)
	}
	return pid, p, nil
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
