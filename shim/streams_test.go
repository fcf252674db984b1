package shim

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// fifo makes a FIFO and opens the daemon's end as daemons do, without waiting.
func fifo(t testing.TB, name string, flag int) (path string, f *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, f
}

func reader(t testing.TB) (string, *os.File) { return fifo(t, "out", os.O_RDONLY) }

// writer is read-write, because O_WRONLY fails before there is a reader.
func writer(t testing.TB) (string, *os.File) { return fifo(t, "in", os.O_RDWR) }

// output reads to the end.
func output(t testing.TB, f *os.File) string {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("read output: %v (so far %q)", err, raw)
	}
	return string(raw)
}

func (s *driven) closeStdin(execID string, really bool) {
	s.t.Helper()
	if _, err := s.CloseIO(patient(s.t), &task.CloseIORequest{ID: s.id, ExecID: execID, Stdin: really}); err != nil {
		s.t.Fatalf("close stdin of %q: %v", execID, err)
	}
}

// Every byte arrives, through FIFOs, and the end of the output is the reader's EOF.
func TestOutputThroughFIFOs(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "echo out; echo err >&2"}})
		outPath, out := reader(t)
		errPath, err := reader(t)
		s.run(func(r *task.CreateTaskRequest) { r.Stdout, r.Stderr = outPath, errPath })
		if got := output(t, out); got != "out\n" {
			t.Errorf("stdout %q", got)
		}
		if got := output(t, err); got != "err\n" {
			t.Errorf("stderr %q", got)
		}
		s.wait("", 0)
		if st := s.state(""); st.Stdout != outPath || st.Stderr != errPath || st.Stdin != "" || st.Terminal || st.Bundle != s.bundle {
			t.Errorf("state %+v", st)
		}
	})
}

// A client that goes away is no EOF; CloseIO is, and only if it is meant.
func TestCloseIOIsTheEndOfStdin(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		inPath, in := writer(t)
		outPath, out := reader(t)
		s.promise(&task.ExecProcessRequest{ExecID: "e1", Stdin: inPath, Stdout: outPath}, "/bin/cat")
		s.start("e1")
		in.WriteString("one\n")
		line := make([]byte, 4)
		if err := out.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, line); err != nil || string(line) != "one\n" {
			t.Fatalf("%q, %v", line, err)
		}
		in.Close()
		s.closeStdin("e1", false)
		again, err := os.OpenFile(inPath, os.O_WRONLY|unix.O_NONBLOCK, 0) // fails if nobody reads
		if err != nil {
			t.Fatal(err)
		}
		again.WriteString("two\n")
		s.closeStdin("e1", true)
		s.closeStdin("e1", true)
		again.Close()
		if got := output(t, out); got != "two\n" {
			t.Errorf("after the client's return %q", got)
		}
		s.wait("e1", 0)
		s.closeStdin("e1", true) // daemons do, after the exit
	})
}

// CloseIO may overtake the start of the process it is meant for.
func TestCloseIOBeforeStart(t *testing.T) {
	s := drive(t, runcRuntime(t), ocitest.Spec{Args: []string{"/bin/cat"}})
	inPath, in := writer(t)
	outPath, out := reader(t)
	s.create(func(r *task.CreateTaskRequest) { r.Stdin, r.Stdout = inPath, outPath })
	in.WriteString("hello")
	in.Close()
	s.closeStdin("", true)
	s.start("")
	s.wait("", 0)
	if got := output(t, out); got != "hello" {
		t.Errorf("output %q", got)
	}
	execIn, w := writer(t)
	s2 := drive(t, runcRuntime(t), sleeper)
	s2.run()
	s2.promise(&task.ExecProcessRequest{ExecID: "e1", Stdin: execIn}, "/bin/cat")
	s2.closeStdin("e1", true)
	w.Close()
	s2.start("e1")
	s2.wait("e1", 0)
}

// Any one stream without the others.
func TestStdinWithoutOutputsDoesNotHang(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "read x; exit $x"}})
		inPath, in := writer(t)
		s.run(func(r *task.CreateTaskRequest) { r.Stdin = inPath })
		in.WriteString("5\n")
		s.wait("", 5)
	})
}

func TestStderrAlone(t *testing.T) {
	s := drive(t, runcRuntime(t), ocitest.Spec{Args: []string{"/bin/sh", "-c", "echo lost; echo err >&2"}})
	path, err := reader(t)
	s.run(func(r *task.CreateTaskRequest) { r.Stderr = path })
	if got := output(t, err); got != "err\n" {
		t.Errorf("stderr %q", got)
	}
	s.wait("", 0)
}

func TestUnknownSchemeOfAStream(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	_, err := s.Create(patient(t), s.request(func(r *task.CreateTaskRequest) { r.Stdout = "carrier-pigeon:///x" }))
	if err == nil || !strings.Contains(err.Error(), "carrier-pigeon") {
		t.Errorf("create: %v", err)
	}
	s.wantNoTask("create")
	s.run()
	s.promise(&task.ExecProcessRequest{ExecID: "e1", Stdout: "carrier-pigeon:///x"}, "/bin/true")
	_, err = s.Start(patient(t), &task.StartRequest{ID: s.id, ExecID: "e1"})
	if err == nil || !strings.Contains(err.Error(), "carrier-pigeon") {
		t.Errorf("start: %v", err)
	}
	s.wait("e1", 255)
	s.delete("e1")
}

// A FIFO that nobody opens for reading is waited for as long as the caller
// allows, and nobody else is.
func TestOutputThatNobodyReads(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	path, f := reader(t)
	f.Close()
	s.promise(&task.ExecProcessRequest{ExecID: "e1", Stdout: path}, "/bin/true")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Start(ctx, &task.StartRequest{ID: s.id, ExecID: "e1"})
	wantError(t, "start", timedOut(err), wire.DeadlineExceeded, "")
	s.exec("e2", "/bin/true")
	s.wait("e2", 0)
	s.wait("e1", 255)
}

// When Delete of an exec has returned its output is at the end, even if a child
// of it holds the pipe open.
func TestDeleteOfAnExecForcesItsOutputToEnd(t *testing.T) {
	s := drive(t, runcRuntime(t), sleeper)
	s.run()
	path, out := reader(t)
	s.promise(&task.ExecProcessRequest{ExecID: "e1", Stdout: path}, "/bin/sh", "-c", "sleep 1000 & echo out")
	s.start("e1")
	s.wait("e1", 0)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // the drain leaves a second of it
	defer cancel()
	if _, err := s.Delete(ctx, &task.DeleteRequest{ID: s.id, ExecID: "e1"}); err != nil {
		t.Fatal(err)
	}
	if got := output(t, out); got != "out\n" {
		t.Errorf("output %q", got)
	}
	s.wantStatus("", types.StatusRunning)
}
