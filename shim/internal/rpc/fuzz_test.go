package rpc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// FuzzConnection sends bytes to a live connection, in two pieces, and then
// sees that a second connection is served as if nothing had happened, that
// all answers are frames, and that moving the connection between the pieces
// makes no difference to that.
func FuzzConnection(f *testing.F) {
	req := ask(f, 1, "Echo", &types.Any{TypeUrl: "x"})
	f.Add(req, 5, false)
	f.Add(append(req, ask(f, 3, "Empty", nil)...), 40, true)
	f.Add(frame(wire.FrameRequest, 0, 1, bytes.Repeat([]byte{0xff}, 30)), 12, true)
	f.Add([]byte{0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0, 9, 9, 9}, 11, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0}, 3, true)
	f.Add(ask(f, 1, "Hijack", nil), 10, false)
	w := newWorld(f, Options{WriteTimeout: time.Minute})
	go func() {
		for got := range w.taken {
			got.conn.Close()
		}
	}()
	f.Cleanup(func() { close(w.taken) })
	f.Fuzz(func(t *testing.T, data []byte, cut int, move bool) {
		s := New(w.lookup, Options{})
		conn := adoptPair(t, s)
		cut = min(max(cut, 0), len(data))
		conn.Write(data[:cut])
		if move {
			states, err := s.Freeze(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, state := range states {
				if err := s.Adopt(state); err != nil {
					t.Fatal(err)
				}
			}
		}
		conn.Write(data[cut:])
		conn.CloseWrite()
		readAnswers(t, conn)
		second := adoptPair(t, s)
		write(t, second, ask(t, 1, "Empty", nil))
		answer(t, second)
		if err := s.Stop(timeout(t)); err != nil {
			t.Error(err)
		}
	})
}

// adoptPair has s serve one end of a socket pair and returns the other.
func adoptPair(t testing.TB, s *Server) *net.UnixConn {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(ConnState{Conn: os.NewFile(uintptr(fds[0]), "pair")}); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "pair")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.UnixConn)
}

// readAnswers reads responses until the connection ends.
func readAnswers(t testing.TB, r io.Reader) {
	t.Helper()
	for {
		var head [wire.HeaderSize]byte
		n, err := io.ReadFull(r, head[:])
		if n == 0 && (errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET)) {
			return
		}
		h := wire.ParseHeader(head[:])
		if err != nil || h.Type != wire.FrameResponse || h.Length > wire.MaxData {
			t.Fatalf("answer %+v: %v", h, err)
		}
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(r, data); err != nil {
			return // dropped in the middle of it
		}
		if err := new(wire.Response).Unmarshal(data); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzDecodeRequest has the generated decoder as the oracle.
func FuzzDecodeRequest(f *testing.F) {
	f.Add(requestData(f, &wire.Request{Service: "s", Method: "m", Payload: []byte("p"), TimeoutNano: -1,
		Metadata: []*wire.KeyValue{{Key: "k", Value: "v"}}}))
	f.Add([]byte("\x0a\x01a\x0a\x01b\x20\x01\x20\x02\x30\x05\x39\x01\x02\x03\x04\x05\x06\x07\x08\x45\x01\x02\x03\x04"))
	f.Add([]byte("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeRequest(data)
		var want wire.Request
		if wantErr := want.Unmarshal(data); wantErr != nil {
			if err == nil && !got.hasMetadata {
				t.Fatalf("accepted what the oracle refuses: %v", wantErr)
			}
			return
		}
		if err != nil {
			if err != errField {
				t.Fatalf("refused what the oracle accepts: %v", err)
			}
			return
		}
		if got.service != want.Service || got.name != want.Method || !bytes.Equal(got.payload, want.Payload) ||
			got.timeout != want.TimeoutNano || got.hasMetadata != (want.Metadata != nil) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
