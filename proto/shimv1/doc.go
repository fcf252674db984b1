// Package shimv1 is the service of our own that every holdfast shim offers
// beside containerd's task service: what the shim knows in full, exits with
// all their facts, and attaching.
//
// After Attach has been answered its connection carries the frames of package
// attach instead of RPCs. The package is messages and names only.
package shimv1

const (
	// ServiceName is the full name of the service on the wire.
	ServiceName = "holdfast.shim.v1.Shim"
	// TypeCreateOptions is the type URL of CreateOptions.
	TypeCreateOptions = "holdfast.shim.v1.CreateOptions"
)
