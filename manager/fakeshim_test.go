package manager_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/attach"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// fakeShim behaves on the wire and on disk as a shim does, without any
// container: its processes are entries of a map.
type fakeShim struct {
	t   *testing.T
	req serve.Request
	l   *net.UnixListener

	mu      sync.Mutex
	conns   map[net.Conn]bool
	create  *task.CreateTaskRequest
	options shimv1.CreateOptions
	procs   map[string]*fakeProc // by exec id, "" is init
	kills   []*task.KillRequest
	// fault, if set, is asked before a method is called, one call at a time.
	// errSilent has the call never answered, errDrop its connection closed.
	fault   func(method string) error
	stopped chan struct{}
}

type fakeProc struct {
	state   types.Status
	exited  chan struct{}
	exit    bundle.Exit
	clients []net.Conn
	stdin   []byte
	eof     bool
}

var (
	errSilent = errors.New("do not answer")
	errDrop   = errors.New("close the connection")
)

func (s *fakeShim) setFault(f func(method string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *fakeShim) askFault(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		return nil
	}
	return s.fault(method)
}

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

func (s *fakeShim) serve() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		go s.serveConn(conn)
	}
}

// die closes everything at once, as a kill -9 would.
func (s *fakeShim) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stopped:
		return
	default:
	}
	close(s.stopped)
	s.l.Close()
	for c := range s.conns {
		c.Close()
	}
}

func (s *fakeShim) serveConn(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wmu sync.Mutex
	for {
		head := make([]byte, wire.HeaderSize)
		if _, err := io.ReadFull(conn, head); err != nil {
			conn.Close()
			return
		}
		h := wire.ParseHeader(head)
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(conn, data); err != nil {
			conn.Close()
			return
		}
		var req wire.Request
		if err := req.Unmarshal(data); err != nil {
			conn.Close()
			return
		}
		if req.Method == "Attach" {
			s.attach(ctx, conn, h, &req)
			return
		}
		go func() {
			resp, silent := s.handle(ctx, conn, &req)
			if silent {
				return
			}
			wmu.Lock()
			defer wmu.Unlock()
			writeResponse(conn, h.Stream, resp)
			if req.Method == "Shutdown" && resp.Status == nil {
				s.die()
			}
		}()
	}
}

func writeResponse(conn net.Conn, stream uint32, resp *wire.Response) {
	body, _ := resp.Marshal()
	_, _ = conn.Write(append(wire.Header{Length: uint32(len(body)), Stream: stream, Type: wire.FrameResponse}.Append(nil), body...))
}

func (s *fakeShim) handle(ctx context.Context, conn net.Conn, req *wire.Request) (*wire.Response, bool) {
	switch err := s.askFault(req.Method); {
	case err == errSilent:
		return nil, true
	case err == errDrop:
		conn.Close()
		return nil, true
	case err != nil:
		return &wire.Response{Status: wire.StatusOf(err)}, false
	}
	var m wire.Method
	switch req.Service {
	case task.ServiceV2:
		m = task.Lookup(fakeTask{s}, req.Method)
	case shimv1.ServiceName:
		m = shimv1.Lookup(fakeV1{s}, req.Method)
	}
	if m == nil {
		return &wire.Response{Status: wire.StatusOf(wire.Errorf(wire.Unimplemented, "method %s", req.Method))}, false
	}
	msg, err := m(ctx, req.Payload)
	if err != nil {
		return &wire.Response{Status: wire.StatusOf(err)}, false
	}
	payload, _ := msg.Marshal()
	return &wire.Response{Payload: payload}, false
}

// fakeTask is the task service of a fakeShim. Methods that no test needs are
// nil, and Lookup's caller would crash the test.
type fakeTask struct{ s *fakeShim }

var _ task.Service = fakeTask{}

func (f fakeTask) Create(_ context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.create = r
	if err := s.options.Unmarshal(r.Options.Value); err != nil {
		return nil, err
	}
	s.procs[""] = &fakeProc{state: types.StatusCreated, exited: make(chan struct{})}
	return &task.CreateTaskResponse{Pid: 1000}, bundle.WriteTask(bundle.Task{
		ID: r.ID, Namespace: s.req.Namespace, Bundle: s.req.Bundle, Phase: bundle.PhaseCreated,
		Stdout: r.Stdout, Stdin: r.Stdin, Stderr: r.Stderr, Terminal: r.Terminal,
		Init: bundle.Process{PID: 1000}, CreatedAt: time.Now(),
	})
}

