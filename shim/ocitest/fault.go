package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Script says for verbs (create, start, ...) how they fail. In JSON:
//
//	{"start": {"log": "no luck", "exit": 1}, "kill": {"hang": true}}
type Script map[string]Fault

// A Fault is what happens in the place of a verb's work, or after it.
type Fault struct {
	// Match limits the fault to calls that have it as an argument, e.g. an id.
	Match string `json:"match,omitempty"`
	// Times limits the fault to the first so many calls; 0 is all.
	Times int `json:"times,omitempty"`
	// After has the work done first. A fault that ends the call (hang, crash,
	// log, exit) otherwise prevents it.
	After bool `json:"after,omitempty"`

	// DelayUntilFile waits until that file exists.
	DelayUntilFile string `json:"delayUntilFile,omitempty"`
	// Files are written, path to content, as criu's log is before it fails.
	Files map[string]string `json:"files,omitempty"`
	// Print is written to stdout, RawLog appended to the log.
	Print  string `json:"print,omitempty"`
	RawLog string `json:"rawLog,omitempty"`
	// Hang never ends.
	Hang bool `json:"hang,omitempty"`
	// Crash ends by SIGKILL.
	Crash bool `json:"crash,omitempty"`
	// Log is an error record; with it the call exits with Exit, or 1.
	Log string `json:"log,omitempty"`
	// Exit ends with that status.
	Exit int `json:"exit,omitempty"`

	// NoPidFile leaves the pid file unwritten; PidText is written into it in
	// the place of the pid.
	NoPidFile bool   `json:"noPidFile,omitempty"`
	PidText   string `json:"pidText,omitempty"`
}

// Write puts the script into a file that [EnvScript] can name.
func (s Script) Write(t testing.TB, path string) {
	t.Helper()
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	tmp := path + ".tmp" // renamed, since a call may read it at this moment
	if err := errors.Join(os.WriteFile(tmp, b, 0o600), os.Rename(tmp, path)); err != nil {
		t.Fatal(err)
	}
}

// ends tells whether the fault takes the place of the work.
func (f Fault) ends() bool { return f.Hang || f.Crash || f.Log != "" || f.Exit != 0 }

// loadFault returns what the script has for this call.
func loadFault(inv *invocation) (Fault, error) {
	path := os.Getenv(EnvScript)
	if path == "" {
		path = filepath.Join(inv.root, "script.json")
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Fault{}, nil
	}
	if err != nil {
		return Fault{}, err
	}
	var s Script
	if err := json.Unmarshal(b, &s); err != nil {
		return Fault{}, fmt.Errorf("parse script %s: %w", path, err)
	}
	f := s[inv.verb]
	if f.Match != "" && !contains(inv.rest, f.Match) || !f.take(path, inv.verb) {
		return Fault{}, nil
	}
	return f, nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// take counts the calls that a limited fault has hit, by files beside the
// script: calls run at the same time.
func (f Fault) take(path, verb string) bool {
	if f.Times == 0 {
		return true
	}
	for n := range f.Times {
		file, err := os.OpenFile(fmt.Sprintf("%s.%s.%d", path, verb, n), os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			file.Close()
			return true
		}
	}
	return false
}

// suffer does what the fault says. The error, if any, ends the call.
func (inv *invocation) suffer() error {
	f := inv.fault
	if f.DelayUntilFile != "" {
		for {
			if _, err := os.Stat(f.DelayUntilFile); err == nil {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	for path, text := range f.Files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	os.Stdout.WriteString(f.Print)
	if f.RawLog != "" {
		inv.logRaw(f.RawLog)
	}
	switch {
	case f.Hang:
		hang()
	case f.Crash:
		unix.Kill(os.Getpid(), unix.SIGKILL)
		hang()
	case f.Log != "":
		return &exitError{strings.TrimSpace(f.Log), max(f.Exit, 1)}
	case f.Exit != 0:
		os.Exit(f.Exit)
	}
	return nil
}

// writePidFile writes a --pid-file, unless the script has it otherwise.
func (inv *invocation) writePidFile(pid int) error {
	path := inv.flag("pid-file")
	if path == "" || inv.fault.NoPidFile {
		return nil
	}
	text := fmt.Sprint(pid)
	if inv.fault.PidText != "" {
		text = inv.fault.PidText
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(tmp, []byte(text), 0o666); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
