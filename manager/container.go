package manager

import (
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// CreateConfig describes a new container. Its spec comes from exactly one of
// Bundle, SpecJSON, Spec, or, if none is set, from DefaultSpec; Process then
// changes it. Its root file system comes from Rootfs or Mounts, or is what the
// spec says (relative to Bundle when that is set).
type CreateConfig struct {
	Bundle   string      // directory to import config.json from; a relative root.path is below it
	SpecJSON []byte      // OCI runtime spec, kept as it is but for what Process changes
	Spec     *specs.Spec // the same, decoded
	Process  SpecConfig  // what to run; with a given spec only what is set replaces

	Rootfs string  // directory, used in place
	Mounts []Mount // mounted in order by the shim, afresh for every run

	Labels  map[string]string
	Runtime Runtime
	Stdio   Stdio // default of the container's runs
}

// Container is what is on disk under one id. It is safe for concurrent use.
type Container struct {
	m    *Manager
	id   string
	dir  string // bundle
	link *link  // to the shim, shared by task and execs

	mu  sync.Mutex
	rec Record // guarded by mu
}

// ID returns the container's id.
func (c *Container) ID() string { return c.id }

// Namespace returns the namespace of its manager.
func (c *Container) Namespace() string { return c.m.namespace }

// Bundle returns the absolute path of its directory.
func (c *Container) Bundle() string { return c.dir }

// A DeleteOption changes what Delete dares.
type DeleteOption func(*deleteOptions)

type deleteOptions struct{ force bool }

// Force makes Delete end what still runs (SIGKILL to all of it), and clean up
// after a dead shim.
func Force() DeleteOption { return func(o *deleteOptions) { o.force = true } }

// Close closes the connection to the shim, if there is one. The container, its
// task and what runs are not touched, and calls after Close dial again.
func (c *Container) Close() error { return c.link.Close() }
