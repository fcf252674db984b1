package oci

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/holdfast/holdfast/reaper"
	"golang.org/x/sys/unix"
)

const (
	// DefaultTimeout bounds a call if [Runtime.Timeout] is 0. It is far above
	// the 30 ms a call takes, because hooks and a loaded machine count too.
	DefaultTimeout = 2 * time.Minute

	// DefaultCheckpointTimeout bounds Checkpoint and Restore if
	// [Runtime.CheckpointTimeout] is 0: memory is written to disk and read.
	DefaultCheckpointTimeout = 10 * time.Minute

	// killGrace is how long a runtime may take to die of SIGKILL. Only one that
	// hangs in the kernel takes it; it then stays with the reaper.
	killGrace = 2 * time.Second

	// outputLimit bounds what a runtime may print, in bytes: `ps` of some
	// hundred thousand processes.
	outputLimit = 1 << 20
)

// Runtime says how to run an OCI runtime. Its methods may be called from any
// goroutine and do not wait for one another; nobody changes a field once the
// first was called.
type Runtime struct {
	Reaper *reaper.Reaper // starts the runtime and adopts what it leaves; borrowed

	Binary        string   // path, or name looked up in the PATH of Env; "" is runc
	Root          string   // --root: where the runtime keeps its state; "" is its default
	SystemdCgroup bool     // --systemd-cgroup
	Args          []string // further global arguments
	Env           []string // nil is the environment of this process; see [Runtime] for what is removed
	Dir           string   // working directory; "" is this process's
	CriuDir       string   // put first in PATH, for the runtime to find criu in; "" is none

	Timeout           time.Duration // of one call; 0 is DefaultTimeout
	CheckpointTimeout time.Duration // of Checkpoint and Restore; 0 is DefaultCheckpointTimeout
}

// A call is one run of the runtime.
type call struct {
	verb  string
	args  []string // options, between verb and id
	id    string   // of the container; "" for none
	tail  []string // behind the id
	input []byte   // stdin, if not nil

	// files are the container's stdin, stdout and stderr, nil for /dev/null;
	// used if ofContainer. Otherwise the output is the runtime's own.
	files       [3]*os.File
	ofContainer bool

	limit time.Duration // 0 is the ordinary one
}

// run runs the runtime to its end and returns what it printed. The error is an
// [*Error].
func (r *Runtime) run(ctx context.Context, c call) ([]byte, error) {
	defer r.Reaper.Hold()()
	path, env, err := r.program()
	if err != nil {
		return nil, &Error{Verb: c.verb, Message: err.Error(), Err: err}
	}
	io, err := openFiles(c)
	if err != nil {
		return nil, &Error{Verb: c.verb, Message: err.Error(), Err: err}
	}
	defer io.close()

	p, err := r.Reaper.Start(reaper.Command{
		Path:   path,
		Args:   r.argv(path, io.logPath(), c),
		Env:    env,
		Dir:    r.Dir,
		Files:  io.stdio[:],
		Setsid: true, // a Ctrl-C meant for this process is not meant for a runtime at work
	})
	if err != nil {
		return nil, &Error{Verb: c.verb, Message: err.Error(), Err: startCause(err)}
	}
	exit, cause := waitOrKill(ctx, p, r.limit(c))
	if cause == nil && exit.Known && exit.Status == 0 {
		return io.output(), nil
	}
	return nil, explain(c.verb, c.id, exit, cause, io.logTail(), io.output())
}

func (r *Runtime) limit(c call) time.Duration {
	switch {
	case c.limit > 0:
		return c.limit
	case r.Timeout > 0:
		return r.Timeout
	}
	return DefaultTimeout
}

// argv is the command line every runtime with runc's interface understands:
// global options, verb, options of the verb, id.
func (r *Runtime) argv(path, log string, c call) []string {
	argv := []string{path}
	if r.Root != "" {
		argv = append(argv, "--root", r.Root)
	}
	argv = append(argv, "--log", log, "--log-format", "json")
	if r.SystemdCgroup {
		argv = append(argv, "--systemd-cgroup")
	}
	argv = append(argv, r.Args...)
	argv = append(argv, c.verb)
	argv = append(argv, c.args...)
	if c.id != "" {
		argv = append(argv, c.id)
	}
	return append(argv, c.tail...)
}

// waitOrKill waits for the exit of p, which gets SIGKILL when ctx or limit
// ends. The error is then the reason; an exit not Known means that p does not
// die.
func waitOrKill(ctx context.Context, p *reaper.Process, limit time.Duration) (reaper.Exit, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &deadlineError{limit})
	defer cancel()
	exit, err := p.Wait(ctx)
	if err == nil {
		return exit, nil
	}
	reason := context.Cause(ctx)
	if errors.Is(reason, context.DeadlineExceeded) && !errors.Is(reason, ErrDeadline) {
		reason = &deadlineError{} // the caller's own
	}
	if exit, ok := undone(p); ok {
		return exit, reason
	}
	_ = p.Signal(unix.SIGKILL) // it may have exited in the meantime

	grace, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	exit, err = p.Wait(grace)
	if err == nil && exit.Known && exit.Status == 0 {
		return exit, nil // done in the last moment
	}
	return exit, reason
}

// files are what a call has open. All but the container's stdio are its own.
type callFiles struct {
	stdio [3]*os.File
	log   *os.File
	own   []*os.File
	out   *os.File // among own: what the runtime prints; nil if its stdio is the container's
}

func openFiles(c call) (f *callFiles, err error) {
	f = &callFiles{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.log, err = f.keep(memfd("oci-log")); err != nil {
		return nil, err
	}
	if c.ofContainer {
		f.stdio = c.files
		return f, nil
	}
	if c.input != nil {
		if f.stdio[0], err = f.keep(memfdOf("oci-stdin", c.input)); err != nil {
			return nil, err
		}
	}
	if f.out, err = f.keep(memfdOfSize("oci-output", outputLimit)); err != nil {
		return nil, err
	}
	f.stdio[1], f.stdio[2] = f.out, f.out
	return f, nil
}

func (f *callFiles) keep(file *os.File, err error) (*os.File, error) {
	if err == nil {
		f.own = append(f.own, file)
	}
	return file, err
}

func (f *callFiles) close() {
	for _, file := range f.own {
		file.Close()
	}
}

func (f *callFiles) logPath() string { return pathOf(f.log) }

// pathOf is the name under which a child can open what only we have open. The
// file is not inherited, since a runtime could pass it on to the container.
func pathOf(file *os.File) string {
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(file.Fd()))
}

func (f *callFiles) logTail() []byte {
	return readTail(f.log)
}

// output returns what was printed. The file has a fixed size, so what counts is
// how far the shared offset has moved.
func (f *callFiles) output() []byte {
	if f.out == nil {
		return nil
	}
	n, err := f.out.Seek(0, 1)
	if err != nil || n <= 0 {
		return nil
	}
	buf := make([]byte, min(n, outputLimit))
	n2, _ := f.out.ReadAt(buf, 0) // short only if somebody else truncated it
	return buf[:n2]
}
