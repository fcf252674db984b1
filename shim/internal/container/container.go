// Package container is the life of one container: its init process and its
// execs, from Create to the moment when nothing of it is left.
//
// The life of a process is the table in state.go, and nothing else changes a
// state. Three rules keep everybody else's calls quick:
//
//   - mu guards the table and the fields marked with it, and is never held over
//     the OCI runtime, the disk or a peer. State, Wait, Pids, Stats, Kill and
//     Resize need nothing but mu.
//   - Operations that run the OCI runtime on the container's state take turns at
//     gate: Start, Pause, Resume, Update, Checkpoint and Delete alone, the starts of
//     execs together. A caller that gives up leaves the queue.
//   - An exit waits for no one: it may land while an operation is under way, and
//     wins over it. The operation sees a process that is no longer where it left it,
//     and leaves it there.
//
// An exit travels: kernel, reaper's future, record on disk, waiters, events.
// Lock order: gate, then mu; events has a lock of its own and calls nobody back.
//
// What the package does not do: it knows no protobuf message and no
// connection, and it does not decide when the shim ends.
package container

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/cgroup"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/internal/stdio"
	"golang.org/x/sync/semaphore"
)

// Config is what the shim gives its container.
type Config struct {
	Namespace, ID string
	Bundle        string         // absolute
	Reaper        *reaper.Reaper // borrowed
	Version       string         // of this binary, for the record
	// Publish gets the events, in order, one call at a time. It may not call back.
	Publish func(bundle.Event)
	// Log writes one line about something that no caller can be told.
	Log func(format string, args ...any)
	// Changed is called after an exit has been announced and when the container is
	// gone: moments at which the shim may have become superfluous.
	Changed func()
}

// Streams are the stdio URIs of a process, as in Create and Exec.
type Streams struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

// CreateRequest says what to create.
type CreateRequest struct {
	Runtime      bundle.Runtime
	Rootfs       []*types.Mount // mounted in order at RootfsDir; none: the spec's root is used as it is
	Streams      Streams
	Size         console.Size    // of the terminal; zero: the spec's consoleSize
	IOUID, IOGID int             // owner of the container's ends of its pipes
	Checkpoint   string          // directory of an image to restore at Start; "" for a fresh container
	CriuWorkPath string          // work directory of that restore; "" for one in the bundle
	Restore      oci.CriuOptions // what that restore must allow; its paths are ignored
	Linger       bool            // the shim stays after the exit until it is told to go
}

// Container is one container. Its methods are safe for concurrent use.
type Container struct {
	cfg     Config
	runtime *oci.Runtime
	req     CreateRequest
	spec    spec
	ran     bool // Create has come to the OCI runtime; only Create itself looks at it

	gate   *semaphore.Weighted
	events journal

	mu      sync.Mutex
	task    bundle.Task    // what is on disk about this run
	cgroup  *cgroup.Cgroup // nil until init exists
	pausing bool           // the OCI runtime is freezing; shown by State
	doomed  bool           // SIGKILL came while pausing: it takes effect only if somebody thaws
	thawed  bool           // somebody has seen to it that a frozen container can die
	dumping bool           // a checkpoint that ends the container is under way
	torn    bool           // the OCI runtime has forgotten it and the rootfs is unmounted
	retired bool           // over, cleaned up and all output delivered: nothing left to serve
	init    *process
	execs   map[string]*process
}

// everybody is the weight of the gate: an operation that takes all of it is alone.
const everybody = 1 << 20

// Limits on what may take long although nobody waits for anything useful.
const (
	// runtimeLimit bounds a call of the OCI runtime whatever its caller allows: the
	// slowest healthy one seen is a create on a cold disk, well below 10 s.
	runtimeLimit = 2 * time.Minute
	// startLimit is for a start that may be a restore, which reads memory from disk.
	startLimit = 10 * time.Minute
	// consoleLimit bounds the wait for the terminal after the OCI runtime has
	// returned; it sends it before that, so only a broken one makes us wait.
	consoleLimit = 10 * time.Second
	// killLimit bounds the wait for a death after SIGKILL. A process in
	// uninterruptible sleep may take longer; then we go on and say so.
	killLimit = 10 * time.Second
	// drainLimit bounds how long Delete waits for output that nobody reads.
	drainLimit = 10 * time.Second
	// terminalLimit is the same for a terminal that a child of the process holds
	// open: what the process wrote comes through within milliseconds, but the kernel
	// does not tell when.
	terminalLimit = time.Second
)

// journal numbers the events of this run and hands them on in order.
type journal struct {
	mu      sync.Mutex
	seq     uint64
	ended   bool // the container is deleted: whatever is late is no news any more
	publish func(bundle.Event)
}

// emit publishes e as the next event of c.
func (c *Container) emit(e bundle.Event) {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	if c.events.ended {
		return
	}
	c.events.ended = e.Topic == bundle.TopicDelete && e.ExecID == ""
	c.events.seq++
	e.Seq = c.events.seq
	e.Time = time.Now()
	e.Namespace, e.ID = c.cfg.Namespace, c.cfg.ID
	c.events.publish(e)
}

// record changes the record of this run and writes it. The disk is not touched
// under mu; only operations that hold the gate call it.
func (c *Container) record(change func(*bundle.Task)) error {
	c.mu.Lock()
	change(&c.task)
	t := c.task
	c.mu.Unlock()
	return bundle.WriteTask(t)
}

// alone waits for its turn at the gate and returns the function that ends it.
func (c *Container) alone(ctx context.Context) (done func(), err error) {
	return c.enter(ctx, everybody)
}

func (c *Container) enter(ctx context.Context, weight int64) (done func(), err error) {
	if err := c.gate.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	return func() { c.gate.Release(weight) }, nil
}

// begun returns the context for something that, once begun, is seen through
// although its caller may vanish: half a start is worse than one that nobody
// waits for. A deadline that the caller has set still counts, and limit besides.
func begun(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	end := time.Now().Add(limit)
	if its, ok := ctx.Deadline(); ok && its.Before(end) {
		end = its
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

// find returns the process with the given exec id, "" being init.
func (c *Container) find(execID string) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findLocked(execID)
}

func (c *Container) findLocked(execID string) (*process, error) {
	if c.init.state == deleted {
		return nil, errDeleted
	}
	if execID == "" {
		return c.init, nil
	}
	p := c.execs[execID]
	if p == nil || p.state == deleted {
		return nil, errNoProcess(execID)
	}
	return p, nil
}

// path returns the path of a file of the bundle.
func (c *Container) path(name string) string { return c.cfg.Bundle + "/" + name }

// stdioConfig says where the streams of a process lead.
func (c *Container) stdioConfig(execID string, s Streams) stdio.Config {
	id := c.cfg.ID
	if execID != "" {
		id = execID
	}
	return stdio.Config{
		Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Terminal: s.Terminal,
		UID: c.req.IOUID, GID: c.req.IOGID, ID: id, Namespace: c.cfg.Namespace,
	}
}

// readSpec reads what we need to know from the bundle's config.json.
func readSpec(dir string) (spec, error) {
	raw, err := os.ReadFile(dir + "/" + bundle.ConfigFile)
	if err != nil {
		return spec{}, err
	}
	return parseSpec(raw)
}
