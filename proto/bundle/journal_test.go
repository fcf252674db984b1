package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Sizes of the rotation test. A round adds less than one limit, so that there is
// at most one rotation between two looks at the files.
const (
	testLimit  = 64 << 10
	processes  = 4
	routines   = 4
	perRound   = 25
	maxLineLen = testLimit / (processes * routines * perRound)
	rounds     = 30
)

// line is unique, and its length depends on its content, so that a piece of it
// or two mixed ones are recognised.
func line(who string, routine, round, n int) string {
	head := fmt.Sprintf("%s/%d/%d/%d ", who, routine, round, n)
	return head + strings.Repeat("x", len(head)+n*7%(maxLineLen-2*len(head)-5)) + ".\n"
}

// appendRounds is the role "append": for every line on stdin it appends a round
// of lines from several goroutines, and then says so.
func appendRounds(path, who string) {
	in := bufio.NewScanner(os.Stdin)
	for round := 0; in.Scan(); round++ {
		var wg sync.WaitGroup
		for r := range routines {
			wg.Go(func() {
				for n := range perRound {
					if err := appendLine(path, []byte(line(who, r, round, n)), testLimit, 0); err != nil {
						fmt.Fprintln(os.Stderr, err)
						os.Exit(1)
					}
				}
			})
		}
		wg.Wait()
		fmt.Println("done")
	}
}

// lookAllTheTime checks that path exists until stop is called.
func lookAllTheTime(path string) (stop func() error) {
	end, result := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				result <- nil
				return
			default:
			}
			if _, err := os.Stat(path); err != nil {
				result <- err
				return
			}
		}
	}()
	return func() error { close(end); return <-result }
}

func TestNoLineIsLostOrMixedWhileManyProcessesRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), FeedFile)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stop := lookAllTheTime(path)
	var peers []*peer
	for i := range processes {
		peers = append(peers, start(t, "append", path, fmt.Sprint("p", i)))
	}
	seen := make(map[string]int)
	rotations, last := 0, inode(t, path)
	for range rounds {
		for _, p := range peers {
			p.say(t, "go")
		}
		for _, p := range peers {
			p.hear(t, 1)
		}
		if now := inode(t, path); !os.SameFile(now, last) {
			rotations, last = rotations+1, now
		}
		for _, name := range []string{path, path + ".1"} {
			for l := range bytes.Lines(read(t, name)) {
				seen[string(l)]++
			}
		}
	}
	if err := stop(); err != nil {
		t.Errorf("while rotating: %v", err)
	}
	for p := range processes {
		for r := range routines {
			for round := range rounds {
				for n := range perRound {
					l := line(fmt.Sprint("p", p), r, round, n)
					if seen[l] == 0 {
						t.Errorf("lost: %.20q", l)
					}
					delete(seen, l)
				}
			}
		}
	}
	for l := range seen {
		t.Errorf("nobody wrote %.60q", l)
	}
	if rotations < rounds/4 {
		t.Errorf("%d rotations in %d rounds: this test has tested nothing", rotations, rounds)
	}
	if st := inode(t, path+".1"); st.Size() > 2*testLimit {
		t.Errorf("the old file has %d bytes, the limit is %d", st.Size(), testLimit)
	}
}

func inode(t *testing.T, path string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return data
}

// TestRotationGoesOnWhereOneDied: between any two steps of rotate, the lines have
// a name, and the next append finishes the work.
func TestRotationGoesOnWhereOneDied(t *testing.T) {
	full := bytes.Repeat([]byte("x\n"), testLimit)
	link := func(from, to string) error { return os.Link(from, to) }
	for name, die := range map[string]func(path string) error{
		"before it began":          func(string) error { return nil },
		"with the next file made":  func(p string) error { return os.WriteFile(p+".new", nil, 0o600) },
		"with the old file linked": func(p string) error { return errors.Join(os.WriteFile(p+".new", nil, 0o600), link(p, p+".1")) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FeedFile)
			if err := errors.Join(os.WriteFile(path, full, 0o600), die(path)); err != nil {
				t.Fatal(err)
			}
			if err := appendLine(path, []byte("last\n"), testLimit, 0); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); len(got) != 0 {
				t.Errorf("%d bytes in the new file", len(got))
			}
			if got := read(t, path+".1"); !bytes.Equal(got, append(bytes.Clone(full), "last\n"...)) {
				t.Errorf("%d bytes in the old file, want %d", len(got), len(full)+5)
			}
			if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("left: %v", err)
			}
		})
	}
}

func TestTheJournalIsBoundedAndPrivate(t *testing.T) {
	dir := t.TempDir()
	big := append(bytes.Repeat([]byte("j"), 10<<10), '\n')
	for range 5 * JournalLimit / len(big) {
		if err := AppendJournal(dir, big); err != nil {
			t.Fatal(err)
		}
	}
	var sum int64
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		st := inode(t, filepath.Join(dir, e.Name()))
		sum += st.Size()
		if st.Mode() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), st.Mode())
		}
	}
	if len(entries) > 2 || sum < JournalLimit || sum > 2*JournalLimit+int64(2*len(big)) {
		t.Errorf("%d files of %d bytes", len(entries), sum)
	}
}

func TestNobodyButTheManagerMakesTheFeed(t *testing.T) {
	dir := t.TempDir()
	if err := AppendFeed(dir, []byte("x\n")); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("made: %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(dir, FeedFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AppendFeed(dir, []byte("x\n")); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(dir, FeedFile)); string(got) != "x\n" {
		t.Errorf("feed holds %q", got)
	}
}

// A disk that is full tears a line. It is lost, but not the next one with it.
func TestALineThatIsTornSpoilsNoOther(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	line := Event{Seq: 7, ID: "x", Topic: TopicStart}.Encode()
	room := dir + "/room"
	if err := os.WriteFile(room, make([]byte, 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	written, failed := 0, 0
	for failed < 3 {
		if err := AppendJournal(dir, line); err == nil {
			written++
		} else if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		} else {
			failed++
		}
	}
	if written == 0 || 4096%len(line) == 0 {
		t.Fatalf("%d lines of %d bytes tear none", written, len(line))
	}
	if err := os.Remove(room); err != nil {
		t.Fatal(err)
	}
	if err := AppendJournal(dir, line); err != nil {
		t.Fatal(err)
	}
	got := read(t, dir+"/"+JournalFile)
	if want := bytes.Repeat(line, written+1); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d; at the end %q", len(got), len(want), got[max(0, len(got)-3*len(line)):])
	}
}
