package oci

import (
	"context"
	"strconv"

	"github.com/holdfast/holdfast/proto/jsontext"
	"golang.org/x/sys/unix"
)

// Start lets the process of a created container run its program.
func (r *Runtime) Start(ctx context.Context, id string) error {
	_, err := r.run(ctx, call{verb: "start", id: id})
	return err
}

// Kill sends a signal to the container's first process, or to all of its
// processes. Signal 0 only asks whether there is one. A process that is gone
// is [ErrFinished] with runc and, while its container is not deleted, success
// with crun.
func (r *Runtime) Kill(ctx context.Context, id string, sig unix.Signal, all bool) error {
	args := appendIf(nil, all, "--all")
	_, err := r.run(ctx, call{verb: "kill", args: args, id: id, tail: []string{strconv.Itoa(int(sig))}})
	return err
}

// Delete removes what is left of a stopped container; with force also kills
// one that is not. With force runc and crun call it success if there is
// nothing to delete, without it is [ErrNotExist].
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	args := appendIf(nil, force, "--force")
	_, err := r.run(ctx, call{verb: "delete", args: args, id: id})
	return err
}

// Pause freezes all processes of a container.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	_, err := r.run(ctx, call{verb: "pause", id: id})
	return err
}

// Resume ends a Pause.
func (r *Runtime) Resume(ctx context.Context, id string) error {
	_, err := r.run(ctx, call{verb: "resume", id: id})
	return err
}

// Update changes resource limits; resources is the OCI spec's LinuxResources.
func (r *Runtime) Update(ctx context.Context, id string, resources []byte) error {
	if resources == nil {
		resources = []byte{} // an error of the runtime's, not a wait for input
	}
	_, err := r.run(ctx, call{verb: "update", args: []string{"--resources", "-"}, id: id, input: resources})
	return err
}

// State returns the OCI runtime spec's state of a container, as JSON.
func (r *Runtime) State(ctx context.Context, id string) ([]byte, error) {
	return r.runJSON(ctx, call{verb: "state", id: id})
}

// Features returns what the runtime says it supports, as JSON; for one without
// that verb (crun before 1.9) it is [ErrUnsupported].
func (r *Runtime) Features(ctx context.Context) ([]byte, error) {
	return r.runJSON(ctx, call{verb: "features"})
}

// Pids returns the processes of a container, as our pid namespace numbers
// them.
func (r *Runtime) Pids(ctx context.Context, id string) ([]int, error) {
	out, err := r.runJSON(ctx, call{verb: "ps", args: []string{"--format", "json"}, id: id})
	if err != nil {
		return nil, err
	}
	var pids []int
	for raw := range jsontext.Array(out) {
		pid, err := jsontext.Int(raw)
		if err != nil {
			return nil, &Error{Verb: "ps", Message: err.Error(), Err: err}
		}
		pids = append(pids, int(pid))
	}
	return pids, nil
}

// runJSON is run for a verb whose output is one JSON document.
func (r *Runtime) runJSON(ctx context.Context, c call) ([]byte, error) {
	out, err := r.run(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := jsontext.Valid(out); err != nil {
		return nil, &Error{Verb: c.verb, Message: err.Error() + ": " + quoteStart(out), Err: err}
	}
	return out, nil
}
