package shim

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// patience bounds what a test waits for; on an idle machine nothing here takes
// a second.
const patience = 40 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// soon is for calls that must be answered though something else hangs.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// namespace is that of all containers of these tests.
const namespace = "test"

// ociRuntime is one of the OCI runtimes that everything is tried with.
type ociRuntime struct {
	name   string
	binary string
	fake   bool // processes on the host, without namespaces, cgroup and root of their own
}

func fakeRuntime(t testing.TB, env ...string) ociRuntime {
	return ociRuntime{name: "fake", binary: ocitest.Binary(t, env...), fake: true}
}

func runcRuntime(t testing.TB) ociRuntime {
	return ociRuntime{name: "runc", binary: ocitest.Need(t, "runc")}
}

// withRuntimes runs a test once for each OCI runtime.
func withRuntimes(t *testing.T, test func(t *testing.T, rt ociRuntime)) {
	t.Run("fake", func(t *testing.T) { test(t, fakeRuntime(t)) })
	withRealRuntimes(t, test)
}

func withRealRuntimes(t *testing.T, test func(t *testing.T, rt ociRuntime)) {
	t.Run("runc", func(t *testing.T) { test(t, runcRuntime(t)) })
	t.Run("crun", func(t *testing.T) { test(t, ociRuntime{name: "crun", binary: ocitest.Crun(t)}) })
}

// driven is a shim in serve mode, a process of its own, together with the
// bundle it serves and a connection to it. It stands for a daemon of the kind of
// containerd.
type driven struct {
	t       testing.TB
	rt      ociRuntime
	id      string
	bundle  string
	root    string // of the OCI runtime, without the namespace
	cgroups string // cgroupsPath
	token   string // in the environment of every process of the container
	socket  string
	child   *serve.Child
	conn    *client.Client
	*task.Client
	self *shimv1.Client
}

// drive starts a shim for a new bundle. At the test's end the container is
// ended as a daemon would, and nothing may be left.
func drive(t testing.TB, rt ociRuntime, spec ocitest.Spec) *driven {
	t.Helper()
	return driveAs(t, rt, spec, "c1", t.TempDir())
}

// driveAs is drive with an id and with the state directory of an OCI runtime
// that others use too.
func driveAs(t testing.TB, rt ociRuntime, spec ocitest.Spec, id, root string) *driven {
	t.Helper()
	program := shimProgram(t)
	short, err := os.MkdirTemp("", "hf") // a test's own directory may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	s := &driven{t: t, rt: rt, id: id, root: root, token: filepath.Base(short), socket: short + "/s"}
	s.cgroups = "/holdfast-" + s.token
	spec.CgroupsPath = s.cgroups
	spec.HostPID = spec.HostPID || rt.fake
	spec.Env = append(spec.Env, "PATH=/bin:/usr/bin", "TOKEN="+s.token)
	s.bundle = ocitest.Bundle(t, spec)
	s.launch(program)
	s.conn = s.connect()
	s.Client = task.NewClient(s.conn, task.ServiceV2)
	s.self = shimv1.NewClient(s.conn, shimv1.ServiceName)
	t.Cleanup(s.finish)
	return s
}

