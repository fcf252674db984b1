package manager

import "time"

// Inspect is everything there is to say about a container. Its JSON form is
// stable: members are added, never renamed or removed.
type Inspect struct {
	ID        string            `json:"id"`
	Namespace string            `json:"namespace"`
	Bundle    string            `json:"bundle"`
	Status    State             `json:"status"`
	Reason    string            `json:"reason,omitempty"` // why status is unknown
	PID       int               `json:"pid"`
	Created   time.Time         `json:"created"`
	Started   *time.Time        `json:"started"` // of the current run
	Labels    map[string]string `json:"labels"`
	Runtime   Runtime           `json:"runtime"`
	Rootfs    string            `json:"rootfs,omitempty"`
	Mounts    []Mount           `json:"mounts,omitempty"`
	Exit      *InspectExit      `json:"exit"`
	Shim      *InspectShim      `json:"shim"`
	Processes []InspectProcess  `json:"processes"`
}

// InspectExit is an Exit in Inspect.
type InspectExit struct {
	Code       int       `json:"code"`
	Signal     int       `json:"signal"`
	SignalName string    `json:"signal_name,omitempty"`
	Core       bool      `json:"core"`
	Known      bool      `json:"known"`
	Reason     string    `json:"reason,omitempty"`
	OOM        bool      `json:"oom"`
	ExitedAt   time.Time `json:"exited_at"`
	UserUsec   int64     `json:"user_usec"`
	SystemUsec int64     `json:"system_usec"`
	MaxRSSKiB  int64     `json:"max_rss_kib"`
}

// InspectShim is the shim of the current run.
type InspectShim struct {
	PID        int       `json:"pid"`
	Version    string    `json:"version"`
	Binary     string    `json:"binary"`
	Generation uint64    `json:"generation"`
	Started    time.Time `json:"started"`
	Goroutines int       `json:"goroutines,omitempty"`
	Fds        int       `json:"fds,omitempty"`
	Address    string    `json:"address"`
}

// InspectProcess is init or an exec.
type InspectProcess struct {
	ID       string       `json:"id"` // the container's for init
	PID      int          `json:"pid"`
	Status   State        `json:"status"`
	Exec     bool         `json:"exec"`
	Terminal bool         `json:"terminal"`
	Exit     *InspectExit `json:"exit"`
}
