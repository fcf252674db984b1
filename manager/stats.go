package manager

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/stats"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
)

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
	Usage         time.Duration `json:"usage"`
	User          time.Duration `json:"user"`
	System        time.Duration `json:"system"`
	Periods       uint64        `json:"periods"`   // enforcement periods
	Throttled     uint64        `json:"throttled"` // those that hit the limit
	ThrottledTime time.Duration `json:"throttled_time"`
}

// MemoryStats are bytes. A limit of 0 is none.
type MemoryStats struct {
	Usage      uint64 `json:"usage"`
	Limit      uint64 `json:"limit"`
	WorkingSet uint64 `json:"working_set"` // usage without inactive file cache
	Anon       uint64 `json:"anon"`
	File       uint64 `json:"file"`
	SwapUsage  uint64 `json:"swap_usage"`
	Peak       uint64 `json:"peak"`
	OOMKills   uint64 `json:"oom_kills"`
}

// PidsStats count tasks (threads). A limit of 0 is none.
type PidsStats struct {
	Current uint64 `json:"current"`
	Limit   uint64 `json:"limit"`
}

// IOStats are totals over all devices since the cgroup was made.
type IOStats struct {
	ReadBytes  uint64 `json:"read_bytes"`
	WriteBytes uint64 `json:"write_bytes"`
	Reads      uint64 `json:"reads"`
	Writes     uint64 `json:"writes"`
}

// Stats reads the counters of the container's cgroup.
func (t *Task) Stats(ctx context.Context) (Stats, error) {
	var any *types.Any
	err := t.call(ctx, "read statistics of", t.c.m.opt.callTimeout, func(ctx context.Context, shim *task.Client) error {
		resp, err := shim.Stats(ctx, &task.StatsRequest{ID: t.c.id})
		if err == nil {
			any = resp.Stats
		}
		return err
	})
	if err != nil {
		return Stats{}, err
	}
	s, err := decodeStats(any)
	if err != nil {
		return Stats{}, fmt.Errorf("read statistics of %v: %w", t, err)
	}
	s.Time = time.Now().UTC()
	return s, nil
}

// decodeStats makes Stats of what a shim sends.
func decodeStats(any *types.Any) (Stats, error) {
	if any == nil {
		return Stats{}, fmt.Errorf("the shim sent none: %w", ErrInvalid)
	}
	var s Stats
	var err error
	switch {
	case options.Is(any.TypeUrl, stats.TypeV1):
		var m stats.MetricsV1
		if err = m.Unmarshal(any.Value); err == nil {
			s = statsV1(&m)
		}
	case options.Is(any.TypeUrl, stats.TypeV2):
		var m stats.MetricsV2
		if err = m.Unmarshal(any.Value); err == nil {
			s = statsV2(&m)
		}
	default:
		err = fmt.Errorf("they are of type %q: %w", any.TypeUrl, ErrInvalid)
	}
	s.TypeURL, s.Raw = any.TypeUrl, any.Value
	return s, err
}

func statsV2(m *stats.MetricsV2) Stats {
	var s Stats
	if c := m.Cpu; c != nil {
		s.CPU = CPUStats{
			Usage: micro(c.UsageUsec), User: micro(c.UserUsec), System: micro(c.SystemUsec),
			Periods: c.NrPeriods, Throttled: c.NrThrottled, ThrottledTime: micro(c.ThrottledUsec),
		}
	}
	if r := m.Memory; r != nil {
		s.Memory = MemoryStats{
			Usage: r.Usage, Limit: limit(r.UsageLimit), WorkingSet: r.Usage - min(r.Usage, r.InactiveFile),
			Anon: r.Anon, File: r.File, SwapUsage: r.SwapUsage, Peak: r.MaxUsage,
		}
	}
	if e := m.MemoryEvents; e != nil {
		s.Memory.OOMKills = e.OomKill
	}
	s.Pids = pidsStats(m.Pids)
	if m.IO != nil {
		for _, d := range m.IO.Usage {
			s.IO.ReadBytes += d.Rbytes
			s.IO.WriteBytes += d.Wbytes
			s.IO.Reads += d.Rios
			s.IO.Writes += d.Wios
		}
	}
	return s
}

func statsV1(m *stats.MetricsV1) Stats {
	var s Stats
	if c := m.Cpu; c != nil {
		if u := c.Usage; u != nil {
			s.CPU.Usage, s.CPU.User, s.CPU.System = nano(u.Total), nano(u.User), nano(u.Kernel)
		}
		if t := c.Throttling; t != nil {
			s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = t.Periods, t.ThrottledPeriods, nano(t.ThrottledTime)
		}
	}
	if r := m.Memory; r != nil {
		s.Memory.Anon, s.Memory.File = r.TotalRss, r.TotalCache
		if u := r.Usage; u != nil {
			s.Memory.Usage, s.Memory.Limit, s.Memory.Peak = u.Usage, limit(u.Limit), u.Max
			s.Memory.WorkingSet = u.Usage - min(u.Usage, r.TotalInactiveFile)
		}
		if w := r.Swap; w != nil { // memory and swap together
			s.Memory.SwapUsage = w.Usage - min(w.Usage, s.Memory.Usage)
		}
	}
	if o := m.MemoryOomControl; o != nil {
		s.Memory.OOMKills = o.OomKill
	}
	s.Pids = pidsStats(m.Pids)
	if b := m.Blkio; b != nil {
		s.IO.ReadBytes, s.IO.WriteBytes = sumOps(b.IoServiceBytesRecursive)
		s.IO.Reads, s.IO.Writes = sumOps(b.IoServicedRecursive)
	}
	return s
}

func sumOps(entries []*stats.BlkioEntryV1) (reads, writes uint64) {
	for _, e := range entries {
		switch e.Op {
		case "Read":
			reads += e.Value
		case "Write":
			writes += e.Value
		}
	}
	return reads, writes
}

func pidsStats(p *stats.Pids) PidsStats {
	if p == nil {
		return PidsStats{}
	}
	return PidsStats{Current: p.Current, Limit: limit(p.Limit)}
}

// limit turns the values that stand for "no limit" into 0: cgroup v2 says max,
// which arrives as the largest number, v1 the largest multiple of a page.
func limit(n uint64) uint64 {
	if n >= math.MaxInt64&^0xffff {
		return 0
	}
	return n
}

// micro and nano are durations from counters that may be damaged.
func micro(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond
}
func nano(n uint64) time.Duration { return time.Duration(min(n, math.MaxInt64)) }
