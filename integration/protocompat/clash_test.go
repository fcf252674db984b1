package protocompat

import (
	"context"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"
	gogo "github.com/gogo/protobuf/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// TestNothingOfOursIsRegistered with either protobuf runtime, both of which
// are linked into this test with containerd's messages. A name that both of us
// registered would have ended the program before it began.
func TestNothingOfOursIsRegistered(t *testing.T) {
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.Contains(file.Path()+string(file.Package()), "holdfast") || strings.HasPrefix(file.Path(), "proto/") {
			t.Errorf("%s of package %s is registered", file.Path(), file.Package())
		}
		return true
	})
	for _, p := range pairs() {
		name := "holdfast.wire." + reflect.TypeOf(p.ours).Elem().String()
		if gogo.MessageType(name) != nil {
			t.Errorf("%s is registered with gogo", name)
		}
	}
}

// TestStatusesAreTheirs by number and name.
func TestStatusesAreTheirs(t *testing.T) {
	for number, name := range apitask.Status_name {
		if got := types.Status(number).String(); got != strings.ToLower(name) {
			t.Errorf("Status %d is %s, theirs %s", number, got, name)
		}
	}
}

// TestCodesAreTheirs by number and name.
func TestCodesAreTheirs(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		if got := wire.Code(code).String(); got != code.String() {
			t.Errorf("Code %d is %s, theirs %s", uint32(code), got, code)
		}
	}
}

// TestMethodsAreTheirs: the interface has the same methods as theirs.
func TestMethodsAreTheirs(t *testing.T) {
	ours, theirs := reflect.TypeFor[task.Service](), reflect.TypeFor[taskv3.TTRPCTaskService]()
	var a, b []string
	for i := range ours.NumMethod() {
		a = append(a, ours.Method(i).Name)
	}
	for i := range theirs.NumMethod() {
		b = append(b, theirs.Method(i).Name)
	}
	if !slices.Equal(a, b) {
		t.Errorf("methods are %v, theirs %v", a, b)
	}
}

// TestOurClientCallsTheirServer by both names of the service.
func TestOurClientCallsTheirServer(t *testing.T) {
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	taskv2.RegisterTTRPCTaskService(server, &serverV2{})
	taskv3.RegisterTTRPCTaskService(server, &serverV3{})
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(context.Background(), listener)
	}()
	t.Cleanup(func() { server.Close(); <-served })
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	caller := client.New(conn)
	t.Cleanup(func() { caller.Close() })
	for _, name := range []string{task.ServiceV2, task.ServiceV3} {
		c := task.NewClient(caller, name)
		resp, err := c.State(t.Context(), &task.StateRequest{ID: "box", ExecID: "e"})
		if err != nil || resp.ID != "box" || resp.ExecID != "e" || resp.Status != types.StatusPausing {
			t.Errorf("%s: State = %+v, %v", name, resp, err)
		}
		if _, err := c.Kill(t.Context(), &task.KillRequest{}); wire.CodeOf(err) != wire.FailedPrecondition {
			t.Errorf("%s: Kill: %v", name, err)
		}
	}
}

// serverV2 and serverV3 have two methods; the others would panic.
type serverV2 struct{ taskv2.TTRPCTaskService }

func (*serverV2) State(_ context.Context, req *taskv2.StateRequest) (*taskv2.StateResponse, error) {
	return &taskv2.StateResponse{ID: req.ID, ExecID: req.ExecID, Status: apitask.Status_PAUSING}, nil
}

func (*serverV2) Kill(context.Context, *taskv2.KillRequest) (*emptypb.Empty, error) {
	return nil, errNotCreated
}

type serverV3 struct{ taskv3.TTRPCTaskService }

func (*serverV3) State(_ context.Context, req *taskv3.StateRequest) (*taskv3.StateResponse, error) {
	return &taskv3.StateResponse{ID: req.ID, ExecID: req.ExecID, Status: apitask.Status_PAUSING}, nil
}

func (*serverV3) Kill(context.Context, *taskv3.KillRequest) (*emptypb.Empty, error) {
	return nil, errNotCreated
}

var errNotCreated = status.Error(codes.FailedPrecondition, "process not created: failed precondition")
