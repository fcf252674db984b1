package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig syscall.Signal }

func (i *interrupted) Error() string { return "interrupted by " + unix.SignalName(i.sig) }

// ends returns the signals that end holdfast, or, while a process runs in the
// foreground without a terminal, go to it.
func ends() []os.Signal { return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} }

// passed returns the further signals that go to a process in the foreground.
// Not among them: SIGTSTP, which stops holdfast and nothing else (the container
// is in no job of the user's shell), SIGCHLD, SIGPIPE and SIGURG, which are
// about holdfast itself, and SIGWINCH, which becomes a resize.
func passed() []os.Signal {
	return []os.Signal{unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGVTALRM, unix.SIGPROF, unix.SIGIO, unix.SIGPWR}
}

// signals owns the signals of this process for the time of one command. At
// first SIGINT and its like cancel the command; forward sends them elsewhere.
type signals struct {
	notify func(chan<- os.Signal, ...os.Signal) func()
	cancel context.CancelCauseFunc
	ch     chan os.Signal
	quit   chan struct{}
	done   chan struct{}

	mu     sync.Mutex
	target func(syscall.Signal)
	unhook []func()
}

// watchSignals starts to listen; stop ends it.
func watchSignals(notify func(chan<- os.Signal, ...os.Signal) func(), cancel context.CancelCauseFunc) *signals {
	s := &signals{
		notify: notify, cancel: cancel,
		ch: make(chan os.Signal, 32), quit: make(chan struct{}), done: make(chan struct{}),
	}
	s.hook(ends()...)
	go s.loop()
	return s
}

func (s *signals) loop() {
	defer close(s.done)
	for {
		select {
		case sig := <-s.ch:
			s.deliver(sig.(syscall.Signal))
		case <-s.quit:
			return
		}
	}
}

func (s *signals) deliver(sig syscall.Signal) {
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	switch {
	case sig == unix.SIGPIPE: // caught only so that the write returns
		return
	case target != nil:
		target(sig) // may take a round trip to the shim; the channel queues
		return
	}
	s.cancel(&interrupted{sig})
	s.release() // whoever signals again does not want to wait for the undoing
}

// forward sends every signal to target from now on, nil takes it back.
func (s *signals) forward(target func(syscall.Signal)) {
	if target != nil {
		s.hook(passed()...)
	}
	s.mu.Lock()
	s.target = target
	s.mu.Unlock()
}

// holdPipe makes a write to a closed standard output an error instead of the
// end of this process: there is a terminal to restore, or a process to end.
func (s *signals) holdPipe() { s.hook(unix.SIGPIPE) }

func (s *signals) hook(sigs ...os.Signal) {
	unhook := s.notify(s.ch, sigs...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unhook = append(s.unhook, unhook)
}

// release gives the signals back to their default action.
func (s *signals) release() {
	s.mu.Lock()
	unhook := s.unhook
	s.unhook = nil
	s.mu.Unlock()
	for _, f := range unhook {
		f()
	}
}

// stop ends the loop; no signal is delivered afterwards.
func (s *signals) stop() {
	s.release()
	close(s.quit)
	<-s.done
}

// parseSignal understands "KILL", "SIGKILL", "kill", "9" and the real-time
// signals as "RTMIN+2" and "RTMAX-1" (glibc's numbering, 34 to 64).
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > 64 {
			return 0, fmt.Errorf("signal %d is not between 0 and 64", n)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	for _, rt := range []struct {
		name string
		base int
	}{{"RTMIN", 34}, {"RTMAX", 64}} {
		rest, ok := strings.CutPrefix(name, rt.name)
		if !ok {
			continue
		}
		off := 0
		if rest != "" {
			n, err := strconv.Atoi(rest)
			if err != nil || (rest[0] != '+' && rest[0] != '-') {
				break
			}
			off = n
		}
		if n := rt.base + off; n >= 34 && n <= 64 {
			return syscall.Signal(n), nil
		}
	}
	return 0, fmt.Errorf("no signal is named %q", s)
}

// signalName is the name of a signal, "SIGTERM", or its number.
func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}
