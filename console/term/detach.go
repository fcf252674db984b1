package term

import (
	"errors"
	"io"
)

// ErrDetached is returned by a Detacher once the keys were typed.
var ErrDetached = errors.New("detached by key sequence")

// Scanner finds the detach keys in what the user types, however the input is
// cut into reads. The beginning of a sequence is held back until it is clear
// whether it goes on; if not, it is passed on after all. The zero Scanner
// passes everything on.
type Scanner struct {
	keys []byte
	// border[n] is how many of the first n keys, fewer than n, are also
	// the last of them: where a match of n goes on when the next key differs.
	border  []int
	matched int
}

// NewScanner returns a Scanner for the keys, of which none means never. They are copied.
func NewScanner(keys []byte) *Scanner {
	s := &Scanner{keys: append([]byte(nil), keys...), border: make([]int, len(keys)+1)}
	for n, k := 2, 0; n <= len(keys); n++ {
		for k > 0 && keys[k] != keys[n-1] {
			k = s.border[k]
		}
		if keys[k] == keys[n-1] {
			k++
		}
		s.border[n] = k
	}
	return s
}

// Scan appends to dst what of in the container shall get. When detached, in
// ended the sequence; what follows in it is dropped, as are the keys, and the
// Scanner starts anew.
func (s *Scanner) Scan(dst, in []byte) (out []byte, detached bool) {
	if len(s.keys) == 0 {
		return append(dst, in...), false
	}
	for _, b := range in {
		for s.matched > 0 && s.keys[s.matched] != b {
			shorter := s.border[s.matched]
			dst = append(dst, s.keys[:s.matched-shorter]...)
			s.matched = shorter
		}
		if s.keys[s.matched] != b {
			dst = append(dst, b)
			continue
		}
		if s.matched++; s.matched == len(s.keys) {
			s.matched = 0
			return dst, true
		}
	}
	return dst, false
}

// Flush appends what is held back: the input ends here.
func (s *Scanner) Flush(dst []byte) []byte {
	dst = append(dst, s.keys[:s.matched]...)
	s.matched = 0
	return dst
}

// Detacher is a reader of the user's input which swallows the detach keys.
type Detacher struct {
	r       io.Reader
	scanner *Scanner
	buf     [1024]byte
	ready   []byte // scanned, not yet returned
	err     error  // to return when ready is empty
}

// NewDetacher returns a Detacher that reads r. When the keys were read, all that came
// before them is returned and then ErrDetached, for ever.
func NewDetacher(r io.Reader, keys []byte) *Detacher {
	return &Detacher{r: r, scanner: NewScanner(keys)}
}

// Read is io.Reader's. It returns ErrDetached after the detach keys. At r's end
// or error it first returns what was held back.
func (d *Detacher) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(d.ready) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.r.Read(d.buf[:])
		d.err = err
		var detached bool
		if d.ready, detached = d.scanner.Scan(d.ready[:0], d.buf[:n]); detached {
			d.err = ErrDetached
		} else if err != nil {
			d.ready = d.scanner.Flush(d.ready)
		}
	}
	n := copy(p, d.ready)
	d.ready = d.ready[n:]
	return n, nil
}
