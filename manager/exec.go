package manager

import "github.com/opencontainers/runtime-spec/specs-go"

// ExecConfig describes a further process of a running task.
type ExecConfig struct {
	// ID names the exec within the container; "" makes a random one.
	ID string
	// Process is taken as it is. If nil, it is made from the container's own
	// process (environment, user, directory, capabilities, limits) and the
	// fields below.
	Process *specs.Process

	Args     []string
	Env      []string // KEY=VALUE, added to or replacing the container's
	Cwd      string
	User     string // name or number, as in SpecConfig
	Terminal bool
	Size     Size

	Stdio Stdio
}

// Exec is a further process of a task. It is safe for concurrent use. Its
// record stays until Delete.
type Exec struct{ *Process }
