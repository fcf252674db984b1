package manager_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/serve"
)

// fakeLauncher starts fakeShims and remembers them.
type fakeLauncher struct {
	t *testing.T
	// setup is applied to each shim before it serves.
	setup func(*fakeShim)
	// refuse makes Launch's shim report this error instead of serving.
	refuse error

	mu    sync.Mutex
	shims []*fakeShim
}

func (l *fakeLauncher) Launch(_ context.Context, r serve.Request) (serve.Launched, error) {
	ln, err := net.FileListener(r.Listener)
	if err != nil {
		return nil, err
	}
	s := &fakeShim{
		t: l.t, req: r, l: ln.(*net.UnixListener), conns: map[net.Conn]bool{},
		procs: map[string]*fakeProc{}, stopped: make(chan struct{}),
	}
	s.l.SetUnlinkOnClose(false)
	if l.setup != nil {
		l.setup(s)
	}
	l.mu.Lock()
	l.shims = append(l.shims, s)
	l.mu.Unlock()
	if l.refuse != nil {
		s.die()
		return &fakeLaunched{s, l.refuse}, nil
	}
	go s.serve()
	l.t.Cleanup(s.die)
	return &fakeLaunched{s, nil}, nil
}

func (l *fakeLauncher) last() *fakeShim {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shims[len(l.shims)-1]
}

type fakeLaunched struct {
	s   *fakeShim
	err error
}

func (f *fakeLaunched) PID() int                    { return os.Getpid() }
func (f *fakeLaunched) Ready(context.Context) error { return f.err }
func (f *fakeLaunched) Done() <-chan struct{}       { return f.s.stopped }

// open makes a manager on a fresh root with a fake launcher.
func open(t *testing.T, opts ...manager.Option) (*manager.Manager, *fakeLauncher) {
	t.Helper()
	l := &fakeLauncher{t: t}
	opts = append([]manager.Option{
		manager.WithLauncher(l), manager.WithRuntime("/bin/true"), manager.WithShim("/nonexistent/shim"),
		manager.WithCallTimeout(300 * time.Millisecond), manager.WithDialTimeout(200 * time.Millisecond),
		manager.WithLockTimeout(300 * time.Millisecond),
	}, opts...)
	m, err := manager.Open(t.TempDir(), "test", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m, l
}

// makeContainer creates a container on an empty rootfs directory.
func makeContainer(t *testing.T, m *manager.Manager, id string) *manager.Container {
	t.Helper()
	rootfs := filepath.Join(t.TempDir(), "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := m.Create(t.Context(), id, manager.CreateConfig{Rootfs: rootfs, Process: manager.SpecConfig{Args: []string{"true"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// run makes a container and a running task.
func run(t *testing.T, m *manager.Manager, id string) (*manager.Container, *manager.Task) {
	t.Helper()
	c := makeContainer(t, m, id)
	tk, err := c.NewTask(t.Context(), manager.TaskConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tk.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, tk
}
