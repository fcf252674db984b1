package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// completer is the hidden command that the shells' scripts ask: its arguments
// are the words after "holdfast" up to the cursor, the last one unfinished.
// It prints one candidate a line, a tab and a description, and never fails; the
// line ":files" stands for the names of files.
const completer = "__complete"

// completeTime bounds how long a user's shell waits for the names of
// containers.
const completeTime = time.Second

func setupCompletion(*pflag.FlagSet) action {
	return func(_ context.Context, c *cli, args []string) error {
		script, ok := scripts()[args[0]]
		if !ok {
			return usage("completion", "no script for %q, only for bash, zsh and fish", args[0])
		}
		_, err := io.WriteString(c.stdout, script)
		return err
	}
}

func setupCompleter(*pflag.FlagSet) action {
	return func(ctx context.Context, c *cli, args []string) error {
		if len(args) == 0 {
			args = []string{""}
		}
		ctx, cancel := context.WithTimeout(ctx, completeTime)
		defer cancel()
		for _, cand := range c.candidates(ctx, args[:len(args)-1], args[len(args)-1]) {
			if cand == files || strings.HasPrefix(cand, args[len(args)-1]) {
				c.ui.line("%s", cand)
			}
		}
		return nil
	}
}

// files is the candidate that asks the shell for names of files.
const files = ":files"

// candidates returns what the unfinished word may become after the words
// before it.
func (c *cli) candidates(ctx context.Context, before []string, word string) []string {
	g := defaults(c.env)
	c.globals = g
	fs := c.set(newFlagSet("holdfast"))
	fs.SetInterspersed(false)
	before, pending := split(fs, before)
	if pending != nil {
		return valuesOf("", pending.Name)
	}
	if fs.Parse(before) != nil {
		return nil
	}
	if fs.NArg() == 0 {
		if strings.HasPrefix(word, "-") {
			return flagNames(fs)
		}
		return commandNames()
	}
	cmd, ok := find(fs.Arg(0))
	if !ok || cmd.raw {
		return nil
	}
	return c.argumentCandidates(ctx, cmd, fs.Args()[1:], word)
}

// argumentCandidates completes behind the name of a command.
func (c *cli) argumentCandidates(ctx context.Context, cmd command, before []string, word string) []string {
	fs := newFlagSet(cmd.name)
	fs.SetInterspersed(!cmd.passes)
	cmd.setup(fs)
	c.set(fs)
	before, pending := split(fs, before)
	if pending != nil {
		return valuesOf(cmd.name, pending.Name)
	}
	if fs.Parse(before) != nil {
		return nil
	}
	if strings.HasPrefix(word, "-") && (!cmd.passes || fs.NArg() == 0) {
		return flagNames(fs)
	}
	switch cmd.complete {
	case topics:
		return commandNames()
	case shells:
		return []string{"bash\t", "zsh\t", "fish\t"}
	case words:
		return []string{files}
	}
	if fs.NArg() > 0 && !strings.Contains(cmd.args, "ID...") {
		return []string{files}
	}
	return c.idCandidates(ctx, cmd.complete, fs.Args())
}

// idCandidates lists the containers that suit a command and are not named yet.
func (c *cli) idCandidates(ctx context.Context, want kind, named []string) []string {
	if _, err := os.Stat(c.root); err != nil {
		return nil // looking must not make it
	}
	m, err := c.open()
	if err != nil {
		return nil
	}
	cts, err := m.List(ctx)
	if err != nil {
		return nil
	}
	defer closeAll(cts)
	var out []string
	for i, st := range m.Statuses(ctx, cts) {
		id := cts[i].ID()
		suits := want == containers || want == running && alive(st.State) ||
			want == created && (st.State == manager.StateCreated || st.State == manager.StateStopped || st.State == manager.StateNone)
		if suits && !slices.Contains(named, id) {
			out = append(out, id+"\t"+stateText(st))
		}
	}
	return out
}

// split takes a last flag off that still waits for its value.
func split(fs *pflag.FlagSet, before []string) ([]string, *pflag.Flag) {
	if len(before) == 0 {
		return before, nil
	}
	last := before[len(before)-1]
	var fl *pflag.Flag
	switch {
	case strings.HasPrefix(last, "--") && !strings.Contains(last, "="):
		fl = fs.Lookup(last[2:])
	case len(last) > 1 && last[0] == '-' && last[1] != '-':
		fl = fs.ShorthandLookup(last[len(last)-1:])
	}
	if fl == nil || fl.NoOptDefVal != "" {
		return before, nil
	}
	// Behind the container's own command nothing is ours any more.
	rest := before[:len(before)-1]
	if fs.Parse(rest) != nil {
		return before, nil
	}
	if fs.NArg() > 0 && stopsAtArgs(fs) {
		return before, nil
	}
	return rest, fl
}

// stopsAtArgs reports whether fs takes no flags behind the first argument.
func stopsAtArgs(fs *pflag.FlagSet) bool {
	cmd, ok := find(fs.Name())
	return !ok || cmd.passes
}

// valuesOf completes the value of a flag.
func valuesOf(cmd, flag string) []string {
	switch flag {
	case "net":
		return []string{"private\t", "host\t"}
	case "runtime":
		return []string{"runc\t", "crun\t", files}
	case "signal":
		return []string{"TERM\t", "KILL\t", "INT\t", "HUP\t", "QUIT\t", "USR1\t", "USR2\t", "STOP\t", "CONT\t"}
	case "topic", "label", "env", "namespace", "user", "hostname", "detach-keys":
		return nil
	case "filter":
		if cmd == "events" {
			return []string{
				"id=\t", "topic=create\t", "topic=start\t", "topic=exit\t", "topic=delete\t", "topic=oom\t", "topic=exec-added\t",
				"topic=exec-started\t", "topic=paused\t", "topic=resumed\t", "topic=checkpointed\t",
			}
		}
		return []string{"status=running\t", "status=stopped\t", "status=paused\t", "status=created\t", "label=\t", "id=\t"}
	case "empty-ns":
		return []string{"network\t"}
	}
	return []string{files}
}

func flagNames(fs *pflag.FlagSet) []string {
	var out []string
	fs.VisitAll(func(f *pflag.Flag) {
		_, text := pflag.UnquoteUsage(f)
		out = append(out, "--"+f.Name+"\t"+text)
	})
	slices.Sort(out)
	return append(out, "--help\texplain it")
}

func commandNames() []string {
	var out []string
	for _, g := range table() {
		for _, cmd := range g.commands {
			if !cmd.hidden {
				out = append(out, cmd.name+"\t"+cmd.brief)
			}
		}
	}
	return out
}
