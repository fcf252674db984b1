package manager_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/attach"
)

func TestAttachCarriesStreams(t *testing.T) {
	leaks(t)
	m, l := open(t)
	_, tk := run(t, m, "box")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out, errs bytes.Buffer
	a, err := tk.Attach(t.Context(), manager.AttachConfig{Stdin: r, Stdout: &out, Stderr: &errs, Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	l.last().write(attach.Stderr, "warning")
	if _, err := w.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	w.Close() // EOF makes the fake end the streams
	if err := a.Wait(); err != nil {
		t.Errorf("Wait: %v", err)
	}
	if out.String() != "hello" || errs.String() != "warning" {
		t.Errorf("out %q, err %q", out.String(), errs.String())
	}
	a.Close()
}

func TestAttachEnds(t *testing.T) {
	leaks(t)
	m, l := open(t)
	_, tk := run(t, m, "box")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	detach := errors.New("detach keys")
	for name, c := range map[string]struct {
		stdin *errReader
		end   func(a *manager.Attachment, s *fakeShim)
		want  error
	}{
		"closed":  {end: func(a *manager.Attachment, _ *fakeShim) { a.Close() }, want: manager.ErrDetached},
		"lagging": {end: func(_ *manager.Attachment, s *fakeShim) { s.write(attach.End, "lagging: 5 bytes behind") }, want: manager.ErrLagging},
		"stdin":   {stdin: &errReader{detach}, end: func(*manager.Attachment, *fakeShim) {}, want: detach},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := manager.AttachConfig{Stdin: r, Stdout: new(bytes.Buffer)}
			if c.stdin != nil {
				cfg.Stdin = c.stdin
			}
			a, err := tk.Attach(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			c.end(a, l.last())
			if err := a.Wait(); !errors.Is(err, c.want) {
				t.Errorf("Wait: %v, want %v", err, c.want)
			}
			a.Close()
			l.last().mu.Lock()
			l.last().procs[""].clients = nil
			l.last().mu.Unlock()
		})
	}
	// The pipe can be read again.
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 1 {
		t.Errorf("stdin after the attachments: %v", err)
	}
	a, err := tk.Attach(t.Context(), manager.AttachConfig{Stdout: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	l.last().die()
	if err := a.Wait(); err == nil || errors.Is(err, manager.ErrDetached) {
		t.Errorf("Wait with a dead shim: %v", err)
	}
}

// errReader fails.
type errReader struct{ err error }

func (r *errReader) Read([]byte) (int, error) { return 0, r.err }
