package wire

import "context"

// Message is what requests and replies are: a struct that encodes itself. All
// generated messages of this project are.
type Message interface {
	// Size returns the length of the encoding in bytes.
	Size() int
	// Marshal returns the encoding.
	Marshal() ([]byte, error)
	// MarshalToSizedBuffer writes the encoding to the end of b, which must
	// have room for Size bytes, and returns its length.
	MarshalToSizedBuffer(b []byte) (int, error)
	// Unmarshal sets what the encoding says and leaves the other fields.
	// Unknown fields are skipped. It keeps nothing of b.
	Unmarshal(b []byte) error
	// Reset makes every field zero.
	Reset()
}

// Method handles calls of one method. It may be called from many goroutines.
// The payload is the encoded request, which it does not keep. The context ends
// when the caller's deadline passes or its connection closes. Of the results
// exactly one is not nil.
type Method func(ctx context.Context, payload []byte) (Message, error)

// Caller makes calls. Implementations may be used by many goroutines at once.
type Caller interface {
	// Call sends req and fills in resp. Both are the caller's and not kept.
	// The error is an *Error where the other side answered with one.
	Call(ctx context.Context, service, method string, req, resp Message) error
}

// Unary makes a Method of a function from request to reply. A payload that
// does not decode is InvalidArgument; a reply that is nil is Internal.
func Unary[Q, R any, PQ message[Q], PR message[R]](handle func(context.Context, PQ) (PR, error)) Method {
	return func(ctx context.Context, payload []byte) (Message, error) {
		req := PQ(new(Q))
		if err := req.Unmarshal(payload); err != nil {
			return nil, Errorf(InvalidArgument, "decode request: %v", err)
		}
		resp, err := handle(ctx, req)
		if err != nil {
			return nil, err
		}
		if resp == nil {
			return nil, Errorf(Internal, "handler returned neither reply nor error")
		}
		return resp, nil
	}
}

// message is a Message that is a pointer to T.
type message[T any] interface {
	*T
	Message
}
