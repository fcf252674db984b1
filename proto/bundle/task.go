package bundle

import (
	"fmt"
	"time"

	"github.com/holdfast/holdfast/proto/jsontext"
)

// Phases of a run, in order. A record of an early phase tells whoever finds it
// how far its writer can have come: "creating" is written before the OCI
// runtime runs for the first time, "created" after it has returned.
const (
	PhaseCreating = "creating"
	PhaseCreated  = "created"
	PhaseStarted  = "started"
)

// Task is the shim's record of one run of the container: everything that
// somebody else needs to clean up after it, or to take it over.
type Task struct {
	ID, Namespace, Bundle string
	Phase                 string
	Owner                 string // random mark of this run; nobody else's container carries it
	Runtime               Runtime
	Stdin, Stdout, Stderr string // URIs as given to Create
	Terminal              bool
	Linger                bool
	Mounted               bool   // the root file system in RootfsDir was mounted by this run
	Checkpoint            string // directory of the image this run is restored from

	Init      Process // zero until phase created
	CreatedAt time.Time
	StartedAt time.Time

	ShimPID     int
	ShimVersion string
}

// Runtime says which OCI runtime runs the container, and how.
type Runtime struct {
	Binary        string
	Root          string // its state directory, namespace included
	SystemdCgroup bool
	NoPivot       bool
	NoNewKeyring  bool
	Args          []string // further global arguments
	CriuDir       string   // directory put first in its PATH
}

// Process identifies a process so that a recycled pid is recognised.
type Process struct {
	PID       int
	StartTime uint64 // clock ticks since boot, field 22 of proc_pid_stat(5)
	Inode     uint64 // of its pidfd; unique per boot since Linux 6.9, 0 if unknown
	BootID    string
}

// Encode returns the record as JSON.
func (t Task) Encode() []byte {
	var b jsontext.Builder
	b.Int("version", version)
	b.String("id", t.ID).String("namespace", t.Namespace).String("bundle", t.Bundle).String("phase", t.Phase).String("owner", t.Owner)
	b.Object("runtime", func(b *jsontext.Builder) {
		b.String("binary", t.Runtime.Binary).String("root", t.Runtime.Root)
		b.Bool("systemd_cgroup", t.Runtime.SystemdCgroup).Bool("no_pivot", t.Runtime.NoPivot).Bool("no_new_keyring", t.Runtime.NoNewKeyring)
		b.Strings("args", t.Runtime.Args).String("criu_dir", t.Runtime.CriuDir)
	})
	b.Object("init", func(b *jsontext.Builder) {
		b.Int("pid", int64(t.Init.PID)).Uint("start_time", t.Init.StartTime).Uint("inode", t.Init.Inode).String("boot_id", t.Init.BootID)
	})
	b.String("stdin", t.Stdin).String("stdout", t.Stdout).String("stderr", t.Stderr).Bool("terminal", t.Terminal)
	b.Bool("linger", t.Linger).Bool("mounted", t.Mounted).String("checkpoint", t.Checkpoint)
	b.String("created_at", formatTime(t.CreatedAt)).String("started_at", formatTime(t.StartedAt))
	b.Int("shim_pid", int64(t.ShimPID)).String("shim_version", t.ShimVersion)
	return append(b.Bytes(), '\n')
}

// DecodeTask is the reverse of Encode. It accepts any input without panicking.
func DecodeTask(raw []byte) (Task, error) {
	const kind = "task record"
	r, err := open(kind, raw)
	if err != nil {
		return Task{}, err
	}
	t := Task{
		ID: r.str("id"), Namespace: r.str("namespace"), Bundle: r.str("bundle"), Phase: r.str("phase"), Owner: r.str("owner"),
		Stdin: r.str("stdin"), Stdout: r.str("stdout"), Stderr: r.str("stderr"), Terminal: r.bool("terminal"),
		Linger: r.bool("linger"), Mounted: r.bool("mounted"), Checkpoint: r.str("checkpoint"),
		CreatedAt: r.time("created_at"), StartedAt: r.time("started_at"),
		ShimPID: int(r.int("shim_pid")), ShimVersion: r.str("shim_version"),
	}
	if rt := r.object("runtime"); rt != nil {
		t.Runtime = Runtime{
			Binary: rt.str("binary"), Root: rt.str("root"), SystemdCgroup: rt.bool("systemd_cgroup"),
			NoPivot: rt.bool("no_pivot"), NoNewKeyring: rt.bool("no_new_keyring"), Args: rt.strs("args"), CriuDir: rt.str("criu_dir"),
		}
		if err := rt.end(kind); err != nil {
			return Task{}, err
		}
	}
	if p := r.object("init"); p != nil {
		t.Init = Process{PID: int(p.int("pid")), StartTime: p.uint("start_time"), Inode: p.uint("inode"), BootID: p.str("boot_id")}
		if err := p.end(kind); err != nil {
			return Task{}, err
		}
	}
	return t, r.end(kind)
}

// ReadTask reads the record of the run in the bundle directory. The error is
// os.ErrNotExist if there is no run.
func ReadTask(bundle string) (Task, error) {
	raw, err := readFile(bundle + "/" + TaskFile)
	if err != nil {
		return Task{}, err
	}
	return DecodeTask(raw)
}

// WriteTask writes the record into t.Bundle.
func WriteTask(t Task) error {
	if err := WriteFile(t.Bundle+"/"+TaskFile, t.Encode()); err != nil {
		return fmt.Errorf("record task: %w", err)
	}
	return nil
}
