package shim

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/serve"
	"github.com/holdfast/holdfast/proto/shimv1"
	"github.com/holdfast/holdfast/proto/task"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
)

// inside launches a shim in this process.
func inside(t *testing.T, dir string) (serve.Launched, *client.Client) {
	t.Helper()
	socket := filepath.Join(socketDir(t), "s")
	listener, err := serve.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := bundle.WriteFile(filepath.Join(dir, bundle.AddressFile), []byte("unix://"+socket)); err != nil {
		t.Fatal(err)
	}
	l, err := InProcess{}.Launch(t.Context(), serve.Request{Namespace: namespace, ID: "c1", Bundle: dir, Listener: listener})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(patient(t)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(conn)
	t.Cleanup(func() { c.Close() })
	return l, c
}

// usage is what this process has open and running.
func usage(t *testing.T) (fds, goroutines int) {
	t.Helper()
	return len(filesOf(t, os.Getpid())), runtime.NumGoroutine()
}

func TestAShimInTheDaemonsOwnProcess(t *testing.T) {
	runc := ocitest.Need(t, "runc")
	root := t.TempDir()
	dir := ocitest.Bundle(t, ocitest.Spec{Args: []string{"/bin/sh", "-c", "sleep 100 & exit 42"}})

	// Children of the daemon's: one that has ended and was not waited for, one that
	// ends while the container runs, one that lives on.
	children := []*exec.Cmd{exec.Command("sh", "-c", "exit 3"), exec.Command("cat"), exec.Command("cat")}
	hold, err := children[1].StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	keep, err := children[2].StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	awaitZombie(t, children[0].Process.Pid)
	fds, goroutines := usage(t)

	l, conn := inside(t, dir)
	if l.PID() != os.Getpid() {
		t.Errorf("pid %d", l.PID())
	}
	tasks, self := task.NewClient(conn, task.ServiceV2), shimv1.NewClient(conn, shimv1.ServiceName)
	ctx := patient(t)
	opts := packed(t, options.TypeRunc, &options.Options{BinaryName: runc, Root: root})
	made, err := tasks.Create(ctx, &task.CreateTaskRequest{ID: "c1", Bundle: dir, Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.Start(ctx, &task.StartRequest{ID: "c1"}); err != nil {
		t.Fatal(err)
	}
	hold.Close()
	awaitZombie(t, children[1].Process.Pid)
	e, err := self.Exit(ctx, &shimv1.ExitRequest{ID: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Known || e.Code != 42 || e.Status != 42<<8 {
		t.Errorf("exit %+v", e)
	}
	if gone, err := tasks.Delete(ctx, &task.DeleteRequest{ID: "c1"}); err != nil || gone.Pid != made.Pid || gone.ExitStatus != 42 {
		t.Errorf("delete: %+v, %v", gone, err)
	}
	if _, err := tasks.Shutdown(ctx, &task.ShutdownRequest{ID: "c1"}); err != nil {
		t.Error(err)
	}
	select {
	case <-l.Done():
	case <-time.After(patience):
		t.Fatal("the shim does not end")
	}
	conn.Close()

	eventually(t, "goroutines and descriptors are back", func() bool {
		f, g := usage(t)
		return f <= fds && g <= goroutines
	})
	if _, err := os.Stat(filepath.Join(root, namespace, "c1")); err == nil {
		t.Error("runc still knows the container")
	}
	// Nobody has waited for the daemon's children, or harmed them.
	if err := children[0].Wait(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("the first child: %v", err)
	}
	if err := children[1].Wait(); err != nil {
		t.Errorf("the second child: %v", err)
	}
	if err := children[2].Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the third child: %v", err)
	}
	keep.Close()
	if err := children[2].Wait(); err != nil {
		t.Errorf("the third child: %v", err)
	}
	if subreaper(t) {
		t.Error("the daemon has become a subreaper")
	}
}

// awaitZombie waits until a child of ours has ended, and does not reap it.
func awaitZombie(t *testing.T, pid int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

// subreaper tells whether orphans fall to this process.
func subreaper(t *testing.T) bool {
	t.Helper()
	var flag int32
	if err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&flag)), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	return flag != 0
}

// TestAShimInProcessThatCannotServe gives its resources back and says why.
func TestAShimInProcessThatCannotServe(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	listener, err := serve.Listen(filepath.Join(socketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	fds, goroutines := usage(t)
	l, err := InProcess{}.Launch(t.Context(), serve.Request{Namespace: namespace, ID: "c1", Bundle: dir, Listener: listener})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(patient(t)); err == nil || !strings.Contains(err.Error(), "another shim serves it") {
		t.Errorf("error %v", err)
	}
	<-l.Done()
	eventually(t, "goroutines and descriptors are back", func() bool {
		f, g := usage(t)
		return f <= fds && g <= goroutines
	})
	listener.Close()
	if _, err := (InProcess{}).Launch(t.Context(), serve.Request{Bundle: dir, Listener: listener}); err == nil {
		t.Error("launched without a listener")
	}
}
