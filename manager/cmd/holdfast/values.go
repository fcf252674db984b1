package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseSize understands a number of bytes with an optional unit in powers of
// 1024: "512m", "512MiB", "1.5g". "-1" and "max" are no limit, -1.
func parseSize(s string) (int64, error) {
	if s == "-1" || s == "max" {
		return -1, nil
	}
	num := strings.TrimRight(s, "bBiIkKmMgGtT")
	unit := strings.ToLower(s[len(num):])
	unit = strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")
	shift, ok := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	if !ok {
		return 0, fmt.Errorf("%q is no size, try 512m or 2g", s)
	}
	n, err := strconv.ParseFloat(num, 64)
	bytes := n * float64(int64(1)<<shift)
	if err != nil || n < 0 || math.IsNaN(n) || bytes >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size, try 512m or 2g", s)
	}
	return int64(bytes), nil
}

// size is a pflag.Value for parseSize.
type size struct {
	bytes int64
	set   bool
}

func (s *size) Set(text string) (err error) {
	s.bytes, err = parseSize(text)
	s.set = err == nil
	return err
}

func (s *size) Type() string { return "size" }

func (s *size) String() string {
	if !s.set {
		return ""
	}
	return strconv.FormatInt(s.bytes, 10)
}

// parseSince understands an age ("90s", "2h"), a time (RFC 3339, with or
// without the time of day) and seconds since 1970. Empty is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil && sec > 0 && sec < 1<<40 {
		whole, frac := math.Modf(sec)
		return time.Unix(int64(whole), int64(frac*1e9)), nil
	}
	return time.Time{}, fmt.Errorf("--since: %q is neither an age (10m) nor a time (2006-01-02T15:04:05Z)", s)
}

// parsePairs splits KEY=VALUE arguments. A key alone takes its value from
// lookup, and is left out if lookup has none (as docker's --env does); with a
// nil lookup it stands for an empty value.
func parsePairs(flag string, args []string, lookup func(string) string) ([][2]string, error) {
	var out [][2]string
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if key == "" {
			return nil, fmt.Errorf("--%s: %q has no name", flag, arg)
		}
		if !ok && lookup != nil {
			if value = lookup(key); value == "" {
				continue
			}
		}
		out = append(out, [2]string{key, value})
	}
	return out, nil
}

// parseEnv returns KEY=VALUE strings for a process.
func parseEnv(args []string, lookup func(string) string) ([]string, error) {
	pairs, err := parsePairs("env", args, lookup)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range pairs {
		out = append(out, p[0]+"="+p[1])
	}
	return out, nil
}

// parseLabels returns labels as a map; the last of a key counts.
func parseLabels(args []string) (map[string]string, error) {
	pairs, err := parsePairs("label", args, nil)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		out[p[0]] = p[1]
	}
	return out, nil
}
