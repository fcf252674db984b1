package harness

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Output collects what a program prints and lets a test wait for parts of it.
// It is safe for concurrent use.
type Output struct {
	mu    sync.Mutex
	buf   bytes.Buffer  // guarded by mu
	ended bool          // guarded by mu
	news  chan struct{} // guarded by mu; closed and replaced when buf or ended changes
}

func newOutput() *Output { return &Output{news: make(chan struct{})} }

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	o.announceLocked()
	return len(b), nil
}

// finish marks the end of the output.
func (o *Output) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.announceLocked()
}

func (o *Output) announceLocked() {
	close(o.news)
	o.news = make(chan struct{})
}

// String returns all that was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// await waits until ok says that the text so far will do, and reports whether it
// did before the output ended or the deadline passed.
func (o *Output) await(ok func(text string) bool, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		o.mu.Lock()
		text, ended, news := o.buf.String(), o.ended, o.news
		o.mu.Unlock()
		if ok(text) {
			return true
		}
		if ended {
			return false
		}
		select {
		case <-news:
		case <-timer.C:
			return false
		}
	}
}

// contains returns a condition for await.
func contains(part string) func(string) bool {
	return func(text string) bool { return strings.Contains(text, part) }
}
