package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A full FIFO stops the process, loses nothing, and goes on when read.
func TestSlowReaderHoldsTheProcessUp(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	r := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: path})
	e := ends(t, s)
	s.Relay(nil)
	want := noise(4, 1<<20)
	written := make(chan error, 1)
	go func() {
		_, err := e[1].Write(want)
		e[1].Close()
		written <- err
	}()
	eventually(t, "FIFO and pipe are full", func() bool {
		return queued(r) == 64<<10 && s.Counters().Stdout.In == 64<<10
	})
	select {
	case err := <-written:
		t.Fatalf("a mebibyte went into two pipes: %v", err)
	case <-s.Drained():
		t.Fatal("drained")
	default:
	}
	got := readAll(t, r)()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	same(t, "stdout", got, want)
	await(t, "drained", s.Drained())
}

// splice(2) says EAGAIN for a full FIFO even if its source has ended.
func TestEndBehindAFullFIFO(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	r := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: path})
	e := ends(t, s)
	s.Relay(nil)
	if _, err := e[1].Write(noise(4, 64<<10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the FIFO is full", func() bool { return queued(r) == 64<<10 })
	e[1].Close()
	await(t, "drained", s.Drained())
	same(t, "stdout", readAll(t, r)(), noise(4, 64<<10))
}

func TestFIFOClientGoesAndAnotherGoesOn(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	first := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: path})
	e := ends(t, s)
	s.Relay(nil)
	e[1].WriteString("one")
	if got := readN(t, first, 3); string(got) != "one" {
		t.Fatalf("%q", got)
	}
	first.Close()
	if _, err := e[1].WriteString("two"); err != nil { // nobody reads
		t.Fatal(err)
	}
	eventually(t, "it is relayed", func() bool { return s.Counters().Stdout.In == 6 })
	second := openEnd(t, path, os.O_RDONLY)
	got := readAll(t, second)
	e[1].WriteString("three")
	e[1].Close()
	if b := got(); string(b) != "twothree" {
		t.Errorf("second client got %q", b)
	}
}

// What a process wrote while the daemon was down is there when it comes back.
func TestUnreadBytesOutliveTheProcess(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	first := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: path, Stderr: "null://"})
	e := ends(t, s)
	s.Relay(nil)
	first.Close()
	e[1].WriteString("last words")
	e[1].Close()
	await(t, "drained", s.Drained())
	late := openEnd(t, path, os.O_RDONLY)
	if got := readN(t, late, 10); string(got) != "last words" {
		t.Errorf("%q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := late.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after close: %d, %v", n, err)
	}
}

func TestReaderMayComeLate(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	opened := make(chan *Stdio, 1)
	go func() {
		s, err := Open(background(t), Config{Stdout: path, Stderr: path})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	r, err := os.OpenFile(path, os.O_RDONLY, 0) // waits for the writer, as clients do
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := <-opened
	defer s.Close()
	e := ends(t, s)
	s.Relay(nil)
	e[1].WriteString("out")
	e[1].Close()
	e[2].Close()
	if b := readAll(t, r)(); string(b) != "out" {
		t.Errorf("%q", b)
	}
}

func TestReaderThatNeverComes(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, Config{Stdin: "attach://", Stdout: path})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestStdinEndsOnlyWhenClosedByBoth(t *testing.T) {
	for _, order := range []string{"client first", "shim first"} {
		t.Run(order, func(t *testing.T) {
			checkLeaks(t)
			path := mkfifo(t)
			s := openStdio(t, Config{Stdin: path})
			e := ends(t, s)
			s.Relay(nil)
			w := openEnd(t, path, os.O_WRONLY)
			w.WriteString("one")
			readN(t, e[0], 3)
			if order == "client first" {
				w.Close()
				again := openEnd(t, path, os.O_WRONLY) // detach, attach
				again.WriteString("two")
				if got := readN(t, e[0], 3); string(got) != "two" {
					t.Fatalf("%q", got)
				}
				again.Close()
				s.CloseStdin()
			} else {
				s.CloseStdin()
				s.CloseStdin()
				w.WriteString("two")
				if got := readN(t, e[0], 3); string(got) != "two" {
					t.Fatalf("%q", got)
				}
				w.Close()
			}
			if n, err := e[0].Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
			if _, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.ENXIO) {
				eventually(t, "the FIFO has no reader", func() bool {
					f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
					f.Close()
					return errors.Is(err, unix.ENXIO)
				})
			}
		})
	}
}

