// Package harness gives integration tests real worlds to run holdfast in, and
// takes them apart again.
//
//	Main             builds the programs once, enters a mount namespace of its own, runs the tests
//	  └─ New(t, rt)  one World per test: state root, namespace, temporary files,
//	       │         all named after one token that occurs nowhere else on the machine
//	       ├─ Run, Start, Terminal    the command line, captured, with a deadline
//	       └─ cleanup                 compares: whatever still bears the token has leaked
//
// The token is what makes leak checks exact on a busy machine: every process,
// mount, cgroup and file of a world has it in its command line, environment,
// path or name, so nothing of a neighbour is mistaken for ours and nothing of
// ours hides. What leaked fails the test, and is then removed all the same.
//
// Nothing here imports the shim or the manager: the harness sees them as a user
// does, through files, processes and the command line.
package harness
