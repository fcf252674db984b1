package main

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestWrongCommandLineIsOneLineAndLeavesNothing(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"", "no command given"},
		{"frobnicate", `unknown command "frobnicate"`},
		{"strat x", "did you mean start?"},
		{"delete x", "did you mean rm?"},
		{"--nope ps", "unknown flag: --nope"},
		{"--root", "flag needs an argument: --root"},
		{"run", "run: missing ID"},
		{"run x", "run: one of --rootfs, --bundle or --mount is needed"},
		{"run --rootfs /a --bundle /b x", "run: --rootfs and --bundle exclude each other"},
		{"run --rootfs /a --mount bind:/b x", "run: --rootfs and --mount exclude each other"},
		{"run --bundle /b --memory 1g x", "run: --memory changes the default spec"},
		{"run --rootfs /a --net bridge x", "run: --net: \"bridge\" is neither"},
		{"run --rootfs /a x --rm", "run: options go before the id: --rm"},
		{"run --rootfs /a -ti x sh", "run: standard input is not a terminal"},
		{"run --rootfs /a --memory lots x", "lots"},
		{"run --rootfs /a --detach-keys ctrl-? x", "--detach-keys"},
		{"create", "create: missing ID"},
		{"create x", "create: one of --rootfs"},
		{"start", "start: missing ID"},
		{"start -i x", "start: -i is for -a"},
		{"start -a x y", "start: -a is for one container, not 2"},
		{"exec", "exec: missing ID"},
		{"exec x", "exec: missing COMMAND"},
		{"exec x --tty sh", "exec: options go before the id: --tty"},
		{"exec -ti x sh", "exec: standard input is not a terminal"},
		{"attach", "attach: missing ID"},
		{"attach x y", `attach: unexpected argument "y"`},
		{"wait", "wait: missing ID"},
		{"wait --exec e x y", "wait: --exec names one process of one container"},
		{"wait --timeout soon x", "soon"},
		{"kill", "kill: missing ID"},
		{"kill -s NOPE x", `kill: no signal is named "NOPE"`},
		{"kill -s 65 x", "kill: signal 65 is not between"},
		{"kill --exec e --all x", "kill: --exec names one process"},
		{"pause", "pause: missing ID"},
		{"resume", "resume: missing ID"},
		{"rm", "rm: missing ID"},
		{"update x", "update: nothing to change"},
		{"update", "update: missing ID"},
		{"update --cpus 1 --resources - x", "update: --resources excludes"},
		{"update --memory 5q x", "5q"},
		{"stats --interval 3", "unknown flag: --interval"},
		{"top", "top: missing ID"},
		{"events --filter color=red", `events: --filter: "color=red"`},
		{"events --filter id", `events: --filter: "id"`},
		{"events --since yesterday", `events: --since: "yesterday"`},
		{"events x", `events: unexpected argument "x"`},
		{"logs", "logs: missing ID"},
		{"logs --tail -3 x", "logs: --tail: -3 is negative"},
		{"logs --since never x", `logs: --since: "never"`},
		{"checkpoint", "checkpoint: missing ID"},
		{"checkpoint x", "checkpoint: missing DIR"},
		{"checkpoint x d e", `checkpoint: unexpected argument "e"`},
		{"restore x", "restore: missing DIR"},
		{"label", "label: missing ID"},
		{"label x y", `label: "y" is neither KEY=VALUE nor KEY-`},
		{"label x a=1 a-", "label: a is both set and removed"},
		{"inspect", "inspect: missing ID"},
		{"version x", `version: unexpected argument "x"`},
		{"completion", "completion: missing SHELL"},
		{"completion tcsh", `completion: no script for "tcsh"`},
		{"help nope", `unknown command "nope"`},
	} {
		t.Run(tc.line, func(t *testing.T) {
			root := fresh(t)
			args := strings.Fields(tc.line)
			if tc.line != "" && tc.line != "--root" {
				args = append([]string{"--root", root}, args...)
			}
			r := call(t, "", args...)
			wantFailure(t, r, tc.want)
			if !strings.Contains(r.err, "\nhint: ") {
				t.Errorf("no hint: %q", r.err)
			}
			if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("root was made for a wrong command line: %v", err)
			}
		})
	}
}

func TestNotRootIsTold(t *testing.T) {
	for _, line := range []string{"ps", "run --rootfs / x", "kill x", "events", "rm -f x"} {
		root := fresh(t)
		r := callIn(t, world{euid: 1000}, "", append([]string{"--root", root}, strings.Fields(line)...)...)
		wantFailure(t, r, "open "+root+": only root can run containers, this is uid 1000")
	}
	if r := callIn(t, world{euid: 1000}, "", "help"); r.code != 0 {
		t.Errorf("help needs root: %v", r)
	}
}

