package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// awkward is text that needs every kind of escape, and stays itself in JSON.
const awkward = "a\"b\\c\n\t\x00\x1f </x> \u2028 é 𝄞 \u007f"

var when = time.Date(2026, 11, 22, 3, 4, 5, 123456789, time.UTC)

func someTask() Task {
	return Task{
		ID: "c1", Namespace: "ns", Bundle: "/b/" + awkward, Phase: PhaseStarted, Owner: "00ff",
		Runtime: Runtime{
			Binary: "/usr/bin/runc", Root: "/run/r/ns", SystemdCgroup: true, NoPivot: true, NoNewKeyring: true,
			Args: []string{"--debug", "", awkward}, CriuDir: "/opt/criu",
		},
		Stdin: "/f/in", Stdout: "file:///x?format=cri", Stderr: awkward, Terminal: true, Linger: true, Mounted: true, Checkpoint: "/img",
		Init:      Process{PID: 4711, StartTime: 1<<64 - 1, Inode: 1<<63 + 5, BootID: "e9b5dba5"},
		CreatedAt: when, StartedAt: when.Add(time.Nanosecond), ShimPID: 42, ShimVersion: "1.2.3",
	}
}

func someExit() Exit {
	return Exit{
		ID: "c1", ExecID: "e1", PID: 4711, BootID: "b", Known: true, Status: 11 | 0x80, Reason: awkward, Code: 139, OOM: true,
		CreatedAt: when, StartedAt: when, ExitedAt: when.Add(time.Hour),
		User: 1500 * time.Microsecond, System: 48 * time.Hour, MaxRSS: 1 << 40, StdoutBytes: 1<<64 - 1, StderrBytes: 7,
	}
}

func someEvent(topic string) Event {
	e := Event{Seq: 1<<64 - 1, Time: when, Namespace: "ns", ID: "c1", Topic: topic, ExecID: "e1", PID: 3, Checkpoint: awkward}
	if topic == TopicCreate {
		e.Bundle, e.Stdin, e.Stdout, e.Stderr, e.Terminal = "/b", "i", awkward, "e", true
	}
	if topic == TopicExit || topic == TopicDelete {
		e.Known, e.Code, e.Signal, e.Reason, e.ExitedAt = true, 137, 9, awkward, when
	}
	return e
}

var topics = []string{
	TopicCreate, TopicStart, TopicExit, TopicDelete, TopicOOM, TopicExecAdded, TopicExecStarted, TopicPaused, TopicResumed, TopicCheckpointed,
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, want := range []Task{{}, someTask()} {
		got, err := DecodeTask(want.Encode())
		if err != nil || !sameTask(got, want) {
			t.Errorf("task: got %+v, %v\nwant %+v", got, err, want)
		}
	}
	failed := Exit{ID: "c1", ExecID: "e", Failed: true, Code: 127, Reason: "no such file", ExitedAt: when}
	unknown := Exit{ID: "c1", Reason: "nobody saw it", Code: 255}
	for _, want := range []Exit{{Known: true}, someExit(), failed, unknown} {
		got, err := DecodeExit(want.Encode())
		if err != nil || got != want {
			t.Errorf("exit: got %+v, %v\nwant %+v", got, err, want)
		}
	}
	for _, topic := range topics {
		want := someEvent(topic)
		line := want.Encode()
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("event %s is not one line: %q", topic, line)
		}
		got, err := DecodeEvent(line)
		if err != nil || got != want {
			t.Errorf("event: got %+v, %v\nwant %+v", got, err, want)
		}
		if got, err := DecodeEvent(line[:len(line)-1]); err != nil || got != want {
			t.Errorf("event without newline: got %+v, %v", got, err)
		}
	}
}

// sameTask compares what == cannot.
func sameTask(a, b Task) bool {
	if strings.Join(a.Runtime.Args, "\x01") != strings.Join(b.Runtime.Args, "\x01") || len(a.Runtime.Args) != len(b.Runtime.Args) {
		return false
	}
	a.Runtime.Args, b.Runtime.Args = nil, nil
	return bytes.Equal(a.Encode(), b.Encode())
}

