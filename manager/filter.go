package manager

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// filter decides which containers a listing shows.
type filter struct {
	records []func(Record) bool
	states  []State // any of them
}

// parseFilters reads the filters that List documents.
func parseFilters(texts []string) (filter, error) {
	var f filter
	for _, text := range texts {
		kind, rest, ok := strings.Cut(text, "=")
		if !ok || rest == "" {
			return f, fmt.Errorf("filter %q is not label=, label!=, id= or status= with something: %w", text, ErrInvalid)
		}
		switch kind {
		case "label":
			f.records = append(f.records, labelFilter(rest))
		case "label!":
			match := labelFilter(rest)
			f.records = append(f.records, func(r Record) bool { return !match(r) })
		case "id":
			if _, err := path.Match(rest, ""); err != nil {
				return f, fmt.Errorf("filter %q: %w: %w", text, ErrInvalid, err)
			}
			f.records = append(f.records, func(r Record) bool {
				match, _ := path.Match(rest, r.ID)
				return match
			})
		case "status":
			s := State(rest)
			if !slices.Contains(states(), s) {
				return f, fmt.Errorf("filter %q: no such status, there are %v: %w", text, states(), ErrInvalid)
			}
			f.states = append(f.states, s)
		default:
			return f, fmt.Errorf("filter %q: unknown kind %q: %w", text, kind, ErrInvalid)
		}
	}
	return f, nil
}

// labelFilter matches KEY, KEY=VALUE or KEY!=VALUE. A container without the
// label has a value that differs.
func labelFilter(text string) func(Record) bool {
	key, value, hasValue := strings.Cut(text, "=")
	key, not := strings.CutSuffix(key, "!")
	switch {
	case !hasValue:
		return func(r Record) bool { _, ok := r.Labels[text]; return ok }
	case not:
		return func(r Record) bool { v, ok := r.Labels[key]; return !ok || v != value }
	default:
		return func(r Record) bool { v, ok := r.Labels[key]; return ok && v == value }
	}
}

func (f filter) matches(r Record) bool {
	for _, match := range f.records {
		if !match(r) {
			return false
		}
	}
	return true
}

func (f filter) matchesState(s State) bool {
	return len(f.states) == 0 || slices.Contains(f.states, s)
}
