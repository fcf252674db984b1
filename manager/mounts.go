package manager

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast/holdfast/proto/types"
)

// ParseMount reads TYPE:SOURCE[:TARGET][:OPTION,...], e.g.
//
//	bind:/srv/root
//	tmpfs:tmpfs:/run:size=1m
//	overlay:overlay:lowerdir=/b:/a,upperdir=/u,workdir=/w
//
// A third part that does not begin with a slash is options already, and options
// go on to the end, colons and all. A bind mount without rbind gets it.
func ParseMount(s string) (Mount, error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok || kind == "" || rest == "" {
		return Mount{}, fmt.Errorf("parse mount %q: not TYPE:SOURCE[:TARGET][:OPTION,...]: %w", s, ErrInvalid)
	}
	source, rest, _ := strings.Cut(rest, ":")
	m := Mount{Type: kind, Source: source}
	options := rest
	if rest == "" || rest[0] == '/' || rest[0] == ':' {
		m.Target, options, _ = strings.Cut(rest, ":")
	}
	if options != "" {
		m.Options = strings.Split(options, ",")
	}
	if m.Type == "bind" && !hasBind(m.Options) {
		m.Options = append(m.Options, "rbind")
	}
	if err := m.check(); err != nil { // whether it may be at Target, its neighbours decide
		return Mount{}, fmt.Errorf("parse mount %q: %w", s, err)
	}
	return m, nil
}

func hasBind(options []string) bool {
	for _, o := range options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}

// checkMounts finds what can be known to be wrong before a shim mounts.
func checkMounts(mounts []Mount) error {
	for i, m := range mounts {
		if err := m.check(); err != nil {
			return fmt.Errorf("mount %d (%s): %w", i, m.Type, err)
		}
		if i == 0 && strings.Trim(m.Target, "/") != "" {
			return fmt.Errorf("mount 0 (%s) is at %s, the first one must be the root: %w", m.Type, m.Target, ErrInvalid)
		}
	}
	return nil
}

// check finds what is wrong with a mount by itself.
func (m Mount) check() error {
	switch {
	case m.Type == "":
		return fmt.Errorf("it has no type: %w", ErrInvalid)
	case m.Source == "":
		return fmt.Errorf("it has no source: %w", ErrInvalid)
	}
	for _, dir := range mountDirs(m) {
		if err := checkSource(dir); err != nil {
			return err
		}
	}
	return nil
}

// checkSource checks one directory, or file, that is to be shown.
func checkSource(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path: %w", path, ErrInvalid)
	}
	if strings.Contains(path, `\\`) { // escaped colons are overlayfs's business
		return nil
	}
	_, err := os.Stat(path)
	return err
}

// mountDirs returns the directories whose files a mount shows, the topmost
// first.
func mountDirs(m Mount) []string {
	if m.Type == "bind" {
		return []string{m.Source}
	}
	var upper, lower []string
	for _, o := range m.Options {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "upperdir":
			upper = append(upper, value)
		case "lowerdir":
			for _, dir := range strings.Split(value, ":") {
				if dir != "" { // "::" sets data-only layers apart
					lower = append(lower, dir)
				}
			}
		case "lowerdir+":
			lower = append(lower, value)
		}
	}
	return append(upper, lower...)
}

// rootDirs returns the directories in which a file of the container's root may
// be found, the topmost first: what is mounted can be read before it is.
func rootDirs(rootfs string, mounts []Mount) []string {
	if rootfs != "" {
		return []string{rootfs}
	}
	for _, m := range mounts {
		if strings.Trim(m.Target, "/") == "" {
			return mountDirs(m)
		}
	}
	return nil
}

// wireMounts is how a shim gets them.
func wireMounts(mounts []Mount) []*types.Mount {
	var out []*types.Mount
	for _, m := range mounts {
		out = append(out, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return out
}
