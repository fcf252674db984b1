package oci

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/holdfast/holdfast/reaper"
)

func TestEnvironmentOfTheRuntime(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rt"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	r := &Runtime{
		Binary: "rt", CriuDir: "/criu",
		Env: []string{"A=1", "GOMAXPROCS=1", "NOTIFY_SOCKET=/x", "LISTEN_FDS=3", "PATH=/none:" + dir, "B"},
	}
	path, env, err := r.program()
	if err != nil || path != filepath.Join(dir, "rt") {
		t.Errorf("program %q, %v", path, err)
	}
	if want := []string{"A=1", "B", "PATH=/criu:/none:" + dir}; !slices.Equal(env, want) {
		t.Errorf("environment %q, want %q", env, want)
	}
}

func TestLastRecord(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"empty", "", ""},
		{"runc", "{\"level\":\"info\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"b\\n\",\"time\":\"x\"}\n", "b"},
		{"the last error, not the last record", "{\"level\":\"error\",\"msg\":\"b\"}\n{\"level\":\"warning\",\"msg\":\"c\"}\n", "b"},
		{"no error at all", "{\"level\":\"warning\",\"msg\":\"c\"}\n", ""},
		{"crun, other order, no newline", `{"msg":"b","level":"error","time":"x"}`, "b"},
		{"youki", `{"timestamp":"x","level":"ERROR","fields":{"message":"b"}}`, "b"},
		{"cut off at both ends", "vel\":\"error\"}\n{\"level\":\"error\",\"msg\":\"b\"}\n{\"level\":\"er", "b"},
		{"text", "time=x level=info\nlast line\n\n", "last line"},
		{"not strings", `{"level":3,"msg":"b"}`, `{"level":3,"msg":"b"}`},
	} {
		if got := lastRecord([]byte(c.log)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWordsOfRuntimes(t *testing.T) {
	for _, c := range []struct {
		message string
		want    error
	}{
		{"container does not exist", ErrNotExist},
		{"error opening file `/run/x/status`: No such file or directory", ErrNotExist},
		{"cannot open directory '/run/x': No such file or directory", ErrNotExist},
		{"cannot open directory '/sys/fs/cgroup/y': No such file or directory", nil},
		{"runc create failed: container with given ID already exists", ErrExists},
		{"container `x` already exists", ErrExists},
		{"container not running", ErrFinished},
		{"unable to signal init: No such process", ErrFinished},
		{"os: process already finished", ErrFinished},
		{"unknown command features", ErrUnsupported},
		{"exec: \"/no/such\": stat /no/such: no such file or directory", nil},
		{"", nil},
	} {
		if got := classify("x", c.message); got != c.want {
			t.Errorf("%q is %v, want %v", c.message, got, c.want)
		}
	}
}

func TestKilledRuntimeIsQuoted(t *testing.T) {
	e := explain("start", "x", reaper.Exit{Known: true, Status: 9}, &deadlineError{time.Second},
		[]byte(`{"level":"error","msg":"busy"}`), nil)
	if want := "OCI runtime start failed: killed, because it did not end within 1s; it said: busy"; e.Error() != want {
		t.Errorf("got %v", e)
	}
	e = explain("start", "x", reaper.Exit{}, context.Canceled, nil, nil)
	if want := "OCI runtime start failed: killed, because its caller went away; it is still there"; e.Error() != want {
		t.Errorf("got %v", e)
	}
}

func TestExecFailureCode(t *testing.T) {
	for _, c := range []struct {
		verb, message string
		want          int
	}{
		{"exec", `exec failed: unable to start container process: exec: "/x": stat /x: no such file or directory`, 127},
		{"create", `runc create failed: unable to start container process: exec: "x": executable file not found in $PATH`, 127},
		{"exec", "executable file `x` not found in $PATH: No such file or directory", 127},
		{"exec", `exec failed: unable to start container process: exec: "/tmp": permission denied`, 126},
		{"exec", "open executable: Operation not permitted", 126},
		{"exec", `unable to start container process: chdir to cwd ("/x") set in config.json failed: no such file or directory`, 126},
		{"exec", "chdir `/x`: No such file or directory", 126},
		{"exec", "container does not exist", 255},
		{"create", `error mounting "/x" to rootfs at "/y": no such file or directory`, 255},
		{"checkpoint", `CRIU version check failed: exec: "criu": executable file not found in $PATH`, 255},
	} {
		if got := ExecFailureCode(&Error{Verb: c.verb, Message: c.message}); got != c.want {
			t.Errorf("%s: %d, want %d", c.message, got, c.want)
		}
	}
	if got := ExecFailureCode(os.ErrNotExist); got != 255 {
		t.Errorf("another error: %d", got)
	}
}

func FuzzLastRecord(f *testing.F) {
	f.Add([]byte("{\"level\":\"error\",\"msg\":\"b\"}\n"))
	f.Add([]byte("\xff\x00\n{\"level\":\"error\",\"fields\":{\"message\":\"\\ud800\"}}"))
	f.Add(bytes.Repeat([]byte("é"), maxMessage))
	f.Fuzz(func(t *testing.T, log []byte) {
		got := lastRecord(log)
		if !utf8.ValidString(got) || len(got) > 4*maxMessage {
			t.Errorf("message of %d bytes, valid UTF-8: %v", len(got), utf8.ValidString(got))
		}
		if strings.ContainsAny(got, "\x00\x1b\r") {
			t.Errorf("control characters in %q", got)
		}
		classify("x", got)
		if len(bytes.TrimSpace(log)) > 0 {
			lastError(log)
			lastLines(log)
		}
	})
}

func FuzzParsePid(f *testing.F) {
	for _, s := range []string{"", "2", " 42\n", "-1", "0x10", "1", "4194304", "99999999999999999999", "12 13", "1_0", "+5"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pid, err := parsePid(b)
		if err != nil {
			if pid != 0 {
				t.Errorf("%q: pid %d beside an error", b, pid)
			}
			return
		}
		text := strings.TrimLeft(string(bytes.TrimSpace(b)), "0")
		if pid <= 1 || pid >= 1<<22 || strconv.Itoa(pid) != text {
			t.Errorf("%q is read as %d", b, pid)
		}
	})
}
