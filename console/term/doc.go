// Package term handles the user's own terminal: raw mode and its restoration,
// changes of its size, and the keys that detach from a container.
package term
