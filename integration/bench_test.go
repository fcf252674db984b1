package integration

import (
	"os/exec"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// BenchmarkRun is a whole life, from run to gone, with and without us: what a
// shim, its records and its events add to the OCI runtime's own work.
func BenchmarkRun(b *testing.B) {
	for _, runtime := range []string{"runc", "crun"} {
		b.Run(runtime+"/holdfast", func(b *testing.B) {
			w := harness.New(b, runtime)
			root := w.Rootfs("x")
			for b.Loop() {
				w.OK("run", "--rm", "--rootfs", root, "x", "/bin/true")
			}
		})
		b.Run(runtime+"/alone", func(b *testing.B) {
			w := harness.New(b, runtime)
			dir := w.Path("bundle")
			writeBundle(b, w, dir, "/bin/true")
			for b.Loop() {
				cmd := exec.Command(w.Runtime, "--root", w.Path("state"), "run", "--bundle", dir, w.Token)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	}
}

// BenchmarkExec is one more process in a container that runs.
func BenchmarkExec(b *testing.B) {
	for _, runtime := range []string{"runc", "crun"} {
		b.Run(runtime, func(b *testing.B) {
			w := harness.New(b, runtime)
			detach(w, "x", idle)
			for b.Loop() {
				w.OK("exec", "x", "/bin/true")
			}
			b.StopTimer()
			remove(w, "x")
		})
	}
}

// BenchmarkThroughput is a container's output, through to the caller of run.
func BenchmarkThroughput(b *testing.B) {
	w := harness.New(b, "runc")
	root := w.Rootfs("x")
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		r := w.Run("run", "--rm", "--rootfs", root, "x", "/bin/dd", "if=/dev/zero", "bs=64k", "count=1024")
		if len(r.Stdout) != size {
			b.Fatalf("%d bytes of %d: status %d, %s", len(r.Stdout), size, r.Code, r.Stderr)
		}
	}
}
