package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// called is what one call of holdfast has left.
type called struct {
	code     int
	out, err string
}

// call runs holdfast in this process, in a world without terminal or
// environment.
func call(t *testing.T, stdin string, args ...string) called {
	t.Helper()
	return callIn(t, world{}, stdin, args...)
}

// callIn is call with what differs from the plain world filled in.
func callIn(t *testing.T, w world, stdin string, args ...string) called {
	t.Helper()
	var out, err bytes.Buffer
	w.stdin, w.stderr = strings.NewReader(stdin), &err
	if w.stdout == nil {
		w.stdout = &out
	}
	if w.env == nil {
		w.env = func(string) string { return "" }
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.notify == nil {
		w.notify = func(chan<- os.Signal, ...os.Signal) func() { return func() {} }
	}
	code := run(args, w)
	return called{code, out.String(), err.String()}
}

// fresh returns a root directory that does not exist yet.
func fresh(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "root")
}

// wantFailure checks the shape of every error: our status, nothing on standard
// output, one line "holdfast: ..." and at most one line "hint: ...".
func wantFailure(t *testing.T, r called, text string) {
	t.Helper()
	if r.code != exitOurs {
		t.Errorf("exit status %d, want %d", r.code, exitOurs)
	}
	if r.out != "" {
		t.Errorf("standard output %q, want none", r.out)
	}
	lines := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "holdfast: ") || !strings.Contains(lines[0], text) {
		t.Errorf("error %q, want holdfast: ... %q", lines[0], text)
	}
	if len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("error is more than a line and a hint: %q", r.err)
	}
	if strings.HasSuffix(lines[0], ".") || strings.Contains(lines[0], "failed to") {
		t.Errorf("error %q is not in the house style", lines[0])
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}
