package manager

import "time"

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
