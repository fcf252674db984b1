package manager_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsWhatCompiles looks for every line of the Go code in README, in
// order, in the examples.
func TestReadmeShowsWhatCompiles(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(readme), "```go\n")
	code, _, ok := strings.Cut(code, "```")
	if !ok || strings.TrimSpace(code) == "" {
		t.Fatal("README shows no Go code")
	}
	rest := string(examples)
	for line := range strings.Lines(code) {
		if _, rest, ok = strings.Cut(rest, "\t"+line); !ok {
			t.Fatalf("README has a line that no example has next: %s", line)
		}
	}
}
