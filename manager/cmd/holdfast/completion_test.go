package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// complete returns the candidates for the last word, without descriptions.
func complete(t *testing.T, line ...string) []string {
	t.Helper()
	r := call(t, "", append([]string{completer}, line...)...)
	if r.code != 0 || r.err != "" {
		t.Fatalf("complete %q: %+v", line, r)
	}
	var out []string
	for l := range strings.Lines(r.out) {
		word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		out = append(out, word)
	}
	return out
}

func TestCompletionKnowsWhereTheCursorIs(t *testing.T) {
	root := fresh(t)
	for _, tc := range []struct {
		line string
		want string // must be among the candidates; "" is none at all, "!x" must not
	}{
		{"|", "run"}, {"re|", "restore"}, {"--ro|", "--root"}, {"--json in|", "inspect"}, {"--root|", "--root"},
		{"--root |", files}, {"--runtime |", "crun"}, {"run --|", "--rootfs"}, {"run --net |", "host"}, {"run --rootfs |", files},
		{"run -d --rootfs / x |", files}, {"exec x --|", "!--tty"}, {"kill -s |", "TERM"}, {"kill --|", "--signal"}, {"kill --|", "--namespace"},
		{"help |", "completion"}, {"completion |", "fish"}, {"events --filter |", "topic=exit"}, {"ps --filter |", "status=running"},
		{"--root " + root + " start |", ""}, {"nonsense |", ""}, {"__complete |", ""}, {"run --bogus |", ""}, {"ps --help|", "--help"},
	} {
		got := complete(t, strings.Split(strings.TrimSuffix(tc.line, "|"), " ")...)
		not, negated := strings.CutPrefix(tc.want, "!")
		switch {
		case tc.want == "" && len(got) > 0, negated && slices.Contains(got, not), tc.want != "" && !negated && !slices.Contains(got, tc.want):
			t.Errorf("%s gives %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestHiddenCommandIsNotOffered(t *testing.T) {
	if slices.Contains(complete(t, "__"), completer) || strings.Contains(call(t, "", "help").out, completer) {
		t.Error("the shells' own command is shown to people")
	}
}

func TestCompletionScriptsAreValid(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := call(t, "", "completion", shell)
		if r.code != 0 || !strings.Contains(r.out, completer) {
			t.Errorf("%s: %+v", shell, r)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // syntax can only be checked by the shell itself
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(r.out)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v %s", shell, err, out)
		}
	}
}
