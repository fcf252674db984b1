package shim

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
	"golang.org/x/sys/unix"
)

// runtimeName is what containerd calls us.
const runtimeName = "io.containerd.holdfast.v2"

// Version and Revision are set by the linker.
var (
	Version  = "0.0.0-dev"
	Revision = "unknown"
)

// command is a parsed command line.
type command struct {
	action                 string // start, delete, or "" for serve
	namespace, id, bundle  string
	address, publishBinary string // of the containerd that calls
	publish                string
	debug, version, info   bool
	stdin                  io.Reader
	stdout, stderr         io.Writer
}

// Main is the whole program: it returns the exit status. Errors go to stderr as
// "NAME: text".
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := filepath.Base(args[0])
	c, err := parse(args[1:])
	if err == nil {
		c.stdin, c.stdout, c.stderr = stdin, stdout, stderr
		err = c.run(name)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func (c *command) run(name string) error {
	switch {
	case c.version:
		fmt.Fprintf(c.stdout, "%s:\n  Version:  %s\n  Revision: %s\n  Go version: %s\n\n", name, Version, Revision, runtime.Version())
		return nil
	case c.info:
		return c.printInfo()
	}
	if err := bundle.CheckID(c.namespace); err != nil {
		return fmt.Errorf("flag -namespace: %w", err)
	}
	if err := bundle.CheckID(c.id); err != nil {
		return fmt.Errorf("flag -id: %w", err)
	}
	if c.bundle == "" {
		dir, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("find bundle: %w", err)
		}
		c.bundle = dir
	}
	switch c.action {
	case "start":
		return c.start()
	case "delete":
		return c.delete()
	case "":
		return c.serve()
	}
	return fmt.Errorf("unknown action %q: start, delete, or none to serve", c.action)
}

// parse reads the command line in the form of Go's flag package, which is what
// containerd writes: one or two dashes, "-flag value" or "-flag=value". Flags of
// shims that came later than us are skipped as containerd would have us do.
func parse(args []string) (*command, error) {
	c := new(command)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			c.action = arg
			return c, nil
		}
		name, val, hasVal := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if flag := c.boolFlag(name); flag != nil {
			*flag = !hasVal || val == "true" || val == "1"
			continue
		}
		text := c.textFlag(name)
		if text == nil && !hasVal && !takesValue(args) {
			continue
		}
		if !hasVal {
			if len(args) == 0 {
				return nil, fmt.Errorf("flag -%s: a value is missing", name)
			}
			val, args = args[0], args[1:]
		}
		if text != nil {
			*text = val
		}
	}
	return c, nil
}

// takesValue guesses whether a flag that we do not know has taken the first of
// the remaining arguments for its value: not if that is a flag, nor if the action
// would be missing then.
func takesValue(rest []string) bool {
	if len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return false
	}
	return len(rest) > 1 || (rest[0] != "start" && rest[0] != "delete")
}

func (c *command) boolFlag(name string) *bool {
	switch name {
	case "debug":
		return &c.debug
	case "v", "version":
		return &c.version
	case "info":
		return &c.info
	}
	return nil
}

func (c *command) textFlag(name string) *string {
	switch name {
	case "namespace":
		return &c.namespace
	case "id":
		return &c.id
	case "bundle":
		return &c.bundle
	case "address":
		return &c.address
	case "publish-binary":
		return &c.publishBinary
	case "publish":
		return &c.publish
	}
	return nil // -socket, -debug-socket and whatever comes: not ours
}

// serve is the serve mode of the process.
func (c *command) serve() error {
	inherited, err := serve.Inherit()
	if err != nil {
		return err
	}
	// Our own copy, so that the log is not fd 2: Go ends a process whose write to
	// fd 2 meets a closed pipe.
	fd, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		inherited.Fail(err)
		return err
	}
	log := os.NewFile(uintptr(fd), "log")
	defer log.Close()
	if err := turnDeaf(); err != nil {
		inherited.Fail(err)
		return err
	}
	// Only the launcher sets it, for us; what we run has its own idea.
	os.Unsetenv("GOMAXPROCS")
	err = Serve(Config{
		Namespace: c.namespace, ID: c.id, Bundle: c.bundle,
		Listener: inherited.Listener, Log: log,
		Version: Version, Revision: Revision, Binary: executable(), Debug: c.debug,
		Publish: c.publish,
	}, inherited.Ready)
	if err != nil {
		inherited.Fail(err)
	}
	return err
}

// executable returns the path we were started from, without asking whether it
// is still there.
func executable() string {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}
