package rpc

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/wire"
)

// Defaults of the fields of [Options] that are left zero. See the package
// documentation for what each limit protects and what its breach costs.
const (
	DefaultMaxConns        = 1024
	DefaultMaxInFlight     = 1024
	DefaultMaxRequestBytes = 16 << 20
	DefaultMaxReplyBytes   = 16 << 20
	DefaultWriteTimeout    = 30 * time.Second
)

// Lookup finds the implementation of service/method. It returns a nil method
// when there is none; known tells whether at least the service exists, which
// decides between the two texts of Unimplemented ("method X", "service X").
// It is called for each request, on the goroutine of the handler.
type Lookup func(service, method string) (m wire.Method, known bool)

// Options of a [Server]. The zero value is usable.
type Options struct {
	// MaxConns bounds the connections served at once. One more is accepted,
	// logged and closed.
	MaxConns int

	// MaxInFlight bounds the requests of one connection whose handlers have
	// not returned. One more is answered with ResourceExhausted.
	MaxInFlight int

	// MaxRequestBytes bounds the bytes of all requests of one connection
	// that are half read or being handled. A frame that would pass it is
	// skipped and answered with ResourceExhausted.
	MaxRequestBytes int

	// MaxReplyBytes bounds the replies of one connection that the peer has
	// not taken yet. A connection that passes it is dropped.
	MaxReplyBytes int

	// WriteTimeout bounds how long a connection may refuse to take the
	// replies at the head of its queue (one write of at most 64 frames).
	// A connection that passes it is dropped.
	WriteTimeout time.Duration

	// Waits reports the methods that do nothing but wait, maybe for ever,
	// and may be asked again without harm. [Server.Freeze] carries their
	// requests over unanswered, [Server.Stop] does not wait for them. Nil
	// means that there are none.
	Waits func(service, method string) bool

	// Log receives a text for each event that nobody else is told of: a
	// panic in a handler (with its stack, on several lines), a connection
	// refused, or dropped for a breach. Nil drops them.
	Log func(text string)

	// ConnsChanged is called with the number of connections after each
	// change. Calls never overlap, and the last one carries the final number; numbers in
	// between may be skipped. It may call Conns but nothing that
	// waits for the server. A hijacked connection is not counted.
	ConnsChanged func(n int)
}

func (o Options) withDefaults() Options {
	set := func(field *int, def int) {
		if *field <= 0 {
			*field = def
		}
	}
	set(&o.MaxConns, DefaultMaxConns)
	set(&o.MaxInFlight, DefaultMaxInFlight)
	set(&o.MaxRequestBytes, DefaultMaxRequestBytes)
	set(&o.MaxReplyBytes, DefaultMaxReplyBytes)
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.Waits == nil {
		o.Waits = func(string, string) bool { return false }
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

// ErrFrozen is what [Server.Serve] returns after a successful [Server.Freeze].
var ErrFrozen = errors.New("rpc: server frozen")

// ErrClosed is what a call of a [Client] ends with when the connection did, or
// when the client had been closed.
var ErrClosed = errors.New("rpc: connection closed")

// Hijack is what a method returns to take its connection out of the server.
// It is both a [wire.Message] and an error, so it can be returned in either
// place: a method of a generated service, whose reply type is fixed, returns
// it as its error.
//
// Reply is sent first. Then Take gets the connection, which it owns from then
// on, and the bytes that were read after the request. The client should send
// nothing before it has the reply: until the handler has returned, whatever
// arrives is taken for frames. Take runs on the handler's goroutine; the
// handler's context is cancelled by then, and the server neither counts nor
// stops what goes on in there.
//
// If another request of the connection is being handled, the reply is
// FailedPrecondition and Take is not called; nor is it if the connection is
// lost before the reply is written.
type Hijack struct {
	Reply wire.Message
	Take  func(conn *os.File, buffered []byte)
}

// Error makes a Hijack an error for the sake of generated services.
func (h *Hijack) Error() string { return "connection hijacked" }

// Marshal encodes the reply.
func (h *Hijack) Marshal() ([]byte, error) { return h.Reply.Marshal() }

// MarshalToSizedBuffer encodes the reply.
func (h *Hijack) MarshalToSizedBuffer(b []byte) (int, error) { return h.Reply.MarshalToSizedBuffer(b) }

// Unmarshal decodes the reply.
func (h *Hijack) Unmarshal(b []byte) error { return h.Reply.Unmarshal(b) }

// Size is that of the reply, in bytes.
func (h *Hijack) Size() int { return h.Reply.Size() }

// Reset resets the reply.
func (h *Hijack) Reset() { h.Reply.Reset() }

// Metadata returns what the client sent along with the request whose handler
// got ctx, or a context derived from it, in the order sent; nil if nothing. Decoded at each call.
func Metadata(ctx context.Context) []*wire.KeyValue {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.metadata()
	}
	return nil
}
