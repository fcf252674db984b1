package manager

import (
	"context"
	"errors"
	"iter"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

type link struct{}

// Open makes root (mode 0700) and the namespace's directory below it if need be.
func Open(root, namespace string, opts ...Option) (*Manager, error) {
	return nil, errors.ErrUnsupported
}

// Create makes a container, in one step as far as others can see; nothing runs yet. ErrExists if the id is taken.
func (m *Manager) Create(ctx context.Context, id string, cfg CreateConfig) (*Container, error) {
	return nil, errors.ErrUnsupported
}

// Load finds a container by its id; ErrNotFound.
func (m *Manager) Load(ctx context.Context, id string) (*Container, error) {
	return nil, errors.ErrUnsupported
}

// List returns the containers of the namespace sorted by id. Filters (all must match): label, label=value as
// "label=KEY", "label=KEY=VALUE", "label=KEY!=VALUE"; "id=PATTERN"; "status=STATE". Only the last asks shims, in parallel.
func (m *Manager) List(ctx context.Context, filters ...string) ([]*Container, error) {
	return nil, errors.ErrUnsupported
}

// Statuses asks many containers at once, each within 2 s; the result has their order.
func (m *Manager) Statuses(ctx context.Context, cs []*Container) []Status { return nil }

// Inspects is the same for Inspect.
func (m *Manager) Inspects(ctx context.Context, cs []*Container) []Inspect { return nil }

// Events yields what happened in the namespace, oldest first. It ends after the first error (ctx's when following).
func (m *Manager) Events(ctx context.Context, cfg EventsConfig) iter.Seq2[Event, error] { return nil }

// DefaultSpec makes a spec for a program in the directory rootfs (users are looked up in it).
func (m *Manager) DefaultSpec(id, rootfs string, cfg SpecConfig) (*specs.Spec, error) {
	return nil, errors.ErrUnsupported
}

// ParseMount reads TYPE:SOURCE[:TARGET][:OPTION,...]. TARGET starts with a slash; options may contain colons.
func ParseMount(s string) (Mount, error) { return Mount{}, errors.ErrUnsupported }

// Record returns container.json as last read.
func (c *Container) Record() Record { return Record{} }

// Labels returns a copy of the labels.
func (c *Container) Labels() map[string]string { return nil }

// SetLabels changes labels on disk, whoever else does so at the same time; an empty value is a value.
func (c *Container) SetLabels(ctx context.Context, set map[string]string, remove ...string) error {
	return errors.ErrUnsupported
}

// Spec reads config.json.
func (c *Container) Spec() (*specs.Spec, error) { return nil, errors.ErrUnsupported }

// Status tells how the container fares: from disk if it has stopped, else by asking its shim for at most 2 s.
// A dead or silent shim is no error but StateUnknown.
func (c *Container) Status(ctx context.Context) (Status, error) {
	return Status{}, errors.ErrUnsupported
}

// Inspect tells everything; like Status it does not fail over a sick shim.
func (c *Container) Inspect(ctx context.Context) (Inspect, error) {
	return Inspect{}, errors.ErrUnsupported
}

// NewTask launches a shim and creates the run, up to but not including the program. A stopped run must be deleted before (ErrTaskExists).
// On failure everything is undone. *StartError if the OCI runtime could not make the process.
func (c *Container) NewTask(ctx context.Context, cfg TaskConfig) (*Task, error) {
	return nil, errors.ErrUnsupported
}

// Task returns the container's run, stopped or not; ErrNoTask.
func (c *Container) Task(ctx context.Context) (*Task, error) { return nil, errors.ErrUnsupported }

// Delete removes the container and its stopped task. ErrRunning unless forced.
func (c *Container) Delete(ctx context.Context, opts ...DeleteOption) error {
	return errors.ErrUnsupported
}

// Logs yields the lines of the container's log (the default one, or a file:// URI with format=cri).
func (c *Container) Logs(ctx context.Context, cfg LogsConfig) iter.Seq2[LogLine, error] { return nil }

// Close closes the connection to the shim, if there is one. The container, its task and what runs are not touched;
// calls after Close dial again.
func (c *Container) Close() error { return nil }

// ID returns the container's id for a task, the exec's for an exec.
func (p *Process) ID() string { return "" }

// PID on the host, 0 before it is started (exec) or known.
func (p *Process) PID() int { return 0 }

// Start runs the program. *StartError if it could not be.
func (p *Process) Start(ctx context.Context) error { return errors.ErrUnsupported }

// Wait blocks until the process has exited; it survives a lost connection when the exit is on disk. ErrShimDead otherwise.
func (p *Process) Wait(ctx context.Context) (Exit, error) { return Exit{}, errors.ErrUnsupported }

// Kill sends a signal to the process itself; 0 only asks whether it is there. ErrExited if it is not.
func (p *Process) Kill(ctx context.Context, sig syscall.Signal) error { return errors.ErrUnsupported }

// ResizeTTY sets the size of the terminal.
func (p *Process) ResizeTTY(ctx context.Context, s Size) error { return errors.ErrUnsupported }

// CloseStdin gives the process end of file once what was sent is read.
func (p *Process) CloseStdin(ctx context.Context) error { return errors.ErrUnsupported }

// Status tells how the process fares, from disk if it has stopped.
func (p *Process) Status(ctx context.Context) (Status, error) { return Status{}, errors.ErrUnsupported }

// Attach joins the process's streams over a connection of its own.
func (p *Process) Attach(ctx context.Context, cfg AttachConfig) (*Attachment, error) {
	return nil, errors.ErrUnsupported
}

// Container returns the container that t is a run of.
func (t *Task) Container() *Container { return nil }

// KillAll sends a signal to every process of the container.
func (t *Task) KillAll(ctx context.Context, sig syscall.Signal) error { return errors.ErrUnsupported }

// Pause freezes every process.
func (t *Task) Pause(ctx context.Context) error { return errors.ErrUnsupported }

// Resume thaws them.
func (t *Task) Resume(ctx context.Context) error { return errors.ErrUnsupported }

// Pids lists the processes, none if the task has stopped.
func (t *Task) Pids(ctx context.Context) ([]ProcessInfo, error) { return nil, errors.ErrUnsupported }

// Update changes limits of the cgroup.
func (t *Task) Update(ctx context.Context, r *specs.LinuxResources) error {
	return errors.ErrUnsupported
}

// Stats reads the cgroup's counters.
func (t *Task) Stats(ctx context.Context) (Stats, error) { return Stats{}, errors.ErrUnsupported }

// Checkpoint writes the processes to disk; at most 10 min.
func (t *Task) Checkpoint(ctx context.Context, cfg CheckpointConfig) error {
	return errors.ErrUnsupported
}

// Exec registers a further process; Exec.Start starts it.
func (t *Task) Exec(ctx context.Context, cfg ExecConfig) (*Exec, error) {
	return nil, errors.ErrUnsupported
}

// Execs lists the execs that were not deleted.
func (t *Task) Execs(ctx context.Context) ([]*Exec, error) { return nil, errors.ErrUnsupported }

// LoadExec finds an exec; ErrNotFound.
func (t *Task) LoadExec(ctx context.Context, id string) (*Exec, error) {
	return nil, errors.ErrUnsupported
}

// Delete ends the run for good and keeps the container. ErrRunning unless stopped, never started, or forced. Returns the exit.
func (t *Task) Delete(ctx context.Context, opts ...DeleteOption) (Exit, error) {
	return Exit{}, errors.ErrUnsupported
}

// Delete forgets the exec, which must not be running, and returns its exit.
func (e *Exec) Delete(ctx context.Context) (Exit, error) { return Exit{}, errors.ErrUnsupported }

// Attachment is a client joined to a process's streams. The process does not end with it.
type Attachment struct{}

// Terminal reports whether the streams are a terminal.
func (a *Attachment) Terminal() bool { return false }

// Wait blocks until the streams end (nil), a.Close (ErrDetached), the client was too slow (ErrLagging), or the shim is lost.
func (a *Attachment) Wait() error { return errors.ErrUnsupported }

// Done is closed when Wait would return.
func (a *Attachment) Done() <-chan struct{} { return nil }

// Close detaches and waits for the attachment's goroutines.
func (a *Attachment) Close() error { return errors.ErrUnsupported }
