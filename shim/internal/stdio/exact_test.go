package stdio

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/attach"
)

const noiseSize = 2 << 20

// noiseThrough runs the noisy container to its end.
func noiseThrough(t *testing.T, s *Stdio) {
	t.Helper()
	cmd := run(t, s, "noise", "STDIO_TEST_BYTES=2097152")
	s.Relay(nil)
	if err := cmd.Wait(); err != nil {
		t.Errorf("container: %v", err)
	}
	await(t, "drained", s.Drained())
	c := s.Counters()
	if c.Stdout.In != noiseSize || c.Stderr.In != noiseSize || c.Stdout.Dropped+c.Stderr.Dropped != 0 {
		t.Errorf("counters %+v", c)
	}
}

func TestEveryByteReachesFIFOs(t *testing.T) {
	checkLeaks(t)
	outPath, errPath := mkfifo(t), mkfifo(t)
	outEnd, errEnd := openEnd(t, outPath, os.O_RDONLY), openEnd(t, errPath, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: outPath, Stderr: "fifo://" + errPath})
	outGot, errGot := readAll(t, outEnd), readAll(t, errEnd)
	noiseThrough(t, s)
	same(t, "stdout", outGot(), noise(1, noiseSize))
	same(t, "stderr", errGot(), noise(2, noiseSize))
}

func TestEveryByteReachesRawFiles(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	outPath, errPath := filepath.Join(dir, "a/b/out"), filepath.Join(dir, "err")
	if err := os.WriteFile(errPath, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	noiseThrough(t, openStdio(t, Config{Stdout: "file://" + outPath, Stderr: errPath}))
	out, _ := os.ReadFile(outPath)
	same(t, "stdout", out, noise(1, noiseSize))
	stderr, _ := os.ReadFile(errPath)
	same(t, "stderr", stderr, append([]byte("before"), noise(2, noiseSize)...))
	if info, err := os.Stat(outPath); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(outPath)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("directory mode %v, %v", info.Mode(), err)
	}
}

func TestEveryByteReachesOneCRIFile(t *testing.T) {
	checkLeaks(t)
	path := filepath.Join(t.TempDir(), "0.log")
	noiseThrough(t, openStdio(t, Config{Stdout: "file://" + path + "?format=cri"}))
	log, _ := os.ReadFile(path)
	text := decodeCRI(t, log)
	same(t, "stdout", text["stdout"], append(noise(1, noiseSize), '\n'))
	same(t, "stderr", text["stderr"], append(noise(2, noiseSize), '\n'))
}

func TestEveryByteReachesTenSyncClients(t *testing.T) {
	checkLeaks(t)
	s := openStdio(t, Config{Stdout: "attach://", Stderr: "attach://"})
	wantOut, wantErr := noise(1, noiseSize), noise(2, noiseSize)
	var receiving []func() got
	for range 10 {
		receiving = append(receiving, attachTo(t, s, AttachOptions{Stdout: true, Stderr: true, Sync: true}).receiving())
	}
	noiseThrough(t, s)
	for _, r := range receiving {
		g := r()
		if g.err != nil || g.reason != "" {
			t.Errorf("ended by %q, %v", g.reason, g.err)
		}
		same(t, "stdout", g.streams[attach.Stdout], wantOut)
		same(t, "stderr", g.streams[attach.Stderr], wantErr)
	}
}

