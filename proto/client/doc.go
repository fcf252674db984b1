// Package client makes calls of our services over ttrpc's own client library.
//
//	task.Client ─► Client (wire.Caller) ─► ttrpc.Client ─► queue ─► connection
//	               messages, errors                        never blocks a call
//
// Invariant: no call outlives its context. Not even when the peer is stopped
// and the socket full: requests wait in a queue of bounded size, and when that
// is full the connection is given up.
//
// The package dials nothing and never retries. It brings the ttrpc library,
// and grpc's codes with it, so shims must not import it.
package client
