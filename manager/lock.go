package manager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that somebody else has is tried again; flock(2)
// has no timeout of its own.
const lockPoll = 10 * time.Millisecond

// lock is a flock(2) on a directory or file of a bundle. It is on the inode, so
// it goes along when the bundle is renamed, and ends with its holder.
type lock struct{ f *os.File }

// lockPath locks what is at path, waiting at most wait for somebody else. It is
// certain that path still names what was locked. ErrBusy when the time is up;
// os.ErrNotExist when path is gone.
func lockPath(ctx context.Context, path string, wait time.Duration) (*lock, error) {
	deadline := time.Now().Add(wait)
	for {
		l, err := tryLock(path)
		if err == nil || !errors.Is(err, ErrBusy) {
			return l, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("lock %s: %w for %v", path, ErrBusy, wait)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, context.Cause(ctx))
		}
	}
}

// tryLock locks what is at path if nobody else has.
func tryLock(path string) (*lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !isAt(f, path) { // renamed or replaced between open and flock
		f.Close()
		return nil, ErrBusy
	}
	return &lock{f}, nil
}

// isAt reports whether path names the open file f.
func isAt(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(have, now)
}

// Close unlocks.
func (l *lock) Close() error { return l.f.Close() }
