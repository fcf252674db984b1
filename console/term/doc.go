// Package term handles the user's own terminal: raw mode and its restoration,
// changes of its size, and the keys that detach from a container.
//
//	keyboard ─► raw terminal ─► Detacher ─► container's stdin
//	                               └─ ctrl-p ctrl-q: ErrDetached
//
// It is apart from package console because it needs os/signal and
// containerd/console, which the shim does not carry. It moves no output.
package term
