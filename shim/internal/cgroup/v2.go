package cgroup

import (
	"bytes"
	"strconv"

	"github.com/holdfast/holdfast/proto/stats"
)

// statsV2 reads the counters of the v2 hierarchy.
func (c *Cgroup) statsV2() *stats.MetricsV2 {
	r := open(c.Path(Unified))
	defer r.close()
	m := &stats.MetricsV2{
		Pids:         pidsV2(r),
		Cpu:          cpuV2(r),
		Memory:       memoryV2(r),
		MemoryEvents: memoryEventsV2(r),
		IO:           ioV2(r),
		Rdma:         rdma(r),
	}
	for size := range c.env.pageSizes() {
		if h := hugetlbV2(r, size); h != nil {
			m.Hugetlb = append(m.Hugetlb, h)
		}
	}
	return m
}

func pidsV2(r *reader) *stats.Pids {
	b := r.read("pids.current")
	if b == nil {
		return nil
	}
	return &stats.Pids{Current: number(b), Limit: r.value("pids.max")}
}

func cpuV2(r *reader) *stats.CPUV2 {
	b := r.read("cpu.stat")
	if b == nil {
		return nil
	}
	s := new(stats.CPUV2)
	for key, value := range pairs(b) {
		n := number(value)
		switch string(key) {
		case "usage_usec":
			s.UsageUsec = n
		case "user_usec":
			s.UserUsec = n
		case "system_usec":
			s.SystemUsec = n
		case "nr_periods":
			s.NrPeriods = n
		case "nr_throttled":
			s.NrThrottled = n
		case "throttled_usec":
			s.ThrottledUsec = n
		case "nr_bursts":
			s.NrBursts = n
		case "burst_usec":
			s.BurstUsec = n
		}
	}
	s.Psi = pressure(r.read("cpu.pressure"))
	return s
}

func memoryV2(r *reader) *stats.MemoryV2 {
	b := r.read("memory.stat")
	if b == nil {
		return nil
	}
	m := new(stats.MemoryV2)
	for key, value := range pairs(b) {
		n := number(value)
		if !setMemoryV2(m, key, n) {
			setReclaimV2(m, key, n)
		}
	}
	m.Usage = r.value("memory.current")
	m.UsageLimit = r.value("memory.max")
	m.MaxUsage = r.value("memory.peak")
	m.SwapUsage = r.value("memory.swap.current")
	m.SwapLimit = r.value("memory.swap.max")
	m.SwapMaxUsage = r.value("memory.swap.peak")
	m.Psi = pressure(r.read("memory.pressure"))
	return m
}

// setMemoryV2 stores a line of memory.stat about memory in use.
func setMemoryV2(m *stats.MemoryV2, key []byte, n uint64) bool {
	switch string(key) {
	case "anon":
		m.Anon = n
	case "file":
		m.File = n
	case "kernel_stack":
		m.KernelStack = n
	case "slab":
		m.Slab = n
	case "sock":
		m.Sock = n
	case "shmem":
		m.Shmem = n
	case "file_mapped":
		m.FileMapped = n
	case "file_dirty":
		m.FileDirty = n
	case "file_writeback":
		m.FileWriteback = n
	case "anon_thp":
		m.AnonThp = n
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
	case "slab_reclaimable":
		m.SlabReclaimable = n
	case "slab_unreclaimable":
		m.SlabUnreclaimable = n
	default:
		return false
	}
	return true
}

// setReclaimV2 stores a line of memory.stat about events. Since Linux 5.9 the
// working set is counted for anonymous and file pages apart: that is summed.
func setReclaimV2(m *stats.MemoryV2, key []byte, n uint64) {
	switch string(key) {
	case "pgfault":
		m.Pgfault = n
	case "pgmajfault":
		m.Pgmajfault = n
	case "workingset_refault", "workingset_refault_anon", "workingset_refault_file":
		m.WorkingsetRefault += n
	case "workingset_activate", "workingset_activate_anon", "workingset_activate_file":
		m.WorkingsetActivate += n
	case "workingset_nodereclaim":
		m.WorkingsetNodereclaim = n
	case "pgrefill":
		m.Pgrefill = n
	case "pgscan":
		m.Pgscan = n
	case "pgsteal":
		m.Pgsteal = n
	case "pgactivate":
		m.Pgactivate = n
	case "pgdeactivate":
		m.Pgdeactivate = n
	case "pglazyfree":
		m.Pglazyfree = n
	case "pglazyfreed":
		m.Pglazyfreed = n
	case "thp_fault_alloc":
		m.ThpFaultAlloc = n
	case "thp_collapse_alloc":
		m.ThpCollapseAlloc = n
	}
}

func memoryEventsV2(r *reader) *stats.MemoryEventsV2 {
	b := r.read("memory.events")
	if b == nil {
		return nil
	}
	e := new(stats.MemoryEventsV2)
	for key, value := range pairs(b) {
		n := number(value)
		switch string(key) {
		case "low":
			e.Low = n
		case "high":
			e.High = n
		case "max":
			e.Max = n
		case "oom":
			e.Oom = n
		case "oom_kill":
			e.OomKill = n
		case "oom_group_kill":
			e.OomGroupKill = n
		}
	}
	return e
}

func ioV2(r *reader) *stats.IOV2 {
	b := r.read("io.stat")
	if b == nil {
		return nil
	}
	s := &stats.IOV2{Usage: parseIO(b)}
	s.Psi = pressure(r.read("io.pressure"))
	return s
}

// parseIO parses lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
func parseIO(b []byte) []*stats.IOEntryV2 {
	var list []*stats.IOEntryV2
	for line := range lines(b) {
		name, fields := nested(line)
		major, minor, ok := device(name)
		if !ok {
			continue
		}
		e := &stats.IOEntryV2{Major: major, Minor: minor}
		for key, value := range fields {
			n := number(value)
			switch string(key) {
			case "rbytes":
				e.Rbytes = n
			case "wbytes":
				e.Wbytes = n
			case "rios":
				e.Rios = n
			case "wios":
				e.Wios = n
			}
		}
		list = append(list, e)
	}
	return list
}

// pressure parses "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the line
// "full" likewise; nil where the kernel has no PSI, or has it turned off.
func pressure(b []byte) *stats.PSI {
	var p stats.PSI
	for line := range lines(b) {
		kind, fields := nested(line)
		d := new(stats.PSIData)
		for key, value := range fields {
			switch string(key) {
			case "avg10":
				d.Avg10 = percent(value)
			case "avg60":
				d.Avg60 = percent(value)
			case "avg300":
				d.Avg300 = percent(value)
			case "total":
				d.Total = number(value)
			}
		}
		switch string(kind) {
		case "some":
			p.Some = d
		case "full":
			p.Full = d
		}
	}
	if p.Some == nil && p.Full == nil {
		return nil
	}
	return &p
}

func percent(b []byte) float64 {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f != f { // NaN
		return 0
	}
	return f
}

func hugetlbV2(r *reader, size string) *stats.HugetlbV2 {
	b := r.read("hugetlb." + size + ".current")
	if b == nil {
		return nil
	}
	h := &stats.HugetlbV2{Current: number(b), Max: r.value("hugetlb." + size + ".max"), Pagesize: size}
	for key, value := range pairs(r.read("hugetlb." + size + ".events")) {
		if bytes.Equal(key, []byte("max")) {
			h.Failcnt = number(value)
		}
	}
	return h
}
