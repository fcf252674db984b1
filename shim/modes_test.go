package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bootstrap"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/shim/ocitest"
)

// call is one call of the shim's binary, as a daemon makes it.
type call struct {
	dir   string // working directory
	stdin io.Reader
	env   []string   // in addition to ours
	files []*os.File // from descriptor 3 on
}

// result is how it ended.
type result struct {
	stdout, stderr []byte
	code           int
}

// make calls the binary and waits until its outputs are closed, as daemons do.
func (c call) make(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, talk bytes.Buffer
	cmd := exec.CommandContext(ctx, shimProgram(t), args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.dir, c.stdin, &out, &talk, c.files
	cmd.Env = append(os.Environ(), c.env...)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || (err != nil && !errors.As(err, &exit)) {
		t.Fatalf("shim %q: %v, stderr %q", args, err, talk.Bytes())
	}
	return result{out.Bytes(), talk.Bytes(), cmd.ProcessState.ExitCode()}
}

// fails checks that r is an error of one line that has these words in it.
func (r result) fails(t testing.TB, words ...string) {
	t.Helper()
	text := string(r.stderr)
	if r.code != 1 || len(r.stdout) != 0 {
		t.Errorf("exit status %d, stdout %q; want 1 and nothing", r.code, r.stdout)
	}
	if !strings.HasPrefix(text, "containerd-shim-holdfast-v2: ") || strings.Count(text, "\n") != 1 {
		t.Errorf("stderr %q; want one line", text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("stderr %q does not say %q", text, word)
		}
	}
}

// succeeds checks that r is a success, of which stderr may say nothing.
func (r result) succeeds(t testing.TB) {
	t.Helper()
	if r.code != 0 || len(r.stderr) != 0 {
		t.Fatalf("exit status %d, stderr %q", r.code, r.stderr)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"-v"}, {"--v"}, {"-version"}, {"-debug", "-v"}, {"-v=true"}} {
		r := call{}.make(t, args...)
		r.succeeds(t)
		lines := strings.Split(string(r.stdout), "\n")
		if len(lines) < 4 || lines[0] != "containerd-shim-holdfast-v2:" || lines[1] != "  Version:  "+Version ||
			lines[2] != "  Revision: "+Revision || !strings.HasPrefix(lines[3], "  Go version: go") {
			t.Errorf("%q prints %q", args, r.stdout)
		}
	}
}

// info calls -info with these options.
func info(t *testing.T, opts *types.Any) *bootstrap.RuntimeInfo {
	t.Helper()
	var c call
	if opts != nil {
		raw, err := opts.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		c.stdin = bytes.NewReader(raw)
	}
	r := c.make(t, "-info")
	r.succeeds(t)
	resp := new(bootstrap.RuntimeInfo)
	if err := resp.Unmarshal(r.stdout); err != nil {
		t.Fatalf("stdout %q: %v", r.stdout, err)
	}
	if resp.Name != runtimeName || resp.Version == nil || resp.Version.Version != Version || resp.Version.Revision != Revision {
		t.Errorf("name %q, version %+v", resp.Name, resp.Version)
	}
	return resp
}

func wantFeatures(t *testing.T, resp *bootstrap.RuntimeInfo) {
	t.Helper()
	var features struct{ OCIVersionMin string }
	switch {
	case resp.Features == nil:
		t.Error("no features")
	case resp.Features.TypeUrl != options.TypeFeatures:
		t.Errorf("features are of type %q", resp.Features.TypeUrl)
	case json.Unmarshal(resp.Features.Value, &features) != nil || features.OCIVersionMin == "":
		t.Errorf("features are %q", resp.Features.Value)
	}
}

func TestInfoOfRunc(t *testing.T) {
	runc := ocitest.Need(t, "runc")
	resp := info(t, nil)
	wantFeatures(t, resp)
	if resp.Options != nil {
		t.Errorf("options out of nothing: %+v", resp.Options)
	}
	for _, url := range []string{options.TypeRunc, "type.googleapis.com/" + options.TypeRunc} {
		opts := packed(t, url, &options.Options{BinaryName: runc, SystemdCgroup: true})
		resp = info(t, opts)
		wantFeatures(t, resp)
		if resp.Options == nil || resp.Options.TypeUrl != url || !bytes.Equal(resp.Options.Value, opts.Value) {
			t.Errorf("options came back as %+v", resp.Options)
		}
	}
}

