package bundle

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/holdfast/holdfast/proto/jsontext"
)

// version is the format of every record written by this package.
const version = 1

// ErrVersion is returned for a record of a format that this program does not
// know; it must be left as it is.
var ErrVersion = errors.New("record of an unknown version")

// reader picks members out of a record and remembers the first thing wrong, so
// that a decoder reads as the list of its members. A missing member is a zero
// value: records grow.
type reader struct {
	raw []byte
	err error
}

// open checks that raw is a record of a known version.
func open(kind string, raw []byte) (*reader, error) {
	if err := jsontext.Valid(raw); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	r := &reader{raw: raw}
	switch v := r.int("version"); {
	case r.err != nil:
		return nil, fmt.Errorf("decode %s: %w", kind, r.err)
	case v != version:
		return nil, fmt.Errorf("decode %s: version %d: %w", kind, v, ErrVersion)
	}
	return r, nil
}

// end returns the first error met, named for the kind of record.
func (r *reader) end(kind string) error {
	if r.err != nil {
		return fmt.Errorf("decode %s: %w", kind, r.err)
	}
	return nil
}

// member reads one member with get, unless it is missing or null.
func member[T any](r *reader, key string, get func([]byte) (T, error)) T {
	var zero T
	raw, ok := jsontext.Get(r.raw, key)
	if !ok || string(raw) == "null" {
		return zero
	}
	v, err := get(raw)
	if err != nil {
		if r.err == nil {
			r.err = fmt.Errorf("member %s: %w", key, err)
		}
		return zero
	}
	return v
}

func (r *reader) int(key string) int64      { return member(r, key, jsontext.Int) }
func (r *reader) uint(key string) uint64    { return member(r, key, jsontext.Uint) }
func (r *reader) uint32(key string) uint32  { return member(r, key, narrow) }
func (r *reader) str(key string) string     { return member(r, key, jsontext.String) }
func (r *reader) strs(key string) []string  { return member(r, key, jsontext.Strings) }
func (r *reader) bool(key string) bool      { return member(r, key, jsontext.Bool) }
func (r *reader) time(key string) time.Time { return member(r, key, parseTime) }
func (r *reader) object(key string) *reader { return member(r, key, subObject) }

// narrow refuses a number of which only a part would be kept.
func narrow(raw []byte) (uint32, error) {
	n, err := jsontext.Uint(raw)
	if err == nil && n > math.MaxUint32 {
		err = fmt.Errorf("%d is too large", n)
	}
	return uint32(n), err
}

func subObject(raw []byte) (*reader, error) {
	if raw[0] != '{' {
		return nil, jsontext.ErrType
	}
	return &reader{raw: raw}, nil
}

func parseTime(raw []byte) (time.Time, error) {
	s, err := jsontext.String(raw)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, s)
}

// formatTime is "" for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
