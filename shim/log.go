package shim

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is the longest line, in bytes: PIPE_BUF of pipe(7), up to which a
// write to a FIFO is all or nothing.
const maxLine = 4096

// logger writes lines in the form that containerd and its tools know from other
// shims, one write(2) each, to a regular file or a nonblocking FIFO. A line that
// a full FIFO does not take is lost: nobody reads it, and we wait for nobody.
type logger struct {
	file  *os.File
	id    string
	debug bool
}

func newLogger(cfg Config) *logger {
	return &logger{file: cfg.Log, id: cfg.ID, debug: cfg.Debug}
}

func (l *logger) warnf(format string, args ...any) { l.write("warning", format, args) }

func (l *logger) debugf(format string, args ...any) {
	if l.debug {
		l.write("debug", format, args)
	}
}

func (l *logger) write(level, format string, args []any) {
	line := time.Now().UTC().AppendFormat([]byte(`time="`), time.RFC3339Nano)
	line = append(line, `" level=`+level+" msg="...)
	line = strconv.AppendQuote(line, fmt.Sprintf(format, args...))
	line = append(line, " id="+l.id+" runtime="+runtimeName+"\n"...)
	if len(line) > maxLine {
		line = append(line[:maxLine-1], '\n')
	}
	rc, err := l.file.SyscallConn() // not Write, which would wait for a FIFO's reader
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), line) })
}
