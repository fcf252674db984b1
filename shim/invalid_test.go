package shim

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// garbage are values for a field of type Any that no sane client sends.
var garbage = map[string]*types.Any{
	"no Any":     nil,
	"empty Any":  {},
	"not JSON":   {TypeUrl: options.TypeProcess, Value: []byte("{{{")},
	"binary":     {TypeUrl: options.TypeProcess, Value: []byte{0, 0xff, 0x80}},
	"half":       {TypeUrl: options.TypeProcess, Value: []byte(`{"args":["/bin/tr`)},
	"null":       {TypeUrl: options.TypeProcess, Value: []byte(`null`)},
	"deep":       {TypeUrl: options.TypeProcess, Value: bytes.Repeat([]byte("["), 100000)},
	"no args":    {TypeUrl: options.TypeProcess, Value: []byte(`{"cwd":"/"}`)},
	"empty args": {TypeUrl: options.TypeProcess, Value: []byte(`{"cwd":"/","args":[]}`)},
	"args of another type": {
		TypeUrl: options.TypeProcess, Value: []byte(`{"cwd":"/","args":"/bin/true"}`),
	},
}

func TestExecWithGarbageIsRefused(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	for name, spec := range garbage {
		_, err := s.Exec(patient(t), &task.ExecProcessRequest{ID: s.id, ExecID: "e1", Spec: spec})
		wantError(t, name, err, wire.InvalidArgument, "")
	}
	for name, id := range map[string]string{
		"empty": "", "too long": strings.Repeat("x", 77), "a path": "../init", "a hidden file": ".e",
	} {
		_, err := s.Exec(patient(t), &task.ExecProcessRequest{ID: s.id, ExecID: id, Spec: s.process("/bin/true")})
		wantError(t, "id "+name, err, wire.InvalidArgument, "")
	}
	s.exec("e1", "/bin/true") // refusals have not taken the id
	s.wait("e1", 0)
}

func TestUpdateWithGarbageIsRefused(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	for _, name := range []string{"no Any", "empty Any", "not JSON", "binary", "half", "deep"} {
		_, err := s.Update(patient(t), &task.UpdateTaskRequest{ID: s.id, Resources: garbage[name]})
		wantError(t, name, err, wire.InvalidArgument, "")
	}
	s.wantStatus("", types.StatusRunning)
}

// Whatever comes as the options, nothing was touched and the right ones may follow.
func TestCreateWithGarbageIsRefused(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	for name, r := range map[string]*task.CreateTaskRequest{
		"unknown options": s.request(func(r *task.CreateTaskRequest) { r.Options = &types.Any{TypeUrl: "x.Y", Value: []byte{1}} }),
		"broken options": s.request(func(r *task.CreateTaskRequest) {
			r.Options = &types.Any{TypeUrl: options.TypeRunc, Value: []byte{0xff}}
		}),
		"broken options of ours": s.request(func(r *task.CreateTaskRequest) {
			r.Options = &types.Any{TypeUrl: shimv1.TypeCreateOptions, Value: []byte{0xff}}
		}),
		"broken options of CRI": s.request(func(r *task.CreateTaskRequest) {
			r.Options = packed(t, options.TypeCRI, &options.CRIOptions{ConfigBody: []byte("IoUid = many")})
		}),
		"another bundle": s.request(func(r *task.CreateTaskRequest) { r.Bundle = t.TempDir() }),
		"no such image":  s.request(func(r *task.CreateTaskRequest) { r.Checkpoint = "/no/such" }),
	} {
		_, err := s.Create(patient(t), r)
		wantError(t, name, err, wire.InvalidArgument, "")
		s.wantNoTask(name)
	}
	s.create()
}

// wantNoTask checks that a refused or failed Create has left no task.
func (s *driven) wantNoTask(what string) {
	s.t.Helper()
	_, err := s.State(patient(s.t), &task.StateRequest{ID: s.id})
	wantError(s.t, what+": state afterwards", err, wire.NotFound, notCreated.text)
	if _, err := os.Stat(s.bundle + "/task.json"); err == nil {
		s.t.Errorf("%s: the record is left", what)
	}
}

