package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

func setupHelp(*pflag.FlagSet) action {
	return func(_ context.Context, c *cli, args []string) error { return c.help(args) }
}

// help prints the overview, or all about one command.
func (c *cli) help(args []string) error {
	if len(args) == 0 {
		_, err := fmt.Fprint(c.stdout, overview())
		return err
	}
	cmd, ok := find(args[0])
	if !ok {
		return usage("", "unknown command %q%s", args[0], didYouMean(args[0]))
	}
	_, err := fmt.Fprint(c.stdout, cmd.help())
	return err
}

func overview() string {
	var b strings.Builder
	b.WriteString("Usage: holdfast [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n\n" +
		"Run containers, each under a shim of its own that outlives this command.\n")
	for _, g := range table() {
		shown := false
		for _, cmd := range g.commands {
			if cmd.hidden {
				continue
			}
			if !shown {
				fmt.Fprintf(&b, "\n%s:\n", g.title)
				shown = true
			}
			fmt.Fprintf(&b, "  %-12s %s\n", cmd.name, cmd.brief)
		}
	}
	g := defaults(func(string) string { return "" })
	fmt.Fprintf(&b, "\nGlobal options, before or after the command:\n%s", g.set(newFlagSet("")).FlagUsagesWrapped(helpWidth))
	b.WriteString("\nExit status: that of the process for run, start -a, exec, attach, restore and\n" +
		"wait (128 + signal if one killed it); 125 if holdfast failed, 126 if the command\n" +
		"cannot be executed, 127 if it is not found.\n\n" +
		"'holdfast help COMMAND' explains a command.\n")
	return b.String()
}

func (cmd command) help() string {
	var b strings.Builder
	fs := newFlagSet(cmd.name)
	cmd.setup(fs)
	b.WriteString("Usage: holdfast " + cmd.name)
	if fs.HasFlags() {
		b.WriteString(" [OPTIONS]")
	}
	if cmd.args != "" {
		b.WriteString(" " + cmd.args)
	}
	fmt.Fprintf(&b, "\n\n%s%s.\n", strings.ToUpper(cmd.brief[:1]), cmd.brief[1:])
	if cmd.long != "" {
		b.WriteString("\n" + strings.TrimSpace(cmd.long) + "\n")
	}
	if fs.HasFlags() {
		b.WriteString("\nOptions:\n" + fs.FlagUsagesWrapped(80))
	}
	b.WriteString("\nGlobal options: see 'holdfast help'.\n")
	return b.String()
}

// helpWidth is the longest line of a help text, in characters.
const helpWidth = 80

const helpRun = `
The root file system is a directory (--rootfs), a list of mounts (--mount), or
what the config.json of a bundle says (--bundle). In the foreground the output
is passed on unchanged, signals go to the process, and the exit status is the
process's. With -t it has a terminal; ctrl-p ctrl-q leaves it running. When the
output cannot be written any more the process is killed, as in a pipeline.

With -d the id is printed and the container goes on by itself. With -d --rm it
is removed by the next run, create, ps or wait after it has stopped: until then
it takes no process, only its directory.

The output is also kept in a log, see 'holdfast logs'; not with --rm in the
foreground, unless --log says so. If the process cannot be started, nothing is
left behind.

Examples:
  holdfast run --rm --rootfs /srv/alpine hello /bin/echo hello
  holdfast run -ti --rootfs /srv/alpine box /bin/sh
  holdfast run -d --memory 256m --mount overlay:overlay:lowerdir=/a:/b,upperdir=/u,workdir=/w web /bin/httpd -f
  holdfast run -d --bundle ./bundle job`

const helpCreate = `
Makes the container and its first process, which waits for 'holdfast start'.
Options are those of run. Prints the id.`

const helpStart = `
A stopped container is run again, with the options it was created with. With
-a it runs in the foreground, as with run.`

const helpExec = `
In the foreground the exit status is the command's. With -d the id of the exec
is printed; 'holdfast wait --exec', 'kill --exec' and 'attach --exec' take it.

Examples:
  holdfast exec web /bin/ps
  holdfast exec -ti web /bin/sh
  echo data | holdfast exec -i web /bin/sh -c 'cat > /tmp/data'`

const helpAttach = `
Output is shown from now on, or from --replay bytes before. Standard input is
sent if the container was run with -i. The exit status is the process's;
ctrl-p ctrl-q leaves a terminal without ending it. Without a terminal, signals
are passed on: use --sig-proxy=false to only leave on ctrl-c.`

const helpWait = `
Prints the exit code of each container, and exits with the last one's. If it
is not known how the process ended, says so and exits with 125.`

const helpKill = `
The default signal is KILL. Names work with and without SIG, RTMIN+n too.`

const helpRm = `
The container must have stopped, or -f kills it. Its root file system is
unmounted if it was mounted for it, and never deleted.`

const helpUpdate = `
Only what is given is changed.

Examples:
  holdfast update --memory 512m --pids-limit 100 web
  echo '{"cpu":{"shares":512}}' | holdfast update --resources - web`

const helpLabel = `
Without pairs the labels are shown. KEY=VALUE sets one, KEY- removes it.
'holdfast ps --filter label=KEY=VALUE' finds containers by them.`

const helpCheckpoint = `
Writes the processes to DIR with criu. The container stops, and 'holdfast
restore' runs it on; with --leave-running it goes on at once.`

const helpRestore = `
ID is a container that does not run (its own last run, if any, is forgotten),
or a new one if --bundle, --rootfs or --mount describe it. What the checkpoint
was allowed to contain must be allowed again.`

const helpPs = `
Only those with a live process are shown, unless -a or a status is asked for.
With --json every line is the object that 'holdfast inspect --json' prints.`

const helpInspect = `
Prints one JSON object for each container; with --json each on one line. The
members, of which more may come: id, namespace, bundle, status (none, created,
running, pausing, paused, stopped, unknown), reason (why unknown), pid, created,
started, labels, runtime, rootfs, mounts, exit (null, or code, signal, core,
known, failed, reason, oom, exited_at and what it used), shim (null, or pid,
version, binary, generation, started, address), processes (id, pid, status,
exec, terminal, exit). None of them changes its name or type.`

const helpLogs = `
What came from standard error is printed there. A last line without a newline
gets one. -f ends with the container, or with an error if its shim has died.
With --json: time, stream, text, and partial if no newline followed.`

const helpStats = `
On a terminal the table is drawn anew every second. 100% of CPU is one
processor. The first reading comes after a quarter of a second.`

const helpEvents = `
Prints what is still kept, oldest first. Times are of when it happened.`

const helpCompletion = `
  source <(holdfast completion bash)
  source <(holdfast completion zsh)
  holdfast completion fish | source`
