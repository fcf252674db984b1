package stdio

import (
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		text string
		want uri
	}{
		{"", uri{}}, {"null://", uri{}}, {"null:///", uri{}},
		{"/run/x", uri{kind: kindPath, path: "/run/x"}},
		{"/run/100%", uri{kind: kindPath, path: "/run/100%"}}, // a path is no URI
		{"/run/a?b", uri{kind: kindPath, path: "/run/a?b"}},
		{"fifo:///run/x", uri{kind: kindPath, path: "/run/x"}},
		{"file:///var/log/x", uri{kind: kindFile, path: "/var/log/x"}},
		{"file:///x?format=raw", uri{kind: kindFile, path: "/x"}},
		{"file:///x?format=cri", uri{kind: kindFile, path: "/x", cri: true}},
		{"file:///a%20b%2fc%3F", uri{kind: kindFile, path: "/a b/c?"}},
		{"attach://", uri{kind: kindAttach}},
	} {
		if got, err := parseURI(c.text); err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for text, want := range map[string]string{
		"binary:///bin/logger":     `unknown scheme "binary"`,
		"journald://":              `unknown scheme "journald"`,
		"x":                        "not an absolute path",
		"file://host/x":            "not an absolute path",
		"fifo://":                  "not an absolute path",
		"fifo:///x?a":              "takes no parameters",
		"file:///x?format=json":    `unknown parameter "format=json"`,
		"file:///x?formta=cri":     `unknown parameter "formta=cri"`,
		"file:///a%2":              "bad escape",
		"file:///a%zz":             "bad escape",
		"file:///a%00":             "not an absolute path",
		"attach:///somewhere":      "takes no path",
		"/a\x00b":                  "not an absolute path",
		"file:///x?format=cri&a=b": `unknown parameter "a=b"`,
	} {
		if got, err := parseURI(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, got)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %q, want %q", text, err, want)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("file:///a%20b?format=cri")
	f.Add("/x")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseURI(text)
		needsPath := u.kind == kindPath || u.kind == kindFile
		if err == nil && needsPath != strings.HasPrefix(u.path, "/") {
			t.Errorf("%q: %+v", text, u)
		}
	})
}

func TestOpenNamesStreamAndCause(t *testing.T) {
	checkLeaks(t)
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Stdout: "binary:///x"}, `stdout "binary:///x": unknown scheme "binary"`},
		{Config{Stdout: "/nonexistent/fifo"}, "stdout: open /nonexistent/fifo: no such file or directory"},
		{Config{Stdin: "/nonexistent/fifo"}, "stdin: open /nonexistent/fifo: no such file or directory"},
		{Config{Stdout: "attach://", Stdin: "attach://", Stderr: "/tmp"}, "stderr: open /tmp: is a directory"},
		{Config{Stdout: "file:///dev/null/x"}, "stdout: open /dev/null/x: not a directory"},
		{Config{Terminal: true, Stdin: "attach://", Stdout: "x"}, `stdout "x": not an absolute path: "x"`},
	} {
		s, err := Open(t.Context(), c.config)
		if err == nil {
			s.Close()
			t.Errorf("%+v: opened", c.config)
		} else if err.Error() != c.want {
			t.Errorf("%+v: %q, want %q", c.config, err, c.want)
		}
	}
}
