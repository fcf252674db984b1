package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processSpec is what the fake knows of the OCI spec's Process.
type processSpec struct {
	Terminal    bool     `json:"terminal"`
	Args        []string `json:"args"`
	Env         []string `json:"env"`
	Cwd         string   `json:"cwd"`
	ConsoleSize *struct {
		Height uint16 `json:"height"`
		Width  uint16 `json:"width"`
	} `json:"consoleSize"`
}

// initVerb is how the fake calls itself for the parked process.
const initVerb = "init"

// create makes a container whose process waits for start.
func create(inv *invocation) error {
	return inv.prefix("runc create failed", func() error {
		return inv.bring(inv.flag("bundle", "b"), true)
	})
}

// prefix has the errors of f begin as runc's do.
func (inv *invocation) prefix(text string, f func() error) error {
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// bring makes a container from a bundle, parked or already started, or leaves
// nothing.
func (inv *invocation) bring(bundle string, parked bool) (err error) {
	var spec struct {
		Process *processSpec `json:"process"`
	}
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("JSON specification file config.json not found")
	}
	if err == nil {
		err = json.Unmarshal(b, &spec)
	}
	if err != nil {
		return err
	}
	if spec.Process == nil {
		return errors.New("process property must not be empty")
	}
	if _, err := spec.Process.program(); err != nil {
		return err
	}
	c, err := inv.makeContainer(bundle)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.killAll()
			os.RemoveAll(c.dir)
		}
	}()
	return inv.fill(c, spec.Process, parked)
}

// fill starts the first process of a container and records it.
func (inv *invocation) fill(c *container, spec *processSpec, parked bool) error {
	doc, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.dir, processFile), doc, 0o600); err != nil {
		return err
	}
	if parked {
		if err := unix.Mkfifo(filepath.Join(c.dir, startFifo), 0o600); err != nil {
			return err
		}
	}
	pid, err := inv.fork(spec, "/proc/self/exe", []string{"fakeoci", initVerb, c.dir}, []string{EnvFake + "=1", noRaceSleep})
	if err != nil {
		return err
	}
	p, err := identify(pid)
	if err != nil {
		return err
	}
	c.Procs = []process{p}
	if err := c.save(); err != nil {
		return err
	}
	return inv.writePidFile(pid)
}

// fork starts a program as the leader of a session, on the terminal that the
// spec asks for or on our own stdio.
func (inv *invocation) fork(spec *processSpec, path string, argv, env []string) (int, error) {
	files := []uintptr{0, 1, 2}
	sys := &syscall.SysProcAttr{Setsid: true}
	if socket := inv.flag("console-socket"); spec.Terminal {
		if socket == "" {
			return 0, errors.New("cannot allocate tty if runc will detach without setting console socket")
		}
		slave, err := openConsole(socket, spec)
		if err != nil {
			return 0, err
		}
		defer slave.Close()
		files = []uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
		sys.Setctty, sys.Ctty = true, 0
	} else if socket != "" {
		return 0, errors.New("cannot use console socket if runc will not detach or allocate tty")
	}
	// As runc does, hand on nothing that our caller left open.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 0, err
	}
	return syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: env, Files: files, Sys: sys})
}

// runInit is the parked process: it waits until start opens the FIFO, tells it,
// and becomes the program.
func runInit(dir string) int {
	var spec processSpec
	b, err := os.ReadFile(filepath.Join(dir, processFile))
	if err == nil {
		err = json.Unmarshal(b, &spec)
	}
	var path string
	if err == nil {
		path, err = spec.program()
	}
	if err == nil {
		err = park(filepath.Join(dir, startFifo))
	}
	if err == nil {
		err = spec.enter()
	}
	if err == nil {
		err = syscall.Exec(path, spec.Args, spec.Env)
		err = fmt.Errorf("exec %s: %w", path, err)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// park blocks until the FIFO has a reader. No FIFO is a restored container.
func park(fifo string) error {
	fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(fifo, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	if err == unix.ENOENT {
		return nil
	}
	if err == nil {
		_, err = unix.Write(fd, []byte{0})
	}
	return err
}

// start lets the parked process run its program.
func start(inv *invocation) error {
	c, err := inv.load()
	if err != nil {
		return err
	}
	switch c.status() {
	case "created":
	case "stopped":
		return errors.New("cannot start a container that has stopped")
	default:
		return errors.New("cannot start an already running container")
	}
	// The pidfd first: once the FIFO has a reader the process may run, end and
	// be reaped at any time.
	pidfd, err := c.Procs[0].open()
	if err != nil {
		return errors.New("container process is already dead")
	}
	defer unix.Close(pidfd)
	fifo := filepath.Join(c.dir, startFifo)
	// Non-blocking, so that a process that dies meanwhile is not waited for.
	fd, err := unix.Open(fifo, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	first, err := poll(10*time.Second, fd, pidfd)
	if err != nil {
		return err
	}
	if first != 0 {
		return errors.New("container process is already dead")
	}
	return os.Remove(fifo)
}

// program finds the spec's program in the PATH of its own environment. The
// words are runc's.
func (s *processSpec) program() (string, error) {
	const start = "unable to start container process: "
	if len(s.Args) == 0 || s.Args[0] == "" {
		return "", errors.New(start + "args must not be empty")
	}
	name := s.Args[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.Cwd, name)
		}
		if err := runnable(name); err != nil {
			return "", fmt.Errorf(start+"exec: %q: %w", s.Args[0], err)
		}
		return name, nil
	}
	for _, kv := range s.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				if full := filepath.Join(dir, name); runnable(full) == nil {
					return full, nil
				}
			}
		}
	}
	return "", fmt.Errorf(start+"exec: %q: executable file not found in $PATH", name)
}

func runnable(path string) error {
	info, err := os.Stat(path)
	if err == nil && (info.IsDir() || info.Mode()&0o111 == 0) {
		return os.ErrPermission
	}
	return err
}

// enter changes into the spec's working directory.
func (s *processSpec) enter() error {
	if s.Cwd == "" {
		return nil
	}
	return os.Chdir(s.Cwd)
}
