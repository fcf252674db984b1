package oci_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/console"
	"github.com/holdfast/holdfast/shim/internal/oci"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// faulty returns a fake runtime with a script.
func faulty(t *testing.T, s ocitest.Script) *world {
	path := filepath.Join(t.TempDir(), "script.json")
	s.Write(t, path)
	return newWorld(t, "fake", ocitest.EnvScript+"="+path)
}

func wantError(t *testing.T, err, is error, text string) *oci.Error {
	t.Helper()
	e, ok := errors.AsType[*oci.Error](err)
	if !ok {
		t.Fatalf("error %v, want an *oci.Error", err)
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("error %v is not %v", err, is)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
	return e
}

func TestHungRuntimeIsKilledAtTheDeadline(t *testing.T) {
	w := faulty(t, ocitest.Script{"start": {Hang: true}})
	w.create(t, w.request(t, "c", "sleep 1000"))
	w.Timeout = 300 * time.Millisecond
	begin := time.Now()
	e := wantError(t, w.Start(w.ctx(t), "c"), oci.ErrDeadline, "within 300ms")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if !errors.Is(e, context.DeadlineExceeded) {
		t.Error("a deadline is not context.DeadlineExceeded")
	}
	if e.Exit.Signal() != unix.SIGKILL {
		t.Errorf("runtime ended as %+v", e.Exit)
	}
	w.Timeout = 0

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	wantError(t, w.Start(ctx, "c"), oci.ErrDeadline, "its caller's time was over")

	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	e = wantError(t, w.Start(ctx, "c"), context.Canceled, "its caller went away")
	if errors.Is(e, oci.ErrDeadline) {
		t.Error("a cancellation is ErrDeadline")
	}
}

func TestCreateThatHangsLateReturnsWhatItMade(t *testing.T) {
	w := faulty(t, ocitest.Script{"create": {Hang: true, After: true}})
	q := w.request(t, "c", "sleep 1000")
	ctx, cancel := context.WithCancel(w.ctx(t))
	defer cancel()
	go func() { // the pid file is the last thing it makes
		for ctx.Err() == nil {
			if _, err := oci.ReadPidFile(q.PidFile); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	p, err := w.Create(ctx, q)
	e := wantError(t, err, context.Canceled, "create failed")
	if p == nil || e.PID != p.PID() {
		t.Fatalf("process %v, PID %d", p, e.PID)
	}
	(&box{w, "c", q.Bundle, p}).remove(t)
}

func TestRuntimeThatCrashesIsNamed(t *testing.T) {
	w := faulty(t, ocitest.Script{"state": {Crash: true}, "features": {Exit: 3}, "kill": {Exit: 1, Print: "only \x1b[31moutput\n"}})
	_, err := w.State(w.ctx(t), "c")
	wantError(t, err, nil, "killed by signal 9 (killed) and no error reported")
	_, err = w.Features(w.ctx(t))
	wantError(t, err, nil, "exit status 3 and no error reported")
	wantError(t, w.Kill(w.ctx(t), "c", 9, false), nil, "OCI runtime kill failed: only \ufffd[31moutput")
}

func TestOutputIsBoundedAndChecked(t *testing.T) {
	w := faulty(t, ocitest.Script{
		"state": {Print: "not { JSON", Match: "a"},
		"kill":  {Print: strings.Repeat("x", 2<<20), Exit: 1},
		"start": {Log: strings.Repeat("é", 1<<20)},
	})
	w.create(t, w.request(t, "a", "exit 0"))
	_, err := w.State(w.ctx(t), "a")
	wantError(t, err, nil, `"not { JSON`)
	e := wantError(t, w.Kill(w.ctx(t), "a", 9, false), nil, "xxx...")
	if len(e.Message) > 4096 {
		t.Errorf("message of %d bytes", len(e.Message))
	}
	e = wantError(t, w.Start(w.ctx(t), "a"), nil, "")
	if len(e.Message) > 4096 {
		t.Errorf("message of %d bytes", len(e.Message))
	}
}

func TestPidFileIsBelievedOnlyIfItCanBeTrue(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault ocitest.Fault
		is    error
		text  string
	}{
		{"missing", ocitest.Fault{NoPidFile: true}, oci.ErrNoPidFile, "wrote no pid file"},
		{"garbage", ocitest.Fault{PidText: "12x"}, nil, `"12x" is not a process id`},
		{"negative", ocitest.Fault{PidText: "-1"}, nil, `"-1" is not a process id`},
		{"init of the machine", ocitest.Fault{PidText: "1"}, nil, "not a process id"},
		{"huge", ocitest.Fault{PidText: strings.Repeat("9", 1000)}, nil, "not a process id"},
		{"a stranger's", ocitest.Fault{PidText: fmt.Sprint(os.Getppid())}, oci.ErrProcessGone, "older than its container"},
		{"nobody's", ocitest.Fault{PidText: "4194303"}, oci.ErrProcessGone, "no such process"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := faulty(t, ocitest.Script{"create": c.fault})
			q := w.request(t, "c", "sleep 1000")
			// What an earlier container left must not be taken for the new one's.
			if err := os.WriteFile(q.PidFile, []byte(fmt.Sprint(os.Getpid())), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := w.Create(w.ctx(t), q)
			wantError(t, err, c.is, c.text)
			if p != nil {
				t.Errorf("process %d", p.PID())
			}
			if err := w.Delete(w.ctx(t), "c", true); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestErrorOfOneCallIsNotAnothersInTheSameMoment(t *testing.T) {
	go1 := filepath.Join(t.TempDir(), "go")
	w := faulty(t, ocitest.Script{
		"pause":  {DelayUntilFile: go1, Log: "of pause"},
		"resume": {Log: "of resume"},
	})
	slow := make(chan error)
	go func() { slow <- w.Pause(context.Background(), "c") }()
	wantError(t, w.Resume(w.ctx(t), "c"), nil, "resume failed: of resume")
	if err := os.WriteFile(go1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-slow, nil, "pause failed: of pause")
}

func TestRuntimeThatCannotBeRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ binary, text string }{
		{"no-such-runtime", `find OCI runtime "no-such-runtime" in PATH`},
		{dir + "/none", dir + "/none: no such program: no such file or directory"},
		{dir, "is a directory"},
		{write("plain", "", 0o600), "not executable"},
		{write("text", "no program", 0o700), "exec format error"},
		{write("script", "#!/no/such/interpreter\n", 0o700), "no such file or directory"},
	} {
		w := newWorld(t, "none")
		w.Binary = c.binary
		p, err := w.Create(w.ctx(t), w.request(t, "c", ""))
		wantError(t, err, oci.ErrNoRuntime, c.text)
		if p != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", c.binary, p, err)
		}
	}
}

func TestPlainTextLogIsUnderstood(t *testing.T) {
	w := faulty(t, ocitest.Script{"start": {RawLog: "first\nlast words\n", Exit: 1}})
	wantError(t, w.Start(w.ctx(t), "c"), nil, "start failed: last words")
}

func TestArgumentsAndEnvironment(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	w := newWorld(t, "fake", ocitest.EnvCalls+"="+calls)
	w.Args = []string{"--debug"}
	w.SystemdCgroup = true
	_, _ = w.Restore(w.ctx(t), oci.RestoreRequest{
		ID: "c", Bundle: "/b", PidFile: "/no/pid", ConsoleSocket: "/s", NoPivot: true,
		CriuOptions: oci.CriuOptions{
			ImagePath: "/i", WorkPath: "/w", OpenTCP: true, ExternalUnixSockets: true, Terminal: true, FileLocks: true,
			EmptyNamespaces: []string{"network", "ipc"}, CgroupsMode: "soft",
		},
	})
	b, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	want := `"--log-format","json","--systemd-cgroup","--debug","restore","--image-path","/i","--work-path","/w",` +
		`"--tcp-established","--ext-unix-sk","--shell-job","--file-locks","--empty-ns","network","--empty-ns","ipc",` +
		`"--manage-cgroups-mode","soft","--detach","--pid-file","/no/pid","--bundle","/b","--console-socket","/s","--no-pivot","c"]`
	if !strings.HasPrefix(got, `["--root","`+w.Root+`","--log","/proc/`) || !strings.HasSuffix(strings.TrimSpace(got), want) {
		t.Errorf("called with %s", got)
	}
}

func TestTerminalComesBySocket(t *testing.T) {
	for _, name := range []string{"fake", "runc", "crun"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name)
			s, err := console.Listen(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			bundle := ocitest.Bundle(t, ocitest.Spec{
				Args: []string{"/bin/sh", "-c", "tty; read x; exit 5"}, Terminal: true, HostPID: w.fake(),
			})
			b := w.create(t, oci.CreateRequest{
				ID: "c", Bundle: bundle, PidFile: filepath.Join(bundle, "pid"), ConsoleSocket: s.Path(),
			})
			master, err := s.Receive(w.ctx(t))
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			if err := w.Start(w.ctx(t), "c"); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 256)
			n, err := master.Read(buf)
			if err != nil || !strings.HasPrefix(string(buf[:n]), "/dev/") {
				t.Errorf("terminal said %q, %v", buf[:n], err)
			}
			if _, err := master.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			if e := await(t, b.init); e.Code() != 5 {
				t.Errorf("exit %+v", e)
			}
		})
	}
}

