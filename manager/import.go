package manager

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holdfast/holdfast/proto/bundle"
)

// makeSpec returns the config.json of a new container.
func (m *Manager) makeSpec(id string, cfg CreateConfig, rec Record) ([]byte, error) {
	given, base, err := givenSpec(cfg)
	if err != nil {
		return nil, err
	}
	rootPath := rec.Rootfs
	if len(rec.Mounts) > 0 {
		rootPath = bundle.RootfsDir
	}
	if given == nil {
		if rootPath == "" {
			return nil, fmt.Errorf("neither a spec nor a root file system: %w", ErrInvalid)
		}
		s, err := m.defaultSpec(id, rootPath, rootDirs(rec.Rootfs, rec.Mounts), rec.Runtime, cfg.Process)
		if err != nil {
			return nil, err
		}
		return json.MarshalIndent(s, "", "  ")
	}
	doc, err := parseDocument(given)
	if err != nil {
		return nil, err
	}
	roots, err := placeRoot(doc, rootPath, base)
	if err != nil {
		return nil, err
	}
	if len(rec.Mounts) > 0 {
		roots = rootDirs("", rec.Mounts)
	}
	if err := overlaySpec(doc, roots, cfg.Process); err != nil {
		return nil, err
	}
	return doc.encode()
}

// givenSpec returns the spec that the configuration brings along, and the
// directory that relative paths in it are below. nil if it brings none.
func givenSpec(cfg CreateConfig) (raw []byte, base string, err error) {
	n := 0
	if cfg.Bundle != "" {
		n++
		dir, err := directory(cfg.Bundle)
		if err != nil {
			return nil, "", fmt.Errorf("import bundle: %w", err)
		}
		raw, err = os.ReadFile(filepath.Join(dir, bundle.ConfigFile))
		if err != nil {
			return nil, "", fmt.Errorf("import bundle: %w", err)
		}
		base = dir
	}
	if cfg.SpecJSON != nil {
		n++
		raw = cfg.SpecJSON
	}
	if cfg.Spec != nil {
		n++
		if raw, err = json.Marshal(cfg.Spec); err != nil {
			return nil, "", fmt.Errorf("encode spec: %w: %w", ErrInvalid, err)
		}
	}
	if n > 1 {
		return nil, "", fmt.Errorf("more than one of bundle, SpecJSON and Spec: %w", ErrInvalid)
	}
	if raw != nil {
		if err := checkJSON(raw); err != nil {
			return nil, "", fmt.Errorf("parse %s: %w", filepath.Join(base, bundle.ConfigFile), err)
		}
	}
	return raw, base, nil
}

// checkJSON says where raw is not a spec.
func checkJSON(raw []byte) error {
	var s specs.Spec
	err := json.Unmarshal(raw, &s)
	if err == nil {
		return nil
	}
	offset := int64(-1)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	} else if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = e.Offset
	}
	if offset < 0 || offset > int64(len(raw)) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	line := 1 + bytes.Count(raw[:offset], []byte("\n"))
	return fmt.Errorf("line %d: %w: %w", line, ErrInvalid, err)
}

// placeRoot sets root.path: to rootPath if there is one, else to the spec's own
// made absolute below base. It returns where the root's files are.
func placeRoot(d document, rootPath, base string) ([]string, error) {
	root, err := d.object("root")
	if err != nil {
		return nil, err
	}
	if rootPath == "" {
		if raw, ok := root["path"]; ok {
			if err := json.Unmarshal(raw, &rootPath); err != nil {
				return nil, fmt.Errorf("parse spec: root.path: %w: %w", ErrInvalid, err)
			}
		}
		switch {
		case rootPath == "":
			return nil, fmt.Errorf("spec has no root.path: %w", ErrInvalid)
		case filepath.IsAbs(rootPath):
		case base == "":
			return nil, fmt.Errorf("root.path %q is relative, to no bundle: %w", rootPath, ErrInvalid)
		default:
			rootPath = filepath.Join(base, rootPath)
		}
		if rootPath, err = directory(rootPath); err != nil {
			return nil, fmt.Errorf("root.path: %w", err)
		}
	}
	if err := root.set("path", rootPath); err != nil {
		return nil, err
	}
	return []string{rootPath}, d.set("root", root)
}

// Spec reads config.json.
func (c *Container) Spec() (*specs.Spec, error) {
	raw, err := os.ReadFile(filepath.Join(c.dir, bundle.ConfigFile))
	if err != nil {
		return nil, fmt.Errorf("read spec of %s: %w", c.id, err)
	}
	var s specs.Spec
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read spec of %s: %w: %w", c.id, ErrInvalid, err)
	}
	return &s, nil
}
