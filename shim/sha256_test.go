package shim

import (
	std "crypto/sha256"
	"strings"
	"testing"
)

func TestSHA256IsTheStandardOne(t *testing.T) {
	for n := range 200 {
		msg := strings.Repeat("holdfast/", n)[:n]
		if got, want := sha256(msg), std.Sum256([]byte(msg)); got != want {
			t.Fatalf("sha256 of %d bytes = %x, want %x", n, got, want)
		}
	}
}
