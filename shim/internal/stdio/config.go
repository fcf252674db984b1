package stdio

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/holdfast/holdfast/proto/attach"
)

// Config says where the three streams of one process lead. The URIs are those
// of Create and Exec; the package's doc lists the schemes.
type Config struct {
	Stdin, Stdout, Stderr string
	// Terminal: stdin and stdout are the pty given to Relay, Stderr is ignored.
	Terminal bool
	// UID and GID own the container's ends of the pipes, so that the process
	// can reopen /dev/stdout. 0 and 0 leave them with the shim's user.
	UID, GID int
	// ID and Namespace name the process for log sinks.
	ID, Namespace string
}

// Open opens every sink and makes the container's pipes. It may wait for the
// reader of an output FIFO, until ctx ends and for 30 s at most. On error
// nothing is left open.
func Open(ctx context.Context, c Config) (_ *Stdio, err error) {
	s := &Stdio{terminal: c.Terminal, drained: make(chan struct{})}
	s.hub.tasks, s.hub.grace = &s.tasks, closeGrace
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if c.Terminal {
		c.Stderr = ""
	}
	var uris [streams]uri
	for i, text := range []string{c.Stdin, c.Stdout, c.Stderr} {
		if uris[i], err = parseURI(text); err != nil {
			return nil, fmt.Errorf("%s %q: %w", names[i], text, err)
		}
	}
	if c.Stderr == "" && !c.Terminal && uris[attach.Stdout].kind == kindFile {
		uris[attach.Stderr] = uris[attach.Stdout] // as containerd's shim does
	}
	own := owner{c.UID, c.GID}
	if err := s.openStdin(uris[attach.Stdin], own); err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	for _, kind := range []attach.Kind{attach.Stdout, attach.Stderr} {
		if err := s.openOutput(ctx, kind, uris, own); err != nil {
			return nil, fmt.Errorf("%s: %w", names[kind], err)
		}
	}
	return s, nil
}

// names of the streams, by attach.Kind.
var names = [streams]string{"stdin", "stdout", "stderr"}

func (s *Stdio) openStdin(u uri, own owner) error {
	if u.kind == kindNull {
		return nil
	}
	in, err := openInput(u)
	if err != nil {
		return err
	}
	in.terminal, in.ended, in.tasks = s.terminal, s.hub.endInput, &s.tasks
	s.in, s.hub.input, s.hub.stdin = in, in, true
	if s.terminal {
		return nil
	}
	ours, child, err := inputPipe(own)
	if err != nil {
		return err
	}
	s.child[attach.Stdin] = child
	in.connect(ours)
	return nil
}

// openOutput prepares one output: a terminal's always, for it must be read
// even when nobody wants the bytes, a pipe's unless it leads nowhere.
func (s *Stdio) openOutput(ctx context.Context, kind attach.Kind, uris [streams]uri, own owner) (err error) {
	u := uris[kind]
	if s.terminal && kind == attach.Stderr || !s.terminal && u.kind == kindNull {
		return nil
	}
	o := &output{kind: kind, hub: &s.hub, pipe: !s.terminal}
	if u.kind == kindPath || u.kind == kindFile {
		t, err := s.target(ctx, u)
		if err != nil {
			return err
		}
		shared := uris[attach.Stdout].path == uris[attach.Stderr].path
		o.sinks = append(o.sinks, newSink(u, kind, t, shared))
	}
	s.hub.live[kind] = true
	// Where nobody else can show it, or it is a screen. A FIFO has its reader.
	s.hub.remember[kind] = u.kind == kindAttach || s.terminal && u.kind != kindPath
	if !s.terminal {
		if o.src, s.child[kind], err = outputPipe(own); err != nil {
			return err
		}
	}
	s.outputs = append(s.outputs, o)
	return nil
}

// target opens what u names, once for both streams.
func (s *Stdio) target(ctx context.Context, u uri) (*target, error) {
	for _, t := range s.targets {
		if t.path == u.path {
			t.use()
			return t, nil
		}
	}
	t, err := openTarget(ctx, u)
	if err != nil {
		return nil, err
	}
	t.use()
	s.targets = append(s.targets, t)
	return t, nil
}

// newSink returns the sink for a stream into t. shared: both streams go there.
func newSink(u uri, kind attach.Kind, t *target, shared bool) sink {
	if u.cri {
		return &criSink{target: t, stream: names[kind], now: time.Now}
	}
	return &rawSink{target: t, shared: shared}
}

// Child lends stdin, stdout and stderr for the OCI runtime; nil stands for
// /dev/null. With a terminal all three are nil. CloseChild closes them.
func (s *Stdio) Child() [streams]*os.File { return s.child }

// CloseChild closes the files of Child once the runtime has inherited them. As
// long as they are open the streams cannot reach EOF. Idempotent.
func (s *Stdio) CloseChild() {
	for _, f := range s.child {
		if f != nil {
			f.Close()
		}
	}
}
