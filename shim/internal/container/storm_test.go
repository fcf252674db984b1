package container

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"golang.org/x/sys/unix"
)

// stormy are operations in the order of how often they should happen: by
// position, early ones more.
var stormy = []func(c *Container, ctx context.Context, id string) error{
	func(c *Container, _ context.Context, id string) error {
		return c.AddExec(id, []byte(`{"args":["sh","-c","exit 3"],"cwd":"/","env":["PATH=/bin:/usr/bin"]}`), Streams{})
	},
	func(c *Container, ctx context.Context, id string) error { _, err := c.Start(ctx, id); return err },
	func(c *Container, ctx context.Context, id string) error { _, err := c.Delete(ctx, id); return err },
	func(c *Container, ctx context.Context, id string) error {
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := c.Wait(short, id)
		return err
	},
	func(c *Container, ctx context.Context, id string) error { return c.Kill(ctx, id, unix.SIGKILL, false) },
	func(c *Container, _ context.Context, id string) error { _, err := c.State(id); return err },
	func(c *Container, _ context.Context, id string) error {
		return c.Resize(id, console.Size{Width: 80, Height: 24})
	},
	func(c *Container, _ context.Context, id string) error { return c.CloseStdin(id) },
	func(c *Container, ctx context.Context, _ string) error { _, err := c.Pids(ctx); return err },
	func(c *Container, _ context.Context, _ string) error { c.Execs(); return nil },
	func(c *Container, ctx context.Context, _ string) error { return c.Pause(ctx) },
	func(c *Container, ctx context.Context, _ string) error { return c.Resume(ctx) },
	func(c *Container, ctx context.Context, _ string) error {
		return c.Kill(ctx, "", unix.SIGKILL, false)
	},
}

// expected reports whether an operation of the storm may fail like this: by a
// refusal or because the process was quicker to end, not by accident.
func expected(err error) bool {
	for _, known := range []error{nil, ErrNotFound, ErrExists, ErrState, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// dying reports whether init is on its way out, which explains every error.
func dying(c *Container) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := c.Wait(ctx, "")
	return err == nil
}

// Everything at once on few ids: nothing hangs, the events are in order, and in
// the end everybody who waited has been told.
func TestStorm(t *testing.T) {
	r := newReaper(t)
	for round := range 5 {
		rec := new(recorder)
		c := newFake(t, r, rec)
		ctx := patient(t)
		if _, err := c.Start(ctx, ""); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 60 {
					// init dies seldom, and not at once
					n := min(rand.IntN(len(stormy)+1), rand.IntN(len(stormy)+1), len(stormy)-1)
					id := []string{"e1", "e2", "e3"}[rand.IntN(3)]
					if err := stormy[n](c, ctx, id); !expected(err) && !dying(c) {
						t.Errorf("operation %d on %s: %v", n, id, err)
					}
				}
			})
		}
		all.Wait()
		if ctx.Err() != nil {
			t.Fatal("it took too long: something hung")
		}
		_ = c.Resume(ctx)
		end(t, c)
		if err := inOrder(rec.all()); err != nil {
			t.Errorf("round %d: %v", round, err)
			for _, e := range rec.all() {
				t.Logf("%d %s %q", e.Seq, e.Topic, e.ExecID)
			}
		}
		if last := rec.all()[len(rec.all())-1]; last.Topic != bundle.TopicDelete {
			t.Errorf("the last event is %s", last.Topic)
		}
	}
}
