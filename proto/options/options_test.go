package options_test

import (
	"testing"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/types"
)

// TestIsIgnoresPrefix of a type URL.
func TestIsIgnoresPrefix(t *testing.T) {
	for url, want := range map[string]bool{
		"containerd.runc.v1.Options":                     true,
		"type.googleapis.com/containerd.runc.v1.Options": true,
		"a/b/containerd.runc.v1.Options":                 true,
		"xcontainerd.runc.v1.Options":                    false,
		"containerd.runc.v1.Options/":                    false,
		"":                                               false,
	} {
		if options.Is(url, options.TypeRunc) != want {
			t.Errorf("Is(%q) is %v", url, !want)
		}
	}
}

// TestOptionsOfDaemon decodes the stdin of a start, as captured.
func TestOptionsOfDaemon(t *testing.T) {
	var any types.Any
	if err := any.Unmarshal([]byte("\x0a\x1acontainerd.runc.v1.Options\x12\x14\x3a\x12/tmp/x/runcroot-17")); err != nil {
		t.Fatal(err)
	}
	var o options.Options
	if err := o.Unmarshal(any.Value); err != nil || !options.Is(any.TypeUrl, options.TypeRunc) || o.Root != "/tmp/x/runcroot-17" {
		t.Errorf("decoded %+v, %+v, %v", any, o, err)
	}
	if b, err := (&options.ProcessDetails{ExecID: "e1"}).Marshal(); err != nil || string(b) != "\x0a\x02e1" {
		t.Errorf("details are %q, %v", b, err)
	}
}
