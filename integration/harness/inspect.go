package harness

import "time"

// Inspect is the object that `holdfast inspect --json` prints. It is written
// down here once more on purpose: a member that is renamed over there must fail
// a test here.
type Inspect struct {
	ID        string            `json:"id"`
	Namespace string            `json:"namespace"`
	Bundle    string            `json:"bundle"`
	Status    string            `json:"status"`
	PID       int               `json:"pid"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels"`
	Runtime   struct {
		Binary string `json:"binary"`
	} `json:"runtime"`
	Exit *struct {
		Code   int    `json:"code"`
		Signal int    `json:"signal"`
		Core   bool   `json:"core"`
		Known  bool   `json:"known"`
		OOM    bool   `json:"oom"`
		Reason string `json:"reason"`
	} `json:"exit"`
	Shim *struct {
		PID        int       `json:"pid"`
		Version    string    `json:"version"`
		Binary     string    `json:"binary"`
		Generation int       `json:"generation"`
		Started    time.Time `json:"started"`
		Goroutines int       `json:"goroutines"`
		Fds        int       `json:"fds"`
	} `json:"shim"`
	Processes []struct {
		ID     string `json:"id"`
		PID    int    `json:"pid"`
		Status string `json:"status"`
		Exec   bool   `json:"exec"`
	} `json:"processes"`
}
