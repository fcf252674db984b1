package bootstrap_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/bootstrap"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/types"
)

// captured is the stdin of a start, from a daemon that logs at debug level,
// with runc options.
const captured = "\x0a\x03h1a\x12\x06h1nsmn\x18\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x01" +
	"\x22\x122.4.0-beta+unknown\x2a\x16/tmp/x/mn/c.sock.ttrpc\x32\x10/tmp/x/mn/c.sock\x3a\x18/usr/bin/containerd-main" +
	"\x42\x34\x0a\x32\x0a\x1acontainerd.runc.v1.Options\x12\x14\x3a\x12/tmp/x/runcrootmn1" +
	"\x4a\x11/run/containerd/s"

// TestParamsOfDaemon decodes captured Params and encodes them the same again.
func TestParamsOfDaemon(t *testing.T) {
	var p bootstrap.Params
	if err := p.Unmarshal([]byte(captured)); err != nil {
		t.Fatal(err)
	}
	if p.InstanceID != "h1a" || p.Namespace != "h1nsmn" || p.LogLevel != bootstrap.LogLevelDebug ||
		p.ContainerdTtrpcAddress != "/tmp/x/mn/c.sock.ttrpc" || p.SocketDir != "/run/containerd/s" || len(p.Extensions) != 1 {
		t.Errorf("decoded %+v", p)
	}
	if !options.Is(p.Extensions[0].Value.TypeUrl, options.TypeRunc) {
		t.Errorf("extension is %+v", p.Extensions[0].Value)
	}
	if b, err := p.Marshal(); err != nil || string(b) != captured {
		t.Errorf("encoded %q, %v", b, err)
	}
}

// TestOptionsDecodeAsParams: decoding alone does not tell the two kinds of
// stdin apart.
func TestOptionsDecodeAsParams(t *testing.T) {
	b, _ := (&types.Any{TypeUrl: options.TypeRunc, Value: []byte("x")}).Marshal()
	var p bootstrap.Params
	if err := p.Unmarshal(b); err != nil || p.InstanceID != options.TypeRunc {
		t.Errorf("decoded %+v, %v", p, err)
	}
}

// TestResult encodes as daemons expect it, and as the older ones cannot take
// for an address.
func TestResult(t *testing.T) {
	address := "unix:///run/containerd/s/" + strings.Repeat("0", 64)
	b, err := (&bootstrap.Result{Version: 2, Address: address, Protocol: "ttrpc"}).Marshal()
	want := append(append([]byte("\x08\x02\x12\x59"), address...), "\x1a\x05ttrpc"...)
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("encoded %q, %v", b, err)
	}
	var r bootstrap.Result
	if r.Unmarshal([]byte(address)) == nil {
		t.Error("an address decodes as a Result")
	}
}
