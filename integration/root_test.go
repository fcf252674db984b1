package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// roots are root file systems, bundles and what a spec says of the process.
func roots() []scenario {
	return []scenario{
		{name: "the default spec can be shaped by flags", contained: true, run: func(t *testing.T, w *harness.World) {
			r := run(w, []string{"--rm", "--env", "A=b c", "--cwd", "/tmp", "--user", "1000:2000", "--hostname", "castle"}, "x",
				"/bin/sh", "-c", `echo "$A"; pwd; id -u; id -g; hostname; echo $$`)
			if want := "b c\n/tmp\n1000\n2000\ncastle\n1\n"; r.Code != 0 || r.Stdout != want {
				t.Errorf("want %q, got %v", want, r)
			}
		}},
		{name: "a root can be an overlay of several directories, mounted for the run only", contained: true, run: func(t *testing.T, w *harness.World) {
			base, lower, upper, work := w.Rootfs("base"), w.Path("lower"), w.Path("upper"), w.Path("work")
			for _, dir := range []string{lower, upper, work} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(lower, "file"), []byte("from the lower one\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			overlay := "overlay:overlay:lowerdir=" + lower + ":" + base + ",upperdir=" + upper + ",workdir=" + work
			for _, id := range []string{"x", "y"} {
				r := w.Run("run", "--rm", "--mount", overlay, id, "/bin/sh", "-c", "cat /file; echo new >/made-in-"+id)
				if r.Code != 0 || r.Stdout != "from the lower one\n" {
					t.Errorf("got %v", r)
				}
				if _, err := os.Stat(filepath.Join(upper, "made-in-"+id)); err != nil {
					t.Errorf("what the container wrote: %v", err)
				}
			}
		}},
		{name: "a bundle's own config.json is what runs", contained: true, run: func(t *testing.T, w *harness.World) {
			dir := w.Path("bundle")
			writeBundle(t, w, dir, "/bin/sh", "-c", `echo "$FROM"; exit 12`)
			r := w.Run("run", "--rm", "--bundle", dir, "x")
			if r.Code != 12 || r.Stdout != "the bundle\n" {
				t.Errorf("got %v", r)
			}
			for name, want := range map[string]bool{"config.json": true, "exit.json": false} {
				if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
					t.Errorf("%s in the user's bundle: %v", name, err)
				}
			}
		}},
		{name: "the user's root directory outlives its container", contained: true, run: func(t *testing.T, w *harness.World) {
			root := w.Rootfs("mine")
			w.OK("run", "--rm", "--rootfs", root, "x", "/bin/touch", "/kept")
			w.OK("run", "-d", "--rootfs", root, "y", "/bin/sh", "-c", idle)
			w.OK("rm", "-f", "y")
			for _, name := range []string{"kept", "bin/busybox"} {
				if _, err := os.Stat(filepath.Join(root, name)); err != nil {
					t.Errorf("after rm: %v", err)
				}
			}
		}},
	}
}

// writeBundle makes an OCI bundle as `runc spec` might, with a root file system
// beside its config.json.
func writeBundle(t testing.TB, w *harness.World, dir string, args ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.Rootfs("bundle"), filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	spec := specs.Spec{
		Version:  "1.0.2",
		Root:     &specs.Root{Path: "rootfs"},
		Hostname: "bundle",
		Process:  &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin", "FROM=the bundle"}},
		Mounts:   []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{CgroupsPath: "/" + w.Token + "/bundle", Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.UTSNamespace}, {Type: specs.IPCNamespace},
		}},
	}
	writeSpec(w, dir, spec)
}
