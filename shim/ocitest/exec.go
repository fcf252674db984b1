package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// execProcess adds a process to a container.
func execProcess(inv *invocation) error {
	return inv.prefix("exec failed", func() error {
		c, err := inv.load()
		if err != nil {
			return err
		}
		switch c.status() {
		case "stopped":
			return errors.New("cannot exec in a stopped container")
		case "paused":
			return errors.New("cannot exec in a paused container (use --ignore-paused to override)")
		}
		spec, err := inv.execSpec()
		if err != nil {
			return err
		}
		return inv.addTo(c, spec)
	})
}

// execSpec is the document given by --process, or the arguments behind the id.
func (inv *invocation) execSpec() (*processSpec, error) {
	file := inv.flag("process", "p")
	if file == "" {
		return &processSpec{
			Args: inv.rest[1:], Cwd: inv.flag("cwd"), Env: os.Environ(), Terminal: inv.flag("tty", "t") != "",
		}, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	spec := &processSpec{}
	return spec, json.Unmarshal(b, spec)
}

func (inv *invocation) addTo(c *container, spec *processSpec) error {
	path, err := spec.program()
	if err != nil {
		return err
	}
	if err := spec.enter(); err != nil {
		return fmt.Errorf("unable to start container process: chdir to cwd (%q) set in config.json failed: %w", spec.Cwd, err)
	}
	pid, err := inv.fork(spec, path, spec.Args, spec.Env)
	if err != nil {
		return fmt.Errorf("unable to start container process: exec %s: %w", path, err)
	}
	err = c.change(func(c *container) error {
		p, err := identify(pid)
		c.Procs = append(c.Procs, p)
		return err
	})
	if err == nil {
		err = inv.writePidFile(pid)
	}
	if err != nil {
		syscall.Kill(pid, syscall.SIGKILL) // our own child, not waited for
		return err
	}
	if inv.flag("detach", "d") == "" {
		return waitFor(pid)
	}
	return nil
}

// waitFor passes an exit status on.
func waitFor(pid int) error {
	var ws syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &ws, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if ws.Signaled() {
			os.Exit(128 + int(ws.Signal()))
		}
		os.Exit(ws.ExitStatus())
	}
}
