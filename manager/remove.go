package manager

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Prefixes of the names under which a container comes and goes. The dot keeps
// them apart from ids.
const (
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// sweepAge spares a directory so young that its maker may not have locked it.
const sweepAge = time.Minute

// sweep removes what managers that crashed while they created or deleted have
// left: such a directory is locked while somebody works on it. What cannot be
// removed is left to the next sweep.
func (m *Manager) sweep() {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || !strings.HasPrefix(name, newPrefix) && !strings.HasPrefix(name, gonePrefix) {
			continue
		}
		st, err := e.Info()
		if err != nil || time.Since(st.ModTime()) < sweepAge && strings.HasPrefix(name, newPrefix) {
			continue
		}
		path := filepath.Join(m.dir, name)
		l, err := tryLock(path)
		if err != nil {
			continue
		}
		if unmountBelow(path) == nil {
			_ = removeTree(path)
		}
		l.Close()
	}
}

// unmountBelow unmounts whatever is mounted at or below dir, the last mounted
// first, and nothing else. ErrMounted if something stays.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(points) {
		err := unix.Unmount(p, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) { // somebody's cwd or file: let go of the name
			err = unix.Unmount(p, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w: %w", p, ErrMounted, err)
		}
	}
	if points, err = mountsBelow(dir); err != nil {
		return err
	}
	if len(points) > 0 {
		return fmt.Errorf("unmount %s: %w", points[len(points)-1], ErrMounted)
	}
	return nil
}

// mountsBelow lists mount points at or below dir in the order of mounting, from
// proc_pid_mountinfo(5).
func mountsBelow(dir string) ([]string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	var points []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // overlays with many layers make long lines
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescapeMount(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return points, nil
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// removeTree removes dir and what is in it, without leaving its mount and
// without following a symlink: a mount that appeared meanwhile stops it with
// ErrMounted instead of being emptied.
func removeTree(dir string) error {
	parent, err := os.Open(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	defer parent.Close()
	if err := removeAt(int(parent.Fd()), filepath.Base(dir)); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

func removeAt(parent int, name string) error {
	err := unix.Unlinkat(parent, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("%s: %w", name, err)
	}
	// openat2(2), Linux 5.6: RESOLVE_NO_XDEV refuses bind mounts, too.
	fd, err := unix.Openat2(parent, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%s: %w", name, ErrMounted)
	} else if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, child := range names {
		if err := removeAt(fd, child); err != nil {
			return fmt.Errorf("%s/%w", name, err)
		}
	}
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