func (s *driven) launch(program string) {
	s.t.Helper()
	listener, err := serve.Listen(s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer listener.Close()
	log, err := os.Create(s.bundle + "/log")
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	if err := os.WriteFile(s.bundle+"/"+bundle.AddressFile, []byte("unix://"+s.socket), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.child, err = serve.Start(serve.Request{
		Binary: program, Namespace: namespace, ID: s.id, Bundle: s.bundle, Listener: listener, Log: log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.child.Ready(patient(s.t)); err != nil {
		s.t.Fatal(err)
	}
}

// connect makes a further connection.
func (s *driven) connect() *client.Client {
	s.t.Helper()
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	c := client.New(conn)
	s.t.Cleanup(func() { c.Close() })
	return c
}

// createOptions are what containerd sends for the runc runtime.
func (s *driven) createOptions() *types.Any {
	return packed(s.t, options.TypeRunc, &options.Options{BinaryName: s.rt.binary, Root: s.root})
}

func packed(t testing.TB, url string, m wire.Message) *types.Any {
	t.Helper()
	a, err := pack(url, m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request is a Create without streams; change may complete it.
func (s *driven) request(change ...func(*task.CreateTaskRequest)) *task.CreateTaskRequest {
	r := &task.CreateTaskRequest{ID: s.id, Bundle: s.bundle, Options: s.createOptions()}
	for _, f := range change {
		f(r)
	}
	return r
}

// create makes the container and returns the pid of its init.
func (s *driven) create(change ...func(*task.CreateTaskRequest)) uint32 {
	s.t.Helper()
	resp, err := s.Create(patient(s.t), s.request(change...))
	if err != nil {
		s.t.Fatalf("create: %v", err)
	}
	return resp.Pid
}

// start starts init ("") or an exec.
func (s *driven) start(execID string) uint32 {
	s.t.Helper()
	resp, err := s.Start(patient(s.t), &task.StartRequest{ID: s.id, ExecID: execID})
	if err != nil {
		s.t.Fatalf("start %q: %v", execID, err)
	}
	return resp.Pid
}

func (s *driven) run(change ...func(*task.CreateTaskRequest)) (pid uint32) {
	s.t.Helper()
	pid = s.create(change...)
	s.start("")
	return pid
}

func (s *driven) state(execID string) *task.StateResponse {
	s.t.Helper()
	st, err := s.State(patient(s.t), &task.StateRequest{ID: s.id, ExecID: execID})
	if err != nil {
		s.t.Fatalf("state of %q: %v", execID, err)
	}
	return st
}

func (s *driven) wantStatus(execID string, want types.Status) {
	s.t.Helper()
	if got := s.state(execID).Status; got != want {
		s.t.Errorf("%q is %v, want %v", execID, got, want)
	}
}

func (s *driven) kill(execID string, sig unix.Signal) {
	s.t.Helper()
	if _, err := s.Kill(patient(s.t), &task.KillRequest{ID: s.id, ExecID: execID, Signal: uint32(sig)}); err != nil {
		s.t.Fatalf("kill %q with %v: %v", execID, sig, err)
	}
}

// wait waits for the end of a process, which must have the given code.
func (s *driven) wait(execID string, code uint32) *task.WaitResponse {
	s.t.Helper()
	resp, err := s.Wait(patient(s.t), &task.WaitRequest{ID: s.id, ExecID: execID})
	if err != nil {
		s.t.Fatalf("wait for %q: %v", execID, err)
	}
	if resp.ExitStatus != code {
		s.t.Fatalf("%q ended with %d, want %d", execID, resp.ExitStatus, code)
	}
	return resp
}

func (s *driven) delete(execID string) *task.DeleteResponse {
	s.t.Helper()
	resp, err := s.Delete(patient(s.t), &task.DeleteRequest{ID: s.id, ExecID: execID})
	if err != nil {
		s.t.Fatalf("delete %q: %v", execID, err)
	}
	return resp
}

// end kills init and waits for it.
func (s *driven) end() {
	s.t.Helper()
	s.kill("", unix.SIGKILL)
	s.wait("", 137)
}

// promise adds an exec that has not been started.
func (s *driven) promise(r *task.ExecProcessRequest, args ...string) {
	s.t.Helper()
	if r.Spec == nil {
		r.Spec = s.process(args...)
	}
	r.ID = s.id
	if _, err := s.Exec(patient(s.t), r); err != nil {
		s.t.Fatalf("exec %s: %v", r.ExecID, err)
	}
}

// exec adds and starts an exec without streams.
func (s *driven) exec(execID string, args ...string) (pid uint32) {
	s.t.Helper()
	s.promise(&task.ExecProcessRequest{ExecID: execID}, args...)
	return s.start(execID)
}

// wantError checks the code of an error, and its text if one is given.
func wantError(t testing.TB, what string, err error, code wire.Code, text string) {
	t.Helper()
	var got *wire.Error
	switch {
	case code == wire.OK && err != nil:
		t.Errorf("%s: %v, want success", what, err)
	case code == wire.OK:
	case !errors.As(err, &got):
		t.Errorf("%s: %v, want %v %q", what, err, code, text)
	case got.Code != code:
		t.Errorf("%s: code %v (%q), want %v %q", what, got.Code, got.Message, code, text)
	case text != "" && got.Message != text:
		t.Errorf("%s: text %q, want %q", what, got.Message, text)
	}
}

// runcNamed is the fake under the name of runc, so that the shim does by itself
// what it does for runc, where the kernel lets it.
func runcNamed(t testing.TB, env ...string) ociRuntime {
	t.Helper()
	rt := fakeRuntime(t, env...)
	named := filepath.Join(filepath.Dir(rt.binary), "runc")
	if err := os.Symlink(filepath.Base(rt.binary), named); err != nil {
		t.Fatal(err)
	}
	rt.binary = named
	return rt
}
