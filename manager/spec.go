package manager

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// SpecConfig is what a caller wants of a spec. For DefaultSpec a zero field has
// a default; laid over a given spec, only what is set counts.
type SpecConfig struct {
	Args     []string // program and arguments; default "sh"
	Env      []string // KEY=VALUE, added to or replacing
	Cwd      string   // default "/"
	User     string   // NAME|UID[:NAME|GID], names looked up in the root's /etc/passwd and /etc/group
	Hostname string   // default the container's id
	Terminal bool
	Size     Size // of the terminal, if it shall be in the spec

	HostNetwork bool // share the host's network
	Readonly    bool // root file system read-only

	Mounts    []specs.Mount         // after those that there are
	Resources *specs.LinuxResources // instead of those that there are; without Devices, the default ones
}

// DefaultSpec makes a spec to run a program in the directory rootfs: the
// namespaces, mounts, capabilities and masks that people are used to, and a
// network namespace of its own without any interface configured. Users are
// looked up in rootfs; the caller owns the result.
func (m *Manager) DefaultSpec(id, rootfs string, cfg SpecConfig) (*specs.Spec, error) {
	dir, err := directory(rootfs)
	if err != nil {
		return nil, fmt.Errorf("make spec: rootfs: %w", err)
	}
	return m.defaultSpec(id, dir, []string{dir}, Runtime{}, cfg)
}

// defaultSpec is DefaultSpec with a root path that need not exist yet and the
// directories where its files are now.
func (m *Manager) defaultSpec(id, rootPath string, roots []string, rt Runtime, cfg SpecConfig) (*specs.Spec, error) {
	account, err := lookupUser(roots, cmp.Or(cfg.User, "0"))
	if err != nil && cfg.User != "" { // root needs no entry, nor files that can be read
		return nil, fmt.Errorf("make spec: %w", err)
	}
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + cmp.Or(account.home, "/"),
	}
	if cfg.Terminal {
		env = append(env, "TERM=xterm")
	}
	args := cfg.Args
	if len(args) == 0 {
		args = []string{"sh"}
	}
	cwd := cfg.Cwd
	if cwd == "" {
		cwd = "/"
	}
	hostname := cfg.Hostname
	if hostname == "" {
		hostname = id
	}
	caps := defaultCapabilities()
	s := &specs.Spec{
		Version:  "1.0.2", // what the oldest OCI runtimes in use accept; nothing newer is used
		Hostname: hostname[:min(len(hostname), maxHostname)],
		Root:     &specs.Root{Path: rootPath, Readonly: cfg.Readonly},
		Process: &specs.Process{
			Terminal: cfg.Terminal, ConsoleSize: cfg.Size.box(), User: account.user,
			Args: args, Env: mergeEnv(env, cfg.Env), Cwd: cwd,
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:         []specs.POSIXRlimit{nofile()},
			NoNewPrivileges: true,
		},
		Mounts: append(defaultMounts(), cfg.Mounts...),
		Linux: &specs.Linux{
			Namespaces:    defaultNamespaces(cfg.HostNetwork),
			Resources:     resources(cfg.Resources),
			CgroupsPath:   m.cgroupsPath(id, rt),
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: readonlyPaths(),
		},
	}
	return s, nil
}

// nofile is the container's limit of open files: as soft as select(2) can bear,
// and as hard as a million, or our own hard limit where that is lower: raising
// it takes a capability that we may not have (setrlimit(2)).
func nofile() specs.POSIXRlimit {
	const soft, hard = 1024, 1 << 20
	most := uint64(hard)
	var ours unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &ours); err == nil {
		most = min(most, ours.Max)
	}
	return specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: min(soft, most), Hard: most}
}

// maxHostname is the longest host name the kernel takes, in bytes
// (HOST_NAME_MAX).
const maxHostname = 64

// cgroupsPath is where a container's cgroup goes, in the syntax of the driver
// that makes it. It is one level deep: the OCI runtime makes parents that are
// missing and removes none, and what it left nobody could remove without racing
// with the next create. No id has two dashes in a row, so no two names of a root
// meet; a hash of its path tells one root from another.
func (m *Manager) cgroupsPath(id string, rt Runtime) string {
	sum := sha256.Sum256([]byte(m.root))
	name := hex.EncodeToString(sum[:4]) + "--" + m.namespace + "--" + id
	if rt.SystemdCgroup {
		return "system.slice:holdfast:" + name
	}
	return "/holdfast--" + name
}

// box is the size as a spec has it, nil if there is none.
func (s Size) box() *specs.Box {
	if s == (Size{}) {
		return nil
	}
	return &specs.Box{Width: uint(s.Width), Height: uint(s.Height)}
}

// mergeEnv returns env with the variables of more set, in place or at the end.
func mergeEnv(env, more []string) []string {
	env = slices.Clone(env)
	for _, kv := range more {
		key, _, _ := strings.Cut(kv, "=")
		i := slices.IndexFunc(env, func(have string) bool { return strings.HasPrefix(have, key+"=") })
		if i >= 0 {
			env[i] = kv
		} else {
			env = append(env, kv)
		}
	}
	return env
}
