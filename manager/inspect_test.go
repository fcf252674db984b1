package manager_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast/holdfast/manager"
	"github.com/holdfast/holdfast/proto/bundle"
)

// TestInspectIsStable compares names and types of all members with the golden
// file. Only add to that file: other people's programs read these.
func TestInspectIsStable(t *testing.T) {
	m, l := open(t)
	var got strings.Builder
	show := func(title string, c *manager.Container) {
		t.Helper()
		in, err := c.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n%s\n", title, strings.Join(members("", v), ""))
	}
	never, err := m.Create(t.Context(), "never", manager.CreateConfig{
		Mounts:  []manager.Mount{{Type: "tmpfs", Source: "tmpfs", Target: "/", Options: []string{"ro"}}},
		Labels:  map[string]string{"a": "b"},
		Runtime: manager.Runtime{Root: "/r", Args: []string{"-x"}, SystemdCgroup: true, NoPivot: true, NoNewKeyring: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	show("never run, all flags", never)

	c, tk := run(t, m, "running")
	exec, err := tk.Exec(t.Context(), manager.ExecConfig{ID: "e", Args: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	show("running, with an exec", c)
	l.last().exit("e", 7<<8)
	l.last().exit("", uint32(syscall.SIGKILL))
	show("stopped by a signal", c)

	failed := makeContainer(t, m, "failed")
	err = bundle.WriteExit(failed.Bundle(), bundle.Exit{ID: "failed", Failed: true, Code: 127, Reason: "no such file", ExitedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	show("failed to start", failed)

	dead, _ := run(t, m, "dead")
	l.last().die()
	show("its shim is dead", dead)

	const golden = "testdata/inspect.golden"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("inspect no longer is as in %s, but:\n%s", golden, &got)
	}
}

// members lists the paths and types of all members of a JSON value.
func members(path string, v any) []string {
	var list []string
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if path == ".labels" {
				key = "KEY"
			}
			list = append(list, members(path+"."+key, value)...)
		}
		if len(v) == 0 {
			list = append(list, path+" empty object\n")
		}
	case []any:
		for _, value := range v {
			list = append(list, members(path+"[]", value)...)
		}
		if len(v) == 0 {
			list = append(list, path+" empty array\n")
		}
	case string:
		kind := "string"
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			kind = "time"
		}
		list = append(list, path+" "+kind+"\n")
	case float64:
		list = append(list, path+" number\n")
	case bool:
		list = append(list, path+" bool\n")
	default:
		list = append(list, path+" null\n")
	}
	slices.Sort(list)
	return slices.Compact(list)
}
