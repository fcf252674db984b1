package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

// limitFlags are the limits of a cgroup as flags: run, create and update share
// them.
type limitFlags struct {
	fs *pflag.FlagSet

	memory, reservation, swap size
	cpus                      float64
	shares, period            uint64
	quota                     int64
	cpuset, memset            string
	pids                      int64
}

// cpuPeriod is the period that --cpus divides, in microseconds: the kernel's
// default, 100 ms.
const cpuPeriod = 100_000

func newLimitFlags(fs *pflag.FlagSet) *limitFlags {
	f := &limitFlags{fs: fs}
	fs.Var(&f.memory, "memory", "most memory, as 512m or 2g; -1 is no limit")
	fs.Var(&f.reservation, "memory-reservation", "memory kept when the host runs short")
	fs.Var(&f.swap, "memory-swap", "most memory and swap together; -1 is no limit")
	fs.Float64Var(&f.cpus, "cpus", 0, "most processor time, as a `number` of processors")
	fs.Uint64Var(&f.shares, "cpu-shares", 0, "`weight` against others (default 1024)")
	fs.Int64Var(&f.quota, "cpu-quota", 0, "`microseconds` of processor time a period; -1 is no limit")
	fs.Uint64Var(&f.period, "cpu-period", 0, "`microseconds` of a period")
	fs.StringVar(&f.cpuset, "cpuset-cpus", "", "processors to run on, as `0-2,4`")
	fs.StringVar(&f.memset, "cpuset-mems", "", "memory nodes to use, as `0,1`")
	fs.Int64Var(&f.pids, "pids-limit", 0, "most processes and threads, a `number`; -1 is no limit")
	return f
}

// owns reports whether name is one of the flags.
func (f *limitFlags) owns(name string) bool {
	switch name {
	case "memory", "memory-reservation", "memory-swap", "cpus", "cpu-shares", "cpu-quota",
		"cpu-period", "cpuset-cpus", "cpuset-mems", "pids-limit":
		return true
	}
	return false
}

// given reports whether any of them was set.
func (f *limitFlags) given() bool {
	any := false
	f.fs.Visit(func(fl *pflag.Flag) { any = any || f.owns(fl.Name) })
	return any
}

// apply writes the limits that were given into r.
func (f *limitFlags) apply(r *specs.LinuxResources) error {
	if f.fs.Changed("cpus") && (f.fs.Changed("cpu-quota") || f.fs.Changed("cpu-period")) {
		return usage(f.fs.Name(), "--cpus excludes --cpu-quota and --cpu-period")
	}
	if f.memory.set || f.reservation.set || f.swap.set {
		if r.Memory == nil {
			r.Memory = &specs.LinuxMemory{}
		}
		f.memory.into(&r.Memory.Limit)
		f.reservation.into(&r.Memory.Reservation)
		f.swap.into(&r.Memory.Swap)
	}
	if err := f.applyCPU(r); err != nil {
		return err
	}
	if f.fs.Changed("pids-limit") {
		r.Pids = &specs.LinuxPids{Limit: &f.pids}
	}
	return nil
}

func (f *limitFlags) applyCPU(r *specs.LinuxResources) error {
	cpu := specs.LinuxCPU{}
	if r.CPU != nil {
		cpu = *r.CPU
	}
	if f.fs.Changed("cpus") {
		if !(f.cpus >= 0.01 && f.cpus <= 1e6) {
			return usage(f.fs.Name(), "--cpus: %v is less than 0.01 or more than any machine has", f.cpus)
		}
		quota, period := int64(math.Round(f.cpus*cpuPeriod)), uint64(cpuPeriod)
		cpu.Quota, cpu.Period = &quota, &period
	}
	if f.fs.Changed("cpu-quota") {
		cpu.Quota = &f.quota
	}
	if f.fs.Changed("cpu-period") {
		cpu.Period = &f.period
	}
	if f.fs.Changed("cpu-shares") {
		cpu.Shares = &f.shares
	}
	if f.cpuset != "" {
		cpu.Cpus = f.cpuset
	}
	if f.memset != "" {
		cpu.Mems = f.memset
	}
	if cpu != (specs.LinuxCPU{}) {
		r.CPU = &cpu
	}
	return nil
}

func (s *size) into(p **int64) {
	if s.set {
		n := s.bytes
		*p = &n
	}
}

// maxResources is far more than the resources of a spec can be, in bytes.
const maxResources = 1 << 20

// readResources decodes the resources of a runtime spec from a file, "-" is
// stdin.
func readResources(path string, stdin io.Reader) (*specs.LinuxResources, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read resources: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxResources+1))
	if err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	if len(data) > maxResources {
		return nil, fmt.Errorf("read resources %s: more than %d bytes", path, maxResources)
	}
	r := &specs.LinuxResources{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read resources %s: %w", path, err)
	}
	return r, nil
}

// resources are the limits of the flags, or of a file if one is named.
func (f *limitFlags) resources(file string, stdin io.Reader) (*specs.LinuxResources, error) {
	if file != "" {
		return readResources(file, stdin)
	}
	r := &specs.LinuxResources{}
	return r, f.apply(r)
}
