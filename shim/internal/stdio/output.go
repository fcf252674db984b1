package stdio

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/attach"
)

// output is one stream on its way out of the container. Its pump is the only
// goroutine that touches anything but the counters.
type output struct {
	kind     attach.Kind // Stdout or Stderr
	src      *source     // a pty's belongs to Stdio, a pipe's to the pump; nil: EOF
	pipe     bool        // src is a pipe
	noSplice bool        // splice(2) refused: not again
	sinks    []sink
	hub      *hub
	rest     rest

	in, lost atomic.Uint64
}

// pump moves bytes until EOF or interrupt, then tells everyone.
func (o *output) pump() {
	for o.src != nil && o.step() {
	}
	if o.src != nil {
		o.begin() // from here on the source may be closed
		o.src.drop()
	}
	for _, s := range o.sinks {
		o.lose(s.end())
	}
	if o.pipe {
		o.src.file.Close()
	}
	o.hub.endStream(o.kind)
	o.finish()
}

// step moves what is there, or waits for more. It chooses the way anew each
// time, for clients come and go.
func (o *output) step() (more bool) {
	if t := o.direct(); t != nil {
		o.src.drop()
		return o.splice(t)
	}
	b, err := o.src.next(o.begin, o.pause)
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

func (o *output) lose(n int) { o.lost.Add(uint64(n)) }

// direct returns the FIFO that takes the bytes without passing through here:
// the only sink, with nobody attached.
func (o *output) direct() *target {
	if !o.pipe || o.noSplice || len(o.sinks) != 1 || o.hub.listening(o.kind) {
		return nil
	}
	return o.sinks[0].splice()
}

// splice waits for data and moves it within the kernel. It is one step only;
// bytes that are in neither pipe do not exist, so a change of way loses none.
func (o *output) splice(t *target) (more bool) {
	var n int64
	var err error
	var state pipeState
	try := func() pipeState {
		if n, err = splice(o.src.fd, t.fd); err != unix.EAGAIN {
			return pipeMoved
		}
		// EAGAIN has two reasons, a full FIFO hides even EOF, and the
		// container, with its O_RDWR end, can empty the pipe itself. So look.
		return lookAt(o.src.fd)
	}
	changed := false
	rerr := o.src.raw.Read(func(uintptr) bool {
		if changed = o.direct() == nil; changed {
			return true
		}
		o.begin()
		if state = try(); state == pipeEmpty {
			o.look(true)
		}
		return state != pipeEmpty
	})
	if rerr == nil && !changed && state == pipeHasData { // the FIFO is full
		rerr = t.raw.Write(func(uintptr) bool {
			state = try()
			return state != pipeHasData
		})
	}
	switch {
	case rerr != nil: // interrupted
		return false
	case changed, state == pipeEmpty:
		return true
	case state == pipeEnded:
		return false
	case err != nil:
		o.noSplice = true // let write(2) find out what is wrong
		return true
	}
	o.in.Add(uint64(n))
	return n > 0
}

// pipeState is what an attempt to splice left.
type pipeState int

const (
	pipeMoved pipeState = iota // splice(2) did not say EAGAIN
	pipeEmpty                  // there are writers
	pipeHasData
	pipeEnded // empty and without writers
)

// lookAt asks the read end of a pipe (poll(2): POLLHUP may come with data).
func lookAt(fd int) pipeState {
	switch events := poll(fd, unix.POLLIN); {
	case events&unix.POLLIN != 0:
		return pipeHasData
	case events&unix.POLLHUP != 0:
		return pipeEnded
	}
	return pipeEmpty
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
