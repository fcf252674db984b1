package main

// The rules for words:
//
//   - Results go to standard output, everything else to standard error.
//   - A command that only changes something prints nothing when it succeeds; one
//     that makes something prints its id.
//   - What we say begins with "holdfast: ", in lower case, without a full stop,
//     and is one line: what was done to what, and why it did not work. One line
//     "hint: " may follow, with something to do.
//   - Progress is shown on a terminal only, and wiped away.
//   - --json changes standard output only, to one object a line.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/holdfast/holdfast/manager"
)

// Exit statuses of our own, the same as docker's.
const (
	exitOurs     = 125 // holdfast or something below it failed
	exitCannot   = 126 // the command cannot be executed
	exitNotFound = 127 // there is no such command
)

// status is the exit status of a process that holdfast passes on. It is an
// error only so that it travels where errors do; nothing is printed for it.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func isStatus(err error) bool {
	var s status
	return errors.As(err, &s)
}

// reported is the error of a command that has printed its errors already.
type reported struct{}

func (reported) Error() string { return "some of it did not work" }

// usageError is a command line that cannot be understood.
type usageError struct{ command, text string }

func (u *usageError) Error() string {
	if u.command == "" {
		return u.text
	}
	return u.command + ": " + u.text
}

func usage(command, format string, args ...any) error {
	return &usageError{command, fmt.Sprintf(format, args...)}
}

// notRoot is what all commands that need the state directory say to others.
type notRoot struct {
	root string
	uid  int
}

func (e *notRoot) Error() string {
	return fmt.Sprintf("open %s: only root can run containers, this is uid %d", e.root, e.uid)
}

// hinted carries a hint of its own.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// ui is the only one that writes words to the streams.
type ui struct {
	out, err io.Writer
	live     bool // err is a terminal: progress may be shown
	columns  int  // width of the terminal behind out, 0 if it is none

	mu  sync.Mutex
	bar *progress // drawn at the moment
}

func newUI(w world) *ui {
	u := &ui{out: w.stdout, err: w.stderr}
	_, u.live = terminal(w.stderr)
	if _, ok := terminal(w.stdout); ok {
		u.columns = int(w.size(true).Width)
	}
	return u
}

// finish reports err and returns the exit status of holdfast.
func (u *ui) finish(err error) int {
	var (
		s      status
		start  *manager.StartError
		caught *interrupted
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &s):
		return int(s)
	case errors.As(err, &caught):
		return 128 + int(caught.sig) // as a shell reports it; who interrupts knows
	case errors.As(err, new(reported)):
		return exitOurs
	case errors.Is(err, syscall.EPIPE):
		return 128 + int(syscall.SIGPIPE)
	case errors.As(err, &start) && (start.Code == exitCannot || start.Code == exitNotFound):
		u.fail(err)
		return start.Code
	}
	u.fail(err)
	return exitOurs
}

// fail prints an error, and a hint if there is one.
func (u *ui) fail(err error) {
	u.say("%v", err)
	if hint := hintFor(err); hint != "" {
		u.wipe()
		fmt.Fprintf(u.err, "hint: %s\n", hint)
	}
}

