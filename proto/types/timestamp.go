package types

import "time"

// FromTime returns t as a Timestamp. The zero time, which stands for "never",
// becomes second -62135596800: that is what a daemon takes for "not exited",
// while a missing Timestamp is 1970 to some of them.
func FromTime(t time.Time) *Timestamp {
	return &Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

// Time returns t in UTC. A missing Timestamp is the zero time, and so is what
// FromTime makes of the zero time.
func (t *Timestamp) Time() time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Unix(t.Seconds, int64(t.Nanos)).UTC()
}
