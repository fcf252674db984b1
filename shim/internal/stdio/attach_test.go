package stdio

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/attach"
)

var (
	watching = AttachOptions{Stdout: true, Stderr: true}
	typing   = AttachOptions{Stdin: true, Stdout: true, Stderr: true}
)

func attachable(t *testing.T) (*Stdio, [3]*os.File) {
	t.Helper()
	s := openStdio(t, Config{Stdin: "attach://", Stdout: "attach://", Stderr: "attach://"})
	return s, ends(t, s)
}

// clients counts those that the hub still knows.
func clients(s *Stdio) int {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return len(s.hub.clients)
}

func TestClientSeesWhatItAskedForAndTheEnd(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	both, out, stderr := attachTo(t, s, watching), attachTo(t, s, AttachOptions{Stdout: true}), attachTo(t, s, AttachOptions{Stderr: true})
	s.Relay(nil)
	e[1].WriteString("to stdout")
	e[2].WriteString("to stderr")
	e[1].Close()
	if g := out.receive(); string(g.streams[1]) != "to stdout" || g.streams[2] != nil || g.reason != "" || g.err != nil {
		t.Errorf("stdout's client: %+v", g)
	}
	e[2].Close()
	if g := stderr.receive(); string(g.streams[2]) != "to stderr" || g.streams[1] != nil || g.reason != "" || g.err != nil {
		t.Errorf("stderr's client: %+v", g)
	}
	if g := both.receive(); string(g.streams[1]) != "to stdout" || string(g.streams[2]) != "to stderr" || g.err != nil {
		t.Errorf("client of both: %+v", g)
	}
	if _, err := both.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after End: %v", err)
	}
}

