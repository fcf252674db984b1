package shim

import (
	"context"
	"errors"
	"os"
	"runtime"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/shim/internal/rpc"
	"github.com/holdfast/holdfast/shim/internal/stdio"
)

// self is the service holdfast.shim.v1.Shim: what containerd has no words for.
type self struct{ *shim }

// Info tells all about the shim and its processes at once.
func (s self) Info(context.Context, *shimv1.InfoRequest) (*shimv1.InfoResponse, error) {
	resp := &shimv1.InfoResponse{
		ID: s.cfg.ID, Namespace: s.cfg.Namespace, ShimPid: uint32(os.Getpid()),
		Version: s.cfg.Version, Revision: s.cfg.Revision, Binary: s.cfg.Binary,
		Generation: 1, Started: types.FromTime(s.started),
		Goroutines: uint32(runtime.NumGoroutine()), Fds: countFDs(),
	}
	c, err := s.get(s.cfg.ID)
	if err != nil {
		return resp, nil
	}
	st, err := c.State("")
	if err != nil {
		return resp, nil
	}
	resp.Status, resp.Pid, resp.Runtime = st.Status, uint32(st.PID), c.RuntimeBinary()
	resp.CreatedAt, resp.StartedAt = types.FromTime(st.CreatedAt), types.FromTime(st.StartedAt)
	if st.Exited {
		resp.Exit = exitStatus(st.Exit)
	}
	for _, e := range c.Execs() {
		info := &shimv1.ExecInfo{ExecID: e.ExecID, Pid: uint32(e.PID), Status: e.Status, Terminal: e.Streams.Terminal}
		if e.Exited {
			info.Exit = exitStatus(e.Exit)
		}
		resp.Execs = append(resp.Execs, info)
	}
	return resp, nil
}

// countFDs counts our open descriptors, the one that reads the directory excluded.
func countFDs() uint32 {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return uint32(len(dir) - 1)
}

// Exit waits for an exit and tells all that is known of it.
func (s self) Exit(ctx context.Context, r *shimv1.ExitRequest) (*shimv1.ExitStatus, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	e, err := c.Wait(ctx, r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	return exitStatus(e), nil
}

func exitStatus(e bundle.Exit) *shimv1.ExitStatus {
	return &shimv1.ExitStatus{
		Status: e.Status, Known: e.Known, Reason: e.Reason, ExitedAt: types.FromTime(e.ExitedAt),
		Code: uint32(e.Code), Signal: uint32(e.Signal()), Core: e.Core(), Oom: e.OOM,
		UserUsec: uint64(e.User.Microseconds()), SystemUsec: uint64(e.System.Microseconds()), MaxRssKib: uint64(e.MaxRSS),
	}
}

// Attach takes the connection out of the server: after the reply it speaks
// proto/attach.
func (s self) Attach(ctx context.Context, r *shimv1.AttachRequest) (*shimv1.AttachResponse, error) {
	c, err := s.get(r.ID)
	if err != nil {
		return nil, status(err)
	}
	streams, terminal, err := c.Streams(ctx, r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	st, err := c.State(r.ExecID)
	if err != nil {
		return nil, status(err)
	}
	return nil, &rpc.Hijack{
		Reply: &shimv1.AttachResponse{Terminal: terminal, Running: !st.Exited},
		Take: func(conn *os.File, buffered []byte) {
			err := streams.Attach(conn, buffered, stdio.AttachOptions{
				Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Sync: r.Sync, ReplayBytes: r.ReplayBytes,
			})
			if err != nil && !errors.Is(err, os.ErrClosed) {
				s.log.warnf("attach: %v; the client is disconnected", err)
			}
		},
	}
}
