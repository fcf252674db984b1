package shim

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/internal/container"
)

// defaultRuntimeRoot is where the reference shim has the OCI runtime keep its
// state, so that a drop-in finds and is found by the same tools.
const defaultRuntimeRoot = "/run/containerd/runc"

// createRequest decodes a Create, whoever sent it: our manager (CreateOptions),
// containerd for the runc runtime (runc's options), containerd's CRI for any other
// runtime name (a piece of TOML), or somebody without options.
func (s *shim) createRequest(r *task.CreateTaskRequest) (container.CreateRequest, error) {
	req := container.CreateRequest{
		Rootfs:     r.Rootfs,
		Streams:    container.Streams{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
		Checkpoint: r.Checkpoint,
		Linger:     true,
	}
	if r.Bundle != "" && !bundle.SameDir(r.Bundle, s.cfg.Bundle) {
		return req, fmt.Errorf("create container: bundle %s: this shim was started in %s: %w", r.Bundle, s.cfg.Bundle, container.ErrInvalid)
	}
	var rt options.Options
	if options.Is(urlOf(r.Options), shimv1.TypeCreateOptions) {
		var own shimv1.CreateOptions
		if err := unpack(r.Options, shimv1.TypeCreateOptions, &own); err != nil {
			return req, err
		}
		if own.Runtime != nil {
			rt = *own.Runtime
		}
		applyOwn(&req, &own)
	} else if err := runtimeOptions(r.Options, &rt); err != nil {
		return req, err
	}
	s.applyRuntime(&req, &rt)
	return req, nil
}

// applyOwn applies what only our manager says.
func applyOwn(req *container.CreateRequest, own *shimv1.CreateOptions) {
	side := func(n uint32) uint16 { return uint16(min(n, 1<<16-1)) }
	req.Linger = own.Linger
	req.Size = console.Size{Width: side(own.ConsoleWidth), Height: side(own.ConsoleHeight)}
	req.Runtime.Args, req.Runtime.CriuDir = own.RuntimeArgs, own.CriuDir
	if own.Restore != nil {
		req.Restore = criuOptions(own.Restore)
	}
}

// runtimeOptions reads runc's options out of what a daemon sends.
func runtimeOptions(a *types.Any, rt *options.Options) error {
	switch url := urlOf(a); {
	case url == "":
		return nil
	case options.Is(url, options.TypeRunc):
		return unpack(a, options.TypeRunc, rt)
	case options.Is(url, options.TypeCRI):
		var cri options.CRIOptions
		if err := unpack(a, options.TypeCRI, &cri); err != nil {
			return err
		}
		return parseCRI(string(cri.ConfigBody), rt)
	default:
		return fmt.Errorf("decode options: they are of the unknown type %q: %w", quote(url), container.ErrInvalid)
	}
}

func (s *shim) applyRuntime(req *container.CreateRequest, rt *options.Options) {
	root := rt.Root
	if root == "" {
		root = defaultRuntimeRoot
	}
	binary := rt.BinaryName
	if binary == "" {
		binary = "runc"
	}
	if rt.CriuPath != "" && req.Runtime.CriuDir == "" {
		req.Runtime.CriuDir = filepath.Dir(rt.CriuPath)
	}
	req.Runtime = bundle.Runtime{
		Binary: binary, Root: filepath.Join(root, s.cfg.Namespace), SystemdCgroup: rt.SystemdCgroup,
		NoPivot: rt.NoPivotRoot, NoNewKeyring: rt.NoNewKeyring,
		Args: req.Runtime.Args, CriuDir: req.Runtime.CriuDir,
	}
	req.IOUID, req.IOGID = int(rt.IoUid), int(rt.IoGid)
	req.CriuWorkPath = rt.CriuWorkPath
}

// parseCRI reads the keys of runc's options from the TOML that CRI passes on:
// "Key = value" lines, as its encoder writes them. Other keys belong to others,
// and so does all that comes after the head of a table.
func parseCRI(body string, rt *options.Options) error {
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			break
		}
		key, val, ok := strings.Cut(line, "=")
		key, val = strings.TrimSpace(key), strings.TrimSpace(val)
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if err := setCRI(strings.Trim(key, `"`), val, rt); err != nil {
			return fmt.Errorf("parse runtime options: %s = %s: %w", key, val, container.ErrInvalid)
		}
	}
	return nil
}

var errNotTOML = errors.New("not a value of that type")

func setCRI(key, val string, rt *options.Options) (err error) {
	text := func(to *string) {
		if len(val) >= 2 && val[0] == '\'' && val[len(val)-1] == '\'' {
			*to = val[1 : len(val)-1]
			return
		}
		if !strings.HasPrefix(val, `"`) { // Go has more quotes than TOML
			err = errNotTOML
			return
		}
		*to, err = strconv.Unquote(val)
	}
	flag := func(to *bool) {
		if *to = val == "true"; !*to && val != "false" {
			err = errNotTOML
		}
	}
	number := func(to *uint32) {
		var n uint64
		n, err = strconv.ParseUint(val, 10, 32)
		*to = uint32(n)
	}
	switch key {
	case "NoPivotRoot":
		flag(&rt.NoPivotRoot)
	case "NoNewKeyring":
		flag(&rt.NoNewKeyring)
	case "ShimCgroup":
		text(&rt.ShimCgroup)
	case "IoUid":
		number(&rt.IoUid)
	case "IoGid":
		number(&rt.IoGid)
	case "BinaryName":
		text(&rt.BinaryName)
	case "Root":
		text(&rt.Root)
	case "SystemdCgroup":
		flag(&rt.SystemdCgroup)
	case "CriuWorkPath":
		text(&rt.CriuWorkPath)
	}
	return err
}

// pack wraps m for a field of type Any.
func pack(url string, m wire.Message) (*types.Any, error) {
	raw, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", url, err)
	}
	return &types.Any{TypeUrl: url, Value: raw}, nil
}

// unpack decodes a into m. No Any at all is a zero message.
func unpack(a *types.Any, want string, m wire.Message) error {
	if a == nil || (a.TypeUrl == "" && len(a.Value) == 0) {
		return nil
	}
	if !options.Is(a.TypeUrl, want) {
		return fmt.Errorf("decode options: they are of type %q, not %q: %w", a.TypeUrl, want, container.ErrInvalid)
	}
	if err := m.Unmarshal(a.Value); err != nil {
		return fmt.Errorf("decode %s: %v: %w", want, err, container.ErrInvalid)
	}
	return nil
}

func urlOf(a *types.Any) string {
	if a == nil {
		return ""
	}
	return a.TypeUrl
}

func valueOf(a *types.Any) []byte {
	if a == nil {
		return nil
	}
	return a.Value
}
