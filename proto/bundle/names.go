package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of files in a bundle; the package comment says who writes which.
const (
	ConfigFile    = "config.json"
	RootfsDir     = "rootfs"
	ContainerFile = "container.json"
	LogFile       = "log"
	LockFile      = "lock"
	AddressFile   = "address"
	TaskFile      = "task.json"
	PidFile       = "init.pid"
	ExitFile      = "exit.json"
	ExecsDir      = "execs"
	JournalFile   = "events"
	OutputFile    = "output.log"
)

// FeedFile is the event feed beside the bundles of one namespace. Its leading
// dot keeps it apart from container ids, which cannot start with one.
const FeedFile = ".events"

// MaxID is the longest container or exec id, in bytes (containerd's limit).
const MaxID = 76

// CheckID reports whether id can name a container, an exec or a namespace:
// runs of ASCII letters and digits joined by single '.', '_' or '-', at most
// MaxID bytes. The rule is containerd's; it also makes an id safe as a file
// name.
func CheckID(id string) error {
	if id == "" {
		return fmt.Errorf("check id: it is empty")
	}
	if len(id) > MaxID {
		return fmt.Errorf("check id %q: %d bytes long, at most %d are allowed", id[:16]+"...", len(id), MaxID)
	}
	joined := true // at the start a separator is as wrong as after another one
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			joined = false
		case (c == '.' || c == '_' || c == '-') && !joined:
			joined = true
		default:
			return fmt.Errorf("check id %q: only letters and digits, joined by single '.', '_' or '-', are allowed", id)
		}
	}
	if joined {
		return fmt.Errorf("check id %q: it ends in %q", id, id[len(id)-1:])
	}
	return nil
}

// ExecFile returns the path, relative to the bundle, of the exit record of an
// exec.
func ExecFile(execID string) string { return filepath.Join(ExecsDir, execID+".json") }

// ExecPidFile returns the path, relative to the bundle, where the OCI runtime
// writes the pid of an exec. It lies in ExecsDir so that no exec id can name
// another file of the bundle.
func ExecPidFile(execID string) string { return filepath.Join(ExecsDir, execID+".pid") }

// SameDir reports whether two paths lead to one directory. Daemons come by way of
// symbolic links (docker's state is below /var/run), and an OCI runtime notes the
// physical path. Of a path that leads nowhere only the text counts.
func SameDir(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}

// SocketPath returns the file of a shim address as found in AddressFile
// (unix://PATH or a bare absolute path).
func SocketPath(address string) (string, error) {
	path := strings.TrimPrefix(strings.TrimSpace(address), "unix://")
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("parse address %q: not unix:// and an absolute path", address)
	}
	return path, nil
}
