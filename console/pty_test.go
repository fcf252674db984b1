package console_test

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// openPty makes a pty pair as an OCI runtime does. Both ends are closed with the test.
func openPty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	rc, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		var peer uintptr
		peer, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			err = errno
			return
		}
		slave = os.NewFile(peer, "slave")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// countFDs counts this process's descriptors.
func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestMain lets the test binary play the OCI runtime: see helperSend.
func TestMain(m *testing.M) {
	if os.Getenv("CONSOLE_TEST_SEND") != "" {
		os.Exit(helperSend())
	}
	os.Exit(m.Run())
}

// helperSend connects to the socket named by CONSOLE_TEST_SOCKET and sends what
// CONSOLE_TEST_SEND says; file 3 is an end of a pipe, kept for "pipe".
func helperSend() int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 10
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: os.Getenv("CONSOLE_TEST_SOCKET")}); err != nil {
		os.Stderr.WriteString(err.Error())
		return 11
	}
	master, slave, code := helperPty()
	if code != 0 {
		return code
	}
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return 14
	}
	var send []int
	switch os.Getenv("CONSOLE_TEST_SEND") {
	case "nothing":
		return 0
	case "text":
	case "pipe":
		send = []int{p[0]}
	case "slave":
		send = []int{slave}
	case "two":
		send = []int{master, master}
	case "many":
		send = []int{master, master, master, master, master, master, master, master}
	case "master":
		send = []int{master}
	}
	var oob []byte
	if send != nil {
		oob = unix.UnixRights(send...)
	}
	if err := unix.Sendmsg(fd, []byte("/dev/pts/0"), oob, nil, 0); err != nil {
		return 15
	}
	if os.Getenv("CONSOLE_TEST_SEND") == "master" {
		var ws *unix.Winsize
		// The size arrives over the other side of the pty: echo it as text.
		buf := make([]byte, 64)
		if n, err := unix.Read(slave, buf); err != nil || n == 0 {
			return 16
		}
		if ws, err = unix.IoctlGetWinsize(slave, unix.TIOCGWINSZ); err != nil {
			return 17
		}
		if ws.Col != 132 || ws.Row != 43 {
			return 18
		}
		unix.Write(slave, []byte("seen"))
	}
	return 0
}

func helperPty() (master, slave, code int) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, 12
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return 0, 0, 12
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return 0, 0, 13
	}
	return master, int(peer), 0
}

// runSender starts the helper; its end is the test's.
func runSender(t *testing.T, path, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	// The race detector would sleep a second at the helper's exit.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "CONSOLE_TEST_SEND="+what, "CONSOLE_TEST_SOCKET="+path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}
