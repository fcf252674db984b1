package manager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/bundle"
)

func TestEventsAreChosen(t *testing.T) {
	m, _ := open(t)
	dir := filepath.Join(m.Root(), "test")
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, e := range []bundle.Event{
		{ID: "a", Topic: bundle.TopicCreate}, {ID: "b", Topic: bundle.TopicCreate},
		{ID: "a", Topic: bundle.TopicStart}, {ID: "a", Topic: bundle.TopicExit, Known: true, Code: 3},
	} {
		e.Seq, e.Time = uint64(i+1), base.Add(time.Duration(i)*time.Second)
		if err := bundle.AppendFeed(dir, e.Encode()); err != nil {
			t.Fatal(err)
		}
	}
	if err := bundle.AppendFeed(dir, []byte("garbage\n")); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]manager.EventsConfig{
		"1 2 3 4": {}, "1 3 4": {IDs: []string{"a"}}, "3 4": {Since: base.Add(2 * time.Second)},
		"4": {Topics: []string{bundle.TopicExit}}, "": {IDs: []string{"c"}},
	} {
		var got []string
		for e, err := range m.Events(t.Context(), cfg) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.Seq))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("Events(%+v) = %v, want %s", cfg, got, want)
		}
	}
}

// TestFollowerMissesNothingAcrossRotation writes the feed over several times.
func TestFollowerMissesNothingAcrossRotation(t *testing.T) {
	leaks(t)
	m, _ := open(t)
	dir := filepath.Join(m.Root(), "test")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan uint64)
	end := make(chan error, 1)
	go func() {
		for e, err := range m.Events(ctx, manager.EventsConfig{Follow: true}) {
			if err != nil {
				end <- err
				return
			}
			select {
			case seen <- e.Seq:
			case <-ctx.Done():
			}
		}
	}()
	// Padding that no reader takes for an event brings the file to its limit, so
	// that it is rotated in the midst of each round.
	const rounds, each = 4, 20
	const n = rounds * each
	padding := append(bytes.Repeat([]byte("x"), bundle.FeedLimit-1000), '\n')
	window := make(chan struct{}, each/2) // never two rotations ahead of the reader
	go func() {
		for i := range uint64(n) {
			select {
			case window <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if i%each == 0 {
				if err := appendTo(filepath.Join(dir, bundle.FeedFile), padding); err != nil {
					t.Error(err)
				}
			}
			e := bundle.Event{Seq: i + 1, Time: time.Now(), ID: "a", Topic: bundle.TopicCreate}
			if err := bundle.AppendFeed(dir, e.Encode()); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range uint64(n) {
		select {
		case got := <-seen:
			if got != i+1 {
				t.Fatalf("event %d came as %d", got, i+1)
			}
			<-window
		case err := <-end:
			t.Fatal(err)
		case <-time.After(30 * time.Second):
			t.Fatalf("event %d never came", i+1)
		}
	}
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Errorf("end: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".events.1")); err != nil {
		t.Errorf("no rotation: %v", err)
	}
	// History comes from both files.
	count := 0
	for _, err := range m.Events(t.Context(), manager.EventsConfig{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count < each || count >= n {
		t.Errorf("%d events of history, of %d", count, n)
	}
}

func appendTo(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
