package shim

import (
	"context"
	"fmt"
	"os"

	"github.com/holdfast/holdfast/proto/serve"
	"golang.org/x/sys/unix"
)

// InProcess is a launcher that serves containers in the calling process: for
// tests, and for daemons that would rather have no further process. It gives up
// what a process of its own gives: when the daemon ends, nobody holds the
// containers' streams and terminals, and an exit status is known only on kernels
// that keep it (Linux 6.15). Processes of the containers are not children of the
// daemon, and none of the daemon's own children is touched.
type InProcess struct{}

type inProcess struct {
	ready chan struct{} // closed when err is set or the shim serves
	err   error
	done  chan struct{}
}

// Launch implements serve.Launcher.
func (InProcess) Launch(_ context.Context, r serve.Request) (serve.Launched, error) {
	listener, err := dup(r.Listener)
	if err != nil {
		return nil, fmt.Errorf("launch shim: %w", err)
	}
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if r.Log != nil {
		log.Close()
		log, err = dup(r.Log)
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("launch shim: %w", err)
	}
	p := &inProcess{ready: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer log.Close()
		err := Serve(Config{
			Namespace: r.Namespace, ID: r.ID, Bundle: r.Bundle, Listener: listener, Log: log,
			Version: Version, Revision: Revision, Binary: executable(), Debug: r.Debug, Publish: r.Publish, Shared: true,
		}, func() error {
			close(p.ready)
			return nil
		})
		if err != nil {
			p.err = err
			close(p.ready)
		}
	}()
	return p, nil
}

// dup returns a descriptor of our own for what f has open, nonblocking as f is.
func dup(f *os.File) (*os.File, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	err = rc.Control(func(u uintptr) { fd, dupErr = unix.FcntlInt(u, unix.F_DUPFD_CLOEXEC, 3) })
	if err == nil {
		err = dupErr
	}
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (p *inProcess) PID() int { return os.Getpid() }

func (p *inProcess) Done() <-chan struct{} { return p.done }

func (p *inProcess) Ready(ctx context.Context) error {
	select {
	case <-p.ready:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("wait for shim: %w", context.Cause(ctx))
	}
}
