package cgroup

import (
	"bytes"
	"os"

	"github.com/holdfast/holdfast/proto/stats"
)

// blkio reads the I/O counters of v1. Which files have numbers depends on the
// I/O scheduler: those of CFQ (until Linux 5.0), of BFQ, or, whatever the
// scheduler, those of the throttling layer. The first with any wins.
func (e env) blkio(r *reader) *stats.BlkioV1 {
	if r.dirfd < 0 {
		return nil
	}
	d := &devices{env: e}
	return &stats.BlkioV1{
		IoServiceBytesRecursive: d.entries(r, "blkio.io_service_bytes_recursive", "blkio.bfq.io_service_bytes_recursive",
			"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"),
		IoServicedRecursive: d.entries(r, "blkio.io_serviced_recursive", "blkio.bfq.io_serviced_recursive",
			"blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"),
		IoQueuedRecursive:      d.entries(r, "blkio.io_queued_recursive", "blkio.bfq.io_queued_recursive"),
		IoServiceTimeRecursive: d.entries(r, "blkio.io_service_time_recursive", "blkio.bfq.io_service_time_recursive"),
		IoWaitTimeRecursive:    d.entries(r, "blkio.io_wait_time_recursive", "blkio.bfq.io_wait_time_recursive"),
		IoMergedRecursive:      d.entries(r, "blkio.io_merged_recursive", "blkio.bfq.io_merged_recursive"),
		IoTimeRecursive:        d.entries(r, "blkio.time_recursive", "blkio.bfq.time_recursive"),
		SectorsRecursive:       d.entries(r, "blkio.sectors_recursive", "blkio.bfq.sectors_recursive"),
	}
}

// devices knows the names of block devices, read when the first is asked for.
type devices struct {
	env   env
	names map[[2]uint64]string
}

// entries returns the lines of the first of the files that has any.
func (d *devices) entries(r *reader, names ...string) []*stats.BlkioEntryV1 {
	for _, name := range names {
		if list := parseBlkio(r.read(name)); len(list) > 0 {
			for _, entry := range list {
				entry.Device = d.name(entry.Major, entry.Minor)
			}
			return list
		}
	}
	return nil
}

// parseBlkio parses lines "8:0 Read 4096" and "8:0 4096"; the sums over all
// devices, "Total 4096", are left out.
func parseBlkio(b []byte) []*stats.BlkioEntryV1 {
	var list []*stats.BlkioEntryV1
	for name, rest := range pairs(b) {
		major, minor, ok := device(name)
		if !ok {
			continue
		}
		op, value, ok := bytes.Cut(rest, []byte{' '})
		if !ok {
			op, value = nil, rest
		}
		list = append(list, &stats.BlkioEntryV1{Op: opName(op), Major: major, Minor: minor, Value: number(value)})
	}
	return list
}

// opName spares an allocation for each of the usual names.
func opName(b []byte) string {
	for _, s := range [...]string{"Read", "Write", "Sync", "Async", "Discard", "Total"} {
		if s == string(b) {
			return s
		}
	}
	return string(b)
}

// name returns the device's path, "" if it is not known any more.
func (d *devices) name(major, minor uint64) string {
	if d.names == nil {
		b, _ := os.ReadFile(d.env.proc + "/diskstats")
		d.names = parseDiskstats(b)
	}
	return d.names[[2]uint64{major, minor}]
}

// parseDiskstats parses lines " 8 0 sda ..." of /proc/diskstats.
func parseDiskstats(b []byte) map[[2]uint64]string {
	names := make(map[[2]uint64]string)
	for line := range lines(b) {
		f := bytes.Fields(line)
		if len(f) > 2 && isDigits(f[0]) && isDigits(f[1]) {
			names[[2]uint64{number(f[0]), number(f[1])}] = "/dev/" + string(f[2])
		}
	}
	return names
}
