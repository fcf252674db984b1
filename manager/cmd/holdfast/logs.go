package main

import (
	"bytes"
	"context"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

func setupLogs(fs *pflag.FlagSet) action {
	follow := fs.BoolP("follow", "f", false, "go on until the container has stopped")
	since := fs.String("since", "", "only what is younger than an `age` (10m) or a time")
	tail := fs.IntP("tail", "n", 0, "only the last `lines`")
	times := fs.BoolP("timestamps", "t", false, "begin every line with its time")
	return func(ctx context.Context, c *cli, args []string) error {
		from, err := parseSince(*since, c.now())
		if err != nil {
			return usage("logs", "%v", err)
		}
		if *tail < 0 {
			return usage("logs", "--tail: %d is negative", *tail)
		}
		if *tail == 0 && fs.Changed("tail") && !*follow {
			return nil
		}
		ct, err := c.load(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		cfg := manager.LogsConfig{Follow: *follow, Since: from, Tail: *tail, Stdout: true, Stderr: true}
		p := logPrinter{c: c, times: *times}
		for line, err := range ct.Logs(ctx, cfg) {
			if err != nil {
				return err
			}
			if err := p.print(line); err != nil {
				return err
			}
		}
		return context.Cause(ctx)
	}
}

// logPrinter prints lines of a log to the stream they came from.
type logPrinter struct {
	c       *cli
	times   bool
	partial [2]bool // the last line of stdout, stderr has no end yet
	buf     bytes.Buffer
}

// logObject is the JSON of logs.
type logObject struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"`
	Text    string    `json:"text"`
	Partial bool      `json:"partial,omitempty"`
}

func (p *logPrinter) print(l manager.LogLine) error {
	stream, out, name := 0, p.c.stdout, "stdout"
	if l.Stderr {
		stream, out, name = 1, p.c.stderr, "stderr"
	}
	if p.c.json {
		return p.c.ui.object(logObject{l.Time, name, string(l.Text), l.Partial})
	}
	p.buf.Reset()
	if p.times && !p.partial[stream] {
		p.buf.WriteString(l.Time.Local().Format(stamp))
		p.buf.WriteByte(' ')
	}
	p.buf.Write(l.Text)
	if !l.Partial {
		p.buf.WriteByte('\n')
	}
	p.partial[stream] = l.Partial
	_, err := out.Write(p.buf.Bytes())
	return err
}
