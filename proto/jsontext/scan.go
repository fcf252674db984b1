package jsontext

import (
	"strconv"
)

const (
	// MaxSize is the largest document accepted, in bytes. Specs come through
	// messages of at most 4 MiB; files get some room above that.
	MaxSize = 16 << 20

	// MaxDepth is how many objects and arrays may stand one in another. It
	// bounds the stack; an OCI spec needs 7.
	MaxDepth = 256
)

// SyntaxError says where a document stops being JSON.
type SyntaxError struct {
	Offset int    // bytes read before the offending one
	Reason string // what was wrong there
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return "parse JSON: " + e.Reason + " at byte " + strconv.Itoa(e.Offset)
}

// Valid returns nil if b is one JSON value, with blanks around it or not, and
// else a [*SyntaxError].
func Valid(b []byte) error {
	_, err := value(b)
	return err
}

// value returns the one value of a document without the blanks around it.
func value(b []byte) ([]byte, error) {
	if len(b) > MaxSize {
		return nil, &SyntaxError{MaxSize, "document too large"}
	}
	s := scanner{b: b}
	s.blanks()
	start := s.i
	if err := s.value(0); err != nil {
		return nil, err
	}
	end := s.i
	if s.blanks(); s.i < len(b) {
		return nil, s.fail("text after the value")
	}
	return b[start:end], nil
}

// A scanner stands at b[i] and moves only forward. Its methods leave i behind
// what they have accepted.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) fail(reason string) error {
	if s.i >= len(s.b) {
		reason = "document ends too early"
	}
	return &SyntaxError{s.i, reason}
}

// peek returns the byte the scanner stands at, or 0, which no rule accepts, at
// the end.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) accept(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) blanks() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// value accepts any value; depth counts the containers it stands in.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); c {
	case '{':
		return s.object(depth, nil)
	case '[':
		return s.array(depth, nil)
	case '"':
		return s.string()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return s.number()
		}
		return s.fail("no value")
	}
}

// object accepts an object and, if yield is given, hands it each member: the
// quoted key and the value. A yield that returns false ends the scan early.
func (s *scanner) object(depth int, yield func(key, val []byte) bool) error {
	if err := s.open('{', depth); err != nil {
		return err
	}
	if s.accept('}') {
		return nil
	}
	for {
		start := s.i
		if s.peek() != '"' {
			return s.fail("no member name")
		}
		if err := s.string(); err != nil {
			return err
		}
		key := s.b[start:s.i]
		if s.blanks(); !s.accept(':') {
			return s.fail("no colon after a member name")
		}
		s.blanks()
		start = s.i
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if yield != nil && !yield(key, s.b[start:s.i]) {
			return nil
		}
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

// array accepts an array and, if yield is given, hands it each element. A
// yield that returns false ends the scan early.
func (s *scanner) array(depth int, yield func(val []byte) bool) error {
	if err := s.open('[', depth); err != nil {
		return err
	}
	if s.accept(']') {
		return nil
	}
	for {
		start := s.i
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if yield != nil && !yield(s.b[start:s.i]) {
			return nil
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

func (s *scanner) open(c byte, depth int) error {
	if depth >= MaxDepth {
		return s.fail("values too deep")
	}
	if !s.accept(c) {
		return s.fail("no " + string(rune(c)))
	}
	s.blanks()
	return nil
}

// next accepts what may follow a member or element: a comma, or the end.
func (s *scanner) next(end byte) (done bool, err error) {
	s.blanks()
	if s.accept(end) {
		return true, nil
	}
	if !s.accept(',') {
		return false, s.fail("no comma")
	}
	s.blanks()
	return false, nil
}

func (s *scanner) word(w string) error {
	for j := range len(w) {
		if !s.accept(w[j]) {
			return s.fail("no value")
		}
	}
	return nil
}

func (s *scanner) string() error {
	s.i++ // the quote that brought us here
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c < ' ':
			return s.fail("control character in a string")
		case c == '\\':
			s.i++
			if err := s.escape(); err != nil {
				return err
			}
		default:
			s.i++
		}
	}
	return s.fail("")
}

// escape accepts what may follow a backslash. Halves of surrogate pairs are
// accepted here; String reads lone ones as U+FFFD, as encoding/json does.
func (s *scanner) escape() error {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		for range 4 {
			if !isHex(s.peek()) {
				return s.fail("bad \\u escape")
			}
			s.i++
		}
		return nil
	}
	return s.fail("unknown escape")
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (s *scanner) number() error {
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		return s.fail("bad number")
	}
	if s.accept('.') && !s.digits() {
		return s.fail("bad number")
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if !s.digits() {
			return s.fail("bad number")
		}
	}
	return nil
}

// digits accepts as many as there are and tells whether there was one.
func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}
