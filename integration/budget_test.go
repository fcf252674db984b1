package integration

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

// What one more container may cost while nothing happens in it. Raise a number
// only in the change that needs it, and say there what it buys.
const (
	// idleCeiling bounds the private memory of an idle shim, in KiB: pages that
	// would be free again if it ended, with its program file shared by others.
	// Measured 2026-11: 0.9 MiB.
	idleCeiling = 1280
	// threadCeiling and fileCeiling bound what the kernel keeps for it.
	threadCeiling = 8
	fileCeiling   = 24
	// binaryCeiling bounds the program file, in KiB.
	binaryCeiling = 5 << 10
)

func TestAnIdleShimIsWithinItsBudget(t *testing.T) {
	if harness.Race() {
		t.Skip("the race detector is not what a container pays for")
	}
	w := harness.New(t, "runc")
	ids := []string{"a", "b", "c", "d"} // several, so that they share the program file
	for _, id := range ids {
		detach(w, id, idle)
		ready(w, id)
		w.OK("exec", id, "/bin/true")
	}
	var private []int
	for _, id := range ids {
		pid := shimOf(t, w, id).Number
		private = append(private, rollup(t, pid))
		if n := entries(t, pid, "task"); n > threadCeiling {
			t.Errorf("shim of %s has %d threads, at most %d are allowed", id, n, threadCeiling)
		}
		if n := entries(t, pid, "fd"); n > fileCeiling {
			t.Errorf("shim of %s has %d descriptors, at most %d are allowed", id, n, fileCeiling)
		}
	}
	slices.Sort(private)
	t.Logf("private memory of idle shims: %v KiB", private)
	if least := private[0]; least > idleCeiling {
		t.Errorf("an idle shim has %d KiB of private memory, at most %d are allowed", least, idleCeiling)
	}
	remove(w, ids...)
}

// The shim's program is static, so that it runs in any image, and has a fixed
// address: relocations would turn shared pages into private ones.
func TestTheShimsBinary(t *testing.T) {
	if harness.Race() {
		t.Skip("the race detector is not what a container pays for")
	}
	path := harness.Binary("containerd-shim-holdfast-v2")
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Type != elf.ET_EXEC {
		t.Errorf("the program is %v, want one with a fixed address", f.Type)
	}
	if libs, err := f.ImportedLibraries(); err == nil && len(libs) > 0 {
		t.Errorf("the program needs %v", libs)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if kib := st.Size() >> 10; kib > binaryCeiling {
		t.Errorf("the program has %d KiB, at most %d are allowed", kib, binaryCeiling)
	}
}

// rollup returns the private memory of a process in KiB.
func rollup(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 && (f[0] == "Private_Clean:" || f[0] == "Private_Dirty:") {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += kib
		}
	}
	return sum
}

// entries counts a process's threads or descriptors.
func entries(t *testing.T, pid int, what string) int {
	t.Helper()
	dir, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, what))
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}
