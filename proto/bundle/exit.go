package bundle

import (
	"fmt"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/jsontext"
)

// Exit is the record of how a process of the container ended: ExitFile for
// init, ExecFile for an exec. It is on disk before anybody is told.
type Exit struct {
	ID     string // container
	ExecID string // "" for init
	PID    int
	BootID string // /proc/sys/kernel/random/boot_id of the run

	// Known says that Status is the kernel's. If not, Reason says why nobody
	// can know, and Status is 0: a status is never invented.
	Known  bool
	Status uint32 // raw wait status, as wait(2) returns it
	Reason string
	// Failed is set for a process that never came to be: the OCI runtime could
	// not start it. Code is then what a shell reports (126 or 127, else 255) and
	// Reason the runtime's words.
	Failed bool
	Code   int // exit code, or 128 + signal; 255 if neither is known

	OOM       bool // the kernel's out-of-memory killer had struck in the container
	CreatedAt time.Time
	StartedAt time.Time
	ExitedAt  time.Time

	User, System time.Duration // CPU time of the process and the children it waited for
	MaxRSS       int64         // KiB

	StdoutBytes, StderrBytes uint64
}

// Signal returns the number of the signal that killed the process, or 0.
func (e Exit) Signal() int {
	if sig := int(e.Status & 0x7f); e.Known && sig != 0 {
		return sig
	}
	return 0
}

// codeOf returns what a shell says of a raw wait status.
func codeOf(status uint32) int {
	if sig := status & 0x7f; sig != 0 {
		return 128 + int(sig)
	}
	return int(status >> 8 & 0xff)
}

// Core reports whether the kernel dumped core.
func (e Exit) Core() bool { return e.Signal() != 0 && e.Status&0x80 != 0 }

// Encode returns the record as JSON. code, signal and core are derived from
// a known status and written for people and scripts; they are not read back,
// except a code that no status gives.
func (e Exit) Encode() []byte {
	var b jsontext.Builder
	b.Int("version", version)
	b.String("id", e.ID).String("exec_id", e.ExecID).Int("pid", int64(e.PID)).String("boot_id", e.BootID)
	b.Bool("known", e.Known).Uint("status", uint64(e.Status)).String("reason", e.Reason).Bool("failed", e.Failed)
	b.Int("code", int64(e.Code)).Int("signal", int64(e.Signal())).Bool("core", e.Core()).Bool("oom", e.OOM)
	b.String("created_at", formatTime(e.CreatedAt)).String("started_at", formatTime(e.StartedAt)).String("exited_at", formatTime(e.ExitedAt))
	b.Int("user_usec", e.User.Microseconds()).Int("system_usec", e.System.Microseconds()).Int("max_rss_kib", e.MaxRSS)
	b.Uint("stdout_bytes", e.StdoutBytes).Uint("stderr_bytes", e.StderrBytes)
	return append(b.Bytes(), '\n')
}

// DecodeExit is the reverse of Encode. It accepts any input without panicking.
func DecodeExit(raw []byte) (Exit, error) {
	const kind = "exit record"
	r, err := open(kind, raw)
	if err != nil {
		return Exit{}, err
	}
	e := Exit{
		ID: r.str("id"), ExecID: r.str("exec_id"), PID: int(r.int("pid")), BootID: r.str("boot_id"),
		Known: r.bool("known"), Status: r.uint32("status"), Reason: r.str("reason"),
		Failed: r.bool("failed"), Code: int(r.int("code")), OOM: r.bool("oom"),
		CreatedAt: r.time("created_at"), StartedAt: r.time("started_at"), ExitedAt: r.time("exited_at"),
		User:   time.Duration(r.int("user_usec")) * time.Microsecond,
		System: time.Duration(r.int("system_usec")) * time.Microsecond,
		MaxRSS: r.int("max_rss_kib"), StdoutBytes: r.uint("stdout_bytes"), StderrBytes: r.uint("stderr_bytes"),
	}
	if err := r.end(kind); err != nil {
		return Exit{}, err
	}
	if e.Known {
		e.Code = codeOf(e.Status)
	}
	if !e.Known && !e.Failed && e.Reason == "" {
		return Exit{}, fmt.Errorf("decode %s: neither known nor with a reason", kind)
	}
	return e, nil
}

// ReadExit reads the record at path. The error is os.ErrNotExist if there is
// none: the process has not ended, or nobody saw it end.
func ReadExit(path string) (Exit, error) {
	raw, err := readFile(path)
	if err != nil {
		return Exit{}, err
	}
	return DecodeExit(raw)
}

// WriteExit writes the record at path, making ExecsDir when it is for an exec.
func WriteExit(bundle string, e Exit) error {
	if e.ExecID == "" {
		return WriteFile(bundle+"/"+ExitFile, e.Encode())
	}
	if err := os.MkdirAll(bundle+"/"+ExecsDir, 0o700); err != nil {
		return fmt.Errorf("write exit record: %w", err)
	}
	return WriteFile(bundle+"/"+ExecFile(e.ExecID), e.Encode())
}