func TestInfoOfARuntimeWithoutFeatures(t *testing.T) {
	for name, binary := range map[string]string{
		"old crun": ocitest.Need(t, "crun"), "nothing": "/no/such/runtime", "failing": "/bin/false",
	} {
		resp := info(t, packed(t, options.TypeRunc, &options.Options{BinaryName: binary}))
		if resp.Features != nil && name != "old crun" {
			t.Errorf("%s: features %q", name, resp.Features.Value)
		}
	}
	cri := &options.CRIOptions{ConfigBody: []byte("BinaryName = '/no/such/runtime'\n")}
	if resp := info(t, packed(t, options.TypeCRI, cri)); resp.Features != nil {
		t.Errorf("BinaryName of CRI is not asked: %q", resp.Features.Value)
	}
}

// TestInfoOfARuntimeThatHangs: daemons wait for it at their own start.
func TestInfoOfARuntimeThatHangs(t *testing.T) {
	t.Parallel()
	script := t.TempDir() + "/script.json"
	ocitest.Script{"features": {Hang: true}}.Write(t, script)
	rt := ocitest.Binary(t, ocitest.EnvScript+"="+script)
	if resp := info(t, packed(t, options.TypeRunc, &options.Options{BinaryName: rt})); resp.Features != nil {
		t.Errorf("features %q", resp.Features.Value)
	}
}

func TestInfoRefusesWhatItCannotRead(t *testing.T) {
	call{stdin: strings.NewReader("\xff\xff\xff")}.make(t, "-info").fails(t, "options")
	raw, err := packed(t, "example.com/other.Options", &types.Empty{}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	call{stdin: bytes.NewReader(raw)}.make(t, "-info").fails(t, "other.Options")
}

func TestNamesAreChecked(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"start"}, "-namespace"},
		{[]string{"-id", "c1", "start"}, "-namespace"},
		{[]string{"-namespace", "", "-id", "c1", "start"}, "-namespace"},
		{[]string{"-namespace", "ns", "start"}, "-id"},
		{[]string{"-namespace", "../ns", "-id", "c1", "start"}, "-namespace"},
		{[]string{"-namespace", "ns", "-id", "../../etc", "start"}, "-id"},
		{[]string{"-namespace", "ns", "-id", "a/b", "delete"}, "-id"},
		{[]string{"-namespace", "ns", "-id", "..", "delete"}, "-id"},
		{[]string{"-namespace", "ns", "-id", "a\nb", "delete"}, "-id"},
		{[]string{"-namespace", "ns", "-id", long}, "-id"},
		{[]string{"-namespace", "ns", "-id", "c1", "restart"}, `"restart"`},
		{[]string{"-namespace", "ns", "-id"}, "a value is missing"},
		{[]string{}, "-namespace"},
		{[]string{"-namespace", "ns", "-id", "c1"}, "not by hand"}, // serve
	} {
		dir := t.TempDir()
		call{dir: dir}.make(t, tc.args...).fails(t, tc.says)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%q has made %v, %v", tc.args, entries, err)
		}
	}
}

func TestFlagForms(t *testing.T) {
	base := command{action: "start", namespace: "ns", id: "x"}
	with := func(change func(*command)) command { c := base; change(&c); return c }
	for _, tc := range []struct {
		line string
		want command
	}{
		{"-namespace ns -id x start", base},
		{"--namespace ns --id x start", base},
		{"-namespace=ns --id=x start", base},
		{"-id=x -namespace=ns start", base},
		{"-namespace ns -id x start -debug", base}, // flags end at the action
		{"-namespace ns -id x -debug start", with(func(c *command) { c.debug = true })},
		{"-debug=false -namespace ns -id x start", base},
		{"-debug -debug=0 -namespace ns -id x start", base},
		{"-id=a=b -namespace ns start", with(func(c *command) { c.id = "a=b" })},
		{"-id= -namespace ns start", with(func(c *command) { c.id = "" })},
		{"-namespace ns -id x -socket /s -debug-socket=/d start", base},
		{"-namespace ns -id x -of-the-future start", base},
		{"-of-the-future -namespace ns -id x start", base},
		{"-of-the-future 7 -namespace ns -id x start", base},
		{"-of-the-future=7 -namespace ns -id x start", base},
		{"-namespace ns -address /c.sock -publish-binary /bin/c -id x -bundle /b delete", with(func(c *command) {
			c.action, c.address, c.publishBinary, c.bundle = "delete", "/c.sock", "/bin/c", "/b"
		})},
	} {
		got, err := parse(strings.Fields(tc.line))
		if err != nil || *got != tc.want {
			t.Errorf("%s: %+v, %v; want %+v", tc.line, got, err, tc.want)
		}
	}
}
