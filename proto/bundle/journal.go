package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Limits of the files that grow by a line for every event. At the limit the
// file is exchanged for an empty one and kept once as NAME.1, so that a reader
// always finds between one and two limits of history, and no more.
const (
	JournalLimit = 128 << 10 // bytes; one container
	FeedLimit    = 4 << 20   // bytes; all containers of a namespace
)

// AppendJournal adds a line to the journal of one container, making it if need
// be. Only the shim that serves the bundle calls it.
func AppendJournal(bundle string, line []byte) error {
	return appendLine(bundle+"/"+JournalFile, line, JournalLimit, os.O_CREATE)
}

// AppendFeed adds a line to the feed of the namespace whose bundles lie in dir.
// It is no error if there is no feed: under containerd, nobody made one.
// Any number of processes may append; lines do not mix (one write(2) in append
// mode).
func AppendFeed(dir string, line []byte) error {
	err := appendLine(dir+"/"+FeedFile, line, FeedLimit, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func appendLine(path string, line []byte, limit int64, create int) error {
	for {
		linked, err := appendOnce(path, line, limit, create)
		if err != nil {
			return fmt.Errorf("append event: %w", err)
		}
		if linked {
			return nil
		}
	}
}

// appendOnce reports whether the line is in a file that readers still find. It
// is not if two rotations happened between open and write.
func appendOnce(path string, line []byte, limit int64, create int) (linked bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|create, 0o600)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if n, err := f.Write(line); err != nil {
		if n > 0 {
			untear(f, n)
		}
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, err
	}
	if st.Nlink > 0 && st.Size > limit {
		return true, rotate(f, path)
	}
	return st.Nlink > 0, nil
}

// untear takes back the n bytes of a line for which there was no room, lest the
// next line be spoilt by them. f stands behind them. If another process has found
// room since, they stay: what it wrote counts more.
func untear(f *os.File, n int) {
	end, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return
	}
	if st, err := f.Stat(); err == nil && st.Size() == end {
		_ = f.Truncate(end - int64(n)) // else a reader passes over two lines
	}
}

// rotate gives path the further name path.1 and then replaces it by an empty
// file, so that there is no instant at which path does not exist or the lines
// have no name, even if we die in between: the next one does it again. f is
// path, open, and its lock decides which of several processes rotates; a line
// that another one appends to the old file meanwhile is found in path.1.
func rotate(f *os.File, path string) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // somebody else is at it
	}
	mine, err := f.Stat()
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	now, err := os.Stat(path)
	if err != nil || !os.SameFile(mine, now) {
		return nil // done already
	}
	old, next := path+".1", path+".new"
	empty, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	empty.Close()
	if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("rotate: %w", err)
	}
	if err := os.Link(path, old); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return nil
}
