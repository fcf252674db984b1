package cgroup

import (
	"bytes"

	"github.com/holdfast/holdfast/proto/stats"
)

// nsPerTick turns the clock ticks of cpuacct.stat into nanoseconds: USER_HZ is
// 100 on every architecture that Go knows (time(7)).
const nsPerTick = 10_000_000

// statsV1 reads the counters of the v1 hierarchies.
func (c *Cgroup) statsV1() *stats.MetricsV1 {
	m := new(stats.MetricsV1)
	r := open(c.Path("pids"))
	defer r.close()
	m.Pids = pidsV1(r)
	r.turn(c.Path("cpuacct"))
	usage := cpuUsageV1(r)
	r.turn(c.Path("cpu"))
	throttle := throttleV1(r)
	if usage != nil || throttle != nil {
		m.Cpu = &stats.CPUV1{Usage: usage, Throttling: throttle}
	}
	r.turn(c.Path("memory"))
	m.Memory = memoryV1(r)
	m.MemoryOomControl = oomControlV1(r)
	r.turn(c.Path("blkio"))
	m.Blkio = c.env.blkio(r)
	r.turn(c.Path("hugetlb"))
	for size := range c.env.pageSizes() {
		if h := hugetlbV1(r, size); h != nil {
			m.Hugetlb = append(m.Hugetlb, h)
		}
	}
	r.turn(c.Path("rdma"))
	m.Rdma = rdma(r)
	return m
}

// pidsV1: no limit is 0 in v1, as readers of these counters know it.
func pidsV1(r *reader) *stats.Pids {
	b := r.read("pids.current")
	if b == nil {
		return nil
	}
	p := &stats.Pids{Current: number(b)}
	if b := bytes.TrimSpace(r.read("pids.max")); string(b) != "max" {
		p.Limit = number(b)
	}
	return p
}

func cpuUsageV1(r *reader) *stats.CPUUsageV1 {
	b := r.read("cpuacct.usage")
	if b == nil {
		return nil
	}
	u := &stats.CPUUsageV1{Total: number(b)}
	for key, value := range pairs(r.read("cpuacct.stat")) {
		switch string(key) {
		case "user":
			u.User = number(value) * nsPerTick
		case "system":
			u.Kernel = number(value) * nsPerTick
		}
	}
	b = r.read("cpuacct.usage_percpu")
	u.PerCpu = make([]uint64, 0, bytes.Count(b, []byte{' '})+1)
	for f := range bytes.FieldsSeq(b) {
		u.PerCpu = append(u.PerCpu, number(f))
	}
	return u
}

func throttleV1(r *reader) *stats.ThrottleV1 {
	b := r.read("cpu.stat")
	if b == nil {
		return nil
	}
	t := new(stats.ThrottleV1)
	for key, value := range pairs(b) {
		switch string(key) {
		case "nr_periods":
			t.Periods = number(value)
		case "nr_throttled":
			t.ThrottledPeriods = number(value)
		case "throttled_time":
			t.ThrottledTime = number(value)
		}
	}
	return t
}

func memoryV1(r *reader) *stats.MemoryV1 {
	b := r.read("memory.stat")
	if b == nil {
		return nil
	}
	m := new(stats.MemoryV1)
	for key, value := range pairs(b) {
		if total, ok := bytes.CutPrefix(key, []byte("total_")); ok {
			setTotalV1(m, total, number(value))
		} else {
			setMemoryV1(m, key, number(value))
		}
	}
	m.Usage = entryV1(r, "memory")
	m.Swap = entryV1(r, "memory.memsw")
	m.Kernel = entryV1(r, "memory.kmem")
	m.KernelTcp = entryV1(r, "memory.kmem.tcp")
	return m
}

// setMemoryV1 stores a line of memory.stat about the cgroup itself.
func setMemoryV1(m *stats.MemoryV1, key []byte, n uint64) {
	switch string(key) {
	case "cache":
		m.Cache = n
	case "rss":
		m.Rss = n
	case "rss_huge":
		m.RssHuge = n
	case "mapped_file":
		m.MappedFile = n
	case "dirty":
		m.Dirty = n
	case "writeback":
		m.Writeback = n
	case "pgpgin":
		m.PgPgIn = n
	case "pgpgout":
		m.PgPgOut = n
	case "pgfault":
		m.PgFault = n
	case "pgmajfault":
		m.PgMajFault = n
	case "inactive_anon":
		m.InactiveAnon = n
	case "active_anon":
		m.ActiveAnon = n
	case "inactive_file":
		m.InactiveFile = n
	case "active_file":
		m.ActiveFile = n
	case "unevictable":
		m.Unevictable = n
	case "hierarchical_memory_limit":
		m.HierarchicalMemoryLimit = n
	case "hierarchical_memsw_limit":
		m.HierarchicalSwapLimit = n
	}
}

// setTotalV1 stores a line of memory.stat about the cgroup and those below it;
// key is without its prefix "total_".
func setTotalV1(m *stats.MemoryV1, key []byte, n uint64) {
	switch string(key) {
	case "cache":
		m.TotalCache = n
	case "rss":
		m.TotalRss = n
	case "rss_huge":
		m.TotalRssHuge = n
	case "mapped_file":
		m.TotalMappedFile = n
	case "dirty":
		m.TotalDirty = n
	case "writeback":
		m.TotalWriteback = n
	case "pgpgin":
		m.TotalPgPgIn = n
	case "pgpgout":
		m.TotalPgPgOut = n
	case "pgfault":
		m.TotalPgFault = n
	case "pgmajfault":
		m.TotalPgMajFault = n
	case "inactive_anon":
		m.TotalInactiveAnon = n
	case "active_anon":
		m.TotalActiveAnon = n
	case "inactive_file":
		m.TotalInactiveFile = n
	case "active_file":
		m.TotalActiveFile = n
	case "unevictable":
		m.TotalUnevictable = n
	}
}

// entryV1 reads the four files of one kind of memory; nil if the kernel does
// not account for it.
func entryV1(r *reader, kind string) *stats.MemoryEntryV1 {
	b := r.read(kind + ".usage_in_bytes")
	if b == nil {
		return nil
	}
	return &stats.MemoryEntryV1{
		Usage:   number(b),
		Limit:   r.value(kind + ".limit_in_bytes"),
		Max:     r.value(kind + ".max_usage_in_bytes"),
		Failcnt: r.value(kind + ".failcnt"),
	}
}

func oomControlV1(r *reader) *stats.OOMControlV1 {
	b := r.read("memory.oom_control")
	if b == nil {
		return nil
	}
	o := new(stats.OOMControlV1)
	for key, value := range pairs(b) {
		switch string(key) {
		case "oom_kill_disable":
			o.OomKillDisable = number(value)
		case "under_oom":
			o.UnderOom = number(value)
		case "oom_kill":
			o.OomKill = number(value)
		}
	}
	return o
}

func hugetlbV1(r *reader, size string) *stats.HugetlbV1 {
	b := r.read("hugetlb." + size + ".usage_in_bytes")
	if b == nil {
		return nil
	}
	return &stats.HugetlbV1{
		Usage:    number(b),
		Max:      r.value("hugetlb." + size + ".max_usage_in_bytes"),
		Failcnt:  r.value("hugetlb." + size + ".failcnt"),
		Pagesize: size,
	}
}
