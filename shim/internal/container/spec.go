package container

import (
	"fmt"
	"strconv"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/jsontext"
)

// spec is what the shim itself needs to know of the OCI spec; everything else is
// the OCI runtime's business.
type spec struct {
	// sharesPID: the container lives in a pid namespace that it did not get for
	// itself, so the kernel will not end its processes when init ends.
	sharesPID bool
	size      console.Size // process.consoleSize
}

func parseSpec(raw []byte) (spec, error) {
	if err := jsontext.Valid(raw); err != nil {
		return spec{}, fmt.Errorf("parse config.json: %w", err)
	}
	s := spec{sharesPID: true}
	list, _ := jsontext.Get(raw, "linux", "namespaces")
	for ns := range jsontext.Array(list) {
		kind, _ := jsontext.Get(ns, "type")
		path, _ := jsontext.Get(ns, "path")
		k, _ := jsontext.String(kind)
		if p, _ := jsontext.String(path); k == "pid" && p == "" {
			s.sharesPID = false
		}
	}
	process, _ := jsontext.Get(raw, "process")
	s.size = consoleSize(process)
	return s, nil
}

// consoleSize returns the consoleSize of a process object, zero if it has none.
func consoleSize(process []byte) console.Size {
	side := func(name string) uint16 {
		raw, _ := jsontext.Get(process, "consoleSize", name)
		n, err := jsontext.Uint(raw)
		if err != nil || n > 1<<16-1 {
			return 0
		}
		return uint16(n)
	}
	return console.Size{Width: side("width"), Height: side("height")}
}

// execSpec returns the process object to run, with the terminal and size of the
// request, which win over what the client wrote into it.
func execSpec(raw []byte, terminal bool, size console.Size) ([]byte, error) {
	raw, err := jsontext.Set(raw, "terminal", strconv.AppendBool(nil, terminal))
	if err != nil {
		return nil, err
	}
	if !terminal || size == (console.Size{}) {
		return raw, nil
	}
	var b jsontext.Builder
	b.Uint("height", uint64(size.Height)).Uint("width", uint64(size.Width))
	return jsontext.Set(raw, "consoleSize", b.Bytes())
}

// checkExecSpec refuses what no OCI runtime could run, before a process is
// promised to the caller.
func checkExecSpec(raw []byte) error {
	if len(raw) == 0 {
		return Faultf(ErrInvalid, "add exec: the request has no process spec: invalid argument")
	}
	if err := jsontext.Valid(raw); err != nil {
		return Faultf(ErrInvalid, "add exec: parse process spec: %v", err)
	}
	args, _ := jsontext.Get(raw, "args")
	list, err := jsontext.Strings(args)
	if err != nil || len(list) == 0 {
		return Faultf(ErrInvalid, "add exec: the process spec names no args: invalid argument")
	}
	return nil
}
