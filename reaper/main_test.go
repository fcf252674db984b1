package reaper

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are the parts that the test binary plays when it is its own child.
// Descriptor 0 is the string by which the test pulls, descriptor 1 the way back.
var children = map[string]func(args []string){
	"exit":       roleExit,
	"park":       rolePark,
	"leaderless": roleLeaderless,
	"parent":     roleParent,
	"tracer":     roleTracer,
	"fds":        roleFds,
}

// quick keeps the race detector from sleeping a second at each child's exit.
const quick = "GORACE=atexit_sleep_ms=0"

// TestMain lets the test binary play the children that the tests start.
func TestMain(m *testing.M) {
	if role := os.Getenv("REAPER_CHILD"); role != "" {
		children[role](os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roleExit exits with the code that is its argument.
func roleExit(args []string) {
	code, _ := strconv.Atoi(args[0])
	os.Exit(code)
}

// rolePark dies of any signal as a C program would, says "ready" and waits for
// the end of its input.
func rolePark([]string) {
	var deflt [4]uintptr // struct sigaction of the kernel: SIG_DFL, no flags
	for sig := 1; sig <= 64; sig++ {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&deflt)), 0, 8, 0, 0)
	}
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
}

// roleLeaderless is a park whose first thread ends at once; at the end of its
// input the process exits with 42.
func roleLeaderless([]string) {
	go func() {
		fmt.Println("ready")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(42)
	}()
	// TestMain is on the process's first thread if anything is.
	if unix.Gettid() != os.Getpid() {
		os.Exit(1)
	}
	syscall.Syscall(syscall.SYS_EXIT, 7, 0, 0)
}

// roleParent starts a parked child, or one of the role in its argument, says its
// pid, and then does what it is told: reap it, let it end, or just die.
func roleParent(args []string) {
	role := append(args, "park")[0]
	keep, hold, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	kept, say, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{role}, &syscall.ProcAttr{
		Env:   []string{"REAPER_CHILD=" + role, quick},
		Files: []uintptr{keep.Fd(), say.Fd(), 2, hold.Fd()}, // its input never ends
	})
	if err != nil {
		panic(err)
	}
	bufio.NewReader(kept).ReadString('\n')
	fmt.Println(pid)
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		switch orders.Text() {
		case "reap":
			syscall.Wait4(pid, nil, 0, nil)
		case "let go":
			hold.Write([]byte{'\n'})
		case "orphan":
			leaveOrphan()
			fmt.Println("left")
		}
	}
}

// leaveOrphan has a child leave a child of its own, which is dead by the time it
// returns.
func leaveOrphan() {
	in, out, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	child, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", orphan + "exit 0"}, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2, in.Fd(), out.Fd()},
	})
	if err != nil {
		panic(err)
	}
	out.Close()
	syscall.Wait4(child, nil, 0, nil)
	in.Close()
}

// roleTracer attaches itself to the process in its argument, says so, and ends
// when its input does.
func roleTracer(args []string) {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(args[0])
	const seize = 0x4206
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, seize, uintptr(pid), 0, 0, 0, 0)
	fmt.Println("traced", errno)
	// Not through Go's poller: the tracer is this thread.
	unix.SetNonblock(0, false)
	unix.Read(0, make([]byte, 1))
}

// roleFds says where its descriptors lead, and who it is to the terminal.
func roleFds([]string) {
	for fd := range 8 {
		to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err != nil {
			break
		}
		fmt.Printf("%d=%s\n", fd, to)
	}
	sid, _ := unix.Getsid(0)
	dir, _ := os.Getwd()
	adj, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Printf("leader=%t group=%t dir=%s adj=%s env=%s\n", sid == os.Getpid(), unix.Getpgrp() == os.Getpid(),
		dir, strings.TrimSpace(string(adj)), os.Getenv("MARK"))
}

