package manager_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

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

func (s *fakeShim) find(execID string) (*fakeProc, error) {
	if p := s.procs[execID]; p != nil {
		return p, nil
	}
	return nil, wire.Errorf(wire.NotFound, "process does not exist %s: not found", execID)
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

// fakeV1 is our own service of a fakeShim.
type fakeV1 struct{ s *fakeShim }

var _ shimv1.Service = fakeV1{}

func (f fakeV1) Info(context.Context, *shimv1.InfoRequest) (*shimv1.InfoResponse, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	info := &shimv1.InfoResponse{ID: f.s.req.ID, Namespace: f.s.req.Namespace, ShimPid: uint32(os.Getpid()), Version: "fake", Binary: "/fake", Generation: 1, Pid: 1000,
		Started: types.FromTime(time.Now()), StartedAt: types.FromTime(time.Now()), Goroutines: 1, Fds: 1}
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
