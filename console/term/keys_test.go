package term

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseKeys(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""}, {DefaultKeys, "\x10\x11"}, {"ctrl-@", "\x00"}, {"a,b", "ab"}, {"ctrl-a,z", "\x01z"},
		{`ctrl-[,ctrl-\,ctrl-],ctrl-^,ctrl-_`, "\x1b\x1c\x1d\x1e\x1f"}, {"CTRL-P,Q", "\x10Q"}, {"-", "-"},
	} {
		got, err := ParseKeys(c.text)
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{",", "a,", "ctrl-", "ctrl-pp", "ctrl-1", "ctrl- ", "ab", "é", "alt-x", "a, b", "ctrl-é"} {
		if got, err := ParseKeys(text); err == nil {
			t.Errorf("%q: accepted as %q", text, got)
		} else if !strings.Contains(err.Error(), text) {
			t.Errorf("%q: error %q does not name it", text, err)
		}
	}
}

// detachAt is the definition: the input up to the first occurrence of keys.
func detachAt(in, keys []byte) ([]byte, bool) {
	if len(keys) == 0 {
		return in, false
	}
	before, _, found := bytes.Cut(in, keys)
	return before, found
}

// scanSplit scans in, cut at random, to its end.
func scanSplit(in, keys []byte, r *rand.Rand) (out []byte, detached bool) {
	s := NewScanner(keys)
	for len(in) > 0 {
		n := 1 + r.IntN(len(in))
		if out, detached = s.Scan(out, in[:n]); detached {
			return out, true
		}
		in = in[n:]
	}
	return s.Flush(out), false
}

func TestScannerFindsTheFirstSequenceInAnySplit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		keys := letters(r, r.IntN(6))
		in := letters(r, r.IntN(40))
		want, found := detachAt(in, keys)
		if got, detached := scanSplit(in, keys, r); detached != found || !bytes.Equal(got, want) {
			t.Fatalf("keys %q, input %q: %q, %v; want %q, %v", keys, in, got, detached, want, found)
		}
	}
}

// letters makes text with many partial and overlapping matches.
func letters(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(2))
	}
	return b
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte("ls\r\x10\x10\x11rest"), []byte("\x10\x11"), uint64(1))
	f.Add([]byte("aaab"), []byte("aab"), uint64(2))
	f.Fuzz(func(t *testing.T, in, keys []byte, seed uint64) {
		want, found := detachAt(in, keys)
		got, detached := scanSplit(in, keys, rand.New(rand.NewPCG(seed, 0)))
		if detached != found || !bytes.Equal(got, want) {
			t.Fatalf("%q, %v; want %q, %v", got, detached, want, found)
		}
	})
}

func TestScannerStartsAnewAfterDetaching(t *testing.T) {
	s := NewScanner([]byte("xy"))
	if _, detached := s.Scan(nil, []byte("axyb")); !detached {
		t.Fatal("not detached")
	}
	if out, detached := s.Scan(nil, []byte("yb")); detached || string(out) != "yb" {
		t.Fatalf("%q, %v", out, detached)
	}
	var zero Scanner
	if out, detached := zero.Scan(nil, []byte("any\x10\x11")); detached || string(out) != "any\x10\x11" {
		t.Fatalf("zero: %q, %v", out, detached)
	}
}

func TestDetacher(t *testing.T) {
	keys, _ := ParseKeys(DefaultKeys)
	for _, c := range []struct {
		name, in, want string
		err            error
	}{
		{"keys", "ls\r\x10\x11never", "ls\r", ErrDetached},
		{"keys after a false start", "\x10\x10\x11", "\x10", ErrDetached},
		{"end within keys", "ls\x10", "ls\x10", nil},
		{"nothing", "", "", nil},
	} {
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in)),
			"data with error": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			d := NewDetacher(r, keys)
			got, err := io.ReadAll(iotest.OneByteReader(d))
			if string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, %s: %q, %v", c.name, how, got, err)
			}
			if _, again := d.Read(make([]byte, 1)); c.err != nil && !errors.Is(again, c.err) {
				t.Errorf("%s, %s: then %v", c.name, how, again)
			}
		}
	}
}