func TestFakeCheckpointAndRestore(t *testing.T) {
	w := newWorld(t, "fake")
	b := w.run(t, "c", "exec sleep 1000")
	dir := t.TempDir()
	o := oci.CriuOptions{ImagePath: filepath.Join(dir, "image"), WorkPath: filepath.Join(dir, "work")}
	if err := w.Checkpoint(w.ctx(t), oci.CheckpointRequest{ID: "c", CriuOptions: o}); err != nil {
		t.Fatal(err)
	}
	if s := b.status(t); s != "running" {
		t.Errorf("status %s after a checkpoint that leaves it running", s)
	}
	if err := w.Checkpoint(w.ctx(t), oci.CheckpointRequest{ID: "c", CriuOptions: o, Exit: true}); err != nil {
		t.Fatal(err)
	}
	await(t, b.init)
	if err := w.Delete(w.ctx(t), "c", false); !errors.Is(err, oci.ErrNotExist) {
		t.Errorf("delete after a checkpoint that ends it: %v", err)
	}
	p, err := w.Restore(w.ctx(t), oci.RestoreRequest{
		ID: "c", CriuOptions: o, Bundle: b.bundle, PidFile: filepath.Join(b.bundle, "init.pid"),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.init = p
	if s := b.status(t); s != "running" {
		t.Errorf("status %s after restore", s)
	}
	_, err = w.Restore(w.ctx(t), oci.RestoreRequest{ID: "d", CriuOptions: oci.CriuOptions{ImagePath: dir},
		Bundle: b.bundle, PidFile: filepath.Join(b.bundle, "d.pid")})
	wantError(t, err, nil, "OCI runtime restore failed: runc restore failed: criu failed")
}
