package oci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/jsontext"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// scenarios run with every runtime.
var scenarios = []struct {
	name string
	run  func(*testing.T, *world)
}{
	{"exit code of the first process reaches us", func(t *testing.T, w *world) {
		b := w.create(t, w.request(t, "c", "exit 7"))
		if s := b.status(t); s != "created" {
			t.Errorf("status %s before start", s)
		}
		if err := w.Start(w.ctx(t), "c"); err != nil {
			t.Fatal(err)
		}
		if e := await(t, b.init); !e.Known || e.Code() != 7 {
			t.Errorf("exit %+v", e)
		}
		if s := b.status(t); s != "stopped" {
			t.Errorf("status %s after exit", s)
		}
		if err := w.Kill(w.ctx(t), "c", unix.SIGTERM, false); err != nil && !errors.Is(err, oci.ErrFinished) {
			t.Errorf("kill after exit: %v", err)
		}
		if err := w.Delete(w.ctx(t), "c", false); err != nil {
			t.Errorf("delete: %v", err)
		}
		if err := w.Delete(w.ctx(t), "c", false); !errors.Is(err, oci.ErrNotExist) {
			t.Errorf("second delete: %v", err)
		}
	}},
	{"the container has the stdio it was given and no other descriptor", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		out, code := b.output(t, "/bin/sh", "-c", "echo hello; echo $(ls /proc/self/fd)")
		// the command substitution has a pipe as 1, ls the directory as 3
		if code != 0 || out != "hello\n0 1 2 3\n" {
			t.Errorf("exit %d, output %q", code, out)
		}
		r, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		q := w.request(t, "d", "ls /proc/self/fd; exit 3")
		q.Stdio = [3]*os.File{nil, wr, wr}
		d := w.create(t, q)
		wr.Close()
		if err := w.Start(w.ctx(t), "d"); err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		if e := await(t, d.init); e.Code() != 3 || string(text) != "0\n1\n2\n3\n" {
			t.Errorf("exit %+v, output %q", e, text)
		}
	}},
	{"many short processes lose no exit", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		const parallel, each = 4, 5
		failed := make(chan error, parallel)
		for i := range parallel {
			go func() {
				var errs []error
				for j := range each {
					want := 10*i + j
					p, err := b.exec(t, [3]*os.File{}, "/bin/sh", "-c", "exit "+strconv.Itoa(want))
					if err != nil {
						errs = append(errs, err)
						continue
					}
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					if e, err := p.Wait(ctx); err != nil || e.Code() != want {
						errs = append(errs, fmt.Errorf("exit %+v, %v; want %d", e, err, want))
					}
					cancel()
				}
				failed <- errors.Join(errs...)
			}()
		}
		for range parallel {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	}},
	{"a program that cannot be run has the code shells give", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		for _, c := range []struct {
			program string
			code    int
		}{{"/no/such", 127}, {"no-such", 127}, {"/tmp", 126}} {
			p, err := b.exec(t, [3]*os.File{}, c.program)
			if err == nil || p != nil {
				t.Fatalf("exec %s: %v, %v", c.program, p, err)
			}
			if code := oci.ExecFailureCode(err); code != c.code {
				t.Errorf("exec %s: code %d, want %d (%v)", c.program, code, c.code, err)
			}
			if !strings.HasPrefix(err.Error(), "OCI runtime exec failed: ") {
				t.Errorf("exec %s: %v", c.program, err)
			}
		}
		if s := b.status(t); s != "running" {
			t.Errorf("status %s after failed execs", s)
		}
	}},
	{"a bundle whose program is missing cannot be created and leaves nothing", func(t *testing.T, w *world) {
		q := w.request(t, "c", "")
		config := filepath.Join(q.Bundle, "config.json")
		spec, _ := os.ReadFile(config)
		spec = bytes.Replace(spec, []byte(`"/bin/sh"`), []byte(`"/no/such"`), 1)
		if err := os.WriteFile(config, spec, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := w.Create(w.ctx(t), q)
		if err == nil {
			t.Fatal("created")
		}
		if p != nil {
			await(t, p)
		}
		if code := oci.ExecFailureCode(err); code != 127 {
			t.Errorf("code %d: %v", code, err)
		}
		const want = `OCI runtime create failed: runc create failed: unable to start container process: ` +
			`exec: "/no/such": stat /no/such: no such file or directory`
		if w.name != "crun" && err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if _, err := w.State(w.ctx(t), "c"); !errors.Is(err, oci.ErrNotExist) {
			t.Errorf("state after failed create: %v", err)
		}
	}},
	{"an id in use is refused and its container unharmed", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		q := w.request(t, "c", "sleep 1000")
		if p, err := w.Create(w.ctx(t), q); !errors.Is(err, oci.ErrExists) || p != nil {
			t.Errorf("second create: %v, %v", p, err)
		}
		if s := b.status(t); s != "running" {
			t.Errorf("status %s", s)
		}
	}},
	{"signals reach one process or all", func(t *testing.T, w *world) {
		b := w.run(t, "c", "trap 'exit 9' USR1; while :; do sleep 0.01; done")
		p, err := b.exec(t, [3]*os.File{}, "/bin/sleep", "1000")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Kill(w.ctx(t), "c", 0, false); err != nil {
			t.Errorf("signal 0: %v", err)
		}
		if err := w.Kill(w.ctx(t), "c", 999, false); err == nil || errors.Is(err, oci.ErrFinished) {
			t.Errorf("signal 999: %v", err)
		}
		pids, err := w.Pids(w.ctx(t), "c")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{b.init.PID(), p.PID()} {
			if !contains(pids, want) {
				t.Errorf("pids %v are without %d", pids, want)
			}
		}
		if err := w.Kill(w.ctx(t), "c", unix.SIGKILL, true); err != nil {
			t.Errorf("kill --all: %v", err)
		}
		if e := await(t, p); e.Signal() != unix.SIGKILL {
			t.Errorf("exec ended as %+v", e)
		}
		if e := await(t, b.init); e.Signal() != unix.SIGKILL {
			t.Errorf("init ended as %+v", e)
		}
	}},
	{"pause and resume", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		if err := w.Pause(w.ctx(t), "c"); err != nil {
			t.Fatal(err)
		}
		if s := b.status(t); s != "paused" {
			t.Errorf("status %s", s)
		}
		if _, err := b.exec(t, [3]*os.File{}, "/bin/true"); err == nil {
			t.Error("exec in a paused container worked")
		}
		if err := w.Resume(w.ctx(t), "c"); err != nil {
			t.Fatal(err)
		}
		if s := b.status(t); s != "running" {
			t.Errorf("status %s", s)
		}
	}},
	{"update takes resources, and says what is wrong with them", func(t *testing.T, w *world) {
		w.run(t, "c", "sleep 1000")
		if err := w.Update(w.ctx(t), "c", []byte(`{"memory":{"limit":67108864}}`)); err != nil {
			t.Error(err)
		}
		for _, bad := range [][]byte{nil, []byte(`{"memory":`)} {
			if err := w.Update(w.ctx(t), "c", bad); err == nil || !strings.HasPrefix(err.Error(), "OCI runtime update failed: ") {
				t.Errorf("update %q: %v", bad, err)
			}
		}
	}},
	{"an unknown container is ErrNotExist to every verb", func(t *testing.T, w *world) {
		ctx := w.ctx(t)
		b := &box{w: w, id: "nope"}
		_, execErr := b.exec(t, [3]*os.File{}, "/bin/true")
		_, pidsErr := w.Pids(ctx, "nope")
		_, stateErr := w.State(ctx, "nope")
		for verb, err := range map[string]error{
			"start": w.Start(ctx, "nope"), "kill": w.Kill(ctx, "nope", unix.SIGTERM, false),
			"delete": w.Delete(ctx, "nope", false), "pause": w.Pause(ctx, "nope"), "resume": w.Resume(ctx, "nope"),
			"update": w.Update(ctx, "nope", []byte("{}")), "exec": execErr, "ps": pidsErr, "state": stateErr,
		} {
			if !errors.Is(err, oci.ErrNotExist) {
				t.Errorf("%s: %v", verb, err)
			}
		}
		if err := w.Delete(ctx, "nope", true); err != nil {
			t.Errorf("delete --force: %v", err)
		}
	}},
	{"a created container can be killed and deleted", func(t *testing.T, w *world) {
		b := w.create(t, w.request(t, "c", "exit 1"))
		if err := w.Kill(w.ctx(t), "c", unix.SIGKILL, true); err != nil {
			t.Fatal(err)
		}
		if e := await(t, b.init); e.Signal() != unix.SIGKILL {
			t.Errorf("exit %+v", e)
		}
		if err := w.Delete(w.ctx(t), "c", false); err != nil {
			t.Error(err)
		}
	}},
	{"start twice, and delete while running, are refused", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		if err := w.Start(w.ctx(t), "c"); err == nil {
			t.Error("second start worked")
		}
		if err := w.Delete(w.ctx(t), "c", false); err == nil {
			t.Error("delete of a running container worked")
		}
		if s := b.status(t); s != "running" {
			t.Errorf("status %s", s)
		}
	}},
	{"features are JSON or not supported", func(t *testing.T, w *world) {
		raw, err := w.Features(w.ctx(t))
		if err != nil && (w.name != "crun" || !errors.Is(err, oci.ErrUnsupported)) {
			t.Fatal(err)
		}
		if _, ok := jsontext.Get(raw, "ociVersionMax"); err == nil && !ok {
			t.Errorf("features: %s", raw)
		}
	}},
	{"a failed checkpoint leaves the container running", func(t *testing.T, w *world) {
		b := w.run(t, "c", "sleep 1000")
		dir := t.TempDir()
		dump := filepath.Join(dir, "dump.log")
		if w.fake() {
			ocitest.Script{"checkpoint": {
				Log:   "criu failed: type DUMP errno 0\nsecond line",
				Files: map[string]string{dump: "(00.1) start\n(00.2) Error (criu/files.c:1): no luck\n(00.3) Dumping FAILED.\n"},
			}}.Write(t, filepath.Join(w.Root, "script.json"))
		} else {
			w.CriuDir = t.TempDir() // a criu that always fails, before any other
			criu := "#!/bin/sh\nexit 1\n"
			if err := os.WriteFile(filepath.Join(w.CriuDir, "criu"), []byte(criu), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(dump, []byte("(00.1) Error (criu/x.c:1): of an earlier run\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := w.Checkpoint(w.ctx(t), oci.CheckpointRequest{
			ID: "c", CriuOptions: oci.CriuOptions{ImagePath: filepath.Join(dir, "image"), WorkPath: dir}, Exit: true,
		})
		if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "earlier") {
			t.Fatalf("checkpoint: %v", err)
		}
		if w.fake() && !strings.HasSuffix(err.Error(), "criu failed: type DUMP errno 0 (criu log "+dir+
			"/dump.log: (00.2) Error (criu/files.c:1): no luck)") {
			t.Errorf("checkpoint: %v", err)
		}
		if s := b.status(t); s != "running" {
			t.Errorf("status %s", s)
		}
	}},
}

func contains(list []int, n int) bool {
	for _, e := range list {
		if e == n {
			return true
		}
	}
	return false
}

func TestScenarios(t *testing.T) {
	for _, name := range []string{"fake", "runc", "crun"} {
		t.Run(name, func(t *testing.T) {
			for _, s := range scenarios {
				t.Run(s.name, func(t *testing.T) { s.run(t, newWorld(t, name)) })
			}
		})
	}
}
