package jsontext

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Object iterates over the members of the object raw, in the order of the
// document: names with their escapes resolved, values as they stand. It stops
// at the first thing that is no JSON, and yields nothing if raw is no object;
// who must know the difference calls [Valid] first.
func Object(raw []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		members(raw, func(key, val []byte) bool {
			return yield(unquote(key), val)
		})
	}
}

// Array iterates over the elements of the array raw. It stops at the first
// thing that is no JSON, and yields nothing if raw is no array.
func Array(raw []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if len(raw) > MaxSize {
			return
		}
		s := scanner{b: raw}
		s.blanks()
		_ = s.array(0, yield) // documented: the first error is the end
	}
}

func members(raw []byte, yield func(key, val []byte) bool) error {
	if len(raw) > MaxSize {
		return &SyntaxError{MaxSize, "document too large"}
	}
	s := scanner{b: raw}
	s.blanks()
	return s.object(0, yield)
}

// Get follows the names of path through nested objects and returns the value
// at its end. Of several members of one name the last counts. An empty path is
// raw itself. It returns false if a name is missing, a value on the way is no
// object, or an object on the way is not valid JSON.
func Get(raw []byte, path ...string) ([]byte, bool) {
	raw, err := value(raw)
	if err != nil {
		return nil, false
	}
	for _, name := range path {
		var found []byte
		err := members(raw, func(key, val []byte) bool {
			if keyIs(key, name) {
				found = val
			}
			return true
		})
		if err != nil || found == nil {
			return nil, false
		}
		raw = found
	}
	return raw, true
}

// keyIs compares a quoted key with a name, without allocating for plain ones.
func keyIs(key []byte, name string) bool {
	plain := key[1 : len(key)-1]
	return string(plain) == name && isPlain(plain) || !isPlain(plain) && unquote(key) == name
}

// isPlain tells whether the inside of a string stands for itself.
func isPlain(b []byte) bool {
	for i := 0; i < len(b); {
		if b[i] == '\\' {
			return false
		}
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return false
		}
		i += n
	}
	return true
}

// ErrType is the cause when a value is valid JSON but not of the kind asked
// for.
var ErrType = errors.New("value of another type")

func typeError(want string, raw []byte) error {
	return fmt.Errorf("read JSON %s from %s: %w", want, excerpt(raw), ErrType)
}

// excerpt bounds what of a foreign document gets into an error text.
func excerpt(raw []byte) string {
	const limit = 40
	if len(raw) > limit {
		return strconv.Quote(string(raw[:limit])) + "..."
	}
	return strconv.Quote(string(raw))
}

// String returns the text of the string raw. Invalid UTF-8 and lone surrogates
// come out as U+FFFD.
func String(raw []byte) (string, error) {
	v, err := value(raw)
	if err != nil {
		return "", err
	}
	if v[0] != '"' {
		return "", typeError("string", v)
	}
	return unquote(v), nil
}

// Strings returns the texts of the array of strings raw; null is none of them.
func Strings(raw []byte) ([]string, error) {
	v, err := value(raw)
	if err != nil {
		return nil, err
	}
	if string(v) == "null" {
		return nil, nil
	}
	if v[0] != '[' {
		return nil, typeError("array", v)
	}
	list := []string{}
	for elem := range Array(v) {
		if elem[0] != '"' {
			return nil, typeError("string", elem)
		}
		list = append(list, unquote(elem))
	}
	return list, nil
}

// Int returns the number raw if it is written as an integer (no fraction, no
// exponent) and fits.
func Int(raw []byte) (int64, error) {
	v, err := value(raw)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, typeError("integer", v)
	}
	return n, nil
}

// Uint is [Int] for numbers from 0 to 2^64-1.
func Uint(raw []byte) (uint64, error) {
	v, err := value(raw)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		return 0, typeError("unsigned integer", v)
	}
	return n, nil
}

// Bool returns the truth value raw.
func Bool(raw []byte) (bool, error) {
	v, err := value(raw)
	if err != nil {
		return false, err
	}
	switch string(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, typeError("boolean", v)
}

// unquote resolves a string that the scanner has accepted, quotes included.
func unquote(q []byte) string {
	in := q[1 : len(q)-1]
	if isPlain(in) {
		return string(in)
	}
	out := make([]byte, 0, len(in)+2*utf8.UTFMax)
	for i := 0; i < len(in); {
		switch c := in[i]; {
		case c == '\\':
			r, n := unescape(in[i:])
			out = utf8.AppendRune(out, r)
			i += n
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(in[i:])
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	return string(out)
}

// unescape reads one escape, or the two of a surrogate pair, from the start of
// b and returns the character and how many bytes stood for it.
func unescape(b []byte) (rune, int) {
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := hex4(b[2:])
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if pair := utf16.DecodeRune(r, hex4(b[8:])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return rune(b[1]), 2 // quote, backslash and slash stand for themselves
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
