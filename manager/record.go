package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
)

// Record is container.json: what the manager knows of a container beside its
// OCI spec. It outlives every run.
type Record struct {
	Version   int               `json:"version"`
	ID        string            `json:"id"`
	Namespace string            `json:"namespace"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels"`
	Runtime   Runtime           `json:"runtime"`
	Rootfs    string            `json:"rootfs,omitempty"` // directory used as root, "" if it is mounted or the spec says
	Mounts    []Mount           `json:"mounts,omitempty"` // mounted at <bundle>/rootfs for every run
	Stdio     Stdio             `json:"stdio"`            // of a run whose TaskConfig has none
	Shim      string            `json:"shim,omitempty"`   // binary, when not the manager's
	Foreign   bool              `json:"-"`                // no container.json: somebody else's bundle, e.g. containerd's
	Problem   string            `json:"-"`                // why the record could not be read, "" if it could
}

// Runtime says which OCI runtime runs a container, and how.
type Runtime struct {
	Binary        string   `json:"binary"`                   // path or name; "" is the manager's
	Root          string   `json:"root,omitempty"`           // its state directory; "" is <root>/.runtime/<namespace>
	SystemdCgroup bool     `json:"systemd_cgroup,omitempty"` // cgroups through systemd
	NoPivot       bool     `json:"no_pivot,omitempty"`       // no pivot_root (root on a ramfs)
	NoNewKeyring  bool     `json:"no_new_keyring,omitempty"`
	Args          []string `json:"args,omitempty"` // further global arguments, before the verb
}

// Mount is one file system of a container's root, in the words of mount(8).
type Mount struct {
	Type    string   `json:"type"`             // bind, overlay, tmpfs, ext4, ...
	Source  string   `json:"source"`           // device, directory or name
	Target  string   `json:"target,omitempty"` // below the root; "" is the root itself
	Options []string `json:"options,omitempty"`
}

// Stdio says where the standard streams of a process lead. The zero value is
// the default: stdin at end of file, outputs to the container's log (a task) or
// to attach clients alone (an exec).
type Stdio struct {
	// OpenStdin keeps stdin open and fed by attach clients.
	OpenStdin bool `json:"open_stdin,omitempty"`
	// Log is a URI that gets both outputs beside attach clients, e.g.
	// file:///var/log/x.log?format=cri. LogNone is none.
	Log string `json:"log,omitempty"`
	// Raw URIs for a daemon that has FIFOs or files of its own. If one of the
	// three is set, OpenStdin and Log do not count.
	Stdin  string `json:"stdin,omitempty"`
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
}

// LogNone as Stdio.Log keeps no output.
const LogNone = "null://"

// recordVersion is the format of container.json.
const recordVersion = 1

// readRecord reads container.json of id, or describes a foreign bundle.
// os.ErrNotExist if there is neither. A record that cannot be understood is no
// error but a Problem, so that the container can still be seen and removed.
func (m *Manager) readRecord(id string) (Record, error) {
	dir := filepath.Join(m.dir, id)
	raw, err := os.ReadFile(filepath.Join(dir, bundle.ContainerFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		if rec, ok := foreignRecord(dir, m.namespace); ok {
			return rec, nil
		}
		return Record{}, fs.ErrNotExist
	}
	broken := Record{Version: recordVersion, ID: id, Namespace: m.namespace, Labels: map[string]string{}}
	if err != nil {
		broken.Problem = err.Error()
		return broken, nil
	}
	var rec Record
	switch err := json.Unmarshal(raw, &rec); {
	case err != nil:
		broken.Problem = fmt.Sprintf("read %s: %v", bundle.ContainerFile, err)
		return broken, nil
	case rec.Version != recordVersion:
		broken.Problem = fmt.Sprintf("read %s: version %d is not known to this program", bundle.ContainerFile, rec.Version)
		return broken, nil
	}
	rec.ID, rec.Namespace = id, m.namespace // the directory says so
	if rec.Labels == nil {
		rec.Labels = map[string]string{}
	}
	return rec, nil
}

// writeRecord replaces container.json in dir by one rename.
func writeRecord(dir string, rec Record) error {
	raw, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return bundle.WriteFile(filepath.Join(dir, bundle.ContainerFile), append(raw, '\n'))
}

// Record returns a copy of container.json as it was last read.
func (c *Container) Record() Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := c.rec
	rec.Labels = maps.Clone(rec.Labels)
	return rec
}

// Labels returns a copy of the labels as they were last read.
func (c *Container) Labels() map[string]string { return c.Record().Labels }

// SetLabels sets some labels, removes others and leaves the rest, on disk,
// whoever else changes them at the same time. An empty value is a value.
// errors.ErrUnsupported for a foreign container, which has no record.
func (c *Container) SetLabels(ctx context.Context, set map[string]string, remove ...string) error {
	if err := checkLabels(set); err != nil {
		return fmt.Errorf("label container %s: %w", c.id, err)
	}
	// The lock is on the file that is about to be replaced: whoever waited for
	// it finds another file at its path and starts anew with that one.
	l, err := lockPath(ctx, filepath.Join(c.dir, bundle.ContainerFile), c.m.opt.lockTimeout)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("label container %s: %w", c.id, c.goneOrForeign())
	} else if err != nil {
		return fmt.Errorf("label container %s: %w", c.id, err)
	}
	defer l.Close()
	rec, err := c.m.readRecord(c.id)
	if err != nil {
		return fmt.Errorf("label container %s: %w", c.id, err)
	}
	if rec.Problem != "" {
		return fmt.Errorf("label container %s: %s", c.id, rec.Problem)
	}
	maps.Copy(rec.Labels, set)
	for _, key := range remove {
		delete(rec.Labels, key)
	}
	if err := writeRecord(c.dir, rec); err != nil {
		return fmt.Errorf("label container %s: %w", c.id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rec = rec
	return nil
}

// goneOrForeign says why there is no container.json.
func (c *Container) goneOrForeign() error {
	if _, err := os.Stat(c.dir); err != nil {
		return ErrNotFound
	}
	return fmt.Errorf("it was not made by holdfast: %w", errors.ErrUnsupported)
}

// maxLabel bounds key and value of a label together, in bytes (containerd's
// limit).
const maxLabel = 4096

func checkLabels(labels map[string]string) error {
	for key, value := range labels {
		if key == "" || strings.ContainsAny(key, "=\n") {
			return fmt.Errorf("label key %q is empty or has a '=' or newline in it: %w", key, ErrInvalid)
		}
		if len(key)+len(value) > maxLabel {
			return fmt.Errorf("label %.16q... has %d bytes, %d are allowed: %w", key, len(key)+len(value), maxLabel, ErrInvalid)
		}
	}
	return nil
}