func TestRecordsAreJSONForEverybody(t *testing.T) {
	var exit struct {
		Version, Code, Signal int
		Core, Known, OOM      bool
		ExitedAt              time.Time `json:"exited_at"`
		Reason                string
	}
	if err := json.Unmarshal(someExit().Encode(), &exit); err != nil {
		t.Fatal(err)
	}
	if exit.Version != 1 || exit.Code != 139 || exit.Signal != 11 || !exit.Core || !exit.Known || !exit.OOM || !exit.ExitedAt.Equal(when.Add(time.Hour)) || exit.Reason != awkward {
		t.Errorf("exit record reads as %+v", exit)
	}
	var any map[string]any
	for _, raw := range [][]byte{someTask().Encode(), Task{}.Encode(), Exit{}.Encode(), Event{}.Encode()} {
		if err := json.Unmarshal(raw, &any); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestRecordsOfAnotherVersionAreRefused(t *testing.T) {
	for _, raw := range []string{`{"version":2,"id":"c1"}`, `{"id":"c1"}`, `{"version":null}`, `{}`, `[1]`, `7`, `{"version":-1}`} {
		for kind, err := range decodeAll([]byte(raw)) {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("%s from %s: error %v, want ErrVersion", kind, raw, err)
			}
		}
	}
	for _, raw := range []string{"", "{", `{"version":1`, `{"version":"1"}`, `{"version":1.5}`, "\x00", `{"version":1}{}`} {
		for kind, err := range decodeAll([]byte(raw)) {
			if err == nil || errors.Is(err, ErrVersion) {
				t.Errorf("%s from %q: error %v, want another", kind, raw, err)
			}
		}
	}
}

func decodeAll(raw []byte) map[string]error {
	_, task := DecodeTask(raw)
	_, exit := DecodeExit(raw)
	_, event := DecodeEvent(raw)
	return map[string]error{"task": task, "exit": exit, "event": event}
}

func TestMembersOfTheWrongTypeAreRefused(t *testing.T) {
	for _, member := range []string{
		`"id":7`, `"runtime":"runc"`, `"runtime":{"args":"-v"}`, `"init":[]`, `"init":{"pid":"1"}`, `"init":{"start_time":-1}`,
		`"terminal":"yes"`, `"created_at":"yesterday"`, `"created_at":7`,
	} {
		if got, err := DecodeTask([]byte(`{"version":1,` + member + `}`)); err == nil {
			t.Errorf("task with %s: no error but %+v", member, got)
		}
	}
	for _, member := range []string{`"status":4294967296`, `"status":-1`, `"status":"0"`, `"code":1e3`, `"known":1`} {
		if got, err := DecodeExit([]byte(`{"version":1,"reason":"x",` + member + `}`)); err == nil {
			t.Errorf("exit with %s: no error but %+v", member, got)
		}
	}
}

// TestUnknownMembersAreSkipped: records grow, and versions stay.
func TestUnknownMembersAreSkipped(t *testing.T) {
	got, err := DecodeTask([]byte(`{"version":1,"id":"c1","invented":{"id":"other"},"runtime":{"binary":"crun","new":[1]},"init":null}`))
	if err != nil || got.ID != "c1" || got.Runtime.Binary != "crun" || got.Init != (Process{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnExitIsNeverInvented(t *testing.T) {
	if e, err := DecodeExit([]byte(`{"version":1,"known":false,"code":0}`)); err == nil {
		t.Errorf("neither known nor a reason, and yet %+v", e)
	}
	// The kernel's word counts, not a derived number beside it.
	e, err := DecodeExit([]byte(`{"version":1,"known":true,"status":9,"code":0}`))
	if err != nil || e.Code != 137 || e.Signal() != 9 || e.Core() {
		t.Errorf("got %+v, %v", e, err)
	}
	e, err = DecodeExit([]byte(`{"version":1,"known":true,"status":10752}`))
	if err != nil || e.Code != 42 || e.Signal() != 0 {
		t.Errorf("got %+v, %v", e, err)
	}
	if e := (Exit{Status: 9}); e.Signal() != 0 || e.Core() {
		t.Errorf("a signal out of an unknown status: %+v", e)
	}
}

func TestReadRefusesWhatIsNoRecord(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadTask(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, TaskFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTask(dir); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, MaxRecord+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadExit(huge); err == nil {
		t.Error("a record of more than MaxRecord was read")
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(someTask().Encode())
	f.Add(someExit().Encode())
	for _, topic := range topics {
		f.Add(someEvent(topic).Encode())
	}
	f.Add([]byte(`{"version":1,"runtime":{},"init":{"pid":9223372036854775807},"reason":"x","user_usec":9223372036854775807}`))
	f.Add([]byte(`{"version":1,"exited_at":"0001-01-01T00:00:00+23:59","reason":"\ud800"}`))
	f.Add([]byte("{\"version\":1,\"id\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// What decodes is encoded and decoded to the same again.
		if v, err := DecodeTask(raw); err == nil {
			again, err := DecodeTask(v.Encode())
			if err != nil || !sameTask(again, v) {
				t.Errorf("task %+v, again %+v, %v", v, again, err)
			}
		}
		if v, err := DecodeExit(raw); err == nil {
			again, err := DecodeExit(v.Encode())
			if err != nil || !bytes.Equal(again.Encode(), v.Encode()) {
				t.Errorf("exit %+v, again %+v, %v", v, again, err)
			}
		}
		if v, err := DecodeEvent(raw); err == nil {
			again, err := DecodeEvent(v.Encode())
			if err != nil || !bytes.Equal(again.Encode(), v.Encode()) {
				t.Errorf("event %+v, again %+v, %v", v, again, err)
			}
		}
	})
}
