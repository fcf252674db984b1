// Package task is containerd's task service: what daemons and our manager ask
// of a shim.
//
// It goes by two names with the same messages, ServiceV2 and ServiceV3; a
// shim answers to both. Messages, the Service a shim implements, Lookup and
// Client are generated from task.proto. The package does not say what the
// methods do to a container; package shim does.
package task

// The full names of the service on the wire.
const (
	ServiceV2 = "containerd.task.v2.Task"
	ServiceV3 = "containerd.task.v3.Task"
)
