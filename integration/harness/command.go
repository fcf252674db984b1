package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Result is how a call of holdfast ended.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int // -1 if a signal ended it
}

// String describes r for a failed test.
func (r Result) String() string {
	return fmt.Sprintf("holdfast %s: status %d\nstdout: %s\nstderr: %s", strings.Join(r.Args, " "), r.Code, r.Stdout, r.Stderr)
}

// Run runs holdfast to its end, with nothing on stdin. It fails the test only if
// the call does not end in time, or ends and leaves its output open in another
// process.
func (w *World) Run(args ...string) Result {
	w.T.Helper()
	return w.RunInput("", args...)
}

// RunInput is Run with text on stdin.
func (w *World) RunInput(stdin string, args ...string) Result {
	w.T.Helper()
	return w.run(stdin, nil, args)
}

// RunAs is Run as the user and group of that number.
func (w *World) RunAs(uid uint32, args ...string) Result {
	w.T.Helper()
	return w.run("", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}, args)
}

func (w *World) run(stdin string, attr *syscall.SysProcAttr, args []string) Result {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary("holdfast"), args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Dir = w.Env, w.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay, cmd.SysProcAttr = Patience/6, attr
	if attr != nil {
		cmd.Dir = "/" // the world's is root's alone
	}
	err := cmd.Run()
	r := Result{Args: args, Stdout: stdout.String(), Stderr: stderr.String(), Code: -1}
	if cmd.ProcessState != nil {
		r.Code = cmd.ProcessState.ExitCode()
	}
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil:
		w.T.Fatalf("did not end within %v: %v", 2*Patience, r)
	case errors.Is(err, exec.ErrWaitDelay):
		w.T.Errorf("another process kept its output open: %v", r)
	case err != nil && !errors.As(err, &status):
		w.T.Fatalf("run holdfast: %v", err)
	}
	return r
}

// OK runs holdfast, which must succeed, and returns its stdout without the
// final newline.
func (w *World) OK(args ...string) string {
	w.T.Helper()
	return w.Want(0, args...)
}

// Want runs holdfast, which must exit with that status, and returns its stdout
// without the final newline.
func (w *World) Want(code int, args ...string) string {
	w.T.Helper()
	r := w.Run(args...)
	if r.Code != code {
		w.T.Fatalf("want status %d, got %v", code, r)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// Refused runs holdfast, which must fail with that status and say why in one
// line that has all the words (a second line may be a hint).
func (w *World) Refused(code int, words []string, args ...string) {
	w.T.Helper()
	r := w.Run(args...)
	if r.Code != code {
		w.T.Errorf("want status %d, got %v", code, r)
	}
	line, rest, _ := strings.Cut(strings.TrimSpace(r.Stderr), "\n")
	for _, word := range words {
		if !strings.Contains(line, word) {
			w.T.Errorf("the error does not mention %q: %v", word, r)
		}
	}
	if rest != "" && !strings.Contains(rest, "hint:") || strings.Count(rest, "\n") > 0 {
		w.T.Errorf("more than a line and a hint: %v", r)
	}
	if strings.Contains(r.Stderr, "goroutine ") {
		w.T.Errorf("panic: %v", r)
	}
}

// Inspect returns what `holdfast inspect --json` says of a container.
func (w *World) Inspect(id string) Inspect {
	w.T.Helper()
	var i Inspect
	text := w.OK("inspect", "--json", id)
	if err := json.Unmarshal([]byte(text), &i); err != nil {
		w.T.Fatalf("inspect %s: %v in %s", id, err, text)
	}
	return i
}

// Process is a call of holdfast that runs while the test goes on.
type Process struct {
	Stdin  io.WriteCloser
	Stdout *Output
	Stderr *Output // nil for a Terminal, which has one stream
	w      *World
	cmd    *exec.Cmd
	done   chan struct{}
}

// Start runs holdfast in the background. The world ends it if the test does not.
func (w *World) Start(args ...string) *Process {
	w.T.Helper()
	cmd := exec.Command(Binary("holdfast"), args...)
	cmd.Env, cmd.Dir = w.Env, w.Dir
	cmd.WaitDelay = Patience / 6
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.T.Fatal(err)
	}
	p := &Process{Stdin: stdin, Stdout: newOutput(), Stderr: newOutput(), w: w, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	if err := cmd.Start(); err != nil {
		w.T.Fatal(err)
	}
	w.started = append(w.started, p)
	go p.wait()
	return p
}

// wait ends with the process; Kill waits for it.
func (p *Process) wait() {
	_ = p.cmd.Wait() // the status is asked for by Wait
	p.Stdout.finish()
	if p.Stderr != nil {
		p.Stderr.finish()
	}
	close(p.done)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await waits until stdout holds text.
func (p *Process) Await(text string) {
	p.w.T.Helper()
	if !p.Stdout.await(contains(text), Patience) {
		p.w.T.Fatalf("did not print %q: %v", text, p)
	}
}

// Signal sends a signal to holdfast.
func (p *Process) Signal(sig os.Signal) {
	p.w.T.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.w.T.Fatalf("signal: %v", err)
	}
}

// Wait waits for the process to end and returns its status, -1 if a signal
// ended it.
func (p *Process) Wait() int {
	p.w.T.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.w.T.Fatalf("did not end within %v: %v", Patience, p)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process if it runs, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// String describes p for a failed test.
func (p *Process) String() string {
	text := fmt.Sprintf("holdfast %s\nstdout: %q", strings.Join(p.cmd.Args[1:], " "), p.Stdout)
	if p.Stderr != nil {
		text += fmt.Sprintf("\nstderr: %q", p.Stderr)
	}
	return text
}
