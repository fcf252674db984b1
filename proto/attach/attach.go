// Package attach is what a connection carries once shimv1's Attach has been
// answered on it: standard streams in small frames, both ways at once.
//
//	0    1        5
//	+----+--------+---- - -
//	|kind| length | data          length big endian, at most MaxData
//	+----+--------+---- - -
//
// A client sends Stdin and, once, StdinEOF. A shim sends Stdout and Stderr
// and, as its last frame, End. A client that closes its connection is
// detached; the process does not notice. Frames of a kind that the receiver
// does not know are skipped, so that kinds can be added.
//
// The package does no I/O but ReadFrame's and owns nothing.
package attach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// HeaderSize is how many bytes precede the data of a frame.
	HeaderSize = 5
	// MaxData is the most bytes of data in one frame.
	MaxData = 64 << 10
)

// Kind is what the data of a frame is.
type Kind uint8

// The kinds of frames.
const (
	// Stdin is input for the process, from client to shim.
	Stdin Kind = 0
	// Stdout is output of the process, or of its terminal, from shim to
	// client.
	Stdout Kind = 1
	// Stderr is output of the process, from shim to client.
	Stderr Kind = 2
	// End is the last frame of a shim. Its data says why: nothing when the
	// streams have ended, else a text for a person.
	End Kind = 3
	// StdinEOF is the end of the process's input, from client to shim, without
	// data.
	StdinEOF Kind = 4
)

// String returns the name of the constant, or the number of an unknown kind.
func (k Kind) String() string {
	names := [...]string{"Stdin", "Stdout", "Stderr", "End", "StdinEOF"}
	if int(k) >= len(names) {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return names[k]
}

// ErrTooLong says that a frame claims more than MaxData bytes: the stream is
// not, or no longer, one of frames.
var ErrTooLong = errors.New("attach: frame is too long")

// AppendHeader appends the header of a frame with n bytes of data, at most
// MaxData, for those who write the data from where it is.
func AppendHeader(dst []byte, kind Kind, n int) []byte {
	if n < 0 || n > MaxData {
		panic("attach: length of a frame out of range")
	}
	dst = append(dst, byte(kind))
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// AppendFrame appends data in one frame, or in as many as it takes where it is
// longer than MaxData. No data makes one frame without data.
func AppendFrame(dst []byte, kind Kind, data []byte) []byte {
	for {
		part := data[:min(len(data), MaxData)]
		dst = AppendHeader(dst, kind, len(part))
		dst = append(dst, part...)
		data = data[len(part):]
		if len(data) == 0 {
			return dst
		}
	}
}

// ReadFrame reads one frame from r and not a byte more. The data is in buf
// where that is large enough, HeaderSize and MaxData always being so, else in
// new memory. The error is io.EOF if r ended between frames,
// io.ErrUnexpectedEOF if within one, ErrTooLong, or r's own.
func ReadFrame(r io.Reader, buf []byte) (Kind, []byte, error) {
	buf = room(buf, HeaderSize)
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, err
	}
	kind, n := Kind(buf[0]), binary.BigEndian.Uint32(buf[1:])
	if n > MaxData {
		return 0, nil, ErrTooLong
	}
	buf = room(buf, int(n))
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return kind, buf, nil
}

// room returns buf with length n, or new memory if it has not that capacity.
func room(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n)
	}
	return buf[:n]
}
