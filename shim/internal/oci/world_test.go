package oci_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/jsontext"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/ocitest"
)

// sole returns the one reaper of this test binary, which then is a subreaper as
// a shim is. Fuzzing does not use it: its workers are children of others.
var sole = sync.OnceValue(func() *reaper.Reaper {
	r, err := reaper.New(reaper.WithSubreaper())
	if err != nil {
		panic(err)
	}
	return r
})

func TestMain(m *testing.M) {
	ocitest.Main()
	code := m.Run()
	if flag := flag.Lookup("test.fuzz"); code == 0 && flag.Value.String() == "" {
		code = leftovers()
	}
	os.Exit(code)
}

// leftovers looks for children and descriptors that no test ended.
func leftovers() int {
	sole().Hold()() // has orphans swept
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		children := children()
		if children == "" {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "children left:", children)
			return 1
		}
	}
	if err := sole().Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, _ := os.ReadDir("/proc/self/fd")
	for _, e := range dir {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil &&
			(strings.Contains(name, "memfd") || strings.Contains(name, "pidfd")) {
			fmt.Fprintln(os.Stderr, "descriptor left:", name)
			return 1
		}
	}
	return 0
}

func children() string {
	var all []byte
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		all = append(all, b...)
	}
	return string(all)
}

// world is one runtime with a state directory of its own.
type world struct {
	*oci.Runtime
	name string
}

func (w *world) fake() bool { return w.name == "fake" }

// ctx ends long before a test does that hangs.
func (w *world) ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newWorld(t *testing.T, name string, env ...string) *world {
	w := &world{name: name, Runtime: &oci.Runtime{Reaper: sole(), Root: filepath.Join(t.TempDir(), "state")}}
	switch name {
	case "fake":
		w.Binary = ocitest.Binary(t, env...)
	case "runc":
		w.Binary = ocitest.Need(t, "runc")
	case "crun":
		w.Binary = ocitest.Crun(t)
	}
	return w
}

// box is a container of a world.
type box struct {
	w      *world
	id     string
	bundle string
	init   *reaper.Process
}

// request is what creates a container that runs a shell script.
func (w *world) request(t *testing.T, id, sh string) oci.CreateRequest {
	t.Helper()
	bundle := ocitest.Bundle(t, ocitest.Spec{Args: []string{"/bin/sh", "-c", sh}, HostPID: w.fake()})
	return oci.CreateRequest{ID: id, Bundle: bundle, PidFile: filepath.Join(bundle, "init.pid")}
}

func (w *world) create(t *testing.T, q oci.CreateRequest) *box {
	t.Helper()
	p, err := w.Create(w.ctx(t), q)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	b := &box{w, q.ID, q.Bundle, p}
	t.Cleanup(func() { b.remove(t) })
	return b
}

func (w *world) run(t *testing.T, id, sh string) *box {
	t.Helper()
	b := w.create(t, w.request(t, id, sh))
	if err := w.Start(w.ctx(t), id); err != nil {
		t.Fatalf("start: %v", err)
	}
	return b
}

// remove deletes the container and sees to it that its process is dead.
func (b *box) remove(t *testing.T) {
	t.Helper()
	if err := b.w.Delete(context.Background(), b.id, true); err != nil {
		t.Errorf("delete --force: %v", err)
	}
	await(t, b.init)
	if left, _ := filepath.Glob(filepath.Join(b.w.Root, b.id, "*")); len(left) > 0 {
		t.Errorf("state left: %v", left)
	}
}

func await(t *testing.T, p *reaper.Process) reaper.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	e, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (b *box) exec(t *testing.T, stdio [3]*os.File, args ...string) (*reaper.Process, error) {
	t.Helper()
	var doc jsontext.Builder
	doc.Bool("terminal", false).Strings("args", args).Strings("env", []string{"PATH=/bin:/usr/bin"}).
		String("cwd", "/").Object("user", func(b *jsontext.Builder) { b.Int("uid", 0).Int("gid", 0) })
	return b.w.Exec(b.w.ctx(t), oci.ExecRequest{
		ID: b.id, ProcessJSON: doc.Bytes(), PidFile: filepath.Join(t.TempDir(), "exec.pid"), Stdio: stdio,
	})
}

// output runs a process in the container to its end and returns what it wrote.
func (b *box) output(t *testing.T, args ...string) (string, int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := b.exec(t, [3]*os.File{nil, w, w}, args...)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), await(t, p).Code()
}

func (b *box) status(t *testing.T) string {
	t.Helper()
	raw, err := b.w.State(b.w.ctx(t), b.id)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := jsontext.Get(raw, "status")
	s, _ := jsontext.String(v)
	return s
}
