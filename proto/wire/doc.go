// Package wire is the RPC protocol between a shim and its clients, ttrpc, as
// bytes: the frame header, the messages frames carry, and the error codes.
//
//	 0        4        8    9     10
//	+--------+--------+----+-----+------ - - -
//	| length | stream |type|flags| data          all numbers big endian
//	+--------+--------+----+-----+------ - - -
//
// A call is one request frame, whose data is a Request, and one response
// frame of the same stream, whose data is a Response. Streams that clients
// open are odd and rise. Only such unary calls are spoken here; data frames
// are known by name so that they can be refused.
//
// The package does no I/O and owns nothing. Servers and clients are built on
// it elsewhere, and meet in Method and Caller. Everything in it is light
// enough for a shim: no reflection, no registration.
package wire
