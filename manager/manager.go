package manager

import (
	"time"

	"github.com/holdfast/holdfast/proto/serve"
)

// Manager is a view of one namespace of one root directory. It is safe for
// concurrent use; any number of managers, in any number of processes, may be
// open on the same root.
type Manager struct {
	root      string // absolute
	namespace string
	dir       string // root/namespace
	opt       options
}

// An Option changes how Open and everything after it behaves.
type Option func(*options)

type options struct {
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
func WithShim(path string) Option { return func(o *options) { o.shim = path } }

// WithRuntime names the OCI runtime of containers that are created without one
// of their own: a path, or a name to be found in PATH.
func WithRuntime(binary string) Option { return func(o *options) { o.runtime = binary } }

// WithLauncher replaces the way shims are started; the default is serve.Exec.
func WithLauncher(l serve.Launcher) Option { return func(o *options) { o.launcher = l } }

// WithCriu names a directory that OCI runtimes shall have first in their PATH,
// because a usable criu is there.
func WithCriu(dir string) Option { return func(o *options) { o.criu = dir } }

// WithDialTimeout bounds one connection attempt to a shim; 2 s by default.
func WithDialTimeout(d time.Duration) Option { return func(o *options) { o.dialTimeout = d } }

// WithCallTimeout bounds a quick call to a shim; 10 s by default. Status and
// Inspect never wait longer than 2 s of it.
func WithCallTimeout(d time.Duration) Option { return func(o *options) { o.callTimeout = d } }

// WithStartTimeout bounds the calls that run the OCI runtime to make
// processes (create, start, exec); 2 min by default.
func WithStartTimeout(d time.Duration) Option { return func(o *options) { o.startTimeout = d } }

// WithLockTimeout bounds the wait for another manager that is creating, running
// or deleting the same container; 10 s by default.
func WithLockTimeout(d time.Duration) Option { return func(o *options) { o.lockTimeout = d } }

// WithDebug makes shims log what they do into <bundle>/log.
func WithDebug() Option { return func(o *options) { o.debug = true } }

// Root returns the absolute root directory.
func (m *Manager) Root() string { return m.root }

// Namespace returns the namespace.
func (m *Manager) Namespace() string { return m.namespace }
