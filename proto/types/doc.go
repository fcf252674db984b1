// Package types has the messages that several services share: Any, Timestamp,
// Empty, Mount, ProcessInfo and Status.
//
// They equal, on the wire, the messages of google.protobuf and containerd.types
// of the same names, and are types of our own because those register
// themselves with a protobuf runtime, which costs a shim more memory than
// everything it does, and because two packages that register one name cannot
// be linked together. The messages know how to encode themselves and nothing
// else; this package does not look into an Any.
package types
