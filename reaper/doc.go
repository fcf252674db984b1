// Package reaper starts processes, adopts processes that others started, and
// learns how each of them ended.
//
// A shim is a subreaper: when the OCI runtime that created a container exits,
// the container's first process becomes the shim's child, and the shim is the
// only one who can learn its exit status. This package makes sure that it
// does, and that every exit reaches whoever asks, however late.
//
//	Start ──► clone+pidfd ─┐                      ┌─► waitid(P_PIDFD): status, rusage
//	Adopt ──► pidfd_open ──┼─► epoll ─► one loop ─┤
//	AdoptFD ─► pidfd ──────┘        (Go's poller) └─► not ours: the zombie's /proc/PID/stat,
//	                                                  or PIDFD_GET_INFO once it is reaped
//	                                                        │
//	Wait, Done, Exit ◄── closed channel ◄── Exit, written once
//
// Invariants:
//
//   - Nobody waits for -1. A process is waited for through its pidfd, so a
//     recycled pid can neither be waited for nor signalled.
//   - An exit is a future: written once, then announced by closing a channel.
//     There are no subscriptions to miss.
//   - An exit status is the kernel's, or [Exit.Known] is false and
//     [Exit.Reason] says why.
//   - Unknown zombies (orphans that a subreaper inherits) are swept one pid at a time, and
//     only while no [Reaper.Hold] is out: the process that an OCI runtime has
//     just created may die before its pid file is read, and its zombie is what
//     keeps its pid from being used again until [Reaper.Adopt] has taken it.
//   - One goroutine and one epoll descriptor, whatever the number of
//     processes; no thread blocks in a wait. A living process costs its pidfd.
//   - No lock is held over a system call that can block.
//
// What it does not do: it keeps nothing on disk, relays no output, gives
// processes no deadline (callers signal), and does not look programs up in
// PATH. In a process that is a subreaper by [WithSubreaper] every child must
// be started through [Reaper.Start]: the exit of one forked any other way
// would be swept away from whoever waits for it.
//
// Linux 5.4 is needed (waitid with P_PIDFD); 6.15 to learn the exit of a
// process that is not our child.
package reaper
