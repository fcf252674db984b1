package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
)

// Manager is a view of one namespace of one root directory. It is safe for
// concurrent use; any number of managers, in any number of processes, may be
// open on the same root.
type Manager struct {
	root      string // absolute
	namespace string
	dir       string // root/namespace
	opt       settings
}

// An Option changes how Open and everything after it behaves.
type Option func(*settings)

type settings struct {
	shim         string
	runtime      string
	launcher     serve.Launcher
	criu         string
	dialTimeout  time.Duration
	callTimeout  time.Duration
	startTimeout time.Duration
	lockTimeout  time.Duration
	debug        bool
}

// Names looked for in PATH when no option says otherwise. The shim is also
// looked for beside the running executable, and there first.
const (
	DefaultShim    = "containerd-shim-holdfast-v2"
	DefaultRuntime = "runc"
)

// WithShim names the shim binary: a path, or a name to be found beside the
// executable or in PATH.
func WithShim(path string) Option { return func(o *settings) { o.shim = path } }

// WithRuntime names the OCI runtime of containers that are created without one
// of their own: a path, or a name to be found in PATH.
func WithRuntime(binary string) Option { return func(o *settings) { o.runtime = binary } }

// WithLauncher replaces the way shims are started; the default is serve.Exec.
func WithLauncher(l serve.Launcher) Option { return func(o *settings) { o.launcher = l } }

// WithCriu names a directory that OCI runtimes shall have first in their PATH,
// because a usable criu is there. It counts for runs that begin with this manager,
// their checkpoints included, whoever asks for those.
func WithCriu(dir string) Option { return func(o *settings) { o.criu = dir } }

// WithDialTimeout bounds one connection attempt to a shim; 2 s by default.
func WithDialTimeout(d time.Duration) Option { return func(o *settings) { o.dialTimeout = d } }

// WithCallTimeout bounds a quick call to a shim; 10 s by default. Status and
// Inspect never wait longer than 2 s of it.
func WithCallTimeout(d time.Duration) Option { return func(o *settings) { o.callTimeout = d } }

// WithStartTimeout bounds the calls that run the OCI runtime to make
// processes (create, start, exec); 2 min by default.
func WithStartTimeout(d time.Duration) Option { return func(o *settings) { o.startTimeout = d } }

// WithLockTimeout bounds the wait for another manager that is creating, running
// or deleting the same container; 10 s by default.
func WithLockTimeout(d time.Duration) Option { return func(o *settings) { o.lockTimeout = d } }

// WithDebug makes shims log what they do into <bundle>/log.
func WithDebug() Option { return func(o *settings) { o.debug = true } }

// Root returns the absolute root directory.
func (m *Manager) Root() string { return m.root }

// Namespace returns the namespace.
func (m *Manager) Namespace() string { return m.namespace }

// Open returns a manager for the namespace below root, making both directories
// (mode 0700) and the event feed if need be, and sweeps what crashed managers
// left. On a read-only root it can still list and look. Nothing needs to be
// closed but the containers it hands out.
func Open(root, namespace string, opts ...Option) (*Manager, error) {
	if err := bundle.CheckID(namespace); err != nil {
		return nil, fmt.Errorf("open namespace: %w", invalidID(err))
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open root %s: %w", root, err)
	}
	m := &Manager{root: abs, namespace: namespace, dir: filepath.Join(abs, namespace), opt: settings{
		shim: DefaultShim, runtime: DefaultRuntime, launcher: serve.Exec{},
		dialTimeout: 2 * time.Second, callTimeout: 10 * time.Second,
		startTimeout: 2 * time.Minute, lockTimeout: 10 * time.Second,
	}}
	for _, o := range opts {
		o(&m.opt)
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open root %s: %w", abs, err)
	}
	if err := m.makeFeed(); err != nil && !unwritable(err) {
		return nil, fmt.Errorf("open root %s: %w", abs, err)
	}
	m.sweep()
	return m, nil
}

// makeFeed makes the file that shims append events to.
func (m *Manager) makeFeed() error {
	f, err := os.OpenFile(m.feed(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (m *Manager) feed() string { return filepath.Join(m.dir, bundle.FeedFile) }

// unwritable tells that a directory may be looked at but not changed, which is
// enough to list.
func unwritable(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC)
}

// Load returns the container of that id; ErrNotFound if there is none.
func (m *Manager) Load(_ context.Context, id string) (*Container, error) {
	if err := bundle.CheckID(id); err != nil {
		return nil, fmt.Errorf("load container: %w", invalidID(err))
	}
	rec, err := m.readRecord(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load container %s: %w", id, ErrNotFound)
	} else if err != nil {
		return nil, fmt.Errorf("load container %s: %w", id, err)
	}
	return m.container(rec), nil
}

// container makes the handle of a container that exists.
func (m *Manager) container(rec Record) *Container {
	dir := filepath.Join(m.dir, rec.ID)
	return &Container{m: m, id: rec.ID, dir: dir, rec: rec, link: &link{bundle: dir, timeout: m.opt.dialTimeout}}
}
