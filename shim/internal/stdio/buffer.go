package stdio

import "golang.org/x/sys/unix"

// bufferSize is the default capacity of a pipe (pipe(7)): one read empties it.
const bufferSize = 64 << 10

// takeBuffer maps a buffer of its own. It comes from the kernel and not from the heap
// because an idle shim should hold none, and memory freed to Go's heap stays
// ours until a collection that a quiet process never runs.
func takeBuffer() []byte {
	b, err := unix.Mmap(-1, 0, bufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return make([]byte, bufferSize) // out of mappings: Munmap then refuses it and the heap keeps it
	}
	return b
}

// returnBuffer takes b, which must not be used again. nil is ignored.
func returnBuffer(b []byte) {
	if b != nil {
		unix.Munmap(b[:cap(b)])
	}
}
