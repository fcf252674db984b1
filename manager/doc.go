// Package manager runs containers through holdfast's shims, or any shim that
// speaks containerd's task service, with nothing but a directory as its
// database.
//
// A container is what is on disk: a spec, a root file system, labels. A task is
// one run of it: a shim, an OCI container, an init process. The container
// outlives its tasks and can be run again; a task outlives the manager.
//
//	<root>/<namespace>/<id>/     one container (package proto/bundle names the files)
//	                │
//	   Manager ── Container ── Task ── Exec
//	                              │
//	                        one ttrpc connection, dialled when first needed
//	                              ▼
//	                            shim (a process of its own, see proto/serve)
//
// Invariants:
//
//   - A listing is the directory listing: List reads disks and asks nobody.
//   - Disk first. A question that the exit record answers is answered from it,
//     so a stopped container needs no process.
//   - Every call to a shim has a deadline, but for Wait, which its context ends;
//     a dead shim is reported (ErrShimDead), never waited for; a hung one delays
//     nobody but its caller.
//   - A container comes into being, and goes, by one rename(2): there is no half
//     container to be seen, and what a crashed manager left is swept by the next
//     one.
//   - Two managers on one root never run one container twice: creating,
//     running and deleting take a file lock.
//
// It starts no background work: no goroutine or descriptor of it is left after
// Close of what was opened, save the reaping of shims it launched itself. It
// pulls no images, sets up no networks and has no daemon.
package manager
