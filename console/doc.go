// Package console receives the pseudo-terminal of a container and sets its size.
//
// The OCI runtime makes the pty pair inside the container's mount namespace and
// sends the master over a unix socket named by --console-socket:
//
//	Listen ─► path ─► runc create --console-socket path
//	                    └─ connects, SCM_RIGHTS: one pty master
//	Receive ◄───────────┘
//
// Invariant: every descriptor that arrives is either returned by Receive or
// closed by it, and all of them are close-on-exec from the moment they arrive.
//
// The package moves no data (shim/internal/stdio does) and knows nothing of the
// user's own terminal: that is console/term, kept apart because it needs
// os/signal and containerd/console, which the shim shall not carry.
package console
