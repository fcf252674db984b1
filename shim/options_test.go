package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/shim/internal/container"
)

// cri wraps a piece of TOML as containerd's CRI does.
func cri(t testing.TB, body string) *types.Any {
	return packed(t, options.TypeCRI, &options.CRIOptions{TypeUrl: "x", ConfigPath: "/ignored", ConfigBody: []byte(body)})
}

func TestOptionsOfEveryCaller(t *testing.T) {
	all := options.Options{
		NoPivotRoot: true, NoNewKeyring: true, ShimCgroup: "/a", IoUid: 7, IoGid: 8, BinaryName: "crun",
		Root: "/r", SystemdCgroup: true, CriuWorkPath: "/w",
	}
	for name, tc := range map[string]struct {
		any  *types.Any
		want options.Options
	}{
		"none":             {nil, options.Options{}},
		"an empty Any":     {&types.Any{}, options.Options{}},
		"runc's":           {packed(t, options.TypeRunc, &all), all},
		"runc's, prefixed": {packed(t, "type.googleapis.com/"+options.TypeRunc, &all), all},
		"runc's, empty":    {&types.Any{TypeUrl: options.TypeRunc}, options.Options{}},
		"CRI's, empty":     {cri(t, ""), options.Options{}},
		"CRI's": {cri(t, `BinaryName = "crun"
NoPivotRoot = true
NoNewKeyring=true
  IoUid  =  7
IoGid = 8
"Root" = '/r'
ShimCgroup = "/a"
SystemdCgroup = true
CriuWorkPath = '/w'
`), all},
		"CRI's, of others too": {cri(t, "# Root = 1\nfoo = [1, 2]\nTaskApiVersion = 3\nPodAnnotations = [\n \"a=b\",\n \"Root\"\n]\n\n\r\nRoot = ''\n"), options.Options{}},
		"CRI's, with tables":   {cri(t, "IoUid = 1\n[kata]\nRoot = 7\nBinaryName = \"other\"\n"), options.Options{IoUid: 1}},
		"CRI's, escaped":       {cri(t, `Root = "/a\tb \"\u00e9\" = #"`), options.Options{Root: "/a\tb \"é\" = #"}},
		"CRI's, literal":       {cri(t, `Root = 'C:\x'`), options.Options{Root: `C:\x`}},
	} {
		var got options.Options
		err := runtimeOptions(tc.any, &got)
		a, _ := got.Marshal()
		b, _ := tc.want.Marshal()
		if err != nil || string(a) != string(b) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, a := range map[string]*types.Any{
		"unknown type":      {TypeUrl: "example.com/Other"},
		"long unknown type": {TypeUrl: strings.Repeat("x", 100000)},
		"another message":   {TypeUrl: options.TypeCheckpoint},
		"garbage for runc":  {TypeUrl: options.TypeRunc, Value: []byte("\xff\xff\xff")},
		"garbage for CRI":   {TypeUrl: options.TypeCRI, Value: []byte("\x0a\xff")},
		"text for flag":     cri(t, `SystemdCgroup = "true"`),
		"number for flag":   cri(t, `SystemdCgroup = 1`),
		"Go's flag":         cri(t, `SystemdCgroup = True`),
		"flag for text":     cri(t, `Root = true`),
		"no quotes":         cri(t, `Root = /run/runc`),
		"one quote":         cri(t, `Root = "/run/runc`),
		"Go's quotes":       cri(t, "Root = `/run/runc`"),
		"negative":          cri(t, `IoUid = -1`),
		"too large":         cri(t, `IoUid = 4294967296`),
		"text for number":   cri(t, `IoUid = "7"`),
		"nothing":           cri(t, `IoUid =`),
	} {
		var rt options.Options
		err := runtimeOptions(a, &rt)
		if !errors.Is(err, container.ErrInvalid) || len(err.Error()) > 300 {
			t.Errorf("%s: %+v, %.300v", name, rt, err)
		}
	}
}

func FuzzParseCRI(f *testing.F) {
	f.Add("Root = \"/x\"\n[a]\nIoUid = 7")
	f.Add("=\n'\n\"\" = ''\nRoot='\nRoot = \"\\\"")
	f.Fuzz(func(t *testing.T, body string) {
		var rt options.Options
		if err := parseCRI(body, &rt); err != nil && !errors.Is(err, container.ErrInvalid) {
			t.Error(err)
		}
	})
}

func TestCreateRequest(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	s := &shim{cfg: Config{Namespace: "ns", ID: "c1", Bundle: dir}}

	for _, from := range []string{"", dir, dir + "/", link, dir + "/../" + filepath.Base(dir)} {
		req, err := s.createRequest(&task.CreateTaskRequest{Bundle: from})
		want := bundle.Runtime{Binary: "runc", Root: defaultRuntimeRoot + "/ns"}
		if err != nil || !sameRuntime(req.Runtime, want) || !req.Linger {
			t.Errorf("bundle %q: %+v, %v", from, req, err)
		}
	}
	for _, from := range []string{t.TempDir(), "/no/such/bundle", "relative"} {
		if _, err := s.createRequest(&task.CreateTaskRequest{Bundle: from}); !errors.Is(err, container.ErrInvalid) {
			t.Errorf("bundle %q: %v", from, err)
		}
	}

	own := &shimv1.CreateOptions{
		Runtime:     &options.Options{BinaryName: "/crun", Root: "/r", CriuPath: "/old/criu"},
		RuntimeArgs: []string{"--debug"}, ConsoleWidth: 1 << 20, ConsoleHeight: 24, CriuDir: "/criu",
		Restore: &options.CheckpointOptions{OpenTcp: true},
	}
	req, err := s.createRequest(&task.CreateTaskRequest{Options: packed(t, shimv1.TypeCreateOptions, own)})
	want := bundle.Runtime{Binary: "/crun", Root: "/r/ns", Args: []string{"--debug"}, CriuDir: "/criu"}
	if err != nil || !sameRuntime(req.Runtime, want) || req.Linger || !req.Restore.OpenTCP {
		t.Errorf("our manager's: %+v, %v", req, err)
	}
	if req.Size.Width != 1<<16-1 || req.Size.Height != 24 {
		t.Errorf("size %+v", req.Size)
	}
	broken := &types.Any{TypeUrl: shimv1.TypeCreateOptions, Value: []byte("\xff")}
	if _, err := s.createRequest(&task.CreateTaskRequest{Options: broken}); !errors.Is(err, container.ErrInvalid) {
		t.Errorf("broken options: %v", err)
	}
}

func sameRuntime(a, b bundle.Runtime) bool {
	return string(bundle.Task{Runtime: a}.Encode()) == string(bundle.Task{Runtime: b}.Encode())
}
