package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

// All mounts each of mounts, in order, onto root or onto its Target inside
// root. Targets must exist when their turn comes; root itself is made, with
// mode 0711, if it does not and there is something to mount. If one mount
// fails those before it are undone and the error names it; errors of the
// undoing come along.
func All(root string, mounts []*types.Mount) (err error) {
	if len(mounts) == 0 {
		return nil
	}
	if err := checkRoot(root); err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make root of mounts: %w", err)
	}
	var done []string
	defer func() {
		if err == nil {
			return
		}
		for i := len(done) - 1; i >= 0; i-- {
			if undoErr := unmountOne(done[i]); undoErr != nil {
				err = errors.Join(err, undoErr)
			}
		}
	}()
	for _, m := range mounts {
		path, err := one(root, m)
		if path != "" {
			done = append(done, path)
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", describe(m), err)
		}
	}
	return nil
}

// checkRoot refuses roots that a mistake upstream could have made.
func checkRoot(root string) error {
	if !filepath.IsAbs(root) || filepath.Clean(root) == "/" {
		return fmt.Errorf("mount at %q: not a directory of a container", root)
	}
	return nil
}

func describe(m *types.Mount) string {
	s := m.Type + " " + m.Source
	if m.Target != "" {
		s += " on " + m.Target
	}
	return s
}

// one does one mount. The path is where something is mounted afterwards, also
// beside an error; "" if nothing is.
func one(root string, m *types.Mount) (path string, err error) {
	o, err := parse(m)
	if err != nil {
		return "", err
	}
	target, path, err := openTarget(root, m.Target)
	if err != nil {
		return "", err
	}
	defer target.Close()
	switch {
	case o.has(unix.MS_REMOUNT):
		// Of what is there already: nothing to undo.
		return "", unix.Mount(m.Source, procPath(target), m.Type, o.set, strings.Join(o.data, ","))
	case o.has(unix.MS_BIND):
		if err := unix.Mount(m.Source, procPath(target), "", o.set&(unix.MS_BIND|unix.MS_REC), ""); err != nil {
			return "", err
		}
		return path, rebind(root, m.Target, o)
	case m.Type == "overlay":
		err = overlay(target, m.Source, o)
	case o.loop:
		err = loop(target, m, o)
	default:
		err = plain(target, m.Source, m.Type, o)
	}
	if err != nil {
		return "", err
	}
	return path, nil
}

// plain is mount(2). The kernel would cut data that is longer than a page.
func plain(target *os.File, source, fstype string, o options) error {
	data := strings.Join(o.data, ",")
	if len(data) > maxData() {
		return fmt.Errorf("options of %d bytes do not fit into a page: %w", len(data), unix.E2BIG)
	}
	return unix.Mount(source, procPath(target), fstype, o.set, data)
}

// maxData is the longest text mount(2) takes, without its terminating zero.
func maxData() int { return os.Getpagesize() - 1 }

// perMount are the flags that a bind mount can have other than its source has.
const perMount = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NODIRATIME | atimeFlags

// rebind gives a new bind mount its flags, which mount(2) ignores in the call
// that makes it. Flags that are not mentioned stay what they are at the source.
// With rbind only the topmost mount gets them.
func rebind(root, name string, o options) error {
	if (o.set|o.clear)&perMount == 0 {
		return nil
	}
	target, _, err := openTarget(root, name) // now what is mounted there
	if err != nil {
		return err
	}
	defer target.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(target.Fd()), &st); err != nil {
		return fmt.Errorf("read flags of the source: %w", err)
	}
	flags := flagsOf(st.Flags) &^ o.clear
	if o.has(atimeFlags) {
		flags &^= atimeFlags
	}
	flags |= o.set & perMount
	err = unix.Mount("", procPath(target), "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
	if err != nil {
		return fmt.Errorf("set flags: %w", err)
	}
	return nil
}

// flagsOf converts the flags that statfs(2) reports.
func flagsOf(st int64) uintptr {
	// These have one value in both calls.
	const same = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME
	flags := uintptr(st) & same
	switch {
	case st&unix.ST_RELATIME != 0:
		flags |= unix.MS_RELATIME
	case flags&unix.MS_NOATIME == 0:
		flags |= unix.MS_STRICTATIME
	}
	return flags
}

// openTarget opens a place inside root for mounting onto it, and returns its
// path as mountinfo has it. Links inside root are resolved as for a process
// whose root that is. root itself must be no link.
func openTarget(root, name string) (*os.File, string, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("open root %s: %w", root, err)
	}
	if inside := filepath.Clean("/" + name); inside != "/" {
		rootfd := fd
		fd, err = unix.Openat2(rootfd, inside, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		unix.Close(rootfd)
		if err != nil {
			return nil, "", fmt.Errorf("open target %s in %s: %w", inside, root, err)
		}
	}
	f := os.NewFile(uintptr(fd), name)
	path, err := os.Readlink(procPath(f))
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("find path of target: %w", err)
	}
	return f, path, nil
}

// procPath names an open file so that a path lookup ends at it and nowhere
// else.
func procPath(f *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
}
