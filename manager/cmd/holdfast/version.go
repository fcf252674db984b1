package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// version of this command, set by the linker and by nobody else. The shim's is
// its own, for the two may be upgraded one after the other.
var version = "0.1.0"

// askTime bounds how long a program may take to tell its version.
const askTime = 5 * time.Second

// program is a program that holdfast relies on.
type program struct {
	Name    string `json:"name"`
	Path    string `json:"path"`    // "" if it is not there
	Version string `json:"version"` // first line of what it says, or why it says nothing
}

// versions is the JSON of version.
type versions struct {
	Version  string    `json:"version"`
	Revision string    `json:"revision"`
	Go       string    `json:"go"`
	Kernel   string    `json:"kernel"`
	Shim     program   `json:"shim"`
	Runtimes []program `json:"runtimes"`
	Criu     program   `json:"criu"`
}

func setupVersion(*pflag.FlagSet) action {
	return func(ctx context.Context, c *cli, _ []string) error {
		v := c.versions(ctx)
		if c.json {
			return c.ui.object(v)
		}
		c.ui.line("holdfast %s%s %s", v.Version, revisionText(v.Revision), v.Go)
		c.ui.line("kernel   %s", v.Kernel)
		c.ui.line("shim     %s", v.Shim.text("see --shim"))
		if len(v.Runtimes) == 0 {
			c.ui.line("runtime  none found: install runc or crun")
		}
		for _, p := range v.Runtimes {
			c.ui.line("runtime  %s", p.text("see --runtime"))
		}
		c.ui.line("criu     %s", v.Criu.text("needed by checkpoint and restore alone"))
		return nil
	}
}

func (c *cli) versions(ctx context.Context) versions {
	v := versions{Version: version, Go: runtime.Version(), Kernel: kernel(), Runtimes: []program{}}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	v.Shim = ask(ctx, or(c.shim, manager.DefaultShim), besideUs(), "-v")
	names := []string{"runc", "crun"}
	if c.runtime != "" && c.runtime != "runc" && c.runtime != "crun" {
		names = append([]string{c.runtime}, names...)
	}
	for _, name := range names {
		if p := ask(ctx, name, "", "--version"); p.Path != "" || name == c.runtime {
			v.Runtimes = append(v.Runtimes, p)
		}
	}
	v.Criu = ask(ctx, "criu", c.criuDir, "--version")
	return v
}

// ask runs a program to learn its version. It is looked for in dir first.
func ask(ctx context.Context, name, dir, flag string) program {
	p := program{Name: filepath.Base(name)}
	path := ""
	if dir != "" && !strings.ContainsRune(name, '/') {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			path = found
		}
	}
	if path == "" {
		found, err := exec.LookPath(name)
		if err != nil {
			return p
		}
		path = found
	}
	p.Path = absolute(path)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, flag)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	switch first, rest, _ := strings.Cut(strings.TrimSpace(string(out)), "\n"); {
	case strings.HasSuffix(first, ":"): // a shim's: its name, then lines "Version: ..."
		p.Version = strings.Join(strings.Fields(rest), " ")
	case first != "":
		p.Version = oneLine(first)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		p.Version = fmt.Sprintf("does not answer within %s", askTime)
	case err != nil:
		p.Version = oneLine(err.Error())
	}
	return p
}

func (p program) text(hint string) string {
	if p.Path == "" {
		return fmt.Sprintf("%s not found (%s)", p.Name, hint)
	}
	return fmt.Sprintf("%s (%s)", p.Version, p.Path)
}

// besideUs is the directory of this program.
func besideUs() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Dir(self)
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(release))
}

func revisionText(revision string) string {
	if revision == "" {
		return ""
	}
	return " (" + revision[:min(12, len(revision))] + ")"
}
