package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kill signals the first process, or all.
func kill(inv *invocation) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	sig := unix.SIGTERM
	if len(inv.rest) > 1 {
		if sig, err = parseSignal(inv.rest[1]); err != nil {
			return err
		}
	}
	if inv.flag("all", "a") != "" {
		for _, pid := range c.pids() {
			if p, err := identify(pid); err == nil {
				_ = p.signal(sig) // it may be gone
			}
		}
		return nil
	}
	if c.status() == "stopped" {
		return errors.New("container not running")
	}
	if err := c.Procs[0].signal(sig); err != nil {
		return fmt.Errorf("unable to signal init: %w", err)
	}
	return nil
}

func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return unix.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

// killAll ends every process of the container and waits for that; more than
// once, since they may fork.
func (c *container) killAll() {
	for range 100 {
		pids := c.pids()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			p, err := identify(pid)
			if err != nil {
				continue
			}
			_ = p.signal(unix.SIGKILL)
			_ = p.waitDead(5 * time.Second)
		}
	}
}

// remove is the verb delete.
func remove(inv *invocation) error {
	force := inv.flag("force", "f") != ""
	c, err := inv.load()
	if errors.Is(err, errNotExist) && force {
		return nil
	}
	if err != nil {
		return err
	}
	switch s := c.status(); {
	case force, s == "created":
		c.killAll()
	case s != "stopped":
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", c.ID, s)
	}
	return os.RemoveAll(c.dir)
}

func pause(inv *invocation) error  { return inv.freeze(true) }
func resume(inv *invocation) error { return inv.freeze(false) }

func (inv *invocation) freeze(on bool) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	return c.change(func(c *container) error {
		s := c.status()
		sig := unix.SIGCONT
		switch {
		case on && s != "running" && s != "created":
			return errors.New("container not running")
		case !on && s != "paused":
			return errors.New("container not paused")
		case on:
			sig = unix.SIGSTOP
		}
		for _, pid := range c.pids() {
			if p, err := identify(pid); err == nil {
				_ = p.signal(sig)
			}
		}
		c.Paused = on
		return nil
	})
}

// update remembers the resources it is given, in resources.json.
func update(inv *invocation) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	in := os.Stdin
	if file := inv.flag("resources", "r"); file != "-" && file != "" {
		if in, err = os.Open(file); err != nil {
			return err
		}
		defer in.Close()
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if c.status() == "stopped" {
		return errors.New("container not running")
	}
	return os.WriteFile(filepath.Join(c.dir, "resources.json"), b, 0o600)
}

func ps(inv *invocation) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c.pids())
}

func state(inv *invocation) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	s := map[string]any{
		"ociVersion": "1.0.2", "id": c.ID, "bundle": c.Bundle, "status": c.status(),
		"rootfs": filepath.Join(c.Bundle, "rootfs"), "created": c.Created, "pid": 0,
	}
	if s["status"] != "stopped" {
		s["pid"] = c.Procs[0].PID
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

func features(*invocation) error {
	_, err := os.Stdout.WriteString(`{"ociVersionMin":"1.0.0","ociVersionMax":"1.0.2","annotations":{` +
		`"org.opencontainers.runc.version":"fake","org.opencontainers.runc.checkpoint.enabled":"true"}}` + "\n")
	return err
}

// image is the file in --image-path that stands for criu's images.
const image = "fake.json"

// checkpoint records the program of a container; without --leave-running the
// container ends and is gone, as with runc.
func checkpoint(inv *invocation) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	if s := c.status(); s != "running" && s != "paused" {
		return fmt.Errorf("cannot checkpoint a %s container", s)
	}
	dir := inv.flag("image-path")
	if work := inv.flag("work-path"); work != "" {
		if err := errors.Join(os.MkdirAll(work, 0o700),
			os.WriteFile(filepath.Join(work, "dump.log"), []byte("(00.000001) Dumping finished\n"), 0o600)); err != nil {
			return err
		}
	}
	doc, err := os.ReadFile(filepath.Join(c.dir, processFile))
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, image), doc, 0o600)); err != nil {
		return err
	}
	if inv.flag("leave-running") != "" {
		return nil
	}
	c.killAll()
	return os.RemoveAll(c.dir)
}

// restore runs what a checkpoint recorded, anew.
func restore(inv *invocation) error {
	return inv.prefix("runc restore failed", func() error {
		if _, err := os.Stat(filepath.Join(inv.flag("image-path"), image)); err != nil {
			return fmt.Errorf("criu failed: type NOTIFY errno 0: %w", err)
		}
		return inv.bring(inv.flag("bundle", "b"), false)
	})
}
