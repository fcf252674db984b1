package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// recordSize is that of the records in these tests: several pages, so that a
// torn one would show.
const recordSize = 40 << 10

func filled(c byte) []byte { return bytes.Repeat([]byte{c}, recordSize) }

// whole tells whether data is one record and not parts of several.
func whole(data []byte) error {
	if len(data) != recordSize {
		return fmt.Errorf("%d bytes instead of %d", len(data), recordSize)
	}
	if n := bytes.Count(data, data[:1]); n != recordSize {
		return fmt.Errorf("%d bytes of one record and %d of others", n, recordSize-n)
	}
	return nil
}

// rewriteForEver is the role "rewrite": it replaces a record and tells each time.
func rewriteForEver(path string) {
	for i := 0; ; i++ {
		if err := WriteFile(path, filled(byte('a'+i%26))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// readAllTheTime reads path until stop is called, which returns what was wrong.
func readAllTheTime(path string) (stop func() error) {
	end, result := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				result <- nil
				return
			default:
			}
			data, err := os.ReadFile(path)
			if err == nil {
				err = whole(data)
			}
			if err != nil {
				result <- err
				return
			}
		}
	}()
	return func() error { close(end); return <-result }
}

func TestAWriterThatIsKilledLeavesTheOldRecordOrTheNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), ExitFile)
	if err := WriteFile(path, filled('A')); err != nil {
		t.Fatal(err)
	}
	stop := readAllTheTime(path)
	for i := range 20 {
		p := start(t, "rewrite", path)
		p.hear(t, 1+i%7)
		p.kill()
		data, err := os.ReadFile(path)
		if err == nil {
			err = whole(data)
		}
		if err != nil {
			t.Errorf("after kill %d: %v", i, err)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("a reader has seen: %v", err)
	}
}

// TestWritersAtOnce is a shim and a delete action that record one exit.
func TestWritersAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ExitFile)
	if err := WriteFile(path, filled('A')); err != nil {
		t.Fatal(err)
	}
	stop := readAllTheTime(path)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 100 {
				if err := WriteFile(path, filled(byte('a'+w))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Errorf("a reader has seen: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

func TestWriteFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, AddressFile)
	old := unix.Umask(0)
	err := WriteFile(path, []byte("x"))
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	t.Chdir(dir)
	if err := WriteFile("plain", nil); err != nil {
		t.Errorf("a path without a directory: %v", err)
	}
}

func TestAFailedWriteLeavesNothingAndTheOldRecord(t *testing.T) {
	if err := WriteFile(filepath.Join(t.TempDir(), "gone", "x"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, TaskFile)
	if err := WriteFile(path, filled('A')); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, filled('B')); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, filled('A')) {
		t.Errorf("the old record is gone: %d bytes, %v", len(data), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

func TestWriteExit(t *testing.T) {
	dir := t.TempDir()
	for _, e := range []Exit{{ID: "c", Known: true}, {ID: "c", ExecID: "e1", Known: true, Status: 256, Code: 1}} {
		if err := WriteExit(dir, e); err != nil {
			t.Fatal(err)
		}
		name := ExitFile
		if e.ExecID != "" {
			name = ExecFile(e.ExecID)
		}
		if got, err := ReadExit(filepath.Join(dir, name)); err != nil || got != e {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	task := someTask()
	task.Bundle = dir
	if err := WriteTask(task); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTask(dir); err != nil || !sameTask(got, task) {
		t.Errorf("%+v, %v", got, err)
	}
}
