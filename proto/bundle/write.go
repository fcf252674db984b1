package bundle

import (
	"fmt"
	"os"
	"path/filepath"
)

// MaxRecord is the largest record that is read back, in bytes. Ours are below
// 8 KiB; a larger file is not ours.
const MaxRecord = 1 << 20

// WriteFile puts data at path by writing a hidden temporary file beside it and
// renaming, mode 0600. After a crash of the writer path holds the old bytes or
// the new ones, and so it does between writers at the same time: a shim that
// ends and the delete action may both record the exit. It does not fsync: a
// run's records live on tmpfs and describe processes, which do not survive a
// power cut either.
func WriteFile(path string, data []byte) error {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "." // CreateTemp would go to $TMPDIR
	}
	f, err := os.CreateTemp(dir, "."+base+".*.tmp") // 0600
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// readFile reads a whole record, refusing what is larger than MaxRecord.
func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	if st.Size() > MaxRecord || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read record %s: not a regular file of at most %d bytes", path, MaxRecord)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return data, nil
}
