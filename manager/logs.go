package manager

import "time"

// LogsConfig chooses among the lines of a container's log.
type LogsConfig struct {
	Follow bool      // go on until the task has ended and all is read
	Since  time.Time // zero is the beginning
	Tail   int       // the last so many lines; 0 is all
	Stdout bool      // if neither is set, both
	Stderr bool
}

// LogLine is a line of a container's output.
type LogLine struct {
	Time    time.Time
	Stderr  bool   // else stdout
	Text    []byte // without the newline; valid until the next one is asked for
	Partial bool   // no newline followed: a long line goes on in the next one of this stream
}
