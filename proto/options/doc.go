// Package options has the messages that travel inside an Any of the task
// service, and the type URLs by which all such Anys are recognised.
//
// A type URL may come with anything before its last slash where its message is
// protobuf; use Is to compare. What the JSON ones hold is defined by the OCI
// runtime specification and not modelled here.
package options

import "strings"

// Type URLs of the protobuf messages of this package.
const (
	TypeRunc       = "containerd.runc.v1.Options"
	TypeCheckpoint = "containerd.runc.v1.CheckpointOptions"
	TypeDetails    = "containerd.runc.v1.ProcessDetails"
	TypeCRI        = "runtimeoptions.v1.Options"
)

// Type URLs of JSON documents of the OCI runtime specification.
const (
	TypeSpec      = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
	TypeProcess   = "types.containerd.io/opencontainers/runtime-spec/1/Process"
	TypeResources = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
	TypeFeatures  = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
)

// Is tells whether url is the type URL of the protobuf message of that full
// name, with or without a prefix.
func Is(url, name string) bool {
	return url[strings.LastIndexByte(url, '/')+1:] == name
}
