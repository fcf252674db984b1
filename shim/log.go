package shim

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// logger writes lines in the form that containerd and its tools know from other
// shims, one write(2) each, to a descriptor that never blocks us: a regular file,
// or a FIFO opened nonblocking.
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
	line := time.Now().AppendFormat([]byte(`time="`), time.RFC3339Nano)
	line = append(line, `" level=`+level+" msg="...)
	line = strconv.AppendQuote(line, fmt.Sprintf(format, args...))
	line = append(line, " id="+l.id+" runtime="+runtimeName+"\n"...)
	_, _ = l.file.Write(line) // who does not read our log cannot be told about it either
}
