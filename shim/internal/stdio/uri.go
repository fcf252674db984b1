package stdio

import (
	"fmt"
	"strings"
)

// kind is what a stdio URI stands for.
type kind int

const (
	kindNull kind = iota
	kindPath      // a FIFO, or an existing file
	kindFile      // a file, created when missing
	kindAttach
)

// uri is a parsed stdio URI.
type uri struct {
	kind kind
	path string // absolute, for kindPath and kindFile
	cri  bool   // kindFile: lines in CRI format
}

// parseURI is total: every string is a uri or an error that names it.
func parseURI(s string) (uri, error) {
	if s == "" {
		return uri{}, nil
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return withPath(kindPath, s)
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	if hasQuery && scheme != "file" {
		return uri{}, fmt.Errorf("%s takes no parameters", scheme)
	}
	path, err := unescape(rest)
	if err != nil {
		return uri{}, err
	}
	switch scheme {
	case "null", "attach":
		if path != "" && path != "/" {
			return uri{}, fmt.Errorf("%s takes no path", scheme)
		}
		if scheme == "null" {
			return uri{}, nil
		}
		return uri{kind: kindAttach}, nil
	case "fifo":
		return withPath(kindPath, path)
	case "file":
		u, err := withPath(kindFile, path)
		if err == nil {
			u.cri, err = parseFormat(query)
		}
		return u, err
	}
	return uri{}, fmt.Errorf("unknown scheme %q", scheme)
}

func withPath(k kind, path string) (uri, error) {
	if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
		return uri{}, fmt.Errorf("not an absolute path: %q", path)
	}
	return uri{kind: k, path: path}, nil
}

// parseFormat reads the parameters of file://. An unknown one is an error
// rather than a log in a format nobody asked for.
func parseFormat(query string) (cri bool, err error) {
	for part := range strings.SplitSeq(query, "&") {
		switch part {
		case "", "format=raw":
			cri = false
		case "format=cri":
			cri = true
		default:
			return false, fmt.Errorf("unknown parameter %q", part)
		}
	}
	return cri, nil
}

// unescape undoes percent encoding (RFC 3986, 2.1). net/url would bring net.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if len(after) < 2 || !isHex(after[0]) || !isHex(after[1]) {
			return "", fmt.Errorf("bad escape in %q", s)
		}
		b.WriteByte(unhex(after[0])<<4 | unhex(after[1]))
		s = after[2:]
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
