package task_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// TestDeleteResponse encodes to the bytes that daemons have been seen to read.
func TestDeleteResponse(t *testing.T) {
	want, _ := hex.DecodeString("08da5b1089011a0c08d1c888d80610b394ebdd01")
	resp := &task.DeleteResponse{Pid: 11738, ExitStatus: 137, ExitedAt: &types.Timestamp{Seconds: 1795302481, Nanos: 465226291}}
	if got, err := resp.Marshal(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("encoded % x, want % x (%v)", got, want, err)
	}
	var back task.DeleteResponse
	if err := back.Unmarshal(want); err != nil || !reflect.DeepEqual(&back, resp) {
		t.Errorf("decoded %+v %+v, %v", back, back.ExitedAt, err)
	}
}

// TestLookupKnowsEveryMethod and a Client calls it by its name.
func TestLookupKnowsEveryMethod(t *testing.T) {
	service := reflect.TypeFor[task.Service]()
	if service.NumMethod() != 17 {
		t.Errorf("the service has %d methods", service.NumMethod())
	}
	server := &loop{}
	server.client = task.NewClient(server, task.ServiceV3)
	for i := range service.NumMethod() {
		name := service.Method(i).Name
		method := task.Lookup(server.client, name)
		if method == nil {
			t.Errorf("Lookup does not know %s", name)
			continue
		}
		if _, err := method(t.Context(), nil); err != nil || server.method != name || server.service != task.ServiceV3 {
			t.Errorf("%s called %s of %s: %v", name, server.method, server.service, err)
		}
	}
	for _, name := range []string{"", "state", "State2"} {
		if task.Lookup(server.client, name) != nil {
			t.Errorf("Lookup knows %q", name)
		}
	}
}

// loop is a Caller that notes what it is called with.
type loop struct {
	client          *task.Client
	service, method string
}

func (l *loop) Call(_ context.Context, service, method string, _, _ wire.Message) error {
	l.service, l.method = service, method
	return nil
}

// FuzzCreateTaskRequest decodes any bytes: no panic, and what decodes encodes
// to something that decodes and encodes to the same.
func FuzzCreateTaskRequest(f *testing.F) {
	seed, _ := (&task.CreateTaskRequest{ID: "a", Rootfs: []*types.Mount{{Type: "bind", Options: []string{"ro"}}}, Options: &types.Any{TypeUrl: "x"}}).Marshal()
	f.Add(seed)
	f.Add([]byte("\x1a\x02\x22\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second task.CreateTaskRequest
		if first.Unmarshal(data) != nil {
			return
		}
		again, err := first.Marshal()
		if err != nil || len(again) != first.Size() {
			t.Fatalf("Marshal gave %d bytes, Size %d, %v", len(again), first.Size(), err)
		}
		if err := second.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
		if third, err := second.Marshal(); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("%+v came back as %+v, %v", first, second, err)
		}
	})
}

// FuzzUpdateTaskRequest does the same for the one request with a map.
func FuzzUpdateTaskRequest(f *testing.F) {
	seed, _ := (&task.UpdateTaskRequest{ID: "a", Annotations: map[string]string{"k": "v"}}).Marshal()
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second task.UpdateTaskRequest
		if first.Unmarshal(data) != nil {
			return
		}
		again, err := first.Marshal()
		if err != nil || len(again) != first.Size() {
			t.Fatalf("Marshal gave %d bytes, Size %d, %v", len(again), first.Size(), err)
		}
		if err := second.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
		// Maps have no order, so the encodings may differ.
		if second.Size() != first.Size() || !reflect.DeepEqual(first.Annotations, second.Annotations) {
			t.Fatalf("%+v came back as %+v, %v", first, second, err)
		}
	})
}
