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
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
)

// results is standard output. It remembers the first write that failed: that
// decides how holdfast ends, even if whoever wrote did not look.
type results struct {
	w    io.Writer
	lost error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if r.lost == nil {
		r.lost = err
	}
	return n, err
}

// ui is the only one that writes words to the streams.
type ui struct {
	out     *results
	err     io.Writer
	live    bool // err is a terminal: progress may be shown
	columns int  // width of the terminal behind out, 0 if it is none

	mu  sync.Mutex
	bar *progress // drawn at the moment
}

func newUI(w world) *ui {
	u := &ui{out: &results{w: w.stdout}, err: w.stderr}
	_, u.live = terminal(w.stderr)
	if _, ok := terminal(w.stdout); ok {
		u.columns = int(w.size(true).Width)
	}
	return u
}

// say prints one line to standard error.
func (u *ui) say(format string, args ...any) {
	u.wipe()
	fmt.Fprintf(u.err, "holdfast: %s\n", oneLine(fmt.Sprintf(format, args...)))
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

// newline leaves a line of a terminal that a process was in the middle of.
func (u *ui) newline() {
	if u.live {
		io.WriteString(u.err, "\n")
	}
}
