package manager

import "time"

// State is where a container's task is in its life.
type State string

// States. Unknown comes with a reason: the shim is dead or does not answer.
const (
	StateNone    State = "none"    // no task
	StateCreated State = "created" // made, not started
	StateRunning State = "running"
	StatePausing State = "pausing"
	StatePaused  State = "paused"
	StateStopped State = "stopped"
	StateUnknown State = "unknown"
)

// Status tells how a container or a process of it fares.
type Status struct {
	State     State
	PID       int    // on the host; kept after exit; 0 if there is none
	Reason    string // why State is StateUnknown
	Err       error  // the same, to test with errors.Is (ErrShimDead, ErrTimeout)
	Exit      *Exit  // if StateStopped
	CreatedAt time.Time
	StartedAt time.Time
}
