package manager_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/bundle"
)

// A shim tells what it sees. What happens to a run after its shim has left, the
// one who does it tells.
func TestDeleteTellsWhatNoShimCould(t *testing.T) {
	all := []string{bundle.TopicCreate, bundle.TopicStart, bundle.TopicExit, bundle.TopicDelete}
	for _, told := range []int{2, 3, 4} { // killed; left by itself; left after a deletion
		m, _ := open(t)
		c := makeContainer(t, m, "box")
		for i, topic := range all[:told] {
			line := bundle.Event{Seq: uint64(i + 1), Time: time.Now(), Namespace: m.Namespace(), ID: "box", Topic: topic, PID: 7}.Encode()
			if err := bundle.AppendJournal(c.Bundle(), line); err != nil {
				t.Fatal(err)
			}
			if err := bundle.AppendFeed(filepath.Dir(c.Bundle()), line); err != nil {
				t.Fatal(err)
			}
		}
		if err := bundle.WriteExit(c.Bundle(), bundle.Exit{ID: "box", PID: 7, Known: true, Status: 3 << 8, Code: 3, ExitedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		var topics []string
		for e, err := range m.Events(t.Context(), manager.EventsConfig{}) {
			if err != nil {
				t.Fatal(err)
			}
			topics = append(topics, e.Topic)
			if want := uint64(len(topics)); e.Seq != want {
				t.Errorf("after %d told: event %s has number %d, want %d", told, e.Topic, e.Seq, want)
			}
			if len(topics) > told && (e.Code != 3 || !e.Known || e.PID != 7) {
				t.Errorf("after %d told: %+v", told, e)
			}
		}
		if !slices.Equal(topics, all) {
			t.Errorf("after %d told: the feed has %v", told, topics)
		}
	}
}
