// Package bundle names and encodes everything that a shim and a manager leave
// for one another on disk.
//
// One container is one directory, laid out exactly as containerd lays out its
// bundles, so that a directory listing is the list of containers and no
// database is needed:
//
//	<root>/<namespace>/
//	  .events .events.1     feed: one line per event of every container (manager makes it, shims append)
//	  <id>/                 the bundle
//	    config.json         OCI runtime spec                              manager or containerd
//	    rootfs/             mount point of the root file system           manager or containerd
//	    container.json      labels, runtime, mounts; outlives every run   manager
//	    log                 the shim's own log: file here, FIFO under containerd
//	    lock                held (flock) by the shim while it serves      shim
//	    address             unix://... of the shim's socket               whoever launched the shim
//	    task.json           what this run is made of; written before it   shim
//	    init.pid            written by the OCI runtime
//	    exit.json           how init ended                                shim
//	    execs/<exec>.json   how an exec ended, until it is deleted        shim
//	    events events.1     journal of this container, numbered           shim
//	    output.log          default log of the container's output         shim
//
// Who finds the directory after everybody died can tell from it what existed
// and undo it: the record of a thing is written before the thing is made, and
// removed after it is gone. Every record is one JSON object, written to a
// temporary file and renamed, so that it is either the old one or the new one.
// Records carry a version; a reader refuses a version it does not know.
//
// The package encodes, decodes and renames. It decides nothing.
package bundle
