package client

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"

	"github.com/holdfast/holdfast/proto/wire"
)

// ErrClosed says that the connection is gone: the peer closed it or died, it
// was closed here, or so many requests went unread that it was given up.
// Whether the call was carried out is not known.
var ErrClosed = errors.New("connection closed")

// Client makes calls over one connection, any number at once. It is a
// wire.Caller.
type Client struct {
	rpc  *ttrpc.Client
	conn *queue
}

var _ wire.Caller = (*Client)(nil)

// New returns a Client over conn and takes ownership of it. The options are
// those of the library; ttrpc.WithOnClose sets a function that is called once
// when the connection has ended, by whomever.
func New(conn net.Conn, opts ...ttrpc.ClientOpts) *Client {
	q := newQueue(conn)
	return &Client{rpc: ttrpc.NewClient(q, opts...), conn: q}
}

// Close closes the connection. Calls in flight return ErrClosed.
func (c *Client) Close() error { return c.rpc.Close() }

// Done returns a channel that is closed once the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.conn.done }

// Call calls a method. Its error is an *wire.Error where the peer answered
// with one, the context's where that ended first, ErrClosed where the
// connection did. A context with a deadline has the peer told of it, one with
// ttrpc's metadata has that sent.
func (c *Client) Call(ctx context.Context, service, method string, req, resp wire.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The library would send nothing either, but never forget the call.
	if n := req.Size(); n > wire.MaxData {
		return wire.Errorf(wire.ResourceExhausted, "request of %d bytes is longer than %d", n, wire.MaxData)
	}
	reply := &message{wire: resp}
	err := c.rpc.Call(ctx, service, method, &message{wire: req}, reply)
	if err == nil {
		return nil
	}
	return fmt.Errorf("call %s: %w", method, c.translate(ctx, err))
}

// translate turns an error of the library into one that Call promises.
func (c *Client) translate(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil && (errors.Is(err, ended) || isContextCode(err)) {
		return ended
	}
	if s, ok := status.FromError(err); ok {
		return &wire.Error{Code: wire.Code(s.Code()), Message: s.Message()}
	}
	if errors.Is(err, ttrpc.ErrClosed) {
		return ErrClosed
	}
	select {
	case <-c.conn.done: // the reader sees the end before it fails the calls
		return fmt.Errorf("%w: %w", ErrClosed, err)
	default:
		return err
	}
}

// isContextCode tells whether the peer answered that the call's time was up.
func isContextCode(err error) bool {
	s, ok := status.FromError(err)
	code := wire.Code(s.Code())
	return ok && (code == wire.DeadlineExceeded || code == wire.Canceled)
}
