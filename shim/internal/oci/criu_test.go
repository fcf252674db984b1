package oci_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/ocitest"
)

// counter reads numbers that a container writes, one a line.
type counter struct {
	t *testing.T
	r *bufio.Reader
	w *os.File // the container's end; both ends are open for both, so it never ends
}

func newCounter(t *testing.T) *counter {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return &counter{t, bufio.NewReader(r), w}
}

func (c *counter) next() int {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// TestCheckpointAndRestoreContinue is for runc alone: crun as distributions
// build it has no criu.
func TestCheckpointAndRestoreContinue(t *testing.T) {
	w := newWorld(t, "runc")
	w.CriuDir = ocitest.CriuDir(t)
	first := newCounter(t)
	q := w.request(t, "c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
	q.Stdio = [3]*os.File{nil, first.w, first.w}
	b := w.create(t, q)
	if err := w.Start(w.ctx(t), "c"); err != nil {
		t.Fatal(err)
	}
	for first.next() < 5 {
	}
	dir := t.TempDir()
	o := oci.CriuOptions{ImagePath: filepath.Join(dir, "image"), WorkPath: filepath.Join(dir, "work")}
	if err := w.Checkpoint(w.ctx(t), oci.CheckpointRequest{ID: "c", CriuOptions: o}); err != nil {
		t.Fatal(err)
	}
	if s := b.status(t); s != "running" {
		t.Errorf("status %s after a checkpoint that leaves it running", s)
	}
	o.ImagePath += "2"
	if err := w.Checkpoint(w.ctx(t), oci.CheckpointRequest{ID: "c", CriuOptions: o, Exit: true}); err != nil {
		t.Fatal(err)
	}
	t.Logf("the checkpointed process ended as %+v", await(t, b.init))
	if err := w.Delete(w.ctx(t), "c", false); !errors.Is(err, oci.ErrNotExist) {
		t.Errorf("delete after a checkpoint that ends it: %v", err)
	}
	first.w.Close()
	last := 0
	for {
		line, err := first.r.ReadString('\n')
		if err != nil {
			break
		}
		last, _ = strconv.Atoi(strings.TrimSpace(line))
	}

	second := newCounter(t)
	p, err := w.Restore(w.ctx(t), oci.RestoreRequest{
		ID: "c", CriuOptions: o, Bundle: b.bundle, PidFile: q.PidFile,
		Stdio: [3]*os.File{nil, second.w, second.w},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.init = p
	if n := second.next(); n != last+1 {
		t.Errorf("counts on with %d, had come to %d", n, last)
	}
	if err := w.Kill(w.ctx(t), "c", 9, false); err != nil {
		t.Error(err)
	}
	if e := await(t, p); e.Code() != 137 || !e.Known {
		t.Errorf("the restored process ended as %+v", e)
	}

	// An image that runc takes for one, but criu does not.
	bad := o
	bad.ImagePath = dir
	if err := os.WriteFile(filepath.Join(dir, "descriptors.json"), []byte(`["","",""]`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err = w.Restore(w.ctx(t), oci.RestoreRequest{
		ID: "d", CriuOptions: bad, Bundle: b.bundle, PidFile: q.PidFile,
	})
	e := wantError(t, err, nil, "OCI runtime restore failed: ")
	if p != nil || e.CriuLog == "" || !strings.Contains(e.Message, "Error") {
		t.Errorf("restore of nothing: process %v, log %q, %v", p, e.CriuLog, err)
	}
}
