// Command holdfast runs containers, each under a shim of its own, and looks
// after them.
//
// It keeps nothing between two calls but what lies on disk: a holdfast that is
// killed loses no container and no exit status.
//
//	main.go       doorway: arguments in, exit status out
//	world.go      what a command may touch of the machine
//	commands.go   the table of commands
//	flags.go      global flags; limits.go, specflags.go, values.go: the larger ones
//	NAME.go       one family of commands
//	session.go    a process in the foreground: streams, terminal, signals
//	ui.go         the streams, and the rules for words; fail.go errors and hints, words.go formats
//
// Exit status: that of the process for run, exec, attach, wait and start -a;
// 125 if the error is ours, 126 and 127 if the command cannot be executed or
// found, 128 and the signal if holdfast itself was interrupted.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

func main() {
	logrus.SetOutput(io.Discard) // the ttrpc library's; what matters comes back as an error
	os.Exit(run(os.Args[1:], machine()))
}

// run executes one command line and returns the exit status of the process.
func run(args []string, w world) int {
	c := &cli{world: w, ui: newUI(w)}
	return c.ui.finish(c.dispatch(args))
}

// dispatch finds the command in args and runs it.
func (c *cli) dispatch(args []string) error {
	c.globals = defaults(c.env)
	fs := c.globals.set(newFlagSet("holdfast"))
	fs.SetInterspersed(false)
	version := fs.Bool("version", false, "print the version")
	switch err := fs.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return c.help(nil)
	case err != nil:
		return usage("", "%v", err)
	case *version:
		return c.command("version", nil)
	case fs.NArg() == 0:
		return usage("", "no command given")
	}
	return c.command(fs.Arg(0), fs.Args()[1:])
}

// command parses the flags of one command and runs it until it ends or
// holdfast is interrupted.
func (c *cli) command(name string, args []string) error {
	cmd, ok := find(name)
	if !ok {
		return usage("", "unknown command %q%s", name, didYouMean(name))
	}
	fs := newFlagSet(cmd.name)
	fs.SetInterspersed(!cmd.passes)
	act := cmd.setup(fs)
	c.globals.set(fs)
	if !cmd.raw {
		err := fs.Parse(args)
		if errors.Is(err, pflag.ErrHelp) {
			return c.help([]string{cmd.name})
		}
		if err != nil {
			return usage(cmd.name, "%v", err)
		}
		args = fs.Args()
	}
	if err := cmd.check(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	c.signals = watchSignals(c.notify, cancel)
	defer c.signals.stop()
	err := act(ctx, c, args)
	var caught *interrupted
	if err != nil && errors.As(context.Cause(ctx), &caught) && !isStatus(err) {
		return caught // whatever failed, it failed because the user ended it
	}
	return err
}