func TestAttachAfterTheEnd(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	s.Relay(nil)
	e[1].Close()
	e[2].Close()
	await(t, "drained", s.Drained())
	if g := attachTo(t, s, typing).receive(); g.reason != "" || g.err != nil {
		t.Errorf("%+v", g)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p, conn := newPeer(t)
	if err := s.Attach(conn, nil, typing); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if g := p.receive(); g.err != io.EOF {
		t.Errorf("the connection is not closed: %+v", g)
	}
}

func TestCloseTellsClientsThatItWasByForce(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	p := attachTo(t, s, watching)
	s.Relay(nil)
	e[1].WriteString("before")
	p.expect(attach.Stdout, "before")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if g := p.receive(); g.reason == "" || g.err != nil {
		t.Errorf("%+v", g)
	}
	await(t, "drained", s.Drained())
}

func TestLaggingClientIsDroppedAndHoldsNobodyUp(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	stalled := attachTo(t, s, watching)
	other := attachTo(t, s, AttachOptions{Stdout: true, Sync: true})
	receiving := other.receiving()
	s.Relay(nil)
	const size = 4 << 20
	want := noise(3, size)
	if _, err := e[1].Write(want); err != nil { // returns: the stalled one is not waited for
		t.Fatal(err)
	}
	e[1].Close()
	if g := receiving(); len(g.streams[1]) != size || g.err != nil {
		t.Errorf("the other client: %d bytes, %v", len(g.streams[1]), g.err)
	}
	g := stalled.receive()
	if !strings.HasPrefix(g.reason, "lagging: ") || !strings.HasSuffix(g.reason, " bytes behind") {
		t.Fatalf("reason %q, %v", g.reason, g.err)
	}
	n := len(g.streams[1])
	if n < lagLimit-2*bufferSize || n >= size { // the last piece did not fit
		t.Errorf("got %d bytes before End", n)
	}
	same(t, "what it did get", g.streams[1], want[:n])
	if s.Counters().Stdout.Lagged == 0 {
		t.Error("not counted")
	}
	eventually(t, "it is forgotten", func() bool { return clients(s) == 0 })
}

func TestSyncClientHoldsTheProcessUpUntilItReadsOrGoes(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	slow := attachTo(t, s, AttachOptions{Stdout: true, Sync: true})
	s.Relay(nil)
	want := noise(6, 2<<20)
	done := make(chan error, 1)
	write := func(b []byte) {
		_, err := e[1].Write(b)
		done <- err
	}
	go write(want)
	stuck := func() bool {
		slow := s.Counters().Stdout.In
		return slow > syncLimit && queued(e[1]) == 64<<10
	}
	eventually(t, "the process waits", stuck)
	select {
	case <-done:
		t.Fatal("it did not")
	default:
	}
	var got []byte
	for len(got) < len(want) {
		_, data, err := attach.ReadFrame(slow.conn, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, data...)
	}
	same(t, "stdout", got, want)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go write(want)
	eventually(t, "the process waits again", stuck)
	slow.conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is forgotten", func() bool { return clients(s) == 0 })
}

func TestIdleClientThatGoesIsNoticed(t *testing.T) {
	checkLeaks(t)
	s, _ := attachable(t)
	for _, o := range []AttachOptions{watching, typing, {Stdin: true}, {Stdout: true, Sync: true}} {
		p := attachTo(t, s, o)
		if clients(s) != 1 {
			t.Fatal("not attached")
		}
		p.conn.Close()
		eventually(t, "it is forgotten", func() bool { return clients(s) == 0 })
	}
	if n := s.hub.subscribers[1].Load() + s.hub.subscribers[2].Load(); n != 0 {
		t.Errorf("%d subscriptions left", n)
	}
}

func TestStdinOverAttach(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	s.Relay(nil)
	watcher := attachTo(t, s, watching)
	watcher.send(attach.Stdin, "not allowed")
	watcher.send(attach.StdinEOF, "")
	p, conn := newPeer(t)
	early := attach.AppendFrame(nil, attach.Stdin, []byte("read with the request, "))
	if err := s.Attach(conn, append(early, byte(attach.Stdin), 0, 0), typing); err != nil {
		t.Fatal(err)
	}
	p.conn.Write([]byte{0, 4, 'r', 'e', 's', 't'})
	if got := string(readN(t, e[0], 27)); got != "read with the request, rest" {
		t.Fatalf("%q", got)
	}
	p.send(attach.Kind(77), "from the future")
	p.conn.Close() // detaching is no EOF
	eventually(t, "it is forgotten", func() bool { return clients(s) == 1 })
	again := attachTo(t, s, typing)
	again.send(attach.Stdin, "again")
	if got := string(readN(t, e[0], 5)); got != "again" {
		t.Fatalf("%q", got)
	}
	again.send(attach.StdinEOF, "")
	again.send(attach.Stdin, "ignored")
	if n, err := e[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	e[1].WriteString("still here")
	again.expect(attach.Stdout, "still here")
}

func TestFullStdinHoldsUpItsClientAlone(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	s.Relay(nil)
	p, other := attachTo(t, s, typing), attachTo(t, s, watching)
	want := noise(8, 3<<20)
	sent := make(chan error, 1)
	go func() {
		_, err := p.conn.Write(attach.AppendFrame(nil, attach.Stdin, want))
		sent <- err
	}()
	eventually(t, "stdin is full", func() bool { return queued(e[0]) == 64<<10 })
	e[1].WriteString("output goes on")
	p.expect(attach.Stdout, "output goes on")
	other.expect(attach.Stdout, "output goes on")
	if err := s.CloseStdin(); err != nil { // does not block
		t.Fatal(err)
	}
	got, err := io.ReadAll(e[0])
	if err != nil {
		t.Fatal(err)
	}
	same(t, "what was accepted", got, want[:len(got)])
	if len(got) < 64<<10 {
		t.Errorf("%d bytes", len(got))
	}
	if err := <-sent; err != nil { // the rest is ignored, not left in the socket
		t.Error(err)
	}
}

func TestClientThatBreaksTheProtocolIsCutOff(t *testing.T) {
	checkLeaks(t)
	s, _ := attachable(t)
	s.Relay(nil)
	p := attachTo(t, s, typing)
	p.conn.Write([]byte{0, 0xff, 0xff, 0xff, 0xff})
	if g := p.receive(); g.err == nil {
		t.Errorf("%+v", g)
	}
	eventually(t, "it is forgotten", func() bool { return clients(s) == 0 })
}

func TestTypistAloneStaysUntilStdinEnds(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdin: "attach://"})
	e := ends(t, s)
	s.Relay(nil)
	p := attachTo(t, s, AttachOptions{Stdin: true})
	p.send(attach.Stdin, "x")
	readN(t, e[0], 1)
	s.CloseStdin()
	if g := p.receive(); g.reason != "" || g.err != nil {
		t.Errorf("%+v", g)
	}
}