func TestStdinClosedBeforeRelay(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	s := openStdio(t, Config{Stdin: path})
	e := ends(t, s)
	w := openEnd(t, path, os.O_WRONLY)
	w.WriteString("early")
	w.Close()
	s.CloseStdin()
	s.Relay(nil)
	if got, err := io.ReadAll(e[0]); err != nil || string(got) != "early" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestProcessThatClosesStdinTellsTheClient(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	s := openStdio(t, Config{Stdin: path})
	e := ends(t, s)
	s.Relay(nil)
	w := openEnd(t, path, os.O_WRONLY)
	e[0].Close()
	w.WriteString("x")
	eventually(t, "EPIPE", func() bool {
		_, err := w.WriteString("y")
		return errors.Is(err, unix.EPIPE)
	})
	if err := s.CloseStdin(); err != nil {
		t.Error(err)
	}
}

func TestStdinFromAFileEndsByItself(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(t.TempDir(), "in")
	os.WriteFile(path, noise(1, 200_000), 0o600)
	s := openStdio(t, Config{Stdin: "file://" + path})
	e := ends(t, s)
	s.Relay(nil)
	got, err := io.ReadAll(e[0])
	if err != nil {
		t.Fatal(err)
	}
	same(t, "stdin", got, noise(1, 200_000))
}

// A second description: what the container does to its own stays its own.
func TestNonblockingContainerEndDoesNotReachUs(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	r := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdin: "attach://", Stdout: path})
	for i, f := range s.Child() {
		if f == nil {
			continue
		}
		if flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); flags&unix.O_NONBLOCK != 0 {
			t.Errorf("%s is nonblocking for the container", names[i])
		}
	}
	e := ends(t, s)
	unix.SetNonblock(int(e[1].Fd()), true)
	s.Relay(nil)
	e[1].WriteString("x")
	readN(t, r, 1)
	if flags, _ := unix.FcntlInt(uintptr(s.outputs[0].src.fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
		t.Error("our end became blocking")
	}
}

func TestWriterSurvivesTheDeathOfTheShim(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdout: "attach://"})
	e := ends(t, s)
	s.Relay(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e[1].WriteString("nobody hears"); err != nil {
		t.Errorf("write: %v", err)
	}
	r, err := os.OpenFile(procPath(int(e[1].Fd())), os.O_RDONLY, 0) // as an adopting shim does
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e[1].Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "nobody hears" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPipesBelongToTheContainersUser(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdin: "attach://", Stdout: "attach://", Stderr: "attach://", UID: 1234, GID: 5678})
	for i, f := range s.Child() {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Uid != 1234 || st.Gid != 5678 {
			t.Errorf("%s: %d:%d, %v", names[i], st.Uid, st.Gid, err)
		}
	}
}

func TestPromptIsLoggedAtOnce(t *testing.T) {
	checkLeaks(t)
	path := t.TempDir() + "/log"
	s := openStdio(t, Config{Stdout: "file://" + path + "?format=cri"})
	e := ends(t, s)
	s.Relay(nil)
	e[1].WriteString("name: ")
	eventually(t, "the prompt is in the log", func() bool {
		log, _ := os.ReadFile(path)
		return strings.HasSuffix(string(log), " stdout P name: \n")
	})
}

func TestIdleStreamHoldsNoBuffer(t *testing.T) {
	checkLeaks(t)
	src, child, err := outputPipe(owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.file.Close()
	tg, err := openTarget(t.Context(), uri{kind: kindFile, path: t.TempDir() + "/log"})
	if err != nil {
		t.Fatal(err)
	}
	defer tg.release()
	c := &criSink{target: tg, stream: "stdout", now: time.Now}
	for i := range 3 {
		child.Write(noise(1, 10_000))
		pauses := 0
		for pauses == 0 {
			b, err := src.next(nothing, func() {
				pauses++
				c.pause()
				if src.buf != nil || c.out != nil || cap(c.part) > 1<<10 {
					t.Errorf("round %d: held while waiting: %d, %d, %d", i, cap(src.buf), cap(c.out), cap(c.part))
				}
				src.file.SetReadDeadline(longAgo) // the wait itself is not the test's
			})
			if err == nil {
				c.write(b)
			}
		}
		src.file.SetReadDeadline(time.Time{})
	}
	child.Close()
}

func TestNothingConfiguredIsNothingHeld(t *testing.T) {
	checkLeaks(t)
	before := len(openFDs(t))
	s := openStdio(t, Config{})
	if s.Child() != [3]*os.File{} || len(openFDs(t)) != before {
		t.Error("descriptors for /dev/null")
	}
	s.Relay(nil)
	await(t, "drained", s.Drained())
	if s.CloseStdin() != nil {
		t.Error("close of no stdin")
	}
}

// Only a file URI without a stderr takes both, as containerd's shim does.
func TestStdinAloneAndStdoutAlone(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdin: "attach://"})
	if c := s.Child(); c[0] == nil || c[1] != nil || c[2] != nil {
		t.Error(c)
	}
	s = openStdio(t, Config{Stdout: "file://" + t.TempDir() + "/x"})
	if c := s.Child(); c[0] != nil || c[1] == nil || c[2] == nil || len(s.targets) != 1 {
		t.Error(c)
	}
	s = openStdio(t, Config{Stdout: "attach://"})
	if c := s.Child(); c[0] != nil || c[1] == nil || c[2] != nil {
		t.Error(c)
	}
}
