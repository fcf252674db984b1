package wire_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// connectRequest is a frame as a daemon sent it, after its restart.
const connectRequest = "00000055000000010100" +
	"0a17636f6e7461696e6572642e7461736b2e76322e5461736b" + // containerd.task.v2.Task
	"1207436f6e6e656374" + // Connect
	"1a050a03683170" + // {id: h1p}
	"20ffcdb3ca12" +
	"2a240a1a636f6e7461696e6572642d6e616d6573706163652d7474727063120668316e736d6e"

// TestFrameOfDaemon decodes a captured frame and encodes it the same again.
func TestFrameOfDaemon(t *testing.T) {
	frame, err := hex.DecodeString(connectRequest)
	if err != nil {
		t.Fatal(err)
	}
	header := wire.ParseHeader(frame)
	if header != (wire.Header{Length: 0x55, Stream: 1, Type: wire.FrameRequest}) || int(header.Length) != len(frame)-wire.HeaderSize {
		t.Fatalf("header %+v of a frame of %d bytes", header, len(frame))
	}
	var req wire.Request
	if err := req.Unmarshal(frame[wire.HeaderSize:]); err != nil {
		t.Fatal(err)
	}
	if req.Service != "containerd.task.v2.Task" || req.Method != "Connect" || string(req.Payload) != "\x0a\x03h1p" ||
		req.TimeoutNano != 4987873023 || len(req.Metadata) != 1 ||
		*req.Metadata[0] != (wire.KeyValue{Key: "containerd-namespace-ttrpc", Value: "h1nsmn"}) {
		t.Errorf("decoded %+v, %+v", req, req.Metadata)
	}
	data, err := req.Marshal()
	if err != nil || !bytes.Equal(append(header.Append(nil), data...), frame) {
		t.Errorf("encoded % x, %v", data, err)
	}
}

// TestHeaderIsBigEndian and survives a round trip.
func TestHeaderIsBigEndian(t *testing.T) {
	h := wire.Header{Length: 0x01020304, Stream: 0x05060708, Type: wire.FrameData, Flags: wire.FlagNoData}
	b := h.Append([]byte("x"))
	if !bytes.Equal(b, []byte("x\x01\x02\x03\x04\x05\x06\x07\x08\x03\x04")) {
		t.Errorf("encoded % x", b)
	}
	if got := wire.ParseHeader(b[1:]); got != h {
		t.Errorf("decoded %+v", got)
	}
}

// TestUnknownFieldsAreSkipped, as messages of newer peers have them.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	known, _ := (&wire.Status{Code: 5, Message: "x", Details: []*types.Any{{TypeUrl: "a", Value: []byte("b")}}}).Marshal()
	unknown := append([]byte("\xa2\x06\x03abc\xa8\x06\x7f\xb5\x06abcd\xb1\x06abcdefgh\xbb\x06\x08\x01\xbc\x06"), known...)
	var got wire.Status
	if err := got.Unmarshal(unknown); err != nil || got.Code != 5 || got.Message != "x" || string(got.Details[0].Value) != "b" {
		t.Errorf("decoded %+v, %v", got, err)
	}
	if again, _ := got.Marshal(); !bytes.Equal(again, known) {
		t.Errorf("unknown fields were kept: % x", again)
	}
}

// TestCodeOf is the mapping of ttrpc's library.
func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.Code
	}{
		{nil, wire.OK},
		{wire.Errorf(wire.NotFound, "no %s", "task"), wire.NotFound},
		{fmt.Errorf("kill: %w", wire.Errorf(wire.Aborted, "x")), wire.Aborted},
		{io.EOF, wire.OutOfRange},
		{context.Canceled, wire.Canceled},
		{context.DeadlineExceeded, wire.DeadlineExceeded},
		{&os.PathError{Err: syscall.EEXIST}, wire.AlreadyExists},
		{&os.PathError{Err: syscall.ENOENT}, wire.NotFound},
		{syscall.EACCES, wire.PermissionDenied},
		{syscall.EPERM, wire.PermissionDenied},
		{errors.New("x"), wire.Unknown},
	} {
		if got := wire.CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %v, want %v", c.err, got, c.want)
		}
		back := wire.StatusOf(c.err).Err()
		if (back == nil) != (c.err == nil) || wire.CodeOf(back) != c.want || back != nil && back.Error() != c.err.Error() {
			t.Errorf("%v came back from a Status as %v", c.err, back)
		}
	}
}

// TestErrorIs finds errors by code, and those of contexts.
func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", wire.Errorf(wire.NotFound, "no"))
	for target, want := range map[error]bool{
		&wire.Error{Code: wire.NotFound}:                  true,
		&wire.Error{Code: wire.NotFound, Message: "no"}:   true,
		&wire.Error{Code: wire.NotFound, Message: "else"}: false,
		&wire.Error{Code: wire.Aborted}:                   false,
		context.Canceled:                                  false,
	} {
		if errors.Is(err, target) != want {
			t.Errorf("errors.Is(%v, %#v) is %v", err, target, !want)
		}
	}
	if !errors.Is(wire.Errorf(wire.DeadlineExceeded, ""), context.DeadlineExceeded) || !errors.Is(wire.Errorf(wire.Canceled, ""), context.Canceled) {
		t.Error("codes of contexts do not match their errors")
	}
	if text := wire.Errorf(wire.Unavailable, "").Error(); text != "Unavailable" {
		t.Errorf("an Error without a message says %q", text)
	}
	if text := wire.Code(99).String(); text != "Code(99)" {
		t.Errorf("an unknown code says %q", text)
	}
}

// TestUnaryAnswersWithExactlyOne of reply and error.
func TestUnaryAnswersWithExactlyOne(t *testing.T) {
	var reply *wire.KeyValue
	var failure error
	method := wire.Unary(func(_ context.Context, req *wire.KeyValue) (*wire.KeyValue, error) {
		if req.Key != "k" {
			t.Errorf("handler got %+v", req)
		}
		return reply, failure
	})
	call := func(payload string) (wire.Message, wire.Code) {
		resp, err := method(t.Context(), []byte(payload))
		return resp, wire.CodeOf(err)
	}
	if resp, code := call("\xff"); resp != nil || code != wire.InvalidArgument {
		t.Errorf("garbage: %v, %v", resp, code)
	}
	if resp, code := call("\x0a\x01k"); resp != nil || code != wire.Internal {
		t.Errorf("nil reply: %v, %v", resp, code)
	}
	reply = &wire.KeyValue{Value: "v"}
	if resp, code := call("\x0a\x01k"); resp != reply || code != wire.OK {
		t.Errorf("reply: %v, %v", resp, code)
	}
	failure = wire.Errorf(wire.Aborted, "x")
	if resp, code := call("\x0a\x01k"); resp != nil || code != wire.Aborted {
		t.Errorf("error: %v, %v", resp, code)
	}
}

// FuzzRequest decodes any bytes: no panic, and what decodes encodes to
// something that decodes and encodes to the same.
func FuzzRequest(f *testing.F) {
	frame, _ := hex.DecodeString(connectRequest)
	f.Add(frame[wire.HeaderSize:])
	f.Add([]byte("\x2a\x02\x0a\x00\x1a\x80\x80\x80\x80\x08"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second wire.Request
		if first.Unmarshal(data) != nil {
			return
		}
		again, err := first.Marshal()
		if err != nil || len(again) != first.Size() {
			t.Fatalf("Marshal gave %d bytes, Size %d, %v", len(again), first.Size(), err)
		}
		if err := second.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
		if third, err := second.Marshal(); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("%+v came back as %+v, %v", first, second, err)
		}
	})
}
