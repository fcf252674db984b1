package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/containerd/ttrpc"

	"github.com/holdfast/holdfast/proto/wire"
)

// Once makes the first and only call on a connection and leaves the connection
// right behind the reply, not a byte read too far: for Attach, after which it
// carries other things. The connection stays the caller's, who closes it if
// there is an error. Errors are those of Client.Call, but that a connection
// which ends gives ErrClosed together with its own error.
func Once(ctx context.Context, conn net.Conn, service, method string, req, resp wire.Message) error {
	err := once(ctx, conn, service, method, req, resp)
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		err = ended
	}
	return fmt.Errorf("call %s: %w", method, err)
}

func once(ctx context.Context, conn net.Conn, service, method string, req, resp wire.Message) error {
	frame, err := requestFrame(ctx, service, method, req)
	if err != nil {
		return err
	}
	// A deadline in the past wakes whatever read or write is blocked.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(frame); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	response, err := readResponse(conn)
	if err != nil {
		return err
	}
	if !stop() {
		return ctx.Err() // the deadline in the past is, or is about to be, set
	}
	if err := response.Status.Err(); err != nil {
		return err
	}
	if err := resp.Unmarshal(response.Payload); err != nil {
		return fmt.Errorf("decode reply: %w", err)
	}
	return nil
}

// requestFrame returns a whole frame with the request, on stream 1.
func requestFrame(ctx context.Context, service, method string, req wire.Message) ([]byte, error) {
	payload, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	request := &wire.Request{Service: service, Method: method, Payload: payload}
	if deadline, ok := ctx.Deadline(); ok {
		request.TimeoutNano = max(1, time.Until(deadline).Nanoseconds()) // 0 would be forever
	}
	if metadata, ok := ttrpc.GetMetadata(ctx); ok {
		for key, values := range metadata {
			for _, value := range values {
				request.Metadata = append(request.Metadata, &wire.KeyValue{Key: key, Value: value})
			}
		}
	}
	size := request.Size()
	if size > wire.MaxData {
		return nil, wire.Errorf(wire.ResourceExhausted, "request of %d bytes is longer than %d", size, wire.MaxData)
	}
	frame := make([]byte, wire.HeaderSize+size)
	wire.Header{Length: uint32(size), Stream: 1, Type: wire.FrameRequest}.Append(frame[:0])
	_, err = request.MarshalToSizedBuffer(frame[wire.HeaderSize:])
	return frame, err
}

// readResponse reads one frame, which must be the answer to stream 1.
func readResponse(conn io.Reader) (*wire.Response, error) {
	head := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	header := wire.ParseHeader(head)
	if header.Type != wire.FrameResponse || header.Stream != 1 || header.Length > wire.MaxData {
		return nil, errors.New("peer does not speak ttrpc")
	}
	data := make([]byte, header.Length)
	if _, err := io.ReadFull(conn, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	response := &wire.Response{}
	if err := response.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("decode response: %w", err)
	}
	return response, nil
}
