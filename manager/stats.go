package manager

import "time"

// Stats are counters of a task's cgroup, the same for cgroup v1 and v2. What a
// kernel does not count is 0.
type Stats struct {
	Time   time.Time   `json:"time"` // when they were read
	CPU    CPUStats    `json:"cpu"`
	Memory MemoryStats `json:"memory"`
	Pids   PidsStats   `json:"pids"`
	IO     IOStats     `json:"io"`

	// TypeURL and Raw are what the shim sent: io.containerd.cgroups.v1.Metrics
	// or io.containerd.cgroups.v2.Metrics, see proto/stats.
	TypeURL string `json:"type_url"`
	Raw     []byte `json:"-"`
}

// CPUStats are processor times, in nanoseconds as JSON.
type CPUStats struct {
	Usage, User, System time.Duration
	Periods, Throttled  uint64 // enforcement periods, and those that hit the limit
	ThrottledTime       time.Duration
}

// MemoryStats are bytes. A limit of 0 is none.
type MemoryStats struct {
	Usage, Limit    uint64
	WorkingSet      uint64 // usage without inactive file cache
	Anon, File      uint64
	SwapUsage, Peak uint64
	OOMKills        uint64
}

// PidsStats count tasks (threads). A limit of 0 is none.
type PidsStats struct{ Current, Limit uint64 }

// IOStats are totals over all devices since the cgroup was made.
type IOStats struct{ ReadBytes, WriteBytes, Reads, Writes uint64 }
