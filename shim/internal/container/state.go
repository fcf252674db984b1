package container

import "strconv"

// state is where a process of the container, init or exec, is in its life.
type state uint8

const (
	refused state = iota // zero value: the table says no
	created              // known; init is parked in the OCI runtime, an exec does not exist yet
	running
	paused // init only: the cgroup is frozen
	stopped
	deleted
	numStates
)

// event is what may happen to a process.
type event uint8

const (
	evStart  event = iota // the OCI runtime has started it
	evFail                // an exec could not be started, an image not be restored
	evPause               // the cgroup is frozen
	evResume              // the cgroup is thawed
	evExit                // the kernel says that it has ended
	evDelete              // it is forgotten
	numEvents
)

// next is the whole life of a process. A missing entry is a refusal, so a cell
// that somebody forgot is a safe one.
//
//	            start     pause      exit      delete
//	created ──────────► running ◄──► paused
//	   │ └── fail ─────────┐ │ exit     │ exit
//	   │ exit              ▼ ▼          ▼
//	   └────────────────► stopped ◄─────┘
//	created (exec only, never started), stopped ── delete ──► deleted
var next = [numStates][numEvents]state{
	created: {evStart: running, evFail: stopped, evExit: stopped, evDelete: deleted},
	running: {evPause: paused, evExit: stopped},
	paused:  {evResume: running, evExit: stopped},
	stopped: {evDelete: deleted},
}

// after returns the state that e leads to, or refused.
func (s state) after(e event) state { return next[s][e] }

var stateNames = [numStates]string{"refused", "created", "running", "paused", "stopped", "deleted"}

func (s state) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return strconv.Itoa(int(s))
}
