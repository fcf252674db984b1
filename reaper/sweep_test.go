package reaper

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Parts of a script whose background processes end at the very moment at which
// the script does, so that nobody but the reaper can have them: they read a pipe
// that only the script holds open for writing.
const (
	orphan  = "(exec 4>&-; read x <&3; exit 3) & "
	adoptee = "(exec 4>&-; read x <&3; exit $1) & echo $! > $2"
)

// leave starts such a script.
func (w *world) leave(script string, args ...string) *Process {
	w.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		w.Fatal(err)
	}
	in, out := os.NewFile(uintptr(ends[0]), "in"), os.NewFile(uintptr(ends[1]), "out")
	defer in.Close()
	defer out.Close()
	p, err := w.Start(Command{
		Path: "/bin/sh", Args: append([]string{"sh", "-c", script, "sh"}, args...),
		Files: []*os.File{nil, nil, os.Stderr, in, out},
	})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func TestManyLivesWithAnOrphanEach(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	w := newWorld(t, WithSubreaper())
	const lives = 1000
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for i := worker; i < lives; i += 2 {
				code := i % 256
				p := w.leave(orphan+"exit $1", strconv.Itoa(code))
				if e := w.exit(p); !e.Known || e.Code() != code {
					t.Errorf("life %d: %+v", i, e)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, func() bool { return len(zombies(t)) == 0 }, "all orphans swept")
}

// TestAdoptRace is what an OCI runtime does: it leaves a process behind, says
// its pid in a file, and the process may be dead before anybody has read it.
func TestAdoptRace(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	w := newWorld(t, WithSubreaper())
	dir := t.TempDir()
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for i := worker; i < 500; i += 2 {
				code := i%255 + 1
				file := filepath.Join(dir, strconv.Itoa(i))
				release := w.Hold()
				w.Sweep() // is put off
				w.exit(w.leave(orphan+adoptee, strconv.Itoa(code), file))
				b, _ := os.ReadFile(file)
				pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
				if err != nil {
					t.Error(err)
				}
				p, err := w.Adopt(pid)
				release()
				release()
				if err != nil {
					t.Errorf("run %d: %v", i, err)
					continue
				}
				if e := w.exit(p); !e.Known || e.Code() != code {
					t.Errorf("run %d: %+v, want %d", i, e, code)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, func() bool { return len(zombies(t)) == 0 }, "all orphans swept")
}

func TestHoldKeepsTheUnknownZombie(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	w := newWorld(t, WithSubreaper())
	outer, inner := w.Hold(), w.Hold()
	parent, pid := w.parent()
	parent.in.Close()
	w.exit(parent.Process)
	unix.Kill(pid, unix.SIGKILL)
	isZombie(w, pid)
	inner()
	inner()
	w.Sweep()
	w.exit(w.start("/bin/true")) // the loop has come round
	if len(zombies(t)) != 1 {
		t.Fatal("swept while held")
	}
	outer()
	eventually(t, func() bool { return len(zombies(t)) == 0 }, "swept after release")
}

func TestOrphanThatLivesOnIsSweptWhenItDies(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	w := newWorld(t, WithSubreaper())
	parent, pid := w.parent()
	parent.in.Close()
	w.exit(parent.Process)
	watched := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.strays[pid] != 0
	}
	eventually(t, watched, "the orphan is watched")
	unix.Kill(pid, unix.SIGKILL)
	eventually(t, func() bool { return len(zombies(t)) == 0 && !watched() }, "the orphan is swept")
}

func TestStrayThatIsAdoptedIsNotSwept(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	w := newWorld(t, WithSubreaper())
	parent, pid := w.parent()
	parent.in.Close()
	w.exit(parent.Process)
	eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.strays[pid] != 0
	}, "the orphan is watched")
	p, err := w.Adopt(pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(unix.SIGINT)
	if e := w.exit(p); !e.Known || e.Signal() != unix.SIGINT {
		t.Errorf("%+v", e)
	}
}

// TestOrphanThatNothingAnnouncesIsSweptLazily has the child of a living process
// leave an orphan that dies at once: no event comes of it, only the timer of an
// exit a moment before.
func TestOrphanThatNothingAnnouncesIsSweptLazily(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	w := newWorld(t, WithSubreaper())
	parent, pid := w.parent()
	w.exit(w.start("/bin/true"))
	begin := time.Now()
	parent.tell(w, "orphan")
	parent.hear(w, "left")
	if time.Since(begin) > lazySweep/2 {
		t.Skip("this machine is too slow to be sure of the order")
	}
	eventually(t, func() bool { return len(zombies(t)) == 1 }, "the orphan is dead")
	eventually(t, func() bool { return len(zombies(t)) == 0 }, "swept")
	if d := time.Since(begin); d < lazySweep/2 {
		t.Errorf("swept after %v: not by the timer", d)
	}
	unix.Kill(pid, unix.SIGKILL)
	parent.tell(w, "reap")
	parent.in.Close()
	w.exit(parent.Process)
}

func TestWithoutSubreaperStrangersAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	on, err := subreaperFlag()
	if err != nil || on {
		t.Fatalf("subreaper flag %t, %v", on, err)
	}
	actor := w.play("exit", "0")
	w.Hold()()
	w.Sweep()
	w.exit(actor.Process)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted || len(w.strays) != 0 {
		t.Error("it sweeps")
	}
}

func TestCloseClearsTheFlagItSet(t *testing.T) {
	if !asSubreaper(t) {
		return
	}
	for range 2 {
		r, err := New(WithSubreaper())
		if err != nil {
			t.Fatal(err)
		}
		if on, _ := subreaperFlag(); !on {
			t.Error("not a subreaper")
		}
		r.Close()
		if on, _ := subreaperFlag(); on {
			t.Error("still a subreaper")
		}
	}
}
