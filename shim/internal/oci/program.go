package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// defaultBinary is the runtime of a Runtime that names none, and defaultPath
// where programs are looked for if there is no PATH (as execvp(3) does).
const (
	defaultBinary = "runc"
	defaultPath   = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// dropped are variables that are about this process and would be
// misunderstood by the runtime, itself often a Go program: runc hands
// descriptors on if it sees LISTEN_FDS, and reports readiness to NOTIFY_SOCKET.
func dropped(name string) bool {
	switch name {
	case "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK",
		"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
		"TTRPC_ADDRESS", "GRPC_ADDRESS", "NAMESPACE", "MAX_SHIM_VERSION",
		"SCHED_CORE":
		return true
	}
	return false
}

// program returns the path of the runtime and the environment to run it in.
func (r *Runtime) program() (path string, env []string, err error) {
	search := defaultPath
	from := r.Env
	if from == nil {
		from = os.Environ()
	}
	env = make([]string, 0, len(from)+1)
	for _, kv := range from {
		name, val, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH":
			search = val
		case !dropped(name):
			env = append(env, kv)
		}
	}
	if r.CriuDir != "" {
		search = r.CriuDir + ":" + search
	}
	env = append(env, "PATH="+search)

	path, err = lookUp(r.Binary, search)
	return path, slices.Clip(env), err
}

// lookUp finds a program as execvp(3) does, but says in one sentence what is
// wrong with it. The error wraps [ErrNoRuntime].
func lookUp(binary, search string) (string, error) {
	if binary == "" {
		binary = defaultBinary
	}
	if strings.Contains(binary, "/") {
		return binary, executable(binary)
	}
	for _, dir := range filepath.SplitList(search) {
		if dir == "" {
			continue // the working directory is no place to run programs from
		}
		path := filepath.Join(dir, binary)
		if executable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find OCI runtime %q in PATH: %w", binary, ErrNoRuntime)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("find OCI runtime %s: %w: %w", path, ErrNoRuntime, bare(err))
	case info.IsDir():
		return fmt.Errorf("run OCI runtime %s: %w: %w", path, ErrNoRuntime, syscall.EISDIR)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("run OCI runtime %s: %w: not executable", path, ErrNoRuntime)
	}
	return nil
}

// bare strips the path and call that our own text has already.
func bare(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// startCause classifies why the runtime could not be started although it is
// there: a script without an interpreter (ENOENT), not a program (ENOEXEC),
// another machine's. Any other error, as no memory, is itself.
func startCause(err error) error {
	for _, no := range []error{syscall.ENOENT, syscall.ENOEXEC, syscall.EACCES, syscall.ENOTDIR} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", ErrNoRuntime, err)
		}
	}
	return err
}
