package manager

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// overlaySpec lays what is set in cfg over a given spec.
func overlaySpec(d document, roots []string, cfg SpecConfig) error {
	p, err := d.object("process")
	if err != nil {
		return err
	}
	if err := overlayProcess(p, roots, cfg); err != nil {
		return err
	}
	if len(p) > 0 {
		if err := d.set("process", p); err != nil {
			return err
		}
	}
	if cfg.Hostname != "" {
		if err := d.set("hostname", cfg.Hostname); err != nil {
			return err
		}
	}
	if cfg.Readonly {
		root, err := d.object("root")
		if err != nil {
			return err
		}
		if err := errors.Join(root.set("readonly", true), d.set("root", root)); err != nil {
			return err
		}
	}
	if cfg.HostNetwork {
		if err := dropNetwork(d); err != nil {
			return err
		}
	}
	if cfg.Resources != nil {
		linux, err := d.object("linux")
		if err != nil {
			return err
		}
		if err := errors.Join(linux.set("resources", resources(cfg.Resources)), d.set("linux", linux)); err != nil {
			return err
		}
	}
	return addMounts(d, cfg.Mounts)
}

// addMounts adds mounts to those of a spec.
func addMounts(d document, more []specs.Mount) error {
	if len(more) == 0 {
		return nil
	}
	var all []json.RawMessage
	if raw, ok := d["mounts"]; ok {
		if err := json.Unmarshal(raw, &all); err != nil {
			return fmt.Errorf("parse spec: mounts: %w: %w", ErrInvalid, err)
		}
	}
	for _, m := range more {
		raw, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("encode mount %s: %w", m.Destination, err)
		}
		all = append(all, raw)
	}
	return d.set("mounts", all)
}

// overlayProcess lays what is set in cfg over a process.
func overlayProcess(p document, roots []string, cfg SpecConfig) error {
	var errs []error
	set := func(wanted bool, key string, value any) {
		if wanted {
			errs = append(errs, p.set(key, value))
		}
	}
	set(len(cfg.Args) > 0, "args", cfg.Args)
	set(cfg.Cwd != "", "cwd", cfg.Cwd)
	set(cfg.Terminal, "terminal", true)
	set(cfg.Size != Size{}, "consoleSize", cfg.Size.box())
	if len(cfg.Env) > 0 {
		var env []string
		if raw, ok := p["env"]; ok {
			errs = append(errs, json.Unmarshal(raw, &env))
		}
		set(true, "env", mergeEnv(env, cfg.Env))
	}
	if cfg.User != "" {
		account, err := lookupUser(roots, cfg.User)
		if err != nil {
			return err
		}
		set(true, "user", account.user)
	}
	return errors.Join(errs...)
}

// dropNetwork removes the network namespace, so that the host's is used.
func dropNetwork(d document) error {
	linux, err := d.object("linux")
	if err != nil {
		return err
	}
	var namespaces []specs.LinuxNamespace
	if raw, ok := linux["namespaces"]; ok {
		if err := json.Unmarshal(raw, &namespaces); err != nil {
			return fmt.Errorf("parse spec: linux.namespaces: %w: %w", ErrInvalid, err)
		}
	}
	namespaces = slices.DeleteFunc(namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	return errors.Join(linux.set("namespaces", namespaces), d.set("linux", linux))
}
