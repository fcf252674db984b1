package stdio

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// input is stdin on its way into the container.
//
// Its end is a matter of counting: everyone who may still write holds it, the
// pump of a FIFO until the FIFO's EOF, an attach client during each write, and the
// shim itself until CloseStdin. With the last hold the process gets EOF.
type input struct {
	src      *source // FIFO or file; nil for attach://
	keep     int     // write end of a FIFO: no EOF while we hold it; else -1
	terminal bool
	ended    func() // called once, after the process was given its EOF
	tasks    *sync.WaitGroup

	written atomic.Uint64

	ready   chan struct{} // closed when dst is known
	aborted chan struct{} // closed by interrupt

	mu      sync.Mutex
	dst     *os.File // +checklocks:mu until ready — pipe, ours; or pty, Stdio's
	holds   int      // +checklocks:mu
	closing bool     // +checklocks:mu — CloseStdin was called
	last    byte     // +checklocks:mu — last byte written
}

// openInput opens what u names. A FIFO needs no client yet: its write end held
// here satisfies the open.
func openInput(u uri) (*input, error) {
	in := &input{keep: -1, holds: 1, ready: make(chan struct{}), aborted: make(chan struct{})}
	if u.kind == kindAttach {
		return in, nil
	}
	handle, err := open(u.path, unix.O_PATH)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: u.path, Err: err}
	}
	defer unix.Close(handle)
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: u.path, Err: err}
	}
	fd, err := open(procPath(handle), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: u.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), u.path)
	if in.src, err = newSource(f, fd); err != nil {
		f.Close()
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		in.closing = true // the file's own end is enough
		return in, nil
	}
	in.holds++
	if in.keep, err = open(procPath(handle), unix.O_WRONLY|unix.O_NONBLOCK); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "open", Path: u.path, Err: err}
	}
	return in, nil
}

// connect says where the bytes go. A pty is borrowed, a pipe taken.
func (in *input) connect(dst *os.File) {
	in.mu.Lock()
	in.dst = dst
	in.mu.Unlock()
	close(in.ready)
}

// pump moves the FIFO's or file's bytes until EOF, or until the process has
// closed its end; then the FIFO loses its reader.
func (in *input) pump() {
	for {
		b, err := in.src.next(nothing, nothing)
		if err != nil || in.write(b) != nil {
			break
		}
	}
	in.src.drop()
	in.src.file.Close()
	in.dropKeep()
	in.release()
}

// write delivers b, as slowly as the process reads. The caller has a hold.
func (in *input) write(b []byte) error {
	select {
	case <-in.ready:
	case <-in.aborted:
		return os.ErrClosed
	}
	n, err := in.dst.Write(b)
	in.written.Add(uint64(n))
	if n > 0 {
		in.mu.Lock()
		in.last = b[n-1]
		in.mu.Unlock()
	}
	if in.terminal && !isClosed(in.aborted) {
		return nil // EIO: nobody has the terminal open just now; what was typed is gone
	}
	return err
}

// hold keeps stdin open for one write; false if CloseStdin was called.
func (in *input) hold() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closing || in.holds == 0 {
		return false
	}
	in.holds++
	return true
}

// release gives a hold back. It never blocks.
func (in *input) release() {
	in.mu.Lock()
	in.holds--
	last := in.holds == 0
	in.mu.Unlock()
	if !last {
		return
	}
	if in.terminal {
		in.tasks.Go(in.typeEOF)
		return
	}
	in.dst.Close()
	in.ended()
}

// shut is CloseStdin. What was accepted before still arrives.
func (in *input) shut() {
	in.mu.Lock()
	again := in.closing
	in.closing = true
	in.mu.Unlock()
	if !again {
		in.dropKeep()
		in.release()
	}
}

func (in *input) dropKeep() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.keep >= 0 {
		unix.Close(in.keep)
		in.keep = -1
	}
}

// typeEOF types the terminal's EOF character, if it is in line mode: the only
// EOF a terminal has. After an unfinished line the first one merely
// completes the line for the reader, so it takes two (termios(3), VEOF).
func (in *input) typeEOF() {
	defer in.ended()
	select {
	case <-in.ready:
	case <-in.aborted:
		return
	}
	raw, err := in.dst.SyscallConn()
	if err != nil {
		return
	}
	var eof []byte
	raw.Control(func(fd uintptr) {
		mode, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err == nil && mode.Lflag&unix.ICANON != 0 && mode.Cc[unix.VEOF] != 0 {
			eof = append(eof, mode.Cc[unix.VEOF])
		}
	})
	in.mu.Lock()
	unfinished := in.last != 0 && in.last != '\n' && in.last != '\r'
	in.mu.Unlock()
	if unfinished {
		eof = append(eof, eof...)
	}
	in.dst.Write(eof)
}

// interrupt ends reads and writes in progress and fails later ones. Once only.
func (in *input) interrupt() {
	close(in.aborted)
	if in.src != nil {
		in.src.interrupt()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dst != nil {
		in.dst.SetWriteDeadline(longAgo)
	}
}

// close closes what is still open, when nobody moves bytes any more.
func (in *input) close() {
	in.dropKeep()
	if in.src != nil {
		in.src.file.Close()
	}
	if in.dst != nil && !in.terminal {
		in.dst.Close()
	}
}
