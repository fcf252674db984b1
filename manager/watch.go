package manager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watch is an inotify(7) instance on a few directories. It only says that
// something happened; whoever is woken looks for himself, so nothing depends on
// which event it was, and an overflow does no harm.
type watch struct {
	f    *os.File
	stop func() bool
	buf  [4096]byte
}

// newWatch watches directories, and files directly in them, until ctx ends.
func newWatch(ctx context.Context, dirs ...string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	w := &watch{f: os.NewFile(uintptr(fd), "inotify")}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	for _, dir := range dirs {
		if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
			w.f.Close()
			return nil, fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	// A deadline in the past wakes a wait that is under way.
	w.stop = context.AfterFunc(ctx, w.wake)
	return w, nil
}

// wait blocks until something happened since the last call, or ctx ended.
func (w *watch) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	_, err := w.f.Read(w.buf[:])
	if errors.Is(err, os.ErrDeadlineExceeded) { // by ctx, or by wake
		return context.Cause(ctx)
	}
	return err
}

// wake ends the wait under way, and every later one, as if something had
// happened.
func (w *watch) wake() { _ = w.f.SetReadDeadline(time.Unix(1, 0)) }

// Close ends the watch.
func (w *watch) Close() error {
	w.stop()
	return w.f.Close()
}
