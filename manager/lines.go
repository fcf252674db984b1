package manager

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// lineReader reads a file that others append to, line by line.
type lineReader struct {
	f    *os.File
	rest []byte // of a line whose end is not written yet
}

// read passes every line that was completed since the last call to take, without
// its newline; it is valid until take returns. The first error of take ends it.
func (r *lineReader) read(take func(line []byte) error) error {
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
			if err := take(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tailChunk is how much backwards reads at a time, in bytes.
const tailChunk = 64 << 10

// backwards passes the lines of a file, the last one first, to visit with the
// offsets of their beginnings, until that returns false. Nothing behind the last
// newline is no line.
func backwards(f *os.File, visit func(at int64, line []byte) bool) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var after []byte // the beginning of the line that the next chunk ends in
	for first := true; end > 0; {
		start := max(0, end-tailChunk)
		chunk := make([]byte, end-start, int(end-start)+len(after))
		if _, err := f.ReadAt(chunk, start); err != nil {
			return err
		}
		chunk = append(chunk, after...)
		for {
			i := bytes.LastIndexByte(chunk, '\n')
			if i < 0 && start > 0 {
				break
			}
			line := chunk[i+1:]
			if !(first && len(line) == 0) && !visit(start+int64(i)+1, line) || i < 0 {
				return nil
			}
			first, chunk = false, chunk[:i]
		}
		after, end = chunk, start
	}
	return nil
}
