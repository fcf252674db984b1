package manager

import (
	"syscall"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/shimv1"
)

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

// exitOf is what a record on disk says.
func exitOf(e bundle.Exit) Exit {
	return Exit{
		Code: e.Code, Signal: syscall.Signal(e.Signal()), Core: e.Core(), Status: e.Status,
		Known: e.Known, Reason: e.Reason, Failed: e.Failed, OOM: e.OOM, ExitedAt: e.ExitedAt,
		User: e.User, System: e.System, MaxRSS: e.MaxRSS,
	}
}

// exitFromWire is what a shim says.
func exitFromWire(s *shimv1.ExitStatus) Exit {
	return Exit{
		Code: int(s.Code), Signal: syscall.Signal(s.Signal), Core: s.Core, Status: s.Status,
		Known: s.Known, Reason: s.Reason, OOM: s.Oom, ExitedAt: s.ExitedAt.Time(),
		User: time.Duration(s.UserUsec) * time.Microsecond, System: time.Duration(s.SystemUsec) * time.Microsecond,
		MaxRSS: int64(s.MaxRssKib),
	}
}
