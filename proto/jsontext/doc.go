// Package jsontext reads and changes JSON as text, without reflection.
//
// A shim passes JSON along (the OCI spec, process and resources documents) and
// looks at a handful of its members; encoding/json would cost every container
// hundreds of KiB of type tables for that. Here a value is what stands in the
// document, a []byte called raw, and every function takes and returns such
// slices:
//
//	raw, ok := jsontext.Get(spec, "process", "terminal")
//	tty, err := jsontext.Bool(raw)
//
// Invariants:
//
//   - What is accepted, and what it decodes to, is what encoding/json accepts
//     and decodes to (RFC 8259, invalid UTF-8 read as U+FFFD, the last of
//     several members of one name wins); fuzz tests hold the two against
//     each other. The exceptions are [MaxSize] and [MaxDepth].
//   - Results of Get, Object and Array are parts of the argument, not copies.
//     Nobody writes to them.
//   - No input makes a function panic, recurse deeper than [MaxDepth] or take
//     more than linear time.
//
// It has no structs, no streaming, no floating point and no indentation.
package jsontext
