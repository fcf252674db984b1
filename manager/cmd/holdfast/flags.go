package main

import (
	"io"
	"os/exec"
	"path/filepath"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// globals are the flags that every command takes, before or after its name.
type globals struct {
	root      string
	namespace string
	runtime   string
	shim      string
	criuDir   string
	json      bool
	debug     bool
}

// defaults returns the globals before any flag was read: the environment's, or
// else the built-in ones.
func defaults(env func(string) string) globals {
	or := func(name, fallback string) string {
		if v := env(name); v != "" {
			return v
		}
		return fallback
	}
	return globals{
		root:      or("HOLDFAST_ROOT", "/run/holdfast"),
		namespace: or("HOLDFAST_NAMESPACE", "default"),
		runtime:   or("HOLDFAST_RUNTIME", ""),
		shim:      or("HOLDFAST_SHIM", ""),
		criuDir:   or("HOLDFAST_CRIU_DIR", ""),
	}
}

// set adds the global flags to fs. The present values are their defaults, so
// that a second set of flags continues where the first one ended.
func (g *globals) set(fs *pflag.FlagSet) *pflag.FlagSet {
	own := newFlagSet("global")
	own.StringVar(&g.root, "root", g.root, "`directory` of all state [HOLDFAST_ROOT]")
	own.StringVar(&g.namespace, "namespace", g.namespace, "containers are seen only within their `namespace` [HOLDFAST_NAMESPACE]")
	own.StringVar(&g.runtime, "runtime", g.runtime, "OCI runtime, a `name` or a path (default runc, else crun) [HOLDFAST_RUNTIME]")
	own.StringVar(&g.shim, "shim", g.shim, "the shim, a `path` or a name (default beside holdfast, else in PATH) [HOLDFAST_SHIM]")
	own.StringVar(&g.criuDir, "criu-dir", g.criuDir, "`directory` searched for criu before PATH; what a container is run with counts for its checkpoints [HOLDFAST_CRIU_DIR]")
	own.BoolVar(&g.json, "json", g.json, "print JSON, one object a line")
	own.BoolVar(&g.debug, "debug", g.debug, "make the shim write down each of its steps")
	fs.AddFlagSet(own)
	return fs
}

// options are the globals as the manager takes them.
func (g *globals) options() []manager.Option {
	var opts []manager.Option
	if name := or(g.runtime, installed()); name != "" {
		opts = append(opts, manager.WithRuntime(name))
	}
	if g.shim != "" {
		opts = append(opts, manager.WithShim(g.shim))
	}
	if g.criuDir != "" {
		opts = append(opts, manager.WithCriu(absolute(g.criuDir)))
	}
	if g.debug {
		opts = append(opts, manager.WithDebug())
	}
	return opts
}

// installed returns the first OCI runtime in PATH that is known to work, "" if
// there is none.
func installed() string {
	for _, name := range []string{"runc", "crun"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	return ""
}

// newFlagSet returns a set that returns its errors and prints nothing.
func newFlagSet(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SortFlags = false
	fs.Usage = func() {}
	return fs
}

// absolute returns path as seen from the root directory. What cannot be made
// absolute (the working directory is gone) is left for the user of the path to
// report.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if path == "" || err != nil {
		return path
	}
	return abs
}
