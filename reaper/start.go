package reaper

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a program to start.
type Command struct {
	// Path of the program; not looked up in PATH.
	Path string
	// Args is the argument vector, Args[0] being the program's name for
	// itself. Empty means {Path}.
	Args []string
	// Env is the whole environment; nil means ours.
	Env []string
	// Dir is the working directory; "" means ours.
	Dir string
	// Files become the child's descriptors 0, 1, 2, ...; it gets no others.
	// They are borrowed until Start returns. A nil entry becomes /dev/null,
	// and so do descriptors 0 to 2 where Files is shorter.
	Files []*os.File
	// Setsid makes the child the leader of a new session, Setpgid of a new
	// process group in our session.
	Setsid, Setpgid bool
	// OOMScoreAdj, if not nil, is written to /proc/PID/oom_score_adj (proc(5))
	// as soon as the program runs. Lowering it needs CAP_SYS_RESOURCE.
	OOMScoreAdj *int
}

// Start starts c. No parent-death signal is set, and the child is in our
// process group unless c says otherwise: it outlives us. The error is that of
// fork or exec; if it is not nil no process is left.
func (r *Reaper) Start(c Command) (_ *Process, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", c.Path, err)
		}
	}()
	// A child whose exec fails is a zombie that syscall.ForkExec itself waits
	// for: the sweep must leave it alone.
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()

	files, err := r.childFiles(c.Files)
	if err != nil {
		return nil, err
	}
	args, env := c.Args, c.Env
	if len(args) == 0 {
		args = []string{c.Path}
	}
	if env == nil {
		env = os.Environ()
	}
	pidfd := -1
	pid, err := r.sys.forkExec(c.Path, args, &syscall.ProcAttr{
		Dir: c.Dir, Env: env, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: c.Setsid, Setpgid: c.Setpgid, PidFD: &pidfd},
	})
	runtime.KeepAlive(c.Files)
	if err != nil {
		return nil, err
	}
	p := r.newProcess(pid, pidfd)
	if err := r.settle(p, c.OOMScoreAdj); err != nil {
		r.abandon(p)
		return nil, err
	}
	return p, nil
}

// settle does what remains once the child runs. It is a child that nobody else
// waits for, so its pid is its own until it is registered.
func (r *Reaper) settle(p *Process, oomScoreAdj *int) error {
	if p.fd < 0 {
		return fmt.Errorf("clone with CLONE_PIDFD: %w", unix.ENOSYS)
	}
	if oomScoreAdj != nil {
		name := r.sys.proc + "/" + strconv.Itoa(p.pid) + "/oom_score_adj"
		if err := os.WriteFile(name, strconv.AppendInt(nil, int64(*oomScoreAdj), 10), 0); err != nil {
			return fmt.Errorf("set oom score: %w", err)
		}
	}
	return r.register(p)
}

// abandon kills and reaps a child that was started but never registered.
func (r *Reaper) abandon(p *Process) {
	idType, id := unix.P_PIDFD, p.fd
	if p.fd < 0 { // no pidfds here; the pid is still ours alone
		idType, id = unix.P_PID, p.pid
		unix.Kill(p.pid, unix.SIGKILL)
	} else {
		r.sys.sendSignal(p.fd, unix.SIGKILL)
	}
	var info unix.Siginfo
	for r.sys.waitid(idType, id, &info, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
	}
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
}

// childFiles returns the descriptors of files, which the caller keeps alive.
func (r *Reaper) childFiles(files []*os.File) ([]uintptr, error) {
	fds := make([]uintptr, max(len(files), 3))
	for i := range fds {
		var f *os.File
		if i < len(files) {
			f = files[i]
		}
		if f == nil {
			var err error
			if f, err = r.devNull(); err != nil {
				return nil, err
			}
		}
		// Not f.Fd(), which would put a non-blocking file into blocking mode.
		c, err := f.SyscallConn()
		if err == nil {
			err = c.Control(func(fd uintptr) { fds[i] = fd })
		}
		if err != nil {
			return nil, fmt.Errorf("pass descriptor %d: %w", i, err)
		}
	}
	return fds, nil
}

// devNull returns /dev/null, opened at the first call and closed by Close.
func (r *Reaper) devNull() (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.null == nil {
		f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		r.null = f
	}
	return r.null, nil
}
