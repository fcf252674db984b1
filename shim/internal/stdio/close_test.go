package stdio

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/attach"
)

func TestCloseBeforeRelay(t *testing.T) {
	checkLeaks(t)
	out := mkfifo(t)
	r := openEnd(t, out, os.O_RDONLY)
	s := openStdio(t, Config{Stdin: mkfifo(t), Stdout: out, Stderr: "file://" + t.TempDir() + "/x?format=cri"})
	p := attachTo(t, s, typing)
	p.send(attach.Stdin, "x")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "drained", s.Drained())
	if n, err := r.Read(make([]byte, 1)); n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if g := p.receive(); g.reason == "" || g.err != nil {
		t.Errorf("%+v", g)
	}
	s.Relay(nil)
	s.CloseChild()
	if err := s.CloseStdin(); err != nil {
		t.Error(err)
	}
}

// Everything is stuck at once: full FIFO nobody reads, full stdin, stalled clients.
func TestCloseWhenAllPeersAreStuck(t *testing.T) {
	checkLeaks(t)
	in, out := mkfifo(t), mkfifo(t)
	openEnd(t, out, os.O_RDONLY)
	s := openStdio(t, Config{Stdin: in, Stdout: out, Stderr: "attach://"})
	e := ends(t, s)
	s.Relay(nil)
	w := openEnd(t, in, os.O_WRONLY)
	attachTo(t, s, AttachOptions{Stderr: true, Sync: true})
	typist := attachTo(t, s, typing)
	for _, f := range []*os.File{e[1], e[2]} {
		unix.SetNonblock(int(f.Fd()), true)
	}
	piece := make([]byte, 4096)
	eventually(t, "all is full", func() bool {
		unixNonblock(w, piece)
		unixNonblock(typist.conn, attach.AppendFrame(nil, attach.Stdin, piece[:1]))
		_, err1 := e[1].Write(piece)
		_, err2 := e[2].Write(piece)
		return err1 != nil && err2 != nil && queued(w) >= 60<<10
	})
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 3*closeGrace {
		t.Errorf("close took %v", d)
	}
}

// Actors do everything at random while Close comes at a random moment.
func TestCloseAtAnyMoment(t *testing.T) {
	checkLeaks(t)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		if r.IntN(3) == 0 {
			closeTerminal(t, r)
		} else {
			closePipes(t, r)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func closePipes(t *testing.T, r *rand.Rand) {
	in, out, log := mkfifo(t), mkfifo(t), t.TempDir()+"/log"
	reader := openEnd(t, out, os.O_RDONLY)
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	s := openStdio(t, Config{
		Stdin:  pick("", in, "attach://"),
		Stdout: pick("", out, "attach://", "file://"+log, "file://"+log+"?format=cri"),
		Stderr: pick("", out, "attach://", "file://"+log+"?format=cri"),
	})
	e := ends(t, s)
	if r.IntN(8) > 0 {
		s.Relay(nil)
	}
	var wg sync.WaitGroup
	for _, f := range e[1:] {
		if f != nil {
			unix.SetNonblock(int(f.Fd()), true)
			wg.Go(func() { nag(s, func() { f.Write(make([]byte, 10_000)) }) })
		}
	}
	wg.Go(func() {
		b := make([]byte, 5000)
		reader.SetReadDeadline(time.Now().Add(patience))
		nag(s, func() { unixRead(reader, b) })
	})
	actors(t, s, r, &wg)
	closeAndCheck(t, s, r)
	wg.Wait()
	for _, f := range e {
		if f != nil {
			f.Close()
		}
	}
}

func closeTerminal(t *testing.T, r *rand.Rand) {
	s := openStdio(t, Config{Terminal: true, Stdin: "attach://", Stdout: "attach://"})
	exited := make(chan struct{})
	if r.IntN(2) == 0 {
		s.FollowExit(exited)
	}
	master, path := openMaster(t)
	slave := openSlave(t, path, r.IntN(2) == 0)
	unix.SetNonblock(int(slave.Fd()), true)
	s.Relay(master)
	var wg sync.WaitGroup
	wg.Go(func() { nag(s, func() { slave.Write(make([]byte, 1000)) }) })
	wg.Go(func() { nag(s, func() { s.Resize(console.Size{Width: 3, Height: 4}) }) })
	actors(t, s, r, &wg)
	if r.IntN(2) == 0 {
		close(exited)
	}
	if r.IntN(2) == 0 {
		slave.Close()
	}
	closeAndCheck(t, s, r)
	wg.Wait()
	slave.Close()
}

// actors attach, type, read a little or nothing, and leave.
func actors(t *testing.T, s *Stdio, r *rand.Rand, wg *sync.WaitGroup) {
	for range 1 + r.IntN(4) {
		o := AttachOptions{
			Stdin: r.IntN(2) == 0, Stdout: r.IntN(3) > 0, Stderr: r.IntN(3) > 0,
			Sync: r.IntN(2) == 0, ReplayBytes: r.Int64N(3) * 5000,
		}
		seed := r.Uint64()
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			nag(s, func() {
				p, conn := newPeer(t)
				s.Attach(conn, attach.AppendFrame(nil, attach.Stdin, []byte("early")), o)
				for range r.IntN(5) {
					unixNonblock(p.conn, attach.AppendFrame(nil, attach.Stdin, make([]byte, r.IntN(20_000))))
					unixRead(p.conn, make([]byte, r.IntN(100_000)))
				}
				if r.IntN(20) == 0 {
					unixNonblock(p.conn, attach.AppendFrame(nil, attach.StdinEOF, nil))
					s.CloseStdin()
				}
				p.conn.Close()
				s.Counters()
			})
		})
	}
}

// nag does it until the streams are closed.
func nag(s *Stdio, do func()) {
	for {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		do()
		if closed {
			return
		}
	}
}

func closeAndCheck(t *testing.T, s *Stdio, r *rand.Rand) {
	t.Helper()
	for range r.IntN(2000) {
		s.Counters()
	}
	start := time.Now()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if d := time.Since(start); d > 3*closeGrace {
		t.Errorf("close took %v", d)
	}
	await(t, "drained", s.Drained())
}

func unixRead(f *os.File, b []byte) {
	raw, _ := f.SyscallConn()
	raw.Control(func(fd uintptr) { unix.Read(int(fd), b) })
}
