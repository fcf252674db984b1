package manager_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast/holdfast/manager"
)

func TestExecLife(t *testing.T) {
	leaks(t)
	m, l := open(t)
	_, tk := run(t, m, "box")
	ctx := t.Context()
	e, err := tk.Exec(ctx, manager.ExecConfig{ID: "e1", Args: []string{"ls"}, Env: []string{"A=b"}, Cwd: "/tmp"})
	if err != nil {
		t.Fatal(err)
	}
	spec := string(l.last().procs["e1"].stdin)
	for _, want := range []string{`"A=b"`, `"PATH=`, `"cwd": "/tmp"`, `"ls"`} {
		if !strings.Contains(spec, want) {
			t.Errorf("process of exec has no %s: %s", want, spec)
		}
	}
	if _, err := tk.Exec(ctx, manager.ExecConfig{ID: "e1", Args: []string{"ls"}}); !errors.Is(err, manager.ErrExists) {
		t.Errorf("second exec of the id: %v", err)
	}
	if _, err := tk.Exec(ctx, manager.ExecConfig{ID: "../x", Args: []string{"ls"}}); !errors.Is(err, manager.ErrInvalidID) {
		t.Errorf("exec ../x: %v", err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Delete(ctx); !errors.Is(err, manager.ErrRunning) {
		t.Errorf("Delete while it runs: %v", err)
	}
	if list, err := tk.Execs(ctx); err != nil || len(list) != 1 || list[0].ID() != "e1" {
		t.Errorf("Execs = %v, %v", list, err)
	}
	l.last().exit("e1", 5<<8)
	if x, err := e.Wait(ctx); err != nil || x.Code != 5 {
		t.Errorf("Wait = %+v, %v", x, err)
	}
	if err := e.Kill(ctx, syscall.SIGTERM); !errors.Is(err, manager.ErrExited) {
		t.Errorf("Kill: %v", err)
	}
	if x, err := e.Delete(ctx); err != nil || x.Code != 5 {
		t.Errorf("Delete = %+v, %v", x, err)
	}
	if _, err := tk.LoadExec(ctx, "e1"); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("LoadExec: %v", err)
	}
	if err := e.Kill(ctx, syscall.SIGTERM); !errors.Is(err, manager.ErrNotFound) {
		t.Errorf("Kill of the deleted: %v", err)
	}
}

func TestExecRecordOutlivesShim(t *testing.T) {
	m, l := open(t)
	_, tk := run(t, m, "box")
	ctx := t.Context()
	e, err := tk.Exec(ctx, manager.ExecConfig{ID: "e1", Args: []string{"ls"}})
	if err != nil {
		t.Fatal(err)
	}
	s := l.last()
	s.exit("e1", 5<<8)
	s.exit("", 0)
	s.die()
	if x, err := e.Wait(ctx); err != nil || x.Code != 5 {
		t.Errorf("Wait = %+v, %v", x, err)
	}
	if list, err := tk.Execs(ctx); err != nil || len(list) != 1 {
		t.Errorf("Execs = %v, %v", list, err)
	}
	if x, err := e.Delete(ctx); err != nil || x.Code != 5 {
		t.Errorf("Delete = %+v, %v", x, err)
	}
	if list, err := tk.Execs(ctx); err != nil || len(list) != 0 {
		t.Errorf("Execs = %v, %v", list, err)
	}
}
