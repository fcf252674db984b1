package manager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path/filepath"
	"time"
)

// LogsConfig chooses among the lines of a container's log.
type LogsConfig struct {
	Follow bool      // go on until the task has ended and all is read
	Since  time.Time // zero is the beginning
	Tail   int       // the last so many lines, each from its beginning (but see Logs); 0 is all
	Stdout bool      // if neither is set, both
	Stderr bool
}

// LogLine is a line of a container's output.
type LogLine struct {
	Time    time.Time
	Stderr  bool   // else stdout
	Text    []byte // without the newline; valid until the next one is asked for
	Partial bool   // no newline followed: a long line goes on in the next one of this stream
}

// Logs yields the lines of the container's log: the default one, or a file://
// URI that it was created with. A log that was not made yet is empty;
// errors.ErrUnsupported if the output goes where it cannot be read back. It
// ends after the first error: ErrShimDead when following what nobody writes to
// any more. A shim ends a last line that has no newline with an empty one. Tail
// may miss the beginning of a very long line that was written at the same time
// as lines of the other stream.
func (c *Container) Logs(ctx context.Context, cfg LogsConfig) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		err := c.logs(ctx, cfg, func(l LogLine) bool { return yield(l, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(LogLine{}, fmt.Errorf("read log of %s: %w", c.id, err))
		}
	}
}

func (c *Container) logs(ctx context.Context, cfg LogsConfig, yield func(LogLine) bool) error {
	path, cri, err := c.logFile()
	if err != nil {
		return err
	}
	var w *watch
	if cfg.Follow { // before the first read, so that nothing falls in between
		if w, err = newWatch(ctx, c.dir, filepath.Dir(path)); err != nil {
			return err
		}
		defer w.Close()
	} else {
		c.lastWords(ctx)
	}
	var p *pulse
	if d := c.look(); cfg.Follow && d.run && d.exit == nil {
		p = c.pulse(ctx, w.wake)
		defer p.Close()
	}
	r := &logReader{path: path, cri: cri, cfg: cfg, yield: yield}
	defer r.Close()
	if err := r.tail(); err != nil {
		return err
	}
	for {
		dead := p.stopped() // before the record is looked for: a shim that has ended may have written it
		over := !cfg.Follow || c.outputOver(ctx)
		if err := r.read(ctx); err != nil || over {
			return errors.Join(err, r.flush())
		}
		if dead {
			return errors.Join(r.flush(), c.process("", 0).lost())
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// lastWordsTime bounds the wait for the last output of a container that has
// ended: what is still under way gets into a file within a millisecond, unless
// somebody holds it up.
const lastWordsTime = time.Second

// lastWords waits for the output of a container that has just ended. Who has
// waited for a container expects to find all its output.
func (c *Container) lastWords(ctx context.Context) {
	if d := c.look(); !d.run || d.exit == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWordsTime)
	defer cancel()
	c.outputOver(ctx)
}

// outputOver reports whether nothing will be added to the log by the current
// run: it has ended, or was deleted, and its outputs are written.
func (c *Container) outputOver(ctx context.Context) bool {
	d := c.look()
	if d.run && d.exit == nil {
		return false
	}
	if !d.run {
		return true
	}
	// The record comes before the end of the outputs, which somebody who
	// inherited them may still write to. A shim with no more to come ends the
	// attachment, or has left.
	a, err := c.process("", 0).Attach(ctx, AttachConfig{Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		return true
	}
	defer a.Close()
	stop := context.AfterFunc(ctx, func() { a.Close() })
	defer stop()
	_ = a.Wait()
	return true
}

// logFile returns the file that the container's output goes to, and whether it
// is in the format of the CRI.
func (c *Container) logFile() (path string, cri bool, err error) {
	stdio := c.Record().Stdio
	_, uri, _ := stdio.uris(c.defaultLog(), false)
	if t := c.look().task; t.Stdout != "" {
		uri = t.Stdout // of the run at hand
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return "", false, fmt.Errorf("its output goes to %q: %w", uri, errors.ErrUnsupported)
	}
	return u.Path, u.Query().Get("format") == "cri", nil
}
