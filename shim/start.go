package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast/holdfast/proto/bootstrap"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/serve"
	"golang.org/x/sys/unix"
)

// maxStdin bounds what start reads from its stdin, in bytes; real ones are below
// 10 KiB.
const maxStdin = 10 << 20

// defaultSocketDir is where every runtime-v2 shim of a host puts its sockets,
// unless its daemon says otherwise (containerd 2.3 and later do).
const defaultSocketDir = "/run/containerd/s"

// taskVersion is the version of the task API we claim. 3 would tell containerd
// that one shim may host all containers of a pod.
const taskVersion = 2

// start is containerd's way in: it binds the socket, starts the serve mode with
// it, records the address and prints it. Nothing may be printed to stderr on
// success, and the serve mode must not inherit our stdout: containerd reads both
// to their end.
func (c *command) start() error {
	params, modern := c.params()
	dir := defaultSocketDir
	if params.SocketDir != "" {
		dir = params.SocketDir
	}
	lock, err := lockBundle(c.bundle)
	if err != nil {
		return fmt.Errorf("start: %w; its address stays", err)
	}
	lock.Close()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	path := socketPath(dir, c.address, c.namespace, c.id)
	listener, err := serve.Listen(path)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer listener.Close()
	address := "unix://" + path
	if err := c.launch(listener, address, params.ContainerdTtrpcAddress); err != nil {
		os.Remove(path)
		os.Remove(c.bundle + "/" + bundle.AddressFile)
		return fmt.Errorf("start: %w", err)
	}
	return c.printAddress(address, modern)
}

// params reads stdin. Since 2.3 containerd sends Params; before, the options of
// the container or nothing. Options decode as Params too, so only the right id
// and namespace tell. What cannot be read is no reason to fail: Create brings the
// options again.
func (c *command) params() (p bootstrap.Params, modern bool) {
	raw, err := io.ReadAll(io.LimitReader(c.stdin, maxStdin))
	if err != nil || p.Unmarshal(raw) != nil || p.InstanceID != c.id || p.Namespace != c.namespace {
		return bootstrap.Params{ContainerdTtrpcAddress: os.Getenv("TTRPC_ADDRESS")}, false
	}
	if p.LogLevel <= bootstrap.LogLevelDebug {
		c.debug = true
	}
	return p, true
}

// socketPath is a name that other tools can compute: ctr shim does.
func socketPath(dir, address, namespace, id string) string {
	return filepath.Join(dir, fmt.Sprintf("%x", sha256(filepath.Join(address, namespace, id))))
}

// launch starts the serve mode. The address is on record before the shim runs, so
// that whoever comes after a crash finds it.
func (c *command) launch(listener *os.File, address, publish string) error {
	if err := bundle.WriteFile(c.bundle+"/"+bundle.AddressFile, []byte(address)); err != nil {
		return err
	}
	log, err := openLog(c.bundle)
	if err != nil {
		return err
	}
	defer log.Close()
	child, err := serve.Start(serve.Request{
		Binary: executable(), Namespace: c.namespace, ID: c.id, Bundle: c.bundle,
		Listener: listener, Log: log, Publish: publish, Debug: c.debug,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), serve.StartTimeout)
	defer cancel()
	return child.Ready(ctx)
}

// openLog opens the log of the bundle, which under containerd is a FIFO: for
// reading too, so that a daemon that is away is neither waited for nor a reason
// for SIGPIPE, and nonblocking, so that one that does not read cannot stop us.
func openLog(dir string) (*os.File, error) {
	path := dir + "/" + bundle.LogFile
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_APPEND|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return os.OpenFile(os.DevNull, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// printAddress answers in the language that we were asked in.
func (c *command) printAddress(address string, modern bool) error {
	answer := []byte(address)
	if modern {
		var err error
		r := bootstrap.Result{Version: taskVersion, Address: address, Protocol: "ttrpc"}
		if answer, err = r.Marshal(); err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
	}
	_, err := c.stdout.Write(answer)
	return err
}
