package stdio

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/attach"
)

// What was written before Settle has arrived when it returns, although the
// stream is still held open.
func TestSettleWaitsForWhatWasWrittenAndNoMore(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdout: "attach://"})
	e := ends(t, s)
	s.Relay(nil)
	p := attachTo(t, s, AttachOptions{Stdout: true, Sync: true})
	for range 100 {
		if _, err := e[1].Write(noise(1, 1000)); err != nil {
			t.Fatal(err)
		}
		got := make(chan struct{})
		go func() {
			defer close(got)
			p.expect(attach.Stdout, string(noise(1, 1000)))
		}()
		if err := s.Settle(background(t)); err != nil {
			t.Fatal(err)
		}
		if n := queued(s.outputs[0].src.file); n != 0 {
			t.Fatalf("%d bytes are still in the pipe", n)
		}
		await(t, "the client has it", got)
	}
	e[1].Close()
	await(t, "drained", s.Drained())
	if err := s.Settle(background(t)); err != nil {
		t.Errorf("settle after the end: %v", err)
	}
}

// A reader that does not read holds Settle up, until its context ends.
func TestSettleGivesUpWithItsContext(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	r := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: path})
	e := ends(t, s)
	s.Relay(nil)
	written := make(chan struct{})
	go func() {
		defer close(written)
		e[1].Write(noise(2, 100<<10)) // FIFO and pipe hold 128 KiB
	}()
	await(t, "written", written)
	eventually(t, "the FIFO is full", func() bool { return queued(r) == 64<<10 })
	ctx, cancel := context.WithTimeout(background(t), 50*time.Millisecond)
	defer cancel()
	if err := s.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("settle with a full FIFO: %v", err)
	}
	all := readN(t, r, 100<<10)
	if err := s.Settle(background(t)); err != nil {
		t.Fatal(err)
	}
	same(t, "stdout", all, noise(2, 100<<10))
}

// Streams that were closed before anything moved have nothing to wait for.
func TestSettleAfterCloseBeforeRelay(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdout: "attach://"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(background(t)); err != nil {
		t.Error(err)
	}
}

// A child that never falls silent does not hold Settle up.
func TestSettleWhileAChildGoesOnWriting(t *testing.T) {
	for _, c := range []struct {
		name string
		out  string
		sync bool
	}{
		{"into a file", "file://" + t.TempDir() + "/log", false},
		{"into a FIFO", mkfifo(t), false},
		{"to a Sync client", "attach://", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			var end *os.File
			if c.name == "into a FIFO" {
				end = openEnd(t, c.out, os.O_RDONLY)
			}
			s := openStdio(t, Config{Stdout: c.out})
			got := func() []byte { return nil }
			if end != nil {
				got = readAll(t, end) // not before: without a writer it is at its end
			}
			if c.sync {
				attachTo(t, s, AttachOptions{Stdout: true, Sync: true}).receiving()
			}
			e := ends(t, s)
			s.Relay(nil)
			var stop atomic.Bool
			var children sync.WaitGroup
			for range 3 { // so that the pipe is never empty
				children.Go(func() {
					b := make([]byte, 100)
					for !stop.Load() {
						e[1].Write(b)
					}
				})
			}
			eventually(t, "they write", func() bool { return s.Counters().Stdout.In > 0 })
			ctx, cancel := context.WithTimeout(background(t), 5*time.Second)
			defer cancel()
			for range 20 {
				if err := s.Settle(ctx); err != nil {
					t.Error(err)
					break
				}
			}
			stop.Store(true)
			children.Wait()
			for _, f := range e[1:] {
				f.Close() // of nil it is an error
			}
			await(t, "drained", s.Drained())
			got()
		})
	}
}

// Giving up leaves nothing behind that waits on.
func TestSettleThatGivesUpLeavesNothing(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdout: "attach://"})
	e := ends(t, s)
	s.Relay(nil)
	attachTo(t, s, AttachOptions{Stdout: true, Sync: true}) // never reads
	unix.SetNonblock(int(e[1].Fd()), true)
	eventually(t, "all is full", func() bool {
		_, err := e[1].Write(make([]byte, 4096))
		return err != nil && queued(s.outputs[0].src.file) >= 60<<10
	})
	goroutines := runtime.NumGoroutine()
	for range 20 {
		ctx, cancel := context.WithTimeout(background(t), time.Millisecond)
		if err := s.Settle(ctx); err == nil {
			t.Error("settled, though a client does not read")
		}
		cancel()
	}
	eventually(t, "nobody waits", func() bool { return runtime.NumGoroutine() <= goroutines })
	r := &s.outputs[0].rest
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.waiters); n != 0 {
		t.Errorf("%d still wait for the pump", n)
	}
}