// say prints one line to standard error.
func (u *ui) say(format string, args ...any) {
	u.wipe()
	fmt.Fprintf(u.err, "holdfast: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// oneLine joins the lines of a text, whatever a runtime or a file put into it.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\t\x1b") {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' }), " ")
}

// hintFor returns what may help against err, or "".
func hintFor(err error) string {
	var (
		u *usageError
		h *hinted
		n *notRoot
	)
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &n):
		return "run it with sudo"
	case errors.As(err, &u) && u.command == "":
		return "see 'holdfast help'"
	case errors.As(err, &u):
		return "see 'holdfast help " + u.command + "'"
	case errors.Is(err, manager.ErrExited):
		return ""
	case errors.Is(err, manager.ErrNoShim):
		return "install " + manager.DefaultShim + " beside holdfast or in PATH, or name it with --shim"
	case errors.Is(err, manager.ErrNoRuntime):
		return "install runc or crun, or name one with --runtime"
	case errors.Is(err, manager.ErrShimDead):
		return "inspect the leftover with 'holdfast inspect', remove it with 'holdfast rm -f'"
	case errors.Is(err, manager.ErrExists):
		return "take another id, or remove that one with 'holdfast rm'"
	case errors.Is(err, manager.ErrRunning):
		return "end it with 'holdfast kill', or remove it with 'holdfast rm -f'"
	case errors.Is(err, manager.ErrMounted):
		return "unmount what is below the bundle first"
	case errors.Is(err, manager.ErrInvalidID):
		return "an id is at most 76 letters and digits, joined by single '.', '_' or '-'"
	case errors.Is(err, manager.ErrNotFound):
		return "'holdfast ps -a' lists all containers of the namespace"
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "choose another state directory with --root"
	}
	return ""
}

// line prints a result.
func (u *ui) line(format string, args ...any) {
	u.wipe()
	fmt.Fprintf(u.out, format+"\n", args...)
}

// object prints v as JSON on one line.
func (u *ui) object(v any) error {
	u.wipe()
	enc := json.NewEncoder(u.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// pretty prints v as indented JSON.
func (u *ui) pretty(v any) error {
	u.wipe()
	enc := json.NewEncoder(u.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows as an aligned table. With cut, lines end where the
// terminal does.
func (u *ui) table(head []string, rows [][]string, cut bool) {
	u.wipe()
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 8, 3, ' ', 0)
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = oneLine(row[i])
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
	for line := range strings.Lines(text.String()) {
		line = strings.TrimRight(line, " \n")
		if cut && u.columns > 0 {
			line = truncate(line, u.columns)
		}
		fmt.Fprintln(u.out, line)
	}
}

// truncate shortens s to at most n characters.
func truncate(s string, n int) string {
	if r := []rune(s); len(r) > n && n > 0 {
		return string(r[:n-1]) + "…"
	}
	return s
}

// age says how long ago t was, coarsely: "just now", "5m", "3h", "12d".
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t))
}

// span is a duration in its largest unit that is at least 2, or seconds.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// bytesText is a number of bytes with three digits and a unit.
func bytesText(n uint64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	switch {
	case unit == "B" || f >= 100:
		return fmt.Sprintf("%.0f%s", f, unit)
	case f >= 10:
		return fmt.Sprintf("%.1f%s", f, unit)
	}
	return fmt.Sprintf("%.2f%s", f, unit)
}

// stateText is a status as ps shows it: "running", "stopped (7)".
func stateText(s manager.Status) string {
	if s.State != manager.StateStopped || s.Exit == nil {
		return string(s.State)
	}
	switch e := s.Exit; {
	case e.Failed:
		return fmt.Sprintf("failed (%d)", e.Code)
	case !e.Known:
		return "stopped (unknown)"
	case e.OOM && e.Signal == syscall.SIGKILL:
		return "stopped (out of memory)"
	case e.Signal != 0:
		return "stopped (" + signalName(e.Signal) + ")"
	default:
		return fmt.Sprintf("stopped (%d)", e.Code)
	}
}

// quoted shows a command line so that it could be typed.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\$`*?[](){}<>|&;#~!") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		out[i] = arg
	}
	return strings.Join(out, " ")
}

// hint prints something to do.
func (u *ui) hint(format string, args ...any) {
	u.wipe()
	fmt.Fprintf(u.err, "hint: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// clear empties the terminal behind standard output.
func (u *ui) clear() {
	u.wipe()
	io.WriteString(u.out, "\x1b[H\x1b[J")
}

// plural is "1 container", "3 containers".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// newline leaves a line of a terminal that a process was in the middle of.
func (u *ui) newline() {
	if u.live {
		io.WriteString(u.err, "\n")
	}
}
