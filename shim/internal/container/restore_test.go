package container

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/ocitest"
)

// fromImage makes a container of the fake OCI runtime from a checkpoint that it
// cannot restore.
func fromImage(t *testing.T, r *reaper.Reaper) *Container {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script.json")
	ocitest.Script{"restore": {Log: "image is torn", Exit: 1}}.Write(t, script)
	dir := ocitest.Bundle(t, ocitest.Spec{HostPID: true})
	c, err := Create(patient(t), Config{
		Namespace: "test", ID: "c", Bundle: dir, Reaper: r, Version: "test",
		Publish: new(recorder).publish, Log: t.Logf, Changed: func() {},
	}, CreateRequest{
		Runtime:    bundle.Runtime{Binary: ocitest.Binary(t, ocitest.EnvScript+"="+script), Root: t.TempDir()},
		Checkpoint: t.TempDir(), Linger: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An image that cannot be restored is the end of that run: who waits is told,
// and it can be deleted.
func TestFailedRestoreIsAnEnd(t *testing.T) {
	c := fromImage(t, newReaper(t))
	ctx := patient(t)
	if _, err := c.Start(ctx, ""); err == nil {
		t.Fatal("start of a torn image succeeded")
	}
	e, err := c.Wait(ctx, "")
	if err != nil || !e.Failed || e.Known || e.Reason == "" {
		t.Errorf("wait = %+v, %v", e, err)
	}
	if st, err := c.State(""); err != nil || st.Status != types.StatusStopped {
		t.Errorf("state = %+v, %v", st, err)
	}
	if _, err := c.Start(ctx, ""); !errors.Is(err, ErrState) {
		t.Errorf("second start: %v", err)
	}
	if _, err := c.Delete(ctx, ""); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := c.Delete(ctx, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
}

// An image that nobody has restored can be deleted, and that releases who waits.
func TestDeleteOfAnImageNeverRestored(t *testing.T) {
	c := fromImage(t, newReaper(t))
	ctx := patient(t)
	waited := make(chan error, 1)
	go func() {
		_, err := c.Wait(ctx, "")
		waited <- err
	}()
	if _, err := c.Delete(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; !errors.Is(err, ErrNotFound) {
		t.Errorf("wait: %v", err)
	}
}
