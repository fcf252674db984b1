package harness

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settle waits until nothing of the world is left but plain files, and returns
// what is left when patience is over. A shim ends by itself a moment after its
// container; that is waited for through its pidfd, the rest is polled, since
// the kernel announces neither mounts nor cgroups of others.
func (w *World) settle() []string {
	deadline := time.Now().Add(Patience / 3)
	if w.T.Failed() {
		deadline = time.Now().Add(Patience / 15) // it is broken anyway
	}
	for {
		procs := w.processes()
		left := w.inventory(procs)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		if len(procs) > 0 {
			procs[0].Gone(time.Until(deadline))
		} else {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// inventory describes everything of the world that a finished test must not
// leave.
func (w *World) inventory(procs []PID) []string {
	var left []string
	for _, p := range procs {
		left = append(left, "process "+describe(p.Number))
	}
	for _, m := range mountsUnder(w.Dir) {
		left = append(left, "mount "+m)
	}
	for _, c := range w.cgroups(false) {
		left = append(left, "cgroup "+c)
	}
	return append(left, w.files()...)
}

// processes returns the processes that bear the world's token, zombies left
// out.
func (w *World) processes() []PID {
	entries, _ := os.ReadDir("/proc")
	var found []PID
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := Identify(pid)
		if err == nil && p.Alive() && w.owns(pid) {
			found = append(found, p)
		}
	}
	return found
}

// owns reports whether a process bears the token: in its arguments, its
// environment, its cgroups, its working directory or the mount of its root.
func (w *World) owns(pid int) bool {
	token := []byte(w.Token)
	for _, name := range []string{"cmdline", "environ", "cgroup"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err == nil && bytes.Contains(raw, token) {
			return true
		}
	}
	for _, name := range []string{"cwd", "root"} {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err == nil && strings.Contains(to, w.Token) {
			return true
		}
	}
	for m := range mounts(fmt.Sprintf("/proc/%d/mountinfo", pid)) {
		if m.point == "/" && strings.Contains(m.root, w.Token) {
			return true
		}
	}
	return false
}

func describe(pid int) string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return fmt.Sprintf("%d (%s)", pid, bytes.TrimSpace(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
}

// mountsUnder returns the mount points at and below dir, innermost first.
func mountsUnder(dir string) []string {
	var under []string
	for m := range mounts("/proc/self/mountinfo") {
		if m.point == dir || strings.HasPrefix(m.point, dir+"/") {
			under = append(under, m.point)
		}
	}
	slices.Reverse(under)
	return under
}

// mount is a line of mountinfo: what part of its file system is where.
type mount struct{ root, point, kind string }

func mounts(file string) func(yield func(mount) bool) {
	return func(yield func(mount) bool) {
		raw, _ := os.ReadFile(file) // the process may be gone
		for line := range strings.Lines(string(raw)) {
			// ID PARENT MAJ:MIN ROOT POINT OPTIONS... - TYPE SOURCE OPTIONS, proc(5)
			before, after, ok := strings.Cut(line, " - ")
			fields, kind := strings.Fields(before), strings.Fields(after)
			if !ok || len(fields) < 6 || len(kind) == 0 {
				continue
			}
			if !yield(mount{root: fields[3], point: fields[4], kind: kind[0]}) {
				return
			}
		}
	}
}

// cgroups returns the control groups of containers that bear the token, in
// every hierarchy, innermost first. The one named by the token alone is the
// namespace's: containers share it, so none of them may remove it. raze does.
func (w *World) cgroups(all bool) []string {
	var found []string
	for m := range mounts("/proc/self/mountinfo") {
		if m.kind != "cgroup" && m.kind != "cgroup2" {
			continue
		}
		filepath.WalkDir(m.point, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.Contains(path, w.Token) && (d.Name() != w.Token || all) {
				found = append(found, path)
			}
			return nil
		})
	}
	slices.Reverse(found)
	return found
}

// files returns sockets, FIFOs, containers and what the OCI runtime remembers
// of them. Test data, locks and the event feed may stay: they are bounded.
func (w *World) files() []string {
	var left []string
	filepath.WalkDir(w.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&(fs.ModeSocket|fs.ModeNamedPipe) != 0 {
			left = append(left, fmt.Sprintf("%v %s", d.Type(), path))
		}
		return nil
	})
	for _, dir := range []string{filepath.Join(w.Root, w.Namespace), filepath.Join(w.Root, ".runtime", w.Namespace)} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				left = append(left, "container "+filepath.Join(dir, e.Name()))
			}
		}
	}
	return left
}

// raze removes everything of the world but its files, for good.
func (w *World) raze() {
	for range 20 { // processes fork while they are killed
		procs := w.processes()
		if len(procs) == 0 {
			break
		}
		for _, p := range procs {
			_ = p.Signal(unix.SIGCONT)
			_ = p.Signal(unix.SIGKILL)
			p.Gone(time.Second)
		}
	}
	for _, dir := range w.cgroups(true) {
		_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
		_ = os.Remove(dir)
	}
	for _, point := range mountsUnder(w.Dir) {
		_ = unix.Unmount(point, unix.MNT_DETACH)
	}
}
