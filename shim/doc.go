// Package shim is the guardian of one container: it outlives the daemon that
// asked for it, holds the container's streams and terminals, learns how every
// process of it ends, and answers containerd's task service and one of our own.
//
// The binary containerd-shim-holdfast-v2 runs in three modes:
//
//	start    containerd's way in: bind a socket, run the serve mode, print the address
//	(none)   serve: the long life, entered with a listening socket (proto/serve)
//	delete   undo what a shim left, from its records alone
//
// and prints -v and -info. Serve is the only mode that stays:
//
//	connections ─► rpc ─► service.go, self.go ─► container ─► oci ─► runc, crun
//	                                                │  ├─────► stdio, console
//	                       disk ◄─ journal, records ┘  └─────► reaper, cgroup
//
// A shim ends when it is told to and has nothing to serve, when its container is
// over and nobody asked it to linger, or when nobody ever asked for a container.
// It never ends because something else did.
//
// Lock order: shim.mu is taken alone; the container's locks are its own matter.
package shim
