package stdio

// A sink takes the bytes of one stream to where its URI says. All calls come
// from that stream's pump, one at a time, except interrupt. To add one (journal,
// logger process, rotated files), implement this and teach openSink its URI.
type sink interface {
	// write takes all of b, which it borrows, and waits as long as that takes.
	// It returns how many bytes are lost for good. The next write may succeed.
	write(b []byte) (lost int)
	// pause says that the stream has nothing more for now: a sink must not
	// hold bytes or memory across it. Returns bytes lost, as write.
	pause() (lost int)
	// end is EOF, or the end by force; called once, last.
	end() (lost int)
	// splice is the pipe that bytes may be spliced into, or nil.
	splice() *target
}

// rawSink writes the bytes as they are.
type rawSink struct {
	target *target
	shared bool // with the other stream: whole buffers, hence no splicing
}

func (r *rawSink) write(b []byte) int {
	lost, _ := r.target.write(b)
	return lost
}

func (r *rawSink) pause() int { return 0 }

func (r *rawSink) end() int {
	r.target.end()
	return 0
}

func (r *rawSink) splice() *target {
	if r.shared || r.target.keep < 0 {
		return nil
	}
	return r.target
}
