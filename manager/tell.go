package manager

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
)

// tellEnd puts into the feed what the shim of a run that is being deleted has
// not told itself: the deletion, when it had left before, and the exit, when it was
// killed. The shim must have left. Nobody is served by an error here: the run
// is deleted all the same, and the feed is no state.
func (c *Container) tellEnd(pid int) {
	last, err := c.lastEvent()
	if err != nil {
		return
	}
	e, err := bundle.ReadExit(filepath.Join(c.dir, bundle.ExitFile))
	if err != nil {
		e = bundle.Exit{PID: pid, Code: unknownCode, Reason: "it was deleted before it was seen to end", ExitedAt: time.Now()}
	}
	topics := []string{bundle.TopicExit, bundle.TopicDelete}
	switch {
	case last.ExecID == "" && last.Topic == bundle.TopicDelete:
		return
	case last.ExecID == "" && last.Topic == bundle.TopicExit, e.Failed, e.PID == 0:
		topics = topics[1:]
	}
	for _, topic := range topics {
		last.Seq++
		ev := e.Event(topic)
		ev.Seq, ev.Time, ev.Namespace, ev.ID = last.Seq, time.Now(), c.m.namespace, c.id
		_ = bundle.AppendFeed(c.m.dir, ev.Encode())
	}
}

// lastEvent returns the last event in the journal of the run. After the end of
// init nothing comes but deletions, of execs and of init itself.
func (c *Container) lastEvent() (bundle.Event, error) {
	raw, err := os.ReadFile(filepath.Join(c.dir, bundle.JournalFile))
	if err == nil && len(raw) == 0 { // it was just rotated
		raw, err = os.ReadFile(filepath.Join(c.dir, bundle.JournalFile+".1"))
	}
	if err != nil {
		return bundle.Event{}, err
	}
	var last bundle.Event
	for line := range bytes.Lines(raw) {
		e, err := bundle.DecodeEvent(line)
		if err != nil {
			continue
		}
		if last.ExecID == "" && last.Topic == bundle.TopicExit && e.ExecID != "" {
			last.Seq = e.Seq // init's exit is the news, also when an exec is deleted after it
			continue
		}
		last = e
	}
	if last.Seq == 0 {
		return last, fs.ErrNotExist
	}
	return last, nil
}
