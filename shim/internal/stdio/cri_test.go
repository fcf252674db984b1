package stdio

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// decodeCRI is the reader's side: what each stream said, with the newlines of F.
func decodeCRI(t testing.TB, log []byte) map[string][]byte {
	t.Helper()
	text := map[string][]byte{}
	open := map[string]bool{}
	for line := range bytes.Lines(log) {
		fields := bytes.SplitN(bytes.TrimSuffix(line, newline), []byte{' '}, 4)
		if len(fields) != 4 || !bytes.HasSuffix(line, newline) {
			t.Fatalf("not a record: %.100q", line)
		}
		if _, err := time.Parse(time.RFC3339Nano, string(fields[0])); err != nil {
			t.Fatal(err)
		}
		stream, tag := string(fields[1]), string(fields[2])
		if len(fields[3]) > criLine || tag != "F" && tag != "P" {
			t.Fatalf("record of %d bytes, tag %q", len(fields[3]), tag)
		}
		text[stream] = append(text[stream], fields[3]...)
		if open[stream] = tag == "P"; tag == "F" {
			text[stream] = append(text[stream], '\n')
		}
	}
	for stream := range open {
		if open[stream] {
			t.Errorf("%s ends in the middle of a line", stream)
		}
	}
	return text
}

// criWrite puts the pieces through a fresh sink, with a pause after those that
// pauses names, and returns the log.
func criWrite(t testing.TB, path string, pieces [][]byte, pauses uint64) []byte {
	t.Helper()
	os.Remove(path)
	tg, err := openTarget(t.Context(), uri{kind: kindFile, path: path})
	if err != nil {
		t.Fatal(err)
	}
	tg.use()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))
	c := &criSink{target: tg, stream: "stdout", now: func() time.Time { return at }}
	for i, p := range pieces {
		if c.write(p) != 0 || pauses>>(i%64)&1 == 1 && c.pause() != 0 {
			t.Fatal("bytes lost")
		}
	}
	if c.end() != 0 {
		t.Fatal("bytes lost")
	}
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestCRIRecords(t *testing.T) {
	const at = "2026-01-02T02:04:05.678901234Z stdout "
	long := strings.Repeat("l", criLine)
	for _, c := range []struct {
		name   string
		pieces []string
		pauses uint64
		want   string
	}{
		{"a line", []string{"one\n"}, 0, at + "F one\n"},
		{"an empty line", []string{"\n"}, 0, at + "F \n"},
		{"two lines at once", []string{"one\ntwo\n"}, 0, at + "F one\n" + at + "F two\n"},
		{"a line in pieces without a pause", []string{"o", "n", "e\n"}, 0, at + "F one\n"},
		{"a prompt is visible at once", []string{"name: ", "me\n"}, 1, at + "P name: \n" + at + "F me\n"},
		{"a last line without newline", []string{"one\ntwo"}, 0, at + "F one\n" + at + "F two\n"},
		{"a prompt is the end", []string{"name: "}, 1, at + "P name: \n" + at + "F \n"},
		{"nothing", nil, 0, ""},
		{"as long as may be", []string{long + "\n"}, 0, at + "F " + long + "\n"},
		{"as long as may be, newline apart", []string{long, "\n"}, 0, at + "F " + long + "\n"},
		{"one too long", []string{long + "x\n"}, 0, at + "P " + long + "\n" + at + "F x\n"},
		{"one too long in pieces", []string{long, "x", "\n"}, 0, at + "P " + long + "\n" + at + "F x\n"},
		{"a carriage return stays", []string{"a\r\n"}, 0, at + "F a\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pieces [][]byte
			for _, p := range c.pieces {
				pieces = append(pieces, []byte(p))
			}
			got := criWrite(t, filepath.Join(t.TempDir(), "log"), pieces, c.pauses)
			if string(got) != c.want {
				t.Errorf("got  %.300q\nwant %.300q", got, c.want)
			}
		})
	}
}

func FuzzCRISaysWhatTheProcessSaid(f *testing.F) {
	f.Add([]byte("one\ntwo"), uint16(3), uint64(5))
	f.Add(bytes.Repeat([]byte{'\n'}, 3*bufferSize/50), uint16(60000), uint64(0))
	f.Add(bytes.Repeat([]byte{'a'}, 3*criLine+1), uint16(criLine), uint64(1))
	path := filepath.Join(f.TempDir(), "log")
	f.Fuzz(func(t *testing.T, b []byte, size uint16, pauses uint64) {
		var pieces [][]byte
		for rest := b; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		want := b
		if len(b) > 0 && b[len(b)-1] != '\n' {
			want = append(bytes.Clone(b), '\n')
		}
		same(t, "text", decodeCRI(t, criWrite(t, path, pieces, pauses))["stdout"], want)
	})
}

// A full disk costs records, counted, and damages one at most.
func TestCRIOnAFullDisk(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "log")
	s := openStdio(t, Config{Stdout: "file://" + path + "?format=cri", Stderr: "null://"})
	e := ends(t, s)
	s.Relay(nil)
	line := []byte(strings.Repeat("x", 99) + "\n")
	for range 1000 {
		if _, err := e[1].Write(line); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is read", func() bool { return s.Counters().Stdout.In == 100*1000 })
	if err := os.Truncate(path, 4000); err != nil { // room again
		t.Fatal(err)
	}
	e[1].Write([]byte("after\n"))
	e[1].Close()
	await(t, "drained", s.Drained())
	if d := s.Counters().Stdout.Dropped; d < 80_000 || d > 100_000 {
		t.Errorf("%d bytes dropped", d)
	}
	log, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSuffix(string(log), "\n"), "\n")
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, "Z stdout F after") || len(last) > 60 {
		t.Errorf("last record %q", last)
	}
}

func TestFullDeviceDoesNotStopTheProcess(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdout: "/dev/full"})
	e := ends(t, s)
	s.Relay(nil)
	if _, err := e[1].Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	e[1].Close()
	await(t, "drained", s.Drained())
	if c := s.Counters().Stdout; c.In != 1<<20 || c.Dropped != 1<<20 {
		t.Errorf("%+v", c)
	}
}