func (s *fakeShim) find(execID string) (*fakeProc, error) {
	if p := s.procs[execID]; p != nil {
		return p, nil
	}
	return nil, wire.Errorf(wire.NotFound, "process does not exist %s: not found", execID)
}

func (f fakeTask) State(_ context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find(r.ExecID)
	if err != nil {
		return nil, err
	}
	return &task.StateResponse{ID: r.ID, ExecID: r.ExecID, Pid: 1000, Status: p.state, ExitStatus: uint32(p.exit.Code)}, nil
}

func (f fakeTask) Start(_ context.Context, r *task.StartRequest) (*task.StartResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find(r.ExecID)
	if err != nil {
		return nil, err
	}
	p.state = types.StatusRunning
	return &task.StartResponse{Pid: 1000}, nil
}

func (f fakeTask) Kill(_ context.Context, r *task.KillRequest) (*types.Empty, error) {
	f.s.mu.Lock()
	p, err := f.s.find(r.ExecID)
	f.s.kills = append(f.s.kills, r)
	f.s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if p.state == types.StatusStopped {
		return nil, wire.Errorf(wire.NotFound, "process already finished: not found")
	}
	if r.Signal == 9 {
		f.s.exit(r.ExecID, 9)
	}
	return &types.Empty{}, nil
}

// exit ends a process with a raw wait status.
func (s *fakeShim) exit(execID string, status uint32) {
	e := bundle.Exit{ID: s.req.ID, ExecID: execID, PID: 1000, Known: true, Status: status, ExitedAt: time.Now()}
	e.Code = int(status >> 8)
	if sig := e.Signal(); sig != 0 {
		e.Code = 128 + sig
	}
	if err := bundle.WriteExit(s.req.Bundle, e); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[execID]
	p.state, p.exit = types.StatusStopped, e
	close(p.exited)
	for _, c := range p.clients {
		_, _ = c.Write(attach.AppendFrame(nil, attach.End, nil))
	}
}

// write sends output of init to whoever is attached.
func (s *fakeShim) write(kind attach.Kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.procs[""].clients {
		_, _ = c.Write(attach.AppendFrame(nil, kind, []byte(text)))
	}
}

func (f fakeTask) Delete(_ context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find(r.ExecID)
	if err != nil {
		return nil, err
	}
	if p.state == types.StatusRunning {
		return nil, wire.Errorf(wire.FailedPrecondition, "cannot delete a running process")
	}
	delete(f.s.procs, r.ExecID)
	return &task.DeleteResponse{}, nil
}

func (f fakeTask) Exec(_ context.Context, r *task.ExecProcessRequest) (*types.Empty, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.s.procs[r.ExecID] != nil {
		return nil, wire.Errorf(wire.AlreadyExists, "id %s: already exists", r.ExecID)
	}
	f.s.procs[r.ExecID] = &fakeProc{state: types.StatusCreated, exited: make(chan struct{}), stdin: r.Spec.Value}
	return &types.Empty{}, nil
}

func (f fakeTask) setState(from, to types.Status, verb string) (*types.Empty, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	p, err := f.s.find("")
	if err != nil {
		return nil, err
	}
	if p.state != from {
		return nil, wire.Errorf(wire.FailedPrecondition, "cannot %s a %s container", verb, p.state)
	}
	p.state = to
	return &types.Empty{}, nil
}

func (f fakeTask) Pause(context.Context, *task.PauseRequest) (*types.Empty, error) {
	return f.setState(types.StatusRunning, types.StatusPaused, "pause")
}

func (f fakeTask) Resume(context.Context, *task.ResumeRequest) (*types.Empty, error) {
	return f.setState(types.StatusPaused, types.StatusRunning, "resume")
}

