package shim

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/attach"
	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"golang.org/x/sys/unix"
)

// attached is a client of the streams of a process.
type attached struct {
	t    *testing.T
	conn net.Conn
}

func (s *driven) attach(t *testing.T, r *shimv1.AttachRequest) *attached {
	t.Helper()
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r.ID = s.id
	if err := client.Once(patient(t), conn, shimv1.ServiceName, "Attach", r, &shimv1.AttachResponse{}); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &attached{t, conn}
}

// next returns the next frame.
func (a *attached) next() (attach.Kind, string) {
	a.t.Helper()
	kind, data, err := attach.ReadFrame(a.conn, nil)
	if err != nil {
		a.t.Fatalf("attached: %v", err)
	}
	return kind, string(data)
}

// rest reads to the end, which must be the streams' own.
func (a *attached) rest() (n int) {
	a.t.Helper()
	for {
		kind, data := a.next()
		if kind == attach.End {
			if data != "" {
				a.t.Errorf("the end: %s", data)
			}
			return n
		}
		n += len(data)
	}
}

// A client that is attached before the start misses nothing.
func TestAttachBeforeStart(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.run()
		s.promise(&task.ExecProcessRequest{ExecID: "e1", Stdout: "attach://"}, "/bin/sh", "-c", "echo first")
		a := s.attach(t, &shimv1.AttachRequest{ExecID: "e1", Stdout: true, Sync: true})
		s.start("e1")
		if kind, data := a.next(); kind != attach.Stdout || data != "first\n" {
			t.Errorf("%v %q", kind, data)
		}
		a.rest()
		s.wait("e1", 0)
	})
}

// A shim that may leave waits for those who still read what its processes have
// written, execs too.
func TestShimStaysForItsReaders(t *testing.T) {
	s := drive(t, runcRuntime(t), sleeper)
	s.run(s.unattended)
	s.promise(&task.ExecProcessRequest{ExecID: "e1", Stdout: "attach://"}, "/bin/yes")
	a := s.attach(t, &shimv1.AttachRequest{ExecID: "e1", Stdout: true, Sync: true})
	pid := s.start("e1")
	a.next()
	eventually(t, "yes is stuck on a full pipe", func() bool {
		fd, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", pid), os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer fd.Close()
		var queued int
		queued, err = unix.IoctlGetInt(int(fd.Fd()), unix.TIOCINQ)
		return err == nil && queued >= 64<<10-4096
	})
	s.kill("", unix.SIGKILL)
	s.wait("e1", 137)
	s.wait("", 137)
	select {
	case <-s.child.Done():
		t.Error("the shim has left with output that nobody has read yet")
	case <-time.After(2 * retiredLimit): // it would have left by now
	}
	if n := a.rest(); n < 64<<10 {
		t.Errorf("%d bytes, want what was in the pipe at least", n)
	}
	s.leaves()
	if err := os.RemoveAll(s.bundle + "/execs"); err != nil { // records of what nobody has deleted
		t.Error(err)
	}
}
