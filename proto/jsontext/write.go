package jsontext

import (
	"strconv"
	"unicode/utf8"
)

// Set returns a copy of the object raw in which the member key has the given
// value: the last member of that name is replaced where it stands, or, if there
// is none, one is appended. Everything else stays byte for byte. It fails if
// raw is no object or either is not valid JSON; neither is changed.
func Set(raw []byte, key string, val []byte) ([]byte, error) {
	obj, err := value(raw)
	if err != nil {
		return nil, err
	}
	if obj[0] != '{' {
		return nil, typeError("object", obj)
	}
	if val, err = value(val); err != nil {
		return nil, err
	}
	// Slices of obj keep its capacity, which gives their offset in it.
	start, end, count := 0, 0, 0
	err = members(obj, func(k, v []byte) bool {
		count++
		if keyIs(k, key) {
			start = cap(obj) - cap(v)
			end = start + len(v)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(obj)+len(key)+len(val)+8)
	if end > 0 {
		out = append(append(out, obj[:start]...), val...)
		return append(out, obj[end:]...), nil
	}
	out = append(out, obj[:len(obj)-1]...)
	if count > 0 {
		out = append(out, ',')
	}
	out = append(AppendString(out, key), ':')
	return append(append(out, val...), '}'), nil
}

// AppendString appends s as a JSON string, quotes included. Bytes that are not
// UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c < ' ' {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}

// A Builder writes one object, member by member; the zero value is the empty
// object. It does not look for names given twice.
//
//	var b jsontext.Builder
//	b.String("id", id).Int("pid", pid)
//	os.WriteFile(name, b.Bytes(), 0o600)
type Builder struct {
	buf []byte
}

// firstSize is room for most records of this project. Growing by doubling would
// leave a trail of buffers of every size.
const firstSize = 1 << 10

func (b *Builder) key(key string) {
	switch last := len(b.buf) - 1; {
	case last < 0:
		b.buf = append(make([]byte, 0, firstSize), '{')
	case b.buf[last] != '{': // which no value ends in
		b.buf = append(b.buf, ',')
	}
	b.buf = append(AppendString(b.buf, key), ':')
}

// String adds a string.
func (b *Builder) String(key, s string) *Builder {
	b.key(key)
	b.buf = AppendString(b.buf, s)
	return b
}

// Strings adds an array of strings; nil is the empty array.
func (b *Builder) Strings(key string, list []string) *Builder {
	b.key(key)
	b.buf = append(b.buf, '[')
	for i, s := range list {
		if i > 0 {
			b.buf = append(b.buf, ',')
		}
		b.buf = AppendString(b.buf, s)
	}
	b.buf = append(b.buf, ']')
	return b
}

// Int adds a number.
func (b *Builder) Int(key string, n int64) *Builder {
	b.key(key)
	b.buf = strconv.AppendInt(b.buf, n, 10)
	return b
}

// Uint adds a number.
func (b *Builder) Uint(key string, n uint64) *Builder {
	b.key(key)
	b.buf = strconv.AppendUint(b.buf, n, 10)
	return b
}

// Bool adds a truth value.
func (b *Builder) Bool(key string, v bool) *Builder {
	b.key(key)
	b.buf = strconv.AppendBool(b.buf, v)
	return b
}

// Object adds an object, whose members are those that fill adds.
func (b *Builder) Object(key string, fill func(*Builder)) *Builder {
	b.key(key)
	b.buf = append(b.buf, '{')
	fill(b)
	b.buf = append(b.buf, '}')
	return b
}

// Bytes returns the object, which is the caller's, and leaves the Builder empty.
func (b *Builder) Bytes() []byte {
	out := b.buf
	b.buf = nil
	if len(out) == 0 {
		return []byte("{}")
	}
	return append(out, '}')
}
