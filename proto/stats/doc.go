// Package stats has the counters of a container's cgroup as they are sent in
// reply to Stats and Metrics: MetricsV1 and MetricsV2.
//
// The names follow the files of the kernel. A number that cannot be read is 0
// and a file that is not there leaves its message out. The package does not
// read cgroups.
package stats

// Type URLs of the two kinds of metrics.
const (
	TypeV1 = "io.containerd.cgroups.v1.Metrics"
	TypeV2 = "io.containerd.cgroups.v2.Metrics"
)
