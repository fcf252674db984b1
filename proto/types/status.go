package types

// String returns the name that people and containerd use: created, running,
// stopped, paused, pausing; unknown for anything else.
func (s Status) String() string {
	switch s {
	case StatusCreated:
		return "created"
	case StatusRunning:
		return "running"
	case StatusStopped:
		return "stopped"
	case StatusPaused:
		return "paused"
	case StatusPausing:
		return "pausing"
	}
	return "unknown"
}
