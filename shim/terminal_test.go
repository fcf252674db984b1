package shim

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
)

func (s *driven) resize(execID string, width, height uint32) {
	s.t.Helper()
	_, err := s.ResizePty(patient(s.t), &task.ResizePtyRequest{ID: s.id, ExecID: execID, Width: width, Height: height})
	if err != nil {
		s.t.Fatalf("resize %q: %v", execID, err)
	}
}

// expect reads a terminal until a line is there.
func expect(t testing.TB, f *os.File, want string) {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for !strings.Contains(got.String(), want+"\r\n") {
		b := make([]byte, 1)
		if _, err := f.Read(b); err != nil {
			t.Fatalf("terminal says %q, then %v; want %q", got.String(), err, want)
		}
		got.Write(b)
	}
}

// A size that is set before the process runs is the one it finds.
func TestResizeBeforeStart(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "stty size"}, Terminal: true})
		path, out := reader(t)
		s.create(func(r *task.CreateTaskRequest) { r.Terminal, r.Stdout = true, path })
		s.resize("", 123, 45)
		s.start("")
		expect(t, out, "45 123")
		s.wait("", 0)
		if !s.state("").Terminal {
			t.Error("state knows of no terminal")
		}
		_, err := s.ResizePty(patient(t), &task.ResizePtyRequest{ID: s.id, Width: 80, Height: 24})
		wantError(t, "resize after the exit", err, wire.FailedPrecondition, "cannot resize a stopped container")
	})
}

func TestResizeOfACreatedExec(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		path, out := reader(t)
		inPath, in := writer(t)
		command := "stty size"
		if rt.name == "crun" { // its exec sets the size in one process and runs the program in another
			command = "read started; stty size"
		}
		s.promise(&task.ExecProcessRequest{ExecID: "e1", Terminal: true, Stdin: inPath, Stdout: path}, "/bin/sh", "-c", command)
		s.resize("e1", 101, 33)
		s.start("e1")
		in.WriteString("\n")
		expect(t, out, "33 101")
		s.wait("e1", 0)
		_, err := s.ResizePty(patient(t), &task.ResizePtyRequest{ID: s.id, ExecID: "e1", Width: 80, Height: 24})
		wantError(t, "resize after the exit", err, wire.FailedPrecondition, "cannot resize a stopped container")
	})
}

func TestResizeWhileRunning(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "stty -echo; echo ready; read x; stty size; read x; stty size"}, Terminal: true})
		outPath, out := reader(t)
		inPath, in := writer(t)
		s.run(func(r *task.CreateTaskRequest) { r.Terminal, r.Stdin, r.Stdout = true, inPath, outPath })
		expect(t, out, "ready")
		s.resize("", 90, 30)
		in.WriteString("\n")
		expect(t, out, "30 90")
		s.resize("", 200, 60)
		in.WriteString("\n")
		expect(t, out, "60 200")
		s.wait("", 0)
	})
}

// Our manager gives the size with Create.
func TestSizeFromTheFirstMoment(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "stty size"}, Terminal: true})
		path, out := reader(t)
		s.run(func(r *task.CreateTaskRequest) {
			r.Terminal, r.Stdout = true, path
			r.Options = packed(t, shimv1.TypeCreateOptions, &shimv1.CreateOptions{
				Runtime: &options.Options{BinaryName: rt.binary, Root: s.root}, Linger: true,
				ConsoleWidth: 111, ConsoleHeight: 22,
			})
		})
		expect(t, out, "22 111")
		s.wait("", 0)
	})
}

// A terminal's output may go to a file.
func TestTerminalToAFile(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "echo hello; test -t 0 && test -t 1 && test -t 2"}, Terminal: true})
		path := filepath.Join(t.TempDir(), "below", "log")
		s.run(func(r *task.CreateTaskRequest) { r.Terminal, r.Stdout = true, "file://"+path })
		s.wait("", 0)
		s.delete("")
		if raw, err := os.ReadFile(path); err != nil || string(raw) != "hello\r\n" {
			t.Errorf("%q, %v", raw, err)
		}
	})
}

// The end of a terminal's stdin is its EOF character; the session lives on.
func TestCloseIOOfATerminal(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "stty -echo; echo ready; cat; echo over; exit 3"}, Terminal: true})
		outPath, out := reader(t)
		inPath, in := writer(t)
		s.run(func(r *task.CreateTaskRequest) { r.Terminal, r.Stdin, r.Stdout = true, inPath, outPath })
		expect(t, out, "ready")
		in.WriteString("text\n")
		expect(t, out, "text")
		in.Close()
		s.closeStdin("", true)
		expect(t, out, "over")
		s.wait("", 3)
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Error(err)
		}
	})
}

// The request's word on the terminal wins over the spec's.
func TestTerminalOfAnExecIsTheRequests(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		spec := s.process("/bin/sh", "-c", "test -t 1")
		spec.Value = append([]byte(`{"terminal":true,`), spec.Value[1:]...)
		s.promise(&task.ExecProcessRequest{ExecID: "e1", Spec: spec})
		s.start("e1")
		s.wait("e1", 1)
		spec = &types.Any{TypeUrl: spec.TypeUrl, Value: append([]byte(`{"terminal":false,`), s.process("/bin/sh", "-c", "test -t 1").Value[1:]...)}
		s.promise(&task.ExecProcessRequest{ExecID: "e2", Spec: spec, Terminal: true})
		s.start("e2")
		s.wait("e2", 0)
	})
}
