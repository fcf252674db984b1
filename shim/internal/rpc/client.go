package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/wire"
	"golang.org/x/sys/unix"
)

// Client makes calls over one connection, one at a time and in order. It
// costs a descriptor and no goroutine. It is a [wire.Caller], safe for
// concurrent use: calls queue, as long as their contexts allow.
//
// It connects at the first call, and again at the first one after it lost the
// connection. A call is never repeated: whoever gets an error that is not a
// *wire.Error cannot know whether the other side acted on it.
type Client struct {
	path     string
	metadata []*wire.KeyValue

	turn   chan struct{} // holds a token while a call runs, or for ever after Close
	file   *os.File      // nil if not connected; of the token's owner, like stream
	stream uint32
}

// NewClient makes a client of the ttrpc server at path, a unix socket. The
// metadata goes with every call.
func NewClient(path string, metadata ...*wire.KeyValue) *Client {
	return &Client{path: path, metadata: metadata, turn: make(chan struct{}, 1)}
}

// Close closes the connection. It waits for the call that runs, if any. Every
// later call fails with [ErrClosed].
func (c *Client) Close() error {
	c.turn <- struct{}{}
	c.disconnect()
	c.path = ""
	<-c.turn
	return nil
}

// Call sends req and waits for resp, no longer than ctx lasts, whose deadline
// the server is told of. The error is a *wire.Error if the server answered
// with one.
func (c *Client) Call(ctx context.Context, service, method string, req, resp wire.Message) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("call %s/%s: %w", service, method, ctx.Err())
	}
	err := c.call(ctx, service, method, req, resp)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*wire.Error](err); ok {
		return err
	}
	// There may be half a frame on the way in either direction.
	c.disconnect()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded // ours may be a little earlier than that of ctx
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	} else if peerLeft(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.Join(ErrClosed, err)
	}
	return fmt.Errorf("call %s/%s: %w", service, method, err)
}

func (c *Client) call(ctx context.Context, service, method string, req, resp wire.Message) error {
	payload, err := req.Marshal()
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	stop, err := c.obey(ctx)
	if err != nil {
		return err
	}
	defer stop()
	r := wire.Request{Service: service, Method: method, Payload: payload, Metadata: c.metadata}
	if deadline, ok := ctx.Deadline(); ok {
		r.TimeoutNano = int64(max(time.Until(deadline), 1))
	}
	if size := r.Size(); size > wire.MaxData {
		return wire.Errorf(wire.ResourceExhausted, "request of %d bytes exceeds maximum message size of %d", size, wire.MaxData)
	}
	if err := c.send(&r); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	answer, err := c.receive()
	if err != nil {
		return fmt.Errorf("receive reply: %w", err)
	}
	if err := answer.Status.Err(); err != nil {
		return err
	}
	if err := resp.Unmarshal(answer.Payload); err != nil {
		return fmt.Errorf("decode reply: %w", err)
	}
	return nil
}

func (c *Client) send(r *wire.Request) error {
	c.stream += 2
	size := r.Size()
	h := wire.Header{Length: uint32(size), Stream: c.stream, Type: wire.FrameRequest}
	frame := h.Append(make([]byte, 0, wire.HeaderSize+size))[:wire.HeaderSize+size]
	if _, err := r.MarshalToSizedBuffer(frame[wire.HeaderSize:]); err != nil {
		return err
	}
	_, err := c.file.Write(frame)
	return err
}

// receive returns the response of the stream sent last.
func (c *Client) receive() (*wire.Response, error) {
	var header [wire.HeaderSize]byte
	for {
		if _, err := io.ReadFull(c.file, header[:]); err != nil {
			return nil, err
		}
		h := wire.ParseHeader(header[:])
		if h.Length > wire.MaxData {
			return nil, fmt.Errorf("reply of %d bytes exceeds maximum message size of %d", h.Length, wire.MaxData)
		}
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(c.file, data); err != nil {
			return nil, err
		}
		if h.Type != wire.FrameResponse || h.Stream != c.stream {
			continue // no call of ours waits for it
		}
		var answer wire.Response
		if err := answer.Unmarshal(data); err != nil {
			return nil, err
		}
		return &answer, nil
	}
}

// obey makes ctx end the reads and writes of the connection, until stop.
func (c *Client) obey(ctx context.Context) (stop func(), err error) {
	deadline, _ := ctx.Deadline() // zero for none, here as there
	if err := c.file.SetDeadline(deadline); err != nil {
		return nil, err
	}
	file, ended := c.file, make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(ended)
		file.SetDeadline(longAgo())
	})
	return func() {
		if !cancel() {
			<-ended // so that it does not hit the next call
		}
	}, nil
}

func (c *Client) disconnect() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// connect makes sure that there is a connection, as far as can be seen.
func (c *Client) connect(ctx context.Context) error {
	if c.path == "" {
		return ErrClosed
	}
	if c.file != nil && c.stream < 1<<31 && quiet(c.file) {
		return nil
	}
	c.disconnect()
	file, err := dial(ctx, c.path)
	if err != nil {
		return err
	}
	c.file, c.stream = file, 0xffff_ffff // the first is 1
	return nil
}

// quiet is false if the server has hung up or sent what nobody asked for.
func quiet(file *os.File) bool {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	var peek error
	err = raw.Control(func(fd uintptr) {
		_, _, peek = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && peek == unix.EAGAIN
}

// maxPath is what sockaddr_un has room for, and a final zero (unix(7)).
const maxPath = 107

// dial connects to the unix socket path.
func dial(ctx context.Context, path string) (*os.File, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("connect to %s: path is longer than %d bytes", path, maxPath)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	pause := time.Millisecond
	for err = unix.EAGAIN; err != nil; {
		switch err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			// The backlog is full, and connect(2) on a unix socket has no
			// way to wait for room but blocking a thread.
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
				pause = min(2*pause, 100*time.Millisecond)
			case <-ctx.Done():
				timer.Stop()
				unix.Close(fd)
				return nil, fmt.Errorf("connect to %s: %w", path, ctx.Err())
			}
		default:
			unix.Close(fd)
			return nil, fmt.Errorf("connect to %s: %w", path, err)
		}
	}
	return os.NewFile(uintptr(fd), path), nil
}
