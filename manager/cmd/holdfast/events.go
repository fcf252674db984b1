package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

// stamp is how times are printed: RFC 3339 with all nine digits, so that
// columns align and text sorts.
const stamp = "2006-01-02T15:04:05.000000000Z07:00"

func setupEvents(fs *pflag.FlagSet) action {
	follow := fs.BoolP("follow", "f", false, "go on with what happens from now on")
	since := fs.String("since", "", "only what is younger than an `age` (10m) or a time")
	filters := fs.StringArray("filter", nil, "only those that `match`: id=ID, or topic=TOPIC as exit or /tasks/exit (repeat)")
	return func(ctx context.Context, c *cli, _ []string) error {
		from, err := parseSince(*since, c.now())
		if err != nil {
			return usage("events", "%v", err)
		}
		cfg := manager.EventsConfig{Since: from, Follow: *follow}
		if err := eventFilters(&cfg, *filters); err != nil {
			return err
		}
		m, err := c.open()
		if err != nil {
			return err
		}
		for e, err := range m.Events(ctx, cfg) {
			if err != nil {
				return err
			}
			if err := c.printEvent(e); err != nil {
				return err
			}
		}
		return context.Cause(ctx)
	}
}

func eventFilters(cfg *manager.EventsConfig, filters []string) error {
	for _, f := range filters {
		key, value, _ := strings.Cut(f, "=")
		switch {
		case value == "":
			return usage("events", "--filter: %q is neither id=ID nor topic=TOPIC", f)
		case key == "id":
			cfg.IDs = append(cfg.IDs, value)
		case key == "topic":
			if !strings.HasPrefix(value, "/") {
				value = "/tasks/" + value
			}
			cfg.Topics = append(cfg.Topics, value)
		default:
			return usage("events", "--filter: %q is neither id=ID nor topic=TOPIC", f)
		}
	}
	return nil
}

func (c *cli) printEvent(e manager.Event) error {
	if c.json {
		_, err := c.stdout.Write(e.Encode())
		return err
	}
	var more strings.Builder
	add := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&more, " %s=%s", key, quoted([]string{oneLine(value)}))
		}
	}
	add("exec", e.ExecID)
	if e.PID != 0 {
		add("pid", fmt.Sprint(e.PID))
	}
	if !e.ExitedAt.IsZero() {
		if e.Known {
			add("code", fmt.Sprint(e.Code))
		} else {
			add("code", "unknown")
		}
		if e.Signal != 0 {
			add("signal", signalName(syscall.Signal(e.Signal)))
		}
		add("reason", e.Reason)
	}
	add("checkpoint", e.Checkpoint)
	_, err := fmt.Fprintf(c.stdout, "%s %-18s %s%s\n", e.Time.Local().Format(stamp), e.Topic, e.ID, &more)
	return err
}
