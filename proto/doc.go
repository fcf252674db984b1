// Package proto is the root of everything two processes must agree on: bytes
// on a socket, and names and formats on disk. It holds no code itself.
//
//	types      Any, Timestamp, Mount and what else every service shares
//	wire       ttrpc: frames, requests, responses, codes
//	task       containerd's task service
//	events     what a shim tells its daemon
//	options    messages that travel inside an Any, and all type URLs
//	stats      cgroup metrics
//	bootstrap  stdin and stdout of the shim binary's short-lived actions
//	shimv1     our own service beside the task service
//	attach     the frames of an attached connection
//	client     calls over github.com/containerd/ttrpc; never part of a shim
//	bundle     names of files in a bundle, and their formats
//	serve      how a serving shim is started
//	jsontext   JSON without reflection
//	gen        the tool that writes the *.pb.go files; part of nothing
//
// Invariant: but for client and gen, a package here may be linked into a shim
// and beside any other protobuf code whatsoever. So none imports a protobuf
// runtime, registers a name, or does I/O on a network. Messages encode
// themselves; numbers of fields are never reused.
package proto
