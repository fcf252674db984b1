package cgroup

import (
	"bytes"
	"iter"
	"math"

	"golang.org/x/sys/unix"
)

// limitFile bounds what is read of one file; io.stat of a host with thousands
// of disks is some hundred KiB.
const limitFile = 4 << 20

// reader reads the small files of one directory into one buffer.
type reader struct {
	dirfd int // -1 if the directory is gone: then no file is there
	buf   []byte
}

// open opens a directory for reading its files. The caller calls close.
func open(dir string) *reader {
	r := &reader{dirfd: -1, buf: make([]byte, 8<<10)}
	r.turn(dir)
	return r
}

// turn closes the directory and opens another, keeping the buffer.
func (r *reader) turn(dir string) {
	r.close()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		r.dirfd = fd
	}
}

func (r *reader) close() {
	if r.dirfd >= 0 {
		unix.Close(r.dirfd)
		r.dirfd = -1
	}
}

// read returns what is in a file, valid until the next read; nil if it is
// missing or cannot be read.
func (r *reader) read(name string) []byte {
	if r.dirfd < 0 {
		return nil
	}
	fd, err := unix.Openat(r.dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n := 0
	for {
		m, err := unix.Read(fd, r.buf[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil
		case m == 0:
			return r.buf[:n:n]
		}
		n += m
		if n == len(r.buf) {
			if n >= limitFile {
				return nil
			}
			r.buf = append(r.buf, make([]byte, n)...)
		}
	}
}

// value reads a file that holds one number.
func (r *reader) value(name string) uint64 { return number(r.read(name)) }

// number parses a decimal number with white space around it. "max" is 2^64-1,
// as is what does not fit; what is no number is 0, and so is the -1 of v1 files
// that have no value.
func number(b []byte) uint64 {
	b = bytes.TrimSpace(b)
	if string(b) == "max" {
		return math.MaxUint64
	}
	if len(b) == 0 {
		return 0
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if c < '0' || c > '9' {
			return 0
		}
		if n > (math.MaxUint64-d)/10 {
			return math.MaxUint64
		}
		n = n*10 + d
	}
	return n
}

// lines yields the lines without their ends.
func lines(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			line, rest, _ := bytes.Cut(b, []byte{'\n'})
			b = rest
			if !yield(line) {
				return
			}
		}
	}
}

// pairs yields the lines of a file "key value"; others are passed over.
func pairs(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for line := range lines(b) {
			key, value, ok := bytes.Cut(line, []byte{' '})
			if ok && len(key) > 0 && !yield(key, value) {
				return
			}
		}
	}
}

// nested yields the key=value fields of a line "NAME key=value key=value".
func nested(line []byte) (name []byte, fields iter.Seq2[[]byte, []byte]) {
	name, rest, _ := bytes.Cut(line, []byte{' '})
	return name, func(yield func(key, value []byte) bool) {
		for f := range bytes.FieldsSeq(rest) {
			key, value, ok := bytes.Cut(f, []byte{'='})
			if ok && !yield(key, value) {
				return
			}
		}
	}
}

// device parses MAJOR:MINOR.
func device(b []byte) (major, minor uint64, ok bool) {
	a, i, ok := bytes.Cut(b, []byte{':'})
	if !ok || !isDigits(a) || !isDigits(i) {
		return 0, 0, false
	}
	return number(a), number(i), true
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
