// Package oci runs an OCI runtime, one short-lived child per verb: runc, crun,
// or any other with runc's command line.
//
//	shim                         runtime                container's process
//	Hold() ─ no sweeping
//	clone, pidfd  ─────────────► runc create … ───────► parked in its start FIFO
//	                             writes pid file, exits  (our child by subreaping)
//	waitid(pidfd) ◄───────────── exit status
//	read memfd    ◄───────────── --log, last error record
//	read pid file, Adopt ──────────────────────────────► pidfd
//	release the hold
//
// Invariants:
//
//   - Every call has a deadline; at its end the runtime (never the container)
//     gets SIGKILL through its pidfd.
//   - Every call has a log of its own, a memfd, so that no error can be another
//     call's. Output of the runtime itself goes to a memfd of bounded size and
//     never to a pipe, which a process the runtime leaves behind could hold
//     open for ever.
//   - The pid in a pid file is taken over while the hold still pins it, and is
//     believed only if that process began after the call did.
//   - An [*Error] tells what is known and what may be left: undoing it is the
//     caller's decision, because only the caller knows whose container it is.
//   - The runtime's words are interpreted in errors.go and nowhere else.
//
// It keeps no state between calls, takes no lock, and does not look into
// bundles; ids and paths are the caller's to check.
package oci
