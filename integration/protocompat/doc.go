// Package protocompat tests that the messages of proto are, byte by byte and
// name by name, those of containerd's own API module, and that a program can
// link both.
//
// It is apart from proto so that nothing there needs containerd's module. The
// package has tests only.
package protocompat
