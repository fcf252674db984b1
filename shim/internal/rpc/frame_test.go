package rpc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// refusal is what a stream is answered with; text is empty for success.
type refusal struct {
	stream uint32
	code   wire.Code
	text   string
}

func TestRawFrames(t *testing.T) {
	req := func(stream uint32) []byte { return ask(t, stream, "Empty", nil) }
	oversize := func(stream uint32) []byte {
		return frame(wire.FrameRequest, 0, stream, make([]byte, wire.MaxData+1))
	}
	for _, tt := range []struct {
		name string
		send [][]byte
		want []refusal
	}{
		{"ids may have gaps", [][]byte{req(1), req(7), req(9)},
			[]refusal{{1, 0, ""}, {7, 0, ""}, {9, 0, ""}}},
		{"even id", [][]byte{req(2), req(3)},
			[]refusal{{2, wire.InvalidArgument, "StreamID must be odd for client initiated streams"}, {3, 0, ""}}},
		{"id zero", [][]byte{req(0), req(1)},
			[]refusal{{0, wire.InvalidArgument, "StreamID must be odd for client initiated streams"}, {1, 0, ""}}},
		{"id again", [][]byte{req(5), req(5), req(7)},
			[]refusal{{5, 0, ""}, {5, wire.InvalidArgument, "StreamID cannot be re-used and must increment"}, {7, 0, ""}}},
		{"lower id", [][]byte{req(5), req(3), req(7)},
			[]refusal{{5, 0, ""}, {3, wire.InvalidArgument, "StreamID cannot be re-used and must increment"}, {7, 0, ""}}},
		{"last id", [][]byte{req(math.MaxUint32)}, []refusal{{math.MaxUint32, 0, ""}}},
		{"oversize frame", [][]byte{oversize(1), req(1)},
			[]refusal{{1, wire.ResourceExhausted, "message length 4194305 exceed maximum message size of 4194304"}, {1, 0, ""}}},
		{"data frame", [][]byte{frame(wire.FrameData, 0, 1, []byte("x")), req(1)},
			[]refusal{{1, wire.InvalidArgument, "StreamID is no longer active"}, {1, 0, ""}}},
		{"response and unknown types are ignored",
			[][]byte{frame(wire.FrameResponse, 0, 1, []byte("x")), frame(9, 255, 3, nil), req(5)},
			[]refusal{{5, 0, ""}}},
		{"flags of a unary request are ignored",
			[][]byte{frame(wire.FrameRequest, wire.FlagRemoteClosed|wire.FlagRemoteOpen, 1, req(1)[wire.HeaderSize:])},
			[]refusal{{1, 0, ""}}},
		{"garbage for a request", [][]byte{frame(wire.FrameRequest, 0, 1, []byte{0xff, 0xff}), req(3)},
			[]refusal{{1, wire.InvalidArgument, "unmarshal request error: unexpected end"}, {3, 0, ""}}},
		{"no data at all", [][]byte{frame(wire.FrameRequest, 0, 1, nil), req(3)},
			[]refusal{{1, wire.Unimplemented, "service "}, {3, 0, ""}}},
		{"garbage for a payload", [][]byte{ask(t, 1, "Echo", raw("\x0a\xff")), req(3)},
			[]refusal{{1, wire.InvalidArgument, "decode request: unexpected EOF"}, {3, 0, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := newWorld(t, Options{}).dial()
			go conn.Write(bytes.Join(tt.send, nil))
			left := make(map[string]int)
			for _, r := range tt.want {
				left[fmt.Sprint(r)]++
			}
			for range tt.want {
				stream, resp := answer(t, conn)
				got := refusal{stream: stream}
				if resp.Status != nil {
					got.code, got.text = wire.Code(resp.Status.Code), resp.Status.Message
				}
				if left[fmt.Sprint(got)]--; left[fmt.Sprint(got)] < 0 {
					t.Errorf("unexpected answer %v", got)
				}
			}
		})
	}
}

// raw is a message of any bytes.
type raw string

func (r raw) Size() int                                  { return len(r) }
func (r raw) Marshal() ([]byte, error)                   { return []byte(r), nil }
func (r raw) MarshalToSizedBuffer(b []byte) (int, error) { return copy(b[len(b)-len(r):], r), nil }
func (r raw) Unmarshal([]byte) error                     { return nil }
func (r raw) Reset()                                     {}

func TestSuccessIsAnEmptyFrame(t *testing.T) {
	conn := newWorld(t, Options{}).dial()
	write(t, conn, ask(t, 1, "Empty", nil))
	got := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	if want := "00000000000000010200"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

func TestCapturedConnectRequest(t *testing.T) {
	// What a daemon sends first to a shim that it finds after a restart.
	head, _ := hex.DecodeString("0000005500000001" + "0100" + "0a17")
	rest := "containerd.task.v2.Task\x12\x07Connect\x1a\x05\x0a\x03h1p\x20\x80\xf6\xc8\xcb\x12" +
		"\x2a\x24\x0a\x1acontainerd-namespace-ttrpc\x12\x06h1nsmn"
	data := append(head, rest...)
	binary.BigEndian.PutUint32(data, uint32(len(data)-wire.HeaderSize))
	conn := newWorld(t, Options{}).dial()
	write(t, conn, data)
	stream, resp := answer(t, conn)
	if stream != 1 || wire.CodeOf(resp.Status.Err()) != wire.Unimplemented || resp.Status.Message != "service containerd.task.v2.Task" {
		t.Errorf("stream %d: %+v", stream, resp)
	}
}

func TestFrameInPieces(t *testing.T) {
	conn := newWorld(t, Options{}).dial()
	for stream := uint32(1); stream < 5; stream += 2 {
		for _, b := range ask(t, stream, "Echo", &types.Any{TypeUrl: strings.Repeat("y", 300)}) {
			write(t, conn, []byte{b})
		}
		got, resp := answer(t, conn)
		if got != stream || resp.Status != nil || len(resp.Payload) != 303 {
			t.Fatalf("stream %d: %d bytes, %v", got, len(resp.Payload), resp.Status)
		}
	}
}

func TestManyFramesInOneWrite(t *testing.T) {
	conn := newWorld(t, Options{MaxInFlight: 5000}).dial()
	const n = 3000
	var all []byte
	for i := range n {
		all = append(all, ask(t, uint32(2*i+1), "Echo", &types.Any{Value: bytes.Repeat([]byte{1}, i)})...)
	}
	go conn.Write(all)
	for range n {
		stream, resp := answer(t, conn)
		var out types.Any
		if err := out.Unmarshal(resp.Payload); err != nil || len(out.Value) != int(stream-1)/2 {
			t.Fatalf("stream %d: %d bytes, %v %v", stream, len(out.Value), resp.Status, err)
		}
	}
}

func TestTimeoutIsRelativeToReceipt(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	for i, timeout := range []int64{1, int64(20 * time.Millisecond), -5, math.MinInt64} {
		data := requestData(t, &wire.Request{Service: "test", Method: "Wait", TimeoutNano: timeout})
		write(t, conn, frame(wire.FrameRequest, 0, uint32(2*i+1), data))
		_, resp := answer(t, conn)
		if wire.CodeOf(resp.Status.Err()) != wire.DeadlineExceeded || len(resp.Payload) > 0 {
			t.Errorf("timeout %d: %+v", timeout, resp)
		}
	}
	data := requestData(t, &wire.Request{Service: "test", Method: "Deadline", TimeoutNano: math.MaxInt64})
	write(t, conn, frame(wire.FrameRequest, 0, 99, data))
	if _, resp := answer(t, conn); !bytes.Contains(resp.Payload, []byte("true true")) {
		t.Errorf("longest timeout: %q", resp.Payload)
	}
}

func TestPeerThatLeavesIsDropped(t *testing.T) {
	part := ask(t, 1, "Echo", &types.Any{Value: make([]byte, 100_000)})
	for name, sent := range map[string][]byte{
		"at once": nil, "in a header": part[:5], "after a header": part[:10], "in a frame": part[:50_000],
		"in a refused frame": frame(wire.FrameRequest, 0, 1, make([]byte, 5<<20))[:3<<20],
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			conn := w.dial()
			write(t, conn, sent)
			eventually(t, "connected", func() bool { return w.Conns() == 1 })
			conn.Close()
			eventually(t, "dropped", func() bool { return w.Conns() == 0 })
			if lines := w.logLines(); lines != "" {
				t.Errorf("logged: %q", lines)
			}
		})
	}
}

func TestHalfClosedConnectionIsDropped(t *testing.T) {
	w := newWorld(t, Options{})
	conn := w.dial()
	write(t, conn, ask(t, 1, "Wait", nil))
	receive(t, w.entered, "entry")
	conn.CloseWrite()
	if err := receive(t, w.ended, "end of handler").Error(); err != "context canceled" {
		t.Error(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read: %d, %v", n, err)
	}
}

func TestRequestAndCloseInOneGo(t *testing.T) {
	// The data and the end may reach the server as one event of the poller.
	w := newWorld(t, Options{})
	for range 200 {
		conn := w.dial()
		write(t, conn, ask(t, 1, "Echo", nil))
		conn.Close()
	}
	eventually(t, "all dropped", func() bool { return w.Conns() == 0 })
}
