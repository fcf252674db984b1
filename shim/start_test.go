package shim

import (
	"bufio"
	"bytes"
	std "crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bootstrap"
	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

// orphan is a shim that start has left behind: not our child, known by a pidfd.
type orphan struct {
	*task.Client
	conn  *client.Client
	pid   int
	pidfd int
}

// reach connects to a shim and makes sure that it ends with the test.
func reach(t *testing.T, address string) *orphan {
	t.Helper()
	path, err := bundle.SocketPath(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(conn)
	t.Cleanup(func() { c.Close() })
	o := &orphan{Client: task.NewClient(c, task.ServiceV2), conn: c}
	resp, err := o.Connect(patient(t), &task.ConnectRequest{ID: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	o.pid = int(resp.ShimPid)
	// The connection is open, so the pid is still that of the shim.
	if o.pidfd, err = unix.PidfdOpen(o.pid, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.PidfdSendSignal(o.pidfd, unix.SIGKILL, nil, 0)
		unix.Close(o.pidfd)
		os.Remove(path)
	})
	return o
}

// leaves asks the shim to go and waits for it.
func (o *orphan) leaves(t *testing.T) {
	t.Helper()
	if _, err := o.Shutdown(patient(t), &task.ShutdownRequest{ID: "c1"}); err != nil && !errors.Is(err, client.ErrClosed) {
		t.Errorf("shutdown: %v", err)
	}
	poll := []unix.PollFd{{Fd: int32(o.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(patience/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Errorf("shim %d does not leave: %v", o.pid, err)
		}
		return
	}
}

// socketDir is a directory for sockets; a test's own may be too long.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// legacyDir has the fixed directory of sockets as it was when the test ends.
func legacyDir(t *testing.T) {
	for dir := defaultSocketDir; dir != "/run"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			t.Cleanup(func() { os.Remove(dir) })
		}
	}
}

// params is the stdin of start as containerd sends it since 2.3.
func params(t *testing.T, dir string) []byte {
	t.Helper()
	raw, err := (&bootstrap.Params{
		InstanceID: "c1", Namespace: namespace, LogLevel: bootstrap.LogLevelInfo, ContainerdVersion: "2.4.0",
		ContainerdTtrpcAddress: "/nowhere.ttrpc", SocketDir: dir,
		Extensions: []*bootstrap.Extension{{Value: packed(t, options.TypeRunc, &options.Options{Root: "/x"})}},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// startArgs is the command line of start as containerd writes it.
func startArgs(address string, flags ...string) []string {
	args := []string{"-namespace", namespace, "-address", address, "-publish-binary", "/usr/bin/containerd", "-id", "c1"}
	return append(append(args, flags...), "start")
}

// modernStart starts a shim in dir with a private directory for its socket.
func modernStart(t *testing.T, c call, flags ...string) (result, string) {
	t.Helper()
	sockets := socketDir(t)
	c.stdin = bytes.NewReader(params(t, sockets))
	r := c.make(t, startArgs("/containerd.sock", flags...)...)
	return r, sockets
}

// answered returns the address out of a protobuf answer.
func (r result) answered(t *testing.T) string {
	t.Helper()
	r.succeeds(t)
	var answer bootstrap.Result
	if err := answer.Unmarshal(r.stdout); err != nil {
		t.Fatalf("answer %q: %v", r.stdout, err)
	}
	if answer.Version != 2 || answer.Protocol != "ttrpc" {
		t.Errorf("answer %+v", answer)
	}
	return answer.Address
}

func TestStartAnswersInTheLanguageItIsAskedIn(t *testing.T) {
	legacyDir(t)
	opts, err := packed(t, options.TypeRunc, &options.Options{Root: "/tmp/x"}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	foreign := bootstrap.Params{InstanceID: "c2", Namespace: namespace, SocketDir: "/nowhere"}
	other, err := foreign.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sockets := socketDir(t)
	for _, tc := range []struct {
		name   string
		stdin  io.Reader
		modern bool
	}{
		{"nothing", nil, false},
		{"options", bytes.NewReader(opts), false},
		{"params", bytes.NewReader(params(t, sockets)), true},
		{"params of another container", bytes.NewReader(other), false},
		{"garbage", strings.NewReader("\xff\x00garbage\n{}"), false},
		{"text", strings.NewReader(`{"version":2}`), false},
		{"10 MiB", bytes.NewReader(make([]byte, 10<<20)), false},
		{"more than is read", bytes.NewReader(bytes.Repeat([]byte("\x0a\x01x"), 6<<20)), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			address := filepath.Join(dir, "containerd.sock") // in the socket's name
			r := call{dir: dir, stdin: tc.stdin}.make(t, startArgs(address)...)
			got, in := string(r.stdout), defaultSocketDir
			if tc.modern {
				got, in = r.answered(t), sockets
			}
			r.succeeds(t)
			sum := std.Sum256([]byte(address + "/" + namespace + "/c1"))
			want := "unix://" + in + "/" + hex.EncodeToString(sum[:])
			if got != want {
				t.Fatalf("answer %q, want %q", got, want)
			}
			checkStarted(t, dir, want)
		})
	}
}

// checkStarted looks at the shim that serves dir at address, and ends it.
func checkStarted(t *testing.T, dir, address string) {
	t.Helper()
	if raw, err := os.ReadFile(filepath.Join(dir, bundle.AddressFile)); err != nil || string(raw) != address {
		t.Errorf("address file holds %q, %v", raw, err)
	}
	socket := strings.TrimPrefix(address, "unix://")
	if st, err := os.Lstat(socket); err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket: %v, %v", st, err)
	}
	// containerd 1.6 has made its own with 0600.
	if st, err := os.Stat(filepath.Dir(socket)); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("directory of sockets: %v, %v", st, err)
	}
	o := reach(t, address)
	proc := "/proc/" + strconv.Itoa(o.pid)
	if sid, err := unix.Getsid(o.pid); err != nil || sid != o.pid {
		t.Errorf("session %d of shim %d, %v", sid, o.pid, err)
	}
	if cwd, err := os.Readlink(proc + "/cwd"); err != nil || cwd != dir {
		t.Errorf("it works in %s, %v", cwd, err)
	}
	line, _ := os.ReadFile(proc + "/cmdline")
	if args := strings.Split(string(line), "\x00"); !strings.Contains(args[0], "/containerd-shim-") {
		t.Errorf("operators look for containerd-shim and find %q", args)
	}
	for fd, file := range filesOf(t, o.pid) {
		if strings.HasPrefix(file, "pipe:") || (fd <= 1 && file != "/dev/null") {
			t.Errorf("it holds descriptor %d: %s", fd, file)
		}
	}
	o.leaves(t)
	for _, path := range []string{socket, filepath.Join(dir, bundle.AddressFile)} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// filesOf lists what the descriptors of a process lead to.
func filesOf(t *testing.T, pid int) map[int]string {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[int]string)
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		files[fd], _ = os.Readlink(filepath.Join(dir, e.Name()))
	}
	return files
}

func TestStartPassesNothingOfTheDaemonOn(t *testing.T) {
	dir := t.TempDir()
	secret, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	r, _ := modernStart(t, call{dir: dir, files: []*os.File{secret}, env: []string{"GOMAXPROCS=2", "DAEMON=yes"}})
	o := reach(t, r.answered(t))
	for fd, file := range filesOf(t, o.pid) {
		if file == secret.Name() {
			t.Errorf("the shim keeps the daemon's %s open as %d", file, fd)
		}
	}
	env, _ := os.ReadFile("/proc/" + strconv.Itoa(o.pid) + "/environ")
	if s := string(env); !strings.Contains(s, "DAEMON=yes\x00") || !strings.Contains(s, "GOMAXPROCS=1\x00") || strings.Contains(s, "GOMAXPROCS=2\x00") {
		t.Errorf("environment %q", env)
	}
	o.leaves(t)
}

func TestStartReplacesADeadSocketAndLeavesALiveShimAlone(t *testing.T) {
	dir := t.TempDir()
	sockets := socketDir(t)
	start := func(daemon string) result {
		return call{dir: dir, stdin: bytes.NewReader(params(t, sockets))}.make(t, startArgs(daemon)...)
	}
	stale, err := serve.Listen(socketPath(sockets, "/c.sock", namespace, "c1"))
	if err != nil {
		t.Fatal(err)
	}
	stale.Close()
	address := start("/c.sock").answered(t)
	o := reach(t, address)

	start("/c.sock").fails(t, "start: ")
	start("/other.sock").fails(t, "another shim serves it") // in the same bundle, at another address
	if raw, err := os.ReadFile(filepath.Join(dir, bundle.AddressFile)); err != nil || string(raw) != address {
		t.Errorf("address file holds %q, %v; want %s", raw, err, address)
	}
	if _, err := o.Connect(patient(t), &task.ConnectRequest{ID: "c1"}); err != nil {
		t.Errorf("the first shim: %v", err)
	}
	reach(t, address)
	if entries, err := os.ReadDir(sockets); err != nil || len(entries) != 1 {
		t.Errorf("sockets: %v, %v", entries, err)
	}
	o.leaves(t)
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, bundle.LogFile)
	if err := os.Mkdir(path, 0o700); err != nil { // cannot be opened for writing
		t.Fatal(err)
	}
	r, sockets := modernStart(t, call{dir: dir})
	r.fails(t, path)
	if entries, err := os.ReadDir(sockets); err != nil || len(entries) != 0 {
		t.Errorf("sockets: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, bundle.AddressFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("address file: %v", err)
	}

	long := strings.Repeat("x", 60)
	deep := filepath.Join(socketDir(t), long)
	call{dir: t.TempDir(), stdin: bytes.NewReader(params(t, deep))}.make(t, startArgs("/c.sock")...).fails(t, long, "106")
}

// TestALogThatNobodyReads: under containerd the log is a FIFO, and containerd may
// be away.
func TestALogThatNobodyReads(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, bundle.LogFile)
	if err := unix.Mkfifo(path, 0o700); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if err := fifo.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := fifo.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a FIFO without an end: %v", err)
	}
	r, _ := modernStart(t, call{dir: dir}, "-debug")
	o := reach(t, r.answered(t))
	bad := &task.CreateTaskRequest{ID: "c1", Bundle: dir, Options: &types.Any{TypeUrl: "x"}}
	if _, err := o.Create(patient(t), bad); err == nil {
		t.Error("created out of nothing")
	}
	o.leaves(t) // it says so, finds no room, and does not wait

	if err := fifo.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	log := newLogger(Config{Log: fifo, ID: "c1", Debug: true})
	log.warnf("no room")
	if _, err := io.ReadFull(fifo, make([]byte, 64<<10)); err != nil { // all there is, pipe(7)
		t.Fatal(err)
	}
	log.debugf("%s", strings.Repeat("x", 1<<20))
	log.warnf("room")
	line, err := bufio.NewReader(fifo).ReadString('\n')
	if err != nil || len(line) != maxLine || !strings.Contains(line, "level=debug") {
		t.Errorf("%d bytes: %.100s, %v", len(line), line, err)
	}
}
