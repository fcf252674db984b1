// Fakeoci is the OCI runtime for tests; see package ocitest.
package main

import (
	"os"

	"github.com/holdfast/holdfast/shim/ocitest"
)

func main() {
	os.Exit(ocitest.Run(os.Args[1:]))
}