// Options of CRI are TOML for a runtime of any name, and must name ours.
func TestCreateWithTheOptionsOfCRI(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.create(func(r *task.CreateTaskRequest) {
		body := "BinaryName = \"" + s.rt.binary + "\"\nRoot = \"" + s.root + "\"\n\n[other]\nRoot = 7\n"
		r.Options = packed(t, options.TypeCRI, &options.CRIOptions{ConfigBody: []byte(body)})
	})
	s.wantStatus("", types.StatusCreated)
}

// An exit whose id is the container's is init's, so an exec may not have it.
func TestExecIDOfTheContainerIsTaken(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	_, err := s.Exec(patient(t), &task.ExecProcessRequest{ID: s.id, ExecID: s.id, Spec: s.process("/bin/true")})
	wantError(t, "exec", err, wire.AlreadyExists, "")
}

// An exec named like a file of init's leaves that alone.
func TestExecNamedInitHarmsNothing(t *testing.T) {
	s := drive(t, runcNamed(t), sleeper)
	pid := s.run()
	before, err := os.ReadFile(s.bundle + "/init.pid")
	if err != nil {
		t.Fatal(err)
	}
	s.exec("init", "/bin/true")
	s.wait("init", 0)
	s.delete("init")
	after, err := os.ReadFile(s.bundle + "/init.pid")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("init.pid: %q, %v, want %q", after, err, before)
	}
	if got := s.state("").Pid; got != pid {
		t.Errorf("init is %d, want %d", got, pid)
	}
}

func TestUnknownServicesAndMethodsAreUnimplemented(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	for _, c := range []struct{ service, method, text string }{
		{"containerd.task.v2.Task", "Nope", "method Nope"},
		{"containerd.task.v3.Task", "Nope", "method Nope"},
		{"containerd.task.v4.Task", "State", "service containerd.task.v4.Task"},
		{"containerd.runtime.sandbox.v1.Sandbox", "Platform", "service containerd.runtime.sandbox.v1.Sandbox"},
	} {
		err := s.conn.Call(patient(t), c.service, c.method, &types.Empty{}, &types.Empty{})
		wantError(t, c.service+"/"+c.method, err, wire.Unimplemented, c.text)
	}
}

// Both names of the task service are one.
func TestBothVersionsOfTheTaskService(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.create()
	v3 := task.NewClient(s.conn, task.ServiceV3)
	if _, err := v3.Start(patient(t), &task.StartRequest{ID: s.id}); err != nil {
		t.Fatal(err)
	}
	s.wantStatus("", types.StatusRunning)
	if c, err := v3.Connect(patient(t), &task.ConnectRequest{ID: s.id}); err != nil || c.Version == "" || c.TaskPid != s.state("").Pid || int(c.ShimPid) != s.child.PID() {
		t.Errorf("connect: %+v, %v", c, err)
	}
}

// A request that cannot be decoded is the client's fault.
func TestUndecodablePayloads(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	for _, method := range strings.Fields("State Create Start Delete Pids Pause Resume Checkpoint Kill Exec ResizePty CloseIO Update Wait Stats Connect Shutdown") {
		err := s.conn.Call(patient(t), task.ServiceV2, method, broken{}, &types.Empty{})
		wantError(t, method, err, wire.InvalidArgument, "")
	}
	s.wantStatus("", types.StatusRunning)
}

// broken is a message that no other decodes.
type broken struct{}

func (broken) Marshal() ([]byte, error) { return []byte{0x0a, 0x7f}, nil } // field 1, 127 bytes, none of them there
func (broken) MarshalToSizedBuffer(b []byte) (int, error) {
	return copy(b[len(b)-2:], []byte{0x0a, 0x7f}), nil
}
func (broken) Unmarshal([]byte) error { return nil }
func (broken) Size() int              { return 2 }
func (broken) Reset()                 {}

// A client whose deadline is over is told so at once, in every wait.
func TestWaitHonoursTheDeadline(t *testing.T) {
	s := drive(t, fakeRuntime(t), sleeper)
	s.run()
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	<-ctx.Done()
	wantError(t, "wait", timedOut(drop(s.Wait(ctx, &task.WaitRequest{ID: s.id}))), wire.DeadlineExceeded, "")
	s.wantStatus("", types.StatusRunning)
}
