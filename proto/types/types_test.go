package types_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/types"
)

// TestTimestampIsTime both ways, with "never" as daemons expect it.
func TestTimestampIsTime(t *testing.T) {
	zero, _ := hex.DecodeString("088092b8c398feffffff01")
	if b, err := types.FromTime(time.Time{}).Marshal(); err != nil || !bytes.Equal(b, zero) {
		t.Errorf("the zero time is % x, %v", b, err)
	}
	if !types.FromTime(time.Time{}).Time().IsZero() {
		t.Error("the zero time does not come back")
	}
	var missing *types.Timestamp
	if !missing.Time().IsZero() {
		t.Error("a missing Timestamp is not the zero time")
	}
	now := time.Now()
	if got := types.FromTime(now).Time(); !got.Equal(now) || got.Location() != time.UTC {
		t.Errorf("%v came back as %v", now, got)
	}
}

// TestStatusSays what containerd says.
func TestStatusSays(t *testing.T) {
	for s, want := range map[types.Status]string{0: "unknown", 1: "created", 2: "running", 3: "stopped", 4: "paused", 5: "pausing", 6: "unknown"} {
		if s.String() != want {
			t.Errorf("Status(%d) says %q, want %q", int32(s), s, want)
		}
	}
}
