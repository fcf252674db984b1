// Package stdio moves the bytes of one process between the container and the
// places its stdio URIs name.
//
//	                     ┌─► sink: FIFO, file (raw or cri)
//	container ─► pipe ─► pump
//	             or pty  └─► hub ─► client, client, …   (proto/attach)
//
//	FIFO, file, clients ─► input ─► pipe or pty ─► container
//
// URIs, for each stream:
//
//	""  null://          /dev/null; nothing is relayed
//	/p  fifo:///p        named FIFO, or an existing file, opened for append
//	file:///p            file, made with its parents (0644, 0755), append
//	file:///p?format=cri the same, lines as the kubelet reads them (cri.go)
//	attach://            no sink: attach clients only
//
// A stdout of file:// with an empty stderr takes stderr too, and equal names
// share one descriptor. With a terminal stderr is ignored.
//
// Invariants:
//
//   - The bytes of a stream reach every sink once and in order; EOF once. Only
//     a sink that fails (disk full) or an attach client that is not Sync and
//     falls a mebibyte behind loses any, and Counters says how many.
//   - A stream with nobody to read it (attach:// without client) is
//     discarded: the process never waits for a client to come.
//   - A full FIFO or a Sync client makes the process wait. Nothing else does.
//   - Idle, a stream costs one goroutine and no buffer.
//   - Close ends every goroutine in bounded time, whatever the peers do.
//
// Output pipes: the container's end is a second, O_RDWR description, reopened
// through /proc. So a writer is never killed by SIGPIPE when the shim dies (it is
// its own reader), O_NONBLOCK set by the container is not seen here, and EOF
// still comes when the container's last holder is gone. runc passes such an end
// on as it is, and criu 4.2 dumps and restores it with bytes queued, neither
// losing nor doubling them (tried on Linux 6.18).
//
// Output FIFOs: the client opens its end first; only then is there somebody to
// take what a short-lived process writes. After that the shim keeps a read
// end, so that clients may come and go. At EOF both ends are closed, which is
// the client's EOF; if bytes are unread and no client is there, the write end stays
// until Close, for the bytes die with the last descriptor.
//
// Input: the process gets EOF when CloseStdin was called and, for a FIFO, every
// client has closed it. Until then the shim keeps a write end: a client that
// goes away is no EOF. A process that closes its stdin makes the FIFO
// lose its reader, so that clients see EPIPE.
//
// For a new shim that takes over after a crash: the container's own ends are
// reachable as /proc/PID/fd/{0,1,2} of the process. Opened O_RDONLY, 1 and 2 give what
// is queued and what follows; opened O_WRONLY, 0 is a new write end (but the
// death of the old one was EOF to a reader that looked). FIFOs and files are
// reopened by name. A pty master cannot be reopened: someone must hold a copy.
//
// Not here: which URI a process gets, when to give up draining, exits.
package stdio
