// Package cgroup reads the control groups of a container and signals the
// processes in them, on cgroup v1, v2 and the mix of both.
//
//	/proc/PID/cgroup        /proc/self/mountinfo          directory
//	4:memory:/kube/c1   +   /kube → /sys/fs/cgroup/mem =  /sys/fs/cgroup/mem/c1
//	0::/kube/c1         +   /     → /sys/fs/cgroup     =  /sys/fs/cgroup/kube/c1
//
// Invariants:
//
//   - A cgroup that this process is in too, or an ancestor of that, is never
//     taken for the container's: an OCI runtime that made no cgroup leaves the
//     container in ours, and killing everything in it would be suicide, in the
//     root of the machine far worse.
//   - A process is signalled through a pidfd, after its membership has been
//     read with the pidfd open.
//   - No descriptor is kept: a Cgroup is a few paths.
//
// What it does not do: it makes, moves, freezes and removes no cgroups (the OCI
// runtime does), does not watch for OOM kills (it names the directories, see
// [Cgroup.Path]), and fills in no network counters and no cgroup_stats.
package cgroup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/stats"
	"github.com/holdfast/holdfast/proto/wire"
)

// Errors of [Find].
var (
	// ErrShared says that the process has no cgroup but those we are in.
	ErrShared = errors.New("no cgroup of its own")
	// ErrOutside says that the cgroup is not below the root of our cgroup
	// namespace (cgroup_namespaces(7)), so that we have no path to it.
	ErrOutside = errors.New("outside of our cgroup namespace")
)

// Unified is the name under which [Cgroup.Path] knows the v2 hierarchy.
const Unified = ""

// Cgroup is the cgroup of a container, in each of the hierarchies where it has
// one of its own. It is not changed after [Find]; its methods may be called
// from any goroutine and go on working, with errors that wrap
// [os.ErrNotExist], when the cgroup has been removed.
type Cgroup struct {
	groups map[string]group // by controller; v1 also "name=systemd" and the like
	lead   string           // the controller whose hierarchy says who is in the cgroup
	v2     bool             // no v1 controller: numbers come from v2
	env    env
}

// group is a place in one hierarchy.
type group struct {
	path string // as in /proc/PID/cgroup
	dir  string // where we see it
}

// leads are the hierarchies that are asked who is in the container, best first.
// The OCI runtimes join all they know; those that others also use for ends of
// their own come last.
var leads = [...]string{"pids", "devices", "memory", "freezer", "cpu", "cpuacct", "blkio", "cpuset", "name=systemd", Unified}

// Find finds the cgroup of a process. The caller makes sure that pid is still
// the process it means, by holding a pidfd or being its parent.
//
// The error wraps [ErrShared] or [ErrOutside]; for a process that is gone,
// ESRCH or [os.ErrNotExist]. A v1 process that has died counts as being in the
// root, and so has no cgroup of its own.
func Find(pid int) (*Cgroup, error) {
	return find(linux(), pid)
}

func find(e env, pid int) (*Cgroup, error) {
	groups, err := e.groups(pid)
	if err != nil {
		return nil, fmt.Errorf("find cgroup of process %d: %w", pid, err)
	}
	c := &Cgroup{groups: groups, env: e, v2: true}
	for name := range groups {
		if name != Unified && !isNamed(name) {
			c.v2 = false
		}
	}
	if c.v2 {
		// Numbers, and with them the processes, are in v2, unless all there is
		// is a named v1 hierarchy.
		c.lead = Unified
		if _, ok := groups[Unified]; ok {
			return c, nil
		}
	}
	for _, name := range leads {
		if _, ok := groups[name]; ok {
			c.lead = name
			return c, nil
		}
	}
	for name := range groups {
		c.lead = name // rdma alone, a hierarchy named by somebody else
	}
	return c, nil
}

// Path returns the directory of the container's cgroup in the hierarchy of a v1
// controller, or of v2 for [Unified]; "" if it has none of its own there.
func (c *Cgroup) Path(controller string) string {
	return c.groups[controller].dir
}

// V2 tells whether the numbers are those of cgroup v2.
func (c *Cgroup) V2() bool { return c.v2 }

// Exists tells whether the cgroup has not been removed.
func (c *Cgroup) Exists() bool {
	var st unix.Stat_t
	return unix.Stat(c.groups[c.lead].dir, &st) == nil
}

// Stats reads the counters: a [*stats.MetricsV1] or a [*stats.MetricsV2], and
// the type URL. A file that is missing or cannot be read counts 0 and a
// controller that is not there leaves its message out; an error means that the
// cgroup itself is gone.
func (c *Cgroup) Stats() (wire.Message, string, error) {
	if !c.Exists() {
		return nil, "", fmt.Errorf("read counters of cgroup %s: %w", c.groups[c.lead].dir, os.ErrNotExist)
	}
	if c.v2 {
		return c.statsV2(), stats.TypeV2, nil
	}
	return c.statsV1(), stats.TypeV1, nil
}

// OOMKills returns how many processes of the cgroup the kernel has killed for
// want of memory: in v2 those of its descendants too, in v1 not.
func (c *Cgroup) OOMKills() (uint64, error) {
	name, file := "memory", "memory.oom_control"
	if c.v2 {
		name, file = Unified, "memory.events"
	}
	r := open(c.groups[name].dir)
	defer r.close()
	b := r.read(file)
	if b == nil {
		return 0, fmt.Errorf("read OOM kills of cgroup %s: %s: %w", c.groups[c.lead].dir, file, os.ErrNotExist)
	}
	for key, value := range pairs(b) {
		if string(key) == "oom_kill" {
			return number(value), nil
		}
	}
	return 0, nil // v1 before Linux 4.13 does not count them
}
