package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast/holdfast/manager"
)

// oneLine joins the lines of a text, whatever a runtime or a file put into it.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\t\x1b") {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' }), " ")
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

// stateText is a status as ps shows it: "running", "stopped (7)",
// "unknown (shim dead)".
func stateText(s manager.Status) string {
	switch {
	case errors.Is(s.Err, manager.ErrShimDead):
		return "unknown (shim dead)"
	case errors.Is(s.Err, manager.ErrTimeout):
		return "unknown (shim silent)"
	case s.State != manager.StateStopped || s.Exit == nil:
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

// plural is "1 container", "3 containers".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
