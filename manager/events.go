package manager

import (
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
)

// Event is one thing that happened to a container; see bundle.Event. Its Encode
// gives one line of JSON.
type Event = bundle.Event

// EventsConfig chooses among events.
type EventsConfig struct {
	Since  time.Time // zero is the oldest that is kept (between 4 and 8 MiB of them)
	Follow bool      // go on until ctx ends
	IDs    []string  // containers; none is all
	Topics []string  // e.g. bundle.TopicExit; none is all
}
