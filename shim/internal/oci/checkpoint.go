package oci

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast/holdfast/reaper"
)

// CriuOptions are what checkpoint and restore have in common.
type CriuOptions struct {
	ImagePath           string   // directory of the images
	WorkPath            string   // directory for criu's logs; "" is the runtime's choice
	OpenTCP             bool     // --tcp-established
	ExternalUnixSockets bool     // --ext-unix-sk
	Terminal            bool     // --shell-job: the processes have a terminal from outside
	FileLocks           bool     // --file-locks
	EmptyNamespaces     []string // --empty-ns, once each: made anew at restore, e.g. "network"
	CgroupsMode         string   // --manage-cgroups-mode: soft, full, strict, ignore; "" is the runtime's default
}

func (o CriuOptions) args() []string {
	args := []string{"--image-path", o.ImagePath}
	args = appendIf(args, o.WorkPath != "", "--work-path", o.WorkPath)
	args = appendIf(args, o.OpenTCP, "--tcp-established")
	args = appendIf(args, o.ExternalUnixSockets, "--ext-unix-sk")
	args = appendIf(args, o.Terminal, "--shell-job")
	args = appendIf(args, o.FileLocks, "--file-locks")
	for _, ns := range o.EmptyNamespaces {
		args = append(args, "--empty-ns", ns)
	}
	return appendIf(args, o.CgroupsMode != "", "--manage-cgroups-mode", o.CgroupsMode)
}

// CheckpointRequest describes a checkpoint to be taken.
type CheckpointRequest struct {
	ID string
	CriuOptions
	ParentPath string // images of an earlier pre-dump, relative to ImagePath
	Exit       bool   // end the container when it is saved; else it goes on
}

// Checkpoint saves a container with criu. If that fails the container goes on,
// and the error says what criu's log, WorkPath/dump.log, has as its last error.
func (r *Runtime) Checkpoint(ctx context.Context, q CheckpointRequest) error {
	args := q.args()
	args = appendIf(args, q.ParentPath != "", "--parent-path", q.ParentPath)
	args = appendIf(args, !q.Exit, "--leave-running")
	if err := removeLog("checkpoint", q.WorkPath, "dump.log"); err != nil {
		return err
	}
	_, err := r.run(ctx, call{verb: "checkpoint", args: args, id: q.ID, limit: r.checkpointLimit()})
	return withCriuLog(err, q.WorkPath, "dump.log")
}

// RestoreRequest describes a container to be made from a checkpoint. The
// embedded options must allow what those of the checkpoint allowed.
type RestoreRequest struct {
	ID string
	CriuOptions
	Bundle        string // as in CreateRequest, so are the following
	PidFile       string
	ConsoleSocket string
	NoPivot       bool
	Stdio         [3]*os.File
}

// Restore makes a running container from a checkpoint and returns its process.
// What it fails with is as for [Runtime.Create], with the last error of
// WorkPath/restore.log. runc's --no-subreaper is not needed since it detaches,
// and crun has no such option.
func (r *Runtime) Restore(ctx context.Context, q RestoreRequest) (*reaper.Process, error) {
	args := append(q.args(), "--detach", "--pid-file", q.PidFile, "--bundle", q.Bundle)
	args = appendIf(args, q.ConsoleSocket != "", "--console-socket", q.ConsoleSocket)
	args = appendIf(args, q.NoPivot, "--no-pivot")
	if err := removeLog("restore", q.WorkPath, "restore.log"); err != nil {
		return nil, err
	}
	p, err := r.spawn(ctx, q.PidFile, call{
		verb: "restore", args: args, id: q.ID, files: q.Stdio, ofContainer: true, limit: r.checkpointLimit(),
	})
	return p, withCriuLog(err, q.WorkPath, "restore.log")
}

func (r *Runtime) checkpointLimit() time.Duration {
	if r.CheckpointTimeout > 0 {
		return r.CheckpointTimeout
	}
	return DefaultCheckpointTimeout
}

// removeLog removes the log of an earlier run, lest it explain this one.
func removeLog(verb, dir, name string) error {
	if dir == "" {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return &Error{Verb: verb, Message: err.Error(), Err: err}
	}
	return nil
}

// withCriuLog completes the error of a runtime, whose first line mostly says
// no more than "criu failed", with what criu itself says.
func withCriuLog(err error, dir, name string) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	first, _, _ := bytes.Cut([]byte(failure.Message), []byte("\n"))
	failure.Message = string(first)
	if dir == "" {
		return failure
	}
	path := filepath.Join(dir, name)
	f, openErr := os.Open(path)
	if openErr != nil {
		return failure // criu did not get as far as its log
	}
	defer f.Close()
	tail := readTail(f)
	if len(tail) == 0 {
		return failure
	}
	failure.CriuLog = path
	failure.CriuTail = lastLines(tail)
	failure.Message += " (criu log " + path + ": " + lastError(tail) + ")"
	return failure
}

// lastError returns the last line of a criu log that reports an error, or else
// its last line: `(00.123456) Error (criu/file.c:42): text`.
func lastError(log []byte) string {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		if bytes.Contains(lines[i], []byte(" Error ")) {
			return clip(string(bytes.TrimSpace(lines[i])))
		}
	}
	return clip(string(bytes.TrimSpace(lines[len(lines)-1])))
}

// lastLines returns at most maxMessage bytes of whole lines from the end.
func lastLines(log []byte) string {
	log = bytes.TrimSpace(log)
	if cut := len(log) - maxMessage; cut > 0 {
		log = log[cut:]
		if _, rest, ok := bytes.Cut(log, []byte("\n")); ok {
			log = rest
		}
	}
	return string(log)
}
