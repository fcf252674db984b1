package manager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/wire"
)

// errLost says that nobody answers at the shim's address any more. It never
// leaves the package: whoever gets it looks at the disk, which says whether the
// container ended properly or its shim died.
var errLost = errors.New("connection to shim lost")

// dialPause is the wait between attempts while a shim's backlog is full.
const dialPause = 5 * time.Millisecond

// link is the connection to the shim of one bundle: none until it is needed,
// then at most one, and a new one when that was lost. Safe for concurrent use;
// no lock is held while it dials or calls.
type link struct {
	bundle  string
	timeout time.Duration // of one dial

	mu      sync.Mutex
	conn    *client.Client // guarded by mu; nil until dialled
	calls   int            // guarded by mu; in flight
	retired bool           // guarded by mu; close conn when calls is 0
}

var _ wire.Caller = (*link)(nil)

// Call implements wire.Caller. errLost stands for every way in which a
// connection can fail to carry the call.
func (l *link) Call(ctx context.Context, service, method string, req, resp wire.Message) error {
	conn, err := l.acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	err = conn.Call(ctx, service, method, req, resp)
	if service == task.ServiceV2 && wire.CodeOf(err) == wire.Unimplemented {
		err = conn.Call(ctx, task.ServiceV3, method, req, resp) // containerd's own shim since 2.0
	}
	if errors.Is(err, client.ErrClosed) {
		l.drop(conn)
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// acquire returns the connection, dialled if need be, and counts the caller in.
func (l *link) acquire(ctx context.Context) (*client.Client, error) {
	l.mu.Lock()
	if conn := l.aliveLocked(); conn != nil {
		l.calls++
		l.mu.Unlock()
		return conn, nil
	}
	l.mu.Unlock()

	raw, err := dialShim(ctx, l.bundle, l.timeout)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if conn := l.aliveLocked(); conn != nil { // somebody else was faster
		raw.Close()
		return conn, nil
	}
	l.conn = client.New(raw)
	return l.conn, nil
}

// aliveLocked returns the connection unless there is none or it has ended.
func (l *link) aliveLocked() *client.Client {
	if l.conn == nil {
		return nil
	}
	select {
	case <-l.conn.Done():
		l.conn.Close()
		l.conn = nil
		return nil
	default:
		return l.conn
	}
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	if l.calls == 0 && l.retired {
		l.closeLocked()
	}
}

// drop forgets conn, which is broken, unless a new one is there already.
func (l *link) drop(conn *client.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == conn {
		l.closeLocked()
	}
}

// retire closes the connection once no call is in flight: a shim whose
// container has ended leaves when nobody is connected.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls > 0 {
		l.retired = true
		return
	}
	l.closeLocked()
}

// idle reports whether there is no connection.
func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aliveLocked() == nil
}

// Close closes the connection, calls in flight or not. The link can be used
// again.
func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked()
	return nil
}

func (l *link) closeLocked() {
	l.retired = false
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

func (l *link) task() *task.Client   { return task.NewClient(l, task.ServiceV2) }
func (l *link) shim() *shimv1.Client { return shimv1.NewClient(l, shimv1.ServiceName) }

// dialShim connects to the shim that the bundle's address names. A missing
// address, a missing socket and a refused connection are errLost, all at once;
// only a full backlog (a shim that does not accept) takes timeout.
func dialShim(ctx context.Context, bundleDir string, timeout time.Duration) (net.Conn, error) {
	path, err := readAddress(bundleDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no address", errLost)
	} else if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		f, err := serve.Dial(path)
		switch {
		case err == nil:
			conn, err := net.FileConn(f)
			f.Close() // FileConn has made its own descriptor
			return conn, err
		case errors.Is(err, syscall.EAGAIN): // backlog full
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: %w", errLost, err)
		default:
			return nil, err
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: it accepts no connections: %w", path, ctx.Err())
		}
	}
}

// readAddress returns the socket of the bundle's shim. os.ErrNotExist if nobody
// wrote one.
func readAddress(bundleDir string) (string, error) {
	raw, err := os.ReadFile(bundleDir + "/" + bundle.AddressFile)
	if errors.Is(err, fs.ErrNotExist) {
		if address := bootstrapAddress(bundleDir); address != "" {
			return bundle.SocketPath(address)
		}
	}
	if err != nil {
		return "", fmt.Errorf("read address: %w", err)
	}
	return bundle.SocketPath(string(raw))
}
