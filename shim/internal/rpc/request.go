package rpc

import (
	"errors"
	"unsafe"
)

// request is a wire.Request decoded in place: its strings and bytes are those
// of the frame, so decoding allocates nothing.
type request struct {
	service     string
	name        string
	payload     []byte
	timeout     int64 // ns; 0 for none
	hasMetadata bool
}

const maxField = 1<<29 - 1

var (
	errTruncated = errors.New("unexpected end")
	errVarint    = errors.New("varint overflow")
	errField     = errors.New("illegal tag")
)

// decodeRequest decodes data, which must not change as long as the request is
// used. As everywhere in protobuf, the last one of a repeated single field
// counts and unknown fields are skipped. Unlike wire.Request it refuses groups
// and numbers that no field can have, and looks at metadata only if asked.
func decodeRequest(data []byte) (r request, err error) {
	for len(data) > 0 {
		tag, rest, err := uvarint(data)
		if err != nil {
			return request{}, err
		}
		field, kind := tag>>3, tag&7
		var value []byte
		var number uint64
		switch kind {
		case 0:
			number, rest, err = uvarint(rest)
		case 2:
			value, rest, err = lengthDelimited(rest)
		default:
			rest, err = skip(rest, kind)
		}
		if err != nil {
			return request{}, err
		}
		data = rest
		if err := r.set(field, kind, number, value); err != nil {
			return request{}, err
		}
	}
	return r, nil
}

// set stores one field. A known field of another kind than it has is refused.
func (r *request) set(field, kind, number uint64, value []byte) error {
	want := uint64(2)
	switch field {
	case 1:
		r.service = textOf(value)
	case 2:
		r.name = textOf(value)
	case 3:
		r.payload = value
	case 4:
		want = 0
		r.timeout = int64(number)
	case 5:
		r.hasMetadata = true
	default:
		if field == 0 || field > maxField {
			return errField
		}
		return nil
	}
	if kind != want {
		return errField
	}
	return nil
}

// textOf is b as a string without a copy; b never changes.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func uvarint(b []byte) (uint64, []byte, error) {
	var v uint64
	for i, c := range b {
		if i == 10 {
			return 0, nil, errVarint
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, errTruncated
}

func lengthDelimited(b []byte) (value, rest []byte, err error) {
	n, b, err := uvarint(b)
	if err != nil {
		return nil, nil, err
	}
	if n > uint64(len(b)) {
		return nil, nil, errTruncated
	}
	return b[:n:n], b[n:], nil
}

// skip skips the value of an unknown field of a kind that no known one has.
func skip(b []byte, kind uint64) ([]byte, error) {
	n := 0
	switch kind {
	case 1:
		n = 8
	case 5:
		n = 4
	default: // groups are older than ttrpc
		return nil, errField
	}
	if len(b) < n {
		return nil, errTruncated
	}
	return b[n:], nil
}
