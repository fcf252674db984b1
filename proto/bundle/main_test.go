package bundle

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// envRole makes the test binary one of the processes that a test needs.
const envRole = "HOLDFAST_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "":
		os.Exit(m.Run())
	case "rewrite":
		rewriteForEver(os.Args[1])
	case "append":
		appendRounds(os.Args[1], os.Args[2])
	}
}

// peer is a process that plays a role. It ends with the test.
type peer struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func start(t *testing.T, role string, args ...string) *peer {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), envRole+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(p.kill)
	return p
}

func (p *peer) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// say gives the peer a line.
func (p *peer) say(t *testing.T, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		t.Fatal(err)
	}
}

// hear waits for n lines of the peer.
func (p *peer) hear(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := p.out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}
