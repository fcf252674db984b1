package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/stats"
)

// real is a set of cgroups made for one test in the machine's own hierarchies.
type real struct {
	*testing.T
	groups map[string]group // by controller
}

// newReal makes a cgroup of a private name in each of the hierarchies, which are
// removed at the end with all that is in them.
func newReal(t *testing.T, controllers ...string) *real {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	mounts := parseMounts(table)
	w := &real{t, make(map[string]group)}
	name := fmt.Sprintf("/holdfast-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	for _, c := range controllers {
		root := locate(mounts, c, "/")
		if root == "" {
			t.Skipf("no hierarchy of %q here", c)
		}
		dir := root + name
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) { // two controllers in one
			t.Skipf("cannot make cgroups here: %v", err)
		}
		w.groups[c] = group{path: name, dir: dir}
		t.Cleanup(func() { w.remove(c) })
	}
	return w
}

// remove kills what is in a cgroup and removes it; the kernel lets go of the
// dead when it is ready.
func (w *real) remove(controller string) {
	g := w.groups[controller]
	c := &Cgroup{env: linux(), groups: w.groups, lead: controller}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := c.KillAll(unix.SIGKILL); err != nil {
			w.Error(err)
		}
		filepath.WalkDir(g.dir, func(path string, d os.DirEntry, _ error) error {
			if d != nil && d.IsDir() && path != g.dir {
				os.Remove(path) // its children first, in a later round
			}
			return nil
		})
		err := os.Remove(g.dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(end) {
			w.Errorf("remove %s: %v", g.dir, err)
			return
		}
	}
}

// run starts a shell script inside the cgroups, or their child sub. It is over,
// and reaped, when the test is.
func (w *real) run(sub, text string) *script {
	w.Helper()
	var enter strings.Builder
	for _, g := range w.groups {
		if err := os.MkdirAll(g.dir+sub, 0o755); err != nil {
			w.Fatal(err)
		}
		fmt.Fprintf(&enter, "echo $$ > %s%s/cgroup.procs || exit 99\n", g.dir, sub)
	}
	cmd := exec.Command("/bin/sh", "-c", enter.String()+"echo ready\n"+text)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // the end of it is what cat waits for
	if err != nil {
		w.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		cmd.Process.Kill()
		in.Close()
		cmd.Wait()
	})
	s := &script{Cmd: cmd, in: in, out: bufio.NewReader(out)}
	s.hear(w.T, "ready")
	return s
}

// script is a shell at work.
type script struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (s *script) hear(t *testing.T, want string) {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		t.Fatalf("the script said %q, %v; want %q", got, err, want)
	}
}

// find finds the cgroup of a process.
func (w *real) find(pid int) *Cgroup {
	w.Helper()
	c, err := Find(pid)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// died waits for the end of cmd and returns the signal.
func died(t *testing.T, cmd *script) unix.Signal {
	t.Helper()
	var failed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &failed) {
		t.Fatalf("%v", err)
	}
	return failed.Sys().(syscall.WaitStatus).Signal()
}

