package bundle

import (
	"regexp"
	"strings"
	"testing"
)

func TestCheckID(t *testing.T) {
	long := strings.Repeat("a", MaxID)
	for _, tc := range []struct {
		id string
		ok bool
	}{
		{"a", true}, {"0", true}, {"web-1", true}, {"a.b_c-d", true}, {"A9", true}, {long, true},
		{"", false}, {long + "a", false}, {strings.Repeat("x", 5000), false},
		{".", false}, {"..", false}, {"../x", false}, {"a/../b", false}, {"/", false}, {"a/b", false},
		{".hidden", false}, {"-flag", false}, {"_x", false}, {"a.", false}, {"a-", false},
		{"a..b", false}, {"a--b", false}, {"a_-b", false},
		{"a b", false}, {"a\n", false}, {"\n", false}, {"a\x00b", false}, {"ä", false}, {"a%b", false}, {"a:b", false}, {"\xff", false},
	} {
		err := CheckID(tc.id)
		if (err == nil) != tc.ok {
			t.Errorf("CheckID(%q) = %v, want ok %t", tc.id, err, tc.ok)
		}
		if err != nil && (len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x00")) {
			t.Errorf("CheckID(%.20q...): text is not one short line: %q", tc.id, err)
		}
	}
}

// containerdID is the rule as containerd writes it, ^ and $ made exact.
var containerdID = regexp.MustCompile(`\A[A-Za-z0-9]+([._-][A-Za-z0-9]+)*\z`)

func FuzzCheckID(f *testing.F) {
	for _, id := range []string{"", "a", "a.b", "..", "a-_b", "a.", "é", strings.Repeat("a", 76), strings.Repeat("a.", 39)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		want := len(id) <= 76 && containerdID.MatchString(id)
		if err := CheckID(id); (err == nil) != want {
			t.Errorf("CheckID(%q) = %v, the rule says %t", id, err, want)
		}
	})
}

func TestNoExecIDNamesAnotherFileOfTheBundle(t *testing.T) {
	for _, id := range []string{"a", "exit", "init", "a.json", "a.pid", "events.1"} {
		for _, path := range []string{ExecFile(id), ExecPidFile(id)} {
			if !strings.HasPrefix(path, ExecsDir+"/") || strings.Count(path, "/") != 1 {
				t.Errorf("exec %q has the file %q, outside of %s", id, path, ExecsDir)
			}
		}
	}
	if ExecFile("x") == ExecPidFile("x") {
		t.Error("one file for two things")
	}
}

func TestSocketPath(t *testing.T) {
	for _, tc := range []struct{ address, path string }{
		{"unix:///run/s/x", "/run/s/x"}, {"/run/s/x", "/run/s/x"}, {" unix:///a \n", "/a"},
		{"", ""}, {"unix://", ""}, {"unix://rel", ""}, {"abstract", ""}, {"vsock://1:2", ""},
	} {
		path, err := SocketPath(tc.address)
		if path != tc.path || (err == nil) != (tc.path != "") {
			t.Errorf("SocketPath(%q) = %q, %v; want %q", tc.address, path, err, tc.path)
		}
	}
}
