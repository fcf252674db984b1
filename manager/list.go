package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/holdfast/holdfast/proto/bundle"
)

// askAtOnce bounds how many shims are asked at the same time: descriptors, not
// time, are what a large node runs out of.
const askAtOnce = 512

// List returns the containers of the namespace in the order of their ids. It
// reads disks and asks no shim, unless a filter is about the status. A filter
// is one of
//
//	label=KEY  label=KEY=VALUE  label=KEY!=VALUE  label!=KEY
//	id=PATTERN (path.Match)     status=STATE
//
// and all must match. Names that cannot be ids, files, and directories without
// a spec are ignored; what others made (containerd) is listed with what is
// known of it.
func (m *Manager) List(ctx context.Context, filters ...string) ([]*Container, error) {
	f, err := parseFilters(filters)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var found []*Container
	for _, e := range entries {
		if !e.IsDir() || bundle.CheckID(e.Name()) != nil {
			continue
		}
		rec, err := m.readRecord(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("list containers: %w", err)
		}
		if f.matches(rec) {
			found = append(found, m.container(rec))
		}
	}
	if len(f.states) == 0 {
		return found, nil
	}
	var kept []*Container
	for i, s := range m.Statuses(ctx, found) {
		if f.matchesState(s.State) {
			kept = append(kept, found[i])
		}
	}
	return kept, nil
}

// Statuses asks for the status of many containers at once, in their order. A
// sick shim costs its own container 2 s and the others nothing.
func (m *Manager) Statuses(ctx context.Context, cs []*Container) []Status {
	return ask(cs, func(c *Container) Status {
		s, err := c.Status(ctx)
		if err != nil {
			s = Status{State: StateUnknown, Reason: err.Error(), Err: err}
		}
		return s
	})
}

// Inspects is Statuses for Inspect.
func (m *Manager) Inspects(ctx context.Context, cs []*Container) []Inspect {
	return ask(cs, func(c *Container) Inspect {
		in, err := c.Inspect(ctx)
		if err != nil {
			in.Status, in.Reason = StateUnknown, err.Error()
		}
		return in
	})
}

// ask puts a question to every container and leaves no connection open that was
// not open before.
func ask[T any](cs []*Container, question func(*Container) T) []T {
	answers := make([]T, len(cs))
	slots := make(chan struct{}, askAtOnce)
	var wg sync.WaitGroup
	for i, c := range cs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if c.link.idle() {
				defer c.link.retire()
			}
			answers[i] = question(c)
		})
	}
	wg.Wait()
	return answers
}