func TestRealV1(t *testing.T) {
	// Not cpuset: nobody enters one without processors assigned to it.
	w := newReal(t, "pids", "memory", "freezer", "cpu", "cpuacct", "blkio", "devices")
	a, b := w.run("", "cat"), w.run("/child/deep", "cat")
	c := w.find(a.Process.Pid)
	if c.V2() || c.lead != "pids" || c.Path("memory") != w.groups["memory"].dir || c.Path("cpuset") != "" || !c.Exists() {
		t.Errorf("%+v", c)
	}
	pids, err := c.Pids()
	if err != nil || !slices.Contains(pids, a.Process.Pid) || !slices.Contains(pids, b.Process.Pid) || !slices.IsSorted(pids) {
		t.Errorf("%v, %v; want %d and %d among them", pids, err, a.Process.Pid, b.Process.Pid)
	}
	m, url, err := c.Stats()
	if err != nil || url != stats.TypeV1 {
		t.Fatal(url, err)
	}
	s := m.(*stats.MetricsV1)
	// The kernel adds what each processor has counted of memory every two seconds
	// (memcg's stats_flush_dwork), or when enough has come together.
	for end := time.Now().Add(20 * time.Second); s.Memory.TotalRss == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m, _, err = c.Stats(); err != nil {
			t.Fatal(err)
		}
		s = m.(*stats.MetricsV1)
	}
	if s.Pids.Current < 2 || s.Pids.Limit != 0 || s.Cpu.Usage.Total == 0 || s.Memory.Usage.Usage == 0 ||
		s.Memory.TotalRss == 0 || s.MemoryOomControl == nil || s.Blkio == nil {
		t.Errorf("%+v %+v %+v", s, s.Memory, s.Cpu.Usage)
	}
	if err := c.KillAll(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*script{a, b} {
		if sig := died(t, cmd); sig != unix.SIGTERM {
			t.Errorf("died of %v", sig)
		}
	}
	for range 2 { // the second finds nobody
		if err := c.KillAll(unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for controller := range w.groups {
		w.remove(controller)
	}
	if c.Exists() {
		t.Error("it exists after its removal")
	}
	if err := c.KillAll(unix.SIGKILL); err != nil {
		t.Errorf("kill all of a cgroup that is gone: %v", err)
	}
}

func TestRealKillAllOutrunsForks(t *testing.T) {
	for _, controller := range []string{"pids", Unified} {
		t.Run("in "+controller, func(t *testing.T) {
			w := newReal(t, controller)
			// Each loop starts programs as fast as it can.
			cmd := w.run("", "for i in 1 2 3 4 5 6 7 8; do (while :; do /bin/true; done) & done; while :; do /bin/true; done")
			c := w.find(cmd.Process.Pid)
			if want := controller == Unified; c.V2() != want || c.lead != controller {
				t.Errorf("lead %q, v2 %t", c.lead, c.V2())
			}
			for pids, _ := c.Pids(); len(pids) < 9; pids, _ = c.Pids() {
				time.Sleep(time.Millisecond) // the kernel does not tell when they all run
			}
			begin := time.Now()
			if err := c.KillAll(unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if pids, err := c.Pids(); err != nil || len(pids) != 0 {
				t.Errorf("left: %v, %v", pids, err)
			}
			t.Logf("took %v", time.Since(begin))
			if sig := died(t, cmd); sig != unix.SIGKILL {
				t.Errorf("died of %v", sig)
			}
		})
	}
}

func TestRealKillAllSparesWhoHasLeft(t *testing.T) {
	w := newReal(t, "pids", "freezer")
	in := w.run("", "cat")
	c := w.find(in.Process.Pid)
	out := w.run("", "cat") // in the cgroup when listed, elsewhere when its turn comes
	if err := os.WriteFile(filepath.Dir(w.groups["pids"].dir)+"/cgroup.procs", []byte(strconv.Itoa(out.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	if fd, err := c.signal(out.Process.Pid, unix.SIGKILL); fd != -1 || err != nil {
		t.Errorf("signalled a stranger: %d, %v", fd, err)
	}
	if fd, err := c.signal(os.Getpid(), unix.SIGKILL); fd != -1 || err != nil {
		t.Errorf("signalled ourselves: %d, %v", fd, err)
	}
	if fd, err := c.signal(1<<30, unix.SIGKILL); fd != -1 || err != nil {
		t.Errorf("signalled nobody: %d, %v", fd, err)
	}
	if err := c.KillAll(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	died(t, in)
	if err := out.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("who had left: %v", err)
	}
}

func TestRealKillAllOfAFrozenCgroupReturns(t *testing.T) {
	w := newReal(t, "pids", "freezer")
	cmd := w.run("", "cat")
	c := w.find(cmd.Process.Pid)
	freeze := func(state string) {
		t.Helper()
		if err := os.WriteFile(w.groups["freezer"].dir+"/freezer.state", []byte(state), 0); err != nil {
			t.Fatal(err)
		}
	}
	freeze("FROZEN")
	t.Cleanup(func() { os.WriteFile(w.groups["freezer"].dir+"/freezer.state", []byte("THAWED"), 0) })
	begin := time.Now()
	if err := c.KillAll(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > killLimit/2 {
		t.Errorf("took %v", d)
	}
	freeze("THAWED")
	if sig := died(t, cmd); sig != unix.SIGKILL {
		t.Errorf("died of %v", sig)
	}
}

func TestRealOOMKill(t *testing.T) {
	w := newReal(t, "memory", "pids")
	if err := os.WriteFile(w.groups["memory"].dir+"/memory.limit_in_bytes", []byte("16777216"), 0); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(w.groups["memory"].dir+"/memory.memsw.limit_in_bytes", []byte("16777216"), 0) // no swap accounting, no swap
	keep := w.run("", "read x; dd if=/dev/zero of=/dev/null bs=256M count=1 2> /dev/null; echo $?; cat")
	c := w.find(keep.Process.Pid)
	if n, err := c.OOMKills(); n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	fmt.Fprintln(keep.in)
	keep.hear(t, "137")
	if n, err := c.OOMKills(); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	m, _, err := c.Stats()
	if err != nil || m.(*stats.MetricsV1).MemoryOomControl.OomKill != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

func BenchmarkRealPids(b *testing.B) {
	c := &Cgroup{env: linux(), lead: "pids", groups: map[string]group{"pids": {path: "/", dir: "/sys/fs/cgroup/pids"}}}
	if !c.Exists() {
		b.Skip("no v1 here")
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Pids()
	}
}
