// The launcher says how many processors the Go runtime uses. Watching the cgroup
// for another answer would cost every shim two descriptors and a goroutine.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

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