func TestUnknownContainerIsOneLine(t *testing.T) {
	for _, line := range []string{
		"start nope", "start -a nope", "exec nope sh", "attach nope", "wait nope", "kill nope", "pause nope", "resume nope",
		"rm nope", "update --cpus 1 nope", "label nope", "label nope a=b", "checkpoint nope " + os.TempDir(), "restore nope " + os.TempDir(),
		"inspect nope", "logs nope", "stats nope", "top nope",
	} {
		t.Run(line, func(t *testing.T) {
			wantFailure(t, call(t, "", append([]string{"--root", fresh(t)}, strings.Fields(line)...)...), "nope")
		})
	}
}

func TestSeveralContainersAreAllTried(t *testing.T) {
	r := call(t, "", "--root", fresh(t), "kill", "a", "b", "c")
	if got := strings.Count(r.err, "holdfast: "); r.code != exitOurs || got != 3 {
		t.Errorf("status %d with %d errors, want 125 with 3: %q", r.code, got, r.err)
	}
	if r := call(t, "", "--root", fresh(t), "rm", "-f", "a", "b"); r.code != 0 || r.err != "" {
		t.Errorf("rm -f of what is not there: %+v", r)
	}
}

func TestBadIDsAreNamed(t *testing.T) {
	rootfs := t.TempDir()
	for _, id := range []string{"../x", "a/b", ".", "..", strings.Repeat("a", 200), "a b", "ü", "-"} {
		r := call(t, "", "--root", fresh(t), "run", "--rootfs", rootfs, id, "true")
		wantFailure(t, r, "id")
		if len(r.err) > 400 {
			t.Errorf("error repeats all of a long id: %q", r.err)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, g := range table() {
		for _, cmd := range g.commands {
			if cmd.hidden {
				continue
			}
			byHelp := call(t, "", "help", cmd.name)
			byFlag := call(t, "", cmd.name, "--help")
			if byHelp.code != 0 || byHelp.out != byFlag.out || byHelp.err != "" {
				t.Errorf("help %s and %s --help differ: %+v %+v", cmd.name, cmd.name, byHelp, byFlag)
			}
			for _, line := range strings.Split(byHelp.out, "\n") {
				if strings.HasPrefix(line, "  -") || strings.HasPrefix(line, "  holdfast ") {
					continue // pflag's table and examples
				}
				if len(line) > 82 {
					t.Errorf("help %s: line of %d characters: %s", cmd.name, len(line), line)
				}
			}
			if !regexp.MustCompile(`(?m)^  ` + cmd.name + ` `).MatchString(call(t, "", "help").out) {
				t.Errorf("%s is not in the overview", cmd.name)
			}
		}
	}
}

func TestGlobalFlagsWorkOnBothSidesOfTheCommand(t *testing.T) {
	a, b := fresh(t), fresh(t)
	for _, args := range [][]string{
		{"--root", a, "ps", "-a"}, {"ps", "--root", a, "-a"}, {"--root=" + b, "ps", "--root=" + a},
	} {
		if r := call(t, "", args...); r.code != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
	}
	if _, err := os.Stat(a); err != nil {
		t.Errorf("root of the flag was not used: %v", err)
	}
	if _, err := os.Stat(b); err == nil {
		t.Errorf("the flag behind the command did not win")
	}
	env := world{env: func(name string) string { return map[string]string{"HOLDFAST_ROOT": b}[name] }}
	if r := callIn(t, env, "", "ps"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if st, err := os.Stat(b); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("root of the environment: %v %v, want mode 0700", st, err)
	}
}

func TestFlagsOfTheContainersCommandAreItsOwn(t *testing.T) {
	cmd, _ := find("exec")
	fs := newFlagSet("exec")
	fs.SetInterspersed(!cmd.passes)
	cmd.setup(fs)
	if err := fs.Parse([]string{"-i", "box", "ls", "-t", "--env", "x"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(fs.Args(), " "); got != "box ls -t --env x" || fs.Changed("tty") {
		t.Errorf("arguments %q", got)
	}
}

func TestEmptyListing(t *testing.T) {
	root := fresh(t)
	if r := call(t, "", "--root", root, "ps"); r.code != 0 || !strings.HasPrefix(r.out, "ID ") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{"ps -q", "ps --json", "events", "stats --no-stream --json", "ps -a --filter label=x --filter status=running -q"} {
		if r := call(t, "", append([]string{"--root", root}, strings.Fields(line)...)...); r.code != 0 || r.out != "" || r.err != "" {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	for _, line := range []string{"help", "version", "version --json", "completion bash", "ps"} {
		r := callIn(t, world{stdout: fullDisk{}}, "", append([]string{"--root", fresh(t)}, strings.Fields(line)...)...)
		wantFailure(t, r, "no space left on device")
		if strings.Contains(r.err, "hint: ") {
			t.Errorf("%s: the state directory has nothing to do with it: %q", line, r.err)
		}
	}
}
