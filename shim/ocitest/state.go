package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names in a container's state directory.
const (
	stateFile   = "state.json"
	processFile = "process.json"
	startFifo   = "start.fifo"
)

// A container is what state.json holds. Status is not in it: it is read off the
// processes.
type container struct {
	ID      string    `json:"id"`
	Bundle  string    `json:"bundle"`
	Created time.Time `json:"created"`
	Paused  bool      `json:"paused"`
	Procs   []process `json:"procs"` // the first is init, the others execs

	dir string
}

// errNotExist has runc's words.
var errNotExist = errors.New("container does not exist")

// load reads the container that an invocation names.
func (inv *invocation) load() (*container, error) {
	return loadDir(filepath.Join(inv.root, inv.rest[0]))
}

func loadDir(dir string) (*container, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNotExist
	}
	if err != nil {
		return nil, err
	}
	c := &container{dir: dir}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("parse %s of %s: %w", stateFile, dir, err)
	}
	return c, nil
}

// makeContainer claims the id of an invocation.
func (inv *invocation) makeContainer(bundle string) (*container, error) {
	id := inv.rest[0]
	if id == "" || strings.ContainsAny(id, "/\x00") || id[0] == '.' {
		return nil, fmt.Errorf("invalid container id format: %q", id)
	}
	bundle, err := filepath.Abs(bundle)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(inv.root, 0o700); err != nil {
		return nil, err
	}
	c := &container{ID: id, Bundle: bundle, Created: time.Now().UTC(), dir: filepath.Join(inv.root, id)}
	if err := os.Mkdir(c.dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, errors.New("container with given ID already exists")
	} else if err != nil {
		return nil, err
	}
	return c, nil
}

// save replaces state.json.
func (c *container) save() error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp := filepath.Join(c.dir, fmt.Sprintf(".%s.%d", stateFile, os.Getpid()))
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(c.dir, stateFile))
}

// change reads the container anew and saves what f makes of it, alone.
func (c *container) change(f func(*container) error) error {
	dir, err := os.Open(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return errNotExist
	}
	if err != nil {
		return err
	}
	defer dir.Close() // and with it the lock
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	now, err := loadDir(c.dir)
	if err != nil {
		return err
	}
	if err := f(now); err != nil {
		return err
	}
	*c = *now
	return c.save()
}

// status is one of the OCI runtime spec's words, or paused.
func (c *container) status() string {
	switch {
	case len(c.Procs) == 0 || !c.Procs[0].alive():
		return "stopped"
	case c.Paused:
		return "paused"
	}
	if _, err := os.Stat(filepath.Join(c.dir, startFifo)); err == nil {
		return "created"
	}
	return "running"
}

// pids returns all processes of the container.
func (c *container) pids() []int {
	leaders := map[int]bool{}
	for _, p := range c.Procs {
		leaders[p.PID] = p.known()
	}
	all := []int{}
	for _, st := range allStats() {
		if !st.dead && (leaders[st.pid] || leaders[st.session] || c.owned(st.session)) {
			all = append(all, st.pid)
		}
	}
	return all
}

// owned tells whether a session is one of ours whose leader has been reaped: its
// number cannot have been given to another process while it has members.
func (c *container) owned(session int) bool {
	for _, p := range c.Procs {
		if p.PID == session {
			_, err := statOf(session)
			return err != nil
		}
	}
	return false
}
