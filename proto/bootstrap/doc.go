// Package bootstrap has what passes between a daemon and the short-lived
// actions of a shim's binary: Params on the stdin of start, Result on its
// stdout, RuntimeInfo on the stdout of -info.
//
// Messages only. Telling Params from the bare options that older daemons
// send, and choosing the form of the answer, is for who runs the action.
package bootstrap
