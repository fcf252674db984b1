package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast/holdfast/manager"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

// autoRemove labels a container that was run with --rm. The holdfast that runs
// it in the foreground removes it; if that is gone, or there never was one
// (run -d), the next run, create, ps or wait does, see sweep.
const autoRemove = "holdfast.auto-remove"

// specFlags describe a new container: run, create and restore share them.
type specFlags struct {
	fs *pflag.FlagSet

	bundle, rootfs string
	mounts         []string

	env       []string
	cwd, user string
	hostname  string
	tty       bool
	stdin     bool
	readonly  bool
	network   string
	volumes   []string
	limits    *limitFlags

	labels  []string
	log     string
	remove  bool
	runtime manager.Runtime
}

func newSpecFlags(fs *pflag.FlagSet) *specFlags {
	f := &specFlags{fs: fs}
	fs.StringVar(&f.bundle, "bundle", "", "take config.json from this `directory`")
	fs.StringVar(&f.rootfs, "rootfs", "", "use this `directory` as the root file system, with a default spec")
	fs.StringArrayVar(&f.mounts, "mount", nil, "mount the root file system: `TYPE:SRC[:DST][:OPTS]` (repeat)")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "set `KEY=VALUE`, or pass KEY on (repeat)")
	fs.StringVarP(&f.cwd, "cwd", "w", "", "working `directory` of the command")
	fs.StringVarP(&f.user, "user", "u", "", "run as `USER[:GROUP]`, names or numbers")
	fs.StringVar(&f.hostname, "hostname", "", "host `name` (default the id)")
	fs.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal")
	fs.BoolVarP(&f.stdin, "interactive", "i", false, "keep its standard input open")
	fs.BoolVar(&f.readonly, "readonly", false, "make the root file system read-only")
	fs.StringVar(&f.network, "net", "private", "network `namespace`: private or host")
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "bind a directory or file: `SRC:DST[:OPTS]` (repeat)")
	f.limits = newLimitFlags(fs)
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "label the container with `KEY=VALUE` (repeat)")
	fs.StringVar(&f.log, "log", "", "`URI` of the log: file:///PATH[?format=cri|raw], null:// (default in the bundle)")
	fs.StringVar(&f.runtime.Root, "runtime-root", "", "state `directory` of the OCI runtime")
	fs.StringArrayVar(&f.runtime.Args, "runtime-arg", nil, "global `argument` for the OCI runtime (repeat)")
	fs.BoolVar(&f.runtime.SystemdCgroup, "systemd-cgroup", false, "let systemd make the cgroup")
	fs.BoolVar(&f.runtime.NoPivot, "no-pivot", false, "do not pivot_root (root on a ramdisk)")
	fs.BoolVar(&f.runtime.NoNewKeyring, "no-new-keyring", false, "keep the session keyring")
	return f
}

// given reports whether the flags name a root file system.
func (f *specFlags) given() bool { return f.bundle != "" || f.rootfs != "" || len(f.mounts) > 0 }

// check finds what cannot go together.
func (f *specFlags) check(cmd string) error {
	switch {
	case !f.given():
		return usage(cmd, "one of --rootfs, --bundle or --mount is needed")
	case f.rootfs != "" && f.bundle != "":
		return usage(cmd, "--rootfs and --bundle exclude each other")
	case f.rootfs != "" && len(f.mounts) > 0:
		return usage(cmd, "--rootfs and --mount exclude each other")
	case f.network != "private" && f.network != "host":
		return usage(cmd, "--net: %q is neither private nor host", f.network)
	}
	if f.bundle != "" {
		if name := f.defaultOnly(); name != "" {
			return usage(cmd, "--%s changes the default spec; with --bundle write it into config.json", name)
		}
	}
	return nil
}

// defaultOnly returns the first flag that was given although it only changes
// a spec that we make ourselves.
func (f *specFlags) defaultOnly() string {
	found := ""
	f.fs.Visit(func(fl *pflag.Flag) {
		if found == "" && (fl.Name == "net" || fl.Name == "volume" || f.limits.owns(fl.Name)) {
			found = fl.Name
		}
	})
	return found
}

// config turns the flags into what the manager creates a container from.
func (f *specFlags) config(c *cli, args []string) (manager.CreateConfig, error) {
	cfg := manager.CreateConfig{Runtime: f.runtime, Bundle: absolute(f.bundle), Rootfs: absolute(f.rootfs)}
	for _, text := range f.mounts {
		mnt, err := manager.ParseMount(text)
		if err != nil {
			return cfg, err
		}
		cfg.Mounts = append(cfg.Mounts, mnt)
	}
	env, err := parseEnv(f.env, c.env)
	if err != nil {
		return cfg, err
	}
	if cfg.Labels, err = parseLabels(f.labels); err != nil {
		return cfg, err
	}
	if f.remove {
		cfg.Labels[autoRemove] = "true"
	}
	cfg.Process = manager.SpecConfig{
		Args: args, Env: env, Cwd: f.cwd, User: f.user, Hostname: f.hostname,
		Terminal: f.tty, HostNetwork: f.network == "host", Readonly: f.readonly,
	}
	cfg.Stdio = manager.Stdio{OpenStdin: f.stdin, Log: f.log}
	for _, text := range f.volumes {
		mnt, err := parseVolume(text)
		if err != nil {
			return cfg, err
		}
		cfg.Process.Mounts = append(cfg.Process.Mounts, mnt)
	}
	if f.limits.given() {
		cfg.Process.Resources = &specs.LinuxResources{}
		return cfg, f.limits.apply(cfg.Process.Resources)
	}
	return cfg, nil
}

// parseVolume reads SOURCE:TARGET[:OPTIONS].
func parseVolume(text string) (specs.Mount, error) {
	source, rest, _ := strings.Cut(text, ":")
	target, options, _ := strings.Cut(rest, ":")
	if source == "" || !filepath.IsAbs(target) {
		return specs.Mount{}, fmt.Errorf("--volume: %q is not SOURCE:TARGET[:OPTIONS] with an absolute TARGET", text)
	}
	source = absolute(source)
	if _, err := os.Stat(source); err != nil {
		return specs.Mount{}, fmt.Errorf("--volume: %w", err)
	}
	mnt := specs.Mount{Type: "bind", Source: source, Destination: target, Options: []string{"rbind"}}
	if options != "" {
		mnt.Options = append(mnt.Options, strings.Split(options, ",")...)
	}
	return mnt, nil
}

// make creates the container. An id that is only taken by a leftover of --rm
// is freed first.
func (f *specFlags) make(ctx context.Context, c *cli, m *manager.Manager, id string, args []string) (*manager.Container, error) {
	cfg, err := f.config(c, args)
	if err != nil {
		return nil, err
	}
	if old, err := m.Load(ctx, id); err == nil {
		c.sweep(ctx, m, old)
		old.Close()
	}
	return m.Create(ctx, id, cfg)
}

// command returns the arguments behind the id, without a leading "--".
func trailing(cmd string, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if args[0] == "--" {
		return args[1:], nil
	}
	if strings.HasPrefix(args[0], "-") {
		return nil, usage(cmd, "options go before the id: %s", args[0])
	}
	return args, nil
}