// asSubreaper runs the rest of the calling test in a process of its own, whose
// reaper may be a subreaper and sweep: here, that would take the children of
// other tests. It tells whether this is that process.
func asSubreaper(t *testing.T) bool {
	t.Helper()
	if os.Getenv("REAPER_ALONE") == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "REAPER_ALONE="+t.Name(), quick)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("alone: %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("alone:\n%s", out)
	}
	return false
}

// world is a reaper with checks that nothing of it is left.
type world struct {
	*testing.T
	*Reaper
}

func newWorld(t *testing.T, opts ...Option) *world { return newWorldOn(t, linux(), opts...) }

func newWorldOn(t *testing.T, s sys, opts ...Option) *world {
	t.Helper()
	fds, routines := countFds(t), runtime.NumGoroutine()
	r, err := newReaper(s, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		for p := range zombies(t) {
			t.Errorf("zombie %d is left", p)
		}
		if n := countFds(t); n != fds {
			t.Errorf("%d descriptors, were %d", n, fds)
		}
		// A goroutine that has done its last act may still be on its way out.
		eventually(t, func() bool { return runtime.NumGoroutine() <= routines }, "goroutines end")
	})
	return &world{T: t, Reaper: r}
}

// actor is a process that plays a role.
type actor struct {
	*Process
	in  *os.File
	out *bufio.Reader
}

// play starts a role with pipes to descriptors 0 and 1.
func (w *world) play(role string, args ...string) *actor {
	w.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	p, err := w.Start(Command{
		Path:  "/proc/self/exe",
		Args:  append([]string{role}, args...),
		Env:   append(os.Environ(), "REAPER_CHILD="+role, quick),
		Dir:   w.TempDir(),
		Files: []*os.File{inR, outW, os.Stderr},
	})
	inR.Close()
	outW.Close()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		inW.Close()
		outR.Close()
	})
	return &actor{Process: p, in: inW, out: bufio.NewReader(outR)}
}

// park starts a process that waits to be killed; it is, at the end.
func (w *world) park() *actor {
	w.Helper()
	a := w.play("park")
	a.hear(w, "ready")
	w.Cleanup(func() { // runs before the reaper is closed
		a.Signal(unix.SIGKILL)
		w.exit(a.Process)
	})
	return a
}

// parent starts a process with a parked child, or one of another role, and
// returns the child's pid.
func (w *world) parent(role ...string) (*actor, int) {
	w.Helper()
	a := w.play("parent", role...)
	line, err := a.out.ReadString('\n')
	pid, aerr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || aerr != nil {
		w.Fatalf("parent said %q, %v", line, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { // should the test not have come to it
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		unix.Close(fd)
	})
	return a, pid
}

// hear waits for a line.
func (a *actor) hear(w *world, want string) {
	w.Helper()
	line, err := a.out.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		w.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// tell gives an order.
func (a *actor) tell(w *world, order string) {
	w.Helper()
	if _, err := fmt.Fprintln(a.in, order); err != nil {
		w.Fatal(err)
	}
}

// start starts a program of the system with nothing on its descriptors.
func (w *world) start(args ...string) *Process {
	w.Helper()
	p, err := w.Start(Command{Path: args[0], Args: args})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// exit waits for p, but not for ever.
func (w *world) exit(p *Process) Exit {
	w.Helper()
	e, err := p.Wait(w.limited())
	if err != nil {
		w.Fatal(err)
	}
	return e
}

// eventually polls for what the kernel announces to nobody.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// countFds counts our descriptors, after Go's poller has got its own.
func countFds(t testing.TB) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// zombies returns our children that are dead and not reaped.
func zombies(t testing.TB) map[int]procStat {
	t.Helper()
	r := &Reaper{sys: linux()}
	dead := make(map[int]procStat)
	for _, pid := range r.children() {
		if s, err := r.stat(pid); err == nil && s.state == 'Z' {
			dead[pid] = s
		}
	}
	return dead
}
