package mount

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

// ErrUnsupported is the cause when a mount asks for what this package does not
// do.
var ErrUnsupported = errors.New("not supported")

// options are the parsed words of one mount.
type options struct {
	set, clear uintptr  // MS_* that were asked for, and whose opposite was
	data       []string // for the file system
	loop       bool     // source is a file, to be made a device
}

// atimeFlags exclude one another.
const atimeFlags = unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME

// flagWords are the words of fstab (mount(8)) that are flags of mount(2); all
// others are the file system's. The last word about a flag counts.
var flagWords = map[string]struct {
	set, clear uintptr
}{
	"async":         {clear: unix.MS_SYNCHRONOUS},
	"atime":         {clear: unix.MS_NOATIME},
	"bind":          {set: unix.MS_BIND},
	"defaults":      {},
	"dev":           {clear: unix.MS_NODEV},
	"diratime":      {clear: unix.MS_NODIRATIME},
	"dirsync":       {set: unix.MS_DIRSYNC},
	"exec":          {clear: unix.MS_NOEXEC},
	"mand":          {set: unix.MS_MANDLOCK},
	"noatime":       {set: unix.MS_NOATIME, clear: unix.MS_RELATIME | unix.MS_STRICTATIME},
	"nodev":         {set: unix.MS_NODEV},
	"nodiratime":    {set: unix.MS_NODIRATIME},
	"noexec":        {set: unix.MS_NOEXEC},
	"nomand":        {clear: unix.MS_MANDLOCK},
	"norelatime":    {clear: unix.MS_RELATIME},
	"nostrictatime": {clear: unix.MS_STRICTATIME},
	"nosuid":        {set: unix.MS_NOSUID},
	"rbind":         {set: unix.MS_BIND | unix.MS_REC},
	"relatime":      {set: unix.MS_RELATIME, clear: unix.MS_NOATIME | unix.MS_STRICTATIME},
	"remount":       {set: unix.MS_REMOUNT},
	"ro":            {set: unix.MS_RDONLY},
	"rw":            {clear: unix.MS_RDONLY},
	"strictatime":   {set: unix.MS_STRICTATIME, clear: unix.MS_NOATIME | unix.MS_RELATIME},
	"suid":          {clear: unix.MS_NOSUID},
	"sync":          {set: unix.MS_SYNCHRONOUS},
}

// parse reads the options of a mount and refuses what cannot be done.
func parse(m *types.Mount) (options, error) {
	var o options
	if strings.HasPrefix(m.Type, "fuse.") || strings.HasPrefix(m.Type, "fuse3.") {
		return o, fmt.Errorf("type %s needs a helper program: %w", m.Type, ErrUnsupported)
	}
	if m.Type == "bind" || m.Type == "rbind" {
		o.set = flagWords[m.Type].set
	}
	for _, word := range m.Options {
		switch f, isFlag := flagWords[word]; {
		case isFlag:
			o.set = o.set&^f.clear | f.set
			o.clear = o.clear&^f.set | f.clear
		case word == "loop":
			o.loop = true
		case strings.HasPrefix(word, "uidmap="), strings.HasPrefix(word, "gidmap="):
			return o, fmt.Errorf("option %s asks for an idmapped mount: %w", word, ErrUnsupported)
		case strings.HasPrefix(word, "X-containerd."):
			return o, fmt.Errorf("option %s is for containerd to deal with: %w", word, ErrUnsupported)
		case strings.ContainsRune(word, 0) || strings.ContainsRune(m.Source, 0):
			return o, fmt.Errorf("option %q: %w", word, unix.EINVAL)
		case word != "":
			o.data = append(o.data, word)
		}
	}
	o.data = slices.Clip(o.data)
	return o, nil
}

func (o options) has(flag uintptr) bool { return o.set&flag != 0 }
