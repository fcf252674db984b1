package cgroup

import (
	"iter"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/holdfast/holdfast/proto/stats"
)

// rdma reads rdma.current and rdma.max, the same in v1 and v2.
func rdma(r *reader) *stats.Rdma {
	b := r.read("rdma.current")
	if b == nil {
		return nil
	}
	return &stats.Rdma{Current: parseRdma(b), Limit: parseRdma(r.read("rdma.max"))}
}

// parseRdma parses lines "mlx4_0 hca_handle=2 hca_object=max".
func parseRdma(b []byte) []*stats.RdmaEntry {
	var list []*stats.RdmaEntry
	for line := range lines(b) {
		name, fields := nested(line)
		if len(name) == 0 {
			continue
		}
		e := &stats.RdmaEntry{Device: string(name)}
		for key, value := range fields {
			n := uint32(min(number(value), math.MaxUint32))
			switch string(key) {
			case "hca_handle":
				e.HcaHandles = n
			case "hca_object":
				e.HcaObjects = n
			}
		}
		list = append(list, e)
	}
	return list
}

// pageSizes yields the sizes of huge pages as the names of hugetlb files have
// them: 64KB, 2MB, 1GB.
func (e env) pageSizes() iter.Seq[string] {
	return func(yield func(string) bool) {
		d, err := os.Open(e.sys + "/kernel/mm/hugepages")
		if err != nil {
			return // no huge pages here
		}
		defer d.Close()
		names, _ := d.Readdirnames(-1)
		for _, name := range names {
			if size, ok := pageSize(name); ok && !yield(size) {
				return
			}
		}
	}
}

// pageSize turns hugepages-2048kB into 2MB.
func pageSize(name string) (string, bool) {
	name, ok := strings.CutPrefix(name, "hugepages-")
	kb, err := strconv.ParseUint(strings.TrimSuffix(name, "kB"), 10, 54)
	switch {
	case !ok || err != nil:
		return "", false
	case kb >= 1<<20:
		return strconv.FormatUint(kb>>20, 10) + "GB", true
	case kb >= 1<<10:
		return strconv.FormatUint(kb>>10, 10) + "MB", true
	default:
		return strconv.FormatUint(kb, 10) + "KB", true
	}
}
