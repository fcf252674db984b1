package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
)

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
		"thr+|ee  x|!":           {Tail: 2},
		"!":                      {Tail: 1, Stderr: true},
		"thr+|ee  x":             {Stdout: true, Tail: 1},
		"one|thr+|ee  x ":        {Stdout: true, Tail: 2},
		"one|two!|thr+|ee  x|! ": {Tail: 99},
		"thr+|ee  x|! ":          {Since: time.Date(2026, 1, 2, 3, 4, 3, 0, time.UTC)},
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

func TestLogsFollowEndsWithTheShim(t *testing.T) {
	leaks(t)
	m, l := open(t)
	for _, early := range []bool{true, false} {
		c, _ := run(t, m, fmt.Sprint("box", early))
		if err := os.WriteFile(filepath.Join(c.Bundle(), "output.log"), []byte(criLine(1, "stdout", "F", "said")), 0o600); err != nil {
			t.Fatal(err)
		}
		if early {
			l.last().die()
		}
		var said string
		var end error
		for line, err := range c.Logs(t.Context(), manager.LogsConfig{Follow: true}) {
			said, end = said+string(line.Text), err
			if !early {
				l.last().die()
			}
		}
		if said != "said" || !errors.Is(end, manager.ErrShimDead) {
			t.Errorf("dead before: %v: said %q, end %v", early, said, end)
		}
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
