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

// criLine is one line of a log.
func criLine(second int, stream, tag, text string) string {
	return fmt.Sprintf("2026-01-02T03:04:%02d.5Z %s %s %s\n", second, stream, tag, text)
}

func TestLogsAreChosen(t *testing.T) {
	m, _ := open(t)
	c := makeContainer(t, m, "box")
	for range c.Logs(t.Context(), manager.LogsConfig{}) {
		t.Error("a line before there was a log")
	}
	text := criLine(1, "stdout", "F", "one") + "torn line\n" + criLine(2, "stderr", "F", "two") +
		criLine(3, "stdout", "P", "thr") + criLine(4, "stdout", "F", "ee  x") + criLine(5, "stderr", "F", "")
	if err := os.WriteFile(filepath.Join(c.Bundle(), "output.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]manager.LogsConfig{
		"one|two!|thr+|ee  x|!":  {},
		"one|thr+|ee  x":         {Stdout: true},
		"two!|!":                 {Stderr: true},
		"ee  x|!":                {Tail: 2},
		"!":                      {Tail: 1, Stderr: true},
		"thr+|ee  x":             {Stdout: true, Tail: 2},
		"one|two!|thr+|ee  x|! ": {Tail: 99},
		"thr+|ee  x|!":           {Since: time.Date(2026, 1, 2, 3, 4, 3, 0, time.UTC)},
	} {
		if got := logText(t, c, cfg); got != strings.TrimSpace(want) {
			t.Errorf("Logs(%+v) = %q, want %q", cfg, got, want)
		}
	}
}

func logText(t *testing.T, c *manager.Container, cfg manager.LogsConfig) string {
	t.Helper()
	var got []string
	for l, err := range c.Logs(t.Context(), cfg) {
		if err != nil {
			t.Fatal(err)
		}
		s := string(l.Text)
		if l.Partial {
			s += "+"
		}
		if l.Stderr {
			s += "!"
		}
		got = append(got, s)
	}
	return strings.Join(got, "|")
}

// TestTailOfLongLogs crosses the pieces in which a log is read backwards.
func TestTailOfLongLogs(t *testing.T) {
	m, _ := open(t)
	for _, format := range []string{"cri", "raw"} {
		path := filepath.Join(t.TempDir(), "log")
		c, err := m.Create(t.Context(), format, manager.CreateConfig{
			Rootfs: t.TempDir(), Stdio: manager.Stdio{Log: "file://" + path + "?format=" + format},
		})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		var lines []string
		for i := range 3000 {
			text := fmt.Sprint("line ", i, strings.Repeat("y", i%97))
			if i%50 == 0 {
				text = ""
			}
			lines = append(lines, text)
			if format == "cri" {
				text = strings.TrimSuffix(criLine(1, "stdout", "F", text), "\n")
			}
			b.WriteString(text + "\n")
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2, 51, 700, 2999, 3000, 4000} {
			want := strings.Join(lines[max(0, len(lines)-n):], "|")
			if got := logText(t, c, manager.LogsConfig{Tail: n}); got != want {
				t.Errorf("%s: tail %d has %d bytes, want %d", format, n, len(got), len(want))
			}
		}
	}
}

func TestLogsFollowUntilTheEnd(t *testing.T) {
	leaks(t)
	m, l := open(t)
	c, _ := run(t, m, "box")
	path := filepath.Join(c.Bundle(), "output.log")
	got := make(chan string)
	go func() {
		defer close(got)
		for line, err := range c.Logs(t.Context(), manager.LogsConfig{Follow: true}) {
			if err != nil {
				t.Error(err)
				return
			}
			got <- string(line.Text)
		}
	}()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(s string) {
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		line := criLine(i, "stdout", "F", fmt.Sprint("l", i))
		write(line[:20])
		write(line[20:])
		if s := <-got; s != fmt.Sprint("l", i) {
			t.Errorf("line %d is %q", i, s)
		}
	}
	write(criLine(9, "stdout", "F", "last"))
	if s := <-got; s != "last" {
		t.Errorf("last line is %q", s)
	}
	l.last().exit("", 0)
	if s, more := <-got; more {
		t.Errorf("one line more: %q", s)
	}
}

func TestLogsFollowEndsWithContext(t *testing.T) {
	leaks(t)
	m, _ := open(t)
	c, _ := run(t, m, "box")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	var last error
	for _, err := range c.Logs(ctx, manager.LogsConfig{Follow: true}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("end: %v", last)
	}
}

func TestLogsOfElsewhereAreUnsupported(t *testing.T) {
	m, _ := open(t)
	c, err := m.Create(t.Context(), "box", manager.CreateConfig{Rootfs: t.TempDir(), Stdio: manager.Stdio{Log: manager.LogNone}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Logs(t.Context(), manager.LogsConfig{}) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Logs: %v", err)
		}
	}
}
