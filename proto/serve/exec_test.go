package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// launch starts the shim and waits for its word.
func launch(t *testing.T, r Request) (*Child, error) {
	t.Helper()
	c, err := Start(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c, c.Ready(ctx)
}

// gone waits until the shim has ended and been reaped.
func gone(t *testing.T, c *Child) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatalf("shim %d does not end", c.PID())
	}
	if err := unix.Kill(c.PID(), 0); err != unix.ESRCH {
		t.Errorf("shim %d is done but not gone: %v", c.PID(), err)
	}
}

func readFacts(t *testing.T, r Request) (f facts) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.Bundle, "facts.json"))
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatAShimInherits(t *testing.T) {
	checkLeaks(t)
	t.Setenv("GOMAXPROCS", "7")
	r := fixture(t, "ready")
	r.Publish, r.Debug = "/run/c.sock.ttrpc", true
	// Files of a careless daemon, which are not close-on-exec.
	var strangers []string
	for i := range 5 {
		fd, err := unix.Open(filepath.Join(r.Bundle, fmt.Sprint("stranger", i)), unix.O_CREAT|unix.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		strangers = append(strangers, fmt.Sprint("stranger", i))
	}
	c, err := launch(t, r)
	if err != nil {
		t.Fatal(err)
	}
	gone(t, c)
	f := readFacts(t, r)

	want := []string{r.Binary, "-namespace", "ns", "-id", "c1", "-bundle", r.Bundle, "-publish", r.Publish, "-debug"}
	if !slices.Equal(f.Args, want) {
		t.Errorf("arguments %q, want %q", f.Args, want)
	}
	if f.Dir != r.Bundle || f.PID != c.PID() || f.Session != c.PID() {
		t.Errorf("in %s as %d of session %d; want %s, %d and a session of its own", f.Dir, f.PID, f.Session, r.Bundle, c.PID())
	}
	if f.GOMAXPROCS != 1 || !slices.Contains(f.Env, "GOMAXPROCS=1") || slices.Contains(f.Env, "GOMAXPROCS=7") {
		t.Errorf("%d processors, environment %q", f.GOMAXPROCS, f.Env)
	}
	if !f.Accepting || !f.NonBlock {
		t.Errorf("listener accepts %t, is nonblocking %t", f.Accepting, f.NonBlock)
	}
	for i, target := range []string{"/dev/null", "/dev/null", filepath.Join(r.Bundle, "log"), "socket:", "pipe:"} {
		if !strings.HasPrefix(f.Files[i], "0 "+target) {
			t.Errorf("descriptor %d is %q, want %s", i, f.Files[i], target)
		}
	}
	for _, s := range strangers {
		if !has(f.Files, s) {
			t.Errorf("%s did not come along: this test tests nothing", s)
		}
		if has(f.After, s) {
			t.Errorf("%s is kept", s)
		}
	}
	for fd, file := range f.After {
		if closes := strings.HasPrefix(file, "1 "); closes != (fd > 2) {
			t.Errorf("after Inherit, close-on-exec is %t for descriptor %d: %s", closes, fd, file)
		}
	}
}

func has(files map[int]string, name string) bool {
	for _, f := range files {
		if strings.Contains(f, name) {
			return true
		}
	}
	return false
}

func TestAConnectionMayComeBeforeTheShimIsReady(t *testing.T) {
	checkLeaks(t)
	r := fixture(t, "stays")
	conn, err := Dial(filepath.Join(r.Bundle, "s"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := Exec{}.Launch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	r.Listener.Close() // the shim has its own
	if err := l.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-l.Done():
		t.Error("the shim has ended with a connection open")
	default:
	}
	conn.Close()
	gone(t, l.(*Child))
}

func TestAShimThatDoesNotServeSaysWhy(t *testing.T) {
	for _, tc := range []struct{ role, want string }{
		{"fails", "Refuse to serve: it rains"}, // begins with the letter of Ready
		{"dies", "ended before it served"},
		{"says nothing", "ended before it served"},
		{"babbles", "no no no"},
	} {
		t.Run(tc.role, func(t *testing.T) {
			checkLeaks(t)
			c, err := launch(t, fixture(t, tc.role))
			if err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 5000 {
				t.Errorf("error %.100v, want %q", err, tc.want)
			}
			if again := c.Ready(t.Context()); again != err {
				t.Errorf("asked again: %v", again)
			}
			gone(t, c)
		})
	}
}

func TestReadyGivesUpWithItsContext(t *testing.T) {
	checkLeaks(t)
	c, err := Start(fixture(t, "hangs"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if err := c.Ready(ctx); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if err := unix.Kill(c.PID(), unix.SIGKILL); err != nil { // our child, and not reaped while Done is open
		t.Error(err)
	}
	gone(t, c)
	if err := c.Ready(t.Context()); err == nil {
		t.Error("a killed shim was ready")
	}
}

func TestStartOfWhatCannotRun(t *testing.T) {
	checkLeaks(t)
	r := fixture(t, "ready")
	r.Binary = filepath.Join(r.Bundle, "no-such-shim")
	if _, err := Start(r); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), r.Binary) {
		t.Errorf("no binary: %v", err)
	}
	r = fixture(t, "ready")
	r.Bundle = filepath.Join(r.Bundle, "gone")
	if _, err := Start(r); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no bundle: %v", err)
	}
}

func TestALogIsNotNeeded(t *testing.T) {
	checkLeaks(t)
	r := fixture(t, "ready")
	r.Log = nil
	c, err := launch(t, r)
	if err != nil {
		t.Fatal(err)
	}
	gone(t, c)
	if f := readFacts(t, r); !strings.HasPrefix(f.Files[2], "0 /dev/null") {
		t.Errorf("stderr is %q", f.Files[2])
	}
}

// TestWithoutAListener: a request that is wrong becomes an error, not a shim that
// serves our stdin.
func TestWithoutAListener(t *testing.T) {
	checkLeaks(t)
	r := fixture(t, "ready")
	r.Listener.Close()
	c, err := launch(t, r)
	if err == nil {
		t.Error("ready without a listener")
	}
	gone(t, c)
	if log, _ := os.ReadFile(r.Log.Name()); !strings.Contains(string(log), "not a socket") {
		t.Errorf("the log says %q", log)
	}
}

// TestManyShims: a shim costs its launcher no thread, and no zombie.
func TestManyShims(t *testing.T) {
	checkLeaks(t)
	r := fixture(t, "dies")
	var all []*Child
	for range 20 {
		c, err := Start(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		gone(t, c)
	}
}

// TestTheLauncherMayBeGone: a shim learns of it by an error, not by a signal.
func TestTheLauncherMayBeGone(t *testing.T) {
	checkLeaks(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	in := &Inherited{ready: w}
	if err := in.Ready(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("error %v", err)
	}
	in.Fail(errors.New("nobody hears this"))
}
