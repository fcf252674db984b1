package main

import (
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/holdfast/holdfast/manager"
)

// world is all that a command touches of the machine besides the manager, so
// that tests can run commands in their own process.
type world struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	env    func(string) string
	euid   int
	now    func() time.Time
	// notify relays the signals that holdfast itself gets, until stop is
	// called.
	notify func(ch chan<- os.Signal, sigs ...os.Signal) (stop func())
}

// machine is the real world.
func machine() world {
	return world{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		env: os.Getenv, euid: os.Geteuid(), now: time.Now,
		notify: func(ch chan<- os.Signal, sigs ...os.Signal) func() {
			signal.Notify(ch, sigs...)
			return func() { signal.Stop(ch) }
		},
	}
}

// cli is one call of holdfast.
type cli struct {
	world
	globals
	ui      *ui
	signals *signals
	mgr     *manager.Manager // opened by the first that needs it
}

// open opens the manager that the global flags name. It belongs to the cli.
func (c *cli) open() (*manager.Manager, error) {
	if c.mgr != nil {
		return c.mgr, nil
	}
	if c.euid != 0 {
		return nil, &notRoot{root: c.root, uid: c.euid}
	}
	mgr, err := manager.Open(c.root, c.namespace, c.options()...)
	if err != nil {
		return nil, err
	}
	c.mgr = mgr
	return mgr, nil
}
