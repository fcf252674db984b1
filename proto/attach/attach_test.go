package attach_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/holdfast/holdfast/proto/attach"
)

// TestFramesComeBackAsSent reads what AppendFrame made, byte by byte.
func TestFramesComeBackAsSent(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 20000)
	var stream []byte
	stream = attach.AppendFrame(stream, attach.Stdout, []byte("hello"))
	stream = attach.AppendFrame(stream, attach.StdinEOF, nil)
	stream = attach.AppendFrame(stream, attach.Stderr, long)
	stream = attach.AppendFrame(stream, attach.End, []byte("shim is leaving"))
	if !bytes.HasPrefix(stream, []byte("\x01\x00\x00\x00\x05hello\x04\x00\x00\x00\x00\x02\x00\x01\x00\x00")) {
		t.Errorf("stream begins with % x", stream[:20])
	}
	r := iotest.OneByteReader(bytes.NewReader(stream))
	var kinds []attach.Kind
	var stderr []byte
	buf := make([]byte, attach.MaxData)
	for {
		kind, data, err := attach.ReadFrame(r, buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, kind)
		if kind == attach.Stderr {
			stderr = append(stderr, data...)
		}
	}
	want := []attach.Kind{attach.Stdout, attach.StdinEOF, attach.Stderr, attach.Stderr, attach.Stderr, attach.Stderr, attach.End}
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
	if !bytes.Equal(stderr, long) {
		t.Errorf("%d bytes of stderr came back, not the %d sent", len(stderr), len(long))
	}
}

// TestReadFrameTellsHowStreamEnded between frames, in one, in nonsense.
func TestReadFrameTellsHowStreamEnded(t *testing.T) {
	for stream, want := range map[string]error{
		"":                           io.EOF,
		"\x00":                       io.ErrUnexpectedEOF,
		"\x00\x00\x00\x00\x02":       io.ErrUnexpectedEOF,
		"\x00\x00\x00\x00\x02x":      io.ErrUnexpectedEOF,
		"\x00\x00\x01\x00\x01":       attach.ErrTooLong,
		"\x00\xff\xff\xff\xff":       attach.ErrTooLong,
		"\xc8\x00\x00\x00\x01x":      nil, // kinds to come are for the caller to skip
		"\x03\x00\x00\x00\x00 later": nil,
	} {
		if _, _, err := attach.ReadFrame(bytes.NewReader([]byte(stream)), nil); !errors.Is(err, want) {
			t.Errorf("ReadFrame(%q): %v, want %v", stream, err, want)
		}
	}
}

// TestReadFrameUsesBuffer it was given, so that a pump allocates nothing.
func TestReadFrameUsesBuffer(t *testing.T) {
	stream := attach.AppendFrame(nil, attach.Stdin, make([]byte, attach.MaxData))
	buf := make([]byte, attach.MaxData)
	r := bytes.NewReader(stream)
	if n := testing.AllocsPerRun(10, func() {
		r.Reset(stream)
		if _, _, err := attach.ReadFrame(r, buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("ReadFrame allocates %v times", n)
	}
}

// FuzzReadFrame reads any bytes to their end: no panic, never more data than
// the limit, and what was read is written the same again.
func FuzzReadFrame(f *testing.F) {
	f.Add(attach.AppendFrame(nil, attach.Stdin, []byte("x")), 0)
	f.Add([]byte("\x00\xff\xff\xff\xff"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		r := bytes.NewReader(stream)
		buf := make([]byte, min(max(size, 0), attach.MaxData))
		var again []byte
		for {
			kind, data, err := attach.ReadFrame(r, buf)
			if err != nil {
				break
			}
			if len(data) > attach.MaxData {
				t.Fatalf("frame of %d bytes", len(data))
			}
			again = attach.AppendFrame(again, kind, data)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatalf("%q was read from %q", again, stream)
		}
	})
}
