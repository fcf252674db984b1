package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "10": 10, "1k": 1024, "1K": 1024, "1kb": 1024, "1KiB": 1024, "512m": 512 << 20, "1.5g": 3 << 29, "2t": 2 << 40, "100b": 100, "-1": -1, "max": -1,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "-2", "1x", "1mm", "1e30", "NaN", "9999999t", "1 m"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

func TestSignals(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"KILL": 9, "SIGKILL": 9, "kill": 9, "9": 9, "0": 0, "term": 15, "USR1": 10, "SIGRTMIN": 34, "RTMIN+2": 36, "RTMAX-1": 63, "64": 64,
	} {
		if got, err := parseSignal(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "65", "SIG", "NOPE", "RTMIN+99", "RTMIN2", "RTMAX+1"} {
		if got, err := parseSignal(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "10m": now.Add(-10 * time.Minute), "2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "1767225600": time.Unix(1767225600, 0),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestEnvironmentIsPassedOnByName(t *testing.T) {
	got, err := parseEnv([]string{"A=1", "B", "C", "D="}, func(n string) string { return map[string]string{"B": "b"}[n] })
	if want := []string{"A=1", "B=b", "D="}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := parseEnv([]string{"=x"}, nil); err == nil {
		t.Error("a variable without a name was accepted")
	}
}

func TestCPUsBecomeQuotaAndPeriod(t *testing.T) {
	fs := newFlagSet("")
	f := newLimitFlags(fs)
	if err := fs.Parse(strings.Fields("--cpus 1.5 --memory 64m --pids-limit -1 --cpu-shares 512")); err != nil {
		t.Fatal(err)
	}
	r, err := f.resources("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *r.CPU.Quota != 150000 || *r.CPU.Period != 100000 || *r.CPU.Shares != 512 || *r.Memory.Limit != 64<<20 || *r.Pids.Limit != -1 || r.Memory.Swap != nil {
		t.Errorf("%+v %+v %+v", r.CPU, r.Memory, r.Pids)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		bytesText(0): "0B", bytesText(1023): "1023B", bytesText(1536): "1.50KiB", bytesText(200 << 20): "200MiB", bytesText(12 << 30): "12.0GiB",
		span(90 * time.Second): "90s", span(5 * time.Minute): "5m", span(50 * time.Hour): "2d", span(-time.Second): "0s",
		truncate("abcdef", 4): "abc…", truncate("abc", 4): "abc", oneLine("a\nb\r\x1b[1mc"): "a b [1mc",
		quoted([]string{"sh", "-c", "exit 7", "it's", ""}):                                                             `sh -c 'exit 7' 'it'\''s' ''`,
		stateText(manager.Status{State: manager.StateStopped, Exit: &manager.Exit{Known: true, Code: 7}}):              "stopped (7)",
		stateText(manager.Status{State: manager.StateStopped, Exit: &manager.Exit{Known: true, Code: 137, Signal: 9}}): "stopped (SIGKILL)",
		stateText(manager.Status{State: manager.StateStopped, Exit: &manager.Exit{}}):                                  "stopped (unknown)",
		cpuTime(90 * time.Minute): "1:30:00", cpuTime(1230 * time.Millisecond): "1.23s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
