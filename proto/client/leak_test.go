package client_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/task"
)

// TestNothingIsLeftOfClient once it is closed, even with a request half
// written to a peer that reads nothing: the bubble ends only when every
// goroutine has.
func TestNothingIsLeftOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe() // blocks a write until it is read
		defer peer.Close()
		c := client.New(ours)
		begin := time.Now()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := c.Call(ctx, "s", "m", &task.WaitRequest{}, &task.WaitResponse{})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("call to a peer that does not read: %v", err)
			}
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("three calls of a second each took %v", took)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-c.Done()
	})
}

// TestOnceStopsAtItsDeadline and not before, and leaves no goroutine.
func TestOnceStopsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		defer peer.Close()
		defer ours.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := client.Once(ctx, ours, "s", "m", &task.WaitRequest{}, &task.WaitResponse{})
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("Once: %v after %v", err, took)
		}
	})
}
