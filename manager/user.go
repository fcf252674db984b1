package manager

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxAccounts is how much of a container's passwd and group is read, in bytes.
const maxAccounts = 4 << 20

// account is what passwd(5) and group(5) say about a user.
type account struct {
	user specs.User
	home string
}

// lookupUser finds USER[:GROUP], names or numbers, in etc/passwd and etc/group
// of the first of roots that has them. A number needs no entry; if it has none
// and no group is given, the group is 0. A group given is the only one.
func lookupUser(roots []string, text string) (account, error) {
	name, group, hasGroup := strings.Cut(text, ":")
	if name == "" || hasGroup && group == "" {
		return account{}, fmt.Errorf("look up user %q: not USER[:GROUP]: %w", text, ErrInvalid)
	}
	passwd, err := accounts(roots, "etc/passwd", 7)
	if err != nil {
		return account{}, fmt.Errorf("look up user %q: %w", text, err)
	}
	groups, err := accounts(roots, "etc/group", 4)
	if err != nil {
		return account{}, fmt.Errorf("look up user %q: %w", text, err)
	}
	a := account{home: "/"}
	uid, numeric := parseID(name)
	a.user.UID = uid
	i := slices.IndexFunc(passwd, func(f []string) bool { return f[0] == name || numeric && f[2] == name })
	switch {
	case i >= 0:
		name, a.home = passwd[i][0], passwd[i][5]
		var ok, ok2 bool
		a.user.UID, ok = parseID(passwd[i][2])
		a.user.GID, ok2 = parseID(passwd[i][3])
		if !ok || !ok2 {
			return account{}, fmt.Errorf("look up user %q: bad line in etc/passwd: %w", text, ErrInvalid)
		}
	case !numeric:
		return account{}, fmt.Errorf("look up user %q: no such name in etc/passwd of the root file system: %w", text, ErrInvalid)
	}
	if hasGroup {
		a.user.GID, err = lookupGroup(groups, group)
		return a, err
	}
	if i >= 0 {
		a.user.AdditionalGids = memberships(groups, name, a.user.GID)
	}
	return a, nil
}

func lookupGroup(groups [][]string, name string) (uint32, error) {
	gid, numeric := parseID(name)
	if numeric {
		return gid, nil
	}
	for _, f := range groups {
		if gid, ok := parseID(f[2]); f[0] == name && ok {
			return gid, nil
		}
	}
	return 0, fmt.Errorf("look up group %q: no such name in etc/group of the root file system: %w", name, ErrInvalid)
}

// memberships returns the groups that list name, but for its own.
func memberships(groups [][]string, name string, own uint32) []uint32 {
	var gids []uint32
	for _, f := range groups {
		gid, ok := parseID(f[2])
		if ok && gid != own && slices.Contains(strings.Split(f[3], ","), name) {
			gids = append(gids, gid)
		}
	}
	return gids
}

// parseID reads a user or group number; the largest means "none" to the kernel.
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n < math.MaxUint32
}

// accounts reads the lines of a file of colon-separated fields from the first
// of roots that has it. None has it: no lines.
func accounts(roots []string, file string, fields int) ([][]string, error) {
	for _, root := range roots {
		f, err := openInRoot(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		defer f.Close()
		var lines [][]string
		scan := bufio.NewScanner(io.LimitReader(f, maxAccounts))
		scan.Buffer(nil, maxAccounts)
		for scan.Scan() {
			if l := strings.Split(scan.Text(), ":"); len(l) == fields {
				lines = append(lines, l)
			}
		}
		return lines, scan.Err()
	}
	return nil, nil
}

// openInRoot opens a regular file below root, taking root for "/" in every
// symlink on the way: the container's files must not lead out of it.
func openInRoot(root, file string) (*os.File, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Openat2(int(dir.Fd()), file, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root + "/" + file, Err: err}
	}
	f := os.NewFile(uintptr(fd), file)
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("open %s/%s: not a regular file: %w", root, file, ErrInvalid)
	}
	return f, nil
}
