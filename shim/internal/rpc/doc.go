// Package rpc is the shim's end of ttrpc: a server for unary calls on unix
// sockets, and a client that makes one call at a time.
package rpc
