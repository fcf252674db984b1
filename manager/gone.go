package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/bundle"
)

// leavePause is how often a shim that is leaving is looked at. The kernel tells
// of a lock's end only those who sleep for it, and they cannot stop waiting.
const leavePause = 2 * time.Millisecond

// awaitLeave waits until no shim serves the bundle: a shim holds the bundle's
// lock until it has told its last event and written its last record. Whoever
// removes files before that, or makes new ones, gets the old run's news mixed into
// the new one's. ErrTimeout if it stays.
func (c *Container) awaitLeave() error {
	f, err := os.OpenFile(filepath.Join(c.dir, bundle.LockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no shim has been here
	}
	if err != nil {
		return fmt.Errorf("wait for the shim to leave: %w", err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	tick := time.NewTicker(leavePause)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("wait for the shim to leave: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the shim to leave: it still serves: %w", ErrTimeout)
		}
	}
}
