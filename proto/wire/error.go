package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Error is an error with a code. Handlers return it to choose what the caller
// sees; callers get it for every error that the other side answered with, as
// opposed to not having answered.
type Error struct {
	// Code is not OK.
	Code Code
	// Message is for a person, without the name of the code.
	Message string
}

// Error returns the message, or the name of the code where there is none.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Message
}

// Is makes errors.Is find an Error by its code: a target without a message
// matches every Error of its code. DeadlineExceeded and Canceled match the
// errors of package context too, because whether the two ends of a call or
// only one noticed its end is a race.
func (e *Error) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		return e.Code == DeadlineExceeded
	case context.Canceled:
		return e.Code == Canceled
	}
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// Errorf returns an Error with a formatted message. It wraps nothing: what
// crosses the wire is text.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code to put on the wire for err: OK for nil, that of an
// Error anywhere in its chain, otherwise what ttrpc's own library makes of
// errors of the standard library, and Unknown for the rest.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	switch {
	case errors.Is(err, io.EOF):
		return OutOfRange
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, fs.ErrExist):
		return AlreadyExists
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrPermission):
		return PermissionDenied
	}
	return Unknown
}

// StatusOf returns err as it goes into a Response: nil for nil, else the code
// of CodeOf and err's whole text.
func StatusOf(err error) *Status {
	if err == nil {
		return nil
	}
	return &Status{Code: int32(CodeOf(err)), Message: err.Error()}
}

// Err returns what a Status says as an error, nil when it says OK or is
// missing.
func (m *Status) Err() error {
	if m == nil || m.Code == int32(OK) {
		return nil
	}
	return &Error{Code: Code(m.Code), Message: m.Message}
}
