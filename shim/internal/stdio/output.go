package stdio

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/attach"
)

// output is one stream on its way out of the container. Its pump is the only
// goroutine that touches anything but the counters.
type output struct {
	kind  attach.Kind // Stdout or Stderr
	src   *source     // a pty's belongs to Stdio, a pipe's to the pump; nil: EOF
	pipe  bool        // src is a pipe: may be spliced from
	sinks []sink
	hub   *hub

	in, lost atomic.Uint64
}

// pump moves bytes until EOF or interrupt, then tells everyone.
func (o *output) pump() {
	for o.src != nil && o.step() {
	}
	if o.src != nil {
		o.src.drop()
	}
	for _, s := range o.sinks {
		o.lose(s.end())
	}
	if o.pipe {
		o.src.file.Close()
	}
	o.hub.endStream(o.kind)
}

// step moves what is there, or waits for more. It chooses the way anew each
// time, for clients come and go.
func (o *output) step() (more bool) {
	if t := o.direct(); t != nil {
		o.src.drop()
		return o.splice(t)
	}
	b, err := o.src.next(o.pause)
	if err != nil {
		return false
	}
	o.in.Add(uint64(len(b)))
	for _, s := range o.sinks {
		o.lose(s.write(b))
	}
	o.hub.deliver(o.kind, b)
	return true
}

func (o *output) pause() {
	for _, s := range o.sinks {
		o.lose(s.pause())
	}
}

func (o *output) lose(n int) { o.lost.Add(uint64(n)) }

// direct returns the FIFO that takes the bytes without passing through here:
// the only sink, with nobody attached.
func (o *output) direct() *target {
	if !o.pipe || len(o.sinks) != 1 || o.hub.listening(o.kind) {
		return nil
	}
	return o.sinks[0].splice()
}

// splice waits for data and moves it within the kernel. It is one step only;
// bytes that are in neither pipe do not exist, so a change of way loses none.
func (o *output) splice(t *target) (more bool) {
	var n int64
	var err error
	changed := false
	rerr := o.src.raw.Read(func(uintptr) bool {
		if changed = o.direct() == nil; changed {
			return true
		}
		// EAGAIN has two reasons. The container can empty the pipe
		// itself (it holds an O_RDWR end), so ask each time.
		n, err = splice(o.src.fd, t.fd)
		return err != unix.EAGAIN || unread(o.src.fd) > 0
	})
	if rerr == nil && !changed && err == unix.EAGAIN {
		rerr = t.raw.Write(func(uintptr) bool {
			n, err = splice(o.src.fd, t.fd)
			return err != unix.EAGAIN || unread(o.src.fd) == 0
		})
	}
	switch {
	case rerr != nil:
		return false // interrupted
	case changed, err == unix.EAGAIN:
		return true
	case err != nil:
		o.pipe = false // let write(2) report what is wrong
		return true
	}
	o.in.Add(uint64(n))
	return n > 0
}

// splice moves at most what a pipe can hold at its largest default
// (/proc/sys/fs/pipe-max-size).
func splice(from, to int) (int64, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, 1<<20, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return n, err
		}
	}
}
