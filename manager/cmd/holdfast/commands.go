package main

import (
	"context"
	"strings"

	"github.com/spf13/pflag"
)

// action is a command whose flags have been parsed. args are the positional
// arguments, their number checked.
type action func(ctx context.Context, c *cli, args []string) error

// command is one row of the table that parsing, help and completion read.
type command struct {
	name  string
	args  string // positional arguments as help shows them: "ID [COMMAND [ARG...]]"
	brief string // one line, for the overview
	long  string // further paragraphs for the command's own help
	setup func(fs *pflag.FlagSet) action
	// passes: flags end at the first positional argument, the rest belongs
	// to the container.
	passes bool
	raw    bool // arguments are not parsed at all
	hidden bool
	// complete names what positional arguments are, for completion.
	complete kind
}

// kind is what a word on the command line stands for.
type kind int

const (
	words      kind = iota // nothing known; the shell offers files
	containers             // any container
	running                // one with a live process
	created                // one that start can start
	topics                 // a command of holdfast
	shells                 // a shell completion exists for
)

// group is a heading of the overview.
type group struct {
	title    string
	commands []command
}

// table returns every command, in the order of the overview.
func table() []group {
	return []group{
		{"Run", []command{
			{name: "run", args: "ID [COMMAND [ARG...]]", brief: "make a container and run it", long: helpRun, setup: setupRun, passes: true},
			{name: "create", args: "ID [COMMAND [ARG...]]", brief: "make a container without starting it", long: helpCreate, setup: setupCreate, passes: true},
			{name: "start", args: "ID...", brief: "start created containers, or stopped ones again", long: helpStart, setup: setupStart, complete: created},
			{name: "exec", args: "ID COMMAND [ARG...]", brief: "run a further process in a container", long: helpExec, setup: setupExec, passes: true, complete: running},
			{name: "attach", args: "ID", brief: "join the streams of a running container", long: helpAttach, setup: setupAttach, complete: running},
			{name: "wait", args: "ID...", brief: "wait for containers to exit, with their status", long: helpWait, setup: setupWait, complete: containers},
		}},
		{"Change", []command{
			{name: "kill", args: "ID...", brief: "send a signal to containers", long: helpKill, setup: setupKill, complete: running},
			{name: "pause", args: "ID...", brief: "freeze all processes of containers", setup: setupPause, complete: running},
			{name: "resume", args: "ID...", brief: "thaw paused containers", setup: setupResume, complete: running},
			{name: "update", args: "ID", brief: "change the limits of a running container", long: helpUpdate, setup: setupUpdate, complete: running},
			{name: "label", args: "ID [KEY=VALUE...] [KEY-...]", brief: "show, set and remove labels", long: helpLabel, setup: setupLabel, complete: containers},
			{name: "rm", args: "ID...", brief: "remove containers", long: helpRm, setup: setupRm, complete: containers},
			{name: "checkpoint", args: "ID DIR", brief: "save a running container to a directory", long: helpCheckpoint, setup: setupCheckpoint, complete: running},
			{name: "restore", args: "ID DIR", brief: "run a container from a checkpoint", long: helpRestore, setup: setupRestore, complete: containers},
		}},
		{"Look", []command{
			{name: "ps", brief: "list containers", long: helpPs, setup: setupPs},
			{name: "inspect", args: "ID...", brief: "show all about containers, as JSON", long: helpInspect, setup: setupInspect, complete: containers},
			{name: "logs", args: "ID", brief: "print what a container has written", long: helpLogs, setup: setupLogs, complete: containers},
			{name: "stats", args: "[ID...]", brief: "show what running containers use", long: helpStats, setup: setupStats, complete: running},
			{name: "top", args: "ID", brief: "list the processes of a container", setup: setupTop, complete: running},
			{name: "events", brief: "print what has happened to containers", long: helpEvents, setup: setupEvents},
		}},
		{"Other", []command{
			{name: "version", brief: "print versions of client, shim and runtimes", setup: setupVersion},
			{name: "completion", args: "SHELL", brief: "print the completion script for bash, zsh or fish", long: helpCompletion, setup: setupCompletion, complete: shells},
			{name: "help", args: "[COMMAND]", brief: "explain a command", setup: setupHelp, complete: topics},
			{name: completer, args: "[WORD...]", setup: setupCompleter, raw: true, hidden: true},
		}},
	}
}

// find returns the command of that name.
func find(name string) (command, bool) {
	for _, g := range table() {
		for _, cmd := range g.commands {
			if cmd.name == name {
				return cmd, true
			}
		}
	}
	return command{}, false
}

// check compares the number of arguments with the names in cmd.args.
func (cmd command) check(args []string) error {
	least, most := 0, 0
	var names []string
	for _, name := range strings.Fields(cmd.args) {
		if !strings.HasPrefix(name, "[") && !strings.HasSuffix(name, "]") {
			least++
			names = append(names, strings.TrimSuffix(name, "..."))
		}
		if most++; strings.Contains(name, "...") {
			most = len(args) + least
		}
	}
	if len(args) < least {
		return usage(cmd.name, "missing %s", names[len(args)])
	}
	if len(args) > most {
		return usage(cmd.name, "unexpected argument %q", args[most])
	}
	for i, arg := range args {
		if arg == "" && i < least {
			return usage(cmd.name, "%s is empty", names[min(i, len(names)-1)])
		}
	}
	return nil
}

// didYouMean returns a suggestion for a mistyped command, or "".
func didYouMean(word string) string {
	for _, g := range table() {
		for _, cmd := range g.commands {
			if !cmd.hidden && near(word, cmd.name) {
				return ", did you mean " + cmd.name + "?"
			}
		}
	}
	switch word { // what the commands are called elsewhere
	case "list", "ls":
		return ", did you mean ps?"
	case "delete", "remove":
		return ", did you mean rm?"
	case "unpause":
		return ", did you mean resume?"
	case "stop":
		return ", did you mean kill -s TERM?"
	case "state":
		return ", did you mean inspect?"
	}
	return ""
}

// near reports whether a and b differ by one letter dropped, added, changed or
// swapped with its neighbour, or a begins b.
func near(a, b string) bool {
	if len(a) > 1 && strings.HasPrefix(b, a) {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) != len(b) {
		return a[i:] == b[i+1:]
	}
	if i == len(a) || a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
