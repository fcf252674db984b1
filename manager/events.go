package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
)

// Event is one thing that happened to a container; see bundle.Event. Its Encode
// gives one line of JSON.
type Event = bundle.Event

// EventsConfig chooses among events.
type EventsConfig struct {
	Since  time.Time // zero is the oldest that is kept (between 4 and 8 MiB of them)
	Follow bool      // go on until ctx ends
	IDs    []string  // containers; none is all
	Topics []string  // e.g. bundle.TopicExit; none is all
}

// Events yields what happened to the containers of the namespace, oldest first
// (but events of different containers that were written at the same time may
// swap). It ends after the first error: ctx's when following, and ErrLagging
// when so much happened that some of it was rotated away unread.
func (m *Manager) Events(ctx context.Context, cfg EventsConfig) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := m.events(ctx, cfg, func(e Event) bool { return yield(e, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(Event{}, fmt.Errorf("read events: %w", err))
		}
	}
}

// errStop says that whoever takes the events wants no more.
var errStop = errors.New("stop")

func (m *Manager) events(ctx context.Context, cfg EventsConfig, yield func(Event) bool) error {
	take := func(line []byte) error {
		e, err := bundle.DecodeEvent(line)
		if err != nil || !cfg.wants(e) { // a line of a newer version is not for us
			return nil
		}
		if !yield(e) {
			return errStop
		}
		return ctx.Err()
	}
	var w *watch
	if cfg.Follow { // before the first read, so that nothing falls in between
		var err error
		if w, err = newWatch(ctx, m.dir); err != nil {
			return err
		}
		defer w.Close()
	}
	f := &feed{path: m.feed()}
	defer f.Close()
	if err := f.open(); err != nil {
		return err
	}
	for {
		if err := f.read(take); err != nil || !cfg.Follow {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// wants reports whether e is among the chosen ones.
func (c EventsConfig) wants(e Event) bool {
	return !e.Time.Before(c.Since) &&
		(len(c.IDs) == 0 || slices.Contains(c.IDs, e.ID)) &&
		(len(c.Topics) == 0 || slices.Contains(c.Topics, e.Topic))
}

// feed reads the event feed across rotation. A full file gets the further name
// NAME.1 and is then replaced at NAME by an empty one; a writer that had it open
// may still add a line to it, so it is read on until the next rotation.
type feed struct {
	path  string
	files []*lineReader // oldest first; the last one was at path when we looked
}

// open opens what there is. A feed that is missing is empty: whoever made the
// root may not have wanted one.
func (f *feed) open() error {
	for {
		for _, name := range []string{f.path + ".1", f.path} {
			if err := f.add(name); err != nil {
				return err
			}
		}
		// If a file came to its name while we opened others, start again.
		if f.has(f.path+".1") && f.has(f.path) {
			return nil
		}
		f.Close()
	}
}

// add opens the file of that name, if there is one that is not open already: in
// the midst of a rotation both names are of the same.
func (f *feed) add(name string) error {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if st, err := file.Stat(); err == nil && f.isOpen(st) {
		return file.Close()
	}
	f.files = append(f.files, &lineReader{f: file})
	return nil
}

// has reports whether the file of that name is open, or there is none.
func (f *feed) has(name string) bool {
	st, err := os.Stat(name)
	return err != nil || f.isOpen(st)
}

func (f *feed) isOpen(st os.FileInfo) bool {
	return slices.ContainsFunc(f.files, func(have *lineReader) bool {
		other, err := have.f.Stat()
		return err == nil && os.SameFile(st, other)
	})
}

// read passes every line written since the last call to take.
func (f *feed) read(take func([]byte) error) error {
	for {
		for _, file := range f.files {
			if err := file.read(take); err != nil {
				return err
			}
		}
		rotated, err := f.rotated()
		if err != nil || !rotated {
			return err
		}
	}
}

// rotated opens the file that has come to path, and forgets those older than
// the one before it.
func (f *feed) rotated() (bool, error) {
	n := len(f.files)
	if n == 0 {
		return false, nil // nobody wrote one
	}
	last := f.files[n-1].f
	if isAt(last, f.path) {
		return false, nil
	}
	if !isAt(last, f.path+".1") {
		return false, ErrLagging // two rotations: there may have been a file that we never saw
	}
	if err := f.add(f.path); err != nil {
		return false, err
	}
	for len(f.files) > 2 {
		f.files[0].f.Close()
		f.files = f.files[1:]
	}
	return len(f.files) > 1 && f.files[len(f.files)-1].f != last, nil
}

// Close closes the files.
func (f *feed) Close() {
	for _, file := range f.files {
		file.f.Close()
	}
	f.files = nil
}
