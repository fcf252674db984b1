// Package ocitest is an OCI runtime for tests: it has the command line, the
// files and the words of runc, makes real processes, and fails as told.
//
//	create ─► fork ─► init: parked in start.fifo      <root>/<id>/
//	start  ─► opens the FIFO ─► init execs the program    state.json   bundle, processes, paused
//	exec   ─► fork+exec, remembered in state.json         process.json what init is to exec
//	kill   ─► pidfd_send_signal to one or all             start.fifo   gone once started
//
// Its "containers" have no namespaces, no cgroup and no root of their own: the
// spec's process.args runs on the host, in process.cwd, as the leader of a new
// session. A process belongs to the container if it or the leader of its session
// is one the runtime made. There is no kernel to end the others with the first
// one, so a spec for this runtime has no pid namespace: a shim then does it
// with kill --all. Checkpoint records what ran, restore runs it anew.
//
// A test binary becomes the runtime by calling [Main] first thing in TestMain;
// [Binary] gives the path to call. Where no test binary is at hand, build
// ./fakeoci. Faults come from a script, see [Script].
//
// Nothing here is linked into a shim.
package ocitest
