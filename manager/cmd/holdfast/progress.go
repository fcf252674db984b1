package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress is one line that says what takes so long.
type progress struct {
	u     *ui
	text  string
	since time.Time
	shown bool
	quit  chan struct{}
	done  chan struct{}
}

// patience is how long nothing is said: what is over by then needs no comment.
const patience = 400 * time.Millisecond

// busy shows that something is being done until the returned function is
// called. In a pipe it shows nothing.
func (u *ui) busy(format string, args ...any) (stop func()) {
	if !u.live {
		return func() {}
	}
	p := &progress{
		u: u, text: fmt.Sprintf(format, args...), since: time.Now(),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	u.mu.Lock()
	u.bar = p
	u.mu.Unlock()
	go p.run()
	return sync.OnceFunc(func() {
		close(p.quit)
		<-p.done
		u.wipe()
		u.mu.Lock()
		u.bar = nil
		u.mu.Unlock()
	})
}

func (p *progress) run() {
	defer close(p.done)
	wait := time.NewTimer(patience)
	defer wait.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-wait.C:
			p.u.mu.Lock()
			fmt.Fprintf(p.u.err, "\r\x1b[K%s… %.0fs", p.text, time.Since(p.since).Seconds())
			p.shown = true
			p.u.mu.Unlock()
			wait.Reset(time.Second / 4)
		}
	}
}

// wipe removes the progress line before something else is printed.
func (u *ui) wipe() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bar != nil && u.bar.shown {
		io.WriteString(u.err, "\r\x1b[K")
		u.bar.shown = false
	}
}
