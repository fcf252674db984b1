package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast/holdfast/proto/jsontext"
	"github.com/holdfast/holdfast/reaper"
)

// What a caller can decide by; everything else is text for people.
var (
	ErrNotExist    = errors.New("no such container")
	ErrExists      = errors.New("container exists already")
	ErrFinished    = errors.New("process already finished")
	ErrNoRuntime   = errors.New("no such program")
	ErrDeadline    = errors.New("no answer in time")
	ErrUnsupported = errors.New("not supported by this OCI runtime")
	ErrNoPidFile   = errors.New("the OCI runtime ended well but wrote no pid file")
	ErrProcessGone = errors.New("the process the OCI runtime made cannot be found")
)

// maxMessage bounds the text of an error, in bytes; a runtime may print
// anything.
const maxMessage = 2048

// Error is a call of the OCI runtime that failed.
type Error struct {
	Verb    string      // create, start, exec, ...
	Message string      // the last error in the runtime's log, or what it printed, or what became of it
	Exit    reaper.Exit // how the runtime ended; not Known if it did not start or does not die
	PID     int         // what it had written into the pid file, 0 if nothing; may be gone
	Err     error       // the cause, for errors.Is; may be nil

	CriuLog  string // path of criu's log, "" if there is none
	CriuTail string // its last lines
}

// Error implements error, in the words of containerd's own shim.
func (e *Error) Error() string { return "OCI runtime " + e.Verb + " failed: " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// deadlineError is ErrDeadline that knows how long was waited.
type deadlineError struct{ limit time.Duration }

func (e *deadlineError) Error() string {
	if e.limit == 0 {
		return "killed, because its caller's time was over"
	}
	return "killed, because it did not end within " + e.limit.String()
}

func (e *deadlineError) Is(target error) bool {
	return target == ErrDeadline || target == context.DeadlineExceeded
}

// explain makes the error of a runtime that ran and failed. cause is why it
// was killed, if it was.
func explain(verb, id string, exit reaper.Exit, cause error, log, output []byte) *Error {
	e := &Error{Verb: verb, Exit: exit, Err: cause}
	said := lastRecord(log)
	if said == "" {
		said = clip(string(bytes.TrimSpace(output)))
	}
	switch {
	case errors.Is(cause, context.Canceled):
		e.Message = "killed, because its caller went away"
	case cause != nil:
		e.Message = cause.Error()
	case said != "":
		e.Message = said
		e.Err = classify(id, said)
		return e
	default:
		e.Message = fate(exit)
	}
	if said != "" {
		e.Message += "; it said: " + said
	}
	if cause != nil && !exit.Known {
		e.Message += "; it is still there"
	}
	return e
}

func fate(exit reaper.Exit) string {
	switch {
	case !exit.Known:
		return "exit status unknown (" + exit.Reason + ") and no error reported"
	case exit.Signal() != 0:
		return fmt.Sprintf("killed by signal %d (%v) and no error reported", int(exit.Signal()), exit.Signal())
	}
	return "exit status " + strconv.Itoa(exit.Code()) + " and no error reported"
}

// words are what runtimes say and what it means: a message that has text, and
// also too, in lower case. The first match wins.
var words = []struct {
	text, also string
	err        error
}{
	{"already exists", "", ErrExists},                                           // runc, crun, youki
	{"does not exist", "", ErrNotExist},                                         // runc, crun >= 1.9
	{"/status`: no such file or directory", "", ErrNotExist},                    // crun
	{"cannot open directory '", "/%s': no such file or directory", ErrNotExist}, // crun delete; %s is the id
	{"container not running", "", ErrFinished},                                  // runc
	{"process already finished", "", ErrFinished},                               // Go's os package, in runc
	{"no such process", "", ErrFinished},                                        // ESRCH anywhere
	{"cannot exec in a stopped container", "", ErrFinished},                     // runc
	{"is not running", "", ErrFinished},                                         // crun: the container `x` is not running
	{"unknown command", "", ErrUnsupported},                                     // crun
	{"no help topic for", "", ErrUnsupported},                                   // runc
}

// classify returns what a message about the container id means, or nil.
func classify(id, message string) error {
	message = strings.ToLower(message)
	for _, w := range words {
		also := strings.ReplaceAll(w.also, "%s", strings.ToLower(id))
		if strings.Contains(message, w.text) && strings.Contains(message, also) {
			return w.err
		}
	}
	return nil
}

// ExecFailureCode is the exit status of a process that could not be started,
// as shells give it: 127 if its program was not found, 126 if it was but cannot
// be run (or its working directory cannot be entered), and 255 if it was
// something else.
func ExecFailureCode(err error) int {
	const notFound, notRun, other = 127, 126, 255
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Verb != "create" && e.Verb != "exec" && e.Verb != "start" {
		return other
	}
	message := strings.ToLower(e.Message)
	has := func(text string) bool { return strings.Contains(message, text) }
	switch {
	case has("chdir"):
		return notRun
	case !has(`exec: "`) && !has("exec /") && !has("executable"):
		return other
	case has("no such file or directory"), has("not found"):
		return notFound
	}
	return notRun
}

// lastRecord returns the message of the last error in a log of JSON records,
// one a line. Lines that are none are passed over; if there is no record at
// all, as with a runtime that knows only text, it is the last line.
func lastRecord(log []byte) string {
	var last string
	records := false
	for line := range bytes.Lines(log) {
		level, message, ok := record(line)
		if !ok {
			continue
		}
		records = true
		switch level {
		case "error", "fatal", "panic":
			last = message
		}
	}
	if !records {
		log = bytes.TrimSpace(log)
		last = string(bytes.TrimSpace(log[bytes.LastIndexByte(log, '\n')+1:]))
	}
	return clip(last)
}

// record reads one line of a log: {"level":…,"msg":…} as runc and crun write
// it, {"level":…,"fields":{"message":…}} as youki does.
func record(line []byte) (level, message string, ok bool) {
	raw, found := jsontext.Get(line, "level")
	if !found {
		return "", "", false
	}
	level, err := jsontext.String(raw)
	if err != nil {
		return "", "", false
	}
	raw, found = jsontext.Get(line, "msg")
	if !found {
		raw, found = jsontext.Get(line, "fields", "message")
	}
	if !found {
		return "", "", false
	}
	message, err = jsontext.String(raw)
	return strings.ToLower(level), strings.TrimSpace(message), err == nil
}

// clip bounds a text and makes it safe to print: valid UTF-8, no control
// characters but tab and newline.
func clip(s string) string {
	cut := len(s) > maxMessage
	if cut {
		s = s[:maxMessage]
		for !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && len(s) > maxMessage-utf8.UTFMax {
			s = s[:len(s)-1]
		}
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, s)
	if cut {
		s += "..."
	}
	return s
}

// quoteStart shows the beginning of an output that makes no sense.
func quoteStart(b []byte) string {
	const limit = 100
	if len(b) > limit {
		return strconv.Quote(string(b[:limit])) + "..."
	}
	return strconv.Quote(string(b))
}
