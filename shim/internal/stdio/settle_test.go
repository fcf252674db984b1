package stdio

import (
	"context"
	"errors"
	"os"

	"testing"
	"time"

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
