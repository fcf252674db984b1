package shim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

// process is an OCI process object that carries the token.
func (s *driven) process(args ...string) *types.Any {
	s.t.Helper()
	raw, err := json.Marshal(map[string]any{
		"args": args, "cwd": "/", "env": []string{"PATH=/bin:/usr/bin", "TOKEN=" + s.token},
		"user": map[string]any{"uid": 0, "gid": 0},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return &types.Any{TypeUrl: options.TypeProcess, Value: raw}
}

// finish ends what is left of the container as a daemon does, and the shim, and
// looks for leaks.
func (s *driven) finish() {
	s.t.Helper()
	if !s.gone() {
		ctx := patient(s.t)
		_, _ = s.Kill(ctx, &task.KillRequest{ID: s.id, Signal: uint32(unix.SIGKILL), All: true})
		if st, err := s.State(ctx, &task.StateRequest{ID: s.id}); err == nil {
			if st.Pid != 0 {
				_, _ = s.Wait(ctx, &task.WaitRequest{ID: s.id})
			}
			if _, err := s.Delete(ctx, &task.DeleteRequest{ID: s.id}); err != nil {
				s.t.Errorf("delete at the end: %v", err)
			}
		}
		_, _ = s.Shutdown(ctx, &task.ShutdownRequest{ID: s.id, Now: true})
	}
	s.leaves()
	s.wantNothingLeft()
	if s.t.Failed() {
		log, _ := os.ReadFile(s.bundle + "/log")
		s.t.Logf("log of the shim:\n%s", log)
	}
}

// gone reports whether the shim has ended.
func (s *driven) gone() bool {
	select {
	case <-s.child.Done():
		return true
	default:
		return false
	}
}

// leaves waits for the shim's end.
func (s *driven) leaves() {
	s.t.Helper()
	select {
	case <-s.child.Done():
	case <-time.After(patience):
		s.t.Errorf("the shim does not leave")
		unix.Kill(s.child.PID(), unix.SIGQUIT) // our own child, not reaped: Done is open
		<-s.child.Done()
	}
}

// records are the files of a bundle that may stay.
var records = []string{
	bundle.ConfigFile, bundle.RootfsDir, bundle.LogFile, bundle.LockFile, bundle.ExitFile,
	bundle.JournalFile, bundle.JournalFile + ".1", bundle.OutputFile, "criu-dump.log",
}

// wantNothingLeft checks that records are all that a container and its shim
// have left.
func (s *driven) wantNothingLeft() {
	s.t.Helper()
	entries, err := os.ReadDir(s.bundle)
	if err != nil {
		s.t.Error(err)
	}
	for _, e := range entries {
		if !slices.Contains(records, e.Name()) {
			s.t.Errorf("%s is left in the bundle", e.Name())
		}
	}
	if _, err := os.Lstat(s.socket); err == nil {
		s.t.Errorf("the socket is left")
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, s.bundle) {
			s.t.Errorf("a mount is left: %s", line)
		}
	}
	if _, err := os.Stat(filepath.Join(s.root, namespace, s.id)); err == nil {
		s.t.Errorf("the OCI runtime still knows the container")
	}
	if pids := s.processes(); len(pids) > 0 {
		s.t.Errorf("processes are left: %v", pids)
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL) // the token says that it is ours
		}
	}
}

// processes returns the living processes that carry the container's token.
func (s *driven) processes() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ") // empty for a zombie
		if err != nil || !bytes.Contains(env, []byte("TOKEN="+s.token)) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		pids = append(pids, pid)
	}
	return pids
}

// info asks the shim about itself.
func (s *driven) info() *shimv1.InfoResponse {
	s.t.Helper()
	info, err := s.self.Info(patient(s.t), &shimv1.InfoRequest{})
	if err != nil {
		s.t.Fatalf("info: %v", err)
	}
	return info
}

// eventually waits for something that the kernel does not announce.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: still not", what)
		}
	}
}

// events returns the journal.
func (s *driven) events() []bundle.Event {
	s.t.Helper()
	var events []bundle.Event
	for _, name := range []string{bundle.JournalFile + ".1", bundle.JournalFile} {
		raw, err := os.ReadFile(s.bundle + "/" + name)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(raw) {
			e, err := bundle.DecodeEvent(line)
			if err != nil {
				s.t.Fatal(err)
			}
			events = append(events, e)
		}
	}
	return events
}

// A shim that has run hundreds of execs has what one has that has run none.
func TestTwoHundredExecsLeaveNothingInTheShim(t *testing.T) {
	s := drive(t, runcNamed(t), sleeper)
	s.run()
	s.exec("warm", "/bin/true")
	s.wait("warm", 0)
	s.delete("warm")
	before := s.info()
	for i := range 200 {
		id := "e" + strconv.Itoa(i)
		if i%4 == 3 { // one that is never started
			s.promise(&task.ExecProcessRequest{ExecID: id}, "/bin/true")
			s.delete(id)
			continue
		}
		s.exec(id, "/bin/true")
		s.wait(id, 0)
		s.delete(id)
	}
	var after *shimv1.InfoResponse
	eventually(t, "goroutines and descriptors are back", func() bool {
		after = s.info()
		return after.Goroutines <= before.Goroutines && after.Fds <= before.Fds
	})
	if len(after.Execs) != 0 {
		t.Errorf("%d execs are left", len(after.Execs))
	}
	left, _ := os.ReadDir(s.bundle + "/" + bundle.ExecsDir)
	if len(left) != 0 {
		t.Errorf("%d files of execs are left", len(left))
	}
}
