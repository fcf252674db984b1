package manager

import (
	"context"
	"errors"
	"net"
)

// pulse tells whether a shim lives while nothing is asked of it: a connection
// that carries no call ends with the shim.
type pulse struct {
	conn net.Conn      // nil if none could be made
	over chan struct{} // closed when the connection has ended, or there was nobody to connect to
}

// pulse begins to watch the container's shim; wake is called when it has ended.
// A shim that accepts no connections is not watched: it may be about to.
func (c *Container) pulse(ctx context.Context, wake func()) *pulse {
	p := &pulse{over: make(chan struct{})}
	conn, err := dialShim(ctx, c.dir, c.m.opt.dialTimeout)
	if errors.Is(err, errLost) {
		close(p.over)
	}
	if err != nil {
		return p
	}
	p.conn = conn
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // nothing is sent to who asks nothing
		close(p.over)
		wake()
	}()
	return p
}

// stopped reports whether the shim has ended; a nil pulse never does.
func (p *pulse) stopped() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// Close ends the watching; the shim is free to leave.
func (p *pulse) Close() {
	if p.conn != nil {
		p.conn.Close()
		<-p.over
	}
}
