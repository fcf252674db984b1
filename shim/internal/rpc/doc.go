// Package rpc is the shim's end of ttrpc: a [Server] for unary calls on unix
// sockets, and a [Client] that makes one call at a time.
//
//	            Serve                  per connection
//	listener ──accept4──► conn ── reader ──► input: half a frame
//	             │                  │ whole frame
//	      SO_PEERCRED:              ▼
//	      root and we         call, a goroutine each ── Lookup ──► handler
//	                                │ reply                    (ctx = call)
//	                                ▼
//	      socket ◄── one writer ── out: replies not written yet
//
// All that a connection is, is plain data in conn: the frame being read, the
// highest stream id, the calls being handled with the bytes they came in, the
// replies not written. [Server.Freeze] hands these out and [Server.Adopt]
// goes on from them, in this process or in the one that takes its place, so
// that an upgrade is nothing a client can see.
//
// # Invariants
//
//   - A request has exactly one reply, written as one frame that no other
//     interrupts, unless its connection is lost.
//   - Nobody waits behind a peer but the goroutine that writes to it; no lock
//     is held while it does. A reply is queued by the handler that made it,
//     and written by it too if nobody is writing.
//   - Whoever sets conn.gone owns the descriptor from then on, and is one of
//     drop, hijack and freeze.
//   - An idle connection has one goroutine on a 2 KiB stack, no buffer and no
//     timer: 5 KiB in all. Buffers are borrowed while bytes arrive, timers
//     run while a peer does not take its replies, or while a handler waits
//     for a deadline.
//
// # On the wire
//
// A frame is a [wire.Header] and data. Requests have odd, growing stream ids.
// An even or old id and a request that does not decode are InvalidArgument on
// that stream; so is a data frame, as there are no streams here. Frames of
// other types, and flags, are ignored. Replies leave in the order in which
// they are ready. A client that closes its end, even one direction of it, has
// its handlers cancelled and is dropped.
//
// # Limits
//
//	what                            default   beyond it
//	data of a frame                 4 MiB     skipped, ResourceExhausted
//	data of a reply                 4 MiB     ResourceExhausted in its place
//	text of an error                64 KiB    cut; bad UTF-8 replaced
//	memory for a mere header        16 KiB    grows with what arrives
//	requests handled at once        1024      ResourceExhausted
//	bytes of those, and half read   16 MiB    skipped, ResourceExhausted
//	memory of unread replies        16 MiB    connection dropped
//	time to take a batch of replies 30 s      connection dropped
//	connections                     1024      closed at once
//
// All but the last are for each connection, so that no client can spend
// another's share. Errors answer one request and leave the connection alone;
// a connection is dropped only when its peer does not read, as an answer
// could not reach it either. The time is generous because a daemon takes the
// loss of its connection for the death of the shim, and because a stopped
// daemon has usually too little outstanding to fill a socket (about 270 small
// replies with Linux's default of 208 KiB).
//
// # What it does not do
//
// No streaming calls, no TLS or TCP, no interceptors. It does not decode
// payloads: methods do. It does not end handlers: those whose context is over
// are expected to return, and [Server.Stop] tells when some did not.
package rpc
