package shim

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/stats"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/ocitest"
)

// numbers are what both versions of the metrics have.
type numbers struct{ pids, memory, limit, cpu uint64 }

func (s *driven) stats() numbers {
	s.t.Helper()
	resp, err := s.Stats(patient(s.t), &task.StatsRequest{ID: s.id})
	if err != nil {
		s.t.Fatal(err)
	}
	switch resp.Stats.TypeUrl {
	case "io.containerd.cgroups.v1.Metrics":
		var m stats.MetricsV1
		if err := m.Unmarshal(resp.Stats.Value); err != nil {
			s.t.Fatal(err)
		}
		return numbers{m.Pids.Current, m.Memory.Usage.Usage, m.Memory.Usage.Limit, m.Cpu.Usage.Total}
	case "io.containerd.cgroups.v2.Metrics":
		var m stats.MetricsV2
		if err := m.Unmarshal(resp.Stats.Value); err != nil {
			s.t.Fatal(err)
		}
		return numbers{m.Pids.Current, m.Memory.Usage, m.Memory.UsageLimit, m.Cpu.UsageUsec * 1000}
	}
	s.t.Fatalf("metrics of type %q", resp.Stats.TypeUrl)
	return numbers{}
}

// The numbers are the container's.
func TestStatsAreSane(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, ocitest.Spec{Args: []string{"/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 & sleep 1000 & wait"}})
		s.run()
		eventually(t, "the children run", func() bool { return len(s.processes()) == 3 })
		first := s.stats()
		if first.pids != 3 || first.cpu == 0 || first.memory == 0 || first.memory > 64<<20 {
			t.Errorf("stats %+v", first)
		}
		s.exec("e1", "/bin/sleep", "1000")
		if more := s.stats(); more.pids != 4 || more.cpu < first.cpu {
			t.Errorf("stats with an exec %+v, before %+v", more, first)
		}
		s.end()
		if end := s.stats(); end.pids != 0 || end.cpu < first.cpu { // asked for between exit and Delete
			t.Errorf("stats after the exit %+v", end)
		}
	})
}

// Update reaches the kernel.
func TestUpdateChangesTheMemoryLimit(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		s.create()
		update := func(limit uint64) {
			t.Helper()
			value := []byte(`{"memory":{"limit":` + strconv.FormatUint(limit, 10) + `}}`)
			_, err := s.Update(patient(t), &task.UpdateTaskRequest{
				ID: s.id, Resources: &types.Any{TypeUrl: options.TypeResources, Value: value},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.stats().limit; got != limit {
				t.Errorf("stats tell of a limit of %d, want %d", got, limit)
			}
			for _, dir := range ocitest.CgroupDirs(s.cgroups) {
				for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
					raw, err := os.ReadFile(dir + "/" + file)
					if err == nil && strings.TrimSpace(string(raw)) != strconv.FormatUint(limit, 10) && strings.Contains(dir, "/memory/") {
						t.Errorf("%s/%s: %s, want %d", dir, file, raw, limit)
					}
				}
			}
		}
		update(128 << 20) // created
		s.start("")
		update(64 << 20) // running
		s.pause()
		update(96 << 20) // paused
		s.resume()
	})
}

// Pids are the container's, and say which of them are execs.
func TestPidsNameTheExecs(t *testing.T) {
	withRuntimes(t, func(t *testing.T, rt ociRuntime) {
		s := drive(t, rt, sleeper)
		want := map[uint32]string{s.run(): ""}
		want[s.exec("e1", "/bin/sleep", "1000")] = "e1"
		want[s.exec("e2", "/bin/sleep", "1000")] = "e2"
		resp, err := s.Pids(patient(t), &task.PidsRequest{ID: s.id})
		if err != nil || len(resp.Processes) != len(want) {
			t.Fatalf("%+v, %v, want %v", resp, err, want)
		}
		for _, p := range resp.Processes {
			execID, known := want[p.Pid]
			var d options.ProcessDetails
			if p.Info != nil {
				if err := unpack(p.Info, options.TypeDetails, &d); err != nil {
					t.Error(err)
				}
			}
			if !known || d.ExecID != execID {
				t.Errorf("process %d is %q, want %q (%t)", p.Pid, d.ExecID, execID, known)
			}
		}
	})
}

// What a checkpoint lacks is said, and the container goes on.
func TestCheckpointWithoutCriuSaysSo(t *testing.T) {
	withRealRuntimes(t, func(t *testing.T, rt ociRuntime) {
		t.Setenv("PATH", "/usr/bin:/bin") // where runc is, and no criu of ours
		if _, err := os.Stat("/usr/bin/criu"); err == nil {
			t.Skip("there is a criu")
		}
		s := drive(t, rt, sleeper)
		s.run()
		_, err := s.Checkpoint(patient(t), &task.CheckpointTaskRequest{ID: s.id, Path: t.TempDir() + "/image"})
		if wire.CodeOf(err) == wire.Unimplemented { // a crun that was built without criu
			wantError(t, "checkpoint", err, wire.Unimplemented, "OCI runtime checkpoint failed: unknown command checkpoint")
		} else {
			wantError(t, "checkpoint", err, wire.Unknown, "")
			if err == nil || !strings.Contains(err.Error(), `exec: "criu": executable file not found in $PATH`) {
				t.Errorf("checkpoint: %v", err)
			}
		}
		_, err = s.Checkpoint(patient(t), &task.CheckpointTaskRequest{ID: s.id})
		wantError(t, "checkpoint without a path", err, wire.InvalidArgument, "")
		s.wantStatus("", types.StatusRunning)
	})
}
