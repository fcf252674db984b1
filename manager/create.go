package manager

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/proto/bundle"
)

// Create makes a container; nothing runs yet. It is built under a hidden name
// and put in place by one rename(2), so nobody ever sees a half of it. ErrExists
// if the id is taken; on any error nothing is left.
func (m *Manager) Create(ctx context.Context, id string, cfg CreateConfig) (_ *Container, err error) {
	if err := bundle.CheckID(id); err != nil {
		return nil, fmt.Errorf("create container: %w", invalidID(err))
	}
	if _, err := os.Lstat(filepath.Join(m.dir, id)); err == nil { // the rename decides; this only spares work
		return nil, fmt.Errorf("create container %s: %w", id, ErrExists)
	}
	rec, spec, err := m.prepare(id, cfg)
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", id, err)
	}
	tmp := filepath.Join(m.dir, newPrefix+id+"-"+randomHex(4))
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, fmt.Errorf("create container %s: %w", id, err)
	}
	l, err := lockPath(ctx, tmp, m.opt.lockTimeout) // tells a sweep that we are at it
	if err != nil {
		os.Remove(tmp)
		return nil, fmt.Errorf("create container %s: %w", id, err)
	}
	defer l.Close()
	if err := build(tmp, rec, spec); err != nil {
		_ = removeTree(tmp)
		return nil, fmt.Errorf("create container %s: %w", id, err)
	}
	if err := install(tmp, filepath.Join(m.dir, id)); err != nil {
		_ = removeTree(tmp)
		return nil, fmt.Errorf("create container %s: %w", id, err)
	}
	return m.container(rec), nil
}

// prepare checks a configuration and makes the record and the spec of it,
// touching nothing.
func (m *Manager) prepare(id string, cfg CreateConfig) (Record, []byte, error) {
	rec := Record{
		Version: recordVersion, ID: id, Namespace: m.namespace, Created: time.Now().UTC(),
		Labels: map[string]string{}, Runtime: cfg.Runtime, Mounts: cfg.Mounts, Stdio: cfg.Stdio,
	}
	if m.opt.shim != DefaultShim {
		rec.Shim = program(m.opt.shim)
	}
	rec.Runtime.Binary = program(cmp.Or(rec.Runtime.Binary, m.opt.runtime))
	if err := checkLabels(cfg.Labels); err != nil {
		return rec, nil, err
	}
	for k, v := range cfg.Labels {
		rec.Labels[k] = v
	}
	if err := checkMounts(cfg.Mounts); err != nil {
		return rec, nil, err
	}
	if cfg.Rootfs != "" {
		if len(cfg.Mounts) > 0 {
			return rec, nil, fmt.Errorf("both a rootfs directory and mounts: %w", ErrInvalid)
		}
		dir, err := directory(cfg.Rootfs)
		if err != nil {
			return rec, nil, fmt.Errorf("rootfs: %w", err)
		}
		rec.Rootfs = dir
	}
	spec, err := m.makeSpec(id, cfg, rec)
	return rec, spec, err
}

// program makes a path to a program good for whoever reads the record, wherever
// he is; a mere name stays one, to be looked for in PATH.
func program(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	return absolute(name)
}

// directory returns the absolute path of an existing directory, links followed:
// OCI runtimes take none for a root file system.
func directory(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(abs)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", fmt.Errorf("%s: %w", abs, unix.ENOTDIR)
	}
	return filepath.EvalSymlinks(abs)
}

// build fills dir with the files of a container.
func build(dir string, rec Record, spec []byte) error {
	if err := os.WriteFile(filepath.Join(dir, bundle.ConfigFile), spec, 0o600); err != nil {
		return err
	}
	// Mount point of the root file system; a user namespace's root must pass.
	if err := os.Mkdir(filepath.Join(dir, bundle.RootfsDir), 0o711); err != nil {
		return err
	}
	return writeRecord(dir, rec)
}

// install renames a finished directory to its place; ErrExists if that is
// taken, even by an empty directory (which plain rename(2) would replace).
func install(tmp, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // file system without the flag
		err = os.Rename(tmp, dir)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return ErrExists
	}
	if err != nil {
		return fmt.Errorf("put in place: %w", err)
	}
	return nil
}

// randomHex returns n random bytes as text.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
