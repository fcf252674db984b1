package stdio

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkRelay moves bytes from a pipe to a reader of the FIFO, spliced, and
// through a buffer, which is what a remembered stream needs.
func BenchmarkRelay(b *testing.B) {
	for _, way := range []string{"splice", "buffer"} {
		b.Run(way, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "fifo")
			if err := unix.Mkfifo(path, 0o600); err != nil {
				b.Fatal(err)
			}
			r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			s, err := Open(b.Context(), Config{Stdout: path})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			s.outputs[0].noSplice = way == "buffer"
			done := make(chan bool)
			go func() {
				io.Copy(io.Discard, onlyReader{r})
				close(done)
			}()
			s.Relay(nil)
			piece := make([]byte, bufferSize)
			b.SetBytes(bufferSize)
			for b.Loop() {
				if _, err := s.Child()[1].Write(piece); err != nil {
					b.Fatal(err)
				}
			}
			s.CloseChild()
			<-done
		})
	}
}

// onlyReader hides the ways around Read that io.Copy knows.
type onlyReader struct{ io.Reader }
