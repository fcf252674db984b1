package manager

import (
	"syscall"
	"time"
)

// Size is the size of a terminal in characters; 0 by 0 leaves it as it is.
type Size struct{ Width, Height uint16 }

// TaskConfig describes one run of a container. Whether it has a terminal is
// the spec's to say (process.terminal).
type TaskConfig struct {
	Stdio *Stdio // nil is the container's own (CreateConfig.Stdio)
	Size  Size   // of the terminal from its first moment
	// Checkpoint is the directory of a checkpoint to go on from, ParentCheckpoint
	// the one that it is a difference from.
	Checkpoint       string
	ParentCheckpoint string
	// Linger keeps the shim after the exit until the task is deleted. Without it
	// a stopped task costs no process.
	Linger bool
}

// Exit is how a process ended.
type Exit struct {
	Code   int            // exit code, 128 + signal, or 255 if it is not known
	Signal syscall.Signal // that killed it, 0 if none
	Core   bool           // the kernel dumped core
	Status uint32         // raw wait status; 0 if it is not known
	// Known says that all this is the kernel's word. If not, Reason says why
	// nobody can know.
	Known  bool
	Reason string
	// Failed is set for a process that never came to be; Code is 126, 127 or 255.
	Failed       bool
	OOM          bool // the out-of-memory killer had struck in the container
	ExitedAt     time.Time
	User, System time.Duration // CPU time
	MaxRSS       int64         // KiB
}

// Task is one run of a container. It is safe for concurrent use and stays
// valid, answering from disk, when its shim has ended. It has a connection of
// its container's, which Container.Close closes.
type Task struct{ *Process }

// ProcessInfo is a line of Task.Pids.
type ProcessInfo struct {
	PID    int    `json:"pid"`               // on the host
	ExecID string `json:"exec_id,omitempty"` // if it was made by Exec
}

// CheckpointConfig says how to write a container's processes to disk.
type CheckpointConfig struct {
	Path                string // directory for the images, made if missing
	Parent              string // earlier checkpoint to save the difference from
	WorkPath            string // criu's logs; "" is inside Path
	Exit                bool   // end the container once it is on disk
	OpenTCP             bool   // established TCP connections too
	ExternalUnixSockets bool   // unix sockets whose other end is outside
	Terminal            bool   // a shell's job
	FileLocks           bool
	EmptyNamespaces     []string // restored empty, e.g. "network"
}