// The way changes between splice and buffer while the data flows.
func TestEveryByteReachesTheFIFOWhileClientsComeAndGo(t *testing.T) {
	checkLeaks(t)
	outPath, errPath := mkfifo(t), mkfifo(t)
	outEnd, errEnd := openEnd(t, outPath, os.O_RDONLY), openEnd(t, errPath, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: outPath, Stderr: errPath})
	outGot, errGot := readAll(t, outEnd), readAll(t, errEnd)
	wantOut, wantErr := noise(1, noiseSize), noise(2, noiseSize)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		r := rand.New(rand.NewPCG(1, 1))
		for !isClosed(stop) {
			p, conn := newPeer(t)
			if s.Attach(conn, nil, AttachOptions{Stdout: true, Stderr: r.IntN(2) == 0, Sync: r.IntN(2) == 0}) != nil {
				return
			}
			for range r.IntN(20) {
				if _, data, err := attach.ReadFrame(p.conn, nil); err != nil {
					break
				} else if !bytes.Contains(wantOut, data) && !bytes.Contains(wantErr, data) {
					t.Error("a client got bytes that were never written")
				}
			}
			p.conn.Close()
		}
	}()
	noiseThrough(t, s)
	close(stop)
	<-stopped
	same(t, "stdout", outGot(), wantOut)
	same(t, "stderr", errGot(), wantErr)
}

func TestStreamsIntoOneFIFOKeepTheirBuffersWhole(t *testing.T) {
	checkLeaks(t)
	path := mkfifo(t)
	end := openEnd(t, path, os.O_RDONLY)
	s := openStdio(t, Config{Stdout: path, Stderr: path})
	all := readAll(t, end)
	if len(s.targets) != 1 {
		t.Fatalf("%d descriptors for one FIFO", len(s.targets))
	}
	e := ends(t, s)
	s.Relay(nil)
	const lines = 2000
	done := make(chan bool, 2)
	for i, word := range []string{"", "out", "err"} {
		if i == 0 {
			continue
		}
		go func() {
			line := []byte(strings.Repeat(word, 300) + "\n")
			for range lines {
				e[i].Write(line)
			}
			e[i].Close()
			done <- true
		}()
	}
	<-done
	<-done
	await(t, "drained", s.Drained())
	var outs, errs int
	for line := range strings.Lines(string(all())) {
		switch line {
		case strings.Repeat("out", 300) + "\n":
			outs++
		case strings.Repeat("err", 300) + "\n":
			errs++
		}
	}
	// A read may end inside a line where the pipe was full, so a few lines
	// may be cut at a buffer's edge; their bytes are all there.
	if outs < lines*9/10 || errs < lines*9/10 {
		t.Errorf("whole lines: %d and %d of %d", outs, errs, lines)
	}
	if c := s.Counters(); c.Stdout.In != lines*901 || c.Stderr.In != lines*901 {
		t.Errorf("counters %+v", c)
	}
}

func TestStdinIsExact(t *testing.T) {
	want := noise(9, noiseSize)
	for _, c := range []struct {
		name string
		feed func(t *testing.T, s *Stdio, fifo string)
	}{
		{"fifo", func(t *testing.T, s *Stdio, fifo string) {
			w := openEnd(t, fifo, os.O_WRONLY)
			writeNoise(w, want, 3)
			if err := s.CloseStdin(); err != nil {
				t.Error(err)
			}
			w.Close()
		}},
		{"attach", func(t *testing.T, s *Stdio, fifo string) {
			p := attachTo(t, s, AttachOptions{Stdin: true})
			r := rand.New(rand.NewPCG(5, 5))
			for b := want; len(b) > 0; {
				n := min(len(b), r.IntN(attach.MaxData+1))
				p.send(attach.Stdin, string(b[:n]))
				b = b[n:]
			}
			p.send(attach.StdinEOF, "")
			if g := p.receive(); g.reason != "" || g.err != nil {
				t.Errorf("end %q, %v", g.reason, g.err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			in, out := "attach://", filepath.Join(t.TempDir(), "out")
			if c.name == "fifo" {
				in = mkfifo(t)
			}
			s := openStdio(t, Config{Stdin: in, Stdout: "file://" + out})
			cmd := run(t, s, "cat")
			s.Relay(nil)
			c.feed(t, s, in)
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			await(t, "drained", s.Drained())
			got, _ := os.ReadFile(out)
			same(t, "echo", got, want)
			if n := s.Counters().Stdin.In; n != noiseSize {
				t.Errorf("%d bytes counted", n)
			}
		})
	}
}
