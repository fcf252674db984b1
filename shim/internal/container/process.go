package container

import (
	"time"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/reaper"
)

// process is init or an exec.
type process struct {
	execID  string // "" for init
	streams Streams
	spec    []byte // process object of an exec

	// Guarded by Container.mu.
	state     state
	adding    bool            // its exec-added event is not out yet
	gone      bool            // deleted, but its id is not free yet
	starting  chan struct{}   // open while a start is under way; nil before the first
	proc      *reaper.Process // nil until it exists
	size      console.Size
	createdAt time.Time
	triedAt   time.Time   // of the latest start, whatever has come of it
	startedAt time.Time   // zero until a start has succeeded
	exit      bundle.Exit // valid once exited is closed

	exited    chan struct{} // closed when the exit is on record, or never can be
	announced chan struct{} // closed when the exit's event is out, or there will be none

	streamsOf
}

func newProcess(execID string, s Streams) *process {
	return &process{
		execID: execID, streams: s, state: created, createdAt: time.Now(),
		exited: make(chan struct{}), announced: make(chan struct{}),
	}
}

// pid returns the process id, 0 if there has never been one. Container.mu is held.
func (p *process) pid() int {
	if p.proc == nil {
		return 0
	}
	return p.proc.PID()
}

// over reports whether the kernel has said that p has ended. The table learns it
// a little later: the record comes first. Container.mu is held.
func (p *process) over() bool {
	if p.proc == nil {
		return false
	}
	_, ok := p.proc.Exit()
	return ok
}

// isStarting reports whether a start is under way. Container.mu is held.
func (p *process) isStarting() bool {
	if p.starting == nil {
		return false
	}
	select {
	case <-p.starting:
		return false
	default:
		return true
	}
}
