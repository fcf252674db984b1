package stdio

import (
	"bytes"
	"time"
)

// criLine is the most text in one record: the kubelet's and containerd's
// limit for a line. Longer lines are continued in further records.
const criLine = 16 << 10

// criSink writes the log format of the kubelet's container runtime interface:
//
//	2026-01-02T03:04:05.678901234Z stdout F text\n
//
// F is a full line or its last part, P a part that the next record of the same
// stream continues. Time is UTC, when the bytes were read.
//
// A line that the process has not finished when it pauses (a prompt, a
// progress bar) is written at once as P: it is visible, and no kill of the
// shim can lose it. An unfinished last line gets its F at EOF, so the log is
// whole lines always; that newline is the only byte added.
//
// Records go out in batches of whole records with one write(2) each, so two
// streams, or two processes, may append to one file.
type criSink struct {
	target *target
	stream string // "stdout" or "stderr"
	now    func() time.Time

	part  []byte // text of the line begun and not written, at most criLine
	begun bool   // the last record made was a P
	out   []byte // records of this batch, in a buffer held until pause
	text  int    // bytes of the stream in out
	torn  bool   // the last write broke off inside a record
}

func (c *criSink) write(b []byte) (lost int) {
	at := c.now().UTC()
	for len(b) > 0 {
		text, rest, full := bytes.Cut(b, newline)
		if room := criLine - len(c.part); len(text) > room {
			text, rest, full = b[:room], b[room:], false
		}
		switch {
		case full:
			lost += c.record(at, 'F', text)
		case len(rest) > 0: // as long as a record may be
			lost += c.record(at, 'P', text)
		default: // the end of b, which may be continued
			c.part = append(c.part, text...)
		}
		b = rest
	}
	return lost + c.flush()
}

var newline = []byte{'\n'}

// recordOverhead is more than a record has beside its text.
const recordOverhead = 64

// record adds one record, of the pending part and text, to the batch.
func (c *criSink) record(at time.Time, tag byte, text []byte) (lost int) {
	if c.out == nil {
		c.out = takeBuffer()[:0]
	}
	if len(c.out)+len(c.part)+len(text)+recordOverhead > cap(c.out) {
		lost = c.flush()
	}
	if c.torn && len(c.out) == 0 {
		c.out = append(c.out, '\n') // so that one record is damaged and not two
	}
	c.out = at.AppendFormat(c.out, time.RFC3339Nano)
	c.out = append(c.out, ' ')
	c.out = append(c.out, c.stream...)
	c.out = append(c.out, ' ', tag, ' ')
	c.out = append(c.out, c.part...)
	c.out = append(c.out, text...)
	c.out = append(c.out, '\n')
	c.text += len(c.part) + len(text)
	c.part = c.part[:0]
	c.begun = tag == 'P'
	return lost
}

// flush writes the batch. Of a batch that was written in part, the bytes of
// the stream that are lost are not known exactly; it counts the most it can be.
func (c *criSink) flush() (lost int) {
	if len(c.out) == 0 {
		return 0
	}
	n, _ := c.target.write(c.out)
	switch {
	case n == 0:
		c.torn = false
	case n < len(c.out):
		c.torn = true
	}
	lost = min(n, c.text)
	c.out, c.text = c.out[:0], 0
	return lost
}

func (c *criSink) pause() (lost int) {
	if len(c.part) > 0 {
		lost = c.record(c.now().UTC(), 'P', nil) + c.flush()
	}
	c.drop()
	return lost
}

func (c *criSink) end() (lost int) {
	if len(c.part) > 0 || c.begun {
		lost = c.record(c.now().UTC(), 'F', nil) + c.flush()
	}
	c.drop()
	c.target.end()
	return lost
}

// drop gives memory back. A short part is cheaper kept than made again.
func (c *criSink) drop() {
	returnBuffer(c.out)
	c.out = nil
	if cap(c.part) > recordOverhead*16 {
		c.part = nil
	}
}

func (c *criSink) splice() *target { return nil }
