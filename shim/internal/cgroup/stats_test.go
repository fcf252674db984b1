package cgroup

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/stats"
)

// keyed returns a file with a line for each key, numbered from first on.
func keyed(first int, keys string) string {
	var b strings.Builder
	for i, key := range strings.Fields(keys) {
		b.WriteString(key + " " + strings.Repeat("0", 2) + itoa(first+i) + "\n")
	}
	return b.String()
}

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// same compares messages by their JSON, which also reads well when they differ.
func same(t *testing.T, got, want any) {
	t.Helper()
	g, _ := json.MarshalIndent(got, "", " ")
	w, _ := json.MarshalIndent(want, "", " ")
	if string(g) != string(w) {
		t.Errorf("got %s\nwant %s", g, w)
	}
}

func v1Tree(t *testing.T) *Cgroup {
	t.Helper()
	mem := "cache rss rss_huge shmem mapped_file dirty writeback swap pgpgin pgpgout pgfault pgmajfault " +
		"inactive_anon active_anon inactive_file active_file unevictable"
	own, total := keyed(101, mem), keyed(201, "total_"+strings.ReplaceAll(mem, " ", " total_"))
	four := func(kind, base string) []string {
		var files []string
		for i, f := range []string{"limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt"} {
			files = append(files, "cg/memory/c1/"+kind+"."+f, base+itoa(i+1)+"\n")
		}
		return files
	}
	w := newTree(t).write(
		"proc/self/cgroup", "1:cpu,cpuacct:/\n", "proc/self/mountinfo", mountinfoV1,
		"proc/7/cgroup", "1:cpu,cpuacct:/c1\n2:pids:/c1\n3:memory:/c1\n4:blkio:/c1\n5:hugetlb:/c1\n6:rdma:/c1\n0::/\n",
		"proc/diskstats", "   8       0 sda 1 2 3\n   8  1 sda1 1\n",
		"sys/kernel/mm/hugepages/hugepages-2048kB/x", "",
		"cg/pids/c1/pids.current", "3\n", "cg/pids/c1/pids.max", "max\n",
		"cg/cpu/c1/cpuacct.usage", "123456789\n", "cg/cpu/c1/cpuacct.usage_percpu", "1 2 3 \n",
		"cg/cpu/c1/cpuacct.stat", "user 5\nsystem 7\n",
		"cg/cpu/c1/cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 3\nnr_bursts 4\n",
		"cg/memory/c1/memory.stat", own+"hierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 44\n"+total,
		"cg/memory/c1/memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 6\n",
		"cg/blkio/c1/blkio.bfq.io_service_bytes_recursive", "Total 0\n",
		"cg/blkio/c1/blkio.throttle.io_service_bytes", "8:0 Read 4096\n8:0 Write 512\n9:9 Async 1\nTotal 4609\n",
		"cg/blkio/c1/blkio.io_serviced_recursive", "8:1 Odd 2\nTotal 2\n",
		"cg/blkio/c1/blkio.throttle.io_serviced", "8:0 Read 1\n",
		"cg/blkio/c1/blkio.sectors_recursive", "8:0 77\n",
		"cg/hugetlb/c1/hugetlb.2MB.usage_in_bytes", "1\n", "cg/hugetlb/c1/hugetlb.2MB.max_usage_in_bytes", "2\n",
		"cg/hugetlb/c1/hugetlb.2MB.failcnt", "3\n",
		"cg/rdma/c1/rdma.current", "mlx4_0 hca_handle=2 hca_object=2000\n",
		"cg/rdma/c1/rdma.max", "mlx4_0 hca_handle=max hca_object=7\n",
	)
	w.write(four("memory", "1")...).write(four("memory.kmem", "3")...).write(four("memory.kmem.tcp", "4")...)
	c, err := find(w.env(), 7)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStatsV1(t *testing.T) {
	c := v1Tree(t)
	got, url, err := c.Stats()
	if err != nil || url != stats.TypeV1 || c.V2() {
		t.Fatal(url, err)
	}
	entry := func(n uint64) *stats.MemoryEntryV1 {
		return &stats.MemoryEntryV1{Limit: n + 1, Usage: n + 2, Max: n + 3, Failcnt: n + 4}
	}
	same(t, got, &stats.MetricsV1{
		Hugetlb: []*stats.HugetlbV1{{Usage: 1, Max: 2, Failcnt: 3, Pagesize: "2MB"}},
		Pids:    &stats.Pids{Current: 3},
		Cpu: &stats.CPUV1{
			Usage:      &stats.CPUUsageV1{Total: 123456789, Kernel: 70e6, User: 50e6, PerCpu: []uint64{1, 2, 3}},
			Throttling: &stats.ThrottleV1{Periods: 1, ThrottledPeriods: 2, ThrottledTime: 3},
		},
		Memory: &stats.MemoryV1{
			Cache: 101, Rss: 102, RssHuge: 103, MappedFile: 105, Dirty: 106, Writeback: 107,
			PgPgIn: 109, PgPgOut: 110, PgFault: 111, PgMajFault: 112,
			InactiveAnon: 113, ActiveAnon: 114, InactiveFile: 115, ActiveFile: 116, Unevictable: 117,
			HierarchicalMemoryLimit: 9223372036854771712, HierarchicalSwapLimit: 44,
			TotalCache: 201, TotalRss: 202, TotalRssHuge: 203, TotalMappedFile: 205, TotalDirty: 206, TotalWriteback: 207,
			TotalPgPgIn: 209, TotalPgPgOut: 210, TotalPgFault: 211, TotalPgMajFault: 212,
			TotalInactiveAnon: 213, TotalActiveAnon: 214, TotalInactiveFile: 215, TotalActiveFile: 216, TotalUnevictable: 217,
			Usage: entry(10), Kernel: entry(30), KernelTcp: entry(40),
		},
		Blkio: &stats.BlkioV1{
			IoServiceBytesRecursive: []*stats.BlkioEntryV1{
				{Op: "Read", Device: "/dev/sda", Major: 8, Value: 4096},
				{Op: "Write", Device: "/dev/sda", Major: 8, Value: 512},
				{Op: "Async", Major: 9, Minor: 9, Value: 1},
			},
			IoServicedRecursive: []*stats.BlkioEntryV1{{Op: "Odd", Device: "/dev/sda1", Major: 8, Minor: 1, Value: 2}},
			SectorsRecursive:    []*stats.BlkioEntryV1{{Device: "/dev/sda", Major: 8, Value: 77}},
		},
		Rdma: &stats.Rdma{
			Current: []*stats.RdmaEntry{{Device: "mlx4_0", HcaHandles: 2, HcaObjects: 2000}},
			Limit:   []*stats.RdmaEntry{{Device: "mlx4_0", HcaHandles: math.MaxUint32, HcaObjects: 7}},
		},
		MemoryOomControl: &stats.OOMControlV1{OomKillDisable: 1, OomKill: 6},
	})
	if n, err := c.OOMKills(); n != 6 || err != nil {
		t.Errorf("OOM kills: %d, %v", n, err)
	}
}

func v2Tree(t *testing.T) *Cgroup {
	t.Helper()
	w := newTree(t).write(
		"proc/self/cgroup", "0::/\n", "proc/self/mountinfo", mountinfoV2, "proc/7/cgroup", "0::/c1\n",
		"sys/kernel/mm/hugepages/hugepages-1048576kB/x", "", "sys/kernel/mm/hugepages/hugepages-64kB/x", "",
		"cg/c1/pids.current", "3\n", "cg/c1/pids.max", "max\n",
		"cg/c1/cpu.stat", keyed(1, "usage_usec user_usec system_usec core_sched.force_idle_usec nr_periods nr_throttled throttled_usec nr_bursts burst_usec"),
		"cg/c1/cpu.pressure", "some avg10=0.25 avg60=1.50 avg300=99.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
		"cg/c1/memory.stat", keyed(101, "anon file kernel_stack slab sock shmem file_mapped file_dirty file_writeback anon_thp "+
			"inactive_anon active_anon inactive_file active_file unevictable slab_reclaimable slab_unreclaimable pgfault pgmajfault "+
			"workingset_refault_anon workingset_refault_file workingset_activate_anon workingset_activate_file "+
			"workingset_nodereclaim pgrefill pgscan pgsteal pgactivate pgdeactivate pglazyfree pglazyfreed thp_fault_alloc thp_collapse_alloc"),
		"cg/c1/memory.current", "1\n", "cg/c1/memory.max", "max\n", "cg/c1/memory.peak", "2\n",
		"cg/c1/memory.swap.current", "3\n", "cg/c1/memory.swap.max", "4\n",
		"cg/c1/memory.events", keyed(1, "low high max oom oom_kill oom_group_kill"),
		"cg/c1/io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n252:3 \nbad rbytes=1\n",
		"cg/c1/rdma.current", "",
		"cg/c1/hugetlb.1GB.current", "1\n", "cg/c1/hugetlb.1GB.max", "max\n", "cg/c1/hugetlb.1GB.events", "max 5\n",
	)
	c, err := find(w.env(), 7)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStatsV2(t *testing.T) {
	c := v2Tree(t)
	got, url, err := c.Stats()
	if err != nil || url != stats.TypeV2 || !c.V2() {
		t.Fatal(url, err)
	}
	const none = math.MaxUint64
	same(t, got, &stats.MetricsV2{
		Pids: &stats.Pids{Current: 3, Limit: none},
		Cpu: &stats.CPUV2{
			UsageUsec: 1, UserUsec: 2, SystemUsec: 3, NrPeriods: 5, NrThrottled: 6, ThrottledUsec: 7, NrBursts: 8, BurstUsec: 9,
			Psi: &stats.PSI{Some: &stats.PSIData{Avg10: 0.25, Avg60: 1.5, Avg300: 99, Total: 123}, Full: &stats.PSIData{Total: 9}},
		},
		Memory: &stats.MemoryV2{
			Anon: 101, File: 102, KernelStack: 103, Slab: 104, Sock: 105, Shmem: 106, FileMapped: 107, FileDirty: 108,
			FileWriteback: 109, AnonThp: 110, InactiveAnon: 111, ActiveAnon: 112, InactiveFile: 113, ActiveFile: 114,
			Unevictable: 115, SlabReclaimable: 116, SlabUnreclaimable: 117, Pgfault: 118, Pgmajfault: 119,
			WorkingsetRefault: 120 + 121, WorkingsetActivate: 122 + 123, WorkingsetNodereclaim: 124,
			Pgrefill: 125, Pgscan: 126, Pgsteal: 127, Pgactivate: 128, Pgdeactivate: 129, Pglazyfree: 130, Pglazyfreed: 131,
			ThpFaultAlloc: 132, ThpCollapseAlloc: 133,
			Usage: 1, UsageLimit: none, SwapUsage: 3, SwapLimit: 4, MaxUsage: 2,
		},
		Rdma: &stats.Rdma{},
		IO: &stats.IOV2{Usage: []*stats.IOEntryV2{
			{Major: 8, Rbytes: 1, Wbytes: 2, Rios: 3, Wios: 4}, {Major: 252, Minor: 3},
		}},
		Hugetlb:      []*stats.HugetlbV2{{Current: 1, Max: none, Pagesize: "1GB", Failcnt: 5}},
		MemoryEvents: &stats.MemoryEventsV2{Low: 1, High: 2, Max: 3, Oom: 4, OomKill: 5, OomGroupKill: 6},
	})
	if n, err := c.OOMKills(); n != 5 || err != nil {
		t.Errorf("OOM kills: %d, %v", n, err)
	}
}

func TestStatsOfBareCgroupHaveNoMessages(t *testing.T) {
	w := newTree(t).write("proc/self/cgroup", "0::/\n", "proc/self/mountinfo", mountinfoV2, "proc/7/cgroup", "0::/c1\n",
		"cg/c1/cgroup.procs", "")
	c, err := find(w.env(), 7)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, &stats.MetricsV2{})
}

func TestStatsLeaveNoDescriptor(t *testing.T) {
	for _, c := range []*Cgroup{v1Tree(t), v2Tree(t)} {
		before := countFds(t)
		for range 3 {
			c.Stats()
			c.OOMKills()
			c.Pids()
		}
		if n := countFds(t); n != before {
			t.Errorf("%d descriptors, were %d", n, before)
		}
	}
}

func countFds(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestNumber(t *testing.T) {
	for in, want := range map[string]uint64{
		"0\n": 0, " 42 \n": 42, "max\n": math.MaxUint64, "18446744073709551615": math.MaxUint64,
		"18446744073709551616": math.MaxUint64, "99999999999999999999999": math.MaxUint64, "": 0, "-1": 0, "x": 0, "1x": 0,
	} {
		if got := number([]byte(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"hugepages-2048kB": "2MB", "hugepages-1048576kB": "1GB", "hugepages-64kB": "64KB", "hugepages-xkB": "", "2048kB": "",
	} {
		if got, ok := pageSize(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestReaderTakesLargeFiles(t *testing.T) {
	large := strings.Repeat("8:0 rbytes=1\n", 20_000)
	w := newTree(t).write("big", large, "huge", strings.Repeat("x", limitFile+1), "small", "7\n")
	r := open(w.dir)
	defer r.close()
	if b := r.read("big"); string(b) != large {
		t.Errorf("%d bytes, want %d", len(b), len(large))
	}
	if b := r.read("huge"); b != nil {
		t.Errorf("%d bytes of a file without end", len(b))
	}
	if n := r.value("small"); n != 7 {
		t.Error(n)
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{"8:0 Read 1\nTotal 1\n", "8:0 rbytes=1 wbytes=", "some avg10=NaN total=1\nfull", "   8 0 sda", "max", " =", "a b=c\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parseBlkio(b)
		parseIO(b)
		parseRdma(b)
		parseDiskstats(b)
		number(b)
		pageSize(string(b))
		if p := pressure(b); p != nil && p.Some == nil && p.Full == nil {
			t.Error("pressure of nothing")
		}
		n := 0
		for range pairs(b) {
			n++
		}
		if n > strings.Count(string(b), "\n")+1 {
			t.Errorf("%d pairs", n)
		}
	})
}

func BenchmarkStatsV1(b *testing.B) { benchStats(b, "/sys/fs/cgroup/") }

// benchStats reads the counters of some real cgroup that is not the root's.
func benchStats(b *testing.B, base string) {
	c := &Cgroup{env: linux(), lead: "memory", groups: make(map[string]group)}
	for _, name := range []string{"pids", "cpu", "cpuacct", "memory", "blkio"} {
		c.groups[name] = group{path: "/", dir: base + name}
	}
	if !c.Exists() {
		b.Skip("no v1 here")
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Stats()
	}
}
