package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCommittedCodeIsCurrent is what -check checks.
func TestCommittedCodeIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("protoc is not installed")
	}
	t.Chdir("../..")
	stale, err := run(true)
	if err != nil || len(stale) > 0 {
		t.Errorf("out of date: %v, %v", stale, err)
	}
}

// TestFieldName has ID and IO in capitals and everything else in CamelCase.
func TestFieldName(t *testing.T) {
	for name, want := range map[string]string{
		"id": "ID", "exec_id": "ExecID", "shim_pid": "ShimPid", "io": "IO", "io_uid": "IoUid", "avg10": "Avg10", "type_url": "TypeUrl",
	} {
		if got := fieldName(name); got != want {
			t.Errorf("fieldName(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestStripRefusesRuntime where gogo's generator wrote something that is not
// known to be dispensable.
func TestStripRefusesRuntime(t *testing.T) {
	const code = "// source: x\npackage p\n\nimport (\n\tproto \"github.com/gogo/protobuf/proto\"\n)\n\n%s\n"
	dispensable := "var _ = proto.Marshal\nfunc init() { proto.RegisterType(nil, \"\") }\ntype T struct { A int `tag` }\nfunc (*T) ProtoMessage() {}\n"
	if out, err := strip(strings.Replace(code, "%s", dispensable, 1)); err != nil || strings.Contains(string(out), "proto.") || strings.Contains(string(out), "tag") {
		t.Errorf("strip: %s, %v", out, err)
	}
	if out, err := strip(strings.Replace(code, "%s", "func f() { proto.Marshal(nil) }", 1)); err == nil {
		t.Errorf("strip kept the runtime: %s", out)
	}
}