func (f fakeTask) Pids(context.Context, *task.PidsRequest) (*task.PidsResponse, error) {
	return &task.PidsResponse{Processes: []*types.ProcessInfo{{Pid: 1000}}}, nil
}

func (f fakeTask) Connect(context.Context, *task.ConnectRequest) (*task.ConnectResponse, error) {
	return &task.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: 1000}, nil
}

func (f fakeTask) Shutdown(context.Context, *task.ShutdownRequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) Wait(ctx context.Context, r *task.WaitRequest) (*task.WaitResponse, error) {
	e, err := fakeV1(f).Exit(ctx, &shimv1.ExitRequest{ID: r.ID, ExecID: r.ExecID})
	if err != nil {
		return nil, err
	}
	return &task.WaitResponse{ExitStatus: e.Code, ExitedAt: e.ExitedAt}, nil
}

var errNotFaked = wire.Errorf(wire.Internal, "not faked")

func (f fakeTask) Checkpoint(context.Context, *task.CheckpointTaskRequest) (*types.Empty, error) {
	return nil, errNotFaked
}

func (f fakeTask) ResizePty(context.Context, *task.ResizePtyRequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) CloseIO(context.Context, *task.CloseIORequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) Update(context.Context, *task.UpdateTaskRequest) (*types.Empty, error) {
	return &types.Empty{}, nil
}

func (f fakeTask) Stats(context.Context, *task.StatsRequest) (*task.StatsResponse, error) {
	return nil, errNotFaked
}

// fakeV1 is our own service of a fakeShim.
type fakeV1 struct{ s *fakeShim }

var _ shimv1.Service = fakeV1{}

func (f fakeV1) Info(context.Context, *shimv1.InfoRequest) (*shimv1.InfoResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	info := &shimv1.InfoResponse{ID: f.s.req.ID, Namespace: f.s.req.Namespace, ShimPid: uint32(os.Getpid()), Version: "fake", Generation: 1, Pid: 1000}
	for id, p := range f.s.procs {
		if id == "" {
			info.Status = p.state
		} else {
			info.Execs = append(info.Execs, &shimv1.ExecInfo{ExecID: id, Status: p.state})
		}
	}
	return info, nil
}

func (f fakeV1) Attach(context.Context, *shimv1.AttachRequest) (*shimv1.AttachResponse, error) {
	return nil, errors.New("taken elsewhere")
}

func (f fakeV1) Exit(ctx context.Context, r *shimv1.ExitRequest) (*shimv1.ExitStatus, error) {
	f.s.mu.Lock()
	p, err := f.s.find(r.ExecID)
	f.s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-p.exited:
		return &shimv1.ExitStatus{Known: true, Status: p.exit.Status, Code: uint32(p.exit.Code), ExitedAt: types.FromTime(p.exit.ExitedAt)}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attach turns a connection into an attach stream.
func (s *fakeShim) attach(_ context.Context, conn net.Conn, h wire.Header, req *wire.Request) {
	var r shimv1.AttachRequest
	if err := r.Unmarshal(req.Payload); err != nil {
		conn.Close()
		return
	}
	s.mu.Lock()
	p, err := s.find(r.ExecID)
	if err == nil && p.state == types.StatusStopped {
		err = wire.Errorf(wire.NotFound, "process already finished: not found")
	}
	if err != nil {
		s.mu.Unlock()
		writeResponse(conn, h.Stream, &wire.Response{Status: wire.StatusOf(err)})
		return
	}
	payload, _ := (&shimv1.AttachResponse{Running: true}).Marshal()
	writeResponse(conn, h.Stream, &wire.Response{Payload: payload})
	p.clients = append(p.clients, conn)
	s.mu.Unlock()
	for {
		kind, data, err := attach.ReadFrame(conn, nil)
		if err != nil {
			return
		}
		s.mu.Lock()
		switch kind {
		case attach.Stdin:
			p.stdin = append(p.stdin, data...)
			_, _ = conn.Write(attach.AppendFrame(nil, attach.Stdout, data)) // echo
		case attach.StdinEOF:
			p.eof = true
			_, _ = conn.Write(attach.AppendFrame(nil, attach.End, nil))
		}
		s.mu.Unlock()
	}
}

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
