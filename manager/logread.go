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

	f    *os.File // nil until there is one
	rest []byte   // of a line whose end is not written yet
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
	chunk := make([]byte, 64<<10)
	for {
		n, err := r.f.Read(chunk)
		r.rest = append(r.rest, chunk[:n]...)
		for {
			end := bytes.IndexByte(r.rest, '\n')
			if end < 0 {
				break
			}
			line := r.rest[:end]
			r.rest = r.rest[end+1:]
			if l, ok := r.parse(line); ok && !r.yield(l) {
				return errStop
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
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

// tailChunk is how much is read at a time, backwards, to find the last lines.
const tailChunk = 64 << 10

// tail skips to the last cfg.Tail wanted lines.
func (r *logReader) tail() error {
	if err := r.open(); err != nil || r.f == nil || r.cfg.Tail <= 0 {
		return err
	}
	size, err := r.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	found, last := 0, true
	var after []byte            // the beginning of the line that chunk ends in
	for end := size; end > 0; { // chunk and after are the file from start on, but for what was counted
		start := max(0, end-tailChunk)
		chunk := make([]byte, end-start, int(end-start)+len(after))
		if _, err := r.f.ReadAt(chunk, start); err != nil {
			return err
		}
		chunk = append(chunk, after...)
		for {
			i := bytes.LastIndexByte(chunk, '\n')
			if i < 0 {
				break
			}
			_, ok := r.parse(chunk[i+1:])
			behind := last && i == len(chunk)-1 // the file's last newline, no line follows
			last = false
			if ok && !behind {
				if found++; found == r.cfg.Tail {
					_, err := r.f.Seek(start+int64(i)+1, io.SeekStart)
					return err
				}
			}
			chunk = chunk[:i]
		}
		after, end = chunk, start
	}
	_, err = r.f.Seek(0, io.SeekStart)
	return err
}