func TestOutputWithoutClientIsDiscardedButRemembered(t *testing.T) {
	checkLeaks(t)
	s, e := attachable(t)
	s.Relay(nil)
	text := noise(2, 1<<20)
	if _, err := e[1].Write(text); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read", func() bool { return s.Counters().Stdout.In == 1<<20 })
	late := attachTo(t, s, watching)
	some := attachTo(t, s, AttachOptions{Stdout: true, ReplayBytes: 100})
	most := attachTo(t, s, AttachOptions{Stdout: true, Sync: true, ReplayBytes: 1 << 40})
	e[1].WriteString("now")
	late.expect(attach.Stdout, "now")
	some.expect(attach.Stdout, string(text[len(text)-100:])+"now")
	most.expect(attach.Stdout, string(text[len(text)-historySize:])+"now")
}

func TestAppendBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var past, all []byte
	for range 200 {
		b := noise(r.Uint64(), r.IntN(3*historySize/2))
		past, all = appendBounded(past, b), append(all, b...)
		same(t, "history", past, all[max(0, len(all)-historySize):])
	}
}

func TestFrameReaderInAnySplit(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		var wire []byte
		var want [streams + 2][]byte
		frames := 0
		for range r.IntN(20) {
			kind, data := attach.Kind(r.IntN(5)), noise(r.Uint64(), r.IntN(1<<r.IntN(17)))
			data = data[:min(len(data), attach.MaxData)]
			wire = attach.AppendFrame(wire, kind, data)
			want[kind] = append(want[kind], data...)
			if len(data) == 0 {
				frames++
			}
		}
		var reader frameReader
		var got [streams + 2][]byte
		empty := 0
		for len(wire) > 0 {
			n := min(len(wire), 1+r.IntN(1<<r.IntN(17)))
			if err := reader.feed(wire[:n], func(kind attach.Kind, data []byte) {
				got[kind] = append(got[kind], data...)
				if len(data) == 0 {
					empty++
				}
			}); err != nil {
				t.Fatal(err)
			}
			wire = wire[n:]
		}
		for kind := range want {
			same(t, attach.Kind(kind).String(), got[kind], want[kind])
		}
		if empty != frames || reader.have != 0 {
			t.Errorf("%d frames without data, want %d; %d bytes of header left", empty, frames, reader.have)
		}
	}
}

func TestStalledClientDoesNotDelayCloseForLong(t *testing.T) {
	checkLeaks(t)
	for _, o := range []AttachOptions{watching, {Stdout: true, Sync: true}, typing} {
		s, e := attachable(t)
		if s.hub.grace != closeGrace {
			t.Errorf("clients have %v at close", s.hub.grace)
		}
		s.hub.grace = 50 * time.Millisecond // the real one is waited for once, in close_test.go
		p := attachTo(t, s, o)
		s.Relay(nil)
		unix.SetNonblock(int(e[1].Fd()), true)
		eventually(t, "all is full or it was dropped", func() bool {
			_, err := e[1].Write(make([]byte, 32<<10))
			return err != nil || s.Counters().Stdout.Lagged > 0
		})
		if o.Stdin {
			unixNonblock(p.conn, attach.AppendFrame(nil, attach.Stdin, make([]byte, 1<<20)))
		}
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > closeGrace {
			t.Errorf("%+v: close took %v", o, d)
		}
	}
}

// unixNonblock writes what fits.
func unixNonblock(f *os.File, b []byte) {
	raw, _ := f.SyscallConn()
	raw.Control(func(fd uintptr) { unix.Write(int(fd), b) })
}
