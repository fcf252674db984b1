package container

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// Between the record of an exit and its announcement the container looks alive
// to the table and dead to whoever reads the disk. A delete that comes then is
// early, not wrong.
func TestDeleteBetweenRecordAndAnnouncement(t *testing.T) {
	gate, script := filepath.Join(t.TempDir(), "go"), filepath.Join(t.TempDir(), "script.json")
	ocitest.Script{"kill": {DelayUntilFile: gate}}.Write(t, script) // holds up the end of what init leaves
	rec := new(recorder)
	dir := ocitest.Bundle(t, ocitest.Spec{HostPID: true})
	c, err := Create(patient(t), Config{
		Namespace: "test", ID: "c", Bundle: dir, Reaper: newReaper(t), Version: "test",
		Publish: rec.publish, Log: t.Logf, Changed: func() {},
	}, CreateRequest{
		Runtime: bundle.Runtime{Binary: ocitest.Binary(t, ocitest.EnvScript+"="+script), Root: t.TempDir()},
		Linger:  true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := patient(t)
	if _, err := c.Start(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.init.proc.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; { // the kernel gives no event for a rename that is cheaper than looking
		if _, err := bundle.ReadExit(filepath.Join(dir, bundle.ExitFile)); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no exit record")
		}
		runtime.Gosched()
	}
	deleted := make(chan error, 1)
	go func() {
		_, err := c.Delete(ctx, "")
		deleted <- err
	}()
	select {
	case err := <-deleted:
		t.Fatalf("delete returned before the exit was announced: %v", err)
	case <-c.init.exited:
		t.Fatal("the exit was announced although the OCI runtime hangs")
	case <-time.After(50 * time.Millisecond): // nothing happens, which no event tells
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := inOrder(rec.all()); err != nil {
		t.Error(err)
	}
}
