package mount

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// overlay mounts an overlay. Its options name every layer and often do not fit
// into the page that mount(2) takes; then the layers are passed one by one,
// and where the kernel does not know that, by shorter names.
func overlay(target *os.File, source string, o options) error {
	if len(strings.Join(o.data, ",")) <= maxData() {
		return plain(target, source, "overlay", o)
	}
	err := overlayByParts(target, source, o)
	if !errors.Is(err, errNoParts) {
		return err
	}
	short, parent, err := shorten(o)
	if err != nil {
		return err
	}
	defer parent.Close()
	return plain(target, source, "overlay", short)
}

// errNoParts is a kernel that does not take layers one by one ("lowerdir+", in
// overlayfs since about Linux 6.7) or has no fsopen(2) (before 5.2).
var errNoParts = errors.New("layers cannot be passed one by one")

// overlayByParts mounts an overlay by way of fsopen(2).
func overlayByParts(target *os.File, source string, o options) error {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err == unix.ENOSYS || err == unix.EPERM { // EPERM: a seccomp filter that is older than the call
		return errNoParts
	}
	if err != nil {
		return fmt.Errorf("fsopen: %w", err)
	}
	c := &fsContext{fd: fd}
	defer c.close()

	c.set("source", source)
	for _, word := range o.data {
		key, val, hasVal := strings.Cut(word, "=")
		switch {
		case key == "lowerdir":
			if strings.Contains(val, "::") { // data-only layers have their own rules
				return errNoParts
			}
			for _, dir := range splitLayers(val) {
				c.setPath("lowerdir+", unescape(dir))
				if c.err == unix.EINVAL {
					return errNoParts
				}
			}
		case key == "upperdir" || key == "workdir":
			c.setPath(key, val)
		case hasVal:
			c.set(key, val)
		default:
			c.flag(key)
		}
	}
	if o.has(unix.MS_RDONLY) {
		c.flag("ro")
	}
	return c.mount(target, attrs(o.set))
}

// fsContext is a mount being configured. After an error it does nothing.
type fsContext struct {
	fd    int
	paths []*os.File // opened for setPath
	key   string     // what was being set when err happened
	err   error
}

// maxValue is the longest string fsconfig(2) takes, without the zero.
const maxValue = 255

func (c *fsContext) set(key, val string) {
	if c.err == nil {
		c.key, c.err = key, unix.FsconfigSetString(c.fd, key, val)
	}
}

func (c *fsContext) flag(key string) {
	if c.err == nil {
		c.key, c.err = key, unix.FsconfigSetFlag(c.fd, key)
	}
}

// setPath is set for a directory, whose path may be longer than maxValue.
func (c *fsContext) setPath(key, dir string) {
	if c.err != nil {
		return
	}
	if len(dir) > maxValue {
		f, err := openPath(dir)
		if err != nil {
			c.key, c.err = key, err
			return
		}
		c.paths = append(c.paths, f)
		dir = procPath(f)
	}
	c.set(key, dir)
}

func (c *fsContext) mount(target *os.File, attrs int) error {
	if c.err == nil {
		c.key, c.err = "", unix.FsconfigCreate(c.fd)
	}
	if c.err != nil {
		return c.explain()
	}
	mfd, err := unix.Fsmount(c.fd, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(mfd)
	err = unix.MoveMount(mfd, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// explain adds what the kernel says about the error: reading the context gives
// "e overlay: text".
func (c *fsContext) explain() error {
	what := "overlay"
	if c.key != "" {
		what += " option " + c.key
	}
	buf := make([]byte, 512)
	n, err := unix.Read(c.fd, buf)
	if err != nil || n < 3 {
		return fmt.Errorf("%s: %w", what, c.err)
	}
	return fmt.Errorf("%s: %w (%s)", what, c.err, strings.TrimSpace(string(buf[2:n])))
}

func (c *fsContext) close() {
	unix.Close(c.fd)
	for _, f := range c.paths {
		f.Close()
	}
}

// attrs converts flags of mount(2) to those of fsmount(2).
func attrs(set uintptr) int {
	a := 0
	for _, f := range []struct {
		flag uintptr
		attr int
	}{
		{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY},
		{unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID},
		{unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
		{unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
		{unix.MS_NOATIME, unix.MOUNT_ATTR_NOATIME},
		{unix.MS_STRICTATIME, unix.MOUNT_ATTR_STRICTATIME},
	} {
		if set&f.flag != 0 {
			a |= f.attr
		}
	}
	return a
}

// shorten names the layers by way of a descriptor of the directory they have in
// common, which the caller closes after the mount.
func shorten(o options) (options, *os.File, error) {
	for i, word := range o.data {
		val, ok := strings.CutPrefix(word, "lowerdir=")
		if !ok {
			continue
		}
		layers := splitLayers(val)
		parent := commonParent(layers)
		if parent == "/" {
			break
		}
		f, err := openPath(unescape(parent))
		if err != nil {
			return o, nil, err
		}
		for j, dir := range layers {
			if dir != "" { // an empty one is half of "::"
				layers[j] = procPath(f) + strings.TrimPrefix(path.Clean(dir), parent)
			}
		}
		short := o
		short.data = append([]string(nil), o.data...)
		short.data[i] = "lowerdir=" + strings.Join(layers, ":")
		return short, f, nil
	}
	return o, nil, fmt.Errorf("options of %d bytes do not fit into a page: %w",
		len(strings.Join(o.data, ",")), unix.E2BIG)
}

func openPath(dir string) (*os.File, error) {
	return os.OpenFile(dir, unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
}

// commonParent returns the deepest directory that all paths lie in; "/" if
// there is none but that, or one of them is not absolute.
func commonParent(dirs []string) string {
	parent := ""
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if !path.IsAbs(dir) {
			return "/"
		}
		if parent == "" {
			parent = path.Dir(path.Clean(dir))
		}
		for !strings.HasPrefix(path.Clean(dir), strings.TrimSuffix(parent, "/")+"/") {
			parent = path.Dir(parent)
		}
	}
	if parent == "" {
		return "/"
	}
	return parent
}

// splitLayers splits at colons that have no backslash before them.
func splitLayers(s string) []string {
	var layers []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ':':
			layers = append(layers, s[start:i])
			start = i + 1
		}
	}
	return append(layers, s[start:])
}

// unescape removes the backslashes that overlayfs's options need.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
