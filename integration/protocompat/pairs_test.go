package protocompat

import (
	_ "github.com/containerd/cgroups/v3/cgroup1/stats" // register the messages compared with
	_ "github.com/containerd/cgroups/v3/cgroup2/stats"
	_ "github.com/containerd/containerd/api/events"
	_ "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	_ "github.com/containerd/containerd/api/runtime/task/v2"
	_ "github.com/containerd/containerd/api/runtime/task/v3"
	_ "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	_ "github.com/containerd/containerd/api/types"
	_ "github.com/containerd/containerd/api/types/runc/options"
	_ "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	_ "github.com/containerd/containerd/api/types/task"
	_ "github.com/containerd/ttrpc"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast/holdfast/proto/bootstrap"
	"github.com/holdfast/holdfast/proto/events"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/stats"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
)

// pair is a message of ours and the full name of the one it must equal.
type pair struct {
	theirs string
	ours   wire.Message
}

// pairs is every message that claims to equal one of somebody else.
func pairs() []pair {
	all := []pair{
		{"google.protobuf.Any", &types.Any{}},
		{"google.protobuf.Timestamp", &types.Timestamp{}},
		{"google.protobuf.Empty", &types.Empty{}},
		{"containerd.types.Mount", &types.Mount{}},
		{"containerd.v1.types.ProcessInfo", &types.ProcessInfo{}},
		{"ttrpc.Request", &wire.Request{}},
		{"ttrpc.Response", &wire.Response{}},
		{"google.rpc.Status", &wire.Status{}},
		{"ttrpc.KeyValue", &wire.KeyValue{}},
		{"containerd.runc.v1.Options", &options.Options{}},
		{"containerd.runc.v1.CheckpointOptions", &options.CheckpointOptions{}},
		{"containerd.runc.v1.ProcessDetails", &options.ProcessDetails{}},
		{"runtimeoptions.v1.Options", &options.CRIOptions{}},
		{"containerd.services.events.ttrpc.v1.ForwardRequest", &events.ForwardRequest{}},
		{"containerd.types.Envelope", &events.Envelope{}},
		{"containerd.runtime.bootstrap.v1.BootstrapParams", &bootstrap.Params{}},
		{"containerd.runtime.bootstrap.v1.Extension", &bootstrap.Extension{}},
		{"containerd.runtime.bootstrap.v1.BootstrapResult", &bootstrap.Result{}},
		{"containerd.types.RuntimeInfo", &bootstrap.RuntimeInfo{}},
		{"containerd.types.RuntimeVersion", &bootstrap.RuntimeVersion{}},
	}
	for name, ours := range taskMessages() {
		all = append(all, pair{"containerd.task.v2." + name, ours}, pair{"containerd.task.v3." + name, ours})
	}
	for name, ours := range eventMessages() {
		all = append(all, pair{"containerd.events." + name, ours})
	}
	return append(all, metrics()...)
}

func taskMessages() map[string]wire.Message {
	return map[string]wire.Message{
		"StateRequest":          &task.StateRequest{},
		"StateResponse":         &task.StateResponse{},
		"CreateTaskRequest":     &task.CreateTaskRequest{},
		"CreateTaskResponse":    &task.CreateTaskResponse{},
		"StartRequest":          &task.StartRequest{},
		"StartResponse":         &task.StartResponse{},
		"DeleteRequest":         &task.DeleteRequest{},
		"DeleteResponse":        &task.DeleteResponse{},
		"PidsRequest":           &task.PidsRequest{},
		"PidsResponse":          &task.PidsResponse{},
		"PauseRequest":          &task.PauseRequest{},
		"ResumeRequest":         &task.ResumeRequest{},
		"CheckpointTaskRequest": &task.CheckpointTaskRequest{},
		"KillRequest":           &task.KillRequest{},
		"ExecProcessRequest":    &task.ExecProcessRequest{},
		"ResizePtyRequest":      &task.ResizePtyRequest{},
		"CloseIORequest":        &task.CloseIORequest{},
		"UpdateTaskRequest":     &task.UpdateTaskRequest{},
		"WaitRequest":           &task.WaitRequest{},
		"WaitResponse":          &task.WaitResponse{},
		"StatsRequest":          &task.StatsRequest{},
		"StatsResponse":         &task.StatsResponse{},
		"ConnectRequest":        &task.ConnectRequest{},
		"ConnectResponse":       &task.ConnectResponse{},
		"ShutdownRequest":       &task.ShutdownRequest{},
	}
}

func eventMessages() map[string]wire.Message {
	return map[string]wire.Message{
		"TaskCreate":       &events.TaskCreate{},
		"TaskStart":        &events.TaskStart{},
		"TaskDelete":       &events.TaskDelete{},
		"TaskIO":           &events.TaskIO{},
		"TaskExit":         &events.TaskExit{},
		"TaskOOM":          &events.TaskOOM{},
		"TaskExecAdded":    &events.TaskExecAdded{},
		"TaskExecStarted":  &events.TaskExecStarted{},
		"TaskPaused":       &events.TaskPaused{},
		"TaskResumed":      &events.TaskResumed{},
		"TaskCheckpointed": &events.TaskCheckpointed{},
	}
}

func metrics() []pair {
	const v1, v2 = "io.containerd.cgroups.v1.", "io.containerd.cgroups.v2."
	return []pair{
		{v1 + "Metrics", &stats.MetricsV1{}},
		{v1 + "HugetlbStat", &stats.HugetlbV1{}},
		{v1 + "CPUStat", &stats.CPUV1{}},
		{v1 + "CPUUsage", &stats.CPUUsageV1{}},
		{v1 + "Throttle", &stats.ThrottleV1{}},
		{v1 + "MemoryStat", &stats.MemoryV1{}},
		{v1 + "MemoryEntry", &stats.MemoryEntryV1{}},
		{v1 + "MemoryOomControl", &stats.OOMControlV1{}},
		{v1 + "BlkIOStat", &stats.BlkioV1{}},
		{v1 + "BlkIOEntry", &stats.BlkioEntryV1{}},
		{v1 + "CgroupStats", &stats.TasksV1{}},
		{v1 + "PidsStat", &stats.Pids{}},
		{v1 + "RdmaStat", &stats.Rdma{}},
		{v1 + "RdmaEntry", &stats.RdmaEntry{}},
		{v1 + "NetworkStat", &stats.Network{}},
		{v2 + "Metrics", &stats.MetricsV2{}},
		{v2 + "PSIStats", &stats.PSI{}},
		{v2 + "PSIData", &stats.PSIData{}},
		{v2 + "CPUStat", &stats.CPUV2{}},
		{v2 + "MemoryStat", &stats.MemoryV2{}},
		{v2 + "MemoryEvents", &stats.MemoryEventsV2{}},
		{v2 + "IOStat", &stats.IOV2{}},
		{v2 + "IOEntry", &stats.IOEntryV2{}},
		{v2 + "HugeTlbStat", &stats.HugetlbV2{}},
		{v2 + "PidsStat", &stats.Pids{}},
		{v2 + "RdmaStat", &stats.Rdma{}},
		{v2 + "RdmaEntry", &stats.RdmaEntry{}},
		{v2 + "NetworkStat", &stats.Network{}},
	}
}
