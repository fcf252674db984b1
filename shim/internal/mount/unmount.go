package mount

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxRounds bounds how often Unmount looks again; each round takes at least one
// mount away.
const maxRounds = 1000

// Unmount unmounts everything that is mounted at root and below, deepest
// first. Nothing mounted, or no root at all, is success. A mount that is busy
// is detached at the end (MNT_DETACH): it is out of sight at once and gone when
// its last user is.
func Unmount(root string) error {
	if err := checkRoot(root); err != nil {
		return err
	}
	path, err := resolve(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", root, err)
	}
	for range maxRounds {
		left, err := below(path)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if !unmountRound(left) {
			return detach(path, left)
		}
	}
	return fmt.Errorf("unmount %s: %w", root, unix.EBUSY)
}

// resolve returns the path that mountinfo has for root, which must be no link.
func resolve(root string) (string, error) {
	f, path, err := openTarget(root, "")
	if err != nil {
		return "", err
	}
	f.Close() // before anything is unmounted: it would keep the mount busy
	return path, nil
}

// unmountRound tries each once and tells whether one is gone.
func unmountRound(paths []string) (progress bool) {
	for _, p := range paths {
		if unmountOne(p) == nil {
			progress = true
		}
	}
	return progress
}

func unmountOne(path string) error {
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

// detach takes busy mounts out of the tree. One of root itself takes those
// below along.
func detach(root string, left []string) error {
	if slices.Contains(left, root) {
		left = []string{root}
	}
	var errs []error
	for _, p := range left {
		err := unix.Unmount(p, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		if err != nil {
			errs = append(errs, fmt.Errorf("detach %s: %w", p, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	left, err := below(root)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("unmount %s: %w", left[0], unix.EBUSY)
	}
	return err
}

// below returns where something is mounted at root or under it, deepest first;
// a place with several mounts is there several times.
func below(root string) ([]string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return mountPoints(info, root), nil
}

// mountPoints is below for a given /proc/PID/mountinfo (proc(5)): the fifth
// field of a line is the mount point.
func mountPoints(info []byte, root string) []string {
	var paths []string
	for line := range bytes.Lines(info) {
		fields := bytes.Fields(line)
		if len(fields) < 5 {
			continue
		}
		p := unoctal(string(fields[4]))
		if p == root || strings.HasPrefix(p, root+"/") {
			paths = append(paths, p)
		}
	}
	slices.Reverse(paths) // newest first
	slices.SortStableFunc(paths, func(a, b string) int {
		return cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/"))
	})
	return paths
}

// unoctal resolves the escapes of mountinfo: a backslash and three octal digits
// for blanks and backslashes.
func unoctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			out = append(out, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|s[i+3]-'0')
			i += 3
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isOctal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return false
		}
	}
	return true
}
