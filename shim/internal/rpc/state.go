package rpc

import (
	"os"
	"time"
)

// ConnState is one connection between two servers: what [Server.Freeze] hands
// out and [Server.Adopt] continues from. But for Conn it is plain data, meant
// to be written down and read by another program image.
type ConnState struct {
	// Conn is the connection, nonblocking. Whoever holds the ConnState owns it.
	Conn *os.File

	// LastStream is the highest stream id the client has used.
	LastStream uint32

	// In are the bytes read of a frame that is not complete yet.
	In []byte

	// Skip is how many more bytes of a refused frame are to be discarded. If
	// there are any, SkipStream is then answered with SkipReason.
	Skip       uint32
	SkipStream uint32
	SkipReason string

	// Out are replies that the peer has not taken yet; the first may be
	// without its beginning.
	Out []byte

	// Requests are the unanswered requests, oldest first.
	Requests []Request
}

// Request is one unanswered request of a [ConnState].
type Request struct {
	Stream uint32
	Data   []byte // the frame without its header: a wire.Request

	// Left is what is left of the client's deadline: zero for none, negative
	// if it has passed.
	Left time.Duration
}
