// Containerd-shim-holdfast-v2 guards one container for containerd or for the
// manager of this repository. See package shim for what it does and why.
package main

import (
	"os"

	"github.com/holdfast/holdfast/shim"
)

func main() {
	os.Exit(shim.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
