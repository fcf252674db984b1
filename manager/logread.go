package manager

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// logReader reads a log as it grows and passes on the lines that are wanted.
type logReader struct {
	path  string
	cri   bool
	cfg   LogsConfig
	yield func(LogLine) bool

	lineReader // its file is nil until there is one
}

// open opens the log; a log that is missing stays nil.
func (r *logReader) open() error {
	if r.f != nil {
		return nil
	}
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	r.f = f
	return err
}

// Close closes the log.
func (r *logReader) Close() {
	if r.f != nil {
		r.f.Close()
	}
}

// read passes on what was added since the last call.
func (r *logReader) read(ctx context.Context) error {
	if err := r.open(); err != nil || r.f == nil {
		return err
	}
	return r.lineReader.read(func(line []byte) error {
		if l, ok := r.parse(line); ok && !r.yield(l) {
			return errStop
		}
		return ctx.Err()
	})
}

// flush passes on a last line without a newline, which a raw log may end with.
func (r *logReader) flush() error {
	if r.cri || len(r.rest) == 0 {
		return nil
	}
	l, ok := r.parse(r.rest)
	l.Partial = true
	if ok && !r.yield(l) {
		return errStop
	}
	return nil
}

// parse reads one line, and says whether it is wanted.
func (r *logReader) parse(line []byte) (LogLine, bool) {
	l := LogLine{Text: line}
	if r.cri {
		var ok bool
		if l, ok = parseCRI(line); !ok { // torn, or not ours
			return l, false
		}
	}
	both := r.cfg.Stdout == r.cfg.Stderr
	wanted := both || l.Stderr == r.cfg.Stderr
	return l, wanted && !l.Time.Before(r.cfg.Since)
}

// parseCRI reads "TIME stdout|stderr F|P TEXT", as the kubelet does.
func parseCRI(line []byte) (LogLine, bool) {
	stamp, rest, ok1 := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	t, err := time.Parse(time.RFC3339Nano, string(stamp))
	if !ok1 || !ok2 || !ok3 || err != nil {
		return LogLine{}, false
	}
	stderr := string(stream) == "stderr"
	if !stderr && string(stream) != "stdout" {
		return LogLine{}, false
	}
	tag, _, _ = bytes.Cut(tag, []byte(":")) // further tags may follow
	return LogLine{Time: t, Stderr: stderr, Text: text, Partial: string(tag) == "P"}, true
}

// tail skips to the last cfg.Tail wanted lines. A long line is several records,
// all but the last of them partial.
func (r *logReader) tail() error {
	if err := r.open(); err != nil || r.f == nil || r.cfg.Tail <= 0 {
		return err
	}
	found, from := 0, int64(0)
	var begun [2]bool // of stdout, stderr: a line was found that may begin further up
	err := backwards(r.f, func(at int64, record []byte) bool {
		l, ok := r.parse(record)
		stream := 0
		if l.Stderr {
			stream = 1
		}
		if ok && !(l.Partial && begun[stream]) {
			if found == r.cfg.Tail {
				return false
			}
			found, begun[stream] = found+1, true
		}
		from = at
		return true
	})
	if err != nil {
		return err
	}
	_, err = r.f.Seek(from, io.SeekStart)
	return err
}
