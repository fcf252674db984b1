package bundle

import (
	"time"

	"github.com/holdfast/holdfast/proto/jsontext"
)

// Topics of events, spelled as containerd spells them.
const (
	TopicCreate       = "/tasks/create"
	TopicStart        = "/tasks/start"
	TopicExit         = "/tasks/exit"
	TopicDelete       = "/tasks/delete"
	TopicOOM          = "/tasks/oom"
	TopicExecAdded    = "/tasks/exec-added"
	TopicExecStarted  = "/tasks/exec-started"
	TopicPaused       = "/tasks/paused"
	TopicResumed      = "/tasks/resumed"
	TopicCheckpointed = "/tasks/checkpointed"
)

// Event is one thing that happened to a container: a line of the journal and
// of the feed. Which fields count depends on the topic.
type Event struct {
	Seq       uint64 // 1, 2, 3, ... within one run of the container
	Time      time.Time
	Namespace string
	ID        string // container
	Topic     string
	ExecID    string // exec-added, exec-started, exit and delete of an exec
	PID       int

	// exit and delete
	Known    bool
	Code     int // as in Exit
	Signal   int
	Reason   string
	ExitedAt time.Time

	// create
	Bundle                string
	Stdin, Stdout, Stderr string // URIs, as given
	Terminal              bool

	Checkpoint string // create (restored from), checkpointed (written to)
}

// Event returns the news of an end, for the topics exit and delete. Who tells it
// adds when, where, and the number.
func (e Exit) Event(topic string) Event {
	return Event{
		Topic: topic, ID: e.ID, ExecID: e.ExecID, PID: e.PID,
		Known: e.Known, Code: e.Code, Signal: e.Signal(), Reason: e.Reason, ExitedAt: e.ExitedAt,
	}
}

// Encode returns the event as one line of JSON, newline included.
func (e Event) Encode() []byte {
	var b jsontext.Builder
	b.Int("version", version).Uint("seq", e.Seq).String("time", formatTime(e.Time))
	b.String("namespace", e.Namespace).String("id", e.ID).String("topic", e.Topic)
	if e.ExecID != "" {
		b.String("exec_id", e.ExecID)
	}
	if e.PID != 0 {
		b.Int("pid", int64(e.PID))
	}
	if e.Topic == TopicExit || e.Topic == TopicDelete {
		b.Bool("known", e.Known).Int("code", int64(e.Code)).Int("signal", int64(e.Signal))
		b.String("exited_at", formatTime(e.ExitedAt))
		if e.Reason != "" {
			b.String("reason", e.Reason)
		}
	}
	if e.Topic == TopicCreate {
		b.String("bundle", e.Bundle).String("stdin", e.Stdin).String("stdout", e.Stdout).String("stderr", e.Stderr).Bool("terminal", e.Terminal)
	}
	if e.Checkpoint != "" {
		b.String("checkpoint", e.Checkpoint)
	}
	return append(b.Bytes(), '\n')
}

// DecodeEvent is the reverse of Encode, for one line with or without its
// newline. It accepts any input without panicking.
func DecodeEvent(line []byte) (Event, error) {
	const kind = "event"
	r, err := open(kind, line)
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Seq: r.uint("seq"), Time: r.time("time"), Namespace: r.str("namespace"), ID: r.str("id"),
		Topic: r.str("topic"), ExecID: r.str("exec_id"), PID: int(r.int("pid")),
		Known: r.bool("known"), Code: int(r.int("code")), Signal: int(r.int("signal")),
		Reason: r.str("reason"), ExitedAt: r.time("exited_at"),
		Bundle: r.str("bundle"), Stdin: r.str("stdin"), Stdout: r.str("stdout"), Stderr: r.str("stderr"), Terminal: r.bool("terminal"),
		Checkpoint: r.str("checkpoint"),
	}
	return e, r.end(kind)
}
