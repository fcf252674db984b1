package wire

import "encoding/binary"

const (
	// HeaderSize is the length of an encoded Header in bytes.
	HeaderSize = 10
	// MaxData is the most bytes of data in one frame. Whoever gets a longer
	// frame skips its data and answers ResourceExhausted on its stream; no
	// peer sends one, as old clients crash on it and new ones hang up.
	MaxData = 4 << 20
)

// FrameType is what the data of a frame is.
type FrameType uint8

// The frame types of ttrpc. Data frames belong to streaming calls.
const (
	FrameRequest  FrameType = 1
	FrameResponse FrameType = 2
	FrameData     FrameType = 3
)

// The flags of a frame. A unary request and its response have none.
const (
	FlagRemoteClosed uint8 = 1
	FlagRemoteOpen   uint8 = 2
	FlagNoData       uint8 = 4
)

// Header is the head of every frame.
type Header struct {
	// Length is how many bytes of data follow.
	Length uint32
	// Stream is the call: odd, and higher than every earlier one of the
	// connection, in a request; that of the request in a response.
	Stream uint32
	Type   FrameType
	Flags  uint8
}

// Append appends the encoded header to b.
func (h Header) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.Length)
	b = binary.BigEndian.AppendUint32(b, h.Stream)
	return append(b, byte(h.Type), h.Flags)
}

// ParseHeader decodes the first HeaderSize bytes of b, which must have as
// many. Every such header decodes; whether it makes sense is for the caller.
func ParseHeader(b []byte) Header {
	_ = b[HeaderSize-1]
	return Header{
		Length: binary.BigEndian.Uint32(b),
		Stream: binary.BigEndian.Uint32(b[4:]),
		Type:   FrameType(b[8]),
		Flags:  b[9],
	}
}
